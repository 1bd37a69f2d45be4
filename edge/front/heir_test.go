package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// TestHeir: one server follows another on one UDP address, and then a third. A download goes on where it began, also when
// its client changes its port; new connections go to the old server until it bequeaths, and to the new one from then on.
func TestHeir(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the kernel has to divide packets: Linux")
	}
	_, content := segment(t, 1<<20)
	more := make(chan struct{}) // lets the rest of the downloads go
	server := func(name string, heir *Heir) *running {
		o := Options{QUICKey: []byte("a secret of the test's"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/long" {
				_, _ = io.WriteString(w, name)
				return
			}
			_, _ = w.Write(content[:len(content)/2])
			_ = http.NewResponseController(w).Flush()
			<-more
			_, _ = w.Write(content[len(content)/2:])
		})}
		if heir != nil {
			o.ListenPacket = func(string, string) (net.PacketConn, error) {
				defer heir.File.Close()
				return net.FilePacketConn(heir.File)
			}
		}
		return start(t, o)
	}
	address := ""
	client := func() *http.Client {
		tr := &http3.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is the test's
			QUICConfig:      &quic.Config{MaxIdleTimeout: patience},
		}
		t.Cleanup(func() { _ = tr.Close() })
		return &http.Client{Transport: tr, Timeout: patience}
	}
	who := func(want string) {
		t.Helper()
		for range 10 {
			res, err := client().Get("https://" + address + "/")
			if err != nil {
				t.Fatal(err)
			}
			name, err := io.ReadAll(res.Body)
			if err != nil || string(name) != want {
				t.Fatalf("a new connection is answered by %q (%v), want %q", name, err, want)
			}
		}
	}
	type download struct {
		body io.ReadCloser
		path *udpPath
	}
	begin := func() download {
		path := newUDPPath(t, address)
		res, err := client().Get("https://" + path.address() + "/long")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return download{res.Body, path}
	}
	first := server("first", nil)
	address = first.HTTPSAddr()
	who("first")
	fromFirst := begin()
	heir, err := first.Heir()
	if err != nil {
		t.Fatal(err)
	}
	second := server("second", heir)
	who("first")
	fromFirst.path.rebind(t)
	if err := heir.Bequeath(); err != nil {
		t.Fatal(err)
	}
	who("second")
	if err := heir.Retain(); err != nil { // a change of mind
		t.Fatal(err)
	}
	who("first")
	if err := heir.Bequeath(); err != nil {
		t.Fatal(err)
	}
	fromSecond := begin()
	fromFirst.path.rebind(t)
	first.stop() // it drains
	who("second")
	close(more)
	for _, d := range []download{fromFirst, fromSecond} {
		d.path.rebind(t)
		got, err := io.ReadAll(d.body)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("a download across the change: %d bytes, all right: %v, %v", len(got), bytes.Equal(got, content), err)
		}
	}
	first.wait(t)
	who("second")

	if heir, err = second.Heir(); err != nil {
		t.Fatal(err)
	}
	server("third", heir)
	who("second")
	if err := heir.Bequeath(); err != nil {
		t.Fatal(err)
	}
	who("third")
	second.stop()
	second.wait(t)
	who("third")
}

// TestHeirOfNothing: without HTTP/3 there is no socket to share; before Listen neither.
func TestHeirOfNothing(t *testing.T) {
	t.Parallel()
	s, err := New(Options{HTTP: "127.0.0.1:0", Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := s.Heir(); h != nil || err != nil {
		t.Errorf("got %v, %v, want nothing", h, err)
	}
	if _, err := shareAddress(closedUDP(t)); err == nil || errors.Is(err, os.ErrExist) {
		t.Errorf("a closed socket is shared: %v", err)
	}
}

func closedUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	return c
}
