package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errUpstream = errors.New("upstream went away")

// lead begins a fill that must be new.
func lead(t testing.TB, c *Cache, key Key, seen *Object) *Fill {
	t.Helper()
	turn := c.Begin(key, seen)
	if !turn.Leader || turn.Fill == nil {
		t.Fatalf("Begin(%s) = %+v, want a leader", key.Text, turn)
	}
	return turn.Fill
}

// join begins a fill that must be running.
func join(t testing.TB, c *Cache, key Key) *Fill {
	t.Helper()
	turn := c.Begin(key, nil)
	if turn.Leader || turn.Fill == nil {
		t.Fatalf("Begin(%s) = %+v, want a running fill", key.Text, turn)
	}
	return turn.Fill
}

func start(t testing.TB, f *Fill, key Key, length int64) *Object {
	t.Helper()
	o, err := f.Start(head(length), key)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func write(t testing.TB, f *Fill, p []byte) {
	t.Helper()
	if n, err := f.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write = %d, %v, want %d", n, err, len(p))
	}
}

func TestFollowersGetEveryByte(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 60_000, 300_000, 3 << 20} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/%v", n, known), func(t *testing.T) {
				t.Parallel()
				forms(t, func(t *testing.T, opts Options) {
					followAll(t, open(t, opts), n, known)
				})
			})
		}
	}
}

// followAll lets many readers, who come at different times and start at different offsets, follow one fill.
func followAll(t *testing.T, c *Cache, n int, known bool) {
	t.Helper()
	key, body := NewKey("followed"), pattern(uint64(n), n)
	length := int64(-1)
	if known {
		length = int64(n)
	}
	f := lead(t, c, key, nil)
	var readers sync.WaitGroup
	follow := func(off int64) {
		g := join(t, c, key)
		readers.Go(func() {
			o, err := g.Object(t.Context())
			if err != nil {
				t.Errorf("Object: %v", err)
				return
			}
			defer o.Release()
			got, err := readAll(t.Context(), o, off)
			if err != nil || !bytes.Equal(got, body[off:]) {
				t.Errorf("reader from %d: %d bytes, %v, equal %v", off, len(got), err, bytes.Equal(got, body[off:]))
			}
		})
	}
	for i := range 20 {
		follow(int64(i * n / 20))
	}
	o := start(t, f, key, length)
	const pieces = 10
	for i := range pieces {
		write(t, f, body[i*n/pieces:(i+1)*n/pieces])
		follow(0)
		follow(int64(n / 2))
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	o.Release()
	readers.Wait()
	wantStored(t, c, key, body)
}

func TestOneLeader(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for round := range 50 {
			key, body := NewKey(fmt.Sprint("cold", round)), pattern(uint64(round), 100_000)
			var leaders atomic.Int64
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					o := c.Get(key)
					if o == nil {
						switch turn := c.Begin(key, nil); {
						case turn.Leader:
							leaders.Add(1)
							if err := fill(turn.Fill, key, body, -1); err != nil {
								t.Error(err)
							}
							o = c.Get(key)
						case turn.Fill != nil:
							var err error
							if o, err = turn.Fill.Object(t.Context()); err != nil {
								t.Error(err)
							}
						default:
							o = turn.Object
						}
					}
					if o == nil {
						t.Error("no object")
						return
					}
					wantBody(t, o, body)
					o.Release()
				})
			}
			wg.Wait()
			if n := leaders.Load(); n != 1 {
				t.Fatalf("round %d: %d leaders, want 1", round, n)
			}
		}
	})
}

// A restarted cache must not fetch what it has on disk, however many ask at once and whether or not they asked Get.
func TestNoLeaderForWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	key, body := NewKey("on disk"), pattern(1, 100_000)
	put(t, c, key, body, -1)
	shut(t, c)
	c = open(t, Options{Dir: dir})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			turn := c.Begin(key, nil)
			if turn.Leader || turn.Pass {
				t.Errorf("Begin = %+v, want the object", turn)
				return
			}
			o := turn.Object
			if o == nil {
				var err error
				if o, err = turn.Fill.Object(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
			wantBody(t, o, body)
			o.Release()
		})
	}
	wg.Wait()
}

func TestAbort(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for _, n := range []int{100, 200_000} {
			key, body := NewKey(fmt.Sprint("aborted", n)), pattern(1, n)
			f := lead(t, c, key, nil)
			o := start(t, f, key, int64(2*n))
			r, err := join(t, c, key).Object(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write(t, f, body)
			late := join(t, c, key)
			f.Abort(errUpstream)
			o.Release()
			if got, err := readAll(t.Context(), r, 0); !bytes.Equal(got, body) || !errors.Is(err, errUpstream) {
				t.Errorf("reader: %d bytes, %v, want all %d and the error", len(got), err, n)
			}
			if r.Complete() || r.Bytes() != nil {
				t.Error("an aborted object is complete")
			}
			r.Release()
			if _, err := late.Object(t.Context()); !errors.Is(err, errUpstream) {
				t.Errorf("late Object: %v, want the error", err)
			}
			if _, err := f.Write(body); err == nil {
				t.Error("Write after Abort succeeds")
			}
			wantMiss(t, c, key)
			put(t, c, key, body, int64(n))
			wantStored(t, c, key, body)
		}
	})
}

