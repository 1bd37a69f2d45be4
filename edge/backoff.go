package edge

import (
	"sync"
	"time"

	"weir/cache"
)

const (
	// firstRest is how long nobody asks again for what could not be renewed; each
	// further time twice as long, up to longestRest: a viewer who comes when the
	// origin is back sees that within ten seconds.
	firstRest   = time.Second
	longestRest = 10 * time.Second
	// restingMax keys are remembered at most: 1 MiB. When it is full all are
	// forgotten, which costs the origin one request for each of them.
	restingMax = 1 << 14
)

// backoff remembers the stale responses that could not be renewed lately. As long
// as they rest they are served without asking, where they may be served on an error
// at all: an origin that fails under load is asked once for each key and step, not
// once for each viewer. Safe for concurrent use; the zero value is ready.
type backoff struct {
	mu   sync.Mutex // guards the field below
	keys map[cache.ID]rest
}

// rest is the time until which a key is not asked for.
type rest struct {
	until time.Time
	step  time.Duration
}

// failed counts a request for the key that renewed nothing.
func (b *backoff) failed(id cache.ID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, known := b.keys[id]
	if !known && len(b.keys) >= restingMax {
		clear(b.keys)
	}
	if b.keys == nil {
		b.keys = map[cache.ID]rest{}
	}
	step := min(max(2*last.step, firstRest), longestRest)
	b.keys[id] = rest{now.Add(step), step}
}

// over forgets the key: it was answered.
func (b *backoff) over(id cache.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.keys, id)
}

// rests tells whether the key is not to be asked for.
func (b *backoff) rests(id cache.ID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.keys[id].until)
}

// heard takes note of how a fill's request ended. It is about what is stored: what
// is asked for without having anything has no rest.
func (e *Edge) heard(f *flight, err error) {
	switch {
	case f.stale == nil:
	case err == nil:
		e.backoff.over(f.key.ID)
	case e.context.Err() == nil: // what this node gave up says nothing
		e.backoff.failed(f.key.ID, time.Now())
	}
}
