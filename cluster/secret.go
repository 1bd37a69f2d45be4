package cluster

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const (
	secretBytes    = 32   // least length of a secret, decoded
	maxSecretText  = 1024 // most length of a secret's text
	idBytes        = 4
	minSecretKinds = 8 // least number of different bytes in a secret: 32 random bytes have 25 or more, a placeholder few

	// Each key has a label of its own, so that no key tells anything about another. The labels are part of the protocol.
	gossipKeyLabel  = "weir cluster v1 gossip key"
	quicKeyLabel    = "weir cluster v1 quic key"
	sessionKeyLabel = "weir cluster v1 session key"
	caKeyLabel      = "weir cluster v1 peer CA key"
	idLabel         = "weir cluster v1 secret id"

	redacted = "[cluster secret]"
)

// Secret is what all nodes of a cluster know and nobody else may: from it come the key that gossip is encrypted with and
// the certificate authority of the peers. It is immutable, may be copied, and does not print: every fmt verb, slog and
// JSON show a placeholder. The zero value is no secret.
type Secret struct {
	// Behind a function, because fmt prints the insides of unexported fields by reflection, through pointers too where the
	// verb does not fit, but cannot look into a function.
	material func() []byte
}

func secretOf(material []byte) Secret { return Secret{func() []byte { return material }} }

// NewSecret makes a secret of 32 random bytes.
func NewSecret() Secret {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return secretOf(b)
}

// ParseSecret reads the content of a secret file: one line of base64 (either alphabet, padded or not) or hexadecimal, at
// least 32 bytes when decoded. White space around it does not matter. No error repeats any part of the text.
func ParseSecret(text []byte) (Secret, error) {
	line := strings.TrimSpace(string(text))
	switch {
	case line == "":
		return Secret{}, errors.New("cluster: the secret is empty: make one with `head -c 32 /dev/urandom | base64`")
	case len(line) > maxSecretText:
		return Secret{}, fmt.Errorf("cluster: the secret is %d characters long: at most %d", len(line), maxSecretText)
	}
	material, ok := decodeSecret(line)
	switch {
	case !ok:
		return Secret{}, errors.New("cluster: the secret is not one line of base64 or hexadecimal: " +
			"make one with `head -c 32 /dev/urandom | base64`")
	case len(material) < secretBytes:
		return Secret{}, fmt.Errorf("cluster: the secret is too short: %d bytes, want at least %d: "+
			"make one with `head -c 32 /dev/urandom | base64`", len(material), secretBytes)
	case kinds(material) < minSecretKinds:
		return Secret{}, errors.New("cluster: the secret is not random: make one with `head -c 32 /dev/urandom | base64`")
	}
	return secretOf(material), nil
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.material == nil }

// Reveal returns the secret as a line of base64 without newline, as ParseSecret reads it: for writing a secret file (mode
// 0600) and for nothing else.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return base64.StdEncoding.EncodeToString(s.material())
}

// GossipKey returns the 32-byte AES-256 key that gossip is encrypted with, or nil where there is no secret.
func (s Secret) GossipKey() []byte {
	if s.IsZero() {
		return nil
	}
	return s.derive(gossipKeyLabel)
}

// ID returns 8 hexadecimal digits by which operators tell secrets apart, or "" where there is none. It is derived as the
// keys are, so that it tells nothing about them.
func (s Secret) ID() string {
	if s.IsZero() {
		return ""
	}
	return hex.EncodeToString(s.derive(idLabel)[:idBytes])
}

// QUICKey returns the 32-byte secret that all nodes derive their QUIC keys from, or nil where there is no secret.
func (s Secret) QUICKey() []byte {
	if s.IsZero() {
		return nil
	}
	return s.derive(quicKeyLabel)
}

// String returns a placeholder.
func (s Secret) String() string { return redacted }

// GoString returns a placeholder.
func (s Secret) GoString() string { return redacted }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, for JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(redacted)) // fmt keeps the error
}

// SessionKey returns the 32-byte key by which nodes know the sessions that they have opened, or nil where there is no secret.
func (s Secret) SessionKey() []byte {
	if s.IsZero() {
		return nil
	}
	return s.derive(sessionKeyLabel)
}

// derive returns 32 bytes that belong to label alone (HKDF-SHA-256, RFC 5869).
func (s Secret) derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, s.material(), nil, label, 32)
	if err != nil {
		panic("cluster: " + err.Error()) // only for lengths HKDF cannot give; 32 is none
	}
	return key
}

// decodeSecret reads hexadecimal where the line is nothing else, and base64 otherwise.
func decodeSecret(line string) ([]byte, bool) {
	if b, err := hex.DecodeString(line); err == nil {
		return b, true
	}
	if strings.ContainsAny(line, "\r\n") { // the decoder would skip them
		return nil, false
	}
	line = strings.TrimRight(line, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.DecodeString(line); err == nil {
			return b, true
		}
	}
	return nil, false
}

// kinds counts the different bytes in b.
func kinds(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}
