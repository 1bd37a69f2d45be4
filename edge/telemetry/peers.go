package telemetry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// maxPeers bounds the label peer; the nodes past it by name are summed up as "other".
const maxPeers = 200

// PeerCounts is what a node counts of its requests to other nodes, since the start where nothing else is said.
type PeerCounts struct {
	Opened         map[string]uint64 // times that a node was left out, by its name
	LeftOut        int               // nodes that are left out now
	Running        map[string]int64  // requests that run now, by the node's name
	Failed         map[string]uint64 // failed requests and broken bodies, by error type of RFC 9209: a fixed set
	Hedges         uint64            // requests sent to another upstream because a node was slow
	HedgesRefused  uint64            // hedges that the budget did not allow
	Retries        uint64            // requests sent to another upstream because a node failed
	RetriesRefused uint64            // retries that the budget did not allow
}

// Peers adds the metrics of requests to other nodes, read from a func whenever metrics are gathered; the func is called
// from any goroutine and should be quick. It may be called once.
func (m *Metrics) Peers(read func() PeerCounts) error {
	if err := m.registry.Register(newPeerCollector(read)); err != nil {
		return fmt.Errorf("metrics of peers: %w", err)
	}
	return nil
}

// peerCollector shows PeerCounts to Prometheus.
type peerCollector struct {
	read    func() PeerCounts
	opened  *prometheus.Desc
	leftOut *prometheus.Desc
	running *prometheus.Desc
	failed  *prometheus.Desc
	hedges  *prometheus.Desc
	retries *prometheus.Desc
}

func newPeerCollector(read func() PeerCounts) *peerCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &peerCollector{
		read: read,
		opened: desc("weir_peer_breaker_opened_total",
			"Times that the node was left out because it failed or was slow; peer other is all past the first 200 by name.", "peer"),
		leftOut: desc("weir_peers_left_out",
			"Nodes that are left out now."),
		running: desc("weir_peer_requests_in_flight",
			"Requests to the node whose response is not over.", "peer"),
		failed: desc("weir_peer_failures_total",
			"Requests to other nodes that failed, and bodies that broke off, by error type of RFC 9209.", "error"),
		hedges: desc("weir_peer_hedges_total",
			"Requests to another upstream because a node was slow; result refused: the budget of 2 % of the requests was used up.", "result"),
		retries: desc("weir_peer_retries_total",
			"Requests to another upstream because a node failed; result refused: the budget of 10 % of the requests and 5 a second was used up.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (c *peerCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.opened, c.leftOut, c.running, c.failed, c.hedges, c.retries} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *peerCollector) Collect(out chan<- prometheus.Metric) {
	counts := c.read()
	for peer, n := range bounded(counts.Opened) {
		out <- counter(c.opened, n, peer)
	}
	for peer, n := range bounded(counts.Running) {
		out <- prometheus.MustNewConstMetric(c.running, prometheus.GaugeValue, float64(n), peer)
	}
	for kind, n := range counts.Failed {
		out <- counter(c.failed, n, kind)
	}
	out <- prometheus.MustNewConstMetric(c.leftOut, prometheus.GaugeValue, float64(counts.LeftOut))
	out <- counter(c.hedges, counts.Hedges, "sent")
	out <- counter(c.hedges, counts.HedgesRefused, "refused")
	out <- counter(c.retries, counts.Retries, "sent")
	out <- counter(c.retries, counts.RetriesRefused, "refused")
}

// bounded keeps the first names, and sums up the others.
func bounded[N int64 | uint64](counts map[string]N) map[string]N {
	if len(counts) <= maxPeers {
		return counts
	}
	out := make(map[string]N, maxPeers+1)
	for i, name := range slices.Sorted(maps.Keys(counts)) {
		if i >= maxPeers {
			out[otherPeer] += counts[name]
			continue
		}
		out[name] = counts[name]
	}
	return out
}

// otherPeer is the label of the nodes past maxPeers.
const otherPeer = "other"
