package edge

import (
	"net/http"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/freshness"
	"weir/edge/field"
)

// answer serves a GET or HEAD from the cache, or through a fill. What decided is off the stack while a body is sent: of a
// client that takes its time that would be kept.
func (e *Edge) answer(x *Exchange) {
	if object := e.choose(x); object != nil {
		defer object.Release()
		e.deliver(x, object)
	}
}

// choose returns the stored response that is to be delivered, which is the caller's, or nil where it has answered.
func (e *Edge) choose(x *Exchange) (chosen *cache.Object) {
	e.lookup(x)
	var wants freshness.Directives // nothing, unless the site listens
	if x.site.RequestControl {
		if wants = freshness.ParseRequest(x.Request.Header); wants.NoStore && !wants.OnlyIfCached {
			e.pass(x, "no-store") // RFC 9111, 5.2.1.5
			return nil
		}
	}
	object := e.find(x)
	if object == nil {
		why := field.ForwardURIMiss
		if x.key.ID != x.primary {
			why = field.ForwardVaryMiss
		}
		e.miss(x, why)
		return nil
	}
	defer func() {
		if chosen == nil {
			object.Release()
		}
	}()
	fresh, ok := e.reusable(x, object, time.Now())
	switch {
	case !ok: // purged
		e.drop(object)
		e.miss(x, field.ForwardURIMiss)
	case e.reuse(x, object, fresh, wants):
		return object
	}
	return nil
}

// reuse decides what becomes of a request for which something is stored (RFC
// 9111, 4). It is true where that is to be delivered; else it has answered.
func (e *Edge) reuse(x *Exchange, object *cache.Object, lasts freshness.Freshness, wants freshness.Directives) bool {
	now := time.Now()
	fresh := lasts.Fresh(now)
	accepted := !x.site.RequestControl || wants.Accepts(lasts, now)
	switch {
	case preconditioned(x.Request) && (!fresh || !accepted || !preconditionsHold(x.Request, object.Head().Header)):
		e.pass(x, "precondition")
	case fresh && accepted:
		return e.use(x, Hit)
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case fresh:
		x.status.Forward = field.ForwardRequest
		e.fill(x, object)
	case accepted && x.site.RequestControl:
		x.status.Detail = "max-stale" // RFC 9111, 5.2.1.2
		return e.use(x, Stale)
	case lasts.WhileRevalidating(now) && content(wants):
		if !e.backoff.rests(x.key.ID, now) {
			e.refreshBehind(x, object)
		}
		return e.use(x, Stale)
	case lasts.OnError(now) && content(wants) && e.backoff.rests(x.key.ID, now):
		x.status.Detail = "stale-if-error"
		return e.use(x, Stale)
	default:
		x.status.Forward = field.ForwardStale
		if lasts.NoCache && !object.Head().Freshness.NoCache {
			x.status.Detail = detailDoubt
		}
		e.fill(x, object)
	}
	return false
}

// use tells whether what is stored may be delivered as so, or has turned the request away as there are too many.
func (e *Edge) use(x *Exchange, how Outcome) bool {
	if e.overloaded(x) {
		return false
	}
	x.Outcome, x.status.Hit = how, true
	return true
}

// content tells whether a request does without what its origin has now.
func content(wants freshness.Directives) bool {
	return !wants.NoCache && !wants.MaxAge.Set && !wants.MinFresh.Set
}

// lookup finds the key under which the response to this request is stored.
func (e *Edge) lookup(x *Exchange) {
	x.url = x.Target.KeyText()
	x.key = cache.NewKey(x.url)
	x.primary = x.key.ID
	if names := e.options.Cache.Vary(x.key.ID); len(names) > 0 {
		x.key = variantKey(x.Target, names, x.Request.Header)
	}
}

// find gets what is stored for this request. Where all that is stored is what the
// responses vary by, which a node learns anew after a restart, it looks again.
func (e *Edge) find(x *Exchange) *cache.Object {
	object := e.options.Cache.Get(x.key)
	if object != nil {
		if names := object.Varies(); names != nil {
			object.Release()
			x.key = variantKey(x.Target, names, x.Request.Header)
			object = e.options.Cache.Get(x.key)
		}
	}
	if object != nil && x.key.ID != x.primary {
		e.options.Cache.UseVariant(x.primary, x.key.ID)
	}
	return object
}

func (e *Edge) miss(x *Exchange, why field.Forward) {
	x.status.Forward = why
	switch {
	case onlyIfCached(x.Request):
		e.onlyIfCached(x)
	case preconditioned(x.Request):
		e.pass(x, "precondition")
	case x.Request.Method == http.MethodHead:
		e.pass(x, "method") // a body that nobody asked for is not fetched
	default:
		e.fill(x, nil)
	}
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

// preconditioned tells whether a request has one of the conditions that only its
// origin can judge (RFC 9111, 4.3.2).
func preconditioned(r *http.Request) bool {
	return len(r.Header["If-Match"]) > 0 || len(r.Header["If-Unmodified-Since"]) > 0
}

// preconditionsHold tells whether a stored response meets them (RFC 9110, 13.1.1
// and 13.1.4). One that does is served, for the origin would serve the same; what
// fails here is for the origin to refuse.
func preconditionsHold(r *http.Request, stored http.Header) bool {
	if values := r.Header["If-Match"]; len(values) > 0 {
		list, etag := strings.Join(values, ","), stored.Get("Etag")
		// Weak tags never match here (RFC 9110, 8.8.3.2), and one in the list makes it the origin's to read.
		return strings.TrimSpace(list) == "*" || strings.HasPrefix(etag, `"`) && !strings.Contains(list, "W/") && etagListed(list, etag)
	}
	since, err := http.ParseTime(r.Header.Get("If-Unmodified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(stored.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}
