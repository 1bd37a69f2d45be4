package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

const (
	// stalledReaders is how many there are by default. WEIR_STALLED_READERS may ask for
	// more: of 10,000 each takes a descriptor here.
	stalledReaders = 300
	stalledEnv     = "WEIR_TEST_STALL" // protocol, address and number, for the process with the clients
)

// TestMain is the test's process, or the one in which clients do nothing but stall: their
// memory must not count as ours.
func TestMain(m *testing.M) {
	if how := os.Getenv(stalledEnv); how != "" {
		if err := stallClients(how); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stallClients opens the connections, asks for a body on each, reads next to nothing, and
// waits until its input ends.
func stallClients(how string) error {
	kind, rest, _ := strings.Cut(how, ",")
	addr, number, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	config := &tls.Config{InsecureSkipVerify: true}
	kept := make([]any, n) // else the collector closes them
	for i := range kept {
		if kept[i], err = stallClient(kind, addr, config); err != nil {
			return err
		}
	}
	fmt.Println("asked")
	_, err = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(kept)
	return err
}

func stallClient(protocol, addr string, config *tls.Config) (any, error) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	config = config.Clone()
	if protocol == "h3" {
		config.NextProtos = []string{"h3"}
		conn, err := quic.DialAddr(context.Background(), addr, config, &quic.Config{KeepAlivePeriod: time.Second, MaxIdleTimeout: patience})
		if err != nil {
			return nil, err
		}
		str, err := conn.OpenStream()
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(str, headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"))
		_ = str.Close()
		return conn, err
	}
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = tcp.(*net.TCPConn).SetReadBuffer(4 << 10)
	if protocol == "h1" {
		_, err = io.WriteString(tcp, request)
		return tcp, err
	}
	if protocol == "h2" || protocol == "h2 window" {
		config.NextProtos = []string{"h2"}
	}
	conn := tls.Client(tcp, config)
	if protocol == "h1+tls" {
		_, err = io.WriteString(conn, request)
		return conn, err
	}
	c := newRawHTTP2(conn)
	window := uint32(1<<31 - 1)
	if protocol == "h2 window" {
		window = 0
	}
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return nil, err
	}
	if err := c.WriteWindowUpdate(0, 1<<30); err != nil {
		return nil, err
	}
	return c, c.request(1, "/", true)
}

// Readers that stall, each on its own connection, hold little memory until the Handler's
// deadline ends them. Not parallel: it measures the process.
func TestStalledReadersMemory(t *testing.T) {
	n := stalledReaders
	if asked, err := strconv.Atoi(os.Getenv("WEIR_STALLED_READERS")); err == nil {
		n = asked
	}
	const size = 16 << 20
	file, err := os.Create(filepath.Join(t.TempDir(), "segment"))
	if err == nil {
		defer func() { _ = file.Close() }()
		err = file.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	// What a reader that takes nothing may hold of our memory, its connection included.
	const most = 64 << 10
	for _, protocol := range []string{"h1", "h1+tls", "h2", "h2 window", "h3"} {
		t.Run(protocol, func(t *testing.T) {
			var running atomic.Int64
			s := start(t, Options{DrainTimeout: time.Millisecond, Listen: smallSockets, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				running.Add(1)
				w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
				if _, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, size)); err == nil {
					t.Error("a body went out to nobody")
				}
				panic(http.ErrAbortHandler)
			})})
			addr := s.HTTPSAddr()
			if protocol == "h1" {
				addr = s.HTTPAddr()
			}
			_ = heapInUse() // what lies in pools goes at the second collection
			before := heapInUse()
			ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
			defer cancel()
			clients := exec.CommandContext(ctx, os.Args[0])
			clients.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%d", stalledEnv, protocol, addr, n))
			clients.Stderr = os.Stderr
			in, err := clients.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := clients.StdoutPipe()
			if err == nil {
				err = clients.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "asked\n" {
				t.Errorf("the clients say %q, %v", line, err)
			}
			for ctx.Err() == nil && running.Load() < int64(n) {
				<-time.After(10 * time.Millisecond)
			}
			for was, quiet := s.moved(t), 0; quiet < 5 && ctx.Err() == nil; quiet++ { // until nothing moves any more
				<-time.After(200 * time.Millisecond)
				if now := s.moved(t); now != was {
					was, quiet = now, 0
				}
			}
			_ = heapInUse()
			each := (heapInUse() - before) / int64(n)
			t.Logf("%d readers of %d are stalled, %d bytes each", running.Load(), n, each)
			if each > most && !underRace {
				t.Errorf("%d bytes for a reader that takes nothing, want at most %d", each, most)
			}
			s.wait(t)
			_ = in.Close()
			_ = clients.Wait()
		})
	}
}

// moved grows with every piece of a file that is read or sent.
func (r *running) moved(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("only Linux counts what a process reads")
	}
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(line, "syscr: "); ok {
			n, _ = strconv.ParseInt(strings.TrimSpace(count), 10, 64)
		}
	}
	return n/100 + r.Stats().SendfileBytes // this asks, too
}

// smallSockets are listeners whose connections have small buffers to send from.
func smallSockets(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return smallSocket{l}, err
}

type smallSocket struct{ net.Listener }

func (l smallSocket) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(256 << 10) // else a thousand take all the memory that the kernel has for TCP
	}
	return c, err
}
