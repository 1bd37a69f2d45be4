package token

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var now = time.Unix(1_700_000_000, 0)

const at = 1_700_000_000

// pairs makes the key pairs of all tests: RSA is slow.
var pairs = sync.OnceValue(func() (p struct {
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
},
) {
	p.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	return p
})

func testKeys() (hs, es, ps *Key) {
	p := pairs()
	return &Key{ID: "h1", Algorithm: "HS256", Secret: []byte("0123456789abcdef0123456789abcdef")},
		&Key{ID: "e1", Algorithm: "ES256", Public: &p.ec.PublicKey, Private: p.ec},
		&Key{ID: "p1", Algorithm: "PS256", Public: &p.rsa.PublicKey, Private: p.rsa}
}

// get is a request for an https URL.
func get(url string) *Request {
	rest := strings.TrimPrefix(url, "https://")
	host, path, _ := strings.Cut(rest, "/")
	path, query, _ := strings.Cut("/"+path, "?")
	return &Request{
		Scheme: "https", Host: host, Path: path, Query: query, Method: "GET", Header: http.Header{}, Protocol: "h3", Addr: netip.MustParseAddr("192.0.2.7"),
	}
}

func verifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// reason is why a request is refused, "" where it is not.
func reason(err error) Reason {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Reason
	}
	return Reason("not an *Error: " + err.Error())
}

func mint(t testing.TB, key *Key, claims string) string {
	t.Helper()
	m, err := Mint(Scheme{Kind: CAT, Keys: NewKeys(key)}, Order{Claims: []byte(claims), URL: *get("https://a/x")})
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// TestSignatures: each algorithm opens, and no other key, id or algorithm does.
func TestSignatures(t *testing.T) {
	t.Parallel()
	hs, es, ps := testKeys()
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	all := NewKeys(hs, es, ps)
	claims := `{"exp": 1700000100, "sub": "viewer"}`
	for _, key := range []*Key{hs, es, ps} {
		text := mint(t, key, claims)
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: all}}})
		g, err := v.Check(t.Context(), get("https://a/x?CAT="+text), now)
		if err != nil || g.Subject != "viewer" || g.Key != key.ID || g.Expires.Unix() != at+100 {
			t.Errorf("%s: got %+v, %v", key.ID, g, err)
		}
		for _, tt := range []struct {
			name string
			keys []*Key
			want Reason
		}{
			{"no such id", []*Key{{ID: "x", Secret: hs.Secret}}, UnknownKey},
			{"the id with a secret", []*Key{{ID: key.ID, Secret: []byte("another secret of thirty-two byte")}}, map[bool]Reason{true: BadSignature, false: UnknownKey}[key == hs]},
			{"the id with another pair", []*Key{{ID: key.ID, Public: &other.PublicKey}}, map[bool]Reason{true: BadSignature, false: UnknownKey}[key == es]},
			{"rotated in behind", []*Key{{ID: "new", Secret: []byte("a newer secret of thirty-two bytes")}, key}, ""},
		} {
			some := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(tt.keys...)}}})
			if _, err := some.Check(t.Context(), get("https://a/x?CAT="+text), now); reason(err) != tt.want {
				t.Errorf("%s, %s: got %v, want %q", key.ID, tt.name, err, tt.want)
			}
		}
		// Any bit changed: never taken. The last character of base64 may hold bits that mean nothing: the decoder is strict.
		raw, _ := base64.RawURLEncoding.DecodeString(text)
		for i := range raw {
			changed := bytes.Clone(raw)
			changed[i] ^= 0x20
			if _, err := v.Check(t.Context(), get("https://a/x?CAT="+base64.RawURLEncoding.EncodeToString(changed)), now); err == nil && !inKeyID(raw, i, key.ID) {
				t.Errorf("%s: byte %d changed, and it is taken", key.ID, i)
			}
		}
	}
	// A public key must not do as a secret: the oldest trick there is.
	public, _ := x509.MarshalPKIXPublicKey(es.Public)
	forged := mint(t, &Key{ID: "e1", Secret: public}, claims)
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(es)}}})
	if _, err := v.Check(t.Context(), get("https://a/x?CAT="+forged), now); reason(err) != UnknownKey {
		t.Errorf("signed with the public key as a secret: got %v", err)
	}
}

// inKeyID tells whether a byte is in the unprotected header, which only says which key to try.
func inKeyID(raw []byte, i int, id string) bool {
	at := bytes.Index(raw, []byte(id))
	return i >= at-3 && i < at+len(id)
}

