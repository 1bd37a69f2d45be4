package edge

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"weir/edge/field"
)

// maxMethodBytes is more than the longest name of a method has, UPDATEREDIRECTREF.
const maxMethodBytes = 32

// receive is the gate: it brings the request to canonical form and finds its
// site. It answers and returns false where there is nothing more to do.
func (e *Edge) receive(x *Exchange) bool {
	r := x.Request
	switch no := e.refusal(x); {
	case no == nil:
	case no.reason == "":
		e.redirect(x, no)
		return false
	default:
		e.refuse(x, no)
		return false
	}
	if x.Peer {
		return true
	}
	x.takeOrigin()
	if e.preflight(x) || !e.tailor(x) {
		return false
	}
	if x.site.Pages == nil {
		return true
	}
	page := x.site.Pages.Page(x.Target.Path)
	if page == nil {
		return true
	}
	x.Outcome = Local
	w := &countingWriter{ResponseWriter: x.w, status: http.StatusOK}
	page.ServeHTTP(w, r)
	x.Status, x.Sent = w.status, w.sent
	return false
}

func (e *Edge) refusal(x *Exchange) *refusal {
	r := x.Request
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// RFC 9112, 6.1: what else the request claimed about its length cannot be
		// seen here any more, so nothing after it on this connection is trusted.
		x.w.Header().Set("Connection", "close")
	}
	if !isMethod(r.Method) {
		return &refusal{status: http.StatusBadRequest, reason: "method", text: "there is no such method", kind: field.ErrorHTTPRequest}
	}
	switch r.Method {
	case http.MethodConnect, http.MethodTrace, "PURGE", "BAN": // the last two are words of other caches: nobody purges here but operators
		return &refusal{status: http.StatusMethodNotAllowed, reason: "method", text: "the method is not allowed", kind: field.ErrorHTTPRequestDenied}
	case http.MethodGet, http.MethodHead:
		// Over HTTP/3 the length is unknown (-1) until the stream ends; a body that
		// follows is never read.
		if r.ContentLength > 0 || r.ContentLength < 0 && r.ProtoMajor < 3 || len(r.TransferEncoding) > 0 {
			return &refusal{status: http.StatusBadRequest, reason: "body", text: "a GET or HEAD request must not have a body", kind: field.ErrorHTTPRequest}
		}
	}
	path := r.RequestURI
	if r.ProtoMajor == 1 {
		path = originForm(path)
	}
	target, err := ParseTarget(r.Host, path)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, reason: "target", text: err.Error()[len("edge: "):], kind: field.ErrorHTTPRequest}
	}
	x.Target = target
	if x.site = e.sites.Load().find(target.Host); x.site == nil {
		return &refusal{status: http.StatusMisdirectedRequest, reason: "site", text: "this host is not served here", kind: field.ErrorDestinationNotFound}
	}
	if x.Peer {
		return nil
	}
	switch times, err := field.CDNLoopCount(r.Header, e.options.Loop); {
	case err != nil:
		return &refusal{status: http.StatusBadRequest, reason: "loop", text: "the CDN-Loop field is malformed", kind: field.ErrorHTTPRequest}
	case times > 0:
		return &refusal{status: http.StatusLoopDetected, reason: "loop", text: "the request came back to the cache that sent it", kind: field.ErrorProxyLoopDetected}
	}
	if no := e.limit(x, perClient, perNetwork); no != nil {
		return no // before anything is verified
	}
	if no := e.authorize(x); no != nil {
		return no
	}
	return e.limit(x, perToken, perSite) // what was denied takes nothing of them
}

// originForm is what remains of a target in absolute form (RFC 9112, 3.2.2) without scheme and authority, which net/http has
// put into the request's Host. It is cut out of what was received, so that both forms are judged alike. Other targets are
// returned as they are.
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	i := strings.IndexAny(rest, "/?#")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '/':
		return rest[i:]
	}
	return "/" + rest[i:]
}

// isMethod takes the names of methods that there are (IANA's registry): capital letters, and dashes between them. What
// differs from one in its case is another method to one server and the same to the next (RFC 9110, 9.1).
func isMethod(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxMethodBytes
}

// text answers with one line of our own, which no cache may keep.
func (e *Edge) text(x *Exchange, status int, line string) {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(line)+1))
	x.begin(status)
	if x.Request.Method != http.MethodHead {
		n, _ := io.WriteString(x.w, line+"\n") // the client may be gone: nothing to do about it
		x.Sent += int64(n)
	}
}

// countingWriter counts what one of our own pages wrote.
type countingWriter struct {
	http.ResponseWriter

	status int
	sent   int64
}

// Unwrap lets http.ResponseController reach the real writer.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status.
func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}
