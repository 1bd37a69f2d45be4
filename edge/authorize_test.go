package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"

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
		{"GET", "/private/a"}, {"POST", "/a"}, {"HEAD", "/a"},
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
	for i := range 1000 {
		g := everybody.do("GET", "/a", "Origin", fmt.Sprintf("https://%d.example", i))
		if g.header.Get("Access-Control-Allow-Origin") != "*" || g.header.Get("Timing-Allow-Origin") != "*" || g.header.Get("Strict-Transport-Security") == "" {
			t.Fatalf("got %v", g.header)
		}
	}
	if n, objects := everybody.origin.Load(), everybody.cache.Stats().Objects; n != 1 || objects > 2 { // the response, and what it varies by
		t.Errorf("1,000 pages: the origin was asked %d times, %d objects are stored", n, objects)
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
