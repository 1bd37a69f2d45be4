package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"weir/tools/proof/quicraw"
)

// bytesBack reads what comes to a socket until nothing has come for a while.
func bytesBack(c *net.UDPConn) (datagrams, size int) {
	const quiet = 200 * time.Millisecond
	buf := make([]byte, 2048)
	for {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		n, err := c.Read(buf)
		if err != nil {
			return datagrams, size
		}
		datagrams++
		size += n
	}
}

// What no connection is, is answered with less than came, or not at all (RFC 9000, 6.1, 8.1, 10.3 and 14.1).
func TestQUICAnswersAreSmall(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest), HeaderTimeout: time.Second})
	id := func(n int) []byte { return bytes.Repeat([]byte{7}, n) }
	padded := func(b []byte, n int) []byte { return append(b, quicraw.Padding(n-len(b))...) }
	const fixed, unknown = 0x40, 0x1a2a3a4a
	hello := func(coalesced ...byte) []byte {
		c := s.rawQUIC(t, quicraw.Options{})
		return append(c.PaddedInitial(c.Hello(quicraw.Initial)...), coalesced...)
	}
	short := s.rawQUIC(t, quicraw.Options{})
	for name, tt := range map[string]struct {
		datagram []byte
		factor   int // how many times what came may go back
		answers  int // how many at most
	}{
		"unknown version":                  {padded(quicraw.Header(fixed, unknown, id(8), id(8)), quicraw.MinDatagram), 1, 1},
		"unknown version, short":           {padded(quicraw.Header(fixed, unknown, id(8), id(8)), quicraw.MinDatagram-1), 0, 0},
		"unknown version, IDs of 255":      {padded(quicraw.Header(fixed, unknown, id(255), id(255)), quicraw.MinDatagram), 1, 1},
		"unknown version, IDs cut off":     {quicraw.Header(fixed, unknown, id(8), id(200))[:60], 0, 0},
		"unknown version, twice":           {padded(append(padded(quicraw.Header(fixed, unknown, id(8), id(8)), 600), quicraw.Header(fixed, unknown, id(8), id(8))...), 1200), 1, 1},
		"version negotiation":              {padded(quicraw.Header(fixed, 0, id(8), id(8)), quicraw.MinDatagram), 0, 0},
		"Initial, short":                   {short.Packet(quicraw.Initial, short.Hello(quicraw.Initial)...), 0, 0},
		"Initial that cannot be opened":    {padded(quicraw.Header(fixed|3, 1, id(8), id(8)), quicraw.MinDatagram), 0, 0},
		"Initial with 7 bytes of ID":       {padded(quicraw.Header(fixed|3, 1, id(7), id(8)), quicraw.MinDatagram), 0, 0},
		"Initial with 21 bytes of ID":      {padded(quicraw.Header(fixed|3, 1, id(21), id(8)), quicraw.MinDatagram), 0, 0},
		"Initial, honest":                  {hello(), 3, 100},
		"Initial and garbage":              {hello(bytes.Repeat([]byte{0xff}, 200)...), 3, 100},
		"Initial and 0-RTT that is none":   {hello(padded(quicraw.Header(fixed|0x10, 1, id(8), id(8)), 200)...), 3, 100},
		"Handshake without a connection":   {padded(quicraw.Header(fixed|0x20, 1, id(8), id(8)), quicraw.MinDatagram), 0, 0},
		"Retry":                            {padded(quicraw.Header(fixed|0x30, 1, id(8), id(8)), quicraw.MinDatagram), 0, 0},
		"short header":                     {padded([]byte{fixed}, 100), 1, 1},
		"short header of the least length": {padded([]byte{fixed}, 21), 0, 0},
		"one byte":                         {[]byte{fixed}, 0, 0},
		"nothing":                          {nil, 0, 0},
		"no fixed bit":                     {padded([]byte{0x3f}, 1000), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.elsewhere(t)
			if _, err := c.Write(tt.datagram); err != nil {
				t.Fatal(err)
			}
			// quic-go looks before each packet whether it has sent too much, not whether it will have, and does not count
			// the one that says goodbye.
			const packet, goodbye = 1280, 64
			datagrams, size := bytesBack(c)
			most := tt.factor * len(tt.datagram)
			if tt.factor == 3 {
				<-time.After(2 * time.Second) // it sends again, and gives up
				n, more := bytesBack(c)
				datagrams, size, most = datagrams+n, size+more, most+packet+goodbye
			}
			t.Logf("%d bytes in %d answers to %d", size, datagrams, len(tt.datagram))
			if size > most || datagrams > tt.answers || tt.factor == 3 && size == 0 {
				t.Errorf("%d bytes in %d answers to %d", size, datagrams, len(tt.datagram))
			}
		})
	}
}

