package token

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// checkSecureLink checks what nginx's secure_link and secure_link_md5 make: base64url of the MD5 of an expression. It is
// here for those who come from there: MD5 of a text with the secret in it is no MAC.
func (s *scheme) checkSecureLink(v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	var end int64
	if at := c.parts[0]; at != "" {
		n, err := strconv.ParseUint(at, 10, 40)
		if err != nil {
			return Grant{}, wrong(Malformed, "the time %.20q is no number of seconds", at)
		}
		end = int64(n)
	}
	want, err := decode64(c.text)
	if err != nil || len(want) != md5.Size {
		return Grant{}, wrong(Malformed, "the hash is no base64url of an MD5")
	}
	if end == 0 && strings.Contains(s.Expression, "$expires") {
		return Grant{}, wrong(Malformed, "the URL says no time")
	}
	if !s.Keys.secrets(func(secret []byte) bool {
		got := md5.Sum([]byte(expand(s.Expression, q, c.parts[0], secret)))
		return hmac.Equal(got[:], want)
	}) {
		return Grant{}, wrong(BadSignature, "no key here makes this hash of %s", clip(q.Path))
	}
	if err := v.within(0, end, now); err != nil {
		return Grant{}, err
	}
	return Grant{Kind: s.Kind, Expires: unix(end)}, nil
}

// expand fills the variables of an expression. $uri is decoded, as in nginx.
func expand(expression string, q *Request, expires string, secret []byte) string {
	addr := ""
	if q.Addr != (netip.Addr{}) {
		addr = q.Addr.String()
	}
	return strings.NewReplacer("$expires", expires, "$secure_link_expires", expires, "$uri", unescape(q.Path), "$remote_addr", addr,
		"$host", q.Host, "$secret", string(secret)).Replace(expression)
}

// signSecureLink is the query that opens a path.
func (s *scheme) signSecureLink(q *Request, end int64, secret []byte) (sum, expires string) {
	if end != 0 {
		expires = strconv.FormatInt(end, 10)
	}
	hash := md5.Sum([]byte(expand(s.Expression, q, expires, secret)))
	return base64.RawURLEncoding.EncodeToString(hash[:]), expires
}
