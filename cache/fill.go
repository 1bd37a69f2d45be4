package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/freshness"
	"weir/cache/policy"
)

var (
	// ErrPass is what readers of a fill get when its response may not be shared: each asks for itself.
	ErrPass = errors.New("cache: response is not shared")
	// ErrGone is what a reader gets who asks for a fill's Object after it ended and was not kept: Begin again.
	ErrGone = errors.New("cache: response is gone")
	// ErrClosed is what fills end with when the cache is closed.
	ErrClosed = errors.New("cache: closed")
	// ErrShort is returned by Finish for a body that ended before its announced length.
	ErrShort = errors.New("cache: body ended early")
	// ErrLong is returned by Write and ReadFrom for bytes beyond the announced length.
	ErrLong = errors.New("cache: body is longer than announced")
	// ErrOrder is returned for a writer's call out of order: Write before Start, a second Start, anything after the end.
	ErrOrder = errors.New("cache: fill call out of order")
)

// Fill is a response being stored. One goroutine at a time is its writer: the leader that Begin named, or whom it hands
// the Fill to. The writer calls Start, then Write or ReadFrom, and ends the Fill in any case with exactly one of Finish,
// Abort, Pass and Refresh; only then is what it holds given back. After a panic in one of them Abort gives it back. Object and Readers are for readers, at any time.
//
// The writer never waits for readers, and a Fill goes on when all of them, the leader's client too, have left.
type Fill struct {
	cache *Cache
	key   Key
	// ready is closed once there is an Object or an error.
	ready   chan struct{}
	waiting atomic.Int64
	// detached tells that the key was removed while the fill ran: it is not stored.
	detached atomic.Bool
	// Reach is what the leader tells those who would join, 0 until it does; this package does not look at it.
	Reach atomic.Int32

	transient bool // the writer's, see Transient

	sink   *sink // the writer's; nil before Start
	failed error // the writer's; the body is not whole

	mu    sync.Mutex // guards the fields below
	obj   *Object    // set once; the fill has a reference until it ends
	err   error
	ended bool
}

func newFill(c *Cache, k Key) *Fill {
	return &Fill{cache: c, key: k, ready: make(chan struct{})}
}

// Transient keeps the response from being stored: it is served from memory to who asks for it while the fill runs. The
// writer calls it before Start.
func (f *Fill) Transient() { f.transient = true }

// Start gives the fill its head; from here on readers have the Object, and it grows. as is the key it will be stored
// under, which differs from Begin's for a variant (Vary). h.Length is -1 if the length is unknown. The Object is
// retained for the writer, who releases it after the end. On an error the fill still has to be ended, with Abort.
func (f *Fill) Start(h Head, as Key) (*Object, error) {
	if f.sink != nil {
		return nil, ErrOrder
	}
	h.Length = max(-1, h.Length)
	b := &body{}
	s := &sink{cache: f.cache, body: b, id: as.ID, length: h.Length, unstored: f.transient}
	// Whether it may be stored depends on who asks for it. A fill ahead of its readers is no request: theirs follow.
	waiting := f.waiting.Load()
	if f.cache.index != nil {
		s.stream = policy.ParseStream(as.Text)
		f.cache.index.Ask(s.stream, uint32(waiting))
	}
	f.sink = s
	if err := s.start(); err != nil {
		s.close()
		f.sink = nil
		return nil, fmt.Errorf("start to fill %s: %w", f.key.Text, err)
	}
	o := f.cache.newObject(as, h, f.cache.nextVersion(), b)
	o.uses.Store(-int32(waiting))
	if err := f.show(o); err != nil {
		o.Release()
		f.failed = err
		return nil, err
	}
	o.Retain()
	return o, nil
}

// Write appends p to the body and wakes readers before it returns. The error is ErrLong, ErrOrder, that of a cancelled
// fill (ErrClosed), or that of storage when neither disk nor memory took the bytes. A full disk is no error: the body is
// served to its end and not stored.
func (f *Fill) Write(p []byte) (int, error) {
	return f.append(p, false)
}

