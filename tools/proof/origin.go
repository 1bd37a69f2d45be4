package proof

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// seenRequests bounds the log of an Origin; past it the oldest half is
// dropped. Counts go on.
const seenRequests = 100_000

// OriginOptions describe an Origin.
type OriginOptions struct {
	Oracle *Oracle // nil = a new one with an empty secret
	Host   string  // stands in for the request's host in every body; "" = the request's own
}

// Origin is an http.Handler that serves the oracle's truth for every path,
// except where a fault was scripted, and remembers what it was asked. It needs
// nothing but package time, so it works in a testing/synctest bubble. All
// methods may be called at the same time.
type Origin struct {
	oracle *Oracle
	host   string

	mu     sync.Mutex // guards the fields below
	counts map[string]*Count
	total  Count
	log    []*Seen
	faults []*armedFault
}

// Count is what happened at one URL, or in all.
type Count struct {
	Requests    int   // that arrived
	InFlight    int   // that are being answered now
	MaxInFlight int   // the most at one time
	Bytes       int64 // of body handed to the connection
}

// Seen is one request as the origin got it and answered it.
type Seen struct {
	Time   time.Time
	Method string
	Host   string
	Path   string // escaped, with the query
	Proto  string
	Remote string
	Header http.Header
	Number int // 1 for the first request of this path
	Faults []string
	Status int   // 0 while unanswered, or reset before the head
	Bytes  int64 // of body handed to the connection
	Done   bool  // the handler returned
}

// NewOrigin returns an origin that has seen nothing.
func NewOrigin(options OriginOptions) *Origin {
	if options.Oracle == nil {
		options.Oracle = NewOracle("")
	}
	return &Origin{oracle: options.Oracle, host: options.Host, counts: map[string]*Count{}}
}

// Oracle returns the oracle it serves.
func (o *Origin) Oracle() *Oracle { return o.oracle }

// Fault puts a fault on all URLs that match pattern (as Oracle.SetRule does);
// all faults that match a request strike it together. The returned func ends
// a stall that waits for it, as Release does, and may be called often.
func (o *Origin) Fault(pattern string, f Fault) (release func()) {
	a := &armedFault{Fault: f, pattern: pattern, released: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = append(o.faults, a)
	return func() { o.release(a) }
}

// Release ends all stalls with exactly this pattern, those that wait now and
// those to come.
func (o *Origin) Release(pattern string) {
	o.mu.Lock()
	faults := slices.Clone(o.faults)
	o.mu.Unlock()
	for _, a := range faults {
		if a.pattern == pattern {
			o.release(a)
		}
	}
}

func (o *Origin) release(a *armedFault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-a.released:
	default:
		close(a.released)
	}
}

// ClearFaults removes every fault; those that strike a request now go on.
func (o *Origin) ClearFaults() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = nil
}

// Count returns what happened at one path, given as requests carry it: escaped
// and with the query. Hosts are counted together.
func (o *Origin) Count(path string) Count {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.counts[Canonical(path)]; c != nil {
		return *c
	}
	return Count{}
}

// Sum is what happened at several paths.
type Sum struct {
	Count           // Requests and Bytes are sums, InFlight and MaxInFlight the most of one path
	Paths       int // that were asked for
	MostPerPath int // requests for the path that was asked for most often
}

// Sum returns what happened at the paths that match a pattern without a host
// (as Oracle.SetRule).
func (o *Origin) Sum(pattern string) Sum {
	o.mu.Lock()
	defer o.mu.Unlock()
	var s Sum
	for path, c := range o.counts {
		if !matches(pattern, "", path) {
			continue
		}
		s.Paths++
		s.Requests += c.Requests
		s.Bytes += c.Bytes
		s.InFlight, s.MaxInFlight = max(s.InFlight, c.InFlight), max(s.MaxInFlight, c.MaxInFlight)
		s.MostPerPath = max(s.MostPerPath, c.Requests)
	}
	return s
}

// Total returns what happened at all paths.
func (o *Origin) Total() Count {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// Requests returns the log, oldest first.
func (o *Origin) Requests() []Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := make([]Seen, len(o.log))
	for i, s := range o.log {
		seen[i] = *s
	}
	return seen
}

// ServeHTTP answers one request.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := Canonical(r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	seen, p := o.begin(r, path)
	defer o.end(seen, path)
	if !pause(r.Context(), p.delay, nil) {
		return
	}
	if p.resetHead {
		reset(w)
		return
	}
	a := &answer{origin: o, seen: seen, path: path, w: w, r: r, plan: p}
	a.serve() //nolint:contextcheck // the request carries the context
}

// begin logs a request and takes the faults that strike it.
func (o *Origin) begin(r *http.Request, path string) (*Seen, plan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.counts[path]
	if c == nil {
		c = &Count{}
		o.counts[path] = c
	}
	for _, c := range []*Count{c, &o.total} {
		c.Requests++
		c.InFlight++
		c.MaxInFlight = max(c.MaxInFlight, c.InFlight)
	}
	s := &Seen{
		Time: time.Now(), Method: r.Method, Host: r.Host, Path: path, Proto: r.Proto,
		Remote: r.RemoteAddr, Header: r.Header.Clone(), Number: c.Requests,
	}
	if len(o.log) >= seenRequests {
		o.log = slices.Clone(o.log[len(o.log)/2:])
	}
	o.log = append(o.log, s)
	p := plan{cut: -1, flip: -1, mix: -1}
	for _, a := range o.faults {
		if matches(a.pattern, r.Host, path) && a.strike() {
			p.add(a)
			s.Faults = append(s.Faults, a.String())
		}
	}
	return s, p
}

func (o *Origin) end(s *Seen, path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Done = true
	o.counts[path].InFlight--
	o.total.InFlight--
}

func (o *Origin) answered(s *Seen, status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Status = status
}

func (o *Origin) sent(s *Seen, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Bytes += n
	o.counts[s.Path].Bytes += n
	o.total.Bytes += n
}

// pause waits for d, for released, or for the end of ctx; false means the
// last. A d of 0 with a nil released does not wait.
func pause(ctx context.Context, d time.Duration, released <-chan struct{}) bool {
	if d <= 0 && released == nil {
		return true
	}
	var expired <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-expired:
	case <-released:
	case <-ctx.Done():
		return false
	}
	return true
}
