package main

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what all viewers saw. Atomics and one mutex per edge: safe for concurrent use.
type tally struct {
	edges     []edgeTally
	startup   histogram
	firstByte histogram

	watching atomic.Int64 // viewers who are there now
	plays    atomic.Int64 // titles begun
	finished atomic.Int64 // titles played to their end
	skipped  atomic.Int64 // live segments that left the window before they were asked for
	longest  atomic.Int64 // nanoseconds of the longest stall, of a viewer's sum in one title
	requests atomic.Int64
	bytes    atomic.Int64
	failures atomic.Int64
}

// edgeTally counts what one edge answered, and what became of the viewers who began at it.
type edgeTally struct {
	requests, bytes atomic.Int64

	viewers   atomic.Int64
	stalled   atomic.Int64 // viewers who stood still
	stalls    atomic.Int64
	stallTime atomic.Int64 // nanoseconds
	failovers atomic.Int64
	lost      atomic.Int64 // viewers who gave up

	mu       sync.Mutex // guards the fields below
	outcomes map[string]int64
	failed   map[string]int64
	oddities map[string]int64
	examples map[string]string // the first text of each failure and oddity
}

func newTally(edges int) *tally {
	t := &tally{edges: make([]edgeTally, edges)}
	for i := range t.edges {
		e := &t.edges[i]
		e.outcomes, e.failed, e.oddities, e.examples = map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]string{}
	}
	return t
}

// got counts a response that is whole.
func (t *tally) got(edge int, a *answer) {
	t.requests.Add(1)
	t.bytes.Add(a.bytes)
	t.firstByte.add(a.firstByte)
	e := &t.edges[edge]
	e.requests.Add(1)
	e.bytes.Add(a.bytes)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outcomes[a.outcome]++
}

// missed counts a request that failed.
func (t *tally) missed(edge int, f *failure) {
	t.requests.Add(1)
	t.failures.Add(1)
	e := &t.edges[edge]
	e.requests.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed[f.kind]++
	e.exampleLocked(f.kind, f.err.Error())
}

// odd counts a promise that a response broke, though a viewer would not notice.
func (t *tally) odd(edge int, kind, text string) {
	e := &t.edges[edge]
	e.mu.Lock()
	defer e.mu.Unlock()
	e.oddities[kind]++
	e.exampleLocked(kind, text)
}

// played takes over what a viewer of an edge saw of one title.
func (t *tally) played(home int, b *buffer, stalledBefore bool) {
	if b.startup > 0 {
		t.startup.add(b.startup)
	}
	if b.stalls == 0 {
		return
	}
	e := &t.edges[home]
	e.stallTime.Add(int64(b.stalled))
	if !stalledBefore {
		e.stalled.Add(1)
	}
	for {
		longest := t.longest.Load()
		if int64(b.stalled) <= longest || t.longest.CompareAndSwap(longest, int64(b.stalled)) {
			return
		}
	}
}

// sum adds one of the counters of all edges.
func (t *tally) sum(of func(*edgeTally) *atomic.Int64) (n int64) {
	for i := range t.edges {
		n += of(&t.edges[i]).Load()
	}
	return n
}

func (e *edgeTally) exampleLocked(kind, text string) {
	if e.examples[kind] == "" {
		e.examples[kind] = text
	}
}

// snapshot copies the maps.
func (e *edgeTally) snapshot() (outcomes, failed, oddities map[string]int64, examples map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.outcomes), maps.Clone(e.failed), maps.Clone(e.oddities), maps.Clone(e.examples)
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
