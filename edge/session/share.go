package session

import (
	"context"
	"slices"
	"time"
)

const (
	shareEvery = time.Second // how often the ring is looked at
	maxShares  = 64          // nodes that have asked for their groups and wait
)

// share brings groups to their owners, until ctx ends: all that is here when the ring changes, and to a node that has begun
// anew what it should have. What is renewed would come to them anyway, what is used once would not.
func (b *Book) share(ctx context.Context) {
	if b.options.Ring == nil {
		return
	}
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
			begun = b.askAll(ctx, nodes)
		}
		for name := range waiting {
			i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
			if i < 0 || name == b.options.Name || b.shareWith(ctx, nodes[i]) {
				delete(waiting, name)
			}
		}
	}
}

// askAll asks the other nodes for what this one should have. It tells whether all have heard.
func (b *Book) askAll(ctx context.Context, nodes []Node) bool {
	all := true
	for _, n := range nodes {
		if n.Name != b.options.Name {
			_, err := b.send(ctx, n, &message{Verb: want, Name: b.options.Name}, askTimeout)
			all = all && err == nil
		}
	}
	return all
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
