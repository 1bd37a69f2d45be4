package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"weir/cache"
	"weir/cache/freshness"
	"weir/edge/field"
	"weir/edge/upstream"
)

// flight is one fill on its way: what its goroutine needs of the request that
// caused it, and what that request learns from it.
type flight struct {
	fill    *cache.Fill
	key     cache.Key // the fill's
	place   cache.ID  // what the ring places
	wants   part      // of the request that caused it
	target  Target
	site    *Site
	request http.Header // of the request that caused it; read only
	hops    int         // what the request may still have us ask
	until   time.Time   // when who asked gives up; zero: not known
	slice   bool        // of slices, whose version is known
	stale   *cache.Object
	leader  context.Context // of the request that waits for it

	lifetimeOurs bool // the response names no lifetime, and got one as media; the fill's goroutine's
	owner        bool // this node keeps the response for others; the fill's goroutine's

	joined []*cache.Fill // what others may wait for

	handover chan *upstream.Response // a response that may not be shared, for the leader
	keep     keeper
	answer   answer // set before readers get the head
}

// keeper holds a fill's object for the request that caused it: a fill may end, and
// its object go, before that request comes to look.
type keeper struct {
	mu     sync.Mutex    // guards the fields below
	left   bool          // the request has it, or does not want it any more
	object *cache.Object // retained until then
}

func (k *keeper) hold(o *cache.Object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.left {
		o.Retain()
		k.object = o
	}
}

// take returns what is held, which is the caller's, else the error.
func (k *keeper) take(err error) (*cache.Object, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.object
	if o == nil {
		return nil, err
	}
	k.object = nil
	return o, nil
}

// drop lets go, also of what would be held from now on.
func (k *keeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = true
	if k.object != nil {
		k.object.Release()
		k.object = nil
	}
}

// answer is what the leader tells its client about the upstream.
type answer struct {
	source      upstream.Source
	status      int
	cacheStatus []string
	stored      bool
	reason      string // why it is not stored
	aged        bool   // it came from a cache
}

// launch starts the goroutine that writes a fill, and ends what beginFetch has begun. It outlives the request. leader is over when
// nobody takes a response any more that may not be shared.
func (e *Edge) launch(leader context.Context, x *Exchange, fill *cache.Fill, stale *cache.Object, wants part) *flight {
	f := &flight{
		fill: fill, key: x.key, place: x.key.ID, wants: wants, target: x.Target, site: x.site, request: x.Request.Header.Clone(), hops: x.hops, until: deadlineOf(x),
		joined: []*cache.Fill{fill}, stale: stale, leader: leader, handover: make(chan *upstream.Response),
	}
	if !x.site.RequestControl {
		delete(f.request, "Cache-Control") // it does not keep the response from being stored either
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		e.endFetch(f.site)
		fill.Abort(errClosed)
		return f
	}
	if stale != nil {
		stale.Retain() // released by run
	}
	e.fills.Add(1)
	go e.run(f) // ends with the fill; Close waits for it
	return f
}

var errClosed = &upstream.Error{Op: "fill", Source: upstream.FromSelf, Kind: upstream.DestinationUnavail, Err: errors.New("the node is shutting down")}

func (e *Edge) run(f *flight) {
	defer e.fills.Done()
	defer e.endFetch(f.site)
	defer func() {
		if f.stale != nil {
			f.stale.Release()
		}
	}()
	var resp *upstream.Response
	defer e.recovered(f.key, func(err error) {
		f.fill.Abort(err)
		if resp != nil {
			_ = resp.Body.Close() // nobody has it, or it is closed
		}
	})
	begun := time.Now()
	resp, off, err := e.fetchPart(e.context, f)
	e.tookFetch(f, begun)
	if err == nil {
		resp, err = e.validated(f, resp)
	}
	e.heard(f, err)
	if err != nil {
		f.fill.Abort(err)
		return
	}
	f.answer = answer{source: resp.From, status: resp.Status, cacheStatus: resp.Header["Cache-Status"], aged: len(resp.Header["Age"]) > 0}
	if f.stale != nil && resp.Status == http.StatusNotModified {
		e.refresh(f, resp)
		return
	}
	e.take(f, resp, off)
}

