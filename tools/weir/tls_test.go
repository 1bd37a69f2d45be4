package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"weir/configs"
	"weir/edge/console"
	"weir/edge/front"
)

// mintFor makes a certificate for names in a directory of its own.
func mintFor(t *testing.T, roots *x509.CertPool, names ...string) configs.Certificate {
	t.Helper()
	dir := t.TempDir()
	if _, err := front.MintCertificate(dir, names, time.Now()); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(ca)
	return configs.Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

// named is an origin that says who it is.
func named(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, name) // the test sees what is missing
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// secureClients are clients of a node for each protocol over TLS, whatever host they ask for.
func secureClients(t *testing.T, address string, config *tls.Config) map[string]*http.Client {
	t.Helper()
	clients := map[string]*http.Client{}
	for _, protocol := range []string{"h1", "h2"} {
		var p http.Protocols
		p.SetHTTP1(protocol == "h1")
		p.SetHTTP2(protocol == "h2")
		tr := &http.Transport{TLSClientConfig: config.Clone(), Protocols: &p, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}
		t.Cleanup(tr.CloseIdleConnections)
		clients[protocol] = &http.Client{Transport: tr, Timeout: 20 * time.Second}
	}
	h3 := &http3.Transport{TLSClientConfig: config.Clone()}
	t.Cleanup(func() { h3.Close() })
	clients["h3"] = &http.Client{Transport: h3, Timeout: 20 * time.Second}
	return clients
}

// TestTheHostDecidesNotTheSNI: a connection that was opened in the name of one site
// gets another site's rules for another site's host, and nothing for a host that
// nobody has. So does one that was opened in no name, or in one that nobody has.
func TestTheHostDecidesNotTheSNI(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	a, b := mintFor(t, roots, "a.example"), mintFor(t, roots, "b.example")
	n := newSocketNode(t, func(o *nodeOptions) {
		o.config.TLS.Certificates = []configs.Certificate{a, b}
		o.config.Sites = []configs.Site{
			{Hosts: []string{"a.example"}, Origins: []string{named(t, "origin a")}},
			{Hosts: []string{"b.example"}, Origins: []string{named(t, "origin b")}},
		}
	})
	address := n.public.HTTPSAddr()
	// Go sends no SNI for an address. The certificate is then the first one.
	for _, sni := range []string{"a.example", "c.example", "127.0.0.1"} {
		config := &tls.Config{RootCAs: roots, ServerName: sni, InsecureSkipVerify: sni != "a.example"} // nobody has a certificate for the others
		for protocol, c := range secureClients(t, address, config) {
			for _, tt := range []struct {
				host, want string
				status     int
			}{
				{"a.example", "origin a", 200},
				{"b.example", "origin b", 200},
				{"c.example", "this host is not served here\n", 421},
			} {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/"+protocol, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				request.Host = tt.host
				response, err := c.Do(request)
				if err != nil {
					t.Errorf("%s: SNI %s, Host %s: %v", protocol, sni, tt.host, err)
					continue
				}
				body, _ := io.ReadAll(response.Body) // what is missing shows
				response.Body.Close()
				if response.StatusCode != tt.status || string(body) != tt.want {
					t.Errorf("%s: SNI %s, Host %s: got %d %q, want %d %q", protocol, sni, tt.host, response.StatusCode, body, tt.status, tt.want)
				}
			}
		}
	}
}

// servedNames asks for a name and returns those of the certificate.
func servedNames(t *testing.T, address, name string) []string {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // whoever it is
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].DNSNames
}

