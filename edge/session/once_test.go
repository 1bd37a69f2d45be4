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

// once asks one node of the pool.
func once(t *testing.T, m *member, name string) bool {
	t.Helper()
	first, err := m.book.Once(t.Context(), account(name), 10*time.Minute)
	if err != nil {
		t.Fatalf("%s at %s: %v", name, m.name, err)
	}
	return first
}

// TestOnce: what may be used once is used once, whichever nodes are asked at the same time, and after the loss of any one
// of them; it may be used again after its time, which is not kept for a lease.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "", "", "")
		for _, m := range p.nodes {
			m.book.options.Lease, m.book.options.Keep = 24*time.Hour, time.Minute
		}
		var firsts atomic.Int64
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if once(t, p.nodes[i%len(p.nodes)], "token") {
					firsts.Add(1)
				}
			})
		}
		wg.Wait()
		if firsts.Load() != 1 {
			t.Errorf("it was used %d times at once, want 1", firsts.Load())
		}
		if once(t, p.nodes[1], "token") || !once(t, p.nodes[1], "another one") {
			t.Error("one is used twice, or one is taken for another")
		}
		for _, lost := range p.nodes {
			p.set(func() { lost.down = true })
			for _, m := range p.nodes {
				if m != lost && once(t, m, "token") {
					t.Errorf("without %s it is used again at %s", lost.name, m.name)
				}
			}
			p.set(func() { lost.down = false })
		}
		time.Sleep(12 * time.Minute)
		for _, m := range p.nodes {
			m.book.clean(time.Now())
			if n := m.book.Len(); n != 0 {
				t.Errorf("%s keeps %d after their time", m.name, n)
			}
		}
		if !once(t, p.nodes[3], "token") {
			t.Error("it is not free after its time")
		}
	})
}

// TestOnceIsUnsure: where no owner answers nobody says that it is the first time.
func TestOnceIsUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "", "")
		outside := p.add(t, "n3", "elsewhere")
		outside.book.options.Owners = func(Place) []Node { return []Node{{Name: "n1"}, {Name: "n2"}} }
		for _, m := range p.nodes[:2] {
			m.down = true
		}
		if first, err := outside.book.Once(t.Context(), account("token"), time.Minute); first || !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %t, %v", first, err)
		}
	})
}

// TestOnceInRegions: another region knows it a moment later, also where it could not be reached at first.
func TestOnceInRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPool(t, "west", "west", "east", "east")
		var wg sync.WaitGroup
		for _, n := range p.nodes {
			n.book.options.Keep = time.Minute
			wg.Go(func() { _ = n.book.Run(ctx) })
		}
		if !once(t, p.nodes[0], "token") {
			t.Error("it is not the first time")
		}
		time.Sleep(100 * time.Millisecond)
		if once(t, p.nodes[2], "token") {
			t.Error("the other region does not know of it")
		}
		p.split(true, "n1", "n2")
		if !once(t, p.nodes[1], "late") {
			t.Error("it is not the first time")
		}
		time.Sleep(10 * time.Second)
		p.split(false, "n1", "n2")
		time.Sleep(20 * time.Second) // a fourth of Keep, and the way
		if once(t, p.nodes[3], "late") {
			t.Error("the other region has never heard of it")
		}
		cancel()
		wg.Wait()
	})
}

// TestOwnersThatComeAndGo: what is used once is known after its owners have been lost and started again one after the
// other, and after nodes have left for good: it is brought to those that take their place.
func TestOwnersThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := runPool(t, "", "", "", "")
		defer stop()
		run := func(m *member) {
			p.run(m, func(o *Options) { o.Lease, o.Keep = 24*time.Hour, time.Minute })
		}
		for _, m := range p.nodes {
			run(m)
		}
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprint("token-", i))
		}
		for i, name := range names {
			if !once(t, p.nodes[i%4], name) {
				t.Errorf("%s is used before", name)
			}
		}
		known := func(when string, nodes []*member) {
			t.Helper()
			for i, name := range names {
				if once(t, nodes[i%len(nodes)], name) {
					t.Errorf("%s: %s is used again", when, name)
				}
			}
		}
		for _, m := range slices.Concat(p.nodes, p.nodes) { // killed, and back before anybody has noticed
			p.set(func() { m.down = true })
			time.Sleep(100 * time.Millisecond)
			run(m)
			p.set(func() { m.down = false })
			time.Sleep(5 * time.Second)
			known("after "+m.name+" was started again", p.nodes)
		}
		left := slices.Clone(p.nodes)
		for _, i := range []int{0, 2, 0} { // one after the other leaves for good, which the others see at different times
			m := left[i]
			left = slices.Delete(left, i, i+1)
			p.set(func() { m.down = true })
			for _, other := range left {
				p.set(func() { p.cut[[2]string{other.name, m.name}] = true })
				p.versions[other.name].Add(1)
				time.Sleep(3 * time.Second)
			}
			known("without "+m.name, left)
		}
	})
}
