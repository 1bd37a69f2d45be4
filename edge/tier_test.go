package edge

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/cluster/ring"
	"weir/edge/upstream"
)

// peerServer is another node, over HTTP/2.
func peerServer(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// asPeer asks the edge as another node does. The body of the response is closed.
func (b *bench) asPeer(path string, header ...string) *http.Response {
	b.t.Helper()
	server := httptest.NewServer(b.edge.PeerHandler())
	defer server.Close()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, server.URL+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = resp.Body.Close() // the head is all that is looked at
	return resp
}

func table(names ...string) *ring.Ring {
	nodes := make([]ring.Node, len(names))
	for i, name := range names {
		nodes[i] = ring.Node{Name: name, Addr: "192.0.2.1:" + strconv.Itoa(i+1)}
	}
	return ring.New(nodes)
}

// TestHopsDecideWhoIsAsked: each tier asks the next, and none the one before.
func TestHopsDecideWhoIsAsked(t *testing.T) {
	t.Parallel()
	peers, err := upstream.NewPeers(upstream.PeerOptions{TLS: &tls.Config{MinVersion: tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peers.Close)
	alone, both := table("self"), table("self", "near")
	near, shield, eu := table("near"), table("shield"), table("eu")
	for name, tt := range map[string]struct {
		tiers ring.Tiers
		home  string
		hops  int
		want  string
		owner bool
	}{
		"alone":                    {ring.Tiers{Zone: alone, Shield: alone}, "", 3, "origin", true},
		"one table, mine":          {ring.Tiers{Zone: both, Shield: both}, "", 3, "origin", true},
		"one table, another's":     {ring.Tiers{Zone: near, Shield: near}, "", 3, "near/1 origin", false},
		"one table, asked":         {ring.Tiers{Zone: near, Shield: near}, "", 1, "origin", true},
		"zone, then shield":        {ring.Tiers{Zone: near, Shield: shield}, "", 3, "near/2 shield/1 origin", false},
		"mine in the zone":         {ring.Tiers{Zone: alone, Shield: shield}, "", 3, "shield/1 origin", true},
		"asked in the zone":        {ring.Tiers{Zone: near, Shield: shield}, "", 2, "shield/1 origin", true},
		"shield for its region":    {ring.Tiers{Zone: near, Shield: alone}, "", 3, "origin", true},
		"asked as shield":          {ring.Tiers{Zone: near, Shield: shield}, "", 1, "origin", true},
		"shield, away from home":   {ring.Tiers{Zone: near, Shield: alone, Homes: map[string]*ring.Ring{"eu": eu}}, "eu", 3, "eu/0 origin", true},
		"asked, away from home":    {ring.Tiers{Zone: near, Shield: shield, Homes: map[string]*ring.Ring{"eu": eu}}, "eu", 1, "eu/0 origin", true},
		"asked by another region":  {ring.Tiers{Zone: near, Shield: shield, Homes: map[string]*ring.Ring{"eu": eu}}, "eu", 0, "origin", true},
		"home":                     {ring.Tiers{Zone: near, Shield: alone, Homes: map[string]*ring.Ring{"eu": eu}}, "us", 3, "origin", true},
		"a home nobody knows":      {ring.Tiers{Zone: near, Shield: alone}, "eu", 3, "origin", true},
		"all of them, from a zone": {ring.Tiers{Zone: near, Shield: shield, Homes: map[string]*ring.Ring{"eu": eu}}, "eu", 3, "near/2 shield/1 eu/0 origin", false},
	} {
		e := &Edge{options: Options{Name: "self", Region: "us", Peers: peers, Tiers: func() ring.Tiers { return tt.tiers }}}
		id := cache.NewKey("a").ID
		for n := 0; tt.tiers.Zone == both && both.Owner(id.Hash64()).Name != "self"; n++ {
			id = cache.NewKey(strconv.Itoa(n)).ID
		}
		p := e.plan(&flight{place: id, hops: tt.hops, site: &Site{Home: tt.home}}, "")
		var got []string
		for _, c := range p.candidates {
			if c.node == nil {
				got = append(got, "origin")
				continue
			}
			got = append(got, c.node.Name+"/"+strconv.Itoa(c.hops))
			if c.hops >= tt.hops {
				t.Errorf("%s: a request with %d hops left is passed on with %d", name, tt.hops, c.hops)
			}
		}
		if name == "all of them, from a zone" {
			var words []string
			for _, c := range p.candidates {
				words = append(words, e.askOf(c, &Site{Home: tt.home}).String())
			}
			if said := strings.Join(words, ", "); said != "near (owner), shield (shield), eu (shield of eu), the origin" {
				t.Errorf("%s: operators are told %s", name, said)
			}
		}
		if text := strings.Join(got, " "); text != tt.want || p.owner != tt.owner {
			t.Errorf("%s: got %s, owner %v, want %s, %v", name, text, p.owner, tt.want, tt.owner)
		}
	}
}

// TestNodesThatHoldEachOtherForTheOwner do not wait for each other: their rings differ, and the one asks back.
func TestNodesThatHoldEachOtherForTheOwner(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 20 << 20} { // in one piece, and in slices
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var b *bench
			var back atomic.Int64
			owner := peerServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusProcessing) // as a node that waits does
				back.Add(1)
				r.Header.Set(hopsField, strconv.Itoa(hopsOf(r.Header)-1))
				r.RequestURI = r.URL.RequestURI()
				b.edge.PeerHandler().ServeHTTP(w, r)
			})
			b = newBench(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=600")
				w.Header().Set("Etag", `"1"`)
				http.ServeContent(w, r, "a", time.Time{}, strings.NewReader(strings.Repeat("x", size)))
			})
			path := b.owned(owner)
			started := time.Now()
			g := b.do("GET", path)
			if g.status != http.StatusOK || len(g.body) != size || g.err != nil {
				t.Fatalf("got %d, %d bytes, %v", g.status, len(g.body), g.err)
			}
			if took := time.Since(started); took > answerTimeout/2 {
				t.Errorf("it took %v", took)
			}
			if back.Load() == 0 {
				t.Error("nobody asked back: nothing was tested")
			}
		})
	}
}

