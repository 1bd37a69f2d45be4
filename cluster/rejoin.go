package cluster

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// One answer brings the whole other side of a split, so a few random targets a round are enough, and a dead zone does
	// not cost hundreds of connections.
	rejoinTargets = 6

	// The first rounds follow one another quickly, the pause doubling from firstPause: nodes that start together miss one
	// another, and a node that has just joined has the most to learn.
	firstPause  = 200 * time.Millisecond
	firstRounds = 5

	// News is retransmitted a few times to random members and can miss one; it would then wait for memberlist's next full
	// exchange. So for this many rounds after a change each node has one with this many members more. Ten nodes starting at
	// once did miss one another now and then without, and stayed apart for half a minute.
	exchangeRounds  = 2
	exchangeMembers = 2

	// Seeds that are names are looked up every round while a member is missing, and otherwise once in this many rounds.
	lookupRounds = 6

	// lookupTimeout bounds the look-up of one name.
	lookupTimeout = 2 * time.Second

	// conflictMemory is how long a conflict over this node's name keeps the loop announcing it: longer than others need to
	// declare dead what held the name before.
	conflictMemory = 30 * time.Second
)

// rejoin reaches out to seeds and lost members, at once and then again and again: memberlist forgets dead members after 30
// seconds, and two halves of a cluster that have forgotten one another never meet again by themselves.
func (c *Cluster) rejoin(ctx context.Context, list *memberlist.Memberlist) {
	seen, quiet := c.roster.changes.Load(), 0
	for round := 0; ctx.Err() == nil; round++ {
		if changes := c.roster.changes.Load(); changes != seen {
			seen, quiet = changes, 0
		}
		missing, others := c.targets(ctx, round)
		var wg sync.WaitGroup
		if quiet < exchangeRounds {
			exchange(list, pick(others, exchangeMembers), &wg)
			quiet++
		}
		if len(missing) > 0 && ctx.Err() == nil {
			c.join(ctx, list, pick(missing, rejoinTargets), round == 0)
		}
		wg.Wait()
		if round == 0 {
			close(c.ready)
		}
		c.roster.forget(time.Now().Add(-c.options.ForgetAfter))
		select {
		case <-ctx.Done():
		case <-time.After(c.pause(round)):
		}
	}
}

// pause returns how long to wait after a round: RejoinInterval give or take a quarter, less in the first rounds.
func (c *Cluster) pause(round int) time.Duration {
	wait := c.options.RejoinInterval
	if round < firstRounds {
		wait = min(wait, firstPause<<round)
	}
	return time.Duration(float64(wait) * (0.75 + rand.Float64()/2))
}

// pick returns at most n of addrs, at random.
func pick(addrs []string, n int) []string {
	if len(addrs) > n {
		rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		addrs = addrs[:n]
	}
	return addrs
}

// targets returns the gossip addresses to try in this round, and those of the other living members.
func (c *Cluster) targets(ctx context.Context, round int) (missing, others []string) {
	here := make(map[string]bool)
	var lost []string
	for _, m := range c.roster.list() {
		switch {
		case m.Self:
			here[m.Addr] = true
		case m.State == Alive:
			here[m.Addr] = true
			others = append(others, m.Addr)
		case m.State == Dead:
			lost = append(lost, m.Addr)
		}
	}
	contested := c.contested()
	for _, addr := range lost {
		if !here[addr] {
			missing = append(missing, addr)
		}
	}
	lookup := len(lost) > 0 || len(others) == 0 || contested || round%lookupRounds == 0
	seeds := c.seeds(ctx, lookup)
	if met := c.met.Load(); met != nil && round < firstRounds {
		seeds = append(seeds, *met...)
	}
	for _, addr := range seeds {
		if !here[addr] || contested && addr != c.Addr() {
			missing = append(missing, addr)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing), others
}

// seeds returns the addresses of Join; names only when lookup is set.
func (c *Cluster) seeds(ctx context.Context, lookup bool) []string {
	var out []string
	for _, seed := range c.options.Join {
		host, port, err := splitSeed(seed, c.seedPort)
		if err != nil {
			continue // New has checked them
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			out = append(out, netip.AddrPortFrom(addr, port).String())
			continue
		}
		if lookup {
			out = append(out, c.lookup(ctx, host, port)...)
		}
	}
	return out
}

func (c *Cluster) lookup(ctx context.Context, host string, port uint16) []string {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := c.options.Resolve(ctx, host)
	if err != nil {
		c.log.Debug("look up a node to join", "host", host, "port", strconv.Itoa(int(port)), "error", err)
		return nil
	}
	var out []string
	for _, a := range addrs {
		if a = a.Unmap(); checkHostAddr(a) == nil && c.options.Gate.Allows(a) {
			out = append(out, netip.AddrPortFrom(a, port).String())
		}
	}
	return out
}

// exchange tells members everything and hears everything. Who does not answer is for the probes to find out.
func exchange(list *memberlist.Memberlist, members []string, wg *sync.WaitGroup) {
	for _, addr := range members {
		wg.Go(func() { _, _ = list.Join([]string{addr}) }) // no error: see above
	}
}

// join tries all targets at the same time and returns when the last has answered or timed out.
func (c *Cluster) join(ctx context.Context, list *memberlist.Memberlist, targets []string, first bool) {
	var wg sync.WaitGroup
	errs := make([]error, len(targets))
	for i, addr := range targets {
		wg.Go(func() { _, errs[i] = list.Join([]string{addr}) })
	}
	wg.Wait()
	answered := 0
	for i, err := range errs {
		if err == nil {
			answered++
			continue
		}
		c.log.Debug("join", "gossip", targets[i], "error", err)
	}
	c.rejoins.Add(int64(answered))
	c.rejoinFailures.Add(int64(len(targets) - answered))
	switch {
	case ctx.Err() != nil:
	case answered > 0:
		c.log.Info("joined", "answered", answered, "asked", len(targets))
	case first:
		c.log.Warn("no node to join has answered yet; standing alone and asking again", "asked", targets, "every", c.options.RejoinInterval)
	}
}
