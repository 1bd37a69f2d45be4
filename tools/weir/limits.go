package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/cache"
	"weir/configs"
	"weir/edge"
	"weir/edge/front"
	"weir/edge/limit"
)

// fastStart is how many seconds of a bandwidth are sent at once where the file says nothing else: what players buffer
// before they begin.
const fastStart = 5

// siteLimits is nil where nothing is bounded.
func siteLimits(c *configs.Limits) (*edge.Limits, error) {
	none := configs.Bounds{}
	if c.Client == none && c.Network == none && c.Token == none && c.Site == none {
		return nil, nil
	}
	exempt, err := prefixes(c.Exempt)
	return &edge.Limits{
		Client: siteBounds(&c.Client), Network: siteBounds(&c.Network), Token: siteBounds(&c.Token), Site: siteBounds(&c.Site),
		IPv4Bits: c.IPv4Bits, IPv6Bits: c.IPv6Bits, Exempt: exempt,
	}, err
}

func siteBounds(c *configs.Bounds) edge.Bounds {
	b := edge.Bounds{
		Requests:   limit.Rate{PerSecond: c.Requests, Burst: float64(c.Burst)},
		Bytes:      limit.Rate{PerSecond: float64(c.Bandwidth), Burst: float64(c.BandwidthBurst)},
		Concurrent: c.Concurrent,
	}
	if c.Burst == 0 {
		b.Requests.Burst = b.Requests.PerSecond
	}
	if c.BandwidthBurst == 0 {
		b.Bytes.Burst = fastStart * b.Bytes.PerSecond
	}
	return b
}

const (
	// goShare is the part of node.memory that is the Go runtime's to keep to: the rest is the program itself, which is
	// mapped, and what the kernel keeps for it.
	goShare = 0.85
	// hotShare is the most of it that the hot tier may have: bodies on their way need the other half.
	hotShare = 0.5
	// fetchMemory and requestMemory are what one takes at most, of those that run: buffers, stacks and a connection.
	fetchMemory, requestMemory = 512 << 10, 128 << 10
)

// limitMemory makes the runtime keep to node.memory, and returns what the node is to keep to: the smaller of that and what the
// environment says; 0 for no bound. It is the process's, so only a command with one node calls it.
func limitMemory(c *configs.Config) (memory int64, floor heapFloor) {
	fromEnvironment := debug.SetMemoryLimit(-1)
	memory = min(fromEnvironment, cmp.Or(int64(c.Node.Memory), math.MaxInt64))
	if floor = newHeapFloor(memory); memory == math.MaxInt64 {
		return 0, floor
	}
	bound := fromEnvironment
	if c.Node.Memory > 0 {
		bound = min(bound, int64(goShare*float64(c.Node.Memory)))
	}
	debug.SetMemoryLimit(bound + int64(len(floor)))
	return memory, floor
}

// heapFloor is memory that nobody uses. The runtime collects garbage each time that the heap has doubled, which that of a small
// node, 7 MB, does thirty times a second when it is busy. The floor counts as heap, but is never written to: the kernel has no
// memory for it. It lies as long as somebody has it.
type heapFloor []byte

const (
	// heapFloorBytes let so much garbage gather, too, before it is collected.
	heapFloorBytes = 32 << 20
	// heapFloorShare is the part of a node's memory that this may be.
	heapFloorShare = 1. / 16
)

// newHeapFloor is nil where a node may have little memory, or GOGC in the environment says when to collect.
func newHeapFloor(memory int64) heapFloor {
	if heapFloorShare*float64(memory) < heapFloorBytes || os.Getenv("GOGC") != "" {
		return nil
	}
	return make(heapFloor, heapFloorBytes)
}

// hotBytes is what the hot tier may have.
func hotBytes(c *configs.Config, memory int64) int64 {
	if memory == 0 {
		return int64(c.Cache.Memory)
	}
	return min(int64(c.Cache.Memory), int64(hotShare*float64(memory)))
}

