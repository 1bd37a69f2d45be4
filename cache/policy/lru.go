package policy

import (
	"errors"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// DefaultShards is the number of shards where Options name none: measured hit ratios differ by 0.002 between 1 and
// 64 shards, and 16 is enough for the lock not to be seen next to a request's other costs.
const DefaultShards = 16

// maxShards bounds Options.Shards: an eviction looks at every shard.
const maxShards = 1024

// Cost is what an entry takes from the budgets.
type Cost struct {
	// Bytes is at least 0.
	Bytes int64
	// Slots is at least 0; an entry with none is never evicted for want of slots.
	Slots int64
}

// Options describe an LRU.
type Options[K comparable] struct {
	// Bytes is the budget in bytes; it must be positive.
	Bytes int64
	// Slots is the budget in slots; 0 means no bound.
	Slots int64
	// Shards is the number of locks, rounded up to a power of two; 0 means DefaultShards.
	Shards int
	// Hash spreads keys over the shards; required. Its low bits are used.
	Hash func(K) uint64
}

// Item is an entry that left the index.
type Item[K comparable, V any] struct {
	Key   K
	Value V
	Cost  Cost
}

// LRU is a sharded least-recently-used index with budgets. Its methods may be called at the same time.
// State: sharded mutexes, and atomic counters for the budgets.
type LRU[K comparable, V any] struct {
	hash   func(K) uint64
	mask   uint64
	shards []shard[K, V]
	bytes  budget
	slots  budget
	tried  probationers // what entries on probation take

	// clock counts insertions. A use stamps its entry with the clock's value, so that ages can be compared over shards
	// without a counter that every hit would write to.
	clock   atomic.Uint64
	cursor  atomic.Uint64
	entries atomic.Int64
}

// probationers are what entries on probation take, see LRU.Try.
type probationers struct{ bytes, slots atomic.Int64 }

func (p *probationers) add(c Cost, sign int64) {
	p.bytes.Add(sign * c.Bytes)
	p.slots.Add(sign * c.Slots)
}

// probation is the part of the budgets, one in so many, that entries on probation may have while others are there. It is
// what a flood takes: 1.0 of 58.6 points of hits of a set that is 12 times the cache, nothing of one that is half of it
// (TestAFloodTakesLittleOfAnLRU).
const probation = 16

// lists of a shard.
const (
	plain   = 0 // entries without slots
	slotted = 1 // entries with slots
	onTrial = 2 // added to those: on probation
	nLists  = 4
)

type shard[K comparable, V any] struct {
	mu    sync.Mutex // guards the fields below
	lists [nLists]*simplelru.LRU[K, *lruEntry[V]]
	_     [40]byte // keeps two shards' mutexes off one cache line
}

type lruEntry[V any] struct {
	value V
	cost  Cost
	used  uint64
	again bool // used since it was put in
}

// New returns an empty index.
func New[K comparable, V any](opts Options[K]) (*LRU[K, V], error) {
	switch {
	case opts.Bytes <= 0:
		return nil, errors.New("policy: Options.Bytes must be positive")
	case opts.Slots < 0:
		return nil, errors.New("policy: Options.Slots must not be negative")
	case opts.Hash == nil:
		return nil, errors.New("policy: Options.Hash is missing")
	case opts.Shards < 0 || opts.Shards > maxShards:
		return nil, errors.New("policy: Options.Shards must be between 0 and 1024")
	}
	if opts.Shards == 0 {
		opts.Shards = DefaultShards
	}
	if opts.Slots == 0 {
		opts.Slots = math.MaxInt64
	}
	n := 1 << bits.Len(uint(opts.Shards-1))
	l := &LRU[K, V]{
		hash:   opts.Hash,
		mask:   uint64(n - 1),
		shards: make([]shard[K, V], n),
		bytes:  budget{limit: opts.Bytes},
		slots:  budget{limit: opts.Slots},
	}
	for i := range l.shards {
		for j := range l.shards[i].lists {
			// The entry count never binds: budgets do.
			list, err := simplelru.NewLRU[K, *lruEntry[V]](math.MaxInt, nil)
			if err != nil {
				return nil, err
			}
			l.shards[i].lists[j] = list
		}
	}
	return l, nil
}

// Get returns the value of k and makes it the most recently used.
// Hot path: one mutex, no allocation; lists that are empty are passed by.
func (l *LRU[K, V]) Get(k K) (v V, ok bool) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.lists {
		if list.Len() == 0 {
			continue
		}
		if e, ok := list.Get(k); ok {
			e.used, e.again = l.clock.Load(), true
			return e.value, true
		}
	}
	return v, false
}

