package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/cluster/ring"
	"weir/edge/upstream"
	"weir/tools/proof"
)

// call is a request of one node to another.
type call struct {
	from, to string
	hops     int  // that it may still be passed on
	stored   bool // for what it has stored and no more
}

// views is a cluster whose nodes may each have other tables, in a bubble, before one origin.
type views struct {
	t      *testing.T
	names  []string
	edges  map[string]*Edge
	tiers  map[string]ring.Tiers
	origin atomic.Int64
	mu     sync.Mutex // guards the field below
	calls  []call
	ends   []func()
}

// inViews runs a test with nodes of these names, all without a ring at first.
func inViews(t *testing.T, names []string, test func(v *views)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &views{t: t, names: names, edges: map[string]*Edge{}, tiers: map[string]ring.Tiers{}}
		server, client := proof.Certificate(t, names...)
		origin := v.serve(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v.origin.Add(1)
			time.Sleep(200 * time.Millisecond) // longer than anybody waits without a sign of life
			say(w, []string{"Cache-Control", "max-age=60"}, r.URL.Path)
		}))
		listeners := map[string]*pipes{}
		for _, from := range names {
			for _, to := range names {
				listeners[from+">"+to] = v.serve(server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					v.mu.Lock()
					v.calls = append(v.calls, call{from, to, hopsOf(r.Header), r.Header.Get("Cache-Control") == "only-if-cached"})
					v.mu.Unlock()
					v.edges[to].PeerHandler().ServeHTTP(w, r)
				}))
			}
		}
		for _, name := range names {
			v.start(name, client, origin, listeners)
		}
		test(v)
		for _, e := range v.edges {
			e.Close(t.Context())
		}
		for _, end := range v.ends {
			end()
		}
	})
}

// serve answers the connections of a listener.
func (v *views) serve(config *tls.Config, h http.Handler) *pipes {
	listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	if config != nil {
		config = config.Clone() // net/http writes to it
	}
	v.ends = append(v.ends, proof.Serve(listener, h, config))
	return listener
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (v *views) start(name string, client *tls.Config, origin *pipes, listeners map[string]*pipes) {
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{"http://origin"}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return origin.dial(ctx)
	}})
	if err != nil {
		v.t.Fatal(err)
	}
	peers, err := upstream.NewPeers(upstream.PeerOptions{TLS: client, Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		return listeners[name+">"+strings.TrimSuffix(address, ":1")].dial(ctx)
	}})
	if err != nil {
		v.t.Fatal(err)
	}
	store, err := cache.New(cache.Options{})
	if err != nil {
		v.t.Fatal(err)
	}
	sites, err := NewSites(&Site{Hosts: []string{"*"}, Origin: group, Home: "far"})
	if err != nil {
		v.t.Fatal(err)
	}
	v.edges[name], err = New(Options{
		Name: name, Region: "here", Cache: store, Sites: sites, Peers: peers, Tiers: func() ring.Tiers { return v.tiers[name] },
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.ends = append(v.ends, func() {
		group.Close()
		peers.Close()
		if err := store.Close(); err != nil {
			v.t.Error(err)
		}
	})
}

// view is a table; a name with a trailing "~" drains.
func view(nodes ...string) *ring.Ring {
	var list []ring.Node
	for _, n := range nodes {
		plain, drains := strings.CutSuffix(n, "~")
		list = append(list, ring.Node{Name: plain, Addr: plain + ":1", Draining: drains})
	}
	return ring.New(list)
}

// ask has a client ask a node for a path that nobody has, and returns who asked whom for it. The origin is asked at
// least once, and most times at most.
func (v *views) ask(node, path string, most int64) []call {
	v.t.Helper()
	begin := time.Now()
	v.mu.Lock()
	v.calls = nil
	v.mu.Unlock()
	before := v.origin.Load()
	r := httptest.NewRequest(http.MethodGet, "http://site.example"+path, http.NoBody)
	r.RequestURI = path
	w := httptest.NewRecorder()
	v.edges[node].ServeHTTP(w, r)
	synctest.Wait()
	if w.Code != http.StatusOK || w.Body.String() != path {
		v.t.Errorf("%s via %s: %d %q", path, node, w.Code, clip(w.Body.String()))
	}
	if n := v.origin.Load() - before; n < 1 || n > most {
		v.t.Errorf("%s via %s: the origin was asked %d times, want %d at most", path, node, n, most)
	}
	if took := time.Since(begin); took > time.Second {
		v.t.Errorf("%s via %s: it took %s: somebody waits for himself", path, node, took)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

// owned is the first path from i on that the ring of a node gives to another.
func (v *views) owned(node, owner string, i int) string {
	for ; ; i++ {
		path := fmt.Sprintf("/%s/%s/%d", node, owner, i)
		if n := v.tiers[node].Zone.Owner(cache.NewKey("site.example" + path).ID.Hash64()); n != nil && n.Name == owner {
			return path
		}
	}
}

// TestNodesThatDisagreeDoNotSendARequestInCircles: who is asked by a node serves,
// whatever its own ring says.
func TestNodesThatDisagreeDoNotSendARequestInCircles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		views map[string]string // what each node sees; a is asked for what it gives to b
		want  string
	}{
		{"each gives it to the other", map[string]string{"a": "b", "b": "a"}, "[{a b 1 false}]"},
		{"the owner has left its own ring", map[string]string{"a": "a b", "b": ""}, "[{a b 1 false}]"},
		{"the owner gives it to a third", map[string]string{"a": "b", "b": "c", "c": "a"}, "[{a b 1 false}]"},
		{"only the owner knows that a third has come", map[string]string{"a": "a b", "b": "a b c", "c": "a b c"}, "[{a b 1 false}]"},
		{"the owner has it from the one that asks", map[string]string{"a": "a~ b", "b": "a~ b"}, ""},
		{"they do not agree on who drains", map[string]string{"a": "a~ b", "b": "a b~"}, ""},
		{"both drain", map[string]string{"a": "a~ b~", "b": "a~ b~"}, "[{a b 1 false}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inViews(t, []string{"a", "b", "c"}, func(v *views) {
				for name, nodes := range tt.views {
					one := view(strings.Fields(nodes)...)
					v.tiers[name] = ring.Tiers{Zone: one, Shield: one}
				}
				for round := range 20 {
					path := v.owned("a", "b", 1000*round)
					calls := v.ask("a", path, 1)
					v.checkHops("a", calls)
					if got := fmt.Sprint(calls); tt.want != "" && got != tt.want {
						v.t.Errorf("%s: %s, want %s", path, got, tt.want)
					}
				}
			})
		})
	}
}

