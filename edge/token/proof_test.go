package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// prover is a client with a key.
type prover struct {
	key *Key
	jwk map[string]any
}

func newProver(t testing.TB, algorithm string) *prover {
	t.Helper()
	p := pairs()
	enc := base64.RawURLEncoding.EncodeToString
	if algorithm != "ES256" {
		return &prover{
			key: &Key{Algorithm: algorithm, Public: &p.rsa.PublicKey, Private: p.rsa},
			jwk: map[string]any{"kty": "RSA", "n": enc(p.rsa.N.Bytes()), "e": enc(big.NewInt(int64(p.rsa.E)).Bytes())},
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &prover{
		key: &Key{Algorithm: "ES256", Public: &private.PublicKey, Private: private},
		jwk: map[string]any{"kty": "EC", "crv": "P-256", "x": enc(point[1:33]), "y": enc(point[33:])},
	}
}

// thumbprint is jkt, as an issuer with a library of JSON would make it: members sorted, no spaces.
func (p *prover) thumbprint(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(p.jwk)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// prove makes the proof of a request; change may spoil header and claims.
func (p *prover) prove(t testing.TB, q *Request, token, jti string, change func(header, claims map[string]any)) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	header := map[string]any{"typ": "dpop+jwt", "alg": p.key.Algorithm, "jwk": maps.Clone(p.jwk)}
	claims := map[string]any{
		"jti": jti, "htm": q.Method, "htu": q.Scheme + "://" + q.Host + q.Path, "iat": now.Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	if change != nil {
		change(header, claims)
	}
	a, err1 := json.Marshal(header)
	b, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	text := base64.RawURLEncoding.EncodeToString(a) + "." + base64.RawURLEncoding.EncodeToString(b)
	signature, err := p.key.sign(p.key.Algorithm, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestThumbprints: those of RFC 7638, 3.1, and RFC 9449, 6.1.
func TestThumbprints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key  jwk
		want string
	}{
		{jwk{
			Type: "RSA", E: "AQAB",
			N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
		}, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{jwk{
			Type: "EC", Curve: "P-256", X: "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", Y: "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
		}, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		if got := base64.RawURLEncoding.EncodeToString(tt.key.thumbprint()); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.key.Type, got, tt.want)
		}
	}
}

// onceHere remembers what was used, and for no longer than it was told.
func onceHere() func(context.Context, [sha256.Size]byte, time.Duration) (bool, error) {
	var used sync.Map
	return func(_ context.Context, id [sha256.Size]byte, lasting time.Duration) (bool, error) {
		_, again := used.LoadOrStore(id, true)
		return !again && lasting > 0, nil
	}
}

// nobody knows what was used.
func nobody(context.Context, [sha256.Size]byte, time.Duration) (bool, error) {
	return false, errors.New("nobody answers")
}

// TestProof: a token bound to a key opens with a proof of that key for this request and this token, once.
func TestProof(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	o := Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key), Carriers: Carriers{Header: "Authorization", Query: "CAT"}}}, Once: onceHere()}
	v := verifier(t, o)
	client, other := newProver(t, "ES256"), newProver(t, "ES256")
	text := mint(t, key, `{"cnf": {"jkt": "`+client.thumbprint(t)+`"}, "catdpop": {"window": 60}}`)
	const head, body, inner = 0, 1, 2
	set := func(which int, name string, value any) func(header, claims map[string]any) {
		return func(header, claims map[string]any) {
			m := header
			switch which {
			case body:
				m = claims
			case inner:
				m, _ = header["jwk"].(map[string]any)
			}
			if value == nil {
				delete(m, name)
			} else {
				m[name] = value
			}
		}
	}
	for _, tt := range []struct {
		name   string
		by     *prover
		change func(header, claims map[string]any)
		bend   func(q *Request)
		want   Reason
	}{
		{name: "as it is"},
		{name: "of another key", by: other, want: Claim},
		{name: "of another method", change: set(body, "htm", "POST"), want: Claim},
		{name: "of another path", change: set(body, "htu", "https://a/vod/b.m4s"), want: Claim},
		{name: "of another host", change: set(body, "htu", "https://b/vod/a.m4s"), want: Claim},
		{name: "of another scheme", change: set(body, "htu", "http://a/vod/a.m4s"), want: Claim},
		{name: "of another port", change: set(body, "htu", "https://a:444/vod/a.m4s"), want: Claim},
		{name: "of no URL", change: set(body, "htu", "%"), want: Claim},
		{name: "with query and fragment", change: set(body, "htu", "HTTPS://A:443/vod/a.m4s?x=y#z")},
		{name: "at its port", change: set(body, "htu", "https://a:8443/vod/a.m4s"), bend: func(q *Request) { q.Port = 8443 }},
		{name: "for another token", change: set(body, "ath", "AAAA"), want: Claim},
		{name: "for no token", change: set(body, "ath", nil), want: Claim},
		{name: "without an id", change: set(body, "jti", nil), want: Claim},
		{name: "without a time", change: set(body, "iat", nil), want: Claim},
		{name: "old", change: set(body, "iat", now.Unix()-60), want: Claim},
		{name: "just young enough", change: set(body, "iat", now.Unix()-59)},
		{name: "of the future", change: set(body, "iat", now.Unix()+60), want: Claim},
		{name: "of a clock that is ahead", change: set(body, "iat", now.Unix()+59)},
		{name: "of no number", change: set(body, "iat", "now"), want: Claim},
		{name: "of another type", change: set(head, "typ", "JWT"), want: Claim},
		{name: "without a signature", change: set(head, "alg", "none"), want: Claim},
		{name: "by a secret", change: set(head, "alg", "HS256"), want: Claim},
		{name: "by another algorithm", change: set(head, "alg", "PS256"), want: Claim},
		{name: "critical", change: set(head, "crit", []string{"b64"}), want: Claim},
		{name: "without a key", change: set(head, "jwk", nil), want: Claim},
		{name: "with a private key", change: set(inner, "d", "AAAA"), want: Claim},
		{name: "on another curve", change: set(inner, "crv", "P-384"), want: Claim},
		{name: "off the curve", change: set(inner, "x", strings.Repeat("A", 43)), want: Claim},
		{name: "none", bend: func(q *Request) { delete(q.Header, "Dpop") }, want: Claim},
		{name: "two", bend: func(q *Request) { q.Header["Dpop"] = append(q.Header["Dpop"], q.Header["Dpop"]...) }, want: Claim},
		{name: "of two parts", bend: func(q *Request) { q.Header["Dpop"][0] = "a.b" }, want: Claim},
		{name: "with a wrong signature", bend: func(q *Request) { q.Header["Dpop"][0] = spoil(q.Header["Dpop"][0]) }, want: Claim},
	} {
		q := get("https://a/vod/a.m4s")
		q.Header.Set("Authorization", "DPoP "+text)
		by := client
		if tt.by != nil {
			by = tt.by
		}
		q.Header.Set("DPoP", by.prove(t, q, text, tt.name, tt.change))
		if tt.bend != nil {
			tt.bend(q)
		}
		again := *q
		again.Header = q.Header.Clone()
		_, err := v.Check(t.Context(), q, now)
		if reason(err) != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if tt.want != "" {
			continue
		}
		if q.Header["Dpop"] != nil {
			t.Errorf("%s: the proof goes on to the origin", tt.name)
		}
		if _, err := v.Check(t.Context(), &again, now); reason(err) != Replayed {
			t.Errorf("%s, twice: got %v, want %q", tt.name, err, Replayed)
		}
	}
}

