package policy

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testClock is a clock that tests move.
type testClock struct{ ms atomic.Int64 }

func (c *testClock) now() time.Time { return time.UnixMilli(1_700_000_000_000 + c.ms.Load()) }

func (c *testClock) pass(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func newIndex(t testing.TB, bytes int64) (*Index, *testClock) {
	t.Helper()
	clock := &testClock{}
	x, err := NewIndex(IndexOptions{Bytes: bytes, Clock: clock.now, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return x, clock
}

func testID(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], mix(uint64(n)))
	binary.BigEndian.PutUint64(id[8:], mix(uint64(n)+1<<40))
	return id
}

const block = blockBytes

// add enters an object, evicting as Admit and Evict say; false if it is refused.
func add(x *Index, id [16]byte, bytes int64, s Stream) bool {
	for !x.Take(Cost{Bytes: bytes}) {
		if !x.Admit(s) {
			return false
		}
		item, ok := x.Evict()
		if !ok {
			return false
		}
		x.Free(item.Cost)
	}
	x.Put(id, State{Version: 1}, Cost{Bytes: bytes}, s)
	return true
}

func TestIndexOptions(t *testing.T) {
	t.Parallel()
	for _, opts := range []IndexOptions{{}, {Bytes: -1, Clock: time.Now}, {Bytes: 1}} {
		if _, err := NewIndex(opts); err == nil {
			t.Errorf("NewIndex(%+v) has no error", opts)
		}
	}
}

func TestBrief(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want uint64 }{{0, 0}, {1, 1}, {1 << 34, 1}, {1<<34 + 7, 7}} {
		if got := Brief(c.in); got != c.want {
			t.Errorf("Brief(%d) = %d, want %d", c.in, got, c.want)
		}
	}
}

func TestEntryPacks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		want := entry{
			version: r.Uint64() & versionMask, blocks: r.Uint32() & blocksMask, verified: r.IntN(2) == 0, uses: uint8(r.IntN(4)),
			stamp:  r.Uint32() & stampMask,
			stream: kept(Stream{Title: r.Uint32(), Segment: r.Uint32(), Rendition: uint8(r.Uint32()), Number: true, Kind: Kind(1 + r.IntN(2))}),
		}
		var s slot
		s.set(&want)
		if got := s.entry(streamed); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if got, class := entryOf(&Record{Bytes: want.bytes(), Version: want.version, Hint: want.hint(streamed)}); class != streamed || got.stream != want.stream ||
			got.stamp != want.stamp || got.uses != want.uses || got.blocks != want.blocks || got.verified {
			t.Fatalf("loaded %+v, want %+v", got, want)
		}
	}
}

// A random walk against a map: whatever is put in is found, with its cost, until it is taken out or evicted.
func TestIndexWalk(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	const budget = 3000 * block
	x, clock := newIndex(t, budget)
	type object struct {
		state State
		bytes int64
	}
	model := map[[16]byte]object{}
	used := int64(0)
	gone := func(step int, item Item[[16]byte, State]) {
		o, ok := model[item.Key]
		if !ok || o.state != item.Value || o.bytes != item.Cost.Bytes {
			t.Fatalf("seed %d, step %d: took out %+v, want %+v, %v", seed, step, item, o, ok)
		}
		delete(model, item.Key)
		used -= o.bytes
		x.Free(item.Cost)
	}
	for step := range 40_000 {
		clock.pass(time.Duration(r.IntN(1000)) * time.Millisecond)
		n := r.IntN(4000)
		id := testID(n)
		s := Stream{}
		if n%2 == 0 {
			s = Stream{Title: uint32(n % 20), Rendition: uint8(n % 3), Segment: uint32(n / 20), Number: true, Kind: Video}
		}
		state := State{Version: uint64(r.IntN(1000)), Verified: r.IntN(2) == 0}
		cost := Cost{Bytes: int64(1+r.IntN(4)) * block}
		switch r.IntN(5) {
		case 0, 1:
			for !x.Take(cost) {
				item, ok := x.Evict()
				if !ok {
					t.Fatalf("seed %d, step %d: nothing to evict", seed, step)
				}
				gone(step, item)
			}
			if old, had := model[id]; had {
				used -= old.bytes
			}
			x.Put(id, state, cost, s)
			model[id] = object{state, cost.Bytes}
			used += cost.Bytes
		case 2:
			x.Ask(s, 1)
			if _, want := model[id]; x.Get(id) != want {
				t.Fatalf("seed %d, step %d: Get is %v", seed, step, !want)
			}
		case 3:
			o, want := model[id]
			if got, ok := x.Peek(id); ok != want || got != o.state {
				t.Fatalf("seed %d, step %d: Peek = %+v, %v, want %+v, %v", seed, step, got, ok, o, want)
			}
			if _, ok := x.Update(id, state, Cost{}); ok != want {
				t.Fatalf("seed %d, step %d: Update is %v", seed, step, ok)
			}
			if want {
				model[id] = object{state, o.bytes}
			}
		case 4:
			if item, ok := x.Detach(id); ok {
				gone(step, item)
			} else if _, had := model[id]; had {
				t.Fatalf("seed %d, step %d: Detach misses", seed, step)
			}
		}
		if x.Len() != len(model) || x.Bytes() != used {
			t.Fatalf("seed %d, step %d: %d entries of %d, want %d of %d", seed, step, x.Len(), x.Bytes(), len(model), used)
		}
	}
	// A copy by way of records is the same.
	y, _ := newIndex(t, budget)
	n := 0
	for record := range x.All() {
		n++
		if o := model[record.ID]; o.bytes != record.Bytes || o.state.Version != record.Version || len(y.Load([]Record{record, record})) != 0 {
			t.Fatalf("seed %d: record %+v, want %+v", seed, record, o)
		}
	}
	if n != len(model) || y.Len() != n || y.Bytes() != used {
		t.Errorf("seed %d: %d records, %d loaded of %d bytes, want %d of %d", seed, n, y.Len(), y.Bytes(), len(model), used)
	}
}

