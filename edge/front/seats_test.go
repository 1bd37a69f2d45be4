package front

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

func testSeats(c Connections) (*seats, *refusals) {
	r := &refusals{log: slog.New(slog.DiscardHandler)}
	return newSeats(c, r), r
}

func from(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 5000))
}

// TestSeatsByAddress: how many connections a client and a network may have.
func TestSeatsByAddress(t *testing.T) {
	t.Parallel()
	g, r := testSeats(Connections{Client: 2, Network: 3, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	var in []*seat
	for _, tt := range []struct {
		ip  string
		why reason
	}{
		{"192.0.2.1", allowed},
		{"192.0.2.1", allowed},
		{"::ffff:192.0.2.1", connectionClient},
		{"192.0.2.2", allowed},
		{"192.0.2.3", connectionNetwork},
		{"192.0.3.3", allowed},
		{"2001:db8::1", allowed},
		{"2001:db8::2", allowed},
		{"2001:db8::3", connectionClient},      // as far as anybody knows it is the same client
		{"2001:db8:0:1::1", allowed},           // its neighbour
		{"2001:db8:0:2::1", connectionNetwork}, // the third in one house
		{"2001:db8:0:100::1", allowed},         // the house next door
		{"198.51.100.1", allowed},
		{"198.51.100.1", allowed},
		{"198.51.100.1", allowed},
	} {
		before := r.snapshot()
		s := g.enter(from(tt.ip), true, nil)
		if (s != nil) != (tt.why == allowed) || tt.why != allowed && r.counts[tt.why].Load() != before[tt.why.String()]+1 {
			t.Errorf("%s: seat %v, want reason %q", tt.ip, s != nil, tt.why)
		}
		if s != nil {
			in = append(in, s)
		}
	}
	for _, s := range in {
		s.leave()
		s.leave()
	}
	if len(g.all)+len(g.clients)+len(g.networks) > 0 {
		t.Errorf("all have left: %d seats, %v, %v", len(g.all), g.clients, g.networks)
	}
}

// TestTheOldestIdleConnectionGivesWay where all are there; one with a request never does.
func TestTheOldestIdleConnectionGivesWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, r := testSeats(Connections{Total: 3})
		var ended []string
		enter := func(name string) *seat {
			return g.enter(from("192.0.2.1"), true, func() { ended = append(ended, name) })
		}
		a, b, c := enter("a"), enter("b"), enter("c")
		b.state(http.StateIdle)
		time.Sleep(time.Second)
		a.state(http.StateIdle)
		c.state(http.StateActive)
		d := enter("d")
		if d == nil || strings.Join(ended, "") != "b" {
			t.Fatalf("%v ended, want b", ended)
		}
		d.state(http.StateActive)
		a.state(http.StateActive) // it was found to be idle, and is no more
		if e := enter("e"); e != nil || r.counts[connectionTotal].Load() != 1 {
			t.Errorf("a fourth connection got in; %v ended", ended)
		}
		c.state(http.StateIdle)
		time.Sleep(searchEvery)
		if e := enter("e"); e == nil || strings.Join(ended, "") != "bc" {
			t.Errorf("%v ended, want b and c", ended)
		}
		g.set(Connections{Total: 4})
		if f := enter("f"); f == nil || len(ended) != 2 {
			t.Errorf("no place for a fourth after the limit was raised; %v ended", ended)
		}
		if open, limit := g.count(); open != 4 || limit != 4 || g.gaveWay.Load() != 2 {
			t.Errorf("%d of %d open, %d gave way", open, limit, g.gaveWay.Load())
		}
	})
}

// shortListener has no descriptors until then.
type shortListener struct {
	net.Listener
	until time.Time
	calls int
	err   syscall.Errno // 0: EMFILE
}

func (l *shortListener) Accept() (net.Conn, error) {
	l.calls++
	if time.Now().Before(l.until) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", cmp.Or(l.err, syscall.EMFILE))}
	}
	c, _ := net.Pipe()
	return c, nil
}

