package edge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/edge/field"
	"weir/edge/limit"
	"weir/edge/upstream"
)

// OverloadOptions configures an [Overload]. What is 0 does not count.
type OverloadOptions struct {
	Fetches  int           // the most fetches at once; each site's are adapted below that to what its upstreams take
	Requests int           // the most requests of clients at once
	Delay    time.Duration // how long what comes may wait until it is read, or half of what could run for a processor
	Memory   int64         // the bytes that the process may have

	// Sockets says that clients come through the system's sockets: how long what they send waits there counts as Delay. It is
	// looked at when Run begins.
	Sockets bool

	// Signals reads the delay of the last limit.Step and the memory in use; nil: the runtime's.
	Signals func() (delay time.Duration, memory int64)
}

// Overload decides which clients' requests to turn away when this node, or what is behind it, cannot answer all. Safe for
// concurrent use.
type Overload struct {
	options  atomic.Pointer[OverloadOptions]
	signals  func() (delay time.Duration, memory int64)
	fetches  atomic.Int64 // running, of all sites
	pressure limit.Pressure
	requests atomic.Int64
	delay    atomic.Int64 // the last that was read, nanoseconds
	memory   atomic.Int64
	shed     atomic.Int64 // the last time that a request was, Unix seconds
}

// NewOverload starts nothing.
func NewOverload(o OverloadOptions) *Overload {
	v := &Overload{signals: o.Signals}
	if v.signals == nil {
		v.signals = newRuntimeSignals().read
	}
	v.options.Store(&o)
	return v
}

// Set replaces the options, but for Signals, for what comes from now on; Fetches of each site counts from the next
// Edge.SetSites on.
func (v *Overload) Set(o OverloadOptions) { v.options.Store(&o) }

// Run reads the signals until ctx ends. Its error is nil.
func (v *Overload) Run(ctx context.Context) error {
	line := &queueProbe{}
	if v.options.Load().Sockets {
		if err := line.open(); err != nil {
			return fmt.Errorf("edge: measure the delay: %w", err)
		}
		var answering sync.WaitGroup
		answering.Go(line.answer)
		defer answering.Wait()
		defer line.close()
	}
	tick := time.NewTicker(limit.Step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		o := v.options.Load()
		delay, memory := v.signals()
		delay = max(delay, line.ask(time.Now()))
		v.delay.Store(int64(delay))
		v.memory.Store(memory)
		v.pressure.Update(limit.Signals{Delay: delay, Target: o.Delay, Memory: memory, MemoryLimit: o.Memory})
	}
}

// room is the part of the bounds on requests and fetches that a class may fill: what is left is for the classes above it.
func room(c limit.Class) float64 {
	return [limit.Classes]float64{0.7, 0.8, 0.9, 1}[c]
}

// admits tells whether a request of that class may go on, by all but the number of fetches.
//
// Hot path: three atomic loads.
func (v *Overload) admits(c limit.Class) bool {
	most := v.options.Load().Requests
	if most > 0 && float64(v.requests.Load()) > room(c)*float64(most) {
		return false
	}
	return v.pressure.Value() == 0 || !v.pressure.Sheds(c, rand.Float64()) //nolint:gosec // whom it hits need not be a secret
}

// class is what a request is worth.
func (x *Exchange) class(hit bool) limit.Class {
	switch playlist := isPlaylist(x.Target.Path); {
	case hit && playlist:
		return limit.PlaylistHit
	case hit:
		return limit.SegmentHit
	case playlist:
		return limit.PlaylistMiss
	}
	return limit.SegmentMiss
}

// arrive counts a client's request as running until depart.
func (e *Edge) arrive(x *Exchange) {
	if v := e.options.Overload; v != nil && !x.Peer {
		v.requests.Add(1)
	}
}

func (e *Edge) depart(x *Exchange) {
	if v := e.options.Overload; v != nil && !x.Peer {
		v.requests.Add(-1)
	}
}

// overloaded answers 503 to a request that can be met from the cache, or from a fetch that runs, where the node has too many
// of its class.
func (e *Edge) overloaded(x *Exchange) bool {
	if v := e.options.Overload; v == nil || x.Peer || v.admits(x.class(true)) {
		return false
	}
	e.shed(x, x.class(true))
	return true
}

// errOverload ends a fill that was not begun.
var errOverload = errors.New("edge: overloaded")

// beginFetch counts a fetch for a request as running until endFetch, or returns false where there are too many. What another
// node asks for counts and is never too many: the node that its client asked has admitted it.
func (e *Edge) beginFetch(x *Exchange) bool {
	v := e.options.Overload
	if v == nil {
		return true
	}
	if share, most := math.Inf(1), v.options.Load().Fetches; !x.Peer {
		c := x.class(false)
		share = min(1, room(c)+0.2) // segments 0.9, playlists all
		if !v.admits(c) || most > 0 && float64(v.fetches.Load()) >= share*float64(most) || !x.site.fetches.Enter(share) {
			return false
		}
	} else {
		x.site.fetches.Enter(share)
	}
	v.fetches.Add(1)
	return true
}

func (e *Edge) endFetch(site *Site) {
	if v := e.options.Overload; v != nil {
		v.fetches.Add(-1)
		site.fetches.Leave()
	}
}

