package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"weir/edge/console"
	"weir/edge/session"
	"weir/edge/upstream"
	"weir/tools/proof"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// inLab runs a test with nodes that have found one another, before an origin that answers everything.
func inLab(t *testing.T, names []string, test func(l *lab, origin *proof.Origin)) {
	t.Helper()
	inLabWith(t, nil, names, test)
}

// inLabWith is inLab with options for every node.
func inLabWith(t *testing.T, options map[string]string, names []string, test func(l *lab, origin *proof.Origin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := proof.NewNetwork(1)
		listener, err := network.Host("o").Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		origin := proof.NewOrigin(proof.OriginOptions{Oracle: proof.NewOracle(t.Name())})
		stop := proof.Serve(listener, origin, nil)
		started, err := newLab(t, network)
		if err != nil {
			t.Fatal(err)
		}
		l := started.(*lab)
		for _, name := range names {
			all := map[string]string{"origin": "o"}
			maps.Copy(all, options)
			if err := l.StartNode(name, all); err != nil {
				t.Error(err)
			}
		}
		for _, name := range names {
			if err := l.Do(name, []string{"await", fmt.Sprint(len(names))}); err != nil {
				t.Error(err)
			}
		}
		if !t.Failed() {
			test(l, origin)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		stop()
	})
}

// ask has a client ask a node for small objects.
func (l *lab) ask(node, prefix string, count int) {
	l.t.Helper()
	for i := range count {
		path := fmt.Sprint("/o/4KiB/", prefix, i)
		r := httptest.NewRequest(http.MethodGet, "http://site.example"+path, http.NoBody)
		r.RequestURI = path
		w := httptest.NewRecorder()
		l.nodes[node].edge.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			l.t.Errorf("%s via %s: %d", path, node, w.Code)
		}
	}
}

func (l *lab) member(at, name string) console.Member {
	for _, m := range l.nodes[at].members() {
		if m.Name == name {
			return m
		}
	}
	l.t.Errorf("%s does not know %s", at, name)
	return console.Member{}
}

// TestStatusOfACluster: what operators see while all is well, while a node hangs, once it is given up, and after.
func TestStatusOfACluster(t *testing.T) {
	t.Parallel()
	inLab(t, []string{"edge-1", "edge-2", "edge-3"}, func(l *lab, _ *proof.Origin) {
		t := l.t
		n := l.nodes["edge-1"]
		l.ask("edge-1", "well", 60)
		time.Sleep(20 * time.Second) // purges were exchanged with all, so that all were heard of
		s := n.status()
		if len(s.Problems) > 0 || s.Ring.Nodes != 3 || len(s.Ring.Differ) > 0 || s.PurgeLog.State != console.Current || s.Budgets.Hedges.UsedUp || s.Budgets.PeerRetries.UsedUp {
			t.Errorf("while all is well: %+v", s)
		}
		for _, name := range []string{"edge-2", "edge-3"} {
			if m := l.member("edge-1", name); m.Answers != "yes" || m.Ring != s.Ring.Version || m.Breaker.State != "closed" || m.P95 <= 0 || m.Running != 0 || m.Error != "" {
				t.Errorf("while all is well: %+v, ring %s", m, s.Ring.Version)
			}
		}
		l.network.Delay("edge-1", "edge-3", 30*time.Second)
		l.ask("edge-1", "hang", 40)
		s = n.status()
		m := l.member("edge-1", "edge-3")
		if m.State != "alive" || m.Answers != "no" || m.Breaker.State != "open" || m.Breaker.Until == nil || m.Breaker.Opened != 1 || m.Error == "" {
			t.Errorf("while it hangs: %+v", m)
		}
		if len(s.Problems) != 1 || s.Problems[0].What != "Node edge-3 does not answer this node." || !strings.Contains(s.Problems[0].Why, "left out for another") || s.Budgets.Hedges.Sent == 0 {
			t.Errorf("while it hangs: %+v, %+v", s.Problems, s.Budgets.Hedges)
		}
		if counts := n.peerCounts(); counts.Opened["edge-3"] != 1 || counts.LeftOut != 1 || counts.Hedges != s.Budgets.Hedges.Sent {
			t.Errorf("while it hangs: %+v", counts)
		}
		route, err := n.route("http://site.example" + l.ownedBy("edge-1", "edge-3"))
		if err != nil || fmt.Sprint(route.LeftOut) != "[edge-3]" || strings.Contains(route.Why, "asks edge-3") || route.Ring != s.Ring.Version {
			t.Errorf("where a key of its lies: %+v, %v", route, err)
		}
		if other := l.member("edge-2", "edge-3"); other.Answers == "no" {
			t.Errorf("edge-2 has no trouble with it: %+v", other)
		}

		l.network.Heal("edge-1", "edge-3")
		l.network.Kill("edge-3")
		if err := l.KillNode("edge-3"); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		s = n.status()
		m = l.member("edge-1", "edge-3")
		if m.State != "dead" || m.Answers != "no" || s.Ring.Nodes != 2 || len(s.Problems) != 1 || s.Problems[0].What != "Node edge-3 is gone." {
			t.Errorf("once it is given up: %+v, %+v", m, s.Problems)
		}
		time.Sleep(goneShown)
		if s = n.status(); len(s.Problems) > 0 {
			t.Errorf("later: %+v", s.Problems)
		}
	})
}

