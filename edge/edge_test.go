package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/cache/disk"
	"weir/edge/upstream"
)

// bench is one edge before one origin, over real HTTP/1.1.
type bench struct {
	t      testing.TB
	cache  *cache.Cache
	edge   *Edge
	front  http.Handler // what clients reach: the edge
	url    string
	origin atomic.Int64 // requests that reached it
	mu     sync.Mutex   // guards the field below
	seen   []*Exchange
}

func newBench(t testing.TB, origin http.HandlerFunc) *bench {
	t.Helper()
	return newSiteBench(t, Site{}, origin)
}

// newSiteBench is newBench with a site's rules; hosts and origin are filled in.
func newSiteBench(t testing.TB, site Site, origin http.HandlerFunc) *bench {
	t.Helper()
	return newFileBench(t, site, nil, origin)
}

// newFileBench is newSiteBench on a file system; nil is the machine's.
func newFileBench(t testing.TB, site Site, fs disk.FS, origin http.HandlerFunc) *bench {
	t.Helper()
	b := &bench{t: t}
	upstreamServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.origin.Add(1)
		origin(w, r)
	}))
	t.Cleanup(upstreamServer.Close)
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{upstreamServer.URL}, HeadTimeout: 2 * time.Second, StallTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Close)
	if b.cache, err = cache.New(cache.Options{Dir: t.TempDir(), DiskBytes: 64 << 20, MemoryBytes: 16 << 20, FS: fs}); err != nil {
		t.Fatal(err)
	}
	site.Hosts, site.Origin = []string{"*"}, group
	sites, err := NewSites(&site)
	if err != nil {
		t.Fatal(err)
	}
	b.edge, err = New(Options{Name: "edge-1", Cache: b.cache, Sites: sites, Observe: b.observe})
	if err != nil {
		t.Fatal(err)
	}
	b.front = b.edge
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.front.ServeHTTP(w, r)
	}))
	b.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.cache.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		over, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		b.edge.Close(over)
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := b.cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) observe(x *Exchange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, x)
}

// answer is a response read whole.
type got struct {
	status int
	header http.Header
	body   string
	err    error
}

func (b *bench) do(method, path string, header ...string) got {
	b.t.Helper()
	return b.watch(method, path, make(chan struct{}), header...)
}

// watch is do that closes begun once it has the response's head.
func (b *bench) watch(method, path string, begun chan<- struct{}, header ...string) got {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	close(begun)
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, string(body), err}
}

func (b *bench) want(name string, g got, status int, outcome, body string) {
	b.t.Helper()
	if g.err != nil || g.status != status || g.body != body || !strings.Contains(g.header.Get("Cache-Status"), outcome) {
		b.t.Errorf("%s: got %d %q, Cache-Status %q, error %v; want %d %q, %q",
			name, g.status, clip(g.body), g.header.Get("Cache-Status"), g.err, status, clip(body), outcome)
	}
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

func cacheable(seconds int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", seconds))
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body)
	}
}

func TestMissThenHit(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1500, 200 << 10, 2 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			body := strings.Repeat("x", size)
			b := newBench(t, cacheable(60, body))
			b.want("first", b.do("GET", "/a"), 200, "edge-1; fwd=uri-miss; fwd-status=200; stored", body)
			hit := b.do("GET", "/a")
			b.want("second", hit, 200, "edge-1; hit; ttl=", body)
			if hit.header.Get("Age") == "" || hit.header.Get("Via") != "1.1 edge-1" || hit.header.Get("Content-Length") != fmt.Sprint(size) {
				t.Errorf("a hit has Age %q, Via %q, Content-Length %q", hit.header.Get("Age"), hit.header.Get("Via"), hit.header.Get("Content-Length"))
			}
			b.want("head", b.do("HEAD", "/a"), 200, "edge-1; hit", "")
			if n := b.origin.Load(); n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// TestAResponseWithoutABodyIsStoredWhenItIsAnswered: the next request finds it.
func TestAResponseWithoutABodyIsStoredWhenItIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(http.StatusNoContent)
	})
	for i := range 20 {
		path := fmt.Sprintf("/%d", i)
		b.want("first", b.do("GET", path), 204, "fwd=uri-miss; fwd-status=204; stored", "")
		b.want("second", b.do("GET", path), 204, "hit", "")
	}
}

func TestWhatMayNotBeSharedIsPassed(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][2]string{
		"no-store": {"Cache-Control", "no-store"}, "private": {"Cache-Control", "private, max-age=60"}, "nothing said": {"X-A", "b"}, "vary star": {"Vary", "*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(header[0], header[1])
				_, _ = io.WriteString(w, "mine")
			})
			for i := range 3 {
				b.want(fmt.Sprint(i), b.do("GET", "/a"), 200, "edge-1; fwd=", "mine")
			}
			if n := b.origin.Load(); n != 3 {
				t.Errorf("the origin was asked %d times, want 3", n)
			}
		})
	}
}

