package sdk

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// nodesNamed are edges on loopback.
func nodesNamed(names ...string) []Node {
	var list []Node
	for i, name := range names {
		list = append(list, Node{Name: name, URL: fmt.Sprintf("https://127.0.0.%d:8443", 1+i)})
	}
	return list
}

func steering(t *testing.T, a *API, target string) steeringManifest {
	t.Helper()
	w := ask(a, "GET", "https://127.0.0.1:8443"+target, "")
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", w.Header().Get("Cache-Control"))
	}
	return decode[steeringManifest](t, w, http.StatusOK)
}

func TestSteer(t *testing.T) {
	nodes := nodesNamed("edge-1", "edge-2", "edge-3")
	a := testAPI(t, Options{Node: "edge-1", Nodes: func(bool) []Node { return nodes }})
	m := steering(t, a, `/steer/v1/live/news?session=s1&from=edge-1&_HLS_pathway=edge-1&_HLS_throughput=5000000`)
	if m.Version != 1 || m.TTL != 60 || m.Reload != "https://127.0.0.3:8443/steer/v1/live/news?from=edge-1&session=s1" {
		t.Errorf("got %+v", m)
	}
	if sorted := slices.Sorted(slices.Values(m.Priority)); !slices.Equal(sorted, []string{"edge-1", "edge-2", "edge-3"}) {
		t.Errorf("priority: got %v, want all three", m.Priority)
	}
	for _, c := range m.Clones {
		i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == c.ID })
		if c.Base != "edge-1" || "https://"+c.Replacement.Host+":8443" != nodes[i].URL || c.ID == "edge-1" {
			t.Errorf("clone: got %+v", c)
		}
	}
	if len(m.Clones) != 2 {
		t.Errorf("%d clones, want 2", len(m.Clones))
	}

	// A clone cannot have another port.
	nodes[1].URL = "https://127.0.0.2:9443"
	if m = steering(t, a, `/steer/v1/live/news?session=s1&from=edge-1`); len(m.Priority) != 3 || len(m.Clones) != 1 || m.Clones[0].ID != "edge-3" {
		t.Errorf("a node on another port: got %+v", m)
	}

	// One that leaves is not named, and the others are asked again soon.
	nodes[0].Leaves = true
	m = steering(t, a, `/steer/v1/live/news?session=s1&from=edge-1&_HLS_pathway=edge-1`)
	if slices.Contains(m.Priority, "edge-1") || len(m.Priority) != 2 || m.TTL != 10 {
		t.Errorf("an edge leaves: got %+v", m)
	}
	nodes = nil
	if m = steering(t, a, `/steer/v1/live/news?from=edge-1`); !slices.Equal(m.Priority, []string{"edge-1"}) {
		t.Errorf("no edge is known: got %+v, want to stay", m)
	}
}

// TestTitlesGoToFewEdges: all viewers of a title share two of ten edges, evenly, and titles are spread over all.
func TestTitlesGoToFewEdges(t *testing.T) {
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("edge-", i))
	}
	nodes := nodesNamed(names...)
	a := testAPI(t, Options{Nodes: func(bool) []Node { return nodes }})
	load := map[string]int{}
	const titles, viewers = 60, 20
	for title := range titles {
		used := map[string]int{}
		for viewer := range viewers {
			m := steering(t, a, fmt.Sprintf("/steer/v1/title-%d?session=viewer-%d", title, viewer))
			used[m.Priority[0]]++
			load[m.Priority[0]]++
		}
		if len(used) != 2 {
			t.Errorf("title %d: %d edges serve it, want 2: %v", title, len(used), used)
		}
	}
	for _, name := range names {
		if share := float64(load[name]) / (titles * viewers / 10); share < 0.4 || share > 1.8 {
			t.Errorf("%s has %.2f of its share of the viewers", name, share)
		}
	}

	// A viewer stays where it is, while that is one of the two; one whose edge is lost goes elsewhere, others stay.
	moved := 0
	lost := "edge-3"
	for title := range titles {
		for viewer := range viewers {
			before := steering(t, a, fmt.Sprintf("/steer/v1/title-%d?session=viewer-%d", title, viewer)).Priority
			if stays := steering(t, a, fmt.Sprintf("/steer/v1/title-%d?session=viewer-%d&_HLS_pathway=%s", title, viewer, before[1])).Priority[0]; stays != before[1] {
				t.Fatalf("a viewer on the second edge is sent from %s to %s", before[1], stays)
			}
			all := nodes
			nodes = slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Name == lost })
			after := steering(t, a, fmt.Sprintf("/steer/v1/title-%d?session=viewer-%d&_DASH_pathway=%%22%s%%22", title, viewer, before[0])).Priority
			nodes = all
			switch {
			case before[0] == lost:
				moved++
			case after[0] != before[0]:
				t.Fatalf("%s is lost, and a viewer of %s is sent to %s", lost, before[0], after[0])
			}
		}
	}
	if moved != load[lost] {
		t.Errorf("%d viewers moved, want the %d of the lost edge", moved, load[lost])
	}
}

