package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// blockBytes is the unit that sizes are counted in; costs are rounded up to it.
	blockBytes = 4 << 10
	// tick is the unit of an entry's stamp, in milliseconds: 24 bits are 397 days.
	tick = 2048
	// indexShards is the number of locks. Samples are drawn from a few of them.
	indexShards = 64
	// cellBytes is how much of the budget there is to a counter of demand, and so what eight bytes of memory.
	cellBytes          = 256 << 10
	minCells, maxCells = 1 << 14, 1 << 20
	// maxStreams bounds the streams whose viewers are followed: 150 bytes each, made when asked for.
	maxStreams = 1 << 17
)

// IndexOptions describe an Index.
type IndexOptions struct {
	// Bytes is the budget in bytes; it must be positive.
	Bytes int64
	// Clock tells the time; required. It is called once or twice a call, by whoever calls.
	Clock func() time.Time
	// Seed makes the choices of one Index differ from another's; any value will do.
	Seed uint64
}

// State is what the Index keeps for its caller.
type State struct {
	// Version is what Brief makes of a version; 0 means unknown.
	Version uint64
	// Verified is the caller's.
	Verified bool
}

// Brief returns the part of a version that the Index keeps: 34 bits, for comparing whether two are equal. It is 0 only
// for 0.
func Brief(version uint64) uint64 {
	if brief := version & versionMask; brief != 0 || version == 0 {
		return brief
	}
	return 1
}

// Index is what the disk tier knows of its objects, with a budget in bytes, and the policy of what goes. Its methods may
// be called at the same time. State: sharded mutexes, and atomic counters.
//
// A cost's slots are ignored; its bytes are rounded up to 4 KiB.
type Index struct {
	clock  func() time.Time
	bytes  budget
	shards [indexShards]table
	// held and entries are the bytes in entries and their number, by class.
	held    [nClasses]atomic.Int64
	entries [nClasses]atomic.Int64

	demand  *demand
	viewers *viewers
	elders  [nClasses]elders // of no stream
	ghosts  ghosts
	trial   trial
	seed    uint64
	draws   atomic.Uint64
}

// NewIndex returns an empty Index; the error names the option that makes no sense.
func NewIndex(opts IndexOptions) (*Index, error) {
	switch {
	case opts.Bytes <= 0:
		return nil, fmt.Errorf("policy: IndexOptions.Bytes is %d", opts.Bytes)
	case opts.Clock == nil:
		return nil, errors.New("policy: IndexOptions.Clock is nil")
	}
	return &Index{
		clock:   opts.Clock,
		bytes:   budget{limit: opts.Bytes},
		demand:  newDemand(int(min(maxCells, max(minCells, opts.Bytes/cellBytes)))),
		viewers: newViewers(maxStreams),
		seed:    opts.Seed,
	}, nil
}

// Take reserves a cost if there is room. The caller later gives it back with Free or spends it with Put.
func (x *Index) Take(c Cost) bool { return x.bytes.take(roundUp(c.Bytes)) }

// Free gives back what Take or Evict left with the caller.
func (x *Index) Free(c Cost) { x.bytes.give(roundUp(c.Bytes)) }

// Len returns the number of entries.
func (x *Index) Len() (n int) {
	for class := range x.entries {
		n += int(x.entries[class].Load())
	}
	return n
}

// Bytes returns how many bytes are taken, by entries and by reservations; never more than the budget.
func (x *Index) Bytes() int64 { return x.bytes.used.Load() }

// Peek returns what is kept for id.
func (x *Index) Peek(id [16]byte) (State, bool) {
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, r, ok := t.findLocked(&id)
	if !ok {
		return State{}, false
	}
	e := t.entryLocked(r)
	return State{e.version, e.verified}, true
}

// Ask counts n requests for a piece of a stream, stored or not: that is what its title's worth is made of. Every request
// is to be counted, at the latest some seconds after; several may be counted together.
//
// Once per request or less: one mutex, three sets of counters, no allocation.
func (x *Index) Ask(s Stream, n uint32) {
	if !s.Number || n == 0 {
		return
	}
	s, now := kept(s), x.now()
	if !x.viewers.step(s, n, now) {
		x.demand.add(s, n, scaleAt(now))
	}
}

// Get notes a use of id and tells whether it is there.
func (x *Index) Get(id [16]byte) bool {
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, r, ok := t.findLocked(&id)
	if !ok {
		return false
	}
	e := t.entryLocked(r)
	e.uses = min(e.uses+1, usesMask)
	if r.class() == streamed {
		e.stamp = stampAt(x.now())
	}
	t.setLocked(r, &e)
	return true
}