// TestClaims: each claim, what it opens and what it does not.
func TestClaims(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	certificate := []byte("the key of a certificate")
	hello := func(q *Request) {
		q.JA3, q.JA4 = "ada70206e40642a3e4461f35503241d5", "t13d1516h2_8daaf6152771_e5627efa2ab1"
	}
	sum := sha256.Sum256(certificate)
	at512 := sha256.Sum256([]byte("/vod/a.m4s"))
	places := map[string]Place{
		"192.0.2.7":   {Country: "DE", System: 64500, Located: true, Latitude: 52.52, Longitude: 13.405, Elevated: true, Altitude: 34},
		"2001:db8::7": {Country: "FR"},
	}
	for _, tt := range []struct {
		name, claims, url string
		change            func(q *Request)
		want              Reason
	}{
		{name: "none", claims: `{}`},
		{name: "exp a second away", claims: `{"exp": 1700000001}`},
		{name: "exp now", claims: `{"exp": 1700000000}`, want: Expired},
		{name: "exp a second ago", claims: `{"exp": 1699999999}`, want: Expired},
		{name: "exp 0", claims: `{"exp": 0}`, want: Expired},
		{name: "exp with a fraction", claims: `{"exp": 1700000000.9}`, want: Expired},
		{name: "nbf now", claims: `{"nbf": 1700000000}`},
		{name: "nbf later", claims: `{"nbf": 1700000001}`, want: NotYet},
		{name: "iss", claims: `{"iss": "me"}`},
		{name: "version", claims: `{"catv": 1}`},
		{name: "another version", claims: `{"catv": 2}`, want: Unsupported},
		{name: "host", claims: `{"catu": {"host": {"exact": "a"}}}`},
		{name: "another host", claims: `{"catu": {"host": {"exact": "b"}}}`, want: Claim},
		{name: "scheme and prefix", claims: `{"catu": {"scheme": {"exact": "https"}, "path": {"prefix": "/vod/"}}}`},
		{name: "outside the prefix", claims: `{"catu": {"path": {"prefix": "/live/"}}}`, want: Claim},
		{name: "both of two ways", claims: `{"catu": {"path": {"prefix": "/vod/", "suffix": ".mpd"}}}`, want: Claim},
		{name: "contains", claims: `{"catu": {"path": {"contains": "od/a"}}}`},
		{name: "regex", claims: `{"catu": {"path": {"regex": ["^/vod/[a-z]+\\.m4s$"]}}}`},
		{name: "regex that does not match", claims: `{"catu": {"path": {"regex": ["^/vod/[0-9]+\\.m4s$"]}}}`, want: Claim},
		{name: "regex with groups", claims: `{"catu": {"path": {"regex": ["^/([a-z]+)/(.*)$", "vod", null]}}}`},
		{name: "regex with another group", claims: `{"catu": {"path": {"regex": ["^/([a-z]+)/(.*)$", "live", null]}}}`, want: Claim},
		{name: "sha256", claims: `{"catu": {"path": {"sha256": "` + hex.EncodeToString(at512[:]) + `"}}}`},
		{name: "another sha256", claims: `{"catu": {"path": {"sha256": "` + strings.Repeat("00", 32) + `"}}}`, want: Claim},
		{name: "parent, name, stem, extension", claims: `{"catu": {"parent-path": {"exact": "/vod"}, "filename": {"exact": "a.m4s"}, "stem": {"exact": "a"}, "extension": {"exact": ".m4s"}}}`},
		{name: "another extension", claims: `{"catu": {"extension": {"exact": ".mpd"}}}`, want: Claim},
		{name: "query", claims: `{"catu": {"query": {"exact": "b=1"}}}`, url: "https://a/vod/a.m4s?b=1"},
		{name: "another query", claims: `{"catu": {"query": {"exact": "b=1"}}}`, url: "https://a/vod/a.m4s?b=2", want: Claim},
		{name: "port", claims: `{"catu": {"port": {"exact": "8443"}}}`, change: func(q *Request) { q.Port = 8443 }},
		{name: "another port", claims: `{"catu": {"port": {"exact": "8443"}}}`, want: Claim},
		{name: "another letter case", claims: `{"catu": {"path": {"prefix": "/VOD/"}}}`, want: Claim},
		{name: "method", claims: `{"catm": ["GET", "HEAD"]}`},
		{name: "another method", claims: `{"catm": ["GET"]}`, change: func(q *Request) { q.Method = "HEAD" }, want: Claim},
		{name: "protocol", claims: `{"catalpn": ["h3"]}`},
		{name: "another protocol", claims: `{"catalpn": ["h2", "http/1.1"]}`, want: Claim},
		{name: "field", claims: `{"cath": {"x-device": {"prefix": "tv"}}}`, change: func(q *Request) { q.Header.Set("X-Device", "tv-9") }},
		{name: "no field", claims: `{"cath": {"x-device": {"prefix": "tv"}}}`, want: Claim},
		{name: "network", claims: `{"catnip": ["10.0.0.0/8", "192.0.2.0/24"]}`},
		{name: "address", claims: `{"catnip": ["192.0.2.7"]}`},
		{name: "another network", claims: `{"catnip": ["10.0.0.0/8", "2001:db8::/32"]}`, want: Claim},
		{name: "IPv6", claims: `{"catnip": ["2001:db8::/32"]}`, change: func(q *Request) { q.Addr = netip.MustParseAddr("2001:db8::7") }},
		{name: "system", claims: `{"catnip": [64500]}`},
		{name: "another system", claims: `{"catnip": [64501]}`, want: Claim},
		{name: "country", claims: `{"catgeoiso3166": ["AT", "DE"]}`},
		{name: "another country", claims: `{"catgeoiso3166": ["DE"]}`, change: func(q *Request) { q.Addr = netip.MustParseAddr("2001:db8::7") }, want: Claim},
		{name: "unknown country", claims: `{"catgeoiso3166": ["DE"]}`, change: func(q *Request) { q.Addr = netip.Addr{} }, want: Claim},
		{name: "circle", claims: `{"catgeocoord": [52.5, 13.4, 5000]}`},
		{name: "one of two circles", claims: `{"catgeocoord": [[0, 0, 10], [52.5, 13.4, 5000]]}`},
		{name: "another circle", claims: `{"catgeocoord": [52.5, 13.4, 1000]}`, want: Claim},
		{name: "geohash", claims: `{"geohash": "u33d"}`},
		{name: "another geohash", claims: `{"geohash": ["u33e", "gcpv"]}`, want: Claim},
		{name: "altitude", claims: `{"catgeoalt": [100, 70.5]}`},
		{name: "another altitude", claims: `{"catgeoalt": [100, 50]}`, want: Claim},
		{name: "unknown altitude", claims: `{"catgeoalt": [0, 100]}`, change: func(q *Request) { q.Addr = netip.MustParseAddr("2001:db8::7") }, want: Claim},
		{name: "client key", claims: `{"cattpk": "` + hex.EncodeToString(sum[:]) + `"}`, change: func(q *Request) { q.ClientKey = certificate }},
		{name: "no client key", claims: `{"cattpk": "` + hex.EncodeToString(sum[:]) + `"}`, want: Claim},
		{name: "chance", claims: `{"catpor": 40}`},
		{name: "no luck", claims: `{"catpor": 60}`, want: Claim},
		{name: "settings of a proof without a key", claims: `{"catdpop": {"window": 10}}`, want: Unsupported},
		{name: "a proof inside", claims: `{"and": [{"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}]}`, want: Unsupported},
		{name: "fingerprint", claims: `{"cattprint": {"fingerprint-type": 1}}`, want: Unsupported},
		{name: "JA4", claims: `{"cattprint": {"fingerprint-type": 2, "fingerprint-value": "T13D1516H2_8daaf6152771_e5627efa2ab1"}}`, change: hello},
		{name: "another JA4", claims: `{"cattprint": {"fingerprint-type": 2, "fingerprint-value": "t13d1516h2_8daaf6152771_b186095e22b6"}}`, change: hello, want: Claim},
		{name: "JA3", claims: `{"cattprint": {"fingerprint-type": 0, "fingerprint-value": "ada70206e40642a3e4461f35503241d5"}}`, change: hello},
		{name: "JA3 for JA4", claims: `{"cattprint": {"fingerprint-type": 2, "fingerprint-value": "ada70206e40642a3e4461f35503241d5"}}`, change: hello, want: Claim},
		{name: "a fingerprint in the clear", claims: `{"cattprint": {"fingerprint-type": 0, "fingerprint-value": "ada70206e40642a3e4461f35503241d5"}}`, want: Claim},
		{name: "a fingerprint of headers", claims: `{"cattprint": {"fingerprint-type": 4, "fingerprint-value": "ge11nn05enus_9ed1ff1f7b03_cd8dafe26982"}}`, change: hello, want: Unsupported},
		{name: "a fingerprint that is not", claims: `{"nor": [{"cattprint": {"fingerprint-type": 2, "fingerprint-value": "t13d1516h2_8daaf6152771_b186095e22b6"}}]}`, change: hello},
		{name: "encrypted", claims: `{"enc": "00"}`, want: Unsupported},
		{name: "unknown claim", claims: `{"65000": 1}`},
		{name: "unknown critical claim", claims: `{"65000": 1, "crit": [65000]}`, want: Unsupported},
		{name: "known critical claim", claims: `{"catm": ["GET"], "crit": ["catm"]}`},
		{name: "or", claims: `{"or": [{"catm": ["POST"]}, {"catu": {"host": {"exact": "a"}}}]}`},
		{name: "no or", claims: `{"or": [{"catm": ["POST"]}, {"catu": {"host": {"exact": "b"}}}]}`, want: Claim},
		{name: "and", claims: `{"and": [{"catm": ["GET"]}, {"catu": {"host": {"exact": "b"}}}]}`, want: Claim},
		{name: "nor", claims: `{"nor": [{"catm": ["POST"]}, {"catu": {"host": {"exact": "b"}}}]}`},
		{name: "no nor", claims: `{"nor": [{"catm": ["GET"]}]}`, want: Claim},
		{name: "what cannot be checked does not hold in nor", claims: `{"nor": [{"cattprint": {"fingerprint-type": 1}}]}`, want: Unsupported},
		{name: "nor does it in or within nor", claims: `{"nor": [{"or": [{"cattprint": {"fingerprint-type": 1}}, {"catm": ["POST"]}]}]}`, want: Unsupported},
		{name: "what cannot be checked beside what holds", claims: `{"or": [{"cattprint": {"fingerprint-type": 1}}, {"catm": ["GET"]}]}`},
		{name: "replay inside", claims: `{"and": [{"catreplay": 1}]}`, want: Unsupported},
		{name: "one-time without an end", claims: `{"catreplay": 1}`, want: Unsupported},
	} {
		v := verifier(t, Options{
			Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: never, Chance: func() float64 { return 0.5 },
			Locate: func(a netip.Addr) Place { return places[a.String()] },
		})
		if tt.url == "" {
			tt.url = "https://a/vod/a.m4s"
		}
		q := get(tt.url)
		if tt.change != nil {
			tt.change(q)
		}
		q.Header.Set("Cta-Common-Access-Token", mint(t, key, tt.claims))
		for range 2 { // the second time from memory
			again := *q
			again.Header = q.Header.Clone()
			_, err := v.Check(t.Context(), &again, now)
			if reason(err) != tt.want {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
			}
		}
	}
}

