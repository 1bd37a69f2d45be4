package edge

import (
	"net/http"
	"time"

	"weir/cache"
	"weir/cache/freshness"
	"weir/edge/field"
)

// answer serves a GET or HEAD from the cache, or through a fill.
func (e *Edge) answer(x *Exchange) {
	e.lookup(x)
	object := e.options.Cache.Get(x.key)
	if object == nil {
		e.miss(x)
		return
	}
	defer object.Release()
	now := time.Now()
	fresh, ok := e.reusable(x, object, now)
	switch {
	case !ok:
		e.drop(object)
		e.miss(x)
	case fresh.Fresh(now):
		x.Outcome = Hit
		x.status.Hit = true
		e.deliver(x, object)
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case fresh.WhileRevalidating(now):
		e.refreshBehind(x, object)
		e.deliverStale(x, object)
	default:
		x.status.Forward = field.ForwardStale
		e.fill(x, object)
	}
}

// lookup finds the key under which the response to this request is stored.
func (e *Edge) lookup(x *Exchange) {
	x.url = x.Target.KeyText()
	x.key = cache.NewKey(x.url)
	if names := e.options.Cache.Vary(x.key.ID); len(names) > 0 {
		x.key = variantKey(x.Target, names, x.Request.Header)
	}
}

func (e *Edge) miss(x *Exchange) {
	x.status.Forward = field.ForwardURIMiss
	switch {
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case x.Request.Method == http.MethodHead:
		e.pass(x, "method") // a body that nobody asked for is not fetched
	default:
		e.fill(x, nil)
	}
}

func (e *Edge) deliverStale(x *Exchange, object *cache.Object) {
	x.Outcome = Stale
	x.status.Hit = true
	e.deliver(x, object)
}

// onlyIfCached answers RFC 9111, 5.2.1.7 when nothing fresh is stored.
func (e *Edge) onlyIfCached(x *Exchange) {
	x.Outcome, x.Reason = Refused, "only-if-cached"
	x.status.Forward, x.status.Hit = "", false
	x.status.Add(x.w.Header())
	e.text(x, http.StatusGatewayTimeout, "not stored, and the request allows nothing else")
}

func onlyIfCached(r *http.Request) bool {
	values := r.Header["Cache-Control"]
	if len(values) == 0 {
		return false
	}
	return freshness.ParseCacheControl(values).OnlyIfCached
}
