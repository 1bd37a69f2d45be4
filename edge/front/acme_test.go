package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// pebble is an authority.
type pebble struct {
	program, dir, address, management string

	directory string
	trusted   *x509.CertPool // vouches for the directory's server
	root      *x509.CertPool // of what it issues
}

// newPebble makes one that does not run yet.
func newPebble(t *testing.T) *pebble {
	t.Helper()
	program, err := exec.LookPath("pebble")
	if err != nil {
		if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
			t.Fatal("pebble is missing: go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3")
		}
		t.Skip("needs pebble: go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3")
	}
	dir := t.TempDir()
	if _, err := MintCertificate(dir, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	p := &pebble{program: program, dir: dir, address: freeAddress(t), management: freeAddress(t), trusted: x509.NewCertPool(), root: x509.NewCertPool()}
	p.directory = "https://" + p.address + "/dir"
	p.trusted.AppendCertsFromPEM(mustRead(t, filepath.Join(dir, "ca.pem")))
	return p
}

// start runs it until the test ends. It looks for every host at loopback and these ports.
func (p *pebble) start(t *testing.T, httpPort, httpsPort int) {
	t.Helper()
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": p.address, "managementListenAddress": p.management,
		"certificate": filepath.Join(p.dir, "cert.pem"), "privateKey": filepath.Join(p.dir, "key.pem"),
		"httpPort": httpPort, "tlsPort": httpsPort, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(p.dir, "pebble.json"), config)
	command := exec.Command(p.program, "-strict", "-config", filepath.Join(p.dir, "pebble.json"), "-dnsserver", loopbackDNS(t))
	command.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	log := &memoryLog{}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()
		if t.Failed() {
			t.Logf("pebble:\n%s", log)
		}
	})
	p.root.AppendCertsFromPEM(p.fetch(t, "https://"+p.management+"/roots/0"))
}

// fetch asks until there is an answer.
func (p *pebble) fetch(t *testing.T, url string) []byte {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.trusted}}
	defer tr.CloseIdleConnections()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		response, err := (&http.Client{Transport: tr}).Get(url)
		if last = err; err != nil {
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	t.Fatalf("pebble does not start: %v", last)
	return nil
}

// freeAddress is one that nobody has at the moment: pebble does not tell what port it got.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// loopbackDNS is a DNS server, over TCP as pebble asks, for which every name is this machine.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { // ends after the answers, or when time is up
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(patience))
				for answerDNS(c) == nil {
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return l.Addr().String()
}

// answerDNS answers one question.
func answerDNS(c net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, question); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// TestACME: a host gets its certificate by either challenge, on our own listeners, and
// is served by what there is until then.
func TestACME(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			authority, log, dir := newPebble(t), &memoryLog{}, t.TempDir()
			acme, err := NewACME(ACMEOptions{
				Hosts: []string{"Edge.Example.Test"}, Directory: authority.directory, Roots: authority.trusted, Agree: true, Dir: dir, Email: "ops@example.test", Log: log.logger(),
			})
			if err != nil {
				t.Fatal(err)
			}
			certificates, err := NewCertificates(CertificatesOptions{MintDir: t.TempDir(), ACME: acme})
			if err != nil {
				t.Fatal(err)
			}
			s := startWith(t, Options{
				Handler: acme.Handler(http.HandlerFunc(whoAmI)),
				TLS:     &tls.Config{NextProtos: []string{protoACME}, GetCertificate: certificates.GetCertificate},
			})
			_, httpPort := splitPort(s.HTTPAddr())
			_, httpsPort := splitPort(s.HTTPSAddr())
			authority.start(t, httpPort, httpsPort)
			if state := certificates.States()[1]; !state.NotAfter.IsZero() || served(t, certificates, "edge.example.test") != "localhost" {
				t.Errorf("at first: got %+v, serve %s; want nothing yet and the minted one", state, served(t, certificates, "edge.example.test"))
			}

			httpAddr, httpsAddr := s.HTTPAddr(), s.HTTPSAddr()
			if challenge == "http-01" {
				httpsAddr = ""
			} else {
				httpAddr = ""
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- acme.Run(ctx, httpAddr, httpsAddr) }() // ends with ctx, awaited below
			defer func() { cancel(); <-done }()
			state := certificates.States()[1]
			for end := time.Now().Add(patience); state.NotAfter.IsZero() && time.Now().Before(end); <-time.After(20 * time.Millisecond) {
				state = certificates.States()[1]
			}
			if state.NotAfter.IsZero() {
				t.Fatalf("no certificate: %+v\n%s", state, log)
			}
			c, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{ServerName: "edge.example.test", RootCAs: authority.root})
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			if key := findKey(t, dir); key.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s can be read by others: %v", key.Name(), key.Mode())
			}
			if got := served(t, certificates, "other.example.test"); got != "localhost" {
				t.Errorf("another host gets %s, want the minted one", got)
			}
		})
	}
}

// findKey finds the private key under dir.
func findKey(t *testing.T, dir string) os.FileInfo {
	t.Helper()
	var found os.FileInfo
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(info.Name(), "example.test.key") {
			found = info
		}
		return err
	})
	if err != nil || found == nil {
		t.Fatalf("no key under %s: %v", dir, err)
	}
	return found
}

func TestACMEOptions(t *testing.T) {
	t.Parallel()
	good := ACMEOptions{Hosts: []string{"a"}, Directory: "https://ca/dir", Agree: true, Dir: "d"}
	for name, spoil := range map[string]func(*ACMEOptions){
		"Hosts": func(o *ACMEOptions) { o.Hosts = nil }, "Directory": func(o *ACMEOptions) { o.Directory = "" },
		"Agree": func(o *ACMEOptions) { o.Agree = false }, "Dir": func(o *ACMEOptions) { o.Dir = "" },
	} {
		bad := good
		spoil(&bad)
		if _, err := NewACME(bad); err == nil || !strings.Contains(err.Error(), "ACMEOptions."+name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}

// TestChallengesOfOthers: the origin may have an authority of its own.
func TestChallengesOfOthers(t *testing.T) {
	t.Parallel()
	a, err := NewACME(ACMEOptions{Hosts: []string{"a.example"}, Directory: "https://127.0.0.1:1/dir", Agree: true, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Handler: a.Handler(http.HandlerFunc(whoAmI))})
	c, url := s.client(t, "h1")
	response, err := c.Get(url + "/.well-known/acme-challenge/token")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Errorf("got %s, want what the handler says", response.Status)
	}
}
