package telemetry

import (
	"fmt"
	"testing"
)

func TestPeers(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{})
	counts := PeerCounts{
		Opened: map[string]uint64{"edge-2": 3}, LeftOut: 1, Running: map[string]int64{"edge-2": 4, "edge-3": 0},
		Failed: map[string]uint64{"connection_refused": 5}, Hedges: 6, HedgesRefused: 7, Retries: 8, RetriesRefused: 9,
	}
	if err := m.Peers(func() PeerCounts { return counts }); err != nil {
		t.Fatal(err)
	}
	wantLines(
		t, scrape(t, m, "weir_peer"),
		`weir_peer_breaker_opened_total{peer="edge-2"} 3`,
		`weir_peer_failures_total{error="connection_refused"} 5`,
		`weir_peer_hedges_total{result="refused"} 7`,
		`weir_peer_hedges_total{result="sent"} 6`,
		`weir_peer_requests_in_flight{peer="edge-2"} 4`,
		`weir_peer_requests_in_flight{peer="edge-3"} 0`,
		`weir_peer_retries_total{result="refused"} 9`,
		`weir_peer_retries_total{result="sent"} 8`,
		`weir_peers_left_out 1`,
	)
	if err := m.Peers(func() PeerCounts { return counts }); err == nil {
		t.Error("they were added twice")
	}
}

// TestPeerLabelsAreBounded: what does not fit is not lost.
func TestPeerLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{})
	opened := map[string]uint64{}
	for i := range 1000 {
		opened[fmt.Sprintf("edge-%04d", i)] = 2
	}
	if err := m.Peers(func() PeerCounts { return PeerCounts{Opened: opened} }); err != nil {
		t.Fatal(err)
	}
	if got := len(scrape(t, m, "weir_peer_breaker_opened_total{")); got != maxPeers+1 {
		t.Errorf("got %d series for 1000 nodes, want %d", got, maxPeers+1)
	}
	wantLines(t, scrape(t, m, `weir_peer_breaker_opened_total{peer="other"}`), `weir_peer_breaker_opened_total{peer="other"} 1600`)
}
