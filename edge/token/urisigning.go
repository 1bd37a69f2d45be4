package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// uriPackage is what a signed token of RFC 9246 says.
type uriPackage struct {
	key        *Key
	claims     map[string]any // as signed, numbers as json.Number
	issuer     string
	subject    string
	audience   []string
	begin, end int64
	networks   []netip.Prefix // cdniip; nil: any client
	hash       []byte         // cdniuc, hash: of the URI; nil: none
	regex      *regexp.Regexp // cdniuc, regex: of the URI; nil: none
	add        int64          // cdniets: seconds that a new token is good for; 0: no new token
	depth      int            // cdnistd: path segments of the cookie's path
}

// understood are the claims of RFC 9246, 2.1.
func understood() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cdniv", "cdnicrit", "cdniip", "cdniuc", "cdniets", "cdnistt", "cdnistd"}
}

func (s *scheme) checkPackage(v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	key := memoKey{c.text}
	p, ok := s.packages.get(key)
	if !ok {
		var err *Error
		if p, err = s.openPackage(c.text); err != nil {
			return Grant{}, err
		}
		s.packages.put(key, p)
	}
	if err := p.holds(s, v, q, now); err != nil {
		return Grant{}, err
	}
	g := Grant{Kind: URISigning, Subject: p.subject, Key: p.key.ID, Expires: unix(p.end)}
	if s.Renew && p.add > 0 {
		var err error
		if g.Renewal, err = s.renewPackage(p, q, now); err != nil {
			return Grant{}, wrong(UnknownKey, "no new token can be made: %v", err)
		}
	}
	return g, nil
}

func (p *uriPackage) holds(s *scheme, v *Verifier, q *Request, now time.Time) *Error {
	if err := v.within(p.begin, p.end, now); err != nil {
		return err
	}
	if err := s.issued(p.issuer); err != nil {
		return err
	}
	if err := s.addressed(p.audience); err != nil {
		return err
	}
	if p.networks != nil && !slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(q.Addr.Unmap()) }) {
		return wrong(Claim, "the client %s is outside cdniip", q.Addr)
	}
	if p.hash == nil && p.regex == nil {
		return nil
	}
	uri := q.uri()
	if p.hash != nil {
		if sum := sha256.Sum256([]byte(uri)); !bytes.Equal(sum[:], p.hash) {
			return wrong(Claim, "the URI %s is not the one of cdniuc", clip(uri))
		}
	}
	if p.regex != nil && !p.regex.MatchString(uri) {
		return wrong(Claim, "the URI %s does not match cdniuc", clip(uri))
	}
	return nil
}

// issued checks who has signed.
func (s *scheme) issued(by string) *Error {
	if s.Issuers != nil && !slices.Contains(s.Issuers, by) {
		return wrong(Claim, "the issuer %.40q is none of this site's", by)
	}
	return nil
}

// addressed checks for whom. RFC 8392, 3.1.3 and RFC 7519, 4.1.3: who is not in the audience must not take it.
func (s *scheme) addressed(to []string) *Error {
	if to != nil && !slices.ContainsFunc(to, func(a string) bool { return slices.Contains(s.Audiences, a) }) {
		return wrong(Claim, "the audience %.80q has none of this site's names", to)
	}
	if to == nil && s.Audiences != nil {
		return wrong(Claim, "it names no audience, and the site wants one of %.80q", s.Audiences)
	}
	return nil
}

// uri is the URI that the request is for, without its token.
func (q *Request) uri() string {
	var b strings.Builder
	b.Grow(len(q.Scheme) + len(q.Host) + len(q.Path) + len(q.Query) + 12)
	b.WriteString(q.Scheme)
	b.WriteString("://")
	b.WriteString(q.Host)
	if q.Port != 0 && !(q.Scheme == "https" && q.Port == 443) && !(q.Scheme == "http" && q.Port == 80) {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(int(q.Port)))
	}
	b.WriteString(q.Path)
	if q.Query != "" {
		b.WriteByte('?')
		b.WriteString(q.Query)
	}
	return b.String()
}

