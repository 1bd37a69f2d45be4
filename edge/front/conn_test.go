package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

// dial opens a bare connection, with TLS if secure, that ends with the test.
func (r *running) dial(t testing.TB, secure bool, protocols ...string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if secure {
		c, err = tls.Dial("tcp", r.HTTPSAddr(), &tls.Config{RootCAs: r.pool, NextProtos: protocols})
	} else {
		c, err = net.Dial("tcp", r.HTTPAddr())
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Without sendfile a segment costs six times the CPU, and any wrapper that forgets
// ReadFrom loses it without a sign. The second half shows that the count would tell.
func TestSendfileIsUsed(t *testing.T) {
	t.Parallel()
	file, content := segment(t, segmentBytes)
	serve := func(w io.Writer) {
		w.(http.ResponseWriter).Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = io.Copy(w, newFileRange(file, 0, segmentBytes))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
	})
	mux.HandleFunc("/hidden", func(w http.ResponseWriter, _ *http.Request) { serve(struct{ http.ResponseWriter }{w}) })
	s := start(t, Options{Handler: mux})
	c, url := s.client(t, "h1")
	for path, want := range map[string]int64{"/plain": segmentBytes, "/hidden": 0} {
		before := s.Stats()
		if _, body, err := get(c, url+path); err != nil || !bytes.Equal(body, content) {
			t.Fatalf("%s: %d bytes, %v", path, len(body), err)
		}
		after := s.Stats()
		calls, sent := after.SendfileCalls-before.SendfileCalls, after.SendfileBytes-before.SendfileBytes
		if sent != want || (calls > 0) != (want > 0) {
			t.Errorf("%s: %d bytes in %d calls, want %d bytes", path, sent, calls, want)
		}
	}
	// A range, of a file whose own position is elsewhere.
	if _, err := file.Seek(77, io.SeekStart); err != nil {
		t.Fatal(err)
	}
}

func TestSendfileOfARange(t *testing.T) {
	t.Parallel()
	file, content := segment(t, segmentBytes)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000001")
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 12345, 1000001))
	})})
	if _, err := file.Seek(77, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		if _, body, err := get(c, url); err != nil || !bytes.Equal(body, content[12345:12345+1000001]) {
			t.Errorf("%d bytes, %v, want the range", len(body), err)
		}
	})
	if at, err := file.Seek(0, io.SeekCurrent); at != 77 || err != nil {
		t.Errorf("the file's own position moved to %d, %v", at, err)
	}
}

// recordConn counts the writes below TLS.
type recordConn struct {
	net.Conn
	writes, bytes atomic.Int64
	largest       atomic.Int64
}

func (c *recordConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.bytes.Add(int64(len(p)))
	c.largest.Store(max(c.largest.Load(), int64(len(p))))
	return c.Conn.Write(p)
}

// tlsPair returns our side and the client's of a connection over loopback.
func tlsPair(t testing.TB) (*tlsConn, *recordConn, *tls.Conn) {
	t.Helper()
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	counted := &recordConn{Conn: far}
	raw := &batchConn{Conn: counted}
	ours := &tlsConn{Conn: tls.Server(raw, tlsConfig(&tls.Config{Certificates: []tls.Certificate{cert}})), raw: raw}
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true}) // a test against ourselves
	handshake := make(chan error, 1)
	go func() { handshake <- client.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-handshake); err != nil {
		t.Fatal(err)
	}
	return ours, counted, client
}

func TestBatchedWrites(t *testing.T) {
	t.Parallel()
	ours, counted, client := tlsPair(t)
	_, content := segment(t, segmentBytes)
	got := make(chan []byte)
	for _, size := range []int{1, 1023, 1024, 5000, 16 << 10, 128 << 10, 200_000, segmentBytes} {
		before := counted.writes.Load()
		go func() {
			buf := make([]byte, size)
			_, _ = io.ReadFull(client, buf)
			got <- buf
		}()
		n, err := ours.Write(content[:size])
		if n != size || err != nil {
			t.Fatalf("Write of %d = %d, %v", size, n, err)
		}
		// All of it arrives although nothing is written after it.
		if !bytes.Equal(<-got, content[:size]) {
			t.Fatalf("%d bytes arrived changed", size)
		}
		if writes, want := counted.writes.Load()-before, int64(size/(128<<10)+3); writes > want {
			t.Errorf("Write of %d bytes took %d writes, want at most %d", size, writes, want)
		}
	}
	if counted.largest.Load() > batchBytes {
		t.Errorf("a write of %d bytes, want at most %d", counted.largest.Load(), batchBytes)
	}
}

