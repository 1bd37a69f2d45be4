package cache

import (
	"fmt"
	"slices"
	"testing"
)

// TestVaryIsFoundAgainAfterARestart: without it all variants on disk would be lost to who asks for their key.
func TestVaryIsFoundAgainAfterARestart(t *testing.T) {
	t.Parallel()
	dir, names := t.TempDir(), []string{"accept-encoding", "x-device"}
	primary, variant := NewKey("page"), NewKey("page gzip")
	c := open(t, Options{Dir: dir})
	put(t, c, variant, []byte("body"), -1)
	c.SetVary(primary, names)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Options{Dir: dir})
	if got := c.Vary(primary.ID); got != nil {
		t.Fatalf("Vary = %q before anything was asked for", got)
	}
	o := c.Get(primary)
	if o == nil {
		t.Fatal("nothing is stored under the key")
	}
	if got := o.Varies(); !slices.Equal(got, names) || o.Size() != 0 {
		t.Errorf("Varies = %q, %d bytes, want %q", got, o.Size(), names)
	}
	o.Release()
	if got := c.Vary(primary.ID); !slices.Equal(got, names) {
		t.Errorf("Vary = %q afterwards, want %q", got, names)
	}
	if o = c.Get(variant); o == nil || o.Varies() != nil {
		t.Fatal("the variant is no response any more")
	}
	o.Release()
	// Who removes the key removes what was stored for it; the next response stores it again.
	c.Remove(primary)
	c.SetVary(primary, names)
	if o = c.Get(primary); o == nil {
		t.Fatal("not stored again")
	}
	o.Release()
}

// TestVariantsAreBounded: the least recently used go, and those of other keys stay.
func TestVariantsAreBounded(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		primary, other := NewKey("page"), NewKey("other")
		put(t, c, other, []byte("body"), -1)
		c.SetVary(primary, []string{"user-agent"})
		variant := func(i int) Key { return NewKey(fmt.Sprint("page ", i)) }
		const many = 100
		for i := range many {
			put(t, c, variant(i), []byte("body"), -1)
			c.UseVariant(primary.ID, variant(i).ID)
			c.UseVariant(primary.ID, variant(0).ID) // the one that viewers use
		}
		for i := range many {
			o := c.Get(variant(i))
			if want := i == 0 || i > many-MaxVariants; (o != nil) != want {
				t.Errorf("variant %d of %d stored: %v", i, many, o != nil)
			}
			release(o)
		}
		wantStored(t, c, other, []byte("body"))
	})
}
