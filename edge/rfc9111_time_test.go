package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/edge/upstream"
)

// timeBench is an edge before an origin in a bubble of virtual time: time passes
// while all sleep, so that a bound is tested to the millisecond.
type timeBench struct {
	t      *testing.T
	edge   *Edge
	path   string
	down   atomic.Bool
	origin atomic.Int64 // requests that reached it
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inTime runs a test in a bubble.
func inTime(t *testing.T, site Site, origin http.HandlerFunc, test func(b *timeBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &timeBench{t: t, path: "/a"}
		listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.origin.Add(1)
			origin(w, r)
		}), ReadHeaderTimeout: time.Hour}
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(listener) }) // ends by Close
		b.run(site, func(c net.Conn) { listener.conns <- c }, test)
		_ = server.Close()
		served.Wait()
	})
}

// run tests an edge whose connections to the origin are given to accept.
func (b *timeBench) run(site Site, accept func(c net.Conn), test func(b *timeBench)) {
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{"http://origin"}, Dial: func(context.Context, string, string) (net.Conn, error) {
		if b.down.Load() {
			return nil, &net.OpError{Op: "dial", Err: errors.New("down")}
		}
		ours, theirs := net.Pipe()
		accept(theirs)
		return ours, nil
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	store, err := cache.New(cache.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	site.Hosts, site.Origin = []string{"*"}, group
	sites, err := NewSites(&site)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.edge, err = New(Options{Name: "edge-1", Cache: store, Sites: sites}); err != nil {
		b.t.Fatal(err)
	}
	test(b)
	b.edge.Close(b.t.Context())
	group.Close()
	if err := store.Close(); err != nil {
		b.t.Error(err)
	}
}

// fall takes the origin away, with its connections.
func (b *timeBench) fall(group *upstream.Group) {
	b.down.Store(true)
	group.Close()
}

// after lets time pass and asks.
func (b *timeBench) after(d time.Duration, status int, want string) http.Header {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	r := httptest.NewRequest(http.MethodGet, "http://site.example"+b.path, http.NoBody)
	r.RequestURI = b.path
	w := httptest.NewRecorder()
	b.edge.ServeHTTP(w, r)
	synctest.Wait() // what the request began behind it
	if got := w.Header().Get("Cache-Status"); w.Code != status || !strings.Contains(got, want) {
		b.t.Errorf("%v later: %d, %q; want %d, %q", d, w.Code, got, status, want)
	}
	return w.Header()
}

func saying(fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			fields = append([]string{"Status", "304"}, fields...)
		}
		say(w, fields, "body")
	}
}

const ms = time.Millisecond

// TestFreshnessIsExact is RFC 9111, 4.2.
func TestFreshnessIsExact(t *testing.T) {
	t.Parallel()
	inTime(t, Site{}, saying("Cache-Control", "max-age=60"), func(b *timeBench) {
		b.after(0, 200, "fwd=uri-miss; fwd-status=200; stored; ttl=60")
		b.after(30*time.Second, 200, "hit; ttl=30")
		if age := b.after(30*time.Second-ms, 200, "hit; ttl=0").Get("Age"); age != "59" {
			b.t.Errorf("Age %q, want 59", age)
		}
		b.after(ms, 200, "fwd=stale; fwd-status=200; stored; ttl=60")
	})
}

// TestTheTimeInTransitCounts is RFC 9111, 4.2.3: corrected_age_value.
func TestTheTimeInTransitCounts(t *testing.T) {
	t.Parallel()
	slow := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(3 * time.Second)
		say(w, []string{"Cache-Control", "max-age=10"}, "body")
	}
	inTime(t, Site{}, slow, func(b *timeBench) {
		b.after(0, 200, "fwd=uri-miss")
		if age := b.after(0, 200, "hit; ttl=7").Get("Age"); age != "3" {
			b.t.Errorf("Age %q, want 3", age)
		}
		b.after(7*time.Second-ms, 200, "hit")
		b.after(ms, 200, "fwd=stale")
	})
}

