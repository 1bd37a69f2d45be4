package main

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// rounds is how often a viewer asks all its edges for one object before it gives up.
	rounds = 4
	// firstPause is between the first two rounds; each pause is twice the one before, as in players' retry policies.
	firstPause = 500 * time.Millisecond
)

// viewer is one player. It loads one object at a time, for the track that has less, over connections of its own. One
// goroutine runs it.
type viewer struct {
	*flood

	id       int
	random   *rand.Rand
	protocol protocol
	edges    []int // in the order in which this viewer tries them; the first is its home
	at       int   // index in edges
	line     line
	speed    throughput
	stalled  bool // it stood still once
}

// watch plays titles until the viewer has had enough, gives up, or ctx ends.
func (v *viewer) watch(ctx context.Context) {
	v.tally.edges[v.edges[0]].viewers.Add(1)
	v.tally.watching.Add(1)
	defer v.tally.watching.Add(-1)
	v.line = v.connect(v.id, v.flood.edges[v.edges[0]], v.protocol)
	defer func() { v.line.close() }()
	for {
		if !v.play(ctx, v.titles[v.random.IntN(len(v.titles))]) {
			return
		}
		v.tally.finished.Add(1)
		if !v.again {
			return
		}
	}
}

// play plays one title. It reports whether the title was played to its end.
func (v *viewer) play(ctx context.Context, title string) bool {
	s := &session{viewer: v, kept: map[string]*media{}, asked: time.Now()}
	v.tally.plays.Add(1)
	defer s.leave()
	return s.open(ctx, title) && s.play(ctx)
}

// get asks for an object until it is there: at the same edge, or with failover at the next. One to keep is a playlist. It
// returns nil when ctx has ended or the viewer gave up.
func (v *viewer) get(ctx context.Context, o object, keep bool) *answer {
	tries := rounds
	if v.failover {
		tries *= len(v.edges)
	}
	pause := firstPause
	for try := range tries {
		if try > 0 && (!v.failover || try%len(v.edges) == 0) {
			if !sleep(ctx, pause) {
				return nil
			}
			pause *= 2
		}
		edge := v.edges[v.at]
		a, failed := v.getter.get(ctx, v.line, v.flood.edges[edge], o, keep)
		if ctx.Err() != nil {
			return nil
		}
		if failed == nil && keep {
			a.list, failed = v.lists.parse(a)
		}
		if failed == nil {
			v.accept(edge, o, a, keep)
			return a
		}
		v.tally.missed(edge, failed)
		v.turn(ctx)
	}
	v.tally.edges[v.edges[0]].lost.Add(1)
	return nil
}

// turn connects anew, and with failover to the next edge.
func (v *viewer) turn(ctx context.Context) {
	v.line.close()
	if v.failover && len(v.edges) > 1 {
		v.at = (v.at + 1) % len(v.edges)
		v.tally.edges[v.edges[0]].failovers.Add(1)
	}
	if ctx.Err() == nil {
		v.line = v.connect(v.id, v.flood.edges[v.edges[v.at]], v.protocol)
	}
}

// accept counts an answer and compares it with all others.
func (v *viewer) accept(edge int, o object, a *answer, isPlaylist bool) {
	v.tally.got(edge, a)
	v.speed.add(a.bytes, a.took)
	if a.oddity[0] != "" {
		v.tally.odd(edge, a.oddity[0], o.name+": "+a.oddity[1])
	}
	if isPlaylist {
		if !strong(a.etag) {
			return // it may change whenever it likes
		}
		o.etag = a.etag
	}
	v.ledger.see(o, sighting{edge: v.flood.edges[edge].String(), hash: a.hash, bytes: a.bytes, etag: a.etag})
}

// sleep reports whether the time has passed; else ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
