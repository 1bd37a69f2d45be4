package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Elders are the oldest of what was shown, oldest first, each once.
func TestEldersAreTheOldestSeen(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var l elders
	const now = 1_700_000_000_000
	var shown []uint32
	for range 300 {
		n := r.IntN(100)
		e := elder{testID(n), stampAt(now - int64(n/2)*tick)} // two have each stamp
		l.noteLocked(e, now)
		if !slices.Contains(shown, uint32(n)) {
			shown = append(shown, uint32(n))
		}
	}
	slices.SortFunc(shown, func(a, b uint32) int { return int(b/2) - int(a/2) })
	if l.n != eldersKept {
		t.Fatalf("%d elders, want %d", l.n, eldersKept)
	}
	seen := map[[16]byte]bool{}
	for i, e := range l.list[:l.n] {
		if got, want := since(e.stamp, now)/tick, int64(shown[i]/2); got != want || seen[e.id] {
			t.Errorf("elder %d is %d ticks old, want %d; seen before: %v", i, got, want, seen[e.id])
		}
		seen[e.id] = true
	}
}

// What is of no stream leaves nearly in the order in which it came.
func TestAloneLeavesNearlyInOrder(t *testing.T) {
	t.Parallel()
	x, clock := newIndex(t, 400*block)
	const n = 400
	for i := range n {
		clock.pass(tick * time.Millisecond)
		add(x, testID(i), block, Stream{})
	}
	left := make([]int, n)
	for i := range left {
		left[i] = i
	}
	sum := 0
	for range n / 2 {
		item, ok := x.Evict()
		if !ok {
			t.Fatal("nothing to evict")
		}
		at := slices.IndexFunc(left, func(i int) bool { return testID(i) == item.Key })
		left = slices.Delete(left, at, at+1)
		sum += at
	}
	mean := float64(sum) / (n / 2)
	t.Logf("on average %.1f older ones stayed", mean)
	if mean > 12 {
		t.Errorf("on average %.1f older ones stayed, want 12 at most", mean)
	}
}

// A rate that is not reckoned to the end is no less than the limit, any other is exact.
func TestRateStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	d := newDemand(1 << 10)
	now := int64(1_700_000_000_000)
	stream := func(i int) Stream {
		return Stream{Title: uint32(i % 7), Segment: uint32(i % 50), Number: true, Kind: Video}
	}
	for i := range 500 {
		d.add(stream(i*i), 1, scaleAt(now))
	}
	for i := range 50 {
		exact := d.rate(stream(i), scaleAt(now), math.Inf(1))
		for _, part := range []float64{0, 0.3, 0.6, 0.9, 1, 1.1} {
			limit := part * exact
			if got := d.rate(stream(i), scaleAt(now), limit); got != exact && (got < limit || got > exact) {
				t.Errorf("segment %d: rate below %g is %g, want %g or no less than the limit", i, limit, got, exact)
			}
		}
	}
}
