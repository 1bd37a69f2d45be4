package edge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/cache"
	"weir/edge/field"
)

const (
	passFor      = time.Second // how long nobody waits on a key whose response could not be shared
	fillAttempts = 4           // fills that one request may join before it asks for itself
)

// fill answers a request that no fresh object can: it starts a fill or joins
// the one that runs. stale may be nil.
func (e *Edge) fill(x *Exchange, stale *cache.Object) {
	ctx := x.Request.Context()
	seen := stale
	for range fillAttempts {
		turn := e.options.Cache.Begin(x.key, seen)
		switch {
		case turn.Object != nil:
			defer turn.Object.Release()
			if names := turn.Object.Varies(); names != nil {
				x.key, seen = variantKey(x.Target, names, x.Request.Header), nil
				continue
			}
			fresh, ok := e.reusable(x, turn.Object, time.Now())
			if !ok || !fresh.Fresh(time.Now()) {
				if seen, stale = turn.Object, nil; ok {
					stale = turn.Object // else it is no good for a revalidation either
				}
				continue
			}
			e.deliverCollapsed(x, turn.Object)
			return
		case turn.Pass:
			e.pass(x, "uncacheable")
			return
		}
		var f *flight
		if turn.Leader {
			if !e.beginFetch(x) {
				turn.Fill.Abort(errOverload) // also for those that have joined since: they cost a fetch as well
				e.settle(x, turn.Fill, nil, nil, errOverload, stale)
				return
			}
			f = e.launch(ctx, x, turn.Fill, stale, wantedPart(x.Request))
		} else if e.overloaded(x) {
			return
		}
		if x.Peer {
			x.w.WriteHeader(http.StatusProcessing) // a sign of life: see upstream.Peers
		}
		object, err := await(ctx, turn, x.hops)
		if errors.Is(err, errRoundabout) {
			e.pass(x, "roundabout")
			return
		}
		if f != nil {
			if errors.Is(err, cache.ErrGone) {
				object, err = f.keep.take(err)
			}
			f.keep.drop()
		}
		if again := e.settle(x, turn.Fill, f, object, err, stale); !again {
			return
		}
	}
	e.pass(x, "contended")
}

// errRoundabout tells that a fill may be waiting for the very request that would wait for it.
var errRoundabout = errors.New("edge: the fill waits for another node")

// await waits for the head of a fill. A request of another node joins only what waits
// for fewer hops than it may go itself: where two nodes hold each other for the owner,
// neither waits for the other for long.
func await(ctx context.Context, turn cache.Turn, hops int) (*cache.Object, error) {
	joins := func() bool {
		reach := turn.Fill.Reach.Load() // 0: its leader has not said yet
		return turn.Leader || hops == hopsClient || reach > 0 && int(reach)-1 <= hops
	}
	if !joins() {
		short, cancel := context.WithTimeout(ctx, joinPatience)
		object, err := turn.Fill.Object(short)
		late := short.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late {
			return object, err
		}
		if !joins() {
			return nil, errRoundabout
		}
	}
	return turn.Fill.Object(ctx)
}

// settle acts on the result of a fill, of the request's own flight or, with nil,
// another one's; it returns true when the request should look again, under
// another key or for a later fill.
func (e *Edge) settle(x *Exchange, fill *cache.Fill, f *flight, object *cache.Object, err error, stale *cache.Object) (again bool) {
	switch {
	case err == nil:
		defer object.Release()
		if f == nil && (e.outdated(x, object) || lapsed(x, object)) {
			fill.Detach() // it asked before a purge, or long ago: who comes later is not to join it either
			return true
		}
		if names, _ := varyNames(object.Head().Header); len(names) > 0 {
			if want := variantKey(x.Target, names, x.Request.Header); want.Text != object.Key().Text {
				x.key = want
				x.status.Forward = field.ForwardVaryMiss
				return true
			}
		}
		if f == nil {
			e.deliverCollapsed(x, object)
			return false
		}
		e.deliverMiss(x, f, object)
	case x.Request.Context().Err() != nil:
		x.Outcome, x.Err, x.Aborted = Failed, context.Cause(x.Request.Context()), true
		x.Reason = "client-gone"
	case errors.Is(err, cache.ErrGone): // the fill ended and its object was evicted before this request got hold of it
		return true
	case f != nil && (errors.Is(err, cache.ErrPass) || errors.Is(err, errAlone)):
		e.takeOver(x, f)
	case errors.Is(err, errAlone) && len(x.Request.Header["Authorization"]) == 0:
		return true
	case errors.Is(err, cache.ErrPass), errors.Is(err, errAlone):
		e.pass(x, "uncacheable")
	case errors.Is(err, errOverload) && x.Peer: // it was another client's request that was turned away
		return true
	case stale != nil && e.servesOnError(x, stale):
		x.status.Detail = "stale-if-error"
		if e.use(x, Stale) {
			e.deliver(x, stale)
		}
	case errors.Is(err, errOverload):
		e.shed(x, x.class(false))
	default:
		if stale != nil {
			fresh, _ := e.reusable(x, stale, time.Now())
			x.unvalidated = fresh.MustRevalidate || fresh.NoCache
		}
		e.fail(x, err)
	}
	return false
}

// lapsed tells whether a response that still comes was stale already when the request
// did. One whose head came later the request has waited for, however short it lasts.
func lapsed(x *Exchange, o *cache.Object) bool {
	head := o.Head()
	return head.ResponseTime.Before(x.Start) && !head.Freshness.Fresh(x.Start) && !head.Freshness.WhileRevalidating(x.Start)
}

func (e *Edge) servesOnError(x *Exchange, stale *cache.Object) bool {
	now := time.Now()
	fresh, ok := e.reusable(x, stale, now)
	return ok && fresh.OnError(now)
}

func (e *Edge) deliverCollapsed(x *Exchange, object *cache.Object) {
	x.Outcome = Collapsed
	x.status.Collapsed = true
	e.deliver(x, object)
}

func (e *Edge) deliverMiss(x *Exchange, f *flight, object *cache.Object) {
	x.Outcome, x.Source = Miss, f.answer.source
	x.status.ForwardStatus, x.status.Stored = f.answer.status, f.answer.stored
	x.upstream, x.aged = f.answer.cacheStatus, f.answer.aged
	e.deliver(x, object)
}

// takeOver streams the response that may not be shared to the request that
// caused it.
func (e *Edge) takeOver(x *Exchange, f *flight) {
	select {
	case resp := <-f.handover:
		if resp == nil {
			e.pass(x, "uncacheable")
			return
		}
		x.upstream, x.status.Detail = f.answer.cacheStatus, f.answer.reason
		e.relay(x, resp, "uncacheable")
	case <-x.Request.Context().Done():
		x.Outcome, x.Err, x.Aborted = Failed, context.Cause(x.Request.Context()), true
		x.Reason = "client-gone"
	}
}

// refreshBehind revalidates a stale object while it is served. Nobody waits for a response that may not be shared.
func (e *Edge) refreshBehind(x *Exchange, stale *cache.Object) {
	if !e.beginFetch(x) {
		return // the next request tries
	}
	turn := e.options.Cache.Begin(x.key, stale)
	if turn.Leader {
		nobody, over := context.WithCancel(x.Request.Context())
		over()
		e.launch(nobody, x, turn.Fill, stale, part{}).keep.drop()
		return
	}
	e.endFetch(x.site)
	if turn.Object != nil {
		turn.Object.Release()
	}
}
