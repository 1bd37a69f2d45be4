package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"weir/cache/disk"
	"weir/cache/freshness"
)

// pattern is a body that differs at every offset and for every seed.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b) // never fails
	return b
}

func head(length int64) Head {
	now := time.Unix(1_700_000_000, 5).UTC()
	return Head{
		Status:       200,
		Header:       http.Header{"Content-Type": {"video/mp4"}, "Etag": {`"v1"`}},
		RequestTime:  now.Add(-time.Second),
		ResponseTime: now,
		Length:       length,
		Freshness:    freshness.Freshness{Lifetime: time.Hour, ResponseTime: now},
	}
}

// open returns a cache that is closed at the end of the test, which then fails if a reference is left.
func open(t testing.TB, opts Options) *Cache {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, c) })
	return c
}

func shut(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s := c.Stats()
	if s.Live != 0 || s.Fills != 0 || s.UnstoredBytes != 0 || s.MemoryBytes != 0 {
		t.Errorf("after close: %d objects, %d fills, %d unstored bytes, %d bytes of memory, want none",
			s.Live, s.Fills, s.UnstoredBytes, s.MemoryBytes)
	}
}

// run runs c until the returned function is called.
func run(t testing.TB, c *Cache) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// put stores a body under key.
func put(t testing.TB, c *Cache, key Key, body []byte, length int64) {
	t.Helper()
	turn := c.Begin(key, nil)
	if !turn.Leader {
		t.Fatalf("Begin(%s) = %+v, want a leader", key.Text, turn)
	}
	if err := fill(turn.Fill, key, body, length); err != nil {
		t.Fatalf("fill %s: %v", key.Text, err)
	}
}

func fill(f *Fill, key Key, body []byte, length int64) error {
	o, err := f.Start(head(length), key)
	if err != nil {
		f.Abort(err)
		return err
	}
	defer o.Release()
	if _, err := f.ReadFrom(bytes.NewReader(body)); err != nil {
		f.Abort(err)
		return err
	}
	return f.Finish()
}

// readAll reads an object as a client would: waiting, from off on.
func readAll(ctx context.Context, o *Object, off int64) ([]byte, error) {
	var got []byte
	for {
		avail, done, err := o.Wait(ctx, off)
		if err != nil {
			return got, err
		}
		p := make([]byte, avail-off)
		n, err := o.ReadAt(p, off)
		got = append(got, p[:n]...)
		if err != nil && !errors.Is(err, io.EOF) {
			return got, err
		}
		off += int64(n)
		if done {
			return got, nil
		}
	}
}

func wantBody(t testing.TB, o *Object, want []byte) {
	t.Helper()
	got, err := readAll(context.Background(), o, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("body of %s: %d bytes, %v; want %d bytes, equal %v", o.Key().Text, len(got), err, len(want), bytes.Equal(got, want))
	}
	if o.Complete() && o.Size() != int64(len(want)) {
		t.Errorf("Size() = %d, want %d", o.Size(), len(want))
	}
	if f, off := o.File(); f != nil && o.Complete() {
		p := make([]byte, len(want))
		if _, err := f.ReadAt(p, off); err != nil || !bytes.Equal(p, want) {
			t.Errorf("file of %s: %v, equal %v", o.Key().Text, err, bytes.Equal(p, want))
		}
	}
	if b := o.Bytes(); b != nil && !bytes.Equal(b, want) {
		t.Errorf("Bytes() of %s differ", o.Key().Text)
	}
}

// wantStored checks that key is stored with this body.
func wantStored(t testing.TB, c *Cache, key Key, want []byte) {
	t.Helper()
	o := c.Get(key)
	if o == nil {
		t.Errorf("Get(%s) = nil, want %d bytes", key.Text, len(want))
		return
	}
	defer o.Release()
	if !o.Complete() {
		t.Errorf("Get(%s) is not complete", key.Text)
	}
	wantBody(t, o, want)
}

func wantMiss(t testing.TB, c *Cache, key Key) {
	t.Helper()
	if o := c.Get(key); o != nil {
		o.Release()
		t.Errorf("Get(%s) = an object, want a miss", key.Text)
	}
}

// forms runs a test on disk and in memory.
func forms(t *testing.T, test func(t *testing.T, opts Options)) {
	t.Helper()
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		test(t, Options{Dir: t.TempDir()})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, Options{})
	})
}

