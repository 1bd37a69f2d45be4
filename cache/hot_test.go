package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// processor reports the processor time per operation, which other work on the machine disturbs less than elapsed time.
// It is called once to start and returns what is to be called at the end.
func processor(b *testing.B) func() {
	b.Helper()
	spent := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := spent()
	return func() { b.ReportMetric(float64(spent()-start)/float64(b.N), "cpu-ns/op") }
}

// The hot path of a hit: Get, look at it, Release.
func TestHotHitAllocatesNothing(t *testing.T) {
	if checked {
		t.Skip("the race detector allocates")
	}
	for _, dir := range []string{"", t.TempDir()} {
		for _, n := range []int{1500, 200_000} {
			c := open(t, Options{Dir: dir})
			text := fmt.Sprint("https://example.com/vod/demo/1080/seg-00042.m4s?n=", n)
			put(t, c, NewKey(text), pattern(1, n), int64(n))
			var p [512]byte
			allocs := testing.AllocsPerRun(1000, func() {
				o := c.Get(NewKey(text))
				if o == nil || o.Head().Status != 200 || o.Size() != int64(n) {
					t.Fatal("no hit")
				}
				if avail, done, err := o.Wait(context.Background(), 0); avail != int64(n) || !done || err != nil {
					t.Fatal("not complete")
				}
				if _, err := o.ReadAt(p[:], 100); err != nil {
					t.Fatal(err)
				}
				_ = o.Bytes()
				_, _ = o.File()
				o.Release()
			})
			if allocs != 0 {
				t.Errorf("dir %q, %d bytes: %v allocations a hit, want 0", dir, n, allocs)
			}
			shut(t, c)
		}
	}
}

func BenchmarkGetHot(b *testing.B) {
	const n = 2000
	keys := make([]Key, n)
	c := open(b, Options{Dir: b.TempDir(), MemoryBytes: 1 << 30, SmallBytes: 4 << 10})
	for i := range keys {
		keys[i] = NewKey(fmt.Sprintf("https://example.com/vod/title-%d/video/1080/seg-%05d.m4s", i/100, i%100))
		put(b, c, keys[i], []byte("playlist"), -1)
	}
	b.Run("cache", func(b *testing.B) {
		b.ReportAllocs()
		defer processor(b)()
		var at atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(at.Add(7919))
			for pb.Next() {
				i++
				o := c.Get(keys[i%n])
				if o == nil {
					b.Fatal("miss")
				}
				o.Release()
			}
		})
	})
	// What cannot be saved: a map behind one mutex.
	b.Run("map", func(b *testing.B) {
		var mu sync.Mutex
		m := map[string]*Key{}
		for i := range keys {
			m[keys[i].Text] = &keys[i]
		}
		defer processor(b)()
		var at atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(at.Add(7919))
			for pb.Next() {
				i++
				mu.Lock()
				k := m[keys[i%n].Text]
				mu.Unlock()
				if k == nil {
					b.Fatal("miss")
				}
			}
		})
	})
}

func BenchmarkNewKey(b *testing.B) {
	text := "https://example.com/vod/title-17/video/1080/seg-00042.m4s"
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_ = NewKey(text)
	}
}

// socketReader gives at most 64 KiB at a time, as a busy connection does.
type socketReader struct{ r *bytes.Reader }

func (s socketReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 64<<10)]) }

// A fill of 2 MiB, with followers that read every byte with pread. What they cost beside the fill is nearly all the
// copying of the bytes.
func BenchmarkFill(b *testing.B) {
	const size = 2 << 20
	body := pattern(1, size)
	for _, form := range []string{"disk", "memory"} {
		for _, followers := range []int{0, 50, 500} {
			b.Run(fmt.Sprintf("%s/followers=%d", form, followers), func(b *testing.B) {
				opts := Options{DiskBytes: 1 << 30}
				if form == "disk" {
					opts.Dir = b.TempDir()
				}
				c := open(b, opts)
				stop := run(b, c)
				defer stop()
				buffers := sync.Pool{New: func() any { return new([64 << 10]byte) }}
				b.SetBytes(size)
				b.ReportAllocs()
				defer processor(b)()
				i := 0
				for b.Loop() {
					i++
					key := NewKey(fmt.Sprint(i % 16))
					c.Remove(key)
					f := lead(b, c, key, nil)
					var wg sync.WaitGroup
					for range followers {
						wg.Go(func() {
							if n, err := drain(b.Context(), f, &buffers); n != size || err != nil {
								b.Errorf("%d bytes, %v", n, err)
							}
						})
					}
					o := start(b, f, key, size)
					if _, err := f.ReadFrom(socketReader{bytes.NewReader(body)}); err != nil {
						b.Fatal(err)
					}
					if err := f.Finish(); err != nil {
						b.Fatal(err)
					}
					o.Release()
					wg.Wait()
				}
			})
		}
	}
}

// BenchmarkPlainFile is what BenchmarkFill on disk compares with: create, write, rename, with no follower, checksum or
// index.
func BenchmarkPlainFile(b *testing.B) {
	body := pattern(1, 2<<20)
	dir := b.TempDir()
	b.SetBytes(int64(len(body)))
	defer processor(b)()
	i := 0
	for b.Loop() {
		i++
		name := filepath.Join(dir, fmt.Sprint(i%16))
		f, err := os.Create(name + ".tmp")
		if err != nil {
			b.Fatal(err)
		}
		for p := body; len(p) > 0; p = p[64<<10:] {
			if _, err := f.Write(p[:64<<10]); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(f.Close(), os.Rename(name+".tmp", name)); err != nil {
			b.Fatal(err)
		}
	}
}

// drain follows a fill as a client's goroutine does, with one buffer.
func drain(ctx context.Context, f *Fill, buffers *sync.Pool) (off int64, err error) {
	o, err := f.Object(ctx)
	if err != nil {
		return 0, err
	}
	defer o.Release()
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for {
		avail, done, err := o.Wait(ctx, off)
		if err != nil {
			return off, err
		}
		for off < avail {
			n, err := o.ReadAt(buf[:min(int64(len(buf)), avail-off)], off)
			if n == 0 {
				return off, errors.Join(errors.New("no progress"), err)
			}
			off += int64(n)
		}
		if done {
			return off, nil
		}
	}
}

// What is hot is not the oldest on disk, though the index hears of it only now and then.
func TestHotUseReachesTheDisk(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Dir: t.TempDir()})
	defer shut(t, c)
	key := func(name string) Key { return NewKey("https://example.com/" + name) }
	use := func() {
		o := c.Get(key("a"))
		if o == nil {
			t.Fatal("a is not there")
		}
		o.Release()
	}
	for _, name := range []string{"a", "b"} {
		put(t, c, key(name), pattern(1, 100), 100)
	}
	use()
	for _, name := range []string{"c", "d", "e"} {
		put(t, c, key(name), pattern(1, 100), 100)
	}
	c.began = c.began.Add(-touchEvery) // the time passes
	use()
	for range 4 {
		item, ok := c.index.Evict()
		if !ok || item.Key == key("a").ID {
			t.Fatal("what was used twice goes before what was not")
		}
		c.index.Free(item.Cost)
	}
}
