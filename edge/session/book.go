package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Node is one that may keep sessions.
type Node struct {
	Name    string
	Address string // of its listener for other nodes
}

// Options is what a Book needs. Keys is required, the rest may be zero.
type Options struct {
	Name   string // of this node
	Region string
	// Keys make and check IDs, the first makes them. All nodes have the same. Called for every request; must not block.
	Keys func() [][]byte
	// Owners lists the nodes that should keep a place, the best first, this node among them where it is one; nil: this
	// node alone. Called for every request; must not block.
	Owners func(Place) []Node
	// Send brings a message to [Book.Serve] of another node, and its answer back. Required with Owners.
	Send func(ctx context.Context, to Node, message []byte) ([]byte, error)
	// Ring is all nodes of the region, this one too, and a version that changes with them and with what Owners says; no nodes
	// while it is not known who is there. With it groups go to new owners at once, else when they are renewed, and after a
	// start limits wait for [Book.Run] to find that all nodes have this version, for five seconds at most. Called once a
	// second, and ten times a second at first; must not block.
	Ring func() (version uint64, nodes []Node)
	// Relays lists nodes of this region that reach other regions, and Regions, on such a node, those of each other
	// region. nil: there are none.
	Relays  func() []Node
	Regions func() [][]Node

	Lease time.Duration // of a session that is not renewed; 0 means 75 s
	Keep  time.Duration // how long a session that is over is remembered; 0 means Lease
	Max   int           // sessions on this node, copies included; 0 means 1,000,000
	Log   *slog.Logger  // nil: silent
}

// Book keeps sessions, and finds the nodes that keep the others. All methods may be called at the same time.
type Book struct {
	options Options
	log     *slog.Logger
	shards  [shards]shard
	count   atomic.Int64  // sessions that are here
	changes chan change   // for other regions
	wanted  chan string   // names of nodes that want the groups that they should have
	young   atomic.Bool   // a node that is new, to which the others have not brought all that it should have
	agreed  chan struct{} // closed once the nodes place groups alike, or long enough after Run has begun

	mu    sync.Mutex           // guards the field below
	quiet map[string]time.Time // nodes that did not answer, until when they are left out
}

const (
	shards     = 64
	defaultMax = 1_000_000
	// DefaultLease lets two renewals of 30 s be lost.
	DefaultLease = 75 * time.Second
)

// shard is a part of the groups.
type shard struct {
	mu     sync.Mutex // guards the fields below
	groups map[Place]*group
}

// New makes a Book; Run keeps it small.
func New(o Options) (*Book, error) {
	if o.Keys == nil {
		return nil, errors.New("session: Options.Keys is missing")
	}
	if (o.Owners != nil || o.Ring != nil) && o.Send == nil {
		return nil, errors.New("session: Options.Send is missing")
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if o.Keep <= 0 {
		o.Keep = o.Lease
	}
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{options: o, log: o.Log, quiet: map[string]time.Time{}, changes: make(chan change, maxChanges), wanted: make(chan string, maxShares), agreed: make(chan struct{})}
	if o.Ring == nil {
		close(b.agreed)
	}
	b.young.Store(o.Ring != nil)
	for i := range b.shards {
		b.shards[i].groups = map[Place]*group{}
	}
	return b, nil
}

// Lease is how long a session lives that is not renewed.
func (b *Book) Lease() time.Duration { return b.options.Lease }

// Len is how many sessions are here, copies and ended ones included.
func (b *Book) Len() int { return int(b.count.Load()) }

// Run forgets what is over, brings groups to new owners and sends changes to other regions, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(min(b.options.Lease, b.options.Keep) / 4)
	defer tick.Stop()
	var sharing sync.WaitGroup
	sharing.Go(func() { b.share(ctx) })
	defer sharing.Wait()
	var again []change // what another region has not heard; up to maxChanges, more are dropped
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-b.changes:
			if !b.tellRegions(ctx, c) && len(again) < maxChanges {
				again = append(again, c)
			}
		case <-tick.C:
			b.clean(time.Now())
			for _, c := range again {
				b.change(c.place, c.id)
			}
			again = again[:0]
		}
	}
}

func (b *Book) clean(now time.Time) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for place, g := range s.groups {
			b.count.Add(-int64(g.expire(now, b.options.Keep)))
			if len(g.sessions) == 0 {
				delete(s.groups, place)
			}
		}
		s.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, until := range b.quiet {
		if now.After(until) {
			delete(b.quiet, name)
		}
	}
}

// Count is how many sessions of an asset live.
type Count struct {
	Asset, Device string
	Sessions      int
}

// Counts tells how many sessions live for which this node is the first owner, by asset and device: the sum over all
// nodes of a region is what is watched there. Sessions of other regions do not count.
func (b *Book) Counts(now time.Time) []Count {
	type kind struct{ asset, device string }
	counts := map[kind]int{}
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for place, g := range s.groups {
			if !b.first(place) {
				continue
			}
			for _, e := range g.sessions {
				if e.Live(now) && e.Region == b.options.Region && e.Asset != "" {
					counts[kind{e.Asset, e.Device}]++
				}
			}
		}
		s.mu.Unlock()
	}
	list := make([]Count, 0, len(counts))
	for k, n := range counts {
		list = append(list, Count{Asset: k.asset, Device: k.device, Sessions: n})
	}
	return list
}

func (b *Book) shard(p Place) *shard { return &b.shards[uint64(p)%shards] }

// within calls f with the group of a place, which is nil where it is not here and make is false.
func (b *Book) within(p Place, create bool, now time.Time, f func(*group)) {
	s := b.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[p]
	if g == nil && create {
		g = newGroup()
		s.groups[p] = g
	}
	if g != nil {
		b.count.Add(-int64(g.expire(now, b.options.Keep)))
	}
	f(g)
}

// take merges what another node knows into the group, and returns what this node knows better. part says that it is not
// all that the other one has.
func (b *Book) take(p Place, theirs []*entry, part bool, now time.Time) (better []*entry) {
	b.within(p, true, now, func(g *group) {
		g.part = part && (g.part || len(g.sessions) == 0)
		seen := make(map[ID]bool, len(theirs))
		for _, e := range theirs {
			seen[e.ID] = true
			if g.sessions[e.ID] == nil && b.count.Load() >= int64(b.options.Max) {
				continue // the other owner has it
			}
			added, ours := g.merge(e, now)
			if added {
				b.count.Add(1)
			}
			if ours {
				better = append(better, clone(g.sessions[e.ID]))
			}
		}
		if len(g.sessions) > wholeGroup {
			return
		}
		for id, e := range g.sessions {
			if !seen[id] {
				better = append(better, clone(e))
			}
		}
	})
	return better
}

// wholeGroup is up to how many sessions a group is exchanged as a whole; of a larger one only what changes.
const wholeGroup = 64

// some copies what is to be sent of a group when that session has changed, and tells whether there is more.
func (b *Book) some(p Place, id ID, now time.Time) (list []*entry, part bool) {
	b.within(p, false, now, func(g *group) {
		switch {
		case g == nil:
		case len(g.sessions) <= wholeGroup:
			for _, e := range g.sessions {
				list = append(list, clone(e))
			}
		case g.sessions[id] != nil:
			list, part = append(list, clone(g.sessions[id])), true
		}
	})
	return list, part
}

func clone(e *entry) *entry {
	c := *e
	return &c
}