// recovered keeps a panic to the fill that it happens in. It is deferred.
func (e *Edge) recovered(key cache.Key, abort func(error)) {
	if p := recover(); p != nil {
		e.panics.Add(1)
		e.options.Log.Error("a fill panicked", "key", key.Text, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		abort(&upstream.Error{Op: "fill", Source: upstream.FromSelf, Kind: upstream.InternalError, Err: errors.New("internal error")})
	}
}

// Panics returns how many fills and fetches ended in one. Those of handlers are the caller's to keep to their requests.
func (e *Edge) Panics() int64 { return e.panics.Load() }

// fetchPart fetches for a fill: the whole, or, where the client wants a part that
// begins past the first slice, that part with off as its offset and the head of
// the whole. What answers the latter in a way that slices cannot be made of is
// asked again for the whole.
func (e *Edge) fetchPart(ctx context.Context, f *flight) (resp *upstream.Response, off int64, err error) {
	request := f.get(f.upstreamHeader())
	request.Deadline = f.until
	off, end, ok := f.wants.probe()
	if !ok || !e.options.Cache.Fits(sliceBytes) {
		resp, err = e.fetch(ctx, f, request)
		return resp, 0, err
	}
	request.Header.Set("Range", byteRange(off, end))
	f.place = groupPlace(f.key, off/sliceBytes)
	resp, err = e.fetch(ctx, f, request)
	switch {
	case err != nil:
		return nil, 0, err
	case resp.Status == http.StatusPartialContent && asWhole(resp, off, end):
		return resp, off, nil
	case resp.Status == http.StatusPartialContent, resp.Status == http.StatusRequestedRangeNotSatisfiable:
		_ = resp.Body.Close() // of no use
		whole := f.get(f.upstreamHeader())
		whole.Deadline, f.place = f.until, f.key.ID
		resp, err = e.fetch(ctx, f, whole)
	}
	return resp, 0, err
}

// refresh renews the stored object after a 304 (RFC 9111, 4.3.4).
func (e *Edge) refresh(f *flight, resp *upstream.Response) {
	_ = resp.Body.Close() // a 304 has no body
	merged := freshness.Update(f.stale.Head().Header, storedHeader(resp, e.options.Name))
	head := *f.stale.Head()
	head.Header, head.RequestTime, head.ResponseTime = merged, resp.RequestTime, resp.ResponseTime
	head.Fetched, head.Tags = e.fetchedAt(resp), tagsOf(f.target.Host, merged)
	head.Freshness = e.freshness(f, resp, merged)
	if fresh, ok := f.ofBody(f.stale); ok {
		head.Freshness.Lifetime = fresh.Lifetime
	}
	f.answer.stored = true
	object, err := f.fill.Refresh(f.stale, head)
	if err != nil {
		f.fill.Abort(&upstream.Error{Op: "refresh " + f.key.Text, Source: upstream.FromSelf, Kind: upstream.InternalError, Err: err})
		return
	}
	object.Release()
}

// take stores the response, or hands it to the leader where it may not be
// shared. The body begins at off.
func (e *Edge) take(f *flight, resp *upstream.Response, off int64) {
	slices := off > 0 || e.sliceable(resp)
	names, reason := e.storable(f, resp, slices)
	if reason != "" {
		f.answer.reason = reason
		if f.stale != nil && superseded(resp.Status, reason) {
			e.options.Cache.Remove(f.key)
		}
		switch {
		case reason == reasonAuthorization:
			f.fill.Abort(errAlone)
		case resp.Status >= 400:
			f.fill.Pass(0) // an error may be gone the next moment
		default:
			f.fill.Pass(passFor)
		}
		if off > 0 {
			_ = resp.Body.Close() // not the part that the client asked for
			resp = nil
		}
		e.hand(f, resp)
		return
	}
	as, primary := f.key, cache.NewKey(f.target.KeyText())
	if len(names) > 0 {
		as = variantKey(f.target, names, f.request)
	}
	header := storedHeader(resp, e.options.Name)
	head := cache.Head{
		Status: resp.Status, Header: header, RequestTime: resp.RequestTime, ResponseTime: resp.ResponseTime,
		Fetched: e.fetchedAt(resp), Tags: tagsOf(f.target.Host, header), Length: resp.Length, Freshness: e.freshness(f, resp, header),
	}
	f.answer.stored = true
	if e.ended(f, &head) {
		f.fill.Detach()
	}
	if slices {
		if len(names) > 0 {
			e.options.Cache.SetVary(primary, names)
			defer e.options.Cache.UseVariant(primary.ID, as.ID)
		}
		e.takeSliced(f, resp, head, as, off)
		return
	}
	body := e.resuming(e.context, f, resp)
	defer func() { _ = body.Close() }() // read to its end, or broken
	if e.passing(f, resp, f.fill, as) {
		f.fill.Transient()
		f.answer.stored = false
	}
	object, err := f.fill.Start(head, as)
	if err != nil {
		f.fill.Abort(&upstream.Error{Op: "store " + f.key.Text, Source: upstream.FromSelf, Kind: upstream.InternalError, Err: err})
		return
	}
	defer object.Release()
	f.keep.hold(object)
	if _, err = f.fill.ReadFrom(body); err == nil {
		if fresh, ok := f.ofBody(object); ok {
			f.fill.Reconsider(fresh)
		}
		if len(names) > 0 {
			e.options.Cache.SetVary(primary, names) // until here who asks for the target joins this fill
		}
		if e.ended(f, &head) { // purged since it was asked for
			f.fill.Detach()
		}
		err = f.fill.Finish()
	}
	if err != nil {
		e.options.Log.Warn("fill broken off", "key", f.key.Text, "from", string(resp.From), "peer", resp.Node, "error", err)
		f.fill.Abort(err)
		return
	}
	if as.ID != primary.ID {
		e.options.Cache.UseVariant(primary.ID, as.ID)
	}
}

// passing tells whether a response is not worth a copy here: its owner has it, does
// not say that many ask for it, and nobody else does so here, nor has before.
func (e *Edge) passing(f *flight, resp *upstream.Response, fill *cache.Fill, as cache.Key) bool {
	return resp.From == upstream.FromPeer && !f.owner && f.stale == nil && resp.Header.Get(hotField) == "" &&
		!e.seen.again(as.ID) && fill.Readers() < 2
}

// reaches tells those who would join how many hops the fill may wait for.
func (f *flight) reaches(hops int) {
	for _, fill := range f.joined {
		fill.Reach.Store(int32(hops) + 1)
	}
}

// hand gives the response to the leader, or closes it when the leader left. nil
// lets the leader ask for itself.
func (e *Edge) hand(f *flight, resp *upstream.Response) {
	select {
	case f.handover <- resp:
	case <-f.leader.Done():
		if resp != nil {
			_ = resp.Body.Close() // nobody is left to read it
		}
	}
}

// storable returns the names in Vary, or why the response is not kept.
func (e *Edge) storable(f *flight, resp *upstream.Response, slices bool) (names []string, reason string) {
	response := e.response(f, resp, resp.Header)
	if ok, why := freshness.Storable(http.MethodGet, f.request, response); !ok {
		return nil, why
	}
	names, ok := varyNames(resp.Header)
	if !ok {
		return nil, "vary"
	}
	fresh := e.lifetime(f, response)
	if fresh.Lifetime+fresh.StaleWhileRevalidate+fresh.StaleIfError <= 0 && freshness.Conditional(resp.Header) == nil {
		return nil, "no-freshness" // it could never be used again
	}
	if !slices && !e.options.Cache.Fits(resp.Length) {
		return nil, "too-large"
	}
	return names, ""
}

// storedHeader is the response head as later readers get it: end-to-end fields
// only, without what we say anew each time.
func storedHeader(resp *upstream.Response, name string) http.Header {
	h := resp.Header.Clone()
	field.RemoveHopByHop(h)
	for _, own := range [...]string{"Age", "Cache-Status", "Alt-Svc", "Content-Length", "Cmsd-Dynamic"} {
		h.Del(own)
	}
	removeOwn(h)
	field.AddVia(h, 1, 1, name)
	if h.Get("Date") == "" { // RFC 9110, 6.6.1
		h.Set("Date", resp.ResponseTime.UTC().Format(http.TimeFormat))
	}
	return h
}
