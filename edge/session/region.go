package session

import (
	"context"
	"time"
)

// change is a session of this node that other regions have to hear of.
type change struct {
	place Place
	id    ID
}

// change notes one, where there are other regions. When too many wait it is dropped: the next renewal brings it again.
func (b *Book) change(p Place, id ID) {
	if b.options.Relays == nil && b.options.Regions == nil {
		return
	}
	select {
	case b.changes <- change{p, id}:
	default:
	}
}

// tellRegions sends a group to every other region, by this node or a relay.
func (b *Book) tellRegions(ctx context.Context, c change) {
	now := time.Now()
	var mine []*entry
	some, _ := b.some(c.place, c.id, now)
	for _, e := range some {
		if e.Region == b.options.Region {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 {
		return
	}
	m := &message{Verb: cross, Place: c.place, Sessions: listToWire(mine, now)}
	if b.options.Regions != nil && len(b.options.Regions()) > 0 {
		b.toRegions(ctx, m)
		return
	}
	if b.options.Relays == nil {
		return
	}
	for _, n := range b.options.Relays() {
		if _, err := b.send(ctx, n, m, farTimeout); err == nil {
			return
		}
	}
}

// toRegions has a relay of each other region pass the message on to the owners there.
func (b *Book) toRegions(ctx context.Context, m *message) {
	if b.options.Regions == nil {
		return
	}
	onward := &message{Verb: relay, Place: m.Place, Sessions: m.Sessions}
	for _, relays := range b.options.Regions() {
		for _, n := range relays {
			if _, err := b.send(ctx, n, onward, farTimeout); err == nil {
				break
			}
		}
	}
}

// toOwners hands sessions of another region to the owners of their place in this one.
func (b *Book) toOwners(ctx context.Context, p Place, sessions []*onWire) {
	m := &message{Verb: merge, Place: p, Sessions: sessions, Part: true} // this region's own are not among them
	owners := b.owners(p)
	if len(owners) == 0 {
		_, _ = b.decide(ctx, m) // a merge cannot fail
		return
	}
	for _, n := range owners[:min(2, len(owners))] {
		_, _ = b.send(ctx, n, m, askTimeout) // the other one has it, or the next renewal brings it
	}
}
