package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"weir/cache"
)

func TestSightings(t *testing.T) {
	t.Parallel()
	var s sightings
	id := func(i int) cache.ID { return cache.NewKey(fmt.Sprint(i)).ID }
	wrong := 0
	for i := range sightingsMax {
		if s.again(id(i)) {
			wrong++
		}
		if !s.again(id(i)) {
			t.Fatalf("%d is forgotten at once", i)
		}
	}
	if wrong > sightingsMax/20 {
		t.Errorf("%d of %d keys were taken for others", wrong, sightingsMax)
	}
	for i := range sightingsMax { // of the generation before, too
		if !s.again(id(i)) {
			t.Fatalf("%d is forgotten too early", i)
		}
	}
	for i := range 3 * sightingsMax {
		s.again(id(-1 - i))
	}
	known := 0
	for i := range 1000 {
		if s.again(id(i)) {
			known++
		}
	}
	if known > 200 {
		t.Errorf("%d of 1000 are still known after three generations", known)
	}
}

// TestACopyOfWhatAnOwnerHasIsKeptOnTheSecondRequest and not on the first: large or
// small, the owner has it.
func TestACopyOfWhatAnOwnerHasIsKeptOnTheSecondRequest(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			owner := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Cache-Control", "max-age=600")
				w.Header().Set("Content-Length", fmt.Sprint(size))
				_, _ = io.WriteString(w, strings.Repeat("x", size))
			}))
			owner.EnableHTTP2 = true
			owner.StartTLS()
			t.Cleanup(owner.Close)
			b := newBench(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
			path := b.owned(owner)
			for i, want := range []struct {
				outcome string
				asked   int64
				objects int64
			}{{"fwd=uri-miss", 1, 0}, {"fwd=uri-miss; fwd-status=200; stored", 2, 1}, {"edge-1; hit", 2, 1}} {
				b.want(fmt.Sprintf("request %d", i+1), b.do("GET", path), 200, want.outcome, strings.Repeat("x", size))
				if got, objects := asked.Load(), b.cache.Stats().Objects; got != want.asked || int64(objects) != want.objects {
					t.Errorf("request %d: the owner was asked %d times, %d objects are stored; want %d, %d", i+1, got, objects, want.asked, want.objects)
				}
			}
		})
	}
}
