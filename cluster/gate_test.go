package cluster

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseAllow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.0/8": "", "192.0.2.7/32": "", "2001:db8::/32": "", "0.0.0.0/0": "",
		"10.0.0.1": "such as", "10.0.0.1/8": "written as 10.0.0.0/8", "10.0.0.0/33": "such as", "": "such as", "::ffff:10.0.0.0/104": "written as IPv4",
	} {
		if _, err := ParseAllow([]string{"10.1.0.0/16", in}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", in, err, want)
		}
	}
}

// gateFor lets in these networks.
func gateFor(t *testing.T, networks ...string) *Gate {
	t.Helper()
	allow, err := ParseAllow(networks)
	if err != nil {
		t.Fatal(err)
	}
	return NewGate(allow, nil)
}

func TestGateAllows(t *testing.T) {
	t.Parallel()
	g := gateFor(t, "10.0.0.0/8", "2001:db8::/32")
	for addr, want := range map[string]bool{
		"10.0.0.1": true, "::ffff:10.0.0.1": true, "2001:db8::7": true, "11.0.0.1": false, "127.0.0.1": false, "2001:db9::1": false, "fe80::1%eth0": false,
	} {
		if got := g.Allows(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
		if everybody := NewGate(nil, nil); !everybody.Allows(netip.MustParseAddr(addr)) {
			t.Errorf("%s: refused by a gate without networks", addr)
		}
	}
}

// A node that has the secret, at an address that is not allowed: nothing it sends is looked at.
func TestGateKeepsOutWhoHasTheSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := newMemnet()
		logged := &lines{}
		allow, err := ParseAllow([]string{"10.0.0.0/24"})
		if err != nil {
			t.Fatal(err)
		}
		gate := NewGate(allow, logged.logger())
		nodes := startCluster(t, nw, 3, func(o *Options) { o.Gate = gate })
		s := startStranger(t, nw, "edge-9", meta{Weight: 1, Role: RoleEdge, Peer: "10.0.9.9:7443", Keys: testKeys}.encode(), nil)
		began := time.Now()
		for range 60 {
			_, _ = s.list.Join([]string{"10.0.0.1:7946", "10.0.0.2:7946"}) // refused each time
			for range 20 {
				_, _ = s.transport.WriteTo([]byte("hello"), "10.0.0.3:7946") // never answered
			}
			time.Sleep(time.Second)
		}
		for _, n := range nodes {
			if !agree(3, nodes...) || len(n.Members()) != 3 {
				t.Errorf("%s took it in: %+v", n.Name(), n.Members())
			}
			if n.Stats().RefusedMessages > 0 || n.Stats().RefusedNodes > 0 {
				t.Errorf("%s has looked at what it sent: %+v", n.Name(), n.Stats())
			}
		}
		if got := gate.Refused(); got < 60*22 || nodes[0].Stats().RefusedAddresses != got {
			t.Errorf("%d refusals counted, %d in the statistics, want %d or more in both", got, nodes[0].Stats().RefusedAddresses, 60*22)
		}
		if got, most := logged.count("the address is not among those allowed"), int(time.Since(began)/time.Second)+1; got == 0 || got > most {
			t.Errorf("%d lines logged, want 1 to %d", got, most)
		}
	})
}

// A member whose messages come from inside says that it, or its peer listener, is outside.
func TestGateRefusesWhatMembersSay(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Name: "edge-1", Gate: gateFor(t, "10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ gossip, peer, want string }{
		{"10.0.0.2", "10.0.0.2:7443", ""},
		{"10.0.0.2", "192.0.2.7:7443", "peer address: 192.0.2.7 is outside"},
		{"192.0.2.7", "10.0.0.2:7443", "gossip address: 192.0.2.7 is outside"},
	} {
		n := nodeAt(tt.gossip, meta{Weight: 1, Role: RoleEdge, Peer: tt.peer, Keys: testKeys}.encode())
		err := delegate{c}.NotifyAlive(n)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("gossip %s, peer %s: %v, want an error with %q", tt.gossip, tt.peer, err, tt.want)
		}
		delegate{c}.NotifyJoin(n)
		if got := c.Stats().Alive; got != 1 && tt.want != "" {
			t.Errorf("gossip %s, peer %s: %d members alive", tt.gossip, tt.peer, got)
		}
		delegate{c}.NotifyLeave(n)
	}
}

func TestOwnAddressMustBeAllowed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ bind, advertise, peer string }{
		{"127.0.0.1:0", "", ":7443"},
		{"127.0.0.1:0", "10.0.0.1", "192.0.2.7:7443"},
	} {
		c, err := New(Options{
			Name: "edge-1", Keyring: testKeyring(), Bind: tt.bind, Advertise: tt.advertise, PeerAddr: tt.peer, Gate: gateFor(t, "10.0.0.0/8"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "is outside the allowed networks, 10.0.0.0/8: add its network to cluster.allow") {
			t.Errorf("%+v: run: %v, want an error that says what to do", tt, err)
		}
	}
}

// The listener of peers: real sockets on two loopback addresses.
func TestGatedListener(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gate := gateFor(t, "127.0.0.2/32")
	gated := gate.Listener(l)
	accepted := make(chan string, 4)
	var accepting sync.WaitGroup
	accepting.Go(func() { // ends with the listener
		for {
			c, err := gated.Accept()
			if err != nil {
				return
			}
			if _, ok := c.(*net.TCPConn); !ok {
				accepted <- "something that is no TCP connection: no sendfile"
			}
			accepted <- c.RemoteAddr().(*net.TCPAddr).IP.String()
			_ = c.Close() // the client sees it
		}
	})
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("from %s: read %d bytes, %v, want an end", from, n, err)
		}
		_ = c.Close() // it is closed on the other side
	}
	_ = l.Close() // it ends the loop
	accepting.Wait()
	close(accepted)
	var got []string
	for from := range accepted {
		got = append(got, from)
	}
	if len(got) != 1 || got[0] != "127.0.0.2" || gate.Refused() != 1 {
		t.Errorf("accepted %q, %d refused, want 127.0.0.2 and 1", got, gate.Refused())
	}
}