// ownedBy is a path whose owner is that node.
func (l *lab) ownedBy(at, owner string) string {
	for i := 0; ; i++ {
		path := fmt.Sprint("/o/4KiB/owned", i)
		if route, err := l.nodes[at].route("http://site.example" + path); err != nil || route.Owners[0] == owner {
			return path
		}
	}
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	since := time.Now()
	for _, tt := range []struct {
		said  string
		after time.Duration // heard that long after our ring was first used
		want  bool
	}{
		{"", time.Hour, false},
		{"00000001", time.Hour, false},
		{"00000002", time.Hour, true},
		{"00000002", ringPatience, false}, // gossip may not have told it yet
		{"00000002", -time.Hour, false},
	} {
		peer := &upstream.PeerState{Said: tt.said, SaidAt: since.Add(tt.after)}
		if got := differs(peer, "00000001", since); got != tt.want {
			t.Errorf("%q, %s after: %v, want %v", tt.said, tt.after, got, tt.want)
		}
	}
}

// TestStatusIsReadable holds what weir status prints to golden files, and to 120 columns.
func TestStatusIsReadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // ages count from a time that stands still
		now := time.Now()
		until := now.Add(4 * time.Second)
		members := []console.Member{
			{Name: "edge-fra-01", Address: "198.51.100.11:8443", Zone: "fra-a", Region: "eu", State: "alive", Weight: 1, Build: "v1.4.0", Since: now.Add(-50 * time.Hour), Self: true, Ring: "98935741"},
			{Name: "edge-fra-02", Address: "198.51.100.12:8443", Zone: "fra-b", Region: "eu", State: "alive", Weight: 1.5, Build: "v1.4.0", Since: now.Add(-50 * time.Hour), Answers: "yes", P95: 0.0031, Running: 12, Breaker: console.Breaker{State: "closed"}},
			{
				Name: "edge-fra-03", Address: "198.51.100.13:8443", Zone: "fra-c", Region: "eu", State: "alive", Weight: 1, Build: "v1.3.9", Since: now.Add(-3 * time.Hour), Answers: "no", P95: 0.1,
				Error: "fetch from peer edge-fra-03: dial tcp 198.51.100.13:7443: connect: connection refused", Breaker: console.Breaker{State: "open", Until: &until, Opened: 3},
			},
			{Name: "edge-fra-04", Address: "198.51.100.14:8443", State: "dead", Weight: 1, Since: now.Add(-90 * time.Second), Answers: "no", Breaker: console.Breaker{State: "probing", Opened: 1}},
		}
		s := console.Status{
			Name: "edge-fra-01", State: "ready", Ready: true, Version: "v1.4.0", UptimeSeconds: 180_000, Summary: "All is well.",
			Requests: console.Requests{Total: 1_234_567, Hit: 1_200_000}, Protocols: console.Protocols{H1: 1, H2: 34_566, H3: 1_200_000},
			Bytes: console.Bytes{Sent: 1 << 40, FromOrigin: 1 << 33, FromPeer: 1 << 36}, Connections: 812, Fills: 3,
			Cache:    console.Cache{Objects: 98_765, DiskBytes: 90 << 30, DiskLimit: 180 << 30, MemoryBytes: 1 << 29, MemoryLimit: 1 << 30},
			Ring:     console.RingState{Version: "98935741", Nodes: 3},
			PurgeLog: &console.PurgeLog{State: console.Current, Posted: 12, Received: 340, Unacknowledged: 1},
			Budgets:  console.Budgets{PeerRetries: &console.Budget{Sent: 8}, Hedges: &console.Budget{UsedUp: true, Sent: 40, Refused: 2}},
		}
		compare(t, "status-well", func(w *bytes.Buffer) { printStatus(w, &s, members[:2]) })
		s.Ring.Differ = []string{"edge-fra-02"}
		s.Problems = []console.Problem{
			{What: "Node edge-fra-03 does not answer this node.", Why: silence(&members[2]), Fix: "Other nodes are asked instead of it. Look at its log, and at the network between the two."},
		}
		compare(t, "status-one", func(w *bytes.Buffer) { printStatus(w, &s, members) })
		s.Problems = append(s.Problems, console.Problem{What: "Node edge-fra-04 is gone.", Why: "It has not answered since 12:34:56.", Fix: "Restart it, or let it be: its keys have moved to other nodes."})
		s.Ready, s.State, s.Summary = false, "draining", "This node takes no traffic: the node is draining. 2 things are wrong; first: Node edge-fra-03 does not answer this node."
		compare(t, "status-two", func(w *bytes.Buffer) { printStatus(w, &s, members) })
		compare(t, "status-alone", func(w *bytes.Buffer) {
			printStatus(w, &console.Status{Name: "edge-1", State: "ready", Ready: true, Summary: "All is well.", Ring: console.RingState{Version: "98935741", Nodes: 1}}, members[:1])
		})
	})
}

