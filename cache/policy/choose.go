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
	worst, ok := x.worst(now)
	return !ok || x.rate(kept(s), 0, now, scaleAt(now)) >= worst.rate
}

// Evict takes the entry out that is least likely to be asked for soon, of a sample. Its cost stays taken until the
// caller gives it back with Free, after it has disposed of what the entry stood for. ok is false when there is no entry.
//
// It costs some microseconds, whatever the number of entries.
func (x *Index) Evict() (item Item[[16]byte, State], ok bool) {
	for {
		victim, found := x.worst(x.now())
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

// worst chooses the least of a sample of streams' pieces and of stream-less objects.
// Untried ones never have more than their part of all there is.
func (x *Index) worst(now int64) (candidate, bool) {
	smalls := x.held[small].Load()
	if all := smalls + x.held[proven].Load() + x.held[streamed].Load(); float64(smalls) > smallPart*float64(all) {
		return x.worstAlone(now)
	}
	a, haveA := x.worstStreamed(now)
	b, haveB := x.worstAlone(now)
	if haveA && (!haveB || a.rate <= b.rate) {
		return a, true
	}
	return b, haveB
}

func (x *Index) worstStreamed(now int64) (worst candidate, ok bool) {
	var list [samples]candidate
	worst.rate = math.Inf(1)
	sc := scaleAt(now)
	for _, c := range x.sample(streamed, list[:0]) {
		c.rate = x.rate(c.entry.stream, since(c.entry.stamp, now), now, sc)
		if c.rate < worst.rate {
			worst, ok = c, true
		}
	}
	return worst, ok
}

// rate is what to expect of a piece of a stream: what its title is asked for, and who is on the way to it. age is the
// time since its last use; it decides between those of whom nothing is known.
func (x *Index) rate(s Stream, age, now int64, sc scale) float64 {
	last := 1e-9 / float64(1000+age)
	coming, live := x.viewers.ask(s, now)
	switch {
	case !live:
		return x.demand.rate(s, sc) + coming + last
	case age < liveMilliseconds:
		return liveRate + last
	}
	return last
}

// worstAlone chooses a stream-less object as S3-FIFO does, but that the oldest is the oldest of a sample: of the small
// ones while they have more than their part, of the proven ones else. One that was used meanwhile is passed over.
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

// oldest returns the entry of a sample that came first.
func (x *Index) oldest(class uint32, now int64) (oldest candidate, ok bool) {
	var list [samples]candidate
	most := int64(-1)
	for _, c := range x.sample(class, list[:0]) {
		if age := since(c.entry.stamp, now); age > most {
			oldest, most, ok = c, age, true
		}
	}
	oldest.rate = 1000 / float64(1000+max(0, most))
	if class == small {
		oldest.rate *= x.trial.share() // it has not been asked for again; will it be?
	}
	return oldest, ok
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
		e.uses--
		t.setLocked(r, &e)
		return
	}
	e.uses = 0
	x.trial.end(true)
	x.leftLocked(t, at)
	x.enterLocked(t, &c.id, proven, &e)
}

// sample draws entries of a class at random, a few from each of some shards.
func (x *Index) sample(class uint32, list []candidate) []candidate {
	draw := mix(x.seed + x.draws.Add(1)*0x9e3779b97f4a7c15)
	for i := range uint64(indexShards) {
		t := &x.shards[(draw+i)%indexShards]
		t.mu.Lock()
		n := t.columns[class].n
		for range min(samplesEach, int(n), cap(list)-len(list)) {
			draw += 0x9e3779b97f4a7c15
			place := uint32(mix(draw) >> 32 * uint64(n) >> 32)
			s := t.columns[class].at(place)
			list = append(list, candidate{id: *s.id(), class: class, entry: s.entry(class)})
		}
		t.mu.Unlock()
		if len(list) == cap(list) {
			break
		}
	}
	return list
}