// TestParties: who signed, and for whom.
func TestParties(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	for _, tt := range []struct {
		claims    string
		issuers   []string
		audiences []string
		want      Reason
	}{
		{`{"iss": "me"}`, []string{"you", "me"}, nil, ""},
		{`{"iss": "me"}`, []string{"you"}, nil, Claim},
		{`{}`, []string{"you"}, nil, Claim},
		{`{"aud": "edge"}`, nil, []string{"edge"}, ""},
		{`{"aud": ["other", "edge"]}`, nil, []string{"edge"}, ""},
		{`{"aud": "other"}`, nil, []string{"edge"}, Claim},
		{`{"aud": "other"}`, nil, nil, Claim},
		{`{}`, nil, []string{"edge"}, Claim},
		{`{"iss": "me", "and": [{"catm": ["GET"]}]}`, []string{"me"}, nil, ""},
		{`{"aud": "edge", "and": [{"catm": ["GET"]}]}`, nil, []string{"edge"}, ""},
		{`{"and": [{"aud": "other"}]}`, nil, nil, Claim},
		{`{"nor": [{"aud": "other"}]}`, nil, nil, ""},
		{`{"iss": "me", "or": [{"aud": "other"}, {"iss": "you"}]}`, []string{"me"}, nil, Claim},
	} {
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key), Issuers: tt.issuers, Audiences: tt.audiences}}})
		if _, err := v.Check(t.Context(), get("https://a/x?CAT="+mint(t, key, tt.claims)), now); reason(err) != tt.want {
			t.Errorf("%s for %v, %v: got %v, want %q", tt.claims, tt.issuers, tt.audiences, err, tt.want)
		}
	}
}

