package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func get(path string) *Request {
	return &Request{Method: http.MethodGet, Host: "site.example", Path: path}
}

func newGroup(t *testing.T, o Options) *Group {
	t.Helper()
	g, err := NewGroup(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestGroupSendsTheRequestAsItIs(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Method + " " + r.RequestURI + " " + r.Host + " agent=" + r.Header.Get("User-Agent") + " coding=" + r.Header.Get("Accept-Encoding")
		_, _ = io.WriteString(w, "body")
	})
	g := newGroup(t, Options{URLs: []string{origin.URL + "/base/"}})
	resp, err := g.Fetch(t.Context(), &Request{Method: http.MethodGet, Host: "site.example", Path: "//a%2Fb/c%20d", Query: "x=%7e&y"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body" || resp.Length != 4 || resp.From != FromOrigin {
		t.Errorf("got body %q, length %d, from %s, error %v", body, resp.Length, resp.From, err)
	}
	if got, want := <-got, "GET /base//a%2Fb/c%20d?x=%7e&y site.example agent= coding="; got != want {
		t.Errorf("origin got  %s\nwant %s", got, want)
	}
}

func TestGroupRefusesBadURLs(t *testing.T) {
	t.Parallel()
	for _, urls := range [][]string{nil, {""}, {"origin:80"}, {"ftp://a"}, {"http://"}, {"http://a?x"}, {"http://u:p@a"}, {"http://a", "http://[bad"}} {
		if _, err := NewGroup(Options{URLs: urls}); err == nil {
			t.Errorf("NewGroup(%q) took it", urls)
		}
	}
}

func TestGroupFailsOver(t *testing.T) {
	t.Parallel()
	dead := serve(t, nil)
	deadURL := dead.URL
	dead.Close()
	sick := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	well := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	for _, bad := range []string{deadURL, sick.URL} {
		g := newGroup(t, Options{URLs: []string{bad, well.URL}})
		for range 20 {
			resp, err := g.Fetch(t.Context(), get("/"))
			if err != nil {
				t.Fatalf("with %s: %v", bad, err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "well" {
				t.Fatalf("with %s: got %d %q", bad, resp.Status, body)
			}
		}
	}
}

func TestGroupLeavesADeadHostOutForAWhile(t *testing.T) {
	t.Parallel()
	dead := serve(t, nil)
	deadURL := dead.URL
	dead.Close()
	g := newGroup(t, Options{URLs: []string{deadURL}})
	for range failuresToOpen {
		if _, err := g.Fetch(t.Context(), get("/")); err == nil {
			t.Fatal("a dead host answered")
		}
	}
	if hosts := g.Hosts(); hosts[0].OK || hosts[0].LastError == "" {
		t.Errorf("after %d failures: %+v", failuresToOpen, hosts[0])
	}
	if g.pick(nil) == nil {
		t.Error("an origin with all hosts out was given up")
	}
}

func TestUnsafeRequestsAreNotRepeated(t *testing.T) {
	t.Parallel()
	var calls [2]int
	handler := func(i int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { calls[i]++; w.WriteHeader(http.StatusServiceUnavailable) }
	}
	a, b := serve(t, handler(0)), serve(t, handler(1))
	g := newGroup(t, Options{URLs: []string{a.URL, b.URL}})
	resp, err := g.Fetch(t.Context(), &Request{Method: http.MethodPost, Host: "h", Path: "/", Body: strings.NewReader("x"), Length: 1})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if calls[0]+calls[1] != 1 {
		t.Errorf("a POST was sent %d times", calls[0]+calls[1])
	}
}

// rawOrigin answers every connection with what script writes.
func rawOrigin(t *testing.T, script func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 4096)
				_, _ = c.Read(buffer)
				script(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestAShortBodyNeverEndsCleanly(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, Options{URLs: []string{rawOrigin(t, func(c net.Conn) { _, _ = io.WriteString(c, response) })}})
			resp, err := g.Fetch(t.Context(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != HTTPResponseIncompl || failure.Retry || string(body) != "only this" {
				t.Errorf("got %q, %#v", body, err)
			}
			if s := g.Stats(); s.Broken != 1 || s.Bytes != 9 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestAShortBodyNeverEndsCleanlyOverHTTP2: its frames end where they like, with a reset or as if all were there, after
// any number of the bytes that were promised.
func TestAShortBodyNeverEndsCleanlyOverHTTP2(t *testing.T) {
	t.Parallel()
	const size = 100_000
	for _, resets := range []bool{true, false} {
		for _, at := range []int{0, 1, size / 2, size - 1} {
			t.Run(fmt.Sprint("resets ", resets, " at ", at), func(t *testing.T) {
				t.Parallel()
				origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					w.WriteHeader(http.StatusOK)
					_, _ = w.Write(make([]byte, at))
					_ = http.NewResponseController(w).Flush()
					if resets {
						panic(http.ErrAbortHandler)
					}
				}))
				origin.EnableHTTP2, origin.Config.ErrorLog = true, log.New(io.Discard, "", 0)
				origin.StartTLS()
				t.Cleanup(origin.Close)
				g := newGroup(t, Options{URLs: []string{origin.URL}, TLS: origin.Client().Transport.(*http.Transport).TLSClientConfig})
				resp, err := g.Fetch(t.Context(), get("/"))
				if err != nil {
					return // a reset may overtake the head
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				var failure *Error
				if !errors.As(err, &failure) || failure.Retry || len(body) > at || resp.Protocol != "h2" {
					t.Errorf("got %d bytes over %s, %v; want at most %d and an error", len(body), resp.Protocol, err, at)
				}
			})
		}
	}
}

func TestWaitsAreLimited(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	tests := []struct {
		name     string
		response string
		kind     Kind
		inBody   bool
	}{
		{"no head", "", HTTPResponseTimeout, false},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-", HTTPResponseTimeout, false},
		{"stall", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", ConnectionReadTimeout, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			origin := rawOrigin(t, func(c net.Conn) { _, _ = io.WriteString(c, tt.response); <-hold })
			g := newGroup(t, Options{URLs: []string{origin}, HeadTimeout: 50 * time.Millisecond, StallTimeout: 50 * time.Millisecond})
			resp, err := g.Fetch(t.Context(), get("/"))
			if tt.inBody {
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != tt.kind || failure.Source != FromOrigin {
				t.Errorf("got %#v, want kind %s", err, tt.kind)
			}
		})
	}
}

// TestInterimResponsesDoNotHoldForEver: one begins the wait for the head anew, the next ones do not.
func TestInterimResponsesDoNotHoldForEver(t *testing.T) {
	t.Parallel()
	origin := rawOrigin(t, func(c net.Conn) {
		for range 1000 {
			if _, err := io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	g := newGroup(t, Options{URLs: []string{origin}, HeadTimeout: 50 * time.Millisecond})
	_, err := g.Fetch(t.Context(), get("/"))
	var failure *Error
	if !errors.As(err, &failure) || failure.Kind != HTTPResponseTimeout {
		t.Errorf("got %v, want kind %s", err, HTTPResponseTimeout)
	}
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"unknown host", &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, DNSError},
		{"slow resolver", &net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}, DNSTimeout},
		{"dial timeout", &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, ConnectionTimeout},
		{"reset", io.EOF, ConnectionTerminated},
		{"unroutable", &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, DestinationUnroutable},
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ConnectionRefused},
		{"an alert that came", &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, TLSAlertReceived},
		{"an alert of ours", tls.AlertError(40), TLSProtocolError},
		{"a head too large", errors.New("net/http: server response headers exceeded 10 bytes; aborted"), HTTPResponseHeader},
		{"a coding that does not exist", errors.New(`net/http: HTTP/1.x transport connection broken: unsupported transfer encoding: "x"`), HTTPResponseTransfer},
		{"other", errors.New("malformed HTTP response"), HTTPProtocolError},
	}
	for _, tt := range tests {
		if got := kindOf(t.Context(), fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestWhatNetHTTPDoesNotType: the texts that kindOf knows are still net/http's.
func TestWhatNetHTTPDoesNotType(t *testing.T) {
	t.Parallel()
	for response, want := range map[string]Kind{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n":               HTTPResponseTransfer,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 11<<20) + "\r\n\r\n": HTTPResponseHeader,
		"not HTTP\r\n\r\n": HTTPProtocolError,
	} {
		origin := rawOrigin(t, func(c net.Conn) { _, _ = io.WriteString(c, response) })
		_, err := newGroup(t, Options{URLs: []string{origin}}).Fetch(t.Context(), get("/"))
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != want {
			t.Errorf("%.40q: got %v, want %s", response, err, want)
		}
	}
}

// TestInterimResponsesArePassedOn but those that are about the connection.
func TestInterimResponsesArePassedOn(t *testing.T) {
	t.Parallel()
	origin := rawOrigin(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: end\r\n\r\n")
	})
	r := get("/")
	var seen []string
	r.Interim = func(status int, h http.Header) { seen = append(seen, fmt.Sprint(status, " ", h.Get("Link"))) }
	resp, err := newGroup(t, Options{URLs: []string{origin}}).Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0] != "103 </a>" || resp.Protocol != "http/1.1" || resp.Trailer().Get("X") != "end" {
		t.Errorf("saw %q, then %s with the trailer %v", seen, resp.Protocol, resp.Trailer())
	}
}

func TestPeersNeedTLS(t *testing.T) {
	t.Parallel()
	if _, err := NewPeers(PeerOptions{}); err == nil {
		t.Error("peers without the cluster's TLS configuration were accepted")
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.ProtoMajor != 2 || r.URL.Path != "/.weir/x" || len(text) > 5 {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		_, _ = w.Write(text)
	}))
	node.EnableHTTP2, node.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	node.StartTLS()
	t.Cleanup(node.Close)
	p, err := NewPeers(PeerOptions{TLS: node.Client().Transport.(*http.Transport).TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	address := node.Listener.Addr().String()
	for _, tt := range []struct{ message, answer, fault string }{
		{"hello", "hello", ""}, {"", "", ""}, {"hellos", "", "status 404: no s"},
	} {
		got, err := p.Call(t.Context(), Callee{Name: "example.com", Address: address}, "/.weir/x", []byte(tt.message), 5)
		if string(got) != tt.answer || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%q: got %q, %v", tt.message, got, err)
		}
	}
	if _, err := p.Call(t.Context(), Callee{Name: "example.com", Address: address}, "/.weir/x", []byte("hello"), 4); err == nil {
		t.Error("an answer past the limit is taken")
	}
	if _, err := p.Call(t.Context(), Callee{Name: "example.net", Address: address}, "/.weir/x", []byte("hello"), 5); err == nil {
		t.Error("a node with the name of another is taken")
	}
	if !p.Usable("example.com") {
		t.Error("calls tell about fetches")
	}
}

func TestPeersInTheClear(t *testing.T) {
	t.Parallel()
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || r.Header.Get("Weir-Signature") != "for edge-2" {
			w.Header().Set("Weir-Unsigned", "1")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Path == "/forbidden" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, r.Host)
	}))
	t.Cleanup(node.Close)
	forged := false
	p, err := NewPeers(PeerOptions{Sign: func(r *http.Request, to string, body []byte) {
		if !forged {
			r.Header.Set("Weir-Signature", "for "+to)
		}
		if (r.Method == http.MethodPost) != (string(body) == "hello ") {
			t.Errorf("%s is signed with the body %q", r.Method, body)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	address := node.Listener.Addr().String()
	fetch := func(path string) (*Response, error) {
		r := &Request{Method: http.MethodGet, Host: "video.example", Path: path, Header: http.Header{}}
		resp, err := p.Fetch(t.Context(), "edge-2", address, r)
		if len(r.Header) > 0 && r.Header["Weir-Signature"] != nil {
			t.Error("the signature is left in the caller's header, which may go to an origin next")
		}
		if err == nil {
			t.Cleanup(func() { _ = resp.Body.Close() }) // nothing more comes
		}
		return resp, err
	}
	resp, err := fetch("/a")
	if err != nil || resp.Status != http.StatusOK {
		t.Fatalf("got %+v, %v", resp, err)
	}
	if text, err := io.ReadAll(resp.Body); string(text) != "video.example" || err != nil || resp.Protocol != "http/1.1" {
		t.Errorf("got %q, %v over %s", text, err, resp.Protocol)
	}
	if got, err := p.Call(t.Context(), Callee{Name: "edge-2", Address: address}, "/x", []byte("hello "), 100); string(got) != "hello edge-2" || err != nil {
		t.Errorf("call: got %q, %v", got, err)
	}
	if resp, err := fetch("/forbidden"); err != nil || resp.Status != http.StatusForbidden {
		t.Errorf("the origin's 403: got %+v, %v", resp, err)
	}
	forged = true
	var fault *Error
	if _, err := fetch("/a"); !errors.As(err, &fault) || !fault.Retry || fault.Source != FromPeer {
		t.Errorf("the peer's own 403: got %v, want an error after which another one is asked", err)
	}
	if s, _ := p.State("edge-2"); s.LastError == "" {
		t.Error("a node that refuses us counts as one that answers")
	}
}