// TestAcceptWithoutDescriptors: it waits, without keeping a processor busy, closes what is idle, and goes on soon after there
// are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := testSeats(Connections{})
		closed := 0
		for range 10 {
			g.enter(from("192.0.2.1"), true, func() { closed++ }).state(http.StateIdle)
		}
		const outage = time.Minute
		begun := time.Now()
		l := &shortListener{until: begun.Add(outage)}
		c, _, err := g.accept(l, nil, newStopper().done)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if took := time.Since(begun); took > outage+longestPause || l.calls > 300 || closed != 10 || g.short.Load() != int64(l.calls-1) {
			t.Errorf("accepted after %v and %d tries, %d idle connections closed, %d errors counted", took, l.calls, closed, g.short.Load())
		}
		stop := newStopper()
		stop.stop()
		l.until = time.Now().Add(outage)
		if _, _, err := g.accept(l, nil, stop.done); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it was stopped, and says %v", err)
		}
	})
}

// TestAcceptErrors: what is wrong with one connection, or passes, ends no server, and only a lack of something ends idle
// connections; what is wrong with the listener ends it.
func TestAcceptErrors(t *testing.T) {
	t.Parallel()
	for err, want := range map[syscall.Errno]struct {
		goesOn bool
		closed int
	}{
		syscall.EMFILE: {true, 1}, syscall.ENFILE: {true, 1}, syscall.ENOMEM: {true, 1}, syscall.ENOBUFS: {true, 1},
		syscall.EPERM: {true, 0}, syscall.EPROTO: {true, 0}, syscall.EHOSTUNREACH: {true, 0}, syscall.ENETDOWN: {true, 0},
		syscall.EBADF: {false, 0}, syscall.EINVAL: {false, 0}, syscall.ENOTSOCK: {false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, _ := testSeats(Connections{})
			closed := 0
			g.enter(from("192.0.2.1"), true, func() { closed++ }).state(http.StateIdle)
			c, _, got := g.accept(&shortListener{until: time.Now().Add(time.Second), err: err}, nil, newStopper().done)
			if got == nil {
				_ = c.Close()
			}
			if (got == nil) != want.goesOn || closed != want.closed {
				t.Errorf("%v: it ended with %v, %d idle connections closed; want %+v", err, got, closed, want)
			}
		})
	}
}

// TestConnectionsAreBounded over every protocol: an idle one gives way, a busy one does not.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			begun, release := make(chan struct{}, 8), make(chan struct{})
			mux := http.NewServeMux()
			mux.HandleFunc("/now", func(http.ResponseWriter, *http.Request) {})
			mux.HandleFunc("/later", func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release })
			s := start(t, Options{Handler: mux, Connections: Connections{Total: 1}})
			first, url := s.client(t, p.name)
			if _, _, err := get(first, url+"/now"); err != nil {
				t.Fatal(err)
			}
			s.untilIdle(t)
			second, _ := s.client(t, p.name)
			done := make(chan error, 1)
			go func() { // ends with the request
				_, _, err := get(second, url+"/later")
				done <- err
			}()
			select {
			case <-begun:
			case err := <-done:
				t.Fatalf("the idle connection did not give way: %v", err)
			}
			// The client may not have heard yet that its connection is gone, and ask there.
			for end := time.Now().Add(patience); s.Stats().Refused["connections"] == 0 && time.Now().Before(end); {
				if _, _, err := get(first, url+"/now"); err == nil {
					t.Error("a second connection was answered while the only one had a request")
					break
				}
			}
			close(release)
			if err := <-done; err != nil {
				t.Errorf("the request that ran: %v", err)
			}
			if got := s.Stats(); got.ConnectionsGaveWay != 1 || got.Refused["connections"] == 0 || got.Connections != 1 {
				t.Errorf("%d gave way, %d refused, %d there", got.ConnectionsGaveWay, got.Refused["connections"], got.Connections)
			}
		})
	}
}