// TestLeeway: both bounds move by it, and by no more.
func TestLeeway(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Leeway: 5 * time.Second})
	for shift, want := range map[int]Reason{-6: NotYet, -5: "", 0: "", 14: "", 15: Expired, -3600: NotYet} {
		q := get("https://a/x?CAT=" + mint(t, key, `{"nbf": 1700000000, "exp": 1700000010}`))
		if _, err := v.Check(t.Context(), q, now.Add(time.Duration(shift)*time.Second)); reason(err) != want {
			t.Errorf("%d s: got %v, want %q", shift, err, want)
		}
	}
}

// TestMalformed: what is no token is refused by name, whatever it is.
func TestMalformed(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	message := func(tag uint64, protected map[any]any, unprotected map[any]any, payload any) string {
		p, _ := c.enc.Marshal(protected)
		claims, _ := c.enc.Marshal(payload)
		sum, _ := key.sign("HS256", toSign("MAC0", p, claims))
		var all any = []any{p, unprotected, claims, sum}
		if tag != 0 {
			all = cbor.Tag{Number: tag, Content: all}
		}
		raw, err := c.enc.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	hs := map[any]any{1: 5}
	for _, tt := range []struct {
		name, text string
		want       Reason
	}{
		{"Mac0", message(17, hs, map[any]any{}, map[any]any{}), ""},
		{"untagged", message(0, hs, map[any]any{}, map[any]any{}), ""},
		{"padded", message(17, hs, map[any]any{}, map[any]any{}) + "==", ""},
		{"the tag of Sign1 on a MAC", message(18, hs, map[any]any{}, map[any]any{}), Malformed},
		{"the tag of another message", message(96, hs, map[any]any{}, map[any]any{}), Malformed},
		{"no algorithm", message(17, map[any]any{}, map[any]any{1: 5}, map[any]any{}), Malformed},
		{"HMAC of 64 bits", message(17, map[any]any{1: 4}, map[any]any{}, map[any]any{}), Unsupported},
		{"critical header", message(17, map[any]any{1: 5, 2: []any{99}, 99: 1}, map[any]any{}, map[any]any{}), Unsupported},
		{"known critical header", message(17, map[any]any{1: 5, 2: []any{4}, 4: []byte("h1")}, map[any]any{}, map[any]any{}), ""},
		{"crit that is not protected", message(17, hs, map[any]any{2: []any{4}}, map[any]any{}), Malformed},
		{"key id in the protected header", message(17, map[any]any{1: 5, 4: []byte("h1")}, map[any]any{}, map[any]any{}), ""},
		{"another key id", message(17, hs, map[any]any{4: []byte("h2")}, map[any]any{}), UnknownKey},
		{"claims that are no map", message(17, hs, map[any]any{}, []any{1}), Malformed},
		{"exp that is text", message(17, hs, map[any]any{}, map[any]any{4: "soon"}), Malformed},
		{"exp that is not a number", message(17, hs, map[any]any{}, map[any]any{4: math.NaN()}), Malformed},
		{"exp as a tagged time", message(17, hs, map[any]any{}, map[any]any{4: cbor.Tag{Number: 1, Content: at + 5}}), ""},
		{"exp as a tagged time of before", message(17, hs, map[any]any{}, map[any]any{4: cbor.Tag{Number: 1, Content: at - 5}}), Expired},
		{"a component that is unknown", message(17, hs, map[any]any{}, map[any]any{312: map[any]any{99: map[any]any{0: "x"}}}), Unsupported},
		{"a match that is unknown", message(17, hs, map[any]any{}, map[any]any{312: map[any]any{1: map[any]any{9: "x"}}}), Unsupported},
		{"catu that is empty text", message(17, hs, map[any]any{}, map[any]any{312: ""}), Malformed},
		{"a tag in a tag in a tag", base64.RawURLEncoding.EncodeToString([]byte{0xd8, 61, 0xd8, 61, 0xd8, 61, 0x80}), Malformed},
		{"nothing but a tag", base64.RawURLEncoding.EncodeToString([]byte{0xd8, 61}), Malformed},
		{"no base64", "ยง", Malformed},
		{"base64 of another alphabet", "+/+/", Malformed},
		{"a JWT", "eyJhbGciOiJub25lIn0.e30.", Malformed},
		{"too long", strings.Repeat("A", maxTokenBytes+4), Malformed},
		{"nothing", "", Missing},
	} {
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}})
		q := get("https://a/x")
		q.Header.Set("Cta-Common-Access-Token", tt.text)
		if _, err := v.Check(t.Context(), q, now); reason(err) != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	// The same map key twice: who reads the first and who reads the last do not see the same.
	twice := []byte{0xa2, 0x04, 0x1a, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x01}
	protected, _ := c.enc.Marshal(hs)
	sum, _ := key.sign("HS256", toSign("MAC0", protected, twice))
	raw, _ := c.enc.Marshal([]any{protected, map[any]any{}, twice, sum})
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}})
	if _, err := v.Check(t.Context(), get("https://a/x?CAT="+base64.RawURLEncoding.EncodeToString(raw)), now); reason(err) != Malformed {
		t.Errorf("exp twice: got %v", err)
	}
}

