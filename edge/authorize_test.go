package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/edge/access"
)

// TestAccessRules: what is denied reaches neither the cache nor the origin, and other nodes have asked their own clients.
func TestAccessRules(t *testing.T) {
	t.Parallel()
	list, err := access.New([]access.Rule{
		{Deny: true, Paths: []string{"/private/*"}},
		{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Methods: []string{"GET"}},
		{Deny: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newSiteBench(t, Site{Access: list}, cacheable(600, "body"))
	b.want("allowed", b.do("GET", "/a"), 200, "stored", "body")
	for _, tt := range []struct{ method, path string }{
		{"GET", "/private/a"},
		{"POST", "/a"},
		{"HEAD", "/a"},
		{"GET", "/%70rivate/a"}, // the same target: rules see what the key sees
	} {
		g := b.do(tt.method, tt.path)
		if g.status != http.StatusForbidden || g.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: got %d, %q", tt.method, tt.path, g.status, g.header.Get("Cache-Control"))
		}
	}
	if n := b.origin.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	b.mu.Lock()
	last := b.seen[len(b.seen)-1]
	b.mu.Unlock()
	if last.Outcome != Refused || last.Reason != "access" {
		t.Errorf("got %v, %q", last.Outcome, last.Reason)
	}
	if n := b.edge.Refused("access"); n != 4 {
		t.Errorf("%d refusals are counted, want 4", n)
	}
	if resp := b.asPeer("/private/b"); resp.StatusCode != http.StatusOK {
		t.Errorf("another node gets %d", resp.StatusCode)
	}
}

// TestCORS: the site answers, whatever the origin says, and nothing is stored twice for it.
func TestCORS(t *testing.T) {
	t.Parallel()
	origin := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			t.Errorf("the origin is told of the page %s", r.Header.Get("Origin"))
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Vary", "Origin, Accept-Encoding")
		w.Header().Set("Access-Control-Allow-Origin", "https://first.example")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_, _ = io.WriteString(w, "body")
	}
	listed := newSiteBench(t, Site{CORS: NewCORS("https://a.example", "https://b.example")}, origin)
	for from, want := range map[string]string{"https://a.example": "https://a.example", "https://b.example": "https://b.example", "https://evil.example": "", "null": "", "": ""} {
		g := listed.do("GET", "/a", "Origin", from)
		h := g.header
		if g.body != "body" || h.Get("Access-Control-Allow-Origin") != want || h.Get("Timing-Allow-Origin") != want || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("from %q: got %q, timing %q, credentials %q, want %q", from, h.Get("Access-Control-Allow-Origin"), h.Get("Timing-Allow-Origin"), h.Get("Access-Control-Allow-Credentials"), want)
		}
		if vary := h.Values("Vary"); len(vary) != 2 || vary[1] != "Origin" {
			t.Errorf("from %q: Vary %q, want Origin named", from, vary)
		}
	}

	everybody := newSiteBench(t, Site{CORS: NewCORS("*"), Headers: http.Header{"Strict-Transport-Security": {"max-age=1"}}}, origin)
	everybody.do("GET", "/a")
	stored := everybody.cache.Stats().Objects
	for i := range 10_000 {
		r := httptest.NewRequest(http.MethodGet, everybody.url+"/a", http.NoBody)
		r.RequestURI = "/a"
		r.Header.Set("Origin", fmt.Sprintf("https://%d.example", i))
		if i == 0 {
			r.Header.Set("Origin", "null")
		}
		w := httptest.NewRecorder()
		everybody.edge.ServeHTTP(w, r)
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Timing-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" ||
			h.Get("Strict-Transport-Security") == "" || w.Body.String() != "body" {
			t.Fatalf("page %d: got %v", i, h)
		}
	}
	if n, objects := everybody.origin.Load(), everybody.cache.Stats().Objects; n != 1 || objects != stored || stored > 2 { // the response, and what it varies by
		t.Errorf("10,000 pages: the origin was asked %d times, %d objects are stored, %d before", n, objects, stored)
	}
	g := everybody.do("OPTIONS", "/a", "Origin", "https://x.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range, cmcd-object")
	if g.status != http.StatusNoContent || g.header.Get("Access-Control-Allow-Headers") == "" || g.header.Get("Access-Control-Max-Age") == "" || everybody.origin.Load() != 1 {
		t.Errorf("preflight: %d %v, the origin was asked %d times", g.status, g.header, everybody.origin.Load())
	}
	g = listed.do("OPTIONS", "/a", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET")
	if g.status != http.StatusNoContent || g.header.Get("Access-Control-Allow-Origin") != "" || g.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("preflight of a page that is not listed: %d %v", g.status, g.header)
	}
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+r.Header.Get("Origin"))
	})
	if g := b.do("OPTIONS", "/a", "Origin", "https://x.example", "Access-Control-Request-Method", "GET"); g.body != "OPTIONShttps://x.example" {
		t.Errorf("without a rule the origin answers: got %d %q", g.status, g.body)
	}
}

// TestARefusalThatIsNotLoggedAllocatesNothing: whoever floods us has more of them.
func TestARefusalThatIsNotLoggedAllocatesNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	r, now := newRefusals(), time.Unix(1_000_000, 0)
	r.note("target", now)
	if n := testing.AllocsPerRun(100, func() { r.note("target", now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEveryRefusalIsCountedAndFewAreLogged: the log is not a client's to fill.
func TestEveryRefusalIsCountedAndFewAreLogged(t *testing.T) {
	t.Parallel()
	r := newRefusals()
	now, lines, quiet := time.Unix(1_000_000, 0), 0, int64(0)
	for range 10 {
		for range 1000 {
			log, silent := r.note("target", now)
			if log {
				lines++
			}
			quiet += silent
		}
		now = now.Add(time.Second)
	}
	if n := r.counts["target"].Load(); n != 10_000 || lines != 10 || quiet != 9*999 {
		t.Errorf("10,000 refusals in 10 s: %d counted, %d lines, which tell of %d more; want 10 lines and 8,991", n, lines, quiet)
	}
	if len(Reasons()) != len(r.counts) {
		t.Errorf("%d reasons, %d counters", len(Reasons()), len(r.counts))
	}
	b := newBench(t, cacheable(600, "body"))
	for _, reason := range Reasons() {
		before := b.edge.Refused(reason)
		switch reason {
		case "method":
			b.do("PURGE", "/a")
		case "body":
			b.send("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
		case "target":
			b.send("GET /a/../b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		case "loop":
			b.do("GET", "/a", "CDN-Loop", "weir")
		case "only-if-cached":
			b.do("GET", "/nothing", "Cache-Control", "only-if-cached")
		default: // need a site of their own
			continue
		}
		if n := b.edge.Refused(reason) - before; n != 1 {
			t.Errorf("%s: counted %d times, want once", reason, n)
		}
	}
}

// send writes a request as it stands and waits for the answer.
func (b *bench) send(request string) {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	_, _ = io.ReadAll(c) // the edge closes the connection
}
