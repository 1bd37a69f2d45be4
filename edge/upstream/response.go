package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Response is an upstream's answer. Its Body must be closed; one goroutine at
// a time may read it.
type Response struct {
	Status       int
	Header       http.Header
	Length       int64 // body bytes promised, -1 unknown
	Body         io.ReadCloser
	From         Source
	Node         string             // name of the peer that answered, "" for an origin
	Protocol     string             // its ALPN name: "http/1.0", "http/1.1" or "h2"
	Trailer      func() http.Header // the trailer section, once Body has given io.EOF; nil for none
	RequestTime  time.Time          // just before the request was sent
	ResponseTime time.Time          // when the head had arrived
}

// watch limits each wait of one fetch by cancelling its context. The zero
// wait means none.
type watch struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex  // guards the fields below
	timer  *time.Timer // nil once stopped
	cause  error
}

func newWatch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{cancel: cancel}
}

// expect allows the next step d, after which the fetch ends with cause.
func (w *watch) expect(d time.Duration, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = cause
	if w.timer != nil {
		w.timer.Reset(d)
		return
	}
	w.timer = time.AfterFunc(d, w.fire)
}

func (w *watch) fire() {
	w.mu.Lock()
	cause := w.cause
	w.mu.Unlock()
	if cause != nil {
		w.cancel(cause)
	}
}

// pause lifts the limit until the next expect.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = nil
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) end() {
	w.pause()
	w.cancel(errFinished)
}

// body is a response body that fails with an *Error and enforces the stall
// time-out, counted only while a Read waits.
type body struct {
	rc    io.ReadCloser
	ctx   context.Context // of the fetch: its cause tells a stall
	watch *watch
	stall time.Duration
	left  int64 // promised bytes still to come, -1 unknown
	op    string
	from  Source
	count *counts
	once  sync.Once // ends running
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.expect(b.stall, errStalled)
	n, err := b.rc.Read(p)
	b.watch.pause()
	b.count.bytes.Add(int64(n))
	if b.left >= 0 {
		b.left -= int64(n)
	}
	if err == nil || err == io.EOF && b.left <= 0 {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.count.broken.Add(1)
	kind := kindOf(b.ctx, err)
	cause := context.Cause(b.ctx)
	if cause == nil || errors.Is(cause, errStalled) {
		b.count.failed(kind)
	}
	if cause != nil {
		err = cause
	}
	return n, &Error{Op: b.op, Source: b.from, Kind: kind, Err: err}
}

func (b *body) Close() error {
	b.watch.end()
	b.once.Do(func() { b.count.running.Add(-1) })
	return b.rc.Close()
}
