package telemetry

import "github.com/prometheus/client_golang/prometheus"

// requestCollector shows the tables of Metrics to Prometheus. Combinations that never occurred are left out.
type requestCollector struct {
	metrics   *Metrics
	requests  *prometheus.Desc
	bytes     *prometheus.Desc
	duration  *prometheus.Desc
	firstByte *prometheus.Desc
	upstream  *prometheus.Desc
	inFlight  *prometheus.Desc
}

func newRequestCollector(m *Metrics) *requestCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &requestCollector{
		metrics: m,
		requests: desc("weir_requests_total",
			"Finished requests; protocol peer is another node of the cluster.", "site", "protocol", "outcome", "status"),
		bytes: desc("weir_response_bytes_total",
			"Body bytes sent.", "protocol", "outcome"),
		duration: desc("weir_request_duration_seconds",
			"Time from the request head to the last byte of the response.", "protocol", "outcome"),
		firstByte: desc("weir_first_byte_seconds",
			"Time from the request head to the response head.", "protocol", "outcome"),
		upstream: desc("weir_upstream_requests_total",
			"Requests to peers and origins; status other means that no answer came.", "source", "status"),
		inFlight: desc("weir_requests_in_flight",
			"Requests being answered now."),
	}
}

// Describe implements prometheus.Collector.
func (c *requestCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.requests, c.bytes, c.duration, c.firstByte, c.upstream, c.inFlight} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *requestCollector) Collect(out chan<- prometheus.Metric) {
	sites := c.metrics.requests.Load()
	for _, name := range sites.names {
		c.collectSite(out, name, sites.tables[name])
	}
	c.collectSite(out, otherSite, sites.other)
	for protocol := range c.metrics.answers {
		for outcome := range c.metrics.answers[protocol] {
			answer := &c.metrics.answers[protocol][outcome]
			c.collectAnswer(out, answer, Protocol(protocol).String(), Outcome(outcome).String())
		}
	}
	for source := range c.metrics.upstream {
		for class := range c.metrics.upstream[source] {
			if n := c.metrics.upstream[source][class].Load(); n > 0 {
				out <- counter(c.upstream, n, Source(source).String(), className(class))
			}
		}
	}
	out <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(c.metrics.inFlight.Load()))
}

func (c *requestCollector) collectSite(out chan<- prometheus.Metric, site string, table *requestTable) {
	for protocol := range table {
		for outcome := range table[protocol] {
			for class := range table[protocol][outcome] {
				if n := table[protocol][outcome][class].Load(); n > 0 {
					out <- counter(c.requests, n,
						site, Protocol(protocol).String(), Outcome(outcome).String(), className(class))
				}
			}
		}
	}
}

func (c *requestCollector) collectAnswer(out chan<- prometheus.Metric, a *answerTable, labels ...string) {
	count, sum, buckets := a.duration.cumulative()
	if count == 0 {
		return
	}
	out <- counter(c.bytes, uint64(max(0, a.bytes.Load())), labels...)
	out <- prometheus.MustNewConstHistogram(c.duration, count, sum, buckets, labels...)
	count, sum, buckets = a.firstByte.cumulative()
	out <- prometheus.MustNewConstHistogram(c.firstByte, count, sum, buckets, labels...)
}

func counter(desc *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}
