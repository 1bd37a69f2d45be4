package edge

import (
	"net/http"
	"strconv"
	"time"

	"weir/cache"
	"weir/cache/tag"
	"weir/edge/upstream"
)

// fetchedAgo tells another node, and nobody else, how many nanoseconds ago the fetch from the origin began that a
// response comes from; 0 if the request itself caused it. A span and no time: clocks of nodes differ.
const fetchedAgo = "Weir-Fetched-Ago"

// fetchedAt returns when the fetch from the origin began, or an earlier time, by the clock of purges. Through a peer it
// began that long before the peer answered, which was after it was asked. Zero: the peer does not say.
func (e *Edge) fetchedAt(resp *upstream.Response) time.Time {
	at := e.options.Purges.Fetch(resp.RequestTime)
	if resp.From != upstream.FromPeer {
		return at
	}
	ago, err := strconv.ParseInt(resp.Header.Get(fetchedAgo), 10, 64)
	if err != nil || ago < 0 {
		return time.Time{}
	}
	return at.Add(-time.Duration(ago))
}

// sayFetched tells a peer how old the response is for purges. Both times are of their clock.
func (x *Exchange) sayFetched(h http.Header, fetched, now time.Time) {
	ago := now.Sub(fetched)
	switch {
	case x.Source == upstream.FromOrigin && (x.slices == nil && x.Outcome == Miss || x.Outcome == Pass): // fetched for this request
		ago = 0
	case fetched.IsZero() || ago < 0: // unknown, or from another run whose clock was ahead
		return
	}
	h[fetchedAgo] = []string{strconv.FormatInt(int64(ago), 10)}
}

// fetched is when the fetch began that the response comes from: for slices, the
// earliest of those that are stored.
func (x *Exchange) fetched(o *cache.Object) time.Time {
	if x.slices != nil {
		return x.slices.fetched
	}
	return o.Head().Fetched
}

// predates tells whether a peer's response was fetched before a purge that covers it here: the peer has not heard of it
// yet, and the origin is to be asked. So it is where the response is doubtful; slices are not, as the origin has
// confirmed their version.
func (e *Edge) predates(f *flight, resp *upstream.Response) bool {
	head := cache.Head{Tags: tagsOf(f.target.Host, resp.Header), Fetched: e.fetchedAt(resp)}
	if resp.Status == http.StatusNotModified && f.stale != nil {
		head.Tags = append(head.Tags, f.stale.Head().Tags...)
	}
	now := time.Now()
	if !f.slice && e.doubtful(f.site, head.Fetched, now) {
		return true
	}
	return e.options.Purges.Check(f.target.KeyText(), head.Tags, head.Fetched, now) != tag.Verdict{}
}
