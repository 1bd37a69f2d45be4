package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
)

// A bit that is flipped in a stored file, in the body, the head, the table, the footer or a head that was appended: the
// object is a miss or the right bytes, and can be stored again.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large, small := NewKey("large"), NewKey("small")
	bodies := map[Key][]byte{large: pattern(1, 200_000), small: pattern(2, 3000)}
	c, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for key, body := range bodies {
		put(t, c, key, body, -1)
		o := c.Get(key)
		refreshed, err := lead(t, c, key, o).Refresh(o, head(0))
		if err != nil {
			t.Fatal(err)
		}
		o.Release()
		refreshed.Release()
	}
	shut(t, c)
	for key, body := range bodies {
		whole, err := os.ReadFile(file(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		// All of what is behind the body, and places all over the body.
		places := []int{0, 1, len(body) / 2, len(body) - 1}
		for i := len(body); i < len(whole); i += 11 {
			places = append(places, i)
		}
		for _, at := range places {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << (at % 8)
			if err := os.WriteFile(file(dir, key), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := New(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if o := c.Get(key); o != nil {
				wantBody(t, o, body)
				o.Release()
			} else {
				put(t, c, key, body, -1)
				wantStored(t, c, key, body)
			}
			shut(t, c)
		}
		if err := os.WriteFile(file(dir, key), whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A bit that is flipped, or a file that is cut, while the process runs: a small body is checked at every opening, a large
// one by the scrubber, which comes to every file in time.
func TestScrub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, stop := scanned(t, Options{Dir: dir, DiskBytes: 8 << 20})
		body := func(i int) []byte { return pattern(uint64(i), 30_000+i*60_000) }
		key := func(i int) Key { return NewKey(fmt.Sprint(i)) }
		const n = 6
		for i := range n {
			put(t, c, key(i), body(i), -1)
		}
		whole, err := os.ReadFile(file(dir, key(3)))
		if err != nil {
			t.Fatal(err)
		}
		whole[100_000] ^= 4
		if err := os.WriteFile(file(dir, key(3)), whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file(dir, key(4)), 50_000); err != nil {
			t.Fatal(err)
		}
		stray, err := os.ReadFile(file(dir, key(5))) // a file that the index does not know
		if err != nil {
			t.Fatal(err)
		}
		c.Remove(key(5))
		synctest.Wait()
		if err := os.WriteFile(file(dir, key(5)), stray, 0o600); err != nil {
			t.Fatal(err)
		}
		wantMiss(t, c, key(5))
		time.Sleep((disk.Dirs + 2) * scrubRest)
		s := c.Stats()
		if s.Corrupt != 2 || s.ScrubbedBytes < 500_000 || s.ScrubbedBytes > 1_500_000 || s.Objects != n-2 {
			t.Errorf("%d damaged, %d bytes read, %d objects; want 2, the bodies', %d", s.Corrupt, s.ScrubbedBytes, s.Objects, n-2)
		}
		wantMiss(t, c, key(3))
		wantMiss(t, c, key(4))
		for _, i := range []int{0, 1, 2, 5} {
			wantStored(t, c, key(i), body(i))
		}
		wantAgreement(t, c, dir)
		stop()
		shut(t, c)
	})
}

// The scrubber keeps to its rate, and reads nothing where it is off.
func TestScrubRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []int64{-1, 1000} {
		synctest.Test(t, func(t *testing.T) {
			c, stop := scanned(t, Options{Dir: "cache", FS: &disk.Memory{Now: time.Now}, ScrubBytesPerSecond: rate})
			for i := range 20 {
				put(t, c, NewKey(fmt.Sprint(i)), pattern(uint64(i), 100_000), -1)
			}
			const hours = 5
			before := c.Stats().ScrubbedBytes
			time.Sleep(hours * time.Hour)
			read, most := c.Stats().ScrubbedBytes-before, max(0, rate)*hours*3600
			// It rests between directories: a pass reads 2 MB in 2,000 seconds and takes 2,560 more.
			if read > most+100_000 || read < most/4 {
				t.Errorf("%d bytes read at %d a second", read, rate)
			}
			stop()
			shut(t, c)
		})
	}
}

// Too many open files are a miss, not a verdict: the object is there again when there are descriptors.
func TestTooManyOpenFiles(t *testing.T) {
	t.Parallel()
	fault := &disk.Fault{FS: &disk.Real{}}
	c := open(t, Options{Dir: t.TempDir(), FS: fault, OpenFiles: 1})
	first, second, body := NewKey("1"), NewKey("2"), pattern(1, 100_000)
	put(t, c, first, body, -1)
	put(t, c, second, body, -1) // takes the only place in the hot tier
	fault.Arm(disk.Plan{At: 1, Err: syscall.EMFILE, Sticky: true})
	wantMiss(t, c, first)
	turn := c.Begin(first, nil)
	if !turn.Leader {
		t.Fatalf("Begin = %+v", turn)
	}
	if err := fill(turn.Fill, first, body, -1); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a fill without a descriptor: %v", err)
	}
	if turn := c.Begin(first, nil); !turn.Leader {
		t.Errorf("after it Begin = %+v, want to be asked again", turn)
	} else {
		turn.Fill.Abort(errUpstream)
	}
	fault.Arm(disk.Plan{})
	wantStored(t, c, first, body)
	if s := c.Stats(); s.Corrupt != 0 || s.Objects != 2 {
		t.Errorf("%+v", s)
	}
}

// A reader that finds a file cut gets an error and not a clean end; it takes the object out of the cache.
func TestDiscard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	key, body := NewKey("k"), pattern(1, 200_000)
	put(t, c, key, body, -1)
	o := c.Get(key)
	defer o.Release()
	if err := os.Truncate(file(dir, key), 70_000); err != nil {
		t.Fatal(err)
	}
	check(t, o, body)
	if got, err := readAll(t.Context(), o, 0); err == nil {
		t.Errorf("%d bytes and no error", len(got))
	}
	o.Discard()
	wantMiss(t, c, key)
	put(t, c, key, body, -1)
	o.Discard() // there is another one by now
	wantStored(t, c, key, body)
	if s := c.Stats(); s.Corrupt != 1 {
		t.Errorf("%d damaged, want 1", s.Corrupt)
	}
}

