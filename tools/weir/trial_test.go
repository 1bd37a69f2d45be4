package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/edge/console"
	"weir/tools/proof"
)

var (
	nemesisHours = flag.Float64("nemesis.hours", 0.25, "virtual `hours` that TestNemesis lasts")
	nemesisSeed  = flag.Uint64("nemesis.seed", 1, "`number` that decides what strikes when in TestNemesis")
	nemesisNodes = flag.Int("nemesis.nodes", 5, "nodes of TestNemesis")
	nemesisRate  = flag.Float64("nemesis.rate", 2, "requests per virtual second in TestNemesis")
)

// TestNemesis has faults strike a cluster under load, and checks what it promises.
// It prints its seed; the same seed strikes the same again. A hundred hours:
//
//	go test ./tools/weir -run TestNemesis -nemesis.hours 100 -nemesis.seed 7 -timeout 0 -v
func TestNemesis(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var report proof.TrialReport
	synctest.Test(t, func(t *testing.T) {
		var err error
		report, err = proof.Trial(t, newLab, proof.TrialOptions{
			Seed: *nemesisSeed, For: time.Duration(*nemesisHours * float64(time.Hour)), Nodes: *nemesisNodes, RequestsPerSecond: *nemesisRate,
			Options: map[string]string{"disk": "64MiB", "memory": "16MiB"},
			Log:     func(format string, args ...any) { fmt.Fprintf(t.Output(), format+"\n", args...) },
		})
		if err != nil {
			t.Errorf("%v\n\tagain: -run TestNemesis -nemesis.seed %d -nemesis.nodes %d -nemesis.rate %v", err, *nemesisSeed, *nemesisNodes, *nemesisRate)
		}
	})
	t.Logf("seed %d, %v virtual hours in %s: %s", *nemesisSeed, *nemesisHours, time.Since(began).Round(time.Second), report)
}

// Purge is proof.Subject's.
func (l *lab) Purge(name, url string) (acknowledged []string, err error) {
	n := l.node(name)
	if n == nil {
		return nil, fmt.Errorf("%s does not run", name)
	}
	receipt, err := n.purge(context.Background(), console.Purge{Kind: "url", Items: []string{url}}) // it stands whoever asked
	for _, r := range receipt.Nodes {
		if r.State == console.Applied {
			acknowledged = append(acknowledged, r.Node)
		}
	}
	return acknowledged, err
}

// View is proof.Subject's.
func (l *lab) View(name string) (proof.View, error) {
	n := l.node(name)
	if n == nil {
		return proof.View{}, fmt.Errorf("%s does not run", name)
	}
	totals := n.metrics.Totals()
	return proof.View{
		Over: overBudget(n.cache.Stats()),
		Ring: n.ring().Version(), RingNodes: n.ring().Len(), Ready: n.ready() == nil, Lag: n.notices.Stats().Lag,
		Panics: l.panics.Load() + n.cluster.Stats().CallbackPanics, Requests: totals.Requests, Bytes: totals.Bytes,
		Corrupt: n.cache.Stats().Corrupt,
	}, nil
}

// overBudget names what a cache has more of than it may.
func overBudget(s cache.Stats) string {
	switch {
	case s.MemoryBytes > s.MemoryLimit:
		return fmt.Sprintf("%d of %d bytes of memory", s.MemoryBytes, s.MemoryLimit)
	case s.DiskBytes > s.DiskLimit:
		return fmt.Sprintf("%d of %d bytes of disk", s.DiskBytes, s.DiskLimit)
	}
	return ""
}

// Damage is proof.Subject's: a bit changes, the end is missing, or all is zero.
func (l *lab) Damage(name string, seed uint64) error {
	l.mu.Lock()
	dir := filepath.Join(l.dirs[name], "cache")
	l.mu.Unlock()
	var files []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, file)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 1))
	file := files[random.IntN(len(files))]
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return err
	}
	switch at := random.IntN(len(text)); random.IntN(4) {
	case 0:
		text = text[:at]
	case 1:
		clear(text[at:])
	default:
		text[at] ^= 1 << random.IntN(8)
	}
	return os.WriteFile(file, text, 0o600)
}

// panicCounter is a log handler that counts panics which a node has stopped.
type panicCounter struct {
	slog.Handler

	count *atomic.Int64
}

// Enabled is true for what tells of a panic.
func (p panicCounter) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError || p.Handler.Enabled(ctx, level)
}

// Handle counts.
func (p panicCounter) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && strings.Contains(r.Message, "panicked") {
		p.count.Add(1)
	}
	if !p.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return p.Handler.Handle(ctx, r)
}

// WithAttrs keeps counting.
func (p panicCounter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return panicCounter{p.Handler.WithAttrs(attrs), p.count}
}

// WithGroup keeps counting.
func (p panicCounter) WithGroup(name string) slog.Handler {
	return panicCounter{p.Handler.WithGroup(name), p.count}
}