func (s *scheme) openPackage(text string) (*uriPackage, *Error) {
	payload, key, failed := s.Keys.openJWS(text)
	if failed != nil {
		return nil, failed
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	p := &uriPackage{key: key}
	if decoder.Decode(&p.claims) != nil || p.claims == nil || decoder.More() {
		return nil, wrong(Malformed, "the payload is no JSON object")
	}
	return p, p.read()
}

// read takes the claims apart. RFC 9246, 2.1: a claim that is not well formed refuses the request.
func (p *uriPackage) read() *Error {
	r := jsonReader{claims: p.claims}
	p.issuer, p.subject = r.text("iss"), r.text("sub")
	p.begin, p.end = r.seconds("nbf"), r.seconds("exp")
	r.seconds("iat")
	r.text("jti")
	switch aud := p.claims["aud"].(type) {
	case nil:
	case string:
		p.audience = []string{aud}
	case []any:
		p.audience = []string{}
		for _, a := range aud {
			text, ok := a.(string)
			r.bad = r.bad || !ok
			p.audience = append(p.audience, text)
		}
	default:
		r.bad = true
	}
	if r.bad {
		return wrong(Malformed, "a registered claim is not of its type")
	}
	// RFC 9246, 2.1.8: without cdniv it is version 1.
	if version := r.integer("cdniv"); version > 1 || version == 0 && p.claims["cdniv"] != nil {
		return wrong(Unsupported, "cdniv is not 1")
	}
	for name := range strings.SplitSeq(r.text("cdnicrit"), ",") {
		if name != "" && !slices.Contains(understood(), strings.TrimSpace(name)) {
			return wrong(Unsupported, "cdnicrit names %.40q, which is unknown", name)
		}
	}
	if err := p.readNetwork(r.text("cdniip")); err != nil {
		return err
	}
	if err := p.readContainer(r.text("cdniuc")); err != nil {
		return err
	}
	transport := r.integer("cdnistt")
	p.add, p.depth = r.integer("cdniets"), int(r.integer("cdnistd"))
	switch {
	case r.bad || p.depth < 0 || p.add < 0:
		return wrong(Malformed, "a claim of renewal is no number")
	case transport > 1 || transport < 0:
		return wrong(Unsupported, "cdnistt %d is unknown", transport)
	case transport == 1 && p.add == 0:
		return wrong(Malformed, "cdnistt stands without cdniets") // RFC 9246, 2.1.12
	case transport == 0:
		p.add = 0
	}
	return nil
}

func (p *uriPackage) readNetwork(text string) *Error {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if text == "" {
		return nil
	}
	if strings.Count(text, ".") == 4 && !strings.Contains(text, "/") { // a JWE in compact form has five parts
		return wrong(Unsupported, "cdniip is encrypted")
	}
	network, ok := networkOf(text)
	if !ok {
		return wrong(Malformed, "cdniip %.40q is no address and no network", text)
	}
	p.networks = []netip.Prefix{network}
	return nil
}

// readContainer reads cdniuc (RFC 9246, 2.1.15).
func (p *uriPackage) readContainer(text string) *Error {
	if text == "" {
		return nil
	}
	if name, ok := strings.CutPrefix(text, "hash:"); ok {
		algorithm, sum, _ := strings.Cut(name, ";") // RFC 6920, 5
		hash, err := decode64(sum)
		if algorithm != "sha-256" || err != nil || len(hash) != sha256.Size {
			return wrong(Unsupported, "the hash of cdniuc is no sha-256")
		}
		p.hash = hash
		return nil
	}
	if pattern, ok := strings.CutPrefix(text, "regex:"); ok {
		if len(pattern) > maxPatternBytes {
			return wrong(Unsupported, "the regular expression of cdniuc is longer than %d bytes", maxPatternBytes)
		}
		regex, err := regexp.CompilePOSIX("^(" + pattern + ")$")
		if err != nil {
			return wrong(Malformed, "the regular expression of cdniuc: %v", err)
		}
		p.regex = regex
		return nil
	}
	return wrong(Unsupported, "cdniuc is neither hash: nor regex:")
}

// renewPackage makes the next token of a chain (RFC 9246, 3.1 and 4.4) and the cookie that carries it.
func (s *scheme) renewPackage(p *uriPackage, q *Request, now time.Time) (*Renewal, error) {
	claims := make(map[string]any, len(p.claims))
	for name, value := range p.claims {
		claims[name] = value
	}
	claims["exp"] = now.Unix() + p.add
	delete(claims, "nbf")
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	text, err := s.signer(p.key).makeJWS(payload)
	if err != nil {
		return nil, err
	}
	path := "/"
	for range p.depth { // RFC 9246, 2.1.14: so many segments of the request's path
		end := strings.IndexByte(q.Path[len(path):], '/')
		if end < 0 {
			break
		}
		path = q.Path[:len(path)+end+1]
	}
	params := []string{"Path=" + path, "Max-Age=" + strconv.FormatInt(p.add, 10), "HttpOnly"}
	if q.Scheme == "https" {
		params = append(params, "Secure", "SameSite=None") // pages of others play it
	}
	return &Renewal{Field: "Set-Cookie", Value: cookie(or(s.Carriers.Cookie, "URISigningPackage"), text, params)}, nil
}

// signer is the key that signs anew: the one that did, or the first that can.
func (s *scheme) signer(old *Key) *Key {
	if old.signs() {
		return old
	}
	if key := s.Keys.Signer(""); key != nil {
		return key
	}
	return &Key{}
}

// jsonReader takes typed values out of claims. bad tells that one was of another type.
type jsonReader struct {
	claims map[string]any
	bad    bool
}

func (r *jsonReader) text(name string) string {
	value, ok := r.claims[name].(string)
	r.bad = r.bad || !ok && r.claims[name] != nil
	return value
}

func (r *jsonReader) integer(name string) int64 {
	number, ok := r.claims[name].(json.Number)
	if !ok {
		r.bad = r.bad || r.claims[name] != nil
		return 0
	}
	n, err := number.Int64()
	r.bad = r.bad || err != nil
	return n
}

// seconds reads a NumericDate (RFC 7519, 2): a number that may have a fraction.
func (r *jsonReader) seconds(name string) int64 {
	number, ok := r.claims[name].(json.Number)
	if !ok {
		r.bad = r.bad || r.claims[name] != nil
		return 0
	}
	f, err := number.Float64()
	if err != nil || f < 0 || f > maxSeconds {
		r.bad = true
		return 0
	}
	return max(int64(f), 1) // 0 would be no bound
}

const (
	maxSeconds      = 1 << 40 // tens of thousands of years: arithmetic on it cannot overflow
	maxPatternBytes = 512
)
