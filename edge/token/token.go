package token

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// Reason is why a request is refused; one of a fixed set, for counters.
type Reason string

// The reasons.
const (
	Missing      Reason = "token-missing"     // there is none, and the path needs one
	Malformed    Reason = "token-malformed"   // it cannot be read
	Duplicate    Reason = "token-duplicate"   // a parameter stands there twice
	UnknownKey   Reason = "token-key"         // no key here has its id and algorithm
	BadSignature Reason = "token-signature"   // the key did not sign this, or not for this request
	Expired      Reason = "token-expired"     // its time is over
	NotYet       Reason = "token-not-yet"     // its time has not begun
	Claim        Reason = "token-claim"       // it is good, but not for this request
	Unsupported  Reason = "token-unsupported" // it demands what cannot be checked here
	Replayed     Reason = "token-replayed"    // it is good for one request, which was before
	Unsure       Reason = "token-unsure"      // it is good for one request, and nobody can say whether that was before
	TooEarly     Reason = "token-early-data"  // it is good for one request, and this one may be a replay (RFC 8470)
	TooMany      Reason = "token-proofs"      // its key makes more proofs than may be remembered of one key
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{Missing, Malformed, Duplicate, UnknownKey, BadSignature, Expired, NotYet, Claim, Unsupported, Replayed, Unsure, TooEarly, TooMany}
}

// Error says exactly why a token does not open a request. It is for logs and for whoever mints tokens: a client learns
// the status alone.
type Error struct {
	Reason Reason
	Text   string        // for people; holds no secret and no token
	Answer *Response     // what the token wants to be answered (catif); nil: the usual
	Wait   time.Duration // until it may be asked again; 0: nobody can say
	label  int64         // the claim that did not hold
}

// Error is reason and text.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.Text }

// Response is what a token has an edge answer in place of the usual refusal.
type Response struct {
	Status int // 300 to 599
	Header http.Header
}

func wrong(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Text: fmt.Sprintf(format, args...)}
}

// Request is what tokens are looked for in and held against. Path and Query are canonical, as the cache's key sees
// them; [Verifier.Check] takes tokens off them, and off Header.
type Request struct {
	Scheme    string // http or https
	Host      string // lower case, without port
	Port      uint16 // of the authority; 0: it names none
	Path      string // escaped, begins with '/'
	Loose     string // Path as an origin may read it: what it makes of that may need a token too; "": as it is
	Query     string // without '?'
	Method    string
	Header    http.Header
	Protocol  string     // as in ALPN: http/1.1, h2, h3
	Addr      netip.Addr // of the client; the zero value lies in no network
	ClientKey []byte     // the SubjectPublicKeyInfo of the client's certificate; nil: none
	EarlyData bool       // the request may be a replay
	JA3, JA4  string     // fingerprints of the client's TLS; "": unknown

	token string // that is held against it
}

// RequestOver is what the connection of a request, and its method, say; target, fields and the rest are the caller's.
func RequestOver(r *http.Request) Request {
	q := Request{Scheme: "http", Method: r.Method, Protocol: "http/1.1"}
	if r.ProtoMajor > 1 {
		q.Protocol = "h" + strconv.Itoa(r.ProtoMajor)
	}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		q.Addr = a.Addr().Unmap()
	}
	if r.TLS != nil {
		q.Scheme = "https"
		if len(r.TLS.PeerCertificates) > 0 {
			q.ClientKey = r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo
		}
	}
	return q
}

// Place is where a client is, as far as it is known.
type Place struct {
	Country             string // ISO 3166-1, two capital letters; "" unknown
	System              uint32 // number of the autonomous system; 0 unknown
	Located             bool   // the two below are known
	Latitude, Longitude float64
	Elevated            bool    // Altitude is known
	Altitude            float64 // metres above the sea
}

// Grant is what a request may do, by the token it brought.
type Grant struct {
	Kind    Kind      // "" where no token was needed
	Subject string    // whom the token names (sub, id …); "" nobody
	Key     string    // id of the key that signed it; "" for kinds without
	Expires time.Time // zero: never
	Reused  bool      // a token with reuse detection was seen here before
	Renewal *Renewal  // what to hand to the client; nil: nothing
}

// Renewal is a new token for the client, as the old one asks for (catr, cdnistt).
type Renewal struct {
	Field  string // the response field to add: Set-Cookie, Location or one that the token names
	Value  string
	Status int // of a redirect in place of the response; 0: none
}

// Kind is a way to write tokens.
type Kind string

// The kinds.
const (
	CAT        Kind = "cat"         // Common Access Token (CTA-5007-B)
	TypeA      Kind = "type-a"      // ?auth_key=time-rand-uid-md5, Alibaba's and Tencent's A
	TypeB      Kind = "type-b"      // /YYYYMMDDHHMM/md5/path, in UTC+8
	TypeC      Kind = "type-c"      // /md5/hex-time/path, or both as parameters
	TypeF      Kind = "type-f"      // ?sign=md5&time=time, also Tencent's D
	Akamai     Kind = "akamai"      // EdgeAuth 2.0
	CloudFront Kind = "cloudfront"  // signed URLs and cookies
	URISigning Kind = "uri-signing" // RFC 9246
	SecureLink Kind = "secure-link" // of nginx
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{CAT, TypeA, TypeB, TypeC, TypeF, Akamai, CloudFront, URISigning, SecureLink}
}
