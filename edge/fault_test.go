package edge

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// ask sends a GET straight to the edge. aborted tells that the response was broken off.
func (b *timeBench) ask(path string) (w *httptest.ResponseRecorder, aborted bool) {
	r := httptest.NewRequest(http.MethodGet, "http://site.example"+path, http.NoBody)
	r.RequestURI = path
	w = httptest.NewRecorder()
	defer func() {
		if err, ok := recover().(error); ok && errors.Is(err, http.ErrAbortHandler) {
			aborted = true
		}
	}()
	b.edge.ServeHTTP(w, r)
	return w, false
}

// failing is an origin that counts and can fail for all.
type failing struct {
	control string

	mu     sync.Mutex // guards the fields below
	status int        // 200: well; 0: it closes the connection
	asked  map[string]int
}

func (f *failing) become(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.asked = status, map[string]int{}
}

func (f *failing) most() (most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.asked {
		most = max(most, n)
	}
	return most
}

func (f *failing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]++
	status := f.status
	f.mu.Unlock()
	switch status {
	case 0:
		panic(http.ErrAbortHandler)
	case http.StatusOK:
		say(w, []string{"Cache-Control", f.control}, "body")
	default:
		w.WriteHeader(status)
	}
}

// TestAnOriginThatFailsIsAskedOnceForEachKeyAndStep: for a minute it gives errors to
// all. What is stored is served, viewers' requests do not reach it, and when it is
// back that is found out within the longest step.
func TestAnOriginThatFailsIsAskedOnceForEachKeyAndStep(t *testing.T) {
	t.Parallel()
	const keys, pace, outage = 20, 250 * time.Millisecond, time.Minute // each key at the pace of 2,000 requests/s for 500 keys
	limit := 0
	for at, step := time.Duration(0), firstRest; at <= outage; at, step = at+step, min(2*step, longestRest) {
		limit++
	}
	const replays = 1 // of a request on an idle connection that the origin has closed
	for _, control := range []string{"max-age=1, stale-if-error=600", "max-age=1, stale-while-revalidate=30, stale-if-error=600"} {
		for _, status := range []int{500, 502, 503, 504, 0} {
			t.Run(fmt.Sprint(control, " ", status), func(t *testing.T) {
				t.Parallel()
				origin := &failing{control: control}
				origin.become(http.StatusOK)
				inTime(t, Site{}, origin.ServeHTTP, func(b *timeBench) {
					all := func(want string) {
						b.t.Helper()
						for key := range keys {
							w, _ := b.ask(fmt.Sprint("/", key))
							if got := w.Header().Get("Cache-Status"); w.Code != 200 || w.Body.String() != "body" || !strings.Contains(got, want) {
								b.t.Errorf("key %d: %d %q, %q; want 200, %q", key, w.Code, clip(w.Body.String()), got, want)
							}
						}
						synctest.Wait()
					}
					all("fwd=uri-miss")
					time.Sleep(2 * time.Second)
					origin.become(status)
					for end := time.Now().Add(outage); time.Now().Before(end); time.Sleep(pace) {
						all("hit; ttl=-")
					}
					if most := origin.most(); most > limit+replays || most < 2 {
						b.t.Errorf("a key was asked for %d times in %s, want 2 to %d", most, outage, limit+replays)
					}
					if status != http.StatusInternalServerError && b.edge.options.Sites.all.Origin.Hosts()[0].OK {
						b.t.Error("the breaker has not opened")
					}
					origin.become(http.StatusOK)
					time.Sleep(longestRest)
					all("")
					all("hit")
					if most := origin.most(); most != 1 {
						b.t.Errorf("a key was asked for %d times since the origin is back", most)
					}
					if !b.edge.options.Sites.all.Origin.Hosts()[0].OK {
						b.t.Error("the breaker has not closed again")
					}
				})
			})
		}
	}
}

// TestBackoffIsBounded: a flood of keys does not make it grow.
func TestBackoffIsBounded(t *testing.T) {
	t.Parallel()
	var b backoff
	now := time.Now()
	for i := range 3 * restingMax {
		var id cache.ID
		id[0], id[1], id[2] = byte(i), byte(i>>8), byte(i>>16)
		b.failed(id, now)
		if len(b.keys) > restingMax || !b.rests(id, now) {
			t.Fatalf("%d keys after %d failures, the last one rests: %v", len(b.keys), i+1, b.rests(id, now))
		}
	}
}

