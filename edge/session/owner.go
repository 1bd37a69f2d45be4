package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Serve answers a message of another node's Options.Send. Who is asked serves, owner or not.
func (b *Book) Serve(ctx context.Context, text []byte) ([]byte, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("session: a message of another node is malformed: %w", err)
	}
	a, err := b.decide(ctx, &m)
	if err != nil {
		return nil, err
	}
	return encode(a), nil
}

// decide does what a message asks for, here.
func (b *Book) decide(ctx context.Context, m *message) (*answer, error) {
	switch m.Verb {
	case open:
		if m.Opening == nil {
			return nil, fmt.Errorf("session: a message to %s says nothing of the session", m.Verb)
		}
		if err := b.await(ctx, m); err != nil {
			return nil, err
		}
		return b.open(ctx, m.Place, m.Opening), nil
	case renew:
		return b.renew(ctx, m.Place, m.ID), nil
	case end:
		return b.end(ctx, m.Place, m.ID), nil
	case merge:
		now := time.Now()
		return &answer{State: done, Sessions: listToWire(b.take(m.Place, b.fromWire(m.Sessions, now), m.Part, now), now)}, nil
	case fetch:
		return b.all(m.Place), nil
	case relay:
		return told(b.toOwners(ctx, m.Place, m.Sessions)), nil
	case want:
		select {
		case b.wanted <- m.Name:
			return &answer{State: done, Ring: b.ring()}, nil
		default: // it asks again
			return nil, errors.New("session: too many nodes wait for their groups")
		}
	case many:
		b.takeMany(m.Groups)
		return told(true), nil
	case cross:
		return told(b.toRegions(ctx, m)), nil
	}
	return nil, fmt.Errorf("session: %q is not known here", m.Verb)
}

func (b *Book) ring() (version uint64) {
	if b.options.Ring != nil {
		version, _ = b.options.Ring()
	}
	return version
}

func (b *Book) open(ctx context.Context, p Place, o *Opening) *answer {
	b.learn(ctx, p)
	e := &entry{Session: o.Session, key: o.Key, limit: o.Limit}
	e.Region = b.options.Region
	var a *answer
	now := time.Now()
	b.within(p, true, now, func(g *group) {
		if before := g.opened(o); before != nil && before.Live(now) {
			a = &answer{State: done, Session: toWire(before, now)} // the same request again
			return
		}
		if b.count.Load() >= int64(b.options.Max) {
			a = &answer{State: full}
			return
		}
		for o.Replace && o.Limit > 0 && g.live >= o.Limit {
			oldest := g.oldest(now)
			if oldest == nil {
				break
			}
			g.end(oldest, now)
		}
		if o.Limit > 0 && g.live >= o.Limit {
			a = conflictWith(g, e, now)
			return
		}
		e.Started, e.Expires = now.Round(0).UTC(), now.Add(b.options.Lease)
		if o.For > 0 && o.For < b.options.Lease {
			e.Expires = now.Add(o.For)
		}
		g.put(e, now)
		b.count.Add(1)
	})
	if a != nil {
		return a
	}
	b.exchange(ctx, p, e.ID)
	// The other owner may have known of more than this one did.
	return b.judge(p, e.ID, func(*group, *entry) {})
}

func (b *Book) renew(ctx context.Context, p Place, id ID) *answer {
	if !b.here(p, id) {
		b.ask(ctx, p)
	}
	a := b.judge(p, id, func(g *group, e *entry) {
		e.Renewed++
		e.Expires = time.Now().Add(b.options.Lease)
	})
	if a.State == unknown {
		return a
	}
	b.exchange(ctx, p, id)
	if a.State != done {
		return a
	}
	return b.judge(p, id, func(*group, *entry) {})
}

func (b *Book) end(ctx context.Context, p Place, id ID) *answer {
	if !b.here(p, id) {
		b.ask(ctx, p)
	}
	a := &answer{State: unknown}
	now := time.Now()
	b.within(p, false, now, func(g *group) {
		if g == nil || g.sessions[id] == nil {
			return
		}
		e := g.sessions[id]
		g.end(e, now)
		a = &answer{State: done, Session: toWire(e, now)}
	})
	if a.State == done {
		b.exchange(ctx, p, id)
	}
	return a
}

// judge ends a session that is one too many. On one that lives it calls f.
func (b *Book) judge(p Place, id ID, f func(*group, *entry)) *answer {
	a := &answer{State: unknown}
	now := time.Now()
	b.within(p, false, now, func(g *group) {
		if g == nil || g.sessions[id] == nil {
			return
		}
		e := g.sessions[id]
		switch {
		case !e.Live(now):
			a = &answer{State: ended}
		case g.excess(e, e.limit, now):
			g.end(e, now)
			a = conflictWith(g, e, now)
		default:
			f(g, e)
			a = &answer{State: done, Session: toWire(e, now)}
		}
	})
	if a.State == conflict {
		b.change(p, id)
	}
	return a
}

// maxNamed is how many sessions a conflict names: who has more may end any of these.
const maxNamed = 32

func conflictWith(g *group, e *entry, now time.Time) *answer {
	a := &answer{State: conflict, Limit: e.limit}
	for _, s := range g.others(e.ID, maxNamed, now) {
		a.Sessions = append(a.Sessions, toWire(&entry{Session: s}, now))
	}
	return a
}

func (b *Book) all(p Place) *answer {
	a := &answer{State: unknown}
	now := time.Now()
	b.within(p, false, now, func(g *group) {
		if g == nil {
			return
		}
		a.State, a.Part = done, g.part
		for _, e := range g.sessions {
			a.Sessions = append(a.Sessions, toWire(e, now))
		}
	})
	return a
}

// here tells whether the session is on this node.
func (b *Book) here(p Place, id ID) (found bool) {
	b.within(p, false, time.Now(), func(g *group) { found = g != nil && g.sessions[id] != nil })
	return found
}

// learn asks the other owners for a group that this node does not have: it may have become its owner a moment ago.
func (b *Book) learn(ctx context.Context, p Place) {
	known := false
	b.within(p, false, time.Now(), func(g *group) { known = g != nil && !g.part })
	if !known {
		b.ask(ctx, p)
	}
}
