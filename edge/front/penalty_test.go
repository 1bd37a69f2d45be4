package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// offend has a client come and offend so many times; each has a connection of its own. It returns how many were let in.
func offend(g *seats, ip string, points, times int) (in int) {
	for range times {
		if s := g.enter(from(ip), true, nil); s != nil {
			in++
			s.offend(points)
			s.leave()
		}
	}
	return in
}

// TestPenalties: what a client may do before it gets no connection, for how long that is, and who else is concerned.
func TestPenalties(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, r := testSeats(Connections{Penalty: 15 * time.Second, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}, PenaltyExempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.8/32")}})
		const one, neighbour = "192.0.2.1", "192.0.2.2"
		stays := g.enter(from(one), true, func() { t.Error("a connection that was there is closed") })
		defer stays.leave()
		steps := []struct {
			after       time.Duration
			ip          string
			points, n   int
			in, penalty int64 // of n
		}{
			{0, one, heavyOffence, 10, 10, 0},
			{budgetWindow, one, heavyOffence, 10, 10, 0},     // ten seconds later it is as if nothing had been
			{0, one, heavyOffence, 3, 1, 2},                  // one more was one too many
			{0, neighbour, 0, 3, 3, 0},                       // others are not concerned
			{leastPenalty - 1, one, 0, 1, 0, 1},              //
			{1, one, 0, 1, 1, 0},                             // it is over
			{0, one, lightOffence, 100, 61, 39},              // more than 60
			{2*leastPenalty - 1, one, 0, 1, 0, 1},            // again, so twice as long
			{1, one, noHandshake, 200, 151, 49},              //
			{15*time.Second - 1, one, 0, 1, 0, 1},            // no longer than that
			{1, one, 0, 1, 1, 0},                             //
			{time.Minute, one, heavyOffence, 12, 11, 1},      // forgotten
			{leastPenalty, one, 0, 1, 1, 0},                  //
			{0, "198.51.100.7", heavyOffence, 100, 100, 0},   // has no bounds
			{0, "198.51.100.8", heavyOffence, 100, 100, 0},   // is a balancer, perhaps
			{0, "2001:db8::1", heavyOffence, 11, 11, 0},      //
			{0, "2001:db8::2", 0, 1, 0, 1},                   // is the same client
			{0, "2001:db8:0:1::2", 0, 1, 1, 0},               // is not
			{0, "::ffff:192.0.2.9", heavyOffence, 12, 11, 1}, //
			{0, "192.0.2.9", 0, 1, 0, 1},                     // is the same
		}
		for i, s := range steps {
			time.Sleep(s.after)
			before := r.counts[penalty].Load()
			in := offend(g, s.ip, s.points, s.n)
			if refused := r.counts[penalty].Load() - before; int64(in) != s.in || refused != s.penalty {
				t.Errorf("step %d, %s: %d let in and %d refused, want %d and %d", i, s.ip, in, refused, s.in, s.penalty)
			}
		}
	})
}

// heldLog counts lines, and those that are written with a lock held.
type heldLog struct {
	slog.Handler
	seats       *seats
	lines, held int
}

func (h *heldLog) Enabled(context.Context, slog.Level) bool { return true }

func (h *heldLog) Handle(context.Context, slog.Record) error {
	if h.lines++; h.seats.mu.TryLock() {
		h.seats.mu.Unlock()
	} else {
		h.held++
	}
	return nil
}

// TestPenaltiesAreLogged: once a second, and a log that takes its time holds nobody up.
func TestPenaltiesAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, r := testSeats(Connections{Penalty: time.Minute})
		lines := &heldLog{Handler: slog.DiscardHandler, seats: g}
		r.log = slog.New(lines)
		for i := range 100 {
			offend(g, fmt.Sprint("192.0.", i, ".1"), maxPoints+1, 1)
		}
		if n := g.penalties.Load(); n != 100 || lines.lines != 1 || lines.held > 0 {
			t.Errorf("%d penalties, %d lines at once, %d of them with the lock held", n, lines.lines, lines.held)
		}
		time.Sleep(refusalLogEvery)
		if offend(g, "198.51.100.1", maxPoints+1, 1); lines.lines != 2 {
			t.Errorf("%d lines a second later, want 2", lines.lines)
		}
	})
}

