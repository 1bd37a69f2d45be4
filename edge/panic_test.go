package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache/disk"
	"weir/cluster/ring"
	"weir/edge/limit"
	"weir/edge/manifest"
	"weir/edge/upstream"
)

// mine panics once where it is armed for.
type mine struct{ at atomic.Pointer[string] }

func (m *mine) arm(place string) { m.at.Store(&place) }

func (m *mine) step(place string) {
	if at := m.at.Load(); at != nil && *at == place && m.at.CompareAndSwap(at, nil) {
		panic("a mine at " + place)
	}
}

// minedFS is a file system with mines under what is done for a fill.
type minedFS struct {
	disk.FS

	mine *mine
}

type minedFile struct {
	disk.File

	mine *mine
}

func (f minedFS) Create(dir string) (disk.File, error) {
	if strings.Contains(dir, "journal") {
		return f.FS.Create(dir)
	}
	f.mine.step("create")
	file, err := f.FS.Create(dir)
	return minedFile{file, f.mine}, err
}

func (f minedFS) Publish(file disk.File, path string) error {
	mined, ok := file.(minedFile)
	if !ok {
		return f.FS.Publish(file, path)
	}
	f.mine.step("publish")
	return f.FS.Publish(mined.File, path)
}

func (f minedFile) WriteAt(p []byte, off int64) (int, error) {
	f.mine.step("write")
	return f.File.WriteAt(p, off)
}

// minedWriter has a mine under what a handler writes.
type minedWriter struct {
	http.ResponseWriter

	mine *mine
}

func (w minedWriter) Write(p []byte) (int, error) {
	w.mine.step("send")
	return w.ResponseWriter.Write(p)
}

