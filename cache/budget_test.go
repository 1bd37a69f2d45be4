package cache

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
)

// meter is a file system that knows at every instant what its files take, and fails the test when that is too much. A
// file counts until it is closed without a name, or its name is removed or given to another.
type meter struct {
	disk.FS
	t     *testing.T
	limit int64

	mu    sync.Mutex // guards the fields below
	bytes int64
	names map[string]*meteredFile
}

type meteredFile struct {
	disk.File
	m     *meter
	size  int64
	named bool
}

func (m *meter) addLocked(n int64) {
	if m.bytes += n; m.bytes > m.limit {
		m.t.Errorf("%d bytes on disk, limit %d", m.bytes, m.limit)
	}
}

func (m *meter) Create(dir string) (disk.File, error) {
	f, err := m.FS.Create(dir)
	if filepath.Base(dir) == "journal" {
		return f, err // outside of the budget
	}
	return &meteredFile{File: f, m: m}, err
}

func (m *meter) Publish(f disk.File, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	mf, ok := f.(*meteredFile)
	if !ok {
		return m.FS.Publish(f, path)
	}
	err := m.FS.Publish(mf.File, path)
	if err == nil {
		if old := m.names[path]; old != nil {
			m.addLocked(-roundBlock(old.size))
		}
		m.names[path] = mf
		mf.named = true
	}
	return err
}

func (m *meter) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.FS.Remove(path)
	if f := m.names[path]; f != nil && err == nil {
		m.addLocked(-roundBlock(f.size))
		delete(m.names, path)
	}
	return err
}

func (f *meteredFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	if end := off + int64(len(p)); end > f.size {
		f.m.addLocked(roundBlock(end) - roundBlock(f.size))
		f.size = end
	}
	f.m.mu.Unlock()
	return f.File.WriteAt(p, off)
}

func (f *meteredFile) Close() error {
	f.m.mu.Lock()
	if !f.named {
		f.m.addLocked(-roundBlock(f.size))
		f.size = 0
	}
	f.m.mu.Unlock()
	return f.File.Close()
}

// Many fills of all sizes at once, more than fits: the budgets hold at every instant.
func TestBudgetsHold(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		opts.MemoryBytes, opts.DiskBytes, opts.OpenFiles, opts.SmallBytes = 4<<20, 8<<20, 5, 16<<10
		m := &meter{FS: &disk.Real{}, t: t, limit: opts.DiskBytes, names: map[string]*meteredFile{}}
		opts.FS = m
		c := open(t, opts)
		stop := run(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		var watch, work sync.WaitGroup
		watch.Go(func() {
			for ctx.Err() == nil {
				s := c.Stats()
				if s.MemoryBytes > s.MemoryLimit || s.DiskBytes > s.DiskLimit || s.OpenFiles > s.OpenFilesLimit {
					t.Errorf("over the budget: %+v", s)
					return
				}
				runtime.Gosched()
			}
		})
		for w := range 4 {
			work.Go(func() {
				for i := range 60 {
					visit(t, c, w, i)
				}
			})
		}
		work.Wait()
		cancel()
		watch.Wait()
		stop()
		s := c.Stats()
		if s.Stored == 0 || s.HotEvictions == 0 || opts.Dir != "" && (s.DiskEvictions == 0 || s.Unstored > 0) {
			t.Errorf("not what was meant: %+v", s)
		}
		if opts.Dir == "" {
			return
		}
		// Index and files agree.
		if m.bytes != s.DiskBytes || len(m.names) != s.Objects {
			t.Errorf("%d bytes in %d files, index has %d in %d", m.bytes, len(m.names), s.DiskBytes, s.Objects)
		}
	})
}

// visit asks for an object, and stores it on a miss.
func visit(t *testing.T, c *Cache, w, i int) {
	t.Helper()
	sizes := []int{100, 9_000, 100_000, 600_000, 1_000_000}
	n := sizes[(w+i)%len(sizes)]
	key, body := NewKey(fmt.Sprint(n, "/", (i*7+w)%40)), pattern(uint64(n), n)
	if o := c.Get(key); o != nil {
		wantBody(t, o, body)
		o.Release()
		return
	}
	turn := c.Begin(key, nil)
	if !turn.Leader {
		release(turn.Object)
		return
	}
	length := int64(n)
	if i%2 == 0 {
		length = -1
	}
	if err := fill(turn.Fill, key, body, length); err != nil {
		t.Error(err)
	}
}

// One object may not empty the cache.
func TestTooLargeIsServedAndNotStored(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		opts.MemoryBytes, opts.DiskBytes = 2<<20, 2<<20
		c := open(t, opts)
		small := NewKey("small")
		put(t, c, small, pattern(1, 1000), -1)
		body := pattern(2, 3<<20)
		if c.Fits(int64(len(body))) || !c.Fits(500_000) {
			t.Error("Fits is wrong")
		}
		for _, length := range []int64{-1, int64(len(body))} {
			key := NewKey(fmt.Sprint("large", length))
			f := lead(t, c, key, nil)
			o := start(t, f, key, length)
			write(t, f, body)
			if s := c.Stats(); s.UnstoredBytes < int64(len(body)) {
				t.Errorf("UnstoredBytes = %d, want %d", s.UnstoredBytes, len(body))
			}
			if err := f.Finish(); err != nil {
				t.Error(err)
			}
			wantBody(t, o, body)
			o.Release()
			wantMiss(t, c, key)
		}
		wantStored(t, c, small, pattern(1, 1000))
	})
}

// After a restart what was used last stays when room is needed.
func TestScanKeepsTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		const n, size = 20, 190_000
		for i := range n {
			put(t, c, NewKey(fmt.Sprint(i)), pattern(uint64(i), size), -1)
			time.Sleep(time.Minute)
		}
		shut(t, c)
		c = open(t, Options{Dir: dir, DiskBytes: 2 << 20})
		stop := run(t, c)
		for !c.Stats().Scanned {
			runtime.Gosched()
		}
		stop()
		if s := c.Stats(); s.Objects != 10 && s.Objects != 9 {
			t.Errorf("%d objects, want 9 or 10", s.Objects)
		}
		wantMiss(t, c, NewKey("0"))
		wantStored(t, c, NewKey(fmt.Sprint(n-1)), pattern(n-1, size))
	})
}