// ReadFrom appends what r has until io.EOF. Bytes that one Read returned are visible to readers before the next Read,
// and readers are woken before it unless r says (with a method Buffered, as bufio.Reader) that it will not block.
// The error is r's or one of Write's.
func (f *Fill) ReadFrom(r io.Reader) (n int64, err error) {
	if f.sink == nil {
		return 0, ErrOrder
	}
	buffered, _ := r.(interface{ Buffered() int })
	var buf *[pieceBytes]byte
	defer func() {
		if buf != nil {
			f.cache.buffers.Put(buf)
		}
	}()
	for {
		// A small body is read into its memory. The pooled buffer is for what does not fit there, which for a body of
		// known length is nothing, or one byte too many.
		p := f.sink.room()
		if len(p) == 0 {
			if buf == nil {
				buf = f.cache.buffers.Get().(*[pieceBytes]byte)
			}
			p = buf[:]
		}
		got, readErr := r.Read(p)
		if got > 0 {
			more := readErr == nil && buffered != nil && buffered.Buffered() > 0
			wrote, err := f.append(p[:got], more)
			n += int64(wrote)
			if err != nil {
				return n, err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// Reconsider gives the response another freshness, between Start and Finish, because its body tells how long it holds.
// Heads that readers have taken do not change. It is for the writer.
func (f *Fill) Reconsider(fresh freshness.Freshness) {
	if f.sink == nil || f.obj == nil {
		return
	}
	h := *f.obj.Head()
	h.Freshness = fresh
	f.obj.head.Store(&h)
}

// Finish ends the fill: the response is stored, in one step with the end, so that a later Begin finds either the Fill or
// the Object. A body shorter than announced is ErrShort; that and any error before make Finish an Abort, whose error it
// returns. A response that could not be stored, for want of room, is no error.
func (f *Fill) Finish() error {
	if f.sink == nil {
		f.Abort(ErrOrder)
		return ErrOrder
	}
	o := f.obj // set by Start and never changed
	err := f.failed
	if err == nil && f.sink.length >= 0 && f.sink.off < f.sink.length {
		err = fmt.Errorf("fill %s: %d of %d bytes: %w", f.key.Text, f.sink.off, f.sink.length, ErrShort)
	}
	if err != nil {
		f.Abort(err)
		return err
	}
	h := *o.Head()
	h.Length = f.sink.off
	o.head.Store(&h)
	if !o.body.claim() {
		err := f.cancelled()
		f.Abort(err)
		return err
	}
	defer func() { // also after a panic: the body is whole
		o.body.show(nil)
		f.sink.close()
		f.end(nil)
	}()
	// Readers see the end after the response is stored: whoever has it whole finds it in the cache.
	f.cache.keep(f, o)
	return nil
}

// Abort ends the fill: nothing is kept. Readers get the bytes that arrived, then err, which must not be nil. After
// another end it does nothing.
func (f *Fill) Abort(err error) {
	if err == nil {
		err = errors.New("cache: fill aborted")
	}
	f.cancel(err)
	if f.sink != nil {
		f.sink.close()
	}
	if f.end(err) {
		f.cache.counts.aborted.Add(1)
	}
}

// Detach keeps a running fill from being stored and from being joined: it goes on for the readers that it has, and the
// next Begin of its key starts another. Anybody may call it, at any time.
func (f *Fill) Detach() {
	s := f.cache.shard(f.key.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.detached.Store(true)
	if s.fills[f.key.ID] == f {
		delete(s.fills, f.key.ID)
	}
}

// Pass ends a fill that has not started, because the response may not be shared: who waits gets ErrPass. For d from now
// Begin answers Turn.Pass for this key.
func (f *Fill) Pass(d time.Duration) {
	if d > 0 {
		f.cache.setPass(f.key, time.Now().Add(d))
	}
	f.Abort(ErrPass)
}

// Refresh ends a fill that has not started, after a 304: the body of stale gets the head h and is stored under stale's
// key as a new Object, retained for the caller. h.Length is ignored. On an error (stale is not complete, or ErrOrder)
// the fill still has to be ended, with Abort.
func (f *Fill) Refresh(stale *Object, h Head) (*Object, error) {
	if f.sink != nil || !stale.Complete() {
		return nil, ErrOrder
	}
	h.Length = stale.Size()
	o := f.cache.newObject(stale.key, h, f.cache.nextVersion(), stale.body)
	if err := f.show(o); err != nil {
		o.Release()
		return nil, err
	}
	o.Retain()
	f.cache.keepRefreshed(f, stale, o)
	f.end(nil)
	return o, nil
}

// Resolve ends a fill that has not started with an Object found elsewhere, for instance a variant that somebody else
// stored since Begin: who waits gets o, which stays the caller's.
func (f *Fill) Resolve(o *Object) error {
	o.Retain()
	if err := f.show(o); err != nil {
		o.Release()
		return err
	}
	f.end(nil)
	return nil
}

// Object waits for the head and returns the Object, retained. The error is ctx's, the one the fill was aborted with,
// ErrPass, or ErrGone.
func (f *Fill) Object(ctx context.Context) (*Object, error) {
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	select {
	case <-f.ready:
	default:
		select {
		case <-f.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	o, err := f.obj, f.err
	f.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case o.tryRetain():
		o.uses.Add(1)
		return o, nil
	}
	// The fill ended, and everybody let go of the Object. It may lie on disk.
	if o = f.cache.Get(o.key); o != nil {
		return o, nil
	}
	return nil, ErrGone
}

// Peek returns the Object, retained, where readers could have it at once; else nil.
func (f *Fill) Peek() *Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj == nil || f.err != nil || !f.obj.tryRetain() {
		return nil
	}
	return f.obj
}

// Readers returns how many wait for the head or hold the Object, not counting the fill and its writer.
func (f *Fill) Readers() int {
	n := f.waiting.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj != nil && !f.ended {
		n += max(0, f.obj.refs.Load()-2)
	}
	return int(n)
}

// append checks the length and writes.
func (f *Fill) append(p []byte, more bool) (int, error) {
	switch {
	case f.sink == nil:
		return 0, ErrOrder
	case f.failed != nil:
		return 0, f.failed
	}
	if end := f.obj.body.end.Load(); end != nil {
		f.failed = f.cancelled()
		return 0, f.failed
	}
	var long error
	if s := f.sink; s.length >= 0 && int64(len(p)) > s.length-s.off {
		long = fmt.Errorf("fill %s: more than %d bytes: %w", f.key.Text, s.length, ErrLong)
		p = p[:s.length-s.off]
	}
	before := f.sink.off
	err := f.sink.write(p, more)
	if err == nil {
		err = long
	}
	f.failed = err
	return int(f.sink.off - before), err
}

// gave tells whether the fill's Object is this one.
func (f *Fill) gave(o *Object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return o.same(f.obj)
}

// show gives readers the Object; the caller's reference becomes the fill's.
func (f *Fill) show(o *Object) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return f.err
	case f.obj != nil || f.ended:
		return ErrOrder
	}
	f.obj = o
	close(f.ready)
	return nil
}

// cancel lets readers know that no more will come. The writer may still be at work and ends the fill later.
func (f *Fill) cancel(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.err != nil {
		return
	}
	if f.obj == nil {
		f.err = err
		close(f.ready)
		return
	}
	if f.obj.body.finish(err) {
		f.err = err
	}
}

// cancelled returns the error that the fill was cancelled with.
func (f *Fill) cancelled() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	return ErrOrder
}

// end takes the fill out of the cache and drops its reference; false if that had been done.
func (f *Fill) end(err error) bool {
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return false
	}
	f.ended = true
	if f.err == nil {
		f.err = err
	}
	o := f.obj
	f.mu.Unlock()
	f.cache.forget(f)
	if o != nil {
		o.Release()
	}
	return true
}
