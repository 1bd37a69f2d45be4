package quicraw

import (
	"encoding/binary"
	"errors"
)

// Types of frames (RFC 9000, 19).
const (
	TypePadding            = 0x00
	TypePing               = 0x01
	TypeAck                = 0x02
	TypeAckECN             = 0x03
	TypeResetStream        = 0x04
	TypeStopSending        = 0x05
	TypeCrypto             = 0x06
	TypeNewToken           = 0x07
	TypeStream             = 0x08 // with the bits below
	TypeMaxData            = 0x10
	TypeMaxStreamData      = 0x11
	TypeMaxStreams         = 0x12
	TypeMaxStreamsUni      = 0x13
	TypeDataBlocked        = 0x14
	TypeStreamDataBlocked  = 0x15
	TypeStreamsBlocked     = 0x16
	TypeStreamsBlockedUni  = 0x17
	TypeNewConnectionID    = 0x18
	TypeRetireConnectionID = 0x19
	TypePathChallenge      = 0x1a
	TypePathResponse       = 0x1b
	TypeClose              = 0x1c
	TypeCloseApplication   = 0x1d
	TypeHandshakeDone      = 0x1e

	streamEnd, streamLength, streamOffset = 0x01, 0x02, 0x04
)

// A Frame is one that was received. Which fields count depends on Type.
type Frame struct {
	Type   uint64  // of a STREAM frame without its bits
	ID     uint64  // of a stream or connection ID; the code of an error
	Offset uint64  // in a stream, or a limit
	End    bool    // of the stream
	Data   []byte  // of a stream, a token, an ID, a challenge, a reason
	Acked  []Range // of an ACK, the largest first
}

// Range is packet numbers, both ends included.
type Range struct{ Smallest, Largest uint64 }

// AppendVarint appends n as a variable-length integer (RFC 9000, 16), in its shortest form.
func AppendVarint(b []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(n)|1<<14)
	case n < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(n)|2<<30)
	}
	return binary.BigEndian.AppendUint64(b, n|3<<62)
}

// Numbers is a frame of a type and numbers behind it, as most are.
func Numbers(kind uint64, numbers ...uint64) []byte {
	b := AppendVarint(nil, kind)
	for _, n := range numbers {
		b = AppendVarint(b, n)
	}
	return b
}

// Ping is a PING frame.
func Ping() []byte { return []byte{TypePing} }

// Padding is n PADDING frames.
func Padding(n int) []byte { return make([]byte, max(n, 0)) }

// Crypto is a CRYPTO frame.
func Crypto(offset uint64, data []byte) []byte {
	return append(Numbers(TypeCrypto, offset, uint64(len(data))), data...)
}

// Stream is a STREAM frame with offset and length.
func Stream(id, offset uint64, data []byte, end bool) []byte {
	kind := uint64(TypeStream | streamLength | streamOffset)
	if end {
		kind |= streamEnd
	}
	return append(Numbers(kind, id, offset, uint64(len(data))), data...)
}

// Ack is an ACK frame of these packet numbers, the largest first, no two of them adjoining; without delay.
func Ack(ranges ...Range) []byte {
	first := ranges[0]
	b := Numbers(TypeAck, first.Largest, 0, uint64(len(ranges)-1), first.Largest-first.Smallest)
	for i, r := range ranges[1:] {
		b = AppendVarint(b, ranges[i].Smallest-r.Largest-2) // RFC 9000, 19.3.1
		b = AppendVarint(b, r.Largest-r.Smallest)
	}
	return b
}

// NewConnectionID is a NEW_CONNECTION_ID frame with an ID and a token for stateless resets that follow from the number.
func NewConnectionID(sequence, retirePriorTo uint64) []byte {
	id := binary.BigEndian.AppendUint64(nil, sequence^0x5a5a5a5a)
	b := append(Numbers(TypeNewConnectionID, sequence, retirePriorTo), byte(len(id)))
	return append(append(append(b, id...), id...), id...)
}

