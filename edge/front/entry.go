package front

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
)

// closedBit in entry.running says that no further request may enter; the bits
// below it count the running ones.
const (
	closedBit   = 1 << 62
	runningMask = closedBit - 1
)

// entry is what all protocols call for a request: it counts, announces HTTP/3,
// keeps a panic inside its request, and knows when the last request has ended.
type entry struct {
	next  http.Handler
	stats *counters
	log   *slog.Logger
	// fields is how many field lines a request may have.
	fields int

	running  atomic.Int64
	idleOnce sync.Once
	idle     chan struct{} // closed when closedBit is set and no request runs
}

// via returns the handler for one protocol. AltSvc is the Alt-Svc field value for its
// responses, empty for none.
func (e *entry) via(p *protocolCounters, altSvc string) http.Handler {
	var announce []string
	if altSvc != "" {
		announce = []string{altSvc}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.enter() {
			panic(http.ErrAbortHandler)
		}
		defer e.leave()
		p.requests.Add(1)
		conn := r.Context().Value(connKey{})
		if c, ok := conn.(seated); ok {
			c.place().use()
		}
		if status, why := e.gate(r); status != 0 {
			if why != allowed {
				e.count(r, conn, why)
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		if announce != nil {
			w.Header()["Alt-Svc"] = announce
		}
		defer e.recover(r)
		e.next.ServeHTTP(newResponseWriter(w, r, conn), r)
	})
}

// count counts a refusal, also against the client.
func (e *entry) count(r *http.Request, conn any, why reason) {
	e.stats.refusals.add(why, r.RemoteAddr)
	switch c := conn.(type) {
	case *http3Stream:
		c.conn.offend(why)
	case seated:
		c.place().offend(why.points())
	}
}

// gate returns the status of the answer to a request that the Handler should not see, or 0. The reason is allowed where
// the refusal is counted elsewhere.
func (e *entry) gate(r *http.Request) (int, reason) {
	fields := 0
	for _, values := range r.Header {
		fields += len(values)
	}
	if fields > e.fields {
		return http.StatusRequestHeaderFieldsTooLarge, tooManyFields
	}
	if r.ProtoMajor > 1 {
		return gateFields(r)
	}
	return 0, allowed
}

// gateFields holds a request of HTTP/2 or HTTP/3 to what the guard holds those of HTTP/1.1 to, where the protocols' own
// servers do not. Hot path: a look at both ends of each value.
func gateFields(r *http.Request) (int, reason) {
	for _, values := range r.Header {
		for _, v := range values {
			if v != "" && (isBlank(v[0]) || isBlank(v[len(v)-1])) { // RFC 9113, 8.2.1; RFC 9114, 4.2
				return http.StatusBadRequest, badField
			}
		}
	}
	// RFC 9113, 8.1.1; RFC 9114, 4.1.2: a length is one number, and that of the body.
	if length, ok := r.Header["Content-Length"]; ok {
		var w http1Walk
		if len(length) > 1 || !w.length([]byte(length[0])) || w.left > 0 && r.ContentLength == 0 {
			return http.StatusBadRequest, badField
		}
	}
	// RFC 9110, 10.1.1: what is expected and cannot be done is told.
	if expect, ok := r.Header["Expect"]; ok && (len(expect) > 1 || !strings.EqualFold(expect[0], "100-continue")) {
		return http.StatusExpectationFailed, expectation
	}
	return 0, allowed
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// recover turns any panic of the handler into http.ErrAbortHandler, for which every
// protocol has a way to end the response visibly.
func (e *entry) recover(r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
		e.stats.panics.Add(1)
		e.log.Error("handler panicked", "method", r.Method, "host", r.Host, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	}
	// A body without a length, which only HTTP/1.0 has, ends with the connection: a
	// clean close would look like its end.
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		if c, ok := r.Context().Value(connKey{}).(aborter); ok {
			c.abort()
		}
	}
	panic(http.ErrAbortHandler)
}

func (e *entry) enter() bool {
	if e.running.Add(1)&closedBit == 0 {
		return true
	}
	e.leave()
	return false
}

func (e *entry) leave() {
	if e.running.Add(-1) == closedBit {
		// Latecomers that are refused come through here, too.
		e.idleOnce.Do(func() { close(e.idle) })
	}
}

// close lets nobody in any more and waits for those inside. It is called once.
func (e *entry) close() {
	if e.running.Add(closedBit) == closedBit {
		return
	}
	<-e.idle
}

// connKey is the key under which a request's context holds its connection; of HTTP/3 its stream.
type connKey struct{}

// An aborter is a connection that can be ended so that the client sees a reset.
type aborter interface{ abort() }

func withConn(ctx context.Context, c any) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
