package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
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
	// maxWindowCredit bounds the WINDOW_UPDATE frames that a client may save up.
	maxWindowCredit = 1 << 14
	// goAwayWait is for the frame that is being written when a client is refused, and then
	// again for the client to take GOAWAY; lingerBytes is what it may send meanwhile.
	goAwayWait  = time.Second
	lingerBytes = 4 << 20
)

// http2Guard is what the HTTP/2 connections of a server share.
type http2Guard struct {
	timeout  time.Duration // for a header block
	refusals *refusals
	trusted  bool          // no budgets
	wide     chan struct{} // see stride

	unanswered int32 // requests of one connection; 0: as many as there are
	poll       *nextPoll
}

// http2Conn stands between TLS and net/http's HTTP/2 and watches the frames in both
// directions, of which it reads only the headers.
//
// It has what net/http has not: a time-out for a header block, or for a frame, that
// does not come to its end while other streams are open; a bound on such a block before
// it is decoded; and budgets for what a client may make us do without asking for
// anything: resets (also those that it provokes from us), control frames, window
// updates that no body of ours explains. Who is over budget gets GOAWAY with
// ENHANCE_YOUR_CALM where the frame that is being written lets us, and is gone.
//
// What comes in is passed on byte for byte, but for settings that are overridden in
// their own frame. It hides ConnectionState: net/http takes a connection that has it for
// HTTP/1.1. The entry gives the requests their TLS state instead.
type http2Conn struct {
	net.Conn
	tls   *tls.ConnectionState
	guard *http2Guard

	requests *http2Requests

	why    atomic.Int32  // the reason to end the connection, once there is one
	last   atomic.Uint32 // the highest stream that the client opened
	sent   atomic.Int64  // bytes
	tried  atomic.Bool   // the client has taken trialBytes
	credit atomic.Int64  // WINDOW_UPDATE frames that the client may send for what it got

	unanswered atomic.Int32  // requests that came, less responses that began; see awaitTurn
	answered   chan struct{} // has a value when those have become half of what there may be

	// The fields below belong to the one goroutine that reads.
	in            frameWalk
	open          bool // a header block has begun and not ended
	lastOfStream  bool // it has END_STREAM
	strange       bool // the preface is none
	armed         bool // the read deadline stands
	block         int  // bytes of the header block
	continuations int

	mu           sync.Mutex // guards the fields below, and orders deadlines
	odd, control budget

	// The lock is held across a write, against the rule: GOAWAY has to go between two
	// frames.
	writing sync.Mutex // guards the fields below
	out     frameWalk
	over    bool          // nothing is written any more
	said    chan struct{} // closed then
}

func newHTTP2Conn(c *tlsConn, guard *http2Guard) *http2Conn {
	state := c.ConnectionState()
	return watchHTTP2(c, &state, guard)
}

func (c *http2Conn) place() *seat {
	if c, ok := c.Conn.(seated); ok {
		return c.place()
	}
	return nil
}

// linger lets a client take the last frame, below TLS.
func (c *tlsConn) linger(limit time.Duration, most int64) { c.raw.linger(limit, most) }

func watchHTTP2(c net.Conn, state *tls.ConnectionState, guard *http2Guard) *http2Conn {
	h := &http2Conn{
		Conn: c, tls: state, guard: guard, said: make(chan struct{}), answered: make(chan struct{}, 1),
		odd: budget{limit: oddEvents}, control: budget{limit: controlFrames},
	}
	h.requests = newHTTP2Requests(h.requestRefused)
	h.in = frameWalk{frame: frame{kind: framePreface, length: prefaceBytes}, inside: true, left: prefaceBytes}
	return h
}

// Read implements net.Conn. Hot path: one look for each frame.
func (c *http2Conn) Read(p []byte) (int, error) {
	c.awaitTurn()
	n, err := c.read(p)
	c.watch(p[:n])
	if c.refused() {
		c.end()
		return 0, net.ErrClosed
	}
	if n > 0 {
		c.setDeadline()
	}
	if c.armed && errors.Is(err, os.ErrDeadlineExceeded) {
		c.count(slowHeader)
	}
	return n, err
}

