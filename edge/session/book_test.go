package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pool is a cluster of books in one process.
type pool struct {
	mu    sync.Mutex // guards the fields below
	nodes []*member
	cut   map[[2]string]bool
	sent  int
}

type member struct {
	name, region string
	book         *Book
	down         bool
	away         bool // not on the ring
}

var testKeys = [][]byte{[]byte("a key of the test, 32 bytes long")}

func newPool(t *testing.T, regions ...string) *pool {
	t.Helper()
	p := &pool{cut: map[[2]string]bool{}}
	for i, region := range regions {
		p.add(t, fmt.Sprintf("n%d", i+1), region)
	}
	return p
}

func (p *pool) add(t *testing.T, name, region string) *member {
	t.Helper()
	m := &member{name: name, region: region}
	o := Options{
		Name: name, Region: region, Keys: func() [][]byte { return testKeys },
		Owners: func(place Place) []Node { return p.owners(m, place) },
		Send:   func(ctx context.Context, to Node, text []byte) ([]byte, error) { return p.send(ctx, m, to, text) },
	}
	if region != "" {
		o.Relays = func() []Node { return nil }
		o.Regions = func() [][]Node { return p.regions(m) }
	}
	var err error
	if m.book, err = New(o); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes = append(p.nodes, m)
	return m
}

// owners ranks the nodes that the asking one can reach: a ring after gossip has noticed everything.
func (p *pool) owners(from *member, place Place) []Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Node
	n := len(p.nodes)
	for i := range n {
		m := p.nodes[(int(uint64(place)%uint64(n))+i)%n]
		if m.region == from.region && !m.away && !p.cut[[2]string{from.name, m.name}] {
			list = append(list, Node{Name: m.name})
		}
	}
	return list
}

func (p *pool) regions(from *member) [][]Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := map[string][]Node{}
	var names []string
	for _, m := range p.nodes {
		if m.region != from.region && !m.down {
			if by[m.region] == nil {
				names = append(names, m.region)
			}
			by[m.region] = append(by[m.region], Node{Name: m.name})
		}
	}
	var list [][]Node
	for _, name := range names {
		list = append(list, by[name])
	}
	return list
}

func (p *pool) send(ctx context.Context, from *member, to Node, text []byte) ([]byte, error) {
	p.mu.Lock()
	p.sent++
	i := slices.IndexFunc(p.nodes, func(m *member) bool { return m.name == to.Name })
	m := p.nodes[i]
	silent, book := m.down || from.down || p.cut[[2]string{from.name, m.name}], m.book
	p.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(time.Millisecond)
	return book.Serve(ctx, text)
}

func (p *pool) node(name string) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes[slices.IndexFunc(p.nodes, func(m *member) bool { return m.name == name })]
}

func (p *pool) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// split cuts the nodes of a from all others, or heals.
func (p *pool) split(cut bool, a ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.nodes {
		for _, y := range p.nodes {
			if slices.Contains(a, x.name) != slices.Contains(a, y.name) {
				p.cut[[2]string{x.name, y.name}] = cut
			}
		}
	}
}

func account(name string) Place { return PlaceOf(testKeys[0], "account", name) }

func watch(asset string, limit int) Opening {
	return Opening{Session: Session{Asset: asset, Device: "tv"}, Limit: limit}
}

func mustOpen(t *testing.T, b *Book, p Place, o Opening) Session {
	t.Helper()
	s, err := b.Open(t.Context(), p, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func TestLifeOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Options{Keys: func() [][]byte { return testKeys }})
		if err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, b, account("ann"), watch("film", 0))
		if s.Asset != "film" || s.Device != "tv" || s.Started.IsZero() {
			t.Errorf("opened: got %+v", s)
		}
		time.Sleep(DefaultLease - time.Second)
		if s, err = b.Renew(t.Context(), s.ID); err != nil || s.Renewed != 1 {
			t.Fatalf("renew within the lease: got %+v, %v", s, err)
		}
		time.Sleep(DefaultLease)
		if _, err = b.Renew(t.Context(), s.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("renew after the lease: got %v, want ErrEnded", err)
		}
		s = mustOpen(t, b, account("ann"), watch("film", 0))
		for range 2 {
			if _, err = b.End(t.Context(), s.ID); err != nil {
				t.Errorf("end: %v", err)
			}
		}
		if _, err = b.Renew(t.Context(), s.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("renew after the end: got %v, want ErrEnded", err)
		}
		time.Sleep(3 * DefaultLease)
		b.clean(time.Now())
		if b.Len() != 0 {
			t.Errorf("%d sessions are kept long after their end, want 0", b.Len())
		}
		if _, err = b.Renew(t.Context(), s.ID); !errors.Is(err, ErrUnknown) {
			t.Errorf("renew long after the end: got %v, want ErrUnknown", err)
		}
	})
}

func TestIDsOfOthersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "")
		s := mustOpen(t, p.nodes[0].book, account("ann"), watch("film", 0))
		p.sent = 0
		forged := newID([]byte("another key"), account("ann"))
		flipped := "A" + s.ID[1:]
		if s.ID[0] == 'A' {
			flipped = "B" + s.ID[1:]
		}
		for _, id := range []ID{"", "x", forged, s.ID + "A", s.ID[:31], flipped, ID("../../../../../../../../../../..")} {
			if _, err := p.nodes[1].book.Renew(t.Context(), id); !errors.Is(err, ErrUnknown) {
				t.Errorf("renew %q: got %v, want ErrUnknown", id, err)
			}
		}
		if p.sent != 0 {
			t.Errorf("%d messages were sent for IDs that no node has made", p.sent)
		}
		rotated := [][]byte{[]byte("the next key of the test"), testKeys[0]}
		if _, err := s.ID.place(rotated); err != nil {
			t.Errorf("an ID of the key before: %v", err)
		}
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		ann := account("ann")
		first := mustOpen(t, p.nodes[0].book, ann, watch("film", 2))
		time.Sleep(time.Second)
		second := mustOpen(t, p.nodes[1].book, ann, watch("series", 2))
		var c *Conflict
		if _, err := p.nodes[2].book.Open(t.Context(), ann, watch("match", 2)); !errors.As(err, &c) {
			t.Fatalf("a third of two: got %v, want a *Conflict", err)
		}
		if len(c.Sessions) != 2 || c.Limit != 2 || c.Sessions[0].ID != first.ID || c.Sessions[1].Asset != "series" {
			t.Errorf("the conflict names %+v", c)
		}
		mustOpen(t, p.nodes[0].book, account("bob"), watch("film", 2))

		// One that ends makes room, and one in its place takes it.
		if _, err := p.nodes[3].book.End(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, p.nodes[2].book, ann, watch("match", 2))
		instead := watch("news", 2)
		instead.Replace = true
		mustOpen(t, p.nodes[1].book, ann, instead)
		if _, err := p.nodes[0].book.Renew(t.Context(), second.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("renew what was replaced: got %v, want ErrEnded", err)
		}
	})
}

func TestTheSameOpeningTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "")
		o := watch("film", 1)
		o.Key = "attempt-1"
		a := mustOpen(t, p.nodes[0].book, account("ann"), o)
		if b := mustOpen(t, p.nodes[2].book, account("ann"), o); b.ID != a.ID {
			t.Errorf("the same opening: got %s, want %s", b.ID, a.ID)
		}
		if _, err := p.nodes[1].book.End(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, p.nodes[1].book, account("ann"), o)
		if b.ID == a.ID {
			t.Error("an opening after the end is the session that has ended")
		}
		// It stays so when the one that has ended is forgotten, and where that comes from another node later.
		for range 4 {
			time.Sleep(DefaultLease * 2 / 3)
			if _, err := p.nodes[0].book.Renew(t.Context(), b.ID); err != nil {
				t.Fatal(err)
			}
		}
		if c := mustOpen(t, p.nodes[0].book, account("ann"), o); c.ID != b.ID {
			t.Errorf("the same opening, when one before it was forgotten: got %s, want %s", c.ID, b.ID)
		}
	})
}

// TestKeyOfTwoOpenings: a key is that of the last opening, in whatever order a node hears of them.
func TestKeyOfTwoOpenings(t *testing.T) {
	t.Parallel()
	now := time.Now()
	one := &entry{Session: Session{ID: "one", Started: now.Add(-time.Minute), Expires: now.Add(time.Minute), Ended: true}, key: "k"}
	two := &entry{Session: Session{ID: "two", Started: now, Expires: now.Add(time.Minute)}, key: "k"}
	for _, order := range [][]*entry{{one, two}, {two, one}} {
		g := newGroup()
		for _, e := range order {
			g.merge(e, now)
		}
		if e := g.opened(&Opening{Key: "k"}); e != two {
			t.Errorf("%s first: the key leads to %+v", order[0].ID, e)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "", "")
		const limit = 3
		opened := make(chan ID, 100)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if s, err := p.nodes[i%5].book.Open(t.Context(), account("ann"), watch("film", limit)); err == nil {
					opened <- s.ID
				}
			})
		}
		wg.Wait()
		if len(opened) != limit {
			t.Errorf("%d of 100 were opened, want %d", len(opened), limit)
		}
	})
}

