package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// modelFill is a running fill as the model sees it.
type modelFill struct {
	fill    *Fill
	obj     *Object // nil before Start
	body    []byte
	off     int
	readers []*Object
}

// walker drives a cache and a model of it: what may be stored under each key. The budgets are large enough for nothing
// to be evicted, except where small says otherwise; then a miss is right as well.
type walker struct {
	t       *testing.T
	r       *rand.Rand
	opts    Options
	c       *Cache
	small   bool
	keys    []Key
	stored  map[string][]byte
	heads   map[string]string
	running map[string]*modelFill
	held    map[*Object][]byte
	serial  uint64
}

func TestRandomWalk(t *testing.T) {
	t.Parallel()
	for _, small := range []bool{false, true} {
		forms(t, func(t *testing.T, opts Options) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			if small {
				opts.DiskBytes, opts.MemoryBytes, opts.OpenFiles = 2<<20, 1<<20, 3
			}
			w := &walker{
				t: t, r: rand.New(rand.NewPCG(seed, 0)), opts: opts, small: small,
				stored: map[string][]byte{}, heads: map[string]string{}, running: map[string]*modelFill{}, held: map[*Object][]byte{},
			}
			for i := range 8 {
				w.keys = append(w.keys, NewKey(fmt.Sprint("key", i)))
			}
			w.restart()
			for i := range 3000 {
				w.step()
				if t.Failed() {
					t.Fatalf("seed %d, step %d", seed, i)
				}
			}
			w.stop()
		})
	}
}

