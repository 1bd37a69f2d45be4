package main

import (
	"hash/maphash"
	"strings"
	"sync"
)

// Bounds of what the ledger keeps. Objects past the bound are played and not compared; faults past it are counted.
const (
	maxObjects = 1 << 20
	maxFaults  = 20
)

// object names what must always be the same bytes: a resource or a range of it, at any edge.
type object struct {
	name          string // path and query
	first, length int64
	etag          string // of a playlist, which changes: then its version is part of the name
}

// sighting is what an object was when it was got from an edge.
type sighting struct {
	edge  string
	hash  uint64
	bytes int64
	etag  string
}

// wrong is one object that was not the same everywhere.
type wrong struct {
	URL   string    `json:"url"`
	Range string    `json:"range,omitempty"`
	Edges [2]string `json:"edges"` // who had it first, who had it differently
	Bytes [2]int64  `json:"bytes"`
	ETags [2]string `json:"etags"`
}

// ledger knows what every object was when it was seen first, and compares all that come after, from whichever edge and
// to whichever viewer. Safe for concurrent use.
type ledger struct {
	seed maphash.Seed // hashes are good for this run only

	mu       sync.Mutex // guards the fields below
	objects  map[object]sighting
	order    []object // segments in the order of their first sighting, for the origin to be asked
	news     chan struct{}
	count    int64 // of wrong
	wrong    []wrong
	omitted  int64 // sightings that were not compared
	tagFault int64 // same bytes under two strong ETags
	tagPair  string
}

func newLedger() *ledger {
	return &ledger{seed: maphash.MakeSeed(), objects: map[object]sighting{}, news: make(chan struct{}, 1)}
}

// see compares a segment with what it was before. It reports whether it is the same.
func (l *ledger) see(o object, s sighting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, known := l.objects[o]
	if !known {
		l.enterLocked(o, s)
		return true
	}
	if before.hash != s.hash || before.bytes != s.bytes {
		l.accuseLocked(o, before, s)
		return false
	}
	if strong(before.etag) && strong(s.etag) && before.etag != s.etag {
		l.tagFault++
		if l.tagPair == "" {
			l.tagPair = o.name + ": " + before.etag + " at " + before.edge + ", " + s.etag + " at " + s.edge
		}
	}
	return true
}

// accuse notes that the origin has other bytes than the first who was seen.
func (l *ledger) accuse(o object, had, has sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accuseLocked(o, had, has)
}

// entry returns the i-th segment that was seen; none yet is no error.
func (l *ledger) entry(i int) (o object, s sighting, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i >= len(l.order) {
		return o, s, false
	}
	o = l.order[i]
	return o, l.objects[o], true
}

// distinct is how many segments were seen.
func (l *ledger) distinct() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.order)
}

// wrongs is how many responses were wrong.
func (l *ledger) wrongs() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *ledger) enterLocked(o object, s sighting) {
	if len(l.objects) == maxObjects {
		l.omitted++
		return
	}
	l.objects[o] = s
	if o.etag != "" {
		return
	}
	l.order = append(l.order, o)
	select {
	case l.news <- struct{}{}:
	default: // who waits has been told
	}
}

func (l *ledger) accuseLocked(o object, first, other sighting) {
	l.count++
	if len(l.wrong) < maxFaults {
		l.wrong = append(l.wrong, wrong{
			URL: o.name, Range: rangeField(o.first, o.length), Edges: [2]string{first.edge, other.edge},
			Bytes: [2]int64{first.bytes, other.bytes}, ETags: [2]string{first.etag, other.etag},
		})
	}
}

// strong says whether a validator promises the same bytes (RFC 9110, 8.8.1).
func strong(etag string) bool { return strings.HasPrefix(etag, `"`) }
