package cache

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"weir/cache/disk"
)

// ErrGrowing is returned by Object.ReadAt for bytes that have not arrived yet.
var ErrGrowing = errors.New("cache: body is still growing")

// body is the bytes of one or more Objects: a refreshed Object shares its predecessor's. One writer appends, any number
// of readers follow. Bytes below avail never change.
//
// The bytes are in memory, in a file, or, while the writer moves them, in both. State: atomics; the mutex is for the
// wake channel only.
type body struct {
	// refs counts Objects. The last one to go closes the files.
	refs  atomic.Int64
	avail atomic.Int64
	// end is nil while the body grows; then it holds the error that it ended with, if any. Set once, after the last
	// change of avail that counts.
	end atomic.Pointer[ending]
	// claimed is set by who will set end: nobody else can from then on.
	claimed atomic.Bool
	mem     atomic.Pointer[[]byte]
	file    atomic.Pointer[bodyFile]

	mu   sync.Mutex    // guards the fields below
	wake chan struct{} // closed at the next growth; nil if nobody waits
	// retired are files that the body was moved out of; readers may still use them.
	retired []disk.File
}

type ending struct{ err error }

// bodyFile is a box: an interface does not fit an atomic pointer.
type bodyFile struct{ disk.File }

// state returns what wait returns, and whether there is something to return for off.
// Hot path: three atomic loads.
func (b *body) state(off int64) (avail int64, done bool, err error, ok bool) {
	end := b.end.Load() // before avail: once there is an end, avail is final
	avail = b.avail.Load()
	switch {
	case end != nil && end.err == nil:
		return avail, true, nil, true
	case avail > off:
		return avail, false, nil, true
	case end != nil:
		return avail, false, end.err, true
	}
	return avail, false, nil, false
}

func (b *body) wait(ctx context.Context, off int64) (int64, bool, error) {
	for {
		if avail, done, err, ok := b.state(off); ok {
			return avail, done, err
		}
		wake := b.waker()
		// Growth between the look above and the taking of the channel closes no channel: look again.
		if avail, done, err, ok := b.state(off); ok {
			return avail, done, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return b.avail.Load(), false, ctx.Err()
		}
	}
}

func (b *body) waker() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

// signal wakes all that wait. It never blocks on them.
func (b *body) signal() {
	b.mu.Lock()
	wake := b.wake
	b.wake = nil
	b.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// finish ends the growth, with an error or without. Only the first call counts; it returns true.
func (b *body) finish(err error) bool {
	if !b.claim() {
		return false
	}
	b.show(err)
	return true
}

// claim gives the caller, once, the right and duty to call show.
func (b *body) claim() bool { return b.claimed.CompareAndSwap(false, true) }

// show lets readers see that the body has ended.
func (b *body) show(err error) {
	b.end.Store(&ending{err: err})
	b.signal()
}

// inMemory is what has arrived, where all of it lies in memory; else nil.
func (b *body) inMemory() []byte {
	mem := b.mem.Load()
	if mem == nil {
		return nil
	}
	n := b.avail.Load()
	return (*mem)[:n:n]
}

func (b *body) complete() bool {
	end := b.end.Load()
	return end != nil && end.err == nil
}

func (b *body) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("cache: negative offset")
	}
	end := b.end.Load()
	avail := b.avail.Load()
	var short error
	if avail-off < int64(len(p)) {
		switch {
		case end == nil:
			short = ErrGrowing
		case end.err != nil:
			short = end.err
		default:
			short = io.EOF
		}
		p = p[:max(0, avail-off)]
	}
	if len(p) == 0 {
		return 0, short
	}
	n, err := b.copyAt(p, off)
	if err == nil {
		err = short
	}
	return n, err
}

// copyAt fills p from bytes that are there.
func (b *body) copyAt(p []byte, off int64) (int, error) {
	// The writer sets file before it clears mem, so one of the three looks finds the bytes.
	f := b.file.Load()
	if f == nil {
		if mem := b.mem.Load(); mem != nil {
			return copy(p, (*mem)[off:]), nil
		}
		f = b.file.Load()
	}
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // somebody cut the file
	}
	return n, err
}

// move puts the bytes into another file. The one before stays open for who still reads it.
func (b *body) move(to disk.File) {
	from := b.file.Swap(&bodyFile{to})
	if from == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = append(b.retired, from.File)
}

// release drops one Object's reference.
func (b *body) release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	// Nothing is reported: the files were written and checked before, or are not kept.
	if f := b.file.Load(); f != nil {
		_ = f.Close()
	}
	b.mu.Lock()
	retired := b.retired
	b.retired = nil
	b.mu.Unlock()
	for _, f := range retired {
		_ = f.Close()
	}
}
