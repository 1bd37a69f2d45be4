package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// room is boards that reach each other, or not.
type room struct {
	t      *testing.T
	random *rand.Rand
	dir    string

	mu    sync.Mutex // guards the fields below
	seats map[string]*seat
	loss  float64
	lost  func(from, to string) bool          // nil: nothing else is
	takes func(from, to string) time.Duration // one way; nil: nothing
}

// seat is one life of a node, and what it was told.
type seat struct {
	*Board

	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards the fields below
	heard  map[string]int
	ages   map[string]time.Duration
	lapses []time.Time // up to when everything counts as heard
	fail   error       // of Apply
}

func newRoom(t *testing.T, seed uint64) *room {
	t.Helper()
	return &room{t: t, random: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), seats: map[string]*seat{}}
}

// enter starts a node, which remembers what an earlier life had heard: that is on its disk.
func (r *room) enter(name string, change func(*Options)) *seat {
	r.t.Helper()
	s := &seat{heard: map[string]int{}, ages: map[string]time.Duration{}, done: make(chan struct{})}
	r.mu.Lock()
	if old := r.seats[name]; old != nil {
		old.mu.Lock()
		maps.Copy(s.heard, old.heard)
		s.lapses = slices.Clone(old.lapses)
		old.mu.Unlock()
	}
	r.mu.Unlock()
	joined := make(chan struct{})
	close(joined)
	o := Options{
		Name: name, File: filepath.Join(r.dir, name), Joined: func() <-chan struct{} { return joined },
		Peers: func() []Peer { return r.others(name) }, Apply: s.apply, Lapse: s.lapse,
		Send: func(ctx context.Context, to Peer, body []byte) ([]byte, error) { return r.send(ctx, name, to, body) },
	}
	if change != nil {
		change(&o)
	}
	b, err := New(o, time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	s.Board = b
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	r.mu.Lock()
	r.seats[name] = s
	r.mu.Unlock()
	go func() { // ends with leave
		defer close(s.done)
		_ = b.Run(ctx)
	}()
	return s
}

// leave ends a node; its seat stays, as one that does not answer.
func (s *seat) leave() {
	s.cancel()
	<-s.done
}

// kill ends a node that does not come to write its file any more.
func (r *room) kill(s *seat) {
	r.t.Helper()
	path := s.options.File
	text, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	s.leave()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// part has messages lost between those of whom f tells it.
func (r *room) part(f func(from, to string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = f
}

func (s *seat) down() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// lose has a share of the messages, and of the answers, not arrive.
func (r *room) lose(share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loss = share
}

func (r *room) others(name string) (peers []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range slices.Sorted(maps.Keys(r.seats)) {
		if other != name {
			peers = append(peers, Peer{Name: other, Address: other})
		}
	}
	return peers
}

func (r *room) send(ctx context.Context, from string, to Peer, body []byte) ([]byte, error) {
	r.mu.Lock()
	s := r.seats[to.Name]
	lost, answerLost := r.random.Float64() < r.loss || r.lost != nil && r.lost(from, to.Name), r.random.Float64() < r.loss
	way := time.Duration(0)
	if r.takes != nil {
		way = r.takes(from, to.Name)
	}
	r.mu.Unlock()
	if lost || s.down() {
		return nil, errors.New("lost")
	}
	if !pass(ctx, way) {
		return nil, ctx.Err()
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body))))
	if !pass(ctx, way) {
		return nil, ctx.Err()
	}
	if answerLost || w.Code != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.Bytes(), nil
}

// pass lets time pass, unless ctx ends before.
func pass(ctx context.Context, wait time.Duration) bool {
	if wait == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *seat) apply(records []Record) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	for _, r := range records {
		s.heard[string(r.Body)]++
		s.ages[string(r.Body)] = r.Age
	}
	return len(records), nil
}

func (s *seat) lapse(age time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lapses = append(s.lapses, time.Now().Add(-age))
	return nil
}

// obeys tells whether a notice, or the safe side of it, has been told.
func (s *seat) obeys(body string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[body] > 0 || slices.ContainsFunc(s.lapses, func(until time.Time) bool { return !until.Before(at) })
}

func (s *seat) count(body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[body]
}

func (s *seat) ageOf(body string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ages[body]
}

func (s *seat) lapsed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lapses)
}

func (s *seat) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *seat) post(body string) []Receipt {
	s.mu.Lock()
	s.heard[body]++
	s.mu.Unlock()
	receipts, err := s.Post(context.Background(), json.RawMessage(body))
	if err != nil {
		panic(err)
	}
	return receipts
}

func TestPostReachesAllAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		a := r.enter("a", nil)
		b := r.enter("b", nil)
		c := r.enter("c", nil)
		d := r.enter("d", nil)
		synctest.Wait()
		d.leave()
		c.failWith(errors.New("disk full"))
		receipts := a.post(`"1"`)
		if len(receipts) != 3 || receipts[0].Node != "b" || receipts[0].Err != nil || receipts[0].Removed != 1 || !b.obeys(`"1"`, time.Now()) {
			t.Errorf("got %+v, want b to have obeyed", receipts)
		}
		if receipts[1].Err == nil || !strings.Contains(receipts[1].Err.Error(), "disk full") || receipts[2].Err == nil {
			t.Errorf("got %+v, want c and d missing, and why", receipts)
		}
		if s := a.Stats(); s.Posted != 1 || s.Unacknowledged != 2 {
			t.Errorf("got %+v", s)
		}
		// What c could not do comes again, and d hears of it when it starts.
		c.failWith(nil)
		d = r.enter("d", nil)
		<-d.Current()
		if !d.obeys(`"1"`, time.Now()) {
			t.Error("d is current and has not obeyed")
		}
		time.Sleep(5 * time.Second)
		if c.count(`"1"`) == 0 {
			t.Error("c has not obeyed after its disk had room again")
		}
		for _, s := range []*seat{a, b, c, d} {
			s.leave()
		}
	})
}

// TestLossyExchangeConverges: whatever is lost, whoever restarts, however short the logs are, in the end each node has
// obeyed each notice or taken the safe side; and nobody has where nothing was forgotten.
func TestLossyExchangeConverges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { walk(t, seed) })
		})
	}
}

func walk(t *testing.T, seed uint64) {
	t.Helper()
	r := newRoom(t, seed)
	long := seed%2 == 0 // logs; and lives: a notice that only its origin had may go with it
	options := func(o *Options) {
		if !long {
			o.Records = 8
		}
	}
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		r.enter(name, options)
	}
	r.lose(0.5)
	choice := rand.New(rand.NewPCG(seed, 2))
	posted := map[string]time.Time{}
	for step := range 120 {
		name := names[choice.IntN(len(names))]
		s := r.seats[name]
		switch n := choice.IntN(10); {
		case s.down():
			r.enter(name, options)
		case n == 0 && !long:
			s.leave()
		case n < 6:
			body := fmt.Sprintf(`"%s %d"`, name, step)
			posted[body] = time.Now()
			s.post(body)
		default:
			time.Sleep(time.Duration(choice.IntN(2000)) * time.Millisecond)
		}
	}
	r.lose(0)
	for _, name := range names {
		if r.seats[name].down() {
			r.enter(name, options)
		}
	}
	time.Sleep(20 * time.Second)
	for _, name := range names {
		s := r.seats[name]
		for body, at := range posted {
			if !s.obeys(body, at) {
				t.Errorf("%s has not heard %s, posted %s ago", name, body, time.Since(at))
			}
		}
		if long && s.lapsed() > 0 {
			t.Errorf("%s took the safe side %d times, and nothing was forgotten", name, s.lapsed())
		}
		if !long && s.Stats().Records > 8 {
			t.Errorf("%s keeps %d records, more than 8", name, s.Stats().Records)
		}
		s.leave()
	}
}

// TestAnExchangeServesBoth: it gives as much as it takes, and once is enough.
func TestAnExchangeServesBoth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		rarely := func(o *Options) { o.Interval = time.Hour }
		a, b := r.enter("a", rarely), r.enter("b", rarely)
		synctest.Wait()
		r.lose(1)
		a.post(`1`)
		b.post(`2`)
		b.post(`3`)
		r.lose(0)
		if err := a.exchange(t.Context(), Peer{Name: "b"}); err != nil {
			t.Fatal(err)
		}
		if a.count(`2`) != 1 || a.count(`3`) != 1 || b.count(`1`) != 1 || a.Stats().Lag != 0 {
			t.Errorf("a heard 2 and 3 %d and %d times, b heard 1 %d times, want once each", a.count(`2`), a.count(`3`), b.count(`1`))
		}
		a.leave()
		b.leave()
	})
}