func TestAbortBeforeHead(t *testing.T) {
	t.Parallel()
	c := open(t, Options{})
	f := lead(t, c, NewKey("k"), nil)
	g := join(t, c, NewKey("k"))
	got := make(chan error)
	go func() {
		_, err := g.Object(t.Context())
		got <- err
	}()
	f.Abort(errUpstream)
	if err := <-got; !errors.Is(err, errUpstream) {
		t.Errorf("Object: %v, want the error", err)
	}
}

func TestShortBodyIsNeverKept(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for _, n := range []int{0, 10, 65_536, 200_000} {
			key, body := NewKey(fmt.Sprint("short", n)), pattern(1, n)
			f := lead(t, c, key, nil)
			o := start(t, f, key, int64(n+1))
			r, err := f.Object(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write(t, f, body)
			if err := f.Finish(); !errors.Is(err, ErrShort) {
				t.Errorf("Finish: %v, want ErrShort", err)
			}
			o.Release()
			if got, err := readAll(t.Context(), r, 0); !bytes.Equal(got, body) || !errors.Is(err, ErrShort) {
				t.Errorf("reader: %d bytes, %v, want %d and ErrShort", len(got), err, n)
			}
			r.Release()
			wantMiss(t, c, key)
		}
	})
}

func TestLongBodyIsNeverKept(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for _, n := range []int{0, 10, 65_536, 200_000} {
			key, body := NewKey(fmt.Sprint("long", n)), pattern(1, n+1)
			for _, from := range []bool{false, true} {
				f := lead(t, c, key, nil)
				o := start(t, f, key, int64(n))
				var err error
				if from {
					_, err = f.ReadFrom(bytes.NewReader(body))
				} else {
					_, err = f.Write(body)
				}
				if !errors.Is(err, ErrLong) {
					t.Errorf("%d bytes, ReadFrom %v: %v, want ErrLong", n, from, err)
				}
				if err := f.Finish(); !errors.Is(err, ErrLong) {
					t.Errorf("Finish: %v, want ErrLong", err)
				}
				o.Release()
				wantMiss(t, c, key)
			}
		}
	})
}

func TestPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{})
		key := NewKey("private")
		f := lead(t, c, key, nil)
		g := join(t, c, key)
		f.Pass(time.Minute)
		if _, err := g.Object(t.Context()); !errors.Is(err, ErrPass) {
			t.Errorf("Object: %v, want ErrPass", err)
		}
		if turn := c.Begin(key, nil); !turn.Pass {
			t.Errorf("Begin = %+v, want Pass", turn)
		}
		time.Sleep(time.Minute)
		lead(t, c, key, nil).Abort(errUpstream)
	})
}

func TestObjectWaitsForContext(t *testing.T) {
	t.Parallel()
	c := open(t, Options{})
	key := NewKey("k")
	f := lead(t, c, key, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Object(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Object: %v, want Canceled", err)
	}
	o := start(t, f, key, 10)
	if _, _, err := o.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want Canceled", err)
	}
	write(t, f, []byte("0123456789"))
	// What is there is answered whatever the context says.
	if avail, done, err := o.Wait(ctx, 0); avail != 10 || done || err != nil {
		t.Errorf("Wait = %d, %v, %v, want 10, false, nil", avail, done, err)
	}
	if n, err := o.ReadAt(make([]byte, 20), 5); n != 5 || !errors.Is(err, ErrGrowing) {
		t.Errorf("ReadAt = %d, %v, want 5, ErrGrowing", n, err)
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	if avail, done, err := o.Wait(ctx, 99); avail != 10 || !done || err != nil {
		t.Errorf("Wait = %d, %v, %v, want 10, true, nil", avail, done, err)
	}
	if n, err := o.ReadAt(make([]byte, 20), 5); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt = %d, %v, want 5, EOF", n, err)
	}
	o.Release()
}

// stepReader returns one piece per Read and reports each Read on calls before it blocks for the next piece.
type stepReader struct {
	calls  chan struct{}
	pieces chan []byte
}

func (r *stepReader) Read(p []byte) (int, error) {
	r.calls <- struct{}{}
	piece, ok := <-r.pieces
	if !ok {
		return 0, io.EOF
	}
	return copy(p, piece), nil
}

