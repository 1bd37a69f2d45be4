package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Key is one key by which tokens are signed or checked: a secret, or the public half of a pair, with the private half
// where this side signs too.
type Key struct {
	ID        string // as tokens name it; "" for kinds that name none
	Algorithm string // HS256, ES256, PS256 or RS256; "": whatever suits the kind
	Secret    []byte
	Public    crypto.PublicKey // *ecdsa.PublicKey on P-256, or *rsa.PublicKey
	Private   crypto.Signer    // nil: tokens can be checked only

	line int // of a file of lines; 0: it stood in none
}

// signs tells whether a new token can be made with the key.
func (k *Key) signs() bool { return k.Secret != nil || k.Private != nil }

// Keys is a set of keys. Immutable; safe for concurrent use.
type Keys struct {
	list []*Key
}

// NewKeys takes the keys, the one that signs first.
func NewKeys(keys ...*Key) *Keys { return &Keys{keys} }

// Len is how many there are.
func (k *Keys) Len() int { return len(k.list) }

// Signer is the first key that can sign and, if id is not empty, has that id; nil: there is none.
func (k *Keys) Signer(id string) *Key {
	for _, key := range k.list {
		if key.signs() && (id == "" || key.ID == id) {
			return key
		}
	}
	return nil
}

// Check tells whether the keys are strong enough for a kind: secrets of CAT and URISigning have 16 bytes at least. All other
// kinds take what their issuers hand out: Tencent's are of 6 to 40 letters and digits, and nginx sets no bound.
func (k *Keys) Check(kind Kind) error {
	if kind != CAT && kind != URISigning {
		return nil
	}
	for _, key := range k.list {
		if key.Secret == nil || len(key.Secret) >= leastSecretBytes {
			continue
		}
		where, whose := "", "the secret"
		if key.line > 0 {
			where = fmt.Sprintf("line %d: ", key.line)
		}
		if key.ID != "" {
			whose = fmt.Sprintf("the secret of the key %q", key.ID)
		}
		return fmt.Errorf("token: keys: %s%s has %d bytes, and %s needs %d: make another one, such as by openssl rand -hex 32",
			where, whose, len(key.Secret), kind, leastSecretBytes)
	}
	return nil
}

// secrets calls try for each secret until it answers true.
func (k *Keys) secrets(try func(secret []byte) bool) bool {
	for _, key := range k.list {
		if key.Secret != nil && try(key.Secret) {
			return true
		}
	}
	return false
}

// Bounds of keys. A JWS secret is to be as long as the hash (RFC 7518, 3.2), but issuers in the field use 16 bytes too; an
// RSA modulus under 2048 bits is broken (RFC 7518, 3.3).
const (
	leastSecretBytes = 16
	leastModulusBits = 2048
)

// ParseKeys reads a file of keys: the first that can sign does, all are accepted. It is one of
//
//   - a JSON Web Key Set (RFC 7517) of the types oct, EC (P-256) and RSA, public or private
//   - PEM blocks with keys or certificates; a line "id: NAME" before a block names the key (RFC 7468, 2 lets text stand there)
//   - lines with a secret each, or an id, a space and a secret; "hex:" and "base64:" begin secrets that are no text, "#"
//     begins a comment
//
// Errors tell where and what, never a key.
func ParseKeys(file []byte) (*Keys, error) {
	text := bytes.TrimSpace(file)
	var keys []*Key
	var err error
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		keys, err = parseJWKS(text)
	case bytes.Contains(text, []byte("-----BEGIN ")):
		keys, err = parsePEM(text)
	default:
		keys, err = parseLines(text)
	}
	if err != nil {
		return nil, fmt.Errorf("token: keys: %w", err)
	}
	if len(keys) == 0 {
		return nil, errors.New("token: keys: there is none")
	}
	return &Keys{keys}, nil
}

func parseLines(text []byte) (keys []*Key, err error) {
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) > 2 {
			return nil, fmt.Errorf("line %d: want a secret, or an id and a secret", number)
		}
		key := &Key{line: number}
		if len(words) == 2 {
			key.ID = words[0]
		}
		if key.Secret, err = parseSecret(words[len(words)-1]); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseSecret(word string) (secret []byte, err error) {
	if digits, ok := strings.CutPrefix(word, "hex:"); ok {
		if secret, err = hex.DecodeString(digits); err != nil {
			return nil, errors.New("what follows hex: is not hexadecimal")
		}
	} else if digits, ok := strings.CutPrefix(word, "base64:"); ok {
		if secret, err = decode64(digits); err != nil {
			return nil, errors.New("what follows base64: is not base64")
		}
	} else {
		secret = []byte(word)
	}
	if len(secret) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return secret, nil
}