// silent is an origin whose connections get what a func writes.
func silent(t *testing.T, script func(c net.Conn, gone <-chan struct{}), test func(b *timeBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &timeBench{t: t}
		var conns sync.WaitGroup
		b.run(Site{}, func(c net.Conn) {
			b.origin.Add(1)
			conns.Go(func() { // ends when the edge closes its side
				defer c.Close()
				if _, err := c.Read(make([]byte, 4096)); err != nil { // what comes before the request is no answer to it
					return
				}
				gone := make(chan struct{})
				go func() { // as conns
					defer close(gone)
					_, _ = io.Copy(io.Discard, c)
				}()
				script(c, gone)
			})
		}, test)
		conns.Wait()
	})
}

// TestAnOriginThatHangsHoldsNobodyForEver: its first byte never comes, its head
// comes a byte a second, its body stalls. All that wait are told, and nothing of it
// stays.
func TestAnOriginThatHangsHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	const viewers, limit = 20, 21 * time.Second // 10 s for the head, 10 s without a byte of the body
	say := func(c net.Conn, text string) { _, _ = io.WriteString(c, text) }
	dribble := func(c net.Conn, text string, pause time.Duration) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nCache-Control: max-age=60\r\n"
	for _, tt := range []struct {
		name   string
		script func(c net.Conn, gone <-chan struct{})
		status int  // 0: a body that is broken off
		begun  bool // something of the body comes
	}{
		{"no first byte", func(_ net.Conn, gone <-chan struct{}) { <-gone }, 504, false},
		{"a byte of the head each second", func(c net.Conn, _ <-chan struct{}) {
			dribble(c, head+strings.Repeat("X: y\r\n", 100)+"\r\n", time.Second)
		}, 504, false},
		{"interim responses only", func(c net.Conn, _ <-chan struct{}) {
			for range 1000 {
				dribble(c, "HTTP/1.1 102 Processing\r\n\r\n", 100*time.Millisecond)
			}
		}, 504, false},
		{"half a head", func(c net.Conn, gone <-chan struct{}) { say(c, head); <-gone }, 504, false},
		{"no byte of the body", func(c net.Conn, gone <-chan struct{}) { say(c, head+"\r\n"); <-gone }, 504, false},
		{"half the body", func(c net.Conn, gone <-chan struct{}) { say(c, head+"\r\n"+strings.Repeat("x", 500)); <-gone }, 0, true},
		{"half of a body that names no length", func(c net.Conn, gone <-chan struct{}) {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n1f4\r\n"+strings.Repeat("x", 500)+"\r\n")
			<-gone
		}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			silent(t, tt.script, func(b *timeBench) {
				var waiting sync.WaitGroup
				begin := time.Now()
				for range viewers {
					waiting.Go(func() {
						w, aborted := b.ask("/a")
						switch {
						case tt.begun && (!aborted || w.Body.Len() != 500):
							b.t.Errorf("aborted %v after %d bytes, want an abort after 500", aborted, w.Body.Len())
						case !tt.begun && !aborted && w.Code != tt.status:
							b.t.Errorf("status %d, %s; want %d", w.Code, w.Header().Get("Proxy-Status"), tt.status)
						}
					})
				}
				waiting.Wait()
				if took := time.Since(begin); took > limit {
					b.t.Errorf("viewers waited for %s, want %s at most", took, limit)
				}
				synctest.Wait()
				if s := b.edge.options.Sites.all.Origin.Stats(); s.Running != 0 || b.edge.options.Cache.Stats().Fills != 0 {
					b.t.Errorf("%d requests and %d fills still run", s.Running, b.edge.options.Cache.Stats().Fills)
				}
				if n := b.edge.options.Cache.Stats().Objects; n != 0 {
					b.t.Errorf("%d objects are kept", n)
				}
			})
		})
	}
}

// TestNothingIsInflated: 64 MiB of zeros in a few kilobytes pass as they are, also
// where the edge looks into the body, which is what it does with playlists.
func TestNothingIsInflated(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(z, zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip"} {
		for path, kind := range map[string]string{
			"/a.m3u8": "application/vnd.apple.mpegurl", "/a.mpd": "application/dash+xml", "/a.m4s": "video/mp4", "/a.vtt": "text/vtt", "/a.html": "text/html",
		} {
			b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.Header().Set("Content-Encoding", coding)
				if path == "/a.html" {
					w.Header().Set("Cache-Control", "max-age=60")
				}
				_, _ = w.Write(bomb.Bytes())
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, accept := range []string{"gzip", "identity", ""} {
				g := b.do("GET", path, "Accept-Encoding", accept)
				if g.body != bomb.String() || g.header.Get("Content-Encoding") != coding || g.err != nil {
					t.Errorf("%s, %s, accepting %q: %d bytes, coding %q, %v; want %d bytes", path, coding, accept, len(g.body), g.header.Get("Content-Encoding"), g.err, bomb.Len())
				}
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
				t.Errorf("%s, %s: %d bytes were allocated", path, coding, got)
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
