package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"weir/tools/proof/quicraw"
)

// Errors of RFC 9000, 20.1, and of TLS within them.
const (
	quicInternal      = 0x1
	quicFlowControl   = 0x3
	quicStreamLimit   = 0x4
	quicStreamState   = 0x5
	quicFinalSize     = 0x6
	quicFrameEncoding = 0x7
	quicIDLimit       = 0x9
	quicViolation     = 0xa
	quicInvalidToken  = 0xb
	quicCryptoBuffer  = 0xd
	quicUnexpectedTLS = 0x10a // unexpected_message
	tlsInternal       = 0x150 // internal_error
	quicLives         = 1 << 62
)

const (
	typeDatagram, typeUnknown = 0x31, 0x2f
	tlsKeyUpdate, tlsFinished = 24, 20 // types of messages

	reservedBitsShort, reservedBitsLong = 0x18, 0x0c

	clientUni  = 2   // the first stream of the client's that has one way
	serverUni  = 3   // ours
	notOpen    = 401 // one that we could open, and have not
	mostOffset = 1<<62 - 1
	mostStream = 1<<60 + 1 // one too many (RFC 9000, 19.11)
	farAhead   = 1 << 20
)

// rawQUIC is a client that sends any packets it likes. It has sent nothing.
func (r *running) rawQUIC(t testing.TB, o quicraw.Options) *quicraw.Conn {
	t.Helper()
	c, err := quicraw.Dial(r.HTTPSAddr(), &tls.Config{RootCAs: r.pool, ServerName: "localhost", NextProtos: []string{"h3"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	return c
}

// leave says goodbye, so that the server does not wait for more.
func leave(c *quicraw.Conn) {
	level := quicraw.Initial
	if c.Confirmed {
		level = quicraw.Data
	} else if c.Has(quicraw.Handshake) {
		level = quicraw.Handshake
	}
	_ = c.Send(level, quicraw.Close(0))
	_ = c.CloseSocket()
}

// rawHTTP3 is a rawQUIC whose handshake is over.
func (r *running) rawHTTP3(t testing.TB) *quicraw.Conn {
	t.Helper()
	c := r.rawQUIC(t, quicraw.Options{})
	if err := c.Handshake(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// rawGet is a request for path.
func rawGet(path string) []byte {
	return []byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", path))
}

// honest answers /honest with honestBody, and waits for the end of all other requests.
func honest(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/honest" {
		_, _ = io.WriteString(w, honestBody)
		return
	}
	<-r.Context().Done()
}

// answered asks for /honest over a raw connection.
func answered(c *quicraw.Conn) error {
	got, err := c.Ask(rawGet("/honest"), time.Now().Add(patience))
	if err == nil && !bytes.Contains(got, []byte(honestBody)) {
		err = errors.New("another body")
	}
	return err
}

// What RFC 9000 and 9001 want of a server for what a client must not send, once the handshake is over.
func TestQUICBreaches(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	frame := quicraw.Numbers
	for name, tt := range map[string]struct {
		want   uint64
		deed   uint64 // what quic-go does where it is not what the RFC wants; 0: it is
		frames [][]byte
	}{
		"nothing odd":                     {quicLives, 0, [][]byte{quicraw.Ping()}},
		"ACK of a packet never sent":      {quicViolation, 0, [][]byte{quicraw.Ack(quicraw.Range{Smallest: 1 << 20, Largest: 1 << 20})}},
		"ACK of all numbers":              {quicViolation, 0, [][]byte{quicraw.Ack(quicraw.Range{Smallest: 0, Largest: 1 << 30})}},
		"ACK below zero":                  {quicFrameEncoding, 0, [][]byte{frame(quicraw.TypeAck, 1, 0, 0, 2)}},
		"ACK with false counts of ECN":    {quicLives, 0, [][]byte{frame(quicraw.TypeAckECN, 0, 0, 0, 0, 1<<40, 1<<40, 1<<40)}},
		"unknown frame":                   {quicFrameEncoding, 0, [][]byte{{typeUnknown}}},
		"half a frame":                    {quicFrameEncoding, 0, [][]byte{{quicraw.TypeMaxData}}},
		"no frame":                        {quicViolation, 0, nil},
		"datagram not agreed on":          {quicFrameEncoding, 0, [][]byte{frame(typeDatagram, 1), {0}}},
		"NEW_TOKEN":                       {quicViolation, 0, [][]byte{frame(quicraw.TypeNewToken, 1), {0}}},
		"HANDSHAKE_DONE":                  {quicViolation, 0, [][]byte{{quicraw.TypeHandshakeDone}}},
		"more than a stream may":          {quicFlowControl, 0, [][]byte{quicraw.Stream(0, streamWindow, []byte("x"), false)}},
		"beyond any stream":               {quicFrameEncoding, 0, [][]byte{quicraw.Stream(0, mostOffset, []byte("xy"), false)}},
		"too many streams":                {quicStreamLimit, 0, [][]byte{quicraw.Stream(4*maxStreams, 0, []byte("x"), false)}},
		"too many unidirectional streams": {quicStreamLimit, 0, [][]byte{quicraw.Stream(4*maxUniStreams+clientUni, 0, []byte("x"), false)}},
		"a stream of ours, not open":      {quicStreamState, 0, [][]byte{quicraw.Stream(notOpen, 0, []byte("x"), false)}},
		"a stream of ours, one way":       {quicStreamState, 0, [][]byte{quicraw.Stream(serverUni, 0, []byte("x"), false)}},
		"data after the end": {quicFinalSize, 0, [][]byte{
			quicraw.Stream(0, 0, []byte("x"), true), quicraw.Stream(0, 1, []byte("x"), false),
		}},
		"another end":                {quicFinalSize, 0, [][]byte{quicraw.Stream(0, 0, []byte("xyz"), false), frame(quicraw.TypeResetStream, 0, 0, 2)}},
		"STOP_SENDING one way":       {quicStreamState, 0, [][]byte{frame(quicraw.TypeStopSending, clientUni, 0)}},
		"MAX_STREAM_DATA one way":    {quicStreamState, 0, [][]byte{frame(quicraw.TypeMaxStreamData, clientUni, 9)}},
		"RESET_STREAM of ours":       {quicStreamState, 0, [][]byte{frame(quicraw.TypeResetStream, serverUni, 0, 0)}},
		"MAX_STREAMS beyond all":     {quicFrameEncoding, 0, [][]byte{frame(quicraw.TypeMaxStreams, mostStream)}},
		"STREAMS_BLOCKED beyond all": {quicFrameEncoding, 0, [][]byte{frame(quicraw.TypeStreamsBlocked, mostStream)}},
		"MAX_DATA going back":        {quicLives, 0, [][]byte{frame(quicraw.TypeMaxData, 1), frame(quicraw.TypeMaxData, 0)}},
		"MAX_STREAMS going back":     {quicLives, 0, [][]byte{frame(quicraw.TypeMaxStreams, 0), frame(quicraw.TypeMaxStreamsUni, 0)}},
		"PATH_RESPONSE to nothing":   {quicViolation, 0, [][]byte{quicraw.PathResponse([]byte("whatever"))}},
		"an ID retired, not issued":  {quicViolation, 0, [][]byte{frame(quicraw.TypeRetireConnectionID, 1000)}},
		"an ID retired, in use":      {quicViolation, 0, [][]byte{frame(quicraw.TypeRetireConnectionID, 0)}},
		"an ID of no bytes":          {quicFrameEncoding, 0, [][]byte{frame(quicraw.TypeNewConnectionID, 1, 0, 0), make([]byte, 16)}},
		"an ID of 21 bytes":          {quicFrameEncoding, 0, [][]byte{frame(quicraw.TypeNewConnectionID, 1, 0, 21), make([]byte, 37)}},
		"an ID that retires itself":  {quicFrameEncoding, 0, [][]byte{quicraw.NewConnectionID(1, 2)}},
		"one number for two IDs": {quicViolation, quicInternal, [][]byte{
			quicraw.NewConnectionID(5, 0), append(quicraw.NewConnectionID(5, 0)[:4], bytes.Repeat([]byte{7}, 24)...),
		}},
		"too many IDs": {quicIDLimit, 0, [][]byte{
			quicraw.NewConnectionID(1, 0), quicraw.NewConnectionID(2, 0), quicraw.NewConnectionID(3, 0), quicraw.NewConnectionID(4, 0),
			quicraw.NewConnectionID(5, 0), quicraw.NewConnectionID(6, 0),
		}},
		"CRYPTO far ahead":     {quicCryptoBuffer, 0, [][]byte{quicraw.Crypto(farAhead, []byte("x"))}},
		"key update by TLS":    {quicUnexpectedTLS, tlsInternal, [][]byte{quicraw.Crypto(0, []byte{tlsKeyUpdate, 0, 0, 1, 0})}},
		"TLS begun once more":  {quicUnexpectedTLS, tlsInternal, [][]byte{quicraw.Crypto(0, []byte{tlsFinished, 0, 0, 1, 0})}},
		"ACK, then what is no": {quicFrameEncoding, 0, [][]byte{quicraw.Ack(quicraw.Range{}), {typeUnknown}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.rawHTTP3(t)
			if err := c.Send(quicraw.Data, tt.frames...); err != nil {
				t.Fatal(err)
			}
			judgeQUIC(t, c, tt.want, tt.deed)
		})
	}
	t.Run("reserved bits", func(t *testing.T) {
		t.Parallel()
		c := s.rawHTTP3(t)
		if err := c.Write(c.PacketWith(reservedBitsShort, quicraw.Data, quicraw.Ping())); err != nil {
			t.Fatal(err)
		}
		judgeQUIC(t, c, quicViolation, 0)
	})
}

// judgeQUIC waits for the end of a connection, or asks over one that is to live.
func judgeQUIC(t *testing.T, c *quicraw.Conn, want, deed uint64) {
	t.Helper()
	if deed != 0 {
		want = deed
	}
	if want == quicLives {
		if err := answered(c); err != nil {
			t.Errorf("it does not live: %v", err)
		}
		return
	}
	end, err := c.Closed(time.Now().Add(patience))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("not closed, want %#x", want)
	}
	if err != nil || end.ID != want {
		t.Errorf("closed with %#x %q, %v, want %#x", end.ID, end.Data, err, want)
	}
}

// What RFC 9000 and 9001 want of a server for what a client must not send while the handshake goes on, in the packet that
// it must not be in. quic-go says FRAME_ENCODING_ERROR of frames that are not allowed there (RFC 9000, 12.4).
func TestQUICHandshakeBreaches(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	frame := quicraw.Numbers
	forbidden := map[string][]byte{
		"STREAM": quicraw.Stream(0, 0, []byte("x"), false), "MAX_DATA": frame(quicraw.TypeMaxData, 9), "HANDSHAKE_DONE": {quicraw.TypeHandshakeDone},
		"NEW_TOKEN": append(frame(quicraw.TypeNewToken, 1), 0), "PATH_CHALLENGE": quicraw.PathChallenge(1),
		"NEW_CONNECTION_ID": quicraw.NewConnectionID(1, 0), "RETIRE_CONNECTION_ID": frame(quicraw.TypeRetireConnectionID, 0),
		"RESET_STREAM": frame(quicraw.TypeResetStream, 0, 0, 0), "an application's end": frame(quicraw.TypeCloseApplication, 0, 0),
	}
	unsent := quicraw.Ack(quicraw.Range{Smallest: 0, Largest: 99})
	type breach struct {
		want, deed uint64
		bits       byte
		frames     [][]byte
	}
	all := map[string]breach{
		"nothing odd":       {want: quicLives, frames: [][]byte{quicraw.Ping()}},
		"ACK of the unsent": {want: quicViolation, frames: [][]byte{unsent}},
		"unknown frame":     {want: quicFrameEncoding, frames: [][]byte{{typeUnknown}}},
		"reserved bits":     {want: quicViolation, bits: reservedBitsLong, frames: [][]byte{quicraw.Ping()}},
		"no frame":          {want: quicViolation},
		"CRYPTO far ahead":  {want: quicCryptoBuffer, frames: [][]byte{quicraw.Crypto(farAhead, []byte("x"))}},
	}
	for name, f := range forbidden {
		all[name] = breach{want: quicViolation, deed: quicFrameEncoding, frames: [][]byte{f}}
	}
	for name, tt := range all {
		for _, level := range []tls.QUICEncryptionLevel{quicraw.Initial, quicraw.Handshake} {
			t.Run(name+" in "+level.String(), func(t *testing.T) {
				t.Parallel()
				c := s.rawQUIC(t, quicraw.Options{})
				if err := c.Begin(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				packet := c.PacketWith(tt.bits, level, tt.frames...)
				if level == quicraw.Initial {
					packet = append(packet, quicraw.Padding(quicraw.MinDatagram-len(packet))...)
				}
				if err := c.Write(packet); err != nil {
					t.Fatal(err)
				}
				if tt.want == quicLives {
					if err := c.Handshake(time.Now().Add(patience)); err != nil {
						t.Fatal(err)
					}
				}
				judgeQUIC(t, c, tt.want, tt.deed)
			})
		}
	}
}

// The end of the handshake in every order (CVE-2023-46239, CVE-2025-59530): it ends, or is refused, and the process goes on.
func TestQUICHandshakeOrder(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	for name, tt := range map[string]struct {
		want uint64
		do   func(c *quicraw.Conn, finished []byte) [][]byte // datagrams
	}{
		"ACK behind the last CRYPTO": {quicLives, func(c *quicraw.Conn, finished []byte) [][]byte {
			return [][]byte{c.Packet(quicraw.Handshake, finished, c.Acks(quicraw.Handshake))}
		}},
		"ACK before and behind it, and CRYPTO once more": {quicLives, func(c *quicraw.Conn, finished []byte) [][]byte {
			acks := c.Acks(quicraw.Handshake)
			return [][]byte{c.Packet(quicraw.Handshake, acks, finished, acks, finished, acks, quicraw.Ping())}
		}},
		"ACK of the unsent behind it": {quicViolation, func(c *quicraw.Conn, finished []byte) [][]byte {
			return [][]byte{c.Packet(quicraw.Handshake, finished, quicraw.Ack(quicraw.Range{Smallest: 0, Largest: 99}))}
		}},
		"what is no frame behind it": {quicFrameEncoding, func(c *quicraw.Conn, finished []byte) [][]byte {
			return [][]byte{c.Packet(quicraw.Handshake, finished, []byte{typeUnknown})}
		}},
		"all levels in one datagram": {quicLives, func(c *quicraw.Conn, finished []byte) [][]byte {
			d := c.Packet(quicraw.Initial, c.Acks(quicraw.Initial))
			d = append(d, c.Packet(quicraw.Handshake, finished, c.Acks(quicraw.Handshake))...)
			return [][]byte{append(d, c.Packet(quicraw.Data, quicraw.Ping())...)}
		}},
		"Initial packets behind Handshake packets": {quicLives, func(c *quicraw.Conn, finished []byte) [][]byte {
			first := c.PaddedInitial(c.Acks(quicraw.Initial), quicraw.Ping())
			return [][]byte{c.Packet(quicraw.Handshake, finished, c.Acks(quicraw.Handshake)), first, first}
		}},
		"short headers before their keys": {quicLives, func(c *quicraw.Conn, finished []byte) (all [][]byte) {
			for range 100 { // more than are kept
				all = append(all, c.Packet(quicraw.Data, quicraw.Ping()))
			}
			return append(all, c.Packet(quicraw.Handshake, finished, c.Acks(quicraw.Handshake)))
		}},
		"short headers that break rules, before their keys": {quicFrameEncoding, func(c *quicraw.Conn, finished []byte) [][]byte {
			return [][]byte{c.Packet(quicraw.Data, []byte{typeUnknown}), c.Packet(quicraw.Handshake, finished)}
		}},
		"Handshake packets when it is over": {quicLives, func(c *quicraw.Conn, finished []byte) (all [][]byte) {
			all = append(all, c.Packet(quicraw.Handshake, finished), c.Packet(quicraw.Data, quicraw.Ping()))
			for range 100 { // their keys are gone
				all = append(all, c.Packet(quicraw.Handshake, quicraw.Ping()), c.Packet(quicraw.Initial, quicraw.Ping()))
			}
			return all
		}},
		"the end in one byte a packet": {quicLives, func(c *quicraw.Conn, finished []byte) (all [][]byte) {
			message := finished[3:] // behind type, offset and length
			for i := len(message) - 1; i >= 0; i-- {
				all = append(all, c.Packet(quicraw.Handshake, quicraw.Crypto(uint64(i), message[i:i+1])))
			}
			return all
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.rawQUIC(t, quicraw.Options{})
			if err := c.Begin(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			finished := c.Hello(quicraw.Handshake)
			if len(finished) != 1 {
				t.Fatalf("the end of TLS has %d pieces", len(finished))
			}
			for _, d := range tt.do(c, finished[0]) {
				if err := c.Write(d); err != nil {
					t.Fatal(err)
				}
			}
			if tt.want == quicLives {
				for !c.Confirmed {
					if _, err := c.Receive(time.Now().Add(patience)); err != nil {
						t.Fatalf("the handshake does not end: %v", err)
					}
				}
			}
			judgeQUIC(t, c, tt.want, 0)
		})
	}
	if err := answered(s.rawHTTP3(t)); err != nil {
		t.Errorf("the next connection: %v", err)
	}
}

// quic-go leaves packet numbers out, so that who acknowledges what he did not get is found out (RFC 9000, 21.4): the first
// within 515 packets.
func TestQUICSkippedNumber(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	c := s.rawHTTP3(t)
	const within = 600
	for c.Largest(quicraw.Data) < within && len(c.Got(quicraw.Data)) < 2 {
		if err := answered(c); err != nil {
			t.Fatal(err)
		}
	}
	got := c.Got(quicraw.Data)
	if len(got) < 2 {
		t.Fatalf("no packet number of %d is left out", within)
	}
	left := got[1].Largest + 1
	t.Logf("packet %d was left out", left)
	if err := c.Send(quicraw.Data, quicraw.Ack(quicraw.Range{Smallest: left, Largest: left})); err != nil {
		t.Fatal(err)
	}
	judgeQUIC(t, c, quicViolation, 0)
}
