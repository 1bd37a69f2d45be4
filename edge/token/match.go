package token

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// The components of a URI (catu) and the ways to match one, by label (CTA-5007-B).
const (
	componentScheme = iota
	componentHost
	componentPort
	componentPath
	componentQuery
	componentParent
	componentFilename
	componentStem
	componentExtension
	components

	matchExact     = 0
	matchPrefix    = 1
	matchSuffix    = 2
	matchContains  = 3
	matchRegex     = 4
	matchSHA256    = -1
	matchSHA512256 = -2
)

// match is a condition on a text.
type match struct {
	how    int64
	text   string // also the bytes of a hash
	regex  *regexp.Regexp
	groups []any // what the groups of regex are to hold: a string, or nil for anything
}

// readMatches reads a map of ways to match; all of them must hold.
func readMatches(value any) ([]match, *Error) {
	list, ok := value.(map[any]any)
	if !ok || len(list) == 0 {
		return nil, wrong(Malformed, "a match is no map")
	}
	var all []match
	for label, v := range list {
		how, ok := label.(int64)
		if !ok {
			return nil, wrong(Malformed, "a way to match is no number")
		}
		m := match{how: how}
		switch how {
		case matchExact, matchPrefix, matchSuffix, matchContains:
			switch v := v.(type) {
			case string:
				m.text = v
			case int64: // a port
				m.text = strconv.FormatInt(v, 10)
			default:
				return nil, wrong(Malformed, "a match is no text")
			}
		case matchRegex:
			if err := m.readRegex(v); err != nil {
				return nil, err
			}
		case matchSHA256, matchSHA512256:
			if err := m.readHash(v); err != nil {
				return nil, err
			}
		default:
			return nil, wrong(Unsupported, "the way to match %d is unknown", how)
		}
		all = append(all, m)
	}
	return all, nil
}

func (m *match) readRegex(v any) *Error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return wrong(Malformed, "a regular expression is no array")
	}
	pattern, ok := list[0].(string)
	if !ok || len(pattern) > maxPatternBytes {
		return wrong(Malformed, "a regular expression is no text of at most %d bytes", maxPatternBytes)
	}
	regex, err := regexp.Compile(pattern) // linear in what it is held against
	if err != nil {
		return wrong(Unsupported, "a regular expression: %v", err)
	}
	m.regex, m.groups = regex, list[1:]
	if len(m.groups) > regex.NumSubexp() {
		return wrong(Malformed, "a regular expression has fewer groups than are to be matched")
	}
	for _, g := range m.groups {
		if _, ok := g.(string); !ok && g != nil {
			return wrong(Malformed, "a group of a regular expression is no text")
		}
	}
	return nil
}

// readHash takes bytes, and the hexadecimal text that some issuers write.
func (m *match) readHash(v any) *Error {
	switch v := v.(type) {
	case []byte:
		m.text = string(v)
	case string:
		b, err := hex.DecodeString(v)
		if err != nil {
			return wrong(Malformed, "a hash is no hexadecimal")
		}
		m.text = string(b)
	}
	if len(m.text) != sha256.Size { // both have 32 bytes
		return wrong(Malformed, "a hash has not 32 bytes")
	}
	return nil
}

// holds allocates for regular expressions with groups alone.
func (m *match) holds(s string) bool {
	switch m.how {
	case matchExact:
		return s == m.text
	case matchPrefix:
		return strings.HasPrefix(s, m.text)
	case matchSuffix:
		return strings.HasSuffix(s, m.text)
	case matchContains:
		return strings.Contains(s, m.text)
	case matchSHA256:
		sum := sha256.Sum256([]byte(s))
		return subtle.ConstantTimeCompare(sum[:], []byte(m.text)) == 1
	case matchSHA512256:
		sum := sha512.Sum512_256([]byte(s))
		return subtle.ConstantTimeCompare(sum[:], []byte(m.text)) == 1
	}
	if len(m.groups) == 0 {
		return m.regex.MatchString(s)
	}
	found := m.regex.FindStringSubmatch(s)
	if found == nil {
		return false
	}
	for i, want := range m.groups {
		if want != nil && want != found[i+1] {
			return false
		}
	}
	return true
}

func allHold(list []match, s string) bool {
	for i := range list {
		if !list[i].holds(s) {
			return false
		}
	}
	return true
}

// component is a part of the request's URI. A port that the URI does not name is "".
func (q *Request) component(which int) string {
	file := q.Path[strings.LastIndexByte(q.Path, '/')+1:]
	switch which {
	case componentScheme:
		return q.Scheme
	case componentHost:
		return q.Host
	case componentPort:
		if q.Port == 0 || q.Scheme == "https" && q.Port == 443 || q.Scheme == "http" && q.Port == 80 {
			return ""
		}
		return strconv.Itoa(int(q.Port))
	case componentPath:
		return q.Path
	case componentQuery:
		return q.Query
	case componentParent:
		return q.Path[:len(q.Path)-len(file)-1]
	case componentFilename:
		return file
	}
	point := strings.LastIndexByte(file, '.')
	if point < 0 {
		point = len(file)
	}
	if which == componentStem {
		return file[:point]
	}
	return file[point:]
}

// componentName is the name of a component in JSON.
func componentNames() []string {
	return []string{"scheme", "host", "port", "path", "query", "parent-path", "filename", "stem", "extension"}
}