func (w *walker) restart() {
	c, err := New(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.c = c
}

func (w *walker) step() {
	key := w.keys[w.r.IntN(len(w.keys))]
	switch n := w.r.IntN(1000); {
	case n < 300:
		w.get(key)
	case n < 500:
		w.begin(key)
	case n < 900:
		if f := w.running[key.Text]; f != nil {
			w.advance(key, f)
		}
	case n < 950:
		w.c.Remove(key)
		delete(w.stored, key.Text)
		if f := w.running[key.Text]; f != nil {
			// It goes on for its readers. The model ends it.
			w.abort(key, f)
		}
	case n < 995:
		for o, body := range w.held {
			check(w.t, o, body)
			o.Release()
			delete(w.held, o)
			break
		}
	case w.opts.Dir != "":
		w.stop()
		w.restart()
	}
	if s := w.c.Stats(); s.DiskBytes > s.DiskLimit || s.MemoryBytes > s.MemoryLimit {
		w.t.Errorf("over the budget: %+v", s)
	}
}

// stop ends everything and closes the cache.
func (w *walker) stop() {
	for _, key := range w.keys {
		if f := w.running[key.Text]; f != nil {
			w.abort(key, f)
		}
	}
	for o := range w.held {
		o.Release()
	}
	clear(w.held)
	shut(w.t, w.c)
}

func (w *walker) get(key Key) {
	o := w.c.Get(key)
	want, ok := w.stored[key.Text]
	switch {
	case o == nil && ok && !w.small:
		w.t.Errorf("Get(%s) misses", key.Text)
	case o != nil && !ok:
		w.t.Errorf("Get(%s) hits", key.Text)
		o.Release()
	case o != nil:
		w.check(o, want)
		w.hold(o, want)
	}
	if o == nil {
		delete(w.stored, key.Text) // evicted for good
	}
}

func (w *walker) check(o *Object, want []byte) {
	wantBody(w.t, o, want)
	if got := o.Head().Header.Get("Serial"); got != w.heads[o.Key().Text] {
		w.t.Errorf("head of %s is %q, want %q", o.Key().Text, got, w.heads[o.Key().Text])
	}
}

func (w *walker) hold(o *Object, body []byte) {
	if _, twice := w.held[o]; twice || len(w.held) > 10 {
		o.Release()
		return
	}
	w.held[o] = body
}

func (w *walker) begin(key Key) {
	var seen *Object
	if w.r.IntN(2) == 0 {
		seen = w.c.Get(key)
	}
	turn := w.c.Begin(key, seen)
	_, isStored := w.stored[key.Text]
	running := w.running[key.Text]
	switch {
	case turn.Pass:
		w.t.Errorf("Begin(%s) passes", key.Text)
	case turn.Object != nil:
		if !isStored || seen != nil {
			w.t.Errorf("Begin(%s) finds an object, stored %v, seen %v", key.Text, isStored, seen != nil)
		}
		w.check(turn.Object, w.stored[key.Text])
		turn.Object.Release()
	case turn.Leader:
		if running != nil || isStored && seen == nil && !w.small {
			w.t.Errorf("Begin(%s) leads, running %v, stored %v", key.Text, running != nil, isStored)
		}
		w.lead(key, turn.Fill, seen)
	case running == nil:
		w.t.Errorf("Begin(%s) joins, and none runs", key.Text)
	case running.fill != turn.Fill:
		w.t.Errorf("Begin(%s) joins another fill", key.Text)
	case running.obj != nil:
		o, err := turn.Fill.Object(w.t.Context())
		if err != nil {
			w.t.Error(err)
			break
		}
		running.readers = append(running.readers, o)
	}
	release(seen)
}

// lead makes something of a new fill.
func (w *walker) lead(key Key, f *Fill, seen *Object) {
	if seen != nil && w.r.IntN(2) == 0 {
		o, err := f.Refresh(seen, w.head(-1))
		if err != nil {
			w.t.Error(err)
			f.Abort(err)
			return
		}
		w.heads[key.Text] = o.Head().Header.Get("Serial")
		w.check(o, w.stored[key.Text])
		again := w.c.Get(key)
		if again == nil {
			delete(w.stored, key.Text) // too many heads, or no room
		} else {
			again.Release()
		}
		o.Release()
		return
	}
	w.serial++
	sizes := []int{0, 1, 5_000, 65_536, 65_537, 150_000, 300_000}
	w.running[key.Text] = &modelFill{fill: f, body: pattern(w.serial, sizes[w.r.IntN(len(sizes))])}
}

func (w *walker) head(length int64) Head {
	w.serial++
	h := head(length)
	h.Header = http.Header{"Serial": {fmt.Sprint(w.serial)}}
	return h
}

// advance takes a running fill one step on.
func (w *walker) advance(key Key, f *modelFill) {
	switch {
	case f.obj == nil:
		length := int64(-1)
		if w.r.IntN(2) == 0 {
			length = int64(len(f.body))
		}
		o, err := f.fill.Start(w.head(length), key)
		if err != nil {
			w.t.Error(err)
		}
		f.obj = o
	case w.r.IntN(20) == 0:
		w.abort(key, f)
	case f.off < len(f.body):
		n := min(1+w.r.IntN(100_000), len(f.body)-f.off)
		p := f.body[f.off : f.off+n]
		var err error
		if w.r.IntN(2) == 0 {
			_, err = f.fill.Write(p)
		} else {
			_, err = f.fill.ReadFrom(bytes.NewReader(p))
		}
		if err != nil {
			w.t.Error(err)
		}
		f.off += n
		got := make([]byte, f.off)
		if m, err := f.obj.ReadAt(got, 0); m != f.off || err != nil || !bytes.Equal(got, f.body[:f.off]) {
			w.t.Errorf("growing %s: %d of %d bytes, %v", key.Text, m, f.off, err)
		}
	default:
		if err := f.fill.Finish(); err != nil {
			w.t.Error(err)
		}
		delete(w.running, key.Text)
		w.stored[key.Text] = f.body
		w.heads[key.Text] = f.obj.Head().Header.Get("Serial")
		for _, r := range f.readers {
			w.check(r, f.body)
			w.hold(r, f.body)
		}
		f.obj.Release()
		if again := w.c.Get(key); again != nil {
			again.Release()
		} else if w.small {
			delete(w.stored, key.Text)
		}
	}
}

func (w *walker) abort(key Key, f *modelFill) {
	f.fill.Abort(errUpstream)
	release(f.obj)
	for _, r := range f.readers {
		check(w.t, r, f.body)
		if _, _, err := r.Wait(w.t.Context(), int64(f.off)); err == nil {
			w.t.Errorf("aborted %s ends without an error", key.Text)
		}
		r.Release()
	}
	delete(w.running, key.Text)
}
