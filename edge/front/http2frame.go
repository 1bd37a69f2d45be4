package front

import "encoding/binary"

// Frame types, flags and error codes that the guard knows (RFC 9113, 6 and 7).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
	framePreface      = 0xff // not a type of the wire: what a client sends before its frames

	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	codeNoError          = 0x0
	codeInternalError    = 0x2
	codeEnhanceYourCalm  = 0xb
	frameHeaderBytes     = 9
	prefaceBytes         = len(clientPreface)
	clientPreface        = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113, 3.4
	priorityBytes        = 5                                  // of HEADERS with flagPriority
	promisedBytes        = 4                                  // of PUSH_PROMISE: the stream
	settingBytes         = 6
	settingMaxFrameSize  = 0x5
	unusedSetting        = 0xf000 // the first of identifiers that nobody uses (RFC 9113, 6.5.2: they are ignored)
	maxSettings          = 100    // in one frame; net/http hangs up on more
	clientStreamMask     = 1<<31 - 1
	goAwayBytes          = frameHeaderBytes + 8
	windowBytesPerUpdate = 2 << 10
)

// frame is the header of a frame.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// before returns how many bytes of the payload are not what the frame is for, its padding aside.
func (f frame) before() (n int) {
	switch f.kind {
	case frameData:
	case frameHeaders:
		if f.has(flagPriority) {
			n = priorityBytes
		}
	case framePushPromise:
		n = promisedBytes
	default:
		return 0
	}
	if f.has(flagPadded) {
		n++
	}
	return n
}

// inBlock tells whether the frame carries a header, or a piece of one.
func (f frame) inBlock() bool { return f.kind == frameHeaders || f.kind == frameContinuation }

// frameEvent is what frameWalk.next met.
type frameEvent int

const (
	frameGoesOn frameEvent = iota // the bytes are used up
	frameBegun                    // the header of walk.frame is whole
	frameEnded                    // so is its payload
)

// frameWalk finds the frames in a stream of bytes that comes in pieces. Of a payload it
// keeps only the error code of RST_STREAM, and of a GOAWAY that says no more than its code. It is
// not safe for concurrent use.
type frameWalk struct {
	frame  frame  // the current one, or the last
	code   uint32 // of RST_STREAM or GOAWAY, once it has ended
	inside bool   // frame has not ended
	left   int    // bytes of its payload that have not come
	have   int    // bytes of the next header that have
	head   [frameHeaderBytes]byte
}

// next goes through p up to the next event and tells how many bytes that took. It has
// to be called until p is used up and due is false. Hot path: no allocation.
func (w *frameWalk) next(p []byte) (int, frameEvent) {
	if w.inside {
		n := min(w.left, len(p))
		if w.frame.kind == frameReset || w.frame.kind == frameGoAway {
			for _, b := range p[:n] {
				w.code = w.code<<8 | uint32(b)
			}
		}
		if w.left -= n; w.left > 0 {
			return n, frameGoesOn
		}
		w.inside = false
		return n, frameEnded
	}
	n := copy(w.head[w.have:], p)
	if w.have += n; w.have < frameHeaderBytes {
		return n, frameGoesOn
	}
	h := &w.head
	w.frame = frame{
		length: int(h[0])<<16 | int(h[1])<<8 | int(h[2]), kind: h[3], flags: h[4],
		stream: binary.BigEndian.Uint32(h[5:]) & clientStreamMask,
	}
	w.have, w.left, w.code, w.inside = 0, w.frame.length, 0, true
	return n, frameBegun
}

// due tells whether an event is there without further bytes: the end of an empty frame.
func (w *frameWalk) due() bool { return w.inside && w.left == 0 }

// border tells whether the next byte begins a frame.
func (w *frameWalk) border() bool { return !w.inside && w.have == 0 }

// goAway is the GOAWAY frame with ENHANCE_YOUR_CALM (RFC 9113, 6.8).
func goAway(last uint32) []byte {
	b := append(make([]byte, 0, goAwayBytes), 0, 0, goAwayBytes-frameHeaderBytes, frameGoAway, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	return binary.BigEndian.AppendUint32(b, codeEnhanceYourCalm)
}

// dropDuplicates gives every setting of a SETTINGS payload that a later one overrides an
// identifier that nobody uses. net/http hangs up on duplicates, which RFC 9113, 6.5.3
// allows: the values are taken in order. The length stays as it was.
func dropDuplicates(payload []byte) {
	if len(payload)%settingBytes != 0 || len(payload) > maxSettings*settingBytes {
		return // net/http's to refuse
	}
	for i := 0; i < len(payload); i += settingBytes {
		id := payload[i : i+2]
		for j := i + settingBytes; j < len(payload); j += settingBytes {
			if payload[j] == id[0] && payload[j+1] == id[1] {
				binary.BigEndian.PutUint16(id, unusedSetting+uint16(i/settingBytes))
				break
			}
		}
	}
}

// keepFramesSmall takes back what a SETTINGS payload allows beyond frames of leastPiece: net/http keeps the memory of the
// largest that it has sent. No peer may ask for larger ones (RFC 9113, 4.2). What is not valid stays so.
func keepFramesSmall(payload []byte) {
	for ; len(payload) >= settingBytes; payload = payload[settingBytes:] {
		value := binary.BigEndian.Uint32(payload[2:])
		if binary.BigEndian.Uint16(payload) == settingMaxFrameSize && value > leastPiece && value < 1<<24 {
			binary.BigEndian.PutUint32(payload[2:], leastPiece)
		}
	}
}
