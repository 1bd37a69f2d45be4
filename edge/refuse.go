package edge

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"weir/edge/field"
	"weir/edge/token"
)

// refusal is a request turned away: status, a token for counters, and a line
// for the client.
type refusal struct {
	status int
	reason string
	text   string
	kind   field.ProxyError
	retry  time.Duration // when it may be tried again; 0: that is not said

	problem bool // the line goes out in a document (RFC 9457)
}

// Reasons lists why requests are refused: all values that Exchange.Reason has then.
func Reasons() []string {
	reasons := []string{
		"method", "body", "target", "site", "loop", "access", "only-if-cached", "device",
		"client-rate", "network-rate", "token-rate", "site-rate", "client-concurrency", "network-concurrency", "token-concurrency", "site-concurrency",
		"overload-segment-miss", "overload-playlist-miss", "overload-segment-hit", "overload-playlist-hit",
	}
	for _, r := range token.Reasons() {
		reasons = append(reasons, string(r))
	}
	return reasons
}

// refusals counts, and keeps the log from being a client's to fill. Safe for
// concurrent use.
type refusals struct {
	counts map[string]*atomic.Int64 // by the reason; the map does not change
	seldom
}

func newRefusals() *refusals {
	r := &refusals{counts: map[string]*atomic.Int64{}}
	for _, reason := range Reasons() {
		r.counts[reason] = new(atomic.Int64)
	}
	return r
}

// seldom keeps lines of the log apart: one a second. Safe for concurrent use.
type seldom struct {
	silent atomic.Int64 // since the last line
	logged atomic.Int64 // when that was, Unix seconds
}

// note counts a refusal. quiet is how many were not logged since the last line, and
// log tells whether this one is to be: one a second is.
func (r *refusals) note(reason string, now time.Time) (log bool, quiet int64) {
	if n := r.counts[reason]; n != nil {
		n.Add(1)
	}
	return r.due(now)
}

// due tells whether a line is due, and how many were not written since the last one.
func (s *seldom) due(now time.Time) (yes bool, quiet int64) {
	last := s.logged.Load()
	if now.Unix() == last || !s.logged.CompareAndSwap(last, now.Unix()) {
		s.silent.Add(1)
		return false, 0
	}
	return true, s.silent.Swap(0)
}

// reuses counts tokens that are used again and ask for that to be told (catreplay 2). Safe for concurrent use.
type reuses struct {
	count atomic.Int64
	seldom
}

// Reused is how many requests came with a token that asks for its reuse to be told, and was seen on this node before.
func (e *Edge) Reused() int64 { return e.reused.count.Load() }

// noteReused counts one, and logs one a second.
func (e *Edge) noteReused(x *Exchange, key string) {
	e.reused.count.Add(1)
	if log, quiet := e.reused.due(x.Start); log {
		r := x.Request
		e.options.Log.Info("a token is used again", "key", key, "client", r.RemoteAddr, "host", clipped(r.Host), "path", clipped(x.Target.Path), "more", quiet)
	}
}

// Refused is how many requests were refused for one of the [Reasons].
func (e *Edge) Refused(reason string) int64 {
	n := e.refused.counts[reason]
	if n == nil {
		return 0
	}
	return n.Load()
}

// noteRefused counts a refusal, and logs one a second.
func (e *Edge) noteRefused(x *Exchange) {
	log, quiet := e.refused.note(x.Reason, x.Start)
	if !log {
		return
	}
	r, path, why := x.Request, x.Target.Path, "" // the target is free of tokens
	if path == "" {
		path = r.URL.Path
	}
	if x.Err != nil {
		why = x.Err.Error()
	}
	e.options.Log.Info("request refused", "reason", x.Reason, "status", x.Status, "client", r.RemoteAddr, "method", clipped(r.Method), "host", clipped(r.Host),
		"path", clipped(path), "why", why, "more", quiet)
}

// clipped keeps what a client sent from filling the log.
func clipped(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// refuse answers a refusal; framing errors end the connection.
func (e *Edge) refuse(x *Exchange, no *refusal) {
	x.Outcome, x.Reason = Refused, no.reason
	h := x.w.Header()
	if x.Request.ProtoMajor == 1 && no.reason == "body" {
		h.Set("Connection", "close")
	}
	if no.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if no.retry > 0 { // RFC 9110, 10.2.3: whole seconds
		h.Set("Retry-After", strconv.FormatInt(int64((no.retry+time.Second-1)/time.Second), 10))
	}
	why := field.ProxyStatus{Node: e.options.Name, Error: no.kind}
	why.Add(h)
	if no.problem {
		e.problem(x, no.reason, no.status, http.StatusText(no.status), no.text)
		return
	}
	e.text(x, no.status, no.text)
}
