package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/cache"
)

// TestOneClientPoisonsNobody: whatever one client sends, the next one who asks
// for the same thing gets what it would have got without the first.
func TestOneClientPoisonsNobody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20<<10)
	tests := []struct {
		name, path string
		attack     []string
		cc         string // of the origin
	}{
		{"a host that the origin reflects", "/a", []string{"X-Forwarded-Host", "evil", "X-Host", "evil", "Forwarded", "host=evil", "X-Original-Url", "/evil"}, hour},
		{"a scheme", "/a", []string{"X-Forwarded-Proto", "evil", "X-Forwarded-Scheme", "evil", "Front-End-Https", "evil", "X-Forwarded-Prefix", "evil"}, hour},
		{"a method", "/a", []string{"X-Http-Method-Override", "evil", "X-Method-Override", "evil"}, hour},
		{"a field that is too long", "/a", []string{"X-Long", long}, hour},
		{"and its refusal as media", "/a.m4s", []string{"X-Long", long}, hour},
		{"a condition", "/a", []string{"If-None-Match", "*", "If-Match", `"evil"`}, hour},
		{"a range", "/a", []string{"Range", "bytes=0-0"}, hour},
		{"credentials", "/a", []string{"Authorization", "evil"}, hour},
		{"a wish not to be stored", "/a", []string{"Cache-Control", "no-store, no-cache", "Pragma", "no-cache"}, hour},
		{"a connection option", "/a", []string{"Connection", "X-Vary", "X-Vary", "evil"}, hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", tt.cc)
				w.Header().Set("ETag", `"1"`)
				for name, values := range r.Header {
					if len(values[0]) > 8<<10 {
						w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
						return
					}
					if strings.Contains(values[0], "evil") && name != "If-Match" {
						_, _ = io.WriteString(w, "evil ")
					}
				}
				_, _ = io.WriteString(w, "body")
			})
			b.do("GET", tt.path, tt.attack...)
			for i := range 2 {
				if g := b.do("GET", tt.path); g.err != nil || g.status != 200 || g.body != "body" || i > 0 && !strings.Contains(g.header.Get("Cache-Status"), "hit") {
					t.Errorf("a clean request: %d, %q, %q, %v", g.status, clip(g.body), g.header.Get("Cache-Status"), g.err)
				}
			}
		})
	}
}

// TestCacheDeception: a private page that answers to the name of media is not
// stored, whatever is put before the name.
func TestCacheDeception(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/account/x.m4s", "/account;x.m4s", "/account%3Bx.m4s", "/account%0Ax.m4s", "/account%3Fx.m4s", "/account/x.m3u8", "/account/x.ts"} {
		for name, fields := range map[string][]string{
			"nothing said": {"Content-Type", "text/html"}, "JSON": {"Content-Type", "application/json"}, "private": {"Content-Type", "video/mp4", "Cache-Control", "private"},
			"no-store": {"Cache-Control", "no-store"}, "cookie": {"Content-Type", "video/mp4", "Set-Cookie", "id=1"},
		} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, func(w http.ResponseWriter, r *http.Request) { say(w, fields, r.Header.Get("Cookie")) })
				b.do("GET", path, "Cookie", "id=victim")
				if g := b.do("GET", path); strings.Contains(g.body, "victim") || strings.Contains(g.header.Get("Cache-Status"), "hit") {
					t.Errorf("a stranger got %d %q, %q", g.status, g.body, g.header.Get("Cache-Status"))
				}
			})
		}
	}
}

// TestSitesDoNotShare: the same path of two sites on one edge is two things.
func TestSitesDoNotShare(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", hour)
		_, _ = io.WriteString(w, r.Host)
	})
	for range 2 {
		for _, host := range []string{"a.example", "b.example", "A.example:80"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/a", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := strings.ToLower(strings.TrimSuffix(host, ":80")); string(body) != want {
				t.Errorf("%s got %q", host, body)
			}
		}
	}
	if n := b.origin.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
}

// TestVariantsOfOneTargetAreBounded: who makes up values of a field that a
// response varies by evicts that target's variants only, the unused ones first.
func TestVariantsOfOneTargetAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", hour)
		if r.URL.Path == "/v" {
			w.Header().Set("Vary", "User-Agent")
		}
		_, _ = io.WriteString(w, r.Header.Get("User-Agent"))
	})
	const many = 3 * cache.MaxVariants
	b.do("GET", "/other")
	for i := range many {
		b.do("GET", "/v", "User-Agent", fmt.Sprint("evil ", i))
		b.do("GET", "/v", "User-Agent", "viewer")
	}
	before := b.origin.Load()
	b.want("a variant in use", b.do("GET", "/v", "User-Agent", "viewer"), 200, "hit", "viewer")
	b.want("the last that was made up", b.do("GET", "/v", "User-Agent", fmt.Sprint("evil ", many-1)), 200, "hit", fmt.Sprint("evil ", many-1))
	b.want("another target", b.do("GET", "/other"), 200, "hit", "Go-http-client/1.1")
	if n := b.origin.Load(); n != before {
		t.Errorf("the origin was asked %d times more", n-before)
	}
	b.want("the first that was made up", b.do("GET", "/v", "User-Agent", "evil 0"), 200, "fwd=vary-miss", "evil 0")
	if s := b.cache.Stats(); s.Objects > cache.MaxVariants+2 { // the other target, and the names
		t.Errorf("%d objects are stored", s.Objects)
	}
}

