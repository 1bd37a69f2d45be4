package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// testSecret is the secret of the clusters under test.
var testSecret = func() Secret {
	s, err := ParseSecret([]byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"))
	if err != nil {
		panic(err)
	}
	return s
}()

// testKeyring returns a keyring that holds it for ever. A bubble needs its own.
func testKeyring() *Keyring {
	k, err := NewKeyring(KeyringOptions{Secrets: Secrets{testSecret}})
	if err != nil {
		panic(err)
	}
	return k
}

// testKeys is how a node tells others that it has the secret.
var testKeys = testSecret.ID()

// lines collects a log.
type lines struct {
	mu  sync.Mutex // guards the fields below
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(words string) int { return strings.Count(l.String(), words) }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testNode is a running node.
type testNode struct {
	*Cluster
	t    *testing.T
	log  *lines
	ip   string
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run, once done is closed
}

// nodeOptions returns the options of the i-th node, who joins the first.
func nodeOptions(net *memnet, i int) Options {
	ip := fmt.Sprintf("10.0.0.%d", i)
	return Options{
		Name: fmt.Sprintf("edge-%d", i), Keyring: testKeyring(), Bind: ip + ":7946", PeerAddr: ":7443", Zone: "a",
		Join: []string{"10.0.0.1"}, Network: net.host(ip), Build: "test",
	}
}

// start runs a node until the test ends. It must be called in a synctest bubble.
func start(t *testing.T, o Options) *testNode {
	t.Helper()
	return startMet(t, o, nil)
}

// startMet is start for a node that knows others already.
func startMet(t *testing.T, o Options, met []string) *testNode {
	t.Helper()
	n := &testNode{t: t, log: &lines{}, done: make(chan struct{})}
	o.Log = n.log.logger()
	c, err := New(o)
	if err != nil {
		t.Fatalf("new node %s: %v", o.Name, err)
	}
	n.Cluster, n.ip = c, hostOf(o.Bind)
	if met != nil {
		c.Meet(met)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n.stop = cancel
	go func() { // ends with cancel; the cleanup waits
		defer close(n.done)
		n.err = c.Run(ctx)
	}()
	if host, ok := o.Network.(memHost); ok && host.net.add(n) > 1 {
		return n // the first node's cleanup ends it too
	} else if ok {
		t.Cleanup(func() { endAll(t, host.net.nodes) })
	} else {
		t.Cleanup(func() { endAll(t, []*testNode{n}) })
	}
	return n
}

// endAll stops the nodes at the same time. Then it lets memberlist's last timers run out: what is still there after a
// minute has leaked, and fails the bubble.
func endAll(t *testing.T, nodes []*testNode) {
	t.Helper()
	for _, n := range nodes {
		n.stop()
	}
	for _, n := range nodes {
		n.end()
		if t.Failed() {
			t.Logf("log of %s:\n%s", n.Name(), n.log)
		}
	}
	time.Sleep(time.Minute)
}

// end stops the node and waits for Run.
func (n *testNode) end() {
	n.stop()
	<-n.done
	if n.err != nil {
		n.t.Errorf("run %s: %v", n.Name(), n.err)
	}
}

func (n *testNode) Name() string { return n.options.Name }

// sees returns the members that n has alive, by name.
func (n *testNode) sees() []string {
	var out []string
	for _, m := range n.Members() {
		if m.State == Alive {
			out = append(out, m.Name)
		}
	}
	return out
}

func (n *testNode) member(name string) Member {
	for _, m := range n.Members() {
		if m.Name == name {
			return m
		}
	}
	return Member{}
}

// await waits until ok, for at most limit, and returns how long it took.
func await(t *testing.T, what string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// agree says whether all nodes publish the same ring of size nodes.
func agree(size int, nodes ...*testNode) bool {
	for _, n := range nodes {
		if r := n.Ring(); r.Len() != size || r.Version() != nodes[0].Ring().Version() {
			return false
		}
	}
	return true
}

// startCluster starts n nodes and waits until they agree.
func startCluster(t *testing.T, net *memnet, n int, change func(*Options)) []*testNode {
	t.Helper()
	nodes := make([]*testNode, n)
	for i := range nodes {
		o := nodeOptions(net, i+1)
		if change != nil {
			change(&o)
		}
		nodes[i] = start(t, o)
	}
	// The first node may not have been there yet when the others asked: then the next round finds it.
	await(t, "cluster forms", 2*time.Second, func() bool { return agree(n, nodes...) })
	return nodes
}

func TestNodesConverge(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newMemnet()
				nodes := []*testNode{start(t, nodeOptions(net, 1))}
				<-nodes[0].Ready()
				for i := 2; i <= n; i++ {
					nodes = append(nodes, start(t, nodeOptions(net, i)))
				}
				took := await(t, "same ring everywhere", 2*time.Second, func() bool { return agree(n, nodes...) })
				t.Logf("%d nodes agree after %v", n, took)
				for _, node := range nodes {
					if got := len(node.sees()); got != n {
						t.Errorf("%s sees %d members, want %d", node.Name(), got, n)
					}
					// The ring of itself, and then one for each few news, not one for each member.
					if got := node.Stats().RingsPublished; got > 6 {
						t.Errorf("%s published %d rings for one burst, want at most 6", node.Name(), got)
					}
				}
				m := nodes[n-1].member("edge-1")
				want := Member{
					Name: "edge-1", Addr: "10.0.0.1:7946", PeerAddr: "10.0.0.1:7443", Zone: "a", Role: RoleEdge, Build: "test", Keys: testKeys,
					Weight: 1, State: Alive, Since: m.Since,
				}
				if m != want || m.Since.IsZero() {
					t.Errorf("member edge-1 is %+v, want %+v", m, want)
				}
				if owner := nodes[0].Ring().Node("edge-2"); owner == nil || owner.Addr != "10.0.0.2:7443" {
					t.Errorf("edge-2 on the ring is %+v", owner)
				}
			})
		})
	}
}

