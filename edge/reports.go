package edge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"weir/edge/cmcd"
	"weir/edge/limit"
)

// Reports says what a site makes of players' reports (CMCD, CTA-5004-B). nil: nothing. In either case no report is part of a
// key.
type Reports struct {
	// Prefetch has what a player will ask for next (nor) fetched, where it is a segment of the site that the client may have.
	Prefetch bool
	// Dynamic adds what this node knows to CMSD-Dynamic (CTA-5006) of responses to clients that send reports.
	Dynamic bool
	// Pace lets a body go out no faster than the player has use for (rtp), see Exchange.ceiling.
	Pace bool
	// Forward lets the fields of a request that causes a fetch go to the origin. A report in a query never does.
	Forward bool
}

// Bounds of prefetching. What is beyond is not fetched: the player asks for it anyway.
const (
	prefetchRuns  = 64               // at a time, for all clients
	prefetchEach  = 2                // for one request
	prefetchLimit = 30 * time.Second // for one object
)

// ReportStats counts what players report.
type ReportStats struct {
	ByHeader, ByQuery int64 // reports that were read
	Newer, Long       int64 // ignored as a whole: of a newer version, too long
	Members           int64 // ignored members of others: not what the standard says
	Starved, Urgent   int64 // that said bs, that said su
	Prefetched        int64 // objects that were fetched ahead
	Paced             int64 // responses that went out no faster than the player asked for
	PrefetchRefused   int64 // not of this site, no segment, not allowed, or more than there is room for
}

// reportCounts is ReportStats while it counts.
type reportCounts struct {
	byHeader, byQuery, newer, long, members, starved, urgent, prefetched, refused, paced atomic.Int64
}

// Reports returns what was counted since the start.
func (e *Edge) Reports() ReportStats {
	c := &e.reports
	return ReportStats{
		ByHeader: c.byHeader.Load(), ByQuery: c.byQuery.Load(), Newer: c.newer.Load(), Long: c.long.Load(), Members: c.members.Load(),
		Starved: c.starved.Load(), Urgent: c.urgent.Load(), Prefetched: c.prefetched.Load(), Paced: c.paced.Load(), PrefetchRefused: c.refused.Load(),
	}
}

// report reads what the player says with a request, and acts on it.
//
// Hot path. No allocation but for what is fetched ahead.
func (e *Edge) report(x *Exchange) {
	if x.site.Reports == nil {
		return
	}
	r := e.reportPool.Get()
	by, err := r.ParseRequest(x.Request.Header, x.Request.URL.RawQuery)
	c := &e.reports
	switch {
	case errors.Is(err, cmcd.ErrNewer):
		c.newer.Add(1)
	case err != nil:
		c.long.Add(1)
	case by == cmcd.Header:
		c.byHeader.Add(1)
	case by == cmcd.Query:
		c.byQuery.Add(1)
	}
	c.members.Add(int64(r.Ignored()))
	if r.Empty() {
		e.reportPool.Put(r)
		return
	}
	x.Report = r
	x.pressed = e.options.Duress != nil && e.options.Duress()
	if r.Bool(cmcd.BufferStarvation) {
		c.starved.Add(1)
		x.urgent = true
	}
	if r.Bool(cmcd.Startup) {
		c.urgent.Add(1)
		x.urgent = true
	}
	if x.site.Reports.Pace {
		if rate := x.ceiling(); rate > 0 {
			c.paced.Add(1)
			x.bounded.own = limit.Rate{PerSecond: rate, Burst: rate * ceilingBurst.Seconds()}
			x.bounded.narrow(x.bounded.own)
		}
	}
	if x.site.Reports.Prefetch && x.Request.Method == http.MethodGet {
		for i, next := range r.Next() {
			if i == prefetchEach || !e.prefetch(x, string(next.Path), string(next.Range)) {
				c.refused.Add(1)
			}
		}
	}
}

// dropReport takes the fields of a report off a request to an upstream, unless the site wants them there.
func dropReport(site *Site, h http.Header) {
	if site.Reports != nil && site.Reports.Forward {
		return
	}
	for _, name := range [...]string{"Cmcd-Request", "Cmcd-Object", "Cmcd-Status", "Cmcd-Session"} {
		delete(h, name)
	}
}

// forgetReport takes the report back when nobody looks at it any more.
func (e *Edge) forgetReport(x *Exchange) {
	if x.Report != nil {
		e.reportPool.Put(x.Report)
		x.Report = nil
	}
}

// WantedRate is how many bytes a second the player has use for (rtp), 0 where it does not say: more would only come in bursts.
func (x *Exchange) WantedRate() int64 {
	if x.Report == nil {
		return 0
	}
	return x.Report.Int(cmcd.RequestedThroughput) * 1000 / 8
}

// A player that gets no more than its bit rate never fills its buffer again, so where the report tells the rate of the object
// a ceiling is never below playingRate times that, at the speed at which it plays. Players that say rtp ask for more than that
// by themselves (dash.js for five times, its rtpSafetyFactor).
const (
	playingRate  = 1.5
	ceilingBurst = time.Second // what goes out at full speed before: the player has its first picture by then
)

// ceiling is how many bytes a second of the body may go out, 0 for any number: what the player has use for (rtp), and
// enough to play. A player that waits with an empty buffer (su, bs), and all that is no media, has none.
func (x *Exchange) ceiling() float64 {
	r := x.Report
	switch string(r.Text(cmcd.ObjectType)) {
	case "", "v", "a", "av":
	default:
		return 0
	}
	wanted := float64(x.WantedRate())
	if wanted <= 0 || x.urgent {
		return 0
	}
	speed := 1.0
	if r.Has(cmcd.PlaybackRate) {
		speed = max(1, float64(r.Int(cmcd.PlaybackRate))/1000) // in thousandths
	}
	return max(wanted, playingRate*speed*float64(r.Int(cmcd.Bitrate))*1000/8)
}