// TestCarriers: where a token may stand, which goes first, and that nothing of it is left for key and upstream.
func TestCarriers(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	good, late := mint(t, key, `{"exp": 1700000100}`), mint(t, key, `{"exp": 1699999999}`)
	for _, tt := range []struct {
		name, url, path, query string
		header                 []string
		cookie                 string // what is left of it
		want                   Reason
	}{
		{name: "alone in the query", url: "https://a/x?CAT=" + good, path: "/x"},
		{name: "first", url: "https://a/x?CAT=" + good + "&b=1&c=2", path: "/x", query: "b=1&c=2"},
		{name: "last", url: "https://a/x?b=1&c=2&CAT=" + good, path: "/x", query: "b=1&c=2"},
		{name: "in the middle", url: "https://a/x?b=1&CAT=" + good + "&c=2&&d", path: "/x", query: "b=1&c=2&&d"},
		{name: "twice", url: "https://a/x?CAT=" + good + "&CAT=" + good, path: "/x", want: Duplicate},
		{name: "twice, once in disguise", url: "https://a/x?CAT=" + good + "&C%41T=" + good, path: "/x", want: Duplicate},
		{name: "another letter case is another parameter", url: "https://a/x?cat=" + good, path: "/x", query: "cat=" + good, want: Missing},
		{name: "field", url: "https://a/x", path: "/x", header: []string{"Cta-Common-Access-Token", good}},
		{name: "field twice", url: "https://a/x", path: "/x", header: []string{"Cta-Common-Access-Token", good, "Cta-Common-Access-Token", good}, want: Duplicate},
		{name: "cookie", url: "https://a/x", path: "/x", header: []string{"Cookie", "a=b; CTA-Common-Access-Token=" + good + "; c=d"}, cookie: "a=b; c=d"},
		{name: "cookie alone", url: "https://a/x", path: "/x", header: []string{"Cookie", "CTA-Common-Access-Token=" + good}},
		{name: "two cookies, the first is of the longer path", url: "https://a/x", path: "/x", header: []string{"Cookie", "CTA-Common-Access-Token=" + good + ";CTA-Common-Access-Token=" + late}},
		{name: "an old one in the URL, a new one in the cookie", url: "https://a/x?CAT=" + late, path: "/x", header: []string{"Cookie", "CTA-Common-Access-Token=" + good}},
		{name: "old ones everywhere", url: "https://a/x?CAT=" + late, path: "/x", header: []string{"Cookie", "CTA-Common-Access-Token=" + late}, want: Expired},
		{name: "a path that needs none is free of it too", url: "https://a/free/x?CAT=junk&b=1", path: "/free/x", query: "b=1"},
		{name: "not for the exempt path", url: "https://a/freely?CAT=junk", path: "/freely", want: Malformed},
	} {
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Exempt: []string{"/free/*"}})
		q := get(tt.url)
		for i := 0; i+1 < len(tt.header); i += 2 {
			q.Header.Add(tt.header[i], tt.header[i+1])
		}
		_, err := v.Check(t.Context(), q, now)
		if reason(err) != tt.want || q.Path != tt.path || q.Query != tt.query || q.Header.Get("Cookie") != tt.cookie || tt.want == "" && q.Header.Get("Cta-Common-Access-Token") != "" {
			t.Errorf("%s: got %v, %s ? %s, cookie %q; want %q, %s ? %s, cookie %q", tt.name, err, q.Path, q.Query, q.Header.Get("Cookie"), tt.want, tt.path, tt.query, tt.cookie)
		}
	}
}

