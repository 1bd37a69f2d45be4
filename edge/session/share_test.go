package session

import (
	"context"
	"errors"
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
	o := m.book.options
	o.Ring = func() (uint64, []Node) { return r.versions[m.name].Load(), r.owners(m, 0) }
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
