package sdk

import (
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"weir/edge/limit"
)

// Rates are how often the endpoints may be asked. A zero value is the default of the same name.
type Rates struct {
	Network limit.Rate // by the clients of one network: of IPv4 24 bits are alike, of IPv6 56
	Account limit.Rate // for an account: play calls, tokens, downloads
}

// DefaultNetworkRate is one request a second of each of 200 players behind one address, three times what they need, and what
// they ask when all of them come at once; DefaultAccountRate is that of somebody who changes channels as fast as can be.
func DefaultNetworkRate() limit.Rate { return limit.Rate{PerSecond: 200, Burst: 2000} }

// DefaultAccountRate is that of an account: see DefaultNetworkRate.
func DefaultAccountRate() limit.Rate { return limit.Rate{PerSecond: 5, Burst: 50} }

const (
	networkBits4 = 24
	networkBits6 = 56 // what a household gets (RFC 6177, 2)
)

// Gate counts for all APIs of a node who has asked how often, and the problems that they answered with. It outlives a
// reload. Safe for concurrent use.
type Gate struct {
	keys     limit.Keys
	table    *limit.Table
	problems []atomic.Int64 // by the index in kinds
	silent   atomic.Int64   // too many requests, since the last line of the log
	logged   atomic.Int64   // when that was, Unix seconds
}

// NewGate makes a Gate that is empty.
func NewGate(now time.Time) *Gate {
	return &Gate{keys: limit.Keys{Seed: maphash.MakeSeed()}, table: limit.NewTable(0, now), problems: make([]atomic.Int64, len(kinds()))}
}

// Problems are the names of all problems, as at the end of their types.
func Problems() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// Answered is how often clients got the problem of that name.
func (g *Gate) Answered(name string) int64 {
	if i := slices.Index(Problems(), name); i >= 0 {
		return g.problems[i].Load()
	}
	return 0
}

// The spaces of keys.
const (
	spaceNetwork limit.Key = iota
	spaceAccount
)

// byNetwork counts a request for the client's network.
func (g *Gate) byNetwork(r *http.Request, rate limit.Rate) *problem {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // who has no address is of one network
	addr, bits := at.Addr().Unmap(), networkBits4
	if addr.Is6() {
		bits = networkBits6
	}
	return g.take(g.keys.Addr(spaceNetwork, addr, bits), rate, "the network asks too often")
}

// byAccount counts a request for the viewer's account.
func (g *Gate) byAccount(name string, rate limit.Rate) *problem {
	if name == "" {
		return nil
	}
	return g.take(g.keys.Text(spaceAccount, name), rate, "the account asks too often")
}

func (g *Gate) take(k limit.Key, rate limit.Rate, detail string) *problem {
	if wait := g.table.Take(k, 1, rate, time.Now()); wait > 0 {
		return newProblem("rate", detail).retryAfter(wait, rand.Float64())
	}
	return nil
}

// note counts a problem, and logs one of too many requests a second.
func (g *Gate) note(p *problem, r *http.Request, log *slog.Logger) {
	if i := slices.Index(Problems(), p.name); i >= 0 {
		g.problems[i].Add(1)
	}
	if p.name != "rate" {
		return
	}
	now := time.Now().Unix()
	if last := g.logged.Load(); now == last || !g.logged.CompareAndSwap(last, now) {
		g.silent.Add(1)
		return
	}
	log.Info("a player is refused", "reason", p.Detail, "client", r.RemoteAddr, "more", g.silent.Swap(0))
}
