package front

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Types of unidirectional streams (RFC 9114, 6.2; RFC 9204, 4.2), and what http3 has no
// name for (RFC 9204, 6; RFC 9114, 7.2.4.1).
const (
	streamControl      = 0x0
	streamPush         = 0x1
	streamQPACKEncoder = 0x2
	streamQPACKDecoder = 0x3

	codeQPACKEncoderStream = 0x201
	codeQPACKDecoderStream = 0x202

	settingMaxFieldSection = 0x6

	// Frames of the control stream are refused beyond these sizes.
	maxSettingsBytes = 8 << 10
	maxPriorityBytes = 1 << 10
	// uniBufferBytes is the buffer of a unidirectional stream, which lives as long as the
	// connection.
	uniBufferBytes = 64
)

// serveUni handles a unidirectional stream: the control stream and those of QPACK to the
// end of the connection.
func (c *quicConn) serveUni(str *quic.ReceiveStream) {
	_ = str.SetReadDeadline(time.Now().Add(c.part.timeout)) // it cannot fail
	frames := frameReader{str: str, buf: make([]byte, uniBufferBytes)}
	kind, err := frames.varint()
	_ = str.SetReadDeadline(time.Time{}) // it cannot fail
	switch {
	case err == nil && kind == streamQPACKEncoder:
		c.serveQPACK(&frames, &c.encoder, codeQPACKEncoderStream, encoderInstructions)
	case err == nil && kind == streamQPACKDecoder:
		c.serveQPACK(&frames, &c.decoder, codeQPACKDecoderStream, decoderInstructions)
	case err == nil && kind == streamControl:
		c.serveControl(&frames)
	case err == nil && kind == streamPush: // RFC 9114, 6.2.2
		c.malformed(http3.ErrCodeStreamCreationError)
	default: // RFC 9114, 6.2: of an unknown type, or of none
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeStreamCreationError))
		c.spendIdle()
	}
}

// serveControl reads the client's control stream.
func (c *quicConn) serveControl(frames *frameReader) {
	if !c.control.CompareAndSwap(false, true) {
		c.malformed(http3.ErrCodeStreamCreationError) // RFC 9114, 6.2.1
		return
	}
	control := controlStream{conn: c, frames: frames, push: -1, goAway: -1}
	for first := true; ; first = false {
		kind, length, err := frames.head()
		if err == nil && first != (kind == h3Settings) {
			if first { // RFC 9114, 6.2.1
				c.malformed(http3.ErrCodeMissingSettings)
			} else { // RFC 9114, 7.2.4
				c.malformed(http3.ErrCodeFrameUnexpected)
			}
			return
		}
		if err == nil {
			if !first && !c.spendIdle() {
				return
			}
			err = control.frame(kind, length)
		}
		var code breachOf
		var reset *quic.StreamError
		switch {
		case err == nil:
			continue
		case errors.As(err, &code):
			if http3.ErrCode(code) == http3.ErrCodeExcessiveLoad {
				c.refuse(http3Control, http3.ErrCodeExcessiveLoad)
			}
			c.malformed(http3.ErrCode(code))
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &reset):
			c.malformed(http3.ErrCodeClosedCriticalStream) // RFC 9114, 6.2.1
		} // else the connection has ended
		return
	}
}

// breachOf is an error that ends a connection with its code.
type breachOf http3.ErrCode

// Error implements error.
func (b breachOf) Error() string { return "front: " + http3.ErrCode(b).String() }

// controlStream is the client's control stream.
type controlStream struct {
	conn         *quicConn
	frames       *frameReader
	push, goAway int64 // what the client said last; -1 for nothing
}

// frame handles one frame. Errors are breachOf or of the stream.
func (s *controlStream) frame(kind, length uint64) error {
	switch kind {
	case h3Settings:
		payload, err := s.payload(length, maxSettingsBytes)
		if err != nil {
			return err
		}
		return checkSettings(payload)
	case h3GoAway, h3MaxPushID, h3CancelPush:
		return s.number(kind, length)
	case h3PriorityUpdate, h3PriorityUpdatePush:
		payload, err := s.payload(length, maxPriorityBytes)
		if err != nil {
			return err
		}
		id, n, err := quicvarint.Parse(payload)
		switch {
		case err != nil:
			return breachOf(http3.ErrCodeFrameError)
		case kind == h3PriorityUpdatePush || id%4 != 0: // RFC 9218, 7.2: no request stream, and we push nothing
			return breachOf(http3.ErrCodeIDError)
		}
		s.conn.reprioritize(quic.StreamID(id), string(payload[n:]))
		return nil
	case h3Data, h3Headers, h3PushPromise, 0x2, 0x6, 0x8, 0x9: // RFC 9114, 7.2.1, 7.2.2, 7.2.5 and 7.2.8
		return breachOf(http3.ErrCodeFrameUnexpected)
	}
	return s.frames.discard(length) // RFC 9114, 9
}

