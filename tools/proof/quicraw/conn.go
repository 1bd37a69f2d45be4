package quicraw

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// Options of a Conn. The zero value is an honest client.
type Options struct {
	// MaxData is what the server may send, in all and on each stream, bytes. 0: 64 MiB.
	MaxData uint64
	// Parameters go before the transport parameters, encoded (RFC 9000, 18).
	Parameters []byte
	// Destination is the first connection ID that packets go to. nil: one at random.
	Destination []byte
	// Token is one that a server gave out.
	Token []byte
	// Local is the address to send from. nil: the system's choice.
	Local net.IP
}

const (
	defaultMaxData = 64 << 20
	idBytes        = 8
	idleTimeout    = 60_000 // milliseconds
	maxStreams     = 100
	maxIDs         = 8
	// resendAfter is how long nothing has to come until the client's part of a handshake, or a request, is sent again.
	resendAfter = 200 * time.Millisecond
	// cryptoPiece is how much of TLS goes into one packet.
	cryptoPiece = 1000
	maxDatagram = 1500
	// maxAckRanges keeps an ACK frame in a packet.
	maxAckRanges = 64
)

// Conn is a connection to a server.
type Conn struct {
	// Ended is the server's CONNECTION_CLOSE, nil before it came.
	Ended *Frame
	// Received counts what came from the server.
	Received struct{ Datagrams, Bytes int }
	// Sent counts what went to the server by Write and Send.
	Sent struct{ Datagrams, Bytes int }
	// Unopened counts packets that could not be opened; Negotiations and Retries the packets of these types.
	Unopened, Negotiations, Retries int
	// Complete tells that TLS has ended its handshake; the server may not know yet.
	Complete bool
	// Token goes with every Initial packet; that of a Retry, or Options.Token.
	Token []byte
	// Given is the last token that the server gave out for other connections.
	Given []byte
	// Confirmed tells that HANDSHAKE_DONE has come.
	Confirmed bool

	socket *net.UDPConn
	tls    *tls.QUICConn
	own    []byte // the client's connection ID
	peer   []byte // the server's; the client's choice until heard
	heard  bool
	spaces [levels]space
	buf    [maxDatagram]byte
	early  [][]byte // packets that came before their keys
	phase  byte     // of the keys
	last   *keys    // to open packets of the server's with, before their last update
	next   uint64   // the first stream that was not used
}

// space is a level's packet number space with its keys and its part of the handshake.
type space struct {
	read, write *keys // nil: not yet
	next        uint64
	largest     int64   // received; -1: none
	got         []Range // packet numbers received, the largest first

	out       []byte // of TLS, from the first byte on
	sent      int    // of out
	in        uint64 // offset of what TLS has seen
	unordered []Frame
}

