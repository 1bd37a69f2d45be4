package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// BenchmarkStart starts a cache over as many objects again and again: after an orderly end, and after one that was not.
// It measures New and Run until a first hit of each start, and until all that is on disk is known.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { startOver(b, n) })
	}
}

func startOver(b *testing.B, n int) {
	b.Helper()
	opts := Options{Dir: b.TempDir(), DiskBytes: 8 << 30}
	c, err := New(opts)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		put(b, c, NewKey(fmt.Sprint(i)), pattern(uint64(i), 2000), -1)
	}
	shut(b, c)
	startOnce(b, opts, n, true) // so that there is a snapshot
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprint("clean=", clean), func(b *testing.B) {
			var first, all []time.Duration
			for b.Loop() {
				f, a := startOnce(b, opts, n, clean)
				first, all = append(first, f), append(all, a)
			}
			slices.Sort(first)
			slices.Sort(all)
			at := func(d []time.Duration, part int) float64 { return float64(d[len(d)*part/100].Microseconds()) / 1000 }
			b.ReportMetric(at(first, 50), "ms-first-hit")
			b.ReportMetric(at(first, 99), "ms-first-hit-p99")
			b.ReportMetric(at(all, 50), "ms-all-known")
			b.ReportMetric(at(all, 99), "ms-all-known-p99")
		})
	}
}

// startOnce starts after an end that was clean, or looks as if it was not, and ends in order.
func startOnce(b *testing.B, opts Options, n int, clean bool) (first, all time.Duration) {
	b.Helper()
	if !clean {
		// A log that is there tells that the end was not clean.
		snapshots, err := filepath.Glob(filepath.Join(opts.Dir, "journal", "snapshot-*"))
		if err != nil || len(snapshots) == 0 {
			b.Fatal(snapshots, err)
		}
		name := filepath.Base(snapshots[len(snapshots)-1])
		if err := os.WriteFile(filepath.Join(opts.Dir, "journal", "log-"+name[len("snapshot-"):]), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	c, err := New(opts)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }() // until cancel
	i := rand.IntN(n)
	wantStored(b, c, NewKey(fmt.Sprint(i)), pattern(uint64(i), 2000))
	first = time.Since(began)
	for !c.Stats().Scanned {
		runtime.Gosched()
	}
	all = time.Since(began)
	if s := c.Stats(); s.Objects != n {
		b.Errorf("%d objects, want %d", s.Objects, n)
	}
	cancel()
	if err := <-ran; err != nil {
		b.Error(err)
	}
	shut(b, c)
	return first, all
}