// TestANodeIsLost: whichever owner is gone, sessions go on and the limit holds.
func TestANodeIsLost(t *testing.T) {
	for lost := range 3 {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, "", "", "")
			ann := account("ann")
			s := mustOpen(t, p.nodes[0].book, ann, watch("film", 1))
			p.set(func() { p.nodes[lost].down = true }) // nobody has noticed yet
			from := p.nodes[(lost+1)%3].book
			var c *Conflict
			if _, err := from.Open(t.Context(), ann, watch("film", 1)); !errors.As(err, &c) || len(c.Sessions) != 1 {
				t.Errorf("node %d is lost: a second session: got %v, want a conflict", lost+1, err)
			}
			if _, err := from.Renew(t.Context(), s.ID); err != nil {
				t.Errorf("node %d is lost: renew: %v", lost+1, err)
			}
			p.set(func() { p.nodes[lost].away = true }) // now the ring is another one
			time.Sleep(30 * time.Second)
			if _, err := from.Renew(t.Context(), s.ID); err != nil {
				t.Errorf("node %d has left the ring: renew: %v", lost+1, err)
			}
			if _, err := from.Open(t.Context(), ann, watch("film", 1)); !errors.As(err, &c) {
				t.Errorf("node %d has left the ring: a second session: got %v, want a conflict", lost+1, err)
			}
		})
	}
}

// TestANodeJoins that becomes the owner of a group it has never heard of.
func TestANodeJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "")
		ids := map[Place]ID{}
		for i := range 40 {
			place := account(fmt.Sprint("account ", i))
			ids[place] = mustOpen(t, p.nodes[i%2].book, place, watch("film", 1)).ID
		}
		p.add(t, "n3", "")
		p.add(t, "n4", "")
		for place, id := range ids {
			var c *Conflict
			if _, err := p.node("n4").book.Open(t.Context(), place, watch("film", 1)); !errors.As(err, &c) {
				t.Errorf("a second session: got %v, want a conflict", err)
			}
			if _, err := p.node("n3").book.Renew(t.Context(), id); err != nil {
				t.Errorf("renew: %v", err)
			}
		}
	})
}

// TestSplit: each half keeps the limit for itself, and the exchange after it ends those that began last.
func TestSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		ann := account("ann")
		p.split(true, "n1", "n2")
		var ids []ID
		for i, name := range []string{"n1", "n3", "n2", "n4"} {
			s, err := p.node(name).book.Open(t.Context(), ann, watch(fmt.Sprint("film ", i), 2))
			if err != nil {
				t.Fatalf("open at %s behind the split: %v", name, err)
			}
			ids = append(ids, s.ID)
			time.Sleep(time.Second)
		}
		p.split(false, "n1", "n2")
		for range 2 {
			time.Sleep(30 * time.Second)
			for i, id := range ids {
				_, err := p.nodes[i].book.Renew(t.Context(), id)
				var c *Conflict
				switch gone := errors.As(err, &c) || errors.Is(err, ErrEnded); {
				case i < 2 && err != nil:
					t.Errorf("session %d, among the first two: %v", i, err)
				case i >= 2 && err == nil:
					t.Logf("session %d has not been seen together with the others yet", i)
				case i >= 2 && !gone:
					t.Errorf("session %d: got %v", i, err)
				}
			}
		}
		for i, id := range ids[2:] {
			if _, err := p.nodes[i].book.Renew(t.Context(), id); err == nil {
				t.Errorf("session %d lives beyond the limit two renewals after the split", i+2)
			}
		}
	})
}

