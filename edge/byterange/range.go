package byterange

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// MaxParts is the number of ranges that one field may ask for. A field with more
// is ignored: no player sends that many, and each costs a part header.
const MaxParts = 16

// maxEmpty is the number of empty list elements that are forgiven (RFC 9110,
// 5.6.1.2 asks for a reasonable number).
const maxEmpty = 16

// ErrNone says that the Range field is to be ignored: it is absent, malformed, in
// a unit other than bytes, has too many parts, or the size is not known. The
// answer is the one for a request without the field.
var ErrNone = errors.New("byterange: no usable range")

// ErrUnsatisfiable says that the field is well formed and no part of it overlaps
// the object: the answer is 416 with the Content-Range of Unsatisfied.
var ErrUnsatisfiable = errors.New("byterange: no part overlaps the object")

// Range is a run of bytes of an object. In the results of Parse, Length is at
// least 1 and Start+Length is at most the object's size.
type Range struct {
	Start  int64 // offset of the first byte
	Length int64 // number of bytes
}

// Parse returns the ranges of the object of size bytes that the Range field value
// header asks for, clipped to the object, in the order of the field, where ranges
// that overlap or touch are joined at the place of the first. The error is
// ErrNone or ErrUnsatisfiable, never another. A negative size means unknown and
// gives ErrNone; every range of an empty object is unsatisfiable.
func Parse(header string, size int64) ([]Range, error) {
	set, ok := rangeSet(header)
	if !ok || size < 0 {
		return nil, ErrNone
	}
	var ranges []Range
	parts, empty := 0, 0
	for more := true; more; {
		var spec string
		spec, set, more = strings.Cut(set, ",")
		// OWS belongs to the list, not to the range: "0 - 5" stays malformed.
		if parts+empty > 0 {
			spec = strings.TrimLeft(spec, " \t")
		}
		if more {
			spec = strings.TrimRight(spec, " \t")
		}
		if spec == "" {
			if empty++; empty > maxEmpty {
				return nil, ErrNone
			}
			continue
		}
		if parts++; parts > MaxParts {
			return nil, ErrNone
		}
		r, ok := parseSpec(spec, size)
		if !ok {
			return nil, ErrNone
		}
		if r.Length > 0 {
			ranges = join(ranges, r)
		}
	}
	switch {
	case parts == 0:
		return nil, ErrNone
	case len(ranges) == 0:
		return nil, ErrUnsatisfiable
	}
	return ranges, nil
}

// ContentRange returns the field value for the range of an object of size bytes,
// such as "bytes 0-499/1234"; a negative size is written as "*".
func (r Range) ContentRange(size int64) string {
	return string(r.AppendContentRange(make([]byte, 0, 48), size))
}

// AppendContentRange appends what ContentRange returns to dst.
func (r Range) AppendContentRange(dst []byte, size int64) []byte {
	dst = append(dst, "bytes "...)
	dst = strconv.AppendInt(dst, r.Start, 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, r.Start+r.Length-1, 10)
	dst = append(dst, '/')
	if size < 0 {
		return append(dst, '*')
	}
	return strconv.AppendInt(dst, size, 10)
}

// Unsatisfied returns the Content-Range field value of a 416 for an object of
// size bytes: "bytes */1234".
func Unsatisfied(size int64) string {
	return "bytes */" + strconv.FormatInt(size, 10)
}

// rangeSet cuts the unit off the field value. The unit is compared without regard
// to case (RFC 9110, 14.1); around "=" no blank is allowed.
func rangeSet(header string) (string, bool) {
	const unit = "bytes="
	header = strings.Trim(header, " \t")
	if len(header) < len(unit) || !strings.EqualFold(header[:len(unit)], unit) {
		return "", false
	}
	return header[len(unit):], true
}

// parseSpec reads one range-spec. A range that does not overlap the object comes
// back with length 0; ok is false when the spec is malformed.
func parseSpec(spec string, size int64) (r Range, ok bool) {
	first, last, found := strings.Cut(spec, "-")
	if !found {
		return Range{}, false
	}
	if first == "" { // suffix-range: the last n bytes
		n, good := parseNumber(last)
		if !good {
			return Range{}, false
		}
		n = min(n, size)
		return Range{Start: size - n, Length: n}, true
	}
	start, ok := parseNumber(first)
	if !ok {
		return Range{}, false
	}
	end := int64(math.MaxInt64)
	if last != "" {
		if end, ok = parseNumber(last); !ok || lessNumber(last, first) {
			return Range{}, false // RFC 9110, 14.1.1: last before first is invalid
		}
	}
	if start >= size {
		return Range{}, true
	}
	end = min(end, size-1)
	return Range{Start: start, Length: end - start + 1}, true
}

// parseNumber reads 1*DIGIT; numbers past the largest int64 stay there.
func parseNumber(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, true
}

// lessNumber compares two runs of digits by value, whatever their length.
func lessNumber(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// join adds r to ranges, which do not touch one another; whatever touches r
// becomes part of it, at the place of the earliest (RFC 9110, 15.3.7.2).
func join(ranges []Range, r Range) []Range {
	at := -1
	kept := ranges[:0]
	for _, old := range ranges {
		if old.Start > r.Start+r.Length || r.Start > old.Start+old.Length {
			kept = append(kept, old)
			continue
		}
		end := max(old.Start+old.Length, r.Start+r.Length)
		r.Start = min(old.Start, r.Start)
		r.Length = end - r.Start
		if at < 0 {
			at = len(kept)
			kept = append(kept, Range{})
		}
	}
	if at < 0 {
		return append(kept, r)
	}
	kept[at] = r
	return kept
}
