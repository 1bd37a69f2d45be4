package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// report is what viewers saw. Times are milliseconds where the name ends in ms, else seconds.
type report struct {
	Seconds   float64      `json:"seconds"`
	Viewers   int64        `json:"viewers"`
	Lost      int64        `json:"viewers_lost"` // gave up
	Plays     int64        `json:"plays"`
	Finished  int64        `json:"plays_finished"`
	Startup   percentiles  `json:"startup_ms"`
	FirstByte percentiles  `json:"first_byte_ms"`
	Stalls    stallReport  `json:"stalls"`
	Requests  int64        `json:"requests"`
	Failed    int64        `json:"requests_failed"`
	Bytes     int64        `json:"bytes"`
	Failovers int64        `json:"failovers"`
	Skipped   int64        `json:"segments_skipped"` // live, gone before they were asked for
	Objects   int          `json:"objects"`          // distinct segments
	Wrong     wrongReport  `json:"wrong"`
	Origin    *checkReport `json:"origin,omitempty"`
	ETags     int64        `json:"etags_differ"` // the same bytes under two strong validators
	ETagPair  string       `json:"etags_example,omitempty"`
	Edges     []edgeReport `json:"edges"`
}

// percentiles are in milliseconds, up to 4.4 % too high.
type percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

type stallReport struct {
	Count   int64   `json:"count"`
	Viewers int64   `json:"viewers"`
	Share   float64 `json:"share"` // of all viewers, 0 to 1
	Seconds float64 `json:"seconds"`
	Longest float64 `json:"longest_seconds"` // one viewer's in one title
}

type wrongReport struct {
	Count   int64   `json:"count"`
	Omitted int64   `json:"not_compared"`
	First   []wrong `json:"first"`
}

type checkReport struct {
	URL      string `json:"url"`
	Verified int64  `json:"verified"`
	Failed   int64  `json:"failed"`
	Example  string `json:"example,omitempty"`
}

// edgeReport has what an edge answered, and what became of the viewers who began at it.
type edgeReport struct {
	URL      string            `json:"url"`
	Requests int64             `json:"requests"`
	Bytes    int64             `json:"bytes"`
	Outcomes map[string]int64  `json:"outcomes"`
	Failed   map[string]int64  `json:"failed"`
	Oddities map[string]int64  `json:"oddities"`
	Examples map[string]string `json:"examples"`
	Home     homeReport        `json:"home"`
}

type homeReport struct {
	Viewers   int64   `json:"viewers"`
	Lost      int64   `json:"lost"`
	Stalled   int64   `json:"stalled"`
	Stalls    int64   `json:"stalls"`
	Seconds   float64 `json:"stall_seconds"`
	Failovers int64   `json:"failovers"`
}

func stallsOf(e *edgeTally) *atomic.Int64 { return &e.stalls }

// report sums up.
func (f *flood) report() *report {
	t := f.tally
	r := &report{
		Seconds: time.Since(f.begun).Seconds(), Plays: t.plays.Load(), Finished: t.finished.Load(), Skipped: t.skipped.Load(),
		Startup: percentilesOf(&t.startup), FirstByte: percentilesOf(&t.firstByte),
		Requests: t.requests.Load(), Failed: t.failures.Load(), Bytes: t.bytes.Load(), Objects: f.ledger.distinct(),
	}
	for i := range t.edges {
		e := f.edgeReport(i)
		r.Viewers += e.Home.Viewers
		r.Lost += e.Home.Lost
		r.Failovers += e.Home.Failovers
		r.Stalls.Count += e.Home.Stalls
		r.Stalls.Viewers += e.Home.Stalled
		r.Stalls.Seconds += e.Home.Seconds
		r.Edges = append(r.Edges, e)
	}
	r.Stalls.Share = float64(r.Stalls.Viewers) / float64(max(r.Viewers, 1))
	r.Stalls.Longest = time.Duration(t.longest.Load()).Seconds()
	f.ledger.fill(r)
	if f.check != nil {
		verified, failed, example := f.check.result()
		r.Origin = &checkReport{f.origin.String(), verified, failed, example}
	}
	return r
}

// fill takes over what differed.
func (l *ledger) fill(r *report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Wrong = wrongReport{l.count, l.omitted, slices.Clone(l.wrong)}
	r.ETags, r.ETagPair = l.tagFault, l.tagPair
}