// TestRegions: what one region opens counts in the others a moment later.
func TestRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPool(t, "west", "west", "east", "east", "south")
		var wg sync.WaitGroup
		for _, n := range p.nodes {
			wg.Go(func() { _ = n.book.Run(ctx) })
		}
		ann := account("ann")
		s := mustOpen(t, p.node("n1").book, ann, watch("film", 1))
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		for _, name := range []string{"n3", "n4", "n5"} {
			var c *Conflict
			if _, err := p.node(name).book.Open(t.Context(), ann, watch("film", 1)); !errors.As(err, &c) {
				t.Errorf("a second session at %s: got %v, want a conflict", name, err)
			} else if c.Sessions[0].Region != "west" {
				t.Errorf("the conflict names region %q, want west", c.Sessions[0].Region)
			}
		}
		if _, err := p.node("n2").book.End(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		mustOpen(t, p.node("n5").book, ann, watch("film", 1))
		cancel()
		wg.Wait()
	})
}

// TestARegionIsAway: what it does not hear holds up no other region, and its silence is not taken for that of the relay.
func TestARegionIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "west", "west", "away", "gone", "east")
		p.split(true, "n3")
		p.split(true, "n4")
		node, relay := p.node("n1").book, p.node("n2").book
		node.options.Regions = nil
		node.options.Relays = func() []Node { return []Node{{Name: "n2"}} }
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, b := range []*Book{node, relay} {
			wg.Go(func() { _ = b.Run(ctx) })
		}
		const many = 100
		for i := range many {
			mustOpen(t, node, account(fmt.Sprint("viewer ", i)), watch("film", 1))
		}
		time.Sleep(30 * time.Second)
		if n := p.node("n5").book.Len(); n != many {
			t.Errorf("the third region has heard of %d of %d sessions", n, many)
		}
		node.mu.Lock()
		_, quiet := node.quiet["n2"]
		node.mu.Unlock()
		if quiet {
			t.Error("the relay is left out, as if it did not answer")
		}
		cancel()
		wg.Wait()
	})
}

// TestOthersOfALargeGroup: who is refused costs no more where 50,000 watch than where 100 do.
func TestOthersOfALargeGroup(t *testing.T) { // not parallel: it counts allocations
	now := time.Now()
	cost := func(many int) float64 {
		g := newGroup()
		for i := range many {
			g.put(&entry{Session: Session{ID: ID(fmt.Sprint(i)), Started: now.Add(time.Duration(i)), Expires: now.Add(time.Minute), Ended: i%2 == 0}}, now)
		}
		n := testing.AllocsPerRun(10, func() {
			if list := g.others("1", maxNamed, now); len(list) != maxNamed || !slices.IsSortedFunc(list, func(a, b Session) int { return a.Started.Compare(b.Started) }) {
				t.Errorf("of %d sessions %d are named", many, len(list))
			}
		})
		return n
	}
	if small, large := cost(100), cost(50_000); large > small {
		t.Errorf("%v allocations, and %v among 50,000", small, large)
	}
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Options{Keys: func() [][]byte { return testKeys }, Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			mustOpen(t, b, account(fmt.Sprint(i)), watch("film", 0))
		}
		if _, err := b.Open(t.Context(), account("late"), watch("film", 0)); !errors.Is(err, ErrFull) {
			t.Errorf("the eleventh of ten: got %v, want ErrFull", err)
		}
		time.Sleep(2*DefaultLease + time.Second)
		b.clean(time.Now())
		mustOpen(t, b, account("late"), watch("film", 0))
	})
}

func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "")
		for i := range 30 {
			mustOpen(t, p.nodes[i%3].book, account(fmt.Sprint(i)), watch(fmt.Sprint("film ", i%2), 0))
		}
		sum := map[string]int{}
		for _, n := range p.nodes {
			for _, c := range n.book.Counts(time.Now()) {
				sum[c.Asset] += c.Sessions
			}
		}
		if sum["film 0"] != 15 || sum["film 1"] != 15 {
			t.Errorf("counted %v, want 15 of each", sum)
		}
	})
}

