package session

import (
	"context"
	"sync"
	"sync/atomic"
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

// tellRegions sends a group to every other region, by this node or a relay. It tells whether each has heard.
func (b *Book) tellRegions(ctx context.Context, c change) bool {
	now := time.Now()
	var mine []*entry
	some, _ := b.some(c.place, c.id, now)
	for _, e := range some {
		if e.Region == b.options.Region {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 {
		return true
	}
	m := &message{Verb: cross, Place: c.place, Sessions: listToWire(mine, now)}
	if b.options.Regions != nil && len(b.options.Regions()) > 0 {
		return b.toRegions(ctx, m)
	}
	if b.options.Relays == nil {
		return true
	}
	relays := b.options.Relays()
	return len(relays) == 0 || b.toOne(ctx, relays, m)
}

// toRegions has a relay of each other region pass the message on to the owners there. It tells whether all did.
func (b *Book) toRegions(ctx context.Context, m *message) bool {
	if b.options.Regions == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, onwardTimeout)
	defer cancel()
	onward := &message{Verb: relay, Place: m.Place, Sessions: m.Sessions}
	var missed atomic.Bool
	var regions sync.WaitGroup
	for _, relays := range b.options.Regions() { // one that is away holds up no other
		regions.Go(func() {
			if !b.toOne(ctx, relays, onward) {
				missed.Store(true)
			}
		})
	}
	regions.Wait()
	return !missed.Load()
}

// toOne sends the message to the first of the relays that passes it on. Who did not answer a moment ago is left out: the news
// comes again.
func (b *Book) toOne(ctx context.Context, relays []Node, m *message) bool {
	for _, n := range relays {
		if b.isQuiet(n.Name) {
			continue
		}
		if a, err := b.send(ctx, n, m, farTimeout); err == nil && a.State == done {
			return true
		}
	}
	return false
}

// toOwners hands sessions of another region to the owners of their place in this one. One of them is enough: the other
// one asks it.
func (b *Book) toOwners(ctx context.Context, p Place, sessions []*onWire) (taken bool) {
	m := &message{Verb: merge, Place: p, Sessions: sessions, Part: true} // this region's own are not among them
	owners := b.owners(p, 2)
	if len(owners) == 0 {
		_, err := b.decide(ctx, m)
		return err == nil
	}
	for _, n := range owners {
		_, err := b.send(ctx, n, m, askTimeout)
		taken = taken || err == nil
	}
	return taken
}
