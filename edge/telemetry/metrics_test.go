package telemetry

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func newMetrics(t testing.TB, o MetricsOptions) *Metrics {
	t.Helper()
	m, err := NewMetrics(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the lines of /metrics that begin with a prefix.
func scrape(t *testing.T, m *Metrics, prefix string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics: got %d\n%s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{Sites: []string{"a.example", "b.example"}})
	hit := Record{Site: "a.example", Protocol: H3, Outcome: Hit, Status: 200, Bytes: 1000, Duration: 3 * time.Millisecond, FirstByte: time.Millisecond}
	m.Observe(&hit)
	m.Observe(&hit)
	m.Observe(&Record{Site: "b.example", Protocol: H1, Outcome: Refused, Status: 400})
	m.Observe(&Record{Site: "unknown", Protocol: H2, Outcome: Miss, Status: 206, Bytes: 5, Duration: time.Minute, FirstByte: 2 * time.Minute})
	m.Observe(&Record{Protocol: Peer, Outcome: Error, Status: 502})
	m.Observe(&Record{Site: "a.example", Protocol: 200, Outcome: 200, Status: 99999}) // nonsense is bounded
	m.Begin()

	wantLines(
		t, scrape(t, m, "weir_requests_total{"),
		`weir_requests_total{outcome="error",protocol="peer",site="a.example",status="other"} 1`,
		`weir_requests_total{outcome="error",protocol="peer",site="other",status="5xx"} 1`,
		`weir_requests_total{outcome="hit",protocol="h3",site="a.example",status="2xx"} 2`,
		`weir_requests_total{outcome="miss",protocol="h2",site="other",status="2xx"} 1`,
		`weir_requests_total{outcome="refused",protocol="h1",site="b.example",status="4xx"} 1`,
	)
	wantLines(
		t, scrape(t, m, `weir_response_bytes_total{outcome="hit"`),
		`weir_response_bytes_total{outcome="hit",protocol="h3"} 2000`,
	)
	wantLines(
		t, scrape(t, m, `weir_request_duration_seconds_sum{outcome="hit"`),
		`weir_request_duration_seconds_sum{outcome="hit",protocol="h3"} 0.006`,
	)
	wantLines(
		t, scrape(t, m, `weir_first_byte_seconds_bucket{outcome="miss",protocol="h2",le="64"`),
		`weir_first_byte_seconds_bucket{outcome="miss",protocol="h2",le="64"} 0`,
	)
	wantLines(
		t, scrape(t, m, `weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.00`),
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.0001220703125"} 0`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.000244140625"} 0`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.00048828125"} 0`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.0009765625"} 0`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.001953125"} 0`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.00390625"} 2`,
		`weir_request_duration_seconds_bucket{outcome="hit",protocol="h3",le="0.0078125"} 2`,
	)
	wantLines(t, scrape(t, m, "weir_requests_in_flight "), "weir_requests_in_flight 1")
}

func TestObserveUpstream(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{})
	m.ObserveUpstream(Origin, 200)
	m.ObserveUpstream(Origin, 304)
	m.ObserveUpstream(Member, 0)
	wantLines(
		t, scrape(t, m, "weir_upstream_requests_total{"),
		`weir_upstream_requests_total{source="origin",status="2xx"} 1`,
		`weir_upstream_requests_total{source="origin",status="3xx"} 1`,
		`weir_upstream_requests_total{source="peer",status="other"} 1`,
	)
}