func TestRegionsFirst(t *testing.T) {
	nodes := nodesNamed("w1", "w2", "e1", "e2", "e3")
	for i := range nodes {
		nodes[i].Region = map[byte]string{'w': "west", 'e': "east"}[nodes[i].Name[0]]
	}
	nodes[1].Leaves = true
	a := testAPI(t, Options{Node: "w1", Nodes: func(bool) []Node { return nodes }})
	for i := range 20 {
		if m := steering(t, a, fmt.Sprintf("/steer/v1/title-%d?session=x", i)); m.Priority[0] != "w1" || len(m.Priority) != 4 {
			t.Errorf("title %d: got %v, want the only edge of this region first", i, m.Priority)
		}
	}
}

// TestSharesOfPathways: viewers are divided as the weights say, and a change of weights moves no more than it must.
func TestSharesOfPathways(t *testing.T) {
	count := func(weight float64) (map[string]int, []string) {
		a := testAPI(t, Options{
			Nodes: func(bool) []Node { return nodesNamed("edge-1") },
			Steering: Steering{Weight: 3, Pathways: []Pathway{
				{ID: "cdn-b", Host: "b.example", Weight: weight, Params: map[string]string{"k": "v"}},
				{ID: "cdn-c", Host: "c.example"},
				{ID: "far", Host: "far.example", Weight: 100, Regions: []string{"moon"}},
			}},
		})
		counts := map[string]int{}
		var firsts []string
		for viewer := range 1500 {
			m := steering(t, a, fmt.Sprintf("/steer/v1/demo?session=viewer-%d&from=edge-1", viewer))
			counts[m.Priority[0]]++
			firsts = append(firsts, m.Priority[0])
			if len(m.Priority) != 3 || m.Priority[2] != "cdn-c" || slices.Contains(m.Priority, "far") {
				t.Fatalf("priority: got %v", m.Priority)
			}
			if i := slices.IndexFunc(m.Clones, func(c clone) bool { return c.ID == "cdn-b" }); m.Clones[i].Replacement.Host != "b.example" || m.Clones[i].Replacement.Params["k"] != "v" {
				t.Fatalf("clones: got %+v", m.Clones)
			}
		}
		return counts, firsts
	}
	quarter, before := count(1)
	if share := float64(quarter["cdn-b"]) / 1500; math.Abs(share-0.25) > 0.04 {
		t.Errorf("a weight of 1 beside 3: got %.3f of the viewers, want 0.25", share)
	}
	half, after := count(3)
	if share := float64(half["cdn-b"]) / 1500; math.Abs(share-0.5) > 0.04 {
		t.Errorf("a weight of 3 beside 3: got %.3f of the viewers, want 0.5", share)
	}
	for i := range before {
		if before[i] == "cdn-b" && after[i] != "cdn-b" {
			t.Fatalf("viewer %d left cdn-b when its share grew", i)
		}
	}
	none, _ := count(0)
	if none["cdn-b"] != 0 || none["edge-1"] != 1500 {
		t.Errorf("a weight of 0: got %v", none)
	}
}

func FuzzSteer(f *testing.F) {
	f.Add("demo", "session=a&from=.&_HLS_pathway=edge-1")
	f.Add("a/b", "_DASH_pathway=%22x%22,%22y%22")
	a, err := New(Options{
		Sessions: fuzzBook(f), Key: func() []byte { return []byte{1} }, Nodes: func(bool) []Node { return nodesNamed("edge-1", "edge-2") },
		Steering: Steering{Pathways: []Pathway{{ID: "b", Host: "b.example", Weight: 1}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, asset, query string) {
		if strings.ContainsAny(asset+query, " \r\n#?%") || strings.Contains(asset, "//") || strings.ContainsFunc(asset+query, func(r rune) bool { return r < ' ' || r > '~' }) {
			return // is no request target
		}
		w := ask(a, "GET", "/steer/v1/x"+asset+"?"+query, "")
		if w.Code == http.StatusOK {
			m := decode[steeringManifest](t, w, 200)
			if len(m.Priority) != 3 || !strings.Contains(m.Reload, "/steer/v1/x") {
				t.Errorf("%q %q: got %+v", asset, query, m)
			}
		} else if w.Code >= 500 {
			t.Errorf("%q %q: status %d", asset, query, w.Code)
		}
	})
}
