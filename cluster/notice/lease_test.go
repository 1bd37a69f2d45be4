package notice

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testLease = 10 * time.Second

func leased(o *Options) { o.Lease = testLease }

func (s *seat) sure() bool { return s.Doubt(time.Now()).IsZero() }

// doubtAfter waits until a node doubts, and returns how long that took.
func (s *seat) doubtAfter(limit time.Duration) time.Duration {
	start := time.Now()
	for s.sure() && time.Since(start) < limit {
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

// between has messages lost between the named nodes and all others.
func between(side ...string) func(from, to string) bool {
	return func(from, to string) bool { return slices.Contains(side, from) != slices.Contains(side, to) }
}

func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		names := []string{"a", "b", "c", "d", "e"}
		var gossip atomic.Int32 // what it makes of who is cut off: 0 nothing yet, 1 lost, 2 forgotten
		options := func(name string) func(*Options) {
			return func(o *Options) {
				o.Lease = testLease
				o.Peers = func() (peers []Peer) {
					for _, p := range r.others(name) {
						r.mu.Lock()
						cut := r.lost != nil && r.lost(name, p.Name)
						r.mu.Unlock()
						p.Lost = cut && gossip.Load() > 0
						if !cut || gossip.Load() < 2 {
							peers = append(peers, p)
						}
					}
					return peers
				}
			}
		}
		alone := r.enter("a", options("a"))
		time.Sleep(time.Minute)
		if !alone.sure() {
			t.Error("a node alone doubts")
		}
		for _, name := range names[1:] {
			r.enter(name, options(name))
		}
		time.Sleep(5 * time.Second)
		for _, name := range names {
			if !r.seats[name].sure() {
				t.Errorf("%s doubts, and all are there", name)
			}
		}
		r.part(between("d", "e"))
		if took := r.seats["d"].doubtAfter(time.Minute); took > testLease {
			t.Errorf("d doubts after %s, want %s at most", took, testLease)
		}
		if doubt := r.seats["d"].Doubt(time.Now()); time.Since(doubt) != testLease {
			t.Errorf("d doubts what was fetched %s ago, want %s", time.Since(doubt), testLease)
		}
		gossip.Store(1)
		time.Sleep(time.Minute)
		gossip.Store(2)
		time.Sleep(2 * time.Minute)
		for i, name := range names {
			if got := r.seats[name].sure(); got != (i < 3) {
				t.Errorf("%s of a split of three and two: sure %v after minutes", name, got)
			}
		}
		// Who starts in the minority, anew or again, does not take it for the whole.
		r.seats["e"].leave()
		r.enter("e", options("e"))
		r.part(between("d", "e", "f"))
		f := r.enter("f", options("f"))
		time.Sleep(5 * time.Second)
		if f.sure() || r.seats["e"].sure() {
			t.Errorf("in the minority a new node is sure: %v, one that starts again: %v", f.sure(), r.seats["e"].sure())
		}
		r.part(nil)
		time.Sleep(5 * time.Second)
		for name, s := range r.seats {
			if !s.sure() {
				t.Errorf("%s doubts after the heal", name)
			}
			s.leave()
		}
	})
}

// TestLeaseOfTwo: a majority of two is both, until one says farewell.
func TestLeaseOfTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		a, b := r.enter("a", leased), r.enter("b", leased)
		time.Sleep(5 * time.Second)
		if !a.sure() || !b.sure() {
			t.Fatal("two nodes doubt")
		}
		b.leave() // and does not answer any more: for gossip it may be there still
		if took := a.doubtAfter(time.Minute); took > testLease || took < testLease-2*time.Second {
			t.Errorf("a doubts after %s", took)
		}
		r.mu.Lock()
		delete(r.seats, "b") // as a farewell does
		r.mu.Unlock()
		time.Sleep(time.Second)
		if !a.sure() {
			t.Error("a doubts after the farewell of the other")
		}
		a.leave()
		none := r.enter("a", nil)
		if !none.sure() {
			t.Error("a node without a lease doubts")
		}
		none.leave()
		if _, err := New(Options{
			Name: "a", Joined: none.options.Joined, Peers: none.options.Peers, Send: none.options.Send, Apply: none.options.Apply, Lapse: none.options.Lapse, Lease: time.Second,
		}, time.Now()); err == nil || !strings.Contains(err.Error(), "Lease") {
			t.Errorf("a lease of two intervals: %v", err)
		}
	})
}

// TestLeaseOfMany: the lease of forty nodes needs no exchange with twenty.
func TestLeaseOfMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		var all []*seat
		for i := range 40 {
			all = append(all, r.enter(fmt.Sprintf("n%02d", i), func(o *Options) { o.Lease, o.File = testLease, "" }))
		}
		time.Sleep(10 * time.Second)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			for _, s := range all {
				if !s.sure() {
					t.Errorf("%s doubts, and all are there", s.self.Node)
				}
			}
		}
		for _, s := range all {
			s.leave()
		}
	})
}

