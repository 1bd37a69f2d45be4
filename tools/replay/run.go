package replay

import (
	"fmt"
	"time"
)

// Cache is a policy at work: it is asked for each request of a trace in turn, and tells whether it had the object. What
// it did not have it may take in.
type Cache interface {
	// Ask handles the request with this number; the caller goes through a trace in order, once.
	Ask(n int, r Request, o *Object) (hit bool)
}

// Policy is a way to decide what a cache keeps.
type Policy struct {
	Name string
	// New makes an empty cache with a budget in bytes for one run through a trace.
	New func(t *Trace, budget int64) (Cache, error)
}

// Policies returns all there are, Weir's first and Belady's last.
func Policies() []Policy {
	return []Policy{
		{"weir", newWeir},
		{"s3fifo", func(_ *Trace, budget int64) (Cache, error) { return newS3FIFO(budget), nil }},
		{"arc", func(_ *Trace, budget int64) (Cache, error) { return newARC(budget), nil }},
		{"2q", newTwoQueue},
		{"lru", newLRU},
		{"belady", func(t *Trace, budget int64) (Cache, error) { return newBelady(t, budget), nil }},
	}
}

// Result is what one policy did with one budget.
type Result struct {
	Policy string `json:"policy"`
	// Share is the budget as a part of the trace's footprint.
	Share       float64 `json:"share"`
	BudgetBytes int64   `json:"budget_bytes"`
	// Requests and Bytes are those that count, after the warm-up.
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
	Hits     int64 `json:"hits"`
	HitBytes int64 `json:"hit_bytes"`
	// ObjectHit and ByteHit are parts of 1.
	ObjectHit float64 `json:"object_hit"`
	ByteHit   float64 `json:"byte_hit"`
	// NanosecondsPerRequest is the whole run's time by the requests: for comparisons within one run only.
	NanosecondsPerRequest float64 `json:"ns_per_request"`
}

// Run plays a trace. The first part of the requests, warmUp of 1, is not counted.
func Run(t *Trace, p Policy, budget int64, warmUp float64) (Result, error) {
	c, err := p.New(t, budget)
	if err != nil {
		return Result{}, fmt.Errorf("make a cache for %s: %w", p.Name, err)
	}
	res := Result{Policy: p.Name, BudgetBytes: budget, Share: float64(budget) / float64(t.Footprint())}
	skip := int(float64(len(t.Requests)) * warmUp)
	began := time.Now()
	for n, r := range t.Requests {
		o := &t.Objects[r.Object]
		hit := c.Ask(n, r, o)
		if n < skip {
			continue
		}
		res.Requests++
		res.Bytes += o.Bytes
		if hit {
			res.Hits++
			res.HitBytes += o.Bytes
		}
	}
	res.NanosecondsPerRequest = float64(time.Since(began).Nanoseconds()) / float64(len(t.Requests))
	res.ObjectHit = float64(res.Hits) / float64(max(res.Requests, 1))
	res.ByteHit = float64(res.HitBytes) / float64(max(res.Bytes, 1))
	return res, nil
}
