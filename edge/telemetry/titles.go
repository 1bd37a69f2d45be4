package telemetry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// maxTitles bounds the label title; those with fewer viewers are summed up as "other".
const maxTitles = 100

// Titles adds the gauge of who watches which title or channel, read from a func whenever metrics are gathered; the func is
// called from any goroutine and returns a map of its own. It may be called once.
func (m *Metrics) Titles(read func() map[string]int) error {
	c := &titleCollector{read: read, viewers: prometheus.NewDesc("weir_title_viewers",
		"Play sessions of a title or channel that this node keeps for its region: the sum over its nodes is who watches; title other is all past the 100 with most.", []string{"title"}, nil)}
	if err := m.registry.Register(c); err != nil {
		return fmt.Errorf("metrics of titles: %w", err)
	}
	return nil
}

// titleCollector shows them to Prometheus.
type titleCollector struct {
	read    func() map[string]int
	viewers *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *titleCollector) Describe(out chan<- *prometheus.Desc) { out <- c.viewers }

// Collect implements prometheus.Collector.
func (c *titleCollector) Collect(out chan<- prometheus.Metric) {
	counts := c.read()
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	shown, other := 0, 0
	for _, name := range names {
		if shown == maxTitles || name == otherPeer {
			other += counts[name]
			continue
		}
		shown++
		out <- prometheus.MustNewConstMetric(c.viewers, prometheus.GaugeValue, float64(counts[name]), name)
	}
	if other > 0 {
		out <- prometheus.MustNewConstMetric(c.viewers, prometheus.GaugeValue, float64(other), otherPeer)
	}
}
