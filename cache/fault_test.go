package cache

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/cache/disk"
)

// Whatever call of the file system fails, and from then on all or none, no reader gets a wrong byte, no body ends early
// without an error, and budgets and references come out even. Where memory can be had, a reader gets the whole body.
func TestEveryCallFailsOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		sticky, short bool
	}{
		{"once", false, false},
		{"once, short", false, true},
		{"from then on", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for n := 1; ; n++ {
				fault := &disk.Fault{FS: &disk.Real{}}
				c, err := New(Options{Dir: dir, FS: fault, DiskBytes: 4 << 20})
				if err != nil {
					t.Fatal(err)
				}
				fault.Arm(disk.Plan{At: n, Err: syscall.ENOSPC, Sticky: tt.sticky, Short: tt.short})
				scenario(t, c, n)
				calls := fault.Calls()
				fault.Arm(disk.Plan{})
				shut(t, c)
				if t.Failed() {
					t.Fatalf("with call %d failing", n)
				}
				if calls < n {
					t.Logf("%d calls", calls)
					return
				}
			}
		})
	}
}

// scenario stores, reads, refreshes and removes. Bodies depend on the key alone, so leftovers of the scenario before are
// right as well.
func scenario(t *testing.T, c *Cache, seed int) {
	t.Helper()
	for i, size := range []int{500, 70_000, 300_000} {
		key, body := NewKey(fmt.Sprint("object", i)), pattern(uint64(i), size)
		if (seed+i)%3 == 0 {
			c.Remove(key)
		}
		o := c.Get(key)
		if o == nil {
			turn := c.Begin(key, nil)
			switch {
			case turn.Leader:
				o = faultyFill(t, turn.Fill, key, body)
			case turn.Object != nil:
				o = turn.Object
			default:
				t.Errorf("Begin = %+v", turn)
			}
		}
		if o == nil {
			continue
		}
		check(t, o, body)
		turn := c.Begin(key, o)
		if turn.Leader {
			if fresh, err := turn.Fill.Refresh(o, head(0)); err == nil {
				check(t, fresh, body)
				fresh.Release()
			} else {
				turn.Fill.Abort(err)
			}
		} else if turn.Object != nil {
			turn.Object.Release()
		}
		o.Release()
		if s := c.Stats(); s.DiskBytes > s.DiskLimit || s.MemoryBytes > s.MemoryLimit {
			t.Errorf("over the budget: %+v", s)
		}
	}
}

// faultyFill fills in pieces while a reader follows, and returns the object if the reader got all of it.
func faultyFill(t *testing.T, f *Fill, key Key, body []byte) *Object {
	t.Helper()
	o, err := f.Start(head(int64(len(body))), key)
	if err != nil {
		f.Abort(err)
		return nil
	}
	defer o.Release()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		r, err := f.Object(t.Context())
		if err != nil {
			return // aborted before it came
		}
		defer r.Release()
		check(t, r, body)
	})
	for p := body; len(p) > 0; {
		n := min(len(p), 50_000)
		if _, err := f.Write(p[:n]); err != nil {
			f.Abort(err)
			return nil
		}
		p = p[n:]
	}
	if err := f.Finish(); err != nil {
		t.Errorf("Finish: %v", err)
		return nil
	}
	o.Retain()
	return o
}

// check reads an object and demands the whole body, or a prefix of it with an error.
func check(t *testing.T, o *Object, body []byte) {
	t.Helper()
	got, err := readAll(t.Context(), o, 0)
	if !bytes.HasPrefix(body, got) {
		t.Errorf("wrong bytes in %d", len(got))
	}
	if err == nil && len(got) != len(body) {
		t.Errorf("%d bytes and no error, want %d", len(got), len(body))
	}
}

// When the disk is full and memory is not, every reader gets every byte, at every point at which it may fill up.
func TestFullDiskServesOn(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		fault := &disk.Fault{FS: &disk.Real{}}
		c := open(t, Options{Dir: t.TempDir(), FS: fault})
		key, body := NewKey("k"), pattern(1, 400_000)
		f := lead(t, c, key, nil)
		fault.Arm(disk.Plan{At: n, Err: syscall.ENOSPC, Sticky: true, Short: n%2 == 0, FullDisk: true})
		o := start(t, f, key, -1)
		early, _ := o.File()
		for i := range 8 {
			write(t, f, body[i*50_000:(i+1)*50_000])
		}
		if err := f.Finish(); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		if early != nil {
			p := make([]byte, 100)
			if _, err := early.ReadAt(p, 0); err != nil || !bytes.Equal(p, body[:100]) {
				t.Errorf("call %d: a descriptor from before fails: %v", n, err)
			}
		}
		wantBody(t, o, body)
		o.Release()
		calls := fault.Calls()
		fault.Arm(disk.Plan{})
		if calls < n {
			wantStored(t, c, key, body)
			return
		}
		wantMiss(t, c, key)
		if s := c.Stats(); s.Unstored != 1 || s.DiskErrors == 0 || s.UnstoredBytes != 0 {
			t.Errorf("call %d: %+v", n, s)
		}
		put(t, c, key, body, -1)
		wantStored(t, c, key, body)
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := errors.New("broken")
	for n := 1; ; n++ {
		fault := &disk.Fault{FS: &disk.Real{}}
		fault.Arm(disk.Plan{At: n, Err: broken})
		c, err := New(Options{Dir: dir, FS: fault})
		if fault.Calls() < n {
			if err != nil {
				t.Fatal(err)
			}
			shut(t, c)
			return
		}
		if !errors.Is(err, broken) {
			t.Fatalf("call %d: %v, want the error", n, err)
		}
	}
}

// minedFS panics once when a file is opened.
type minedFS struct {
	disk.FS

	armed atomic.Bool
}

func (f *minedFS) Open(path string) (disk.File, error) {
	if f.armed.CompareAndSwap(true, false) {
		panic("a mine")
	}
	return f.FS.Open(path)
}

// TestPanicWhileAFileIsOpened: who comes next does not wait for the one that is gone.
func TestPanicWhileAFileIsOpened(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey("k")
	c := open(t, Options{Dir: dir})
	put(t, c, key, pattern(1, 200_000), 200_000)
	shut(t, c)
	fs := &minedFS{FS: &disk.Real{}}
	c = open(t, Options{Dir: dir, FS: fs})
	fs.armed.Store(true)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.Get(key).Release()
	}()
	o := c.Get(key)
	if o == nil {
		t.Fatal("it is gone")
	}
	o.Release()
}
