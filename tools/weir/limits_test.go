package main

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// TestLimitsOverEveryProtocol: a client that asks too often is told so, and one that takes too much waits, and gets every
// byte; a reload lifts both for what comes then.
func TestLimitsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	const size, rate, burst = 1 << 20, 1 << 20, 256 << 10
	var use configs.Limits
	var config configs.Config
	s := newSocketNode(t, func(o *nodeOptions) {
		use = configs.Limits{Client: configs.Bounds{Requests: 0.001, Burst: 5, Bandwidth: rate, BandwidthBurst: burst}}
		o.config.Sites[0].Limits = use
		config = *o.config
		o.load = func() (*configs.Config, error) {
			c := config
			c.Sites = []configs.Site{config.Sites[0]}
			c.Sites[0].Limits = use
			return &c, nil
		}
	})
	var all sync.WaitGroup
	start := time.Now()
	for _, w := range ways() {
		c, base := s.client(t, w)
		all.Go(func() {
			if r := c.Get(t.Context(), base+"/o/1MiB/film", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
				t.Errorf("%s: %s", w.name, r)
			}
		})
	}
	all.Wait()
	if took, least := time.Since(start), time.Duration(len(ways())*size-burst)*time.Second/rate; took < least {
		t.Errorf("one client got %d bytes over four connections in %v, want %v at least", len(ways())*size, took, least)
	}
	c, base := s.client(t, ways()[0])
	if r := c.Get(t.Context(), base+"/o/1KiB/5", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Status != http.StatusOK {
		t.Errorf("the fifth request: %s", r)
	}
	for _, w := range ways() {
		c, base := s.client(t, w)
		r := c.Get(t.Context(), base+"/o/1KiB/5", proof.Options{AnyStatus: true, Truth: "127.0.0.1"})
		if r.Status != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: one more: %d, Retry-After %q", w.name, r.Status, r.Header.Get("Retry-After"))
		}
	}
	if n := s.edge.Refused("client-rate"); n != int64(len(ways())) {
		t.Errorf("%d refusals are counted, want %d", n, len(ways()))
	}
	use = configs.Limits{}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range ways() {
		c, base := s.client(t, w)
		if r := c.Get(t.Context(), base+"/o/1MiB/film", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
			t.Errorf("%s: after the reload: %s", w.name, r)
		}
	}
}