// checkHops checks who asked whom for a request that came to a node from a client.
func (v *views) checkHops(at string, calls []call) {
	v.t.Helper()
	reach := map[string]int{at: hopsClient} // how far each may pass it on
	for _, c := range calls {
		hops, asked := reach[c.from]
		switch {
		case !asked:
			v.t.Errorf("%s was asked for what it has stored, if at all, and asked %s: %v", c.from, c.to, calls)
		case !c.stored && c.hops >= hops:
			v.t.Errorf("%s was asked with %d hops, and asked %s with %d: %v", c.from, hops, c.to, c.hops, calls)
		case c.from == c.to:
			v.t.Errorf("%s asks itself: %v", c.from, calls)
		}
		if !c.stored {
			reach[c.to] = max(reach[c.to], c.hops)
		}
	}
	if most := 3 * len(v.names); len(calls) > most {
		v.t.Errorf("%d requests for one, want %d at most: %v", len(calls), most, calls)
	}
}

// TestNoViewsMakeACircle is the same for views made at random.
func TestNoViewsMakeACircle(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d"}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 139)) //nolint:gosec // a test's choice
			inViews(t, names, func(v *views) {
				some := func() *ring.Ring {
					var nodes []string
					for _, name := range names {
						switch random.IntN(4) {
						case 0: // not known
						case 1:
							nodes = append(nodes, name+"~")
						default:
							nodes = append(nodes, name)
						}
					}
					return view(nodes...)
				}
				for round := range 8 {
					for _, name := range names {
						t := ring.Tiers{Zone: some(), Shield: some()}
						if random.IntN(2) == 0 {
							t.Shield = t.Zone
						}
						if random.IntN(2) == 0 {
							t.Homes = map[string]*ring.Ring{"far": some()}
						}
						v.tiers[name] = t
						v.edges[name].options.Joined = time.Time{}
						if random.IntN(3) == 0 {
							v.edges[name].options.Joined = time.Now()
						}
					}
					for _, at := range names {
						for n := range 3 {
							v.checkHops(at, v.ask(at, fmt.Sprint("/", seed, "/", round, at, n), 2))
						}
					}
				}
			})
		})
	}
}