func (f *flood) edgeReport(i int) edgeReport {
	t := &f.tally.edges[i]
	e := edgeReport{URL: f.options.edges[i].String(), Requests: t.requests.Load(), Bytes: t.bytes.Load()}
	e.Outcomes, e.Failed, e.Oddities, e.Examples = t.snapshot()
	e.Home = homeReport{
		t.viewers.Load(), t.lost.Load(), t.stalled.Load(), t.stalls.Load(), time.Duration(t.stallTime.Load()).Seconds(), t.failovers.Load(),
	}
	return e
}

func percentilesOf(h *histogram) percentiles {
	return percentiles{milliseconds(h.percentile(0.50)), milliseconds(h.percentile(0.95)), milliseconds(h.percentile(0.99))}
}

// bad is whether a viewer saw wrong bytes or gave up, or nobody saw anything.
func (r *report) bad() bool { return r.Wrong.Count > 0 || r.Lost > 0 || r.Bytes == 0 }

func (r *report) printJSON(to io.Writer) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// print writes tables for people.
func (r *report) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format, a...) } // Flush tells
	say("viewers\t%d\t%d plays begun, %d to the end, in %.1f s\n", r.Viewers, r.Plays, r.Finished, r.Seconds)
	say("gave up\t%d\t\n", r.Lost)
	say("start-up\t%s\t\n", &r.Startup)
	say("stalls\t%d\t%d viewers (%.2f %%), %.1f s in all, %.1f s the longest\n", r.Stalls.Count, r.Stalls.Viewers, 100*r.Stalls.Share, r.Stalls.Seconds, r.Stalls.Longest)
	say("requests\t%d\t%d failed, %d failovers, %d objects, %.1f MB\n", r.Requests, r.Failed, r.Failovers, r.Objects, float64(r.Bytes)/1e6)
	say("first byte\t%s\t\n", &r.FirstByte)
	say("wrong bytes\t%d\t\n", r.Wrong.Count)
	if r.Skipped > 0 {
		say("skipped\t%d\tsegments of live streams that left the window\n", r.Skipped)
	}
	if r.Origin != nil {
		say("origin\t%d\tobjects are the same there, %d could not be asked for %s\n", r.Origin.Verified, r.Origin.Failed, r.Origin.Example)
	}
	say("\nEDGE\tREQUESTS\tMB\tOUTCOMES\tFAILED\tVIEWERS\tSTALLED\tFAILOVERS\tGAVE UP\n")
	for i := range r.Edges {
		e := &r.Edges[i]
		say("%s\t%d\t%.1f\t%s\t%s\t%d\t%d\t%d\t%d\n", e.URL, e.Requests, float64(e.Bytes)/1e6, counts(e.Outcomes), counts(e.Failed),
			e.Home.Viewers, e.Home.Stalled, e.Home.Failovers, e.Home.Lost)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.printFaults(to)
}

func (r *report) printFaults(to io.Writer) error {
	var b strings.Builder
	for _, w := range r.Wrong.First {
		fmt.Fprintf(&b, "wrong: %s %s: %d bytes, ETag %s from %s; %d bytes, ETag %s from %s\n", w.URL, w.Range, w.Bytes[0], w.ETags[0], w.Edges[0], w.Bytes[1], w.ETags[1], w.Edges[1])
	}
	for i := range r.Edges {
		for _, kind := range sorted(r.Edges[i].Examples) {
			fmt.Fprintf(&b, "%s: %s: %d times, first %s\n", r.Edges[i].URL, kind, r.Edges[i].Failed[kind]+r.Edges[i].Oddities[kind], r.Edges[i].Examples[kind])
		}
	}
	if r.ETags > 0 {
		fmt.Fprintf(&b, "etag: %d times the same bytes under two strong validators, first %s\n", r.ETags, r.ETagPair)
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(to, b.String())
	return err
}

func (p *percentiles) String() string {
	return fmt.Sprintf("p50 %.1f ms, p95 %.1f ms, p99 %.1f ms", p.P50, p.P95, p.P99)
}

// counts is "hit 12 miss 3", sorted by name; "-" for none.
func counts(m map[string]int64) string {
	var words []string
	for _, k := range sorted(m) {
		words = append(words, fmt.Sprintf("%s %d", k, m[k]))
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, " ")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
