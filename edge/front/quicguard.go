package front

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Types of streams and frames of HTTP/3 (RFC 9114, 6.2 and 7.2; RFC 9204, 4.2), and the
// error codes of QPACK that http3 does not name (RFC 9204, 6).
const (
	streamControl      = 0x0
	streamQPACKEncoder = 0x2
	streamQPACKDecoder = 0x3

	h3Headers, h3CancelPush, h3Settings  = 0x1, 0x3, 0x4
	h3PushPromise, h3GoAway, h3MaxPushID = 0x5, 0x7, 0xd
	h3Reserved                           = 0xf // types and settings up to here are none of an extension

	codeQPACKEncoderStream = 0x201
	codeQPACKDecoderStream = 0x202

	// peekBytes is what a stream may cost before its header is there: of a longer one as
	// much must have come before there is room for the rest.
	peekBytes        = 4 << 10
	maxSettingsBytes = 8 << 10 // http3's own limit
	maxSkippedBytes  = 64 << 10
)

var peekBuffers = sync.Pool{New: func() any { return new([peekBytes]byte) }}

// A peeker is a QUIC stream that shows bytes without taking them.
type peeker interface {
	Peek(b []byte) (int, error)
}

// peekVarints peeks two variable-length integers, from offset at of what is to come. It
// returns where they end.
func peekVarints(s peeker, buf []byte, at int) (first, second uint64, end int, err error) {
	values := [2]uint64{}
	for i := range values {
		n := at + 1
		if _, err := s.Peek(buf[:n]); err != nil {
			return 0, 0, at, err
		}
		if n = at + 1<<(buf[at]>>6); n > at+1 {
			if _, err := s.Peek(buf[:n]); err != nil {
				return 0, 0, n, err
			}
		}
		values[i], _, _ = quicvarint.Parse(buf[at:n]) // it is whole
		at = n
	}
	return values[0], values[1], at, nil
}

// admit looks at the first frame of a request stream before http3 does, and ends the
// stream or the connection for what http3 would let pass. Errors of the stream
// itself are http3's. Hot path: four looks into the first packet, no copy kept.
func (c *quicConn) admit(str *quic.Stream) bool {
	small := peekBuffers.Get().(*[peekBytes]byte)
	defer peekBuffers.Put(small)
	for skipped := uint64(0); ; {
		kind, length, head, err := peekVarints(str, small[:], 0)
		switch {
		case errors.Is(err, io.EOF) && head > 0:
			return c.malformed(http3.ErrCodeFrameError)
		case err != nil:
			return true
		}
		switch kind {
		case h3Headers:
			return length > maxHeaderBytes || c.admitHeaders(str, small[:], head, int(length))
		case h3CancelPush, h3Settings, h3PushPromise, h3GoAway, h3MaxPushID:
			return c.malformed(http3.ErrCodeFrameUnexpected)
		}
		// RFC 9114, 9: frames of unknown types are skipped; http3 knows the rest.
		if skipped += length; kind <= h3Reserved || skipped > maxSkippedBytes {
			return true
		}
		if _, err := io.CopyN(io.Discard, str, int64(head)+int64(length)); err != nil {
			return true
		}
	}
}

// admitHeaders judges a header section of length bytes behind head.
func (c *quicConn) admitHeaders(str *quic.Stream, buf []byte, head, length int) bool {
	_, err := str.Peek(buf[:min(head+length, len(buf))])
	if err == nil && head+length > len(buf) {
		buf = make([]byte, head+length)
		_, err = str.Peek(buf)
	}
	switch {
	case errors.Is(err, io.EOF):
		return c.malformed(http3.ErrCodeFrameError) // RFC 9114, 7.1
	case err != nil:
		return true
	}
	section, ok := lookAtSection(buf[head : head+length])
	switch {
	case !ok:
		return c.malformed(http3.ErrCodeQPACKDecompressionFailed) // RFC 9204, 2.2.3 and 3.1
	case !section.scheme && !section.connect:
		// RFC 9114, 4.3.1: every request but CONNECT has it.
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeMessageError))
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeMessageError))
		return false
	}
	return true
}

// malformed ends the connection for a breach of RFC 9114 or 9204.
func (c *quicConn) malformed(code http3.ErrCode) bool {
	c.refuse(http3Malformed, code)
	return false
}

