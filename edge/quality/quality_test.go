package quality

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pool is a few nodes in one process.
type pool struct {
	ledgers map[string]*Ledger
	down    string
	end     func()
}

func newPool(t *testing.T, names ...string) *pool {
	t.Helper()
	p := &pool{ledgers: map[string]*Ledger{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, name := range names {
		l, err := New(Options{
			Name: name, Owner: func(s Session) Node { return Node{Name: names[int(uint64(s)%uint64(len(names)))]} },
			Send: func(_ context.Context, to Node, text []byte) ([]byte, error) {
				if to.Name == p.down {
					return nil, errors.New("it is down")
				}
				time.Sleep(time.Millisecond)
				return p.ledgers[to.Name].Serve(text, time.Now())
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		p.ledgers[name] = l
		wg.Go(func() { _ = l.Run(ctx) })
	}
	p.end = func() {
		cancel()
		wg.Wait()
	}
	return p
}

func (p *pool) summary() Summary {
	var all []Summary
	for _, l := range p.ledgers {
		all = append(all, l.Summary(time.Now()))
	}
	return Merge(all...)
}

func (s *Summary) find(kind Kind, name string) Named {
	for _, n := range s.Named {
		if n.Kind == kind && n.Name == name {
			return n
		}
	}
	return Named{}
}

// watch plays a session: 2 s objects, the first two with su, at one edge and then at another.
func watch(p *pool, id Session, title string, edges [2]string, objects int, change func(i int, s *Sample)) {
	for i := range objects {
		edge := edges[2*i/objects]
		s := Sample{Session: id, Title: title, Device: "tv", Edge: edge, Network: "AS64500", Video: true, Bitrate: 3000, Duration: 2 * time.Second, Starting: i < 2}
		if change != nil {
			change(i, &s)
		}
		p.ledgers[edge].Add(&s, time.Now())
		time.Sleep(2 * time.Second)
	}
}

func TestASessionOverTwoEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2", "edge-3")
		var wg sync.WaitGroup
		for id := range Session(9) {
			wg.Go(func() {
				watch(p, id, "film", [2]string{"edge-1", "edge-2"}, 20, func(i int, s *Sample) {
					if i >= 12 {
						s.Bitrate = 6000
					}
					s.Starved = i == 15
					if i == 19 {
						s.Ended = true
					}
				})
			})
		}
		time.Sleep(20 * time.Second)
		if s := p.summary(); s.Viewers != 9 || s.All.Sessions != 0 || s.find(Title, "film").Viewers != 9 {
			t.Errorf("while they watch: %d viewers, %d sessions over, %+v", s.Viewers, s.All.Sessions, s.find(Title, "film"))
		}
		wg.Wait()
		time.Sleep(20 * time.Second)
		s := p.summary()
		f := s.All
		if s.Viewers != 0 || f.Sessions != 9 || f.Started != 9 || f.Left != 0 || f.Switches != 9 || f.Stalls != 9 || f.WithStalls != 9 {
			t.Errorf("when they have watched: %d viewers, %+v", s.Viewers, f)
		}
		if f.Watched != 9*40*time.Second || f.Stalled != 9*guessedStall || f.StartUpTime != 9*4*time.Second {
			t.Errorf("watched %s, stalled %s, started after %s in all", f.Watched, f.Stalled, f.StartUpTime)
		}
		if got, want := f.MeanBitrate(), (12*3000.0+8*6000)/20; math.Abs(got-want) > 1 {
			t.Errorf("mean bitrate %.0f, want %.0f", got, want)
		}
		if got := f.StartUp(0.5); got < 2*time.Second || got > 4*time.Second {
			t.Errorf("median start-up %s, want between 2 s and 4 s", got)
		}
		for name, want := range map[string]time.Duration{"edge-1": 180 * time.Second, "edge-2": 180 * time.Second} {
			if n := s.find(Edge, name); n.Watched != want || n.Sessions != 9 {
				t.Errorf("%s: %+v", name, n)
			}
		}
		if n := s.find(Rendition, "6000"); n.Watched != 9*16*time.Second || n.Stalls != 9 {
			t.Errorf("rendition 6000: %+v", n)
		}
		if n := s.find(NetworkKind, "AS64500"); n.Sessions != 9 {
			t.Errorf("network: %+v", n)
		}
		p.end()
	})
}

func TestASwitchOnTheWayBetweenEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2", "edge-3")
		for id := range Session(3) {
			watch(p, id, "film", [2]string{"edge-1", "edge-2"}, 10, func(i int, s *Sample) {
				if i >= 5 {
					s.Bitrate = 6000
				}
				s.Ended = i == 9
			})
		}
		time.Sleep(20 * time.Second)
		if f := p.summary().All; f.Sessions != 3 || f.Switches != 3 {
			t.Errorf("got %d sessions with %d switches, want 3 with 3", f.Sessions, f.Switches)
		}
		p.end()
	})
}