// overloadOptions are those of a configuration on a node that may take so much memory, 0 for no bound, beside the floor.
func overloadOptions(c *configs.Overload, memory int64, floor heapFloor) edge.OverloadOptions {
	o := edge.OverloadOptions{Fetches: c.Fetches, Requests: c.Requests, Delay: c.Delay.D()}
	if most := maxFetches(maxFiles()); o.Fetches == 0 || o.Fetches > most {
		o.Fetches = most
	}
	if memory == 0 {
		return o
	}
	o.Memory = int64(goShare*float64(memory)) + int64(len(floor))
	if most := int(memory / fetchMemory); o.Fetches == 0 || o.Fetches > most {
		o.Fetches = most
	}
	if o.Requests == 0 {
		o.Requests = int(memory / requestMemory)
	}
	return o
}

const (
	// openFiles is what a process may open where it cannot be asked.
	openFiles = 1024
	// From manyFiles on, as many are enough for all but clients' connections that a quarter of them may stay free.
	manyFiles = 16 << 10
	// connectionMemory is what an idle connection takes at most over TCP, with what the kernel keeps for it.
	connectionMemory = 32 << 10
	// filesOfFetch is how many a fetch has open: a connection and what it writes, for as long as it runs.
	filesOfFetch = 2
)

// maxFiles is how many files the process may open.
func maxFiles() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return openFiles
	}
	return int(min(r.Cur, math.MaxInt32))
}

// hotFiles is how many of them the hot tier keeps open.
func hotFiles(files int) int { return max(1, min(files/4, cache.DefaultOpenFiles)) }

// maxFetches is how many fetches there are files for: a quarter of them, as the hot tier has a quarter and connections have
// half.
func maxFetches(files int) int { return max(1, files/4/filesOfFetch) }

// maxConnections is how many connections clients may have where the configuration does not say. What a response is read
// from that is not in the hot tier, what fetches need, and the node's own sockets have the other files.
func maxConnections(files int, memory int64) int {
	most := files / 2
	if files > manyFiles {
		most = files - files/4
	}
	if memory > 0 {
		most = min(most, int(memory/connectionMemory))
	}
	return max(1, most)
}

// connections are those of a configuration.
func connections(c *configs.Connections, files int, memory int64) (front.Connections, error) {
	exempt, err := prefixes(c.Exempt)
	spared, err2 := prefixes(c.PenaltyExempt)
	return front.Connections{
		Total: cmp.Or(c.Total, maxConnections(files, memory)), Client: c.Client, Network: c.Network,
		IPv4Bits: c.IPv4Bits, IPv6Bits: c.IPv6Bits, Exempt: exempt,
		Penalty: time.Duration(c.Penalty), PenaltyExempt: spared,
	}, errors.Join(err, err2)
}

// shedLately is how long after the last request that was turned away operators are told of it.
const shedLately = time.Minute

// overloadProblem says that the node turns requests away, why, and what helps.
func (n *node) overloadProblem(now time.Time, add func(what, why, fix string)) {
	s := n.overload.Stats()
	if now.Sub(s.LastShed) > shedLately {
		return
	}
	why := fmt.Sprintf("%d requests and %d fetches run.", s.Requests, s.Fetches)
	fix := "Send fewer viewers here, or add a node."
	var full []string
	for site, f := range n.edge.Fetches() {
		if f.Limit > 0 && f.Limit < int64(s.Options.Fetches) && f.Running*2 > f.Limit {
			full = append(full, fmt.Sprintf("%s takes %d at once", site, f.Limit))
		}
	}
	switch {
	case s.Options.Memory > 0 && s.Memory*5 > s.Options.Memory*4:
		why += fmt.Sprintf(" %s of %s of memory are in use.", size(s.Memory), size(s.Options.Memory))
		fix = "Raise node.memory, lower cache.memory, or add a node."
	case s.Options.Delay > 0 && s.Delay > s.Options.Delay:
		why += fmt.Sprintf(" What could run waits %s for a processor.", s.Delay.Round(time.Millisecond))
	case len(full) > 0:
		slices.Sort(full)
		why += " By how long it takes to answer, the origin of " + strings.Join(full, ", that of ") + "."
		fix = "Give the origin more capacity; stored content is served meanwhile."
	}
	add("This node turns requests away: it has more to do than it can.", why, fix)
}

