package replay

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// model makes traces: titles with Zipf's popularity whose viewers walk from segment to segment and often quit early, and
// live channels whose viewers stay at the edge.
type model struct {
	titles, channels, segments int
	zipf                       float64
	requests                   int
	perMinute                  float64 // viewers who arrive
	live                       float64 // part of the viewers
	seed                       uint64
}

// viewer is a walk through a stream.
type viewer struct {
	at        time.Duration
	title     int
	live      bool
	rendition int
	next      int
	left      int
}

type agenda []*viewer

func (a *agenda) Len() int           { return len(*a) }
func (a *agenda) Less(i, j int) bool { return (*a)[i].at < (*a)[j].at }
func (a *agenda) Swap(i, j int)      { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }
func (a *agenda) Push(x any)         { *a = append(*a, x.(*viewer)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

const (
	vodPace  = 6 * time.Second
	livePace = 4 * time.Second
)

func (m *model) trace() *Trace {
	r := rand.New(rand.NewPCG(m.seed, 1))
	t := builder{trace: &Trace{Clock: true}, known: map[string]uint32{}}
	films, channels := ranks(m.titles, m.zipf), ranks(max(1, m.channels), 1)
	var walking agenda
	arrival := time.Duration(0)
	for len(t.trace.Requests) < m.requests {
		if len(walking) == 0 || arrival < walking[0].at {
			heap.Push(&walking, m.arrive(r, arrival, films, channels))
			arrival += time.Duration(r.ExpFloat64() / m.perMinute * float64(time.Minute))
			continue
		}
		v := walking[0]
		m.step(&t, v)
		v.left--
		v.next++
		v.at += vodPace
		if v.live {
			v.at += livePace - vodPace
		}
		if v.left <= 0 || !v.live && v.next > m.segments {
			heap.Pop(&walking)
			continue
		}
		heap.Fix(&walking, 0)
	}
	return t.trace
}

func (m *model) arrive(r *rand.Rand, at time.Duration, films, channels []float64) *viewer {
	v := &viewer{at: at, rendition: []int{1, 2, 2, 3, 3, 3, 4, 4}[r.IntN(8)], next: 1}
	if r.Float64() < m.live {
		v.live, v.title = true, draw(r, channels)
		v.next = 1000 + int(at/livePace) - 1 - r.IntN(2)
		v.left = 1 + int(r.ExpFloat64()*60)
		return v
	}
	v.title = draw(r, films)
	if v.left = m.segments; r.IntN(100) < 35 {
		v.left = 1 + int(r.ExpFloat64()*10)
	}
	return v
}

// step asks for a segment of video and one of audio.
func (m *model) step(t *builder, v *viewer) {
	folder, bytes := "vod/film", []int64{0, 600_000, 1_900_000, 3_800_000, 6_000_000}[v.rendition]
	if v.live {
		folder = "live/channel"
	}
	name := func(rendition string) string {
		return fmt.Sprintf("replay/%s%d/%s/seg-%05d.m4s", folder, v.title, rendition, v.next)
	}
	t.add(v.at, name(fmt.Sprint("v", v.rendition)), bytes)
	t.add(v.at, name("audio"), 96_000)
}

// ranks returns the cumulated chances of Zipf's law.
func ranks(n int, exponent float64) []float64 {
	sums := make([]float64, n)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -exponent)
		sums[i] = sum
	}
	return sums
}

func draw(r *rand.Rand, sums []float64) int {
	x := r.Float64() * sums[len(sums)-1]
	for i, s := range sums {
		if x < s {
			return i
		}
	}
	return len(sums) - 1
}

func byteHit(t *testing.T, trace *Trace, policy string, share float64) float64 {
	t.Helper()
	for _, p := range Policies() {
		if p.Name == policy {
			r, err := Run(trace, p, int64(share*float64(trace.Footprint())), 0.1)
			if err != nil {
				t.Fatal(err)
			}
			return 100 * r.ByteHit
		}
	}
	t.Fatalf("no policy %s", policy)
	return 0
}

// Where viewers walk, knowing of streams is worth points of byte hit.
func TestStreamsArePlayedBetter(t *testing.T) {
	t.Parallel()
	for _, m := range []model{
		{titles: 200, segments: 150, zipf: 0.9, requests: 20_000, perMinute: 8, seed: 1},
		{titles: 200, segments: 150, zipf: 0.9, requests: 20_000, perMinute: 12, channels: 20, live: 0.4, seed: 2},
	} {
		trace := m.trace()
		lru, s3, weir, belady := byteHit(t, trace, "lru", 0.05), byteHit(t, trace, "s3fifo", 0.05), byteHit(t, trace, "weir", 0.05), byteHit(t, trace, "belady", 0.05)
		t.Logf("live %g: lru %.1f, s3fifo %.1f, weir %.1f, belady %.1f", m.live, lru, s3, weir, belady)
		if weir < lru+3 || weir < s3+2 || weir > belady {
			t.Errorf("live %g: weir %.1f, lru %.1f, s3fifo %.1f, belady %.1f", m.live, weir, lru, s3, belady)
		}
	}
}

// Where there are no streams, it is no worse than S3-FIFO; only of a tier of some eighty objects the sample costs a point.
func TestStreamLess(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	b := builder{trace: &Trace{}, known: map[string]uint32{}}
	sums := ranks(4000, 0.8)
	for n := range 20_000 {
		object := 1_000_000 + n // asked once
		if n%3 > 0 {
			object = (draw(r, sums) + n/2000*5) % len(sums)
		}
		b.add(time.Duration(n)*tick, fmt.Sprint("replay/", object), 100_000+int64(object*7919%400_000))
	}
	for _, share := range []float64{0.01, 0.05, 0.1} {
		s3, weir, belady := byteHit(t, b.trace, "s3fifo", share), byteHit(t, b.trace, "weir", share), byteHit(t, b.trace, "belady", share)
		t.Logf("at %g: s3fifo %.1f, weir %.1f, belady %.1f", share, s3, weir, belady)
		if weir < s3-1.5 || weir > belady {
			t.Errorf("at %g: weir %.1f, s3fifo %.1f, belady %.1f", share, weir, s3, belady)
		}
	}
}
