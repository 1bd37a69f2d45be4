package sdk

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// hours is a Window that is always, or never.
type hours bool

func (h hours) Contains(time.Time) bool { return bool(h) }

// share is the part of 2,000 viewers that go to a pathway first.
func (p *plan) shareOf(id string) float64 {
	const viewers = 2000
	n := 0
	for i := range viewers {
		if ways, _ := p.ways(&steered{asset: "a", viewer: fmt.Sprint("viewer-", i)}); ways[0].ID == id {
			n++
		}
	}
	return float64(n) / viewers
}

// TestRules is the policy, rule by rule: what is the first way of which share of viewers.
func TestRules(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	now := begin.AddDate(0, 0, 10)
	contract := func(days int, bytes, served int64) *Contract {
		return &Contract{From: begin, Until: begin.AddDate(0, 0, days), Bytes: bytes, Served: served}
	}
	two := nodesNamed("edge-1", "edge-2")
	pressed := slices.Clone(two)
	pressed[0].Pressure = 1
	half := slices.Clone(two[:1])
	half[0].Pressure = 0.5
	spare := append(slices.Clone(half), two[1])
	spare[1].Weight = 1e-6 // nobody goes there but those who have to
	heavy := slices.Clone(two)
	heavy[0].Weight = 3
	for _, test := range []struct {
		name     string
		nodes    []Node
		policy   Steering
		of       string
		want     float64
		troubled bool
	}{
		{name: "two edges share a title", nodes: two, of: "edge-1", want: 0.5},
		{name: "as their weights say", nodes: heavy, of: "edge-1", want: 0.75},
		{name: "an edge that can serve nobody", nodes: pressed, of: "edge-2", want: 1, troubled: true},
		{name: "an edge that can serve half of its viewers", nodes: spare, of: "edge-2", want: 0.5, troubled: true},
		{name: "it alone", nodes: half, of: "edge-1", want: 1, troubled: true},
		{name: "weights", nodes: two, policy: Steering{Weight: 3, Pathways: []Pathway{{ID: "b", Weight: 1}}}, of: "b", want: 0.25},
		{name: "two others", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 2}, {ID: "c", Weight: 1}}}, of: "c", want: 0.25},
		{name: "without edges", policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 2}, {ID: "c", Weight: 1}}}, of: "c", want: 1. / 3},
		{name: "regions of theirs", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Regions: []string{"moon"}}}}, of: "b", want: 0},
		{name: "hours of weight", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Shares: []Share{{hours(false), 9}, {hours(true), 1}, {hours(true), 9}}}}}, of: "b", want: 0.5},
		{name: "other hours", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Shares: []Share{{hours(false), 9}}}}}, of: "b", want: 0.5},
		{name: "a contract on its way", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(30, 300, 100)}}}, of: "b", want: 0.5},
		{name: "one that is ahead", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(30, 300, 200)}}}, of: "b", want: 1. / 3},
		{name: "a third of the time left and all to serve", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(15, 300, 0)}}}, of: "b", want: 0.75},
		{name: "one that was forgotten", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(11, 300, 0)}}}, of: "b", want: 0.8},
		{name: "one that is served", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(30, 300, 300)}}}, of: "b", want: 0},
		{name: "one that is more than served", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(30, 300, 400)}, {ID: "c", Weight: 1}}}, of: "c", want: 0.5},
		{name: "one that is over", nodes: two, policy: Steering{Pathways: []Pathway{{ID: "b", Weight: 1, Contract: contract(10, 300, 0)}}}, of: "b", want: 0},
	} {
		p := &plan{policy: &test.policy, here: "edge-1", nodes: test.nodes, now: now}
		if got := p.shareOf(test.of); math.Abs(got-test.want) > 0.04 || (test.want == 0 || test.want == 1) && got != test.want {
			t.Errorf("%s: %.3f of the viewers go to %s, want %.3f", test.name, got, test.of, test.want)
		}
		if ways, troubled := p.ways(&steered{asset: "a", viewer: "v"}); troubled != test.troubled {
			t.Errorf("%s: in trouble: %t, want %t (%v)", test.name, troubled, test.troubled, ways)
		}
	}
}

// TestZones: the edges of a title lie in different zones, for as long as there are any.
func TestZones(t *testing.T) {
	t.Parallel()
	var nodes []Node
	for _, n := range nodesNamed("a1", "a2", "a3", "a4", "b1", "b2", "c1") {
		n.Zone = n.Name[:1]
		nodes = append(nodes, n)
	}
	for _, spread := range []int{2, 3, 5} {
		p := &plan{policy: &Steering{Spread: spread}, nodes: nodes}
		for title := range 50 {
			used, zones := map[string]bool{}, map[string]bool{}
			for viewer := range 100 {
				ways, _ := p.ways(&steered{asset: fmt.Sprint("title-", title), viewer: fmt.Sprint("viewer-", viewer)})
				used[ways[0].ID], zones[ways[0].ID[:1]] = true, true
			}
			if len(used) != spread || len(zones) != min(spread, 3) {
				t.Fatalf("a spread of %d: title %d has %v", spread, title, used)
			}
		}
	}
}

