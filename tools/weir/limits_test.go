package main

import (
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// TestLimitsOverEveryProtocol: a client that asks too often is told so, and one that takes too much waits, and gets every
// byte; a reload lifts both for what comes then.
func TestLimitsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	const size, rate, burst = 1 << 20, 1 << 20, 256 << 10
	var use configs.Limits
	var config configs.Config
	s := newSocketNode(t, func(o *nodeOptions) {
		use = configs.Limits{Client: configs.Bounds{Requests: 0.001, Burst: 5, Bandwidth: rate, BandwidthBurst: burst}}
		o.config.Sites[0].Limits = use
		config = *o.config
		o.load = func() (*configs.Config, error) {
			c := config
			c.Sites = []configs.Site{config.Sites[0]}
			c.Sites[0].Limits = use
			return &c, nil
		}
	})
	var all sync.WaitGroup
	start := time.Now()
	for _, w := range ways() {
		c, base := s.client(t, w)
		all.Go(func() {
			if r := c.Get(t.Context(), base+"/o/1MiB/film", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
				t.Errorf("%s: %s", w.name, r)
			}
		})
	}
	all.Wait()
	if took, least := time.Since(start), time.Duration(len(ways())*size-burst)*time.Second/rate; took < least {
		t.Errorf("one client got %d bytes over four connections in %v, want %v at least", len(ways())*size, took, least)
	}
	c, base := s.client(t, ways()[0])
	if r := c.Get(t.Context(), base+"/o/1KiB/5", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Status != http.StatusOK {
		t.Errorf("the fifth request: %s", r)
	}
	for _, w := range ways() {
		c, base := s.client(t, w)
		r := c.Get(t.Context(), base+"/o/1KiB/5", proof.Options{AnyStatus: true, Truth: "127.0.0.1"})
		if r.Status != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: one more: %d, Retry-After %q", w.name, r.Status, r.Header.Get("Retry-After"))
		}
	}
	if n := s.edge.Refused("client-rate"); n != int64(len(ways())) {
		t.Errorf("%d refusals are counted, want %d", n, len(ways()))
	}
	use = configs.Limits{}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range ways() {
		c, base := s.client(t, w)
		if r := c.Get(t.Context(), base+"/o/1MiB/film", proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
			t.Errorf("%s: after the reload: %s", w.name, r)
		}
	}
}

// TestHeapFloor: with it garbage gathers before it is collected, and it takes none of what the node may have.
func TestHeapFloor(t *testing.T) { //nolint:paralleltest // it is about the process
	t.Setenv("GOGC", "")
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	none := configs.Default()
	some := configs.Default()
	some.Node.Memory = configs.GiB
	little := configs.Default()
	little.Node.Memory = 256 * configs.MiB
	share := func(c *configs.Config) int64 { return int64(goShare * float64(c.Node.Memory)) }
	for _, tt := range []struct {
		name                string
		config              *configs.Config
		environment         int64 // GOMEMLIMIT
		memory, floor, keep int64
	}{
		{"no bound", none, math.MaxInt64, 0, heapFloorBytes, math.MaxInt64},
		{"1 GiB", some, math.MaxInt64, 1 << 30, heapFloorBytes, share(some) + heapFloorBytes},
		{"too little", little, math.MaxInt64, 256 << 20, 0, share(little)},
		{"by the environment", none, 1 << 29, 1 << 29, heapFloorBytes, 1<<29 + heapFloorBytes},
		{"less by the environment", some, 1 << 28, 1 << 28, 0, 1 << 28},
	} {
		debug.SetMemoryLimit(tt.environment)
		memory, floor := limitMemory(tt.config)
		if keep := debug.SetMemoryLimit(-1); memory != tt.memory || int64(len(floor)) != tt.floor || keep != tt.keep {
			t.Errorf("%s: a node of %d bytes with a floor of %d, the runtime keeps to %d; want %d, %d, %d", tt.name, memory, len(floor), keep, tt.memory, tt.floor, tt.keep)
		}
	}
	floor := newHeapFloor(1 << 30)
	if got, want := overloadOptions(&some.Overload, 1<<30, floor).Memory, share(some)+heapFloorBytes; got != want {
		t.Errorf("the node sheds near %d bytes, want %d", got, want)
	}
	goal := []runtimemetrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	runtime.GC()
	runtimemetrics.Read(goal)
	if got := goal[0].Value.Uint64(); got < 2*heapFloorBytes {
		t.Errorf("the heap is collected at %d bytes, want %d at least", got, 2*heapFloorBytes)
	}
	runtime.KeepAlive(floor)
}

// TestHeapFloorTakesNoMemory: the kernel has no memory for it; and there is none where the environment says when to collect.
func TestHeapFloorTakesNoMemory(t *testing.T) { //nolint:paralleltest // it sets the environment
	if raceDetector() {
		t.Skip("the race detector writes a shadow of it")
	}
	var resident, mapped [2]int64
	for i, percent := range []string{"100", ""} {
		t.Setenv("GOGC", percent)
		admin := freePorts(t, 1)[0]
		p := startWeir(t, "edge", "--origin", "http://127.0.0.1:1", "--http", "127.0.0.1:0", "--admin", admin, "--dir", t.TempDir())
		awaitReady(t, admin)
		resident[i], mapped[i] = processMemory(t, p.cmd.Process.Pid, "VmRSS:"), processMemory(t, p.cmd.Process.Pid, "VmData:")
	}
	if more := resident[1] - resident[0]; more > heapFloorBytes/2 {
		t.Errorf("the floor takes %d bytes", more)
	}
	if more := mapped[1] - mapped[0]; more < heapFloorBytes/2 {
		t.Errorf("with a floor the node has %d bytes more of addresses: is there one?", more)
	}
}
