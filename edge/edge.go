package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/cache/tag"
	"weir/cluster/ring"
	"weir/edge/access"
	"weir/edge/cmcd"
	"weir/edge/upstream"
)

// Options of an [Edge].
type Options struct {
	Name    string                                 // this node, as in the ring and in Cache-Status; required
	Loop    string                                 // our token in CDN-Loop (RFC 8586), the same on all nodes of a cluster; default "weir"
	Cache   *cache.Cache                           // required; the caller closes it after the Edge
	Sites   *Sites                                 // those to begin with, see SetSites; required
	Purges  *tag.Table                             // what was purged; nil: one of its own, in memory
	Tiers   func() ring.Tiers                      // the tables of now; nil: alone
	Region  string                                 // of this node, as in Site.Home
	Peers   *upstream.Peers                        // how other nodes are asked; nil: never
	Geo     *access.Geo                            // where clients are, for the sites' rules; nil: unknown
	Joined  time.Time                              // when this node came to the cluster; zero: long ago
	Observe func(x *Exchange)                      // called at the end of each exchange, from its goroutine; nil: nobody
	Fetched func(from upstream.Source, status int) // called after each fetch; status 0: no response came; nil: nobody
	Duress  func() bool                            // whether the node is short of something, which players are told; nil: never
	Log     *slog.Logger                           // nil: discard

	// Overload turns clients' requests away when there are too many; the caller runs it. nil: nobody is turned away.
	Overload *Overload

	// Doubt returns the time before which a fetch from the origin must have begun for its response to be doubtful at now: it
	// may have been purged without this node's having heard of that. Strict sites validate it before they serve it. The
	// zero time: nothing is doubtful. It is called for each request of a strict site. nil: nothing ever is.
	Doubt func(now time.Time) time.Time
}

// Edge answers clients and peers. Safe for concurrent use.
type Edge struct {
	options Options
	sites   atomic.Pointer[Sites]
	history history   // of what was no hit
	seen    sightings // what was fetched from its owner lately
	backoff backoff   // what could not be renewed lately
	heat    *heat     // of what peers ask for
	runs    [hopsClient + 1]runSlots
	refused *refusals
	reused  reuses
	memo    memo                    // of manifests made for viewers
	limits  atomic.Pointer[limiter] // nil until a site has limits
	dropped atomic.Int64            // stored responses that purges ended
	panics  atomic.Int64            // that were kept to a fill
	reports reportCounts

	reportPool cmcd.Pool
	prefetches atomic.Int64 // that run

	disagreed atomic.Int64   // requests of peers with other tables
	fills     sync.WaitGroup // goroutines that write fills
	context   context.Context
	cancel    context.CancelFunc
	mu        sync.Mutex // guards the field below: no fill starts after Close
	closed    bool
}

// New checks the options and starts nothing.
func New(o Options) (*Edge, error) {
	if o.Name == "" || o.Cache == nil || o.Sites == nil {
		return nil, errors.New("edge: Options needs Name, Cache and Sites")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Loop == "" {
		o.Loop = "weir"
	}
	if o.Observe == nil {
		o.Observe = func(*Exchange) {}
	}
	if o.Fetched == nil {
		o.Fetched = func(upstream.Source, int) {}
	}
	if o.Purges == nil {
		var err error
		if o.Purges, err = tag.New(tag.Options{}, time.Now()); err != nil {
			return nil, err
		}
	}
	e := &Edge{options: o, heat: new(heat), refused: newRefusals()}
	for i := range e.runs {
		e.runs[i] = newRunSlots()
	}
	e.useLimits(o.Sites)
	e.useFetches(o.Sites)
	e.sites.Store(o.Sites)
	e.context, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// SetSites replaces the rules of all sites for requests that come from now on. What is
// being answered, and fetched, goes on by those that it began with; what clients have left of their limits stays. Calls
// must follow one another.
func (e *Edge) SetSites(s *Sites) {
	e.useLimits(s)
	e.useFetches(s)
	e.sites.Store(s)
}

// ServeHTTP answers a client.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.serve(w, r, false) //nolint:contextcheck // the exchange's request carries the context
}

// PeerHandler answers other nodes, and asks others for them no more often than they
// say. It belongs behind a listener that authenticates nodes.
func (e *Edge) PeerHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, true) }) //nolint:contextcheck // as above
}

// Close gives fills that run until ctx ends, then breaks them off, and returns
// when the last has ended. Call it after the listeners have drained.
func (e *Edge) Close(ctx context.Context) {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	stop := context.AfterFunc(ctx, e.cancel)
	defer stop()
	e.fills.Wait()
	e.cancel()
}

// Hot path: one allocation for the exchange, and what net/http does.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request, peer bool) {
	x := &Exchange{Request: r, Start: time.Now(), Source: upstream.FromSelf, Peer: peer, w: w}
	x.status.Node, x.hops = e.options.Name, hopsClient
	e.arrive(x)
	defer e.leave(x)
	if peer {
		x.hops = hopsOf(r.Header)
		e.agree(x)
	}
	if e.receive(x) {
		if !x.Peer {
			e.report(x)
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			e.answer(x)
		default:
			e.pass(x, "method")
		}
	}
	e.account(x)
	if x.Aborted {
		panic(http.ErrAbortHandler) // the transfer ends broken over every protocol, never clean
	}
}

// account closes the books of an exchange.
func (e *Edge) account(x *Exchange) {
	x.Duration = time.Since(x.Start)
	if x.Outcome == Failed && x.Reason != "client-gone" {
		e.options.Log.Warn("no response could be had", "host", x.Target.Host, "path", x.Target.Path, "status", x.Status, "error", x.Err)
	}
	if x.Outcome != Hit && x.Outcome != Collapsed && x.Outcome != Local && x.site != nil {
		e.history.add(x)
	}
	if x.Outcome == Refused {
		e.noteRefused(x)
	}
	e.options.Observe(x)
	e.forgetReport(x)
}
