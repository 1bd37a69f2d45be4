package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// raw is what a client may send to one connection, and what becomes of it.
type raw struct {
	name, sent string
	handled    int    // requests that a Handler sees
	status     int    // of the answer behind theirs, 0: none
	reason     string // that is counted
}

const (
	second = "GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
	get11  = "GET / HTTP/1.1\r\nHost: h\r\n"
	post11 = "POST / HTTP/1.1\r\nHost: h\r\n"
)

// rawRequests are the ways to make two readers of one stream disagree, and to make one work for nothing. Each of them is
// followed by a request that must not be found.
func rawRequests() []raw {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "a%d: b\r\n", i)
		}
		return b.String()
	}
	bad := func(name, sent string, status int, reason string) raw { return raw{name, sent, 0, status, reason} }
	body := func(name, sent string) raw { return raw{name, sent, 1, 0, "h1_framing"} }
	fine := func(name, sent string, n int) raw { return raw{name, sent, n, 0, ""} }
	const framing, syntax, version, target, hosts = "h1_framing", "h1_syntax", "version", "target", "hosts"
	return []raw{
		// Two lengths (RFC 9112, 6.1 and 6.3).
		bad("length and chunked", post11+"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400, framing),
		bad("chunked and length", post11+"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400, framing),
		bad("of a GET", get11+"CONTENT-LENGTH: 6\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\nG", 400, framing),
		bad("chunked and length 0", post11+"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400, framing),
		bad("two lengths", post11+"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", 400, framing),
		bad("two equal lengths", post11+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, framing),
		bad("a list of lengths", post11+"Content-Length: 5, 5\r\n\r\nhello", 400, framing),
		bad("a list of an empty member", post11+"Content-Length: ,5\r\n\r\nhello", 400, framing),
		bad("plus", post11+"Content-Length: +5\r\n\r\nhello", 400, framing),
		bad("minus", post11+"Content-Length: -0\r\n\r\n", 400, framing),
		bad("hexadecimal", post11+"Content-Length: 0x5\r\n\r\nhello", 400, framing),
		bad("no digits", post11+"Content-Length: \r\n\r\nhello", 400, framing),
		bad("digits with a blank", post11+"Content-Length: 1 0\r\n\r\nhellohello", 400, framing),
		bad("a fraction", post11+"Content-Length: 5.0\r\n\r\nhello", 400, framing),
		bad("digits of another script", post11+"Content-Length: \u0665\r\n\r\nhello", 400, framing),
		bad("huge", post11+"Content-Length: 9999999999999999999\r\n\r\n", 400, framing),
		bad("very long", post11+"Content-Length: 00000000000000000000000000000000000000000000000005\r\n\r\nhello", 400, framing),

		// Transfer codings (RFC 9112, 6.1).
		bad("xchunked", post11+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, framing),
		bad("gzip, chunked", post11+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, framing),
		bad("chunked, chunked", post11+"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, framing),
		bad("identity", post11+"Transfer-Encoding: identity\r\n\r\n", 501, framing),
		bad("chunked twice", post11+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, framing),
		bad("chunked and identity", post11+"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400, framing),
		bad("quoted", post11+"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501, framing),
		bad("with a parameter", post11+"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501, framing),
		bad("nothing", post11+"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 501, framing),
		bad("vertical tab", post11+"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, syntax),
		bad("behind a byte of UTF-8", post11+"Transfer-Encoding: \xc2\xa0chunked\r\n\r\n0\r\n\r\n", 501, framing),
		bad("in HTTP/1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, framing),

		// Lines (RFC 9112, 2.2 and 5).
		bad("blank before the colon", post11+"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, syntax),
		bad("tab before the colon", post11+"Content-Length\t: 5\r\n\r\nhello", 400, syntax),
		bad("bare LF", "GET / HTTP/1.1\nHost: h\n\n", 400, syntax),
		bad("bare LF behind a field", get11+"A: b\nTransfer-Encoding: chunked\r\n\r\n", 400, syntax),
		bad("bare LF at the end", get11+"\n", 400, syntax),
		bad("bare CR in a value", get11+"A: b\rC: d\r\n\r\n", 400, syntax),
		bad("bare CR in a name", get11+"A\rB: d\r\n\r\n", 400, syntax),
		bad("CR CR LF", get11+"A: b\r\r\n\r\n", 400, syntax),
		bad("NUL", get11+"A: b\x00c\r\n\r\n", 400, syntax),
		bad("DEL", get11+"A: b\x7fc\r\n\r\n", 400, syntax),
		bad("folded", get11+"A: b\r\n c\r\n\r\n", 400, syntax),
		bad("folded with a tab", get11+"A: b\r\n\tTransfer-Encoding: chunked\r\n\r\n", 400, syntax),
		bad("folded first", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, syntax),
		bad("no name", get11+": b\r\n\r\n", 400, syntax),
		bad("no colon", get11+"abc\r\n\r\n", 400, syntax),
		bad("a byte above ASCII in a name", get11+"\xc3\x84: b\r\n\r\n", 400, syntax),
		bad("a delimiter in a name", get11+"Content-Length(x): 5\r\n\r\n", 400, syntax),

		// Request lines (RFC 9112, 3).
		bad("no version", "GET /\r\n\r\n", 400, syntax),
		bad("nothing but a method", "GET\r\n\r\n", 400, syntax),
		bad("two blanks", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("blank in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("blank at the end", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400, syntax),
		bad("tabs", "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("blank before", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("a bare LF before", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("a method that does not end", strings.Repeat("A", 100), 400, syntax),
		bad("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, syntax),
		bad("a small letter", "GET / http/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("a version without a point", "GET / HTTP/11\r\nHost: h\r\n\r\n", 400, syntax),
		bad("a longer version", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400, syntax),
		bad("another protocol", "GET / RTSP/1.1\r\nHost: h\r\n\r\n", 400, syntax),
		bad("HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, version),
		bad("HTTP/1.9", "GET / HTTP/1.9\r\nHost: h\r\n\r\n", 505, version),
		bad("HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505, version),
		bad("HTTP/3.0", "GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505, version),
		bad("HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, version),
		bad("a bad escape", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("half an escape", "GET /%2 HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("no slash", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("authority form", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("another scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("absolute form with a user", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("absolute form with a bad port", "GET http://h:x/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("absolute form with a bad address", "GET http://[::1/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, target),
		bad("absolute form without a Host", "GET http://h/ HTTP/1.1\r\n\r\n", 400, hosts),
		bad("CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405, "method"),
		bad("CONNECT of a path", "CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", 405, "method"),
		bad("a long target", "GET /"+strings.Repeat("a", 64<<10)+" HTTP/1.1\r\nHost: h\r\n\r\n", 414, target),
		bad("a long absolute target", "GET http://h/"+strings.Repeat("a", 64<<10)+" HTTP/1.1\r\nHost: h\r\n\r\n", 414, target),

		// Host (RFC 9112, 3.2).
		bad("no host", "GET / HTTP/1.1\r\n\r\n", 400, hosts),
		bad("two hosts", get11+"Host: h\r\n\r\n", 400, hosts),
		bad("a path in the host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, hosts),
		bad("a user in the host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, hosts),
		bad("a blank in the host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, hosts),
		bad("a blank in a long host", "GET / HTTP/1.1\r\nHost: "+strings.Repeat("a", 60)+" b\r\n\r\n", 400, hosts),
		bad("a comma in the host", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, hosts),
		bad("an escape in the host", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400, hosts),

		// Sizes.
		bad("2,000 fields", get11+many(2000)+"\r\n", 431, "fields"),
		bad("101 fields", get11+many(101)+"\r\n", 431, "fields"),
		bad("a field of 2 MiB", get11+"A: "+strings.Repeat("b", 2<<20)+"\r\n\r\n", 431, "header_bytes"),
		bad("a name of 64 KiB", get11+strings.Repeat("b", 64<<10)+": a\r\n\r\n", 431, "header_bytes"),
		bad("many long fields", get11+strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 40)+"\r\n", 431, "header_bytes"),

		bad("an expectation", get11+"Expect: 200-ok\r\n\r\n", 417, "expect"),
		bad("two expectations", get11+"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", 417, "expect"),
		bad("an expectation among others", get11+"Expect: 100-continue, x\r\n\r\n", 417, "expect"),
		bad("no expectation", get11+"Expect:\r\n\r\n", 417, "expect"),
		bad("a trailer about the length", post11+"Trailer: A, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, framing),
		bad("a trailer that is no name", post11+"Trailer: a b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, framing),

		// Bodies in chunks (RFC 9112, 7.1): the Handler has begun when they turn out to be wrong.
		body("bare LF behind a size", post11+"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
		body("bare LF behind a chunk", post11+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
		body("bare CR in an extension", post11+"Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
		body("bare LF in an extension", post11+"Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n"),
		body("a long extension", post11+"Transfer-Encoding: chunked\r\n\r\n5;"+strings.Repeat("a", 1000)+"\r\nhello\r\n0\r\n\r\n"),
		body("many extensions", post11+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100)+"0\r\n\r\n"),
		body("a size with a sign", post11+"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
		body("a size with a prefix", post11+"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
		body("a size with a blank", post11+"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
		body("no size", post11+"Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
		body("a huge size", post11+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
		body("a chunk that is too long", post11+"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n"),
		body("bare LF in trailers", post11+"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n"),
		body("long trailers", post11+"Transfer-Encoding: chunked\r\n\r\n0\r\nA: "+strings.Repeat("b", 4000)+"\r\n\r\n"),
		body("many trailers", post11+"Transfer-Encoding: chunked\r\n\r\n0\r\n"+many(200)+"\r\n"),
		body("a size beyond the end", post11+"Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n"),

		// What is fine, and what follows it too.
		fine("a GET", get11+"\r\n", 2),
		fine("a length of 0", get11+"Content-Length: 0\r\n\r\n", 2),
		fine("an empty line before", "\r\n"+get11+"\r\n", 2),
		fine("an empty line behind a body", post11+"Content-Length: 5\r\n\r\nhello\r\n", 2),
		fine("chunks", post11+"Transfer-Encoding:\tCHUNKED \r\n\r\n5;a=\"b\"\r\nhello\r\n0A\r\n0123456789\r\n000\r\nA: b\r\nContent-Length: 7\r\n\r\n", 2),
		fine("a trailer", post11+"Trailer: A, B\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\n\r\n", 2),
		fine("absolute form", "GET http://other.example/x HTTP/1.1\r\nHost: h\r\n\r\n", 2),
		fine("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 2),
		fine("an upgrade", get11+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 2),
		fine("an upgrade to WebSocket", get11+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", 2),
		fine("100 fields", get11+many(100)+"\r\n", 2),
		fine("31 KiB", get11+"A: "+strings.Repeat("b", 31<<10)+"\r\n\r\n", 2),
		fine("a target of 8 KiB", "GET /"+strings.Repeat("a", maxTargetBytes-1)+" HTTP/1.1\r\nHost: h\r\n\r\n", 2),
		bad("a target of 8 KiB and a byte", "GET /"+strings.Repeat("a", maxTargetBytes)+" HTTP/1.1\r\nHost: h\r\n\r\n", 414, target),
		fine("bytes above ASCII in a value", get11+"A: \xc3\x84\xff\r\n\r\n", 2),
		fine("an empty value", get11+"A:\r\nB: \t \r\n\r\n", 2),
		fine("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 1),
		fine("a close", get11+"Connection: close\r\n\r\n", 1),
	}
}

// echo reads the body and says that it was asked.
func echo(seen func(*http.Request, []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen(r, body)
		w.Header().Set("Handled", r.URL.Path)
	})
}

// TestHTTP1Requests: whatever is in doubt is answered once and ends the connection, what follows it is not looked
// at, and each refusal is one in one counter; in the clear and over TLS.
func TestHTTP1Requests(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", overTLS), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			handled := map[string]int{}
			s := start(t, Options{Handler: echo(func(r *http.Request, _ []byte) {
				mu.Lock()
				defer mu.Unlock()
				handled[r.RemoteAddr]++
			})})
			for _, tt := range rawRequests() {
				t.Run(tt.name, func(t *testing.T) {
					before := s.Stats().Refused
					statuses, client := exchangeRaw(t, s, overTLS, []byte(tt.sent+second))
					want := slices.Repeat([]int{200}, tt.handled)
					if tt.status != 0 {
						want = append(want, tt.status)
					}
					inBody := tt.handled == 1 && tt.reason != "" // the reset at its end may overtake the answer
					if !slices.Equal(statuses, want) && !(inBody && len(statuses) == 0) {
						t.Errorf("answers %d, want %d", statuses, want)
					}
					mu.Lock()
					defer mu.Unlock()
					if n := handled[client]; n != tt.handled {
						t.Errorf("%d requests were handled, want %d", n, tt.handled)
					}
					for reason, n := range s.Stats().Refused {
						if due := before[reason] + map[bool]int64{true: 1}[reason == tt.reason]; n != due {
							t.Errorf("%s: %d refusals, want %d", reason, n, due)
						}
					}
				})
			}
		})
	}
}

// exchangeRaw sends bytes on a connection of its own, and returns the statuses of what is answered until that ends.
func exchangeRaw(t *testing.T, s *running, overTLS bool, sent []byte) (statuses []int, client string) {
	t.Helper()
	address := s.HTTPAddr()
	if overTLS {
		address = s.HTTPSAddr()
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	client = conn.LocalAddr().String()
	if overTLS {
		conn = tls.Client(conn, &tls.Config{RootCAs: s.pool, ServerName: "127.0.0.1"})
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	wrote := make(chan struct{})
	go func() { // ends with the connection
		defer close(wrote)
		_, _ = conn.Write(sent)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	all, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection did not end: %v", err)
	}
	conn.Close()
	<-wrote
	for r := bufio.NewReader(bytes.NewReader(all)); ; {
		if _, err := r.Peek(1); err != nil {
			return statuses, client
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v in %q", len(statuses)+1, err, all)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatalf("answer %d: %v", len(statuses)+1, err)
		}
		if resp.StatusCode >= 400 && !resp.Close {
			t.Errorf("the answer %d does not say that the connection ends", resp.StatusCode)
		}
		statuses = append(statuses, resp.StatusCode)
	}
}

// TestHTTP1InPieces: it does not matter in what pieces a request comes.
func TestHTTP1InPieces(t *testing.T) {
	t.Parallel()
	for _, tt := range rawRequests() {
		in := []byte(tt.sent + second)
		for _, size := range []int{1, 2, 3, 7, 4096, len(in)} {
			if len(in) > 1<<20 && size < 4096 {
				continue
			}
			out := serveRaw(in, func() int { return size })
			if why := out.why.String(); why != tt.reason || len(out.seen) != tt.handled || len(out.strange) > 0 {
				t.Errorf("%s in pieces of %d: refused for %q, %d handled, %q; want %q, %d", tt.name, size, why, len(out.seen), out.strange, tt.reason, tt.handled)
			}
		}
	}
}

// rawOutcome is what came of bytes on a connection.
type rawOutcome struct {
	seen    []string // what the Handler saw, a line each
	why     reason
	strange []string // answers that neither the Handler nor the guard gave
}

// serveRaw has net/http serve a guarded connection that carries in, in pieces.
func serveRaw(in []byte, size func() int) (out rawOutcome) {
	counts := &refusals{log: slog.New(slog.DiscardHandler)}
	limits := &http1Limits{fields: maxFields, refusals: counts}
	conn := &scripted{in: bytes.Clone(in), piece: size}
	over := make(chan struct{})
	queue := newConnQueue(&net.TCPAddr{})
	var mu sync.Mutex
	server := &http.Server{
		MaxHeaderBytes: 2 * maxHeaderBytes, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(over)
			}
		},
		Handler: echo(func(r *http.Request, body []byte) {
			mu.Lock()
			defer mu.Unlock()
			names := slices.Sorted(maps.Keys(r.Header))
			out.seen = append(out.seen, fmt.Sprintf("%s %s %s %d %q %q", r.Method, r.RequestURI, r.Host, r.ContentLength, names, body))
		}),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(queue)
	}()
	queue.put(&http1Conn{Conn: conn, guard: limits.guard()})
	<-over
	_ = server.Close()
	<-ended
	for why := allowed + 1; why < reasons; why++ {
		for range counts.counts[why].Load() {
			if out.why != allowed {
				out.strange = append(out.strange, "refused for two reasons")
			}
			out.why = why
		}
	}
	for r := bufio.NewReader(&conn.out); ; {
		if _, err := r.Peek(1); err != nil {
			return out
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			out.strange = append(out.strange, err.Error())
			return out
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_, handled := resp.Header["Handled"]
		if refused := resp.Header.Get("Cache-Control") == "no-store" && out.why != allowed; !handled && !refused && resp.StatusCode != http.StatusContinue {
			out.strange = append(out.strange, resp.Status)
		}
	}
}

// FuzzHTTP1 holds guard and net/http against each other: what the guard lets through net/http never refuses by itself,
// for nobody would know, and it hands on the same requests whatever pieces they come in.
func FuzzHTTP1(f *testing.F) {
	for _, tt := range rawRequests() {
		if len(tt.sent) < 2000 {
			f.Add([]byte(tt.sent+second), uint64(len(tt.sent)))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		whole := serveRaw(in, nil)
		if len(whole.strange) > 0 {
			t.Fatalf("%q: %q, refused for %q", in, whole.strange, whole.why)
		}
		size := func() int {
			seed = seed*6364136223846793005 + 1442695040888963407
			return 1 + int(seed>>33)%(1<<(seed>>61))
		}
		pieces := serveRaw(in, size)
		if !slices.Equal(whole.seen, pieces.seen) || whole.why != pieces.why || len(pieces.strange) > 0 {
			t.Fatalf("%q in pieces: %q, %q, %q; as a whole: %q, %q", in, pieces.seen, pieces.why, pieces.strange, whole.seen, whole.why)
		}
	})
}

// TestHTTP1Bound: a client that is refused for its size has not cost more than a little.
func TestHTTP1Bound(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"fields": get11 + strings.Repeat("a: b\r\n", 1<<20), "bytes": get11 + "A: " + strings.Repeat("b", 8<<20), "target": "GET /" + strings.Repeat("a", 8<<20),
		"line": strings.Repeat("A", 8<<20), "trailer list": get11 + "Trailer: " + strings.Repeat("a,", 4<<20), "absolute": "GET http://h/" + strings.Repeat("a", 8<<20),
	} {
		limits := &http1Limits{fields: maxFields, refusals: &refusals{log: slog.New(slog.DiscardHandler)}}
		g := limits.guard()
		passed, kept := 0, 0
		for p := []byte(in); len(p) > 0 && !g.walk.over(); p = p[min(4096, len(p)):] {
			passed += g.walk.next(p[:min(4096, len(p))])
			kept = max(kept, cap(g.walk.long))
		}
		if !g.walk.over() || passed > maxHeaderBytes || kept > 2*maxHeaderBytes {
			t.Errorf("%s: over %v, %d bytes passed on, %d kept", name, g.walk.over(), passed, kept)
		}
	}
}

func TestHTTP1WalkDoesNotAllocate(t *testing.T) {
	limits := &http1Limits{fields: maxFields, refusals: &refusals{log: slog.New(slog.DiscardHandler)}}
	g := limits.guard()
	request := smallRequest()
	if n := testing.AllocsPerRun(100, func() { g.walk.next(request) }); n > 0 || g.walk.over() {
		t.Errorf("%v allocations, over %v", n, g.walk.over())
	}
}

// smallRequest is what a player sends for a segment.
func smallRequest() []byte {
	return []byte("GET /vod/demo/video/720p/segment-00042.m4s HTTP/1.1\r\nHost: video.example.com:8443\r\nConnection: keep-alive\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\n" +
		"Accept: */*\r\nOrigin: https://www.example.com\r\nReferer: https://www.example.com/watch/1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n")
}

// BenchmarkHTTP1Guard is what the guard takes for a request of a browser, beside what net/http takes to read it.
func BenchmarkHTTP1Guard(b *testing.B) {
	request := smallRequest()
	b.Run("guard", func(b *testing.B) {
		limits := &http1Limits{fields: maxFields, refusals: &refusals{log: slog.New(slog.DiscardHandler)}}
		g := limits.guard()
		b.ReportAllocs()
		for b.Loop() {
			g.walk.next(request)
		}
	})
	b.Run("net/http", func(b *testing.B) {
		in := bytes.NewReader(nil)
		r := bufio.NewReader(nil)
		b.ReportAllocs()
		for b.Loop() {
			in.Reset(request)
			r.Reset(in)
			if _, err := http.ReadRequest(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestHTTP1RefusesAtOnce: what is wrong is answered when its byte has come, also where net/http has room for one byte alone.
func TestHTTP1RefusesAtOnce(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"a byte":                         get11 + "a: \x01",
		"behind 4,095 bytes of a target": "GET /" + strings.Repeat("a", 4090) + "\x01",
		"behind 4,095 bytes of a line":   get11 + "a: " + strings.Repeat("a", 4092) + "\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler is called") })
			inTime(t, Options{Handler: handler}, func(t *testing.T, s *Server, dial func() net.Conn) {
				conn, begun := dial(), time.Now()
				defer conn.Close()
				go func() { _, _ = io.WriteString(conn, head) }() // ends with the connection
				answer, _ := io.ReadAll(conn)
				if took, n := time.Since(begun), s.Stats().Refused[http1Syntax.String()]; took > 0 || n != 1 || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
					t.Errorf("after %v: %q, %d refusals", took, answer, n)
				}
			})
		})
	}
}
