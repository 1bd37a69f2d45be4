package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// doubting is a bench of a strict site, and whether it doubts all that is stored.
func doubting(t *testing.T, origin http.HandlerFunc) (b *bench, doubt *atomic.Bool) {
	t.Helper()
	doubt = &atomic.Bool{}
	b = newSiteBench(t, Site{Strict: true}, origin)
	b.edge.options.Doubt = func(now time.Time) time.Time {
		if !doubt.Load() {
			return time.Time{}
		}
		return now
	}
	return b, doubt
}

// TestDoubtfulResponses: a strict site serves nothing that may have been purged, for no error and in no place of the
// origin's answer.
func TestDoubtfulResponses(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusOK)
	b, doubt := doubting(t, func(w http.ResponseWriter, r *http.Request) {
		if s := int(status.Load()); s != http.StatusOK {
			if s == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(s)
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600, stale-while-revalidate=3600, stale-if-error=3600")
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte("body"))
	})
	b.do(http.MethodGet, "/a")
	for _, tt := range []struct {
		name   string
		doubt  bool
		origin int
		status int
		asked  int64
		detail bool
	}{
		{"no doubt", false, 200, 200, 0, false},
		{"confirmed", true, 200, 200, 1, true},
		{"an error of the origin", true, 503, 503, 1, false},
		{"no origin", true, 0, 504, 1, true},
		{"no doubt any more", false, 503, 200, 0, false},
	} {
		doubt.Store(tt.doubt)
		status.Store(int64(tt.origin))
		before := b.origin.Load()
		resp := b.do(http.MethodGet, "/a")
		member := strings.Join(resp.header["Cache-Status"], ",")
		if resp.status != tt.status || b.origin.Load()-before < tt.asked || tt.asked == 0 && b.origin.Load() != before || strings.Contains(member, detailDoubt) != tt.detail {
			t.Errorf("%s: got %d after %d requests to the origin, %s; want %d after %d", tt.name, resp.status, b.origin.Load()-before, member, tt.status, tt.asked)
		}
	}
}

// TestStrictHitsCostNothing: as long as there is no doubt, a hit of a strict site allocates no more than another.
func TestStrictHitsCostNothing(t *testing.T) {
	b, _ := doubting(t, cacheable(3600, strings.Repeat("x", 1536)))
	b.do(http.MethodGet, "/hot")
	r := httptest.NewRequest(http.MethodGet, b.url+"/hot", http.NoBody)
	r.RequestURI = "/hot"
	w := &deafWriter{header: http.Header{}}
	b.edge.options.Observe = func(*Exchange) {}
	allocs := testing.AllocsPerRun(200, func() {
		clear(w.header)
		b.edge.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || allocs > hotHitAllocations {
		t.Errorf("status %d, %v allocations a hit, want at most %d", w.status, allocs, hotHitAllocations)
	}
}
