package token

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// The URL signing of the clouds hashes secret, path and time with MD5. The construction is no MAC, and MD5 is broken for
// collisions; what protects the URL is that the secret is not known. Use other kinds where there is a choice.

// findSigned takes the parts of kinds that sign the URL itself.
func (s *scheme) findSigned(q *Request, found *candidates) *Error {
	if s.Carriers.Path && s.Kind != SecureLink {
		if c, ok := s.findInPath(q); ok {
			found.add(c)
		}
	}
	if s.Carriers.Query == "" || s.Kind == TypeB {
		return nil
	}
	names, values := [2]string{s.Carriers.Query, s.TimeQuery}, [2]string{}
	err := q.takeParameters(names[:], values[:])
	if values[0] != "" {
		found.add(candidate{text: unescape(values[0]), parts: [5]string{unescape(values[1])}, at: inQuery})
	}
	return err
}

// findInPath takes the first two segments, if they look like a signature of the kind.
func (s *scheme) findInPath(q *Request) (candidate, bool) {
	first, rest, ok := strings.Cut(q.Path[1:], "/")
	second, _, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return candidate{}, false
	}
	sum, at := first, second // TypeC
	if s.Kind == TypeB {
		sum, at = second, first
	}
	if len(sum) != md5.Size*2 || !isHex(sum) || at == "" || len(at) > 16 || !isHex(at) || s.Kind == TypeB && len(at) != len(timeB) {
		return candidate{}, false
	}
	c := candidate{text: sum, parts: [5]string{at}, at: inPath}
	q.Path = q.Path[len(first)+len(second)+2:]
	return c, true
}

const timeB = "200601021504" // in UTC+8

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// checkCloud checks TypeA, B, C and F. Hot path: no allocation for paths under 400 bytes.
func (s *scheme) checkCloud(v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	at, sum := c.parts[0], c.text
	var extra string // TypeA: rand and uid
	if s.Kind == TypeA {
		var ok bool
		if at, extra, sum, ok = splitTypeA(c.text); !ok {
			return Grant{}, wrong(Malformed, "want time-rand-uid-md5")
		}
	}
	begin, ok := s.time(at)
	if !ok {
		return Grant{}, wrong(Malformed, "the time %.20q is none of this kind", at)
	}
	var want [md5.Size]byte
	if len(sum) != hex.EncodedLen(len(want)) {
		return Grant{}, wrong(Malformed, "the hash has %d digits, not 32", len(sum))
	}
	if !decodeHex(want[:], sum) {
		return Grant{}, wrong(Malformed, "the hash is not hexadecimal")
	}
	if !s.Keys.secrets(func(secret []byte) bool {
		var space [512]byte
		text := space[:0]
		switch s.Kind {
		case TypeA:
			text = append(append(append(append(append(append(text, q.Path...), '-'), at...), '-'), extra...), '-')
			text = append(text, secret...)
		case TypeB:
			text = append(append(append(text, secret...), at...), q.Path...)
		default: // TypeC, TypeF
			text = append(append(append(text, secret...), q.Path...), at...)
		}
		got := md5.Sum(text)
		return hmac.Equal(got[:], want[:])
	}) {
		return Grant{}, wrong(BadSignature, "no key here makes this hash of the path %s and the time %s", clip(q.Path), at)
	}
	end := begin + int64(s.TTL/time.Second)
	if err := v.within(0, end, now); err != nil {
		return Grant{}, err
	}
	g := Grant{Kind: s.Kind, Expires: unix(end)}
	if _, uid, ok := strings.Cut(extra, "-"); ok && uid != "0" {
		g.Subject = uid
	}
	return g, nil
}

// splitTypeA takes time-rand-uid-md5 apart; extra is "rand-uid".
func splitTypeA(text string) (at, extra, sum string, ok bool) {
	at, rest, ok := strings.Cut(text, "-")
	last := strings.LastIndexByte(rest, '-')
	if !ok || last < 0 || strings.Count(rest[:last], "-") != 1 {
		return "", "", "", false
	}
	return at, rest[:last], rest[last+1:], true
}

// time reads the time of a URL in Unix seconds.
func (s *scheme) time(text string) (int64, bool) {
	switch {
	case s.Kind == TypeB:
		t, err := time.ParseInLocation(timeB, text, s.zone)
		return t.Unix(), err == nil
	case s.Kind == TypeC || s.Kind == TypeF && s.Hex:
		n, err := strconv.ParseUint(text, 16, 40)
		return int64(n), err == nil
	}
	n, err := strconv.ParseUint(text, 10, 40)
	return int64(n), err == nil
}

// decodeHex decodes exactly len(to) bytes, in either case, without allocation.
func decodeHex(to []byte, s string) bool {
	if len(s) != 2*len(to) || !isHex(s) {
		return false
	}
	for i := range to {
		to[i] = digit(s[2*i])<<4 | digit(s[2*i+1])
	}
	return true
}

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// clip keeps what a client sent from filling a line.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
