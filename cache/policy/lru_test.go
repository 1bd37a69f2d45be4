package policy

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func newLRU(t testing.TB, opts Options[int]) *LRU[int, string] {
	t.Helper()
	if opts.Hash == nil {
		opts.Hash = func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 >> 32 }
	}
	l, err := New[int, string](opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOptions(t *testing.T) {
	t.Parallel()
	hash := func(int) uint64 { return 0 }
	for _, opts := range []Options[int]{
		{},
		{Bytes: -1, Hash: hash},
		{Bytes: 1},
		{Bytes: 1, Hash: hash, Slots: -1},
		{Bytes: 1, Hash: hash, Shards: -1},
		{Bytes: 1, Hash: hash, Shards: 5000},
	} {
		if _, err := New[int, string](opts); err == nil {
			t.Errorf("New(%+v) has no error", opts)
		}
	}
}

func TestEvictsTheOldest(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 3, 16} {
		l := newLRU(t, Options[int]{Bytes: 100, Shards: shards})
		for k := range 10 {
			if gone, ok := l.Add(k, fmt.Sprint(k), Cost{Bytes: 10}); !ok || len(gone) > 0 {
				t.Fatalf("Add(%d) = %v, %v", k, gone, ok)
			}
		}
		// The clock moves with each insertion, so all of these are newer than 1..9.
		l.Get(0)
		gone, ok := l.Add(10, "10", Cost{Bytes: 25})
		if !ok || len(gone) != 3 {
			t.Fatalf("%d shards: Add evicts %v, %v, want three", shards, gone, ok)
		}
		for i, item := range gone {
			if item.Key != i+1 || item.Value != fmt.Sprint(i+1) || item.Cost.Bytes != 10 {
				t.Errorf("%d shards: evicted %+v, want key %d", shards, item, i+1)
			}
		}
		if l.Len() != 8 || l.Bytes() != 95 {
			t.Errorf("Len, Bytes = %d, %d, want 8, 95", l.Len(), l.Bytes())
		}
	}
}

func TestPeekDoesNotRefresh(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 2, Shards: 1})
	l.Add(1, "1", Cost{Bytes: 1})
	l.Add(2, "2", Cost{Bytes: 1})
	if v, ok := l.Peek(1); v != "1" || !ok {
		t.Errorf("Peek = %q, %v", v, ok)
	}
	if gone, _ := l.Add(3, "3", Cost{Bytes: 1}); len(gone) != 1 || gone[0].Key != 1 {
		t.Errorf("evicted %v, want 1", gone)
	}
}

// Want of slots evicts only who has some.
func TestSlots(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 1000, Slots: 2})
	for k := range 10 {
		l.Add(k, "", Cost{Bytes: 1})
	}
	for k := 10; k < 15; k++ {
		l.Add(k, "", Cost{Bytes: 1, Slots: 1})
	}
	if l.Len() != 12 || l.Slots() != 2 {
		t.Errorf("Len, Slots = %d, %d, want 12, 2", l.Len(), l.Slots())
	}
	for _, k := range []int{0, 9, 13, 14} {
		if _, ok := l.Get(k); !ok {
			t.Errorf("%d is gone", k)
		}
	}
	// Want of bytes evicts the oldest of all.
	if gone, ok := l.Add(20, "", Cost{Bytes: 990}); !ok || len(gone) != 2 {
		t.Errorf("evicted %v, %v, want two", gone, ok)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 100, Slots: 5})
	l.Add(1, "old", Cost{Bytes: 10})
	gone, ok := l.Add(1, "new", Cost{Bytes: 30, Slots: 1})
	if !ok || len(gone) != 1 || gone[0].Value != "old" || l.Bytes() != 30 || l.Len() != 1 || l.Slots() != 1 {
		t.Errorf("replaced %v, %v; %d bytes", gone, ok, l.Bytes())
	}
	if !l.Take(Cost{Bytes: 5}) {
		t.Fatal("Take fails")
	}
	if old, ok := l.Update(1, "newer", Cost{Bytes: 5}); !ok || old != "new" {
		t.Errorf("Update = %q, %v", old, ok)
	}
	if _, ok := l.Update(2, "none", Cost{}); ok {
		t.Error("Update of an absent key")
	}
	if item, ok := l.Remove(1); !ok || item.Value != "newer" || item.Cost.Bytes != 35 || l.Bytes() != 0 {
		t.Errorf("Remove = %+v, %v; %d bytes", item, ok, l.Bytes())
	}
	if _, ok := l.Remove(1); ok {
		t.Error("Remove twice")
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 100, Slots: 1})
	l.Add(1, "", Cost{Bytes: 60})
	if gone, ok := l.Add(2, "", Cost{Bytes: 101}); ok || len(gone) > 0 {
		t.Errorf("Add of too much = %v, %v", gone, ok)
	}
	if gone, ok := l.Add(2, "", Cost{Slots: 2}); ok || len(gone) > 0 {
		t.Errorf("Add of too many slots = %v, %v", gone, ok)
	}
	if !l.Take(Cost{Bytes: 40}) || l.Take(Cost{Bytes: 1}) {
		t.Error("Take is wrong")
	}
	// What is reserved cannot be evicted.
	if gone, ok := l.Reserve(Cost{Bytes: 61}); ok || len(gone) != 1 || l.Bytes() != 40 {
		t.Errorf("Reserve = %v, %v; %d bytes", gone, ok, l.Bytes())
	}
	l.Free(Cost{Bytes: 40})
	if l.Bytes() != 0 {
		t.Errorf("%d bytes after Free", l.Bytes())
	}
}