// TestVariantsAreFoundAgain where the names that a target varies by are known from
// its file alone, as after a restart.
func TestVariantsAreFoundAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", hour)
		w.Header().Set("Vary", "X")
		_, _ = io.WriteString(w, r.Header.Get("X"))
	})
	for _, x := range []string{"1", "2"} {
		b.do("GET", "/v", "X", x)
	}
	host, _ := strings.CutPrefix(b.url, "http://")
	target, err := ParseTarget(host, "/v")
	if err != nil {
		t.Fatal(err)
	}
	forget := func() { b.cache.SetVary(cache.NewKey(target.KeyText()), nil) }
	forget()
	b.want("first", b.do("GET", "/v", "X", "1"), 200, "hit", "1")
	b.want("second", b.do("GET", "/v", "X", "2"), 200, "hit", "2")
	forget()
	b.want("a new one", b.do("GET", "/v", "X", "3"), 200, "fwd=vary-miss", "3")
	if n := b.origin.Load(); n != 3 {
		t.Errorf("the origin was asked %d times, want 3", n)
	}
}

// TestCredentialsOfOneDoNotHoldUpTheOthers: a crowd in which one has credentials
// is served by one fetch more, not by one each.
func TestCredentialsOfOneDoNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	const crowd = 20
	release := make(chan struct{})
	var first sync.Once
	var held atomic.Bool
	asked := make(chan struct{})
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			first.Do(func() { held.Store(true); close(asked); <-release })
		}
		w.Header().Set("Cache-Control", hour)
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	})
	results := make(chan got, crowd+1)
	go func() { results <- b.do("GET", "/a", "Authorization", "secret") }() // ends with release
	<-asked
	for range crowd {
		go func() { results <- b.do("GET", "/a") }() // ends with release
	}
	close(release)
	secrets := 0
	for range crowd + 1 {
		g := <-results
		if g.err != nil || g.status != 200 {
			t.Errorf("%d, %v", g.status, g.err)
		}
		if g.body != "" {
			secrets++
		}
	}
	if n := b.origin.Load(); secrets != 1 || n > 3 {
		t.Errorf("%d got what one alone may see; the origin was asked %d times", secrets, n)
	}
}

// TestProxyStatus is RFC 9209: every answer that is not the origin's own, and
// every failure that is passed on, says who failed and how.
func TestProxyStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/broken":
			panic(http.ErrAbortHandler)
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/behind":
			w.Header().Set("Proxy-Status", "shield; error=dns_error")
			w.Header().Set("Cache-Status", "shield; fwd=uri-miss")
			w.WriteHeader(http.StatusBadGateway)
		case "/coding":
			c, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n")
			c.Close()
		case "/garbage":
			c, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(c, "garbage\r\n\r\n")
			c.Close()
		}
	})
	const received = "; next-hop=origin; next-protocol=http/1.1; received-status="
	tests := []struct {
		name, method, path string
		header             []string
		status             int
		want               string
	}{
		{"the connection ends", "GET", "/broken", nil, 502, "edge-1; error=connection_terminated; next-hop=origin"},
		{"no HTTP", "GET", "/garbage", nil, 502, "edge-1; error=http_protocol_error; next-hop=origin"},
		{"a coding that does not exist", "GET", "/coding", nil, 502, "edge-1; error=http_response_transfer_coding; next-hop=origin"},
		{"a 304 that nobody asked for", "GET", "/304", nil, 502, "edge-1; error=http_protocol_error; next-hop=origin; received-status=304"},
		{"behind what others say", "GET", "/behind", nil, 502, "shield; error=dns_error, edge-1" + received + "502"},
		{"the same to a POST", "POST", "/behind", nil, 502, "shield; error=dns_error, edge-1" + received + "502"},
		{"a loop", "GET", "/a", []string{"CDN-Loop", "weir"}, 508, "edge-1; error=proxy_loop_detected"},
		{"a request that cannot be read", "GET", "/a%00", nil, 400, "edge-1; error=http_request_error"},
		{"a method that is refused", "TRACE", "/a", nil, 405, "edge-1; error=http_request_denied"},
		{"a stranger's purge", "PURGE", "/a", nil, 405, "edge-1; error=http_request_denied"},
		{"all is well", "GET", "/a", nil, 200, ""},
	}
	for _, tt := range tests {
		g := b.do(tt.method, tt.path, tt.header...)
		if got := g.header.Get("Proxy-Status"); g.status != tt.status || got != tt.want {
			t.Errorf("%s: %d, Proxy-Status %q; want %d, %q", tt.name, g.status, got, tt.status, tt.want)
		}
	}
	if g := b.do("GET", "/behind"); g.header.Get("Cache-Status") != "shield; fwd=uri-miss, edge-1; fwd=uri-miss; fwd-status=502; detail=no-lifetime" {
		t.Errorf("Cache-Status %q", g.header.Get("Cache-Status"))
	}
}