// Dial makes a connection, and sends nothing. The configuration's curves are X25519 where there are none, so that a
// ClientHello fits into one datagram.
func Dial(address string, config *tls.Config, o Options) (*Conn, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	socket, err := net.DialUDP("udp", &net.UDPAddr{IP: o.Local}, addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{socket: socket, own: random(idBytes), peer: o.Destination, Token: o.Token}
	if c.peer == nil {
		c.peer = random(idBytes)
	}
	for i := range c.spaces {
		c.spaces[i].largest = -1
	}
	c.spaces[Initial].write, c.spaces[Initial].read = initialKeys(c.peer)
	config = config.Clone()
	config.MinVersion = tls.VersionTLS13
	if config.CurvePreferences == nil {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	c.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: config})
	c.tls.SetTransportParameters(c.parameters(o))
	if err := c.tls.Start(context.Background()); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return c, c.events()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// parameters are the transport parameters (RFC 9000, 18.2).
func (c *Conn) parameters(o Options) []byte {
	limit := o.MaxData
	if limit == 0 {
		limit = defaultMaxData
	}
	b := append([]byte(nil), o.Parameters...)
	for _, p := range []struct{ id, value uint64 }{
		{0x01, idleTimeout}, {0x04, limit}, {0x05, limit}, {0x06, limit}, {0x07, limit}, {0x08, maxStreams}, {0x09, maxStreams}, {0x0e, maxIDs},
	} {
		value := AppendVarint(nil, p.value)
		b = append(AppendVarint(AppendVarint(b, p.id), uint64(len(value))), value...)
	}
	return append(AppendVarint(AppendVarint(b, 0x0f), uint64(len(c.own))), c.own...)
}

// CloseSocket gives the socket back. The server is not told.
func (c *Conn) CloseSocket() error {
	_ = c.tls.Close() // it tells of a handshake that was not over
	return c.socket.Close()
}

// Destination is the connection ID that packets go to.
func (c *Conn) Destination() []byte { return c.peer }

// Skip leaves out packet numbers.
func (c *Conn) Skip(level tls.QUICEncryptionLevel, n uint64) { c.spaces[level].next += n }

// Has tells whether packets of a level can be made.
func (c *Conn) Has(level tls.QUICEncryptionLevel) bool { return c.spaces[level].write != nil }

// Largest is the largest packet number received, -1 for none.
func (c *Conn) Largest(level tls.QUICEncryptionLevel) int64 { return c.spaces[level].largest }

// Got are the packet numbers received, the largest first. It is the Conn's.
func (c *Conn) Got(level tls.QUICEncryptionLevel) []Range { return c.spaces[level].got }

// Acks acknowledges the packets received, nil where there are none.
func (c *Conn) Acks(level tls.QUICEncryptionLevel) []byte {
	got := c.spaces[level].got
	if len(got) == 0 {
		return nil
	}
	return Ack(got[:min(len(got), maxAckRanges)]...)
}

// Hello takes what TLS wants sent at a level, as CRYPTO frames, one for a packet.
func (c *Conn) Hello(level tls.QUICEncryptionLevel) (frames [][]byte) {
	s := &c.spaces[level]
	for s.sent < len(s.out) {
		piece := s.out[s.sent:min(s.sent+cryptoPiece, len(s.out))]
		frames = append(frames, Crypto(uint64(s.sent), piece))
		s.sent += len(piece)
	}
	return frames
}

// Write sends a datagram as it is.
func (c *Conn) Write(datagram []byte) error {
	c.Sent.Datagrams++
	c.Sent.Bytes += len(datagram)
	_, err := c.socket.Write(datagram)
	return err
}

// Send sends a datagram with one packet, an Initial one padded.
func (c *Conn) Send(level tls.QUICEncryptionLevel, frames ...[]byte) error {
	if level == Initial {
		return c.Write(c.PaddedInitial(frames...))
	}
	return c.Write(c.Packet(level, frames...))
}

// Receive waits for a datagram and opens it. The packets are valid until the next call.
func (c *Conn) Receive(deadline time.Time) ([]Packet, error) {
	if err := c.socket.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, err := c.socket.Read(c.buf[:])
	if err != nil {
		return nil, err
	}
	c.Received.Datagrams++
	c.Received.Bytes += n
	return c.Open(c.buf[:n])
}

// Begin sends the beginning of a handshake, again where nothing comes, until all of the server's part of it is there. It
// acknowledges nothing.
func (c *Conn) Begin(deadline time.Time) error {
	for !c.Complete {
		for _, f := range c.Hello(Initial) { // again after a Retry
			if err := c.Send(Initial, f); err != nil {
				return err
			}
		}
		if err := c.hear(deadline); err != nil {
			return err
		}
	}
	return nil
}

// Handshake does what an honest client does until the server has confirmed the handshake.
func (c *Conn) Handshake(deadline time.Time) error {
	for !c.Confirmed {
		if err := c.Answer(); err != nil {
			return err
		}
		if err := c.hear(deadline); err != nil {
			return err
		}
	}
	return c.Answer()
}

// hear waits for a datagram of a handshake. Where none comes for a while all is to be sent again.
func (c *Conn) hear(deadline time.Time) error {
	soon := soonest(deadline)
	_, err := c.Receive(soon)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && soon.Before(deadline):
		c.spaces[Initial].sent, c.spaces[Handshake].sent = 0, 0
		return nil
	case err != nil:
		return fmt.Errorf("quicraw: handshake, complete %v: %w", c.Complete, err)
	case c.Ended != nil:
		return fmt.Errorf("quicraw: handshake: the server closed with %#x %q", c.Ended.ID, c.Ended.Data)
	}
	return nil
}

// soonest is when to send again, or the deadline.
func soonest(deadline time.Time) time.Time {
	if soon := time.Now().Add(resendAfter); soon.Before(deadline) {
		return soon
	}
	return deadline
}

// Answer sends what TLS wants sent, and acknowledges what came.
func (c *Conn) Answer() error {
	for _, level := range []tls.QUICEncryptionLevel{Initial, Handshake, Data} {
		if !c.Has(level) || level == Initial && c.Has(Handshake) {
			continue
		}
		acks := c.Acks(level)
		for _, f := range c.Hello(level) {
			if err := c.Send(level, f, acks); err != nil {
				return err
			}
			acks = nil
		}
		if acks != nil {
			if err := c.Send(level, acks); err != nil {
				return err
			}
		}
	}
	return nil
}

