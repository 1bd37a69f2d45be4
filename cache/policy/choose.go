package policy

import "math"

const (
	// samples is from how many entries a victim is chosen. Measured: 8 lose up to 0.7 points to 16; 64 gain 0.2 to 0.5
	// at four times the time.
	samples = 16
	// samplesEach is how many are taken from one shard.
	samplesEach = 4
	// liveMilliseconds is how long a live segment is protected after its last use; then it leaves before all else.
	liveMilliseconds = 20_000
	// liveRate stands above any other.
	liveRate = 1e6
	// smallPart is the part of stream-less bytes that unproven objects may have, as in S3-FIFO.
	smallPart = 0.1
	// provenUses are the uses by which an unproven object becomes a proven one.
	provenUses = 2
	// passes bounds how many stream-less objects one choice gives another chance.
	passes = 64
)

// candidate is an entry that may have to go.
type candidate struct {
	id    [16]byte
	class uint32
	entry entry
	rate  float64 // requests per second to expect
}

// Admit tells whether a newcomer to a full tier is worth more than what would have to go for it. Its own request is to
// be counted first. What is of no stream always is: it has to prove itself within.
func (x *Index) Admit(s Stream) bool {
	if !s.Number {
		return true
	}
	now := x.now()
	own := x.rate(kept(s), 0, now, scaleAt(now), math.Inf(1))
	worst, ok := x.worst(now, own)
	return !ok || own >= worst.rate
}

// Evict takes the entry out that is least likely to be asked for soon, of a sample. Its cost stays taken until the
// caller gives it back with Free, after it has disposed of what the entry stood for. ok is false when there is no entry.
//
// It costs some microseconds, whatever the number of entries.
func (x *Index) Evict() (item Item[[16]byte, State], ok bool) {
	for {
		victim, found := x.worst(x.now(), 0)
		if !found {
			return item, false
		}
		if item, ok = x.Detach(victim.id); !ok {
			continue // somebody else took it in the meantime
		}
		if victim.class == small {
			x.trial.end(false)
			x.ghosts.add(hashOf(&victim.id), x.entries[small].Load()+x.entries[proven].Load())
		}
		return item, true
	}
}

// worst chooses the least of a sample of streams' pieces and of stream-less objects, or the first that is no more than
// enough. Untried ones never have more than their part of all there is.
func (x *Index) worst(now int64, enough float64) (candidate, bool) {
	smalls := x.held[small].Load()
	if all := smalls + x.held[proven].Load() + x.held[streamed].Load(); float64(smalls) > smallPart*float64(all) {
		return x.worstAlone(now)
	}
	a, haveA := x.worstStreamed(now, enough)
	if haveA && a.rate <= enough {
		return a, true
	}
	b, haveB := x.worstAlone(now)
	if haveA && (!haveB || a.rate <= b.rate) {
		return a, true
	}
	return b, haveB
}

func (x *Index) worstStreamed(now int64, enough float64) (worst candidate, ok bool) {
	var list [samplesEach]candidate
	worst.rate = math.Inf(1)
	sc := scaleAt(now)
	for d := x.draw(streamed, samples); worst.rate > enough; {
		few := d.some(list[:0])
		if len(few) == 0 {
			break
		}
		x.demand.touch(few)
		for i := range few {
			c := &few[i]
			c.rate = x.rate(c.entry.stream, since(c.entry.stamp, now), now, sc, worst.rate)
			if c.rate < worst.rate {
				worst, ok = *c, true
			}
		}
	}
	return worst, ok
}

// rate is what to expect of a piece of a stream: what its title is asked for, and who is on the way to it. age is the
// time since its last use; it decides between those of whom nothing is known. What is not below limit is not reckoned to
// the end.
func (x *Index) rate(s Stream, age, now int64, sc scale, limit float64) float64 {
	last := 1e-9 / float64(1000+age)
	coming, live := x.viewers.ask(s, now)
	switch {
	case !live:
		coming += last
		return coming + x.demand.rate(s, sc, limit-coming)
	case age < liveMilliseconds:
		return liveRate + last
	}
	return last
}

