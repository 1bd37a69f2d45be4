package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Replays remembers on one node what was seen there, until it ends: tokens with reuse detection, proofs of possession. It
// outlives new keys. Safe for concurrent use.
type Replays struct {
	most int

	mu    sync.Mutex // guards the fields below
	seen  map[[sha256.Size]byte]int64
	swept int64 // Unix seconds
}

// NewReplays remembers at most that many, about 60 bytes each. Where it is full, a reuse is not told, and a proof is
// refused: one that is forgotten could be used again.
func NewReplays(most int) *Replays {
	return &Replays{most: most, seen: map[[sha256.Size]byte]int64{}}
}

// note notes that something is seen; first tells that it was not before, room that it could be noted.
func (r *Replays) note(sum [sha256.Size]byte, end, now time.Time) (first, room bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := now.Unix()
	if until, ok := r.seen[sum]; ok && at < until {
		return false, true
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
		return true, false
	}
	r.seen[sum] = end.Unix()
	return true, true
}

// Len is how many are remembered.
func (r *Replays) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}
