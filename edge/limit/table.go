package limit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Rate is how much may pass: PerSecond in the long run, Burst at once after a rest. The zero value bounds nothing.
type Rate struct {
	PerSecond float64
	Burst     float64 // less than what is asked for at once counts as that much
}

// On tells whether the rate bounds anything.
func (r Rate) On() bool { return r.PerSecond > 0 }

// Key names whom something is counted for, by a hash: two of them are one with a probability of 2^-64.
type Key uint64

// Keys makes Keys. The seed is of the process, so that nobody outside can tell which names collide.
type Keys struct{ Seed maphash.Seed }

// Addr is the key of the network of addr with so many bits, within a space, such as a site and a kind of limit.
//
// Hot path: no allocation.
func (k Keys) Addr(space Key, addr netip.Addr, bits int) Key {
	var name [8 + 16 + 1]byte
	binary.LittleEndian.PutUint64(name[:], uint64(space))
	network, err := addr.Prefix(bits)
	if err == nil {
		addr = network.Addr()
	}
	wide := addr.As16()
	copy(name[8:], wide[:])
	name[24] = byte(bits)
	return Key(maphash.Bytes(k.Seed, name[:]))
}

// Text is the key of a name within a space.
//
// Hot path: no allocation.
func (k Keys) Text(space Key, name string) Key {
	var pair [16]byte
	binary.LittleEndian.PutUint64(pair[:], uint64(space))
	binary.LittleEndian.PutUint64(pair[8:], maphash.String(k.Seed, name))
	return Key(maphash.Bytes(k.Seed, pair[:]))
}

const (
	tableShards = 64
	ways        = 8 // places where one key may be

	// DefaultEntries is the size of a Table: 1 MiB. Those are clients that have asked within the time in which
	// their bucket fills, a second or a few, not all that there are.
	DefaultEntries = 1 << 16
)

// Table keeps what is left of the rates of many clients. Its size is fixed; see the package for what happens when it is
// full. Shards with a mutex each.
type Table struct {
	epoch    time.Time
	shards   [tableShards]tableShard
	squeezed atomic.Int64
}

type tableShard struct {
	mu   sync.Mutex // guards the field below
	sets [][ways]entry
	_    [64]byte // to the next line of the processor's cache
}

// entry is one client. The zero value is a free place.
type entry struct {
	key  Key
	full int64 // when its bucket is full again, nanoseconds from the table's epoch
}

// NewTable makes a Table for so many clients, rounded up; 0 means DefaultEntries. now is the earliest time that its methods
// are called with.
func NewTable(entries int, now time.Time) *Table {
	if entries <= 0 {
		entries = DefaultEntries
	}
	t := &Table{epoch: now}
	for i := range t.shards {
		t.shards[i].sets = make([][ways]entry, (entries+tableShards*ways-1)/(tableShards*ways))
	}
	return t
}

// Take takes n at rate r, or says how long it is until that may be had and takes nothing. 0: it is taken.
//
// Hot path: a lock and no allocation.
func (t *Table) Take(k Key, n float64, r Rate, now time.Time) (wait time.Duration) {
	return t.charge(k, n, r, now, false)
}

// Reserve takes n at rate r in any case, and returns how long to wait before it is used.
//
// Hot path: a lock and no allocation.
func (t *Table) Reserve(k Key, n float64, r Rate, now time.Time) (wait time.Duration) {
	return t.charge(k, n, r, now, true)
}

// Refund gives back of what Reserve took the n that were not used. The bucket is full at most, and a client that has lost its
// place gets nothing: its debt went with it.
//
// Hot path: a lock and no allocation.
func (t *Table) Refund(k Key, n float64, r Rate, now time.Time) {
	if !r.On() {
		return
	}
	at := int64(now.Sub(t.epoch))
	s := &t.shards[uint64(k)%tableShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.findLocked(k, at); e.key == k && e.full > at {
		e.full = max(e.full-int64(n*float64(time.Second)/r.PerSecond), at)
	}
}

func (t *Table) charge(k Key, n float64, r Rate, now time.Time, always bool) (wait time.Duration) {
	if !r.On() {
		return 0
	}
	at := int64(now.Sub(t.epoch))
	nanos := float64(time.Second) / r.PerSecond // for one
	burst := int64(max(r.Burst, n) * nanos)
	s := &t.shards[uint64(k)%tableShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.findLocked(k, at)
	if e.key != k {
		if e.full > at {
			t.squeezed.Add(1)
		}
		e.key, e.full = k, min(e.full, at+burst) // another one's debt counts as an empty bucket at most
	}
	full := max(e.full, at) + int64(n*nanos)
	if wait = time.Duration(full - at - burst); wait > 0 && !always {
		return wait
	}
	e.full = full
	return max(wait, 0)
}

// findLocked returns the place of k, or the one that k is to have: a full bucket's, or that which is full soonest.
func (s *tableShard) findLocked(k Key, at int64) *entry {
	set := &s.sets[uint64(k)/tableShards%uint64(len(s.sets))]
	least := &set[0]
	for i := range set {
		e := &set[i]
		if e.key == k {
			return e
		}
		if max(e.full, at) < max(least.full, at) {
			least = e
		}
	}
	return least
}

// TableStats is a snapshot of a Table.
type TableStats struct {
	Clients  int   // whose bucket is not full now
	Entries  int   // the most that there can be
	Squeezed int64 // times that a client had to take another one's place, and what that had left
}

// Stats looks at every entry.
func (t *Table) Stats(now time.Time) TableStats {
	at := int64(now.Sub(t.epoch))
	out := TableStats{Squeezed: t.squeezed.Load()}
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for j := range s.sets {
			for _, e := range s.sets[j] {
				if e.full > at {
					out.Clients++
				}
			}
		}
		out.Entries += len(s.sets) * ways
		s.mu.Unlock()
	}
	return out
}
