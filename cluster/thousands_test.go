package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What memberlist does with its configuration, as its util.go and config.go have it.
const (
	retransmitMult    = 4    // transmissions of one change by one node, by the logarithm of the pool's size
	packetBytes       = 1400 // of changes in one packet
	pushPullThreshold = 32   // nodes, above which full exchanges become rarer
	memberBytes       = 80   // of a member's entry in a full exchange beside what it says of itself: names of fields, name, address, state
)

// pool is what gossip costs in a pool of so many nodes with default timers.
type pool struct {
	nodes int
	wan   bool
}

func (p pool) options() Options {
	o := Options{WAN: p.wan}
	o.defaults()
	return o
}

// entryBytes is a member in a full exchange, or in a packet.
func (p pool) entryBytes() int {
	typical := meta{
		Weight: 1, Role: RoleEdge, Zone: "eu-west-1a", Region: "eu-west-1", Peer: "10.123.123.123:7443", HTTP: "203.0.113.123:80", HTTPS: "203.0.113.123:443", Build: "v1.12.3",
	}
	return memberBytes + len(typical.encode())
}

func (p pool) transmissions() int {
	return retransmitMult * int(math.Ceil(math.Log10(float64(p.nodes+1))))
}

// missed is the mean time until a dead member is off the rings: somebody checks it (SWIM: e/(e-1) intervals),
// suspects it, and declares it dead.
func (p pool) missed() time.Duration {
	o := p.options()
	suspicion := float64(o.SuspicionMult) * max(1, math.Log10(float64(p.nodes)))
	return time.Duration((math.E/(math.E-1) + suspicion) * float64(o.ProbeInterval))
}

func (p pool) pushPull() time.Duration {
	d := p.options().PushPullInterval
	if p.nodes > pushPullThreshold {
		d *= time.Duration(math.Ceil(math.Log2(float64(p.nodes)/pushPullThreshold)) + 1)
	}
	return d
}

// changesPerSecond is how many changes of members a node passes on at most.
func (p pool) changesPerSecond() float64 {
	o := p.options()
	packets := float64(o.GossipNodes) / o.GossipInterval.Seconds()
	return packets * float64(packetBytes/p.entryBytes()) / float64(p.transmissions())
}

// packetsPerSecond is what a node sends: always, and while there is news.
func (p pool) packetsPerSecond() (always, news float64) {
	o := p.options()
	return 2 / o.ProbeInterval.Seconds(), float64(o.GossipNodes) / o.GossipInterval.Seconds() // a check and an answer to one
}

// row is a line of the table in doc.go.
func (p pool) row(name string) string {
	always, news := p.packetsPerSecond()
	state := float64(p.nodes * p.entryBytes())
	return fmt.Sprintf("//	%-24s %6.0f %6.0f %6.1f s %7.0f KB %6.0f s %7.1f KB/s %6.0f",
		name, always, news, p.missed().Seconds(), state/1000, p.pushPull().Seconds(), 2*state/1000/p.pushPull().Seconds(), p.changesPerSecond())
}

// The table of doc.go is what the timers make of it.
func TestTenThousandTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		pool{nodes: 200}.row("a region of 200"), pool{nodes: 150, wan: true}.row("the relays' pool of 150"), pool{nodes: 10_000}.row("one pool of 10,000"),
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("doc.go has not the line\n%s", line)
		}
	}
}

// spread is a model of gossip: each interval every node that has a piece of news and
// has not passed it on often enough tells some others at random. It returns the
// interval in which the last node heard of it, or 0 when one never does.
func spread(random *rand.Rand, p pool, loss float64) int {
	left := make([]int, p.nodes) // transmissions; -1 before it knows
	for i := range left {
		left[i] = -1
	}
	left[0] = p.transmissions()
	known, fanout := 1, p.options().GossipNodes
	for round := 1; ; round++ {
		var told []int
		active := false
		for from := range left {
			for range fanout {
				if left[from] <= 0 {
					break
				}
				active = true
				left[from]--
				if to := random.IntN(p.nodes); random.Float64() >= loss {
					told = append(told, to)
				}
			}
		}
		for _, to := range told {
			if left[to] < 0 {
				left[to] = p.transmissions()
				known++
			}
		}
		switch {
		case known == p.nodes:
			return round
		case !active:
			return 0
		}
	}
}

