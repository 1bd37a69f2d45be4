package cache

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
)

// One process gives the directory to another: both serve all that was stored, without a listing; the first changes nothing
// there any more, and takes it back when the second is gone.
func TestYield(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		// No body stays in memory, so that files are opened.
		a, stopA := scanned(t, Options{Dir: dir, OpenFiles: 3, SmallBytes: -1, ScrubBytesPerSecond: -1})
		defer func() { stopA(); shut(t, a) }()
		key := func(i int) Key { return NewKey(fmt.Sprint(i)) }
		const n = 12
		for i := range n {
			put(t, a, key(i), pattern(uint64(i), 100_000), -1)
		}
		if _, err := New(Options{Dir: dir}); !errors.Is(err, disk.ErrLocked) {
			t.Fatalf("before Yield another cache gets %v, want ErrLocked", err)
		}
		running := lead(t, a, key(100), nil) // goes on meanwhile
		before := a.Stats().Objects
		if err := a.Yield(t.Context()); err != nil {
			t.Fatal(err)
		}
		fs := &listingFS{FS: &disk.Real{}}
		b, stopB := scanned(t, Options{Dir: dir, FS: fs, OpenFiles: 3, SmallBytes: -1, ScrubBytesPerSecond: -1})
		if got := b.Stats().Objects; got != before || fs.listed() > 0 {
			t.Errorf("the heir knows %d objects and has listed %d directories, want %d and none", got, fs.listed(), before)
		}
		for i := range n {
			wantStored(t, a, key(i), pattern(uint64(i), 100_000))
			wantStored(t, b, key(i), pattern(uint64(i), 100_000))
		}

		// What a does now stays with it.
		a.Remove(key(1))
		if err := fill(running, key(100), pattern(100, 50_000), -1); err != nil {
			t.Errorf("a fill that runs when the directory is given away: %v", err)
		}
		wantMiss(t, a, key(1))
		wantStored(t, b, key(1), pattern(1, 100_000))
		wantMiss(t, b, key(100))
		if s := a.Stats(); s.DiskErrors > 0 {
			t.Errorf("%d disk errors are counted", s.DiskErrors)
		}
		// What b does a sees, or misses; it never gets a wrong byte, and never removes what b has stored.
		b.Remove(key(2))
		put(t, b, key(2), pattern(77, 80_000), -1)
		b.Remove(key(3))
		time.Sleep(time.Second)
		if o := a.Get(key(2)); o != nil {
			wantBody(t, o, pattern(2, 100_000)) // from what it had open
			o.Release()
		}
		wantStored(t, b, key(2), pattern(77, 80_000))
		if err := a.Reclaim(t.Context()); !errors.Is(err, disk.ErrLocked) {
			t.Errorf("Reclaim while the heir is there: %v, want ErrLocked", err)
		}
		stopB()
		shut(t, b)

		if err := a.Reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file(dir, key(1))); err == nil {
			t.Error("what was removed meanwhile is still on disk")
		}
		wantMiss(t, a, key(1))
		put(t, a, key(200), pattern(200, 90_000), -1)
		time.Sleep(2 * snapshotEvery)
		stopA()
		shut(t, a)
		a, stopA = scanned(t, Options{Dir: dir, SmallBytes: -1, ScrubBytesPerSecond: -1})
		wantStored(t, a, key(200), pattern(200, 90_000))
		wantStored(t, a, key(5), pattern(5, 100_000))
		wantMiss(t, a, key(1))
	})
}

// Without a directory there is nothing to give.
func TestYieldInMemory(t *testing.T) {
	t.Parallel()
	c := open(t, Options{})
	if err := errors.Join(c.Yield(t.Context()), c.Reclaim(t.Context())); err != nil {
		t.Error(err)
	}
}