func TestCrashLeavesTheRing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes int
		limit time.Duration
	}{{3, 6 * time.Second}, {10, 8 * time.Second}} {
		t.Run(fmt.Sprint(tt.nodes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newMemnet()
				nodes := startCluster(t, net, tt.nodes, nil)
				time.Sleep(10 * time.Second)
				last := nodes[tt.nodes-1]
				rest := nodes[:tt.nodes-1]
				net.cut(last.ip)
				took := await(t, "lost member off every ring", tt.limit, func() bool { return agree(tt.nodes-1, rest...) })
				t.Logf("%d nodes: a crash is off every ring after %v", tt.nodes, took)
				if m := nodes[0].member(last.Name()); m.State != Dead || time.Since(m.Since) > tt.limit {
					t.Errorf("crashed member is %v since %v, want dead since a moment ago", m.State, time.Since(m.Since))
				}
			})
		})
	}
}

func TestLeaveAnnouncesDrainingFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		nodes := startCluster(t, net, 3, func(o *Options) { o.DrainTime = 4 * time.Second })
		leaver, watcher := nodes[2], nodes[0]
		began := time.Now()
		leaver.stop()
		draining := await(t, "draining seen", time.Second, func() bool {
			n := watcher.Ring().Node(leaver.Name())
			if n == nil {
				t.Fatal("the member left without having been seen draining")
			}
			return n.Draining && leaver.Ring().Node(leaver.Name()).Draining
		})
		for hash := range uint64(100) {
			if owner := watcher.Ring().Owner(hash << 50); owner.Name == leaver.Name() {
				t.Fatalf("a draining node still owns %#x", hash<<50)
			}
		}
		await(t, "off the ring", 6*time.Second, func() bool { return watcher.Ring().Node(leaver.Name()) == nil })
		gone := time.Since(began)
		<-leaver.done
		t.Logf("leave: draining seen after %v, gone after %v (drain time 4s), run ended after %v", draining, gone, time.Since(began))
		if gone < 4*time.Second || gone > 5*time.Second {
			t.Errorf("gone after %v, want 4s to 5s", gone)
		}
		if m := watcher.member(leaver.Name()); m.State != Left {
			t.Errorf("member that left is %v", m.State)
		}
		if s := watcher.Stats(); s.Alive != 2 || s.Left != 1 || s.Dead != 0 {
			t.Errorf("stats say %+v", s)
		}
		failures := watcher.Stats().JoinFailures
		time.Sleep(time.Minute)
		if got := watcher.Stats().JoinFailures; got != failures {
			t.Errorf("a member that left was asked to come back %d times", got-failures)
		}
	})
}

func TestDrainIsSeenWhileTheNodeStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := startCluster(t, newMemnet(), 3, nil)
		nodes[1].Drain()
		nodes[1].Drain()
		await(t, "draining seen by all", time.Second, func() bool {
			for _, n := range nodes {
				if m := n.Ring().Node("edge-2"); m == nil || !m.Draining {
					return false
				}
			}
			return agree(3, nodes...)
		})
		time.Sleep(time.Minute)
		if !agree(3, nodes...) {
			t.Error("a draining node did not stay")
		}
		began := time.Now()
		nodes[1].end()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a node drained long ago took %v to leave", took)
		}
	})
}

func TestSplitHeals(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newMemnet()
				nodes := startCluster(t, net, n, nil)
				left := make(map[string]bool)
				for _, node := range nodes[:n/2] {
					left[node.ip] = true
				}
				net.split(func(from, to string) bool { return left[from] != left[to] })
				time.Sleep(2 * time.Minute)
				if !agree(n/2, nodes[:n/2]...) || !agree(n-n/2, nodes[n/2:]...) {
					t.Fatal("the halves did not part")
				}
				net.split(nil)
				took := await(t, "one cluster again", 15*time.Second, func() bool { return agree(n, nodes...) })
				t.Logf("%d nodes: one cluster %v after a split of 2 minutes", n, took)
			})
		})
	}
}

// Where the seeds are of no use any more, lost members are remembered.
func TestSplitHealsWithoutSeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		var gone atomic.Bool
		nodes := startCluster(t, net, 3, func(o *Options) {
			o.Join = []string{"seed.example.com"}
			o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
				if gone.Load() {
					return nil, errors.New("no such host")
				}
				return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
			}
		})
		gone.Store(true)
		net.cut("10.0.0.2")
		time.Sleep(2 * time.Minute)
		if !agree(2, nodes[0], nodes[2]) || !agree(1, nodes[1]) {
			t.Fatal("the parts did not part")
		}
		net.split(nil)
		await(t, "one cluster again", 15*time.Second, func() bool { return agree(3, nodes...) })
	})
}

// A node that is told to end does not wait for connections that nobody answers.
func TestRunEndsDuringJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		net.cut("10.0.0.1")
		n := start(t, nodeOptions(net, 2))
		time.Sleep(time.Second)
		began := time.Now()
		n.end()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("run ended after %v", took)
		}
	})
}

// A node that restarts on its side of a split knows the other side from its seeds alone.
func TestSplitHealsWithoutMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		net.split(func(from, to string) bool { return from == "10.0.0.1" || to == "10.0.0.1" })
		one := start(t, nodeOptions(net, 1))
		two := start(t, nodeOptions(net, 2))
		o := nodeOptions(net, 3)
		o.Join = []string{"10.0.0.1", "10.0.0.2"}
		three := start(t, o)
		await(t, "two of three meet", time.Minute, func() bool { return agree(2, two, three) })
		net.split(nil)
		await(t, "all meet", 15*time.Second, func() bool { return agree(3, one, two, three) })
	})
}

func TestJoinByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		var mu sync.Mutex
		var asked []string
		resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, host)
			if host != "edges.example.com" {
				return nil, fmt.Errorf("no such host %s", host)
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.99"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("169.254.169.254")}, nil
		}
		one := start(t, nodeOptions(net, 1))
		<-one.Ready()
		o := nodeOptions(net, 2)
		o.Join, o.Resolve = []string{"nowhere", "edges.example.com"}, resolve
		two := start(t, o)
		<-two.Ready()
		await(t, "joined by name", time.Second, func() bool { return agree(2, one, two) })
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(asked, "nowhere") || !slices.Contains(asked, "edges.example.com") {
			t.Errorf("looked up %v", asked)
		}
	})
}

func TestReadyThoughNobodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		net.cut("10.0.0.1")
		began := time.Now()
		n := start(t, nodeOptions(net, 2))
		<-n.Ready()
		if took := time.Since(began); took > DefaultStreamTimeout+time.Second {
			t.Errorf("ready after %v", took)
		}
		if n.log.count("standing alone") != 1 {
			t.Errorf("the log does not say that the node stands alone:\n%s", n.log)
		}
		if n.Addr() != "10.0.0.2:7946" || n.Ring().Len() != 1 {
			t.Errorf("address %q, ring of %d", n.Addr(), n.Ring().Len())
		}
	})
}

func TestRestartAtAnotherAddress(t *testing.T) {
	t.Parallel()
	moved := func(n *testNode) bool {
		m := n.Ring().Node("edge-3")
		return m != nil && m.Addr == "10.0.0.33:7443"
	}
	again := func(net *memnet) Options {
		o := nodeOptions(net, 3)
		o.Bind, o.Network = "10.0.0.33:7946", net.host("10.0.0.33")
		return o
	}
	t.Run("after a farewell", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			net := newMemnet()
			nodes := startCluster(t, net, 3, nil)
			nodes[2].end()
			back := start(t, again(net))
			took := await(t, "back", 2*time.Second, func() bool { return agree(3, nodes[0], nodes[1], back) && moved(nodes[0]) })
			t.Logf("back %v after the restart", took)
		})
	})
	t.Run("after a crash that was noticed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			net := newMemnet()
			nodes := startCluster(t, net, 3, nil)
			net.cut(nodes[2].ip)
			await(t, "crash noticed", 10*time.Second, func() bool { return agree(2, nodes[0], nodes[1]) })
			back := start(t, again(net))
			took := await(t, "back", 2*time.Second, func() bool { return agree(3, nodes[0], nodes[1], back) && moved(nodes[0]) })
			t.Logf("back %v after the restart", took)
		})
	})
	t.Run("before the crash is noticed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			net := newMemnet()
			// No full exchange comes to help by chance.
			nodes := startCluster(t, net, 3, func(o *Options) { o.PushPullInterval = time.Hour })
			time.Sleep(time.Minute)
			net.cut(nodes[2].ip)
			o := again(net)
			o.PushPullInterval = time.Hour
			back := start(t, o)
			took := await(t, "back", 15*time.Second, func() bool { return agree(3, nodes[0], nodes[1], back) && moved(nodes[0]) && moved(nodes[1]) })
			t.Logf("back %v after the restart", took)
		})
	})
	t.Run("at the same address", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			net := newMemnet()
			nodes := startCluster(t, net, 3, nil)
			net.cut(nodes[2].ip)
			nodes[2].end()
			net.split(nil)
			o := nodeOptions(net, 3)
			o.Weight = 2
			back := start(t, o)
			took := await(t, "back", 10*time.Second, func() bool {
				m := nodes[0].Ring().Node("edge-3")
				return agree(3, nodes[0], nodes[1], back) && m != nil && m.Weight == 2
			})
			t.Logf("back %v after the restart", took)
		})
	})
}

func TestTwoNodesWithOneName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		nodes := startCluster(t, net, 3, nil)
		o := nodeOptions(net, 4)
		o.Name = "edge-2"
		twin := start(t, o)
		time.Sleep(time.Minute)
		if !agree(3, nodes...) || nodes[0].Ring().Node("edge-2").Addr != "10.0.0.2:7443" {
			t.Error("the second node of a name took it over")
		}
		if twin.log.count("names must be unique") == 0 || nodes[0].Stats().NameConflicts == 0 {
			t.Error("nobody was told of the conflict")
		}
	})
}

func TestAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := start(t, Options{Name: "edge-1", Bind: "127.0.0.1:7946", PeerAddr: "127.0.0.1:7443", HTTPAddr: ":8080"})
		<-n.Ready()
		if n.Addr() != "" {
			t.Errorf("a node alone gossips on %s", n.Addr())
		}
		if r := n.Ring(); r.Len() != 1 || r.Owner(1).Name != "edge-1" {
			t.Errorf("ring of a node alone: %v", r.Nodes())
		}
		if m := n.Members(); len(m) != 1 || !m[0].Self || m[0].State != Alive {
			t.Errorf("members of a node alone: %+v", m)
		}
		n.Drain()
		await(t, "draining", time.Second, func() bool { return n.Ring().Owner(1).Draining })
		if err := n.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}
