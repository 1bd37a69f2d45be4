package edge

import (
	"encoding/binary"
	"sync"

	"weir/cache"
)

const (
	sightingBits = 1 << 20 // of one generation: 128 KiB
	sightingsMax = 1 << 17 // keys of one generation; with two bits each, 1 in 20 is taken for another one at most
	sightingMask = sightingBits - 1
)

// sightings remembers which keys were fetched from their owners lately: what is
// asked for a second time here is worth a copy of our own, what is not would only
// take room that the cluster has once already. Two generations of a Bloom filter:
// between 131,072 and 262,144 keys. Safe for concurrent use.
type sightings struct {
	mu       sync.Mutex // guards the fields below
	young    []uint64
	old      []uint64
	recorded int // in young
}

// again tells whether the key was recorded lately, and records it.
func (s *sightings) again(id cache.ID) bool {
	a, b := binary.BigEndian.Uint32(id[:]), binary.BigEndian.Uint32(id[8:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil {
		s.young, s.old = make([]uint64, sightingBits/64), make([]uint64, sightingBits/64)
	}
	seen := has(s.young, a, b)
	if !seen {
		seen = has(s.old, a, b)
		if s.recorded++; s.recorded > sightingsMax {
			s.young, s.old, s.recorded = s.old, s.young, 1
			clear(s.young)
		}
		for _, h := range [...]uint32{a, b} {
			s.young[h&sightingMask/64] |= 1 << (h % 64)
		}
	}
	return seen
}

func has(bits []uint64, a, b uint32) bool {
	return bits[a&sightingMask/64]&(1<<(a%64)) != 0 && bits[b&sightingMask/64]&(1<<(b%64)) != 0
}
