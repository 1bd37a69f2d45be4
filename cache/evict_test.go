package cache

import "testing"

// TestEvict: what is stored goes, what replaced it and what is being filled stays.
func TestEvict(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		for _, n := range []int{1000, 200_000} {
			c := open(t, opts)
			key, first, second := NewKey("key"), pattern(1, n), pattern(2, n)
			put(t, c, key, first, -1)
			old := c.Get(key)
			f := lead(t, c, key, old)
			if !c.Evict(old) || c.Evict(old) {
				t.Errorf("%d bytes: not evicted once", n)
			}
			if o := c.Get(key); o != nil {
				o.Release()
				t.Errorf("%d bytes: still there", n)
			}
			must(t, fill(f, key, second, -1))
			wantStored(t, c, key, second)
			if c.Evict(old) {
				t.Errorf("%d bytes: evicted the successor", n)
			}
			wantStored(t, c, key, second)
			wantBody(t, old, first)
			old.Release()
			shut(t, c)
			if opts.Dir != "" {
				c = open(t, opts)
				wantStored(t, c, key, second)
				c.Remove(key)
				shut(t, c)
			}
		}
	})
}

// TestDetach: the readers that a fill has get its end, the next one gets another fill, and the first is not stored.
func TestDetach(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		defer shut(t, c)
		key, first, second := NewKey("key"), pattern(1, 100_000), pattern(2, 100_000)
		f := lead(t, c, key, nil)
		reader := join2(t, c, key, nil)
		f.Detach()
		next := lead(t, c, key, nil)
		must(t, fill(next, key, second, -1))
		own := start(t, f, key, -1)
		defer own.Release()
		o, err := reader.Object(t.Context())
		must(t, err)
		defer o.Release()
		write(t, f, first)
		must(t, f.Finish())
		wantBody(t, o, first)
		wantStored(t, c, key, second)
		if s := c.Stats(); s.Fills != 0 {
			t.Errorf("%d fills run", s.Fills)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
