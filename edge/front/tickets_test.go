package front

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"testing"
	"time"
)

// resumer is a client that keeps its tickets under one name, whatever host it asks for:
// what an attacker's would do.
type resumer struct {
	tls.ClientSessionCache
}

func (r resumer) Get(string) (*tls.ClientSessionState, bool) { return r.ClientSessionCache.Get("") }
func (r resumer) Put(_ string, s *tls.ClientSessionState)    { r.ClientSessionCache.Put("", s) }

func newResumer() resumer { return resumer{tls.NewLRUClientSessionCache(1)} }

// resumes asks for name and tells whether the session was resumed. The answer is read, so
// that the tickets of TLS 1.3 have come.
func resumes(t *testing.T, addr string, config *tls.Config) bool {
	t.Helper()
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bytes.NewBuffer(nil).ReadFrom(c); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// TestTicketsAreShared: what began at one server goes on at another with the same
// secret, and at none with another.
func TestTicketsAreShared(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil)
	pair := ca.keyPair(t, "a.example")
	server := func(secret string) string {
		return startWith(t, Options{Handler: http.NotFoundHandler(), TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, TicketSecret: []byte(secret)}).HTTPSAddr()
	}
	first, second, stranger, alone := server("one secret"), server("one secret"), server("another"), server("")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range []struct {
			name, from, to string
			want           bool
		}{
			{"itself", first, first, true},
			{"same secret", first, second, true},
			{"other secret", first, stranger, false},
			{"no secret", first, alone, false},
			{"itself without secret", alone, alone, true},
		} {
			config := &tls.Config{RootCAs: ca.pool(), ServerName: "a.example", MaxVersion: version, ClientSessionCache: newResumer()}
			if resumes(t, tt.from, config) {
				t.Errorf("%s, %s: the first handshake was resumed", tls.VersionName(version), tt.name)
			}
			if got := resumes(t, tt.to, config); got != tt.want {
				t.Errorf("%s, %s: resumed is %v, want %v", tls.VersionName(version), tt.name, got, tt.want)
			}
		}
	}
}

// TestTicketsKeepToTheirHost: a ticket of host A with a client's certificate in it is
// worth nothing at host B, even where both are one server (the class of
// CVE-2025-23419).
func TestTicketsKeepToTheirHost(t *testing.T) {
	t.Parallel()
	ca, clients := newAuthority(t, nil), newAuthority(t, nil)
	cert, key := ca.leaf(t, nil, "a.example", "b.example")
	s := startWith(t, Options{
		Handler: http.NotFoundHandler(),
		TLS: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
			ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: clients.pool(),
		},
	})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{
			RootCAs: ca.pool(), ServerName: "a.example", MaxVersion: version, ClientSessionCache: newResumer(), Certificates: []tls.Certificate{clients.keyPair(t, "viewer")},
		}
		resumes(t, s.HTTPSAddr(), config)
		if !resumes(t, s.HTTPSAddr(), config) {
			t.Errorf("%s: the same host was not resumed", tls.VersionName(version))
		}
		config.ServerName = "b.example"
		config.Certificates = nil
		if resumes(t, s.HTTPSAddr(), config) {
			t.Errorf("%s: a ticket of a.example was resumed at b.example", tls.VersionName(version))
		}
	}
}

// TestTicketKeysRotate: tickets live for a day, not for ever, and a node may be ahead.
func TestTicketKeysRotate(t *testing.T) {
	t.Parallel()
	// A session comes out of a real handshake.
	var session []byte
	here, there := newTickets([]byte("secret")), newTickets([]byte("secret"))
	now := time.Unix(0, 0).Add(1000 * ticketEpoch)
	state := tls.ConnectionState{ServerName: "a.example"}
	seal := func(s tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		var err error
		session, err = here.wrap(state, ss, now)
		return session, err
	}
	ca := newAuthority(t, nil)
	config := &tls.Config{Certificates: []tls.Certificate{ca.keyPair(t, "a.example")}, WrapSession: seal}
	s := startBare(t, config)
	resumes(t, s, &tls.Config{RootCAs: ca.pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, ClientSessionCache: newResumer()})
	if session == nil {
		t.Fatal("no ticket was made")
	}
	for _, tt := range []struct {
		epochs int
		want   bool
	}{{-2, false}, {-1, true}, {0, true}, {1, true}, {2, true}, {3, false}} {
		got, err := there.unwrap(session, state, now.Add(time.Duration(tt.epochs)*ticketEpoch))
		if err != nil || (got != nil) != tt.want {
			t.Errorf("%d epochs later: got %v, %v, want it opened: %v", tt.epochs, got, err, tt.want)
		}
	}
	changed := bytes.Clone(session)
	changed[len(changed)-1] ^= 1
	if got, err := there.unwrap(changed, state, now); got != nil || err != nil {
		t.Errorf("a ticket that was changed: got %v, %v, want neither", got, err)
	}
}

// startBare answers one byte over crypto/tls alone.
func startBare(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024)) // the request, for the handshake's sake
			_, _ = c.Write([]byte("x"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}
