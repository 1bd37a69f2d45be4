package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestKilledUnderHTTP3: a process that is killed while it sends 50 downloads over HTTP/3 is started again on its port. Whoever
// then asks for something more hears at once that the connection is gone (RFC 9000, 10.3), and who does not by the idle
// time-out; what is asked for again comes, and no byte is ever wrong.
func TestKilledUnderHTTP3(t *testing.T) {
	const downloads, size = 50, 4 << 20
	n := newUpgradeNode(t, "")
	n.configure(t, strings.Replace(n.text, `https: "127.0.0.1:0"`, `https: "`+n.https+`"`, 1))
	warm, base := n.client(t, way{"warm", proof.H3, true})
	if r := warm.Get(t.Context(), base+"/o/4MiB/film", proof.Options{Truth: "127.0.0.1"}); r.Err != nil {
		t.Fatal(r.Err)
	}
	warm.Close()
	var begun, all sync.WaitGroup
	var resets, timeouts, retried atomic.Int64
	again := make(chan struct{}) // closed when the server is there again
	begun.Add(downloads)
	for i := range downloads {
		c, base := n.client(t, way{fmt.Sprintf("client-%d", i), proof.H3, true})
		get := func(path string, options proof.Options) proof.Result {
			options.Truth = "127.0.0.1"
			return c.Get(t.Context(), base+path, options)
		}
		all.Go(func() {
			if r := get("/o/16KiB/first", proof.Options{}); r.Err != nil {
				t.Error(r.Err)
			}
			all.Go(func() { // a player asks for the next thing while it reads
				<-again
				_ = get("/o/16KiB/next", proof.Options{}) // it may fail with the connection
			})
			begun.Done()
			r := get("/o/4MiB/film", proof.Options{Rate: 256 << 10}) // 16 s
			switch text := fmt.Sprint(r.Err); {
			case r.Bytes >= size || r.Err == nil || r.Verified != r.Bytes:
				t.Errorf("client %d: %s: %d bytes, %d of them right", i, r, r.Bytes, r.Verified)
			case strings.Contains(text, "stateless reset"):
				resets.Add(1)
			case strings.Contains(text, "no recent network activity"):
				timeouts.Add(1)
			default:
				t.Errorf("client %d: %s", i, r)
			}
			<-again
			if r := get("/o/4MiB/film", proof.Options{}); r.Err == nil && r.Status == http.StatusOK && r.Body == proof.BodyOK {
				retried.Add(1)
			} else {
				t.Errorf("client %d, again: %s", i, r)
			}
		})
	}
	begun.Wait()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for running := ""; running != strconv.Itoa(downloads); <-tick.C { // on their way, all of them
		metrics, err := (&adminFlags{Admin: n.admin, Dir: filepath.Join(n.dir, "state")}).ask(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		_, running, _ = strings.Cut(string(metrics), "\nweir_requests_in_flight ")
		running, _, _ = strings.Cut(running, "\n")
	}
	first := n.first
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-n.ended
	n.start(t)
	close(again)
	all.Wait()
	t.Logf("%d clients heard by a stateless reset, %d by their idle time-out; %d downloads went well then", resets.Load(), timeouts.Load(), retried.Load())
	if resets.Load() < downloads/2 {
		t.Errorf("%d of %d clients got a stateless reset, want most", resets.Load(), downloads)
	}
}
