package main

import (
	"errors"

	"weir/configs"
	"weir/edge"
	"weir/edge/cmcd"
	"weir/edge/telemetry"
)

// reports says what a site makes of players' reports; nil: nothing.
func reports(c configs.CMCD, pages bool) *edge.Reports {
	if !c.Enabled && !pages {
		return nil
	}
	return &edge.Reports{Prefetch: c.Prefetch, Pace: c.Pace, Dynamic: c.CMSD, Forward: c.Forward}
}

// addReport copies what the player says into the record of a request: the report is not valid any longer than the call.
func addReport(record *telemetry.Record, x *edge.Exchange) {
	record.Session = x.Session
	if x.Report == nil {
		return
	}
	if sid := x.Report.Text(cmcd.SessionID); len(sid) > 0 {
		record.Session = string(sid)
	}
	record.Report = string(x.Report.AppendTo(nil))
}

// registerReports adds the counters of what players report.
func (n *node) registerReports() error {
	const (
		read    = "Reports of players (CMCD) that were read, by how they came."
		ignored = "Reports of players that were ignored, or members of them, by reason."
		ahead   = "Objects that players said they would ask for next, by what became of them."
	)
	var errs []error
	for _, m := range []struct {
		name, help string
		read       func(edge.ReportStats) int64
		labels     []string
	}{
		{"weir_cmcd_reports_total", read, func(s edge.ReportStats) int64 { return s.ByHeader }, []string{"by", "header"}},
		{"weir_cmcd_reports_total", read, func(s edge.ReportStats) int64 { return s.ByQuery }, []string{"by", "query"}},
		{"weir_cmcd_ignored_total", ignored, func(s edge.ReportStats) int64 { return s.Newer }, []string{"reason", "version"}},
		{"weir_cmcd_ignored_total", ignored, func(s edge.ReportStats) int64 { return s.Long }, []string{"reason", "length"}},
		{"weir_cmcd_ignored_total", ignored, func(s edge.ReportStats) int64 { return s.Members }, []string{"reason", "member"}},
		{"weir_cmcd_starved_total", "Reports that said that the player's buffer ran dry (bs).", func(s edge.ReportStats) int64 { return s.Starved }, nil},
		{"weir_cmcd_startup_total", "Reports that said that the player waits for the object (su).", func(s edge.ReportStats) int64 { return s.Urgent }, nil},
		{"weir_cmcd_paced_total", "Responses that went out no faster than the player had use for (rtp).", func(s edge.ReportStats) int64 { return s.Paced }, nil},
		{"weir_prefetch_total", ahead, func(s edge.ReportStats) int64 { return s.Prefetched }, []string{"result", "fetched"}},
		{"weir_prefetch_total", ahead, func(s edge.ReportStats) int64 { return s.PrefetchRefused }, []string{"result", "refused"}},
	} {
		errs = append(errs, n.metrics.Counter(m.name, m.help, func() float64 { return float64(m.read(n.edge.Reports())) }, m.labels...))
	}
	return errors.Join(errs...)
}
