package proof

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// leakWait is how long goroutines may take to end after the test has.
const leakWait = 5 * time.Second

// Goroutines fails the test if a goroutine that it started, at any depth, is
// still there five seconds after its end. Call it first, so that its cleanup runs
// last. It tells goroutines apart by a profiler label they inherit, so parallel
// tests do not disturb each other. In a bubble it is needless: those find their
// own leaks.
func Goroutines(tb testing.TB) {
	tb.Helper()
	const label = "proof-goroutines"
	mark := fmt.Sprintf("%s-%p", tb.Name(), &tb)
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(label, mark)))
	tb.Cleanup(func() {
		pprof.SetGoroutineLabels(context.Background()) // this one is no leak
		var left string
		for end := time.Now().Add(leakWait); ; time.Sleep(5 * time.Millisecond) {
			if left = labelled(fmt.Sprintf("%q:%q", label, mark)); left == "" || time.Now().After(end) {
				break
			}
		}
		if left != "" {
			tb.Errorf("goroutines left behind:\n%s", left)
		}
	})
}

// labelled returns the stacks of the goroutines with a label.
func labelled(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	var left []string
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(block, label) {
			left = append(left, block)
		}
	}
	return strings.Join(left, "\n\n")
}

// RequireTool returns the path of a program. Where it is absent the test is
// skipped with the name of the Debian package to install, or fails if
// WEIR_REQUIRE_TOOLS is 1.
func RequireTool(tb testing.TB, name, debianPackage string) string {
	tb.Helper()
	found, err := exec.LookPath(name)
	if err == nil {
		return found
	}
	text := fmt.Sprintf("%s is not installed: apt-get install %s", name, debianPackage)
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		tb.Fatal(text)
	}
	tb.Skip(text)
	return ""
}

// Certificate mints a certificate for names and loopback addresses, and
// returns a server's configuration that has it and a client's that trusts it. It
// is valid from 1990 to 2090, so that the clock of a bubble is inside.
func Certificate(tb testing.TB, names ...string) (server, client *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "proof"},
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              append([]string{"localhost"}, names...),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// quiet is a logger for servers whose complaints are the test's intention.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
