package edge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/cache"
	"weir/edge/field"
)

// sliced reads a large representation for one exchange, slice by slice.
type sliced struct {
	edge    *Edge
	x       *Exchange
	version *version
	held    *cache.Object // slice n, opened ahead; nil: none
	n       int64
	fetched time.Time // for a peer: when the fetch of the oldest byte began
}

// openSliced gets hold of the slice with byte off before the response begins, so
// that what cannot be had is an error and no broken body. end is where the first
// part ends.
func (e *Edge) openSliced(x *Exchange, o *cache.Object, off, end int64) error {
	s := &sliced{edge: e, x: x, version: versionOf(x, o), n: off / sliceBytes}
	if x.Peer {
		x.w.WriteHeader(http.StatusProcessing) // a sign of life: see upstream.Peers
	}
	held, how, err := e.openSlice(x.Request.Context(), s.version, s.n, end)
	if err != nil {
		return err
	}
	s.held = held
	if x.Peer {
		s.fetched = e.oldest(s.version, s.n, end)
	}
	if x.slices = s; how != Hit && x.status.Hit {
		x.Outcome, x.status.Hit, x.status.Collapsed = how, false, how == Collapsed
		x.status.Forward = field.ForwardPartial
	}
	return nil
}

// oldest is when the first fetch began of the slices from n on to byte end that are
// stored; what is not there yet is fetched from now on.
func (e *Edge) oldest(v *version, n, end int64) time.Time {
	oldest := e.options.Purges.Time(time.Now())
	for last := groupEnd(n); n < last && n*sliceBytes < end; n++ { // peers take one group at a time
		o := e.options.Cache.Get(v.slice(n))
		if o == nil {
			continue
		}
		if at := o.Head().Fetched; at.Before(oldest) {
			oldest = at
		}
		o.Release()
	}
	return oldest
}

// hasSlices tells whether bytes [off, end) are stored.
func (e *Edge) hasSlices(v *version, off, end int64) bool {
	for n := off / sliceBytes; n*sliceBytes < end; n++ {
		if !e.options.Cache.Has(v.slice(n)) {
			return false
		}
	}
	return true
}

func (s *sliced) close() {
	if s.held != nil {
		s.held.Release()
	}
}

// notSliced answers when no slice can be had. A representation that has another
// version by now is asked for anew, once.
func (e *Edge) notSliced(x *Exchange, err error) {
	switch ctx := x.Request.Context(); {
	case ctx.Err() != nil:
		x.Outcome, x.Err, x.Aborted = Failed, context.Cause(ctx), true
		x.Reason = "client-gone"
	case errors.Is(err, errOtherVersion) && !x.again:
		x.again, x.status.Hit, x.status.Forward = true, false, field.ForwardStale
		e.fill(x, nil)
	case errors.Is(err, errOtherVersion): // another node still has the head of the old one, or many ask at once
		x.status.Hit, x.status.Collapsed = false, false
		e.pass(x, "contended")
	default:
		e.fail(x, err)
	}
}

// send sends bytes [off, end). While one slice is sent, the next is fetched.
func (s *sliced) send(control *http.ResponseController, off, end int64) error {
	for off < end {
		n := off / sliceBytes
		o, err := s.take(control, n, end)
		if err != nil {
			return err
		}
		if (n+1)*sliceBytes < end {
			s.ahead(n+1, end)
		}
		stop := min(end, s.version.sliceEnd(n))
		err = s.x.follow(control, o, off-n*sliceBytes, stop-n*sliceBytes)
		o.Release()
		if err != nil {
			return err
		}
		off = stop
	}
	return nil
}

// take returns slice n, which is the caller's.
func (s *sliced) take(control *http.ResponseController, n, end int64) (*cache.Object, error) {
	if s.held != nil && s.n == n {
		o := s.held
		s.held = nil
		return o, nil
	}
	if err := control.Flush(); err != nil { // what is sent goes out before a wait
		return nil, clientGone(err)
	}
	o, _, err := s.edge.openSlice(s.x.Request.Context(), s.version, n, end)
	return o, err
}

// ahead has slice n fetched, unless there are other things to fetch first.
func (s *sliced) ahead(n, end int64) {
	e := s.edge
	if e.runs[s.version.hops].full() {
		return
	}
	if fill := e.beginSlice(s.version, n); fill != nil {
		e.launchRun(e.newRun(s.version, n, end, fill))
	}
}
