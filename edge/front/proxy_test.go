package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// proxyV2 writes a header of version 2.
func proxyV2(command, family byte, rest ...byte) string {
	head := append([]byte(proxySignature), command, family)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(rest))), rest...))
}

// four and six are the addresses of 192.0.2.7:50000 and [2001:db8::7]:50000.
var (
	proxyFour = []byte{192, 0, 2, 7, 10, 0, 0, 1, 0xc3, 0x50, 0x01, 0xbb}
	proxySix  = []byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xc3\x50\x01\xbb")
)

func TestReadProxyHeader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want, err string }{
		{"v1 TCP4", "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n", "192.0.2.7:50000", ""},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 fd00::1 50000 443\r\n", "[2001:db8::7]:50000", ""},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v1 unknown with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", ""},
		{"v1 mixed", "PROXY TCP4 2001:db8::7 fd00::1 50000 443\r\n", "", "malformed"},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 fd00::1 50000 443\r\n", "", "malformed"},
		{"v1 port", "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", "", "malformed"},
		{"v1 short", "PROXY TCP4 192.0.2.7\r\n", "", "malformed"},
		{"v1 nothing", "PROXY       \r\n", "", "malformed"},
		{"v1 bare LF", "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\n" + strings.Repeat("x", 100), "", "does not end"},
		{"v1 two spaces", "PROXY TCP4  192.0.2.7 10.0.0.1 50000 443\r\n", "", "malformed"},
		{"v1 lower case", "proxy tcp4 192.0.2.7 10.0.0.1 50000 443\r\n", "", "does not begin"},
		{"v1 broken off", "PROXY TCP4 192.0.2.7", "", "EOF"},
		{"v2 IPv4", proxyV2(0x21, 0x11, proxyFour...), "192.0.2.7:50000", ""},
		{"v2 IPv6", proxyV2(0x21, 0x21, proxySix...), "[2001:db8::7]:50000", ""},
		{"v2 with additions", proxyV2(0x21, 0x11, append(bytes.Clone(proxyFour), 4, 0, 1, 0)...), "192.0.2.7:50000", ""},
		{"v2 health check", proxyV2(0x20, 0x00), "", ""},
		{"v2 health check with addresses", proxyV2(0x20, 0x11, proxyFour...), "", ""},
		{"v2 unspecified", proxyV2(0x21, 0x00, 1, 2, 3), "", ""},
		{"v2 unix", proxyV2(0x21, 0x31, make([]byte, 216)...), "", ""},
		{"v2 short", proxyV2(0x21, 0x21, proxyFour...), "", "12 bytes of addresses"},
		{"v2 family", proxyV2(0x21, 0x41, proxyFour...), "", "family 0x41"},
		{"v2 command", proxyV2(0x22, 0x11, proxyFour...), "", "command 0x22"},
		{"v2 version 1", proxyV2(0x11, 0x11, proxyFour...), "", "command 0x11"},
		{"v2 huge", proxyV2(0x21, 0x11, make([]byte, maxProxyBytes+1)...), "", "at most 4096"},
		{"v2 broken off", proxyV2(0x21, 0x11, proxyFour...)[:20], "", "EOF"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", "does not begin"},
		{"nothing", "", "", "EOF"},
	} {
		const next = "GET /"
		r := strings.NewReader(tt.in)
		if tt.err == "" {
			r = strings.NewReader(tt.in + next)
		}
		got, err := readProxyHeader(r)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || got.IsValid() {
				t.Errorf("%s: got %v, %v, want an error with %q", tt.name, got, err, tt.err)
			}
			continue
		}
		if rest, _ := io.ReadAll(r); err != nil || got.IsValid() != (tt.want != "") || tt.want != "" && got.String() != tt.want || string(rest) != next {
			t.Errorf("%s: got %v, %v and left %q, want %q and %q", tt.name, got, err, rest, tt.want, next)
		}
	}
}

func FuzzReadProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(proxyV2(0x21, 0x11, proxyFour...)))
	f.Add([]byte(proxyV2(0x21, 0x21, proxySix...)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		client, err := readProxyHeader(r)
		if err != nil || !client.IsValid() {
			return
		}
		if client.Addr().Zone() != "" || client.Addr().Is4In6() {
			t.Fatalf("%q gives the address %v", in, client)
		}
		version := "TCP6"
		if client.Addr().Is4() {
			version = "TCP4"
		}
		again := fmt.Sprintf("PROXY %s %s %s %d 1\r\n", version, client.Addr(), client.Addr(), client.Port())
		if second, err := readProxyHeader(strings.NewReader(again)); err != nil || second != client {
			t.Fatalf("%q gives %v, and %q gives %v, %v", in, client, again, second, err)
		}
	})
}

// loopbackBalancer is what the tests below connect from.
func loopbackBalancer() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func whoAmI(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }

// behind returns a client whose connections begin with header.
func (r *running) behind(t *testing.T, protocol, header string) (*http.Client, string) {
	t.Helper()
	c, url := r.client(t, protocol)
	tr := c.Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			_, err = io.WriteString(conn, header)
		}
		return conn, err
	}
	return c, url
}

// TestProxyProtocol: the client that a balancer names is the request's, over all that
// runs on TCP, and sendfile goes on below.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	file, content := segment(t, segmentBytes)
	mux := http.NewServeMux()
	mux.HandleFunc("/who", whoAmI)
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
	})
	s := start(t, Options{Handler: mux, ProxyProtocol: loopbackBalancer()})
	get := func(c *http.Client, url string) []byte {
		t.Helper()
		response, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for _, protocol := range []string{"h1", "h1+tls", "h2"} {
		for header, want := range map[string]string{
			"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n": "192.0.2.7:50000",
			proxyV2(0x21, 0x21, proxySix...):              "[2001:db8::7]:50000",
			proxyV2(0x20, 0x00):                           "127.0.0.1:",
		} {
			c, url := s.behind(t, protocol, header)
			for range 2 { // the second on the same connection
				if got := string(get(c, url+"/who")); !strings.HasPrefix(got, want) {
					t.Errorf("%s, header %q: the request comes from %s, want %s", protocol, header, got, want)
				}
			}
		}
	}
	c, url := s.behind(t, "h1", proxyV2(0x21, 0x11, proxyFour...))
	if !bytes.Equal(get(c, url+"/file"), content) {
		t.Error("wrong bytes")
	}
	if got := s.Stats(); got.SendfileBytes != segmentBytes || got.SendfileCalls == 0 {
		t.Errorf("sendfile: got %d bytes in %d calls, want %d", got.SendfileBytes, got.SendfileCalls, segmentBytes)
	}
	if got := s.Stats().ProxyErrors; got != 0 {
		t.Errorf("got %d errors, want none", got)
	}
}

// TestProxyProtocolMissing: a balancer that does not say who the client is gets no
// answer, at once or after the time for a header.
func TestProxyProtocolMissing(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(whoAmI), ProxyProtocol: loopbackBalancer(), HeaderTimeout: 100 * time.Millisecond})
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	var want int64
	for _, address := range []string{s.HTTPAddr(), s.HTTPSAddr()} {
		for _, sent := range []string{request, "PROXY TCP4 nobody\r\n" + request, "PROXY TC", ""} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, sent) // it may be closed already
			// A reset is as good an end as any: bytes that nobody wanted were unread.
			if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %q: got the answer %q, %v, want none", address, sent, got, err)
			}
			_ = c.Close()
			want++
		}
	}
	s.wait(t) // all that began has been counted
	if got := s.Stats().ProxyErrors; got != want {
		t.Errorf("got %d errors, want %d", got, want)
	}
}

// TestProxyProtocolOfStrangers: who is no balancer cannot choose his address.
func TestProxyProtocolOfStrangers(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(whoAmI), ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, protocol := range []string{"h1", "h1+tls", "h2"} {
		c, url := s.client(t, protocol)
		response, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); !strings.HasPrefix(string(body), "127.0.0.1:") {
			t.Errorf("%s: the request comes from %s", protocol, body)
		}
		_ = response.Body.Close()
	}
	c := s.dial(t, false)
	_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("a stranger's header: got %v, %v, want 400", response, err)
	}
	if response != nil {
		_ = response.Body.Close()
	}
	conn, err := net.Dial("tcp", s.HTTPSAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n")
	if err := tls.Client(conn, &tls.Config{RootCAs: s.pool, ServerName: "localhost"}).Handshake(); err == nil {
		t.Error("a stranger's header before TLS: got no error")
	}
}