// TestHangupReloadsCertificates: a new file is taken, and where one is missing the
// others change all the same, what was served is served on, and status says why.
func TestHangupReloadsCertificates(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	a, b := mintFor(t, roots, "a.example"), mintFor(t, roots, "b.example")
	hangups := make(chan os.Signal)
	n := newSocketNode(t, func(o *nodeOptions) {
		o.config.TLS.Certificates = []configs.Certificate{a, b}
		o.hangup = hangups
	})
	if problems := tlsProblemsOf(n.node, time.Now()); len(problems) > 0 {
		t.Errorf("at first: got %v, want no problem", problems)
	}
	if _, err := front.MintCertificate(filepath.Dir(b.Cert), []string{"new.example"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a.Cert); err != nil {
		t.Fatal(err)
	}
	hangups <- syscall.SIGHUP
	hangups <- syscall.SIGHUP // taken when the first has been obeyed
	if got := servedNames(t, n.public.HTTPSAddr(), "new.example"); !strings.Contains(strings.Join(got, " "), "new.example") {
		t.Errorf("the new certificate: got %v", got)
	}
	if got := servedNames(t, n.public.HTTPSAddr(), "a.example"); !strings.Contains(strings.Join(got, " "), "a.example") {
		t.Errorf("the certificate whose file is gone: got %v, want it from before", got)
	}
	problems := tlsProblemsOf(n.node, time.Now())
	if len(problems) != 1 || !strings.Contains(problems[0].Why, a.Cert) {
		t.Errorf("got %v, want one problem that names %s", problems, a.Cert)
	}
	if problems := tlsProblemsOf(n.node, time.Now().Add(390*24*time.Hour)); len(problems) != 3 || !strings.Contains(problems[0].What, "ends in") {
		t.Errorf("a week before the end: got %v, want two more", problems)
	}
}

func tlsProblemsOf(n *node, now time.Time) []console.Problem {
	var problems []console.Problem
	n.tlsProblems(now, func(what, why, fix string) {
		problems = append(problems, console.Problem{What: what, Why: why, Fix: fix})
	})
	return problems
}

// TestCertificateMetrics: each certificate says by its first name how long it lasts.
func TestCertificateMetrics(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	n := newSocketNode(t, func(o *nodeOptions) {
		o.config.TLS.Certificates = []configs.Certificate{mintFor(t, roots, "a.example"), mintFor(t, roots, "a.example")}
	})
	w := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if count := strings.Count(w.Body.String(), "\nweir_certificate_left_seconds{name="); count != 2 || !strings.Contains(w.Body.String(), `weir_certificate_left_seconds{name="a.example"} 3.4`) {
		t.Errorf("got %d certificates in\n%s", count, w.Body)
	}
}

// TestClientsBehindABalancer: the origin of what is passed on and the access log hear of
// the client, not of the balancer.
func TestClientsBehindABalancer(t *testing.T) {
	t.Parallel()
	var forwarded atomic.Pointer[string]
	forwarded.Store(new(string))
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		value := strings.Join(r.Header.Values("X-Forwarded-For"), ", ")
		forwarded.Store(&value)
	}))
	t.Cleanup(origin.Close)
	file := filepath.Join(t.TempDir(), "access.log")
	access, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { access.Close() })
	t.Run("node", func(t *testing.T) { // which has written its log when this ends
		n := newSocketNode(t, func(o *nodeOptions) {
			o.access = &accessFile{file: access}
			o.config.Log.Format = "json"
			o.config.Listen.ProxyProtocol = []string{"127.0.0.1"}
			o.config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{origin.URL}}}
		})
		c, err := net.Dial("tcp", n.public.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("got %q, %v, want 200", answer, err)
		}
	})
	if got := forwarded.Load(); *got != "192.0.2.7" {
		t.Errorf("the origin hears of %q, want 192.0.2.7", *got)
	}
	if lines, err := os.ReadFile(file); err != nil || !strings.Contains(string(lines), "192.0.2.7") || strings.Contains(string(lines), "127.0.0.1:") {
		t.Errorf("the access log has %q, %v, want 192.0.2.7", lines, err)
	}
}

