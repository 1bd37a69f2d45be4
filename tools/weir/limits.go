package main

import (
	"errors"
	"net/netip"

	"weir/configs"
	"weir/edge"
	"weir/edge/limit"
)

// fastStart is how many seconds of a bandwidth are sent at once where the file says nothing else: what players buffer
// before they begin.
const fastStart = 5

// siteLimits is nil where nothing is bounded.
func siteLimits(c *configs.Limits) (*edge.Limits, error) {
	none := configs.Bounds{}
	if c.Client == none && c.Network == none && c.Token == none && c.Site == none {
		return nil, nil
	}
	exempt, err := prefixes(c.Exempt)
	return &edge.Limits{
		Client: siteBounds(&c.Client), Network: siteBounds(&c.Network), Token: siteBounds(&c.Token), Site: siteBounds(&c.Site),
		IPv4Bits: c.IPv4Bits, IPv6Bits: c.IPv6Bits, Exempt: exempt,
	}, err
}

func siteBounds(c *configs.Bounds) edge.Bounds {
	b := edge.Bounds{
		Requests:   limit.Rate{PerSecond: c.Requests, Burst: float64(c.Burst)},
		Bytes:      limit.Rate{PerSecond: float64(c.Bandwidth), Burst: float64(c.BandwidthBurst)},
		Concurrent: c.Concurrent,
	}
	if c.Burst == 0 {
		b.Requests.Burst = b.Requests.PerSecond
	}
	if c.BandwidthBurst == 0 {
		b.Bytes.Burst = fastStart * b.Bytes.PerSecond
	}
	return b
}

// prefixes reads addresses and networks.
func prefixes(texts []string) (list []netip.Prefix, err error) {
	for _, text := range texts {
		prefix, err := configs.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		list = append(list, prefix)
	}
	return list, nil
}

// registerLimitMetrics shows what the limits hold.
func (n *node) registerLimitMetrics() error {
	type table = func(edge.LimitStats) limit.TableStats
	var errs []error
	for kind, of := range map[string]table{
		"requests":  func(s edge.LimitStats) limit.TableStats { return s.Requests },
		"bandwidth": func(s edge.LimitStats) limit.TableStats { return s.Bytes },
	} {
		errs = append(errs,
			n.metrics.Gauge("weir_limit_clients", "Clients, networks, tokens and sites that have used some of a rate and not got it back yet.", func() float64 { return float64(of(n.edge.Limits()).Clients) }, "limit", kind),
			n.metrics.Gauge("weir_limit_clients_max", "The most of them that can be told apart.", func() float64 { return float64(of(n.edge.Limits()).Entries) }, "limit", kind),
			n.metrics.Counter("weir_limit_squeezed_total", "Times that a client had to begin with what another one had left, because too many were there.", func() float64 { return float64(of(n.edge.Limits()).Squeezed) }, "limit", kind),
		)
	}
	return errors.Join(append(errs,
		n.metrics.Gauge("weir_limit_running", "Requests that count for a limit of how many may run at once, once for each such limit.", func() float64 { return float64(n.edge.Limits().Running) }))...)
}
