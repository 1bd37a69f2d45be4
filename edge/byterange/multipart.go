package byterange

import (
	"strconv"
	"strings"
)

// Multipart is the layout of a multipart/byteranges body (RFC 9110, 14.6): for
// each range AppendHeader, then the bytes of the range, and AppendEnd after the
// last. It is immutable.
type Multipart struct {
	ranges      []Range
	size        int64
	contentType string
	boundary    string
}

// NewMultipart lays out an answer with the given ranges of an object of size
// bytes and of the given media type (empty if unknown). The boundary is made of
// seed, which should be random: a client must not be able to place it in a body.
// The ranges are kept, not copied.
func NewMultipart(ranges []Range, size int64, contentType string, seed uint64) *Multipart {
	if strings.ContainsAny(contentType, "\r\n") {
		contentType = "" // it would end the part's header early
	}
	return &Multipart{ranges: ranges, size: size, contentType: contentType, boundary: boundary(seed)}
}

// Ranges returns the parts in their order. The slice must not be changed.
func (m *Multipart) Ranges() []Range { return m.ranges }

// ContentType returns the Content-Type field value of the answer.
func (m *Multipart) ContentType() string {
	return "multipart/byteranges; boundary=" + m.boundary
}

// ContentLength returns the exact length of the whole body in bytes. With small
// ranges of a small object it can exceed the object's size; then the whole object
// is the better answer.
func (m *Multipart) ContentLength() int64 {
	var n int64
	var buf [256]byte
	for i, r := range m.ranges {
		n += int64(len(m.AppendHeader(buf[:0], i))) + r.Length
	}
	return n + int64(len(m.AppendEnd(buf[:0])))
}

// AppendHeader appends the delimiter and the header of part i, which precede its
// bytes.
func (m *Multipart) AppendHeader(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "--"...)
	dst = append(dst, m.boundary...)
	if m.contentType != "" {
		dst = append(dst, "\r\nContent-Type: "...)
		dst = append(dst, m.contentType...)
	}
	dst = append(dst, "\r\nContent-Range: "...)
	dst = m.ranges[i].AppendContentRange(dst, m.size)
	return append(dst, "\r\n\r\n"...)
}

// AppendEnd appends the closing delimiter, which follows the bytes of the last
// part.
func (m *Multipart) AppendEnd(dst []byte) []byte {
	dst = append(dst, "\r\n--"...)
	dst = append(dst, m.boundary...)
	return append(dst, "--\r\n"...)
}

// boundary spreads seed over 32 hexadecimal digits (splitmix64, twice).
func boundary(seed uint64) string {
	b := make([]byte, 0, 32)
	for range 2 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		hex := strconv.FormatUint(z, 16)
		b = append(b, "0000000000000000"[len(hex):]...)
		b = append(b, hex...)
	}
	return string(b)
}
