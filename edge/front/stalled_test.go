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
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

const (
	// stalledReaders is how many there are by default. WEIR_STALLED_READERS may ask for
	// more: of 10,000 each takes a descriptor here.
	stalledReaders = 300
	stalledEnv     = "WEIR_TEST_STALL" // for the process with the clients, see stall
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

// stallClients opens the connections, then asks on each of their streams, reads nothing or a byte a second, and waits until
// its input ends. A protocol may be followed by the number of streams of a connection.
func stallClients(how string) error {
	var protocol, addr, path, takes string
	var n int
	if words := strings.Split(how, ","); len(words) == 5 {
		protocol, addr, path, takes = words[0], words[1], words[2], words[3]
		n, _ = strconv.Atoi(words[4])
	}
	streams := 1
	if name, each, ok := strings.Cut(protocol, "/"); ok {
		protocol = name
		streams, _ = strconv.Atoi(each)
	}
	clients := make([]stalledClient, (n+streams-1)/streams) // kept: else the collector closes them
	dials := make(chan error, len(clients))
	var next atomic.Int64
	for range 8 { // they end with the last dial
		go func() {
			for i := next.Add(1) - 1; i < int64(len(clients)); i = next.Add(1) - 1 {
				var err error
				clients[i], err = dialStalled(protocol, addr, path)
				dials <- err
			}
		}()
	}
	for range clients {
		if err := <-dials; err != nil {
			return err
		}
	}
	for i := range n { // all ask at once, so that none is ended before the last has begun
		if err := clients[i/streams].ask(i % streams); err != nil {
			return err
		}
	}
	fmt.Println("asked")
	over := make(chan error, 1)
	go func() { // ends with the process at the latest
		_, err := io.Copy(io.Discard, os.Stdin)
		over <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for one := make([]byte, 1); ; {
		select {
		case err := <-over:
			runtime.KeepAlive(clients)
			return err
		case <-tick.C:
		}
		for _, c := range clients {
			if takes == trickling {
				_, _ = c.from.Read(one) // what was ended stays so
			}
		}
	}
}

// stalledClient is a connection; ask sends its request of that number, and from is where the answers come.
type stalledClient struct {
	from io.Reader
	ask  func(i int) error
}

func dialStalled(protocol, addr, path string) (stalledClient, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"
	config := &tls.Config{InsecureSkipVerify: true}
	if protocol == "h3" {
		config.NextProtos = []string{"h3"}
		conn, err := quic.DialAddr(context.Background(), addr, config, &quic.Config{
			KeepAlivePeriod: 5 * time.Second, MaxIdleTimeout: time.Hour, InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10,
		})
		if err != nil {
			return stalledClient{}, err
		}
		first, err := conn.OpenStream()
		return stalledClient{first, func(i int) error {
			str := first
			if i > 0 {
				if str, err = conn.OpenStream(); err != nil {
					return err
				}
			}
			_, err = io.WriteString(str, headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", path))
			_ = str.Close()
			return err
		}}, err
	}
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		return stalledClient{}, err
	}
	_ = tcp.(*net.TCPConn).SetReadBuffer(4 << 10)
	if protocol == "h1" {
		return stalledClient{tcp, func(int) error { _, err := io.WriteString(tcp, request); return err }}, nil
	}
	if protocol != "h1+tls" {
		config.NextProtos = []string{"h2"}
	}
	conn := tls.Client(tcp, config)
	if err := conn.Handshake(); err != nil {
		return stalledClient{}, err
	}
	if protocol == "h1+tls" {
		return stalledClient{tcp, func(int) error { _, err := io.WriteString(conn, request); return err }}, nil
	}
	c := newRawHTTP2(conn)
	window := uint32(1<<31 - 1)
	if protocol == "h2 window" {
		window = 0
	}
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return stalledClient{}, err
	}
	return stalledClient{tcp, func(i int) error { return c.request(2*uint32(i)+1, path, true) }}, c.WriteWindowUpdate(0, 1<<30)
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
	memory := make([]byte, copyBytes)
	for _, tt := range []struct {
		protocol string
		memory   bool // the body is no file, but in memory that all share
	}{
		{"h1", false},
		{"h1+tls", false},
		{"h2", false},
		{"h2/100", false},
		{"h2 window", false},
		{"h2 window/100", false},
		{"h3", false},
		{"h3/100", false},
		{"h1", true},
		{"h1+tls", true},
		{"h2", true},
		{"h3", true},
	} {
		name := tt.protocol
		if tt.memory {
			name += " from memory"
		}
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{DrainTimeout: time.Millisecond, HeaderTimeout: time.Hour, IdleTimeout: time.Hour, Listen: smallSockets(n), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
				for sent := 0; tt.memory && sent < size; sent += len(memory) {
					if _, err := w.Write(memory); err != nil {
						panic(http.ErrAbortHandler)
					}
				}
				if _, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, size)); err == nil {
					t.Error("a body went out to nobody")
				}
				panic(http.ErrAbortHandler)
			})})
			readers := s.stall(t, tt.protocol, "/", n, nothing)
			readers.check(t, n, readers.heap+readers.stack)
			s.wait(t)
			readers.end()
		})
	}
}

