package edge

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// RFC 9111 section by section, as a client sees a shared cache: each row is a
// requirement. What takes time stands in rfc9111_time_test.go, invalidation
// (4.4) in semantics_test.go.

// turn is one request and what is to come of it.
type turn struct {
	method  string   // default GET
	request []string // names and values
	answer  []string // what the origin says if it is asked; Status and Body are no fields
	want    string   // in Cache-Status, "" for anything; "!x": not x
	status  int      // default 200
	sent    []string // fields that the origin must have got, "-Name": must not
	got     []string // fields that the client must get, "-Name": must not, "+Name": with any value
}

// requirement is one statement of the standard.
type requirement struct {
	name  string // "section: what"
	site  Site
	turns []turn
}

func (r requirement) test(t *testing.T) {
	t.Parallel()
	var at atomic.Int64
	b := newSiteBench(t, r.site, func(w http.ResponseWriter, q *http.Request) {
		now := r.turns[at.Load()]
		wantFields(t, "the origin", q.Header, now.sent)
		say(w, now.answer, fmt.Sprint("turn ", at.Load()))
	})
	for i, now := range r.turns {
		at.Store(int64(i))
		method, status := now.method, now.status
		if method == "" {
			method = http.MethodGet
		}
		if status == 0 {
			status = http.StatusOK
		}
		g := b.do(method, "/a", now.request...)
		said := g.header.Get("Cache-Status")
		missing := !strings.Contains(said, strings.TrimPrefix(now.want, "!"))
		if g.err != nil || g.status != status || missing != strings.HasPrefix(now.want, "!") {
			t.Errorf("turn %d: %d, %q, %v; want %d, %q", i, g.status, said, g.err, status, now.want)
		}
		wantFields(t, fmt.Sprint("turn ", i, ": the client"), g.header, now.got)
	}
}

// say writes a response of names and values.
func say(w http.ResponseWriter, fields []string, body string) {
	status := http.StatusOK
	for i := 0; i+1 < len(fields); i += 2 {
		switch name, value := fields[i], fields[i+1]; name {
		case "Status":
			_, _ = fmt.Sscan(value, &status)
		case "Body":
			body = value
		default:
			w.Header().Add(name, value)
		}
	}
	w.WriteHeader(status)
	if status != http.StatusNotModified && status != http.StatusNoContent {
		_, _ = io.WriteString(w, body)
	}
}

func wantFields(t *testing.T, who string, h http.Header, want []string) {
	t.Helper()
	for i := 0; i < len(want); i++ {
		if name, absent := strings.CutPrefix(want[i], "-"); absent {
			if values := h.Values(name); len(values) > 0 {
				t.Errorf("%s got %s %q", who, name, values)
			}
			continue
		}
		if name, present := strings.CutPrefix(want[i], "+"); present {
			if h.Get(name) == "" {
				t.Errorf("%s got no %s", who, name)
			}
			continue
		}
		if got := h.Values(want[i]); !slices.Contains(got, want[i+1]) {
			t.Errorf("%s got %s %q, want %q", who, want[i], got, want[i+1])
		}
		i++
	}
}

const (
	hour    = "max-age=3600"
	stale   = "max-age=0"
	fetched = "fwd=uri-miss; fwd-status="
	valid   = "fwd=stale; fwd-status=304"
)

// twice asks for the same thing two times and wants the second to be what.
func twice(what string, answer ...string) []turn {
	return []turn{{answer: answer}, {answer: answer, want: what}}
}

