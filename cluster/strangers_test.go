package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// stranger is a node that runs the gossip library by itself, with whatever it says.
type stranger struct {
	list      *memberlist.Memberlist
	transport *transport
}

// startStranger runs a bare memberlist at 10.0.9.9 that says said about itself, and lets it join the first node.
func startStranger(t *testing.T, nw *memnet, name string, said []byte, change func(*memberlist.Config)) *stranger {
	t.Helper()
	tr, err := newTransport(nw.host("10.0.9.9"), addrPort("10.0.9.9:7946"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := memberlist.DefaultLANConfig()
	m.Name, m.Transport, m.Label, m.SecretKey = name, tr, DefaultLabel, testSecret.GossipKey()
	m.AdvertiseAddr, m.AdvertisePort = "10.0.9.9", 7946
	m.Delegate = saying{b: said}
	m.Logger = log.New(&lines{}, "", 0)
	if change != nil {
		change(m)
	}
	list, err := memberlist.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{list: list, transport: tr}
	t.Cleanup(func() {
		if err := list.Shutdown(); err != nil {
			t.Errorf("end the stranger: %v", err)
		}
	})
	_, _ = list.Join([]string{"10.0.0.1:7946"}) // may well be refused
	return s
}

// saying is a memberlist delegate with the given metadata.
type saying struct{ b []byte }

func (s saying) NodeMeta(int) []byte           { return s.b }
func (saying) NotifyMsg([]byte)                {}
func (saying) GetBroadcasts(int, int) [][]byte { return nil }
func (saying) LocalState(bool) []byte          { return []byte("anything") }
func (saying) MergeRemoteState([]byte, bool)   {}

func TestStrangersStayOutside(t *testing.T) {
	t.Parallel()
	good := meta{Weight: 1, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}.encode()
	for _, tt := range []struct {
		name   string
		change func(*memberlist.Config)
	}{
		{"another key", func(m *memberlist.Config) { m.SecretKey = NewSecret().GossipKey() }},
		{"another label", func(m *memberlist.Config) { m.Label = "other" }},
		{"no label", func(m *memberlist.Config) { m.Label = "" }},
		{"no key", func(m *memberlist.Config) { m.SecretKey = nil }},
		{"no key, no label", func(m *memberlist.Config) { m.SecretKey, m.Label = nil, "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newMemnet()
				nodes := startCluster(t, net, 3, nil)
				version := nodes[0].Ring().Version()
				s := startStranger(t, net, "stranger", good, tt.change)
				for range 60 {
					time.Sleep(time.Second)
					_, _ = s.list.Join([]string{"10.0.0.1:7946", "10.0.0.2:7946"}) // refused each time
					// And the way in by packet, as one who knows a member's address could try.
					_ = s.list.SendToAddress(memberlist.Address{Addr: "10.0.0.3:7946"}, []byte("hello")) // never answered
				}
				for _, n := range nodes {
					if n.Ring().Version() != version || len(n.Members()) != 3 || n.Stats().Alive != 3 {
						t.Errorf("%s took in a stranger: %+v", n.Name(), n.Members())
					}
				}
				if s.list.NumMembers() != 1 {
					t.Errorf("the stranger has learned of %d members", s.list.NumMembers()-1)
				}
				for _, n := range []*testNode{nodes[0], nodes[2]} {
					if n.Stats().RefusedMessages == 0 {
						t.Errorf("%s counted no refused message", n.Name())
					}
				}
				if nodes[0].log.count("level=WARN msg=\"memberlist says\"") == 0 {
					t.Errorf("the log does not mention the stranger:\n%s", nodes[0].log)
				}
			})
		})
	}
}

// The tests above and below prove something only if an honest node that goes the same way is let in.
func TestHonestStrangerIsLetIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		nodes := startCluster(t, net, 3, nil)
		startStranger(t, net, "edge-9", meta{Weight: 2, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}.encode(), nil)
		await(t, "honest node on every ring", 2*time.Second, func() bool { return agree(4, nodes...) })
		if got := nodes[1].Ring().Node("edge-9"); got.Weight != 2 || got.Addr != "10.0.9.9:7443" {
			t.Errorf("on the ring as %+v", got)
		}
	})
}

func TestOtherRolesAreNotOnTheRing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		nodes := startCluster(t, net, 3, nil)
		startStranger(t, net, "relay-1", meta{Weight: 1, Role: "relay", Peer: "10.0.9.9:7443", Keys: testKeys}.encode(), nil)
		await(t, "member everywhere", 2*time.Second, func() bool { return nodes[0].Stats().Alive == 4 && nodes[2].Stats().Alive == 4 })
		time.Sleep(time.Second)
		if !agree(3, nodes...) {
			t.Error("a node of another role is on the ring")
		}
	})
}

