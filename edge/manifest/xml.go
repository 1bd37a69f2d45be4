package manifest

import (
	"bytes"
)

// token is a tag of an XML document, with where it stands. Comments, processing instructions and CDATA are none.
type token struct {
	name       []byte // local: without its prefix
	attributes []byte // what stands between the name and the end of the tag
	at         int    // where attributes begin in the document
	start, end int
	opens      bool // <a> or <a/>
	closes     bool // </a> or <a/>
}

// scanner goes through the tags of a document.
type scanner struct {
	text []byte
	off  int
	bad  bool // the document cannot be read on
}

// next returns false at the end, and where the document cannot be read. A document type is never read: it may define
// entities, and no MPD has one.
func (s *scanner) next() (t token, ok bool) {
	for {
		i := bytes.IndexByte(s.text[s.off:], '<')
		if i < 0 {
			s.off = len(s.text)
			return token{}, false
		}
		t.start = s.off + i
		rest := s.text[t.start:]
		switch {
		case bytes.HasPrefix(rest, []byte("<!--")):
			ok = s.skip(t.start+4, "-->")
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			ok = s.skip(t.start+9, "]]>")
		case bytes.HasPrefix(rest, []byte("<?")):
			ok = s.skip(t.start+2, "?>")
		case bytes.HasPrefix(rest, []byte("<!")):
			ok, s.bad = false, true
		default:
			return s.tag(t.start)
		}
		if !ok {
			return token{}, false
		}
	}
}

func (s *scanner) skip(from int, until string) bool {
	i := bytes.Index(s.text[from:], []byte(until))
	if i < 0 {
		s.bad = true
		return false
	}
	s.off = from + i + len(until)
	return true
}

func (s *scanner) tag(start int) (t token, ok bool) {
	t = token{start: start, opens: true}
	off := start + 1
	if off < len(s.text) && s.text[off] == '/' {
		t.opens, t.closes = false, true
		off++
	}
	name := off
	for off < len(s.text) && !isSpace(s.text[off]) && s.text[off] != '>' && s.text[off] != '/' && s.text[off] != '<' {
		off++
	}
	t.name = s.text[name:off]
	if i := bytes.IndexByte(t.name, ':'); i >= 0 {
		t.name = t.name[i+1:]
	}
	t.at = off
	var quote byte
	for ; off < len(s.text); off++ {
		switch c := s.text[off]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '<':
			s.bad = true
			return token{}, false
		case c == '>':
			t.attributes, t.end = s.text[t.at:off], off+1
			if t.opens && off > t.at && s.text[off-1] == '/' {
				t.closes = true
				t.attributes = s.text[t.at : off-1]
			}
			s.off = t.end
			s.bad = len(t.name) == 0
			return t, !s.bad
		}
	}
	s.bad = true
	return token{}, false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// nextXML reads the attribute of a tag that begins at off, with the positions in list. Its value still has its escapes.
func nextXML(list []byte, off int) (a attribute, ok bool) {
	for off < len(list) && isSpace(list[off]) {
		off++
	}
	a.start = off
	for off < len(list) && list[off] != '=' && !isSpace(list[off]) {
		off++
	}
	a.name = list[a.start:off]
	for off < len(list) && isSpace(list[off]) {
		off++
	}
	if len(a.name) == 0 || off >= len(list) || list[off] != '=' {
		return attribute{}, false
	}
	off++
	for off < len(list) && isSpace(list[off]) {
		off++
	}
	if off >= len(list) || list[off] != '"' && list[off] != '\'' {
		return attribute{}, false
	}
	end := bytes.IndexByte(list[off+1:], list[off])
	if end < 0 {
		return attribute{}, false
	}
	a.from, a.to = off+1, off+1+end
	a.end, a.value = a.to+1, list[a.from:a.to]
	if i := bytes.IndexByte(a.name, ':'); i >= 0 { // xlink:href, scte214:supplementalCodecs
		a.name = a.name[i+1:]
	}
	return a, true
}

// xmlAttribute finds the value of one; nil: it is not there.
func xmlAttribute(list []byte, name string) []byte {
	for a, ok := nextXML(list, 0); ok; a, ok = nextXML(list, a.end) {
		if string(a.name) == name {
			return a.value
		}
	}
	return nil
}

// unescapeXML resolves the predefined entities; any other reference stays as it is.
func unescapeXML(text []byte) []byte {
	if bytes.IndexByte(text, '&') < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		c, n := text[0], 1
		for _, e := range entities() {
			if c == '&' && bytes.HasPrefix(text, []byte(e.name)) {
				c, n = e.char, len(e.name)
				break
			}
		}
		out, text = append(out, c), text[n:]
	}
	return out
}

type entity struct {
	name string
	char byte
}

func entities() [8]entity {
	return [...]entity{{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&#38;", '&'}, {"&#x26;", '&'}, {"&#x2F;", '/'}}
}

// appendEscaped writes text so that it may stand in an attribute and between tags.
func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '"':
			dst = append(dst, "&quot;"...)
		case '\'':
			dst = append(dst, "&apos;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