// TestRenewal: the next token has the same claims and a later end, and comes in the way that was asked for.
func TestRenewal(t *testing.T) {
	t.Parallel()
	hs, es, _ := testKeys()
	o := Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(hs, es), Renew: true}}, Once: ever}
	for _, key := range []*Key{hs, es} {
		for _, tt := range []struct {
			name, claims string
			in           string
			field, value string // the value up to the token, "-" where there is none
			status       int
		}{
			{"not yet", `{"exp": 1700000061, "catr": {"type": "header", "expadd": 600}}`, "query", "", "-", 0},
			{"it would end sooner", `{"exp": 1700000300, "catr": {"type": "header", "expadd": 60, "deadline": 600}}`, "query", "", "-", 0},
			{"a redirect for ever", `{"exp": 1700000030, "catr": {"type": "redirect", "expadd": 30}}`, "query", "", "-", 0},
			{"by default a minute before", `{"exp": 1700000060, "catr": {"type": "header", "expadd": 600}}`, "query", "Cta-Common-Access-Token", "", 0},
			{"deadline", `{"exp": 1700000300, "catr": {"type": "cookie", "expadd": 600, "deadline": 300}}`, "query", "Set-Cookie", "CTA-Common-Access-Token=", 0},
			{"names", `{"exp": 1700000010, "catr": {"type": "cookie", "expadd": 600, "cookie-name": "c", "cookie-params": ["Path=/vod/", "Secure"]}}`, "query", "Set-Cookie", "c=", 0},
			{"header name", `{"exp": 1700000010, "catr": {"type": "header", "expadd": 600, "header-name": "X-New", "header-params": ["a=b"]}}`, "query", "X-New", "", 0},
			{"redirect", `{"exp": 1700000010, "catr": {"type": "redirect", "expadd": 600}}`, "cookie", "Location", "https://a/x?b=1&CAT=", 302},
			{"redirect with a status", `{"exp": 1700000010, "catr": {"type": "redirect", "expadd": 600, "status": 307}}`, "cookie", "Location", "https://a/x?b=1&CAT=", 307},
			{"automatic, query", `{"exp": 1700000010, "catr": {"type": "automatic", "expadd": 600}}`, "query", "Location", "https://a/x?b=1&CAT=", 302},
			{"automatic, header", `{"exp": 1700000010, "catr": {"type": "automatic", "expadd": 600}}`, "header", "Cta-Common-Access-Token", "", 0},
			{"automatic, cookie", `{"exp": 1700000010, "catr": {"type": "automatic", "expadd": 600}}`, "cookie", "Set-Cookie", "CTA-Common-Access-Token=", 0},
			{"a network is carried over", `{"exp": 1700000010, "catnip": ["192.0.2.0/24"], "catm": ["GET"], "catr": {"type": "header", "expadd": 600}}`, "header", "Cta-Common-Access-Token", "", 0},
			{"one-time", `{"exp": 1700000010, "cti": "00", "catreplay": 1, "catr": {"type": "header", "expadd": 600}}`, "header", "Cta-Common-Access-Token", "", 0},
		} {
			v := verifier(t, o)
			text := mint(t, key, tt.claims)
			q := get("https://a/x?b=1")
			switch tt.in {
			case "query":
				q.Query += "&CAT=" + text
			case "header":
				q.Header.Set("Cta-Common-Access-Token", text)
			case "cookie":
				q.Header.Set("Cookie", "CTA-Common-Access-Token="+text)
			}
			g, err := v.Check(t.Context(), q, now)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			if tt.value == "-" {
				if g.Renewal != nil {
					t.Errorf("%s: got %+v", tt.name, g.Renewal)
				}
				continue
			}
			if g.Renewal == nil || g.Renewal.Field != tt.field || g.Renewal.Status != tt.status || !strings.HasPrefix(g.Renewal.Value, tt.value) {
				t.Errorf("%s: got %+v, want %s: %s…, %d", tt.name, g.Renewal, tt.field, tt.value, tt.status)
				continue
			}
			next, _, _ := strings.Cut(strings.TrimPrefix(g.Renewal.Value, tt.value), ";")
			e, err := Explain(next)
			if err != nil || e.Claims["exp"] != any(int64(at+600)) {
				t.Errorf("%s: the new token says %v, %v", tt.name, e.Claims, err)
			}
			old, _ := Explain(text)
			delete(old.Claims, "exp")
			delete(e.Claims, "exp")
			if strings.Contains(tt.claims, "catreplay") {
				if old.Claims["cti"] == e.Claims["cti"] {
					t.Errorf("%s: the next one-time token is the same", tt.name)
				}
				delete(old.Claims, "cti")
				delete(e.Claims, "cti")
			}
			a, _ := json.Marshal(old.Claims)
			b, _ := json.Marshal(e.Claims)
			if !bytes.Equal(a, b) {
				t.Errorf("%s: the claims were %s and are %s", tt.name, a, b)
			}
			if g, err := v.Check(t.Context(), get("https://a/x?CAT="+next), now.Add(time.Minute)); err != nil || g.Expires.Unix() != at+600 {
				t.Errorf("%s: the new token: %+v, %v", tt.name, g, err)
			}
		}
	}
}

// ever lets one-time tokens be used as often as they are, never does not.
func ever(context.Context, [sha256.Size]byte, time.Duration) (bool, error)  { return true, nil }
func never(context.Context, [sha256.Size]byte, time.Duration) (bool, error) { return false, nil }

