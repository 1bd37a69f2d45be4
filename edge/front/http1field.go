package front

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
)

// takeField takes the first byte of a line. White space there would go on with the line before (RFC 9112, 5.2: refused).
func (w *http1Walk) takeField(p []byte, i int) int {
	if p[i] == '\r' {
		w.step = stepEndLF
		return i + 1
	}
	if octets[p[i]]&inToken == 0 {
		w.badLine()
		return i
	}
	if w.lines++; w.lines > w.fields+1 { // Host, which the other protocols have no field for, does not count
		w.tooMany()
		return i
	}
	w.step, w.nameLen, w.valueLen, w.gap = stepName, 0, 0, false
	return w.takeName(p, i)
}

func (w *http1Walk) tooMany() {
	if w.trailers {
		w.badBody()
		return
	}
	w.refuse(http.StatusRequestHeaderFieldsTooLarge, tooManyFields)
}

func (w *http1Walk) takeName(p []byte, i int) int {
	if w.nameLen == 0 && !mayBeKnown(p[i]) {
		w.nameLen = len(w.name) + 1
	}
	for ; i < len(p); i++ {
		c := p[i]
		if c == ':' {
			w.known = w.whichField()
			w.step = stepBlank
			return i + 1
		}
		if octets[c]&inToken == 0 {
			w.badLine()
			return i
		}
		if w.nameLen > len(w.name) {
			continue
		}
		if w.nameLen < len(w.name) {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			w.name[w.nameLen] = c
		}
		w.nameLen++
	}
	return i
}

// mayBeKnown tells whether a known field's name begins so.
func mayBeKnown(c byte) bool {
	switch c | 0x20 {
	case 'h', 'c', 't', 'e':
		return true
	}
	return false
}

func (w *http1Walk) whichField() knownField {
	if w.nameLen > len(w.name) || w.trailers {
		return fieldOther
	}
	switch string(w.name[:w.nameLen]) {
	case "host":
		w.hosts++
		return fieldHost
	case "content-length":
		w.lengths++
		return fieldLength
	case "transfer-encoding":
		w.codings++
		return fieldCoding
	case "expect":
		w.expects++
		return fieldExpect
	case "trailer":
		w.long = make([]byte, 0, 64)
		return fieldTrailer
	}
	return fieldOther
}

func (w *http1Walk) takeValue(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '\r':
			return w.endValue(i)
		case octets[c]&inValue == 0:
			w.badLine()
			return i
		case w.step == stepBlank && (c == ' ' || c == '\t'):
			continue
		}
		w.step = stepValue
		switch w.known {
		case fieldOther:
			i = skipPlain(p, i+1) - 1
			for i+1 < len(p) && octets[p[i+1]]&inValue != 0 {
				i++
			}
		case fieldHost:
			blank := c == ' ' || c == '\t'
			if !blank && (w.gap || octets[c]&inHost == 0) { // RFC 9112, 3.2
				w.refuse(http.StatusBadRequest, twoHosts)
				return i
			}
			w.gap = blank
		case fieldTrailer:
			w.long = append(w.long, c)
		default:
			if w.valueLen < len(w.value) {
				w.value[w.valueLen] = c
			}
			w.valueLen++
		}
	}
	return i
}

// Eight bytes at a time: the highest bit of each byte, and ways to set it where a byte is smaller than, or is, another.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

func smaller(x uint64, than byte) uint64 { return (x - ones*uint64(than)) &^ x & highs }
func equal(x uint64, c byte) uint64      { return smaller(x^ones*uint64(c), 1) }

// skipPlain goes over bytes of a value, eight at a time, and stops before eight of which one may not be in it, or is a tab.
func skipPlain(p []byte, i int) int {
	for i+8 <= len(p) {
		if x := binary.LittleEndian.Uint64(p[i:]); smaller(x, ' ')|equal(x, 0x7f) != 0 {
			break
		}
		i += 8
	}
	return i
}

// skipPath is skipPlain for at most n bytes of a path.
func skipPath(p []byte, i, n int) int {
	for ; i+8 <= len(p) && n >= 8; n -= 8 {
		if x := binary.LittleEndian.Uint64(p[i:]); smaller(x, ' '+1)|equal(x, 0x7f)|equal(x, '%')|equal(x, '?') != 0 {
			break
		}
		i += 8
	}
	return i
}

// endValue judges a field that is known. At i is the line's CR.
func (w *http1Walk) endValue(i int) int {
	v := w.captured()
	switch w.known {
	case fieldLength:
		if w.lengths > 1 || !w.length(v) {
			w.refuse(http.StatusBadRequest, http1Framing)
			return i
		}
	case fieldCoding:
		if w.codings > 1 {
			w.refuse(http.StatusBadRequest, http1Framing)
			return i
		}
		if !bytes.EqualFold(v, []byte("chunked")) {
			w.refuse(http.StatusNotImplemented, http1Framing) // RFC 9112, 6.1
			return i
		}
	case fieldExpect:
		if w.expects > 1 || !bytes.EqualFold(v, []byte("100-continue")) {
			w.refuse(http.StatusExpectationFailed, expectation)
			return i
		}
	case fieldTrailer:
		ok := mayTrail(string(w.long))
		if w.long = nil; !ok {
			w.refuse(http.StatusBadRequest, http1Framing)
			return i
		}
	case fieldHost, fieldOther:
	}
	w.step = stepValueLF
	return i + 1
}

// captured is the value of a known field. One that is too long to be kept is like none that is right.
func (w *http1Walk) captured() []byte {
	if w.valueLen > len(w.value) {
		return nil
	}
	return bytes.TrimRight(w.value[:w.valueLen], " \t")
}

// length reads Content-Length: digits and nothing else (RFC 9112, 6.3).
func (w *http1Walk) length(v []byte) bool {
	if len(v) == 0 || len(v) > maxLengthDigits {
		return false
	}
	w.left = 0
	for _, c := range v {
		if !isDigit(c) {
			return false
		}
		w.left = w.left*10 + int64(c-'0')
	}
	return true
}

// mayTrail tells whether all fields that a Trailer field announces may be there (RFC 9110, 6.5.1).
func mayTrail(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.Trim(name, " \t")
		if name != "" && !allIn(name, inToken) {
			return false
		}
		switch strings.ToLower(name) {
		case "transfer-encoding", "content-length", "trailer", "host", "authorization":
			return false
		}
	}
	return true
}