// TestBadlyServed: who runs dry, or measures much more elsewhere, goes elsewhere, and does not come back at once.
func TestBadlyServed(t *testing.T) {
	t.Parallel()
	starves := false
	a := testAPI(t, Options{
		Node: "edge-1", Nodes: func(bool) []Node { return nodesNamed("edge-1", "edge-2", "edge-3") },
		Starves:  func(*http.Request) bool { return starves },
		Steering: Steering{Pathways: []Pathway{{ID: "b", Host: "b.example"}}},
	})
	question := "/steer/v1/film?session=s&from=edge-1&listed=edge-2,edge-3"
	first := steering(t, a, question).Priority[0]
	other := steering(t, a, question).Priority[1]
	for name, query := range map[string]string{
		"measured less": `&_DASH_pathway="` + other + "," + first + `"&_DASH_throughput=9000000,4000000`,
		"not by much":   `&_DASH_pathway="` + other + "," + first + `"&_DASH_throughput=9000000,5000000`,
		"only one":      "&_HLS_pathway=" + first + "&_HLS_throughput=1",
		// As dash.js asks whose MPD is live, after it went from one to the other, and shaka.
		"live, less":   `&_DASH_pathway="` + other + "," + first + "," + other + "," + first + `"&_DASH_throughput=19848500,2765000,19848500,2765000`,
		"not measured": `&_DASH_pathway="` + other + "," + first + "," + other + "," + first + `"&_DASH_throughput=19848500,,19848500,`,
		"shaka":        "&_DASH_pathway=" + first + "&_DASH_throughput=11331561",
	} {
		want := first
		if name == "measured less" || name == "live, less" {
			want = other
		}
		if m := steering(t, a, question+strings.ReplaceAll(query, `"`, "%22")); m.Priority[0] != want {
			t.Errorf("%s: sent from %s to %v, want %s", name, first, m.Priority, want)
		}
	}

	starves = true
	m := steering(t, a, question+"&_HLS_pathway="+first)
	if m.Priority[0] == first || !strings.Contains(m.Reload, "avoid="+first+"%40") {
		t.Errorf("starves at %s: sent to %v, asks again at %s", first, m.Priority, m.Reload)
	}
	// dash.js had media from b, and the MPD of a live title from an edge.
	if live := steering(t, a, question+"&_DASH_pathway=%22b,"+first+"%22"); !strings.Contains(live.Reload, "avoid=b%40") || live.Priority[0] != first {
		t.Errorf("starves at b: sent to %v, asks again at %s", live.Priority, live.Reload)
	}
	starves = false
	_, again, _ := strings.Cut(m.Reload, "/steer/")
	if m := steering(t, a, "/steer/"+again+"&_HLS_pathway="+first); m.Priority[0] == first || !strings.HasSuffix(m.Reload, again) {
		t.Errorf("asks again: sent to %v, then asks at %s, want %s", m.Priority, m.Reload, again)
	}
	for _, over := range []int64{-1, 3600} {
		old := fmt.Sprintf("%s&avoid=%s@%d", question, first, time.Now().Unix()+over)
		if m := steering(t, a, old); m.Priority[0] != first {
			t.Errorf("what was avoided until %d s from now: sent to %v", over, m.Priority)
		}
	}
}