func TestPostGoesThroughWithItsBody(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+string(body))
	})
	resp, err := http.Post(b.url+"/a", "text/plain", strings.NewReader("!"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "POST!" || !strings.Contains(resp.Header.Get("Cache-Status"), "fwd=method") {
		t.Errorf("got %q, %q", body, resp.Header.Get("Cache-Status"))
	}
}

func TestRevalidation(t *testing.T) {
	t.Parallel()
	var conditional atomic.Int64
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, must-revalidate")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("X-Turn", fmt.Sprint(conditional.Load()))
		if r.Header.Get("If-None-Match") == `"1"` {
			conditional.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "body")
	})
	b.want("first", b.do("GET", "/a"), 200, "fwd=uri-miss", "body")
	g := b.do("GET", "/a")
	b.want("second", g, 200, "fwd=stale; fwd-status=304", "body")
	if conditional.Load() != 1 || g.header.Get("X-Turn") != "0" {
		t.Errorf("%d conditional requests, updated field %q", conditional.Load(), g.header.Get("X-Turn"))
	}
}

func TestStaleIfError(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=60")
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, "body")
	})
	b.want("first", b.do("GET", "/a"), 200, "fwd=uri-miss", "body")
	down.Store(true)
	b.want("origin down", b.do("GET", "/a"), 200, "hit", "body")
	g := b.do("GET", "/other")
	if g.status != http.StatusBadGateway || !strings.Contains(g.header.Get("Proxy-Status"), "edge-1; error=") {
		t.Errorf("nothing stored: got %d, Proxy-Status %q", g.status, g.header.Get("Proxy-Status"))
	}
}

func TestStaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	refreshed := make(chan struct{}, 8)
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		v := version.Add(1)
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, v))
		_, _ = io.WriteString(w, fmt.Sprint(v))
		refreshed <- struct{}{}
	})
	b.want("first", b.do("GET", "/a"), 200, "fwd=uri-miss", "1")
	<-refreshed
	g := b.do("GET", "/a")
	b.want("stale", g, 200, "hit; ttl=", "1")
	<-refreshed
}

func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	const date = "Mon, 02 Nov 2026 10:00:00 GMT"
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", date)
		_, _ = io.WriteString(w, "body")
	})
	b.do("GET", "/a")
	tests := []struct {
		name, field, value string
		want               int
	}{
		{"same", "If-None-Match", `"v1"`, 304},
		{"weak", "If-None-Match", `W/"v1"`, 304},
		{"listed", "If-None-Match", `"v0", "v1"`, 304},
		{"star", "If-None-Match", "*", 304},
		{"other", "If-None-Match", `"v2"`, 200},
		{"comma inside", "If-None-Match", `"v0,", "v1"`, 304},
		{"nonsense", "If-None-Match", "v1", 200},
		{"not modified since", "If-Modified-Since", date, 304},
		{"modified since", "If-Modified-Since", "Sun, 01 Nov 2026 10:00:00 GMT", 200},
		{"bad date", "If-Modified-Since", "yesterday", 200},
	}
	for _, tt := range tests {
		if g := b.do("GET", "/a", tt.field, tt.value); g.status != tt.want || g.status == 304 && (g.body != "" || g.header.Get("Etag") != `"v1"`) {
			t.Errorf("%s: got %d %q, ETag %q; want %d", tt.name, g.status, g.body, g.header.Get("Etag"), tt.want)
		}
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 20_000) // beyond what is kept in memory
	b := newBench(t, cacheable(60, body))
	for _, miss := range []bool{true, false} {
		path := "/a"
		tests := []struct {
			name, header string
			status       int
			contentRange string
			body         string
		}{
			{"first", "bytes=0-9", 206, "bytes 0-9/200000", body[:10]},
			{"middle", "bytes=100005-100007", 206, "bytes 100005-100007/200000", "567"},
			{"open", "bytes=199990-", 206, "bytes 199990-199999/200000", "0123456789"},
			{"suffix", "bytes=-3", 206, "bytes 199997-199999/200000", "789"},
			{"beyond", "bytes=200000-", 416, "bytes */200000", ""},
			{"empty suffix", "bytes=-0", 416, "bytes */200000", ""},
			{"other unit", "items=0-1", 200, "", body},
			{"all", "bytes=0-", 206, "bytes 0-199999/200000", body},
		}
		for i, tt := range tests {
			if miss {
				path = fmt.Sprintf("/cold-%d", i)
			}
			g := b.do("GET", path, "Range", tt.header)
			if g.err != nil || g.status != tt.status || g.header.Get("Content-Range") != tt.contentRange || tt.status != 416 && g.body != tt.body {
				t.Errorf("%s (miss %v): got %d, %q, %d bytes, %v", tt.name, miss, g.status, g.header.Get("Content-Range"), len(g.body), g.err)
			}
		}
	}
	g := b.do("GET", "/a", "Range", "bytes=0-1,5-6", "If-Range", `"1"`)
	if g.status != 206 || !strings.HasPrefix(g.header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(g.body, "bytes 5-6/200000\r\n\r\n56\r\n") {
		t.Errorf("parts: got %d, %q, %q", g.status, g.header.Get("Content-Type"), g.body)
	}
	if g := b.do("GET", "/a", "Range", "bytes=0-1", "If-Range", `"2"`); g.status != 200 {
		t.Errorf("If-Range of another version: got %d", g.status)
	}
}