// TestOneTime: one-time tokens open once, by issuer and id; what is refused uses nothing up; where nobody knows they do not
// open.
func TestOneTime(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	used := map[[sha256.Size]byte]time.Duration{}
	o := Options{
		Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Leeway: time.Second,
		Once: func(_ context.Context, id [sha256.Size]byte, lasting time.Duration) (bool, error) {
			if lasting > time.Hour {
				return false, errors.New("nobody answers")
			}
			_, again := used[id]
			used[id] = lasting
			return !again, nil
		},
	}
	v := verifier(t, o)
	check := func(what, claims, method string, early bool, want Reason) {
		t.Helper()
		q := get("https://a/x?CAT=" + mint(t, key, claims))
		q.Method, q.EarlyData = method, early
		if _, err := v.Check(t.Context(), q, now); reason(err) != want {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	one := `{"exp": 1700000010, "cti": "01", "catreplay": 1, "catm": ["GET"]}`
	check("by another method", one, "HEAD", false, Claim)
	check("in early data", one, "GET", true, TooEarly)
	check("first", one, "GET", false, "")
	check("second", one, "GET", false, Replayed)
	check("the same id, other claims", `{"exp": 1700000020, "cti": "01", "catreplay": 1}`, "GET", false, Replayed)
	check("the same id of another issuer", `{"exp": 1700000010, "iss": "x", "cti": "01", "catreplay": 1}`, "GET", false, "")
	check("without an id", `{"exp": 1700000010, "sub": "x", "catreplay": 1}`, "GET", false, "")
	check("without an id again", `{"exp": 1700000010, "sub": "x", "catreplay": 1}`, "GET", false, Replayed)
	text := mint(t, key, `{"exp": 1700000010, "sub": "y", "catreplay": 1}`)
	m, failed := v.codec.unwrap(text)
	if failed != nil {
		t.Fatal(failed)
	}
	m.Unprotected[int64(99)] = "not signed"
	more, err := v.codec.enc.Marshal(&m.envelope)
	if err != nil {
		t.Fatal(err)
	}
	for i, spelling := range []string{text, text + "=", text + "%0A", base64.RawURLEncoding.EncodeToString(more)} { // one token, however it is written
		if _, err := v.Check(t.Context(), get("https://a/x?CAT="+spelling), now); (err == nil) != (i == 0) {
			t.Errorf("spelling %d of a token that was used: got %v", i, err)
		}
	}
	check("nobody knows", `{"exp": 1700009000, "cti": "02", "catreplay": 1}`, "GET", false, Unsure)
	for id, lasting := range used {
		if lasting < 11*time.Second { // exp and the leeway
			t.Errorf("%x is remembered for %s", id[:4], lasting)
		}
	}
	o.Once = nil
	v = verifier(t, o)
	check("nothing remembers", `{"exp": 1700000010, "cti": "03", "catreplay": 1}`, "GET", false, Unsupported)
}

// TestReuseDetection: the second use is told and allowed, as long as there is room, and memory gets free again.
func TestReuseDetection(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	replays := NewReplays(2)
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Replays: replays})
	for _, tt := range []struct {
		id   string
		at   time.Duration
		want bool
	}{
		{"01", 0, false},
		{"01", 0, true},
		{"01", time.Second, true},
		{"02", time.Second, false},
		{"02", time.Second, true},
		{"03", time.Second, false},
		{"03", time.Second, false}, // no room
		{"03", 20 * time.Second, false},
		{"03", 20 * time.Second, true},
	} {
		claims := `{"exp": 1700000010, "cti": "` + tt.id + `", "catreplay": 2}`
		if tt.at > 10*time.Second {
			claims = `{"exp": 1700000100, "cti": "` + tt.id + `", "catreplay": 2}`
		}
		g, err := v.Check(t.Context(), get("https://a/x?CAT="+mint(t, key, claims)), now.Add(tt.at))
		if err != nil || g.Reused != tt.want {
			t.Errorf("%s at %s: got %t, %v, want %t", tt.id, tt.at, g.Reused, err, tt.want)
		}
	}
	if replays.Len() != 1 {
		t.Errorf("%d are remembered, want 1: the others have ended", replays.Len())
	}
}

// TestReuseElsewhere: what another node has seen is a reuse at its first use here, and the others are asked then alone; where
// they do not answer it is told as far as it is known here.
func TestReuseElsewhere(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	shared := onceHere()
	var asked int
	down := false
	node := func() *Verifier {
		return verifier(t, Options{
			Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Replays: NewReplays(10),
			Seen: func(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (bool, error) {
				if asked++; down {
					return nobody(ctx, id, lasting)
				}
				return shared(ctx, id, lasting)
			},
		})
	}
	one, two := node(), node()
	check := func(what string, v *Verifier, id string, want bool, questions int) {
		t.Helper()
		g, err := v.Check(t.Context(), get("https://a/x?CAT="+mint(t, key, `{"exp": 1700000010, "cti": "`+id+`", "catreplay": 2}`)), now)
		if err != nil || g.Reused != want || asked != questions {
			t.Errorf("%s: got %t, %v after %d questions, want %t after %d", what, g.Reused, err, asked, want, questions)
		}
	}
	check("the first use", one, "01", false, 1)
	check("the second, here", one, "01", true, 1)
	check("the third, at another node", two, "01", true, 2)
	check("the fourth, there", two, "01", true, 2)
	down = true
	check("nobody answers", two, "02", false, 3)
	check("nobody answers, again", two, "02", true, 3)
}

// TestAnswer: catif says what to answer where a claim does not hold, with a new token if it wants.
func TestAnswer(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}})
	text := mint(t, key, `{"exp": 1699999999, "catif": {"exp": [307, {"Location": ["https://login/?t=", {"sub": "late"}]}, "h1"], "catu": [451]}}`)
	_, err := v.Check(t.Context(), get("https://a/x?CAT="+text), now)
	var e *Error
	if !errors.As(err, &e) || e.Reason != Expired || e.Answer == nil || e.Answer.Status != 307 {
		t.Fatalf("got %+v", err)
	}
	next, ok := strings.CutPrefix(e.Answer.Header.Get("Location"), "https://login/?t=")
	if x, err := Explain(next); !ok || err != nil || x.Claims["sub"] != "late" || x.Claims["iat"] != any(int64(at)) {
		t.Errorf("got %q, %+v, %v", e.Answer.Header, x, err)
	}
	for _, bad := range []string{
		`{"catif": {"exp": [200]}}`,
		`{"catif": {"exp": [302, {"Location": "x\r\nSet-Cookie: a=b"}]}}`,
		`{"catif": {"exp": [302, {"Transfer-Encoding": "chunked"}]}}`,
		`{"catr": {"type": "cookie", "expadd": 600, "cookie-params": ["a\r\nb"]}}`,
		`{"catr": {"type": "cookie", "expadd": 600, "cookie-name": "a=b; c"}}`,
		`{"catr": {"type": "header", "expadd": 600, "header-name": "Content-Length"}}`,
	} {
		if _, err := ReadClaims([]byte(bad)); err == nil {
			t.Errorf("%s: is minted", bad)
		}
	}
}

