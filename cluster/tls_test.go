package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// connect returns the two ends of a loopback connection. A pipe would not do: TLS sends alerts while the other side sends.
func connect(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{server, client} {
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return server, client
}

// handshake lets client and server exchange a byte each way, and returns what each says about it.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := connect(t)
	done := make(chan error, 1)
	go func() { // ends with the connection, at the latest at its deadline
		s := tls.Server(a, server)
		_, err := io.ReadFull(s, make([]byte, 1))
		if err == nil {
			_, err = s.Write([]byte("y"))
		}
		_ = s.Close() // the error above says more
		done <- err
	}()
	c := tls.Client(b, client)
	_, clientErr = c.Write([]byte("x"))
	if clientErr == nil {
		// TLS 1.3: a client knows that the server took its certificate when the server's first byte comes.
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	_ = c.Close() // the error above says more
	return <-done, clientErr
}

// keyringOf returns a keyring that holds these secrets for ever.
func keyringOf(t *testing.T, secrets ...Secret) *Keyring {
	t.Helper()
	k, err := NewKeyring(KeyringOptions{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func peerTLS(t *testing.T, s Secret, name string) (server, client *tls.Config) {
	t.Helper()
	server, client, err := keyringOf(t, s).PeerTLS(name)
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// identity is how a node serves and asks.
type identity struct{ server, client *tls.Config }

// pipeHandshake does what handshake does, on a pipe, as a synctest bubble needs it, and returns one error.
func pipeHandshake(server, client *tls.Config) error {
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() { // ends with the pipe, which is closed below
		s := tls.Server(a, server)
		_, err := s.Read(make([]byte, 1))
		_ = a.Close() // the error above says more
		done <- err
	}()
	c := tls.Client(b, client)
	_, err := c.Write([]byte("x"))
	if err != nil {
		_ = b.Close() // the error above says more
	}
	return errors.Join(err, <-done)
}

// leafOf returns the certificate that a client shows.
func leafOf(t *testing.T, client *tls.Config) tls.Certificate {
	t.Helper()
	leaf, err := client.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return *leaf
}

// to returns the configuration for asking the node called name.
func to(client *tls.Config, name string) *tls.Config {
	c := client.Clone()
	c.ServerName = name
	return c
}

func TestPeersTalk(t *testing.T) {
	t.Parallel()
	server, _ := peerTLS(t, testSecret, "edge-1")
	_, client := peerTLS(t, testSecret, "edge-2")
	for _, name := range []string{"edge-1", "EDGE-1", "10.0.0.1", "::1", ""} {
		if s, c := handshake(t, server, to(client, name)); s != nil || c != nil {
			t.Errorf("asking %s: server %v, client %v", name, s, c)
		}
	}
	if s, c := handshake(t, server, to(client, "edge-3")); c == nil || s == nil {
		t.Errorf("edge-1 passed for edge-3: server %v, client %v", s, c)
	}
}

func TestStrangePeersAreRefused(t *testing.T) {
	t.Parallel()
	server, client := peerTLS(t, testSecret, "edge-1")
	otherServer, otherClient := peerTLS(t, NewSecret(), "edge-1")
	plain := plainAuthority(t, "edge-1")
	noCert := client.Clone()
	noCert.GetClientCertificate = nil
	old := client.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	expired, err := makePapers(keyringOf(t, testSecret).current.Load(), "edge-1", time.Now().Add(-11*365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	careless := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: certificates, InsecureSkipVerify: true} //nolint:gosec // plays the intruder
	}
	for _, tt := range []struct {
		name           string
		server, client *tls.Config
	}{
		{"client of another cluster", server, careless(leafOf(t, otherClient))},
		{"client without certificate", server, to(noCert, "edge-1")},
		{"client with a plain authority's certificate", server, careless(plain)},
		{"client with TLS 1.2", server, to(old, "edge-1")},
		{"server of another cluster", otherServer, to(client, "edge-1")},
		{"server of another cluster, by address", otherServer, to(client, "10.0.0.1")},
		{"server with a plain authority's certificate", careless(plain), to(client, "edge-1")},
		{"server with an expired certificate", expired.server, to(client, "edge-1")},
	} {
		serverErr, clientErr := handshake(t, tt.server, tt.client)
		if serverErr == nil || clientErr == nil {
			t.Errorf("%s: went through: server %v, client %v", tt.name, serverErr, clientErr)
		}
	}
}

// plainAuthority returns a certificate for name by an authority that looks like ours but has a key of its own.
func plainAuthority(t *testing.T, name string) tls.Certificate {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: caName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := mintLeaf(name, time.Now(), key, ca)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// A leaf may not sign: whoever steals one from a process must not be able to make others.
func TestLeafIsNoAuthority(t *testing.T) {
	t.Parallel()
	server, client := peerTLS(t, testSecret, "edge-1")
	leaf := leafOf(t, client)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"edge-2"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, leaf.Leaf, key.Public(), leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	forged := tls.Certificate{Certificate: [][]byte{der, leaf.Certificate[0]}, PrivateKey: key}
	careless := &tls.Config{Certificates: []tls.Certificate{forged}, InsecureSkipVerify: true} //nolint:gosec // plays the intruder
	if s, _ := handshake(t, server, careless); s == nil {
		t.Error("the server took a certificate signed by a leaf")
	}
	if _, c := handshake(t, careless, to(client, "edge-2")); c == nil {
		t.Error("the client took a certificate signed by a leaf")
	}
}

func TestAuthorityIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	_, a, err := testSecret.authority()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSecret([]byte(testSecret.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := again.authority()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Raw, b.Raw) {
		t.Error("two processes derive different authorities")
	}
}

func TestPeerTLSRefuses(t *testing.T) {
	t.Parallel()
	for _, secrets := range []Secrets{nil, {Secret{}}} {
		if _, err := NewKeyring(KeyringOptions{Secrets: secrets}); !errors.Is(err, ErrNoSecret) {
			t.Errorf("without a secret: %v, want %v", err, ErrNoSecret)
		}
	}
	if _, _, err := keyringOf(t, testSecret).PeerTLS("10.0.0.1"); err == nil {
		t.Error("an address passed for a name")
	}
}

// What a keyring's change does to peers: see TestRotation for the order that operators keep.
func TestPeersFollowTheKeyring(t *testing.T) {
	t.Parallel()
	older, newer := NewSecret(), NewSecret()
	one, two := keyringOf(t, older), keyringOf(t, older)
	server, _, err := one.PeerTLS("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	_, client, err := two.PeerTLS("edge-2")
	if err != nil {
		t.Fatal(err)
	}
	client = to(client, "edge-1") // net/http clones as well
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	running := tlsEcho(t, server, client)
	for _, tt := range []struct {
		name     string
		one, two Secrets
		ok       bool
	}{
		{"as they were", Secrets{older}, Secrets{older}, true},
		{"the server accepts the new one", Secrets{older, newer}, Secrets{older}, true},
		{"the client uses the new one", Secrets{older, newer}, Secrets{newer, older}, true},
		{"both use it", Secrets{newer, older}, Secrets{newer, older}, true},
		{"the client has the old one alone", Secrets{newer}, Secrets{older}, false},
		{"the client shows the old one", Secrets{newer}, Secrets{older, newer}, false},
		{"the server shows one that the client has not", Secrets{newer, older}, Secrets{older}, false},
		{"the new one alone", Secrets{newer}, Secrets{newer}, true},
	} {
		one.set(tt.one)
		two.set(tt.two)
		if s, c := handshake(t, server, client); (s == nil && c == nil) != tt.ok {
			t.Errorf("%s: server %v, client %v, want success: %v", tt.name, s, c, tt.ok)
		}
	}
	running("a connection of before")
}

// tlsEcho connects, and returns a function that sends a text there and back.
func tlsEcho(t *testing.T, server, client *tls.Config) func(string) {
	t.Helper()
	a, b := connect(t)
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		_, _ = io.Copy(s, s) // the other side sees what is missing
		_ = s.Close()        // likewise
	}()
	t.Cleanup(func() { _ = c.Close(); <-done }) // it may be broken
	echo := func(text string) {
		t.Helper()
		got := make([]byte, len(text))
		if _, err := io.WriteString(c, text); err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Errorf("%s: %q came back, %v", text, got, err)
		}
	}
	echo("hello")
	return echo
}

// TestPeersSpeakHTTP2 goes the way that requests go: http.Transport with the node's name as host.
func TestPeersSpeakHTTP2(t *testing.T) {
	t.Parallel()
	serverConfig, _ := peerTLS(t, testSecret, "edge-1")
	_, clientConfig := peerTLS(t, testSecret, "edge-2")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.TLS.PeerCertificates[0].DNSNames[0]) // the client misses it if it is lost
	}))
	server.TLS, server.EnableHTTP2 = serverConfig, true
	server.StartTLS()
	defer server.Close()
	transport := &http.Transport{TLSClientConfig: clientConfig, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	response, err := client.Get(server.URL) // by address
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "HTTP/2.0 edge-2" {
		t.Errorf("got %q, %v, want HTTP/2.0 edge-2", body, err)
	}
}
