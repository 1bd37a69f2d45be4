package cmcd

import (
	"bytes"
	"unicode"
)

// item is a bare item (RFC 8941, 3.3). A decimal is in thousandths.
type item struct {
	kind   kind // integer, decimal, boolean, token or text
	number int64
	text   []byte
}

// reader goes through a structured field.
type reader struct {
	text  []byte
	off   int
	value item // what item has read
}

// parse reads the buffer: a dictionary (RFC 8941, 3.2) in which what is no member is skipped up to the next comma.
func (r *Report) parse() error {
	p := reader{text: r.buffer}
	for {
		p.spaces()
		if p.off < len(p.text) && p.text[p.off] == ',' {
			p.off++
			continue
		}
		if p.off >= len(p.text) {
			break
		}
		name := p.key()
		ok := len(name) > 0 && r.member(&p, name)
		if p.spaces(); !ok || p.off < len(p.text) && p.text[p.off] != ',' {
			if k, known := keyOf(name); known { // also where something stands behind the value
				r.has &^= 1 << k
			}
			r.ignored++
			p.toComma()
		}
	}
	if r.Has(Version) && r.numbers[Version] != 1 && r.numbers[Version] != newest {
		r.Reset()
		return ErrNewer
	}
	if r.Has(NextRange) && r.Has(NextObject) && r.nNext == 1 && len(r.next[0].Range) == 0 {
		r.next[0].Range = r.words[NextRange]
	}
	return nil
}

// member reads the value of a key, if it is there, with its parameters; false where it is malformed or not of its type.
func (r *Report) member(p *reader, name []byte) bool {
	k, known := keyOf(name)
	if p.off >= len(p.text) || p.text[p.off] != '=' {
		p.value = item{kind: boolean, number: 1}
		return p.parameters(nil) && (!known || r.take(k, &p.value))
	}
	p.off++
	if p.off < len(p.text) && p.text[p.off] == '(' {
		return r.list(p, k, known)
	}
	if !p.item() || !p.parameters(nil) {
		return false
	}
	return !known || r.take(k, &p.value)
}

// list reads an inner list (RFC 8941, 3.1.1).
func (r *Report) list(p *reader, k Key, known bool) bool {
	p.off++
	first, fits := true, !known || shapes[k].kind == typed || shapes[k].kind == texts
	for {
		p.spaces()
		if p.off >= len(p.text) {
			return false
		}
		if p.text[p.off] == ')' {
			p.off++
			return p.parameters(nil) && fits && !(first && known)
		}
		if !p.item() {
			return false
		}
		var param parameter
		if !p.parameters(&param) {
			return false
		}
		if known && fits {
			fits = r.add(k, &p.value, &param, first)
		}
		first = false
	}
}

// take sets a value that is no list.
func (r *Report) take(k Key, value *item) bool {
	s := &shapes[k]
	switch s.kind {
	case typed, texts:
		return r.add(k, value, &parameter{}, true)
	case decimal:
		if value.kind == integer {
			value.number, value.kind = value.number*1000, decimal
		}
	case integer:
		if value.kind == decimal { // some players do not round
			value.number, value.kind = value.number/1000, integer
		}
	case token:
		if value.kind == text && isToken(value.text) { // nor do all know tokens
			value.kind = token
		}
	case boolean, text:
	}
	if value.kind != s.kind || len(value.text) > s.limit() || (s.kind == integer || s.kind == decimal) && value.number < 0 && k != PlayheadTime && k != PlaybackRate {
		return false
	}
	r.has |= 1 << k
	r.numbers[k], r.words[k] = value.number, value.text
	return true
}

func (s *shape) limit() int {
	if s.most > 0 {
		return s.most
	}
	return longest
}

// add puts a value into a list.
func (r *Report) add(k Key, value *item, param *parameter, first bool) bool {
	if shapes[k].kind == typed {
		if value.kind == decimal {
			value.number, value.kind = value.number/1000, integer
		}
		if value.kind != integer || value.number < 0 {
			return false
		}
		if first {
			r.types[k] = 0
		}
		r.has |= 1 << k
		r.typed[k][param.of], r.types[k] = value.number, r.types[k]|1<<param.of
		return true
	}
	if value.kind != text || len(value.text) > longest {
		return false
	}
	if k == ErrorCodes {
		if first {
			r.nCodes = 0
		}
		if r.nCodes < nextObjects {
			r.codes[r.nCodes] = value.text
			r.nCodes++
		}
	} else {
		path := unescapeInPlace(value.text)
		if bytes.ContainsFunc(path, unicode.IsControl) {
			return false
		}
		if first {
			r.nNext = 0
		}
		if r.nNext < nextObjects {
			r.next[r.nNext] = Next{Path: path, Range: param.bytes}
			r.nNext++
		}
	}
	r.has |= 1 << k
	return true
}

