package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxSites bounds the label site: every site costs at most protocols*outcomes*classes series, in practice about 20.
const maxSites = 100

// otherSite is the label of a site beyond maxSites, of one that is not in the options, and of requests without one.
const otherSite = "other"

// MetricsOptions configures Metrics. The zero value is usable.
type MetricsOptions struct {
	Node    string       // the value of the label node of weir_build_info
	Version string       // shown in weir_build_info; empty means what the Go build knows
	Sites   []string     // the values of the label site, see AddSites; the first 100 count, all others are "other"
	Log     *slog.Logger // nil discards; told about errors while metrics are gathered
}

// Metrics counts finished requests and shows them, with what others feed it, to Prometheus.
// All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	scale    *scaleOfBounds
	inFlight atomic.Int64
	requests atomic.Pointer[siteTables]
	answers  [protocols][outcomes]answerTable
	upstream [sources][classes]atomic.Uint64
}

// siteTables has the counters of each site. Immutable but for what it counts; replaced as a whole.
type siteTables struct {
	names  []string // in the order in which they came
	tables map[string]*requestTable
	other  *requestTable
}

// requestTable counts the requests of one site.
type requestTable [protocols][outcomes][classes]atomic.Uint64

// answerTable counts what has no label for the site.
type answerTable struct {
	bytes     atomic.Int64
	duration  histogram
	firstByte histogram
}

// NewMetrics makes an empty set of metrics with the Go runtime's, the process's and the build's beside it.
func NewMetrics(o MetricsOptions) (*Metrics, error) {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		log:      orDiscard(o.Log),
		scale:    newScale(),
	}
	m.requests.Store(&siteTables{other: new(requestTable)})
	m.AddSites(o.Sites...)
	err := errors.Join(
		m.registry.Register(newRequestCollector(m)),
		m.registry.Register(collectors.NewGoCollector()),
		m.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		m.registry.Register(buildInfo(o)),
	)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// AddSites makes values of the label site. Those that are there stay, with what they have counted, also when no request
// has them any more: a counter that vanishes is none. Calls must follow one another.
func (m *Metrics) AddSites(names ...string) {
	old := m.requests.Load()
	t := &siteTables{names: slices.Clone(old.names), tables: maps.Clone(old.tables), other: old.other}
	if t.tables == nil {
		t.tables = map[string]*requestTable{}
	}
	for _, site := range names {
		if t.tables[site] != nil || site == "" || site == otherSite || len(t.names) == maxSites {
			continue
		}
		t.names, t.tables[site] = append(t.names, site), new(requestTable)
	}
	m.requests.Store(t)
}

func (t *siteTables) of(site string) *requestTable {
	if table := t.tables[site]; table != nil {
		return table
	}
	return t.other
}

// Observe counts one finished request. Hot path: one read of a map, six atomic adds, no allocation, no lock.
func (m *Metrics) Observe(r *Record) {
	protocol, outcome := min(r.Protocol, protocols-1), min(r.Outcome, outcomes-1)
	m.requests.Load().of(r.Site)[protocol][outcome][classOf(r.Status)].Add(1)
	answer := &m.answers[protocol][outcome]
	answer.bytes.Add(r.Bytes)
	answer.duration.observe(m.scale, r.Duration)
	answer.firstByte.observe(m.scale, r.FirstByte)
}

// ObserveUpstream counts one answer of an upstream; status 0 means that there was none. Hot path: one atomic add.
func (m *Metrics) ObserveUpstream(source Source, status int) {
	m.upstream[min(source, sources-1)][classOf(status)].Add(1)
}

// Begin counts a request as running until End is called. Hot path: one atomic add.
func (m *Metrics) Begin() { m.inFlight.Add(1) }

// End is called once for every Begin.
func (m *Metrics) End() { m.inFlight.Add(-1) }

// Gauge adds a metric that is read from a func whenever metrics are gathered; the func is called from any goroutine
// and should be quick. labels are pairs of name and value. A name that is taken or malformed is an error.
func (m *Metrics) Gauge(name, help string, read func() float64, labels ...string) error {
	constant, err := check(name, labels)
	if err != nil {
		return fmt.Errorf("gauge %s: %w", name, err)
	}
	options := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: constant}
	if err := m.registry.Register(prometheus.NewGaugeFunc(options, read)); err != nil {
		return fmt.Errorf("gauge %s: %w", name, err)
	}
	return nil
}

// Counter is Gauge for a value that only grows.
func (m *Metrics) Counter(name, help string, read func() float64, labels ...string) error {
	constant, err := check(name, labels)
	if err != nil {
		return fmt.Errorf("counter %s: %w", name, err)
	}
	options := prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}
	if err := m.registry.Register(prometheus.NewCounterFunc(options, read)); err != nil {
		return fmt.Errorf("counter %s: %w", name, err)
	}
	return nil
}

// Handler serves the metrics in the formats that Prometheus reads. It asks for no credential: whoever mounts it does.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:          gatherLog{m.log},
		ErrorHandling:     promhttp.ContinueOnError, // one broken func does not hide the rest
		EnableOpenMetrics: true,
	})
}

// check makes labels of name, value, name, value …, and keeps names to what every Prometheus can query without quotes.
func check(name string, labels []string) (prometheus.Labels, error) {
	if !plainName(name) {
		return nil, errors.New("the name is not of lower case letters, digits and underscores")
	}
	if len(labels)%2 != 0 {
		return nil, errors.New("labels are not pairs of name and value")
	}
	constant := prometheus.Labels{}
	for pair := range slices.Chunk(labels, 2) {
		if !plainName(pair[0]) {
			return nil, fmt.Errorf("the label %q is not of lower case letters, digits and underscores", pair[0])
		}
		constant[pair[0]] = pair[1]
	}
	return constant, nil
}

func plainName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

func buildInfo(o MetricsOptions) prometheus.Collector {
	version, revision, goVersion := o.Version, "", ""
	if build, ok := debug.ReadBuildInfo(); ok {
		goVersion = build.GoVersion
		if version == "" {
			version = build.Main.Version
		}
		for _, setting := range build.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_build_info",
		Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{
			"node": o.Node, "version": version, "revision": revision, "go": goVersion,
		},
	}, func() float64 { return 1 })
}

// gatherLog is what promhttp writes its errors to.
type gatherLog struct{ log *slog.Logger }

// Println logs one error.
func (g gatherLog) Println(v ...any) { g.log.Error("gather metrics", "error", fmt.Sprint(v...)) }

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
