package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/qlogwriter"
	"github.com/quic-go/quic-go/quicvarint"
)

// noStream is greater than the number of any request stream (RFC 9114, 5.2).
const noStream = 1<<62 - 4

// quicConn is one HTTP/3 connection.
type quicConn struct {
	part     *quicPart
	conn     *quic.Conn
	settings *quic.SendStream    // the control stream, for drain alone
	qlog     qlogwriter.Recorder // nil where the connection is not traced

	running atomic.Int64 // requests
	rested  atomic.Int64 // when the last of them ended; nanoseconds since 1970
	refused atomic.Bool
	tls     atomic.Pointer[tls.ConnectionState] // once the handshake is complete
	client  atomic.Pointer[clientAddress]
	path    path

	control, encoder, decoder atomic.Bool // the client's streams of these types are there

	mu      sync.Mutex // guards the fields below
	idle    *time.Timer
	odd     budget
	empty   budget        // frames that ask for nothing
	next    quic.StreamID // of the first request stream that has not come
	last    quic.StreamID // requests from it on are rejected
	streams map[quic.StreamID]*http3Stream
	ranks   ranks
}

// clientAddress is the address of a client as text. It changes with the client's path.
type clientAddress struct {
	addr net.Addr
	text string
}

// newQUICConn opens the control stream and says on it what we allow (RFC 9114, 7.2.4): a
// field section of so many bytes, no dynamic table of QPACK, no push.
func newQUICConn(p *quicPart, conn *quic.Conn) (*quicConn, error) {
	c := &quicConn{
		part: p, conn: conn, last: noStream, streams: map[quic.StreamID]*http3Stream{},
		odd: budget{limit: oddEvents}, empty: budget{limit: controlFrames},
	}
	var err error
	if c.settings, err = conn.OpenUniStream(); err != nil {
		return nil, err
	}
	setting := quicvarint.Append([]byte{settingMaxFieldSection}, maxHeaderBytes)
	if _, err := c.settings.Write(append([]byte{streamControl, h3Settings, byte(len(setting))}, setting...)); err != nil {
		return nil, err
	}
	if trace := conn.QlogTrace(); trace != nil {
		c.qlog = trace.AddProducer()
	}
	return c, nil
}

// serve returns when the connection has ended and its goroutines with it.
func (c *quicConn) serve() {
	if c.qlog != nil {
		defer func() { _ = c.qlog.Close() }() // the file tells
	}
	if c.part.draining.Load() { // a connection that drain has not seen
		c.close()
		return
	}
	c.rested.Store(time.Now().UnixNano())
	c.place().become(c.close, c.idleSince)
	c.mu.Lock()
	c.idle = time.AfterFunc(c.part.idle, c.expire)
	c.mu.Unlock()
	defer c.stopIdle()
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		select {
		case <-c.conn.HandshakeComplete():
		case <-c.conn.Context().Done(): // an address that was forged, perhaps
			return
		}
		c.part.stats.http3.connected()
		defer c.part.stats.http3.disconnected()
		for {
			str, err := c.conn.AcceptUniStream(context.Background()) // until the connection ends
			if err != nil {
				return
			}
			streams.Go(func() { c.guard(func() { c.serveUni(str) }) })
		}
	})
	for {
		str, err := c.conn.AcceptStream(context.Background()) // until the connection ends
		if err != nil {
			return
		}
		s := c.admit(str)
		if s == nil {
			// RFC 9114, 4.1.1: not processed, so the client may send it again elsewhere.
			str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			continue
		}
		streams.Go(func() {
			c.guard(s.serve)
			c.leave(s)
		})
	}
}

// expire ends a connection that had no request for too long. No request moves the timer:
// it looks again when it must.
func (c *quicConn) expire() {
	left := c.part.idle
	if c.running.Load() == 0 {
		left -= time.Since(time.Unix(0, c.rested.Load()))
	}
	if left <= 0 {
		c.close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn.Context().Err() == nil {
		c.idle.Reset(left)
	}
}

// idleSince is 0 while a request runs.
func (c *quicConn) idleSince() int64 {
	if c.running.Load() > 0 {
		return 0
	}
	return c.rested.Load()
}

func (c *quicConn) stopIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle.Stop()
}

// admit takes a stream into the connection; nil when the client was told that it would not
// be answered.
func (c *quicConn) admit(str *quic.Stream) *http3Stream {
	_ = str.SetReadDeadline(time.Now().Add(c.part.timeout)) // it cannot fail
	s := &http3Stream{Context: str.Context(), conn: c, str: str, frames: frameReader{str: str}, rank: rank{priority: defaultPriority()}}
	s.response = http3Response{responseHead: responseHead{sender: &s.response, fields: http.Header{}, length: -1}, stream: s}
	id := str.StreamID()
	c.mu.Lock()
	defer c.mu.Unlock()
	if id >= c.last {
		return nil
	}
	c.next = id + 4
	c.streams[id] = s
	s.rankLocked(func(r *rank) { *r = c.ranks.arrive(uint64(id)) })
	c.running.Add(1)
	return s
}

// leave takes it out again.
func (c *quicConn) leave(s *http3Stream) {
	c.mu.Lock()
	delete(c.streams, s.str.StreamID())
	c.mu.Unlock()
	c.judge(s.str)
	c.rested.Store(time.Now().UnixNano())
	c.running.Add(-1)
}

// serve answers the request.
func (s *http3Stream) serve() {
	defer s.release()
	if !s.readRequest() {
		return
	}
	c, r := s.conn, s.request
	r.RemoteAddr = c.remoteAddr()
	early := c.tlsState(r)
	c.mu.Lock()
	s.rankLocked(func(k *rank) { c.ranks.obey(k, r.Header["Priority"]) })
	c.mu.Unlock()
	s.response.head = r.Method == http.MethodHead
	s.request = r.WithContext(s)
	s.finish(s.handle(early))
}