// TestHandshakesGiveWay: connections that are in their handshake, or of which the balancer has yet to name the client, keep nobody out
// who comes later, and are not counted against a client that would have gone on.
func TestHandshakesGiveWay(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"handshake": {}, "balancer": {ProxyProtocol: loopbackBalancer()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const total = 3
			o.Handler, o.Connections = http.HandlerFunc(honest), Connections{Total: total, Penalty: time.Minute}
			s := start(t, o)
			var half []net.Conn
			for i := range total + 2 {
				c, err := net.Dial("tcp", s.HTTPSAddr())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				half = append(half, c)
				for until := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
					if got := s.Stats(); got.Connections == int64(min(i+1, total)) && got.ConnectionsGaveWay == int64(max(0, i+1-total)) {
						break
					} else if got.Refused["connections"] > 0 || time.Now().After(until) {
						t.Fatalf("connection %d: %d there, %d gave way, %d refused", i, got.Connections, got.ConnectionsGaveWay, got.Refused["connections"])
					}
				}
			}
			for i, c := range half {
				_ = c.SetReadDeadline(time.Now().Add(patience))
				if i >= 2 {
					_ = c.SetReadDeadline(time.Now().Add(searchEvery))
				}
				_, err := c.Read(make([]byte, 1))
				if open := errors.Is(err, os.ErrDeadlineExceeded); open != (i >= 2) {
					t.Errorf("connection %d of %d: %v", i, len(half), err)
				}
			}
			for until := time.Now().Add(patience); name == "handshake" && s.Stats().HandshakeErrors < 2 && time.Now().Before(until); {
				<-time.After(time.Millisecond)
			}
			got := s.Stats()
			if got.ConnectionsGaveWay != 2 || got.Connections != total || got.Refused["connections"] != 0 {
				t.Errorf("%d gave way, %d there, %d refused", got.ConnectionsGaveWay, got.Connections, got.Refused["connections"])
			}
			s.seats.mu.Lock()
			defer s.seats.mu.Unlock()
			if len(s.seats.offenders) > 0 {
				t.Errorf("counted against their client: %v", s.seats.offenders)
			}
		})
	}
}

// untilIdle waits for every connection to have no request.
func (r *running) untilIdle(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		r.seats.mu.Lock()
		busy := 0
		for s := range r.seats.all {
			if s.restsLocked() == 0 {
				busy++
			}
		}
		r.seats.mu.Unlock()
		if busy == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatal("a connection is never idle")
		}
	}
}

// TestConnectionsOfAClient: one too many ends before TLS, or before the QUIC handshake is over.
func TestConnectionsOfAClient(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(whoAmI), Connections: Connections{Client: 1}})
	first := s.dial(t, true, "http/1.1")
	if _, err := s.tryQUIC(t); err == nil {
		t.Error("QUIC: a second connection of one client")
	} else if refused, ok := errors.AsType[*quic.TransportError](err); !ok || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("QUIC: %v, want CONNECTION_REFUSED", err)
	}
	for _, address := range []string{s.HTTPAddr(), s.HTTPSAddr()} {
		c, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNRESET) {
			continue // it ended before it had begun
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s: %d bytes, %v", address, n, err)
		}
		_ = c.Close()
	}
	if n := s.Stats().Refused["client_connections"]; n < 3 {
		t.Errorf("%d counted", n)
	}
	_ = first.Close()
	for until := time.Now().Add(patience); s.Stats().Connections > 0 && time.Now().Before(until); {
		<-time.After(time.Millisecond)
	}
	conn, err := s.tryQUIC(t)
	if err != nil {
		t.Fatalf("after the first connection has ended: %v", err)
	}
	_ = conn.CloseWithError(0, "")
	for until := time.Now().Add(patience); s.Stats().Connections > 0; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a QUIC connection that has ended keeps its place")
		}
	}
}

func (r *running) tryQUIC(t *testing.T) (*quic.Conn, error) {
	t.Helper()
	return quic.DialAddr(t.Context(), r.HTTPSAddr(), &tls.Config{RootCAs: r.pool, NextProtos: []string{"h3"}}, nil)
}

// TestConnectionsBehindABalancer count for the client that it names.
func TestConnectionsBehindABalancer(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(whoAmI), ProxyProtocol: loopbackBalancer(), Connections: Connections{Client: 1}})
	ask := func(client string) string {
		c, err := net.Dial("tcp", s.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, "PROXY TCP4 "+client+" 10.0.0.1 50000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	for _, tt := range []struct{ client, want string }{
		{"192.0.2.1", "HTTP/1.1 200 OK"}, {"192.0.2.2", "HTTP/1.1 200 OK"}, {"192.0.2.1", ""}, {"192.0.2.3", "HTTP/1.1 200 OK"},
	} {
		if got := ask(tt.client); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.client, got, tt.want)
		}
	}
	if n := s.Stats().Refused["client_connections"]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
}

// A request costs its seat no memory and no lock.
func TestSeatStateAllocatesNothing(t *testing.T) {
	g, _ := testSeats(Connections{})
	s := g.enter(from("192.0.2.1"), true, nil)
	g.mu.Lock() // who needs it hangs
	defer g.mu.Unlock()
	if n := testing.AllocsPerRun(100, func() { s.state(http.StateActive); s.state(http.StateIdle) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
