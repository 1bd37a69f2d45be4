package front

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// TestPanicsOfHandshakes: a certificate that cannot be chosen ends its connection, over TCP and QUIC alike.
func TestPanicsOfHandshakes(t *testing.T) {
	t.Parallel()
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"certificate": {GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "bad.example" {
				panic("a bug")
			}
			return &cert, nil
		}},
		"configuration": {Certificates: []tls.Certificate{cert}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "bad.example" {
				panic("a bug")
			}
			return nil, nil //nolint:nilnil // the contract of crypto/tls
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startWith(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), TLS: config})
			for i, protocol := range []string{"h1+tls", "h3"} {
				c, url := s.client(t, protocol)
				var client *tls.Config
				switch tr := c.Transport.(type) {
				case *http.Transport:
					client = tr.TLSClientConfig
				case *http3.Transport:
					client = tr.TLSClientConfig
				}
				client.ServerName, client.InsecureSkipVerify = "bad.example", true
				if _, _, err := get(c, url); err == nil {
					t.Errorf("%s: a response", protocol)
				}
				if got := s.Stats().Panics; got != int64(i+1) {
					t.Errorf("%s: %d panics are counted, want %d", protocol, got, i+1)
				}
			}
		})
	}
}

// TestPanicLeavesNoSeat: a panic in the middle of a handshake gives the connection's seat back.
func TestPanicLeavesNoSeat(t *testing.T) {
	t.Parallel()
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, VerifyConnection: func(tls.ConnectionState) error { panic("a bug") }}
	s := startWith(t, Options{Handler: http.NotFoundHandler(), TLS: config, Connections: Connections{Total: 1}})
	for range 2 {
		conn, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // the certificate is the test's
		if err == nil {
			t.Error("the handshake ends well")
			_ = conn.Close()
		}
	}
	if got := s.Stats(); got.Panics != 2 || got.Connections != 0 {
		t.Errorf("%d panics are counted, %d connections; want 2 and none", got.Panics, got.Connections)
	}
}

// TestPanicOfAStream: what reads streams of HTTP/3 ends its connection alone.
func TestPanicOfAStream(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bug" {
			r.Context().(*http3Stream).conn.guard(func() { panic("a bug") })
		}
	})})
	c, url := s.client(t, "h3")
	if _, _, err := get(c, url+"/bug"); err == nil {
		t.Error("the connection goes on")
	}
	if got := s.Stats().Panics; got != 1 {
		t.Errorf("%d panics are counted, want 1", got)
	}
	if _, _, err := get(c, url+"/ok"); err != nil {
		t.Errorf("the next connection: %v", err)
	}
}
