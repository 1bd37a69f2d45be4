package cache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A full disk refuses what is worth less than all it has: readers get every byte, and nothing is stored or written.
func TestFullDiskRefusesWhatNobodyWants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{Dir: t.TempDir(), DiskBytes: 2 << 20, SmallBytes: 4 << 10})
		wanted := func(i int) Key { return NewKey(fmt.Sprintf("h/vod/wanted/v1/seg-%05d.m4s", i)) }
		const size = 120_000
		body := pattern(1, size)
		// More than fits is stored, in demand by and by.
		for i := range 40 {
			o := c.Get(wanted(i % 16))
			if o == nil {
				put(t, c, wanted(i%16), body, size)
			}
			release(o)
			for range 50 {
				release(c.Get(wanted(i % 16)))
			}
			time.Sleep(2 * touchEvery)
		}
		before := c.Stats()
		for i := range 10 {
			key := NewKey(fmt.Sprintf("h/vod/other%d/v1/seg-00007.m4s", i))
			f := lead(t, c, key, nil)
			o := start(t, f, key, size)
			write(t, f, body)
			if file, _ := o.File(); file == nil {
				t.Error("a large body is not in a file")
			}
			if err := f.Finish(); err != nil {
				t.Error(err)
			}
			wantBody(t, o, body)
			o.Release()
			wantMiss(t, c, key)
		}
		s := c.Stats()
		if s.Refused-before.Refused != 10 || s.Unstored-before.Unstored != 10 || s.DiskEvictions != before.DiskEvictions {
			t.Errorf("%d refused, %d unstored, %d evicted, want 10, 10, 0", s.Refused-before.Refused, s.Unstored-before.Unstored, s.DiskEvictions-before.DiskEvictions)
		}
		// A playlist is of no stream: it is let in.
		put(t, c, NewKey("h/vod/other/master.m3u8"), pattern(2, 1000), 1000)
		// So is a new version of what is there.
		old := c.Get(wanted(3))
		f := lead(t, c, wanted(3), old)
		old.Release()
		if err := fill(f, wanted(3), pattern(3, size), size); err != nil {
			t.Error(err)
		}
		wantStored(t, c, wanted(3), pattern(3, size))
	})
}

// Every request counts for the title, though a hot Object's reach the index together.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{Dir: t.TempDir()})
		key := NewKey("h/vod/demo/v1/seg-00007.m4s")
		put(t, c, key, pattern(1, 1000), 1000)
		o := c.Get(key)
		for range 9 {
			c.Get(key).Release()
		}
		time.Sleep(2 * touchEvery)
		c.Get(key).Release()
		if n := o.uses.Load(); n != 0 {
			t.Errorf("%d uses are kept back, want 0", n)
		}
		c.Get(key).Release()
		if n := o.uses.Load(); n != 1 {
			t.Errorf("%d uses wait, want 1", n)
		}
		o.Release()
	})
}
