package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// served is the common name of what a client that asks for name gets, "" for nothing.
func served(t testing.TB, c *Certificates, name string) string {
	t.Helper()
	cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	if cert == nil {
		return ""
	}
	return cert.Leaf.Subject.CommonName
}

func TestCertificatesChoose(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	first, second := pairIn(dir, "first"), pairIn(dir, "second")
	ca.write(t, first, nil, "a.example", "*.w.example")
	ca.write(t, second, nil, "b.example", "www.w.example", "Upper.Example")
	for name, want := range map[string][2]string{ // default, strict
		"":                     {"a.example", "a.example"},
		"a.example":            {"a.example", "a.example"},
		"b.example":            {"b.example", "b.example"},
		"B.EXAMPLE.":           {"b.example", "b.example"},
		"upper.example":        {"b.example", "b.example"},
		"www.w.example":        {"b.example", "b.example"}, // exact before wildcard
		"other.w.example":      {"a.example", "a.example"},
		"deep.other.w.example": {"a.example", ""}, // a wildcard is for one label
		"w.example":            {"a.example", ""},
		"nobody.example":       {"a.example", ""},
		"example":              {"a.example", ""},
	} {
		for i, strict := range []bool{false, true} {
			c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{first, second}, Strict: strict})
			if err != nil {
				t.Fatal(err)
			}
			if got := served(t, c, name); got != want[i] {
				t.Errorf("SNI %q, strict %v: got %q, want %q", name, strict, got, want[i])
			}
		}
	}
}

func TestCertificatesRefuse(t *testing.T) {
	t.Parallel()
	dir, ca, other := t.TempDir(), newAuthority(t, nil), newAuthority(t, nil)
	good := pairIn(dir, "good")
	ca.write(t, good, nil, "a.example")
	cert, key := ca.leaf(t, nil, "a.example")
	tests := []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"key of another", certPEM(cert, ca.cert), mustRead(t, good.Key), "private key does not match public key"},
		{"issuer of another", certPEM(cert, other.cert), keyPEM(t, key), "number 1 in it (CN=a.example) is not signed by number 2"},
		{"issuer first", certPEM(ca.cert, cert), keyPEM(t, key), "private key does not match public key"},
		{"no PEM", []byte("hello"), keyPEM(t, key), "no PEM block in it"},
		{"no key", certPEM(cert), certPEM(cert), "certificate"},
	}
	for _, tt := range tests {
		bad := pairIn(t.TempDir(), "bad")
		put(t, bad.Cert, tt.cert)
		put(t, bad.Key, tt.key)
		_, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{good, bad}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), bad.Cert) {
			t.Errorf("%s: got %v, want an error with %q that names %s", tt.name, err, tt.want, bad.Cert)
		}
	}
	if _, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pairIn(dir, "absent")}}); err == nil || !strings.Contains(err.Error(), "absent.pem") {
		t.Errorf("no file: got %v, want an error that names it", err)
	}
	if _, err := NewCertificates(CertificatesOptions{}); err == nil {
		t.Error("nothing to read: got no error")
	}
}

// TestCertificatesReload: a changed file is taken, a broken one is not, and half of a
// new pair is no reason for an alarm.
func TestCertificatesReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, ca, log := t.TempDir(), newAuthority(t, nil), &memoryLog{}
		first, second := pairIn(dir, "first"), pairIn(dir, "second")
		ca.write(t, first, nil, "a.example")
		ca.write(t, second, nil, "b.example")
		c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{first, second}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }() // ends with ctx, awaited below
		defer func() { cancel(); <-done }()
		polls := func(n int) {
			time.Sleep(time.Duration(n)*pollEvery + time.Millisecond)
			synctest.Wait()
		}

		ca.write(t, second, nil, "renewed.example")
		polls(1)
		if got := served(t, c, "renewed.example"); got != "renewed.example" {
			t.Errorf("after the change: got %s", got)
		}
		if got := served(t, c, "b.example"); got != "a.example" {
			t.Errorf("the name that went: got %s, want the first certificate", got)
		}

		key := mustRead(t, second.Key)
		put(t, second.Key, mustRead(t, first.Key))
		polls(1)
		if problem := c.States()[1].Problem; problem != "" {
			t.Errorf("after one look at half a pair: got the problem %q", problem)
		}
		polls(1)
		if problem := c.States()[1].Problem; !strings.Contains(problem, second.Key) {
			t.Errorf("after two looks: got the problem %q, want one that names %s", problem, second.Key)
		}
		if got := served(t, c, "renewed.example"); got != "renewed.example" {
			t.Errorf("with a broken file: got %s, want the certificate from before", got)
		}
		polls(100)
		if n := strings.Count(log.String(), "not taken"); n != 1 {
			t.Errorf("the log complains %d times, want 1:\n%s", n, log)
		}
		if err := c.Reload(ctx); err == nil || !strings.Contains(err.Error(), second.Key) {
			t.Errorf("Reload: got %v, want an error that names %s", err, second.Key)
		}
		put(t, second.Key, key)
		if err := c.Reload(ctx); err != nil || c.States()[1].Problem != "" {
			t.Errorf("Reload: got %v, problem %q", err, c.States()[1].Problem)
		}

		if err := os.Remove(first.Cert); err != nil {
			t.Fatal(err)
		}
		polls(2)
		if got := served(t, c, ""); got != "a.example" || c.States()[0].Problem == "" {
			t.Errorf("with a file gone: got %s, problem %q, want the certificate from before and a problem", got, c.States()[0].Problem)
		}
	})
}

func TestCertificatesWarnOfTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, ca, log := t.TempDir(), newAuthority(t, nil), &memoryLog{}
		pair := pairIn(dir, "a")
		ca.write(t, pair, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(ExpiryWarning + 12*time.Hour) }, "a.example")
		c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pair}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }() // ends with ctx, awaited below
		defer func() { cancel(); <-done }()
		for day, want := range []int{0, 1, 2} {
			synctest.Wait()
			if n := strings.Count(log.String(), "certificate ends soon"); n != want {
				t.Errorf("day %d: got %d warnings, want %d:\n%s", day, n, want, log)
			}
			time.Sleep(warnEvery + pollEvery)
		}
	})
}

// TestMintedCertificateIsRenewed: a node may run for longer than its certificate.
func TestMintedCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	c, err := NewCertificates(CertificatesOptions{MintDir: t.TempDir(), MintNames: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	before := c.States()[0].NotAfter
	if err := c.refresh(t.Context(), before.Add(-renewLeft-time.Hour), false); err != nil || !c.States()[0].NotAfter.Equal(before) {
		t.Errorf("too early: got %v, %v, want %v", c.States()[0].NotAfter, err, before)
	}
	if err := c.refresh(t.Context(), before.Add(-time.Hour), false); err != nil || !c.States()[0].NotAfter.After(before) {
		t.Errorf("near the end: got %v, %v, want one after %v", c.States()[0].NotAfter, err, before)
	}
}

// TestStrictSNI is the wire's side: a name without certificate, and TLS 1.1.
func TestStrictSNI(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	first, second := pairIn(dir, "first"), pairIn(dir, "second")
	ca.write(t, first, nil, "a.example")
	ca.write(t, second, nil, "b.example")
	c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{first, second}, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	s := startWith(t, Options{Handler: http.NotFoundHandler(), TLS: &tls.Config{GetCertificate: c.GetCertificate}})
	over := map[string]func(*tls.Config) error{
		"tcp": func(config *tls.Config) error {
			conn, err := tls.Dial("tcp", s.HTTPSAddr(), config)
			if err == nil {
				_ = conn.Close()
			}
			return err
		},
		"h3": func(config *tls.Config) error {
			tr := &http3.Transport{TLSClientConfig: config}
			defer func() { _ = tr.Close() }()
			response, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://" + s.HTTPSAddr())
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			return err
		},
	}
	for protocol, ask := range over {
		for _, name := range []string{"a.example", "b.example"} {
			if err := ask(&tls.Config{RootCAs: ca.pool(), ServerName: name}); err != nil {
				t.Errorf("%s, SNI %s: %v", protocol, name, err)
			}
		}
		if err := ask(&tls.Config{RootCAs: ca.pool(), ServerName: "c.example"}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s, unknown SNI: got %v, want unrecognized name", protocol, err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if err := over["tcp"](&tls.Config{RootCAs: ca.pool(), ServerName: "a.example", MinVersion: version, MaxVersion: version}); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s: got %v, want it refused", tls.VersionName(version), err)
		}
	}
	if err := over["tcp"](&tls.Config{RootCAs: ca.pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}); err == nil {
		t.Error("a CBC suite was agreed on")
	}
}
