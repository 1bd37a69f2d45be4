package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const protoHTTP2 = "h2"

// Budgets of one connection. The first two are those that other servers count with; an
// honest player is far below (a seek cancels a request or two), and a relay for many
// players opens more than one connection.
const (
	oddEvents     = 100   // resets either way in budgetWindow
	controlFrames = 1_000 // frames that carry no request and no body, in budgetWindow
	// maxBlockBytes bounds a header block as it is sent. It is twice what the fields may
	// have when decoded, and no honest encoding is longer than what it encodes.
	maxBlockBytes    = 2 * maxHeaderBytes
	maxContinuations = 16 // frames of one block; four full ones carry maxBlockBytes
	// tinyData is a DATA frame that carries nothing worth its header.
	tinyData, maxPadding = 16, 256
	// maxWindowCredit bounds the WINDOW_UPDATE frames that a client may save up, and windowBytesPerUpdate is what of a body
	// explains one.
	maxWindowCredit, windowBytesPerUpdate = 1 << 14, 2 << 10
	// goAwayWait is for the frame that is being written when a client is refused, and then
	// again for the client to take GOAWAY; lingerBytes is what it may send meanwhile.
	goAwayWait  = time.Second
	lingerBytes = 4 << 20
	// maxResets is how many streams are remembered that we have reset: what the client had sent before it knew is late, no more.
	maxResets = 2 * maxStreams
)

// http2Conn is one HTTP/2 connection. One goroutine reads its frames (serve); who has something to send writes it, one at a time,
// see takeTurn.
type http2Conn struct {
	part   *http2Part
	conn   net.Conn
	tls    *tlsConn             // conn; nil where it is none, in tests
	state  *tls.ConnectionState // for the requests
	client string               // its address
	ctx    context.Context      //nolint:containedctx // of all requests; it ends with the connection
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when serve returns

	rested atomic.Int64 // when the last request ended; nanoseconds since 1970
	credit atomic.Int64 // WINDOW_UPDATE frames that the client may send for what it got
	ending atomic.Bool  // the reader is to end the connection when it wakes up

	unanswered atomic.Int32  // requests that came, less those whose response has begun; see awaitTurn
	answered   chan struct{} // has a value when those have become half of what there may be

	in http2Input // of the goroutine that reads

	mu      sync.Mutex // guards the fields below
	idle    *time.Timer
	streams map[uint32]*http2Stream // whose handlers run
	open    int                     // of them, whose response is not over
	last    uint32                  // the highest stream that the client opened
	refused uint32                  // streams from it on are not answered; 0: all are
	pinged  chan struct{}           // closed when the client has answered our PING; nil: there was none
	empty   chan struct{}           // closed when no request runs; nil: nobody waits
	resets  []uint32                // streams that we have reset, at most maxResets
	oldest  int                     // of them
	ranks   ranks

	receive, unreturned int64 // what the client may send of bodies, and what it may again but has not been told
	http2Sending
}

