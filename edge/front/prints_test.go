package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"weir/tools/proof"
)

// chromeHello is that of FoxIO-LLC/ja4, technical_details/JA4.md, with GREASE.
func chromeHello() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		CipherSuites:      []uint16{0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions:        []uint16{0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015},
		SignatureSchemes:  []tls.SignatureScheme{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		SupportedProtos:   []string{"h2", "http/1.1"},
		SupportedVersions: []uint16{0x2a2a, tls.VersionTLS13, tls.VersionTLS12},
	}
}

// TestPrints: the fingerprints that their authors have published for these hellos.
func TestPrints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		quic      bool
		change    func(h *tls.ClientHelloInfo)
		ja3, want string
	}{
		{name: "Chrome", want: "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{name: "over QUIC", quic: true, change: func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"h3"} }, want: "q13d1516h3_8daaf6152771_e5627efa2ab1"},
		{name: "to an address", change: func(h *tls.ClientHelloInfo) { h.Extensions = append(h.Extensions[:2:2], h.Extensions[3:]...) }, want: "t13i1515h2_8daaf6152771_e5627efa2ab1"},
		{name: "an odd protocol", change: func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"\xab\xcd"} }, want: "t13d1516ad_8daaf6152771_e5627efa2ab1"},
		{name: "salesforce/ja3", change: func(h *tls.ClientHelloInfo) {
			*h = tls.ClientHelloInfo{
				CipherSuites: []uint16{47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4}, Extensions: []uint16{0, 10, 11},
				SupportedCurves: []tls.CurveID{23, 24, 25}, SupportedPoints: []uint8{0}, SupportedVersions: []uint16{tls.VersionTLS10},
			}
		}, ja3: "ada70206e40642a3e4461f35503241d5"},
		{name: "salesforce/ja3 without extensions", change: func(h *tls.ClientHelloInfo) {
			*h = tls.ClientHelloInfo{CipherSuites: []uint16{4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99}, SupportedVersions: []uint16{tls.VersionTLS10}}
		}, ja3: "de350869b8c85de67a350c8d186f11e6", want: "t10i110000_" + shortSum([]byte("0003,0004,0005,0006,0009,000a,0012,0013,0062,0063,0064")) + "_000000000000"},
	} {
		h := chromeHello()
		if tt.change != nil {
			tt.change(h)
		}
		if got := ja4(h, tt.quic); tt.want != "" && got != tt.want {
			t.Errorf("%s: JA4: got %s, want %s", tt.name, got, tt.want)
		}
		if got := ja3(h); tt.ja3 != "" && got != tt.ja3 {
			t.Errorf("%s: JA3: got %s, want %s", tt.name, got, tt.ja3)
		}
	}
}

// TestPrintsReachTheHandler over every protocol: the same on each connection of a client, and none in the clear.
func TestPrintsReachTheHandler(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil)
	pair := ca.keyPair(t, "a.example")
	s := startWith(t, Options{
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ja3, ja4 := w.(interface{ Prints() (string, string) }).Prints()
			fmt.Fprintf(w, "%s %s %s", r.Proto, ja3, ja4)
		}),
	})
	client := func(version int) http.RoundTripper {
		config := &tls.Config{RootCAs: ca.pool(), ServerName: "a.example"}
		if version == 3 {
			h3 := &http3.Transport{TLSClientConfig: config}
			t.Cleanup(func() { _ = h3.Close() })
			return h3
		}
		p := &http.Protocols{}
		p.SetHTTP1(version == 1)
		p.SetHTTP2(version == 2)
		tcp := &http.Transport{TLSClientConfig: config, Protocols: p}
		t.Cleanup(tcp.CloseIdleConnections)
		return tcp
	}
	ask := func(rt http.RoundTripper, url string) string {
		r, err := rt.RoundTrip(mustRequest(t, url))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for version, want := range map[int]string{1: "HTTP/1.1 ", 2: "HTTP/2.0 ", 3: "HTTP/3.0 "} {
		first, second := ask(client(version), "https://"+s.HTTPSAddr()+"/"), ask(client(version), "https://"+s.HTTPSAddr()+"/")
		parts := strings.Fields(first)
		letter := map[int]string{1: "t13d", 2: "t13d", 3: "q13d"}[version]
		if first != second || !strings.HasPrefix(first, want) || len(parts) != 3 || len(parts[1]) != 32 || len(parts[2]) != 36 || !strings.HasPrefix(parts[2], letter) {
			t.Errorf("HTTP/%d: got %q, then %q", version, first, second)
		}
	}
	if got := ask(client(1), "http://"+s.HTTPAddr()+"/"); got != "HTTP/1.1  " {
		t.Errorf("in the clear: got %q", got)
	}
}

// TestPrintsOfRealClients: Chromium has the same JA4 twice, though it shuffles its extensions, and curl another one.
func TestPrintsOfRealClients(t *testing.T) {
	t.Parallel()
	chromium, curl := proof.RequireTool(t, "chromium", "chromium"), proof.RequireTool(t, "curl", "curl")
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ja3, ja4 := w.(interface{ Prints() (string, string) }).Prints()
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<p>ja4=%s ja3=%s.</p>", ja4, ja3)
	})})
	found := regexp.MustCompile(`ja4=(t13i\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12}) ja3=([0-9a-f]{32})\.`)
	run := func(program string, args ...string) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, append(args, "https://"+s.HTTPSAddr()+"/")...).Output()
		match := found.FindStringSubmatch(string(out))
		if match == nil {
			t.Fatalf("%s: %v: %.500s", program, err, out)
		}
		return match
	}
	browse := func() []string {
		return run(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), "--dump-dom")
	}
	one, two, three, four := browse(), browse(), run(curl, "-sk"), run(curl, "-sk")
	t.Logf("Chromium: %s and %s, curl: %s", one[1:], two[1:], three[1:])
	if one[1] != two[1] {
		t.Errorf("Chromium: JA4 %s, then %s", one[1], two[1])
	}
	if three[1] != four[1] || three[2] != four[2] || three[1] == one[1] || three[2] == one[2] {
		t.Errorf("curl: %s, then %s; Chromium: %s", three[1:], four[1:], one[1:])
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// BenchmarkPrints is what each handshake costs more.
func BenchmarkPrints(b *testing.B) {
	h := chromeHello()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ja3(h), ja4(h, false)
	}
}