func TestGarbageMetadataIsRefused(t *testing.T) {
	t.Parallel()
	ok := meta{Weight: 1, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}
	for name, said := range map[string][]byte{
		"nothing":       nil,
		"junk":          bytes.Repeat([]byte{0xa5, 1, 0x80}, 170),
		"link-local":    meta{Weight: 1, Role: RoleEdge, Peer: "169.254.169.254:80", Keys: testKeys}.encode(),
		"every address": meta{Weight: 1, Role: RoleEdge, Peer: "0.0.0.0:7443", Keys: testKeys}.encode(),
		"loopback":      meta{Weight: 1, Role: RoleEdge, Peer: "127.0.0.1:7443", Keys: testKeys}.encode(),
		"admin port":    meta{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7070", Keys: testKeys}.encode(),
		"weight 1e9":    meta{Weight: 1e9, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}.encode(),
		"weight 0":      meta{Weight: 0, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}.encode(),
		"cut short":     ok.encode()[:9],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := newMemnet()
				nodes := startCluster(t, net, 3, func(o *Options) { o.AdminAddr = "10.0.0.1:7070" })
				startStranger(t, net, "edge-9", said, nil)
				time.Sleep(2 * time.Minute)
				for _, n := range nodes {
					if !agree(3, nodes...) || len(n.Members()) != 3 {
						t.Errorf("%s took it in: %+v", n.Name(), n.Members())
					}
				}
				if nodes[0].Stats().RefusedNodes == 0 {
					t.Error("nobody counted a refusal")
				}
				if got := nodes[0].log.count("node refused"); got != 1 {
					t.Errorf("the refusal was logged %d times, want once", got)
				}
			})
		})
	}
}

func TestCallbacksDoNotPanicOutwards(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	d := delegate{c}
	if err := d.NotifyAlive(nil); !errors.Is(err, errPanic) {
		t.Errorf("NotifyAlive(nil) = %v, want %v", err, errPanic)
	}
	d.NotifyJoin(nil)
	d.NotifyUpdate(nil)
	d.NotifyLeave(nil)
	d.NotifyConflict(nil, nil)
	if got := c.Stats().CallbackPanics; got != 5 {
		t.Errorf("%d panics counted, want 5", got)
	}
}

func TestMemberOfRefuses(t *testing.T) {
	t.Parallel()
	said := meta{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7443", Keys: testKeys}.encode()
	c, err := New(Options{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		node memberlist.Node
		want string // in the error; "" means none
	}{
		{"good", memberlist.Node{Name: "a", Addr: net.IPv4(10, 0, 0, 1), Port: 7946, Meta: said}, ""},
		{"no name", memberlist.Node{Addr: net.IPv4(10, 0, 0, 1), Port: 7946, Meta: said}, "name"},
		{"name with a line end", memberlist.Node{Name: "a\nb", Addr: net.IPv4(10, 0, 0, 1), Port: 7946, Meta: said}, "name"},
		{"no address", memberlist.Node{Name: "a", Port: 7946, Meta: said}, "gossip address"},
		{"odd address", memberlist.Node{Name: "a", Addr: net.IP{1, 2, 3}, Port: 7946, Meta: said}, "gossip address"},
		{"every address", memberlist.Node{Name: "a", Addr: net.IPv4zero, Port: 7946, Meta: said}, "gossip address"},
		{"link-local", memberlist.Node{Name: "a", Addr: net.IPv4(169, 254, 169, 254), Port: 80, Meta: said}, "gossip address"},
		{"port 0", memberlist.Node{Name: "a", Addr: net.IPv4(10, 0, 0, 1), Meta: said}, "gossip address"},
		{"metadata", memberlist.Node{Name: "a", Addr: net.IPv4(10, 0, 0, 1), Port: 7946}, "metadata"},
	} {
		_, err := c.memberOf(&tt.node)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestRefusalsAreLoggedWithinBounds(t *testing.T) {
	t.Parallel()
	logged := &lines{}
	c, err := New(Options{Name: "edge-1", Log: logged.logger()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		c.refuse(fmt.Sprintf("edge-%d", i), errors.New("nonsense"))
	}
	if got := logged.count("node refused"); got != maxRefusals {
		t.Errorf("%d refusals logged, want %d", got, maxRefusals)
	}
	if got := c.Stats().RefusedNodes; got != 10_000 {
		t.Errorf("%d refusals counted, want 10000", got)
	}
}