func TestUpdateAddsToTheCost(t *testing.T) {
	t.Parallel()
	x, _ := newIndex(t, 10*block)
	id := testID(1)
	add(x, id, 5, Stream{})
	if x.Bytes() != block || !x.Take(Cost{Bytes: block + 1}) {
		t.Fatalf("%d bytes, want a block", x.Bytes())
	}
	if _, ok := x.Update(id, State{Version: 2}, Cost{Bytes: block + 1}); !ok {
		t.Error("Update misses")
	}
	if item, ok := x.Detach(id); !ok || item.Cost.Bytes != 3*block || x.Bytes() != 3*block {
		t.Errorf("Detach = %+v, %v, %d bytes", item, ok, x.Bytes())
	}
	x.Free(Cost{Bytes: 3 * block})
	if _, ok := x.Evict(); ok || x.Bytes() != 0 || len(x.Load([]Record{{ID: id, Bytes: 11 * block}})) == 0 {
		t.Error("not empty, or over the budget")
	}
}

// The budget holds whenever somebody looks, and every entry comes out once.
func TestIndexBudgetHoldsAtEveryInstant(t *testing.T) {
	t.Parallel()
	const budget = 500 * block
	x, _ := newIndex(t, budget)
	var workers, watcher sync.WaitGroup
	stop := make(chan struct{})
	watcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n := x.Bytes(); n > budget {
				t.Errorf("%d bytes", n)
				return
			}
			runtime.Gosched()
		}
	})
	for w := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 3000 {
				n := r.IntN(1000)
				s := Stream{Title: uint32(n % 7), Segment: uint32(n), Number: n%3 > 0}
				x.Ask(s, 1)
				if !x.Get(testID(n)) {
					add(x, testID(n), int64(r.IntN(5*block)), s)
				}
				if r.IntN(10) == 0 {
					if item, ok := x.Detach(testID(r.IntN(1000))); ok {
						x.Free(item.Cost)
					}
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	watcher.Wait()
	for {
		item, ok := x.Evict()
		if !ok {
			break
		}
		x.Free(item.Cost)
	}
	if x.Len() != 0 || x.Bytes() != 0 {
		t.Errorf("%d entries, %d bytes left", x.Len(), x.Bytes())
	}
}

func TestIndexAllocatesNothing(t *testing.T) {
	x, _ := newIndex(t, 1<<30)
	s := Stream{Title: 7, Rendition: 1, Segment: 12, Number: true, Kind: Video}
	for i := range 1000 {
		add(x, testID(i), block, s)
	}
	x.Ask(s, 1)
	n := 0
	allocs := testing.AllocsPerRun(500, func() {
		n++
		x.Ask(s, 1)
		x.Get(testID(n))
		x.Admit(s)
		x.Peek(testID(n))
		if item, ok := x.Evict(); ok {
			x.Free(item.Cost)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// A tier full of segments that were never asked for themselves, but whose title is, has no room for what nobody asks for.
func TestTitlesPoolTheirDemand(t *testing.T) {
	t.Parallel()
	x, clock := newIndex(t, 30*block)
	piece := func(title, rendition, segment int) (id [16]byte, s Stream) {
		return testID(title<<20 | rendition<<16 | segment), Stream{Title: uint32(title), Rendition: uint8(rendition), Segment: uint32(segment), Number: true}
	}
	for range 20 {
		for segment := range 16 {
			for rendition := range 2 {
				_, s := piece(1, rendition, segment)
				x.Ask(s, 1)
			}
			clock.pass(time.Minute)
		}
	}
	for segment := 16; segment < 31; segment++ {
		for rendition := range 2 {
			id, s := piece(1, rendition, segment)
			if !add(x, id, block, s) {
				t.Errorf("segment %d is refused while there is room", segment)
			}
		}
	}
	for title := 2; title < 100; title++ {
		id, s := piece(title, 1, 3)
		x.Ask(s, 1)
		clock.pass(time.Minute)
		if add(x, id, block, s) {
			t.Fatalf("a piece of title %d, asked for once, is let in", title)
		}
	}
	// The same title's beginning is asked for more.
	id, s := piece(1, 1, 3)
	if !add(x, id, block, s) {
		t.Error("a segment of the title in demand is refused")
	}
}

// Live segments enter at once, even into a tier full of what is in demand, and leave first when they are behind. By use
// alone nothing of the film would stay: it is a sample that is chosen from, so of a small tier some does go.
func TestLiveEntersAtOnceAndLeavesFirst(t *testing.T) {
	t.Parallel()
	x, clock := newIndex(t, 64*block)
	film := func(n int) Stream { return Stream{Title: 1, Segment: uint32(n), Number: true, Kind: Video} }
	news := func(n int) Stream { return Stream{Title: 2, Segment: uint32(5000 + n), Number: true, Kind: Video} }
	for n := range 64 {
		for range 10 {
			x.Ask(film(n), 1)
			clock.pass(time.Second)
		}
		add(x, testID(n), block, film(n))
	}
	for n := range 50 {
		refused := false
		for range 3 { // viewers, all at the edge
			x.Ask(news(n), 1)
			if id := testID(1000 + n); !x.Get(id) && !add(x, id, block, news(n)) {
				refused = true
			}
			clock.pass(time.Second)
		}
		if n > 5 && refused {
			t.Fatalf("live segment %d is refused", n)
		}
	}
	films, behind := 0, 0
	for n := range 64 {
		if x.Get(testID(n)) {
			films++
		}
	}
	for n := range 40 {
		if x.Get(testID(1000 + n)) {
			behind++
		}
	}
	if films < 35 || behind > 16 {
		t.Errorf("%d of 64 segments of the film stayed, %d of 40 that are behind", films, behind)
	}
}

// What was evicted untried and comes back soon is not untried any more.
func TestGhostsComeBackProven(t *testing.T) {
	t.Parallel()
	x, clock := newIndex(t, 20*block)
	for n := range 40 {
		add(x, testID(n), block, Stream{})
		clock.pass(10 * time.Second)
	}
	before := x.entries[proven].Load()
	back := 0
	for n := range 20 {
		if _, there := x.Peek(testID(n)); !there {
			add(x, testID(n), block, Stream{})
			back++
		}
	}
	if before != 0 || back == 0 || x.entries[proven].Load() == 0 {
		t.Errorf("%d proven before, %d of %d that came back are", before, x.entries[proven].Load(), back)
	}
}

func TestDemandForgets(t *testing.T) {
	t.Parallel()
	d := newDemand(64)
	s := Stream{Title: 5, Rendition: 1, Segment: 20, Number: true, Kind: Video}
	now := int64(1_700_000_000_000)
	d.add(s, 100, scaleAt(now))
	first := d.rate(s, scaleAt(now), math.Inf(1))
	for _, lives := range []int64{1, 2, 5, 63, 64, 65} {
		got, want := d.rate(s, scaleAt(now+lives*halfLife.Milliseconds()), math.Inf(1)), first/float64(uint64(1)<<min(lives, 62))
		if lives <= 5 && (got < want*0.999 || got > want*1.001) || lives > 5 && got > first/1e15 {
			t.Errorf("after %d half-lives %g, want %g", lives, got, want)
		}
	}
	// More counters than fit: the least go.
	for n := range 2000 {
		d.add(Stream{Title: uint32(100 + n), Number: true}, 1, scaleAt(now))
	}
	if got := d.count(cellKey(s.Title, 0, 1), scaleAt(now)); got < 99 {
		t.Errorf("the largest counter has %g, want 100", got)
	}
}

// A bulk load enters what there is room for, each ID once, and hands back the rest.
func TestLoadTakesWhatFits(t *testing.T) {
	t.Parallel()
	for _, grow := range []int{0, 10, 5000} {
		x, _ := newIndex(t, 3000*block)
		x.Grow(grow)
		x.Take(Cost{Bytes: block})
		var records []Record
		for i := range 4000 {
			records = append(records, Record{ID: testID(i), Bytes: block, Version: uint64(i)})
		}
		slices.SortFunc(records, func(a, b Record) int { return int(a.ID[15]%indexShards) - int(b.ID[15]%indexShards) })
		given, known := slices.Clone(records), records[3].ID
		x.Put(known, State{Version: 70}, Cost{Bytes: block}, Stream{})
		left := x.Load(append(records[:3000:3000], records[2], records[3]))
		if len(left) > 0 {
			t.Errorf("Grow(%d): %d are left of those there was room for, or that were there", grow, len(left))
		}
		left = x.Load(records)
		if x.Len() != 3000 || x.Bytes() != 3000*block {
			t.Errorf("Grow(%d): %d entries of %d bytes, want 3000 of %d", grow, x.Len(), x.Bytes(), 3000*block)
		}
		if !slices.Equal(left, given[3000:]) {
			t.Errorf("Grow(%d): the %d handed back are not the last ones", grow, len(left))
		}
		for i, r := range given {
			st, ok := x.Peek(r.ID)
			if want := i < len(given)-len(left); ok != want {
				t.Fatalf("Grow(%d): record %d is there: %v, want %v", grow, i, ok, want)
			}
			if want := (State{Version: 70, Verified: false}); r.ID == known && st != want {
				t.Errorf("Grow(%d): what was known has become %+v, want %+v", grow, st, want)
			}
		}
	}
}

// Load and memory of ten million entries, by the thousand of one shard as a cache brings them; -short takes a million.
func BenchmarkIndexLoad(b *testing.B) {
	n := 10_000_000
	if testing.Short() {
		n = 1_000_000
	}
	var shards [indexShards][]Record
	for i := range n {
		e := entry{stream: Stream{Title: uint32(i / 500), Rendition: uint8(i % 5), Segment: uint32(i / 5 % 100), Number: true}}
		id := testID(i)
		shard := &shards[id[15]%indexShards]
		*shard = append(*shard, Record{ID: id, Bytes: 2 << 20, Version: uint64(i), Hint: e.hint(streamed)})
	}
	for _, grow := range []int{0, n} {
		b.Run(fmt.Sprintf("grow=%d", grow), func(b *testing.B) {
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				began := time.Now()
				x, _ := newIndex(b, 1<<50)
				x.Grow(grow)
				for at := 0; x.Len() < n; at += 1024 {
					for _, shard := range shards {
						x.Load(shard[min(at, len(shard)):min(at+1024, len(shard))])
					}
				}
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(n), "ns/object")
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/object")
				runtime.KeepAlive(x)
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	x, clock := newIndex(b, 1<<40)
	const n = 400_000
	stream := func(i int) Stream {
		return Stream{Title: uint32(i / 500), Rendition: uint8(i % 4), Segment: uint32(i / 4 % 125), Number: true}
	}
	for i := range n {
		add(x, testID(i), 2<<20, stream(i))
		if i%3 == 0 {
			x.Ask(stream(i), 1)
		}
	}
	for _, c := range []struct {
		name string
		do   func(i int)
	}{
		{"ask", func(i int) { x.Ask(stream(i*7919%n), 1) }},
		{"get", func(i int) { x.Get(testID(i * 7919 % n)) }},
		{"miss", func(i int) { x.Get(testID(i + n)) }},
		{"admit", func(i int) { x.Admit(stream(i * 7919 % n)) }},
		{"evict+put", func(i int) {
			item, ok := x.Evict()
			if !ok {
				b.Fatal("empty")
			}
			x.Put(item.Key, item.Value, item.Cost, stream(i*7919%n))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if i%1000 == 0 {
					clock.pass(time.Second)
				}
				c.do(i)
			}
		})
	}
}