// TestWhatIsHotIsCopiedAtOnce: the owner says so.
func TestWhatIsHotIsCopiedAtOnce(t *testing.T) {
	t.Parallel()
	owner := peerServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set(hotField, "1")
		_, _ = io.WriteString(w, "hot")
	})
	b := newBench(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
	path := b.owned(owner)
	b.want("first", b.do("GET", path), 200, "stored", "hot")
	g := b.do("GET", path)
	b.want("second", g, 200, "edge-1; hit", "hot")
	if g.header.Get(hotField) != "" {
		t.Error("clients are told what is between nodes")
	}
}

func TestHeat(t *testing.T) {
	h, now := new(heat), time.Unix(1_000_000, 0)
	for i := range 3 * hotPerSecond {
		if got := h.hot(7, now); got != (i >= hotPerSecond) {
			t.Fatalf("request %d in a second: hot %v", i+1, got)
		}
	}
	if h.hot(8, now) || h.hot(7, now.Add(time.Second)) {
		t.Error("heat is another key's, or of the second before")
	}
	for range 1 << 16 {
		h.hot(7, now)
	}
	if !h.hot(7, now) {
		t.Error("a counter that is full began anew")
	}
	if n := testing.AllocsPerRun(100, func() { h.hot(9, now) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestAPeerThatCannotReachTheOrigin may be alone with that: one more is asked, and no third.
func TestAPeerThatCannotReachTheOrigin(t *testing.T) {
	t.Parallel()
	owner := peerServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(failedField, string(upstream.ConnectionRefused))
		w.WriteHeader(http.StatusBadGateway)
	})
	b := newBench(t, cacheable(600, "there"))
	b.want("the origin can be reached from here", b.do("GET", b.owned(owner)), 200, "fwd=uri-miss", "there")
	if n := b.origin.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}

	var asked atomic.Int64
	failing := func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		sayFailed(w.Header(), upstream.ConnectionTimeout, nil)
		w.WriteHeader(http.StatusGatewayTimeout)
	}
	b = newBench(t, cacheable(600, "there"))
	path := b.owned(peerServer(t, failing))
	nodes := ring.New([]ring.Node{
		{Name: "edge-2", Addr: peerServer(t, failing).Listener.Addr().String()},
		{Name: "edge-3", Addr: peerServer(t, failing).Listener.Addr().String()},
		{Name: "edge-4", Addr: peerServer(t, failing).Listener.Addr().String()},
	})
	b.edge.options.Tiers = func() ring.Tiers { return ring.Tiers{Zone: nodes, Shield: nodes} }
	g := b.do("GET", path)
	if g.status != http.StatusGatewayTimeout || !strings.Contains(g.header.Get("Proxy-Status"), "error=connection_timeout") {
		t.Errorf("got %d, Proxy-Status %q", g.status, g.header.Get("Proxy-Status"))
	}
	tried := failedThrough("edge-2", "connection_refused;tried")
	if silent := failedThrough("edge-2", "http_response_timeout"); tried.Retry || silent.Retry || tried.Kind != upstream.ConnectionRefused {
		t.Errorf("what was tried twice (%+v), or a silent origin (%+v), is tried again", tried, silent)
	}
	if asked.Load() != 2 || b.origin.Load() != 0 {
		t.Errorf("%d nodes were asked and the origin %d times, want 2 and 0", asked.Load(), b.origin.Load())
	}
	if g.header.Get(failedField) != "" {
		t.Error("clients are told what is between nodes")
	}
}

