package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// running has books that look at their rings, until the test ends.
type running struct {
	*pool

	t        *testing.T
	ctx      context.Context //nolint:containedctx // it ends what the test has begun
	wg       *sync.WaitGroup
	versions map[string]*atomic.Uint64 // of the rings, as the nodes see them
}

// runPool runs as many nodes as there are regions; stop ends them.
func runPool(t *testing.T, regions ...string) (r *running, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r = &running{pool: newPool(t, regions...), t: t, ctx: ctx, wg: &sync.WaitGroup{}, versions: map[string]*atomic.Uint64{}}
	for _, m := range r.nodes {
		r.versions[m.name] = &atomic.Uint64{}
		r.versions[m.name].Store(1)
	}
	return r, func() {
		cancel()
		r.wg.Wait()
	}
}

// run begins a node, with an empty book.
func (r *running) run(m *member, change func(*Options)) {
	r.t.Helper()
	o, version := m.book.options, r.versions[m.name]
	o.Ring = func() (uint64, []Node) { return version.Load(), r.owners(m, 0) }
	if change != nil {
		change(&o)
	}
	book, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.set(func() { m.book = book })
	r.wg.Go(func() { _ = book.Run(r.ctx) })
}

// leave takes a node off the rings of all, for good.
func (r *running) leave(m *member) {
	r.set(func() { m.down, m.away = true, true })
	for _, version := range r.versions {
		version.Add(1)
	}
}

// TestALargeGroupMoves: a group of 1,000 is brought to its new owners whole when one leaves, before anything of it is renewed:
// after each second owner in turn has left, all of it lives, and there is no place for one more.
func TestALargeGroupMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := runPool(t, "", "", "", "", "")
		defer stop()
		for _, m := range r.nodes {
			r.run(m, nil)
		}
		const many = 1000
		place := PlaceOf(testKeys[0], "asset", "final")
		owners := r.owned(place)
		var ids []ID
		for i := range many {
			ids = append(ids, mustOpen(t, r.nodes[i%5].book, place, watch("final", many)).ID)
		}
		for len(owners) > 2 {
			r.leave(owners[0])
			owners = owners[1:]
			time.Sleep(5 * shareEvery)
			for i, m := range owners[:2] {
				if a := m.book.all(place); a.Part || len(a.Sessions) != many {
					t.Errorf("owner %d of %d has %d sessions of %d, a part: %t", i+1, len(owners), len(a.Sessions), many, a.Part)
				}
			}
		}
		r.leave(owners[0])
		last := owners[1].book
		var c *Conflict
		if _, err := last.Open(t.Context(), place, watch("final", many)); !errors.As(err, &c) {
			t.Errorf("one more than %d: got %v, want a conflict", many, err)
		}
		lost := slices.DeleteFunc(ids, func(id ID) bool { _, err := last.Renew(t.Context(), id); return err == nil })
		if len(lost) > 0 {
			t.Errorf("%d of %d sessions are lost", len(lost), many)
		}
	})
}

// TestTooManyEndAtTheFirstRenewal: what two halves have let in beyond the limit, while neither could reach the other, ends
// when it is renewed for the first time after, and nothing else does.
func TestTooManyEndAtTheFirstRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := runPool(t, "", "", "", "")
		defer stop()
		for _, m := range r.nodes {
			r.run(m, nil)
		}
		ann := account("ann")
		time.Sleep(agreeTime)
		split := func(cut bool) {
			r.split(cut, "n1", "n2")
			for _, version := range r.versions {
				version.Add(1)
			}
		}
		split(true)
		var ids []ID
		for i, name := range []string{"n1", "n3", "n2", "n4"} {
			ids = append(ids, mustOpen(t, r.node(name).book, ann, watch(fmt.Sprint("film ", i), 2)).ID)
			time.Sleep(time.Second)
		}
		split(false)
		time.Sleep(3 * shareEvery)
		for i, id := range ids {
			_, err := r.nodes[i].book.Renew(t.Context(), id)
			var c *Conflict
			if began := i < 2; began && err != nil || !began && !errors.As(err, &c) {
				t.Errorf("session %d of 4 where two may live: %v", i+1, err)
			}
		}
	})
}

// TestLimitsWaitForTheRing: a node that has been started lets nobody in for whom there is a limit before all have its ring, and
// after five seconds it does anyway; who needs no limit is let in at once.
func TestLimitsWaitForTheRing(t *testing.T) {
	for _, c := range []struct {
		name        string
		agree, from time.Duration // when the other node has the ring, and when the first viewer is to be let in
		alone       bool
	}{
		{name: "soon", agree: time.Second, from: time.Second},
		{name: "never", agree: time.Hour, from: agreeTime},
		{name: "nobody known", agree: time.Hour, from: agreeTime, alone: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, stop := runPool(t, "", "")
			defer stop()
			r.versions["n2"].Store(2)
			r.run(r.node("n2"), nil)
			r.run(r.node("n1"), func(o *Options) {
				ring := o.Ring
				o.Ring = func() (uint64, []Node) {
					version, nodes := ring()
					if c.alone {
						nodes = nil
					}
					return version, nodes
				}
			})
			begin := time.Now()
			time.AfterFunc(c.agree, func() { r.versions["n2"].Store(1) })
			book := r.node("n1").book
			mustOpen(t, book, account("bob"), watch("film", 0))
			if waited := time.Since(begin); waited > 100*time.Millisecond {
				t.Errorf("%s: without a limit: let in after %s", c.name, waited)
			}
			short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := book.Open(short, account("ann"), watch("film", 1)); !errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: with a limit, before: got %v, want ErrUnreachable", c.name, err)
			}
			mustOpen(t, book, account("ann"), watch("film", 1))
			if waited := time.Since(begin); waited < c.from || waited > c.from+2*agreeEvery {
				t.Errorf("%s: let in after %s, want %s", c.name, waited, c.from)
			}
		})
	}
}

// TestManyJoinAtOnce and take the places of all who had a group: they find it where it was, before it is brought to them.
func TestManyJoinAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := runPool(t, "", "")
		defer stop()
		for _, m := range r.nodes {
			r.run(m, nil)
		}
		time.Sleep(agreeTime + shareEvery/2)
		opened := map[Place]Session{}
		for i := range 20 {
			place := account(fmt.Sprint("account ", i))
			opened[place] = mustOpen(t, r.nodes[0].book, place, watch("film", 1))
		}
		for i := range 6 {
			m := r.add(t, fmt.Sprint("new-", i), "")
			r.versions[m.name] = &atomic.Uint64{}
			r.run(m, nil)
		}
		for _, version := range r.versions {
			version.Store(2)
		}
		for place, s := range opened {
			first := r.owned(place)[0]
			var c *Conflict
			if _, err := first.book.Open(t.Context(), place, watch("film", 1)); !errors.As(err, &c) {
				t.Errorf("a second session, by %s: got %v, want a conflict", first.name, err)
			}
			if _, err := first.book.Renew(t.Context(), s.ID); err != nil {
				t.Errorf("renew, by %s: %v", first.name, err)
			}
		}
	})
}
