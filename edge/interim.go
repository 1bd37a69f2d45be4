package edge

import (
	"net/http"
	"strings"
	"sync"

	"weir/edge/field"
	"weir/edge/upstream"
)

// interim passes interim responses, such as 103 with its Link fields, on to the
// client of a request that is passed (RFC 9110, 15.2). Those of a fill end here:
// its request is our own, made for nobody in particular.
type interim struct {
	old  bool       // the client speaks HTTP/1.0 and knows none
	mu   sync.Mutex // guards the fields below
	w    http.ResponseWriter
	over bool
}

// pass is an upstream.Request's Interim.
func (i *interim) pass(status int, from http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.old || i.over {
		return
	}
	from = from.Clone()
	field.RemoveHopByHop(from)
	h := i.w.Header()
	for name, values := range from {
		h[name] = values
	}
	i.w.WriteHeader(status)
	for name := range from {
		delete(h, name)
	}
}

// end gives the writer back: an upstream that was given up may still talk.
func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}

// trailer passes on the trailer section of a response that is passed, to a client
// that says it will not throw it away (RFC 9110, 6.5.1). A stored response has
// none: readers that come later could not be told what the first was told.
func (x *Exchange) trailer(resp *upstream.Response) {
	if resp.Trailer == nil || !takesTrailers(x.Request.Header["Te"]) {
		return
	}
	fields := resp.Trailer()
	field.RemoveHopByHop(fields)
	h := x.w.Header()
	for name, values := range fields {
		if mayTrail(name) {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// takesTrailers reads TE (RFC 9110, 10.1.4).
func takesTrailers(lines []string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), "trailers") {
				return true
			}
		}
	}
	return false
}

// mayTrail refuses fields that a recipient must know before the content (RFC
// 9110, 6.5.1): framing, routing, caching, authentication, content format.
func mayTrail(name string) bool {
	switch name {
	case "Age", "Authorization", "Cache-Control", "Cdn-Cache-Control", "Content-Encoding", "Content-Length", "Content-Range",
		"Content-Type", "Date", "Expires", "Host", "Location", "Pragma", "Retry-After", "Set-Cookie", "Vary", "Via",
		"Warning", "Www-Authenticate":
		return false
	}
	return true
}