// unescapeInPlace resolves percent-encoding: the path of nor is encoded within its string (CTA-5004, 3.1).
func unescapeInPlace(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 {
		return s
	}
	return appendUnescaped(s[:0], s)
}

// parameter is what matters of an item's parameters.
type parameter struct {
	of    Type
	bytes []byte // r
}

// parameters reads them (RFC 8941, 3.1.2); nil: they are of no matter.
func (p *reader) parameters(into *parameter) bool {
	for p.off < len(p.text) && p.text[p.off] == ';' {
		p.off++
		p.spaces()
		name := p.key()
		if len(name) == 0 {
			return false
		}
		of := p.value // the item that the parameters are of
		var r []byte
		if p.off < len(p.text) && p.text[p.off] == '=' {
			p.off++
			if !p.item() {
				return false
			}
			if p.value.kind == text {
				r = p.value.text
			}
		}
		p.value = of
		if into == nil {
			continue
		}
		switch string(name) {
		case "v":
			into.of = Video
		case "a":
			into.of = Audio
		case "av":
			into.of = AudioVideo
		case "r":
			into.bytes = r
		default:
			into.of = OtherType
		}
	}
	return true
}

func (p *reader) spaces() {
	for p.off < len(p.text) && (p.text[p.off] == ' ' || p.text[p.off] == '\t') {
		p.off++
	}
}

// toComma skips what could not be read, strings as a whole.
func (p *reader) toComma() {
	quoted := false
	for ; p.off < len(p.text); p.off++ {
		switch c := p.text[p.off]; {
		case c == '\\' && quoted:
			p.off++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return
		}
	}
	p.off = len(p.text)
}

// key reads one; empty: there is none. Capitals are let through, so that they are unknown and not malformed.
func (p *reader) key() []byte {
	start := p.off
	for p.off < len(p.text) {
		c := p.text[p.off]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '*'
		if !letter && (p.off == start || !(c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.')) {
			break
		}
		p.off++
	}
	return p.text[start:p.off]
}

// item reads a bare item into p.value.
func (p *reader) item() bool {
	if p.off >= len(p.text) {
		return false
	}
	switch c := p.text[p.off]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.string()
	case c == '?':
		if p.off+1 >= len(p.text) || p.text[p.off+1] != '0' && p.text[p.off+1] != '1' {
			return false
		}
		p.off += 2
		p.value = item{kind: boolean, number: int64(p.text[p.off-1] - '0')}
		return true
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '*':
		start := p.off
		for p.off < len(p.text) && tokenByte(p.text[p.off]) {
			p.off++
		}
		p.value = item{kind: token, text: p.text[start:p.off]}
		return true
	}
	return false
}

// isToken is RFC 8941, 3.3.4.
func isToken(s []byte) bool {
	if len(s) == 0 || isDigit(s[0]) || !tokenByte(s[0]) {
		return false
	}
	for _, c := range s {
		if !tokenByte(c) {
			return false
		}
	}
	return s[0] == '*' || s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z'
}

// tokenByte is RFC 8941, 3.3.4.
func tokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~', ':', '/':
		return true
	}
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

// string reads an sf-string. Its escapes are resolved where it stands.
func (p *reader) string() bool {
	p.off++
	start, to := p.off, p.off
	for ; p.off < len(p.text); p.off++ {
		c := p.text[p.off]
		switch {
		case c == '"':
			p.off++
			p.value = item{kind: text, text: p.text[start:to]}
			return true
		case c == '\\':
			if p.off++; p.off >= len(p.text) {
				return false
			}
			c = p.text[p.off]
		case c < ' ' || c == 0x7f:
			return false
		}
		if to != p.off {
			p.text[to] = c
		}
		to++
	}
	return false
}

// number reads an sf-integer or sf-decimal (RFC 8941, 3.3.1 and 3.3.2).
func (p *reader) number() bool {
	sign := int64(1)
	if p.text[p.off] == '-' {
		sign = -1
		p.off++
	}
	const most = 15
	start := p.off
	var n int64
	for ; p.off < len(p.text) && isDigit(p.text[p.off]); p.off++ {
		if p.off-start == most {
			return false
		}
		n = n*10 + int64(p.text[p.off]-'0')
	}
	if p.off == start {
		return false
	}
	if p.off >= len(p.text) || p.text[p.off] != '.' {
		p.value = item{kind: integer, number: sign * n}
		return true
	}
	const wholeMost, fraction = 12, 3
	if p.off-start > wholeMost {
		return false
	}
	p.off++
	digits := 0
	for ; p.off < len(p.text) && isDigit(p.text[p.off]); p.off++ {
		if digits++; digits <= fraction { // what is finer is cut: players print what they have
			n = n*10 + int64(p.text[p.off]-'0')
		}
	}
	if digits == 0 {
		return false
	}
	for ; digits < fraction; digits++ {
		n *= 10
	}
	p.value = item{kind: decimal, number: sign * n}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
