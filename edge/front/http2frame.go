package front

import (
	"encoding/binary"
	"strconv"
)

// Frame types, flags, settings and error codes of HTTP/2 (RFC 9113, 6 and 7; RFC 9218, 2.1 and 7.1).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	framePriority       = 0x2
	frameReset          = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	framePing           = 0x6
	frameGoAway         = 0x7
	frameWindowUpdate   = 0x8
	frameContinuation   = 0x9
	framePriorityUpdate = 0x10

	flagAck        = 0x1 // of SETTINGS and PING
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingPush           = 0x2
	settingStreams        = 0x3
	settingInitialWindow  = 0x4
	settingMaxFrameSize   = 0x5
	settingMaxHeaderList  = 0x6
	settingNoPriorityTree = 0x9

	codeNoError         h2Code = 0x0
	codeProtocolError   h2Code = 0x1
	codeInternalError   h2Code = 0x2
	codeFlowControl     h2Code = 0x3
	codeStreamClosed    h2Code = 0x5
	codeFrameSize       h2Code = 0x6
	codeRefusedStream   h2Code = 0x7
	codeCompression     h2Code = 0x9
	codeEnhanceYourCalm h2Code = 0xb

	frameHeaderBytes = 9
	clientPreface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113, 3.4
	prefaceBytes     = len(clientPreface)
	priorityBytes    = 5 // of HEADERS with flagPriority
	settingBytes     = 6
	pingBytes        = 8
	codeBytes        = 4 // of RST_STREAM
	goAwayBytes      = 8 // at least

	defaultWindow = 1<<16 - 1 // RFC 9113, 6.9.2
	largestWindow = 1<<31 - 1
	largestStream = 1<<31 - 1
)

// h2Code is an error code of HTTP/2.
type h2Code uint32

func (c h2Code) String() string { return "code " + strconv.FormatUint(uint64(c), 10) }

// frame is the header of a frame.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
}

// parseFrame reads the header of a frame of b, which has frameHeaderBytes.
func parseFrame(b []byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & largestStream,
	}
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// appendFrame appends the header of a frame.
func appendFrame(b []byte, length int, kind, flags byte, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// setLength puts in the length of a frame whose header begins b and whose payload is the rest of it.
func setLength(b []byte) {
	n := len(b) - frameHeaderBytes
	b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
}

func appendReset(b []byte, stream uint32, code h2Code) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, codeBytes, frameReset, 0, stream), uint32(code))
}

func appendGoAway(b []byte, last uint32, code h2Code) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, goAwayBytes, frameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int64) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameWindowUpdate, 0, stream), uint32(n))
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}
