package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/edge/console"
)

// TestViewersSurviveAKill: of a cluster of three processes one is killed while viewers watch: no session is lost, as many as
// may watch do and not one more, and one-time tokens that were used stay used. Then the others, each when the one before is back.
func TestViewersSurviveAKill(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") }))
	t.Cleanup(origin.Close)
	keys := write(t, "keys", "k1 0123456789abcdef0123456789abcdef\n")
	config := write(t, "edge.yaml", `
cluster: {peer: "127.0.0.1:0"}
sites:
  - hosts: ["*"]
    origins: ["`+origin.URL+`"]
    pages: true
    sdk:
      assets: [{match: "*", hls: "/free/{asset}", viewers: 3}]
    token:
      schemes: [{kind: cat, keys_file: "`+keys+`"}]
      paths: ["/once/*"]
`)
	f := &fleet{t: t}
	ports, dir, secret := steadyPorts(t, 9), t.TempDir(), write(t, "secret", strings.Repeat("0123456789abcdef", 4))
	for i := range 3 {
		name := fmt.Sprintf("edge-%d", i+1)
		e := &fleetEdge{url: "http://" + ports[i], admin: ports[3+i], dir: filepath.Join(dir, name)}
		e.args = []string{
			"edge", "-c", config, "--name", name, "--http", ports[i], "--https", "", "--admin", e.admin, "--dir", e.dir,
			"--gossip", ports[6+i], "--join", strings.Join(ports[6:], ","), "--secret-file", secret,
		}
		f.edges = append(f.edges, e)
		f.start(e)
	}
	t.Cleanup(func() {
		for _, e := range f.edges {
			_ = e.cmd.Process.Signal(os.Interrupt) // it may have ended
		}
	})
	awaitRing(t, f.edges)
	const titles = 8
	var viewers []string
	for title := range titles {
		var wg sync.WaitGroup
		var mu sync.Mutex
		in := 0
		for i := range 6 {
			wg.Go(func() {
				status, body := post(t, f.edges[i%3].url+"/sdk/v1/sessions", "", fmt.Sprintf(`{"asset":"film-%d"}`, title))
				var p playAnswer
				mu.Lock()
				defer mu.Unlock()
				switch {
				case status == http.StatusCreated && json.Unmarshal(body, &p) == nil:
					in++
					viewers = append(viewers, p.Session)
				case status != http.StatusConflict:
					t.Errorf("play: status %d: %s", status, body)
				}
			})
		}
		wg.Wait()
		if in != 3 {
			t.Fatalf("%d viewers of title %d are let in, want 3", in, title)
		}
	}
	watched := map[string]float64{}
	for _, e := range f.edges {
		for _, m := range regexp.MustCompile(`(?m)^weir_title_viewers\{title="([^"]*)"\} (\S+)$`).FindAllStringSubmatch(metrics(t, e), -1) {
			n, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			watched[m[1]] += n
		}
	}
	for title := range titles {
		if n := watched[fmt.Sprint("film-", title)]; n != 3 {
			t.Errorf("the metrics of all nodes say that %v watch title %d, want 3", n, title)
		}
	}
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = mintCAT(t, keys, fmt.Sprintf(`{"catreplay": 1, "cti": "%02d"}`, i))
	}
	use := func(e *fleetEdge, text string) int {
		status, _ := fetch(t, e.url+"/once/a?CAT="+text)
		return status
	}
	for i, text := range tokens {
		var first atomic.Int64
		var wg sync.WaitGroup
		for k := range 6 {
			wg.Go(func() {
				if use(f.edges[(i+k)%3], text) == http.StatusOK {
					first.Add(1)
				}
			})
		}
		wg.Wait()
		if first.Load() != 1 {
			t.Errorf("token %d is good %d times, want once", i, first.Load())
		}
	}

	var had [3][2]float64
	for i, e := range f.edges {
		had[i] = kept(t, e)
	}
	for round := range 3 {
		lost := f.edges[round]
		rest := []*fleetEdge{f.edges[(round+1)%3], f.edges[(round+2)%3]}
		lost.kill() // and the players go on at once, as steering would have them
		beat := func(i int, id string) {
			e := rest[i%2]
			if status, body := post(t, e.url+"/sdk/v1/sessions/"+id+"/heartbeat", "", `{"state":"p"}`); status != http.StatusOK {
				t.Errorf("round %d: heartbeat %d: status %d: %s", round, i, status, body)
			}
		}
		for pass := range 3 {
			var wg sync.WaitGroup
			for i, id := range viewers {
				wg.Go(func() { beat(i+pass, id) })
			}
			wg.Wait()
		}
		for title := range titles {
			if status, body := post(t, rest[title%2].url+"/sdk/v1/sessions", "", fmt.Sprintf(`{"asset":"film-%d"}`, title)); status != http.StatusConflict {
				t.Errorf("round %d: a fourth viewer of title %d: status %d: %s", round, title, status, body)
			}
		}
		for i, text := range tokens {
			if status := use(rest[i%2], text); status != http.StatusForbidden {
				t.Errorf("round %d: token %d is good again: status %d", round, i, status)
			}
		}
		f.start(lost)
		awaitRing(t, f.edges)
		for end := time.After(time.Minute); ; { // the others bring it what it had
			if has := kept(t, lost); has[0] >= had[round][0] && has[1] >= had[round][1] {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-end:
				t.Fatalf("round %d: the node that is back keeps %v, before it kept %v", round, kept(t, lost), had[round])
			}
		}
		for i, id := range viewers { // the groups move to the node that is back
			beat(i, id)
		}
		for i, text := range tokens {
			if status := use(lost, text); status != http.StatusForbidden {
				t.Errorf("round %d: token %d is good at the node that is back: status %d", round, i, status)
			}
		}
	}
}

// kept is how many sessions and one-time tokens a node has.
func kept(t *testing.T, e *fleetEdge) (n [2]float64) {
	t.Helper()
	text := metrics(t, e)
	for i, name := range [...]string{"weir_play_sessions_kept", "weir_one_time_tokens_kept"} {
		match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("there is no metric %s", name)
		}
		var err error
		if n[i], err = strconv.ParseFloat(match[1], 64); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func metrics(t *testing.T, e *fleetEdge) string {
	t.Helper()
	flags := adminFlags{Admin: e.admin, Dir: e.dir}
	text, err := flags.ask(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// awaitRing waits until all nodes use the same ring with all of them.
func awaitRing(t *testing.T, edges []*fleetEdge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, e := range edges {
		for {
			flags := adminFlags{Admin: e.admin, Dir: e.dir}
			text, err := flags.ask(ctx, "/v1/status")
			var status console.Status
			if err == nil {
				err = json.Unmarshal(text, &status)
			}
			if err != nil {
				t.Fatal(err)
			}
			if status.Ring.Nodes == len(edges) && len(status.Ring.Differ) == 0 {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%s uses a ring of %d nodes, others than %v", e.url, status.Ring.Nodes, status.Ring.Differ)
			}
		}
	}
}
