package edge

import (
	"net/http"
	"strings"
	"testing"
)

// A stored file that is cut while it is served: no client takes what it got for the whole, and the next one gets the whole
// from the origin.
func TestStoredFileIsCut(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789abcdef", 100_000)
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte(body))
	})
	if got := b.do(http.MethodGet, "/film.mp4"); got.err != nil || got.body != body {
		t.Fatalf("%d bytes, %v", len(got.body), got.err)
	}
	b.mu.Lock()
	key := b.seen[0].key
	b.mu.Unlock()
	o := b.cache.Get(key)
	if o == nil {
		t.Fatal("nothing is stored")
	}
	stored, _ := o.File()
	if err := stored.Truncate(700_000); err != nil {
		t.Fatal(err)
	}
	o.Release()
	if got := b.do(http.MethodGet, "/film.mp4"); got.err == nil || !strings.HasPrefix(body, got.body) {
		t.Errorf("%d bytes end without an error", len(got.body))
	}
	if got := b.do(http.MethodGet, "/film.mp4"); got.err != nil || got.body != body {
		t.Errorf("afterwards: %d bytes, %v", len(got.body), got.err)
	}
	if n := b.origin.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
	if n := b.cache.Stats().Corrupt; n != 1 {
		t.Errorf("%d objects are damaged, want 1", n)
	}
}