// useFetches gives each site its bound of fetches: that of before, where it has the same origin.
func (e *Edge) useFetches(s *Sites) {
	if e.options.Overload == nil {
		return
	}
	most := e.options.Overload.options.Load().Fetches
	known := map[*upstream.Group]*limit.Concurrency{}
	if before := e.sites.Load(); before != nil {
		for _, site := range before.list {
			known[site.Origin] = site.fetches
		}
	}
	for _, site := range s.list {
		if known[site.Origin] == nil {
			known[site.Origin] = limit.NewConcurrency(limit.ConcurrencyOptions{Most: most})
		}
		known[site.Origin].SetMost(most)
		if site.fetches == nil {
			site.fetches = known[site.Origin]
		}
	}
}

// tookFetch notes how long an upstream took to answer. What it holds back on purpose tells nothing.
func (e *Edge) tookFetch(f *flight, begun time.Time) {
	if e.options.Overload != nil && !strings.Contains(f.target.Query, "_HLS_msn=") {
		now := time.Now()
		f.site.fetches.Observe(now.Sub(begun), now)
	}
}

// Retry-After of a request that was shed is from firstRetry to lastRetry, at random: who was turned away together must not
// come back together.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Second
)

// shed turns a request away.
func (e *Edge) shed(x *Exchange, c limit.Class) {
	e.options.Overload.shed.Store(x.Start.Unix())
	e.refuse(x, &refusal{
		status: http.StatusServiceUnavailable, reason: shedReason(c), kind: field.ErrorConnectionLimitReached,
		text:  "this node has more to do than it can: try again later",
		retry: firstRetry + time.Duration(rand.Int64N(int64(lastRetry-firstRetry))), //nolint:gosec // as above
	})
}

func shedReason(c limit.Class) string {
	return [limit.Classes]string{"overload-segment-miss", "overload-playlist-miss", "overload-segment-hit", "overload-playlist-hit"}[c]
}

// OverloadStats is a snapshot of an Overload.
type OverloadStats struct {
	Pressure float64         // from 0 to 4, see limit.Pressure
	Requests int64           // of clients, running
	Fetches  int64           // running, for clients and other nodes
	Delay    time.Duration   // in the last Step
	Memory   int64           // in use, of MemoryLimit
	LastShed time.Time       // to the second; zero: never
	Options  OverloadOptions // in use
}

// Stats reads the numbers one after another.
func (v *Overload) Stats() OverloadStats {
	s := OverloadStats{
		Pressure: v.pressure.Value(), Requests: v.requests.Load(), Fetches: v.fetches.Load(),
		Delay: time.Duration(v.delay.Load()), Memory: v.memory.Load(), Options: *v.options.Load(),
	}
	if last := v.shed.Load(); last > 0 {
		s.LastShed = time.Unix(last, 0)
	}
	return s
}

// Fetches returns the bound of fetches of each site, by its first host; empty without an Overload.
func (e *Edge) Fetches() map[string]limit.ConcurrencyStats {
	all := map[string]limit.ConcurrencyStats{}
	for _, site := range e.sites.Load().list {
		if site.fetches != nil {
			all[site.Hosts[0]] = site.fetches.Stats()
		}
	}
	return all
}

// runtimeSignals reads what the Go runtime measures.
type runtimeSignals struct {
	mu      sync.Mutex // guards the fields below
	samples []metrics.Sample
	before  []uint64 // counts of the histogram of delays at the last read
}

// The metrics that are read, in this order.
const (
	sampleDelays = iota
	sampleTotal
	sampleReleased
	sampleFree
	sampleObjects
	sampleLive
	samples
)

func newRuntimeSignals() *runtimeSignals {
	s := &runtimeSignals{samples: make([]metrics.Sample, samples)}
	for i, name := range [samples]string{
		"/sched/latencies:seconds", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes",
		"/memory/classes/heap/objects:bytes", "/gc/heap/live:bytes",
	} {
		s.samples[i].Name = name
	}
	return s
}

// read returns the median of what goroutines waited for a processor since the last call, and what the process would have of
// memory if all that is garbage were given back: near its limit the runtime collects so often that this is of just now.
func (s *runtimeSignals) read() (delay time.Duration, memory int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	metrics.Read(s.samples)
	size := func(i int) int64 { return int64(s.samples[i].Value.Uint64()) }
	memory = size(sampleTotal) - size(sampleReleased) - size(sampleFree)
	if garbage := size(sampleObjects) - size(sampleLive); garbage > 0 && size(sampleLive) > 0 {
		memory -= garbage
	}
	h := s.samples[sampleDelays].Value.Float64Histogram()
	if s.before == nil {
		s.before = make([]uint64, len(h.Counts))
	}
	total := uint64(0)
	for i, n := range h.Counts {
		total += n - s.before[i]
	}
	seen := uint64(0)
	for i, n := range h.Counts {
		seen += n - s.before[i]
		if seen*2 > total && delay == 0 {
			delay = time.Duration(max(h.Buckets[i], 0) * float64(time.Second)) // the bucket's lower end: no wait is overstated
			break
		}
	}
	copy(s.before, h.Counts)
	return delay, memory
}