// spoil changes one character of the signature in the middle.
func spoil(text string) string {
	i := len(text) - 20
	c := byte('A')
	if text[i] == c {
		c = 'B'
	}
	return text[:i] + string(c) + text[i+1:]
}

// TestProofSettings: catdpop sets window and use, and what it says that is unknown refuses.
func TestProofSettings(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	client := newProver(t, "PS256")
	for i, tt := range []struct {
		settings string // of cnf and catdpop
		age      time.Duration
		once     func(context.Context, [sha256.Size]byte, time.Duration) (bool, error)
		want     [2]Reason
	}{
		{`"cnf": {"jkt": "%s"}`, 299 * time.Second, onceHere(), [2]Reason{"", Replayed}},
		{`"cnf": {"jkt": "%s"}`, 300 * time.Second, onceHere(), [2]Reason{Claim, Claim}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"jti": 0}`, 0, nil, [2]Reason{"", ""}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"jti": 1}`, 0, onceHere(), [2]Reason{"", Replayed}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"jti": 1}`, 0, nobody, [2]Reason{Unsure, Unsure}},
		{`"cnf": {"jkt": "%s"}`, 0, nil, [2]Reason{Unsupported, Unsupported}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"jti": 2}`, 0, onceHere(), [2]Reason{Unsupported, Unsupported}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"window": 0}`, 0, onceHere(), [2]Reason{Unsupported, Unsupported}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"window": 3601}`, 0, onceHere(), [2]Reason{Unsupported, Unsupported}},
		{`"cnf": {"jkt": "%s"}, "catdpop": {"crit": [9]}`, 0, onceHere(), [2]Reason{Unsupported, Unsupported}},
	} {
		text := mint(t, key, fmt.Sprintf("{"+tt.settings+"}", client.thumbprint(t)))
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: tt.once})
		for use, want := range tt.want {
			q := get("https://a/x?CAT=" + text)
			q.Header.Set("DPoP", client.prove(t, q, text, "1", func(_, claims map[string]any) { claims["iat"] = now.Add(-tt.age).Unix() }))
			if _, err := v.Check(t.Context(), q, now); reason(err) != want {
				t.Errorf("%d %s, use %d: got %v, want %q", i, tt.settings, use+1, err, want)
			}
		}
	}
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	for name, cnf := range map[string]any{
		"an encrypted key": map[any]any{int64(2): []byte("x")}, "a key id beside it": map[any]any{int64(323): make([]byte, 32), int64(3): make([]byte, 32)}, "a number": int64(1),
		"nothing": map[any]any{}, "a short thumbprint": map[any]any{int64(323): make([]byte, 20)},
	} {
		text, err := c.seal(key, map[any]any{int64(claimConfirm): cnf})
		if err != nil {
			t.Fatal(err)
		}
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: onceHere()})
		if _, err := v.Check(t.Context(), get("https://a/x?CAT="+text), now); reason(err) != Unsupported && reason(err) != Malformed {
			t.Errorf("cnf with %s: got %v", name, err)
		}
	}
}

