package token

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Members of cnf and of catdpop (CTA-5007-B, 4.8).
const (
	confirmThumbprint = 323 // jkt: the SHA-256 of a JWK (RFC 7638)

	dpopCritical = -1 // what must be understood
	dpopWindow   = 0  // for how many seconds a proof is good
	dpopOnce     = 1  // whether a proof is good for one request: 0 no, 1 yes
)

// defaultWindow is how far from now a proof may have been made where catdpop does not say, and maxWindow what it may
// say: clocks of TVs are off by minutes, and each proof is remembered for so long.
const (
	defaultWindow = 300
	maxWindow     = 3600
)

// maxProofBytes bounds the work for one proof; one with an RSA key of 4096 bits has about 2 KiB.
const maxProofBytes = 4 << 10

// possession is what cnf and catdpop ask for: that the client has a key.
type possession struct {
	thumbprint []byte // of its public key; nil: none is asked for
	window     int64  // seconds; 0: catdpop does not say
	often      bool   // one proof is good for many requests
}

// readConfirm reads cnf. Ways to confirm that are not checked here refuse.
func (c *claims) readConfirm(value any) *Error {
	set, ok := value.(map[any]any)
	if !ok || len(set) == 0 {
		return wrong(Malformed, "want a map")
	}
	for label, v := range set {
		if label != int64(confirmThumbprint) {
			return wrong(Unsupported, "the way to confirm %.20v is unknown", label)
		}
		b, err := bytesOf(v)
		if err != nil || len(b) != sha256.Size {
			return wrong(Malformed, "jkt is no SHA-256")
		}
		c.proof.thumbprint = b
	}
	return nil
}

func (c *claims) readDPoP(value any) *Error {
	set, ok := value.(map[any]any)
	if !ok {
		return wrong(Malformed, "want a map")
	}
	for label, v := range set {
		switch label {
		case int64(dpopCritical):
			if list, ok := v.([]any); !ok || len(list) == 0 {
				return wrong(Malformed, "want a list")
			}
			return wrong(Unsupported, "a setting is critical and unknown") // those that are known are never listed
		case int64(dpopWindow):
			n, err := integer(v)
			if err != nil || n <= 0 || n > maxWindow {
				return wrong(Unsupported, "the window is none of 1 to %d seconds", maxWindow)
			}
			c.proof.window = n
		case int64(dpopOnce):
			n, err := integer(v)
			if err != nil || n < 0 || n > 1 {
				return wrong(Unsupported, "the setting of jti is unknown")
			}
			c.proof.often = n == 0
		}
	}
	return nil
}

// holdProof checks that the client has the key that the token names, by the proof in the field DPoP (RFC 9449, 4.3 and 7.1).
// It is the last thing to be checked: what is refused uses no proof up.
func (c *claims) holdProof(ctx context.Context, v *Verifier, q *Request, now time.Time) *Error {
	p := &c.proof
	fields := q.Header["Dpop"]
	if len(fields) != 1 || len(fields[0]) > maxProofBytes {
		return unmet(claimConfirm, "there is no proof in the field DPoP, or there are several")
	}
	key, claims, err := openProof(fields[0])
	if err != nil {
		return err
	}
	window := p.window
	if window == 0 {
		window = defaultWindow
	}
	sum := sha256.Sum256([]byte(q.token))
	switch {
	case subtle.ConstantTimeCompare(key.thumbprint(), p.thumbprint) != 1:
		return unmet(claimConfirm, "the proof is of another key")
	case claims.Method != q.Method:
		return unmet(claimConfirm, "the proof is for the method %s", clip(claims.Method))
	case !q.named(claims.URL):
		return unmet(claimConfirm, "the proof is for another URL")
	case claims.Token != base64.RawURLEncoding.EncodeToString(sum[:]):
		return unmet(claimConfirm, "the proof is for another token")
	case claims.ID == "":
		return unmet(claimConfirm, "the proof has no jti")
	case !(claims.Issued > float64(now.Unix()-window) && claims.Issued < float64(now.Unix()+window)): // also where it is no number
		return unmet(claimConfirm, "the proof was not made within %d s", window)
	}
	delete(q.Header, "Dpop") // it is for nobody else
	if p.often {
		return nil
	}
	if v.options.Once == nil {
		return wrong(Unsupported, "nothing remembers proofs here")
	}
	id := sha256.Sum256(slices.Concat([]byte("jti\x00"), p.thumbprint, []byte(claims.ID)))
	lasting := time.Unix(int64(claims.Issued)+window+1, 0).Sub(now)
	admit := v.options.Admit
	if admit == nil {
		admit = func([sha256.Size]byte, time.Duration) time.Duration { return 0 }
	}
	if wait := admit([sha256.Size]byte(p.thumbprint), lasting); wait > 0 {
		err := wrong(TooMany, "its key has made too many proofs: the next one is taken in %s", wait.Round(time.Millisecond))
		err.Wait = wait
		return err
	}
	switch first, err := v.options.Once(ctx, id, lasting); {
	case err != nil:
		return wrong(Unsure, "whether its proof was used before cannot be told: %v", err)
	case !first:
		admit([sha256.Size]byte(p.thumbprint), -lasting) // who repeats the proof of another one costs that one nothing
		return wrong(Replayed, "its proof was used before")
	}
	return nil
}