// prefixes reads addresses and networks.
func prefixes(texts []string) (list []netip.Prefix, err error) {
	for _, text := range texts {
		prefix, err := configs.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		list = append(list, prefix)
	}
	return list, nil
}

// registerLimitMetrics shows what the limits hold.
func (n *node) registerLimitMetrics() error {
	type table = func(edge.LimitStats) limit.TableStats
	var errs []error
	for kind, of := range map[string]table{
		"requests":  func(s edge.LimitStats) limit.TableStats { return s.Requests },
		"bandwidth": func(s edge.LimitStats) limit.TableStats { return s.Bytes },
	} {
		errs = append(errs,
			n.metrics.Gauge("weir_limit_clients", "Clients, networks, tokens and sites that have used some of a rate and not got it back yet.", func() float64 { return float64(of(n.edge.Limits()).Clients) }, "limit", kind),
			n.metrics.Gauge("weir_limit_clients_max", "The most of them that can be told apart.", func() float64 { return float64(of(n.edge.Limits()).Entries) }, "limit", kind),
			n.metrics.Counter("weir_limit_squeezed_total", "Times that a client had to begin with what another one had left, because too many were there.", func() float64 { return float64(of(n.edge.Limits()).Squeezed) }, "limit", kind),
		)
	}
	for _, m := range []struct {
		name, help string
		read       func(edge.OverloadStats) float64
	}{
		{"weir_overload_pressure", "From 0 to 4: how many of the classes segment_miss, playlist_miss, segment_hit and playlist_hit are turned away, the last in part.", func(s edge.OverloadStats) float64 { return s.Pressure }},
		{"weir_overload_requests", "Requests of clients that run.", func(s edge.OverloadStats) float64 { return float64(s.Requests) }},
		{"weir_overload_requests_limit", "The most of them, 0 for any number.", func(s edge.OverloadStats) float64 { return float64(s.Options.Requests) }},
		{"weir_overload_fetches", "Fetches that run, for clients and other nodes.", func(s edge.OverloadStats) float64 { return float64(s.Fetches) }},
		{"weir_overload_fetches_limit", "The most of them, 0 for any number.", func(s edge.OverloadStats) float64 { return float64(s.Options.Fetches) }},
		{"weir_overload_delay_seconds", "That what comes has waited until it was read, or half of what could run for a processor, in the last tenth of a second.", func(s edge.OverloadStats) float64 { return s.Delay.Seconds() }},
		{"weir_overload_memory_bytes", "Memory in use, without garbage.", func(s edge.OverloadStats) float64 { return float64(s.Memory) }},
		{"weir_overload_memory_limit_bytes", "The most of it, 0 for no bound.", func(s edge.OverloadStats) float64 { return float64(s.Options.Memory) }},
	} {
		errs = append(errs, n.metrics.Gauge(m.name, m.help, func() float64 { return m.read(n.overload.Stats()) }))
	}
	for _, m := range []struct {
		name, help string
		read       func(front.Stats) int64
	}{
		{"weir_front_connections", "Connections of clients, those included whose handshake is not over.", func(s front.Stats) int64 { return s.Connections }},
		{"weir_front_connections_limit", "The most of them.", func(s front.Stats) int64 { return s.ConnectionsLimit }},
	} {
		errs = append(errs, n.metrics.Gauge(m.name, m.help, func() float64 { return float64(m.read(n.public.Stats())) }))
	}
	return errors.Join(append(errs,
		n.metrics.Counter("weir_front_connections_gave_way_total", "Idle connections that were closed for others, because all were there.", func() float64 { return float64(n.public.Stats().ConnectionsGaveWay) }),
		n.metrics.Counter("weir_front_penalties_total", "Times that a client or a network that floods got no new connection for a while.", func() float64 { return float64(n.public.Stats().Penalties) }),
		n.metrics.Counter("weir_front_accept_errors_total", "Times that the system had no descriptor, or no memory, for a connection, or that one was in error.", func() float64 { return float64(n.public.Stats().AcceptErrors) }),
		n.metrics.Gauge("weir_limit_running", "Requests that count for a limit of how many may run at once, once for each such limit.", func() float64 { return float64(n.edge.Limits().Running) }))...)
}
