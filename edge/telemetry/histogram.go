package telemetry

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// firstBound is the exponent of the lowest bound, 2^-13 s = 122 µs: below it lies only what no viewer can notice.
	firstBound = -13
	// bounds is the number of bounds; the highest is 2^6 s = 64 s, twice the longest time-out.
	bounds = 2*(6-firstBound) + 1
)

// boundSeconds returns the upper bound of bucket i: 2^(firstBound + i/2) seconds.
func boundSeconds(i int) float64 {
	bound := math.Ldexp(1, firstBound+i/2)
	if i%2 == 1 {
		bound *= math.Sqrt2
	}
	return bound
}

// scaleOfBounds holds the bounds in nanoseconds, for integer comparison.
type scaleOfBounds [bounds]time.Duration

func newScale() *scaleOfBounds {
	var s scaleOfBounds
	for i := range s {
		s[i] = time.Duration(boundSeconds(i) * float64(time.Second))
	}
	return &s
}

// bucket returns the first bucket whose bound is not below d; bounds means above all. Hot path: six comparisons.
func (s *scaleOfBounds) bucket(d time.Duration) int {
	low, high := 0, bounds
	for low < high {
		middle := (low + high) / 2
		if s[middle] < d {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// histogram counts durations. Atomics: safe for concurrent use.
type histogram struct {
	counts [bounds + 1]atomic.Uint64 // by bucket, the last one above all bounds
	nanos  atomic.Int64              // sum; 292 years of request time
}

// observe counts d. Hot path: two atomic adds, no allocation.
func (h *histogram) observe(s *scaleOfBounds, d time.Duration) {
	d = max(d, 0)
	h.counts[s.bucket(d)].Add(1)
	h.nanos.Add(int64(d))
}

// addTo adds the counts of h to sums.
func (h *histogram) addTo(sums *[bounds + 1]uint64) {
	for i := range h.counts {
		sums[i] += h.counts[i].Load()
	}
}

// cumulative returns what Prometheus wants: count, sum in seconds, and cumulative counts at every power of two.
func (h *histogram) cumulative() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, bounds/2+1)
	for i := range h.counts {
		count += h.counts[i].Load()
		if i < bounds && i%2 == 0 {
			buckets[boundSeconds(i)] = count
		}
	}
	return count, time.Duration(h.nanos.Load()).Seconds(), buckets
}