// TestKeyFiles: the three forms, and that errors name no key.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	p := pairs()
	private, _ := x509.MarshalPKCS8PrivateKey(p.ec)
	public, _ := x509.MarshalPKIXPublicKey(&p.rsa.PublicKey)
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	b64 := base64.RawURLEncoding.EncodeToString
	d, _ := p.ec.Bytes()
	point, _ := p.ec.PublicKey.Bytes()
	x, y := point[1:33], point[33:]
	for _, tt := range []struct{ name, file, ids, bad string }{
		{name: "lines", file: "# ours\nsecret-one\nk2 hex:00ff\n k3  base64:AAAA \n", ids: ",k2,k3"},
		{name: "PEM", file: "id: a\n" + block("PRIVATE KEY", private) + "# public\nID: b\n" + block("PUBLIC KEY", public), ids: "a,b"},
		{name: "JWKS", file: `{"keys": [{"kty": "oct", "kid": "s", "k": "AAAAAAAAAAAAAAAAAAAAAA"}, {"kty": "EC", "kid": "e", "crv": "P-256", "x": "` + b64(x) + `", "y": "` + b64(y) + `", "d": "` +
			b64(d) + `"}, {"kty": "RSA", "kid": "r", "n": "` + b64(p.rsa.N.Bytes()) + `", "e": "AQAB"}]}`, ids: "s,e,r"},
		{name: "a long comment", file: "# " + strings.Repeat("x", 100_000) + "\nk2 hex:00ff\n", ids: "k2"},
		{name: "a damaged block", file: "id: a\n-----BEGIN PUBLIC KEY-----\n!topsecret\n-----END PUBLIC KEY-----\nid: b\n" + block("PUBLIC KEY", public), bad: "PEM block 1"},
		{name: "a damaged block at the end", file: block("PUBLIC KEY", public) + "-----BEGIN PUBLIC KEY-----\n!topsecret\n", bad: "PEM block 2"},
		{name: "empty", file: "# nothing\n", bad: "there is none"},
		{name: "three words", file: "a b topsecret", bad: "line 1"},
		{name: "no hexadecimal", file: "a hex:topsecret", bad: "line 1"},
		{name: "no key", file: block("X", []byte("topsecret")), bad: "PEM block 1"},
		{name: "not on the curve", file: `{"keys": [{"kty": "EC", "crv": "P-256", "x": "` + b64(x) + `", "y": "` + b64(x) + `"}]}`, bad: "no point"},
		{name: "another curve", file: `{"keys": [{"kty": "EC", "crv": "P-521", "x": "", "y": ""}]}`, bad: "P-256"},
		{name: "short secret", file: `{"keys": [{"kty": "oct", "k": "AAAA"}]}`, bad: "16 bytes"},
		{name: "no JSON", file: `{"keys": [{"kty": "oct", "k": topsecret`, bad: "cannot be read"},
		{name: "unknown type", file: `{"keys": [{"kty": "OKP"}]}`, bad: "OKP"},
	} {
		keys, err := ParseKeys([]byte(tt.file))
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("%s: got %v, want %q and no secret", tt.name, err, tt.bad)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var ids []string
		for _, k := range keys.list {
			ids = append(ids, k.ID)
		}
		if strings.Join(ids, ",") != tt.ids {
			t.Errorf("%s: got %q, want %q", tt.name, ids, tt.ids)
		}
	}
}

// TestShortSecrets: what is signed by HMAC-SHA-256 needs a secret that cannot be guessed, wherever the secret stands; kinds
// whose issuers hand out short ones take them.
func TestShortSecrets(t *testing.T) {
	t.Parallel()
	const short, enough = "topsecret", "0123456789abcdef"
	for _, tt := range []struct{ name, file, bad string }{
		{"the least", "k1 " + enough, ""},
		{"alone", short, "line 1: the secret has 9 bytes"},
		{"the second", "# ours\nk1 " + enough + "\n\nk2 " + short, `line 4: the secret of the key "k2" has 9 bytes`},
		{"in hexadecimal", "k3 hex:00112233445566778899aabbccddee", `line 1: the secret of the key "k3" has 15 bytes`},
		{"in base64", "k4 base64:AAAA", `line 1: the secret of the key "k4" has 3 bytes`},
	} {
		keys, err := ParseKeys([]byte(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range Kinds() {
			want := tt.bad
			switch kind {
			case CAT, URISigning:
			case TypeA, TypeB, TypeC, TypeF, SecureLink:
				want = ""
			default: // Akamai's are hexadecimal, CloudFront's public
				continue
			}
			_, err := New(Options{Schemes: []Scheme{{Kind: kind, Keys: keys}}})
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) ||
				!strings.Contains(err.Error(), "openssl rand") || strings.Contains(err.Error(), short)) {
				t.Errorf("%s, %s: got %v, want %q", tt.name, kind, err, want)
			}
			if _, err := Mint(Scheme{Kind: kind, Keys: keys}, Order{}); want != "" && err == nil {
				t.Errorf("%s: a %s is made with a short secret", tt.name, kind)
			}
		}
	}
}
