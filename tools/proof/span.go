package proof

import (
	"fmt"
	"strconv"
	"strings"
)

// span is a stretch of a body.
type span struct{ start, length int64 }

func (s span) end() int64 { return s.start + s.length }

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.start, s.end()-1, size)
}

// rangeState says what a Range header asks for.
type rangeState int

const (
	rangeNone rangeState = iota // absent or not valid: to be ignored
	rangeSome
	rangeUnsatisfiable
)

// parseRange reads a Range header (RFC 9110, 14.1.2) for a body of size bytes.
// Ranges outside the body are left out; if none is left the whole is
// unsatisfiable.
func parseRange(header string, size int64) ([]span, rangeState) {
	set, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil, rangeNone
	}
	var spans []span
	valid := false
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.TrimSpace(spec)
		if spec == "" {
			continue
		}
		first, last, ok := strings.Cut(spec, "-")
		if !ok {
			return nil, rangeNone
		}
		s, ok, satisfiable := parseSpec(first, last, size)
		if !ok {
			return nil, rangeNone
		}
		valid = true
		if satisfiable {
			spans = append(spans, s)
		}
	}
	switch {
	case !valid:
		return nil, rangeNone
	case len(spans) == 0:
		return nil, rangeUnsatisfiable
	default:
		return spans, rangeSome
	}
}

func parseSpec(first, last string, size int64) (s span, valid, satisfiable bool) {
	a, errA := strconv.ParseUint(first, 10, 62)
	b, errB := strconv.ParseUint(last, 10, 62)
	switch {
	case first == "" && errB == nil: // suffix
		n := min(int64(b), size)
		return span{size - n, n}, true, n > 0
	case errA != nil || last != "" && (errB != nil || b < a):
		return span{}, false, false
	case int64(a) >= size:
		return span{}, true, false
	case last == "":
		return span{int64(a), size - int64(a)}, true, true
	default:
		return span{int64(a), min(int64(b)+1, size) - int64(a)}, true, true
	}
}

// parseContentRange reads "bytes 0-9/100", "bytes 0-9/*" and "bytes */100"; an
// absent part is -1.
func parseContentRange(v string) (s span, size int64, err error) {
	bad := fmt.Errorf("content-range %q: not valid", v)
	rest, ok := strings.CutPrefix(v, "bytes ")
	if !ok {
		return span{}, 0, bad
	}
	place, total, ok := strings.Cut(rest, "/")
	if !ok {
		return span{}, 0, bad
	}
	size = -1
	if total != "*" {
		n, err := strconv.ParseUint(total, 10, 62)
		if err != nil {
			return span{}, 0, bad
		}
		size = int64(n)
	}
	if place == "*" {
		if size < 0 {
			return span{}, 0, bad
		}
		return span{-1, -1}, size, nil
	}
	first, last, ok := strings.Cut(place, "-")
	a, errA := strconv.ParseUint(first, 10, 62)
	b, errB := strconv.ParseUint(last, 10, 62)
	if !ok || errA != nil || errB != nil || b < a || size >= 0 && int64(b) >= size {
		return span{}, 0, bad
	}
	return span{int64(a), int64(b-a) + 1}, size, nil
}