// Peek returns the value of k and leaves the order of use alone.
func (l *LRU[K, V]) Peek(k K) (v V, ok bool) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.lists {
		if e, ok := list.Peek(k); ok {
			return e.value, true
		}
	}
	return v, false
}

// Add reserves c and puts the entry in. evicted holds what had to go, and the value that k had before. With ok false the
// entry does not fit (c is above a budget, or reservations hold the rest) and k is left as it was; entries may have been
// evicted all the same.
func (l *LRU[K, V]) Add(k K, v V, c Cost) (evicted []Item[K, V], ok bool) {
	evicted, ok = l.Reserve(c)
	if !ok {
		return evicted, false
	}
	if old, had := l.Put(k, v, c); had {
		evicted = append(evicted, old)
	}
	return evicted, true
}

// Reserve takes c from the budgets, evicting the oldest entries until it fits. The caller later gives it back with Free
// or spends it with Put. With ok false nothing is reserved.
func (l *LRU[K, V]) Reserve(c Cost) (evicted []Item[K, V], ok bool) {
	if c.Bytes > l.bytes.limit || c.Slots > l.slots.limit {
		return nil, false
	}
	for !l.Take(c) {
		// What is short: bytes, unless there is room for them.
		item, ok := l.Evict(l.bytes.used.Load()+c.Bytes <= l.bytes.limit)
		if !ok {
			return evicted, false
		}
		l.Free(item.Cost)
		evicted = append(evicted, item)
	}
	return evicted, true
}

// Take is a Reserve that evicts nothing.
func (l *LRU[K, V]) Take(c Cost) bool {
	if !l.bytes.take(c.Bytes) {
		return false
	}
	if !l.slots.take(c.Slots) {
		l.bytes.give(c.Bytes)
		return false
	}
	return true
}

// Evict takes the oldest entry out: of those with slots, or of all; where those on probation have more than their part, of
// them, unless it was used since it came: that one's probation ends. Its cost stays taken until the caller gives it back
// with Free, after it has disposed of what the entry stood for. ok is false when there is no entry.
func (l *LRU[K, V]) Evict(onlySlotted bool) (item Item[K, V], ok bool) {
	for {
		from := lists{slotted: onlySlotted, trial: l.crowded(onlySlotted)}
		victim := l.oldest(from)
		if victim == nil && from.trial {
			from.trial = false // they are gone by now
			victim = l.oldest(from)
		}
		if victim == nil {
			return item, false
		}
		victim.mu.Lock()
		k, e, found := victim.oldestLocked(from)
		switch {
		case found && from.trial && e.again:
			l.confirmLocked(victim, k, e)
		case found:
			item, ok = l.removeLocked(victim, k)
		}
		victim.mu.Unlock()
		if ok {
			return item, true
		}
		// Somebody else emptied that shard in the meantime: look again.
	}
}

// Free gives back what Reserve took.
func (l *LRU[K, V]) Free(c Cost) {
	l.bytes.give(c.Bytes)
	l.slots.give(c.Slots)
}

// Put puts an entry in whose cost the caller has reserved, as the most recently used. It never evicts. The value that k
// had before is returned; its cost has been given back.
func (l *LRU[K, V]) Put(k K, v V, c Cost) (old Item[K, V], had bool) { return l.put(k, v, c, false) }

// Try is Put for an entry that is not expected to be used again: it is on probation, unless k is there and is not. Those on
// probation have a sixteenth of the budgets at most while there are others; one that is used again before it would have to
// go is as any other from then on.
func (l *LRU[K, V]) Try(k K, v V, c Cost) (old Item[K, V], had bool) { return l.put(k, v, c, true) }

func (l *LRU[K, V]) put(k K, v V, c Cost, try bool) (old Item[K, V], had bool) {
	e := &lruEntry[V]{value: v, cost: c, used: l.clock.Add(1)}
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if try {
		for _, list := range s.lists[:onTrial] {
			try = try && !list.Contains(k)
		}
	}
	if old, had = l.removeLocked(s, k); had {
		l.Free(old.Cost)
	}
	l.enterLocked(s, k, e, try)
	l.entries.Add(1)
	return old, had
}