// TestAgesNeedNoClock: a notice that arrives late, by way of a third node, is as old as it is, give or take the ways.
// TestAQuietExchangeIsSmall, however many lives of nodes have posted something: it is made twice in a second, by each node.
func TestAQuietExchangeIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		var largest atomic.Int64
		watch := func(o *Options) {
			send := o.Send
			o.Send = func(ctx context.Context, to Peer, body []byte) ([]byte, error) {
				answer, err := send(ctx, to, body)
				if n := int64(len(body) + len(answer)); n > largest.Load() {
					largest.Store(n)
				}
				return answer, err
			}
		}
		a, b := r.enter("a", watch), r.enter("b", watch)
		defer a.leave()
		defer b.leave()
		const lives = 1000
		var records []Record
		for i := range lives {
			records = append(records, Record{Origin: Origin{"c", int64(i + 1)}, Sequence: 1, Body: json.RawMessage(`{}`)})
		}
		if _, _, err := a.receive(records); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if n := len(b.heard); n == 0 || !b.has(records[lives-1]) {
			t.Fatalf("b has not heard all of it, %d bodies", n)
		}
		largest.Store(0)
		time.Sleep(time.Minute)
		if n := largest.Load(); n == 0 || n > 500 {
			t.Errorf("an exchange in which nothing is new takes %d bytes", n)
		}

		// What one of them alone has must come through all the same.
		late := Record{Origin: Origin{"c", 1}, Sequence: 2, Body: json.RawMessage(`{}`)}
		if _, _, err := b.receive([]Record{late}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if !a.has(late) {
			t.Error("one notice more has not come through")
		}
	})
}

func (s *seat) has(r Record) bool {
	s.Board.mu.Lock()
	defer s.Board.mu.Unlock()
	return s.log.has(r.Origin, r.Sequence)
}

func TestAgesNeedNoClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		a, b := r.enter("a", nil), r.enter("b", nil)
		synctest.Wait()
		a.post(`1`)
		if got := b.ageOf(`1`); got != 0 {
			t.Errorf("it arrives %s old, want 0", got)
		}
		a.leave()
		time.Sleep(time.Hour)
		c := r.enter("c", nil)
		<-c.Current()
		if got := c.ageOf(`1`); got < time.Hour || got > time.Hour+time.Minute {
			t.Errorf("it arrives %s old, want an hour", got)
		}
		b.leave()
		c.leave()
	})
}

// TestReplay: who plays a message again, at once or later, changes nothing.
func TestReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		a := r.enter("a", nil)
		message, err := encode(message{Records: []Record{
			{Origin: Origin{"x", 1}, Sequence: 2, Body: json.RawMessage(`2`)}, {Origin: Origin{"x", 1}, Sequence: 1, Body: json.RawMessage(`1`)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 10_000 {
			if _, err := r.send(t.Context(), "", Peer{Name: "a"}, message); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		a.leave()
		a = r.enter("a", nil)
		if _, err := r.send(t.Context(), "", Peer{Name: "a"}, message); err != nil {
			t.Fatal(err)
		}
		if a.count("1") != 1 || a.count("2") != 1 {
			t.Errorf("heard %d and %d times, want once", a.count("1"), a.count("2"))
		}
		a.leave()
	})
}

func TestTheSafeSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		rarely := func(o *Options) { o.Interval = time.Hour } // two weeks are long
		a, b := r.enter("a", rarely), r.enter("b", rarely)
		synctest.Wait()
		a.post(`1`)
		time.Sleep(time.Minute)
		b.leave()
		time.Sleep(6 * 24 * time.Hour)
		b = r.enter("b", rarely)
		<-b.Current()
		if b.lapsed() != 0 {
			t.Error("away for six days: took the safe side")
		}
		b.leave()
		time.Sleep(8 * 24 * time.Hour)
		b = r.enter("b", rarely)
		<-b.Current()
		if b.lapsed() != 1 {
			t.Errorf("away for eight days: took the safe side %d times, want once", b.lapsed())
		}
		if s := a.Stats(); s.Records != 0 {
			t.Errorf("a keeps %d records for two weeks", s.Records)
		}
		// The numbers go on where their beginning is forgotten.
		a.post(`2`)
		if b.count(`2`) == 0 {
			t.Error("b did not hear of a notice after the first ones were forgotten")
		}
		time.Sleep(5 * time.Hour)
		b.Board.mu.Lock()
		high := b.log.high(a.self)
		b.Board.mu.Unlock()
		if high != 2 || b.lapsed() != 1 {
			t.Errorf("b is at %d, lapses %d", high, b.lapsed())
		}
		b.leave()
		if err := os.WriteFile(filepath.Join(r.dir, "b"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b = r.enter("b", rarely)
		if b.lapsed() != 2 {
			t.Errorf("with a damaged file: took the safe side %d times, want once more", b.lapsed())
		}
		a.leave()
		b.leave()
	})
}

func TestAStartWaitsFiveSecondsAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		start := time.Now()
		alone := r.enter("a", nil)
		<-alone.Current()
		if took := time.Since(start); took != 0 {
			t.Errorf("a node alone is current after %s", took)
		}
		deaf := r.enter("b", func(o *Options) {
			o.Send = func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			o.Peers = func() []Peer { return make([]Peer, 10) }
		})
		<-deaf.Current()
		if took := time.Since(start); took != startTimeout {
			t.Errorf("a node that nobody answers is current after %s, want %s", took, startTimeout)
		}
		if receipts := deaf.post(`1`); len(receipts) != 10 || receipts[0].Err == nil || time.Since(start) != startTimeout+DefaultPostTimeout {
			t.Errorf("got %v after %s", receipts, time.Since(start))
		}
		alone.leave()
		deaf.leave()
	})
}

func TestStrangeMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newRoom(t, 1).enter("a", nil)
		for body, want := range map[string]int{
			`{}`: 200, `{"ask":true}`: 200, ``: 400, `[]`: 400, `{"records":[{}]}`: 400,
			`{"records":[{"node":"x","incarnation":1,"sequence":1,"age":-1,"body":1}]}`:        400,
			`{"records":[{"node":"x","incarnation":1,"sequence":0,"body":1}]}`:                 400,
			`{"ask":true,"digest":[{"node":"x","incarnation":1,"floor":2,"high":1}]}`:          400,
			`{"records":[{"node":"x","incarnation":1,"sequence":1000000000000,"body":"1"}]}`:   200,
			`"` + strings.Repeat("x", maxMessage) + `"`:                                        413,
			`{"records":[{"node":"y","incarnation":1,"sequence":1,"body":1,"age":1` + `e99}]}`: 400,
		} {
			w := httptest.NewRecorder()
			a.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
			if w.Code != want {
				t.Errorf("%.80s: got %d %.80s, want %d", body, w.Code, w.Body, want)
			}
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET: got %d", w.Code)
		}
		a.leave()
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}, time.Now()); err == nil {
		t.Error("New takes the zero Options")
	}
	b := &Board{options: Options{}}
	for _, body := range []string{``, `{`, `"` + strings.Repeat("x", MaxBody) + `"`} {
		if _, err := b.Post(t.Context(), json.RawMessage(body)); err == nil {
			t.Errorf("Post takes %.20q", body)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"ask":true,"digest":[{"node":"x","incarnation":1,"floor":1,"floor_age":5,"high":2,"age":4}]}`))
	f.Add([]byte(`{"records":[{"node":"x","incarnation":1,"sequence":1,"age":7,"body":{"kind":"all"}}]}`))
	f.Add([]byte(`{"removed":1,"more":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m message
		if parse(text, &m) != nil {
			return
		}
		again, err := encode(m)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var same message
		if err := parse(again, &same); err != nil {
			t.Fatalf("%q, printed %q: %v", text, again, err)
		}
		l := newLog(Origin{}, 4, 1<<10, DefaultKeep)
		now := time.Unix(1e9, 0)
		for _, p := range m.Digest {
			l.raise(p.Origin, p.Floor, now.Add(-p.FloorAge))
		}
		for _, r := range m.Records {
			l.add(r)
		}
		if l.waiting < 0 || l.waiting > 1<<10 || len(l.arrivals) > 4 || l.bytes > 1<<10 || l.bytes < 0 {
			t.Fatalf("%q: %d records of %d bytes", text, len(l.arrivals), l.bytes)
		}
		for _, p := range l.digest(now) {
			if !p.valid() {
				t.Fatalf("%q: %+v", text, p)
			}
		}
		l.missing(m.Digest, now)
	})
}

// TestPanicOfAnExchange: whatever a node answers, the exchange with it fails alone, and a notice is not acknowledged.
func TestPanicOfAnExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		broken := false
		var mu sync.Mutex
		a := r.enter("a", func(o *Options) {
			send := o.Send
			o.Send = func(ctx context.Context, to Peer, body []byte) ([]byte, error) {
				mu.Lock()
				bug := broken
				mu.Unlock()
				if bug {
					panic("a bug")
				}
				return send(ctx, to, body)
			}
		})
		b := r.enter("b", nil)
		time.Sleep(10 * time.Second)
		mu.Lock()
		broken = true
		mu.Unlock()
		receipts, err := a.Post(t.Context(), json.RawMessage(`"purge"`))
		if err != nil || len(receipts) != 1 || !errors.Is(receipts[0].Err, errBroken) || a.Stats().Panics != 1 {
			t.Errorf("got %+v, %v, %d panics", receipts, err, a.Stats().Panics)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		heard := len(b.heard)
		b.mu.Unlock()
		if heard != 1 {
			t.Errorf("%d notices are known to the other node, want 1", heard)
		}
		a.leave()
		b.leave()
	})
}