func TestStoreAndGet(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for i, n := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 64<<10 + 1, 300_000, 1 << 20} {
			for _, known := range []bool{true, false} {
				key := NewKey(fmt.Sprintf("http://host/%d/%v", n, known))
				body := pattern(uint64(i), n)
				length := int64(-1)
				if known {
					length = int64(n)
				}
				wantMiss(t, c, key)
				put(t, c, key, body, length)
				wantStored(t, c, key, body)
				o := c.Get(key)
				if got := o.Head().Length; got != int64(n) {
					t.Errorf("Head().Length = %d, want %d", got, n)
				}
				if (o.Bytes() != nil) != (n <= 64<<10) {
					t.Errorf("%d bytes: in memory %v", n, o.Bytes() != nil)
				}
				o.Release()
				if turn := c.Begin(key, nil); turn.Object == nil {
					t.Errorf("Begin of a stored key = %+v, want the object", turn)
				} else {
					turn.Object.Release()
				}
			}
		}
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	// The ID must never change: it places keys on the ring and names files.
	tests := []struct{ text, want string }{
		{"", "cc50ef3be8e4db91ccfa56133b4cbb04"},
		{"a", "22934574d1ecb382b5350e7582c6a537"},
		{"https://example.com/vod/demo/video/1080/seg-00042.m4s", "10836911d95fa4634592024272e840a6"},
	}
	for _, tt := range tests {
		if got := NewKey(tt.text).ID.String(); got != tt.want {
			t.Errorf("NewKey(%q).ID = %s, want %s", tt.text, got, tt.want)
		}
	}
}

// Two texts with one ID: the other one's response must never be returned, from whatever tier.
func TestCollisionIsAMiss(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		for _, n := range []int{10, 100_000} {
			key, body := NewKey(fmt.Sprint("original", n)), pattern(1, n)
			forged := Key{ID: key.ID, Text: "forged"}
			c, err := New(opts)
			if err != nil {
				t.Fatal(err)
			}
			f := lead(t, c, key, nil)
			if turn := c.Begin(forged, nil); !turn.Pass {
				t.Errorf("Begin = %+v, want Pass", turn)
			}
			if err := fill(f, key, body, -1); err != nil {
				t.Fatal(err)
			}
			wantMiss(t, c, forged)
			wantStored(t, c, key, body)
			shut(t, c)
			if c, err = New(opts); err != nil {
				t.Fatal(err)
			}
			wantMiss(t, c, forged)
			lead(t, c, forged, nil).Abort(errUpstream)
			shut(t, c)
		}
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small, large := NewKey("small"), NewKey("large")
	smallBody, largeBody := pattern(1, 1000), pattern(2, 200_000)
	c, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second New: %v, want ErrLocked", err)
	}
	put(t, c, small, smallBody, -1)
	put(t, c, large, largeBody, int64(len(largeBody)))
	h := c.Get(large)
	want := *h.Head()
	h.Release()
	shut(t, c)

	c = open(t, Options{Dir: dir})
	wantStored(t, c, small, smallBody) // before any scan
	stop := run(t, c)
	for !c.Stats().Scanned {
		runtime.Gosched()
	}
	wantStored(t, c, large, largeBody)
	wantMiss(t, c, NewKey("absent"))
	o := c.Get(large)
	got := *o.Head()
	o.Release()
	onTheWall := func(at time.Time) time.Time { return at.Round(0).UTC() }
	got.mapTimes(onTheWall)
	want.mapTimes(onTheWall)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("head after a restart:\n got %+v\nwant %+v", got, want)
	}
	if s := c.Stats(); s.Objects != 2 || s.DiskBytes < 201_000 {
		t.Errorf("after the scan: %d objects, %d bytes", s.Objects, s.DiskBytes)
	}
	stop()
}

// damage changes the file of key.
func damage(t *testing.T, dir string, key Key, change func(path string, b []byte) []byte) {
	t.Helper()
	id := key.ID.String()
	path := filepath.Join(dir, id[:2], id)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(path, b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFileIsAMiss(t *testing.T) {
	t.Parallel()
	flip := func(off int) func(string, []byte) []byte {
		return func(_ string, b []byte) []byte {
			if off < 0 {
				off += len(b)
			}
			b[off] ^= 4
			return b
		}
	}
	tests := []struct {
		name   string
		change func(string, []byte) []byte
	}{
		{"first body byte", flip(0)},
		{"last body byte", flip(199_999)},
		{"head", flip(200_030)},
		{"body table", flip(-64 - 2)},
		{"footer", flip(-1)},
		{"footer magic", flip(-64)},
		{"cut by one", func(_ string, b []byte) []byte { return b[:len(b)-1] }},
		{"cut in the body", func(_ string, b []byte) []byte { return b[:100_000] }},
		{"cut to nothing", func(_ string, b []byte) []byte { return nil }},
		{"longer", func(_ string, b []byte) []byte { return append(b, 0) }},
	}
	for _, scanned := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/scanned=%v", tt.name, scanned), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				key, other := NewKey("damaged"), NewKey("other")
				body := pattern(3, 200_000)
				c, err := New(Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				put(t, c, key, body, -1)
				put(t, c, other, body, -1)
				shut(t, c)
				damage(t, dir, key, tt.change)
				c = open(t, Options{Dir: dir})
				if scanned {
					stop := run(t, c)
					for !c.Stats().Scanned {
						runtime.Gosched()
					}
					stop()
				}
				wantMiss(t, c, key)
				wantStored(t, c, other, body)
				if n := c.Stats().Corrupt; n != 1 {
					t.Errorf("Corrupt = %d, want 1", n)
				}
				put(t, c, key, body, -1)
				wantStored(t, c, key, body)
			})
		}
	}
}
