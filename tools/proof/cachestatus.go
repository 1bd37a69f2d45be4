package proof

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CacheStatus is one member of a Cache-Status field (RFC 9211).
type CacheStatus struct {
	Cache     string
	Hit       bool
	Fwd       string // reason, "" = not forwarded
	FwdStatus int    // 0 = not said
	TTL       int64  // seconds, may be negative
	HasTTL    bool
	Stored    bool
	Collapsed bool
	Key       string
	Detail    string
}

// Outcome puts the member into one word: hit; stale (a hit past its
// lifetime); collapsed; pass (fwd is bypass, method or request); miss.
func (c CacheStatus) Outcome() string {
	switch {
	case c.Hit && c.HasTTL && c.TTL < 0:
		return "stale"
	case c.Hit:
		return "hit"
	case c.Collapsed:
		return "collapsed"
	case c.Fwd == "bypass" || c.Fwd == "method" || c.Fwd == "request":
		return "pass"
	case c.Fwd != "":
		return "miss"
	default:
		return ""
	}
}

// ParseCacheStatus reads all lines of a Cache-Status field, a structured-field
// list (RFC 9651) of strings or tokens with parameters, and checks that the
// parameters RFC 9211 defines have their types. The member nearest to the
// client is the last. No lines are no members and no error.
func ParseCacheStatus(lines []string) ([]CacheStatus, error) {
	text := strings.Join(lines, ", ")
	p := &fieldParser{rest: strings.Trim(text, " \t")}
	var list []CacheStatus
	if p.rest == "" && len(lines) == 0 {
		return nil, nil
	}
	for {
		c, err := p.member()
		if err != nil {
			return nil, fmt.Errorf("cache-status %q: at %d: %w", text, len(text)-len(p.rest), err)
		}
		list = append(list, c)
		p.space()
		if p.rest == "" {
			return list, nil
		}
		if !p.take(',') {
			return nil, fmt.Errorf("cache-status %q: no comma at %q", text, p.rest)
		}
		p.space()
	}
}

// fieldParser reads structured-field items.
type fieldParser struct{ rest string }

func (p *fieldParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *fieldParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// member reads a name and its parameters.
func (p *fieldParser) member() (CacheStatus, error) {
	name, kind, err := p.item()
	if err != nil {
		return CacheStatus{}, err
	}
	if kind != 's' && kind != 't' {
		return CacheStatus{}, errors.New("the cache is named by neither a string nor a token")
	}
	c := CacheStatus{Cache: name}
	for p.take(';') {
		p.space()
		key := p.key()
		if key == "" {
			return c, errors.New("no parameter name")
		}
		value, kind := "?1", byte('b')
		if p.take('=') {
			if value, kind, err = p.item(); err != nil {
				return c, err
			}
		}
		if err := c.set(key, value, kind); err != nil {
			return c, err
		}
	}
	if c.Hit && c.Fwd != "" {
		return c, errors.New("both hit and fwd") // RFC 9211, 2.1
	}
	return c, nil
}

// set stores one parameter; those RFC 9211 does not know are let pass.
func (c *CacheStatus) set(key, value string, kind byte) error {
	want := map[string]string{
		"hit": "b", "fwd": "t", "fwd-status": "i", "ttl": "i", "stored": "b", "collapsed": "b", "key": "s", "detail": "st",
	}[key]
	if want == "" {
		return nil
	}
	if strings.IndexByte(want, kind) < 0 {
		return fmt.Errorf("%s=%s has the wrong type", key, value)
	}
	number, _ := strconv.ParseInt(value, 10, 64) // item checked it
	switch key {
	case "hit":
		c.Hit = value == "?1"
	case "fwd":
		c.Fwd = value
	case "fwd-status":
		c.FwdStatus = int(number)
	case "ttl":
		c.TTL, c.HasTTL = number, true
	case "stored":
		c.Stored = value == "?1"
	case "collapsed":
		c.Collapsed = value == "?1"
	case "key":
		c.Key = value
	case "detail":
		c.Detail = value
	}
	return nil
}

// key reads a parameter name.
func (p *fieldParser) key() string {
	i := 0
	for i < len(p.rest) && (p.rest[i] >= 'a' && p.rest[i] <= 'z' || p.rest[i] == '*' ||
		i > 0 && (p.rest[i] >= '0' && p.rest[i] <= '9' || strings.IndexByte("_-.", p.rest[i]) >= 0)) {
		i++
	}
	key := p.rest[:i]
	p.rest = p.rest[i:]
	return key
}

// item reads a bare item: 's'tring, 't'oken, 'i'nteger, 'b'oolean.
func (p *fieldParser) item() (value string, kind byte, err error) {
	if p.rest == "" {
		return "", 0, errors.New("nothing there")
	}
	switch c := p.rest[0]; {
	case c == '"':
		value, err = p.quoted()
		return value, 's', err
	case c == '?':
		if len(p.rest) < 2 || p.rest[1] != '0' && p.rest[1] != '1' {
			return "", 0, errors.New("not a boolean")
		}
		value, p.rest = p.rest[:2], p.rest[2:]
		return value, 'b', nil
	case c == '-' || c >= '0' && c <= '9':
		n := 1 + len(p.rest[1:]) - len(strings.TrimLeft(p.rest[1:], "0123456789"))
		value, p.rest = p.rest[:n], p.rest[n:]
		if digits := strings.TrimPrefix(value, "-"); digits == "" || len(digits) > 15 {
			return "", 0, errors.New("not an integer of up to 15 digits")
		}
		return value, 'i', nil
	case c == '*' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		n := 0
		for n < len(p.rest) && isTokenByte(p.rest[n]) {
			n++
		}
		value, p.rest = p.rest[:n], p.rest[n:]
		return value, 't', nil
	default:
		return "", 0, fmt.Errorf("unexpected %q", c)
	}
}

func (p *fieldParser) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\':
			i++
			if i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return "", errors.New("bad escape in a string")
			}
			b.WriteByte(p.rest[i])
		case c < 0x20 || c > 0x7e:
			return "", errors.New("a string with a byte outside of printable ASCII")
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a string without its end")
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}
