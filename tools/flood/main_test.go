package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"weir/tools/proof"
)

// try runs a command line on real sockets.
func try(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, streams{&stdout, &stderr}, nil)
	return code, stdout.String(), stderr.String()
}

// TestMistakesSayWhatToDo: exit code 2 and one line.
func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, args, want string
	}{
		{"no edge", "", "<edge-url>"},
		{"no URL", "edge-1", "https://"},
		{"another scheme", "ftp://edge-1", "ftp://edge-1"},
		{"a path in the URL", "http://edge-1/vod", "--path"},
		{"no path", "http://edge-1 --path demo", "--path"},
		{"nobody", "http://edge-1 --viewers 0", "--viewers"},
		{"no buffer", "http://edge-1 --buffer 0s", "--buffer"},
		{"back in time", "http://edge-1 --ramp=-1s", "--ramp"},
		{"h2 without TLS", "http://edge-1 --protocol h2", "https://"},
		{"no such protocol", "http://edge-1 --protocol spdy", "--protocol"},
		{"no unit", "http://edge-1 --duration 10", "--duration"},
		{"no such file", "https://edge-1 --ca /nonexistent", "/nonexistent"},
		{"no certificate", "https://edge-1 --ca " + empty, "PEM"},
		{"a bad origin", "http://edge-1 --verify-against origin", "--verify-against"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, err := try(t, strings.Fields(tt.args)...)
			if code != exitUsage || strings.Count(err, "\n") != 1 || out != "" || !strings.Contains(err, tt.want) {
				t.Errorf("exit code %d, output %q, error %q; want 2 and one line that says %q", code, out, err, tt.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	if code, out, _ := try(t, "--help"); code != exitOK || !strings.Contains(out, "Usage: flood") {
		t.Errorf("flood --help: exit code %d, %q", code, out)
	}
}

// TestProtocols: viewers speak what they are told to, over a certificate that they are told to trust, and leave nothing
// behind.
func TestProtocols(t *testing.T) {
	proof.Goroutines(t)
	server, _ := proof.Certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificates[0].Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards spoken
	spoken := map[string]int{}
	s := &studio{fault: func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		spoken[r.Proto]++
		return false
	}}
	address := serveAll(t, s, server)
	for _, tt := range []struct {
		protocol string
		want     []string
	}{
		{"h1", []string{"HTTP/1.1"}},
		{"h2", []string{"HTTP/2.0"}},
		{"h3", []string{"HTTP/3.0"}},
		{"mix", []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}},
	} {
		clear(spoken)
		code, out, errs := try(t, "https://"+address, "--path=/t/master.m3u8", "--viewers=6", "--ramp=0s", "--fast", "--protocol="+tt.protocol, "--ca="+ca, "-q")
		if code != exitOK || len(spoken) != len(tt.want) {
			t.Errorf("%s: exit code %d, spoken %v\n%s%s", tt.protocol, code, spoken, out, errs)
		}
		for _, p := range tt.want {
			if spoken[p] == 0 {
				t.Errorf("%s: nobody spoke %s", tt.protocol, p)
			}
		}
	}
	code, out, _ := try(t, "https://"+address, "--path=/t/master.m3u8", "--viewers=1", "--timeout=1s", "--fast", "-q", "--protocol=h1")
	if code != exitBad || !strings.Contains(out, failTLS) {
		t.Errorf("an unknown certificate: exit code %d\n%s", code, out)
	}
}

// serveAll serves over HTTP/1.1, 2 and 3 on one address.
func serveAll(t *testing.T, h http.Handler, config *tls.Config) string {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	stop := proof.Serve(tcp, h, config.Clone())
	quicServer := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(config.Clone())}
	var running sync.WaitGroup
	running.Go(func() { _ = quicServer.Serve(udp) }) // ends with Close below
	t.Cleanup(func() {
		stop()
		_ = quicServer.Close()
		_ = udp.Close()
		running.Wait()
	})
	return tcp.Addr().String()
}
