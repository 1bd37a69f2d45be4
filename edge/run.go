package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"weir/cache"
	"weir/edge/upstream"
)

// run fetches consecutive slices of one version by one upstream request. Its
// goroutine owns the fills.
type run struct {
	*flight

	version *version
	first   int64         // number of the first slice
	fills   []*cache.Fill // of first, first+1, …
}

// errNoRun ends the fills of a run that could not start.
var errNoRun = &upstream.Error{Op: "fetch slices", Source: upstream.FromSelf, Kind: upstream.InternalError, Err: errors.New("internal error")}

// newRun takes the fill of slice n and begins those of the slices behind it: up to
// the end of the group, to byte end, or to the first slice that is there or on
// its way.
func (e *Edge) newRun(v *version, n, end int64, fill *cache.Fill) *run {
	r := &run{version: v, first: n, fills: []*cache.Fill{fill}, flight: &flight{
		key: v.key, place: v.place(n), target: v.target, site: v.site, request: v.request.Clone(), hops: v.hops, slice: true,
	}}
	for n++; n < min(groupEnd(r.first), ceilSlice(min(end, v.size))); n++ {
		next := e.beginSlice(v, n)
		if next == nil {
			break
		}
		r.fills = append(r.fills, next)
	}
	r.joined = slices.Clone(r.fills)
	return r
}

// beginSlice returns the fill of a slice that nobody has fetched, else nil.
func (e *Edge) beginSlice(v *version, n int64) *cache.Fill {
	key := v.slice(n)
	var seen *cache.Object // purged
	for range 2 {
		turn := e.options.Cache.Begin(key, seen)
		switch {
		case turn.Leader:
			return turn.Fill
		case turn.Object != nil:
			defer turn.Object.Release()
			if !e.purged(v, turn.Object) {
				return nil
			}
			seen = turn.Object
			e.drop(seen)
		case turn.Fill == nil || !e.outdatedSlice(v, turn.Fill):
			return nil
		default:
			turn.Fill.Detach()
		}
	}
	return nil
}

// outdatedSlice tells whether a running fill was purged since it began, as far as
// that is known already.
func (e *Edge) outdatedSlice(v *version, fill *cache.Fill) bool {
	o := fill.Peek()
	if o == nil {
		return false
	}
	defer o.Release()
	return e.purged(v, o)
}

// launchRun starts the goroutine of a run. It outlives the request.
func (e *Edge) launchRun(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		r.abort(errClosed)
		return
	}
	e.fills.Add(1)
	go func() { // ends with its fills; Close waits for it
		defer e.fills.Done()
		defer e.recovered(r.version.key, r.abort)
		e.fetchRun(r)
	}()
}

// fetchRun asks for the run's bytes and stores them.
func (e *Edge) fetchRun(r *run) {
	slots := e.runs[r.hops]
	buffer := slots.take(e.context)
	if buffer == nil {
		r.abort(errClosed)
		return
	}
	defer slots.give(buffer)
	body := e.runBody(r, r.first*sliceBytes)
	request := body.request()
	request.Deadline = time.Now().Add(answerTimeout - time.Duration(hopsClient-r.hops)*hopMargin)
	resp, err := e.fetch(e.context, r.flight, request)
	if err == nil {
		err = body.take(resp)
	}
	if err != nil {
		e.breakRun(r, err)
		return
	}
	defer func() { _ = body.Close() }() // read to its end, or broken
	r.answer = answer{source: resp.From, status: resp.Status, cacheStatus: resp.Header["Cache-Status"], stored: true}
	e.storeRun(r, body, buffer, resp)
}

// runBody is the bytes of a run from off on, still to be asked for.
func (e *Edge) runBody(r *run, off int64) *resumingBody {
	v := r.version
	return &resumingBody{
		edge: e, ctx: e.context, flight: r.flight, body: http.NoBody, validator: v.validator,
		off: off, end: v.sliceEnd(r.first + int64(len(r.fills)) - 1), size: v.size, left: maxResumes,
	}
}

// storeRun writes the slices. resp is what body began with.
func (e *Edge) storeRun(r *run, body io.Reader, buffer []byte, resp *upstream.Response) {
	for len(r.fills) > 0 {
		key, length := r.version.slice(r.first), r.version.sliceEnd(r.first)-r.first*sliceBytes
		if e.passing(r.flight, resp, r.fills[0], key) {
			r.fills[0].Transient()
		}
		err := storeSlice(r.fills[0], key, body, buffer, cache.Head{
			Status: http.StatusPartialContent, RequestTime: resp.RequestTime, ResponseTime: resp.ResponseTime, Fetched: e.fetchedAt(resp), Length: length,
		})
		if err != nil {
			e.breakRun(r, err)
			return
		}
		r.first, r.fills = r.first+1, r.fills[1:]
	}
}

func storeSlice(fill *cache.Fill, key cache.Key, body io.Reader, buffer []byte, head cache.Head) error {
	object, err := fill.Start(head, key)
	if err != nil {
		return err
	}
	defer object.Release()
	for left := head.Length; left > 0; {
		n, err := body.Read(buffer[:min(left, int64(len(buffer)))])
		if _, werr := fill.Write(buffer[:n]); werr != nil {
			return werr
		}
		if left -= int64(n); err != nil && left > 0 { // an early end is no end
			return fmt.Errorf("slice %q, %d bytes before its end: %w", key.Text, left, err)
		}
	}
	return fill.Finish()
}

