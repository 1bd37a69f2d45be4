package policy

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAFloodOfQueriesTakesLittle: whoever asks for one object with ever new
// queries does not push out what others watch, nor lend it the object's fame.
func TestAFloodOfQueriesTakesLittle(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"h/vod/title-0/720p/seg-1.m4s", "h/index.html"} {
		calm, flooded := hitsUnderFlood(t, path, false), hitsUnderFlood(t, path, true)
		t.Logf("%s: hit ratio of the others %.3f, and %.3f while flooded", path, calm, flooded)
		if calm-flooded > 0.02 {
			t.Errorf("%s: a flood takes %.3f of the hits of others", path, calm-flooded)
		}
	}
}

// hitsUnderFlood is the hit ratio of viewers of 60 titles with room for 40, while
// somebody asks for path with a new query for each of their requests, or nobody
// does.
func hitsUnderFlood(t *testing.T, path string, flood bool) float64 {
	t.Helper()
	const segmentBytes, titles, segments = 64 * block, 60, 50
	x, clock := newIndex(t, 40*segments*segmentBytes)
	random := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(random, 1.2, 3, titles-1)
	ask := func(text string) (hit bool) {
		h := fnv.New128a()
		_, _ = h.Write([]byte(text))
		var id [16]byte
		h.Sum(id[:0])
		s := ParseStream(text)
		x.Ask(s, 1)
		if x.Get(id) {
			return true
		}
		add(x, id, segmentBytes, s)
		return false
	}
	hits, all, n := 0, 0, 0
	type viewer struct{ title, segment int }
	viewers := make([]viewer, 40)
	for step := range 4000 {
		clock.pass(100 * time.Millisecond)
		v := &viewers[step%len(viewers)]
		if v.segment%segments == 0 || random.IntN(40) == 0 {
			*v = viewer{int(zipf.Uint64()), 0}
		}
		hit := ask(fmt.Sprintf("h/vod/title-%d/720p/seg-%d.m4s", v.title, v.segment))
		v.segment++
		if step > 1000 {
			if all++; hit {
				hits++
			}
		}
		if flood {
			n++
			ask(fmt.Sprintf("%s?_=%d", path, n))
		}
	}
	return float64(hits) / float64(all)
}
