package main

import (
	"context"
	"sync"
	"time"
)

const (
	// checkers ask the origin at the same time: few, so that it is not what the flood measures.
	checkers = 2
	// patience is how long the origin may take for what was not compared when the viewers had left.
	patience = 30 * time.Second
)

// verifier compares what viewers got with what the origin has: every segment once, while the flood goes on.
type verifier struct {
	*flood

	mu       sync.Mutex // guards the fields below
	next     int        // in the ledger's order
	verified int64
	failed   int64 // the origin did not answer
	example  string
}

func newVerifier(f *flood) *verifier { return &verifier{flood: f} }

// run compares until over is closed and all is compared, or ctx ends.
func (v *verifier) run(ctx context.Context, over <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var limit *time.Timer
	defer func() {
		if limit != nil {
			limit.Stop()
		}
	}()
	for ended := false; ; {
		v.catchUp(ctx)
		if ended || ctx.Err() != nil {
			return
		}
		select {
		case <-v.ledger.news:
		case <-over:
			ended = true // once more, for what came last
			limit = time.AfterFunc(patience, cancel)
		case <-ctx.Done():
		}
	}
}

// catchUp compares all that is in the ledger.
func (v *verifier) catchUp(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for i := range checkers {
		all.Go(func() { // ends when nothing is left
			l := v.connect(-1-i, v.origin, h1)
			defer l.close()
			for ctx.Err() == nil && v.compare(ctx, l) {
			}
		})
	}
}

// compare asks the origin for one object. It reports false when there is none left.
func (v *verifier) compare(ctx context.Context, l line) bool {
	v.mu.Lock()
	o, had, found := v.ledger.entry(v.next)
	if found {
		v.next++
	}
	v.mu.Unlock()
	if !found {
		return false
	}
	a, failed := v.getter.get(ctx, l, v.origin, o, false)
	v.mu.Lock()
	defer v.mu.Unlock()
	if failed != nil {
		if v.failed++; v.example == "" {
			v.example = failed.err.Error()
		}
		return true
	}
	v.verified++
	if a.hash != had.hash || a.bytes != had.bytes {
		v.ledger.accuse(o, had, sighting{edge: v.origin.String(), hash: a.hash, bytes: a.bytes, etag: a.etag})
	}
	return true
}

// result is how many objects were compared, and how many could not be.
func (v *verifier) result() (verified, failed int64, example string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verified, v.failed, v.example
}