// A file system that is really full, in the middle of a body: its client gets all of it, nothing of it is stored, what
// was stored stays whole, and room is made once for those that come after.
func TestRealDiskFull(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("weir-test", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	c, err := New(Options{Dir: dir, DiskBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	body := func(i int) []byte { return pattern(uint64(i), 1<<20) }
	key := func(i int) Key { return NewKey(fmt.Sprint(i)) }
	const n = 10
	for i := range n {
		put(t, c, key(i), body(i), -1)
	}
	large := pattern(99, 12<<20)
	f := lead(t, c, NewKey("large"), nil)
	o := start(t, f, NewKey("large"), int64(len(large)))
	for p := large; len(p) > 0; p = p[1<<20:] {
		write(t, f, p[:1<<20])
	}
	if err := f.Finish(); err != nil {
		t.Error(err)
	}
	wantBody(t, o, large)
	o.Release()
	wantMiss(t, c, NewKey("large"))
	for i := range n {
		wantStored(t, c, key(i), body(i))
	}
	if s := c.Stats(); s.DiskErrors != 1 || s.Objects != n || s.DiskEvictions != 0 {
		t.Errorf("%d errors, %d objects, %d evictions", s.DiskErrors, s.Objects, s.DiskEvictions)
	}
	stop := run(t, c)
	for c.Stats().DiskEvictions < 2 {
		time.Sleep(time.Millisecond)
	}
	for i := n; i < 5*n; i++ {
		put(t, c, key(i), body(i), -1)
		wantLatest(t, c, key(i), body(i))
	}
	stop()
	s := c.Stats()
	if s.Objects == 0 || s.DiskEvictions > 5*n || s.Stored < 3*n {
		t.Errorf("%d stored, %d evicted, %d objects", s.Stored, s.DiskEvictions, s.Objects)
	}
	shut(t, c)
}

// wantLatest demands a hit with the right bytes, or a miss where there was no room.
func wantLatest(t *testing.T, c *Cache, key Key, body []byte) {
	t.Helper()
	if o := c.Get(key); o != nil {
		wantBody(t, o, body)
		o.Release()
	}
}
