package field

import (
	"errors"
	"net/http"
	"strings"
)

// MaxLoopMembers is the number of CDN-Loop members that ParseCDNLoop takes. No honest
// chain of caches is as long.
const MaxLoopMembers = 32

// ErrLoop says that a CDN-Loop field is malformed or too long. RFC 8586 has it
// treated as a loop: a hop that cannot read the field cannot know better.
var ErrLoop = errors.New("field: malformed CDN-Loop")

// ParseCDNLoop returns the identifiers of the CDNs that a request went through, in
// order, without their parameters (RFC 8586, 2). The error is ErrLoop.
func ParseCDNLoop(lines []string) ([]string, error) {
	var ids []string
	for _, line := range lines {
		for line != "" {
			var member string
			var ok bool
			if member, line, ok = cutMember(line); !ok {
				return nil, ErrLoop
			}
			if member = strings.Trim(member, " \t"); member == "" {
				continue // an empty element, RFC 9110, 5.6.1.2
			}
			id, _, _ := strings.Cut(member, ";")
			if id = strings.TrimRight(id, " \t"); !validLoopID(id) || len(ids) == MaxLoopMembers {
				return nil, ErrLoop
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// CDNLoopCount returns how often id, compared without regard to case, went through
// this request before. The error is ErrLoop.
func CDNLoopCount(h http.Header, id string) (int, error) {
	lines := h["Cdn-Loop"]
	if len(lines) == 0 {
		return 0, nil
	}
	ids, err := ParseCDNLoop(lines)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, seen := range ids {
		if strings.EqualFold(seen, pseudonym(id)) {
			n++
		}
	}
	return n, nil
}

// AddCDNLoop puts id behind the members that h already holds, on one line. The
// field is never removed from a request (RFC 8586, 2).
func AddCDNLoop(h http.Header, id string) {
	member := pseudonym(id)
	if lines := h["Cdn-Loop"]; len(lines) > 0 {
		member = strings.Join(lines, ", ") + ", " + member
	}
	h["Cdn-Loop"] = []string{member}
}

// cutMember cuts line at the first comma outside a quoted string. It fails when a
// quoted string does not end.
func cutMember(line string) (member, rest string, ok bool) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return line[:i], line[i+1:], true
		}
	}
	return line, "", !quoted
}

// validLoopID accepts a token or a host with an optional port, which is a superset
// of a token by ":", "[" and "]".
func validLoopID(id string) bool {
	for i := range len(id) {
		if c := id[i]; !isTchar(c) && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return id != ""
}