// TestPenaltyOfANetwork: each of its clients does less than it may, all together do too much.
func TestPenaltyOfANetwork(t *testing.T) {
	t.Parallel()
	g, _ := testSeats(Connections{Penalty: time.Minute})
	in := 0
	for i := range 20 {
		in += offend(g, fmt.Sprint("192.0.2.", i), heavyOffence, 9)
	}
	if want := 10*networkShare + 1; in != want {
		t.Errorf("%d let in, want %d", in, want)
	}
	if g.enter(from("192.0.3.1"), true, nil) == nil || g.enter(from("192.0.2.200"), true, nil) != nil {
		t.Error("the network next door is concerned, or this one is not")
	}
	if n := g.penalties.Load(); n != 1 {
		t.Errorf("%d penalties, want 1", n)
	}
}

// TestOffendersAreBounded: a flood from more addresses than are known leaves no more in memory, and is forgotten.
func TestOffendersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := testSeats(Connections{Penalty: time.Minute})
		for i := range maxOffenders {
			offend(g, netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}).String(), lightOffence, 1)
		}
		if n := len(g.offenders); n != maxOffenders {
			t.Errorf("%d are known, want %d", n, maxOffenders)
		}
		if in := offend(g, "192.0.2.1", heavyOffence, 20); in != 20 {
			t.Errorf("%d let in", in)
		}
		time.Sleep(budgetWindow)
		if in := offend(g, "192.0.2.1", heavyOffence, 20); in != 11 || len(g.offenders) > 2 {
			t.Errorf("%d let in, %d known: nothing is forgotten", in, len(g.offenders))
		}
	})
}

// TestPenaltiesOff: without Options.Connections.Penalty nothing is kept.
func TestPenaltiesOff(t *testing.T) {
	t.Parallel()
	g, _ := testSeats(Connections{})
	if in := offend(g, "192.0.2.1", heavyOffence, 100); in != 100 || len(g.offenders) > 0 {
		t.Errorf("%d let in, %d known", in, len(g.offenders))
	}
}