// read reads; the payload of SETTINGS and of a header it reads to its end, to see it whole. It
// can where the reader has room for it, as net/http has.
func (c *http2Conn) read(p []byte) (int, error) {
	w := &c.in
	whole := w.frame.inBlock() || w.frame.kind == frameSettings && w.left <= maxSettings*settingBytes
	if !whole || !w.inside || w.left != w.frame.length || w.left > len(p) {
		return c.Conn.Read(p)
	}
	n, err := io.ReadFull(c.Conn, p[:w.left])
	if err == nil && w.frame.kind == frameSettings {
		dropDuplicates(p[:n])
		keepFramesSmall(p[:n])
	}
	return n, err
}

// watch follows the frames that came in.
func (c *http2Conn) watch(p []byte) {
	for len(p) > 0 || c.in.due() {
		w := &c.in
		if at := w.frame.length - w.left; w.inside && w.left > 0 {
			c.received(p[:min(len(p), w.left)], at)
		}
		n, event := w.next(p)
		p = p[n:]
		switch event {
		case frameBegun:
			c.begun(w.frame)
		case frameEnded:
			c.ended(w.frame)
		case frameGoesOn:
		}
	}
}

// received takes a piece of a payload.
func (c *http2Conn) received(p []byte, at int) {
	if c.in.frame.kind != framePreface {
		c.requests.payload(c.in.frame, at, p)
	} else if clientPreface[at:at+len(p)] != string(p) && !c.strange {
		c.strange = true // net/http hangs up
		c.count(http2Malformed)
	}
}

// ended is for the end of a frame.
func (c *http2Conn) ended(f frame) {
	last := f.inBlock() && f.has(flagEndHeaders)
	if last {
		c.open = false
	}
	// END_STREAM is a flag of HEADERS, and waits for the end of the block.
	if f.kind == frameHeaders || f.kind == frameData {
		c.lastOfStream = f.has(flagEndStream)
	}
	c.requests.end(f, last, c.lastOfStream && (last || f.kind == frameData))
}

// begun judges a frame by its header.
func (c *http2Conn) begun(f frame) {
	c.requests.begin(f, f.stream > c.last.Load())
	switch f.kind {
	case frameHeaders:
		c.open, c.block, c.continuations = true, f.length, 0
		if f.stream > c.last.Load() {
			c.unanswered.Add(1)
		}
		c.last.Store(max(c.last.Load(), f.stream))
		c.earn(1) // for the stream's window, which some set when they open it
	case frameContinuation:
		c.block += f.length
		c.continuations++
		if c.block > maxBlockBytes || c.continuations > maxContinuations {
			c.refuse(http2HeaderLen)
		}
	case frameReset:
		c.spend(&c.odd, http2Odd)
	case frameData:
		if tiny := f.length < tinyData || f.has(flagPadded) && f.length <= maxPadding; tiny && !f.has(flagEndStream) {
			c.spend(&c.control, http2Control)
		}
	case frameWindowUpdate:
		if c.credit.Add(-1) < 0 {
			c.credit.Add(1)
			c.spend(&c.control, http2Control)
		}
	default:
		c.spend(&c.control, http2Control)
	}
}

// earn lets the client send n more WINDOW_UPDATE frames.
func (c *http2Conn) earn(n int64) {
	if c.credit.Load() < maxWindowCredit {
		c.credit.Add(n)
	}
}

func (c *http2Conn) spend(b *budget, why reason) {
	now := time.Now()
	c.mu.Lock()
	fine := b.spend(now, 1)
	c.mu.Unlock()
	if !fine {
		c.refuse(why)
	}
}

// refuse makes the connection end; who reads or writes next does it.
func (c *http2Conn) refuse(why reason) {
	if why != http2HeaderLen && c.guard.trusted || !c.why.CompareAndSwap(int32(allowed), int32(why)) {
		return
	}
	c.count(why)
}

