package front

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// Field sections of HTTP/3, and of HTTP/2 once they are decoded. Neither side has a dynamic table: we announce none, and need
// none for what we send.

var (
	errQPACK     = errors.New("front: field section cannot be decoded")
	errTooLarge  = errors.New("front: field section is too large")
	errMalformed = errors.New("front: malformed request")
)

// fieldOverhead is what a field line counts beyond its name and value (RFC 9114, 4.2.2).
const fieldOverhead = 32

// fieldSection is a decoded field section. It may be used again.
type fieldSection struct {
	lines []fieldLine
	text  fieldText
}

// fieldLine is one line. What is in the static table is not in the text.
type fieldLine struct {
	entry      int  // of the static table, whose name it has; -1 for none
	whole      bool // the value is the entry's, too
	begin      int  // in the text, of the name, which is empty if it is an entry's
	name, tail int  // where name and value end
}

// fieldText collects strings.
type fieldText []byte

// Write implements io.Writer.
func (t *fieldText) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	return len(p), nil
}

// decode decodes an encoded field section (RFC 9204, 4.5) whose size, as RFC 9114, 4.2.2
// counts it, must not exceed limit. Its errors are errQPACK and errTooLarge.
// Hot path: no allocation once the section has its room.
func (s *fieldSection) decode(b []byte, limit int) error {
	s.lines, s.text = s.lines[:0], s.text[:0]
	inserts, b, ok := prefixInt(b, 8)
	if !ok || inserts != 0 || len(b) == 0 || b[0]&0x80 != 0 { // RFC 9204, 4.5.1.2: the base is not negative
		return errQPACK
	}
	if _, b, ok = prefixInt(b, 7); !ok {
		return errQPACK
	}
	for len(b) > 0 {
		l := fieldLine{entry: -1, begin: len(s.text)}
		var index uint64
		switch first := b[0]; {
		case first&0xc0 == 0xc0: // indexed, static
			index, b, ok = prefixInt(b, 6)
			l.entry, l.whole = int(index), true
		case first&0xd0 == 0x50: // literal with a static name
			index, b, ok = prefixInt(b, 4)
			l.entry = int(index)
		case first&0xe0 == 0x20: // literal
			b, ok = s.literal(b, 3)
		default: // refers to the dynamic table
			return errQPACK
		}
		if !ok || index >= uint64(len(staticTable)) {
			return errQPACK
		}
		size := fieldOverhead
		if l.name = len(s.text); l.entry >= 0 {
			size += len(staticTable[l.entry].name)
		}
		if l.whole {
			size += len(staticTable[l.entry].value)
		} else if b, ok = s.literal(b, 7); !ok {
			return errQPACK
		}
		l.tail = len(s.text)
		if limit -= size + l.tail - l.begin; limit < 0 {
			return errTooLarge
		}
		s.lines = append(s.lines, l)
	}
	return nil
}

// add appends a line that another decoder has decoded.
func (s *fieldSection) add(name, value string) {
	l := fieldLine{entry: -1, begin: len(s.text)}
	s.text = append(s.text, name...)
	l.name = len(s.text)
	s.text = append(s.text, value...)
	l.tail = len(s.text)
	s.lines = append(s.lines, l)
}

// literal takes a string whose length has a prefix of n bits, behind the bit that says
// whether it is Huffman-coded.
func (s *fieldSection) literal(b []byte, n uint) (rest []byte, ok bool) {
	huffman := len(b) > 0 && b[0]>>n&1 == 1
	raw, rest, ok := prefixString(b, n)
	if !ok {
		return nil, false
	}
	if huffman {
		_, err := hpack.HuffmanDecode(&s.text, raw)
		return rest, err == nil
	}
	s.text = append(s.text, raw...)
	return rest, true
}

// prefixInt reads an integer with a prefix of n bits (RFC 7541, 5.1).
func prefixInt(b []byte, n uint) (value uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	most := uint64(1)<<n - 1
	if value = uint64(b[0]) & most; value < most {
		return value, b[1:], true
	}
	for i := 1; i < len(b) && i < 10; i++ {
		value += uint64(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return value, b[i+1:], true
		}
	}
	return 0, nil, false
}

// prefixString reads a string whose length has a prefix of n bits, as it is sent.
func prefixString(b []byte, n uint) (s, rest []byte, ok bool) {
	length, b, ok := prefixInt(b, n)
	if !ok || length > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:length], b[length:], true
}

// appendField appends a field line (RFC 9204, 4.5). Name is as in http.Header, or a
// pseudo-header's. Strings are not Huffman-coded: that would save a quarter of the bytes
// of a header, which most often fits into its packet anyway.
func appendField(b []byte, name, value string) []byte {
	entries := staticByName[name]
	for _, i := range entries {
		if staticTable[i].value == value {
			return appendPrefixInt(b, 0xc0, 6, uint64(i))
		}
	}
	if len(entries) > 0 {
		b = appendPrefixInt(b, 0x50, 4, uint64(entries[0]))
	} else {
		b = appendPrefixInt(b, 0x20, 3, uint64(len(name)))
		for i := range len(name) {
			b = append(b, lower(name[i]))
		}
	}
	b = appendPrefixInt(b, 0, 7, uint64(len(value)))
	return append(b, value...)
}

// appendPrefixInt appends an integer with a prefix of n bits behind the bits of first.
func appendPrefixInt(b []byte, first byte, n uint, value uint64) []byte {
	most := uint64(1)<<n - 1
	if value < most {
		return append(b, first|byte(value))
	}
	b = append(b, first|byte(most))
	for value -= most; value >= 0x80; value >>= 7 {
		b = append(b, byte(value)|0x80)
	}
	return append(b, byte(value))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
