package front

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// http2Stream is a request, and the context of it, which ends with the stream.
type http2Stream struct {
	context.Context // of the stream

	conn     *http2Conn
	id       uint32
	end      context.CancelCauseFunc
	request  *http.Request // of the goroutine that serves it; nil: its header is too large
	response http2Response
	body     http2Body
	begun    atomic.Bool   // the response has begun; see answer
	wake     chan struct{} // has a value when something below has changed

	// The fields below are guarded by the mutex of conn.
	rank     rank
	err      error     // why nothing can be sent any more
	window   int64     // bytes of the body that the client leaves for us to send
	want     int64     // bytes that it waits to send
	closed   bool      // the response is over
	granted  bool      // it has the turn to send, and does not know yet
	stuck    bool      // it has the turn, and waits for the socket
	served   uint64    // the turn that it had last
	deadline time.Time // of a write; zero: none
	span     time.Duration
	sent     int64 // bytes of the body since the deadline was set
}

// newHTTP2Stream is a stream that has come. Whole is a request without a body.
func newHTTP2Stream(c *http2Conn, id uint32, r *http.Request, whole bool) *http2Stream {
	s := &http2Stream{conn: c, id: id, request: r, wake: make(chan struct{}, 1)}
	s.Context, s.end = context.WithCancelCause(c.ctx)
	s.response = http2Response{responseHead: responseHead{sender: &s.response, fields: http.Header{}, length: -1}, stream: s}
	s.body = http2Body{stream: s, length: -1, receive: streamWindow}
	if r != nil {
		s.body.length = r.ContentLength
		s.response.head = r.Method == http.MethodHead
	}
	switch {
	case whole:
		s.body.ended = io.EOF
		if r != nil {
			r.ContentLength, r.Body = 0, http.NoBody
		}
	default:
		s.body.readable = make(chan struct{}, 1)
		if r != nil {
			r.Body = &s.body
			s.body.waits = r.Header["Expect"] != nil
		}
	}
	return s
}

// Value implements context.Context.
func (s *http2Stream) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey:
		return s.conn.conn.LocalAddr()
	case connKey{}:
		return s.conn
	}
	return s.Context.Value(key)
}

// cancel ends the context. It is called without a lock.
func (s *http2Stream) cancel(why error) { s.end(why) }

// serve answers the request.
func (s *http2Stream) serve() {
	defer s.conn.leave(s)
	defer s.conn.part.stats.caught(s.conn.part.log, "a stream of HTTP/2", func() { s.abort(codeInternalError) })
	if s.request == nil {
		s.response.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		s.finish(true)
		return
	}
	s.request = s.request.WithContext(s)
	s.finish(s.handle())
}

// handle calls the Handler. It is false if that panicked, of which the entry has told.
func (s *http2Stream) handle() (whole bool) {
	defer func() { whole = recover() == nil }()
	s.conn.part.handler.ServeHTTP(&s.response, s.request)
	return true
}

// finish ends the stream when the Handler has returned. Whole is false when it panicked.
func (s *http2Stream) finish(whole bool) {
	if !whole || !s.response.finish() {
		s.abort(codeInternalError)
	}
	c := s.conn
	unread, over := s.body.close()
	c.mu.Lock()
	if s.err == nil && !over { // RFC 9113, 8.1: what is left is not wanted
		c.resetLocked(s.id, codeNoError)
	}
	c.creditLocked(unread)
	c.mu.Unlock()
}

// abort resets the stream.
func (s *http2Stream) abort(code h2Code) {
	c := s.conn
	c.mu.Lock()
	if s.err == nil {
		s.failLocked(http.ErrAbortHandler)
		c.resetLocked(s.id, code)
	}
	c.mu.Unlock()
}

// failLocked ends the stream for whoever reads or writes. The context is the caller's to end, without the lock.
func (s *http2Stream) failLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.body.fail(err)
	s.wakeUp()
	if s.stuck {
		_ = s.conn.conn.SetWriteDeadline(time.Now()) // wakes who waits for the socket
	}
}

// isOverLocked tells whether nothing may come on the stream any more, though its Handler may run.
func (s *http2Stream) isOverLocked() bool { return s.err != nil || s.closed && s.body.over() }

func (s *http2Stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it knows
	}
}

// setDeadline sets that of the writes.
func (s *http2Stream) setDeadline(t time.Time) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.deadline, s.span, s.sent = t, time.Until(t), 0
	if s.want > 0 {
		s.wakeUp()
	}
}

// renewLocked begins the deadline anew where enough was sent in its time; else it is false.
func (s *http2Stream) renewLocked(now time.Time) bool {
	if now.Before(s.deadline) {
		return true
	}
	if s.sent <= 0 || float64(s.sent) < leastBytesPerSecond*s.span.Seconds() {
		return false
	}
	s.deadline, s.sent = now.Add(s.span), 0
	return true
}