func parsePEM(text []byte) (keys []*Key, err error) {
	begin := []byte("-----BEGIN ")
	for n := 1; ; n++ {
		before, _, more := bytes.Cut(text, begin)
		if !more {
			return keys, nil
		}
		block, rest := pem.Decode(text)
		if block == nil || bytes.Count(text[:len(text)-len(rest)], begin) > 1 { // Decode passes over what it cannot read
			return nil, fmt.Errorf("PEM block %d: it cannot be read", n)
		}
		key := &Key{}
		for line := range strings.Lines(string(before)) {
			if name, id, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "id") {
				key.ID = strings.TrimSpace(id)
			}
		}
		if err := key.fromBlock(block); err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		keys, text = append(keys, key), rest
	}
}

func (k *Key) fromBlock(block *pem.Block) error {
	var private any
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			k.Public = c.PublicKey
		}
	case "PUBLIC KEY":
		k.Public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		k.Public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return fmt.Errorf("%q holds no key", block.Type)
	}
	if err != nil {
		return errors.New("it cannot be read as what it says to be") // the error of x509 may quote bytes
	}
	if signer, ok := private.(crypto.Signer); ok {
		k.Private, k.Public = signer, signer.Public()
	}
	return k.check()
}

// check refuses keys of other kinds and weak ones.
func (k *Key) check() error {
	switch public := k.Public.(type) {
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return errors.New("the curve is not P-256")
		}
	case *rsa.PublicKey:
		if public.N.BitLen() < leastModulusBits {
			return fmt.Errorf("the modulus has %d bits, less than %d", public.N.BitLen(), leastModulusBits)
		}
	default:
		return errors.New("only RSA and EC (P-256) keys are used")
	}
	return nil
}

type jwk struct {
	Type      string `json:"kty"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Secret    string `json:"k"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	D         string `json:"d"`
	N         string `json:"n"`
	E         string `json:"e"`
	P         string `json:"p"`
	Q         string `json:"q"`
}

func parseJWKS(text []byte) (keys []*Key, err error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil { // its error may quote what it met
		return nil, errors.New("the JSON cannot be read as a key set")
	}
	for i, j := range set.Keys {
		key := &Key{ID: j.ID, Algorithm: j.Algorithm}
		switch j.Type {
		case "oct":
			err = key.fromOctets(&j)
		case "EC":
			err = key.fromCurve(&j)
		case "RSA":
			err = key.fromModulus(&j)
		default:
			err = fmt.Errorf("the type %q is not used here", j.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (k *Key) fromOctets(j *jwk) (err error) {
	if k.Algorithm == "" {
		k.Algorithm = "HS256"
	}
	if k.Algorithm != "HS256" {
		return fmt.Errorf("a secret is for HS256, not for %q", k.Algorithm)
	}
	if k.Secret, err = decode64(j.Secret); err != nil || len(k.Secret) < leastSecretBytes {
		return fmt.Errorf("k is no base64url of at least %d bytes", leastSecretBytes)
	}
	return nil
}

func (k *Key) fromCurve(j *jwk) error {
	if j.Curve != "P-256" || k.Algorithm != "" && k.Algorithm != "ES256" {
		return errors.New("an EC key is on P-256, for ES256")
	}
	k.Algorithm = "ES256"
	x, err1 := decode64(j.X)
	y, err2 := decode64(j.Y)
	if err1 != nil || err2 != nil || len(x) != 32 || len(y) != 32 {
		return errors.New("x or y is no base64url of 32 bytes")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return errors.New("x and y are no point of P-256")
	}
	k.Public = public
	if j.D == "" {
		return nil
	}
	d, err := decode64(j.D)
	if err != nil {
		return errors.New("d is no base64url")
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil || !private.PublicKey.Equal(public) {
		return errors.New("d does not belong to x and y")
	}
	k.Private = private
	return nil
}

func (k *Key) fromModulus(j *jwk) error {
	switch k.Algorithm {
	case "":
		k.Algorithm = "PS256"
	case "PS256", "RS256":
	default:
		return fmt.Errorf("an RSA key is for PS256 or RS256, not for %q", k.Algorithm)
	}
	n, err1 := decode64(j.N)
	e, err2 := decode64(j.E)
	if err1 != nil || err2 != nil || len(n) == 0 || len(e) == 0 || len(e) > 4 {
		return errors.New("n or e is no base64url of a number")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if k.Public = public; j.D == "" {
		return k.check()
	}
	d, err1 := decode64(j.D)
	p, err2 := decode64(j.P)
	q, err3 := decode64(j.Q)
	if err := errors.Join(err1, err2, err3); err != nil {
		return errors.New("d, p or q is no base64url")
	}
	private := &rsa.PrivateKey{
		PublicKey: *public, D: new(big.Int).SetBytes(d), Primes: []*big.Int{new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)},
	}
	if private.Validate() != nil {
		return errors.New("d, p and q do not belong to n and e")
	}
	private.Precompute()
	k.Private = private
	return k.check()
}

// decode64 reads base64url, with or without padding (RFC 4648, 5). One value has many texts: by padding, and by line breaks.
func decode64(text string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
}