// proofClaims are those of a proof (RFC 9449, 4.2).
type proofClaims struct {
	ID     string  `json:"jti"`
	Method string  `json:"htm"`
	URL    string  `json:"htu"`
	Issued float64 `json:"iat"`
	Token  string  `json:"ath"`
}

// openProof checks the signature of a proof, by the key that it brings.
func openProof(text string) (*jwk, *proofClaims, *Error) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, nil, unmet(claimConfirm, "the proof has no three parts")
	}
	head, err1 := decode64(parts[0])
	body, err2 := decode64(parts[1])
	signature, err3 := decode64(parts[2])
	var header struct {
		Type      string          `json:"typ"`
		Algorithm string          `json:"alg"`
		Key       *jwk            `json:"jwk"`
		Critical  json.RawMessage `json:"crit"`
	}
	claims := &proofClaims{}
	if err1 != nil || err2 != nil || err3 != nil || json.Unmarshal(head, &header) != nil || json.Unmarshal(body, claims) != nil {
		return nil, nil, unmet(claimConfirm, "the proof cannot be read")
	}
	j := header.Key
	if header.Type != "dpop+jwt" || j == nil || header.Critical != nil || j.D != "" || j.P != "" || j.Q != "" || j.Secret != "" {
		return nil, nil, unmet(claimConfirm, "the proof is none of DPoP, or shows a private key")
	}
	j.Algorithm = header.Algorithm
	key := &Key{Algorithm: header.Algorithm}
	var err error
	switch j.Type {
	case "EC":
		err = key.fromCurve(j)
	case "RSA":
		if err = key.fromModulus(j); err == nil && key.Public.(*rsa.PublicKey).N.BitLen() > maxProofModulusBits { //nolint:forcetypeassert // it is one
			return nil, nil, unmet(claimConfirm, "the key of the proof is longer than %d bits", maxProofModulusBits)
		}
	default:
		return nil, nil, unmet(claimConfirm, "the key of the proof is of no kind that is used here")
	}
	if err != nil || !key.suits(header.Algorithm) {
		return nil, nil, unmet(claimConfirm, "the key of the proof is none for its algorithm")
	}
	if !key.verify(header.Algorithm, []byte(text[:len(parts[0])+1+len(parts[1])]), signature) {
		return nil, nil, unmet(claimConfirm, "the signature of the proof is wrong")
	}
	return j, claims, nil
}

// maxProofModulusBits bounds the work for a key that anybody can bring.
const maxProofModulusBits = 4096

// thumbprint is the SHA-256 of the members that a key needs, in the order of their names (RFC 7638, 3.2). They are base64url
// or fixed words, and so need no escapes.
func (j *jwk) thumbprint() []byte {
	var b bytes.Buffer
	if j.Type == "EC" {
		b.WriteString(`{"crv":"` + j.Curve + `","kty":"EC","x":"` + j.X + `","y":"` + j.Y + `"}`)
	} else {
		b.WriteString(`{"e":"` + j.E + `","kty":"RSA","n":"` + j.N + `"}`)
	}
	sum := sha256.Sum256(b.Bytes())
	return sum[:]
}

// named tells whether a URL is that of the request, but for query and fragment. The path is compared in canonical form and
// without a token.
func (q *Request) named(text string) bool {
	u, err := url.Parse(text)
	if err != nil || !strings.EqualFold(u.Scheme, q.Scheme) || !strings.EqualFold(u.Hostname(), strings.Trim(q.Host, "[]")) {
		return false
	}
	usual := map[string]string{"http": "80", "https": "443"}[q.Scheme]
	port := usual
	if q.Port != 0 {
		port = strconv.Itoa(int(q.Port))
	}
	return or(u.Port(), usual) == port && or(u.EscapedPath(), "/") == q.Path
}