// clientPair is a client's certificate; its authority is ca.pem beside it.
func clientPair(t *testing.T) configs.Certificate {
	t.Helper()
	pair := mintFor(t, x509.NewCertPool(), "operator")
	dir := filepath.Dir(pair.Cert)
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operator"}, NotBefore: leaf.Leaf.NotBefore, NotAfter: leaf.Leaf.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, leaf.Leaf.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pair.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestAdminOverTLS: operators need the credential and, where the node asks for it, a
// certificate of the right authority; the commands can show both.
func TestAdminOverTLS(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	server, operator, stranger := mintFor(t, roots, "edge.example"), clientPair(t), clientPair(t)
	authorityOf := func(pair configs.Certificate) string { return filepath.Join(filepath.Dir(pair.Cert), "ca.pem") }
	n := newSocketNode(t, func(o *nodeOptions) {
		o.config.Admin = configs.Admin{Cert: server.Cert, Key: server.Key, ClientCA: authorityOf(operator)}
	})
	address := n.admin.listener.Addr().String()
	status := func(args ...string) (int, string) {
		code, _, text := try(t, append([]string{"status", "--dir", n.config.Node.Dir}, args...)...)
		return code, text
	}
	secure := []string{"--admin", "https://" + address, "--admin-ca", authorityOf(server)}
	if code, text := status(append(secure, "--admin-cert", operator.Cert, "--admin-key", operator.Key)...); code != exitOK {
		t.Errorf("with an operator's certificate: exit code %d, %s", code, text)
	}
	for name, args := range map[string][]string{
		"no certificate":           secure,
		"another's certificate":    append(slices.Clone(secure), "--admin-cert", stranger.Cert, "--admin-key", stranger.Key),
		"no trust":                 {"--admin", "https://" + address, "--admin-cert", operator.Cert, "--admin-key", operator.Key},
		"cleartext":                {"--admin", address},
		"certificate without key":  append(slices.Clone(secure), "--admin-cert", operator.Cert),
		"roots that are not there": {"--admin", "https://" + address, "--admin-ca", "/absent/ca.pem"},
	} {
		if code, text := status(args...); code == exitOK {
			t.Errorf("%s: got exit code 0, %s", name, text)
		}
	}
}

// TestMissingCertificate: the node does not start, and says which file is missing.
func TestMissingCertificate(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*configs.TLS){
		"/absent/cert.pem": func(c *configs.TLS) {
			c.Certificates = []configs.Certificate{{Cert: "/absent/cert.pem", Key: "/absent/key.pem"}}
		},
		"/absent/ca.pem": func(c *configs.TLS) {
			c.ACME = configs.ACME{Hosts: []string{"a.example"}, Directory: "https://127.0.0.1:1/dir", Agree: true, CAFile: "/absent/ca.pem"}
		},
	} {
		c := configs.Default()
		c.Node.Name, c.Node.Dir = "edge-1", t.TempDir()
		c.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://127.0.0.1:1"}}}
		spoil(&c.TLS)
		_, err := newNode(nodeOptions{config: c, log: slog.New(slog.DiscardHandler)})
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want a usage error that names %s", err, name)
		}
	}
}

// TestACMEThatDoesNotAnswer: the node serves with a certificate of its own meanwhile, says
// what is wrong, and ends when it is told to.
func TestACMEThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	n := newSocketNode(t, func(o *nodeOptions) {
		o.config.TLS.ACME = configs.ACME{Hosts: []string{"a.example"}, Directory: "https://127.0.0.1:1/dir", Agree: true}
	})
	if got := servedNames(t, n.public.HTTPSAddr(), "a.example"); len(got) == 0 {
		t.Error("no certificate is served")
	}
	problems := func() int { return len(tlsProblemsOf(n.node, time.Now())) }
	for end := time.Now().Add(20 * time.Second); problems() == 0 && time.Now().Before(end); <-time.After(20 * time.Millisecond) {
	}
	got := tlsProblemsOf(n.node, time.Now())
	if len(got) != 1 || !strings.Contains(got[0].Why, "certificate for a.example from https://127.0.0.1:1/dir") {
		t.Errorf("got %v, want one problem that names the host and the authority", got)
	}
}
