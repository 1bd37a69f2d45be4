package token

import (
	"hash/maphash"
	"strings"
	"sync"
)

// memo remembers what good tokens say, so that a signature is checked once and not for each segment. What is found there
// may have expired since: callers look.
//
// Each shard has two generations; a new one begins when the young one is full, and what the old one then holds is
// forgotten. So it is bounded, tokens in use stay, and only good ones get in: a flood of bad ones throws nobody out.
// Safe for concurrent use by sharded mutexes.
type memo[V any] struct {
	seed   maphash.Seed
	most   int // of a generation of a shard
	shards [memoShards]memoShard[V]
}

// memoKey is a token, and what else its signature depends on.
type memoKey [3]string

const memoShards = 16

type memoShard[V any] struct {
	mu         sync.Mutex // guards the fields below
	young, old map[memoKey]V
}

// newMemo makes one for about that many tokens.
func newMemo[V any](tokens int) *memo[V] {
	m := &memo[V]{seed: maphash.MakeSeed(), most: max(tokens/memoShards/2, 1)}
	for i := range m.shards {
		m.shards[i].young = map[memoKey]V{}
	}
	return m
}

// get finds what was put there for key. Hot path: no allocation, but that of a young generation's growth.
func (m *memo[V]) get(key memoKey) (V, bool) {
	s := m.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.young[key]; ok {
		return v, true
	}
	v, ok := s.old[key]
	if ok {
		s.putLocked(key.clone(), v, m.most) // a key is a piece of its request, which is not to stay
	}
	return v, ok
}

// put keeps v for key.
func (m *memo[V]) put(key memoKey, v V) {
	s := m.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(key.clone(), v, m.most)
}

func (m *memo[V]) shard(key *memoKey) *memoShard[V] {
	return &m.shards[maphash.String(m.seed, key[0])%memoShards]
}

func (k memoKey) clone() memoKey {
	for i := range k {
		k[i] = strings.Clone(k[i])
	}
	return k
}

func (s *memoShard[V]) putLocked(key memoKey, v V, most int) {
	if len(s.young) >= most {
		s.young, s.old = make(map[memoKey]V, most), s.young
	}
	s.young[key] = v
}
