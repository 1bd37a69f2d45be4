package edge

import (
	"context"
	"hash/maphash"
	"net/http"
	"net/netip"
	"time"

	"weir/edge/field"
	"weir/edge/limit"
)

// Limits bounds what clients may have of a site. Immutable once in use. Requests of other nodes have none: those have
// asked their own clients.
type Limits struct {
	Client  Bounds // of one address; of IPv6 the first 64 bits, for a client has all addresses below them
	Network Bounds // of all addresses that share the first IPv4Bits or IPv6Bits
	Token   Bounds // of all that Exchange.Subject is alike for; requests without one have none
	Site    Bounds // of all clients together

	IPv4Bits, IPv6Bits int            // 0: 24 and 56
	Exempt             []netip.Prefix // who is in them has no bounds, and does not count for Site's
}

// Bounds are what one of those may have. A zero value bounds nothing.
type Bounds struct {
	Requests   limit.Rate // per second
	Bytes      limit.Rate // of bodies, per second; who has more waits
	Concurrent int        // requests at once
}

// scope is whom a bound is for.
type scope uint8

const (
	perClient scope = iota
	perNetwork
	perToken
	perSite
	scopes
)

func (s scope) String() string { return [scopes]string{"client", "network", "token", "site"}[s] }

const (
	clientBits6  = 64 // what an IPv6 client is: RFC 6177, and RFC 7421 of why it is no less
	networkBits4 = 24
	networkBits6 = 56 // what a household gets (RFC 6177, 2)

	// A paced body goes out in pieces of an eighth of a second, so that what else the line carries is not kept waiting, but
	// of no less than leastPiece, below which a piece costs more than it sends.
	pacedPieces   = 8
	leastPiece    = 16 << 10
	retryCrowd    = time.Second      // when somebody with too many requests at once may try again
	longestAnswer = 10 * time.Minute // the most that Retry-After says
)

// limiter has what is left of every client's limits. A reload leaves it as it is: the rates are the sites'.
type limiter struct {
	keys     limit.Keys
	requests *limit.Table
	bytes    *limit.Table
	running  limit.Counts
}

func newLimiter(now time.Time) *limiter {
	return &limiter{keys: limit.Keys{Seed: maphash.MakeSeed()}, requests: limit.NewTable(0, now), bytes: limit.NewTable(0, now)}
}

// of are the bounds of a scope.
func (l *Limits) of(s scope) *Bounds {
	return [scopes]*Bounds{&l.Client, &l.Network, &l.Token, &l.Site}[s]
}

// bounded is what a request is counted as, and where.
type bounded struct {
	keys    [scopes]limit.Key
	known   [scopes]bool // the scope has bounds, and the request is somebody's there
	entered [scopes]bool // it counts as running
	piece   int64        // the most of its body that goes out at once; 0: it is not paced
	own     limit.Rate   // of its body alone, besides those
	full    time.Time    // when the bucket of own is full again
	paid    int64        // what Exchange.Sent is once all that was charged has gone out
	timer   *time.Timer  // of pace; nil until it has waited
}

// limit counts a client's request where the site has bounds for it, from the narrow scopes to the wide ones: what a narrow
// one refuses takes nothing from the others.
//
// Hot path: no allocation; a hash and a lock for each bound.
func (e *Edge) limit(x *Exchange, from, to scope) *refusal {
	l := x.site.Limits
	if l == nil || x.unbounded {
		return nil
	}
	x.limits = e.limits.Load()
	addr := clientAddr(x.Request)
	if from == perClient {
		for _, network := range l.Exempt {
			if network.Contains(addr) {
				x.unbounded = true
				return nil
			}
		}
	}
	for s := from; s <= to; s++ {
		if no := x.limit(l, s, addr); no != nil {
			return no
		}
	}
	return nil
}

func (x *Exchange) limit(l *Limits, s scope, addr netip.Addr) *refusal {
	bounds := l.of(s)
	if *bounds == (Bounds{}) || s == perToken && x.Subject == "" {
		return nil
	}
	key := l.key(x.limits.keys, s, x, addr)
	if wait := x.limits.requests.Take(key, 1, bounds.Requests, x.Start); wait > 0 {
		return tooMany(s, "-rate", "too many requests", wait)
	}
	if bounds.Concurrent > 0 {
		if !x.limits.running.Enter(key, bounds.Concurrent) {
			return tooMany(s, "-concurrency", "too many requests at once", retryCrowd)
		}
		x.bounded.entered[s] = true
	}
	x.bounded.keys[s], x.bounded.known[s] = key, true
	if bounds.Bytes.On() {
		x.bounded.narrow(bounds.Bytes)
	}
	return nil
}