// breakRun ends what is left of a run. When the representation has another
// version now, the head of this one goes, and its slices.
func (e *Edge) breakRun(r *run, err error) {
	other := errors.Is(err, errOtherVersion)
	if other {
		e.options.Cache.Remove(r.version.key)
	}
	r.abort(err)
	if !other {
		e.options.Log.Warn("slices broken off", "key", r.version.key.Text, "slice", r.first, "error", err)
		return
	}
	for n := range r.version.slices() {
		if e.context.Err() != nil {
			return
		}
		e.options.Cache.Remove(r.version.slice(n))
	}
}

// abort ends the fills that have not ended.
func (r *run) abort(err error) {
	for _, fill := range r.fills {
		fill.Abort(err)
	}
}

// runSlots bounds the runs at a time: it holds the buffer of each that may start,
// empty until it is used first. Pooled buffers would be made anew at every other
// garbage collection, which doubled what 200 readers cost.
type runSlots chan []byte

func newRunSlots() runSlots {
	s := make(runSlots, maxRuns)
	for range maxRuns {
		s <- nil
	}
	return s
}

// take waits for a slot; nil when ctx ends first.
func (s runSlots) take(ctx context.Context) []byte {
	select {
	case buffer := <-s:
		if buffer == nil {
			buffer = make([]byte, runBytes)
		}
		return buffer
	case <-ctx.Done():
		return nil
	}
}

func (s runSlots) give(buffer []byte) { s <- buffer }

func (s runSlots) full() bool { return len(s) == 0 }

// takeSliced stores the head of a large representation, and the slices that the
// client who caused the fetch asks for, as far as the body holds them; off is
// where the body begins.
func (e *Edge) takeSliced(f *flight, resp *upstream.Response, head cache.Head, as cache.Key, off int64) {
	head.Sliced, head.Length = head.Length, 0
	v := &version{
		key: as, url: f.target.KeyText(), tags: head.Tags, target: f.target, site: f.site, request: f.request, hops: f.hops,
		validator: strongValidator(resp.Header), size: head.Sliced,
	}
	// Before the head is there: who reads it finds the fills of this run.
	r := e.firstRun(f, v, off)
	object, err := f.fill.Start(head, as)
	if err == nil {
		defer object.Release()
		err = f.fill.Finish()
	}
	if err != nil {
		f.fill.Abort(&upstream.Error{Op: "store " + as.Text, Source: upstream.FromSelf, Kind: upstream.InternalError, Err: err})
	}
	if r == nil {
		_ = resp.Body.Close() // nobody reads this part of it
		return
	}
	body := e.runBody(r, off)
	body.body, body.node = resp.Body, resp.Node
	defer func() { _ = body.Close() }() // what is left of it is not wanted
	defer e.recovered(as, r.abort)
	slots := e.runs[r.hops]
	buffer := slots.take(e.context)
	if buffer == nil {
		r.abort(errClosed)
		return
	}
	defer slots.give(buffer)
	r.answer, r.owner = f.answer, f.owner
	e.storeRun(r, body, buffer, resp)
}

// firstRun is nil where the client does not begin in the slice that the body
// begins with, or somebody else fetches that already.
func (e *Edge) firstRun(f *flight, v *version, off int64) *run {
	n := off / sliceBytes
	if f.wants.start/sliceBytes != n || f.wants.end <= f.wants.start || f.leader.Err() != nil {
		return nil
	}
	if fill := e.beginSlice(v, n); fill != nil {
		return e.newRun(v, n, f.wants.end, fill)
	}
	return nil
}

// purged tells whether a slice was fetched before a hard purge that covers its
// head. After a soft one the head is validated, and with it the slices.
func (e *Edge) purged(v *version, slice *cache.Object) bool {
	return e.options.Purges.Check(v.url, v.tags, slice.Head().Fetched, time.Now()).Hard
}

var errSlicePassed = &upstream.Error{Op: "read a slice", Source: upstream.FromSelf, Kind: upstream.DestinationUnavail, Err: errors.New("the node is shutting down")}

// openSlice returns slice n, stored or growing, retained for the caller; it
// launches a run that goes on to byte end where nobody fetches it. how tells
// whether it was stored (Hit), or had to be fetched by this request (Miss) or by
// another one's (Collapsed).
func (e *Edge) openSlice(ctx context.Context, v *version, n, end int64) (o *cache.Object, how Outcome, err error) {
	key := v.slice(n)
	var seen *cache.Object // purged
	for range fillAttempts {
		if o = e.options.Cache.Get(key); o != nil {
			if !e.purged(v, o) {
				return o, Hit, nil
			}
			defer o.Release()
			seen = o
			e.drop(seen)
		}
		turn := e.options.Cache.Begin(key, seen)
		switch {
		case turn.Object != nil:
			turn.Object.Release() // stored since Get: look again
			continue
		case turn.Pass:
			return nil, Failed, errSlicePassed
		}
		how = Collapsed
		if turn.Leader {
			how = Miss
			e.launchRun(e.newRun(v, n, end, turn.Fill))
		}
		o, err = await(ctx, turn, v.hops)
		switch {
		case err == nil && how == Collapsed && e.purged(v, o):
			o.Release()
			turn.Fill.Detach() // who comes later is not to join it either
		case errors.Is(err, cache.ErrGone):
		default:
			return o, how, err
		}
	}
	return nil, Failed, errNoRun
}
