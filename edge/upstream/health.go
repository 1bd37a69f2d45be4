package upstream

import (
	"sync/atomic"
	"time"
)

const (
	failuresToEject = 5               // consecutive failures that put an upstream out
	ejection        = 5 * time.Second // how long it stays out
)

// health is the recent history of one upstream. All of it is atomic.
type health struct {
	failures atomic.Int32
	outUntil atomic.Pointer[time.Time] // with its monotonic reading: a stepping clock must not keep a host out
	lastErr  atomic.Pointer[string]
}

func (h *health) usable(now time.Time) bool {
	until := h.outUntil.Load()
	return until == nil || !until.After(now)
}

// note records the outcome of a fetch; one that the caller gave up says
// nothing about the upstream.
func (h *health) note(err error, givenUp bool, now time.Time) {
	if err == nil {
		h.failures.Store(0)
		h.lastErr.Store(nil)
		return
	}
	if givenUp {
		return
	}
	text := err.Error()
	h.lastErr.Store(&text)
	if h.failures.Add(1) >= failuresToEject {
		until := now.Add(ejection)
		h.outUntil.Store(&until)
	}
}
