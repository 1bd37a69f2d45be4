package limit

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// TestConcurrencyFindsTheOriginsLimit: an origin answers 100 requests at once in 100 ms each and makes the others wait;
// three times what it can do is asked of it. The limit ends near what it takes, so that those that are asked are
// answered soon.
func TestConcurrencyFindsTheOriginsLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		most  int
		least int
		good  float64 // the part of what the origin can do that is answered within a second
	}{
		{"adaptive", 4096, 64, 0.85},
		{"unbounded", 0, 0, 0},
	} {
		good, refused, limit := origin(NewConcurrency(ConcurrencyOptions{Most: tt.most, Least: tt.least}), 100, 100*time.Millisecond, 3000)
		t.Logf("%s: %.0f %% of what the origin can do is answered in time, %.0f %% of the load is refused at once, the limit is %d", tt.name, 100*good, 100*refused, limit)
		if good < tt.good || tt.most == 0 && good > 0.5 {
			t.Errorf("%s: %.2f of the origin's work is of use, want %.2f", tt.name, good, tt.good)
		}
		if tt.most > 0 && (limit < 64 || limit > 400) {
			t.Errorf("the limit is %d, want near 100", limit)
		}
	}
}

// finish is a fetch on its way.
type finish struct{ at, asked time.Time }

type byTime []finish

func (b *byTime) Len() int           { return len(*b) }
func (b *byTime) Less(i, j int) bool { return (*b)[i].at.Before((*b)[j].at) }
func (b *byTime) Swap(i, j int)      { (*b)[i], (*b)[j] = (*b)[j], (*b)[i] }
func (b *byTime) Push(x any)         { *b = append(*b, x.(finish)) }
func (b *byTime) Pop() any           { old := *b; x := old[len(old)-1]; *b = old[:len(old)-1]; return x }

// origin runs a minute of load on an origin of so many workers, after a warm one, and judges its second half.
func origin(c *Concurrency, workers int, work time.Duration, perSecond int) (good, refused float64, limit int64) {
	random := rand.New(rand.NewPCG(3, 4))
	free := make([]time.Time, workers) // when each worker is
	var running byTime
	var answered, turned, all int
	now := start
	for now.Sub(start) < time.Minute {
		rate := perSecond
		if now.Sub(start) < 5*time.Second {
			rate = perSecond / 10
		}
		now = now.Add(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(rate)))
		for len(running) > 0 && !running[0].at.After(now) {
			f := heap.Pop(&running).(finish)
			c.Observe(f.at.Sub(f.asked), f.at)
			c.Leave()
			if f.at.Sub(f.asked) <= time.Second && now.Sub(start) > 30*time.Second {
				answered++
			}
		}
		judged := now.Sub(start) > 30*time.Second
		if judged {
			all++
		}
		if !c.Enter(1) {
			if judged {
				turned++
			}
			continue
		}
		first := 0
		for i := range free {
			if free[i].Before(free[first]) {
				first = i
			}
		}
		begin := now
		if free[first].After(begin) {
			begin = free[first]
		}
		free[first] = begin.Add(work)
		heap.Push(&running, finish{free[first], now})
	}
	can := float64(workers) * 30 * float64(time.Second) / float64(work)
	return float64(answered) / can, float64(turned) / float64(all), c.Stats().Limit
}

// TestConcurrencyLeavesRoom: what keeps a share back refuses at it, and a slow upstream that is not loaded is left alone.
func TestConcurrencyLeavesRoom(t *testing.T) {
	t.Parallel()
	c := NewConcurrency(ConcurrencyOptions{Most: 10})
	entered := 0
	for c.Enter(0.8) {
		entered++
	}
	whole := 0
	for c.Enter(1) {
		whole++
	}
	if entered != 8 || whole != 2 {
		t.Errorf("%d entered at a share of 0.8, then %d more", entered, whole)
	}
	slow := NewConcurrency(ConcurrencyOptions{Most: 1000})
	for i := range 10_000 {
		slow.Enter(1)
		slow.Observe(5*time.Second+time.Duration(i%100)*time.Millisecond, start.Add(time.Duration(i)*20*time.Millisecond))
		slow.Leave()
	}
	if s := slow.Stats(); s.Limit != 1000 {
		t.Errorf("an upstream that is slow and steady: %+v", s)
	}
	slow.SetMost(10)
	if s := slow.Stats(); s.Limit != 10 {
		t.Errorf("after SetMost(10): %+v", s)
	}
	slow.SetMost(0)
	for range 100 {
		if !slow.Enter(0.1) {
			t.Fatal("no limit refuses")
		}
	}
}

// TestConcurrencyFollowsAnOriginThatMoves: four times as far away, and not loaded.
func TestConcurrencyFollowsAnOriginThatMoves(t *testing.T) {
	t.Parallel()
	c := NewConcurrency(ConcurrencyOptions{Most: 1000})
	least, latency := int64(1000), 100*time.Millisecond
	for second := range 180 {
		if second == 20 {
			latency *= 4
		}
		entered := 0
		for entered < 600 && c.Enter(1) {
			entered++
		}
		for i := range entered {
			c.Observe(latency, start.Add(time.Duration(second)*time.Second+time.Duration(i)*time.Second/600))
		}
		for range entered {
			c.Leave()
		}
		least = min(least, c.Stats().Limit)
	}
	if s := c.Stats(); least > 100 || s.Limit < 600 || s.Usual != latency {
		t.Errorf("the limit fell to %d and is %d, usual are %v; want it to fall, and to come back once %v is known as usual", least, s.Limit, s.Usual, latency)
	}
}