// handle calls the Handler. It is false if that panicked, of which the entry has told.
func (s *http3Stream) handle(early bool) (whole bool) {
	defer func() { whole = recover() == nil }()
	if early {
		// Anybody may send it again (RFC 8470, 4 and 5.2).
		if m := s.request.Method; m != http.MethodGet && m != http.MethodHead {
			s.count(earlyData)
			s.response.WriteHeader(http.StatusTooEarly)
			return true
		}
		s.request.Header["Early-Data"] = []string{"1"} // RFC 8470, 5.1: whoever is asked next has to know
	}
	s.conn.part.handler.ServeHTTP(&s.response, s.request)
	return true
}

// tlsState gives a request the state of TLS, and tells whether the client has still to prove
// that it is there now.
func (c *quicConn) tlsState(r *http.Request) (early bool) {
	if r.TLS = c.tls.Load(); r.TLS != nil {
		return false
	}
	select {
	case <-c.conn.HandshakeComplete():
	default:
		early = true
	}
	state := c.conn.ConnectionState().TLS
	if r.TLS = &state; !early {
		c.tls.Store(r.TLS)
	}
	return early
}

// remoteAddr is where the client is now, as text.
func (c *quicConn) remoteAddr() string {
	addr := c.conn.RemoteAddr()
	if known := c.client.Load(); known != nil && known.addr == addr {
		return known.text
	}
	now := &clientAddress{addr: addr, text: addr.String()}
	c.client.Store(now)
	return now.text
}

// drain tells the client to send no more requests, waits until none runs and all is
// delivered, and closes the connection. An answer is delivered some time after its
// handler has returned, and quic-go does not say when; a connection that sends nothing
// more has nothing more to deliver.
func (c *quicConn) drain(ctx context.Context) {
	tick := time.NewTicker(lingerStep)
	defer tick.Stop()
	c.goAway(noStream)
	sent, quiet, told := uint64(0), time.Duration(0), false
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			c.close()
			return
		case <-c.conn.Context().Done():
			return
		case <-tick.C:
		}
		stats := c.conn.ConnectionStats()
		if !told && time.Since(begun) >= stats.SmoothedRTT {
			// RFC 9114, 5.2: what was under way when the client heard of it has come.
			told = true
			c.goAway(c.shut())
		}
		if c.running.Load() > 0 || stats.BytesSent != sent {
			sent, quiet = stats.BytesSent, 0
			continue
		}
		if quiet += lingerStep; told && quiet >= lingerQuiet {
			c.close()
			return
		}
	}
}

// reprioritize handles PRIORITY_UPDATE.
func (c *quicConn) reprioritize(id quic.StreamID, said string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.streams[id]
	switch {
	case ok:
		s.rankLocked(func(r *rank) { c.ranks.update(uint64(id), r, said) })
	case id < c.next: // it has ended
		c.ranks.said = true
	default:
		c.ranks.update(uint64(id), nil, said)
	}
}

// shut rejects the requests that have not come yet, and returns the first of them.
func (c *quicConn) shut() quic.StreamID {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = c.next
	return c.last
}

// goAway tells the client that requests from a stream on will not be answered.
func (c *quicConn) goAway(from quic.StreamID) {
	b := quicvarint.Append([]byte{h3GoAway, byte(quicvarint.Len(uint64(from)))}, uint64(from))
	if c.qlog != nil {
		c.traceGoAway(from)
	}
	_, _ = c.settings.Write(b) // the end of the connection tells as much
}

func (c *quicConn) close() {
	_ = c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // closed is closed
}

// refuse ends the connection, and counts why.
func (c *quicConn) refuse(why reason, code http3.ErrCode) {
	if c.refused.CompareAndSwap(false, true) {
		c.part.stats.refusals.add(why, c.conn.RemoteAddr().String())
		c.offend(why)
		_ = c.conn.CloseWithError(quic.ApplicationErrorCode(code), why.String()) // closed is closed
	}
}

// offend counts against the client what it did, once its address is known to be its own.
func (c *quicConn) offend(why reason) {
	select {
	case <-c.conn.HandshakeComplete():
		c.place().offend(why.points())
	default:
	}
}

func (c *quicConn) place() *seat {
	s, _ := c.conn.Context().Value(seatKey{}).(*seat) // nil is no seat
	return s
}

// malformed ends the connection for a breach of RFC 9114 or 9204.
func (c *quicConn) malformed(code http3.ErrCode) { c.refuse(http3Malformed, code) }

// judge counts a request stream that came to an odd end against the budget of the
// connection: one that the client gave up, or that was malformed.
func (c *quicConn) judge(str *quic.Stream) {
	reset, ok := errors.AsType[*quic.StreamError](context.Cause(str.Context()))
	if !ok {
		return
	}
	switch code := http3.ErrCode(reset.ErrorCode); {
	case reset.Remote, code == http3.ErrCodeRequestIncomplete, code == http3.ErrCodeMessageError, code == http3.ErrCodeExcessiveLoad:
		c.spendOdd()
	}
}

// spendOdd counts an odd event, and ends the connection where that was one too many.
func (c *quicConn) spendOdd() {
	if !c.part.trusted && !c.spend(&c.odd) {
		c.refuse(http3Odd, http3.ErrCodeExcessiveLoad)
	}
}

// spendIdle counts a frame that asks for nothing. It is false when that was one too many.
func (c *quicConn) spendIdle() bool {
	if c.part.trusted || c.spend(&c.empty) {
		return true
	}
	c.refuse(http3Control, http3.ErrCodeExcessiveLoad)
	return false
}

func (c *quicConn) spend(b *budget) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.spend(now, 1)
}
