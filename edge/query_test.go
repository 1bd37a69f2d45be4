package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/cache"
	"weir/cache/tag"
)

// TestAFloodOfQueriesLeavesTheHotSet: values of a query on one object, each asked for once and many times what the cache
// holds, take nothing from what is asked for again and again; and one purge by prefix takes all of them.
func TestAFloodOfQueriesLeavesTheHotSet(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]bool{"disk": true, "memory only": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			floodQueries(t, disk)
		})
	}
}

func floodQueries(t *testing.T, disk bool) {
	t.Helper()
	const objects, size, cacheBytes, floods = 300, 4 << 10, 4 << 20, 4 // the hot set is a third of the cache
	content := strings.Repeat("x", size)
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", hour)
		_, _ = io.WriteString(w, r.URL.RequestURI()+content)
	})
	o, requests := cache.Options{MemoryBytes: cacheBytes}, 1500
	if disk {
		requests = 3000
		o = cache.Options{Dir: t.TempDir(), DiskBytes: cacheBytes, MemoryBytes: cacheBytes / 4}
	}
	store, err := cache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- store.Run(ctx) }() // ends by stop
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ran, store.Close()); err != nil {
			t.Error(err)
		}
	})
	b.edge.options.Cache, b.edge.options.Observe = store, func(*Exchange) {}
	ask := func(path string) (hit bool) {
		r := httptest.NewRequest(http.MethodGet, b.url+path, http.NoBody)
		r.RequestURI = path
		w := httptest.NewRecorder()
		b.edge.ServeHTTP(w, r)
		if w.Code == http.StatusGatewayTimeout { // the origin, in this process, has had no processor: no hit
			return false
		}
		if w.Code != http.StatusOK || w.Body.String() != path+content {
			t.Fatalf("%s: got %d, %d bytes", path, w.Code, w.Body.Len())
		}
		return strings.Contains(w.Header().Get("Cache-Status"), "; hit")
	}
	seed := rand.New(rand.NewPCG(1, 2))
	popular := rand.NewZipf(seed, 1.1, 4, objects-1)
	values := 0
	load := func(floods int) (hits int) {
		for range requests {
			if ask(fmt.Sprintf("/vod/%d", popular.Uint64())) {
				hits++
			}
			for range floods {
				ask(fmt.Sprintf("/vod/flooded?_=%d", values))
				values++
			}
		}
		return hits
	}
	load(0) // fills the cache
	quiet := load(0)
	flooded := load(floods)
	t.Logf("%d of %d were hits, %d beside %d values of a query, %d bytes of which %d fit", quiet, requests, flooded, values, values*size, cacheBytes)
	if lost := quiet - flooded; lost*100 >= 2*requests || quiet*10 < requests*9 {
		t.Errorf("%d hits of %d were lost", lost, requests)
	}
	b.purge(tag.Prefix, false, "BASE/vod/flooded")
	kept := 0
	for i := range objects {
		if ask(fmt.Sprintf("/vod/%d", i)) {
			kept++
		}
	}
	for i := range values {
		path := fmt.Sprintf("/vod/flooded?_=%d", i)
		if i > 100 && i < values-1000 { // long gone
			continue
		}
		if ask(path) {
			t.Fatalf("%s is a hit after the purge", path)
		}
	}
	if kept < objects/2 {
		t.Errorf("%d of %d other objects are left by the purge", kept, objects)
	}
}
