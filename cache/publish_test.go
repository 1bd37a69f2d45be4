package cache

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/cache/disk"
)

// hookFS calls a hook, if there is one, in the middle of an object's publication, once. The journal publishes, too.
type hookFS struct {
	disk.FS
	hook atomic.Pointer[func()]
}

func (h *hookFS) set(hook func()) { h.hook.Store(&hook) }

func (h *hookFS) Publish(f disk.File, path string) error {
	if len(filepath.Base(path)) == 2*len(ID{}) {
		if hook := h.hook.Swap(nil); hook != nil {
			(*hook)()
		}
	}
	return h.FS.Publish(f, path)
}

// What is removed while it is being published is not there afterwards, nor after a restart.
func TestRemoveDuringPublish(t *testing.T) {
	t.Parallel()
	primary, variant := NewKey("page"), NewKey("page gzip")
	for _, removed := range []Key{primary, variant} {
		dir := t.TempDir()
		h := &hookFS{FS: &disk.Real{}}
		c, err := New(Options{Dir: dir, FS: h})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, c)
		f := lead(t, c, primary, nil)
		h.set(func() { c.Remove(removed) })
		if err := fill(f, variant, pattern(1, 100_000), -1); err != nil {
			t.Fatal(err)
		}
		wantMiss(t, c, variant)
		stop()
		if s := c.Stats(); s.Objects != 0 || s.DiskBytes != 0 {
			t.Errorf("%d objects, %d bytes left", s.Objects, s.DiskBytes)
		}
		shut(t, c)
		c = open(t, Options{Dir: dir})
		wantMiss(t, c, variant)
	}
}

// An old version that is evicted while the new one is being published does not take that one with it.
func TestEvictionDuringPublish(t *testing.T) {
	t.Parallel()
	h := &hookFS{FS: &disk.Real{}}
	c := open(t, Options{Dir: t.TempDir(), FS: h})
	key, body := NewKey("k"), pattern(2, 100_000)
	put(t, c, key, pattern(1, 200_000), -1)
	old := c.Get(key)
	f := lead(t, c, key, old)
	old.Release()
	h.set(func() {
		item, ok := c.index.Evict()
		if !ok {
			t.Error("nothing to evict")
			return
		}
		c.evicted(item)
	})
	if err := fill(f, key, body, -1); err != nil {
		t.Fatal(err)
	}
	stop := run(t, c)
	stop()
	item, _ := c.hot.Remove(key.ID)
	release(item.Value)
	wantStored(t, c, key, body)
	if s := c.Stats(); s.Objects != 1 || s.DiskBytes > 110_000 {
		t.Errorf("%d objects, %d bytes, want one of about 100000", s.Objects, s.DiskBytes)
	}
}

// An old version that is evicted while the new one is being published, which fails, is not left behind on disk.
func TestEvictionDuringFailedPublish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fault := &disk.Fault{FS: &disk.Real{}}
	h := &hookFS{FS: fault}
	c := open(t, Options{Dir: dir, FS: h})
	c.listed()
	key := NewKey("k")
	put(t, c, key, pattern(1, 200_000), -1)
	old := c.Get(key)
	f := lead(t, c, key, old)
	old.Release()
	h.set(func() {
		item, ok := c.index.Evict()
		if !ok {
			t.Error("nothing to evict")
			return
		}
		c.evicted(item)
		fault.Arm(disk.Plan{At: 1, Err: syscall.EIO})
	})
	if err := fill(f, key, pattern(2, 100_000), -1); err != nil {
		t.Fatal(err)
	}
	stop := run(t, c)
	stop()
	if _, err := os.Stat(file(dir, key)); err == nil {
		t.Error("the file is there, and the index does not know it")
	}
	wantMiss(t, c, key)
}
