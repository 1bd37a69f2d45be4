package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Replays remembers on one node which tokens with reuse detection were seen there, until they end. It outlives new keys. Safe
// for concurrent use.
type Replays struct {
	most int

	mu    sync.Mutex // guards the fields below
	seen  map[[sha256.Size]byte]int64
	swept int64 // Unix seconds
}

// NewReplays remembers at most that many, about 60 bytes each. Where it is full, a reuse on this node is not told.
func NewReplays(most int) *Replays {
	return &Replays{most: most, seen: map[[sha256.Size]byte]int64{}}
}

// note notes that a token is seen, and tells whether it was not before.
func (r *Replays) note(sum [sha256.Size]byte, end, now time.Time) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := now.Unix()
	if until, ok := r.seen[sum]; ok && at < until {
		return false
	}
	if len(r.seen) >= r.most && r.swept != at { // once a second at most: it looks at all
		r.swept = at
		for s, until := range r.seen {
			if at >= until {
				delete(r.seen, s)
			}
		}
	}
	if len(r.seen) >= r.most {
		return true
	}
	r.seen[sum] = end.Unix()
	return true
}

// Len is how many are remembered.
func (r *Replays) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}