// worstAlone chooses a stream-less object as S3-FIFO does: the oldest of the small ones while they have more than their
// part, of the proven ones else. One that was used meanwhile is passed over.
func (x *Index) worstAlone(now int64) (candidate, bool) {
	for range passes {
		class := uint32(proven)
		smalls, rest := x.held[small].Load(), x.held[proven].Load()
		if rest == 0 || float64(smalls) > smallPart*float64(smalls+rest) {
			class = small
		}
		c, ok := x.oldest(class, now)
		if !ok {
			class = small + proven - class
			if c, ok = x.oldest(class, now); !ok {
				return c, false
			}
		}
		if class == small && c.entry.uses < provenUses || c.entry.uses == 0 {
			return c, true
		}
		x.passOver(&c, now)
	}
	return x.oldest(small, now)
}

// oldest returns the entry of a class that came first, of a sample and of the elders of those before it.
func (x *Index) oldest(class uint32, now int64) (oldest candidate, ok bool) {
	l := &x.elders[class]
	l.mu.Lock()
	defer l.mu.Unlock()
	var list [samplesEach]candidate
	for !ok && x.entries[class].Load() > 0 { // again if all have gone meanwhile
		for d := x.draw(class, samples); ; {
			few := d.some(list[:0])
			if len(few) == 0 {
				break
			}
			for i := range few {
				l.noteLocked(elder{few[i].id, few[i].entry.stamp}, now)
			}
		}
		for !ok && l.n > 0 {
			if oldest, ok = x.look(l.list[0], class); !ok {
				l.dropLocked()
			}
		}
	}
	oldest.rate = 1000 / float64(1000+since(oldest.entry.stamp, now))
	if class == small {
		oldest.rate *= x.trial.share() // it has not been asked for again; will it be?
	}
	return oldest, ok
}

// look returns an elder if it still stands where it was seen.
func (x *Index) look(e elder, class uint32) (c candidate, ok bool) {
	t := x.shard(&e.id)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, r, ok := t.findLocked(&e.id)
	if !ok || r.class() != class {
		return c, false
	}
	c = candidate{id: e.id, class: class, entry: t.entryLocked(r)}
	return c, c.entry.stamp == e.stamp
}

// passOver gives an entry another round, a small one among the proven.
func (x *Index) passOver(c *candidate, now int64) {
	t := x.shard(&c.id)
	t.mu.Lock()
	defer t.mu.Unlock()
	at, r, ok := t.findLocked(&c.id)
	if !ok || r.class() != c.class {
		return
	}
	e := t.entryLocked(r)
	e.stamp = stampAt(now)
	if c.class == proven {
		e.uses -= min(e.uses, 1) // somebody else may have passed it over as well
		t.setLocked(r, &e)
		return
	}
	e.uses = 0
	x.trial.end(true)
	x.leftLocked(t, at)
	x.enterLocked(t, &c.id, proven, &e)
}

// draw draws entries of a class at random, a few from each of some shards.
type draw struct {
	index         *Index
	class         uint32
	shards        uint64 // still to be looked at
	left          int
	first, random uint64
}

func (x *Index) draw(class uint32, n int) draw {
	first := mix(x.seed + x.draws.Add(1)*0x9e3779b97f4a7c15)
	return draw{x, class, indexShards, n, first, first}
}

// some appends the next few of one shard; none when all are drawn.
func (d *draw) some(list []candidate) []candidate {
	for ; d.shards > 0 && d.left > 0 && len(list) == 0; d.shards-- {
		t := &d.index.shards[(d.first+d.shards)%indexShards]
		t.mu.Lock()
		col := &t.columns[d.class]
		for range min(samplesEach, int(col.n), d.left) {
			d.random += 0x9e3779b97f4a7c15
			s := col.at(uint32(mix(d.random) >> 32 * uint64(col.n) >> 32))
			list = append(list, candidate{id: *s.id(), class: d.class, entry: s.entry(d.class)})
		}
		t.mu.Unlock()
	}
	d.left -= len(list)
	return list
}
