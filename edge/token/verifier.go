package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Scheme is one kind of token that a site takes, and how.
type Scheme struct {
	Kind     Kind
	Keys     *Keys    // required
	Carriers Carriers // zero: as [DefaultCarriers] says; kinds that are one with the URL have their own

	Issuers   []string // CAT, URISigning: those that are believed; nil: everybody who has a key
	Audiences []string // CAT, URISigning: who this is; a token for others is refused, and so is one for anybody if nil
	Renew     bool     // CAT, URISigning: hand out new tokens where the old ones ask for it

	TTL        time.Duration // TypeA, B, C, F: how long a URL is good after its time; 0: not at all
	TimeQuery  string        // TypeC, F, SecureLink: the parameter with the time; "": KEY2, time, expires
	Hex        bool          // TypeF: the time is hexadecimal
	Salt       string        // Akamai
	Escape     bool          // Akamai: the URL is signed escaped ("escape early")
	Expression string        // SecureLink: what is hashed, with $expires, $uri, $remote_addr, $host and $secret; "": "$expires$uri$remote_addr $secret"
}

// DefaultCarriers are the carriers and names that issuers of a kind use.
func DefaultCarriers(k Kind) Carriers {
	switch k {
	case CAT:
		const name = "Cta-Common-Access-Token"
		return Carriers{Header: name, Cookie: "CTA-Common-Access-Token", Query: "CAT"}
	case TypeA:
		return Carriers{Query: "auth_key"}
	case TypeB:
		return Carriers{Path: true}
	case TypeC:
		return Carriers{Query: "KEY1", Path: true}
	case TypeF:
		return Carriers{Query: "sign"}
	case Akamai:
		return Carriers{Query: "hdnts", Cookie: "hdnts"}
	case CloudFront:
		return Carriers{Query: "Signature", Cookie: "CloudFront-Signature"}
	case URISigning:
		return Carriers{Query: "URISigningPackage", Cookie: "URISigningPackage", Path: true}
	case SecureLink:
		return Carriers{Query: "md5"}
	}
	return Carriers{}
}

