package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// TestAThousandReloadsUnderLoad: no request fails, over any protocol, and nothing is left behind. Every second file is
// of other sites, every tenth is broken. Not parallel: it counts the goroutines and descriptors of the process.
func TestAThousandReloadsUnderLoad(t *testing.T) {
	s := newSocketNode(t)
	base := *s.config
	var count int
	s.node.options.load = func() (*configs.Config, error) {
		count++
		c := base
		site := base.Sites[0]
		switch {
		case count%10 == 0:
			return nil, errors.New("weir.yaml:7:3: sites[0].origin: did you mean origins?")
		case count%2 == 0:
			site.Heuristic = true
			c.Sites = []configs.Site{site, {Hosts: []string{fmt.Sprintf("other-%d.example", count)}, Origins: []string{fmt.Sprintf("http://127.0.0.1:1/%d", count)}}}
		default:
			c.Sites = []configs.Site{site}
		}
		return &c, nil
	}
	const reloads, objects = 1000, 100
	var all sync.WaitGroup
	var served atomic.Int64
	var over atomic.Bool
	for _, w := range ways() {
		c, url := s.client(t, w)
		all.Go(func() {
			for i := 0; !over.Load(); i++ {
				r := c.Get(t.Context(), fmt.Sprintf("%s/o/64KiB/%d", url, i%objects), proof.Options{Truth: "127.0.0.1"})
				if r.Err != nil || r.Status != http.StatusOK || r.Body != proof.BodyOK {
					t.Errorf("%s, request %d: status %d, body %s, %v", w.name, i, r.Status, r.Body, r.Err)
					return
				}
				served.Add(1)
			}
		})
	}
	more := func(n int64) { // waits until so many more have been served
		for end := served.Load() + n; served.Load() < end && !t.Failed(); {
			runtime.Gosched()
		}
	}
	more(int64(2 * objects * len(ways()))) // what is stored has its descriptors
	before, files := runtime.NumGoroutine(), descriptorsOpen(t)
	for range reloads {
		_ = s.reload(t.Context()) // every tenth is refused
		more(1)
	}
	after, filesAfter := runtime.NumGoroutine(), descriptorsOpen(t)
	over.Store(true)
	all.Wait()
	if good, bad := s.reloads.good.Load(), s.reloads.bad.Load(); good != reloads*9/10 || bad != reloads/10 {
		t.Errorf("%d reloads were taken and %d refused, want %d and %d", good, bad, reloads*9/10, reloads/10)
	}
	if after > before+50 {
		t.Errorf("%d goroutines before the reloads, %d after", before, after)
	}
	if filesAfter > files+50 {
		t.Errorf("%d descriptors before the reloads, %d after", files, filesAfter)
	}
	if n := len(s.routes.Load().origins); n > 2 {
		t.Errorf("%d origins are left, want those of the last file", n)
	}
	if stats := s.originStats(); stats.Requests < 100 {
		t.Errorf("%d requests to origins are counted: a reload lost count", stats.Requests)
	}
	t.Logf("%d requests, none failed; %d and %d goroutines, %d and %d descriptors", served.Load(), before, after, files, filesAfter)
}

// descriptorsOpen counts the descriptors of this process; 0 where there is no Linux.
func descriptorsOpen(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(list)
}

// TestReload: SIGHUP changes the sites of a running process; a file that is wrong changes nothing and says where.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	write := func(sites string) {
		text := "node: {name: edge-1, dir: " + dir + "}\nlisten: {http: \"127.0.0.1:0\", https: \"\", admin: \"127.0.0.1:0\"}\n" + sites
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	origin := startWeir(t, "origin", "--http", "127.0.0.1:0")
	behind := "origins: [\"http://" + origin.await(t, `http=(127\.0\.0\.1:\d+)`) + "\"]"
	write("sites: [{hosts: [a.example], " + behind + "}]\n")
	p := startWeir(t, "edge", "-c", file)
	public := p.await(t, ` http=(127\.0\.0\.1:\d+)`)
	status := func(host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+public+"/vod/demo/master.m3u8", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // the status is all that is wanted
		return resp.StatusCode
	}
	hangup := func() {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, a, b int) {
		t.Helper()
		if x, y := status("a.example"), status("b.example"); x != a || y != b {
			t.Errorf("%s: a.example %d, b.example %d, want %d, %d", when, x, y, a, b)
		}
	}
	want("at first", 200, 421)
	write("sites: [{hosts: [b.example], " + behind + "}]\nlog: {level: debug}\ngeo: [" + filepath.Join(dir, "none.mmdb") + "]\n")
	hangup()
	p.await(t, `(configuration taken; some keys count from the next start on" .*keys=geo)`)
	want("after a reload", 421, 200)
	write("sites: [{hosts: [a.example, b.example], origin: [\"http://127.0.0.1:1\"]}]\n")
	hangup()
	if line := p.await(t, `(the configuration is not taken.*)`); !strings.Contains(line, file+":3:41") || !strings.Contains(line, "did you mean origins?") {
		t.Errorf("the log says %s", line)
	}
	want("after a broken file", 421, 200)
}

// TestReloadKeepsWhatIsTheSame: an origin that stays keeps its connections and what is known of it.
func TestReloadKeepsWhatIsTheSame(t *testing.T) {
	t.Parallel()
	s := newSocketNode(t)
	first := s.routes.Load().origins[0]
	config := *s.config
	config.Sites = append(slices.Clone(config.Sites), configs.Site{Hosts: []string{"b.example"}, Origins: config.Sites[0].Origins})
	s.node.options.load = func() (*configs.Config, error) { return &config, nil }
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := s.routes.Load().origins; len(now) != 1 || now[0] != first {
		t.Errorf("%d origins, the first is the same: %v; want the same one for both sites", len(now), now[0] == first)
	}
	if last := s.reloads.last.Load(); last.err != nil || len(last.wait) > 0 || time.Since(last.time) > time.Minute {
		t.Errorf("got %+v", last)
	}
}