// count counts a refusal, also against the client.
func (c *http2Conn) count(why reason) {
	c.guard.refusals.add(why, c.RemoteAddr().String())
	c.place().offend(why.points())
}

// requestRefused counts a request that net/http refuses.
func (c *http2Conn) requestRefused(why reason) {
	c.count(why)
	if why == headerBytes { // which has an answer: a reset is an odd event anyway
		c.spend(&c.odd, http2Odd)
	}
}

func (c *http2Conn) refused() bool { return c.why.Load() != int32(allowed) }

// Write implements net.Conn. When the client is refused, it writes up to the end of the
// frame that is under way, and takes the rest without writing it: after an error
// net/http would close the connection before the client has seen GOAWAY. Nobody is
// misled for long, as the client's windows do not grow any more. Hot path: a lock, and one
// look for each frame.
func (c *http2Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.over {
		return len(p), nil
	}
	n := 0
	if !c.refused() || !c.atBorder() {
		n = c.watchOut(p)
	}
	wrote, err := c.Conn.Write(p[:n])
	c.sent.Add(int64(wrote))
	if err != nil || !c.refused() || !c.atBorder() {
		return wrote, err
	}
	c.sayGoAwayLocked()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetReadDeadline(time.Now()) // wakes the reader, which ends the connection
	return len(p), nil
}

// watchOut follows the frames that go out, and tells how much of p may: up to the
// first border once the client is refused.
func (c *http2Conn) watchOut(p []byte) int {
	n := 0
	for n < len(p) || c.out.due() {
		took, event := c.out.next(p[n:])
		n += took
		switch f := c.out.frame; event {
		case frameBegun:
			switch f.kind {
			case frameData:
				c.earn(2 + int64(f.length/windowBytesPerUpdate))
			case frameHeaders:
				c.answer()
			}
		case frameEnded:
			c.requests.sent(f, c.out.code)
			if f.kind == frameReset && blames(c.out.code) {
				c.spend(&c.odd, http2Odd)
			}
			if c.refused() {
				return n
			}
		case frameGoesOn:
		}
	}
	return n
}

// atBorder tells whether a frame of ours may be written: between two others, but not
// before the first, which has to be SETTINGS.
func (c *http2Conn) atBorder() bool { return c.out.border() && c.out.frame != (frame{}) }

// sayGoAwayLocked ends the writing.
func (c *http2Conn) sayGoAwayLocked() {
	_, _ = c.Conn.Write(goAway(c.last.Load())) // it goes or it does not
	c.over = true
	close(c.said)
}

// end ends the connection; the reader does it. It waits for the writer to come to the
// border of a frame, and for the client to hear of it, but not for long.
func (c *http2Conn) end() {
	c.mu.Lock()
	_ = c.Conn.SetWriteDeadline(time.Now().Add(goAwayWait)) // a write that is stuck ends with it
	c.mu.Unlock()
	c.writing.Lock()
	if !c.over && c.atBorder() {
		c.sayGoAwayLocked()
	}
	c.writing.Unlock()
	timer := time.NewTimer(goAwayWait)
	defer timer.Stop()
	select {
	case <-c.said:
		if l, ok := c.Conn.(lingerer); ok {
			l.linger(goAwayWait, lingerBytes)
		}
	case <-timer.C:
	}
	_ = c.Close()
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

// SetWriteDeadline implements net.Conn. It is ignored when the connection is about to
// end, which has a deadline of its own.
func (c *http2Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// setDeadline arms the read deadline when a header block, a frame header or SETTINGS are
// begun and disarms it when they are whole. The deadline stays where it was while the
// block goes on, so that one byte now and then does not help.
func (c *http2Conn) setDeadline() {
	want := c.open || c.in.have > 0 || c.in.inside && c.in.frame.kind == frameSettings
	if want == c.armed {
		return
	}
	c.armed = want
	var deadline time.Time
	if want {
		deadline = time.Now().Add(c.guard.timeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.refused() {
		_ = c.SetReadDeadline(deadline) // on a closed connection the next Read tells
	}
}