// Put enters an object whose cost has been taken. It never evicts. An entry that id had before gives its cost back and
// leaves its standing to the new one.
func (x *Index) Put(id [16]byte, st State, c Cost, s Stream) {
	e := entry{version: st.Version & versionMask, verified: st.Verified, blocks: blocksOf(c.Bytes), stamp: stampAt(x.now())}
	class := uint32(small)
	if s.Number {
		class, e.stream = streamed, kept(s)
	}
	x.bytes.give(roundUp(c.Bytes) - e.bytes()) // what is more than an entry can say
	x.put(&id, class, &e)
}

// put enters an object in the place of what its ID had.
func (x *Index) put(id *[16]byte, class uint32, e *entry) {
	t := x.shard(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, r, ok := t.findLocked(id); ok {
		old := t.entryLocked(r)
		x.leftLocked(t, at)
		x.bytes.give(old.bytes())
		if class == small && r.class() == proven {
			class, e.uses, e.stamp = proven, old.uses, old.stamp
		}
	} else if class == small && x.ghosts.take(hashOf(id)) {
		class = proven
		x.trial.end(true)
	}
	x.enterLocked(t, id, class, e)
}

// Update replaces what is kept for id and adds extra to its cost, which the caller has taken, or gives back after if it
// is negative. With ok false id is not there, and extra is still the caller's.
func (x *Index) Update(id [16]byte, st State, extra Cost) (old State, ok bool) {
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, r, ok := t.findLocked(&id)
	if !ok {
		return State{}, false
	}
	e := t.entryLocked(r)
	old = State{e.version, e.verified}
	e.version, e.verified = st.Version&versionMask, st.Verified
	before := e.bytes()
	e.blocks = blocksOf(before + extra.Bytes)
	t.setLocked(r, &e)
	x.held[r.class()].Add(e.bytes() - before)
	return old, true
}

// Classify tells what stream id is a piece of, where that was not known when it was entered.
func (x *Index) Classify(id [16]byte, s Stream) {
	if !s.Number {
		return
	}
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	at, r, ok := t.findLocked(&id)
	if !ok || r.class() == streamed {
		return
	}
	e := t.entryLocked(r)
	e.stream, e.uses = kept(s), 0
	x.leftLocked(t, at)
	x.enterLocked(t, &id, streamed, &e)
}

// Detach takes id out. Its cost stays taken until the caller gives it back with Free.
func (x *Index) Detach(id [16]byte) (item Item[[16]byte, State], had bool) {
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	at, r, ok := t.findLocked(&id)
	if !ok {
		return item, false
	}
	e := t.entryLocked(r)
	x.leftLocked(t, at)
	return Item[[16]byte, State]{Key: id, Value: State{e.version, e.verified}, Cost: Cost{Bytes: e.bytes()}}, true
}

// enterLocked adds an entry whose cost is taken. A full table, a million entries of one class, loses it.
func (x *Index) enterLocked(t *table, id *[16]byte, class uint32, e *entry) {
	if !t.addLocked(id, class, e) {
		x.bytes.give(e.bytes())
		return
	}
	x.entries[class].Add(1)
	x.held[class].Add(e.bytes())
}

// leftLocked removes an entry; its cost stays taken.
func (x *Index) leftLocked(t *table, at uint32) {
	r := t.refs[at]
	e := t.entryLocked(r)
	x.entries[r.class()].Add(-1)
	x.held[r.class()].Add(-e.bytes())
	t.removeLocked(at)
}

func (x *Index) shard(id *[16]byte) *table { return &x.shards[id[15]%indexShards] }

// now is the time in milliseconds.
func (x *Index) now() int64 { return x.clock().UnixMilli() }

func stampAt(now int64) uint32 { return uint32(now/tick) & stampMask }

// since returns the milliseconds since a stamp.
func since(stamp uint32, now int64) int64 { return int64((stampAt(now)-stamp)&stampMask) * tick }

func (e *entry) bytes() int64 { return int64(e.blocks) * blockBytes }

// kept cuts a stream down to what an entry keeps.
func kept(s Stream) Stream {
	s.Title &= titleMask
	s.Segment &= segmentMask
	return s
}

func hashOf(id *[16]byte) uint64 { return mix(binary.BigEndian.Uint64(id[:8])) }

func roundUp(n int64) int64 { return (n + blockBytes - 1) &^ (blockBytes - 1) }

func blocksOf(n int64) uint32 { return uint32(min(roundUp(n)/blockBytes, blocksMask)) }