// PathChallenge is a PATH_CHALLENGE frame.
func PathChallenge(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{TypePathChallenge}, n)
}

// PathResponse is a PATH_RESPONSE frame.
func PathResponse(data []byte) []byte { return append([]byte{TypePathResponse}, data...) }

// Close is a CONNECTION_CLOSE frame.
func Close(code uint64) []byte { return Numbers(TypeClose, code, 0, 0) }

var errFrame = errors.New("quicraw: a frame that cannot be read")

// reader takes numbers and bytes off a payload. After the first fault all are zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	if len(r.b) == 0 || len(r.b) < 1<<(r.b[0]>>6) {
		r.bad, r.b = true, nil
		return 0
	}
	width := 1 << (r.b[0] >> 6)
	n := uint64(r.b[0] & 0x3f)
	for _, b := range r.b[1:width] {
		n = n<<8 | uint64(b)
	}
	r.b = r.b[width:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// parseFrames reads the frames of a payload, PADDING left out. Data lies in the payload.
func parseFrames(payload []byte) ([]Frame, error) {
	r := &reader{b: payload}
	var all []Frame
	for len(r.b) > 0 && !r.bad {
		kind := r.number()
		if kind == TypePadding {
			continue
		}
		f := Frame{Type: kind}
		r.frame(&f)
		all = append(all, f)
	}
	if r.bad {
		return nil, errFrame
	}
	return all, nil
}

func (r *reader) frame(f *Frame) {
	switch kind := f.Type; kind {
	case TypePing, TypeHandshakeDone:
	case TypeAck, TypeAckECN:
		f.Acked = r.ranges()
		if kind == TypeAckECN {
			_, _, _ = r.number(), r.number(), r.number()
		}
	case TypeResetStream:
		f.ID, _, f.Offset = r.number(), r.number(), r.number()
	case TypeStopSending, TypeMaxStreamData, TypeStreamDataBlocked:
		f.ID, f.Offset = r.number(), r.number()
	case TypeCrypto:
		f.Offset = r.number()
		f.Data = r.bytes(r.number())
	case TypeNewToken:
		f.Data = r.bytes(r.number())
	case TypeMaxData, TypeMaxStreams, TypeMaxStreamsUni, TypeDataBlocked, TypeStreamsBlocked, TypeStreamsBlockedUni:
		f.Offset = r.number()
	case TypeRetireConnectionID:
		f.ID = r.number()
	case TypeNewConnectionID:
		f.ID, f.Offset = r.number(), r.number()
		f.Data = r.bytes(r.number()) // its length is one byte below 64
		_ = r.bytes(tagBytes)
	case TypePathChallenge, TypePathResponse:
		f.Data = r.bytes(8)
	case TypeClose, TypeCloseApplication:
		f.ID = r.number()
		if kind == TypeClose {
			f.Offset = r.number() // the type of the frame that is to blame
		}
		f.Data = r.bytes(r.number())
	default:
		if kind &^= streamEnd | streamLength | streamOffset; kind != TypeStream {
			r.bad = true
			return
		}
		r.stream(f)
	}
}

func (r *reader) stream(f *Frame) {
	bits := f.Type
	f.Type, f.End, f.ID = TypeStream, bits&streamEnd != 0, r.number()
	if bits&streamOffset != 0 {
		f.Offset = r.number()
	}
	length := uint64(len(r.b))
	if bits&streamLength != 0 {
		length = r.number()
	}
	f.Data = r.bytes(length)
}

func (r *reader) ranges() []Range {
	largest := r.number()
	_ = r.number() // the delay
	more, length := r.number(), r.number()
	all := []Range{{largest - length, largest}}
	for ; more > 0 && !r.bad; more-- {
		largest = all[len(all)-1].Smallest - r.number() - 2
		all = append(all, Range{largest - r.number(), largest})
	}
	return all
}
