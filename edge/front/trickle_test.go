package front

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"weir/cache"
	"weir/edge"
	"weir/edge/upstream"
)

// cached is a front door with an edge behind it, whose cache is on disk and has one object, at /hot.
type cached struct {
	*running

	cache   *cache.Cache
	dir     string
	content []byte
}

func newCached(t *testing.T, size int, o Options) *cached {
	t.Helper()
	_, content := segment(t, size)
	c := &cached{dir: t.TempDir(), content: content}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=86400")
		http.ServeContent(w, r, "hot.bin", time.Time{}, bytes.NewReader(c.content))
	}))
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{origin.URL}})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := edge.NewSites(&edge.Site{Hosts: []string{"*"}, Origin: group})
	if err != nil {
		t.Fatal(err)
	}
	if c.cache, err = cache.New(cache.Options{Dir: c.dir, DiskBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.cache.Run(ctx) }() // ended by the cleanup below
	e, err := edge.New(edge.Options{Name: "edge", Cache: c.cache, Sites: sites})
	if err != nil {
		t.Fatal(err)
	}
	o.Handler = e
	c.running = start(t, o)
	t.Cleanup(func() {
		c.wait(t)
		over, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e.Close(over)
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		_ = c.cache.Close() // its directory goes with the test
		group.Close()
		origin.Close()
	})
	return c
}

// get asks for the object, which is as it should be.
func (c *cached) get(t *testing.T, protocol string) {
	t.Helper()
	client, url := c.client(t, protocol)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/hot", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "x" // as those that stall say
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); !bytes.Equal(body, c.content) || err != nil {
		t.Fatalf("%s: %d bytes of %d, %v", protocol, len(body), len(c.content), err)
	}
	client.CloseIdleConnections()
}

// pinned counts the descriptors of files of the cache that are as large as the object.
func (c *cached) pinned(t *testing.T) (n int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("only Linux tells which files are open")
	}
	for _, fd := range open {
		name := "/proc/self/fd/" + fd.Name()
		path, err := os.Readlink(name)
		if err != nil || !strings.HasPrefix(path, c.dir) {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.Size() >= int64(len(c.content)) {
			n++
		}
	}
	return n
}

// TestTrickle: five hundred clients that take a byte a second of a hot object hold little of the heap, and the object once. Not
// parallel: it measures the process.
func TestTrickle(t *testing.T) {
	const clients, size = 500, 8_000_000
	for _, protocol := range []string{"h1", "h1+tls", "h2", "h3"} {
		t.Run(protocol, func(t *testing.T) {
			c := newCached(t, size, Options{DrainTimeout: time.Millisecond, HeaderTimeout: time.Hour, IdleTimeout: time.Hour, Listen: smallSockets(clients)})
			for range 2 {
				c.get(t, protocol)
			}
			readers := c.stall(t, protocol, "/hot", clients, trickling)
			readers.check(t, clients, readers.heap)
			if stats, pinned := c.cache.Stats(), c.pinned(t); stats.Live != 1 || pinned != 1 {
				t.Errorf("%d objects are in use and %d files are open, want one of each", stats.Live, pinned)
			}
			c.wait(t)
			readers.end()
		})
	}
}
