package proof

import (
	"crypto/tls"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// writeBytes is how much of a body the origin computes at a time.
const writeBytes = 32 << 10

// maxParts is the most ranges the origin answers with a multipart body; a
// request for more gets the whole.
const maxParts = 64

// resetLinger is how long an HTTP/3 response waits before it breaks off: a
// reset stream throws away all that has not been delivered (RFC 9000, 3.2), the
// head included.
const resetLinger = 100 * time.Millisecond

// answer is one response of an Origin being written.
type answer struct {
	origin *Origin
	seen   *Seen
	path   string
	w      http.ResponseWriter
	r      *http.Request
	plan   plan
	truth  Truth
	next   *Body // the version that a mix fault goes on with
}

func (a *answer) serve() {
	if a.plan.status != 0 {
		a.status(a.plan.status)
		return
	}
	host := a.origin.host
	if host == "" {
		host = a.r.Host
	}
	oracle := a.origin.oracle
	version := oracle.Version(host, a.path, time.Now())
	a.truth = oracle.Truth(host, a.path, a.r.Header, version)
	if a.plan.mix >= 0 {
		a.next = oracle.Truth(host, a.path, a.r.Header, version+1).Body
	}
	if a.plan.other {
		a.truth.Body = oracle.Truth(host, a.path+".other", a.r.Header, version).Body
	}
	a.head()
	rule := a.truth.Rule
	switch {
	case a.r.Method != http.MethodGet && a.r.Method != http.MethodHead:
		a.status(http.StatusMethodNotAllowed)
	case rule.Status == http.StatusOK && !rule.NoValidator && a.notModified():
		a.start(http.StatusNotModified)
	default:
		a.body()
	}
}

// status answers with a text that is not the oracle's.
func (a *answer) status(code int) {
	text := fmt.Sprintf("%d %s\n", code, http.StatusText(code))
	h := a.w.Header()
	h.Del("ETag")
	h.Del("Last-Modified")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	a.start(code)
	if a.r.Method != http.MethodHead {
		n, _ := io.WriteString(a.w, text) // a client that left sees nothing
		a.origin.sent(a.seen, int64(n))
	}
}

func (a *answer) start(code int) {
	a.origin.answered(a.seen, code)
	a.w.WriteHeader(code)
}

func (a *answer) head() {
	h, rule := a.w.Header(), a.truth.Rule
	for name, values := range rule.Header {
		h[http.CanonicalHeaderKey(name)] = append([]string(nil), values...)
	}
	h.Set("Content-Type", rule.ContentType)
	if rule.CacheControl != NoCacheControl {
		h.Set("Cache-Control", rule.CacheControl)
	}
	if len(rule.Vary) > 0 {
		h.Set("Vary", strings.Join(rule.Vary, ", "))
	}
	if !rule.NoValidator {
		h.Set("ETag", a.truth.ETag)
		h.Set("Last-Modified", a.truth.LastModified.Format(http.TimeFormat))
	}
	if !rule.NoRange {
		h.Set("Accept-Ranges", "bytes")
	}
	for _, name := range rule.Reflect {
		for _, v := range a.r.Header.Values(name) {
			h.Add("X-Reflect-"+name, v)
		}
	}
}

// notModified evaluates If-None-Match and If-Modified-Since (RFC 9110, 13.2.2).
func (a *answer) notModified() bool {
	if tags := a.r.Header.Values("If-None-Match"); len(tags) > 0 {
		for tag := range strings.SplitSeq(strings.Join(tags, ","), ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == a.truth.ETag {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(a.r.Header.Get("If-Modified-Since"))
	return err == nil && !a.truth.LastModified.After(since)
}

// body chooses between whole, one range and several, and writes it.
func (a *answer) body() {
	size, rule := a.truth.Body.size, a.truth.Rule
	spans, state := []span(nil), rangeNone
	if a.r.Method == http.MethodGet && rule.Status == http.StatusOK && !rule.NoRange && !a.plan.ignoreRange && a.rangeHolds() {
		spans, state = parseRange(a.r.Header.Get("Range"), size)
	}
	switch {
	case state == rangeUnsatisfiable:
		a.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		a.status(http.StatusRequestedRangeNotSatisfiable)
	case len(spans) == 1:
		one := spans[0]
		if a.plan.wrongRange != 0 {
			one.start = min(max(0, one.start+a.plan.wrongRange), size-1)
			one.length = min(one.length, size-one.start)
		}
		a.w.Header().Set("Content-Range", one.contentRange(size))
		a.send(http.StatusPartialContent, one)
	case len(spans) > 1 && len(spans) <= maxParts:
		a.parts(spans, size)
	default:
		a.send(rule.Status, span{0, size})
	}
}

// rangeHolds evaluates If-Range (RFC 9110, 13.1.5): only an equal strong tag
// or the exact date lets a range through.
func (a *answer) rangeHolds() bool {
	condition := a.r.Header.Get("If-Range")
	if condition == "" {
		return true
	}
	return !a.truth.Rule.NoValidator &&
		(condition == a.truth.ETag || condition == a.truth.LastModified.Format(http.TimeFormat))
}

// send writes a head with its Content-Length, then one stretch of the body.
func (a *answer) send(code int, s span) {
	if a.plan.length != 0 {
		s.length = max(0, s.length+a.plan.length)
	}
	if !a.truth.Rule.Chunked {
		a.w.Header().Set("Content-Length", strconv.FormatInt(s.length, 10))
	}
	a.start(code)
	if a.truth.Rule.Chunked || a.plan.cut >= 0 || len(a.plan.stalls) > 0 || a.plan.trickle > 0 {
		a.flush()
	}
	if a.r.Method == http.MethodHead || !a.stretch(a.w, s) {
		return
	}
	if a.plan.extra > 0 {
		a.extra()
	}
}

func (a *answer) parts(spans []span, size int64) {
	mw := multipart.NewWriter(a.w)
	a.w.Header().Set("Content-Type", "multipart/byteranges; boundary="+mw.Boundary())
	a.start(http.StatusPartialContent)
	for _, s := range spans {
		part, err := mw.CreatePart(textproto.MIMEHeader{
			"Content-Type":  {a.truth.Rule.ContentType},
			"Content-Range": {s.contentRange(size)},
		})
		if err != nil || !a.stretch(part, s) {
			return
		}
	}
	_ = mw.Close() // a client that left sees nothing
}

// stretch writes bytes [s.start, s.start+s.length) of the body and keeps to
// the plan; false means that the response ended here.
func (a *answer) stretch(w io.Writer, s span) bool {
	buf := make([]byte, min(max(writeBytes, a.plan.trickle), max(s.length, 1)))
	for off, end := s.start, s.start+s.length; ; {
		if !a.obstacle(off) {
			return false
		}
		if off >= end {
			return true
		}
		n := a.step(off, min(end-off, int64(len(buf))))
		a.compute(buf[:n], off)
		written, err := w.Write(buf[:n])
		a.origin.sent(a.seen, int64(written))
		if err != nil {
			return false
		}
		off += n
		if a.plan.trickle > 0 {
			a.flush()
			if off < end && !pause(a.r.Context(), a.plan.trickleFor, nil) {
				return false
			}
		}
	}
}

// step shortens a write so that it ends where the plan wants something.
func (a *answer) step(off, n int64) int64 {
	if a.plan.trickle > 0 {
		n = min(n, a.plan.trickle)
	}
	stops := []int64{a.plan.cut}
	for _, s := range a.plan.stalls {
		stops = append(stops, s.at)
	}
	for _, at := range stops {
		if at > off {
			n = min(n, at-off)
		}
	}
	return n
}

// obstacle stalls or cuts the response at off if the plan says so.
func (a *answer) obstacle(off int64) bool {
	for _, s := range a.plan.stalls {
		if s.at != off {
			continue
		}
		a.flush()
		if !pause(a.r.Context(), s.d, s.released) {
			return false
		}
	}
	if a.plan.cut < 0 || off < a.plan.cut {
		return true
	}
	a.flush()
	if a.r.ProtoMajor == 3 {
		_ = pause(a.r.Context(), resetLinger, nil) // the client may leave meanwhile
	}
	if a.plan.cutResets {
		reset(a.w)
		return false
	}
	panic(http.ErrAbortHandler) // net/http and http3 end the response visibly
}

// compute fills p with the body, spoiled as the plan says.
func (a *answer) compute(p []byte, off int64) {
	a.truth.Body.fill(p, off+a.plan.shift)
	end := off + int64(len(p))
	if at := a.plan.mix; at >= 0 && at < end {
		from := max(at, off)
		a.next.fill(p[from-off:], from)
	}
	if at := a.plan.flip; at >= off && at < end {
		p[at-off] ^= 1
	}
}

// extra writes bytes behind the end of the message.
func (a *answer) extra() {
	a.flush() // Hijack forgets what net/http still holds
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return // HTTP/2 and HTTP/3 frame their bodies: there is no behind
	}
	defer conn.Close()
	_ = rw.Flush() // what cannot be sent is not missed
	junk := make([]byte, a.plan.extra)
	for i := range junk {
		junk[i] = 'x'
	}
	_, _ = conn.Write(junk) // as above
}

func (a *answer) flush() {
	_ = http.NewResponseController(a.w).Flush() // fails only when the client left
}

// reset ends the connection with a TCP reset where there is one of its own
// (HTTP/1.1), and the stream with an error elsewhere.
func reset(w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // ends the stream with an error code
	}
	_ = rw.Flush() // bytes before the reset are part of the fault
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if l, ok := raw.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // without it the close is only less rude
	}
	_ = raw.Close() // nobody is left to tell
}