func (w minedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestPanicsStayInTheirRequest: wherever a request's own code or a fill's panics, that request alone fails, all that it
// held is given back, one counter rises by one, and the next request for the same finds nothing in its way.
func TestPanicsStayInTheirRequest(t *testing.T) {
	t.Parallel()
	const large = 9 << 20
	body := strings.Repeat("x", large)
	for _, tt := range []struct {
		name, place, method, path string
		fill                      bool // it happens in a fill, else in the handler
	}{
		{"a fill that asks the origin", "origin", "GET", "/a", true},
		{"a fill that finds its place", "tiers", "GET", "OWNED", true},
		{"a fill that asks a peer", "peer", "GET", "OWNED", true},
		{"a fill of slices", "slices", "GET", "/large", true},
		{"a fill's file is made", "create", "GET", "/file", true},
		{"a fill's file is written", "write", "GET", "/file", true},
		{"a fill's file gets its name", "publish", "GET", "/file", true},
		{"a small fill's file gets its name", "publish", "GET", "/a", true},
		{"a hit", "send", "GET", "/hit", false},
		{"a miss", "send", "GET", "/a", false},
		{"a body that is passed", "send", "POST", "/pass", false},
		{"a response that is not kept", "send", "GET", "/private", false},
		{"a request that is passed", "origin", "POST", "/pass", false},
		{"a manifest is made", "tailor", "GET", "/a.m3u8", false},
		{"a child of a manifest", "child", "GET", "/a.m3u8", false},
		{"the books", "observe", "GET", "/a", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &mine{}
			site := Site{
				Limits: &Limits{Client: Bounds{Concurrent: 8, Requests: limit.Rate{PerSecond: 1e6, Burst: 1e6}}},
				Tailor: func(*http.Request, Target) Tailoring {
					m.step("tailor")
					return Tailoring{Mark: 1, Child: func(dst, _ []byte, _ manifest.Resource) []byte {
						m.step("child")
						return dst
					}}
				},
			}
			b := newFileBench(t, site, minedFS{&disk.Real{}, m}, func(w http.ResponseWriter, r *http.Request) {
				switch text := body[:200_000]; {
				case r.URL.Path == "/private" || r.Method == http.MethodPost:
					say(w, []string{"Cache-Control", "private"}, text)
				case r.URL.Path == "/large":
					w.Header().Set("Cache-Control", "max-age=600")
					w.Header().Set("ETag", `"1"`)
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
				case strings.HasSuffix(r.URL.Path, ".m3u8"):
					say(w, []string{"Cache-Control", "max-age=600"}, "#EXTM3U\n#EXTINF:4,\n1.m4s\n")
				case r.URL.Path == "/file":
					w.Header().Set("Cache-Control", "max-age=600")
					w.(http.Flusher).Flush() // its length is not known
					_, _ = io.WriteString(w, body[:2<<20])
				default:
					say(w, []string{"Cache-Control", "max-age=600"}, text)
				}
			})
			v := NewOverload(OverloadOptions{Signals: func() (time.Duration, int64) { return 0, 0 }})
			b.edge.options.Overload = v
			b.edge.useFetches(b.edge.sites.Load())
			handlers := &atomic.Int64{}
			b.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					if p := recover(); p != nil {
						if p != http.ErrAbortHandler { //nolint:errorlint // as net/http does
							handlers.Add(1)
						}
						panic(http.ErrAbortHandler)
					}
				}()
				b.edge.ServeHTTP(minedWriter{w, m}, r)
			})
			if tt.path == "OWNED" {
				owner := httptest.NewTLSServer(cacheable(600, "of the owner"))
				t.Cleanup(owner.Close)
				tt.path = b.owned(owner)
				tiers := b.edge.options.Tiers
				b.edge.options.Tiers = func() ring.Tiers {
					m.step("tiers")
					return tiers()
				}
			}
			b.edge.options.Fetched = func(from upstream.Source, _ int) {
				if m.step("origin"); from == upstream.FromPeer {
					m.step("peer")
				}
				if b.origin.Load() > 2 { // the hit, and the beginning of the large one
					m.step("slices")
				}
			}
			b.edge.options.Observe = func(*Exchange) { m.step("observe") }
			b.do("GET", "/hit")
			m.arm(tt.place)
			g := b.do(tt.method, tt.path)
			if m.at.Load() != nil {
				t.Fatalf("nothing has panicked; got %d, %d bytes", g.status, len(g.body))
			}
			fills, others := b.edge.Panics(), handlers.Load()
			if want := int64(1); tt.fill && (fills != want || others != 0) || !tt.fill && (fills != 0 || others != want) {
				t.Errorf("%d panics of fills and %d of handlers are counted; one is to be", fills, others)
			}
			if g.err == nil && g.status == http.StatusOK && !tt.fill && tt.place != "observe" { // the books are closed after the response
				t.Errorf("the request has a clean end: %d, %d bytes", g.status, len(g.body))
			}
			for range 2 {
				if again := b.do(tt.method, tt.path); again.err != nil || again.status != http.StatusOK || len(again.body) == 0 {
					t.Errorf("the next request: got %d, %d bytes, %v", again.status, len(again.body), again.err)
				}
			}
			b.until("all that it held is given back", func() bool {
				return v.Stats().Requests == 0 && v.Stats().Fetches == 0 && b.edge.Limits().Running == 0 && b.cache.Stats().Fills == 0 &&
					b.edge.sites.Load().list[0].Origin.Stats().Running == 0 &&
					b.edge.sites.Load().list[0].fetches.Stats().Running == 0
			})
		})
	}
}

// TestPanicOfAFetchAhead: nobody waits for it, and the next one has its place.
func TestPanicOfAFetchAhead(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(600, "body"))
	b.edge.prefetches.Add(1)
	b.edge.fills.Add(1)
	b.edge.fetchAhead(&Exchange{}) // which has no request
	if b.edge.prefetches.Load() != 0 || b.edge.Panics() != 1 {
		t.Errorf("%d fetches ahead run, %d panics are counted; want 0 and 1", b.edge.prefetches.Load(), b.edge.Panics())
	}
}
