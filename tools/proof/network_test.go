package proof

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect returns both ends of a new connection from a to b.
func connect(t *testing.T, n *Network, a, b string) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen(b + ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = n.Dial(t.Context(), a, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestNetworkIntegrity(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 30 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			n := NewNetwork(1)
			n.Delay("a", "b", delay)
			var all sync.WaitGroup
			for i := range 20 {
				client, server := connect(t, n, "a", "b")
				for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
					sent, got := sha256.New(), sha256.New()
					all.Go(func() {
						r := rand.New(rand.NewPCG(uint64(i), 1))
						for range 50 {
							p := make([]byte, r.IntN(20_000))
							for k := range p {
								p[k] = byte(r.Uint32())
							}
							sent.Write(p)
							if _, err := ends[0].Write(p); err != nil {
								t.Error(err)
							}
						}
						_ = ends[0].(*conn).CloseWrite()
					})
					all.Go(func() {
						if _, err := io.Copy(got, ends[1]); err != nil {
							t.Error(err)
						}
					})
					defer func() {
						if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
							t.Errorf("connection %d: what came is not what was sent", i)
						}
						ends[0].Close()
					}()
				}
			}
			all.Wait()
		})
	}
}

func TestNetworkDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, NewNetwork(1), "a", "b")
		defer client.Close()
		defer server.Close()
		start := time.Now()
		_ = client.SetReadDeadline(start.Add(3 * time.Second))
		_, err := client.Read(make([]byte, 1))
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("read: got %v after %s, want a timeout after 3s", err, time.Since(start))
		}
		_ = client.SetReadDeadline(time.Time{})
		_ = client.SetWriteDeadline(time.Now().Add(2 * time.Second))
		k, err := client.Write(make([]byte, 2*StreamBytes))
		if k != StreamBytes || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("write: got %d, %v after %s, want a full buffer and a timeout", k, err, time.Since(start))
		}
		go func() {
			time.Sleep(time.Second)
			client.Close()
		}()
		_ = client.SetDeadline(time.Time{})
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read while closing: got %v, want %v", err, net.ErrClosed)
		}
	})
}

func TestNetworkEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		end       func(n *Network, server *conn)
		wantRead  error // after the data
		wantWrite error
	}{
		{"half close", func(_ *Network, s *conn) { _ = s.CloseWrite() }, nil, nil},
		{"close", func(_ *Network, s *conn) { _, _ = s.Read(make([]byte, 10)); s.Close() }, nil, syscall.EPIPE},
		{"close with unread data", func(_ *Network, s *conn) { s.Close() }, syscall.ECONNRESET, syscall.EPIPE},
		{"linger 0", func(_ *Network, s *conn) {
			_, _ = s.Read(make([]byte, 10))
			_ = s.SetLinger(0)
			s.Close()
		}, syscall.ECONNRESET, syscall.EPIPE},
		{"kill", func(n *Network, _ *conn) { n.Kill("b") }, syscall.ECONNRESET, syscall.EPIPE},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork(1)
				client, server := connect(t, n, "a", "b")
				defer client.Close()
				defer server.Close()
				_, _ = client.Write([]byte("question"))
				_, _ = server.Write([]byte("answer"))
				c.end(n, server.(*conn))
				got, err := io.ReadAll(client)
				if string(got) != "answer" || !errors.Is(err, c.wantRead) {
					t.Errorf("read: got %q, %v, want answer, %v", got, err, c.wantRead)
				}
				if _, err := client.Write([]byte("more")); !errors.Is(err, c.wantWrite) && !errors.Is(err, syscall.ECONNRESET) || (err == nil) != (c.wantWrite == nil) {
					t.Errorf("write: got %v, want %v", err, c.wantWrite)
				}
			})
		})
	}
}

func TestNetworkDial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		h := n.Host("b")
		if _, err := n.Dial(t.Context(), "a", "b:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("no listener: got %v, want refused", err)
		}
		if _, err := n.Dial(t.Context(), "a", "nobody:80"); err == nil {
			t.Error("no host: dialled")
		}
		l, err := h.Listen("127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); got != "10.0.0.1:80" {
			t.Errorf("address: got %s, want 10.0.0.1:80", got)
		}
		if _, err := h.Listen(":80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: got %v", err)
		}
		if _, err := h.Listen("10.0.0.9:81"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("foreign address: got %v", err)
		}
		for _, address := range []string{"b:80", "10.0.0.1:80"} {
			c, err := n.Dial(t.Context(), "a", address)
			if err != nil {
				t.Fatal(err)
			}
			if ip, _, _ := net.SplitHostPort(c.LocalAddr().String()); ip != n.Host("a").IP().String() {
				t.Errorf("local address: got %s", c.LocalAddr())
			}
			c.Close()
		}
		if c, err := h.Dial(t.Context(), "localhost:80"); err != nil {
			t.Errorf("dial oneself: %v", err)
		} else {
			c.Close()
		}
		if got := n.Dials("a", "b"); got != 3 {
			t.Errorf("Dials(a, b): got %d, want 3", got)
		}
		n.Kill("b")
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after kill: got %v", err)
		}
		if _, err := h.Listen(":80"); err != nil {
			t.Errorf("listen after kill: %v", err)
		}
	})
}

func TestNetworkCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		client, server := connect(t, n, "a", "b")
		defer client.Close()
		defer server.Close()
		l, _ := n.Listen("b:80")
		defer l.Close()
		n.Cut("a", "b")
		if _, err := client.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(10 * time.Minute))
		if _, err := server.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read over a cut: got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dial(ctx, "a", "b:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: got %v", err)
		}
		start := time.Now()
		if _, err := n.Dial(t.Context(), "a", "b:80"); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != dialTimeout {
			t.Errorf("dial over a cut: got %v after %s", err, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { n.Heal("*", "*") })
		if c, err := n.Dial(t.Context(), "a", "b:80"); err != nil {
			t.Errorf("dial until healed: %v", err)
		} else {
			c.Close()
		}
		_ = server.SetReadDeadline(time.Time{})
		p := make([]byte, 10)
		if k, err := server.Read(p); string(p[:k]) != "held" {
			t.Errorf("after the heal: got %q, %v", p[:k], err)
		}

		n.CutOneWay("a", "b")
		_, _ = client.Write([]byte("x"))
		_, _ = server.Write([]byte("passes"))
		if k, err := client.Read(p); string(p[:k]) != "passes" {
			t.Errorf("the other way: got %q, %v", p[:k], err)
		}
		_ = server.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := server.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one way: got %v", err)
		}
		n.Heal("a", "b")

		n.Cut("b", "*")
		if cut, _, _ := n.link("b", "c").state(); !cut {
			t.Error("a host first named after the cut from all is reachable")
		}
		if cut, _, _ := n.link("b", "b").state(); cut {
			t.Error("a host is cut from itself")
		}
	})
}

// A host that dies while it cannot be reached must still let go of its own
// connections, and be dead for the others once they hear of it.
func TestNetworkKillBehindCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		client, server := connect(t, n, "a", "b")
		defer client.Close()
		n.Cut("a", "b")
		n.Kill("b")
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("the dead host reads")
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Errorf("the other host knows too early: %v", err)
		}
		_ = client.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the other host knows too early: %v", err)
		}
		n.Heal("a", "b")
		_ = client.SetReadDeadline(time.Time{})
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the heal: got %v, want a reset", err)
		}
	})
}

func TestNetworkGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		client, server := connect(t, n, "a", "b")
		defer client.Close()
		defer server.Close()
		n.CutOneWay("a", "b")
		start := time.Now()
		_, _ = client.Write([]byte("x"))
		time.AfterFunc(10*time.Minute, func() { n.Heal("a", "b") })
		time.AfterFunc(11*time.Minute, func() {
			n.Cut("a", "b")
			_, _ = client.Write([]byte("y"))
		})
		_, err := client.Read(make([]byte, 1))
		if got := time.Since(start); !errors.Is(err, syscall.ETIMEDOUT) || got != 11*time.Minute+retryTimeout {
			t.Errorf("read: got %v after %s", err, got)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("write: got %v", err)
		}
		if k, err := server.Read(make([]byte, 1)); k != 1 {
			t.Errorf("what arrived before the second cut: got %d bytes, %v", k, err)
		}
	})
}

func TestNetworkDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		n.Delay("a", "b", 40*time.Millisecond)
		start := time.Now()
		client, server := connect(t, n, "a", "b")
		defer server.Close()
		if got := time.Since(start); got != 80*time.Millisecond {
			t.Errorf("dial took %s, want 80ms", got)
		}
		_, _ = client.Write([]byte("one"))
		client.Close()
		got, err := io.ReadAll(server)
		if string(got) != "one" || err != nil || time.Since(start) != 120*time.Millisecond {
			t.Errorf("got %q, %v after %s, want it after 120ms", got, err, time.Since(start))
		}
	})
}

func TestNetworkPackets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(7)
		a, _ := n.ListenPacket("a:0")
		b, _ := n.ListenPacket("b:7946")
		defer a.Close()
		defer b.Close()
		send := func() int {
			for i := range 200 {
				if _, err := a.WriteTo([]byte{byte(i)}, b.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			got, p := 0, make([]byte, 10)
			for {
				_ = b.SetReadDeadline(time.Now().Add(time.Second))
				_, from, err := b.ReadFrom(p)
				if err != nil {
					return got
				}
				if from.String() != a.LocalAddr().String() {
					t.Fatalf("from %s, want %s", from, a.LocalAddr())
				}
				got++
			}
		}
		if got := send(); got != 200 {
			t.Errorf("got %d packets, want 200", got)
		}
		n.Loss("a", "b", 0.5)
		if got := send(); got < 60 || got > 140 {
			t.Errorf("with half lost: got %d of 200", got)
		}
		n.Cut("a", "b")
		if got := send(); got != 0 {
			t.Errorf("over a cut: got %d", got)
		}
		n.Heal("a", "b")
		n.Delay("a", "b", 300*time.Millisecond)
		if got := send(); got != 200 {
			t.Errorf("delayed: got %d packets, want 200", got)
		}
		n.Kill("b")
		if _, _, err := b.ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after kill: got %v", err)
		}
	})
}

func TestNetworkHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		l, _ := n.Host("edge-1").Listen(":8080")
		stop := Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.RemoteAddr)
		}), nil)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return n.Host("viewer").Dial(ctx, addr)
		}}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edge-1:8080/", nil)
				response, err := transport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				defer response.Body.Close()
				if got, _ := io.ReadAll(response.Body); !bytes.HasPrefix(got, []byte("10.0.0.2:")) {
					t.Errorf("remote address: got %s", got)
				}
			})
		}
		all.Wait()
		transport.CloseIdleConnections()
		stop()
	})
}

// A host is a network as the packages under test declare it.
var _ interface {
	ListenPacket(addr string) (net.PacketConn, error)
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
} = (*Host)(nil)