// Evict and Detach leave the cost taken until the caller has disposed of the value.
func TestEvictKeepsTheCost(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 10})
	l.Add(1, "", Cost{Bytes: 4})
	l.Add(2, "", Cost{Bytes: 6})
	if item, ok := l.Evict(false); !ok || item.Key != 1 || l.Bytes() != 10 {
		t.Errorf("Evict = %+v, %v; %d bytes", item, ok, l.Bytes())
	}
	if item, ok := l.Detach(2); !ok || item.Cost.Bytes != 6 || l.Bytes() != 10 || l.Len() != 0 {
		t.Errorf("Detach = %+v, %v; %d bytes", item, ok, l.Bytes())
	}
	if _, ok := l.Evict(false); ok {
		t.Error("Evict of nothing")
	}
}

// A random walk against a list.
func TestRandomWalk(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	const budget = 50
	l := newLRU(t, Options[int]{Bytes: budget, Shards: 1})
	type entry struct{ key, cost int }
	var model []entry // oldest first
	take := func(key int) (entry, bool) {
		for i, e := range model {
			if e.key == key {
				model = append(model[:i:i], model[i+1:]...)
				return e, true
			}
		}
		return entry{}, false
	}
	sum := func() (n int) {
		for _, e := range model {
			n += e.cost
		}
		return n
	}
	for step := range 20_000 {
		key := r.IntN(30)
		switch r.IntN(3) {
		case 0:
			_, got := l.Get(key)
			e, want := take(key)
			if want {
				model = append(model, e)
			}
			if got != want {
				t.Fatalf("seed %d, step %d: Get(%d) = %v, want %v", seed, step, key, got, want)
			}
		case 1:
			cost := r.IntN(20)
			gone, ok := l.Add(key, "", Cost{Bytes: int64(cost)})
			var want []int
			for sum()+cost > budget {
				want = append(want, model[0].key)
				model = model[1:]
			}
			if _, had := take(key); had {
				want = append(want, key)
			}
			model = append(model, entry{key, cost})
			got := make([]int, len(gone))
			for i, item := range gone {
				got[i] = item.Key
			}
			if !ok || fmt.Sprint(got) != fmt.Sprint(want) && len(got)+len(want) > 0 {
				t.Fatalf("seed %d, step %d: Add(%d, %d) evicts %v, want %v", seed, step, key, cost, got, want)
			}
		case 2:
			_, got := l.Remove(key)
			if _, want := take(key); got != want {
				t.Fatalf("seed %d, step %d: Remove(%d) = %v, want %v", seed, step, key, got, want)
			}
		}
		if l.Len() != len(model) || l.Bytes() != int64(sum()) {
			t.Fatalf("seed %d, step %d: %d entries of %d bytes, want %d of %d", seed, step, l.Len(), l.Bytes(), len(model), sum())
		}
	}
}

// The budget holds whenever somebody looks, and every value comes out exactly once.
func TestBudgetHoldsAtEveryInstant(t *testing.T) {
	t.Parallel()
	l := newLRU(t, Options[int]{Bytes: 1000, Slots: 20})
	var workers, watcher sync.WaitGroup
	stop := make(chan struct{})
	watcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if b, s := l.Bytes(), l.Slots(); b > 1000 || s > 20 {
				t.Errorf("%d bytes, %d slots", b, s)
				return
			}
		}
	})
	var mu sync.Mutex
	in, out := 0, 0
	for w := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 5000 {
				gone, ok := l.Add(r.IntN(200), "", Cost{Bytes: int64(r.IntN(100)), Slots: int64(r.IntN(2))})
				mu.Lock()
				out += len(gone)
				if ok {
					in++
				}
				mu.Unlock()
				l.Get(r.IntN(200))
			}
		})
	}
	workers.Wait()
	close(stop)
	watcher.Wait()
	out += len(l.Clear())
	if in != out || l.Bytes() != 0 || l.Slots() != 0 || l.Len() != 0 {
		t.Errorf("%d in, %d out; %d bytes, %d slots, %d entries left", in, out, l.Bytes(), l.Slots(), l.Len())
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	l := newLRU(t, Options[int]{Bytes: 1000, Slots: 10})
	l.Add(1, "", Cost{Bytes: 1})
	l.Add(2, "", Cost{Bytes: 1, Slots: 1})
	if n := testing.AllocsPerRun(1000, func() { l.Get(1); l.Get(2); l.Get(3) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
