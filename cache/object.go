package cache

import (
	"context"
	"os"
	"sync/atomic"

	"weir/cache/policy"
)

// Object is a stored response, complete or still growing.
//
// It is reference-counted, because it may hold a file descriptor. Every function that returns an Object has taken a
// reference for the caller, who gives it back with Release. The first reference belongs to who makes the Object: the
// Fill, or the cache when it opens a file; the hot tier has one as long as it keeps the Object. Whoever releases the
// last closes the descriptor. A method may be called at any time by any goroutine that has a reference.
type Object struct {
	cache *Cache
	key   Key
	// version tells one stored response from its successor under the same key, also after a restart. Never 0.
	version uint64
	head    atomic.Pointer[Head]
	body    *body
	refs    atomic.Int64
	// touched is when the disk's index last heard that the Object is in use, on a clock of the Cache in nanoseconds; 0 for never.
	touched atomic.Int64
	// stream is what the disk's index makes of the key; uses are the requests that it has not heard of; a fill's Object
	// begins below 0, by those of which the fill has told it.
	stream policy.Stream
	uses   atomic.Int32
}

// newObject returns an Object with one reference, which belongs to the caller. It takes one of b's.
func (c *Cache) newObject(key Key, h Head, version uint64, b *body) *Object {
	o := &Object{cache: c, key: key, version: version, body: b}
	if c.index != nil {
		o.stream = policy.ParseStream(key.Text)
	}
	o.head.Store(&h)
	o.refs.Store(1)
	b.refs.Add(1)
	c.counts.live.Add(1)
	return o
}

// Key returns what the response is stored under.
func (o *Object) Key() Key { return o.key }

// Head returns the response's head, not to be changed. Once the body is complete its Length is known; until then an
// earlier call may have returned another pointer.
func (o *Object) Head() *Head { return o.head.Load() }

// Retain takes another reference.
func (o *Object) Retain() {
	if n := o.refs.Add(1); checked && n <= 1 {
		panic("cache: Retain of a released object")
	}
}

// Release gives a reference back.
func (o *Object) Release() {
	n := o.refs.Add(-1)
	if checked && n < 0 {
		panic("cache: Release without a reference")
	}
	if n == 0 {
		o.cache.asked(o)
		o.cache.counts.live.Add(-1)
		o.body.release()
	}
}

// Complete tells whether the whole body is there.
func (o *Object) Complete() bool { return o.body.complete() }

// Size returns the length of the whole body in bytes, -1 while it is unknown.
func (o *Object) Size() int64 {
	if o.body.complete() {
		return o.body.avail.Load()
	}
	return o.head.Load().Length
}

// Wait blocks until bytes past off are there. avail is how many bytes are there in all. done tells that the body is
// complete, avail then being its length. err is ctx's, or, once all bytes that arrived lie below off, the one that the
// fill was aborted with. A complete Object answers at once.
//
// Hot path: three atomic loads if there is something to answer.
func (o *Object) Wait(ctx context.Context, off int64) (avail int64, done bool, err error) {
	return o.body.wait(ctx, off)
}

// ReadAt reads bytes that have arrived, like io.ReaderAt. A short read has the error io.EOF at the end of a complete
// body, ErrGrowing while more is to come, or the one that the fill was aborted with.
func (o *Object) ReadAt(p []byte, off int64) (int, error) { return o.body.readAt(p, off) }

// Bytes returns the whole body if it is complete and in memory, else nil. An empty body is not nil. It must not be
// changed and stays valid as long as the Object is retained.
func (o *Object) Bytes() []byte {
	if !o.body.complete() {
		return nil
	}
	return o.body.inMemory()
}

// File returns the file that has the body and the offset of its first byte there, or nil if the body is in memory only.
// The descriptor is shared: it must not be closed, nor its position be used or moved; sendfile and pread with explicit
// offsets only. It is valid as long as the Object is retained.
//
// While the body grows, a call after each Wait is needed: a body that turns out to be large moves from memory to a
// file, and one whose disk fails moves to another file. What one call returned keeps all bytes that had arrived by
// then.
func (o *Object) File() (*os.File, int64) {
	f := o.body.file.Load()
	if f == nil {
		return nil, 0
	}
	return f.OS(), 0
}

// Discard is Evict for a reader that found the Object's file shorter than it is, or unreadable: nobody else is to meet it.
func (o *Object) Discard() {
	if o.Complete() && o.cache.Evict(o) {
		o.cache.counts.corrupt.Add(1)
	}
}

// tryRetain takes a reference unless the last one has gone.
// Hot path: one compare-and-swap.
func (o *Object) tryRetain() bool {
	for {
		n := o.refs.Load()
		if n <= 0 {
			return false
		}
		if o.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// same tells whether two Objects are the same stored response: one may have been opened from disk again.
func (o *Object) same(other *Object) bool {
	return other != nil && o.version == other.version && o.key == other.key
}
