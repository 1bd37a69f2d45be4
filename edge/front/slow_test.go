package front

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inTime runs a Server on a listener in memory, in virtual time; dial connects to it.
func inTime(t *testing.T, o Options, test func(t *testing.T, s *Server, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		queue := newConnQueue(&net.TCPAddr{})
		o.HTTP, o.Listen = "memory:80", func(string, string) (net.Listener, error) { return queue, nil }
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		test(t, s, func() net.Conn {
			ours, theirs := net.Pipe()
			queue.put(theirs)
			return ours
		})
		stop()
		running.Wait()
	})
}

// TestDrainAnswersWhoCameLast: a connection that was accepted before a drain, and asks for something soon after it has begun,
// gets its answer, and is told that it is the last; who takes longer finds it closed.
func TestDrainAnswersWhoCameLast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{time.Millisecond, "HTTP/1.1 200 OK"}, {freshPatience - leastPause, "HTTP/1.1 200 OK"}, {2 * freshPatience, ""},
	} {
		var answer []byte
		inTime(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}, func(_ *testing.T, _ *Server, dial func() net.Conn) {
			conn := dial()
			synctest.Wait() // the server waits for a request
			go func() {     // ends with the connection
				defer conn.Close()
				time.Sleep(tt.after)
				_, _ = io.WriteString(conn, get11+"\r\n")
				answer, _ = io.ReadAll(conn)
			}()
		})
		if !strings.HasPrefix(string(answer), tt.want) || tt.want == "" != (len(answer) == 0) || tt.want != "" && !strings.Contains(string(answer), "Connection: close") {
			t.Errorf("after %v: %q, want %q", tt.after, answer, tt.want)
		}
	}
}

// TestSlowHeaders: a thousand connections that send a byte of a header now and then are each ended in time and counted
// once, and a client that does not dawdle is served as ever.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	const slow, timeout, pause = 1000, 12 * time.Second, 5 * time.Second
	const accepting = slow / acceptedAtOnce * acceptedPause // the last one has waited for no longer
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	inTime(t, Options{Handler: handler, HeaderTimeout: timeout}, func(t *testing.T, s *Server, dial func() net.Conn) {
		const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		start := time.Now()
		var all sync.WaitGroup
		for range slow {
			all.Go(func() {
				conn := dial()
				defer conn.Close()
				all.Go(func() { // ends with the connection
					for i := range len(request) {
						if _, err := io.WriteString(conn, request[i:i+1]); err != nil {
							return
						}
						time.Sleep(pause)
					}
				})
				answer, err := io.ReadAll(conn)
				if took := time.Since(start); err != nil || took < timeout || took > timeout+accepting || !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) || !bytes.Contains(answer, []byte("Connection: close\r\n")) {
					t.Errorf("after %v, want %v: %q, %v", took, timeout, answer, err)
				}
			})
		}
		conn := dial() // one connection, for as long as that goes on
		defer conn.Close()
		r := bufio.NewReader(conn)
		for time.Since(start) < 2*timeout {
			begun := time.Now()
			_, _ = io.WriteString(conn, request)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(body, content) || time.Since(begun) > 0 {
				t.Errorf("an honest client gets %d bytes, %v, in %v", len(body), err, time.Since(begun))
			}
			time.Sleep(100 * time.Millisecond)
		}
		all.Wait()
		for why, n := range s.Stats().Refused {
			if want := map[bool]int64{true: slow}[why == "header_timeout"]; n != want {
				t.Errorf("%s: %d refusals, want %d", why, n, want)
			}
		}
		if open := s.Stats().Cleartext.Open; open != 1 {
			t.Errorf("%d connections are open, want 1", open)
		}
	})
}

// TestHeaderFloodsTakeLittleMemory: what a client sends by way of a header costs little, whatever its size, also where
// it is about to be complete and never is. Not parallel: it measures the process.
func TestHeaderFloodsTakeLittleMemory(t *testing.T) { //nolint:paralleltest // see above
	const most, connections = 768 << 10, 20
	s := start(t, Options{Handler: http.NotFoundHandler()})
	for name, header := range map[string]string{
		"2,000 fields":            get11 + strings.Repeat("a: b\r\n", 2000) + "\r\n",
		"a field of 2 MiB":        get11 + "A: " + strings.Repeat("b", 2<<20) + "\r\n\r\n",
		"a target of 64 KiB":      "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n",
		"a method of 2 MiB":       strings.Repeat("A", 2<<20),
		"a name of 2 MiB":         get11 + strings.Repeat("a", 2<<20),
		"31 KiB in 100 fields":    get11 + strings.Repeat("A: "+strings.Repeat("b", 300)+"\r\n", 100),
		"trailers of 2 MiB":       post11 + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("b", 2<<20),
		"an extension of 2 MiB":   post11 + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("b", 2<<20),
		"empty lines of 2 MiB":    strings.Repeat("\r\n", 1<<20),
		"a thousand tiny chunks":  post11 + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 30)+"\r\nx\r\n", 1000) + "0\r\n\r\n",
		"a hundred wrong lengths": get11 + strings.Repeat("Content-Length: 0\r\n", 100) + "\r\n",
	} {
		sent := []byte(header)
		for _, overTLS := range []bool{false, true} {
			exchangeRaw(t, s, overTLS, sent) // what is allocated once
			before := allocated()
			for range connections {
				exchangeRaw(t, s, overTLS, sent)
			}
			each := (allocated() - before) / connections
			t.Logf("%s, TLS %v: %d KiB allocated by both sides", name, overTLS, each>>10)
			if each > most {
				t.Errorf("%s, TLS %v: %d bytes for each connection, want at most %d", name, overTLS, each, most)
			}
		}
	}
}
