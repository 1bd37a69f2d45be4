package edge

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// deafWriter is a ResponseWriter that costs nothing itself.
type deafWriter struct {
	header    http.Header
	status    int
	sent      int
	deadlines int
}

func (w *deafWriter) Header() http.Header              { return w.header }
func (w *deafWriter) WriteHeader(status int)           { w.status = status }
func (w *deafWriter) Write(p []byte) (int, error)      { w.sent += len(p); return len(p), nil }
func (w *deafWriter) SetWriteDeadline(time.Time) error { w.deadlines++; return nil }

// hotHitAllocations is what a hit of a small body may allocate: the exchange, the
// key's text, and the texts of Cache-Status and Content-Length. Eight before.
const hotHitAllocations = 4

// hot is an edge with one small stored response, and a request for it.
func hot(t testing.TB, bytes int) (*Edge, *http.Request) {
	t.Helper()
	b := newBench(t, cacheable(3600, strings.Repeat("x", bytes)))
	b.do(http.MethodGet, "/hot")
	r := httptest.NewRequest(http.MethodGet, b.url+"/hot", nil)
	r.RequestURI = "/hot"
	return b.edge, r
}

func TestHotHitAllocations(t *testing.T) {
	const body = 1536
	e, r := hot(t, body)
	var line string
	e.options.Observe = func(x *Exchange) { line = x.CacheStatus() }
	w := &deafWriter{header: http.Header{}}
	runs := 0
	allocs := testing.AllocsPerRun(200, func() {
		runs++
		clear(w.header)
		e.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || w.sent != runs*body || w.deadlines != runs {
		t.Fatalf("status %d, %d bytes and %d deadlines in %d runs", w.status, w.sent, w.deadlines, runs)
	}
	if got := w.header["Cache-Status"]; !slices.Equal(got, []string{line}) || !strings.Contains(line, "; hit") {
		t.Errorf("Cache-Status %q, the observer saw %q", got, line)
	}
	if got := w.header.Get("Content-Length"); got != "1536" {
		t.Errorf("Content-Length %q", got)
	}
	if allocs > hotHitAllocations {
		t.Errorf("%v allocations a hit, want at most %d", allocs, hotHitAllocations)
	}
}

// BenchmarkHotHit is a hit without a protocol.
func BenchmarkHotHit(b *testing.B) {
	e, r := hot(b, 1536)
	e.options.Observe = func(x *Exchange) { _ = x.CacheStatus() }
	w := &deafWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		e.ServeHTTP(w, r)
	}
}