func TestBatchedWriteFails(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100 << 10, 64 << 20} { // fails in the last flush, and inside crypto/tls
		ours, _, _ := tlsPair(t) // the client does not read
		_ = ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := size, error(nil)
		for err == nil {
			n, err = ours.Write(make([]byte, size))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == size {
			t.Errorf("Write of %d to a client that stalls = %d, %v", size, n, err)
		}
		// A record is cut: nothing that follows would make sense.
		_ = ours.SetWriteDeadline(time.Time{})
		for _, size := range []int{10, 10_000} {
			if _, err := ours.Write(make([]byte, size)); err == nil {
				t.Errorf("a Write of %d bytes after one that was cut passed", size)
			}
		}
	}
}

func TestCloseInterruptsAStuckWrite(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100 << 10, 64 << 20} { // stuck in the last flush, and inside crypto/tls
		ours, counted, _ := tlsPair(t)
		result := make(chan error, 1)
		go func() {
			for {
				if _, err := ours.Write(make([]byte, size)); err != nil {
					result <- err
					return
				}
			}
		}()
		stuck(t, &counted.writes)
		begin := time.Now()
		_ = ours.Close()
		if err := <-result; err == nil {
			t.Error("no error")
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Close took %v", took)
		}
	}
}

// stuck waits until a counter has not moved for a while.
func stuck(t *testing.T, n *atomic.Int64) {
	t.Helper()
	last := int64(-1)
	for end := time.Now().Add(patience); n.Load() != last; <-time.After(100 * time.Millisecond) {
		if last = n.Load(); time.Now().After(end) {
			t.Fatal("the writer does not get stuck")
		}
	}
}

func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.NotFoundHandler()})
	c, err := net.Dial("tcp", s.HTTPSAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusBadRequest {
		t.Fatalf("%v, %v, want 400", res, err)
	}
	_ = res.Body.Close()
}

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.NotFoundHandler()})
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		for _, proto := range []string{"h2", "http/1.1"} {
			c, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{
				RootCAs: s.pool, MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: []string{proto},
			})
			if (err == nil) != ok {
				t.Errorf("%s: %v, want it to pass: %v", tls.VersionName(version), err, ok)
			}
			if err != nil {
				continue
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != proto {
				t.Errorf("%s: protocol %q, want %q", tls.VersionName(version), got, proto)
			}
			_ = c.Close()
		}
	}
}

// headerTimeout is short, and long enough for a handshake on a busy machine.
const headerTimeout = time.Second

// slowServer gives request headers little time.
func slowServer(t *testing.T) *running {
	t.Helper()
	return start(t, Options{HeaderTimeout: headerTimeout, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") },
	)})
}

func TestSlowHTTP1Header(t *testing.T) {
	t.Parallel()
	s := slowServer(t)
	for _, secure := range []bool{false, true} {
		for _, text := range []string{"", "GET / HTTP/1.1\r\nHost:"} {
			c := s.dial(t, secure)
			_, _ = io.WriteString(c, text)
			begin := time.Now()
			_, err := io.ReadAll(c)
			if took := time.Since(begin); took > 5*time.Second || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("secure %v, %q: open after %v", secure, text, took)
			}
		}
	}
	// A handshake that is never begun.
	c, err := net.Dial("tcp", s.HTTPSAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection without a handshake stays open")
	}
}

