package front

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"
)

// mostQueued is how much of small responses waits for who is writing; beyond that a Handler waits itself.
const mostQueued = 64 << 10

// http2Sending is what a connection sends with. It is guarded by the mutex of the connection.
//
// Whole frames wait in queue until somebody has the turn to write: a small response, and what we owe the client. A longer body
// its own goroutine writes, one piece each time that it has the turn. So no frame of a body is copied for somebody else to
// write, nothing is held while a window is closed, and who comes first is decided when there is something to decide.
type http2Sending struct {
	queue   []byte
	busy    bool  // somebody has the turn; it sends the queue as well
	window  int64 // that the client leaves for all bodies
	initial int64 // and for each new one
	waiting []*http2Stream
	turns   uint64        // that were taken
	broken  error         // nothing can be sent any more
	closing bool          // nothing of bodies is
	quiet   chan struct{} // closed when nobody has the turn and nothing waits; nil: nobody wants to know
}

// flush sends what is queued, unless somebody else is going to. Others that are about to queue something do it first.
func (c *http2Conn) flush() {
	if !c.takeQueued() {
		return
	}
	if c.unanswered.Load() > 0 {
		runtime.Gosched()
	}
	c.sendQueue()
}

// flushAside has somebody else send what is queued: who reads must not wait until the client does.
func (c *http2Conn) flushAside() {
	if c.takeQueued() {
		c.part.workers.run((*http2Flush)(c))
	}
}

// http2Flush is the task to send what a connection has queued; who has it has the turn.
type http2Flush http2Conn

func (f *http2Flush) serve() { (*http2Conn)(f).sendQueue() }

// takeQueued takes the turn if something is queued and nobody has it.
func (c *http2Conn) takeQueued() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || len(c.queue) == 0 && c.quiet == nil {
		return false
	}
	c.busy = true
	return true
}

// sendQueue writes what is queued, and gives the turn away: the caller has it.
func (c *http2Conn) sendQueue() { _ = c.send(nil, nil, 0, 0) } // the reader tells

// send is sendQueue with p behind the queue: frames of a stream, with so many bytes of its body. One that has more to send is
// among those who may get the turn next. Hot path: of a small response one write.
func (c *http2Conn) send(p []byte, s *http2Stream, body, more int64) error {
	c.mu.Lock()
	var gone error
	if s != nil && s.err != nil { // RFC 9113, 5.1: nothing goes behind a reset, which may be in the queue
		gone, p, more = s.err, nil, 0
		c.window += body
	}
	for c.broken == nil && (len(c.queue) > 0 || len(p) > 0) {
		queue := c.queue
		c.queue = nil
		if !c.closing {
			_ = c.conn.SetWriteDeadline(time.Now().Add(writeStall)) // a write on a closed connection tells
		}
		c.mu.Unlock()
		err := c.write(queue, p)
		giveQueue(queue)
		p = nil
		c.mu.Lock()
		if err != nil {
			c.breakLocked(err)
		}
	}
	err := cmp.Or(c.broken, gone)
	if more > 0 && err == nil {
		s.want = more
		c.waiting = append(c.waiting, s)
	}
	c.passLocked()
	c.mu.Unlock()
	return err
}

func (c *http2Conn) write(queue, p []byte) error {
	if c.tls != nil {
		return c.tls.writeBoth(queue, p)
	}
	_, err := c.conn.Write(append(queue, p...))
	return err
}

// breakLocked ends all sending: of a write that failed part of a frame may be out.
func (c *http2Conn) breakLocked(err error) {
	if c.broken != nil {
		return
	}
	c.broken = err
	giveQueue(c.queue)
	c.queue = nil
	for _, s := range c.streams {
		s.failLocked(err)
	}
	c.endSoon()
}

