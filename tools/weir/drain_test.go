package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/tools/proof"
)

// ending is a long one while the node ends.
type ending struct {
	way    way
	result proof.Result
}

// downloads begins two slow ones by each protocol, and waits until the node has asked its origin for all of them. stop waits
// for their ends.
func (n *upgradeNode) downloads(t *testing.T, rate int64) (running *atomic.Int64, stop func() []ending) {
	t.Helper()
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); all.Wait() })
	running = &atomic.Int64{}
	var list []*ending
	var paths []string
	for _, w := range ways() {
		for range 2 {
			c, base := n.client(t, w)
			path, d := fmt.Sprintf("/o/16MiB/film-%d", len(list)), &ending{way: w}
			list, paths = append(list, d), append(paths, path)
			running.Add(1)
			all.Go(func() {
				d.result = c.Get(ctx, base+path, proof.Options{Truth: "127.0.0.1", Rate: rate})
				running.Add(-1)
			})
		}
	}
	for _, path := range paths {
		n.poll(t, path+" is asked for", func() bool { return n.origin.Count(path).Requests > 0 })
	}
	return running, func() (ends []ending) {
		all.Wait()
		for _, d := range list {
			ends = append(ends, *d)
		}
		return ends
	}
}

// poll waits until it is so.
func (n *upgradeNode) poll(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !so(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}

// terminate ends the node as a service manager does, and waits until it drains.
func (n *upgradeNode) terminate(t *testing.T) {
	t.Helper()
	if err := n.first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	n.poll(t, "/readyz says 503", func() bool {
		response, err := client.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusServiceUnavailable
	})
}

// ends waits for the end of the process, and returns how it was.
func (n *upgradeNode) ends(t *testing.T) string {
	t.Helper()
	select {
	case <-n.ended:
	case <-time.After(time.Minute):
		t.Fatal("the process does not end")
	}
	return n.first.ProcessState.String()
}

// TestDrainUnderLoad: a node that is to end says so to whoever balances, takes no connection any more, and lets what runs
// finish, by all protocols. What asks again on a connection that is there gets a right answer or none.
func TestDrainUnderLoad(t *testing.T) {
	n := newUpgradeNode(t, "")
	running, stop := n.downloads(t, 2<<20)
	var small sync.WaitGroup
	for _, w := range ways() {
		c, base := n.client(t, w)
		small.Go(func() {
			for i := 0; ; i++ {
				r := c.Get(t.Context(), fmt.Sprintf("%s/o/16KiB/%d", base, i%50), proof.Options{Truth: "127.0.0.1"})
				if r.Err == nil {
					continue
				}
				if !errors.Is(r.Err, proof.ErrNoResponse) {
					t.Errorf("%s: a small request ends with %s", w.name, r)
				}
				return
			}
		})
	}
	n.terminate(t)
	for name, address := range map[string]string{"http": n.http, "https": n.https} {
		n.poll(t, name+" takes no connection", func() bool {
			conn, err := net.DialTimeout("tcp", address, time.Minute)
			if err == nil {
				conn.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
	}
	late, base := n.client(t, way{"late", proof.H3, true})
	if r := late.Get(t.Context(), base+"/o/16KiB/late", proof.Options{Truth: "127.0.0.1", AnyStatus: true}); r.Status != 0 {
		t.Errorf("HTTP/3 takes a new connection: %s", r)
	}
	small.Wait()
	select {
	case <-n.ended:
		t.Errorf("the node has ended, and %d downloads run", running.Load())
	default:
	}
	if left := running.Load(); left == 0 {
		t.Error("the downloads were over before anything could be tried: nothing is proven")
	}
	for _, d := range stop() {
		if r := d.result; r.Err != nil || r.Body != proof.BodyOK {
			t.Errorf("%s: %s", d.way.name, r)
		}
	}
	if how := n.ends(t); how != "exit status 0" {
		t.Errorf("the process ends with %s", how)
	}
}

// cutRate lets a download last 16 s. What the kernel holds of it when the node has gone is read at that rate, too.
const cutRate = 1 << 20

// TestDrainEnds: what is not finished after listen.drain_timeout is cut so that every client sees it, and the node ends well.
func TestDrainEnds(t *testing.T) {
	n := newUpgradeNode(t, "", "drain_timeout: 60s", "drain_timeout: 1s")
	_, stop := n.downloads(t, cutRate)
	n.terminate(t)
	if how := n.ends(t); how != "exit status 0" {
		t.Errorf("the process ends with %s", how)
	}
	for _, d := range stop() {
		if !d.result.Aborted() && d.result.Status != 0 || errors.Is(d.result.Err, proof.ErrWrongByte) {
			t.Errorf("%s: %s; want a body that is cut", d.way.name, d.result)
		}
	}
}

// TestSecondSignal ends a node at once, whatever runs.
func TestSecondSignal(t *testing.T) {
	n := newUpgradeNode(t, "")
	n.downloads(t, cutRate)
	n.terminate(t)
	if err := n.first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.ended:
	case <-time.After(30 * time.Second): // half of listen.drain_timeout
		t.Fatal("the process does not end")
	}
	if how := n.first.ProcessState.String(); how != "signal: terminated" {
		t.Errorf("the process ends with %s", how)
	}
	// The next one starts from what is there.
	n.start(t)
	c, base := n.client(t, ways()[0])
	if r := c.Get(t.Context(), base+"/o/16KiB/after", proof.Options{Truth: "127.0.0.1"}); r.Err != nil {
		t.Error(r)
	}
}