// TestNewsInAnyOrder: what two edges have seen one after the other makes the same session in either order.
func TestNewsInAnyOrder(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := func(from int, kbps int) *viewer {
		v := newViewer(start.Add(time.Duration(from) * time.Second))
		for i := range 5 {
			v.add(&Sample{Edge: fmt.Sprint("edge-", kbps), Video: true, Bitrate: kbps, Duration: time.Second, Starting: from == 0 && i < 3}, start.Add(time.Duration(from+i)*time.Second))
		}
		v.spans(start.Add(20 * time.Second))
		return v
	}
	for _, order := range [][2]*viewer{{seen(0, 1000), seen(10, 2000)}, {seen(10, 2000), seen(0, 1000)}} {
		now := start.Add(20 * time.Second)
		v := newViewer(now.Add(-order[0].FirstAgo))
		v.merge(order[0], now)
		v.merge(order[1], now)
		if f := v.figures(); f.Switches != 1 || f.StartUpTime != 3*time.Second || f.Watched != 10*time.Second {
			t.Errorf("got %+v", f)
		}
	}
}

func TestWhatThePlayerSaysGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2")
		watch(p, 7, "film", [2]string{"edge-1", "edge-2"}, 10, func(i int, s *Sample) {
			switch i {
			case 3:
				s.StartUp = 700 * time.Millisecond
			case 5:
				s.Stalls, s.Stalled, s.Starved = 2, 3*time.Second, true
			case 7:
				s.Errors = 1
			case 9:
				s.Ended, s.Fatal = true, true
			}
		})
		time.Sleep(20 * time.Second)
		f := p.summary().All
		if f.StartUpTime != 700*time.Millisecond || f.Stalls != 2 || f.Stalled != 3*time.Second || f.Errors != 1 || f.WithErrors != 1 || f.Fatal != 1 {
			t.Errorf("got %+v", f)
		}
		// A late word of a session that has ended begins none.
		p.ledgers["edge-1"].Add(&Sample{Session: 7, Title: "film", Edge: "edge-1", Starting: true}, time.Now())
		time.Sleep(3 * time.Minute)
		if f := p.summary().All; f.Sessions != 1 || f.Left != 0 {
			t.Errorf("after a late word: %+v", f)
		}
		p.end()
	})
}

// TestEventsAlone: a player that sends nothing with its requests is followed by its events.
func TestEventsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2")
		for i, plays := range []bool{false, true, true, false, true, true} { // paused in between
			s := Sample{Session: 3, Title: "film", Edge: "edge-1", Event: true, Video: plays, Starting: i == 0, Bitrate: 2000}
			p.ledgers["edge-1"].Add(&s, time.Now())
			time.Sleep(2 * time.Second)
		}
		p.ledgers["edge-1"].Add(&Sample{Session: 3, Edge: "edge-1", Event: true, Ended: true}, time.Now())
		time.Sleep(20 * time.Second)
		s := p.summary()
		if f := s.All; f.Sessions != 1 || f.Watched != 8*time.Second || f.MeanBitrate() != 2000 || f.StartUpTime != 2*time.Second {
			t.Errorf("got %+v", s.All)
		}
		p.end()
	})
}

func TestWhoLeavesBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1")
		p.ledgers["edge-1"].Add(&Sample{Session: 1, Title: "film", Edge: "edge-1", Video: true, Starting: true}, time.Now())
		p.ledgers["edge-1"].Add(&Sample{Session: 2, Title: "film", Edge: "edge-1", Video: true, Bitrate: 1000, Duration: 2 * time.Second}, time.Now()) // from the middle
		time.Sleep(3 * time.Minute)
		if f := p.summary().All; f.Sessions != 2 || f.Left != 1 || f.Started != 0 {
			t.Errorf("got %+v", f)
		}
		p.end()
	})
}

func TestAnOwnerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2")
		p.down = "edge-2"
		for id := range Session(10) {
			p.ledgers["edge-1"].Add(&Sample{Session: id, Title: "film", Edge: "edge-1", Video: true, Bitrate: 1000, Duration: 2 * time.Second}, time.Now())
		}
		time.Sleep(3 * time.Minute)
		if s := p.ledgers["edge-1"].Summary(time.Now()); s.All.Sessions != 10 || s.All.Watched != 20*time.Second {
			t.Errorf("got %+v", s.All)
		}
		p.end()
	})
}

