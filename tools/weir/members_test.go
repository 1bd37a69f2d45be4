package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/cluster"
	"weir/configs"
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