// TestManifestsWays: what a manifest lists is not cloned, and all else is; and whom a player asks.
func TestManifestsWays(t *testing.T) {
	t.Parallel()
	nodes := nodesNamed("edge-1", "edge-2", "edge-3", "edge-4", "edge-5")
	policy := Steering{Pathways: []Pathway{{ID: "b", Host: "b.example"}, {ID: "c", Host: "c.example", Weight: 1e9, Params: map[string]string{"k": "v"}}}}
	a := testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodes }, Steering: policy})
	r := httptest.NewRequest(http.MethodGet, "https://edge.example/vod/film/master.m3u8", http.NoBody)
	s := a.Steer(r, "film", "s1", false)
	if s.Listed[0] != (Listing{"edge-1", "https://edge.example", true}) || len(s.Listed) != listings || s.First != "edge-1" {
		t.Errorf("got %+v: want this node, three others, and to begin here, as c cannot be listed", s)
	}
	m := steering(t, a, strings.TrimPrefix(s.Server, "https://edge.example"))
	if m.Priority[0] != "c" || len(m.Priority) != 7 {
		t.Fatalf("got %v", m.Priority)
	}
	var cloned []string
	for _, c := range m.Clones {
		cloned = append(cloned, c.ID)
	}
	for _, id := range m.Priority {
		listed := slices.ContainsFunc(s.Listed, func(l Listing) bool { return l.Pathway == id })
		if listed == slices.Contains(cloned, id) {
			t.Errorf("%s is listed: %t, and cloned: %v", id, listed, cloned)
		}
	}

	nodes[0].Leaves = true
	if m = steering(t, a, strings.TrimPrefix(s.Server, "https://edge.example")); slices.Contains(m.Priority, "edge-1") || m.TTL != 10 {
		t.Errorf("this node leaves: got %+v", m)
	}
	policy.Server = "https://steer.example"
	a = testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodes }, Steering: policy})
	s = a.Steer(r, "film", "s1", false)
	if m = steering(t, a, strings.TrimPrefix(s.Server, "https://steer.example")); !strings.HasPrefix(m.Reload, "https://steer.example/steer/v1/film?") {
		t.Errorf("asks %s, then %s", s.Server, m.Reload)
	}

	// Who knows this node by another name than others do goes on with it.
	alone := testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodesNamed("edge-1") }})
	if m = decode[steeringManifest](t, ask(alone, "GET", "https://other.example/steer/v1/film", ""), http.StatusOK); m.Reload != "https://other.example/steer/v1/film?" {
		t.Errorf("asks again at %s", m.Reload)
	}

	// An MPD has a base for clones that no Location has.
	policy.Server, nodes[0].Leaves = "", false
	policy.Pathways[0].Weight = 1e12
	a = testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodes }, Steering: policy})
	if s = a.Steer(r, "film", "s1", true); s.First != "b" || s.Listed[1] != (Listing{"b", "https://b.example", false}) || !s.Listed[2].Edge {
		t.Errorf("an MPD lists %+v", s)
	}
	if m = steering(t, a, strings.TrimPrefix(s.Server, "https://edge.example")); len(m.Clones) != len(m.Priority)-listings || m.Clones[0].Base != "." {
		t.Errorf("an MPD that lists %+v: %+v", s.Listed, m.Clones)
	}

	// In DASH a clone's host has its port.
	nodes[2].URL = "https://127.0.0.3:9443"
	m = steering(t, a, "/steer/v1/film?from=edge-1&_DASH_pathway=%22edge-1%22")
	if i := slices.IndexFunc(m.Clones, func(c clone) bool { return c.ID == "edge-3" }); i < 0 || m.Clones[i].Replacement.Host != "127.0.0.3:9443" {
		t.Errorf("clones for DASH: %+v", m.Clones)
	}
}

// TestViewersWithoutSession: they are told apart by their addresses, whatever port they come from next.
func TestViewersWithoutSession(t *testing.T) {
	t.Parallel()
	policy := Steering{Pathways: []Pathway{{ID: "b", Host: "b.example", Weight: 1}}}
	a := testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodesNamed("edge-1") }, Steering: policy})
	first := func(address string) string {
		r := httptest.NewRequest(http.MethodGet, "https://edge.example/steer/v1/film?from=edge-1", http.NoBody)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return decode[steeringManifest](t, w, http.StatusOK).Priority[0]
	}
	elsewhere := 0
	for i := range 200 {
		one, two := first(fmt.Sprintf("[2001:db8::%x]:1000", i)), first(fmt.Sprintf("[2001:db8::%x]:2000", i))
		if one != two {
			t.Fatalf("viewer %d goes to %s from one port, and to %s from another", i, one, two)
		}
		if one == "b" {
			elsewhere++
		}
	}
	if elsewhere < 60 || elsewhere > 140 {
		t.Errorf("%d of 200 viewers go to another CDN, want about half", elsewhere)
	}
}

// TestAssetOf: a manifest's path leads back to its title, by the rule that the title has.
func TestAssetOf(t *testing.T) {
	t.Parallel()
	a := testAPI(t, Options{Assets: []Asset{
		{Match: "match", HLS: "/final/index.m3u8", DASH: "/final/index.mpd"},
		{Match: "live/*", HLS: "/{asset}/index.m3u8"},
		{Match: "any/*", HLS: "/any.m3u8"},
		{Match: "twice/*", HLS: "/a/{asset}/{asset}.m3u8"},
		DefaultAsset(),
	}})
	for path, want := range map[string]string{
		"/vod/demo/master.m3u8":       "demo",
		"/vod/a%20b/c/manifest.mpd":   "a b/c",
		"/live/news/index.m3u8":       "live/news",
		"/final/index.m3u8":           "match",
		"/final/index.mpd":            "match",
		"/a/twice/x/twice/x.m3u8":     "twice/x",
		"/a/twice/x/twice/y.m3u8":     "",
		"/vod/live/news/master.m3u8":  "", // that title lies elsewhere
		"/vod/match/master.m3u8":      "",
		"/any.m3u8":                   "", // of which it cannot be told
		"/vod//master.m3u8":           "",
		"/vod/a%2F..%2Fb/master.m3u8": "",
		"/vod/demo/720p.m3u8":         "",
		"/vod/master.m3u8":            "",
		"/index.m3u8":                 "",
		"":                            "",
	} {
		if got, ok := a.AssetOf(path); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", path, got, ok, want)
		}
	}
}