func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2", "edge-3")
		for id := range Session(90) {
			edge := fmt.Sprint("edge-", 1+id%3)
			s := Sample{Session: id, Title: "film", Edge: edge, Network: "AS1", Video: true, Bitrate: 3000, Duration: 50 * time.Second, Ended: true}
			if edge == "edge-2" {
				s.Stalls, s.Stalled = 1, 5*time.Second
			}
			if id < 30 {
				s.Network = "AS2"
				s.Errors = 1
			}
			p.ledgers[edge].Add(&s, time.Now())
		}
		time.Sleep(20 * time.Second)
		s := p.summary()
		if len(s.Hints) != 2 || s.Hints[0].Name != "edge-2" || s.Hints[0].What != "stalls" || s.Hints[1].Name != "AS2" || s.Hints[1].What != "errors" {
			t.Errorf("got %+v", s.Hints)
		}
		p.end()
	})
}

// TestEachHint: an edge, a rendition and a network fall behind by stalls and by errors, and nothing else is named; a few
// sessions are no reason.
func TestEachHint(t *testing.T) {
	for _, kind := range []Kind{Edge, Rendition, NetworkKind} {
		for _, what := range []string{"stalls", "errors"} {
			for _, sessions := range []int{90, 30} {
				synctest.Test(t, func(t *testing.T) {
					p := newPool(t, "edge-0", "edge-1", "edge-2")
					for id := range sessions {
						at := [3]int{id % 3, id / 3 % 3, id / 9 % 3} // edge, rendition, network: every pair alike often
						s := Sample{
							Session: Session(id), Title: "film", Edge: fmt.Sprint("edge-", at[0]), Network: fmt.Sprint("AS", at[2]),
							Video: true, Bitrate: 1000 * (at[1] + 1), Duration: 50 * time.Second, Ended: true,
						}
						if at[map[Kind]int{Edge: 0, Rendition: 1, NetworkKind: 2}[kind]] == 1 {
							if what == "stalls" {
								s.Stalls, s.Stalled = 1, 5*time.Second
							} else {
								s.Errors = 1
							}
						}
						p.ledgers[s.Edge].Add(&s, time.Now())
					}
					time.Sleep(20 * time.Second)
					name := map[Kind]string{Edge: "edge-1", Rendition: "2000", NetworkKind: "AS1"}[kind]
					hints := p.summary().Hints
					switch {
					case sessions < 3*hintSessions && len(hints) != 0:
						t.Errorf("%s, %s, %d sessions: got %+v, want none", kind, what, sessions, hints)
					case sessions < 3*hintSessions:
					case len(hints) != 1 || hints[0].Kind != kind || hints[0].Name != name || hints[0].What != what || hints[0].Text == "":
						t.Errorf("%s, %s: got %+v, want %s alone", kind, what, hints, name)
					}
					p.end()
				})
			}
		}
	}
}

func TestADayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1")
		p.ledgers["edge-1"].Add(&Sample{Session: 1, Title: "film", Edge: "edge-1", Ended: true}, time.Now())
		time.Sleep(23 * time.Hour)
		if f := p.summary().All; f.Sessions != 1 {
			t.Errorf("after 23 hours: %+v", f)
		}
		time.Sleep(3 * time.Hour)
		if f := p.summary().All; f.Sessions != 0 {
			t.Errorf("after 26 hours: %+v", f)
		}
		p.end()
	})
}

