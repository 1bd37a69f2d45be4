package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// series is one figure, measured several times.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// String is the median with the range behind it, or "-".
func (s series) String() string {
	if len(s) == 0 {
		return "-"
	}
	if len(s) == 1 {
		return number(s[0])
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.median()), number(slices.Min(s)), number(slices.Max(s)))
}

// number has three digits, or all of those before the point.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// percentile returns the value that p of 100 values do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// report is the tables, for people.
func (c *comparison) report() string {
	var b strings.Builder
	m := c.Machine
	fmt.Fprintf(&b, "%d CPUs, Linux %s, %s, %s, %s, load average %s\nmedian (min-max)\n", m.CPUs, m.Kernel, m.Go, m.Nginx, m.Varnish, m.Load)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(c.Hot) > 0 {
		fmt.Fprintf(w, "\nserver CPU\tunit\tweir\tnginx static\tnginx cache\tweir/static\tweir/cache\tweir/before\th3/tls\n")
		for _, r := range c.Hot {
			fmt.Fprintf(w, "%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Workload, r.Protocol, r.Unit, r.Weir, r.Static, r.Cache, r.ToStatic, r.ToCache, r.ToBefore, r.ToTLS)
		}
	}
	if len(c.Joiner) > 0 {
		fmt.Fprintf(w, "\n%d joiners\tfetches\tfirst byte p50 ms\tp99 ms\ttotal p50 ms\tp99 ms\tpeak RSS MiB\tgrown by\tlate first byte ms\n", joiners)
		for _, r := range c.Joiner {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Server, r.Fetches, r.FirstP50, r.FirstP99, r.TotalP50, r.TotalP99, r.PeakMiB, r.GrownMiB, r.Late)
		}
	}
	if s := c.Start; s != nil {
		fmt.Fprintf(w, "\nstart to ready, first ms\tagain ms\tbinary MiB\tstripped MiB\n%s\t%s\t%s\t%s\n", s.First, s.Again, number(s.Size), number(s.StrippedSize))
	}
	_ = w.Flush() // into memory
	return b.String()
}