// narrow makes pieces as small as a rate needs them.
func (b *bounded) narrow(r limit.Rate) {
	if piece := max(int64(r.PerSecond/pacedPieces), leastPiece); b.piece == 0 || piece < b.piece {
		b.piece = piece
	}
}

// reserve takes n bytes of the exchange's own rate, and returns how long to wait before they go out.
func (b *bounded) reserve(n int64, now time.Time) time.Duration {
	if !b.own.On() {
		return 0
	}
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(time.Duration(float64(n) / b.own.PerSecond * float64(time.Second)))
	return max(0, b.full.Sub(now)-time.Duration(b.own.Burst/b.own.PerSecond*float64(time.Second)))
}

func (l *Limits) key(keys limit.Keys, s scope, x *Exchange, addr netip.Addr) limit.Key {
	space := keys.Text(limit.Key(s), x.site.Hosts[0])
	switch s {
	case perClient:
		if addr.Is4() {
			return keys.Addr(space, addr, addr.BitLen())
		}
		return keys.Addr(space, addr, clientBits6)
	case perNetwork:
		if addr.Is4() {
			return keys.Addr(space, addr, orBits(l.IPv4Bits, networkBits4))
		}
		return keys.Addr(space, addr, orBits(l.IPv6Bits, networkBits6))
	case perToken:
		return keys.Text(space, x.Subject)
	case perSite, scopes:
	}
	return space
}

func orBits(bits, otherwise int) int {
	if bits == 0 {
		return otherwise
	}
	return bits
}

func tooMany(s scope, kind, text string, wait time.Duration) *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, reason: s.String() + kind, kind: field.ErrorHTTPRequestDenied, retry: min(wait, longestAnswer),
		text: text + " of this " + s.String(),
	}
}

// leave takes back what a request counts as running for, and what was charged and not sent. It is deferred.
func (e *Edge) leave(x *Exchange) {
	e.depart(x)
	x.refund()
	for s, entered := range x.bounded.entered {
		if entered {
			x.limits.running.Leave(x.bounded.keys[s])
		}
	}
}

// piece is how much of a body may go out at once, at most most.
func (x *Exchange) piece(most int64) int64 {
	if x.bounded.piece == 0 {
		return most
	}
	return min(most, x.bounded.piece)
}

// refund gives back what was charged and not sent, as the client left: those who share its bounds do not wait for it. What the
// kernel has taken counts as sent.
//
// Hot path: nothing where all was sent.
func (x *Exchange) refund() {
	unsent := x.bounded.paid - x.Sent
	if unsent <= 0 {
		return
	}
	now := time.Now()
	for s := range scopes {
		if x.bounded.known[s] {
			x.limits.bytes.Refund(x.bounded.keys[s], float64(unsent), x.site.Limits.of(s).Bytes, now)
		}
	}
}

// pace waits until n bytes of a body may go out, by the strictest of the bounds, and pushes the write deadline past that. What
// a client waits for its own rate is no stall. Of a piece that went out in part the rest is not charged again.
func (x *Exchange) pace(control *http.ResponseController, n int64) error {
	if x.bounded.piece == 0 {
		x.progress(control, 0)
		return nil
	}
	paid := max(x.bounded.paid, x.Sent)
	x.bounded.paid = max(paid, x.Sent+n)
	n = x.bounded.paid - paid
	now := time.Now()
	wait := x.bounded.reserve(n, now)
	for s := range scopes {
		if x.bounded.known[s] {
			wait = max(wait, x.limits.bytes.Reserve(x.bounded.keys[s], float64(n), x.site.Limits.of(s).Bytes, now))
		}
	}
	x.progress(control, wait)
	if wait == 0 {
		return nil
	}
	_ = control.Flush() // what waits in a buffer has been paid for; the next write tells of an error
	if x.bounded.timer == nil {
		x.bounded.timer = time.NewTimer(wait)
	} else {
		x.bounded.timer.Reset(wait)
	}
	select {
	case <-x.bounded.timer.C:
		return nil
	case <-x.Request.Context().Done():
		x.bounded.timer.Stop()
		return context.Cause(x.Request.Context())
	}
}

// LimitStats are the tables behind the sites' limits.
type LimitStats struct {
	Requests, Bytes limit.TableStats
	Running         int64 // requests that count for a bound of how many may run at once, once for each bound
}

// Limits returns what the limits of all sites hold. It looks at every entry.
func (e *Edge) Limits() LimitStats {
	l := e.limits.Load()
	if l == nil {
		return LimitStats{}
	}
	now := time.Now()
	return LimitStats{Requests: l.requests.Stats(now), Bytes: l.bytes.Stats(now), Running: l.running.Running()}
}

// useLimits makes the limiter once a site has limits. Calls must follow one another.
func (e *Edge) useLimits(s *Sites) {
	if s.limited && e.limits.Load() == nil {
		e.limits.Store(newLimiter(time.Now()))
	}
}