// TestFieldsBetweenNodesAreNobodyElses: clients cannot set them, origins neither see nor set them.
func TestFieldsBetweenNodesAreNobodyElses(t *testing.T) {
	t.Parallel()
	own := []string{hopsField, ringField, deadlineField, hotField, failedField, fetchedAgo}
	for _, method := range []string{"GET", "POST"} {
		b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
			for _, name := range own {
				if v := r.Header.Get(name); v != "" {
					t.Errorf("%s: the origin gets %s: %s", method, name, v)
				}
				w.Header().Set(name, "1")
			}
			w.Header().Set("Cache-Control", "max-age=600")
			_, _ = io.WriteString(w, "body")
		})
		for i := range 2 {
			var header []string
			for _, name := range own {
				header = append(header, name, "1")
			}
			g := b.do(method, "/a", header...)
			if g.status != http.StatusOK || g.body != "body" {
				t.Fatalf("%s, request %d: got %d %q", method, i, g.status, g.body)
			}
			for _, name := range own {
				if v := g.header.Get(name); v != "" {
					t.Errorf("%s, request %d: the client gets %s: %s", method, i, name, v)
				}
			}
		}
	}
}

// TestTheDeadlineGoesAlong, a little shorter at each node.
func TestTheDeadlineGoesAlong(t *testing.T) {
	t.Parallel()
	told := make(chan http.Header, 1)
	owner := peerServer(t, func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Clone()
		w.Header().Set("Cache-Control", "no-store")
	})
	b := newBench(t, cacheable(600, ""))
	path := b.owned(owner)
	b.do("GET", path)
	h := <-told
	ms, err := strconv.Atoi(h.Get(deadlineField))
	if most := int((answerTimeout - hopMargin).Milliseconds()); err != nil || ms > most || ms < most-5000 {
		t.Errorf("the owner is told %q, want about %d", h.Get(deadlineField), most)
	}
	if want := strconv.FormatUint(b.edge.options.Tiers().Shield.Version(), 16); h.Get(ringField) != want || h.Get(hopsField) != "1" {
		t.Errorf("ring %s, hops %s, want %s, 1", h.Get(ringField), h.Get(hopsField), want)
	}

	start := time.Now()
	for text, want := range map[string]time.Duration{"": 14 * time.Second, "x": 14 * time.Second, "-1": 14 * time.Second, "0": 0, "1500": 1500 * time.Millisecond, "99000": 14 * time.Second} {
		x := &Exchange{Peer: true, hops: hopsShield, Start: start, Request: &http.Request{Header: http.Header{deadlineField: {text}}}}
		if got := deadlineOf(x).Sub(start); got != want {
			t.Errorf("deadline %q: got %v, want %v", text, got, want)
		}
	}
	if got := deadlineOf(&Exchange{hops: hopsClient, Start: start, Request: &http.Request{}}).Sub(start); got != answerTimeout {
		t.Errorf("a client's deadline: got %v, want %v", got, answerTimeout)
	}
}

// TestWhoWaitsLongerThanTheDeadlineGetsAnAnswer: the node gives up while it is still waited for.
func TestWhoWaitsLongerThanTheDeadlineGetsAnAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := newBench(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	resp := b.asPeer("/a", deadlineField, "50")
	if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get(failedField) != string(upstream.HTTPResponseTimeout) {
		t.Errorf("got %d, %s", resp.StatusCode, resp.Header.Get(failedField))
	}
}

// TestPeersWithAnotherRingAreServed and counted.
func TestPeersWithAnotherRingAreServed(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(600, "body"))
	nodes := table("edge-1", "edge-2")
	b.edge.options.Tiers = func() ring.Tiers { return ring.Tiers{Zone: nodes, Shield: nodes} }
	for i, version := range []uint64{nodes.Version(), 1, 2} {
		resp := b.asPeer("/a", hopsField, "1", ringField, strconv.FormatUint(version, 16))
		if resp.StatusCode != http.StatusOK || b.edge.Disagreements() != int64(i) {
			t.Errorf("version %d: got %d, %d disagreements", version, resp.StatusCode, b.edge.Disagreements())
		}
	}
}
