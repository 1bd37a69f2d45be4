package session

import (
	"context"
	"slices"
	"time"
)

const (
	shareEvery = time.Second    // how often the ring is looked at
	maxShares  = 64             // nodes that have asked for their groups and wait
	youthTime  = 3 * shareEvery // after the nodes agree: by then all have shared what they have

	agreeEvery = 100 * time.Millisecond // how often the others are asked for their ring, at first
	agreeTime  = 5 * time.Second        // how long limits wait for that: members agree within 0.3 s, unless one is lost or cut off
)

// share brings groups to their owners, until ctx ends: all that is here when the ring changes, and to a node that has begun
// anew what it should have. What is renewed would come to them anyway, what is used once would not.
func (b *Book) share(ctx context.Context) {
	if b.options.Ring == nil {
		return
	}
	b.agree(ctx)
	youth := time.After(youthTime)
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	var version uint64
	waiting := map[string]bool{} // nodes that are to get theirs
	begun := false
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-b.wanted:
			waiting[name] = true
			continue
		case <-youth:
			b.young.Store(false)
			continue
		case <-tick.C:
		}
		now, nodes := b.options.Ring()
		if now != version {
			version = now
			for _, n := range nodes {
				waiting[n.Name] = true
			}
			begun = false
		}
		if others := len(nodes) > 1; others && !begun {
			begun, _ = b.askAll(ctx, now, nodes)
		}
		for name := range waiting {
			i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
			if i < 0 || name == b.options.Name || b.shareWith(ctx, nodes[i]) {
				delete(waiting, name)
			}
		}
	}
}

// agree asks the other nodes for what this one should have until all have heard and place groups as it does, for agreeTime
// at most.
func (b *Book) agree(ctx context.Context) {
	defer close(b.agreed)
	ctx, cancel := context.WithTimeout(ctx, agreeTime)
	defer cancel()
	tick := time.NewTicker(agreeEvery)
	defer tick.Stop()
	for {
		if version, nodes := b.options.Ring(); len(nodes) > 0 {
			if heard, alike := b.askAll(ctx, version, nodes); heard && alike {
				return
			}
		}
		select {
		case <-ctx.Done():
			b.log.Warn("the nodes do not agree on who keeps which sessions: limits may be late", "after", agreeTime)
			return
		case <-tick.C:
		}
	}
}

// askAll asks the other nodes for what this one should have. It tells whether all have heard, and have this ring.
func (b *Book) askAll(ctx context.Context, version uint64, nodes []Node) (heard, alike bool) {
	heard, alike = true, true
	for _, n := range nodes {
		if n.Name == b.options.Name {
			continue
		}
		a, err := b.send(ctx, n, &message{Verb: want, Name: b.options.Name}, askTimeout)
		heard, alike = heard && err == nil, alike && err == nil && a.Ring == version
		if err == nil {
			b.unhush(n.Name)
		}
	}
	return heard, alike
}

// shareWith sends a node the groups here of which it is one of the first two owners, in messages of up to twice exportPart
// sessions. It tells whether all went there.
func (b *Book) shareWith(ctx context.Context, to Node) bool {
	var batch []*message
	size := 0
	flush := func() bool {
		if len(batch) == 0 {
			return true
		}
		_, err := b.send(ctx, to, &message{Verb: many, Groups: batch}, farTimeout)
		batch, size = nil, 0
		if err != nil {
			b.log.Debug("sessions are not shared", "member", to.Name, "error", err)
		}
		return err == nil
	}
	for i := range b.shards {
		for _, place := range b.shards[i].places() {
			owners := b.options.Owners(place)
			if !slices.ContainsFunc(owners[:min(2, len(owners))], func(n Node) bool { return n.Name == to.Name }) {
				continue
			}
			for _, m := range b.shards[i].export(place, time.Now()) {
				batch, size = append(batch, m), size+len(m.Sessions)
				if size >= exportPart && !flush() {
					return false
				}
			}
		}
	}
	return flush()
}

// takeMany takes in groups of another node.
func (b *Book) takeMany(groups []*message) {
	now := time.Now()
	for _, m := range groups {
		if m != nil {
			b.take(m.Place, b.fromWire(m.Sessions, now), m.Part, now)
		}
	}
}