func TestRFC9111Storing(t *testing.T) {
	t.Parallel()
	listen := Site{RequestControl: true}
	auth := []string{"Authorization", "Basic eA=="}
	for _, r := range []requirement{
		{"3: max-age", Site{}, twice("hit", "Cache-Control", hour)},
		{"3: public without a lifetime", Site{}, twice("fwd=stale", "Cache-Control", "public", "ETag", `"1"`)},
		{"3: no lifetime, no validator", Site{}, twice("fwd=", "X", "y")},
		{"3: no-store", Site{}, []turn{{answer: []string{"Cache-Control", "no-store, " + hour}, want: "detail=no-store"}, {want: "detail=uncacheable"}}},
		{"3: private", Site{}, twice("fwd=", "Cache-Control", "private, "+hour)},
		{"3: an error with a lifetime", Site{}, []turn{{answer: []string{"Status", "503", "Cache-Control", hour}, status: 503}, {want: "hit", status: 503}}},
		{"3: a redirect with a lifetime", Site{}, []turn{{answer: []string{"Status", "302", "Location", "/b", "Cache-Control", hour}, status: 302}, {want: "hit", status: 302, got: []string{"Location", "/b"}}}},
		{"3: an error that the request may have caused", Site{}, []turn{{answer: []string{"Status", "400", "Cache-Control", hour}, status: 400}, {want: "fwd="}}},
		{"3: the same, where the origin shares it", Site{}, []turn{{answer: []string{"Status", "403", "Cache-Control", "s-maxage=60"}, status: 403}, {want: "hit", status: 403}}},
		{"3: a HEAD stores no empty response", Site{}, []turn{{method: "HEAD", answer: []string{"Cache-Control", hour}, want: "fwd=uri-miss"}, {want: fetched}}},
		{"3: a POST is not stored", Site{}, []turn{{method: "POST", answer: []string{"Cache-Control", hour}, want: "fwd=method"}, {want: fetched}}},
		{"3.1: Connection and what it names", Site{}, []turn{
			{answer: []string{"Cache-Control", hour, "Connection", "X-Hop", "X-Hop", "1", "Keep-Alive", "5", "Proxy-Authenticate", "x", "X-End", "1"}},
			{want: "hit", got: []string{"-X-Hop", "-Keep-Alive", "-Proxy-Authenticate", "X-End", "1"}},
		}},
		{"3.1: unknown fields are stored", Site{}, []turn{{answer: []string{"Cache-Control", hour, "X-A", "1", "X-A", "2"}}, {want: "hit", got: []string{"X-A", "1", "X-A", "2"}}}},
		{"3.3: a range request does not store a part as the whole", Site{}, []turn{
			{request: []string{"Range", "bytes=0-1"}, answer: []string{"Cache-Control", hour, "Body", "0123456789"}, status: 206, got: []string{"Content-Range", "bytes 0-1/10"}},
			{got: []string{"Content-Length", "10", "-Content-Range"}},
		}},
		{"3.5: Authorization", Site{}, []turn{{request: auth, answer: []string{"Cache-Control", hour}, want: "detail=authorization"}, {want: fetched}}},
		{"3.5: Authorization and public", Site{}, []turn{{request: auth, answer: []string{"Cache-Control", "public, " + hour}}, {want: "hit"}}},
		{"3.5: Authorization and s-maxage", Site{}, []turn{{request: auth, answer: []string{"Cache-Control", "s-maxage=60"}}, {want: "hit"}}},
		{"3.5: Authorization and must-revalidate", Site{}, []turn{{request: auth, answer: []string{"Cache-Control", "must-revalidate, " + hour}}, {want: "hit"}}},
		{"3.5: who is authorised gets what everybody gets", Site{}, []turn{{answer: []string{"Cache-Control", hour}}, {request: auth, want: "hit"}}},
		{"3.5: one authorised request keeps nobody from sharing", Site{}, []turn{
			{request: auth, answer: []string{"Cache-Control", hour}}, {answer: []string{"Cache-Control", hour}, want: "stored"}, {want: "hit"},
		}},
		{"5.2.2.3: must-understand", Site{}, []turn{{answer: []string{"Status", "299", "Cache-Control", hour + ", must-understand"}, status: 299}, {want: "fwd="}}},
		{"5.2.2.3: must-understand goes before no-store", Site{}, twice("hit", "Cache-Control", hour+", must-understand, no-store")},
		{"5.2.2.4: no-cache is validated each time", Site{}, []turn{
			{answer: []string{"Cache-Control", "no-cache, " + hour, "ETag", `"1"`}},
			{answer: []string{"Status", "304", "ETag", `"1"`}, want: valid, sent: []string{"If-None-Match", `"1"`}},
		}},
		{"5.2.2.4: no-cache with names covers the whole", Site{}, []turn{
			{answer: []string{"Cache-Control", `no-cache="set-cookie", ` + hour, "ETag", `"1"`}},
			{answer: []string{"Status", "304", "ETag", `"1"`}, want: valid},
		}},
		{"5.2.2.7: private with names covers the whole", Site{}, twice("fwd=", "Cache-Control", `private="x", `+hour)},
		{"5.2.2.10: s-maxage goes before max-age", Site{}, twice("hit", "Cache-Control", "max-age=0, s-maxage=60")},
		{"5.3: Expires", Site{}, twice("hit", "Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))},
		{"5.3: Expires: 0", Site{}, twice("fwd=", "Expires", "0")},
		{"5.3: max-age goes before Expires", Site{}, twice("fwd=", "Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "Cache-Control", stale)},
		{"7.3: Set-Cookie", Site{}, twice("fwd=", "Cache-Control", hour, "Set-Cookie", "a=b")},
		{"5.2.1: a request's no-store does not concern others", Site{}, []turn{{request: []string{"Cache-Control", "no-store"}, answer: []string{"Cache-Control", hour}, want: "stored"}, {want: "hit"}}},
		{"5.2.1: nor its no-cache", Site{}, []turn{{answer: []string{"Cache-Control", hour}}, {request: []string{"Cache-Control", "no-cache"}, want: "hit"}}},
		{"5.2.1.5: no-store, where the site listens", listen, []turn{{request: []string{"Cache-Control", "no-store"}, answer: []string{"Cache-Control", hour}, want: "fwd=request"}, {want: fetched}}},
		{"RFC 9213, 2.2: CDN-Cache-Control", Site{}, twice("hit", "Cache-Control", "no-store", "CDN-Cache-Control", hour)},
		{"RFC 9213, 2.2: a list of the site's", Site{Targeted: []string{"Weir-Cache-Control"}}, twice("fwd=", "CDN-Cache-Control", hour, "Weir-Cache-Control", "no-store")},
		{"RFC 9213, 2.2: a field that nobody listens to", Site{}, twice("hit", "CDN-Cache-Control", hour, "Weir-Cache-Control", "no-store")},
	} {
		t.Run(r.name, r.test)
	}
}

func TestRFC9111Reuse(t *testing.T) {
	t.Parallel()
	listen := Site{RequestControl: true}
	ask := func(directives string) []string { return []string{"Cache-Control", directives} }
	const old, older = "Mon, 02 Nov 2026 10:00:00 GMT", "Sun, 01 Nov 2026 10:00:00 GMT"
	stored := turn{answer: []string{"Cache-Control", hour, "ETag", `"1"`, "Last-Modified", old, "Body", "0123456789"}}
	stalled := turn{answer: []string{"Cache-Control", stale, "ETag", `"1"`, "X-Old", "1", "Content-Type", "a/b"}}
	for _, r := range []requirement{
		{"4: a HEAD is answered from a stored GET", Site{}, []turn{stored, {method: "HEAD", want: "hit", got: []string{"Content-Length", "10"}}}},
		{"4: a POST is written through", Site{}, []turn{stored, {method: "POST", want: "fwd=method"}}},
		{"4.1: the fields that Vary names", Site{}, []turn{
			{request: []string{"X", "1"}, answer: []string{"Cache-Control", hour, "Vary", "X"}, want: fetched},
			{request: []string{"X", "2"}, answer: []string{"Cache-Control", hour, "Vary", "X"}, want: "fwd=vary-miss"},
			{request: []string{"X", "1"}, want: "hit"},
			{request: []string{"X", "2"}, want: "hit"},
		}},
		{"4.1: Vary: *", Site{}, []turn{{answer: []string{"Cache-Control", hour, "Vary", "X, *"}, want: "detail=vary"}, {want: "fwd="}}},
		{"4.1: white space is no difference", Site{}, []turn{
			{request: []string{"X", "1, 2"}, answer: []string{"Cache-Control", hour, "Vary", "X"}}, {request: []string{"X", " 1,2 "}, want: "hit"},
		}},
		{"4.2.1: two lifetimes, the shorter", Site{}, twice("fwd=stale", "Cache-Control", "max-age=3600, max-age=0", "ETag", `"1"`)},
		{"4.2.3: an Age beyond the lifetime", Site{}, twice("fwd=stale", "Cache-Control", "max-age=60", "Age", "61", "ETag", `"1"`)},
		{"4.2.3: Age goes on", Site{}, []turn{{answer: []string{"Cache-Control", hour, "Age", "50"}, got: []string{"+Age"}}, {want: "hit; ttl=35", got: []string{"+Age"}}}},
		{"4.2.3: Date in the future makes nothing younger", Site{}, []turn{
			{answer: []string{"Cache-Control", "max-age=60", "Date", "Mon, 02 Nov 2099 10:00:00 GMT"}}, {want: "hit; ttl="},
		}},
		{"4.2.3: a negative Age is not believed", Site{}, twice("fwd=stale", "Cache-Control", hour, "Age", "-5", "ETag", `"1"`)},
		{"4.2.3: nor are two", Site{}, twice("fwd=stale", "Cache-Control", hour, "Age", "1", "Age", "2", "ETag", `"1"`)},
		{"4.2.4: stale is not served without leave", Site{}, []turn{stalled, {want: "fwd=stale; fwd-status=200"}}},
		{"4.3.1: both validators are sent", Site{}, []turn{
			{answer: []string{"Cache-Control", stale, "ETag", `W/"1"`, "Last-Modified", old}},
			{answer: []string{"Status", "304"}, want: valid, sent: []string{"If-None-Match", `W/"1"`, "If-Modified-Since", old}},
		}},
		{"4.3.1: the client's condition is not the cache's", Site{}, []turn{stalled, {
			request: []string{"If-None-Match", `"2"`, "If-Modified-Since", old}, answer: []string{"Status", "304"}, want: valid, sent: []string{"If-None-Match", `"1"`, "-If-Modified-Since"},
		}}},
		{"4.3.2: If-None-Match", Site{}, []turn{stored, {request: []string{"If-None-Match", `W/"1"`}, status: 304, want: "hit", got: []string{"ETag", `"1"`, "-Content-Type"}}}},
		{"4.3.2: it goes before If-Modified-Since", Site{}, []turn{stored, {request: []string{"If-None-Match", `"2"`, "If-Modified-Since", old}, want: "hit"}}},
		{"4.3.2: If-Modified-Since", Site{}, []turn{stored, {request: []string{"If-Modified-Since", old}, status: 304, want: "hit"}, {request: []string{"If-Modified-Since", older}, want: "hit"}}},
		{"4.3.2: If-Match that holds", Site{}, []turn{stored, {request: []string{"If-Match", `"0", "1"`}, want: "hit"}}},
		{"4.3.2: If-Match that does not is the origin's to refuse", Site{}, []turn{stored, {
			request: []string{"If-Match", `"2"`}, answer: []string{"Status", "412"}, status: 412, want: "fwd=request", sent: []string{"If-Match", `"2"`},
		}}},
		{"4.3.2: If-Match compares strongly", Site{}, []turn{stored, {request: []string{"If-Match", `W/"1"`}, answer: []string{"Status", "412"}, status: 412}}},
		{"4.3.2: If-Unmodified-Since", Site{}, []turn{stored, {request: []string{"If-Unmodified-Since", old}, want: "hit"}, {request: []string{"If-Unmodified-Since", older}, answer: []string{"Status", "412"}, status: 412}}},
		{"4.3.2: If-Range, strong", Site{}, []turn{stored, {request: []string{"Range", "bytes=1-2", "If-Range", `"1"`}, status: 206, want: "hit"}}},
		{"4.3.2: If-Range, weak", Site{}, []turn{stored, {request: []string{"Range", "bytes=1-2", "If-Range", `W/"1"`}, want: "hit"}}},
		{"4.3.2: If-Range, another", Site{}, []turn{stored, {request: []string{"Range", "bytes=1-2", "If-Range", `"2"`}, want: "hit"}}},
		{"4.3.2: a condition decides before a range", Site{}, []turn{stored, {request: []string{"Range", "bytes=1-2", "If-None-Match", `"1"`}, status: 304}}},
		{"RFC 9110, 14.2: Range on HEAD", Site{}, []turn{stored, {method: "HEAD", request: []string{"Range", "bytes=1-2"}, want: "hit", got: []string{"Content-Length", "10", "-Content-Range"}}}},
		{"RFC 9110, 14.2: Range on a 404", Site{}, []turn{
			{answer: []string{"Status", "404", "Cache-Control", hour}, status: 404}, {request: []string{"Range", "bytes=0-1"}, status: 404, want: "hit", got: []string{"-Content-Range"}},
		}},
		{"RFC 9110, 14.1.2: Range on nothing", Site{}, []turn{
			{answer: []string{"Cache-Control", hour, "Body", ""}}, {request: []string{"Range", "bytes=0-"}, status: 416, got: []string{"Content-Range", "bytes */0"}},
		}},
		{"4.3.3: a full response replaces", Site{}, []turn{stalled, {answer: []string{"Cache-Control", hour, "ETag", `"2"`}, want: "fwd=stale; fwd-status=200; stored"}, {want: "hit", got: []string{"ETag", `"2"`, "-X-Old"}}}},
		{"4.3.3: an error is passed on", Site{}, []turn{stalled, {answer: []string{"Status", "503"}, status: 503, got: []string{"Proxy-Status", "edge-1; next-hop=origin; next-protocol=http/1.1; received-status=503"}}}},
		{"RFC 5861, 4: or the stale one stands in", Site{}, []turn{
			{answer: []string{"Cache-Control", "max-age=0, stale-if-error=60"}}, {answer: []string{"Status", "503"}, want: "detail=stale-if-error"},
		}},
		{"RFC 5861, 4: not for what is no error", Site{}, []turn{
			{answer: []string{"Cache-Control", "max-age=0, stale-if-error=60"}}, {answer: []string{"Status", "404"}, status: 404},
		}},
		{"4.3.4: a 304 renews", Site{}, []turn{stalled, {
			answer: []string{"Status", "304", "ETag", `"1"`, "Cache-Control", hour, "X-Old", "2", "X-New", "3"}, want: valid,
			got: []string{"X-Old", "2", "X-New", "3", "Content-Type", "a/b"},
		}, {want: "!fwd-status", got: []string{"X-New", "3"}}}},
		{"3.2: but not what describes the stored bytes", Site{}, []turn{
			{answer: []string{"Cache-Control", stale, "ETag", `"1"`, "Content-Encoding", "x"}},
			{answer: []string{"Status", "304", "Content-Encoding", "y", "Content-Range", "bytes 0-0/1"}, want: valid, got: []string{"Content-Encoding", "x", "-Content-Range", "Content-Length", "6"}},
		}},
		{"3.2: nor with a cookie for everybody", Site{}, []turn{stalled, {
			answer: []string{"Status", "304", "Set-Cookie", "a=b"}, status: http.StatusBadGateway, got: []string{"-Set-Cookie"}, // the origin insists on 304
		}}},
		{"4.3.5: nothing stored is left to a HEAD", Site{}, []turn{stalled, {
			method: "HEAD", answer: []string{"Cache-Control", hour, "ETag", `"2"`}, want: "fwd=stale; fwd-status=200; stored", got: []string{"ETag", `"2"`},
		}, {want: "!fwd-status", got: []string{"ETag", `"2"`}}}},
		{"5.2.1.1: max-age", listen, []turn{{answer: []string{"Cache-Control", hour, "Age", "50", "ETag", `"1"`}}, {request: ask("max-age=40"), answer: []string{"Status", "304"}, want: "fwd=request; fwd-status=304"}}},
		{"5.2.1.1: max-age that it meets", listen, []turn{{answer: []string{"Cache-Control", hour, "Age", "50"}}, {request: ask("max-age=3000"), want: "hit"}}},
		{"5.2.1.2: max-stale", listen, []turn{stalled, {request: ask("max-stale"), want: "detail=max-stale"}}},
		{"5.2.1.2: max-stale against must-revalidate", listen, []turn{
			{answer: []string{"Cache-Control", "max-age=0, must-revalidate", "ETag", `"1"`}}, {request: ask("max-stale"), answer: []string{"Status", "304"}, want: valid},
		}},
		{"5.2.1.3: min-fresh", listen, []turn{stored, {request: ask("min-fresh=3601"), answer: []string{"Status", "304"}, want: "fwd=request"}, {request: ask("min-fresh=3000"), want: "hit"}}},
		{"5.2.1.4: no-cache", listen, []turn{stored, {request: ask("no-cache"), answer: []string{"Status", "304"}, want: "fwd=request", sent: []string{"Cache-Control", "no-cache"}}, {want: "hit"}}},
		{"5.4: Pragma", listen, []turn{stored, {request: []string{"Pragma", "no-cache"}, answer: []string{"Status", "304"}, want: "fwd=request"}}},
		{"5.2.1.7: only-if-cached", Site{}, []turn{{request: ask("only-if-cached"), status: 504}, stored, {request: ask("only-if-cached"), want: "hit"}}},
		{"RFC 8246, 2: a reload of what is immutable", listen, []turn{{answer: []string{"Cache-Control", hour + ", immutable", "Age", "50"}}, {request: ask("max-age=0"), want: "hit"}}},
		{"5.1: Age on what was not stored before", Site{}, []turn{{answer: []string{"Cache-Control", hour}, got: []string{"-Age"}}, {want: "hit", got: []string{"+Age"}}}},
	} {
		t.Run(r.name, r.test)
	}
}
