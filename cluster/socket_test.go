package cluster

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestRealSockets runs three nodes on loopback sockets. It does not run in parallel, so that it can look for goroutines
// that are left.
func TestRealSockets(t *testing.T) {
	var nodes []*Cluster
	var stops []func() error
	var seeds []string
	for i := range 3 {
		c, err := New(Options{
			Name: fmt.Sprintf("edge-%d", i+1), Keyring: testKeyring(), Bind: "127.0.0.1:0", PeerAddr: "127.0.0.1:7443",
			Join: seeds, GossipInterval: 20 * time.Millisecond, DrainTime: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }() // ends with cancel; stop waits
		stop := func() error { cancel(); return <-done }
		select {
		case <-c.Ready():
		case err := <-done:
			t.Fatalf("run: %v", err)
		}
		seeds = append(seeds, c.Addr())
		nodes, stops = append(nodes, c), append(stops, stop)
	}
	began := time.Now()
	poll(t, "all see all", func() bool {
		for _, c := range nodes {
			if c.Ring().Len() != 3 || c.Ring().Version() != nodes[0].Ring().Version() {
				return false
			}
		}
		return true
	})
	t.Logf("3 nodes agree %v after the last was ready", time.Since(began))
	for i, stop := range stops {
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		for _, c := range nodes[i+1:] {
			poll(t, "a farewell is heard", func() bool { return c.Ring().Len() == 2-i })
		}
	}
	poll(t, "all goroutines end", func() bool { return len(gossipGoroutines()) == 0 })
}

// gossipGoroutines returns the stacks of what runs for a cluster.
func gossipGoroutines() (out []string) {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "memberlist.") || strings.Contains(stack, "cluster.(*Cluster)") {
			out = append(out, stack)
		}
	}
	return out
}

// poll waits for real, on real sockets.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not within 20s; goroutines:\n%s", what, strings.Join(gossipGoroutines(), "\n\n"))
		}
	}
}

func TestBindErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, tt := range []struct{ name, bind, want string }{
		{"TCP port taken", tcp.Addr().String(), "choose another --gossip"},
		{"UDP port taken", udp.LocalAddr().String(), "choose another --gossip"},
		{"not our address", "192.0.2.1:7946", "does not have that address"},
	} {
		c, err := New(Options{Name: "edge-1", Keyring: testKeyring(), Bind: tt.bind, PeerAddr: "127.0.0.1:7443"})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.bind) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q and %q", tt.name, err, tt.bind, tt.want)
		}
	}
}

func TestAdvertise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ bind, advertise, want string }{
		{"127.0.0.1:0", "192.0.2.7:17946", "192.0.2.7:17946"},
		{"127.0.0.1:0", "192.0.2.7", "192.0.2.7:PORT"},
		{"127.0.0.1:0", "", "127.0.0.1:PORT"},
		{"127.0.0.1:0", "localhost:7000", "127.0.0.1:7000"},
	} {
		c, err := New(Options{Name: "edge-1", Keyring: testKeyring(), Bind: tt.bind, Advertise: tt.advertise, PeerAddr: ":7443", DrainTime: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }() // ends with cancel, waited for below
		select {
		case <-c.Ready():
		case err := <-done:
			t.Fatalf("run: %v", err)
		}
		host, port, err := net.SplitHostPort(c.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(tt.want, "PORT", port, 1); c.Addr() != want {
			t.Errorf("bound to %s, advertising %q: address %s, want %s", tt.bind, tt.advertise, c.Addr(), want)
		}
		if m := c.Members()[0]; m.PeerAddr != net.JoinHostPort(host, "7443") {
			t.Errorf("advertising %q: peer address %s, want the same host", tt.advertise, m.PeerAddr)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func TestPeerOnLoopbackIsRefusedWhereGossipIsNot(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Name: "edge-1", Keyring: testKeyring(), Bind: "127.0.0.1:0", Advertise: "192.0.2.7", PeerAddr: "127.0.0.1:7443"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "peer address") {
		t.Errorf("run: %v, want an error about the peer address", err)
	}
}

func TestGossipOnEveryAddress(t *testing.T) {
	t.Parallel()
	want, err := privateAddr()
	if err != nil {
		t.Skip("this machine has no address but loopback")
	}
	c, err := New(Options{Name: "edge-1", Keyring: testKeyring(), Bind: "0.0.0.0:0", PeerAddr: ":7443", DrainTime: -1})
	if err != nil {
		t.Fatal(err)
	}
	if bound, err := c.advertised(t.Context(), addrPort("0.0.0.0:7946")); err != nil || bound.Addr() != want || bound.Port() != 7946 {
		t.Errorf("advertises %v, %v, want %v", bound, err, want)
	}
}
