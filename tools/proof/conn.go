package proof

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe is one connection: two ends and a stream in each direction.
//
// Locks: Network.mu, then nothing; stream.mu, then link.mu.
type pipe struct {
	network        *Network
	between        pair // the dialling host, the listening one
	client, server *conn

	mu   sync.Mutex // guards the fields below
	open int        // ends that are not closed
}

// conn is one end of a pipe.
type conn struct {
	pipe          *pipe
	local, remote *net.TCPAddr
	in, out       *stream

	mu     sync.Mutex // guards the fields below
	linger int        // as SetLinger, -1 by default
	closed bool
}

func newPipe(n *Network, between pair, local, remote *net.TCPAddr, out, back *link) *pipe {
	p := &pipe{network: n, between: between, open: 2}
	up, down := newStream(out, back), newStream(back, out)
	up.twin, down.twin = down, up
	p.client = &conn{pipe: p, local: local, remote: remote, in: down, out: up, linger: -1}
	p.server = &conn{pipe: p, local: remote, remote: local, in: up, out: down, linger: -1}
	return p
}

// forget takes the pipe out of the network's tables.
func (p *pipe) forget() {
	p.network.mu.Lock()
	delete(p.network.conns, p)
	p.network.mu.Unlock()
	for _, c := range []*conn{p.client, p.server} {
		c.out.link.remove(c.out)
		c.out.back.remove(c.out)
	}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: "read", Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	if err != nil {
		err = &net.OpError{Op: "write", Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// Close ends both directions. As with TCP, the other end reads what was sent
// and then EOF; or, if data it sent was not read here, a reset.
func (c *conn) Close() error {
	c.mu.Lock()
	linger := c.linger
	c.mu.Unlock()
	if !c.end(linger == 0) {
		return &net.OpError{Op: "close", Net: "tcp", Source: c.local, Addr: c.remote, Err: net.ErrClosed}
	}
	return nil
}

// end closes this end, with a reset if told; false means that it was closed.
// The other end hears of it through the link.
func (c *conn) end(reset bool) bool {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if was {
		return false
	}
	if unread := c.in.closeReader(); unread || reset {
		c.out.breakOff()
	}
	c.out.closeWriter()
	c.pipe.mu.Lock()
	c.pipe.open--
	last := c.pipe.open == 0
	c.pipe.mu.Unlock()
	if last {
		c.pipe.forget()
	}
	return true
}

// CloseWrite ends this direction; the other end reads EOF after the data.
func (c *conn) CloseWrite() error {
	c.out.endWrite()
	return nil
}

// CloseRead drops what comes in from now on.
func (c *conn) CloseRead() error {
	c.in.endRead()
	return nil
}

// SetLinger is as that of net.TCPConn; with 0, Close resets.
func (c *conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = sec
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.readDeadline(t)
	c.out.writeDeadline(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.readDeadline(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.writeDeadline(t)
	return nil
}

func (c *conn) SetNoDelay(bool) error                    { return nil }
func (c *conn) SetKeepAlive(bool) error                  { return nil }
func (c *conn) SetKeepAlivePeriod(d time.Duration) error { return nil }

// stream is one direction of a connection: a bounded queue of segments that
// become readable when they have crossed the link. What is sent over a cut link
// is held until it is healed.
type stream struct {
	link *link   // that it runs over
	back *link   // that tells the writer what became of the reader
	twin *stream // the other direction

	mu       sync.Mutex // guards the fields below
	cond     *sync.Cond // on mu; every change of state wakes all
	segments []segment
	bytes    int // in segments

	ended    bool // the writer is done: EOF, or a reset, after the segments
	end      segment
	broken   bool // it is a reset
	gone     bool // the writing end is closed
	readGone bool // the reading end is closed
	goneHeld bool // and the writer cannot know yet
	halfRead bool // the reading end reads no more

	reader, writer deadline
	arrival        *time.Timer // wakes readers for a delayed segment
	retry          *time.Timer // gives up on what a cut link holds
	readDead       bool        // given up, for the reading end
	writeDead      bool        // given up, for the writing end
}

type segment struct {
	bytes []byte
	at    time.Time // when it arrives; zero = now
	held  bool      // by a cut link
}

// deadline is one side's time limit.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newStream(l, back *link) *stream {
	s := &stream{link: l, back: back}
	s.cond = sync.NewCond(&s.mu)
	l.add(s)
	back.add(s)
	return s
}

// wake makes everyone who waits look again.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

// linkChanged lets go of what a cut held, if it is healed.
func (s *stream) linkChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cut, _, _ := s.back.state(); !cut {
		s.goneHeld = false
	}
	if !s.link.holds() {
		for i := range s.segments {
			s.segments[i].release(s.link)
		}
		s.end.release(s.link)
		if s.retry != nil {
			s.retry.Stop()
			s.retry = nil
		}
	}
	s.cond.Broadcast()
}

func (g *segment) release(over *link) {
	if g.held {
		g.held = false
		g.at = over.arrival(len(g.bytes))
	}
}

// stampLocked makes a segment that is sent now.
func (s *stream) stampLocked(b []byte) segment {
	g := segment{bytes: append([]byte(nil), b...), held: s.link.holds()}
	if !g.held {
		g.at = s.link.arrival(len(b))
	}
	if cut, _, _ := s.link.state(); cut && s.retry == nil {
		s.retry = time.AfterFunc(retryTimeout, s.giveUp)
	}
	return g
}

// giveUp ends the connection for the writing end, as TCP does when nothing is
// acknowledged.
func (s *stream) giveUp() {
	s.mu.Lock()
	if s.retry == nil { // healed at this very moment
		s.mu.Unlock()
		return
	}
	s.writeDead = true
	s.cond.Broadcast()
	s.mu.Unlock()
	s.twin.mu.Lock()
	defer s.twin.mu.Unlock()
	s.twin.readDead = true
	s.twin.cond.Broadcast()
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readGone:
			return 0, net.ErrClosed
		case s.reader.passed():
			return 0, os.ErrDeadlineExceeded
		case s.readDead:
			return 0, os.NewSyscallError("read", syscall.ETIMEDOUT)
		case s.halfRead:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		if n := s.takeLocked(b); n > 0 {
			return n, nil
		}
		if s.ended && len(s.segments) == 0 && s.arrivedLocked(s.end) {
			if s.broken {
				return 0, os.NewSyscallError("read", syscall.ECONNRESET)
			}
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

// takeLocked copies what has arrived.
func (s *stream) takeLocked(b []byte) int {
	n := 0
	for n < len(b) && len(s.segments) > 0 && s.arrivedLocked(s.segments[0]) {
		first := &s.segments[0]
		m := copy(b[n:], first.bytes)
		n += m
		if first.bytes = first.bytes[m:]; len(first.bytes) == 0 {
			s.segments[0] = segment{}
			s.segments = s.segments[1:]
		}
	}
	if n > 0 {
		s.bytes -= n
		s.cond.Broadcast()
	}
	return n
}

// arrivedLocked says whether a segment is there, and sets an alarm if it is on
// its way.
func (s *stream) arrivedLocked(g segment) bool {
	if g.held {
		return false
	}
	wait := time.Duration(0)
	if !g.at.IsZero() {
		wait = time.Until(g.at)
	}
	if wait <= 0 {
		return true
	}
	if s.arrival != nil {
		s.arrival.Stop()
	}
	s.arrival = time.AfterFunc(wait, s.wake)
	return false
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sent := 0; ; {
		switch {
		case s.gone:
			return sent, net.ErrClosed
		case s.writer.passed():
			return sent, os.ErrDeadlineExceeded
		case s.writeDead:
			return sent, os.NewSyscallError("write", syscall.ETIMEDOUT)
		case s.ended, s.readGone && !s.goneHeld:
			return sent, os.NewSyscallError("write", syscall.EPIPE)
		case sent == len(b):
			return sent, nil
		}
		room := StreamBytes - s.bytes
		if room <= 0 {
			s.cond.Wait()
			continue
		}
		n := s.link.piece(min(room, len(b)-sent))
		if !s.halfRead && !s.readGone {
			s.segments = append(s.segments, s.stampLocked(b[sent:sent+n]))
			s.bytes += n
			s.cond.Broadcast()
		}
		sent += n
	}
}

// endWrite sends the EOF.
func (s *stream) endWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
}

func (s *stream) endLocked() {
	if s.ended {
		return
	}
	s.ended = true
	s.end = s.stampLocked(nil)
	s.cond.Broadcast()
}

// closeWriter is endWrite when the writing end closes.
func (s *stream) closeWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	s.gone = true
	s.writer.stop()
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
	s.cond.Broadcast()
}

// breakOff resets the stream: after what has been sent comes an error.
func (s *stream) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	s.broken = true
	s.cond.Broadcast()
}

// endRead drops what is unread and what comes.
func (s *stream) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halfRead = true
	s.dropLocked()
}

// closeReader is endRead when the reading end closes; it says whether data was
// left unread.
func (s *stream) closeReader() (unread bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readGone {
		return false
	}
	s.readGone = true
	s.goneHeld, _, _ = s.back.state()
	unread = len(s.segments) > 0 && s.arrivedLocked(s.segments[0])
	s.dropLocked()
	s.reader.stop()
	if s.arrival != nil {
		s.arrival.Stop()
	}
	return unread
}

func (s *stream) dropLocked() {
	s.segments, s.bytes = nil, 0
	s.cond.Broadcast()
}

func (s *stream) readDeadline(t time.Time)  { s.setDeadline(&s.reader, t) }
func (s *stream) writeDeadline(t time.Time) { s.setDeadline(&s.writer, t) }

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, s.wake)
	}
	s.cond.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// fail ends the stream with a reset for both its ends, at once.
func (s *stream) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	s.broken, s.end = true, segment{}
	s.dropLocked()
}
