package manifest

import (
	"bytes"
	"strconv"
)

// attribute is one of an attribute list (RFC 8216bis, 4.2): where it stands, and its value without quotes.
type attribute struct {
	name, value []byte
	start, end  int // of the whole, in the list
	from, to    int // of the value without quotes, in the list
}

// nextAttribute reads the one that begins at off; ok is false at the end, and where the list cannot be read on.
func nextAttribute(list []byte, off int) (a attribute, ok bool) {
	for off < len(list) && (list[off] == ' ' || list[off] == ',') {
		off++
	}
	equals := bytes.IndexByte(list[off:], '=')
	if equals <= 0 {
		return attribute{}, false
	}
	a.start, a.from = off, off+equals+1
	a.name = bytes.TrimSpace(list[off : off+equals])
	if a.from < len(list) && list[a.from] == '"' {
		a.from++
		end := bytes.IndexByte(list[a.from:], '"')
		if end < 0 {
			return attribute{}, false
		}
		a.to = a.from + end
		a.end = a.to + 1
	} else {
		end := bytes.IndexByte(list[a.from:], ',')
		if end < 0 {
			end = len(list) - a.from
		}
		a.to = a.from + end
		a.end = a.to
	}
	a.value = list[a.from:a.to]
	return a, true
}

// lookup finds an attribute's value; nil: it is not there.
func lookup(list []byte, name string) []byte {
	for a, ok := nextAttribute(list, 0); ok; a, ok = nextAttribute(list, a.end) {
		if string(a.name) == name {
			return a.value
		}
	}
	return nil
}

// shorterSide reads WIDTHxHEIGHT; 0 for anything else.
func shorterSide(resolution []byte) int {
	width, height, ok := bytes.Cut(resolution, []byte("x"))
	if !ok {
		return 0
	}
	return int(min(number(width), number(height)))
}

// decimal reads a floating-point number, or a fraction as DASH has it (30000/1001); 0 for anything else.
func decimal(text []byte) float64 {
	above, below, fraction := bytes.Cut(text, []byte("/"))
	n, err := strconv.ParseFloat(string(above), 64)
	if err != nil || !(n >= 0) {
		return 0
	}
	if fraction {
		d := number(below)
		if d == 0 {
			return 0
		}
		n /= float64(d)
	}
	return n
}

// videoRange reads VIDEO-RANGE; 0 for what it does not know.
func videoRange(value []byte) Range {
	switch string(value) {
	case "SDR":
		return SDR
	case "HLG":
		return HLG
	case "PQ":
		return PQ
	}
	return 0
}
