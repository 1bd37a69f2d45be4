package upstream

import (
	"sync"
	"time"
)

// budgetSeconds is how long what is not used stays usable.
const budgetSeconds = 10

// budget bounds how many requests are sent that nobody but we asked for, retries
// and hedges: a share of all requests, and a few each second. An upstream that
// fails under load is not given more of it. Safe for concurrent use; the zero
// value is unusable, see newBudget.
type budget struct {
	share     float64 // tokens for each request
	perSecond float64
	most      float64

	mu      sync.Mutex // guards the fields below
	tokens  float64
	last    time.Time
	spent   uint64
	refused uint64
}

// Budget is what operators see of one.
type Budget struct {
	Left    float64 // requests that may be sent now; less than 1: it is used up
	Spent   uint64  // since the start
	Refused uint64  // requests that were not sent because it was used up
}

// newBudget begins full: a cluster that has just started has its faults too.
func newBudget(share, perSecond, most float64) *budget {
	return &budget{share: share, perSecond: perSecond, most: most, tokens: most}
}

// earn counts a request.
func (b *budget) earn(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fillLocked(now)
	b.tokens = min(b.most, b.tokens+b.share)
}

// spend takes what one more request costs; false: there is nothing left.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fillLocked(now)
	if b.tokens < 1 {
		b.refused++
		return false
	}
	b.tokens--
	b.spent++
	return true
}

func (b *budget) seen(now time.Time) Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fillLocked(now)
	return Budget{Left: b.tokens, Spent: b.spent, Refused: b.refused}
}

func (b *budget) fillLocked(now time.Time) {
	if !b.last.IsZero() && now.After(b.last) {
		b.tokens = min(b.most, b.tokens+b.perSecond*now.Sub(b.last).Seconds())
	}
	b.last = now
}
