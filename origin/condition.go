package origin

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// precondition returns 304 or 412 where the request's conditions ask for it, else 0; RFC 9110, 13.2.2.
func precondition(h http.Header, c *content) int {
	modified := c.modified.Truncate(time.Second)
	if match := h.Values("If-Match"); len(match) > 0 {
		if !matches(match, c.etag, false) {
			return http.StatusPreconditionFailed
		}
	} else if at, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && !modified.IsZero() && modified.After(at) {
		return http.StatusPreconditionFailed
	}
	if none := h.Values("If-None-Match"); len(none) > 0 {
		if matches(none, c.etag, true) {
			return http.StatusNotModified
		}
	} else if at, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.IsZero() && !modified.After(at) {
		return http.StatusNotModified
	}
	return 0
}

// matches reports whether one of the entity tags is that of the content, which is strong. A tag in quotes may hold commas,
// so lists are not simply split.
func matches(lines []string, etag string, weak bool) bool {
	for _, line := range lines {
		for line = strings.TrimLeft(line, " \t,"); line != ""; line = strings.TrimLeft(line, " \t,") {
			if line[0] == '*' {
				return true
			}
			rest, isWeak := strings.CutPrefix(line, "W/")
			if !strings.HasPrefix(rest, `"`) {
				break // not a list of entity tags
			}
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				break
			}
			if rest[:end+2] == etag && (weak || !isWeak) {
				return true
			}
			line = rest[end+2:]
		}
	}
	return false
}

// sameAsRange reports whether a Range may be obeyed: there is no If-Range, or it names what we have; RFC 9110, 13.1.5.
func sameAsRange(h http.Header, c *content) bool {
	value := h.Get("If-Range")
	if value == "" {
		return true
	}
	if strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "W/") {
		return value == c.etag
	}
	at, err := http.ParseTime(value)
	return err == nil && !c.modified.IsZero() && c.modified.Truncate(time.Second).Equal(at)
}

// rangeAnswer says what becomes of a Range.
type rangeAnswer int

const (
	rangeIgnored rangeAnswer = iota // the whole is sent: not bytes, not well formed, or several ranges
	rangeGood
	rangeOutside
)

// parseRange reads a Range with a single range; RFC 9110, 14.1.2. Several ranges are answered with the whole, which
// the standard allows: players do not send them.
func parseRange(spec string, size int64) (start, length int64, answer rangeAnswer) {
	unit, set, ok := strings.Cut(spec, "=")
	first, last, ok2 := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok || !ok2 || !strings.EqualFold(unit, "bytes") {
		return 0, 0, rangeIgnored
	}
	if first == "" { // the last n bytes
		n, good := rangeNumber(last)
		switch {
		case !good:
			return 0, 0, rangeIgnored
		case n == 0 || size == 0:
			return 0, 0, rangeOutside
		}
		n = min(n, size)
		return size - n, n, rangeGood
	}
	start, ok = rangeNumber(first)
	end := size - 1
	if last != "" {
		var ok2 bool
		end, ok2 = rangeNumber(last)
		ok = ok && ok2 && end >= start
	}
	switch {
	case !ok:
		return 0, 0, rangeIgnored
	case start >= size:
		return 0, 0, rangeOutside
	}
	return start, min(end, size-1) - start + 1, rangeGood
}

// rangeNumber reads digits only; numbers beyond 63 bits are as good as the largest.
func rangeNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}
