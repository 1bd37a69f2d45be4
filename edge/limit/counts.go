package limit

import (
	"sync"
	"sync/atomic"
)

// Counts counts what runs at once, for each key. It has an entry for each key of which something runs, so what bounds the
// running bounds it. The zero value is ready. Shards with a mutex each.
type Counts struct {
	shards  [tableShards]countShard
	running atomic.Int64
}

type countShard struct {
	mu   sync.Mutex // guards the field below
	runs map[Key]int
}

// Enter counts one more of k and returns true, unless most run already. Each true needs a Leave.
//
// Hot path: a lock, and no allocation but for what the map grows by.
func (c *Counts) Enter(k Key, most int) bool {
	s := &c.shards[uint64(k)%tableShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.runs[k]
	if n >= most {
		return false
	}
	if s.runs == nil {
		s.runs = map[Key]int{}
	}
	s.runs[k] = n + 1
	c.running.Add(1)
	return true
}

// Leave takes back one Enter.
func (c *Counts) Leave(k Key) {
	s := &c.shards[uint64(k)%tableShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.runs[k]; n > 1 {
		s.runs[k] = n - 1
	} else {
		delete(s.runs, k)
	}
	c.running.Add(-1)
}

// Running is how many have entered and not left, of all keys.
func (c *Counts) Running() int64 { return c.running.Load() }