func (s *controlStream) payload(length, most uint64) ([]byte, error) {
	if length > most {
		return nil, breachOf(http3.ErrCodeExcessiveLoad)
	}
	return s.frames.payload(int(length))
}

// number handles a frame that holds one identifier.
func (s *controlStream) number(kind, length uint64) error {
	if length > 8 {
		return breachOf(http3.ErrCodeFrameError)
	}
	payload, err := s.payload(length, 8)
	if err != nil {
		return err
	}
	id, n, err := quicvarint.Parse(payload)
	if err != nil || n != len(payload) {
		return breachOf(http3.ErrCodeFrameError)
	}
	switch {
	case kind == h3CancelPush: // RFC 9114, 7.2.3: we have promised nothing
		return breachOf(http3.ErrCodeIDError)
	case kind == h3MaxPushID && int64(id) < s.push: // RFC 9114, 7.2.7
		return breachOf(http3.ErrCodeIDError)
	case kind == h3MaxPushID:
		s.push = int64(id)
	case s.goAway >= 0 && int64(id) > s.goAway: // RFC 9114, 5.2
		return breachOf(http3.ErrCodeIDError)
	default:
		s.goAway = int64(id)
	}
	return nil
}

// checkSettings judges the payload of a SETTINGS frame. None of them matters to us.
func checkSettings(b []byte) error {
	seen := map[uint64]bool{}
	for len(b) > 0 {
		id, n, err := quicvarint.Parse(b)
		if err != nil {
			return breachOf(http3.ErrCodeFrameError)
		}
		value, m, err := quicvarint.Parse(b[n:])
		if err != nil {
			return breachOf(http3.ErrCodeFrameError)
		}
		b = b[n+m:]
		// RFC 9114, 7.2.4 and 7.2.4.1: none twice, and none that only HTTP/2 has. RFC 9220, 3
		// and RFC 9297, 2.1.1: a switch is on or off.
		if seen[id] || id == 0 || id >= 2 && id <= 5 || (id == 0x8 || id == 0x33) && value > 1 {
			return breachOf(http3.ErrCodeSettingsError)
		}
		seen[id] = true
	}
	return nil
}

// serveQPACK reads one of the two QPACK streams. We announce no dynamic table, so that
// there is next to nothing that may be said on them.
func (c *quicConn) serveQPACK(frames *frameReader, taken *atomic.Bool, code http3.ErrCode, legal func(state, b byte) (byte, bool)) {
	if !taken.CompareAndSwap(false, true) {
		c.malformed(http3.ErrCodeStreamCreationError) // RFC 9204, 4.2
		return
	}
	var state byte
	for {
		for ; frames.r < frames.w; frames.r++ {
			var ok bool
			if state, ok = legal(state, frames.buf[frames.r]); !ok {
				c.malformed(code)
				return
			}
		}
		err := frames.need(1)
		var reset *quic.StreamError
		if errors.Is(err, io.EOF) || errors.As(err, &reset) {
			c.malformed(http3.ErrCodeClosedCriticalStream)
			return
		}
		if err != nil {
			return // the connection has ended
		}
	}
}

// encoderInstructions allows Set Dynamic Table Capacity to 0 (RFC 9204, 4.3.1).
func encoderInstructions(_, b byte) (byte, bool) { return 0, b == 0x20 }

// decoderInstructions allows Stream Cancellation (RFC 9204, 4.4.2), which a client may send
// for any stream. The state is 1 inside its number, and counts its bytes.
func decoderInstructions(state, b byte) (byte, bool) {
	const prefix, longest = 0x3f, 10
	switch {
	case state == 0 && b>>6 != 1:
		return 0, false
	case state == 0 && b&prefix != prefix, state > 0 && b < 0x80:
		return 0, true
	}
	return state + 1, state < longest
}