// A thousand clients that begin a handshake and leave, those that had to prove their address first among them, hold little,
// and that for a time-out.
func TestQUICUnfinishedHandshakes(t *testing.T) {
	const clients = 1000
	s := start(t, Options{Handler: http.HandlerFunc(honest), HeaderTimeout: 2 * time.Second})
	if err := answered(s.rawHTTP3(t)); err != nil {
		t.Fatal(err)
	}
	defer calmAgain(t)()
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mine, all := threadCPU(), processCPU()
	retries, came, sent, open := 0, 0, 0, int64(0)
	for range clients {
		c, err := quicraw.Dial(s.HTTPSAddr(), &tls.Config{RootCAs: s.pool, ServerName: "localhost", NextProtos: []string{"h3"}}, quicraw.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Begin(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		retries, came, sent = retries+c.Retries, came+c.Received.Bytes, sent+c.Sent.Bytes
		_ = c.CloseSocket()
		open = max(open, s.Stats().Connections)
	}
	mine = threadCPU() - mine
	all = processCPU() - all - mine
	grown := heapInUse() - heap
	t.Logf("%d clients, %d of them by Retry, %d open at once; %d KiB of memory each; our CPU/theirs %.1f; %.1f bytes sent for each that came",
		clients, retries, open, grown>>10/clients, float64(all)/float64(mine), float64(came)/float64(sent))
	const each = 96 << 10
	if grown > clients*each && !underRace {
		t.Errorf("%d bytes for each", grown/clients)
	}
	if err := answered(s.rawHTTP3(t)); err != nil {
		t.Errorf("an honest client meanwhile: %v", err)
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines+20; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Tokens that were changed, cut, stretched or carried elsewhere are none, or end the attempt with INVALID_TOKEN
// (RFC 9000, 8.1.2 and 8.1.3).
func TestQUICTokens(t *testing.T) {
	t.Parallel()
	// The token of a Retry lives for twice HeaderTimeout.
	o := Options{Handler: http.HandlerFunc(honest), HeaderTimeout: patience, QUICKey: []byte("a secret of the test's")}
	s := start(t, o)
	given := s.rawHTTP3(t).Given
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	other := net.IPv4(127, 0, 0, 2)
	type options func(retried *quicraw.Conn) quicraw.Options
	plain := func(o quicraw.Options) options { return func(*quicraw.Conn) quicraw.Options { return o } }
	for name, tt := range map[string]struct {
		o    options
		want uint64
	}{
		"given":                {plain(quicraw.Options{Token: given}), quicLives},
		"given, elsewhere":     {plain(quicraw.Options{Token: given, Local: other}), quicLives},
		"given, a bit flipped": {plain(quicraw.Options{Token: flipped(given, len(given)/2)}), quicLives},
		"given, cut off":       {plain(quicraw.Options{Token: given[:len(given)-1]}), quicLives},
		"given, and more":      {plain(quicraw.Options{Token: append(bytes.Clone(given), given...)}), quicLives},
		"one byte":             {plain(quicraw.Options{Token: []byte{0}}), quicLives},
		"800 bytes":            {plain(quicraw.Options{Token: bytes.Repeat([]byte{0xff}, 800)}), quicLives},
		"of a Retry": {func(r *quicraw.Conn) quicraw.Options {
			return quicraw.Options{Token: r.Token, Destination: r.Destination()}
		}, quicLives},
		"of a Retry, elsewhere": {func(r *quicraw.Conn) quicraw.Options {
			return quicraw.Options{Token: r.Token, Destination: r.Destination(), Local: other}
		}, quicInvalidToken},
		"of a Retry, a bit flipped":  {func(r *quicraw.Conn) quicraw.Options { return quicraw.Options{Token: flipped(r.Token, 0)} }, quicLives},
		"of a Retry, cut off":        {func(r *quicraw.Conn) quicraw.Options { return quicraw.Options{Token: r.Token[:20]} }, quicLives},
		"of a Retry, for another ID": {func(r *quicraw.Conn) quicraw.Options { return quicraw.Options{Token: r.Token} }, quicLives},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := tt.o(retried(t, s, o)) // of each its own: they age, and an ID is that of one connection
			if socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: o.Local}); err != nil {
				t.Skip(err) // not every system has 127.0.0.2
			} else {
				_ = socket.Close()
			}
			c := s.rawQUIC(t, o)
			if tt.want == quicLives {
				if err := c.Handshake(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
			} else if err := c.Answer(); err != nil {
				t.Fatal(err)
			}
			judgeQUIC(t, c, tt.want, 0)
		})
	}
	t.Run("longer than a packet", func(t *testing.T) {
		t.Parallel()
		c := s.rawQUIC(t, quicraw.Options{Token: make([]byte, 60_000)})
		hello := c.Hello(quicraw.Initial)
		for _, d := range [][]byte{
			c.PaddedInitial(hello...),
			append(quicraw.AppendVarint(quicraw.Header(0x43, 1, c.Destination(), c.Destination()), 1<<62-1), quicraw.Padding(quicraw.MinDatagram)...),
		} {
			if err := c.Write(d); err != nil {
				t.Skip(err) // this system's datagrams are shorter
			}
		}
		if _, err := c.Receive(time.Now().Add(200 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an answer of %d bytes, %v", c.Received.Bytes, err)
		}
	})
}

// retried is a client that has had a Retry from a server with the same key.
func retried(t *testing.T, s *running, o Options) *quicraw.Conn {
	t.Helper()
	keys, err := newQUICKeys(o)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket, TokenGeneratorKey: &keys.token, VerifySourceAddress: func(net.Addr) bool { return true }}
	t.Cleanup(func() { _ = errors.Join(tr.Close(), socket.Close()) })
	if _, err := tr.Listen(s.opts.TLS, nil); err != nil {
		t.Fatal(err)
	}
	c, err := quicraw.Dial(socket.LocalAddr().String(), &tls.Config{ServerName: "localhost", NextProtos: []string{"h3"}}, quicraw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseSocket() }()
	if err := c.Answer(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(time.Now().Add(patience)); err != nil || c.Retries != 1 {
		t.Fatalf("%d Retry packets, %v", c.Retries, err)
	}
	return c
}

// Whoever goes on after the server has closed hears of it again now and then, ever more seldom (RFC 9000, 10.2.1).
func TestQUICAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	c := s.rawHTTP3(t)
	if err := c.Send(quicraw.Data, []byte{typeUnknown}); err != nil {
		t.Fatal(err)
	}
	judgeQUIC(t, c, quicFrameEncoding, 0)
	came, went := c.Received.Bytes, c.Sent.Bytes
	const sent = 1000
	for i := range sent {
		_ = c.Send(quicraw.Data, many(quicraw.Ping()))
		if i%floodStep == 0 {
			_, _ = c.Receive(time.Now().Add(5 * time.Millisecond))
		}
	}
	for {
		if _, err := c.Receive(time.Now().Add(100 * time.Millisecond)); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	came, went = c.Received.Bytes-came, c.Sent.Bytes-went
	t.Logf("%d bytes back for %d", came, went)
	if came > went/10 {
		t.Errorf("%d bytes back for %d", came, went)
	}
}

// What comes in a datagram, or in a packet of any level, ends no process: an honest client is answered after it.
func FuzzQUICDatagram(f *testing.F) {
	s := start(f, Options{Handler: http.HandlerFunc(honest), HeaderTimeout: time.Second})
	honest := s.rawQUIC(f, quicraw.Options{MaxData: 1 << 40}) // for as long as it takes
	if err := honest.Handshake(time.Now().Add(patience)); err != nil {
		f.Fatal(err)
	}
	for _, frame := range [][]byte{
		quicraw.Ping(), quicraw.Ack(quicraw.Range{Smallest: 1, Largest: 3}), quicraw.Crypto(0, []byte("x")), quicraw.Stream(0, 0, rawGet("/honest"), true),
		quicraw.NewConnectionID(1, 0), quicraw.Numbers(quicraw.TypeRetireConnectionID, 1), quicraw.PathChallenge(1), quicraw.Close(0),
		quicraw.Numbers(quicraw.TypeResetStream, 0, 0, 0), quicraw.Numbers(quicraw.TypeMaxStreamData, 0, 9),
		{typeUnknown},
	} {
		for level := range byte(4) {
			f.Add(level, frame)
		}
	}
	f.Add(byte(0), append(quicraw.Header(0x40, 0x1a2a3a4a, []byte("12345678"), nil), quicraw.Padding(quicraw.MinDatagram)...))
	f.Add(byte(0), append(quicraw.Header(0x43, 1, []byte("12345678"), nil), quicraw.Padding(quicraw.MinDatagram)...))
	f.Fuzz(func(t *testing.T, level byte, payload []byte) {
		if len(payload) > floodPayload {
			payload = payload[:floodPayload]
		}
		send := func(level tls.QUICEncryptionLevel, ready func(*quicraw.Conn) error) {
			c := s.rawQUIC(t, quicraw.Options{})
			if err := ready(c); err != nil {
				t.Skip(err) // on a machine that is busy with other executions
			}
			_ = c.Send(level, append(c.Hello(level), payload)...)
		}
		soon := time.Now().Add(2 * time.Second)
		switch level % 4 {
		case 0:
			_ = honest.Write(payload)
		case 1:
			send(quicraw.Initial, func(*quicraw.Conn) error { return nil })
		case 2:
			send(quicraw.Handshake, func(c *quicraw.Conn) error { return c.Begin(soon) })
		case 3:
			send(quicraw.Data, func(c *quicraw.Conn) error { return c.Handshake(soon) })
		}
		if err := answered(honest); err != nil {
			t.Errorf("an honest client after it: %v", err)
		}
	})
}