func TestReadFromShowsBytesBeforeItBlocks(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		for _, length := range []int64{-1, 20, 100_000} {
			key := NewKey(fmt.Sprint("live", length))
			f := lead(t, c, key, nil)
			o := start(t, f, key, length)
			r := &stepReader{calls: make(chan struct{}), pieces: make(chan []byte)}
			ended := make(chan error)
			go func() {
				_, err := f.ReadFrom(r)
				ended <- err
			}()
			for i := range int64(10) {
				woken := make(chan struct{})
				go func() {
					defer close(woken)
					if avail, _, err := o.Wait(t.Context(), i); avail != i+1 || err != nil {
						t.Errorf("Wait(%d) = %d, %v, want %d", i, avail, err, i+1)
					}
				}()
				<-r.calls
				r.pieces <- []byte{byte(i)}
				<-woken // while ReadFrom is blocked in the next Read, which nobody has answered
			}
			<-r.calls
			close(r.pieces)
			if err := <-ended; err != nil {
				t.Errorf("ReadFrom: %v", err)
			}
			f.Abort(errUpstream)
			o.Release()
		}
	})
}

func TestFillOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Dir: t.TempDir()})
	key, body := NewKey("k"), pattern(1, 500_000)
	f := lead(t, c, key, nil)
	done := make(chan error)
	r, w := io.Pipe()
	go func() {
		o, err := f.Start(head(-1), key)
		if err != nil {
			done <- err
			return
		}
		defer o.Release()
		if _, err := f.ReadFrom(r); err != nil {
			f.Abort(err)
			done <- err
			return
		}
		done <- f.Finish()
	}()
	client, err := f.Object(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body[:1000]); err != nil {
		t.Fatal(err)
	}
	if n := f.Readers(); n != 1 {
		t.Errorf("Readers() = %d, want 1", n)
	}
	client.Release()
	if n := f.Readers(); n != 0 {
		t.Errorf("Readers() = %d, want 0", n)
	}
	if _, err := w.Write(body[1000:]); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantStored(t, c, key, body)
}

func TestCloseEndsFills(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		key, body := NewKey("k"), pattern(1, 100_000)
		f, waiting := lead(t, c, key, nil), lead(t, c, NewKey("waiting"), nil)
		o := start(t, f, key, -1)
		write(t, f, body)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(t.Context(), o, 0); !bytes.Equal(got, body) || !errors.Is(err, ErrClosed) {
			t.Errorf("reader: %d bytes, %v, want %d and ErrClosed", len(got), err, len(body))
		}
		if _, err := f.Write(body); !errors.Is(err, ErrClosed) {
			t.Errorf("Write: %v, want ErrClosed", err)
		}
		if err := f.Finish(); !errors.Is(err, ErrClosed) {
			t.Errorf("Finish: %v, want ErrClosed", err)
		}
		o.Release()
		if _, err := waiting.Object(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Object: %v, want ErrClosed", err)
		}
		if _, err := waiting.Start(head(1), key); !errors.Is(err, ErrClosed) {
			t.Errorf("Start: %v, want ErrClosed", err)
		}
		waiting.Abort(errUpstream)
		if turn := c.Begin(key, nil); !turn.Pass {
			t.Errorf("Begin after Close = %+v, want Pass", turn)
		}
		wantMiss(t, c, key)
		shut(t, c)
	})
}

// TestAnEndingFillIsNotJoinedForWhatItStored: between the moment at which its Object is stored and its end a fill is
// still there, and who has found that Object too old must not get it again.
func TestAnEndingFillIsNotJoinedForWhatItStored(t *testing.T) {
	t.Parallel()
	forms(t, func(t *testing.T, opts Options) {
		c := open(t, opts)
		key := NewKey("k")
		f := lead(t, c, key, nil)
		o, err := f.Start(head(-1), key)
		if err != nil {
			t.Fatal(err)
		}
		if turn := c.Begin(key, nil); turn.Fill != f || turn.Leader {
			t.Errorf("who has seen nothing: %+v, want the running fill", turn)
		}
		turn := c.Begin(key, o) // as if it were stored already
		if !turn.Leader || turn.Fill == f {
			t.Errorf("who has seen its object: %+v, want a new fill", turn)
		} else {
			turn.Fill.Abort(errUpstream)
		}
		o.Release()
		f.Abort(errUpstream)
	})
}

// TestPeek: there is nothing to see before the head, nor after the end of what was aborted.
func TestPeek(t *testing.T) {
	t.Parallel()
	c := open(t, Options{MemoryBytes: 1 << 20})
	key := NewKey("peek")
	f := lead(t, c, key, nil)
	if o := f.Peek(); o != nil {
		t.Error("there is an object before the head")
	}
	o := start(t, f, key, 3)
	seen := f.Peek()
	if !o.same(seen) {
		t.Fatalf("got %v, want the object that grows", seen)
	}
	seen.Release()
	f.Abort(errors.New("over"))
	if f.Peek() != nil {
		t.Error("there is an object after the fill was aborted")
	}
	o.Release()
}