// tell adds to a response what the report asks for: its place among others of the connection, and what this node knows of the
// way to the player.
//
// Hot path. Allocates the text of one field.
func (x *Exchange) tell(h http.Header) {
	if x.urgent && len(h["Priority"]) == 0 {
		h["Priority"] = priorityUrgent
	}
	if x.Report == nil || !x.site.Reports.Dynamic {
		return
	}
	hop := cmcd.Hop{Name: x.status.Node, Delay: x.FirstByte.Milliseconds(), RTT: -1, Duress: x.pressed, Most: x.suggested()}
	if way, ok := x.w.(pather); ok {
		rate, rtt := way.Path()
		if hop.Throughput = rate * 8 / 1000; rtt > 0 {
			hop.RTT = rtt.Round(time.Millisecond).Milliseconds()
		}
	}
	var room [128]byte
	member := x.value(valueHop, string(hop.AppendTo(room[:0])))
	if others := h["Cmsd-Dynamic"]; len(others) > 0 {
		member = append(others[:len(others):len(others)], member...)
	}
	h["Cmsd-Dynamic"] = member
}

// A pather is a ResponseWriter that knows the way to the client: what it has carried of late, in bytes a second, and its round
// trip; 0 is unknown.
type pather interface {
	Path() (bytesPerSecond int64, rtt time.Duration)
}

// suggested is the bit rate that the player should not go beyond (mb), kbit/s, 0 for none: what lets it fill its buffer within
// the strictest bound of what its client, network, token and site may have, and no more than it has now while this node is short of something.
func (x *Exchange) suggested() (most int64) {
	if x.pressed {
		most = x.Report.Int(cmcd.Bitrate)
	}
	for s := range scopes {
		if !x.bounded.known[s] {
			continue
		}
		if r := x.site.Limits.of(s).Bytes; r.On() {
			if kbps := int64(r.PerSecond * 8 / 1000 / playingRate); most == 0 || kbps < most {
				most = max(1, kbps)
			}
		}
	}
	return most
}

// priorityUrgent is that of a response that a player waits for with an empty buffer (RFC 9218, 4.1); most have 3. The front
// obeys it, as it does an origin's.
//
//nolint:gochecknoglobals // never changed
var priorityUrgent = []string{"u=1"}

// prefetch has an object fetched that a player will ask for; false: it will not be. path is relative to the request's.
func (e *Edge) prefetch(x *Exchange, path, span string) bool {
	target, ok := nextTarget(x, path)
	if !ok || x.pressed {
		return false
	}
	if !e.allowed(x, target.Path) {
		return false
	}
	if x.site.Tokens != nil && pathDir(target.Path) != pathDir(x.Target.Path) {
		return false // the token was held against this path; what it opens beyond is not known here
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.prefetches.Add(1) > prefetchRuns {
		if !e.closed {
			e.prefetches.Add(-1)
		}
		return false
	}
	request := &http.Request{Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, URL: &url.URL{}, Host: target.Host}
	if span != "" && strings.Trim(span, "0123456789-") == "" {
		request.Header.Set("Range", "bytes="+span)
	}
	for _, name := range [...]string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language"} { // what responses most often vary by
		if values := x.Request.Header[name]; len(values) > 0 {
			request.Header[name] = values
		}
	}
	ahead := &Exchange{Request: request, Target: target, Start: x.Start, site: x.site, hops: hopsClient}
	e.fills.Add(1)
	go e.fetchAhead(ahead) // ends with the object, or after prefetchLimit; Close waits for it
	return true
}

// pathDir is a path up to its last slash.
func pathDir(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// nextTarget is the target of a path of nor: only a segment in the same host, and named by a path alone (CTA-5004-B, 6).
func nextTarget(x *Exchange, path string) (Target, bool) {
	if path == "" || strings.Contains(path, "://") || strings.HasPrefix(path, "//") {
		return Target{}, false
	}
	next, err := url.Parse(path)
	if err != nil || next.Scheme != "" || next.Host != "" || next.User != nil {
		return Target{}, false
	}
	base, err := url.Parse(x.Target.Path)
	if err != nil {
		return Target{}, false
	}
	target, err := ParseTarget(x.Target.Host, base.ResolveReference(next).RequestURI())
	if err != nil || !isSegment(target.Path) || target == x.Target {
		return Target{}, false
	}
	return target, true
}

// fetchAhead starts a fill, unless the object is there or on its way, and stays with it as its reader.
func (e *Edge) fetchAhead(x *Exchange) {
	defer e.fills.Done()
	defer e.prefetches.Add(-1)
	defer e.recovered(x.key, func(error) {}) // nobody waits for it
	ctx, cancel := context.WithTimeout(e.context, prefetchLimit)
	defer cancel()
	x.Request = x.Request.WithContext(ctx)
	e.lookup(x)
	if object := e.find(x); object != nil {
		object.Release() // stale or not: whoever asks renews it
		return
	}
	if !e.beginFetch(x) {
		return
	}
	turn := e.options.Cache.Begin(x.key, nil)
	if !turn.Leader {
		e.endFetch(x.site)
		if turn.Object != nil {
			turn.Object.Release()
		}
		return
	}
	f := e.launch(ctx, x, turn.Fill, nil, wantedPart(x.Request))
	defer f.keep.drop()
	object, err := turn.Fill.Object(ctx)
	if err != nil {
		return
	}
	defer object.Release()
	e.reports.prefetched.Add(1)
	for off, done := int64(0), false; !done; {
		if off, done, err = object.Wait(ctx, off); err != nil {
			return
		}
	}
}