// TestViewersAreReadable does the same for weir status --viewers, with what three nodes count: it adds up.
func TestViewersAreReadable(t *testing.T) {
	t.Parallel()
	counts := []session.Count{ // of three nodes
		{Asset: "demo", Device: "tv", Sessions: 2},
		{Asset: "news", Device: "phone", Sessions: 4},
		{Asset: "demo", Device: "tv", Sessions: 3},
		{Asset: "demo", Device: "car", Sessions: 1},
		{Asset: "film", Device: "", Sessions: 1},
	}
	v := console.Viewers{
		Playing: playing(counts), Now: 9, Hints: []string{"Viewers on edge-2 wait for 9.1 % of their time, all others for 0.0 %."}, Missing: []string{"edge-4"},
		Rows: []console.ViewersOf{
			{By: "title", Name: "demo", Now: 9, Fared: console.Fared{Sessions: 1200, Started: 1100, WatchedSeconds: 345678, StartUpP50: 0.412, StallRatio: 0.0123, BitrateKbps: 4321, ErrorRatio: 0.002}},
			{By: "offline", Name: "film", Fared: console.Fared{Sessions: 1, WatchedSeconds: 3600, BitrateKbps: 2000}},
		},
	}
	compare(t, "status-viewers", func(w *bytes.Buffer) { printViewers(w, &v) })

	counts = nil
	for i := range 600 {
		counts = append(counts, session.Count{Asset: fmt.Sprintf("film-%03d", i), Device: "tv", Sessions: 2})
	}
	p := playing(counts)
	last := p.Titles[len(p.Titles)-1]
	if p.Sessions != 1200 || len(p.Titles) != console.MaxPlaying || last.Name != "other" || last.Sessions != 202 || last.Devices["tv"] != 202 {
		t.Errorf("600 titles: %d sessions, %d titles, the last %+v", p.Sessions, len(p.Titles), last)
	}
}

func compare(t *testing.T, name string, write func(w *bytes.Buffer)) {
	t.Helper()
	var got bytes.Buffer
	write(&got)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Error(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: %v, got\n%s\nwant\n%s", name, err, got.Bytes(), want)
	}
	for line := range strings.Lines(got.String()) {
		if utf8.RuneCountInString(line) > 121 {
			t.Errorf("%s: wider than 120 columns: %s", name, line)
		}
	}
}
