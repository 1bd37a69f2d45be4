package main

import (
	"math"
	"sync/atomic"
	"time"
)

// Buckets grow by 2^(1/16), 4.4 %: percentiles are no further off than that. The lowest ends at a microsecond, the
// highest at 2^32 µs, 71 minutes.
const (
	bucketsPerOctave = 16
	buckets          = 32*bucketsPerOctave + 1
)

// histogram counts durations in 4 KiB, however many there are. Atomics: safe for concurrent use.
type histogram struct {
	counts [buckets]atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	i := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		i = min(int(math.Ceil(math.Log2(us)*bucketsPerOctave)), buckets-1)
	}
	h.counts[i].Add(1)
}

// count is how many durations there are.
func (h *histogram) count() (n int64) {
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// percentile returns the duration that p (0 to 1) of all do not exceed, 0 when there are none.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(int64(math.Ceil(p*float64(h.count()))), 1)
	for i := range h.counts {
		if rank -= h.counts[i].Load(); rank <= 0 {
			return time.Duration(math.Exp2(float64(i)/bucketsPerOctave) * float64(time.Microsecond))
		}
	}
	return 0
}