func TestSlowHTTP2Header(t *testing.T) {
	t.Parallel()
	// A whole request first keeps nothing from being slow afterwards: HEADERS (1), stream
	// 3, ":method: GET" and no END_HEADERS; then a frame header that stops half way.
	for name, tail := range map[string]string{
		"block without end": "\x00\x00\x01\x01\x01\x00\x00\x00\x03\x82",
		"half a frame":      "\x00\x00\x10\x01\x05\x00\x00\x00\x03\x82",
		"half a header":     "\x00\x00\x10\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := slowServer(t)
			c := s.dial(t, true, "h2")
			_, _ = io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, c)
			_ = fr.WriteSettings()
			_ = fr.WriteSettingsAck()
			_, _ = io.WriteString(c, tail)
			begin := time.Now()
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("open after %v", took)
			}
		})
	}
	t.Run("honest pauses", func(t *testing.T) {
		t.Parallel()
		s := slowServer(t)
		c, url := s.client(t, "h2")
		for range 2 {
			if _, body, err := get(c, url); err != nil || string(body) != "ok" {
				t.Fatalf("%q, %v", body, err)
			}
			<-time.After(headerTimeout + 100*time.Millisecond)
		}
		if got := s.Stats().HTTP2.Accepted; got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

func TestSlowHTTP3Header(t *testing.T) {
	t.Parallel()
	s := slowServer(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h3"}},
		&quic.Config{KeepAlivePeriod: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	const streams = 90
	ended := make(chan error, streams)
	for range streams {
		str, err := conn.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := str.Write([]byte{1}); err != nil { // the type of HEADERS, and no more
			t.Fatal(err)
		}
		go func() {
			_, err := str.Read(make([]byte, 1))
			ended <- err
		}()
	}
	for range streams {
		var reset *quic.StreamError
		if err := <-ended; !errors.As(err, &reset) {
			t.Fatalf("a stream ended with %v, want a reset", err)
		}
	}
	if got := s.Stats().Refused[slowHeader.String()]; got != streams {
		t.Errorf("%d refusals, want %d", got, streams)
	}
	if err := conn.Context().Err(); err != nil {
		t.Errorf("the connection ended: %v", context.Cause(conn.Context()))
	}
}

func TestHeaderSize(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		for size, want := range map[int]int{20 << 10: http.StatusOK, 100 << 10: http.StatusRequestHeaderFieldsTooLarge} {
			req, _ := http.NewRequest(http.MethodGet, url, nil)
			req.Header.Set("X-Long", strings.Repeat("x", size))
			res, err := c.Do(req)
			if err != nil {
				if want == http.StatusOK || strings.Contains(err.Error(), "deadline") {
					t.Errorf("header of %d bytes: %v", size, err)
				}
				continue // refused without an answer
			}
			if res.StatusCode != want {
				t.Errorf("header of %d bytes: status %d, want %d", size, res.StatusCode, want)
			}
			_ = res.Body.Close()
		}
	})
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Handler: http.NotFoundHandler(), HTTPFlag: "--http", HTTPSFlag: "--https", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	try := func(change func(*Options)) error {
		o := o
		change(&o)
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		return s.Listen()
	}
	taken := "the port is taken: stop the other program or choose another address with "
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
		is     error
	}{
		"http taken":  {func(o *Options) { o.HTTP = l.Addr().String() }, "listen on " + l.Addr().String() + ": " + taken + "--http", syscall.EADDRINUSE},
		"https taken": {func(o *Options) { o.HTTPS = l.Addr().String() }, "listen on " + l.Addr().String() + ": " + taken + "--https", syscall.EADDRINUSE},
		"udp taken":   {func(o *Options) { o.HTTPS = u.LocalAddr().String() }, "listen on " + u.LocalAddr().String() + ": " + taken + "--https", syscall.EADDRINUSE},
		"not ours":    {func(o *Options) { o.HTTP = "192.0.2.1:80" }, "listen on 192.0.2.1:80: this machine has no such address: choose another with --http", syscall.EADDRNOTAVAIL},
		"no privilege": {
			func(o *Options) {
				o.HTTP = "127.0.0.1:80"
				o.Listen = func(string, string) (net.Listener, error) {
					return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
				}
			},
			"listen on 127.0.0.1:80: no permission: allow ports below 1024 (setcap cap_net_bind_service=+ep on the program) or choose a higher port with --http",
			syscall.EACCES,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := try(tt.change); err == nil || err.Error() != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	// What was bound before the error is closed again. The listener is no real one: a port that is free again may be
	// anybody's a moment later.
	tcp := &closeRecorder{addr: u.LocalAddr()}
	if err := try(func(o *Options) {
		o.HTTPS = u.LocalAddr().String()
		o.Listen = func(string, string) (net.Listener, error) { return tcp, nil }
	}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, syscall.EADDRINUSE)
	}
	if tcp.closed != 1 {
		t.Errorf("after the error the TCP listener was closed %d times, want 1", tcp.closed)
	}
	if err := try(func(o *Options) { o.HTTP = "nonsense" }); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

// TestSendfileGoesOnWhileTheClientDoes: a deadline is for a client that stands still, not for one that needs longer than
// it for a large piece.
func TestSendfileGoesOnWhileTheClientDoes(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 32<<20)
	ended := make(chan error, 1)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(400 * time.Millisecond)) // a third of what the client takes
		_, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(len(content))))
		ended <- err
	})})
	c := s.dial(t, false)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for n := 0; n < len(got); n += 128 << 10 {
		<-pace.C
		if _, err := io.ReadFull(res.Body, got[n:n+128<<10]); err != nil {
			t.Fatalf("at byte %d of %d: %v", n, len(content), err)
		}
	}
	if err := <-ended; err != nil || !bytes.Equal(got, content) {
		t.Errorf("the bytes are right: %v; %v", bytes.Equal(got, content), err)
	}
	still := s.dial(t, false) // it asks, and takes nothing
	_, _ = io.WriteString(still, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that stands still: %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// A closeRecorder is a listener that only counts how often it was closed.
type closeRecorder struct {
	net.Listener
	addr   net.Addr
	closed int
}

func (l *closeRecorder) Addr() net.Addr { return l.addr }
func (l *closeRecorder) Close() error   { l.closed++; return nil }

// A slow reader gets the file in many sendfiles with waits between.
func TestSendfileToASlowReader(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 16<<20)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		if n, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(len(content)))); n != int64(len(content)) || err != nil {
			t.Errorf("ReadFrom = %d, %v", n, err)
		}
	})})
	c := s.dial(t, false)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for end := time.Now().Add(patience); s.Stats().SendfileCalls == 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, len(content))
	buf := make([]byte, 100_000)
	for err == nil {
		var n int
		n, err = res.Body.Read(buf)
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