// TestSitesThatComeLater are counted from then on, and what was counted stays.
func TestSitesThatComeLater(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{Sites: []string{"a"}})
	count := func() {
		for _, site := range []string{"a", "b", ""} {
			m.Observe(&Record{Site: site, Status: 200})
		}
	}
	count()
	m.AddSites("b", "a")
	count()
	m.AddSites("c")
	count()
	got := strings.Join(scrape(t, m, "weir_requests_total{"), "\n")
	for _, want := range []string{`site="a",status="2xx"} 3`, `site="b",status="2xx"} 2`, `site="other",status="2xx"} 4`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestSitesAreBounded(t *testing.T) {
	t.Parallel()
	sites := []string{"", "other", "twice", "twice"}
	for i := range 1000 {
		sites = append(sites, fmt.Sprintf("site-%d", i))
	}
	m := newMetrics(t, MetricsOptions{Sites: sites})
	for _, site := range sites {
		m.Observe(&Record{Site: site, Status: 200})
	}
	if got := len(scrape(t, m, "weir_requests_total{")); got != maxSites+1 {
		t.Errorf("got %d series for 1001 sites, want %d", got, maxSites+1)
	}
}

func TestFuncs(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{Node: "edge-1", Version: "v9"})
	if err := m.Gauge("weir_cache_bytes", "Bytes kept.", func() float64 { return 7 }, "tier", "disk"); err != nil {
		t.Fatal(err)
	}
	if err := m.Gauge("weir_cache_bytes", "Bytes kept.", func() float64 { return 8 }, "tier", "memory"); err != nil {
		t.Fatal(err)
	}
	if err := m.Counter("weir_cache_evictions_total", "Evictions.", func() float64 { return 9 }); err != nil {
		t.Fatal(err)
	}
	wantLines(
		t, scrape(t, m, "weir_cache_"),
		`weir_cache_bytes{tier="disk"} 7`,
		`weir_cache_bytes{tier="memory"} 8`,
		`weir_cache_evictions_total 9`,
	)
	for name, err := range map[string]error{
		"taken":     m.Gauge("weir_cache_bytes", "Bytes kept.", func() float64 { return 0 }, "tier", "disk"),
		"malformed": m.Gauge("a b", "", func() float64 { return 0 }),
		"odd pairs": m.Counter("weir_x", "", func() float64 { return 0 }, "tier"),
		"own":       m.Counter("weir_requests_total", "", func() float64 { return 0 }),
	} {
		if err == nil {
			t.Errorf("%s name: got no error", name)
		}
	}
	if got := scrape(t, m, "weir_build_info{"); len(got) != 1 || !strings.Contains(got[0], `node="edge-1"`) || !strings.Contains(got[0], `version="v9"`) {
		t.Errorf("build info: got %v", got)
	}
	for _, prefix := range []string{"go_goroutines ", "process_open_fds "} {
		if len(scrape(t, m, prefix)) != 1 {
			t.Errorf("there is no %s", prefix)
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	m := newMetrics(t, MetricsOptions{Sites: []string{"a.example"}})
	r := Record{Site: "a.example", Protocol: H2, Outcome: Hit, Status: 200, Bytes: 1, Duration: time.Second, FirstByte: time.Millisecond}
	n := testing.AllocsPerRun(1000, func() {
		m.Begin()
		m.Observe(&r)
		m.ObserveUpstream(Origin, 200)
		m.End()
		r.Duration += 37 * time.Microsecond
	})
	if n != 0 {
		t.Errorf("got %v allocations for each request, want 0", n)
	}
}

func TestObserveConcurrently(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{Sites: []string{"a"}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				m.Observe(&Record{Site: "a", Status: 200, Bytes: 2, FirstByte: time.Millisecond})
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			_, _ = io.Copy(io.Discard, w.Body)
			m.Totals()
		}
	})
	wg.Wait()
	if got := m.Totals(); got.Requests != 4000 || got.Bytes != 8000 {
		t.Errorf("got %d requests and %d bytes, want 4000 and 8000", got.Requests, got.Bytes)
	}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{})
	for outcome := range Outcome(outcomes) {
		for range int(outcome) + 1 {
			m.Observe(&Record{Protocol: Protocol(outcome % 3), Outcome: outcome, Status: 200, Bytes: 10, FirstByte: time.Second})
		}
	}
	m.Observe(&Record{Protocol: Peer, Outcome: Hit, Status: 200, Bytes: 7, FirstByte: time.Second})
	m.Begin()
	got := m.Totals()
	firstByte := got.FirstByte
	got.FirstByte = Latency{}
	want := Totals{
		Requests: 36, H1: 1 + 4 + 7, H2: 2 + 5 + 8, H3: 3 + 6, Peer: 1,
		Hit: 1, Stale: 2, Miss: 3, Collapsed: 4, Pass: 5, Local: 6, Refused: 7, Error: 8,
		Bytes: 360, PeerBytes: 7, InFlight: 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(firstByte.Counts) != len(firstByte.Bounds)+1 {
		t.Errorf("got %d counts and %d bounds", len(firstByte.Counts), len(firstByte.Bounds))
	}
	for i, bound := range firstByte.Bounds {
		if n := firstByte.Counts[i]; bound == 1 && n != 36 || bound != 1 && n != 0 {
			t.Errorf("bucket up to %g s: got %d", bound, n)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	scale := newScale()
	if got := boundSeconds(bounds - 1); got != 64 {
		t.Errorf("the highest bound: got %g s, want 64", got)
	}
	for i := range bounds {
		if i > 0 && math.Abs(boundSeconds(i)/boundSeconds(i-1)-math.Sqrt2) > 1e-9 {
			t.Errorf("bound %d: got %g after %g", i, boundSeconds(i), boundSeconds(i-1))
		}
		if got := scale.bucket(scale[i]); got != i {
			t.Errorf("bucket(%v): got %d, want %d: a bound belongs to its bucket", scale[i], got, i)
		}
		if got := scale.bucket(scale[i] + 1); got != i+1 {
			t.Errorf("bucket(%v): got %d, want %d", scale[i]+1, got, i+1)
		}
	}
	var h histogram
	h.observe(scale, -time.Second) // a clock that went back
	if count, sum, _ := h.cumulative(); count != 1 || sum != 0 {
		t.Errorf("a negative duration: got count %d, sum %g", count, sum)
	}
}

func TestNamesRoundTrip(t *testing.T) {
	t.Parallel()
	for outcome := range Outcome(outcomes) {
		if got := OutcomeOf(outcome.String()); got != outcome {
			t.Errorf("OutcomeOf(%s): got %s", outcome, got)
		}
	}
	for source := range Source(sources) {
		if got := SourceOf(source.String()); got != source {
			t.Errorf("SourceOf(%s): got %s", source, got)
		}
	}
	for major, want := range map[int]Protocol{0: H1, 1: H1, 2: H2, 3: H3} {
		if got := ProtocolOf(major); got != want {
			t.Errorf("ProtocolOf(%d): got %s, want %s", major, got, want)
		}
	}
	if OutcomeOf("x") != Error || SourceOf("x") != Self {
		t.Error("unknown names are not Error and Self")
	}
}

func BenchmarkObserve(b *testing.B) {
	m := newMetrics(b, MetricsOptions{Sites: []string{"a.example"}})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := Record{Site: "a.example", Protocol: H2, Outcome: Hit, Status: 200, Bytes: 1, Duration: time.Second, FirstByte: time.Millisecond}
		for pb.Next() {
			m.Observe(&r)
		}
	})
}
