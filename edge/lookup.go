package edge

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/freshness"
	"weir/edge/field"
)

// answer serves a GET or HEAD from the cache, or through a fill.
func (e *Edge) answer(x *Exchange) {
	e.lookup(x)
	object := e.options.Cache.Get(x.key)
	if object == nil {
		e.miss(x)
		return
	}
	defer object.Release()
	now := time.Now()
	fresh := object.Head().Freshness
	switch {
	case fresh.Fresh(now):
		x.Outcome = Hit
		x.status.Hit = true
		e.deliver(x, object)
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case fresh.WhileRevalidating(now):
		e.refreshBehind(x, object)
		e.deliverStale(x, object)
	default:
		x.status.Forward = field.ForwardStale
		e.fill(x, object)
	}
}

// lookup finds the key under which the response to this request is stored.
func (e *Edge) lookup(x *Exchange) {
	x.key = cache.NewKey(x.Target.KeyText())
	if names := e.options.Cache.Vary(x.key.ID); len(names) > 0 {
		x.key = variantKey(x.Target, names, x.Request.Header)
	}
}

func (e *Edge) miss(x *Exchange) {
	x.status.Forward = field.ForwardURIMiss
	switch {
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case x.Request.Method == http.MethodHead:
		e.pass(x, "method") // a body that nobody asked for is not fetched
	default:
		e.fill(x, nil)
	}
}

func (e *Edge) deliverStale(x *Exchange, object *cache.Object) {
	x.Outcome = Stale
	x.status.Hit = true
	e.deliver(x, object)
}

// onlyIfCached answers RFC 9111, 5.2.1.7 when nothing fresh is stored.
func (e *Edge) onlyIfCached(x *Exchange) {
	x.Outcome, x.Reason = Refused, "only-if-cached"
	x.status.Forward = ""
	x.status.Add(x.w.Header())
	e.text(x, http.StatusGatewayTimeout, "not stored, and the request allows nothing else")
}

func onlyIfCached(r *http.Request) bool {
	values := r.Header["Cache-Control"]
	if len(values) == 0 {
		return false
	}
	return freshness.ParseCacheControl(values).OnlyIfCached
}

// variantKey names the response to a request with these values in the fields
// that Vary lists (RFC 9111, 4.1).
func variantKey(t Target, names []string, h http.Header) cache.Key {
	var b strings.Builder
	b.WriteString(t.KeyText())
	for _, name := range names {
		b.WriteByte('\n')
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(varyValue(name, h))
	}
	return cache.NewKey(b.String())
}

// varyValue normalises a field: outer and repeated white space never make
// another variant, nor does the order of codings in Accept-Encoding.
func varyValue(name string, h http.Header) string {
	if name == "accept-encoding" {
		return acceptEncoding(h)
	}
	values := h[http.CanonicalHeaderKey(name)]
	if len(values) == 0 {
		return ""
	}
	return strings.Join(strings.Fields(strings.Join(values, ", ")), " ")
}

// acceptEncoding lists in order of preference of ours the codings that a client
// takes, of those that origins are known to send.
func acceptEncoding(h http.Header) string {
	values := h["Accept-Encoding"]
	if len(values) == 0 {
		return ""
	}
	text := strings.ToLower(strings.Join(values, ","))
	taken := make([]string, 0, 4)
	for _, coding := range [...]string{"br", "zstd", "gzip", "deflate"} {
		if takesCoding(text, coding) {
			taken = append(taken, coding)
		}
	}
	return strings.Join(taken, ", ")
}

func takesCoding(text, coding string) bool {
	for item := range strings.SplitSeq(text, ",") {
		name, q, _ := strings.Cut(item, ";")
		if strings.TrimSpace(name) != coding {
			continue
		}
		q = strings.ReplaceAll(q, " ", "")
		return q != "q=0" && !(strings.HasPrefix(q, "q=0.") && strings.Trim(q[4:], "0") == "")
	}
	return false
}

// varyNames reads Vary: lower case, sorted, each once. ok is false for "*".
func varyNames(h http.Header) (names []string, ok bool) {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "":
			case "*":
				return nil, false
			default:
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