// TestStaleWhileRevalidateIsExact is RFC 5861, 3.
func TestStaleWhileRevalidateIsExact(t *testing.T) {
	t.Parallel()
	answer := saying("Cache-Control", "max-age=10, stale-while-revalidate=5")
	inTime(t, Site{}, answer, func(b *timeBench) {
		b.after(0, 200, "fwd=uri-miss")
		b.after(15*time.Second-ms, 200, "hit; ttl=-5")
		b.after(0, 200, "hit; ttl=9") // it was asked for behind the stale one; Date has whole seconds
		b.after(15*time.Second, 200, "fwd=stale")
	})
}

// TestStaleIfErrorIsExact is RFC 5861, 4: to the end of its window a stale
// response stands in, then the failure is told.
func TestStaleIfErrorIsExact(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"no validator": {"Cache-Control", "max-age=1, stale-if-error=60"},
		"validator":    {"Cache-Control", "max-age=1, stale-if-error=60", "ETag", `"1"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, Site{}, saying(fields...), func(b *timeBench) {
				b.after(0, 200, "fwd=uri-miss")
				b.fall(b.edge.options.Sites.all.Origin)
				b.after(30*time.Second, 200, "hit; ttl=-29; detail=stale-if-error")
				b.after(31*time.Second-ms, 200, "hit; ttl=-60; detail=stale-if-error")
				h := b.after(ms, http.StatusBadGateway, "fwd=stale")
				if got := h.Get("Proxy-Status"); got != "edge-1; error=connection_refused; next-hop=origin" {
					b.t.Errorf("Proxy-Status %q", got)
				}
			})
		})
	}
}

// TestWhatIsNotKeptTakesTheStaleOneWithIt is RFC 9111, 4.3.3: who has been told of
// a newer response never gets the one before it, also when the origin fails.
func TestWhatIsNotKeptTakesTheStaleOneWithIt(t *testing.T) {
	t.Parallel()
	var turns atomic.Int64
	origin := func(w http.ResponseWriter, _ *http.Request) {
		directives := "max-age=1, stale-if-error=60"
		if turns.Add(1) > 1 {
			directives = "no-store"
		}
		say(w, []string{"Cache-Control", directives}, "body")
	}
	inTime(t, Site{}, origin, func(b *timeBench) {
		b.after(0, 200, "stored")
		b.after(time.Second, 200, "fwd=stale; fwd-status=200; detail=no-store")
		b.fall(b.edge.options.Sites.all.Origin)
		b.after(2*time.Second, http.StatusBadGateway, "fwd=uri-miss")
	})
}

// TestWhatMustBeValidatedIsNotServedUnvalidated is RFC 9111, 5.2.2.2.
func TestWhatMustBeValidatedIsNotServedUnvalidated(t *testing.T) {
	t.Parallel()
	for _, directives := range []string{"max-age=1, must-revalidate, stale-if-error=60", "max-age=1, proxy-revalidate", "s-maxage=1", "no-cache"} {
		t.Run(directives, func(t *testing.T) {
			t.Parallel()
			inTime(t, Site{}, saying("Cache-Control", directives, "ETag", `"1"`), func(b *timeBench) {
				b.after(0, 200, "fwd=uri-miss")
				b.fall(b.edge.options.Sites.all.Origin)
				b.after(time.Second, http.StatusGatewayTimeout, "fwd=stale")
			})
		})
	}
}

// TestMediaLifetimes: what an origin says nothing about is kept as long as media
// of its kind holds, and an error never past the segment's coming.
func TestMediaLifetimes(t *testing.T) {
	t.Parallel()
	const list, mpd = "application/vnd.apple.mpegurl", "application/dash+xml"
	const media = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.m4s\n"
	tests := []struct {
		name, path string
		answer     []string
		lifetime   time.Duration // 0: not kept
	}{
		{"segment", "/a.m4s", []string{"Content-Type", "video/mp4"}, time.Hour},
		{"segment of no type", "/a.ts", []string{"Content-Type", ""}, time.Hour},
		{"segment whose origin knows", "/a.m4s", []string{"Cache-Control", "max-age=5"}, 5 * time.Second},
		{"live playlist", "/a.m3u8", []string{"Content-Type", list, "Body", media}, 2 * time.Second},
		{"low latency", "/a.m3u8", []string{"Content-Type", list, "Body", "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0.5\n" + media}, 250 * ms},
		{"complete playlist", "/a.m3u8", []string{"Content-Type", list, "Body", media + "#EXT-X-ENDLIST\n"}, 10 * time.Second},
		{"list of playlists", "/a.m3u8", []string{"Content-Type", list, "Body", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n"}, 10 * time.Second},
		{"playlist that tells nothing", "/a.m3u8", []string{"Content-Type", list, "Body", "#EXTM3U\n"}, time.Second},
		{"live MPD", "/a.mpd", []string{"Content-Type", mpd, "Body", `<MPD type="dynamic" minimumUpdatePeriod="PT3S"><Period>`}, 1500 * ms},
		{"MPD without a period", "/a.mpd", []string{"Content-Type", mpd, "Body", `<MPD type="dynamic"><Period>`}, time.Second},
		{"complete MPD", "/a.mpd", []string{"Content-Type", mpd, "Body", `<MPD type="static"><Period>`}, 10 * time.Second},
		{"404", "/a.m4s", []string{"Status", "404"}, time.Second},
		{"404 with a lifetime", "/a.m4s", []string{"Status", "404", "Cache-Control", "max-age=60"}, 2 * time.Second},
		{"503 with a lifetime", "/a.mpd", []string{"Status", "503", "Cache-Control", "max-age=60"}, 2 * time.Second},
		{"500", "/a.m4s", []string{"Status", "500"}, 0},
		{"somebody's account", "/account/x.m4s", []string{"Content-Type", "text/html"}, 0},
		{"somebody's cookie", "/x.m4s", []string{"Content-Type", "video/mp4", "Set-Cookie", "a=b"}, 0},
		{"no media", "/a", []string{"Content-Type", "video/mp4"}, 0},
		{"404 of no media", "/a", []string{"Status", "404"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			origin := func(w http.ResponseWriter, _ *http.Request) { say(w, tt.answer, "body") }
			inTime(t, Site{}, origin, func(b *timeBench) {
				b.path = tt.path
				status := http.StatusOK
				if tt.answer[0] == "Status" {
					status = map[string]int{"404": 404, "500": 500, "503": 503}[tt.answer[1]]
				}
				b.after(0, status, "fwd=uri-miss")
				if tt.lifetime == 0 {
					b.after(0, status, "fwd=uri-miss")
					return
				}
				b.after(tt.lifetime-ms, status, "hit")
				b.after(ms, status, "fwd=stale")
			})
		})
	}
}

// TestARefreshedPlaylistKeepsItsRhythm: a 304 has no body to look at.
func TestARefreshedPlaylistKeepsItsRhythm(t *testing.T) {
	t.Parallel()
	answer := saying("Content-Type", "application/vnd.apple.mpegurl", "ETag", `"1"`, "Body", "#EXTM3U\n#EXT-X-TARGETDURATION:6\n")
	inTime(t, Site{}, answer, func(b *timeBench) {
		b.path = "/a.m3u8"
		b.after(0, 200, "fwd=uri-miss")
		b.after(3*time.Second, 200, "fwd=stale; fwd-status=304")
		b.after(3*time.Second-ms, 200, "hit")
		b.after(ms, 200, "fwd=stale; fwd-status=304")
	})
}

// TestNobodyWaitsForWhatIsNotShared, for a second; then somebody looks again.
func TestNobodyWaitsForWhatIsNotShared(t *testing.T) {
	t.Parallel()
	inTime(t, Site{}, saying("Cache-Control", "no-store"), func(b *timeBench) {
		b.after(0, 200, "detail=no-store")
		b.after(time.Second-ms, 200, "detail=uncacheable")
		b.after(ms, 200, "detail=no-store")
	})
}