// TestWhatIsAnOffence: each kind of flood, over a socket, ends with a reset at accept, and costs no other address anything.
func TestWhatIsAnOffence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		times int // that are not too many
		once  func(t *testing.T, s *running) error
	}{
		{"garbage", 60, rawOnce("\x00\r\n\r\n")},
		{"two lengths", 60, rawOnce(post11 + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")},
		{"pipelined", 10, rawOnce(strings.Repeat(get11+"\r\n", 200))},
		{"pings", 10, func(t *testing.T, s *running) error { return http2Once(t, s, "pings") }},
		{"rapid reset", 10, func(t *testing.T, s *running) error { return http2Once(t, s, "rapid reset") }},
		{"no handshake", 150, func(t *testing.T, s *running) error {
			c, err := net.Dial("tcp", s.HTTPSAddr())
			if err != nil {
				return err
			}
			defer c.Close()
			_, _ = c.Write([]byte("\x16\x03\x01\x00\x04\xff\x00\x00\x00"))
			_, err = io.ReadFull(c, make([]byte, 1)) // of an alert
			return err
		}},
		{"no request", 300, func(_ *testing.T, s *running) error {
			c, err := net.Dial("tcp", s.HTTPAddr())
			if err == nil {
				err = c.Close()
			}
			return err
		}},
		{"no request over TLS", 150, func(_ *testing.T, s *running) error {
			c, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h2"}})
			if err != nil {
				return err
			}
			_, _ = io.WriteString(c, http2.ClientPreface)
			return c.Close()
		}},
		{"resets of HTTP/3", 10, func(t *testing.T, s *running) error {
			conn, err := quic.DialAddr(t.Context(), s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h3"}}, nil)
			if err != nil {
				return err
			}
			for range 2 * oddEvents {
				if str, err := conn.OpenStreamSync(t.Context()); err == nil {
					_, _ = io.WriteString(str, "\x01")
					str.CancelWrite(0x10c)
					str.CancelRead(0x10c)
				}
			}
			<-conn.Context().Done()
			return nil
		}},
		{"large headers of HTTP/2", 60, func(t *testing.T, s *running) error { return largeHTTP2(t, s, 1) }},
		{"large headers of HTTP/3", 60, func(t *testing.T, s *running) error { return largeHTTP3(t, s, 1) }},
		{"garbage of HTTP/2", 60, func(_ *testing.T, s *running) error {
			conn, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h2"}})
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, strings.Repeat("x", prefaceBytes))
			_, _ = io.ReadAll(conn) // until it is ended
			return nil
		}},
		{"fields of HTTP/2", 60, func(t *testing.T, s *running) error { return manyFields(t, s, "h2") }},
		{"fields of HTTP/3", 60, func(t *testing.T, s *running) error { return manyFields(t, s, "h3") }},
		{"unidirectional streams of HTTP/3", 10, func(t *testing.T, s *running) error {
			conn, err := quic.DialAddr(t.Context(), s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h3"}}, nil)
			if err != nil {
				return err
			}
			for range 2 * controlFrames {
				if str, err := conn.OpenUniStreamSync(t.Context()); err == nil {
					str.CancelWrite(0x10c)
				}
			}
			var ended *quic.ApplicationError
			select {
			case <-conn.Context().Done():
			case <-time.After(patience):
			}
			if err := context.Cause(conn.Context()); !errors.As(err, &ended) || ended.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad) {
				_ = conn.CloseWithError(0, "")
				return fmt.Errorf("it ended with %w", err)
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now() // it stays: on a slow machine offences would be forgiven
			s := start(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Connections: Connections{Penalty: time.Hour}},
				func(s *Server) { s.seats.now = func() time.Time { return now } })
			for i := range tt.times {
				if err := tt.once(t, s); err != nil {
					t.Fatalf("number %d: %v", i, err)
				}
			}
			if n := s.Stats().Refused[penalty.String()]; n > 0 || s.Stats().Penalties > 0 {
				t.Fatalf("%d refused", n)
			}
			_ = tt.once(t, s)
			for end := time.Now().Add(patience); s.Stats().Penalties == 0; <-time.After(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("one more is none too many")
				}
			}
			if err := rawOnce(get11+"Connection: close\r\n\r\n")(t, s); err == nil {
				t.Error("a new connection is served")
			}
			if n := s.Stats().Refused[penalty.String()]; n == 0 {
				t.Error("it is not counted")
			}
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			c, err := dialer.DialContext(context.Background(), "tcp", s.HTTPAddr())
			if err != nil {
				t.Skip(err) // not all systems have more than one address of loopback
			}
			defer c.Close()
			_, _ = io.WriteString(c, get11+"Connection: close\r\n\r\n")
			if answer, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
				t.Errorf("another address: %q, %v", answer, err)
			}
		})
	}
}

// manyFields sends one request with more fields than there may be.
func manyFields(t *testing.T, s *running, protocol string) error {
	t.Helper()
	c, url := s.client(t, protocol)
	defer c.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for i := range maxFields + 1 {
		r.Header.Set(fmt.Sprint("a", i), "b")
	}
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		return fmt.Errorf("answered with %s", res.Status)
	}
	return nil
}

// rawOnce sends a text in the clear, and reads to the end. An error is that of a connection that hears nothing.
func rawOnce(text string) func(t *testing.T, s *running) error {
	return func(_ *testing.T, s *running) error {
		c, err := net.Dial("tcp", s.HTTPAddr())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, text)
		answer, err := io.ReadAll(c)
		if len(answer) > 0 {
			return nil
		}
		if err == nil {
			err = io.EOF
		}
		return err
	}
}

// tryHTTP2 is rawHTTP2 for who may be refused.
func tryHTTP2(s *running) (*rawHTTP2, error) {
	conn, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := newRawHTTP2(conn)
	_ = c.WriteSettings()
	return c, nil
}

