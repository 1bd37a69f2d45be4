package front

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSendfileThatIsRefusedLater: where the kernel takes no more by sendfile after some, the rest follows in another way, and no
// byte twice.
func TestSendfileThatIsRefusedLater(t *testing.T) {
	t.Parallel()
	want := make([]byte, 32<<20) // more than sockets hold
	for i := range want {
		want[i] = byte(i / 4099)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server := c.(*net.TCPConn)
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var stats counters
	type sent struct {
		n   int64
		err error
	}
	done := make(chan sent, 1)
	go func() { // ends when all is sent, or at the end of the connection
		n, err := (&tcpConn{TCPConn: server, raw: raw, stats: &stats}).sendfile(file, 0, int64(len(want)))
		_ = server.CloseWrite()
		done <- sent{n, err}
	}()
	// Until the sockets are full: a call more than those that sent something.
	for until := time.Now().Add(patience); stats.sendfileBytes.Load() == 0 || stats.sendfileCalls.Load() < 2; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nothing is sent")
		}
	}
	if err := raw.Control(func(fd uintptr) { // do_splice_direct(9): EINVAL
		if _, err := unix.FcntlInt(fd, unix.F_SETFL, unix.O_APPEND|unix.O_NONBLOCK); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	result := <-done
	if result.err != nil || result.n != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, told %d, %v; want %d, each once", len(got), result.n, result.err, len(want))
	}
	if by := stats.sendfileBytes.Load(); by == 0 || by == int64(len(want)) {
		t.Errorf("%d bytes by sendfile, want some and not all", by)
	}
}
