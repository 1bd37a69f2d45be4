package main

import "time"

const (
	// firstGuess is what a viewer takes the way to be worth, in bits per second, before it has loaded anything.
	firstGuess = 1_000_000
	// safety is the share of the estimate that a variant's peak may take, as hls.js does by default when it goes up.
	safety = 0.7
	// newest is the weight of the newest measurement against all before.
	newest = 0.3
	// tellingBytes is the size from which a transfer says something about throughput rather than latency.
	tellingBytes = 16 << 10
)

// choice says how a viewer chooses its rendition.
type choice string

const (
	auto    choice = "auto"
	highest choice = "highest"
	lowest  choice = "lowest"
)

// throughput estimates what the way to an edge is worth, in bits per second. The zero value has seen nothing.
type throughput float64

// add takes a transfer into account.
func (t *throughput) add(bytes int64, took time.Duration) {
	if bytes < tellingBytes || took <= 0 {
		return
	}
	bits := float64(bytes) * 8 / took.Seconds()
	if *t == 0 {
		*t = throughput(bits)
		return
	}
	*t += throughput(newest * (bits - float64(*t)))
}

// choose returns the index of the variant to play: of those that fit the estimate the one of the highest bandwidth, or
// the lowest of all. There must be a variant.
func (c choice) choose(variants []variant, t throughput) int {
	if t == 0 {
		t = firstGuess / safety
	}
	best := 0
	for i := range variants {
		b, than := variants[i].bandwidth, variants[best].bandwidth
		fits, bestFits := float64(b) <= safety*float64(t), float64(than) <= safety*float64(t)
		better := false
		switch {
		case c == highest || c == auto && fits && bestFits:
			better = b > than
		case c == lowest || !bestFits:
			better = b < than
		}
		if better {
			best = i
		}
	}
	return best
}
