package main

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// options describe a flood.
type options struct {
	edges    []*url.URL
	titles   []string // paths of playlists
	origin   *url.URL // to compare with; nil = nobody
	host     string   // Host field and TLS name; "" = the edge's
	viewers  int
	ramp     time.Duration // over which they arrive
	duration time.Duration // 0 = until the titles end; else viewers begin another one
	target   time.Duration // of the buffer
	silence  time.Duration // how long a viewer waits for a byte
	failover bool
	fast     bool // do not wait for playback
	choice   choice
	speak    []protocol // viewers speak these in turn
	seed     uint64
	tls      *tls.Config // which certificates are trusted
	// dial makes TCP connections; nil = real ones.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// flood is many viewers at once and what they saw.
type flood struct {
	*options
	*exchange

	getter *getter
	ledger *ledger
	lists  *lists
	tally  *tally
	check  *verifier // nil without an origin
	again  bool      // begin another title when one has ended
	begun  time.Time
}

func newFlood(o *options) *flood {
	l := newLedger()
	f := &flood{
		options: o, exchange: newExchange(o.tls, o.dial), getter: newGetter(l.seed, o.host, o.silence), ledger: l,
		lists: &lists{}, tally: newTally(len(o.edges)), again: o.duration > 0, begun: time.Now(),
	}
	if o.origin != nil {
		f.check = newVerifier(f)
	}
	return f
}

// run plays until all viewers have left, at the latest when ctx ends. What it started has ended when it returns.
func (f *flood) run(ctx context.Context) {
	defer f.close()
	var checking sync.WaitGroup
	over := make(chan struct{})
	if f.check != nil {
		checking.Go(func() { f.check.run(ctx, over) }) // ends with over, when it has caught up
	}
	f.crowd(ctx)
	close(over)
	checking.Wait()
}

// crowd lets viewers arrive one after the other.
func (f *flood) crowd(ctx context.Context) {
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	var viewers sync.WaitGroup
	defer viewers.Wait()
	for i := range f.viewers {
		arrival := f.ramp * time.Duration(i) / time.Duration(f.viewers)
		if !sleep(ctx, time.Until(f.begun.Add(arrival))) {
			return
		}
		v := f.viewer(i)
		viewers.Go(func() { v.watch(ctx) }) // ends with the titles, or with ctx
	}
}

// viewer makes the i-th viewer: the same for the same seed.
func (f *flood) viewer(i int) *viewer {
	v := &viewer{flood: f, id: i, random: rand.New(rand.NewPCG(f.seed, uint64(i)))}
	home := i % len(f.options.edges)
	v.protocol = f.speak[i/len(f.options.edges)%len(f.speak)] // every edge gets every protocol
	v.edges = v.random.Perm(len(f.options.edges))
	at := slices.Index(v.edges, home)
	v.edges[0], v.edges[at] = v.edges[at], v.edges[0]
	return v
}

// known says whether a playlist may lead to a host.
func (f *flood) known(host string) bool {
	return host == f.host || slices.ContainsFunc(f.options.edges, func(e *url.URL) bool { return e.Host == host })
}