// TestWalk opens, renews and ends at random while at most one node is down, and holds the answers against what a single
// book would say.
func TestWalk(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { walk(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func walk(t *testing.T, random *rand.Rand) {
	t.Helper()
	p := newPool(t, "", "", "", "", "")
	const limit, accounts = 3, 6
	held := map[int][]ID{}
	renewed := map[ID]time.Time{}
	down := -1
	for step := range 2_000 {
		now := time.Now()
		a := random.IntN(accounts)
		from := random.IntN(len(p.nodes))
		for from == down {
			from = random.IntN(len(p.nodes))
		}
		book := p.nodes[from].book
		held[a] = slices.DeleteFunc(held[a], func(id ID) bool { return !now.Before(renewed[id].Add(DefaultLease)) })
		switch kind := random.IntN(20); {
		case kind < 6:
			s, err := book.Open(t.Context(), account(fmt.Sprint(a)), watch("film", limit))
			var c *Conflict
			switch {
			case err == nil && len(held[a]) >= limit:
				t.Fatalf("step %d: a session beyond the limit was opened", step)
			case err == nil:
				held[a] = append(held[a], s.ID)
				renewed[s.ID] = time.Now()
			case !errors.As(err, &c) || len(held[a]) < limit:
				t.Fatalf("step %d: open with %d of %d: %v", step, len(held[a]), limit, err)
			}
		case kind < 15 && len(held[a]) > 0:
			id := held[a][random.IntN(len(held[a]))]
			if _, err := book.Renew(t.Context(), id); err != nil {
				t.Fatalf("step %d: renew: %v", step, err)
			}
			renewed[id] = time.Now()
		case kind < 17 && len(held[a]) > 0:
			id := held[a][0]
			if _, err := book.End(t.Context(), id); err != nil {
				t.Fatalf("step %d: end: %v", step, err)
			}
			held[a] = held[a][1:]
		case kind == 17 && down < 0:
			down = random.IntN(len(p.nodes))
			p.set(func() { p.nodes[down].down = true })
		case kind == 18 && down >= 0:
			// It has been gone for longer than a renewal: what it kept has a copy and a new owner. It comes back empty.
			for _, ids := range held {
				for _, id := range ids {
					if _, err := p.nodes[(down+1)%len(p.nodes)].book.Renew(t.Context(), id); err == nil {
						renewed[id] = time.Now()
					}
				}
			}
			p.restart(t, p.nodes[down])
			down = -1
			time.Sleep(2 * quietTime)
		}
		time.Sleep(time.Duration(random.IntN(800)) * time.Millisecond)
	}
}

// restart gives a node an empty book, as a process that was killed has.
func (p *pool) restart(t *testing.T, m *member) {
	t.Helper()
	book, err := New(m.book.options)
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { m.book, m.down = book, false })
}

// owned orders the members by their rank at that place.
func (p *pool) owned(place Place) []*member {
	var list []*member
	for _, n := range p.owners(p.nodes[0], place) {
		list = append(list, p.node(n.Name))
	}
	return list
}

// TestALargeGroup is exchanged change by change: who has heard of some of it asks for the rest before it decides.
func TestALargeGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		asset := PlaceOf(testKeys[0], "asset", "match")
		const limit = 3 * wholeGroup
		var ids []ID
		for i := range limit {
			ids = append(ids, mustOpen(t, p.nodes[i%3].book, asset, watch("match", limit)).ID)
		}
		owners := p.owned(asset)
		p.restart(t, owners[1])
		if _, err := owners[0].book.Renew(t.Context(), ids[0]); err != nil { // brings the second owner one of many
			t.Fatal(err)
		}
		p.set(func() { p.cut[[2]string{owners[3].name, owners[0].name}] = true })
		var c *Conflict
		if _, err := owners[3].book.Open(t.Context(), asset, watch("match", limit)); !errors.As(err, &c) {
			t.Errorf("one more than %d at an owner that has forgotten: got %v, want a conflict", limit, err)
		}
	})
}

// TestTwoFirstOwners decide at the same moment: one of two openings is one too many.
func TestTwoFirstOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		for i := range 20 {
			place := account(fmt.Sprint(i))
			owners := p.owned(place)
			link := [2]string{owners[3].name, owners[0].name}
			p.set(func() { p.cut[link] = true }) // for the fourth node the second owner is the first
			var opened int
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, from := range []*member{owners[2], owners[3]} {
				wg.Go(func() {
					_, err := from.book.Open(t.Context(), place, watch("film", 1))
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						opened++
					}
				})
			}
			wg.Wait()
			p.set(func() { p.cut[link] = false })
			if opened != 1 {
				t.Errorf("account %d: %d sessions of 1 were opened", i, opened)
			}
		}
	})
}

// TestASilentOwner costs one wait, not one for each request.
func TestASilentOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		place := account("ann")
		owners := p.owned(place)
		p.set(func() { owners[0].down = true })
		s := mustOpen(t, owners[2].book, place, watch("film", 1))
		begin := time.Now()
		for range 5 {
			if _, err := owners[2].book.Renew(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("five renewals took %s beside an owner that is known to be silent, want a few ms", took)
		}
	})
}