// http2Body is the body of a request.
type http2Body struct {
	stream *http2Stream

	mu       sync.Mutex // guards the fields below
	buf      []byte     // what has come
	at       int        // of it was read
	length   int64      // that the request announced; -1 for none
	received int64
	receive  int64 // that the client may send, and
	returned int64 // that it may again, but has not been told
	waits    bool  // the client does, for 100 (RFC 9110, 10.1.1)
	closed   bool  // nobody reads it any more
	ended    error // what comes behind the last byte
	trailer  http.Header
	deadline time.Time
	readable chan struct{} // has a value when there may be more
}

// over tells whether the client has sent its last byte.
func (b *http2Body) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended != nil
}

// expect tells whether a frame of the body is within the window, and its content within what was announced.
func (b *http2Body) expect(frame, content int) (fits, announced bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receive -= int64(frame)
	b.received += int64(content)
	if padding := int64(frame - content); padding > 0 {
		b.returned += padding
	}
	return b.receive >= 0, b.length < 0 || b.received <= b.length
}

// write takes bytes that have come.
func (b *http2Body) write(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		c := b.stream.conn
		b.mu.Unlock()
		c.mu.Lock()
		c.creditLocked(int64(len(p)))
		c.mu.Unlock()
		b.mu.Lock()
		return
	}
	b.buf = append(b.buf, p...)
	b.notify()
}

// finish is for the last byte. It is false where that came too early.
func (b *http2Body) finish(trailer http.Header) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.length > b.received {
		return false
	}
	b.trailer = trailer
	if b.ended == nil {
		b.ended = io.EOF
	}
	b.notify()
	return true
}

func (b *http2Body) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		b.ended = err
		b.notify()
	}
}

func (b *http2Body) notify() {
	select {
	case b.readable <- struct{}{}:
	default: // it knows, or nobody can wait
	}
}

// Read implements io.Reader.
func (b *http2Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waits {
		b.waits = false
		b.mu.Unlock()
		b.stream.response.proceed()
		b.mu.Lock()
	}
	for {
		switch {
		case b.closed:
			return 0, http.ErrBodyReadAfterClose
		case len(p) == 0:
			return 0, nil
		case b.at < len(b.buf):
			n := copy(p, b.buf[b.at:])
			if b.at += n; b.at == len(b.buf) {
				b.buf, b.at = b.buf[:0], 0
			}
			b.mu.Unlock()
			b.give(n)
			b.mu.Lock()
			return n, nil
		case b.ended != nil:
			b.settleTrailerLocked()
			return 0, b.ended
		}
		if err := b.awaitLocked(); err != nil {
			return 0, err
		}
	}
}

// settleTrailerLocked gives the Handler's request its trailers, in the Handler's goroutine.
func (b *http2Body) settleTrailerLocked() {
	r := b.stream.request
	if b.trailer == nil || r == nil {
		return
	}
	if r.Trailer == nil {
		r.Trailer = http.Header{}
	}
	for name, values := range b.trailer {
		r.Trailer[name] = values
	}
	b.trailer = nil
}

// awaitLocked waits for more.
func (b *http2Body) awaitLocked() error {
	deadline := b.deadline
	b.mu.Unlock()
	defer b.mu.Lock()
	if deadline.IsZero() {
		<-b.readable
		return nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-b.readable:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// give lets the client send n more bytes.
func (b *http2Body) give(n int) {
	b.mu.Lock()
	update := int64(0)
	if b.returned += int64(n); b.returned >= streamWindow/2 && b.ended == nil {
		update, b.returned = b.returned, 0
		b.receive += update
	}
	b.mu.Unlock()
	s, c := b.stream, b.stream.conn
	c.mu.Lock()
	c.creditLocked(int64(n))
	if update > 0 && s.err == nil {
		c.queue = appendWindowUpdate(c.queue, s.id, update)
	}
	c.mu.Unlock()
	if update > 0 {
		c.flush()
	}
}

// Close implements io.Closer.
func (b *http2Body) Close() error {
	c := b.stream.conn
	unread, _ := b.close()
	c.mu.Lock()
	c.creditLocked(unread)
	c.mu.Unlock()
	return nil
}

// close tells how much was not read, and whether all had come.
func (b *http2Body) close() (unread int64, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	unread = int64(len(b.buf) - b.at)
	b.buf, b.at, b.closed = nil, 0, true
	b.notify()
	return unread, b.ended != nil
}

// setDeadline sets that of reads.
func (b *http2Body) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.notify()
}
