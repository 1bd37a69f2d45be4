package upstream

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	failuresToOpen = 5                // consecutive failures that open a breaker
	windowFewest   = 20               // requests in the window that its share of failures is judged from
	windowSeconds  = 10               // length of the window
	firstOpen      = 5 * time.Second  // how long a breaker is open the first time; each further time twice as long
	longestOpen    = 60 * time.Second // up to this
	openJitter     = 0.2              // share by which that varies, so that nodes do not come back in step
	probeFor       = 10 * time.Second // how long one probe keeps others back, should nobody hear of it
)

// breaker leaves an upstream out that keeps failing: after five failures in a
// row, or when more than half of at least 20 requests in ten seconds failed. When
// its time is over one request probes; what becomes of it closes the breaker or
// opens it for longer. Safe for concurrent use.
type breaker struct {
	mu      sync.Mutex // guards the fields below
	row     int        // failures in a row
	window  [windowSeconds]second
	until   time.Time // open before it; zero: closed
	opened  int       // times in a row, without a good probe between them
	times   int       // that it opened at all
	probe   time.Time // a probe runs until then at most; zero: none
	lastErr string
	p95     quantile // of the time to the first sign of life
}

// second counts what ended within one.
type second struct {
	at        int64
	good, bad int
}

// usable tells whether the upstream may be asked.
func (b *breaker) usable(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.IsZero() || !now.Before(b.until) && !now.Before(b.probe)
}

// begin tells that it is asked: the first time after a breaker was open, that is
// the probe.
func (b *breaker) begin(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() && !now.Before(b.until) {
		b.probe = now.Add(probeFor)
	}
}

// good records a response, and how long its first sign of life took.
func (b *breaker) good(sign time.Duration, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot(now).good++
	b.row, b.opened, b.lastErr = 0, 0, ""
	b.until, b.probe = time.Time{}, time.Time{}
	b.p95.add(sign)
}

// bad records a failure.
func (b *breaker) bad(why string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot(now).bad++
	b.row++
	b.lastErr = why
	probed := now.Before(b.probe)
	b.probe = time.Time{}
	if now.Before(b.until) { // asked before it opened, or because there is no other
		return
	}
	if !probed && b.row < failuresToOpen && !b.mostFailLocked(now) {
		return
	}
	open := min(firstOpen<<min(b.opened, 8), longestOpen)
	b.opened++
	b.times++
	b.until = now.Add(time.Duration(float64(open) * (1 - openJitter + 2*openJitter*rand.Float64()))) //nolint:gosec // not a secret
}

func (b *breaker) mostFailLocked(now time.Time) bool {
	good, bad := 0, 0
	for _, s := range b.window {
		if now.Unix()-s.at < windowSeconds {
			good, bad = good+s.good, bad+s.bad
		}
	}
	return good+bad >= windowFewest && bad > good
}

// slot is the second of now; the caller has the lock.
func (b *breaker) slot(now time.Time) *second {
	at := now.Unix()
	s := &b.window[uint64(at)%windowSeconds]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

// BreakerState is what a breaker does with requests.
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed  BreakerState = "closed"  // they go there
	BreakerOpen    BreakerState = "open"    // they go elsewhere
	BreakerProbing BreakerState = "probing" // its time is over: the next one goes there, and the others when that is answered
)

// Breaker is what operators see of one.
type Breaker struct {
	State  BreakerState
	Until  time.Time // that it is open; zero where State is not BreakerOpen
	Opened int       // times since it is known
}

// seen is the breaker, and why the last request failed, "" after a good one.
func (b *breaker) seen(now time.Time) (s Breaker, lastErr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s = Breaker{State: BreakerClosed, Opened: b.times}
	switch {
	case b.until.IsZero():
	case now.Before(b.until):
		s.State, s.Until = BreakerOpen, b.until
	default:
		s.State = BreakerProbing
	}
	return s, b.lastErr
}

// state tells whether the last request was good and the breaker is closed.
func (b *breaker) state(now time.Time) (ok bool, lastErr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row == 0 && !now.Before(b.until), b.lastErr
}

// slow is how long nothing is heard of 1 in 20 requests; 0 while too little is known.
func (b *breaker) slow() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.p95.value()
}

const (
	quantileOf     = 0.95
	quantileStep   = 0.1 // how far one sample moves the estimate at most, as a share of it
	quantileFewest = 8   // samples before the estimate counts
)

// quantile follows the 95th percentile of a stream of durations without keeping
// them: a sample above the estimate raises it 19 times as far as one below lowers
// it, so that it rests where 1 in 20 lies above.
type quantile struct {
	estimate float64
	samples  int
}

func (q *quantile) add(d time.Duration) {
	x := max(float64(d), float64(100*time.Microsecond))
	q.samples++
	switch {
	case q.samples <= quantileFewest:
		q.estimate = max(q.estimate, x)
	case x > q.estimate:
		q.estimate *= 1 + quantileStep*quantileOf
	default:
		q.estimate *= 1 - quantileStep*(1-quantileOf)
	}
}

func (q *quantile) value() time.Duration {
	if q.samples < quantileFewest {
		return 0
	}
	return time.Duration(q.estimate)
}