func (l *LRU[K, V]) enterLocked(s *shard[K, V], k K, e *lruEntry[V], try bool) {
	list := plain
	if e.cost.Slots > 0 {
		list = slotted
	}
	if try {
		list += onTrial
		l.tried.add(e.cost, 1)
	}
	s.lists[list].Add(k, e)
}

// confirmLocked ends an entry's probation.
func (l *LRU[K, V]) confirmLocked(s *shard[K, V], k K, e *lruEntry[V]) {
	_, _ = l.removeLocked(s, k)
	l.entries.Add(1)
	e.used = l.clock.Load()
	l.enterLocked(s, k, e, false)
}

// crowded tells whether entries on probation have more than their part of what is short.
func (l *LRU[K, V]) crowded(onlySlotted bool) bool {
	if onlySlotted {
		return l.tried.slots.Load() > l.slots.limit/probation
	}
	return l.tried.bytes.Load() > l.bytes.limit/probation
}

// Update replaces the value of k and adds extra, which the caller has reserved, to its cost. The order of use stays.
// With ok false k is not there, and extra is still the caller's.
func (l *LRU[K, V]) Update(k K, v V, extra Cost) (old V, ok bool) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, list := range s.lists {
		if e, ok := list.Peek(k); ok {
			old, e.value = e.value, v
			e.cost.Bytes += extra.Bytes
			e.cost.Slots += extra.Slots
			if i >= onTrial {
				l.tried.add(extra, 1)
			}
			return old, true
		}
	}
	return old, false
}

// Remove takes k out and gives its cost back.
func (l *LRU[K, V]) Remove(k K) (item Item[K, V], had bool) {
	if item, had = l.Detach(k); had {
		l.Free(item.Cost)
	}
	return item, had
}

// Detach takes k out. Its cost stays taken until the caller gives it back with Free.
func (l *LRU[K, V]) Detach(k K) (item Item[K, V], had bool) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.removeLocked(s, k)
}

// Clear takes everything out and gives the costs back.
func (l *LRU[K, V]) Clear() []Item[K, V] {
	var all []Item[K, V]
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, list := range s.lists {
			for _, k := range list.Keys() {
				item, _ := l.removeLocked(s, k)
				l.Free(item.Cost)
				all = append(all, item)
			}
		}
		s.mu.Unlock()
	}
	return all
}

// Len returns the number of entries.
func (l *LRU[K, V]) Len() int { return int(l.entries.Load()) }

// Bytes returns how many bytes are taken, by entries and by reservations; never more than the budget.
func (l *LRU[K, V]) Bytes() int64 { return l.bytes.used.Load() }

// Slots returns how many slots are taken, by entries and by reservations; never more than the budget.
func (l *LRU[K, V]) Slots() int64 { return l.slots.used.Load() }

func (l *LRU[K, V]) shard(k K) *shard[K, V] { return &l.shards[l.hash(k)&l.mask] }

func (l *LRU[K, V]) removeLocked(s *shard[K, V], k K) (item Item[K, V], had bool) {
	for i, list := range s.lists {
		e, ok := list.Peek(k)
		if !ok {
			continue
		}
		list.Remove(k)
		if i >= onTrial {
			l.tried.add(e.cost, -1)
		}
		l.entries.Add(-1)
		return Item[K, V]{Key: k, Value: e.value, Cost: e.cost}, true
	}
	return item, false
}

// oldest returns the shard with the oldest entry, nil if all are empty. Shards that tie take turns.
func (l *LRU[K, V]) oldest(from lists) (victim *shard[K, V]) {
	start := l.cursor.Add(1)
	best := uint64(math.MaxUint64)
	for i := range uint64(len(l.shards)) {
		s := &l.shards[(start+i)&l.mask]
		s.mu.Lock()
		_, e, found := s.oldestLocked(from)
		if found && e.used < best {
			victim, best = s, e.used
		}
		s.mu.Unlock()
	}
	return victim
}

func (s *shard[K, V]) oldestLocked(from lists) (k K, oldest *lruEntry[V], found bool) {
	for i, list := range s.lists {
		if from.slotted && i&slotted == 0 || from.trial && i < onTrial {
			continue
		}
		if key, e, ok := list.GetOldest(); ok && (!found || e.used < oldest.used) {
			k, oldest, found = key, e, true
		}
	}
	return k, oldest, found
}

// lists says which of a shard's lists count; the zero value: all.
type lists struct{ slotted, trial bool }

// budget is a counter that never passes its limit.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return n == 0
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }
