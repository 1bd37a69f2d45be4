package edge

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Limits of a request target.
const maxTargetBytes = 8 << 10

// Errors of [ParseTarget]; each is a client's fault.
var (
	errTargetForm   = errors.New("edge: the request target must be a path that begins with '/'")
	errTargetLong   = errors.New("edge: the request target is longer than 8 KiB")
	errTargetByte   = errors.New("edge: the request target holds a byte that must be percent-encoded")
	errTargetEscape = errors.New("edge: the request target holds an invalid percent-encoding")
	errTargetDots   = errors.New("edge: the request target holds a dot segment")
	errHost         = errors.New("edge: the host is not valid")
)

// Target is where a request goes, in the one canonical form that key, route
// and upstream all see.
type Target struct {
	Host  string // lower case, without port
	Path  string // escaped, begins with '/'
	Query string // raw, without '?' and without viewer parameters
}

// ParseTarget brings host and origin-form target to canonical form:
//
//   - host in lower case without port and without a final dot; an IPv6 address in its shortest form
//   - no fragment, backslash, control, space or non-ASCII byte
//   - unreserved characters decoded, all other escapes in upper case (RFC 3986,
//     6.2.2.2), so that /%61 is /a; %00 and %5C refused; | ^ ` { } escaped
//   - no dot segment, escaped or not: a path that needs removing is refused, not
//     repaired, so that nobody down the line can read it otherwise
//   - empty segments kept: //x is a path, never an authority
//   - the query as received, less the parameters that players add for reports
//     (CMCD), which never change the response
//
// Hot path. Allocates nothing when the target is already canonical.
func ParseTarget(host, target string) (Target, error) {
	if len(target) > maxTargetBytes {
		return Target{}, errTargetLong
	}
	if target == "" || target[0] != '/' {
		return Target{}, errTargetForm
	}
	host, err := canonicalHost(host)
	if err != nil {
		return Target{}, err
	}
	path, query, _ := strings.Cut(target, "?")
	if path, err = canonicalPath(path); err != nil {
		return Target{}, err
	}
	if err := checkQuery(query); err != nil {
		return Target{}, err
	}
	return Target{Host: host, Path: path, Query: withoutViewerParameters(query)}, nil
}

// KeyText is the canonical string that the response is stored under.
func (t Target) KeyText() string {
	if t.Query == "" {
		return t.Host + t.Path
	}
	return t.Host + t.Path + "?" + t.Query
}

func canonicalHost(host string) (string, error) {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		h, port, err := net.SplitHostPort(host)
		if err != nil || !isPort(port) {
			return "", errHost
		}
		if name = h; strings.IndexByte(h, ':') >= 0 {
			name = "[" + h + "]"
		}
	}
	if strings.HasPrefix(name, "[") {
		return canonicalLiteral(name)
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || name[0] == '.' || len(name) > 255 || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return "", errHost
	}
	for i := range len(name) {
		if !isHostByte(name[i]) {
			return "", errHost
		}
	}
	return strings.ToLower(name), nil
}

// canonicalLiteral is an IPv6 address in brackets as RFC 5952 writes it, without a zone, which means nothing elsewhere.
func canonicalLiteral(name string) (string, error) {
	a, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
	if err != nil || !a.Is6() || a.Zone() != "" || !strings.HasSuffix(name, "]") {
		return "", errHost
	}
	return "[" + a.String() + "]", nil
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

func isHostByte(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// canonicalPath returns its argument where nothing is to be changed.
func canonicalPath(path string) (string, error) {
	rewrite := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			if !isTargetByte(c) {
				return "", errTargetByte
			}
			rewrite = rewrite || isUnwise(c)
			continue
		}
		v, ok := unescape(path, i)
		if !ok {
			return "", errTargetEscape
		}
		if v == 0 || v == '\\' {
			return "", errTargetByte
		}
		rewrite = rewrite || isUnreserved(v) || lowerHex(path[i+1]) || lowerHex(path[i+2])
		i += 2
	}
	if rewrite {
		path = rewriteEscapes(path)
	}
	if hasDotSegment(path) {
		return "", errTargetDots
	}
	return path, nil
}

func rewriteEscapes(path string) string {
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			v, _ := unescape(path, i)
			if isUnreserved(v) {
				b.WriteByte(v)
			} else {
				writeEscape(&b, v)
			}
			i += 2
		case isUnwise(c):
			writeEscape(&b, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func writeEscape(b *strings.Builder, v byte) {
	const digits = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(digits[v>>4])
	b.WriteByte(digits[v&15])
}

// hasDotSegment looks for "." and "..", also where an encoded slash or a
// parameter would make another server see one.
func hasDotSegment(path string) bool {
	if !strings.Contains(path, ".") {
		return false
	}
	start := 0
	for i := 0; i <= len(path); i++ {
		var width int
		switch {
		case i == len(path), path[i] == '/', path[i] == ';':
			width = 1
		case strings.HasPrefix(path[i:], "%2F"), strings.HasPrefix(path[i:], "%3B"):
			width = 3
		default:
			continue
		}
		if segment := path[start:i]; segment == "." || segment == ".." {
			return true
		}
		start = i + width
		i = start - 1
	}
	return false
}

// loosePath is a canonical path as a server may read it that takes an encoded slash for a slash, several for one, and what
// follows a semicolon in a segment for parameters (RFC 3986, 3.3), as servlet containers do. Most often it is the path itself.
func loosePath(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "%2F") && strings.IndexByte(path, ';') < 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments { // before escapes are resolved, as they do
		segments[i], _, _ = strings.Cut(s, ";")
	}
	path = strings.ReplaceAll(strings.Join(segments, "/"), "%2F", "/")
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

func checkQuery(query string) error {
	for i := 0; i < len(query); i++ {
		if c := query[i]; c != '%' {
			if !isTargetByte(c) {
				return errTargetByte
			}
		} else if _, ok := unescape(query, i); !ok {
			return errTargetEscape
		}
	}
	return nil
}

// viewerParameter is what CTA-5004 players add to a URL: a report about the
// viewer, different at each request.
const viewerParameter = "CMCD"

func withoutViewerParameters(query string) string {
	if !strings.Contains(query, viewerParameter) {
		return query
	}
	kept := make([]string, 0, 8)
	for parameter := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(parameter, "="); name != viewerParameter {
			kept = append(kept, parameter)
		}
	}
	return strings.Join(kept, "&")
}

// isTargetByte accepts printable ASCII but '#', '\' and the quote that no
// client sends bare; the rest of the delimiters are common in the wild.
func isTargetByte(c byte) bool {
	return c > ' ' && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>'
}

// isUnwise tells which of them no URL may hold in its path (RFC 3986, 3.3). Clients send them bare all the same, and
// net/http escapes them on the way to the origin.
func isUnwise(c byte) bool { return c == '|' || c == '^' || c == '`' || c == '{' || c == '}' }

// isUnreserved is RFC 3986, 2.3.
func isUnreserved(c byte) bool {
	return c == '-' || c == '.' || c == '_' || c == '~' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func lowerHex(c byte) bool { return c >= 'a' && c <= 'f' }

func unescape(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	high, ok1 := fromHex(s[i+1])
	low, ok2 := fromHex(s[i+2])
	return high<<4 | low, ok1 && ok2
}

func fromHex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
