package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The flags of TestCompare.
var (
	compareRun     = flag.Bool("compare", false, "compare Weir with nginx and Varnish; see TestCompare")
	compareRounds  = flag.Int("compare.rounds", 3, "how often everything is measured")
	compareWindow  = flag.Duration("compare.window", 3*time.Second, "how long one load of one server lasts")
	compareCells   = flag.String("compare.cells", ".", "which cells of the hot part, a `regexp` over names such as 2MiB/tls")
	compareBefore  = flag.String("compare.before", "", "another weir `binary`, such as one built before a change: the hot part measures it, too")
	compareJSON    = flag.String("compare.json", "", "`file` for the figures, as seen from the package's directory")
	compareProfile = flag.String("compare.profile", "", "`directory` for CPU profiles of Weir, one per cell and round; they cost Weir a few per cent")
)

// compareSpare is left of the test's time when its processes are stopped.
const compareSpare = 30 * time.Second

// comparison is what one run of TestCompare found.
type comparison struct {
	Machine machine         `json:"machine"`
	Hot     []*hotResult    `json:"hot,omitempty"`
	Joiner  []*joinerResult `json:"joiner,omitempty"`
	Start   *startResult    `json:"start,omitempty"`

	ctx    context.Context // ends early enough to stop all processes
	binary string
}

// machine is what the figures depend on.
type machine struct {
	CPUs    int    `json:"cpus"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Nginx   string `json:"nginx"`
	Varnish string `json:"varnish"`
	Load    string `json:"load"` // the load average at the start: the busier, the less the figures are worth
}

// TestCompare measures Weir beside Debian's nginx and Varnish on this machine:
//
//	go test ./tools/weir -run TestCompare -compare -v -timeout 30m
//
// Its parts are hot (server CPU for stored objects), joiner (many clients of one
// object that is being fetched) and start; -run TestCompare/hot runs one of them.
// Every server is measured in every round, one right after the other, and only
// figures of one run can be compared: ratios are of one round, of which the table
// has the median and the range. Loads go to 127.0.0.1.
func TestCompare(t *testing.T) {
	if !*compareRun {
		t.Skip("takes minutes and the whole machine: go test ./tools/weir -run TestCompare -compare -v -timeout 30m")
	}
	if *compareRounds < 1 || *compareWindow < time.Second {
		t.Fatal("at least one round, and windows of at least a second")
	}
	c := &comparison{ctx: t.Context(), Machine: describeMachine()}
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		c.ctx, cancel = context.WithDeadline(c.ctx, deadline.Add(-compareSpare))
		defer cancel()
	}
	c.binary = c.build(t)
	t.Run("start", c.start)
	t.Run("hot", c.hot)
	t.Run("joiner", c.joiner)
	t.Logf("%s", c.report())
	if *compareJSON == "" {
		return
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*compareJSON, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// build makes the binary that is measured.
func (c *comparison) build(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir")
	args := append([]string{"build", "-o", path}, flags...)
	if out, err := exec.CommandContext(c.ctx, "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func describeMachine() machine {
	line := func(command string, args ...string) string {
		out, err := exec.Command(command, args...).CombinedOutput()
		if err != nil {
			return ""
		}
		first, _, _ := strings.Cut(string(out), "\n")
		return first
	}
	load, _ := os.ReadFile("/proc/loadavg") // the figures are as good without
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{
		CPUs: runtime.NumCPU(), Kernel: strings.TrimSpace(string(kernel)), Go: runtime.Version(),
		Nginx: line("nginx", "-v"), Varnish: line("varnishd", "-V"), Load: strings.TrimSpace(string(load)),
	}
}

// cellWanted tells whether the flags ask for a cell.
func cellWanted(t *testing.T, name string) bool {
	t.Helper()
	expression, err := regexp.Compile(*compareCells)
	if err != nil {
		t.Fatal(err)
	}
	return expression.MatchString(name)
}