func TestTenThousandGossip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		pool pool
		loss float64
		runs int
		most int // intervals
	}{{pool{nodes: 200}, 0, 200, 10}, {pool{nodes: 200}, 0.2, 200, 12}, {pool{nodes: 150, wan: true}, 0.05, 200, 11}, {pool{nodes: 10_000}, 0, 5, 15}} {
		var rounds []int
		missed := 0
		for range c.runs {
			if r := spread(random, c.pool, c.loss); r > 0 {
				rounds = append(rounds, r)
			} else {
				missed++
			}
		}
		slices.Sort(rounds)
		t.Logf("%d nodes, loss %v: median %d, most %d intervals; %d of %d never reached one node", c.pool.nodes, c.loss, rounds[len(rounds)/2], rounds[len(rounds)-1], missed, c.runs)
		if rounds[len(rounds)-1] > c.most || missed > c.runs/50 {
			t.Errorf("%d nodes, loss %v: %d intervals, %d missed", c.pool.nodes, c.loss, rounds[len(rounds)-1], missed)
		}
	}
}

// A model of a purge through 50 regions of 200 nodes: regions lie at random on the
// inhabited part of the earth, light in fibre makes 200 km a millisecond along a way
// half as long again as the straight one, a hop inside a region takes 0.2 to 1 ms and
// a node 0.5 ms to obey. The node that takes the purge tells its region and a relay;
// that tells a relay of each region, which tells its region. What is lost is told by
// the exchanges with a random member every 500 ms.
func TestTenThousandPurge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, loss := range []float64{0, 0.01} {
		var all []time.Duration
		var last []time.Duration
		for range 20 {
			run := purgeRun(random, 50, 200, loss)
			all, last = append(all, run...), append(last, slices.Max(run))
		}
		slices.Sort(all)
		slices.Sort(last)
		at := func(d []time.Duration, share float64) time.Duration {
			return d[int(share*float64(len(d)-1))].Round(time.Millisecond)
		}
		t.Logf("loss %v: median %s, p99 %s; the last node: median %s, most %s", loss, at(all, 0.5), at(all, 0.99), at(last, 0.5), at(last, 1))
		if at(all, 0.99) > 170*time.Millisecond && loss == 0 || at(last, 1) > 4*time.Second {
			t.Errorf("loss %v: p99 %s, last %s", loss, at(all, 0.99), at(last, 1))
		}
	}
}

// purgeRun returns when each node has obeyed.
func purgeRun(random *rand.Rand, regions, nodes int, loss float64) []time.Duration {
	type place struct{ lat, long float64 }
	places := make([]place, regions)
	for i := range places {
		places[i] = place{(random.Float64()*100 - 40) * math.Pi / 180, random.Float64() * 2 * math.Pi}
	}
	ms := func(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }
	far := func(a, b place) time.Duration {
		angle := math.Acos(min(1, math.Sin(a.lat)*math.Sin(b.lat)+math.Cos(a.lat)*math.Cos(b.lat)*math.Cos(a.long-b.long)))
		return ms(6371*angle*1.5/200 + 1)
	}
	near := func() time.Duration { return ms(0.2 + 0.8*random.Float64()) }
	obey := ms(0.5)
	var all []time.Duration
	for i := range places {
		relay := time.Duration(0) // when this region's relay knows
		if i > 0 {
			relay = near() + obey + far(places[0], places[i]) + obey
			for random.Float64() < loss { // the relays exchange what is missing
				relay += ms(500*random.Float64()) + far(places[0], places[i])
			}
		}
		at := make([]time.Duration, nodes)
		var missing []int
		for k := range at {
			if at[k] = relay + near() + obey; random.Float64() < loss {
				at[k] = 0
				missing = append(missing, k)
			}
		}
		for _, k := range missing { // each asks a random member, and is asked by as many
			for when := relay; at[k] == 0; {
				when += ms(250 * (0.75 + random.Float64()/2))
				if other := at[random.IntN(nodes)]; other != 0 && other < when {
					at[k] = when + near() + obey
				}
			}
		}
		all = append(all, at...)
	}
	return all
}
