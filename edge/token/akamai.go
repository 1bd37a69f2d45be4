package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// edgeAuth is what an EdgeAuth 2.0 token says, once its HMAC was found right.
type edgeAuth struct {
	begin, end int64
	acl        []string // patterns of paths; nil: the token is for the one path that it was checked with
	ip         string   // "": any client
	id         string
}

// akamaiKey is the key of an HMAC: secrets of this kind are hexadecimal.
func akamaiKey(secret []byte) ([]byte, error) {
	key := make([]byte, hex.DecodedLen(len(secret)))
	if _, err := hex.Decode(key, secret); err != nil || len(key) == 0 {
		return nil, errors.New("akamai: a key is hexadecimal")
	}
	return key, nil
}

// checkAkamai checks a token of the form [ip=…~][st=…~]exp=…~[acl=…~][id=…~][data=…~]hmac=HEX. What is signed is all
// before the hmac, and "url=PATH" where there is no acl, and "salt=…" where the site has one.
func (s *scheme) checkAkamai(v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	t, ok := s.lists.get(memoKey{c.text})
	if !ok { // it may be for one path
		t, ok = s.lists.get(memoKey{c.text, q.Path})
	}
	if !ok {
		var err *Error
		if t, err = s.parseAkamai(q, c.text); err != nil {
			return Grant{}, err
		}
		key := memoKey{c.text}
		if t.acl == nil {
			key[1] = q.Path
		}
		s.lists.put(key, t)
	}
	if err := v.within(t.begin, t.end, now); err != nil {
		return Grant{}, err
	}
	if t.ip != "" && !sameAddr(t.ip, q.Addr) {
		return Grant{}, wrong(Claim, "it is for the client %s", clip(t.ip))
	}
	if t.acl != nil && !t.allows(q.Path) {
		return Grant{}, wrong(Claim, "its acl does not have %s", clip(q.Path))
	}
	return Grant{Kind: Akamai, Subject: t.id, Expires: unix(t.end)}, nil
}

// allows tells whether the acl has a path.
func (t *edgeAuth) allows(path string) bool {
	for _, pattern := range t.acl {
		if glob(pattern, path, '?') {
			return true
		}
	}
	return false
}

func (s *scheme) parseAkamai(q *Request, text string) (*edgeAuth, *Error) {
	signed, sum, ok := strings.Cut(text, "~hmac=")
	var want [sha256.Size]byte
	if !ok || !decodeHex(want[:], sum) {
		return nil, wrong(Malformed, "it does not end in an hmac of 64 hexadecimal digits")
	}
	t, err := parseFields(signed)
	if err != nil {
		return nil, err
	}
	if !s.Keys.secrets(func(secret []byte) bool {
		return hmac.Equal(s.akamaiSum(secret, signed, t.acl == nil, q.Path), want[:])
	}) {
		return nil, wrong(BadSignature, "no key here makes this hmac, for the path %s", clip(q.Path))
	}
	return t, nil
}

// akamaiSum is the HMAC of the fields of a token.
func (s *scheme) akamaiSum(secret []byte, signed string, withURL bool, path string) []byte {
	key, _ := akamaiKey(secret) // checked by New
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	if withURL {
		mac.Write([]byte("~url="))
		mac.Write([]byte(s.escaped(path)))
	}
	if s.Salt != "" {
		mac.Write([]byte("~salt="))
		mac.Write([]byte(s.Salt))
	}
	return mac.Sum(nil)
}

// escaped is a value as Akamai's own issuers write it where "escape early" is on: percent-encoding in lower case, also of
// '~', which separates fields.
func (s *scheme) escaped(text string) string {
	if !s.Escape {
		return text
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// isUnreserved has what encodeURIComponent leaves, less what Akamai's issuers escape too.
func isUnreserved(c byte) bool {
	return c == '-' || c == '.' || c == '_' || c == '!' || c == '(' || c == ')' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func parseFields(signed string) (*edgeAuth, *Error) {
	t := &edgeAuth{}
	seen := map[string]bool{}
	for field := range strings.SplitSeq(signed, "~") {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return nil, wrong(Malformed, "a field has no value")
		}
		if seen[name] {
			return nil, wrong(Duplicate, "the field %.20q stands there twice", name)
		}
		seen[name] = true
		var err error
		switch name {
		case "st":
			t.begin, err = strconv.ParseInt(value, 10, 40)
		case "exp":
			t.end, err = strconv.ParseInt(value, 10, 40)
		case "ip":
			t.ip, err = url.PathUnescape(value)
		case "acl":
			value, err = url.PathUnescape(value)
			t.acl = strings.Split(value, "!")
		case "id":
			t.id, err = url.PathUnescape(value)
		case "data":
		default:
			return nil, wrong(Unsupported, "the field %.20q is unknown", name)
		}
		if err != nil {
			return nil, wrong(Malformed, "the field %s cannot be read", name)
		}
	}
	if t.end <= 0 {
		return nil, wrong(Malformed, "it has no exp")
	}
	return t, nil
}

// addrOf is the zero value for what is no address.
func addrOf(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a.Unmap()
}

func sameAddr(text string, a netip.Addr) bool {
	want, err := netip.ParseAddr(text)
	return err == nil && a.IsValid() && want.Unmap() == a.Unmap()
}