// Options of a [Verifier].
type Options struct {
	Schemes []Scheme      // tried in this order; required
	Paths   []string      // those that need a token, '*' for any run of characters; nil: all
	Exempt  []string      // those of them that need none
	Leeway  time.Duration // how far the clocks of issuers may be off, either way; 0: exp and nbf hold to the second
	Tokens  int           // about how many are remembered; 0: 32,768

	// Once notes that a one-time token or a proof is used, for as long as it may be, and tells whether that is for the first
	// time. nil: such tokens, and those whose proofs are good once, are refused, and so they are where there is an error. id is
	// of the token and its issuer, or of the proof and its key.
	Once func(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (first bool, err error)
	// Admit tells whether one more proof of the key with that thumbprint may be remembered for so long: 0, or how long that has
	// to wait. It is asked before Once; where the proof was used before it is called again with -lasting, to give back what was
	// not needed. nil: one key may take all the room that there is.
	Admit func(key [sha256.Size]byte, lasting time.Duration) (wait time.Duration)
	// Seen is Once for tokens with reuse detection, asked when one is seen on this node for the first time: whether none has
	// seen it. nil: a reuse is told where it is one on this node.
	Seen    func(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (first bool, err error)
	Replays *Replays                 // what was seen on this node; nil: a reuse is not told
	Locate  func(a netip.Addr) Place // nil: nobody knows where a client is, and claims about that do not hold
	Chance  func() float64           // from 0 to 1, for catpor; nil: such tokens are refused
}

const defaultTokens = 32 << 10

// Verifier decides whether a request may have what it asks for. Immutable but for what it remembers; safe for concurrent
// use. New keys make a new one: then every token is checked anew.
type Verifier struct {
	options Options
	schemes []*scheme
	codec   codec
}

// scheme is a Scheme in use.
type scheme struct {
	Scheme

	cats     *memo[*cat]
	packages *memo[*uriPackage]
	policies *memo[*policy]
	lists    *memo[*edgeAuth]
	zone     *time.Location // TypeB
}

// New checks the options.
func New(o Options) (*Verifier, error) {
	if len(o.Schemes) == 0 {
		return nil, errors.New("token: Options needs Schemes")
	}
	if len(o.Schemes) > maxSchemes {
		return nil, fmt.Errorf("token: %d schemes are more than %d", len(o.Schemes), maxSchemes)
	}
	if o.Tokens == 0 {
		o.Tokens = defaultTokens
	}
	if o.Leeway < 0 || o.Tokens < 0 {
		return nil, errors.New("token: Leeway and Tokens must not be negative")
	}
	for _, pattern := range slices.Concat(o.Paths, o.Exempt) {
		if !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*") {
			return nil, fmt.Errorf("token: path %q: want it to begin with / or *", pattern)
		}
	}
	o.Schemes, o.Paths, o.Exempt = slices.Clone(o.Schemes), slices.Clone(o.Paths), slices.Clone(o.Exempt)
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	v := &Verifier{options: o, codec: c}
	for i := range o.Schemes {
		s, err := newScheme(o.Schemes[i], o.Tokens)
		if err != nil {
			return nil, fmt.Errorf("token: scheme %d: %w", i+1, err)
		}
		v.schemes = append(v.schemes, s)
	}
	return v, nil
}

func newScheme(o Scheme, tokens int) (*scheme, error) {
	if !slices.Contains(Kinds(), o.Kind) {
		return nil, fmt.Errorf("kind %q is unknown", string(o.Kind))
	}
	if o.Keys == nil || o.Keys.Len() == 0 {
		return nil, fmt.Errorf("%s needs keys", o.Kind)
	}
	if err := o.Keys.Check(o.Kind); err != nil {
		return nil, err
	}
	if o.Carriers == (Carriers{}) {
		o.Carriers = DefaultCarriers(o.Kind)
	}
	if o.TTL < 0 {
		return nil, errors.New("the time to live is negative")
	}
	o.Carriers.Header = http.CanonicalHeaderKey(o.Carriers.Header)
	s := &scheme{Scheme: o}
	switch o.Kind {
	case CAT:
		s.cats = newMemo[*cat](tokens)
	case URISigning:
		s.packages = newMemo[*uriPackage](tokens)
	case CloudFront:
		s.policies = newMemo[*policy](tokens)
	case Akamai:
		s.lists = newMemo[*edgeAuth](tokens)
		for _, k := range o.Keys.list {
			if _, err := akamaiKey(k.Secret); err != nil {
				return nil, err
			}
		}
	case TypeA:
	case TypeB:
		s.zone = time.FixedZone("UTC+8", 8*60*60)
	case TypeC:
		s.TimeQuery = or(o.TimeQuery, "KEY2")
	case TypeF:
		s.TimeQuery = or(o.TimeQuery, "time")
	case SecureLink:
		s.TimeQuery, s.Expression = or(o.TimeQuery, "expires"), or(o.Expression, "$expires$uri$remote_addr $secret")
	}
	for _, k := range o.Keys.list {
		if shared := o.Kind != CAT && o.Kind != URISigning && o.Kind != CloudFront; shared && k.Secret == nil {
			return nil, fmt.Errorf("%s needs secrets, not key pairs", o.Kind)
		}
		if o.Kind == CloudFront && (k.Public == nil || k.ID == "") {
			return nil, errors.New("cloudfront needs public keys with ids")
		}
	}
	return s, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Found are the tokens of a request.
type Found struct {
	schemes [maxSchemes]candidates
	failed  *Error
}

// maxSchemes bounds the schemes of a verifier.
const maxSchemes = 4

// Check is Take and Decide.
func (v *Verifier) Check(ctx context.Context, q *Request, now time.Time) (Grant, error) {
	var found Found
	v.Take(q, &found)
	return v.Decide(ctx, q, &found, now)
}

// Take takes the tokens of all schemes off the request, whether it needs one or not, so that key, upstream, log and other
// rules never see them.
func (v *Verifier) Take(q *Request, found *Found) {
	for i, s := range v.schemes {
		if err := s.find(q, &found.schemes[i]); err != nil && found.failed == nil {
			found.failed = err
		}
	}
}

// Decide tells what the tokens that were taken off a request open. An error is an *[Error].
//
// Hot path. A token that was seen before, alone in its carrier or at an end of the query, costs no allocation.
func (v *Verifier) Decide(ctx context.Context, q *Request, found *Found, now time.Time) (Grant, error) {
	failed := found.failed
	switch {
	case !v.Needs(q.Path) && (q.Loose == "" || !v.Needs(q.Loose)):
		return Grant{}, nil
	case failed != nil:
		return Grant{}, failed
	}
	for i, s := range v.schemes {
		all := &found.schemes[i]
		for k := range all.n {
			grant, err := s.verify(ctx, v, q, &all.list[k], now)
			if err == nil {
				return grant, nil
			}
			if failed == nil {
				failed = err
			}
		}
		if all.long && failed == nil {
			failed = wrong(Malformed, "the token is longer than %d bytes", maxTokenBytes)
		}
	}
	if failed == nil {
		failed = wrong(Missing, "the request carries no token")
	}
	return Grant{}, failed
}

// Parameters lists the query parameters that tokens stand in, so that children of a manifest can be given the same.
func (v *Verifier) Parameters() []string {
	var names []string
	for _, s := range v.schemes {
		if name := s.Carriers.Query; name != "" && (s.Kind == CAT || s.Kind == URISigning || s.Kind == Akamai) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Needs tells whether a canonical path, free of tokens, needs a token.
func (v *Verifier) Needs(path string) bool {
	return (len(v.options.Paths) == 0 || anyGlob(v.options.Paths, path)) && !anyGlob(v.options.Exempt, path)
}

// find takes the tokens of one scheme off the request.
func (s *scheme) find(q *Request, found *candidates) *Error {
	switch s.Kind {
	case CAT, URISigning, Akamai, TypeA:
		return s.Carriers.find(q, found)
	case CloudFront:
		return s.findCloudFront(q, found)
	case TypeB, TypeC, TypeF, SecureLink:
		return s.findSigned(q, found)
	}
	return nil
}

func (s *scheme) verify(ctx context.Context, v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	switch s.Kind {
	case CAT:
		return s.checkCAT(ctx, v, q, c, now)
	case URISigning:
		return s.checkPackage(v, q, c, now)
	case CloudFront:
		return s.checkCloudFront(v, q, c, now)
	case Akamai:
		return s.checkAkamai(v, q, c, now)
	case TypeA, TypeB, TypeC, TypeF:
		return s.checkCloud(v, q, c, now)
	case SecureLink:
		return s.checkSecureLink(v, q, c, now)
	}
	return Grant{}, wrong(Unsupported, "the kind is unknown")
}

// within checks a time span, in Unix seconds; 0 is no bound. A token is over at its end, not after it (RFC 7519, 4.1.4).
func (v *Verifier) within(begin, end int64, now time.Time) *Error {
	leeway := int64(v.options.Leeway / time.Second)
	switch at := now.Unix(); {
	case end != 0 && at >= end+leeway:
		return wrong(Expired, "it ended %s ago", now.Sub(time.Unix(end, 0)).Round(time.Second))
	case begin != 0 && at < begin-leeway:
		return wrong(NotYet, "it begins in %s", time.Unix(begin, 0).Sub(now).Round(time.Second))
	}
	return nil
}

// unix is the time of seconds, the zero time for 0.
func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func anyGlob(patterns []string, s string) bool {
	for _, p := range patterns {
		if glob(p, s, 0) {
			return true
		}
	}
	return false
}

// glob matches '*', any run of characters, and one if it is not 0, any one character. Work is bounded by the product of
// the lengths.
func glob(pattern, s string, one byte) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == s[i] || one != 0 && pattern[p] == one):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
