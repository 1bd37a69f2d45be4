package quicraw

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
)

// Levels of protection.
const (
	Initial   = tls.QUICEncryptionLevelInitial
	Handshake = tls.QUICEncryptionLevelHandshake
	Data      = tls.QUICEncryptionLevelApplication // with a short header
	levels    = int(Data) + 1
)

const (
	longHeader = 0x80
	fixedBit   = 0x40
	keyPhase   = 0x04 // with a short header
	version1   = 1

	// Types of packets with a long header (RFC 9000, 17.2).
	packetInitial, packetHandshake, packetRetry = 0x00, 0x20, 0x30
	packetTypeBits                              = 0x30
	// headerNumberBytes is how long the packet numbers are that we send, so that there is a sample even without a frame.
	headerNumberBytes = 4
	// lengthBytes is how long the Length is that we send.
	lengthBytes = 2
	// maxEarly is how many packets are kept that came before their keys.
	maxEarly = 16
	// MinDatagram is how long a datagram with an Initial packet has to be (RFC 9000, 14.1).
	MinDatagram = 1200
)

// A Packet is one that was received and opened.
type Packet struct {
	Level  tls.QUICEncryptionLevel
	Number uint64
	Frames []Frame
}

// Header is the beginning of a datagram with a long header, of any version; version 0 asks for nothing but a
// Version Negotiation packet.
func Header(first byte, version uint32, destination, source []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{first | longHeader}, version)
	b = append(append(b, byte(len(destination))), destination...)
	return append(append(b, byte(len(source))), source...)
}

// Packet makes the next packet of a level from frames, as an honest client does. It panics where there are no keys yet.
func (c *Conn) Packet(level tls.QUICEncryptionLevel, frames ...[]byte) []byte {
	return c.PacketWith(0, level, frames...)
}

// PacketWith sets more bits in the first byte, before it is protected.
func (c *Conn) PacketWith(bits byte, level tls.QUICEncryptionLevel, frames ...[]byte) []byte {
	var payload []byte
	for _, f := range frames {
		payload = append(payload, f...)
	}
	s := &c.spaces[level]
	number := s.next
	s.next++
	var head []byte
	if level == Data {
		head = append([]byte{fixedBit | c.phase | (headerNumberBytes - 1) | bits}, c.peer...)
	} else {
		kind := byte(packetInitial)
		if level == Handshake {
			kind = packetHandshake
		}
		head = Header(fixedBit|kind|(headerNumberBytes-1)|bits, version1, c.peer, c.own)
		if level == Initial {
			head = append(AppendVarint(head, uint64(len(c.Token))), c.Token...)
		}
		head = binary.BigEndian.AppendUint16(head, 1<<14|uint16(headerNumberBytes+len(payload)+tagBytes))
	}
	head = binary.BigEndian.AppendUint32(head, uint32(number))
	return s.write.seal(head, number, payload)
}

// PaddedInitial is a datagram of at least MinDatagram bytes with one Initial packet.
func (c *Conn) PaddedInitial(frames ...[]byte) []byte {
	n := 1 + 4 + 1 + len(c.peer) + 1 + len(c.own) + len(AppendVarint(nil, uint64(len(c.Token)))) + len(c.Token) +
		lengthBytes + headerNumberBytes + tagBytes
	for _, f := range frames {
		n += len(f)
	}
	return c.Packet(Initial, append(frames, Padding(MinDatagram-n))...)
}

// Open takes a datagram apart, in place, and has TLS see the CRYPTO frames. Packets that come before their keys are kept for
// later; what cannot be opened at all is left out, and counted in Unopened.
func (c *Conn) Open(datagram []byte) (all []Packet, err error) {
	for len(datagram) > 0 {
		level, at, packet, rest := c.split(datagram)
		datagram = rest
		switch {
		case packet == nil:
			continue
		case c.spaces[level].read == nil && len(c.early) < maxEarly:
			c.early = append(c.early, bytes.Clone(packet))
			continue
		}
		p, err := c.open(level, at, packet)
		if errors.Is(err, errNotOurs) {
			c.Unopened++
			continue
		}
		if err == nil {
			all = append(all, p)
			err = c.take(p)
		}
		if err != nil {
			return all, err
		}
	}
	if c.Has(Data) && len(c.early) > 0 {
		early := c.early
		c.early = nil
		for _, packet := range early {
			more, err := c.Open(packet)
			if all = append(all, more...); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// open opens one packet whose number is at at.
func (c *Conn) open(level tls.QUICEncryptionLevel, at int, packet []byte) (Packet, error) {
	s := &c.spaces[level]
	if s.read == nil {
		return Packet{}, errNotOurs
	}
	number, from, err := s.read.unmask(packet, at, s.largest)
	if err != nil {
		return Packet{}, err
	}
	var payload []byte
	if level == Data && packet[0]&keyPhase != c.phase {
		payload, err = c.openOther(packet, number, from)
	} else {
		payload, err = s.read.open(packet, number, from)
	}
	if err != nil {
		return Packet{}, err
	}
	frames, err := parseFrames(payload)
	if err != nil {
		return Packet{}, err
	}
	s.seen(number)
	return Packet{Level: level, Number: number, Frames: frames}, nil
}

// openOther opens a packet that has other keys than the last one: those before, or the next (RFC 9001, 6.2), which are then
// taken for what is sent as well.
func (c *Conn) openOther(packet []byte, number uint64, from int) ([]byte, error) {
	s := &c.spaces[Data]
	if c.last != nil {
		if payload, err := c.last.open(bytes.Clone(packet), number, from); err == nil {
			return payload, nil
		}
	}
	next := s.read.updated()
	payload, err := next.open(packet, number, from)
	if err == nil {
		c.phase ^= keyPhase
		c.last, s.read, s.write = s.read, next, s.write.updated()
	}
	return payload, err
}

// split takes the first packet off a datagram, which is nil where it is none of ours to open: a Retry is obeyed, a Version
// Negotiation counted.
func (c *Conn) split(datagram []byte) (level tls.QUICEncryptionLevel, at int, packet, rest []byte) {
	first := datagram[0]
	if first&longHeader == 0 {
		return Data, 1 + len(c.own), datagram, nil
	}
	r := &reader{b: datagram[1:]}
	version := r.bytes(4)
	destination := r.bytes(uint64(r.octet()))
	source := r.bytes(uint64(r.octet()))
	switch {
	case r.bad, !bytes.Equal(destination, c.own): // or meant for who had the port before
		c.Unopened++
		return 0, 0, nil, nil
	case binary.BigEndian.Uint32(version) == 0:
		c.Negotiations++
		return 0, 0, nil, nil
	case first&packetTypeBits == packetRetry:
		c.retry(source, r.b)
		return 0, 0, nil, nil
	case first&packetTypeBits == packetHandshake:
		level = Handshake
	default:
		level = Initial
		_ = r.bytes(r.number())
	}
	length := r.number()
	at = len(datagram) - len(r.b)
	_ = r.bytes(length)
	if r.bad {
		c.Unopened++
		return 0, 0, nil, nil
	}
	if !c.heard {
		c.heard, c.peer = true, append([]byte(nil), source...) // RFC 9000, 7.2
	}
	return level, at, datagram[:at+int(length)], r.b
}

func (r *reader) octet() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}