// Ask sends a request on the next stream, and returns all that the server says on it.
func (c *Conn) Ask(request []byte, deadline time.Time) ([]byte, error) {
	id := c.next
	c.next += 4
	if err := c.Send(Data, Stream(id, 0, request, true)); err != nil {
		return nil, err
	}
	var body []byte
	var unordered []Frame
	for end := false; !end; {
		packets, err := c.Receive(soonest(deadline))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline): // lost, perhaps
			if err := c.Send(Data, Stream(id, 0, request, true)); err != nil {
				return nil, err
			}
		case err != nil:
			return body, fmt.Errorf("quicraw: %d bytes of stream %d: %w", len(body), id, err)
		case c.Ended != nil:
			return body, fmt.Errorf("quicraw: stream %d: the server closed with %#x %q", id, c.Ended.ID, c.Ended.Data)
		}
		for _, p := range packets {
			for _, f := range p.Frames {
				if f.Type == TypeStream && f.ID == id {
					f.Data = slices.Clone(f.Data)
					unordered = append(unordered, f)
				}
			}
		}
		unordered = inOrder(unordered, uint64(len(body)), func(b []byte, last bool) {
			body, end = append(body, b...), end || last
		})
		if acks := c.Acks(Data); acks != nil {
			if err := c.Send(Data, acks); err != nil {
				return body, err
			}
		}
	}
	return body, nil
}

// Closed waits for the server's CONNECTION_CLOSE.
func (c *Conn) Closed(deadline time.Time) (Frame, error) {
	for c.Ended == nil {
		if _, err := c.Receive(deadline); err != nil {
			return Frame{}, err
		}
	}
	return *c.Ended, nil
}

// seen notes a packet number.
func (s *space) seen(n uint64) {
	s.largest = max(s.largest, int64(n))
	i := 0
	for i < len(s.got) && s.got[i].Smallest > n+1 {
		i++
	}
	switch {
	case i == len(s.got) || s.got[i].Largest+1 < n:
		s.got = slices.Insert(s.got, i, Range{n, n})
	case s.got[i].Largest+1 == n:
		s.got[i].Largest = n
	case s.got[i].Smallest == n+1:
		s.got[i].Smallest = n
		if i+1 < len(s.got) && s.got[i+1].Largest+1 == n {
			s.got[i].Smallest = s.got[i+1].Smallest
			s.got = slices.Delete(s.got, i+1, i+2)
		}
	}
}

// take looks at the frames that the connection itself needs.
func (c *Conn) take(p Packet) error {
	s := &c.spaces[p.Level]
	for _, f := range p.Frames {
		switch f.Type {
		case TypeCrypto:
			f.Data = slices.Clone(f.Data)
			s.unordered = append(s.unordered, f)
		case TypeClose, TypeCloseApplication:
			f.Data = slices.Clone(f.Data)
			c.Ended = &f
		case TypeNewToken:
			c.Given = slices.Clone(f.Data)
		case TypeHandshakeDone:
			c.Confirmed = true
		}
	}
	var failed error
	s.unordered = inOrder(s.unordered, s.in, func(b []byte, _ bool) {
		s.in += uint64(len(b))
		if err := c.tls.HandleData(p.Level, b); err != nil && failed == nil {
			failed = err
		}
	})
	return errors.Join(failed, c.events())
}

// inOrder passes on what follows offset, and returns the frames that have to wait.
func inOrder(frames []Frame, offset uint64, next func(b []byte, last bool)) []Frame {
	for again := true; again; {
		again = false
		frames = slices.DeleteFunc(frames, func(f Frame) bool {
			end := f.Offset + uint64(len(f.Data))
			switch {
			case f.Offset > offset:
				return false
			case end > offset || f.End:
				next(f.Data[min(offset, end)-f.Offset:], f.End)
				offset, again = max(offset, end), true
			}
			return true
		})
	}
	return frames
}

// events does what TLS asks for.
func (c *Conn) events() error {
	for {
		switch e := c.tls.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return nil
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			if e.Suite != tls.TLS_AES_128_GCM_SHA256 {
				return fmt.Errorf("quicraw: the server chose %s", tls.CipherSuiteName(e.Suite))
			}
			if e.Kind == tls.QUICSetReadSecret {
				c.spaces[e.Level].read = newKeys(e.Data)
			} else {
				c.spaces[e.Level].write = newKeys(e.Data)
			}
		case tls.QUICWriteData:
			s := &c.spaces[e.Level]
			s.out = append(s.out, e.Data...)
		case tls.QUICHandshakeDone:
			c.Complete = true
		default: // the server's parameters, and what belongs to early data
		}
	}
}

// retry begins again with the server's ID and token (RFC 9000, 17.2.5).
func (c *Conn) retry(source, tokenAndTag []byte) {
	if len(tokenAndTag) <= tagBytes || c.heard || c.Retries > 0 {
		return
	}
	c.Retries++
	c.Token = slices.Clone(tokenAndTag[:len(tokenAndTag)-tagBytes])
	c.peer = slices.Clone(source)
	s := &c.spaces[Initial]
	s.write, s.read = initialKeys(c.peer)
	s.sent = 0
}
