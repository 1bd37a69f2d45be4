package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Replays remembers which one-time tokens were used, until they end. It is exact on its node, and outlives new keys; other
// nodes do not know of it. Safe for concurrent use.
type Replays struct {
	most int

	mu    sync.Mutex // guards the fields below
	used  map[[sha256.Size]byte]int64
	swept int64 // Unix seconds
}

// NewReplays remembers at most that many tokens. Where it is full, one-time tokens are refused: one that is forgotten could
// be used again.
func NewReplays(most int) *Replays {
	return &Replays{most: most, used: map[[sha256.Size]byte]int64{}}
}

// use notes that a token was used; first tells that it was not before, room that it could be noted.
func (r *Replays) use(sum [sha256.Size]byte, end, now time.Time) (first, room bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := now.Unix()
	if until, ok := r.used[sum]; ok && at < until {
		return false, true
	}
	if len(r.used) >= r.most && r.swept != at { // once a second at most: it looks at all
		r.swept = at
		for s, until := range r.used {
			if at >= until {
				delete(r.used, s)
			}
		}
	}
	if len(r.used) >= r.most {
		return true, false
	}
	r.used[sum] = end.Unix()
	return true, true
}

// Len is how many are remembered.
func (r *Replays) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.used)
}