func TestNobodyIsNamed(t *testing.T) {
	day := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	key := []byte("key")
	if Hide(key, "a", day) != Hide(key, "a", day.Add(time.Hour)) || Hide(key, "a", day) == Hide(key, "b", day) {
		t.Error("a session is not one on its day, or two are")
	}
	if Hide(key, "a", day) == Hide(key, "a", day.AddDate(0, 0, 1)) || Hide(key, "a", day) == Hide([]byte("other"), "a", day) {
		t.Error("a session can be followed over days, or without the key")
	}
	for address, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48"} {
		if got := Network(0, netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	if got := Network(64500, netip.MustParseAddr("192.0.2.1")); got != "AS64500" {
		t.Errorf("got %s", got)
	}
	if got := Network(0, netip.Addr{}); got != "" {
		t.Errorf("no address: got %s", got)
	}
}

// TestOffline: a film that was watched yesterday, without a network, is told today, in two batches to two edges. It counts by
// its title in figures of its own, with its own times, and nowhere else.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "edge-1", "edge-2")
		defer p.end()
		time.Sleep(36 * time.Hour)
		id := Hide(nil, "on the plane", time.Now())
		begun := time.Now().Add(-24 * time.Hour)
		event := func(edge string, after time.Duration, s Sample) {
			s.Session, s.Title, s.Device, s.Edge, s.Network = id, "film", "phone", edge, "192.0.2.0/24"
			s.Event, s.Offline, s.At = true, true, begun.Add(after)
			p.ledgers[edge].Add(&s, time.Now())
		}
		event("edge-1", 0, Sample{})
		event("edge-1", time.Second, Sample{Video: true, Bitrate: 2000, StartUp: time.Second})
		for i := range 60 {
			event("edge-1", time.Duration(i+1)*30*time.Second, Sample{Video: true, Bitrate: 2000})
		}
		time.Sleep(20 * time.Second) // the first batch has come, the second one is on its way
		followed, away := 0, 0
		for _, l := range p.ledgers {
			followed, away = followed+l.Stats().Followed, away+l.Stats().Away
		}
		if s := p.summary(); s.Viewers != 0 || followed != 0 || away != 1 {
			t.Errorf("who watched yesterday is a viewer: %+v, %d are followed, %d told of, want 0 and 1", s, followed, away)
		}
		for i := range 60 {
			event("edge-2", time.Duration(i+61)*30*time.Second, Sample{Video: true, Bitrate: 2000})
		}
		event("edge-2", 3601*time.Second, Sample{Ended: true, Errors: 1})
		for _, ago := range []time.Duration{MaxAge + time.Minute, -time.Hour} { // too old, and of tomorrow
			p.ledgers["edge-1"].Add(&Sample{Session: 7, Title: "film", Event: true, Offline: true, At: time.Now().Add(-ago)}, time.Now())
		}
		time.Sleep(3 * time.Minute)
		s := p.summary()
		n := s.find(OfflineKind, "film")
		if len(s.Named) != 1 || n.Sessions != 1 || n.Watched.Round(time.Second) != time.Hour || math.Abs(n.MeanBitrate()-2000) > 1 || n.Started != 1 || n.WithErrors != 1 {
			t.Errorf("got %+v, want one session of an hour", s.Named)
		}
		if s.All.Sessions != 0 || s.Viewers != 0 {
			t.Errorf("it counts among those who watch: %+v", s.All)
		}
		total, offline, dropped := int64(0), int64(0), int64(0)
		for _, l := range p.ledgers {
			all, away := l.Total(), l.Offline()
			total, offline, dropped = total+all.Sessions, offline+away.Sessions, dropped+l.Stats().Dropped
		}
		if total != 0 || offline != 1 || dropped != 2 {
			t.Errorf("totals: %d sessions, %d offline, %d dropped, want 0, 1, 2", total, offline, dropped)
		}
	})
}