func TestPressureByMemory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		used  int64
		sheds [Classes]bool // at any throw of the dice
	}{
		{0, [Classes]bool{}},
		{80, [Classes]bool{}},
		{86, [Classes]bool{true}},
		{91, [Classes]bool{true, true}},
		{95, [Classes]bool{true, true, true}},
		{200, [Classes]bool{true, true, true}},
	} {
		var p Pressure
		p.Update(Signals{Memory: tt.used, MemoryLimit: 100})
		for c := range Class(Classes) {
			if got := p.Sheds(c, 0.99); got != tt.sheds[c] {
				t.Errorf("%d %% in use, pressure %.2f: sheds %v %v, want %v", tt.used, p.Value(), c, got, tt.sheds[c])
			}
		}
	}
}

// machine is a queue before one processor.
type machine struct {
	queue []job
	p     Pressure
	class [Classes]struct{ offered, good int }
	shed  time.Duration // what a refusal costs
}

type job struct {
	class Class
	at    time.Time
	work  time.Duration
}

// run offers load, in processors, of each class for a minute, and judges it from 20 s on: an answer within a second is good.
func (m *machine) run(load [Classes]float64, work [Classes]time.Duration, control bool) {
	random := rand.New(rand.NewPCG(5, 6))
	next := [Classes]time.Time{}
	arrive := func(c Class, from time.Time) {
		if load[c] > 0 {
			next[c] = from.Add(time.Duration(random.ExpFloat64() * float64(work[c]) / load[c]))
		} else {
			next[c] = start.Add(time.Hour)
		}
	}
	for c := range Class(Classes) {
		arrive(c, start)
	}
	free, tick, end := start, start.Add(Step), start.Add(time.Minute)
	judged := func(at time.Time) bool { return at.Sub(start) > 20*time.Second && end.Sub(at) > time.Second }
	var waits []time.Duration
	for now := start; now.Before(end); {
		now = tick
		for c := range Class(Classes) {
			if next[c].Before(now) {
				now = next[c]
			}
		}
		for len(m.queue) > 0 && !free.After(now) { // what the processor has begun meanwhile
			j := m.queue[0]
			m.queue = m.queue[1:]
			if free.Before(j.at) {
				free = j.at
			}
			waits = append(waits, free.Sub(j.at))
			free = free.Add(j.work)
			if j.work > m.shed && free.Sub(j.at) < time.Second && judged(j.at) {
				m.class[j.class].good++
			}
		}
		if now.Equal(tick) {
			if control {
				m.p.Update(Signals{Delay: median(waits), Target: 50 * time.Millisecond})
			}
			waits, tick = waits[:0], tick.Add(Step)
			continue
		}
		for c := range Class(Classes) {
			if !next[c].Equal(now) {
				continue
			}
			if judged(now) {
				m.class[c].offered++
			}
			j := job{c, now, work[c]}
			if m.p.Sheds(c, random.Float64()) {
				j.work = m.shed
			}
			m.queue = append(m.queue, j)
			arrive(c, now)
		}
	}
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	c := append([]time.Duration(nil), d...)
	for i := range c { // selection up to the middle is enough
		if i > len(c)/2 {
			break
		}
		for j := i + 1; j < len(c); j++ {
			if c[j] < c[i] {
				c[i], c[j] = c[j], c[i]
			}
		}
	}
	return c[len(c)/2]
}

func (m *machine) good(c Class) float64 {
	return float64(m.class[c].good) / float64(max(m.class[c].offered, 1))
}

// TestPressureKeepsHits: three times what a processor can do is asked of it, open loop. Without control nearly nothing is
// answered in time; with it the hits are, and where hits alone are too many the playlists among them.
func TestPressureKeepsHits(t *testing.T) {
	t.Parallel()
	work := [Classes]time.Duration{10 * time.Millisecond, 10 * time.Millisecond, 2 * time.Millisecond, time.Millisecond}
	for _, tt := range []struct {
		name string
		load [Classes]float64
		keep []Class
	}{
		{"misses", [Classes]float64{1.9, 0.3, 0.7, 0.1}, []Class{SegmentHit, PlaylistHit}},
		{"misses of segments", [Classes]float64{2.3, 0.2, 0.4, 0.1}, []Class{PlaylistMiss, SegmentHit, PlaylistHit}},
		{"hits", [Classes]float64{0.2, 0.1, 2.4, 0.3}, []Class{PlaylistHit}},
	} {
		without, with := machine{shed: 100 * time.Microsecond}, machine{shed: 100 * time.Microsecond}
		without.run(tt.load, work, false)
		with.run(tt.load, work, true)
		for c := range Class(Classes) {
			t.Logf("%s, %v: %.0f %% in time, without control %.0f %%", tt.name, c, 100*with.good(c), 100*without.good(c))
		}
		for _, c := range tt.keep {
			want := 0.9
			if c == PlaylistMiss {
				want = 0.8
			}
			if got := with.good(c); got < want {
				t.Errorf("%s: %.0f %% of %v are answered in time, want %.0f %%", tt.name, 100*got, c, 100*want)
			}
			if got := without.good(c); got > 0.1 {
				t.Errorf("%s: without control %.0f %% of %v are answered: the load is none", tt.name, 100*got, c)
			}
		}
	}
	var calm machine
	calm.run([Classes]float64{0.3, 0.1, 0.2, 0.1}, work, true)
	for c := range Class(Classes) {
		if got := calm.good(c); got < 0.99 {
			t.Errorf("at 70 %% load %.1f %% of %v are answered", 100*got, c)
		}
	}
}