func newHTTP2Conn(ctx context.Context, p *http2Part, conn net.Conn) *http2Conn {
	c := &http2Conn{
		part: p, conn: conn, client: conn.RemoteAddr().String(), done: make(chan struct{}), answered: make(chan struct{}, 1),
		streams: map[uint32]*http2Stream{}, receive: connWindow,
		http2Sending: http2Sending{window: defaultWindow, initial: defaultWindow},
	}
	if t, ok := conn.(*tlsConn); ok {
		state := t.ConnectionState()
		c.tls, c.state = t, &state
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.in = http2Input{conn: c, decoder: hpack.NewDecoder(hpackTable, nil), odd: budget{limit: oddEvents}, control: budget{limit: controlFrames}}
	c.in.decoder.SetEmitFunc(c.in.field)
	c.queue = appendSettings(c.queue) // whatever else is queued, by a drain perhaps, comes behind
	return c
}

// serve returns when the connection has ended. Its handlers may still run.
func (c *http2Conn) serve() {
	defer close(c.done)
	defer c.part.stats.caught(c.part.log, "a connection of HTTP/2", func() { c.end(errBroken) })
	c.part.stats.http2.connected()
	defer c.part.stats.http2.disconnected()
	c.rested.Store(time.Now().UnixNano())
	c.place().state(http.StateIdle)
	c.mu.Lock()
	c.idle = time.AfterFunc(c.part.idle, c.expire)
	c.mu.Unlock()
	c.end(c.in.serve())
}

// appendSettings appends what we say first (RFC 9113, 3.4 and 6.5.2).
func appendSettings(b []byte) []byte {
	b = appendFrame(b, 4*settingBytes, frameSettings, 0, 0)
	b = appendSetting(b, settingStreams, maxStreams)
	b = appendSetting(b, settingInitialWindow, streamWindow)
	b = appendSetting(b, settingMaxHeaderList, maxHeaderBytes)
	b = appendSetting(b, settingNoPriorityTree, 1)
	return appendWindowUpdate(b, 0, connWindow-defaultWindow)
}

// A breach is what ends a connection: GOAWAY has its code.
type breach struct {
	code h2Code
	why  reason
}

// Error implements error.
func (b breach) Error() string { return "front: HTTP/2 " + b.why.String() + ", " + b.code.String() }

var (
	errEnding = errors.New("front: the connection is over")
	errReset  = errors.New("front: the client has reset the stream")
)

// end ends the connection for a reason: the reader does it.
func (c *http2Conn) end(why error) {
	var b breach
	switch {
	case errors.As(why, &b):
		c.count(b.why)
		c.say(b.code)
	case errors.Is(why, errEnding):
		c.say(codeNoError)
	case errors.Is(why, os.ErrDeadlineExceeded):
		c.count(slowHeader)
	}
	_ = c.conn.Close() // closed is closed
	if !c.part.draining.Load() {
		c.place().ended(noRequestTLS)
	}
	c.mu.Lock()
	c.idle.Stop()
	c.breakLocked(net.ErrClosed)
	c.mu.Unlock()
	c.cancel(why)
}

// say says GOAWAY, waits for what is being written, and for the client to hear of it, but not for long.
func (c *http2Conn) say(code h2Code) {
	quiet := make(chan struct{})
	c.mu.Lock()
	if c.broken != nil {
		c.mu.Unlock()
		return
	}
	c.closing = true
	c.queue = appendGoAway(c.queue, c.last, code)
	c.quiet = quiet
	_ = c.conn.SetWriteDeadline(time.Now().Add(goAwayWait)) // a write that is stuck ends with it
	c.mu.Unlock()
	c.flushAside()
	timer := time.NewTimer(goAwayWait)
	defer timer.Stop()
	select {
	case <-quiet:
		if l, ok := c.conn.(lingerer); ok {
			l.linger(goAwayWait, lingerBytes)
		}
	case <-timer.C:
	}
}

// A lingerer is a connection that can end its side and throw away what still comes: a
// close with bytes unread would be a reset, which may overtake what was said last.
type lingerer interface {
	linger(limit time.Duration, most int64)
}

// discardRest ends the sending and throws away what comes, for as long and as many bytes.
func discardRest(c net.Conn, limit time.Duration, most int64) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // what is lost is lost
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	_, _ = io.CopyN(io.Discard, readerOnly{c}, most)
}

// linger lets a client take the last frame, below TLS.
func (c *tlsConn) linger(limit time.Duration, most int64) { c.raw.linger(limit, most) }

// abort ends the connection at once.
func (c *http2Conn) abort() {
	if c.tls != nil {
		_ = c.tls.raw.Close() // closed is closed
		return
	}
	_ = c.conn.Close()
}

func (c *http2Conn) place() *seat {
	if c, ok := c.conn.(seated); ok {
		return c.place()
	}
	return nil
}

// count counts a refusal, also against the client.
func (c *http2Conn) count(why reason) {
	if why != allowed {
		c.part.stats.refusals.add(why, c.client)
		c.place().offend(why.points())
	}
}