// put queues whole frames of a stream with n bytes of its body, which may be the last. It is false where they cannot leave now: then
// nothing is queued.
func (c *http2Conn) put(s *http2Stream, frames []byte, n int64, end bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.err != nil:
		return false, s.err
	case c.closing:
		return false, errEnding
	case n > s.window || n > 0 && n > c.window || len(c.queue) > 0 && len(c.queue)+len(frames) > mostQueued:
		return false, nil
	}
	s.window -= n
	c.window -= n
	if c.queue == nil {
		c.queue = takeQueue()
	}
	c.queue = append(c.queue, frames...)
	if end {
		c.closeLocked(s)
	}
	return true, nil
}

// close notes that a response is over: the client may begin another request before the Handler has returned. It is called before
// the last frame leaves.
func (c *http2Conn) close(s *http2Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(s)
}

func (c *http2Conn) closeLocked(s *http2Stream) {
	if !s.closed {
		s.closed = true
		c.open--
	}
}

// takeTurn waits until nobody writes and the client's windows are open, and returns how many bytes of the body, most at most, are
// to be sent now. The caller has to send, or to give the turn back.
func (c *http2Conn) takeTurn(s *http2Stream, most int64) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(s) // it may wait since it sent last
	for {
		if err := c.cannotSendLocked(s); err != nil {
			c.leaveTurnLocked(s)
			return 0, err
		}
		if n := c.allowsLocked(s, most); n >= 0 && (s.granted || !c.busy) {
			s.granted, c.busy = false, true
			c.turns++
			s.served = c.turns
			s.window -= n
			c.window -= n
			return n, nil
		}
		c.leaveTurnLocked(s) // the window has shrunk
		s.want = most
		c.waiting = append(c.waiting, s)
		late := c.awaitLocked(s)
		c.forgetLocked(s)
		if late && !s.granted && c.cannotSendLocked(s) == nil && !s.renewLocked(time.Now()) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (c *http2Conn) cannotSendLocked(s *http2Stream) error {
	if s.err == nil && c.closing {
		return errEnding
	}
	return s.err
}

// awaitLocked waits until there may be news for a stream. It is true where its deadline has passed.
func (c *http2Conn) awaitLocked(s *http2Stream) (late bool) {
	deadline := s.deadline
	c.mu.Unlock()
	defer c.mu.Lock()
	if deadline.IsZero() {
		<-s.wake
		return false
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-s.wake:
		return false
	case <-timer.C:
		return true
	}
}

// leaveTurnLocked gives a turn on that was granted.
func (c *http2Conn) leaveTurnLocked(s *http2Stream) {
	if s.granted {
		s.granted = false
		c.mu.Unlock()
		c.sendQueue() // what was queued meanwhile
		c.mu.Lock()
	}
}

func (c *http2Conn) forgetLocked(s *http2Stream) {
	for i, other := range c.waiting {
		if other == s {
			last := len(c.waiting) - 1
			c.waiting[i], c.waiting[last] = c.waiting[last], nil
			c.waiting = c.waiting[:last]
			return
		}
	}
}

// giveBack gives the turn back, or a part of the bytes that it was for.
func (c *http2Conn) giveBack(s *http2Stream, n int64, turn bool) {
	c.mu.Lock()
	s.window += n
	c.window += n
	c.mu.Unlock()
	if turn {
		c.sendQueue() // what was queued meanwhile
	}
}

// allowsLocked is how many bytes of a body may be sent, or -1 if a stream that wants to send some may not.
func (c *http2Conn) allowsLocked(s *http2Stream, most int64) int64 {
	n := min(most, s.window, c.window)
	if most > 0 && n <= 0 {
		return -1
	}
	return max(n, 0)
}

// passLocked gives the turn to the stream that comes next, if there is one.
func (c *http2Conn) passLocked() {
	c.busy = false
	if c.quiet != nil && (len(c.queue) == 0 || c.broken != nil) {
		close(c.quiet)
		c.quiet = nil
	}
	c.dispatchLocked()
}

// dispatchLocked gives the turn to the stream that comes next, if nobody has it.
func (c *http2Conn) dispatchLocked() {
	if c.busy {
		return
	}
	var next *http2Stream
	for _, s := range c.waiting {
		if c.allowsLocked(s, s.want) >= 0 && (next == nil || s.goesBefore(next)) {
			next = s
		}
	}
	if next != nil {
		c.busy = true
		next.granted = true
		next.wakeUp()
	}
}

// goesBefore tells which of two streams sends next (RFC 9218, 10): the more urgent one; of those that are alike the one that was
// asked for first, or, where they share the line, the one that has waited for longest.
func (s *http2Stream) goesBefore(other *http2Stream) bool {
	a, b := s.rank.priority, other.rank.priority
	switch {
	case a.urgency != b.urgency:
		return a.urgency < b.urgency
	case !a.incremental && !b.incremental:
		return s.id < other.id
	default:
		return s.served < other.served
	}
}

// setInitialLocked takes what the client allows for each body (RFC 9113, 6.9.2). It is false where that is too much for one.
func (c *http2Conn) setInitialLocked(n int64) bool {
	change := n - c.initial
	c.initial = n
	for _, s := range c.streams {
		if s.window += change; s.window > largestWindow {
			return false
		}
	}
	return true
}

// awaitRoom waits until the socket has room for a piece, and returns how much of n that is. The caller has the turn: nobody else
// could write meanwhile. Nothing is held for a client that takes nothing. On an error the turn is given back.
func (c *http2Conn) awaitRoom(s *http2Stream, n int64) (int64, error) {
	if c.tls == nil || c.tls.raw.socket == nil {
		return n, nil
	}
	for {
		room, err := c.room(s)
		if err == nil {
			if int64(room) < n {
				c.giveBack(s, n-int64(room), false)
			}
			return min(n, int64(room)), nil
		}
		c.mu.Lock()
		gone := c.cannotSendLocked(s)
		renewed := gone == nil && errors.Is(err, os.ErrDeadlineExceeded) && !s.deadline.IsZero() && s.renewLocked(time.Now())
		stalled := gone == nil && !renewed && (s.deadline.IsZero() || time.Now().Before(s.deadline))
		if stalled {
			c.breakLocked(err)
		}
		c.mu.Unlock()
		if renewed {
			continue
		}
		c.giveBack(s, n, true)
		if gone != nil {
			err = gone
		}
		return 0, err
	}
}

// room waits for room up to the deadline of the stream, or for writeStall.
func (c *http2Conn) room(s *http2Stream) (int, error) {
	raw := c.tls.raw
	l := lookers.Get().(*looker)
	defer lookers.Put(l)
	if err := raw.socket.Control(l.look); err != nil || l.n > 0 {
		return l.n, err
	}
	c.mu.Lock()
	s.stuck = true
	until := time.Now().Add(writeStall)
	if !s.deadline.IsZero() && s.deadline.Before(until) {
		until = s.deadline
	}
	if !c.closing {
		_ = raw.SetWriteDeadline(until) // on a closed connection the wait tells
	}
	gone := c.cannotSendLocked(s)
	c.mu.Unlock()
	var err error
	if gone == nil {
		c.tls.writing.Add(1) // Close must not wait
		raw.deadline.begin(raw.Conn)
		err = raw.socket.Write(l.wait)
		raw.deadline.end()
		c.tls.writing.Add(-1)
	}
	c.mu.Lock()
	s.stuck = false
	c.mu.Unlock()
	if gone != nil {
		return 0, gone
	}
	return l.n, err
}

// Queues are small most of the time: a response, or an answer to a PING.
type queueBuffer [4 << 10]byte

var queueBuffers = sync.Pool{New: func() any { return new(queueBuffer) }}

func takeQueue() []byte { return queueBuffers.Get().(*queueBuffer)[:0] }

// giveQueue gives back what is still the buffer that takeQueue returned.
func giveQueue(b []byte) {
	if cap(b) == len(queueBuffer{}) {
		queueBuffers.Put((*queueBuffer)(b[:len(queueBuffer{})]))
	}
}
