package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"weir/tools/proof"
)

const (
	walkSeeds = 3
	walkSteps = 120
	walkNodes = 4
)

// TestPurgesHoldWhateverHappens writes scripts at random, of purges, requests, new versions, nodes that die and come
// back, splits and heals, and has each response held against what was purged when it was asked for. WEIR_WALK_STEPS and
// WEIR_WALK_SEEDS make it longer, WEIR_WALK_SEED=N runs one.
func TestPurgesHoldWhateverHappens(t *testing.T) {
	t.Parallel()
	steps, first, seeds := walkSteps, 0, walkSeeds
	for name, to := range map[string]*int{"WEIR_WALK_STEPS": &steps, "WEIR_WALK_SEEDS": &seeds} {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			*to = n
		}
	}
	if n, err := strconv.Atoi(os.Getenv("WEIR_WALK_SEED")); err == nil {
		first, seeds = n, 1
	}
	scripts := fstest.MapFS{}
	for seed := first; seed < first+seeds; seed++ {
		name := fmt.Sprintf("seed-%d.txt", seed)
		text := newWalk(uint64(seed)).write(steps)
		scripts[name] = &fstest.MapFile{Data: []byte(text)}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s:\n%s", name, numbered(text))
			}
		})
	}
	proof.Run(t, newLab, scripts, "*.txt")
}

func numbered(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = fmt.Sprintf("%4d %s", i+1, lines[i])
	}
	return strings.Join(lines, "\n")
}

// walk writes one script. It knows what the cluster looks like after each line.
type walk struct {
	*rand.Rand
	strings.Builder

	nodes   []string
	down    map[string]bool
	side    map[string]bool // of a split; nil: there is none
	pending []string        // patterns whose purge not all have acknowledged
	running []string        // clients that wait for slow bodies
	clients int
}

func newWalk(seed uint64) *walk {
	w := &walk{Rand: rand.New(rand.NewPCG(seed, 7)), down: map[string]bool{}}
	for i := range walkNodes {
		w.nodes = append(w.nodes, fmt.Sprint("edge-", i+1))
	}
	return w
}

// walkPaths are what is asked for: small responses of two tags, and slow ones whose fills purges meet.
func walkPaths() []string {
	return []string{"/o/1500/x/1", "/o/1500/x/2", "/o/1500/y/1", "/o/1500/y/2", "/o/256KiB/x", "/o/256KiB/y"}
}

func (w *walk) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *walk) write(steps int) string {
	w.line("origin o cache-control=max-age=86400")
	w.line("rule /o/1500/x* cache-control=max-age=86400 header.Surrogate-Key=x")
	w.line("rule /o/1500/y* cache-control=max-age=86400 header.Surrogate-Key=y")
	for _, node := range w.nodes {
		w.line("node %s origin=o", node)
	}
	w.together()
	for range steps {
		w.step()
	}
	w.mend()
	w.ask()
	w.line("staleness 1000h")
	return w.String()
}

func (w *walk) step() {
	switch n := w.IntN(100); {
	case n < 45:
		w.ask()
	case n < 55:
		w.slow()
	case n < 75:
		w.purge()
	case n < 80:
		w.line("advance %dms", 1+w.IntN(5000))
	case n < 85 && len(w.pending) == 0:
		w.bump(w.path()) // without a purge: both versions are right
	case n < 90:
		w.fall()
	case n < 95:
		w.split()
	default:
		w.mend()
	}
}

func (w *walk) path() string { return walkPaths()[w.IntN(len(walkPaths()))] }

// up are the nodes that run.
func (w *walk) up() []string {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n string) bool { return w.down[n] })
}

func (w *walk) ask() {
	up := w.up()
	w.askAt(up[w.IntN(len(up))], w.path())
}

func (w *walk) askAt(node, path string) {
	w.line("client a GET http://site.example%s via %s", path, node)
	w.line("expect status=200 body=ok")
}

// slow begins a request whose body takes seconds where it is fetched.
func (w *walk) slow() {
	if len(w.running) > 3 {
		w.finish()
	}
	w.clients++
	name, up := fmt.Sprint("slow", w.clients), w.up()
	path := walkPaths()[4+w.IntN(2)]
	w.line("fault o %s trickle=64KiB/1s times=1", path)
	w.line("start %s GET http://site.example%s via %s", name, path, up[w.IntN(len(up))])
	w.line("advance %dms", 1+w.IntN(2000))
	w.running = append(w.running, name)
}

// finish waits for the slow ones.
func (w *walk) finish() {
	for _, name := range w.running {
		w.line("wait %s", name)
		w.line("expect %s status=200 body=ok", name)
	}
	w.running = nil
	w.line("clear o")
}

// purge has a node purge something new. What all nodes that run have acknowledged is not to be seen again.
func (w *walk) purge() {
	path := w.path()
	what, pattern := "url http://site.example"+path, path
	switch w.IntN(6) {
	case 0:
		what, pattern = "all", "/*"
	case 1:
		what, pattern = "tag x", "/o/1500/x*"
	case 2:
		what, pattern = "prefix http://site.example/o/1500/", "/o/1500/*"
	}
	if w.IntN(4) == 0 {
		what = "soft " + what
	}
	up := w.up()
	by := up[w.IntN(len(up))]
	var missing []string
	behind := false
	for _, node := range w.nodes {
		cut := w.side != nil && w.side[node] != w.side[by]
		if cut || w.down[node] {
			missing = append(missing, node)
		}
		behind = behind || cut && !w.down[node]
	}
	if len(missing) > 0 {
		what += " missing " + strings.Join(missing, " ")
	}
	w.bump(pattern)
	w.line("do %s purge %s", by, what)
	if behind {
		w.pending = append(w.pending, pattern)
		return
	}
	w.line("advance 1ms")
	w.line("purged site.example%s", pattern)
}

// bump makes a new version, at a time of its own.
func (w *walk) bump(pattern string) {
	w.line("advance 1ms")
	w.line("bump site.example%s", pattern)
}

// fall kills a node, or brings those that are down back.
func (w *walk) fall() {
	w.finish()
	if len(w.down) > 0 {
		w.mend()
		return
	}
	node := w.nodes[w.IntN(len(w.nodes))]
	w.line("kill %s", node)
	w.down[node] = true
}

// split cuts the nodes into two sides.
func (w *walk) split() {
	if w.side != nil {
		w.mend()
		return
	}
	w.finish()
	w.side = map[string]bool{}
	for _, node := range w.nodes {
		w.side[node] = w.IntN(2) == 0
	}
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			if w.side[a] != w.side[b] {
				w.line("cut %s %s", a, b)
			}
		}
	}
	w.line("advance %ds", w.IntN(20))
}

// mend ends splits, starts what is down and waits until all purges have come through.
func (w *walk) mend() {
	w.finish()
	if w.side != nil {
		w.line("heal")
		w.side = nil
	}
	for _, node := range slices.Sorted(maps.Keys(w.down)) {
		w.line("node %s origin=o", node)
		for _, path := range walkPaths() { // it has caught up before it serves anything
			w.askAt(node, path)
		}
	}
	clear(w.down)
	w.together()
	for _, pattern := range w.pending {
		w.line("purged site.example%s", pattern)
	}
	w.pending = nil
}

// together waits until all nodes know each other.
func (w *walk) together() {
	for _, node := range w.nodes {
		w.line("do %s await %d", node, len(w.nodes))
	}
	w.line("advance 5s")
}