// http2Once floods a connection until it is ended.
func http2Once(t *testing.T, s *running, name string) error {
	t.Helper()
	c, err := tryHTTP2(s)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, flood := range http2Floods {
		if flood.name == name {
			for i := range uint32(2 * controlFrames) {
				if flood.send(c, i) != nil {
					break
				}
			}
		}
	}
	if code, said := c.ended(); !said || code != http2.ErrCodeEnhanceYourCalm {
		return fmt.Errorf("it ended with %v, %v", code, said)
	}
	return nil
}

// largeHTTP2 sends so many requests with a header that is too large, and fails where one has another answer than 431.
func largeHTTP2(t *testing.T, s *running, n int) error {
	t.Helper()
	c, err := tryHTTP2(s)
	if err != nil {
		return err
	}
	defer c.Close()
	c.ReadMetaHeaders = hpack.NewDecoder(hpackTable, nil)
	for i := range n {
		stream := uint32(2*i + 1)
		c.split(stream, true, ":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", "a", strings.Repeat("b", maxHeaderBytes))
		for {
			f, err := c.ReadFrame()
			if err != nil {
				return err
			}
			if g, ok := f.(*http2.GoAwayFrame); ok {
				return fmt.Errorf("after %d of them: %w", i, http2.ConnectionError(g.ErrCode))
			}
			if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamID == stream {
				if status := h.PseudoValue("status"); status != "431" {
					return fmt.Errorf("answered with %s", status)
				}
				break
			}
		}
	}
	return nil
}

// largeHTTP3 is the same over HTTP/3.
func largeHTTP3(t *testing.T, s *running, n int) error {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	large := headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/", "a", strings.Repeat("b", maxHeaderBytes))
	for i := range n {
		str, err := conn.OpenStreamSync(t.Context())
		if err == nil {
			_ = str.SetDeadline(time.Now().Add(patience))
			go func() { _, _ = io.WriteString(str, large) }() // ends when the other side has read enough, or all
			_, err = io.ReadAll(str)
		}
		if err != nil {
			return fmt.Errorf("after %d of them: %w", i, err)
		}
	}
	return nil
}

// TestLargeHeadersSpendTheBudget: who goes on sending headers that are too large loses the connection.
func TestLargeHeadersSpendTheBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(t *testing.T, s *running, n int) error
		why  reason
		says string
	}{
		{"h2", largeHTTP2, http2Odd, "ENHANCE_YOUR_CALM"},
		{"h3", largeHTTP3, http3Odd, "0x107"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })})
			if err := tt.send(t, s, oddEvents); err != nil {
				t.Errorf("a hundred are too many: %v", err)
			}
			err := tt.send(t, s, 2*oddEvents)
			if n := s.Stats().Refused[tt.why.String()]; n != 1 || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it ended with %v, and counts %d", err, n)
			}
		})
	}
}

// TestUsedConnectionsAreNoOffence: those that had a request may end as often as they like, and those that we ended for others.
func TestUsedConnectionsAreNoOffence(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, get := range map[string]func(s *running) error{
		"h1": func(s *running) error { return rawOnce(get11+"Connection: close\r\n\r\n")(t, s) },
		"h2": func(s *running) error {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			response, err := (&http.Client{Transport: transport}).Get("https://" + s.HTTPSAddr())
			if err == nil {
				err = response.Body.Close()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Handler: handler, Connections: Connections{Penalty: time.Hour}})
			for i := range maxPoints/noRequest + 10 {
				if err := get(s); err != nil {
					t.Fatalf("number %d: %v", i, err)
				}
			}
		})
	}
	t.Run("gave way", func(t *testing.T) {
		t.Parallel()
		g, _ := testSeats(Connections{Total: 1, Penalty: time.Hour})
		for i := range maxPoints + 10 {
			s := g.enter(from("192.0.2.1"), true, nil)
			if s == nil {
				t.Fatalf("number %d is not let in", i)
			}
			s.state(http.StateNew)
			s.end = func() { s.ended(noRequest) }
		}
	})
}

