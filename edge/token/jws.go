package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
)

// candidates for a signature: those with the id, or all where the token names none, that are for the algorithm.
func (k *Keys) suitable(id, algorithm string) (list []*Key) {
	for _, key := range k.list {
		if (id == "" || key.ID == id) && key.suits(algorithm) {
			list = append(list, key)
		}
	}
	return list
}

// suits tells whether a key is for an algorithm. A key pair is never taken for a secret: what a token says about its
// algorithm picks among the keys, and nothing else.
func (k *Key) suits(algorithm string) bool {
	if k.Algorithm != "" && k.Algorithm != algorithm {
		return false
	}
	switch algorithm {
	case "HS256":
		return k.Secret != nil
	case "ES256":
		_, ok := k.Public.(*ecdsa.PublicKey)
		return ok
	case "PS256", "RS256":
		_, ok := k.Public.(*rsa.PublicKey)
		return ok
	}
	return false
}

// algorithm is what the key signs with where nobody says.
func (k *Key) algorithm() string {
	if k.Algorithm != "" {
		return k.Algorithm
	}
	for _, a := range [...]string{"HS256", "ES256", "PS256"} {
		if k.suits(a) {
			return a
		}
	}
	return ""
}

// verify checks a signature as JWS has it (RFC 7518, 3), in constant time for secrets.
func (k *Key) verify(algorithm string, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	switch algorithm {
	case "HS256":
		mac := hmac.New(sha256.New, k.Secret)
		mac.Write(signed)
		return hmac.Equal(mac.Sum(nil), signature)
	case "ES256":
		if len(signature) != 64 {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(k.Public.(*ecdsa.PublicKey), sum[:], r, s) //nolint:forcetypeassert // it suits the algorithm
	case "PS256":
		return rsa.VerifyPSS(k.Public.(*rsa.PublicKey), crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case "RS256":
		return rsa.VerifyPKCS1v15(k.Public.(*rsa.PublicKey), crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

// sign makes a signature as JWS has it.
func (k *Key) sign(algorithm string, text []byte) ([]byte, error) {
	sum := sha256.Sum256(text)
	switch {
	case algorithm == "HS256" && k.Secret != nil:
		mac := hmac.New(sha256.New, k.Secret)
		mac.Write(text)
		return mac.Sum(nil), nil
	case k.Private == nil:
	case algorithm == "ES256":
		private, ok := k.Private.(*ecdsa.PrivateKey)
		if !ok {
			break
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	case algorithm == "PS256":
		return k.Private.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case algorithm == "RS256":
		return k.Private.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	return nil, errors.New("token: the key cannot sign " + algorithm)
}

// openJWS checks a JWS in compact form (RFC 7515, 5.2) and returns its payload and the key that signed it.
func (k *Keys) openJWS(text string) ([]byte, *Key, *Error) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, nil, wrong(Malformed, "want three parts with a point between them")
	}
	header, err := decode64(parts[0])
	var h struct {
		Algorithm string          `json:"alg"`
		ID        string          `json:"kid"`
		Critical  json.RawMessage `json:"crit"`
	}
	if err != nil || json.Unmarshal(header, &h) != nil {
		return nil, nil, wrong(Malformed, "the header is no JSON in base64url")
	}
	if h.Critical != nil { // RFC 7515, 4.1.11: there is no extension that is understood here
		return nil, nil, wrong(Unsupported, "the header has crit")
	}
	payload, err1 := decode64(parts[1])
	signature, err2 := decode64(parts[2])
	if err1 != nil || err2 != nil {
		return nil, nil, wrong(Malformed, "a part is no base64url")
	}
	keys := k.suitable(h.ID, h.Algorithm)
	if len(keys) == 0 {
		return nil, nil, wrong(UnknownKey, "no key here has the id %.40q and the algorithm %.10q", h.ID, h.Algorithm)
	}
	signed := []byte(text[:len(parts[0])+1+len(parts[1])])
	for _, key := range keys {
		if key.verify(h.Algorithm, signed, signature) {
			return payload, key, nil
		}
	}
	return nil, nil, wrong(BadSignature, "the signature is not of the key %.40q", h.ID)
}

// makeJWS signs a payload.
func (k *Key) makeJWS(payload []byte) (string, error) {
	header := map[string]string{"alg": k.algorithm()}
	if k.ID != "" {
		header["kid"] = k.ID
	}
	head, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := k.sign(k.algorithm(), []byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