// refuse ends the connection, and counts why.
func (c *quicConn) refuse(why reason, code http3.ErrCode) {
	if c.refused.CompareAndSwap(false, true) {
		c.part.stats.refusals.add(why, c.conn.RemoteAddr().String())
		_ = c.conn.CloseWithError(quic.ApplicationErrorCode(code), why.String()) // closed is closed
	}
}

// judge counts a request stream that came to an odd end against the budget of the
// connection: one that the client gave up, or that was malformed.
func (c *quicConn) judge(str *quic.Stream) {
	var reset *quic.StreamError
	if c.part.trusted || !errors.As(context.Cause(str.Context()), &reset) {
		return
	}
	switch code := http3.ErrCode(reset.ErrorCode); {
	case reset.Remote, code == http3.ErrCodeRequestIncomplete, code == http3.ErrCodeMessageError, code == http3.ErrCodeExcessiveLoad:
	default:
		return
	}
	now := time.Now()
	c.mu.Lock()
	fine := c.odd.spend(now)
	c.mu.Unlock()
	if !fine {
		c.refuse(http3Odd, http3.ErrCodeExcessiveLoad)
	}
}

// serveUni handles a unidirectional stream. Those of QPACK, which http3 does not read, it
// reads itself, to the end of the connection.
func (c *quicConn) serveUni(raw *http3.RawServerConn, str *quic.ReceiveStream) {
	_ = str.SetReadDeadline(time.Now().Add(c.part.timeout)) // it cannot fail
	var kind [1]byte
	if _, err := str.Peek(kind[:]); err != nil {
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeStreamCreationError))
		return
	}
	switch kind[0] {
	case streamQPACKEncoder:
		c.serveQPACK(str, &c.encoder, codeQPACKEncoderStream, encoderInstructions)
	case streamQPACKDecoder:
		c.serveQPACK(str, &c.decoder, codeQPACKDecoderStream, decoderInstructions)
	case streamControl:
		if !c.admitSettings(str) {
			return
		}
		fallthrough
	default:
		_ = str.SetReadDeadline(time.Time{}) // it cannot fail
		raw.HandleUnidirectionalStream(str)
	}
}

// admitSettings judges the SETTINGS frame that begins a control stream. What is no
// SETTINGS frame is http3's to refuse.
func (c *quicConn) admitSettings(str *quic.ReceiveStream) bool {
	var head [1 + 2*8]byte
	kind, length, end, err := peekVarints(str, head[:], 1)
	if err != nil || kind != h3Settings || length > maxSettingsBytes {
		return true
	}
	buf := make([]byte, end+int(length))
	if _, err := str.Peek(buf); err != nil {
		return true
	}
	seen := map[uint64]bool{}
	for rest := buf[end:]; len(rest) > 0; {
		id, n, err := quicvarint.Parse(rest)
		if err != nil {
			return c.malformed(http3.ErrCodeFrameError)
		}
		_, m, err := quicvarint.Parse(rest[n:])
		if err != nil {
			return c.malformed(http3.ErrCodeFrameError)
		}
		rest = rest[n+m:]
		// RFC 9114, 7.2.4 and 7.2.4.1: none twice, and none that only HTTP/2 has.
		if seen[id] || id == 0 || id >= 2 && id <= 5 {
			return c.malformed(http3.ErrCodeSettingsError)
		}
		seen[id] = true
	}
	return true
}

// serveQPACK reads one of the two QPACK streams. We announce no dynamic table, so that
// there is next to nothing that may be said on them.
func (c *quicConn) serveQPACK(str *quic.ReceiveStream, taken *atomic.Bool, code http3.ErrCode, legal func(state, b byte) (byte, bool)) {
	if !taken.CompareAndSwap(false, true) {
		c.malformed(http3.ErrCodeStreamCreationError) // RFC 9204, 4.2
		return
	}
	_ = str.SetReadDeadline(time.Time{}) // it cannot fail
	var buf [64]byte
	_, _ = str.Read(buf[:1]) // the type, which was peeked
	for state := byte(0); ; {
		n, err := str.Read(buf[:])
		for _, b := range buf[:n] {
			var ok bool
			if state, ok = legal(state, b); !ok {
				c.malformed(code)
				return
			}
		}
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