func TestVary(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Colour")
		_, _ = io.WriteString(w, r.Header.Get("X-Colour"))
	})
	for range 2 {
		for _, colour := range []string{"red", "blue", ""} {
			b.want(colour, b.do("GET", "/a", "X-Colour", colour), 200, "edge-1", colour)
		}
	}
	if n := b.origin.Load(); n != 3 {
		t.Errorf("the origin was asked %d times, want 3", n)
	}
}

func TestAShortBodyIsBrokenOffAndNotKept(t *testing.T) {
	t.Parallel()
	var whole atomic.Bool
	body := strings.Repeat("x", 300<<10)
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if whole.Load() {
			_, _ = io.WriteString(w, body)
			return
		}
		_, _ = io.WriteString(w, body[:len(body)/2])
		panic(http.ErrAbortHandler)
	})
	if g := b.do("GET", "/a"); g.err == nil && g.status != http.StatusBadGateway {
		t.Errorf("a short body ended cleanly with %d and %d bytes", g.status, len(g.body))
	}
	whole.Store(true)
	b.want("after", b.do("GET", "/a"), 200, "fwd=uri-miss", body)
}

func TestACrowdCostsOneFetchAndNobodyWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	const clients = 50
	first, last := strings.Repeat("a", 70<<10), strings.Repeat("b", 70<<10)
	release := make(chan struct{})
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", fmt.Sprint(len(first)+len(last)))
		_, _ = io.WriteString(w, first)
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, last)
	})
	begun := make(chan struct{}, clients)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			resp, err := http.Get(b.url + "/a")
			if err != nil {
				t.Error(err)
				begun <- struct{}{}
				return
			}
			defer resp.Body.Close()
			head := make([]byte, len(first))
			_, err = io.ReadFull(resp.Body, head)
			begun <- struct{}{}
			rest, restErr := io.ReadAll(resp.Body)
			if err != nil || restErr != nil || string(head) != first || string(rest) != last {
				t.Errorf("got %d then %d bytes, %v, %v", len(head), len(rest), err, restErr)
			}
		})
	}
	for range clients {
		<-begun // all have the first half while the origin holds the second
	}
	close(release)
	wait.Wait()
	if n := b.origin.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestTheFillGoesOnWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "ha")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "lf")
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/a", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(resp.Body, make([]byte, 2))
	cancel()
	resp.Body.Close()
	close(release)
	b.want("next client", b.do("GET", "/a"), 200, "edge-1", "half")
	if n := b.origin.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(60, "x"))
	tests := []struct {
		name, method, path string
		header             []string
		status             int
	}{
		{"dot segments", "GET", "/a/%2e%2e/b", nil, 400},
		{"NUL", "GET", "/a%00", nil, 400},
		{"trace", "TRACE", "/a", nil, 405},
		{"loop", "GET", "/a", []string{"CDN-Loop", "other, weir"}, 508},
		{"only if cached", "GET", "/a", []string{"Cache-Control", "only-if-cached"}, 504},
	}
	for _, tt := range tests {
		if g := b.do(tt.method, tt.path, tt.header...); g.status != tt.status {
			t.Errorf("%s: got %d %q, want %d", tt.name, g.status, g.body, tt.status)
		}
	}
	if n := b.origin.Load(); n != 0 {
		t.Errorf("refused requests reached the origin %d times", n)
	}
}

func TestFieldsThatNoKeyHoldsDoNotReachTheOrigin(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = fmt.Fprint(w, r.Header)
	})
	g := b.do("GET", "/a", "X-Forwarded-Host", "canary", "X-Original-Url", "canary", "Forwarded", "host=canary", "X-Host", "canary", "Range", "bytes=0-")
	if strings.Contains(g.body, "canary") || strings.Contains(g.body, "Range") {
		t.Errorf("the origin saw %s", g.body)
	}
	if !strings.Contains(g.body, "Cdn-Loop:[weir]") {
		t.Errorf("the origin saw no CDN-Loop: %s", g.body)
	}
}