// TestLargeHeadersPipelined: what is large counts for more when it comes behind others.
func TestLargeHeadersPipelined(t *testing.T) {
	t.Parallel()
	const fields, behind = 99, 2 * maxPipelined
	large := get11 + strings.Repeat("A: "+strings.Repeat("b", 300)+"\r\n", fields) + "\r\n"
	asked := 0
	inTime(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })}, func(t *testing.T, s *Server, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		go func() { _, _ = io.WriteString(conn, strings.Repeat(large, behind)) }() // ends with the connection
		_, _ = io.ReadAll(conn)
		each := 1 + len(large)/pipedBytes
		if most, refused := 2+maxPipelined/each, s.Stats().Refused[http1Pipelined.String()]; asked < most/2 || asked > most || refused != 1 {
			t.Errorf("%d are answered, want about %d; %d counted", asked, most, refused)
		}
	})
}

// TestPipelining: a hundred requests may come behind others, and are answered; the connection ends with the next.
func TestPipelining(t *testing.T) {
	t.Parallel()
	asked := 0
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })
	for _, trusted := range []bool{false, true} {
		inTime(t, Options{Handler: handler, TrustClients: trusted}, func(t *testing.T, s *Server, dial func() net.Conn) {
			conn := dial()
			defer conn.Close()
			begun := time.Now()
			asked = 0
			const more = 2 * maxPipelined // a read of which goes on to its end
			go func() {                   // ends with the connection
				for range 2 {
					_, _ = io.WriteString(conn, strings.Repeat(get11+"\r\n", maxPipelined))
					time.Sleep(budgetWindow)
				}
				_, _ = io.WriteString(conn, strings.Repeat(get11+"\r\n", maxPipelined+more)+get11+"Connection: close\r\n\r\n")
			}()
			answers, _ := io.ReadAll(conn)
			ok, no := bytes.Count(answers, []byte("HTTP/1.1 200 ")), bytes.Count(answers, []byte("HTTP/1.1 429 "))
			refused := s.Stats().Refused[http1Pipelined.String()]
			switch {
			case trusted:
				if want := 3*maxPipelined + more + 1; ok != want || asked != want || no+int(refused) != 0 {
					t.Errorf("trusted: %d answers, %d refused, want %d and none", ok, no, want)
				}
			case ok != asked || ok < 3*maxPipelined || ok == 3*maxPipelined+more+1 || no != 1 || refused != 1:
				t.Errorf("%d asked, %d answers, %d refused, %d counted", asked, ok, no, refused)
			case time.Since(begun) < 2*budgetWindow:
				t.Error("those who take their time are refused")
			}
		})
	}
}

// refusedListener has so many connections, and then no more.
type refusedListener struct {
	net.Listener
	left int
}

func (l *refusedListener) Accept() (net.Conn, error) {
	if l.left == 0 {
		return nil, net.ErrClosed
	}
	l.left--
	c, _ := net.Pipe()
	return c, nil
}

// TestRefusingPauses: connections that get no seat do not keep the one that accepts busy without end.
func TestRefusingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, r := testSeats(Connections{Total: 1})
		g.enter(from("192.0.2.1"), true, nil).state(http.StateActive)
		const many = 10 * refusedAtOnce
		begun := time.Now()
		if _, _, err := g.accept(&refusedListener{left: many}, nil, nil); err == nil {
			t.Error("one is let in")
		}
		if took, n := time.Since(begun), r.counts[connectionTotal].Load(); n != many || took != 10*refusedPause {
			t.Errorf("%d refused in %v", n, took)
		}
	})
}

// TestAcceptingPauses: neither do those that get one.
func TestAcceptingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := testSeats(Connections{})
		const pauses = 10
		l := &refusedListener{left: pauses * int(g.atOnce)}
		begun := time.Now()
		for range l.left {
			if _, _, err := g.accept(l, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != pauses*acceptedPause {
			t.Errorf("it took %v, want %v", took, pauses*acceptedPause)
		}
	})
}
