package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
)

// listingFS counts which directories are listed.
type listingFS struct {
	disk.FS

	mu    sync.Mutex // guards the field below
	lists []string
}

func (l *listingFS) List(dir string) ([]disk.Listed, error) {
	l.mu.Lock()
	if base := filepath.Base(dir); len(base) == 2 {
		l.lists = append(l.lists, base)
	}
	l.mu.Unlock()
	return l.FS.List(dir)
}

func (l *listingFS) listed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lists)
}

// scanned opens a cache on dir and runs it until it knows what is on disk.
func scanned(t *testing.T, opts Options) (c *Cache, stop func()) {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	stop = run(t, c)
	time.Sleep(time.Second)
	synctest.Wait()
	if !c.Stats().Scanned {
		t.Fatal("not everything is known")
	}
	return c, stop
}

func file(dir string, key Key) string {
	return filepath.Join(dir, key.ID.String()[:2], key.ID.String())
}

// crash lets go of the directory as a killed process does: what is not flushed is lost, nothing is closed in order.
func crash(t *testing.T, c *Cache) {
	t.Helper()
	c.scanned.Store(false) // or Close would write that all is there
	shut(t, c)
}

// After a clean end nothing is listed: the index has all that there is, in the order of use, and its budget.
func TestCleanRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, stop := scanned(t, Options{Dir: dir})
		const n = 20
		for i := range n {
			put(t, c, NewKey(fmt.Sprint(i)), pattern(uint64(i), 190_000), -1)
			time.Sleep(3 * time.Second)
		}
		c.Remove(NewKey("7"))
		synctest.Wait()
		before := c.Stats()
		stop()
		shut(t, c)
		for _, limit := range []int64{0, 2 << 20} {
			fs := &listingFS{FS: &disk.Real{}}
			c, stop = scanned(t, Options{Dir: dir, FS: fs, DiskBytes: limit, ScrubBytesPerSecond: -1})
			s := c.Stats()
			if fs.listed() > 0 {
				t.Errorf("%d directories are listed", fs.listed())
			}
			if limit == 0 && (s.Objects != n-1 || s.DiskBytes != before.DiskBytes) {
				t.Errorf("%d objects in %d bytes, want %d in %d", s.Objects, s.DiskBytes, n-1, before.DiskBytes)
			}
			wantMiss(t, c, NewKey("7"))
			if limit == 0 {
				wantStored(t, c, NewKey("0"), pattern(0, 190_000))
			} else {
				// The oldest had to go, and has gone.
				wantMiss(t, c, NewKey("1"))
				wantStored(t, c, NewKey(fmt.Sprint(n-1)), pattern(n-1, 190_000))
				if _, err := os.Stat(file(dir, NewKey("1"))); err == nil {
					t.Error("an evicted file is there")
				}
			}
			stop()
			shut(t, c)
		}
	})
}

// After an end that was not clean the journal is compared with the directories: what it has not heard of is found, what is
// gone is taken out, what it says is removed is unlinked, and sizes are corrected.
func TestUncleanRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, stop := scanned(t, Options{Dir: dir})
		key := func(i int) Key { return NewKey(fmt.Sprint(i)) }
		body := pattern(1, 100_000)
		for i := range 6 {
			put(t, c, key(i), body, -1)
		}
		removed, err := os.ReadFile(file(dir, key(1)))
		if err != nil {
			t.Fatal(err)
		}
		c.Remove(key(1))
		time.Sleep(2 * flushEvery)
		put(t, c, key(6), body, -1) // the journal will not have heard of it
		o := c.Get(key(2))
		refreshed, err := lead(t, c, key(2), o).Refresh(o, head(0))
		if err != nil {
			t.Fatal(err)
		}
		o.Release()
		refreshed.Release()
		stop()
		c.journal = mustJournal(t, filepath.Join(t.TempDir(), "other")) // what was not flushed is lost
		crash(t, c)

		// As if the process had not come to unlinking one, and somebody else had to another.
		if err := os.WriteFile(file(dir, key(1)), removed, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file(dir, key(3))); err != nil {
			t.Fatal(err)
		}
		c, stop = scanned(t, Options{Dir: dir})
		wantAgreement(t, c, dir)
		if s := c.Stats(); s.Objects != 5 {
			t.Errorf("%d objects, want 5", s.Objects)
		}
		wantMiss(t, c, key(1))
		wantMiss(t, c, key(3))
		for _, i := range []int{0, 2, 4, 5, 6} {
			wantStored(t, c, key(i), body)
		}
		stop()
		shut(t, c)
	})
}

func mustJournal(t *testing.T, dir string) *disk.Journal {
	t.Helper()
	j, err := disk.NewJournal(disk.JournalOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// wantAgreement demands that index and files are the same, in number, names and size.
func wantAgreement(t *testing.T, c *Cache, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "[0-9a-f][0-9a-f]", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	var bytes int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(filepath.Base(name), " ", roundBlock(info.Size())))
		bytes += roundBlock(info.Size())
	}
	for r := range c.records() {
		got = append(got, fmt.Sprint(ID(r.ID), " ", r.Bytes))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || c.index.Bytes() != bytes {
		t.Errorf("the index has %d bytes in\n%q, on disk are %d in\n%q", c.index.Bytes(), got, bytes, want)
	}
}

// A miss before the scan, which looks for a file, notes nothing and has nothing unlinked.
func TestMissLeavesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Dir: t.TempDir()})
	wantMiss(t, c, NewKey("k"))
	s := c.shard(NewKey("k").ID)
	if len(c.unlinks) > 0 || len(s.gone) > 0 {
		t.Errorf("%d files to unlink, %d are noted as gone", len(c.unlinks), len(s.gone))
	}
}
