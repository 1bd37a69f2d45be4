package policy

import (
	"cmp"
	"iter"
	"slices"
)

// All returns what is in the index at the time of the call, the least recently used first. It holds one shard's lock at a
// time, so what is put in or taken out meanwhile may be in it or not; everything else is in it once.
func (l *LRU[K, V]) All() iter.Seq[Item[K, V]] {
	type aged struct {
		item Item[K, V]
		used uint64
	}
	all := make([]aged, 0, l.Len())
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, list := range s.lists {
			for _, k := range list.Keys() {
				if e, ok := list.Peek(k); ok {
					all = append(all, aged{Item[K, V]{Key: k, Value: e.value, Cost: e.cost}, e.used})
				}
			}
		}
		s.mu.Unlock()
	}
	slices.SortStableFunc(all, func(a, b aged) int { return cmp.Compare(a.used, b.used) })
	return func(yield func(Item[K, V]) bool) {
		for _, a := range all {
			if !yield(a.item) {
				return
			}
		}
	}
}

// Cost returns what k takes, and whether it is there.
func (l *LRU[K, V]) Cost(k K) (Cost, bool) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.lists {
		if e, ok := list.Peek(k); ok {
			return e.cost, true
		}
	}
	return Cost{}, false
}
