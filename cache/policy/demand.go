package policy

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// halfLife is after what time a request counts half. Measured: one hour or three, the hit ratio is the same within
	// 0.2 points.
	halfLife = 3 * time.Hour
	// blockSegments is how many segments share a counter.
	blockSegments = 16
	// eraHalfLives is how long one scale of the counters serves: 2^64 is far from the end of a float32.
	eraHalfLives = 64
	// setCells is how many counters share a place; when all are taken the least is replaced.
	setCells = 8
	// ownPart and herePart weigh what asked for the block: own rendition against the title's, block against the one before,
	// from which viewers flow in.
	ownPart, herePart = 0.5, 0.7
	// shareLimit is where the counts of renditions are halved.
	shareLimit = 1 << 24
)

// demand counts requests for blocks of segments, of a title and of each rendition, and forgets them with halfLife. It is
// a table of fixed size: a counter that finds no place drops the least of its set.
//
// Counters are never aged. Instead what is added weighs more the later it comes, so all of an era can be compared.
// State: atomics only.
type demand struct {
	cells  []atomic.Uint64 // tag 24 bits, era 8, float32 32; 0 is free
	sets   uint64
	shares [256]atomic.Uint32 // requests for video by rendition
	all    atomic.Uint32
}

func newDemand(cells int) *demand {
	sets := max(1, cells/setCells)
	return &demand{cells: make([]atomic.Uint64, sets*setCells), sets: uint64(sets)}
}

// scale is the weight of a request at an instant, in its era.
type scale struct {
	era    uint8
	weight float64
}

func scaleAt(now int64) scale {
	const era = int64(eraHalfLives * halfLife / time.Millisecond)
	return scale{uint8(now / era), math.Exp2(float64(now%era) / float64(halfLife/time.Millisecond))}
}

// add counts n requests for a segment.
func (d *demand) add(s Stream, n uint32, sc scale) {
	block := s.Segment / blockSegments
	d.raise(cellKey(s.Title, uint32(s.Rendition)+1, block), n, sc)
	if s.Kind == Audio {
		return // its viewers watch, too
	}
	d.raise(cellKey(s.Title, 0, block), n, sc)
	d.shares[s.Rendition].Add(n)
	if d.all.Add(n) < shareLimit {
		return
	}
	d.all.Store(0)
	for i := range d.shares {
		half := d.shares[i].Load() / 2
		d.shares[i].Store(half)
		d.all.Add(half)
	}
}

// rate estimates the requests per second for a segment. What is not below limit is not reckoned to the end: most of the
// time goes into fetching counters from memory.
func (d *demand) rate(s Stream, sc scale, limit float64) float64 {
	const perSecond = math.Ln2 / (float64(halfLife) / float64(time.Second)) / blockSegments
	block := s.Segment / blockSegments
	part, before := (1-ownPart)*perSecond, 0.0
	if s.Kind != Audio {
		part *= float64(d.shares[s.Rendition].Load()) / float64(max(1, d.all.Load()))
	}
	if block > 0 {
		part, before = herePart*part, (1-herePart)*part
	}
	rate := part * d.count(cellKey(s.Title, 0, block), sc)
	if rate < limit {
		rate += ownPart * perSecond * d.count(cellKey(s.Title, uint32(s.Rendition)+1, block), sc)
	}
	if rate < limit && before > 0 {
		rate += before * d.count(cellKey(s.Title, 0, block-1), sc)
	}
	return rate
}

// touch fetches the first counters of some into the processor's cache side by side.
func (d *demand) touch(list []candidate) {
	all := uint64(0)
	for i := range list {
		s := &list[i].entry.stream
		all |= d.set(cellKey(s.Title, 0, s.Segment/blockSegments))[0].Load()
	}
	runtime.KeepAlive(all) // or the compiler leaves the looks out
}

func cellKey(title, rendition, block uint32) uint64 {
	return mix(uint64(title)<<32 | uint64(block)<<9 | uint64(rendition))
}

func (d *demand) set(key uint64) []atomic.Uint64 {
	at := key % d.sets * setCells
	return d.cells[at : at+setCells]
}

func tagOf(key uint64) uint64 { return key>>40 | 1 }

// value brings a counter to the scale's era, without its weight.
func value(cell uint64, sc scale) float64 {
	v := float64(math.Float32frombits(uint32(cell)))
	if eras := sc.era - uint8(cell>>32); eras != 0 {
		return math.Ldexp(v, -eraHalfLives*int(eras))
	}
	return v
}

// count returns what a counter has now, in requests.
func (d *demand) count(key uint64, sc scale) float64 {
	set, tag := d.set(key), tagOf(key)
	for i := range set {
		if cell := set[i].Load(); cell>>40 == tag {
			return value(cell, sc) / sc.weight
		}
	}
	return 0
}

// raise adds to a counter. Two that make the same one at the same time may lose a count.
func (d *demand) raise(key uint64, n uint32, sc scale) {
	set, tag := d.set(key), tagOf(key)
	at, least := 0, math.Inf(1)
	for i := range set {
		cell := set[i].Load()
		if cell>>40 == tag {
			at = i
			break
		}
		if v := value(cell, sc); v < least {
			at, least = i, v
		}
	}
	for {
		old, v := set[at].Load(), 0.0
		if old>>40 == tag {
			v = value(old, sc)
		}
		v += float64(n) * sc.weight
		cell := tag<<40 | uint64(sc.era)<<32 | uint64(math.Float32bits(float32(v)))
		if set[at].CompareAndSwap(old, cell) {
			return
		}
	}
}
