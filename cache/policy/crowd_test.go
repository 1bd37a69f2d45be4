package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestAFloodTakesLittleOfAnLRU: ever new queries of one path, four for each request of others, with a hot set that the
// cache holds and with one that is far larger.
func TestAFloodTakesLittleOfAnLRU(t *testing.T) {
	t.Parallel()
	for _, objects := range []int{2000, 50_000} {
		calm, flooded, naive := hitsOfLRU(t, objects, 0, true), hitsOfLRU(t, objects, 4, true), hitsOfLRU(t, objects, 4, false)
		t.Logf("of %d objects with room for 4,000: hit ratio %.3f, %.3f while flooded, %.3f where all are taken alike", objects, calm, flooded, naive)
		if calm-flooded > 0.02 || calm-naive < 0.1 {
			t.Errorf("%d objects: a flood takes %.3f of the hits of others, and would take %.3f; want at most 0.02, of at least 0.1",
				objects, calm-flooded, calm-naive)
		}
	}
}

const floodRequests = 6000

func hitsOfLRU(t *testing.T, objects, floods int, try bool) float64 {
	t.Helper()
	const size, room = 4096, 4000
	l := newLRU(t, Options[int]{Bytes: size * room})
	crowds := &Crowds{}
	random := rand.New(rand.NewPCG(5, 6))
	zipf := rand.NewZipf(random, 1.05, 30, uint64(objects-1))
	ask := func(k int, key string) bool {
		if _, ok := l.Get(k); ok {
			return true
		}
		if _, ok := l.Reserve(Cost{Bytes: size}); !ok {
			t.Fatal("no room")
		}
		put := l.Put
		if try && crowds.Of(key) {
			put = l.Try
		}
		put(k, key, Cost{Bytes: size})
		return false
	}
	hits, all, n := 0, 0, 0
	for step := range floodRequests {
		k := int(zipf.Uint64())
		hit := ask(k, fmt.Sprint("v/", k))
		if step > floodRequests/4 {
			if all++; hit {
				hits++
			}
		}
		for range floods {
			n++
			ask(-n, fmt.Sprint("v/flooded?_=", n))
		}
	}
	return float64(hits) / float64(all)
}

// TestCrowds: some queries of a path are none, and a crowd is forgotten.
func TestCrowds(t *testing.T) {
	t.Parallel()
	c := &Crowds{}
	for i := range 10 * crowd {
		if c.Of(fmt.Sprint("v/", i)) {
			t.Fatal("a path without a query")
		}
		if got := c.Of(fmt.Sprint("v/a?", i)); got != (i >= crowd) {
			t.Fatalf("query %d: %v", i, got)
		}
	}
	if c.Of("v/b?1") {
		t.Error("another path")
	}
	for i := range 8 * crowdMemory {
		c.Of(fmt.Sprint("v/", i, "?1"))
	}
	if c.Of("v/a?new") {
		t.Error("what was a crowd long ago still is")
	}
}

// TestProbation: what is used again stays, what is not goes first, and all is counted.
func TestProbation(t *testing.T) {
	t.Parallel()
	for _, slots := range []int64{0, 1} {
		l := newLRU(t, Options[int]{Bytes: 1600, Slots: 160, Shards: 4})
		cost := Cost{Bytes: 10, Slots: slots}
		add := func(k int, put func(int, string, Cost) (Item[int, string], bool)) {
			t.Helper()
			if _, ok := l.Reserve(cost); !ok {
				t.Fatal("no room")
			}
			put(k, "", cost)
		}
		for k := range 100 {
			add(k, l.Put)
		}
		add(1000, l.Try)
		l.Get(1000)
		add(5, l.Try) // it is there already
		for k := 1001; k < 1300; k++ {
			add(k, l.Try)
		}
		for _, k := range []int{0, 5, 99, 1000, 1299} {
			if _, ok := l.Peek(k); !ok {
				t.Errorf("%d is gone", k)
			}
		}
		if _, ok := l.Peek(1001); ok {
			t.Error("the first of those that were not used again is there")
		}
		tried := int64(0)
		for i := range l.shards {
			for _, list := range l.shards[i].lists[onTrial:] {
				for _, k := range list.Keys() {
					e, _ := list.Peek(k)
					tried += e.cost.Bytes
				}
			}
		}
		if got := l.tried.bytes.Load(); got != tried || tried > 1600 || l.tried.slots.Load() != slots*tried/10 {
			t.Errorf("%d bytes and %d slots are on probation, and %d bytes are counted", tried, l.tried.slots.Load(), got)
		}
		l.Clear()
		if l.tried.bytes.Load() != 0 || l.tried.slots.Load() != 0 || l.Len() != 0 || l.Bytes() != 0 {
			t.Errorf("after Clear: %d bytes on probation, %d entries, %d bytes", l.tried.bytes.Load(), l.Len(), l.Bytes())
		}
	}
}
