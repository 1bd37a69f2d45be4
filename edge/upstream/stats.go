package upstream

import "sync/atomic"

// Stats counts what was asked of a Group or of Peers since the start.
type Stats struct {
	Requests uint64 // sent, retries included
	Failures uint64 // that brought no response head
	Broken   uint64 // bodies that failed before their end
	Bytes    int64  // of bodies, as they came
	Running  int64  // responses not closed yet, and requests without one
}

// counts are the atomics behind Stats.
type counts struct {
	requests, failures, broken atomic.Uint64
	bytes, running             atomic.Int64
}

func (c *counts) snapshot() Stats {
	return Stats{
		Requests: c.requests.Load(), Failures: c.failures.Load(), Broken: c.broken.Load(),
		Bytes: c.bytes.Load(), Running: c.running.Load(),
	}
}