// TestProofsOfOneKey: a key that makes more proofs than may be remembered of it waits, and no other key does; proofs that are
// repeated cost it nothing.
func TestProofsOfOneKey(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	const most = 5
	room := map[[sha256.Size]byte]time.Duration{}
	v := verifier(t, Options{
		Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: onceHere(),
		Admit: func(key [sha256.Size]byte, lasting time.Duration) time.Duration {
			if lasting > 0 && room[key] >= most*301*time.Second {
				return 7 * time.Second
			}
			room[key] += lasting
			return 0
		},
	})
	check := func(by *prover, jti string) error {
		text := mint(t, key, `{"cnf": {"jkt": "`+by.thumbprint(t)+`"}}`)
		q := get("https://a/x?CAT=" + text)
		q.Header.Set("DPoP", by.prove(t, q, text, jti, nil))
		_, err := v.Check(t.Context(), q, now)
		return err
	}
	many, one := newProver(t, "ES256"), newProver(t, "ES256")
	for i := range 2 * most {
		want := Reason("")
		if i >= most {
			want = TooMany
		}
		err := check(many, fmt.Sprint(i))
		if reason(err) != want {
			t.Errorf("proof %d of a key: got %v, want %q", i, err, want)
		}
		if why, ok := errors.AsType[*Error](err); ok && why.Wait != 7*time.Second {
			t.Errorf("proof %d of a key: it has to wait for %s", i, why.Wait)
		}
	}
	if err := check(one, "0"); err != nil {
		t.Errorf("another key: %v", err)
	}
	for range 2 * most {
		if err := check(one, "0"); reason(err) != Replayed {
			t.Errorf("the same proof again: got %v", err)
		}
	}
	if err := check(one, "1"); err != nil {
		t.Errorf("another proof, after one was repeated: %v", err)
	}
}

// TestProofOfOthers: proofs of another implementation are taken, and its thumbprints are ours.
func TestProofOfOthers(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	for _, algorithm := range []string{"ES256", "PS256", "RS256"} {
		var thumb struct{ Thumbprint, Key string }
		if err := json.Unmarshal(script(t, "dpop.mjs", map[string]any{"algorithm": algorithm}), &thumb); err != nil {
			t.Fatal(err)
		}
		text := mint(t, key, `{"cnf": {"jkt": "`+thumb.Thumbprint+`"}, "catdpop": {"window": 600}}`)
		var made struct{ Proof string }
		in := map[string]any{"algorithm": algorithm, "key": thumb.Key, "url": "https://a.example/vod/a.m4s?x=1", "method": "GET", "token": text}
		if err := json.Unmarshal(script(t, "dpop.mjs", in), &made); err != nil {
			t.Fatal(err)
		}
		v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: onceHere()})
		for _, tt := range []struct {
			path string
			want Reason
		}{{"/vod/b.m4s", Claim}, {"/vod/a.m4s", ""}, {"/vod/a.m4s", Replayed}} {
			q := get("https://a.example" + tt.path + "?CAT=" + text)
			q.Header.Set("DPoP", made.Proof)
			if _, err := v.Check(t.Context(), q, time.Now()); reason(err) != tt.want {
				t.Errorf("%s, %s: got %v, want %q", algorithm, tt.path, err, tt.want)
			}
		}
	}
}

// FuzzProof: whatever stands in the field DPoP, nothing panics, and nothing is opened.
func FuzzProof(f *testing.F) {
	key, _, _ := testKeys()
	client := newProver(f, "ES256")
	v := verifier(f, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Once: onceHere()})
	text := mint(f, key, `{"cnf": {"jkt": "`+client.thumbprint(f)+`"}}`)
	good := client.prove(f, get("https://a/y"), text, "1", nil) // of another path
	f.Add(good)
	f.Add(newProver(f, "PS256").prove(f, get("https://a/x"), text, "1", nil))
	f.Fuzz(func(t *testing.T, proof string) {
		q := get("https://a/x?CAT=" + text)
		q.Header.Set("DPoP", proof)
		if _, err := v.Check(t.Context(), q, now); err == nil {
			t.Errorf("%q opens", proof)
		}
	})
}
