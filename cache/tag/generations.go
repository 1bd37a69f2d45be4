package tag

import (
	"cmp"
	"math/bits"
	"slices"
	"sync/atomic"
)

// times are when a name was purged last, in Unix nanoseconds; 0 for never.
type times struct{ hard, soft int64 }

func (t times) latest() int64 { return max(t.hard, t.soft) }

func (t times) with(other times) times {
	return times{max(t.hard, other.hard), max(t.soft, other.soft)}
}

// generation is times that one goroutine raises and any may read.
type generation struct{ hard, soft atomic.Int64 }

func (g *generation) load() times { return times{g.hard.Load(), g.soft.Load()} }

func (g *generation) raise(t times) {
	if t.hard > g.hard.Load() {
		g.hard.Store(t.hard)
	}
	if t.soft > g.soft.Load() {
		g.soft.Store(t.soft)
	}
}

// slot is a place in an open-addressing table; hash 0 is a free one. The generation is set before the hash.
type slot struct {
	hash atomic.Uint64
	generation
}

// generations maps the hashes of one kind of names to their times. One goroutine at a time may change it, any may look
// at the same time.
type generations struct {
	limit  int // of names, at least 4
	newest generation
	// slots is at most half full, so that a search ends. Its length is a power of two.
	slots  atomic.Pointer[[]slot]
	sketch atomic.Pointer[[]generation] // nil until something is folded; its length is a power of two
	used   atomic.Int64
	folded atomic.Int64
}

const firstSlots = 16

// slotsPerName makes the sketch so large that a quarter of limit names fills at most a sixteenth of it.
const slotsPerName = 4

// lookup returns the times of a hash.
//
// Hot path: loads, no lock.
func (g *generations) lookup(hash uint64) times {
	var found times
	if slots := g.slots.Load(); slots != nil {
		if s := find(*slots, hash); s.hash.Load() == hash {
			found = s.load()
		}
	}
	if sketch := g.sketch.Load(); sketch != nil {
		found = found.with((*sketch)[place(hash, len(*sketch))].load())
	}
	return found
}

// covers tells whether any name was purged at that time or later.
func (g *generations) covers(at int64) bool { return g.newest.load().latest() >= at }

// find returns the hash's slot, or the free one where it would be.
func find(slots []slot, hash uint64) *slot {
	mask := uint64(len(slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if h := slots[i].hash.Load(); h == hash || h == 0 {
			return &slots[i]
		}
	}
}

// place is a hash's index in a sketch of n slots: other bits than those that find begins with.
func place(hash uint64, n int) int { return int(hash >> (64 - sketchBits(n))) }

func sketchBits(n int) int { return bits.TrailingZeros(uint(n)) }

// raise notes a purge of a name.
func (g *generations) raise(hash uint64, t times) {
	slots := g.slots.Load()
	if slots == nil {
		slots = g.replace(nil, firstSlots)
	}
	s := find(*slots, hash)
	if s.hash.Load() == 0 {
		switch {
		case int(g.used.Load()) >= g.limit:
			g.fold()
			s = find(*g.slots.Load(), hash)
		case 2*int(g.used.Load()+1) > len(*slots):
			s = find(*g.replace(*slots, 2*len(*slots)), hash)
		}
		s.raise(t)
		s.hash.Store(hash)
		g.used.Add(1)
	} else {
		s.raise(t)
	}
	g.newest.raise(t) // last: who sees no news need not look
}

// replace publishes a table of n slots with what is in the old one.
func (g *generations) replace(old []slot, n int) *[]slot {
	slots := make([]slot, n)
	for i := range old {
		if h := old[i].hash.Load(); h != 0 {
			s := find(slots, h)
			s.raise(old[i].load())
			s.hash.Store(h)
		}
	}
	g.slots.Store(&slots)
	return &slots
}

// fold moves the quarter of the names that was purged longest ago to the sketch.
func (g *generations) fold() {
	old := *g.slots.Load()
	order := make([]*slot, 0, g.limit)
	for i := range old {
		if old[i].hash.Load() != 0 {
			order = append(order, &old[i])
		}
	}
	slices.SortFunc(order, func(a, b *slot) int { return cmp.Compare(a.load().latest(), b.load().latest()) })
	n := len(order) / 4
	sketch := g.makeSketch()
	for _, s := range order[:n] {
		(*sketch)[place(s.hash.Load(), len(*sketch))].raise(s.load())
	}
	g.sketch.Store(sketch) // before they are gone from the table
	slots := make([]slot, len(old))
	for _, s := range order[n:] {
		to := find(slots, s.hash.Load())
		to.raise(s.load())
		to.hash.Store(s.hash.Load())
	}
	g.slots.Store(&slots)
	g.used.Store(int64(len(order) - n))
	g.folded.Add(int64(n))
}

// makeSketch returns the sketch, an empty one that is not yet to be seen where there was none.
func (g *generations) makeSketch() *[]generation {
	if sketch := g.sketch.Load(); sketch != nil {
		return sketch
	}
	sketch := make([]generation, 1<<bits.Len(uint(slotsPerName*g.limit-1)))
	return &sketch
}

// raiseFolded notes what fell into a slot of a sketch of 1<<width slots: that of the hashes that begin with the same
// width bits as this one.
func (g *generations) raiseFolded(hash uint64, width int, t times) {
	sketch := g.makeSketch()
	slots := foldedSlots(*sketch, hash, width)
	for i := range slots {
		slots[i].raise(t)
	}
	g.sketch.Store(sketch)
	g.newest.raise(t)
}

// foldedTimes are what all those slots have.
func (g *generations) foldedTimes(hash uint64, width int) times {
	sketch := g.sketch.Load()
	if sketch == nil {
		return times{}
	}
	slots := foldedSlots(*sketch, hash, width)
	found := slots[0].load()
	for i := range slots {
		t := slots[i].load()
		found = times{min(found.hard, t.hard), min(found.soft, t.soft)}
	}
	return found
}

func foldedSlots(sketch []generation, hash uint64, width int) []generation {
	return sketch[place(hash, len(sketch)) : place(hash|(1<<(64-width)-1), len(sketch))+1]
}

// each yields every name, then every slot of the sketch, whose width is above 0.
func (g *generations) each(yield func(hash uint64, width int, t times)) {
	if slots := g.slots.Load(); slots != nil {
		for i := range *slots {
			if h := (*slots)[i].hash.Load(); h != 0 {
				yield(h, 0, (*slots)[i].load())
			}
		}
	}
	sketch := g.sketch.Load()
	if sketch == nil {
		return
	}
	width := sketchBits(len(*sketch))
	for i := range *sketch {
		if t := (*sketch)[i].load(); t != (times{}) {
			yield(uint64(i)<<(64-width), width, t)
		}
	}
}
