package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/tools/proof"
)

// measuredEdge is an edge in a process of its own, before an oracle origin: what
// it takes of memory is its own.
type measuredEdge struct {
	t      *testing.T
	oracle *proof.Oracle
	origin *proof.Origin
	url    string
	admin  string
	token  string
}

func newMeasuredEdge(t *testing.T) *measuredEdge {
	t.Helper()
	t.Setenv("GOGC", "100") // no floor: it is judged what is needed, not what may gather
	m := &measuredEdge{t: t, oracle: proof.NewOracle(t.Name())}
	m.origin = proof.NewOrigin(proof.OriginOptions{Oracle: m.oracle, Host: "127.0.0.1"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proof.Serve(listener, m.origin, nil))
	dir := t.TempDir()
	ports := freePorts(t, 2)
	address := ports[0]
	m.admin = ports[1]
	startWeir(t, "edge", "--origin", "http://"+listener.Addr().String(), "--http", address, "--admin", m.admin, "--dir", dir, "--cache-size", "4GiB")
	awaitReady(t, m.admin)
	m.url, m.token = "http://"+address, readToken(t, dir)
	return m
}

func (m *measuredEdge) client() *proof.Client {
	m.t.Helper()
	c, err := proof.NewClient(proof.ClientOptions{Oracle: m.oracle, Protocol: proof.H1, Name: "reader"})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	return c
}

func readToken(t *testing.T, dir string) string {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

var heapLine = regexp.MustCompile(`(?m)^go_memstats_heap_inuse_bytes (\S+)$`)

// heap is how many bytes of heap are in use.
func (m *measuredEdge) heap() int64 {
	m.t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(m.t.Context()), http.MethodGet, "http://"+m.admin+"/metrics", http.NoBody)
	if err != nil {
		m.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+m.token)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		m.t.Error(err)
		return 0
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	match := heapLine.FindSubmatch(text)
	if err != nil || match == nil {
		m.t.Errorf("metrics: %v, status %d", err, response.StatusCode)
		return 0
	}
	bytes, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		m.t.Error(err)
	}
	return int64(bytes)
}

// growth runs work and returns by how much the heap was larger at its largest
// than before; it is looked at every few milliseconds.
func (m *measuredEdge) growth(work func()) int64 {
	m.t.Helper()
	before := m.heap()
	var most atomic.Int64
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), m.heap()))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	work()
	close(stop)
	watcher.Wait()
	return most.Load() - before
}

// readAll has n readers at once, each with its request, and checks every byte.
func (m *measuredEdge) readAll(n int, path string, options func(i int) proof.Options) {
	m.t.Helper()
	c := m.client()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			o := options(i)
			o.Truth = "127.0.0.1"
			r := c.Get(m.t.Context(), m.url+path, o)
			for range 3 {
				if r.Status != 0 {
					break
				}
				// So many connections at once keep a busy machine from sending a request in time.
				r = c.Get(m.t.Context(), m.url+path, o)
			}
			if r.Err != nil || r.Body != proof.BodyOK {
				m.t.Errorf("reader %d: %s", i, r)
			}
		})
	}
	all.Wait()
}

// TestALargeObjectTakesLittleMemory: 200 readers at random offsets of 4 GB. It
// measures, so nothing runs beside it.
func TestALargeObjectTakesLittleMemory(t *testing.T) { //nolint:paralleltest // see above
	// It takes 13 to 15 MiB; the limit leaves room for what the collector has not come to on a busy machine.
	const size, readers, part, limit = 4 << 30, 200, 1 << 20, 24 << 20
	slack := int64(1)
	if raceDetector() {
		slack = 2 // its pools keep less, by intention
	}
	m := newMeasuredEdge(t)
	m.oracle.SetRule("/film.mp4", proof.Rule{Size: size, CacheControl: "max-age=600"})
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the offsets of a test
	offsets := make([]int64, readers)
	for i := range offsets {
		offsets[i] = random.Int64N(size - part)
	}
	for _, round := range []string{"cold", "stored"} {
		growth := m.growth(func() {
			m.readAll(readers, "/film.mp4", func(i int) proof.Options {
				return proof.Options{Range: fmt.Sprintf("bytes=%d-%d", offsets[i], offsets[i]+part-1)}
			})
		})
		t.Logf("%s: the heap of the edge grew by %.1f MiB with %d readers of %d MiB at random offsets of %d MiB; the origin sent %d MiB",
			round, float64(growth)/(1<<20), readers, part>>20, size>>20, m.origin.Total().Bytes>>20)
		if growth > limit*slack {
			t.Errorf("%s: the heap grew by %d bytes, more than %d", round, growth, limit)
		}
	}
	if sent := m.origin.Total().Bytes; sent > 2*readers*sliceOfFilm {
		t.Errorf("the origin sent %d bytes: more than the slices that the readers touch", sent)
	}
}

// raceDetector tells whether this binary, which is the edge as well, was built with it.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// sliceOfFilm is the length of the pieces that a large object is kept in.
const sliceOfFilm = 2 << 20

// TestACrowdOnAColdObjectTakesLittleMemory: one fetch feeds all of them. It
// measures, so nothing runs beside it.
func TestACrowdOnAColdObjectTakesLittleMemory(t *testing.T) { //nolint:paralleltest // see above
	const limit = 100 << 20
	m := newMeasuredEdge(t)
	for _, crowd := range []int{500} {
		path := fmt.Sprintf("/o/2MiB/%d", crowd)
		release := m.origin.Fault(path, proof.Fault{Kind: "stall", At: 1 << 20})
		var once sync.Once
		arrived := atomic.Int64{}
		growth := m.growth(func() {
			m.readAll(crowd, path, func(int) proof.Options {
				if arrived.Add(1) == int64(crowd) {
					once.Do(release)
				}
				return proof.Options{}
			})
		})
		requests := m.origin.Count(path).Requests
		t.Logf("%d clients of one cold 2 MiB object: %d fetch, the heap grew by %.1f MiB", crowd, requests, float64(growth)/(1<<20))
		if requests != 1 {
			t.Errorf("%d clients: the origin was asked %d times", crowd, requests)
		}
		if growth > limit*int64(max(1, crowd/500)) {
			t.Errorf("%d clients: the heap grew by %d bytes", crowd, growth)
		}
	}
}
