package front

import (
	"net/netip"
	"time"
)

// What an offence counts, in points, and how many a client may have in budgetWindow. An honest client has none; behind an
// address with many, and with a program among them that asks for what is refused, there are some.
const (
	maxPoints = 300
	// heavyOffence is a connection that has spent its budget: of those there may be ten. Each has cost us milliseconds.
	heavyOffence = 30
	// lightOffence is one that was refused at once.
	lightOffence = 5
	// noHandshake is one that has begun TLS and not ended it: what clients do, too, that do not trust our certificate.
	noHandshake = 2
	// noRequest is one that has ended without a request, and noRequestTLS one that had its handshake before, which is most of
	// what it costs. Browsers connect ahead, too, and need it or not.
	noRequest, noRequestTLS = 1, noHandshake
	// networkShare is how many times maxPoints all clients of a network may have.
	networkShare = 8
)

const (
	leastPenalty = 5 * time.Second // the first one
	// maxOffenders bounds how many clients and networks are known, 2 MiB. Where all are there, a new one is not taken in until
	// others are forgotten, which is looked for once a second at most.
	maxOffenders = 1 << 14
)

// points is what a refusal for a reason counts; for one that is not there, nothing.
func (r reason) points() int {
	switch r {
	case http2Odd, http2Control, http2HeaderLen, http3Odd, http3Control, http1Pipelined:
		return heavyOffence
	case http2Malformed, http3Malformed, http1Syntax, http1Framing, httpVersion, targetForm, headerBytes, tooManyFields, twoHosts, slowHeader, connectMethod:
		return lightOffence
	default:
		return 0
	}
}

// offender is an address, or a network, from where something was refused.
type offender struct {
	points budget
	until  time.Time     // of its penalty
	length time.Duration // of the last one
}

// penalised tells whether it gets no new connection.
func (o *offender) penalised(now time.Time) bool { return o != nil && now.Before(o.until) }

// forgotten tells whether nothing of it counts any more.
func (o *offender) forgotten(now time.Time) bool {
	return now.Sub(o.points.begun) >= budgetWindow && now.Sub(o.until) >= 2*o.length
}

// note counts an offence, and tells whether that begins a penalty: twice as long as the last one where that was not over for
// as long.
func (o *offender) note(points, most int, longest time.Duration, now time.Time) bool {
	o.points.limit = most
	if o.points.spend(now, points) || o.penalised(now) {
		return false
	}
	length := leastPenalty
	if o.length > 0 && now.Sub(o.until) < 2*o.length {
		length = 2 * o.length
	}
	o.length = min(length, longest)
	o.until = now.Add(o.length)
	o.points = budget{}
	return true
}

// offend counts an offence of the client of a connection, and of its network.
func (s *seat) offend(points int) {
	if s == nil || points == 0 {
		return
	}
	s.use() // it counts once
	g := s.of
	g.mu.Lock()
	network, length := g.offendLocked(s, points, g.now())
	g.mu.Unlock()
	if length == 0 {
		return
	}
	if yes, silent := g.told.due(); yes {
		g.refusals.log.Warn("client gets no connection for a while", "network", network.String(), "for", length, "others since the last line", silent)
	}
}

// offendLocked returns what gets a penalty, and how long that is; 0: nothing does.
func (g *seats) offendLocked(s *seat, points int, now time.Time) (network netip.Prefix, length time.Duration) {
	if g.limits.Penalty <= 0 || s.innocent || !s.client.IsValid() {
		return network, 0
	}
	for _, who := range []struct {
		from netip.Prefix
		most int
	}{{s.client, maxPoints}, {s.network, maxPoints * networkShare}} {
		o := g.offenders[who.from]
		if o == nil {
			if g.forgetLocked(now); len(g.offenders) >= maxOffenders {
				continue
			}
			o = &offender{}
			g.offenders[who.from] = o
		}
		if o.note(points, who.most, g.limits.Penalty, now) {
			g.penalties.Add(1)
			network, length = who.from, o.length
		}
	}
	return network, length
}

// forgetLocked makes room where there is none.
func (g *seats) forgetLocked(now time.Time) {
	if len(g.offenders) < maxOffenders || now.Sub(g.forgot) < time.Second {
		return
	}
	g.forgot = now
	for who, o := range g.offenders {
		if o.forgotten(now) {
			delete(g.offenders, who)
		}
	}
}

// penalisedLocked tells whether a client that comes has a penalty, or its network.
func (g *seats) penalisedLocked(client, network netip.Prefix) bool {
	if len(g.offenders) == 0 || g.limits.Penalty <= 0 {
		return false
	}
	now := g.now()
	return g.offenders[client].penalised(now) || g.offenders[network].penalised(now)
}
