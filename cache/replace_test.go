package cache

import (
	"fmt"
	"testing"
)

func TestRefresh(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		for _, n := range []int{0, 1000, 200_000} {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				o := opts
				if o.Dir != "" {
					o.Dir = t.TempDir()
				}
				refresh(t, o, n)
			})
		}
	})
}

func refresh(t *testing.T, opts Options, n int) {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	key, body := NewKey("playlist"), pattern(1, n)
	put(t, c, key, body, -1)
	for i := range 20 {
		stale := c.Get(key)
		if stale == nil {
			// A large file takes so many heads only, then it is dropped.
			if n < 100_000 || i == 0 {
				t.Fatalf("miss before refresh %d", i)
			}
			put(t, c, key, body, -1)
			continue
		}
		f := lead(t, c, key, stale)
		g := join2(t, c, key, stale)
		h := head(0)
		h.Header.Set("Age-Of-Head", fmt.Sprint(i))
		fresh, err := f.Refresh(stale, h)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := g.Object(t.Context()); err != nil || o != fresh {
			t.Errorf("waiter got %p, %v, want %p", o, err, fresh)
		} else {
			o.Release()
		}
		stale.Release()
		wantBody(t, fresh, body)
		fresh.Release()
		if o := c.Get(key); o != nil {
			if got := o.Head().Header.Get("Age-Of-Head"); got != fmt.Sprint(i) {
				t.Errorf("head %q after refresh %d", got, i)
			}
			o.Release()
		}
	}
	last := c.Get(key)
	if last == nil {
		put(t, c, key, body, -1)
		last = c.Get(key)
	}
	want := last.Head().Header.Get("Age-Of-Head")
	last.Release()
	shut(t, c)
	if opts.Dir == "" {
		return
	}
	c = open(t, opts)
	wantStored(t, c, key, body)
	o := c.Get(key)
	defer o.Release()
	if got := o.Head().Header.Get("Age-Of-Head"); got != want {
		t.Errorf("head %q after a restart, want %q", got, want)
	}
}

// join2 is join for a caller that has seen an object.
func join2(t *testing.T, c *Cache, key Key, seen *Object) *Fill {
	t.Helper()
	turn := c.Begin(key, seen)
	if turn.Leader || turn.Fill == nil {
		t.Fatalf("Begin(%s, seen) = %+v, want a running fill", key.Text, turn)
	}
	return turn.Fill
}

// What a caller has seen stays seen when it was evicted and opened again.
func TestSeenSurvivesReopening(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Dir: t.TempDir(), OpenFiles: 1})
	key, body := NewKey("seen"), pattern(1, 200_000)
	put(t, c, key, body, -1)
	seen := c.Get(key)
	put(t, c, NewKey("other"), body, -1) // takes the only slot
	lead(t, c, key, seen).Abort(errUpstream)
	again := c.Get(key)
	if again == nil || again == seen || !again.same(seen) {
		t.Errorf("reopened object is not the same: %p, %p", again, seen)
	}
	lead(t, c, key, seen).Abort(errUpstream)
	again.Release()
	seen.Release()
}

func TestVariants(t *testing.T) {
	t.Parallel()
	c := open(t, Options{})
	primary, variant := NewKey("page"), NewKey("page gzip")
	f := lead(t, c, primary, nil)
	c.SetVary(primary, []string{"Accept-Encoding"})
	g := join(t, c, primary)
	if err := fill(f, variant, []byte("body"), -1); err != nil {
		t.Fatal(err)
	}
	o, err := g.Object(t.Context())
	if err != nil || o.Key() != variant {
		t.Fatalf("Object = %v, %v, want the variant", o, err)
	}
	o.Release()
	wantStored(t, c, variant, []byte("body"))
	wantMiss(t, c, primary)
	if got := c.Vary(primary.ID); len(got) != 1 || got[0] != "Accept-Encoding" {
		t.Errorf("Vary = %q", got)
	}
	// Somebody who knew nothing of the variant leads a fill of the primary key and finds the variant then.
	f = lead(t, c, primary, nil)
	g = join(t, c, primary)
	stored := c.Get(variant)
	if err := f.Resolve(stored); err != nil {
		t.Fatal(err)
	}
	o, err = g.Object(t.Context())
	if err != nil || o != stored {
		t.Errorf("Object = %p, %v, want %p", o, err, stored)
	}
	o.Release()
	stored.Release()
	c.SetVary(primary, nil)
	if got := c.Vary(primary.ID); got != nil {
		t.Errorf("Vary = %q, want none", got)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		key, body := NewKey("k"), pattern(1, 100_000)
		if c.Remove(key) && opts.Dir == "" {
			t.Error("Remove of nothing = true")
		}
		put(t, c, key, body, -1)
		held := c.Get(key)
		if !c.Remove(key) {
			t.Error("Remove = false")
		}
		wantBody(t, held, body)
		held.Release()
		wantMiss(t, c, key)

		// A fill that began before the removal ends for its readers only.
		f := lead(t, c, key, nil)
		o := start(t, f, key, -1)
		write(t, f, body)
		if !c.Remove(key) {
			t.Error("Remove of a running fill = false")
		}
		second := lead(t, c, key, nil)
		if err := f.Finish(); err != nil {
			t.Error(err)
		}
		wantBody(t, o, body)
		o.Release()
		wantMiss(t, c, key)
		other := pattern(2, 100_000)
		if err := fill(second, key, other, -1); err != nil {
			t.Fatal(err)
		}
		wantStored(t, c, key, other)
	})
}

// A removed object must not come back by a restart.
func TestRemovedStaysRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := NewKey("k")
	for _, n := range []int{100, 100_000} {
		c, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		put(t, c, key, pattern(1, n), -1)
		shut(t, c)
		if c, err = New(Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		c.Remove(key) // not scanned: the cache does not know whether there is a file
		wantMiss(t, c, key)
		shut(t, c)
		if c, err = New(Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		wantMiss(t, c, key)
		shut(t, c)
	}
}