func TestBounds(t *testing.T) {
	l, err := New(Options{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for id := range Session(maxPending + 10) {
		l.Add(&Sample{Session: id, Title: fmt.Sprint("title ", id), Edge: "edge-1", Ended: true}, now)
	}
	if s := l.Stats(); s.Pending != maxPending || s.Dropped != 10 {
		t.Errorf("got %+v", s)
	}
	l.hand(t.Context(), now)
	l.closeIdle(now.Add(lastWord))
	s := l.Summary(now.Add(lastWord))
	titles := 0
	for _, n := range s.Named {
		if n.Kind == Title {
			titles++
		}
	}
	if titles != maxNames+1 || s.find(Title, other).Sessions != maxPending-maxNames {
		t.Errorf("%d titles, %d sessions of others", titles, s.find(Title, other).Sessions)
	}
}

// TestLies: no player's word moves the sums of all others, or is kept at any length.
func TestLies(t *testing.T) {
	t.Parallel()
	l, err := New(Options{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, d := range []time.Duration{math.MaxInt64, math.MinInt64, 24 * time.Hour, -time.Second} {
		l.Add(&Sample{Session: Session(i), Title: strings.Repeat("x", 8000), Edge: "edge-1", Video: true, Duration: d, StartUp: d, Stalled: d, Ended: true}, now)
	}
	for _, v := range l.pending {
		if len(v.Title) > 256 {
			t.Errorf("a title of %d bytes is kept", len(v.Title))
		}
	}
	l.hand(t.Context(), now)
	l.closeIdle(now.Add(lastWord))
	if f := l.Total(); f.Sessions != 4 || f.Stalled != 0 || f.Stalls != 0 || f.StartUpTime != 0 || f.Started != 0 || f.Watched != 0 {
		t.Errorf("got %+v", f)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	l, err := New(Options{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := &Sample{Session: 1, Title: "film", Edge: "edge-1", Video: true, Bitrate: 3000, Duration: 2 * time.Second}
	l.Add(s, now)
	if n := testing.AllocsPerRun(100, func() { l.Add(s, now) }); n > 0 {
		t.Errorf("a sample of a known session allocates %v times", n)
	}
}

func FuzzServe(f *testing.F) {
	l, err := New(Options{Name: "edge-1"})
	if err != nil {
		f.Fatal(err)
	}
	v := newViewer(time.Now())
	v.add(&Sample{Title: "film", Edge: "edge-1", Video: true, Bitrate: 3000, Duration: time.Second}, time.Now())
	text, err := json.Marshal(message{Viewers: map[Session]*viewer{5: v}, Summary: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"viewers":{"3":{"parts":{"rendition 3000":{"watched":1}}}}}`)
	f.Add(`{"viewers":{"1":null,"2":{"parts":{"edge":null,"x y":{}},"ended":true}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		answer, err := l.Serve([]byte(text), time.Now())
		if err == nil && !strings.HasPrefix(string(answer), "{") {
			t.Errorf("%q: %s", text, answer)
		}
		if s := l.Summary(time.Now()); s.Viewers > maxFollowed {
			t.Error("too many are followed")
		}
	})
}

// TestExport: a process that takes over follows the same viewers, and has the same sums; what comes to the one before
// later goes there too.
func TestExport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before, after, whole := &pool{}, &pool{}, &pool{}
		for _, p := range []*pool{before, after, whole} {
			l, err := New(Options{Name: "edge-1"})
			if err != nil {
				t.Fatal(err)
			}
			p.ledgers = map[string]*Ledger{"edge-1": l}
		}
		old, young, only := before.ledgers["edge-1"], after.ledgers["edge-1"], whole.ledgers["edge-1"]
		sample := func(to *Ledger, s Sample) {
			s.Title, s.Device, s.Edge, s.Network = "film", "tv", "edge-1", "AS64500"
			for _, l := range []*Ledger{to, only} {
				l.Add(&s, time.Now())
			}
		}
		step := func() {
			time.Sleep(2 * time.Second)
			for _, l := range []*Ledger{old, young, only} {
				l.hand(t.Context(), time.Now())
				l.closeIdle(time.Now())
			}
		}
		play := func(to *Ledger, id Session, i int) {
			sample(to, Sample{Session: id, Video: true, Bitrate: 3000 + 1000*(i/3), Duration: 2 * time.Second, Starting: i < 2, Starved: i == 4})
		}
		move := func() {
			parts := 0
			if err := old.Export(t.Context(), time.Now(), func(part []byte) error {
				parts++
				return young.Import(part, time.Now())
			}); err != nil || parts == 0 {
				t.Fatalf("%d parts, %v", parts, err)
			}
			if s := old.Stats(); s.Followed != 0 || s.Pending != 0 || len(old.Summary(time.Now()).Named) != 0 {
				t.Errorf("%+v is still there", s)
			}
		}
		for i := range 6 { // over before
			play(old, 1, i)
			step()
		}
		sample(old, Sample{Session: 1, Ended: true})
		time.Sleep(3 * time.Hour)
		for i := range 4 { // one that plays, one that tells of events alone, one that is left behind
			play(old, 2, i)
			play(old, 3, i)
			if i%2 == 0 {
				sample(old, Sample{Session: 4, Event: true, Video: true, Bitrate: 2000})
			}
			step()
		}
		sample(old, Sample{Session: 5, Ended: true})
		for range 7 {
			step()
		}
		sample(old, Sample{Session: 2, Errors: 1}) // not brought to its owner yet
		move()
		sample(young, Sample{Session: 5}) // a late word of what is over
		step()
		for i := 4; i < 8; i++ {
			play(young, 2, i)
			play(old, 3, i)
			sample(young, Sample{Session: 4, Event: true, Video: true, Bitrate: 2000})
			step()
		}
		move()
		if got, want := young.Summary(time.Now()), only.Summary(time.Now()); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("while they play: got %+v\nwant %+v", got, want)
		}
		for range 50 {
			step()
		}
		if got, want := young.Summary(time.Now()), only.Summary(time.Now()); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || want.All.Sessions != 5 {
			t.Errorf("at the end: got %+v\nwant %+v", got, want)
		}
		if err := young.Import([]byte("{"), time.Now()); err == nil {
			t.Error("half a part has no error")
		}
	})
}
