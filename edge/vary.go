package edge

import (
	"net/http"
	"slices"
	"strings"

	"weir/cache"
)

// variantKey names the response to a request with these values in the fields
// that Vary lists (RFC 9111, 4.1).
func variantKey(t Target, names []string, h http.Header) cache.Key {
	var b strings.Builder
	b.WriteString(t.KeyText())
	for _, name := range names {
		b.WriteByte('\n')
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(varyValue(name, h))
	}
	return cache.NewKey(b.String())
}

// varyValue normalises a field where that cannot change what it asks for
// (RFC 9111, 4.1): white space at the ends, repeated or beside a comma never
// makes another variant, nor does the order of codings in Accept-Encoding or the
// case of languages in Accept-Language. The order of languages stays: origins
// take it for a preference among equals (RFC 9110, 12.5.4).
func varyValue(name string, h http.Header) string {
	if name == "accept-encoding" {
		return acceptEncoding(h)
	}
	values := h[http.CanonicalHeaderKey(name)]
	if len(values) == 0 {
		return ""
	}
	value := squeeze(strings.Join(values, ","))
	if name == "accept-language" {
		value = strings.ToLower(value) // RFC 5646, 2.1.1: tags match without case
	}
	return value
}

// squeeze removes white space at the ends and beside commas, and makes other
// runs of it one space; what stands in quotes stays as it is.
func squeeze(value string) string {
	var b strings.Builder
	b.Grow(len(value))
	quoted, escaped, space := false, false, false
	var last byte = ','
	for i := range len(value) {
		c := value[i]
		if !quoted && (c == ' ' || c == '\t') {
			space = true
			continue
		}
		if space && c != ',' && last != ',' {
			b.WriteByte(' ')
		}
		space = false
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		b.WriteByte(c)
		last = c
	}
	return b.String()
}

// acceptEncoding lists in order of preference of ours the codings that a client
// takes, of those that origins are known to send.
func acceptEncoding(h http.Header) string {
	values := h["Accept-Encoding"]
	if len(values) == 0 {
		return ""
	}
	text := strings.ToLower(strings.Join(values, ","))
	taken := make([]string, 0, 4)
	for _, coding := range [...]string{"br", "zstd", "gzip", "deflate"} {
		if takesCoding(text, coding) {
			taken = append(taken, coding)
		}
	}
	return strings.Join(taken, ", ")
}

func takesCoding(text, coding string) bool {
	for item := range strings.SplitSeq(text, ",") {
		name, q, _ := strings.Cut(item, ";")
		if strings.TrimSpace(name) != coding {
			continue
		}
		q = strings.ReplaceAll(q, " ", "")
		return q != "q=0" && !(strings.HasPrefix(q, "q=0.") && strings.Trim(q[4:], "0") == "")
	}
	return false
}

// varyNames reads Vary: lower case, sorted, each once. ok is false for "*".
func varyNames(h http.Header) (names []string, ok bool) {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "":
			case "*":
				return nil, false
			default:
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
