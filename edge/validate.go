package edge

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/cache/freshness"
	"weir/edge/upstream"
)

// validated looks at the answer to a fill's request before anything is made of
// it. A 304 comes back only where it renews the stale object; one that does not
// makes the request go out again without conditions. A server error becomes an
// *upstream.Error where the stale object may stand in for it.
func (e *Edge) validated(f *flight, resp *upstream.Response) (*upstream.Response, error) {
	switch {
	case resp.Status == http.StatusNotModified && f.stale != nil:
		reason := e.unrenewable(f, resp)
		if reason == "" {
			return resp, nil
		}
		_ = resp.Body.Close() // a 304 has no body
		e.options.Log.Info("a 304 does not renew what is stored; asking for the whole", "key", f.key.Text, "reason", reason)
		f.stale.Release()
		f.stale = nil
		whole, err := e.fetch(e.context, f, f.get(f.upstreamHeader()))
		if err != nil {
			return nil, err
		}
		return e.validated(f, whole)
	case resp.Status == http.StatusNotModified: // nobody asked under a condition
		return nil, e.received(f, resp, upstream.HTTPProtocolError)
	case failed(resp.Status) && f.stale != nil && e.standsIn(f):
		return nil, e.received(f, resp, upstream.DestinationUnavail)
	}
	return resp, nil
}

// standsIn tells whether the stale object may be served in place of an error (RFC 5861, 4): never where it may have been
// purged.
func (e *Edge) standsIn(f *flight) bool {
	head, now := f.stale.Head(), time.Now()
	return head.Freshness.OnError(now) && !e.ended(f, head) && !e.doubtful(f.site, head.Fetched, now)
}

// received closes a response of which nothing can be used and says so.
func (e *Edge) received(f *flight, resp *upstream.Response, kind upstream.Kind) error {
	_ = resp.Body.Close() // nothing of it is used
	return &upstream.Error{
		Op: "fill " + f.key.Text, Source: resp.From, Kind: kind, Status: resp.Status,
		Err: fmt.Errorf("the upstream answered %d", resp.Status),
	}
}

// failed lists the responses that RFC 5861, 4 calls errors.
func failed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// unrenewable tells why a 304 must not renew the stale object: it is about
// another response (RFC 9111, 4.3.4), or it makes of the stored one what may not
// be kept, such as a private one.
func (e *Edge) unrenewable(f *flight, resp *upstream.Response) string {
	stored := f.stale.Head()
	if e.ended(f, stored) { // it confirms what was purged since it was asked for
		return "purged"
	}
	if !freshness.Renews(stored.Header, resp.Header) {
		return "validator"
	}
	merged := e.response(f, resp, freshness.Update(stored.Header, storedHeader(resp, e.options.Name)))
	merged.Status = stored.Status
	if ok, reason := freshness.Storable(http.MethodGet, f.request, merged); !ok {
		return reason
	}
	return ""
}

// errAlone ends a fill whose response the leader's own request keeps from being
// shared: it says nothing about other requests, which look again.
var errAlone = errors.New("edge: the response is for one request alone")

// superseded tells whether a response that may not be kept says that the one
// stored before must not be used any more either: it would be served stale, after
// its successor (RFC 9111, 4.3.3). One that fails or refuses the leader does not.
func superseded(status int, reason string) bool {
	return reason != reasonAuthorization && (status < 400 || status == http.StatusNotFound || status == http.StatusGone)
}

const reasonAuthorization = "authorization" // of freshness.Storable: due to the request, not to the response
