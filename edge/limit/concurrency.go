package limit

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// window is the time after which the limit is thought over: an origin's round trip many times over, and short
	// beside a viewer's buffer.
	window = time.Second
	// windowSamples bounds how many latencies of a window are looked at; fewest is how many tell anything.
	windowSamples, fewest = 128, 8
	// tolerance is how many times the usual latency is still no sign of a queue. Netflix's concurrency-limits, which
	// has the same idea, allows 1.5 times a mean; a median over a second moves less.
	tolerance = 2
	// usualGrowth is by what the baseline grows in a window that is slower, while the limit holds nobody back.
	usualGrowth = 1.02
	// probeEvery is after how many windows in which it does the baseline is measured anew, as BBR does with its round trip
	// time: at half of what ran there is no queue, or it is not ours.
	probeEvery = 30
	// DefaultSlow is a latency up to which nobody minds, however fast the upstream is when idle.
	DefaultSlow = 250 * time.Millisecond
	// DefaultLeast is the limit that is never lowered: so much the smallest origin takes.
	DefaultLeast = 64
)

// ConcurrencyOptions configures a Concurrency.
type ConcurrencyOptions struct {
	Most  int           // the limit at the start, and at most; 0: no limit
	Least int           // at least; 0: DefaultLeast, or Most if that is less
	Slow  time.Duration // latencies up to it are fine; 0: DefaultSlow
}

// Concurrency bounds how many fetches run at once.
type Concurrency struct {
	options ConcurrencyOptions
	running atomic.Int64
	limit   atomic.Int64

	mu      sync.Mutex // guards the fields below
	begun   time.Time  // of the window
	peak    int64      // of running in it
	seen    int        // latencies in it
	samples [windowSamples]time.Duration
	usual   time.Duration // the baseline; 0: not known
	held    int           // windows in which the limit was in use since the last probe
	resume  int64         // the limit after the probe that runs; 0: none does
}

// NewConcurrency fills in the defaults.
func NewConcurrency(o ConcurrencyOptions) *Concurrency {
	if o.Least <= 0 {
		o.Least = DefaultLeast
	}
	if o.Most > 0 {
		o.Least = min(o.Least, o.Most)
	}
	if o.Slow <= 0 {
		o.Slow = DefaultSlow
	}
	c := &Concurrency{options: o}
	c.limit.Store(int64(o.Most))
	return c
}

// SetMost changes the bound above the limit, and the limit with it.
func (c *Concurrency) SetMost(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.options.Most
	c.options.Most = most
	if limit := c.limit.Load(); most == 0 || was == 0 || limit > int64(most) || limit == int64(was) {
		c.limit.Store(int64(most))
	}
}

// Enter counts a fetch and returns true, unless so many run that the rest is kept for others: share is the part of the
// limit, up to 1, that is for this kind. Each true needs a Leave.
func (c *Concurrency) Enter(share float64) bool {
	n := c.running.Add(1)
	if limit := c.limit.Load(); limit > 0 && float64(n) > max(share*float64(limit), 1) {
		c.running.Add(-1)
		return false
	}
	return true
}

// Leave takes back one Enter.
func (c *Concurrency) Leave() { c.running.Add(-1) }

// Observe notes how long a fetch took to its first sign of success or failure.
func (c *Concurrency) Observe(latency time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.IsZero() {
		c.begun = now
	}
	c.peak = max(c.peak, c.running.Load())
	c.samples[c.seen%windowSamples] = latency
	c.seen++
	if c.seen >= fewest && now.Sub(c.begun) >= window {
		c.thinkLocked()
		c.begun, c.peak, c.seen = now, 0, 0
	}
}

// thinkLocked moves the limit by what the window has shown.
func (c *Concurrency) thinkLocked() {
	samples := c.samples[:min(c.seen, windowSamples)]
	slices.Sort(samples)
	median := samples[len(samples)/2]
	most, least, limit := int64(c.options.Most), int64(c.options.Least), c.limit.Load()
	if most == 0 {
		c.usual, c.held, c.resume = 0, 0, 0
		return
	}
	if c.resume > 0 {
		c.usual, c.held = median, 0
		c.limit.Store(min(c.resume, most))
		c.resume = 0
		return
	}
	queues := c.usual > 0 && median > max(tolerance*c.usual, c.options.Slow)
	used := c.peak >= limit/2
	switch {
	case c.usual == 0 || median < c.usual:
		c.usual = median
	case !used && !queues:
		c.usual = min(time.Duration(float64(c.usual)*usualGrowth), median)
	}
	if queues {
		limit = max(least, min(limit, c.peak)*4/5)
	} else if used {
		limit = min(most, limit+max(1, limit/10))
	}
	if used || queues {
		c.held++
	}
	if c.held == probeEvery {
		c.resume, limit = limit, max(least, min(limit, c.peak)/2)
	}
	c.limit.Store(limit)
}

// ConcurrencyStats is a snapshot of a Concurrency.
type ConcurrencyStats struct {
	Running int64
	Limit   int64         // 0: none
	Usual   time.Duration // the baseline; 0: not known
}

// Stats reads the numbers one after another.
func (c *Concurrency) Stats() ConcurrencyStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConcurrencyStats{Running: c.running.Load(), Limit: c.limit.Load(), Usual: c.usual}
}
