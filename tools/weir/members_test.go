package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cluster"
	"weir/configs"
	"weir/edge/upstream"
)

// loopbackNode runs a node of a cluster on real sockets until the test ends. change completes its configuration.
func loopbackNode(t testing.TB, name, origin string, secrets cluster.Secrets, change func(*configs.Config)) *node {
	t.Helper()
	config := configs.Default()
	config.Node.Name, config.Node.Dir = name, t.TempDir()
	config.Listen.HTTP, config.Listen.HTTPS, config.Listen.Admin = "127.0.0.1:0", "", "127.0.0.1:0"
	config.Cluster.Gossip, config.Cluster.Peer = "127.0.0.1:0", "127.0.0.1:0"
	config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{origin}}}
	if change != nil {
		change(config)
	}
	keyring, err := cluster.NewKeyring(cluster.KeyringOptions{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(nodeOptions{config: config, keyring: keyring, log: slog.New(slog.DiscardHandler), hurry: true})
	if err == nil {
		err = n.listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	running := start(context.Background(), n.run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Errorf("run %s: %v", name, err)
		}
	})
	<-n.current()
	return n
}

// meet waits until all have one another on their rings.
func meet(t testing.TB, nodes ...*node) {
	t.Helper()
	tick, timeout := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for slices.ContainsFunc(nodes, func(n *node) bool { return n.ring().Len() != len(nodes) }) {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%d nodes have not met in 20 s", len(nodes))
		}
	}
}

// fetchPlain asks a node for a path of site.example over HTTP/1.1 and returns status and length of the body.
func fetchPlain(t testing.TB, address, path string) (status int, length int64) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "site.example"
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	length, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		t.Errorf("fetch %s: %v", path, err)
	}
	return resp.StatusCode, length
}

// TestPeersInTheClear: what one node has on disk goes to the other by sendfile, and who does not sign gets nothing.
func TestPeersInTheClear(t *testing.T) {
	t.Parallel()
	const size, objects = 2 << 20, 8
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size)) // a node that goes away sees it itself
	}))
	defer origin.Close()
	secrets := cluster.Secrets{cluster.NewSecret()}
	inClear := func(c *configs.Config) { c.Cluster.Cleartext = true }
	a := loopbackNode(t, "edge-1", origin.URL, secrets, inClear)
	b := loopbackNode(t, "edge-2", origin.URL, secrets, func(c *configs.Config) { inClear(c); c.Cluster.Join = []string{a.cluster.Addr()} })
	meet(t, a, b)
	for _, through := range []*node{a, b} {
		for i := range objects {
			if status, length := fetchPlain(t, through.public.HTTPAddr(), "/"+strconv.Itoa(i)); status != http.StatusOK || length != size {
				t.Errorf("object %d through %s: status %d, %d bytes", i, through.config.Node.Name, status, length)
			}
		}
	}
	if got := asked.Load(); got != objects {
		t.Errorf("the origin was asked %d times, want %d", got, objects)
	}
	// Every object went to a peer once at least: as it came to its owner, or from there to the other node.
	var sent int64
	for _, n := range []*node{a, b} {
		s := n.inner.Stats()
		sent += s.SendfileBytes
		if s.SendfileCalls == 0 || s.HTTP1.Accepted+s.HTTP2.Accepted > 0 || n.signer.Refused() > 0 {
			t.Errorf("%s: %+v, %d refused", n.config.Node.Name, s, n.signer.Refused())
		}
	}
	if sent < objects/2*size {
		t.Errorf("%d bytes went to peers by sendfile, want %d at least", sent, objects/2*size)
	}
	if status, length := fetchPlain(t, a.peerAddr(), "/0"); status != http.StatusForbidden || length > 100 || a.signer.Refused() != 1 {
		t.Errorf("unsigned: status %d, %d bytes, %d counted", status, length, a.signer.Refused())
	}
	// A node that signs with another secret finds that out, and does not take the refusal for an answer.
	stranger, err := cluster.NewKeyring(cluster.KeyringOptions{Secrets: cluster.Secrets{cluster.NewSecret()}})
	if err != nil {
		t.Fatal(err)
	}
	peers, err := upstream.NewPeers(upstream.PeerOptions{Sign: cluster.NewSigner(stranger, "edge-3", nil).Sign})
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	_, err = peers.Fetch(t.Context(), "edge-1", a.peerAddr(), &upstream.Request{Method: http.MethodGet, Host: "site.example", Path: "/0"})
	if err == nil || !strings.Contains(err.Error(), "does not accept this node's signature") {
		t.Errorf("signed by a stranger: %v", err)
	}
}

// TestStrangeAddressesAreRefused: a connection from an address that is not allowed ends before TLS begins, on the peers'
// port and on that of gossip, and shows in /metrics.
func TestStrangeAddressesAreRefused(t *testing.T) {
	t.Parallel()
	n := loopbackNode(t, "edge-1", "http://127.0.0.1:9", cluster.Secrets{cluster.NewSecret()}, func(c *configs.Config) {
		c.Cluster.Gossip, c.Cluster.Peer, c.Cluster.Allow = "127.0.0.2:0", "127.0.0.2:0", []string{"127.0.0.2/32"}
	})
	for _, address := range []string{n.inner.HTTPSAddr(), n.cluster.Addr()} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(make([]byte, 1)); got > 0 || err == nil {
			t.Errorf("%s: read %d bytes, %v, want an end", address, got, err)
		}
		_ = c.Close() // it is closed on the other side
	}
	if got := n.inner.Stats().HandshakeErrors; got > 0 {
		t.Errorf("%d handshakes were tried", got)
	}
	w := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `weir_cluster_refused_total{reason="address"} 2`; !strings.Contains(string(text), want) {
		t.Errorf("/metrics lacks %s", want)
	}
}
