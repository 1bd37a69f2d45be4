package field

import "strings"

// appendName appends s as a token where it is one, else as a string.
func appendName(dst []byte, s string) []byte {
	if isToken(s) {
		return append(dst, s...)
	}
	return appendString(dst, s)
}

// appendString appends s as a string of RFC 8941, 3.3.3: quoted, with \ and "
// escaped. Bytes that such a string cannot hold are percent-encoded.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c > 0x7e:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// isToken reports whether s is a token of RFC 8941, 3.3.4.
func isToken(s string) bool {
	if s == "" || !isAlpha(s[0]) && s[0] != '*' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isTchar(c) && c != ':' && c != '/' {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isTchar reports whether c may stand in a token of RFC 9110, 5.6.2.
func isTchar(c byte) bool {
	return isAlpha(c) || isDigit(c) || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// ValidList reports whether line is well formed as a List of RFC 8941, 3.1, the
// empty one included. A List that was split over field lines is judged line by line.
func ValidList(line string) bool {
	p := listScanner{s: strings.Trim(line, " ")}
	if p.s == "" {
		return true
	}
	for {
		if !p.member() {
			return false
		}
		p.skip(" \t")
		if p.i == len(p.s) {
			return true
		}
		if !p.take(',') {
			return false
		}
		p.skip(" \t")
	}
}

// listScanner walks over a List without keeping anything of it.
type listScanner struct {
	s string
	i int // next byte of s
}

func (p *listScanner) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *listScanner) take(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *listScanner) skip(set string) {
	for p.i < len(p.s) && strings.IndexByte(set, p.s[p.i]) >= 0 {
		p.i++
	}
}

// while passes over the bytes for which ok is true, and returns how many.
func (p *listScanner) while(ok func(byte) bool) int {
	from := p.i
	for p.i < len(p.s) && ok(p.s[p.i]) {
		p.i++
	}
	return p.i - from
}

func (p *listScanner) member() bool {
	if !p.take('(') {
		return p.item()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return p.parameters()
		}
		if !p.item() {
			return false
		}
		if c := p.peek(); c != ' ' && c != ')' {
			return false
		}
	}
}

func (p *listScanner) item() bool { return p.bareItem() && p.parameters() }

func (p *listScanner) parameters() bool {
	for p.take(';') {
		p.skip(" ")
		if !p.key() || p.take('=') && !p.bareItem() {
			return false
		}
	}
	return true
}

func (p *listScanner) key() bool {
	isLower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	if c := p.peek(); !isLower(c) && c != '*' {
		return false
	}
	return p.while(func(c byte) bool {
		return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}) > 0
}

func (p *listScanner) bareItem() bool {
	switch c := p.peek(); {
	case c == '"':
		return p.quoted()
	case c == '-' || isDigit(c):
		return p.number()
	case c == '?':
		p.i++
		return p.take('0') || p.take('1')
	case c == ':':
		return p.binary()
	case isAlpha(c) || c == '*':
		p.while(func(c byte) bool { return isTchar(c) || c == ':' || c == '/' })
		return true
	}
	return false
}

func (p *listScanner) quoted() bool {
	p.i++
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == '"':
			return true
		case c == '\\':
			if !p.take('"') && !p.take('\\') {
				return false
			}
		case c < 0x20 || c > 0x7e:
			return false
		}
	}
	return false
}

// number passes over an Integer of at most 15 digits or a Decimal of at most 12
// and 3.
func (p *listScanner) number() bool {
	p.take('-')
	whole := p.while(isDigit)
	if !p.take('.') {
		return whole >= 1 && whole <= 15
	}
	part := p.while(isDigit)
	return whole >= 1 && whole <= 12 && part >= 1 && part <= 3
}

func (p *listScanner) binary() bool {
	p.i++
	p.while(func(c byte) bool { return isAlpha(c) || isDigit(c) || c == '+' || c == '/' || c == '=' })
	return p.take(':')
}