// expire ends a connection that had no request for too long. No request moves the timer: it looks again when it must.
func (c *http2Conn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.part.idle
	if len(c.streams) == 0 {
		left -= time.Since(time.Unix(0, c.rested.Load()))
	}
	if left > 0 {
		c.idle.Reset(left)
		return
	}
	c.endSoon()
}

// endSoon has the reader end the connection with NO_ERROR.
func (c *http2Conn) endSoon() {
	c.ending.Store(true)
	_ = c.conn.SetReadDeadline(time.Now()) // on a closed connection the read tells
}

// drain tells the client to send no more requests, waits until none runs, and ends the connection. What was under way when
// the client heard of it has come when it answers a PING (RFC 9113, 6.8).
func (c *http2Conn) drain(ctx context.Context) {
	pinged, empty := make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	c.pinged = pinged
	c.queue = appendGoAway(c.queue, largestStream, codeNoError)
	c.queue = append(appendFrame(c.queue, pingBytes, framePing, 0, 0), make([]byte, pingBytes)...)
	c.mu.Unlock()
	c.flushAside()
	timer := time.NewTimer(goAwayWait)
	defer timer.Stop()
	select {
	case <-pinged:
	case <-timer.C:
	case <-c.done:
		return
	}
	c.mu.Lock()
	c.refused = c.last + 1
	c.queue = appendGoAway(c.queue, c.last, codeNoError)
	if c.empty = empty; len(c.streams) == 0 {
		close(empty)
		c.empty = nil
	}
	c.mu.Unlock()
	c.flushAside()
	select {
	case <-empty:
		c.endSoon()
	case <-ctx.Done():
		c.abort()
	case <-c.done:
	}
	<-c.done
}

// admit takes a stream into the connection and has it answered.
func (c *http2Conn) admit(s *http2Stream) {
	c.mu.Lock()
	if len(c.streams) == 0 {
		c.place().state(http.StateActive)
	}
	c.streams[s.id] = s
	c.open++
	s.window = c.initial
	s.rank = c.ranks.arrive(uint64(s.id))
	if s.request != nil {
		c.ranks.obey(&s.rank, s.request.Header["Priority"])
	}
	if c.broken != nil {
		s.failLocked(c.broken)
	}
	c.mu.Unlock()
	c.unanswered.Add(1)
	c.part.workers.run(s)
}

// leave takes it out again.
func (c *http2Conn) leave(s *http2Stream) {
	c.mu.Lock()
	s.failLocked(http.ErrBodyReadAfterClose) // whoever still has it is too late
	delete(c.streams, s.id)
	c.closeLocked(s)
	if len(c.streams) == 0 {
		c.rested.Store(time.Now().UnixNano())
		c.place().state(http.StateIdle)
		if c.empty != nil {
			close(c.empty)
			c.empty = nil
		}
	}
	c.mu.Unlock()
	s.answer()
	c.flush()
	s.cancel(nil)
}

// resetLocked queues RST_STREAM.
func (c *http2Conn) resetLocked(id uint32, code h2Code) {
	if len(c.resets) < maxResets {
		c.resets = append(c.resets, id)
	} else {
		c.resets[c.oldest] = id
		c.oldest = (c.oldest + 1) % maxResets
	}
	c.queue = appendReset(c.queue, id, code)
}

// creditLocked lets the client send n more bytes of bodies, and tells it now and then.
func (c *http2Conn) creditLocked(n int64) {
	if c.unreturned += n; c.unreturned >= connWindow/2 {
		c.queue = appendWindowUpdate(c.queue, 0, c.unreturned)
		c.receive += c.unreturned
		c.unreturned = 0
	}
}

// earn lets the client send n more WINDOW_UPDATE frames.
func (c *http2Conn) earn(n int64) {
	if c.credit.Load() < maxWindowCredit {
		c.credit.Add(n)
	}
}