// What clients that stall take.
const (
	nothing   = "nothing"
	trickling = "a byte a second"
)

// stalled are clients that stall, in a process of their own.
type stalled struct {
	heap, stack, kernel int64 // bytes for one of them: of ours, and of the kernel for both ends
	running             int64 // requests
	end                 func()
}

// stall has n clients ask for path, and measures when they have what the sockets and windows take.
func (r *running) stall(t *testing.T, protocol, path string, n int, takes string) stalled {
	t.Helper()
	addr := r.HTTPSAddr()
	if protocol == "h1" {
		addr = r.HTTPAddr()
	}
	_ = heapInUse() // what lies in pools goes at the second collection
	all, kernel := heapInUse(), socketMemory()
	stack := stackInUse()
	begun := r.entry.running.Load()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience+time.Duration(n)*100*time.Millisecond)
	clients := exec.CommandContext(ctx, os.Args[0])
	clients.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%s,%s,%d", stalledEnv, protocol, addr, path, takes, n))
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
	end := func() {
		_ = in.Close()
		_ = clients.Wait() // killed is ended, too
		cancel()
	}
	t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "asked\n" {
		t.Errorf("the clients say %q, %v", line, err)
	}
	for ctx.Err() == nil && r.entry.running.Load()-begun < int64(n) {
		<-time.After(10 * time.Millisecond)
	}
	// Until next to nothing is done any more, but for the looks of ten thousand: those are ended after writeStall.
	for was, quiet, rounds := busy(), 0, 0; quiet < 5 && rounds < 25; quiet, rounds = quiet+1, rounds+1 {
		<-time.After(200 * time.Millisecond)
		if now := busy(); now != was {
			was, quiet = now, 0
		}
	}
	for range 3 {
		_ = heapInUse() // a stack that is too large gets half as large at each collection
	}
	all, stack = heapInUse()-all, stackInUse()-stack
	s := stalled{heap: (all - stack) / int64(n), stack: stack / int64(n), kernel: (socketMemory() - kernel) / int64(n), running: r.entry.running.Load() - begun, end: end}
	t.Logf("%d readers of %d are stalled, %d bytes each, %d of them of stacks, and %d in the kernel for both ends", s.running, n, s.heap+s.stack, s.stack, s.kernel)
	return s
}

// stalledBytes is what a reader that takes nothing may hold of our memory, its connection included.
const stalledBytes = 64 << 10

// check holds them to a number of bytes each.
func (s stalled) check(t *testing.T, n int, bytes int64) {
	t.Helper()
	if s.running != int64(n) {
		t.Errorf("%d readers are stalled, want %d", s.running, n)
	}
	if bytes > stalledBytes && !underRace {
		t.Errorf("%d bytes for a reader that takes next to nothing, want at most %d", bytes, stalledBytes)
	}
}

func stackInUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// busy is the processor time of this process, in steps of 50 milliseconds.
func busy() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return (u.Utime.Nano() + u.Stime.Nano()) / int64(50*time.Millisecond)
}

// socketMemory is what the kernel has for the TCP and UDP sockets of the machine; 0 where it does not say.
func socketMemory() (n int64) {
	b, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); fields[0] == "TCP:" || fields[0] == "UDP:" {
			pages, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			n += pages * int64(os.Getpagesize())
		}
	}
	return n
}

// smallSockets makes listeners whose connections have small buffers to send from: else a thousand take all the memory that
// the kernel has for TCP.
func smallSockets(n int) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return smallSocket{l, min(256<<10, 320<<20/n)}, err
	}
}

type smallSocket struct {
	net.Listener

	bytes int
}

func (l smallSocket) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(l.bytes)
	}
	return c, err
}
