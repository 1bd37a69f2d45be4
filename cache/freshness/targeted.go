package freshness

import (
	"strings"
)

// control returns the directives that this cache obeys. targeted tells that they come from a field meant for caches
// like this one: then Cache-Control and Expires do not count (RFC 9213, 2.2). The order is the fields in Targeted, then
// CDN-Cache-Control, then Surrogate-Control where the site asks for it, then Cache-Control.
func (r Response) control() (d Directives, targeted bool) {
	for _, name := range r.Targeted {
		if d, ok := ParseTargeted(r.Header[name]); ok {
			return d, true
		}
	}
	if lines := r.Header["Cdn-Cache-Control"]; len(lines) > 0 {
		if d, ok := ParseTargeted(lines); ok {
			return d, true
		}
	}
	if lines := r.Header["Surrogate-Control"]; len(lines) > 0 && r.Surrogate != "" {
		if d, ok := ParseSurrogate(lines, r.Surrogate); ok {
			return d, true
		}
	}
	return ParseCacheControl(r.Header["Cache-Control"]), false
}

// ParseTargeted reads the lines of a targeted field such as CDN-Cache-Control: a dictionary of RFC 9651, of which the
// last value of a key counts and parameters are ignored. ok is false where the field is empty or cannot be parsed: then
// it must be ignored whole (RFC 9213, 2.1). A lifetime that is no integer counts as 0, as in ParseCacheControl.
func ParseTargeted(lines []string) (d Directives, ok bool) {
	s := scanner{text: strings.Join(lines, ",")}
	s.spaces()
	values := map[string]string{}
	for s.text != "" {
		key, value := s.member()
		if s.broken {
			return Directives{}, false
		}
		values[key] = value
		s.blanks()
		if s.text == "" {
			break
		}
		if !s.take(',') {
			return Directives{}, false
		}
		if s.blanks(); s.text == "" { // RFC 9651, 4.2.2: a trailing comma
			return Directives{}, false
		}
	}
	for key, value := range values {
		switch value {
		case "?0": // RFC 9213, 2.1: a directive without a value is true; false is its absence
		case "?1":
			d.set(key, "", false)
		default:
			d.set(key, value, true)
		}
	}
	return d, len(values) > 0
}

// ParseSurrogate reads Surrogate-Control, the field of the W3C's note on edge architecture (2001) that many content
// systems still send. name is what this cache calls itself in Surrogate-Capability: a directive with another name behind
// ";" is another cache's, one with ours goes before one with none. "max-age=60+30" is stale-while-revalidate=30 in the
// words of today. ok is false where nothing in it is for this cache to obey.
func ParseSurrogate(lines []string, name string) (d Directives, ok bool) {
	var own, all Directives
	for rest := strings.Join(lines, ","); rest != ""; {
		var member string
		member, rest = cutMember(rest)
		directive, target, targeted := strings.Cut(member, ";")
		target = strings.Trim(target, " \t")
		switch {
		case !targeted:
			all.setSurrogate(directive)
		case strings.EqualFold(target, name):
			own.setSurrogate(directive)
		}
	}
	if d = own; d == (Directives{}) {
		d = all
	}
	return d, d != (Directives{})
}

func (d *Directives) setSurrogate(directive string) {
	name, value, hasValue, _ := next(directive)
	switch {
	case strings.EqualFold(name, "no-store"), strings.EqualFold(name, "no-store-remote"):
		d.NoStore = true
	case strings.EqualFold(name, "max-age"):
		lifetime, stale, extended := strings.Cut(value, "+")
		d.set(name, lifetime, hasValue)
		if extended {
			d.set("stale-while-revalidate", stale, true)
		}
	}
}

// scanner takes a dictionary of RFC 9651 apart.
type scanner struct {
	text   string
	broken bool
}

func (s *scanner) spaces() { s.text = strings.TrimLeft(s.text, " ") }
func (s *scanner) blanks() { s.text = strings.TrimLeft(s.text, " \t") }

func (s *scanner) take(c byte) bool {
	if s.text == "" || s.text[0] != c {
		return false
	}
	s.text = s.text[1:]
	return true
}

// member reads a key, its value and its parameters. The value of a bare key is "?1" (RFC 9651, 4.2.2), that of a string
// or a list is empty: no directive takes one.
func (s *scanner) member() (key, value string) {
	key, value = s.key(), "?1"
	if s.take('=') {
		if s.take('(') {
			s.innerList()
			value = ""
		} else {
			value = s.item()
		}
	}
	s.parameters()
	return key, value
}

func (s *scanner) key() string {
	n := 0
	for n < len(s.text) && (isLower(s.text[n]) || s.text[n] == '*' || n > 0 && (isDigit(s.text[n]) || strings.IndexByte("_-.", s.text[n]) >= 0)) {
		n++
	}
	return s.cut(n)
}

// cut takes n bytes; none is an error.
func (s *scanner) cut(n int) string {
	s.broken = s.broken || n == 0
	out := s.text[:n]
	s.text = s.text[n:]
	return out
}

func (s *scanner) parameters() {
	for !s.broken && s.take(';') {
		s.spaces()
		s.key()
		if s.take('=') {
			s.item()
		}
	}
}

func (s *scanner) innerList() {
	for !s.broken {
		s.spaces()
		if s.take(')') {
			return
		}
		s.item()
		s.parameters()
		if s.text == "" || s.text[0] != ' ' && s.text[0] != ')' {
			s.broken = true
		}
	}
}

// item reads a bare item and returns its text where it is a number, a token or a boolean.
func (s *scanner) item() string {
	if s.text == "" {
		s.broken = true
		return ""
	}
	switch c := s.text[0]; {
	case c == '"':
		s.quoted()
		return ""
	case c == '?':
		if !strings.HasPrefix(s.text, "?0") && !strings.HasPrefix(s.text, "?1") {
			s.broken = true
			return ""
		}
		return s.cut(2)
	case c == ':':
		if end := strings.IndexByte(s.text[1:], ':'); end >= 0 {
			s.cut(end + len("::"))
		} else {
			s.broken = true
		}
		return ""
	case c == '-' || isDigit(c):
		return s.number()
	case isLower(c|0x20) || c == '*':
		n := 1
		for n < len(s.text) && (isToken(s.text[n]) || s.text[n] == ':' || s.text[n] == '/') {
			n++
		}
		return s.cut(n)
	}
	s.broken = true
	return ""
}

// number reads an integer of at most 15 digits or a decimal (RFC 9651, 4.2.4).
func (s *scanner) number() string {
	n, dot := 0, -1
	if s.text[0] == '-' {
		n = 1
	}
	first := n
	for ; n < len(s.text) && (isDigit(s.text[n]) || s.text[n] == '.' && dot < 0 && n > first); n++ {
		if s.text[n] == '.' {
			dot = n
		}
	}
	switch {
	case n == first, dot < 0 && n-first > 15, dot >= 0 && (dot-first > 12 || n-dot < 2 || n-dot > 4):
		s.broken = true
	}
	return s.cut(n)
}

func (s *scanner) quoted() {
	for i := 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.text = s.text[i+1:]
			return
		case c == '\\' && i+1 < len(s.text) && (s.text[i+1] == '"' || s.text[i+1] == '\\'):
			i++
		case c == '\\' || c < ' ' || c > '~':
			s.broken = true
			return
		}
	}
	s.broken = true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// expires returns the lines of Expires, which do not count beside a targeted field.
func (r Response) expires(targeted bool) []string {
	if targeted {
		return nil
	}
	return r.Header["Expires"]
}
