package front

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMintCertificate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mint := func(names []string, now time.Time) tls.Certificate {
		t.Helper()
		cert, err := MintCertificate(dir, names, now)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	authority := func() []byte {
		t.Helper()
		ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	first := mint([]string{"edge.example", "10.1.2.3"}, now)
	ca := authority()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, name := range []string{"edge.example", "10.1.2.3", "localhost", "127.0.0.1", "::1"} {
		if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]os.FileMode{"cert.pem": 0o644, "key.pem": 0o600, "ca.pem": 0o644, "ca-key.pem": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, fi, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	same := mint([]string{"10.1.2.3", "edge.example", "localhost"}, now.Add(leafLife-renewLeft-time.Hour))
	if !bytes.Equal(same.Certificate[0], first.Certificate[0]) {
		t.Error("the same names gave a new certificate")
	}
	added := mint([]string{"edge.example", "10.1.2.3", "new.example"}, now)
	if added.Leaf.VerifyHostname("new.example") != nil {
		t.Errorf("names are %v", added.Leaf.DNSNames)
	}
	renewed := mint([]string{"edge.example", "10.1.2.3", "new.example"}, now.Add(leafLife-renewLeft+time.Hour))
	if bytes.Equal(renewed.Certificate[0], added.Certificate[0]) {
		t.Error("a certificate near its end was not renewed")
	}
	other := mint([]string{"other.example"}, now)
	if other.Leaf.VerifyHostname("other.example") != nil || other.Leaf.VerifyHostname("edge.example") == nil {
		t.Errorf("names are %v", other.Leaf.DNSNames)
	}
	if !bytes.Equal(authority(), ca) {
		t.Error("the CA changed with the certificate")
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	mint([]string{"other.example"}, now)
	if _, err := loadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), now); err != nil {
		t.Errorf("a broken key was not replaced: %v", err)
	}
	if mint(nil, now.Add(caLife)); bytes.Equal(authority(), ca) {
		t.Error("an old CA was kept")
	}
}

func TestMintCertificateFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := MintCertificate(file, nil, time.Now()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names %s", err, file)
	}
}

func TestLoadCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, err := MintCertificate(d, nil, now); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cert, key string
		now       time.Time
		want      []string
	}{
		"no certificate": {text + "x", key, now, []string{text + "x", "no such file"}},
		"no key":         {cert, text + "x", now, []string{text + "x", "no such file"}},
		"not PEM":        {text, key, now, []string{text, "no PEM block"}},
		"key not PEM":    {cert, text, now, []string{text, "no PEM block"}},
		"other key":      {cert, filepath.Join(other, "key.pem"), now, []string{cert, other, "does not match"}},
		"expired":        {cert, key, now.Add(leafLife + time.Hour), []string{cert, "expired on"}},
		"not yet valid":  {cert, key, now.Add(-2 * clockSkew), []string{cert, "not valid before"}},
	} {
		_, err := loadCertificate(tt.cert, tt.key, tt.now)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
}

func TestSPKI(t *testing.T) {
	t.Parallel()
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(cert.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	want := base64.StdEncoding.EncodeToString(sum[:])
	bare := tls.Certificate{Certificate: cert.Certificate}
	if got := SPKI(cert); got != want || SPKI(bare) != want {
		t.Errorf("got %s, %s, want %s", got, SPKI(bare), want)
	}
	if got := SPKI(tls.Certificate{}); got != "" {
		t.Errorf("got %q for nothing", got)
	}
}