// TestLeaseKnowsEarlyNotices: what was acknowledged without those before it is told, too.
func TestLeaseKnowsEarlyNotices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		rarely := func(o *Options) { o.Interval, o.Lease = time.Hour, 4*time.Hour }
		a, b, c := r.enter("a", rarely), r.enter("b", rarely), r.enter("c", rarely)
		synctest.Wait()
		r.part(between("a"))
		a.post(`1`)
		r.part(between("c"))
		if receipts := a.post(`2`); receipts[0].Err != nil {
			t.Errorf("got %+v, want b to have obeyed", receipts)
		}
		r.part(between("a"))
		for range 2 { // the second time there is nothing to tell
			if err := c.exchange(t.Context(), Peer{Name: "b"}); err != nil {
				t.Fatal(err)
			}
		}
		if c.count(`2`) != 1 || c.count(`1`) != 0 {
			t.Errorf("c has obeyed 1 and 2 %d and %d times, want 0 and 1", c.count(`1`), c.count(`2`))
		}
		r.part(nil)
		if err := c.exchange(t.Context(), Peer{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		if c.count(`2`) != 1 || c.count(`1`) != 1 {
			t.Errorf("c has obeyed 1 and 2 %d and %d times, want once each", c.count(`1`), c.count(`2`))
		}
		for _, s := range []*seat{a, b, c} {
			s.leave()
		}
	})
}

// TestLeaseDoubtsTheYoung: a node that was killed has forgotten what it can tell others of, and counts for them when it
// has learned it again.
func TestLeaseDoubtsTheYoung(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		a, b, c := r.enter("a", leased), r.enter("b", leased), r.enter("c", leased)
		time.Sleep(5 * time.Second)
		r.part(between("c"))
		if receipts := a.post(`1`); receipts[0].Err != nil {
			t.Errorf("got %+v, want b to have obeyed", receipts)
		}
		r.kill(b)
		r.part(between("a"))
		b = r.enter("b", leased)
		time.Sleep(testLease)
		for range 20 {
			if time.Sleep(time.Second); c.sure() && c.count(`1`) == 0 {
				t.Fatal("c is sure, and has not obeyed what a majority had")
			}
		}
		// One that has said what it knew when it ended counts at once.
		r.part(nil)
		time.Sleep(5 * time.Second)
		if c.count(`1`) != 1 || !a.sure() || !b.sure() || !c.sure() {
			t.Errorf("after the heal c has obeyed %d times, sure: %v %v %v", c.count(`1`), a.sure(), b.sure(), c.sure())
		}
		b.leave()
		r.part(between("a"))
		b = r.enter("b", leased)
		time.Sleep(2 * testLease)
		if !b.sure() || !c.sure() {
			t.Errorf("two of three doubt, sure: %v %v", b.sure(), c.sure())
		}
		for _, s := range []*seat{a, b, c} {
			s.leave()
		}
	})
}

// TestALeaseMissesNothing: whatever is cut, killed and started, a node that is sure has obeyed all that a majority had
// obeyed a lease ago.
func TestALeaseMissesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { walkLeases(t, seed) })
		})
	}
}

func walkLeases(t *testing.T, seed uint64) {
	t.Helper()
	r := newRoom(t, seed)
	defer func() {
		for _, s := range r.seats {
			s.leave()
		}
	}()
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		r.enter(name, leased)
	}
	time.Sleep(5 * time.Second)
	choice := rand.New(rand.NewPCG(seed, 3))
	acknowledged := map[string]time.Time{} // by a majority
	sure, doubts := 0, 0
	for step := range 300 {
		s := r.seats[names[choice.IntN(len(names))]]
		switch n := choice.IntN(20); {
		case n < 6:
			if s.down() {
				continue
			}
			body := fmt.Sprintf(`"%s %d"`, s.self.Node, step)
			have := 1
			for _, receipt := range s.post(body) {
				if receipt.Err == nil {
					have++
				}
			}
			if have > len(names)/2 {
				acknowledged[body] = time.Now()
			}
		case n < 8:
			side := map[string]bool{}
			for _, name := range names {
				side[name] = choice.IntN(2) == 0
			}
			oneWay := choice.IntN(3) == 0
			r.part(func(from, to string) bool { return side[from] != side[to] && (!oneWay || side[from]) })
		case n < 10:
			r.part(nil)
		case n == 10 && r.settled(): // only one at a time has forgotten what it acknowledged
			r.kill(s)
			time.Sleep(time.Duration(choice.IntN(3000)) * time.Millisecond)
			r.enter(s.self.Node, leased)
		default:
			time.Sleep(time.Duration(choice.IntN(4000)) * time.Millisecond)
		}
		for name, s := range r.seats {
			if s.down() || !s.sure() {
				doubts++
				continue
			}
			sure++
			for body, at := range acknowledged {
				if time.Since(at) > testLease && !s.obeys(body, at) {
					t.Fatalf("step %d: %s is sure and has not obeyed %s, which a majority had %s ago", step, name, body, time.Since(at))
				}
			}
		}
	}
	if sure == 0 || doubts == 0 || len(acknowledged) == 0 {
		t.Errorf("sure %d times, in doubt %d times, %d notices: the walk shows nothing", sure, doubts, len(acknowledged))
	}
}

// settled tells whether no node may have forgotten what it has acknowledged.
func (r *room) settled() bool {
	for _, s := range r.seats {
		s.Board.mu.Lock()
		young := s.lease.young
		s.Board.mu.Unlock()
		if young || s.down() {
			return false
		}
	}
	return true
}
