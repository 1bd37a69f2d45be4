package front

import (
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/quic-go/quic-go"
)

// quicKeys are what a restarted server has to have again.
type quicKeys struct {
	token quic.TokenGeneratorKey // of address tokens (RFC 9000, 8.1.3), which may serve at any node
	reset quic.StatelessResetKey // of stateless resets (RFC 9000, 10.3), which are a node's own
}

// newQUICKeys derives the keys from Options.QUICKey; without it from the key of the first
// certificate; where there is none that can be had, they are random, and the clients
// of a server that was restarted wait for their idle time-out.
func newQUICKeys(o Options) (keys quicKeys, err error) {
	secret := o.QUICKey
	if secret == nil {
		secret = certificateKey(o.TLS)
	}
	if secret == nil {
		secret = make([]byte, sha256.Size)
		_, _ = rand.Read(secret) // it never fails
	}
	token, err := hkdf.Key(sha256.New, secret, nil, "weir quic token", len(keys.token))
	if err != nil {
		return keys, fmt.Errorf("front: derive the key of address tokens: %w", err)
	}
	// A node must not reset the connections of another (RFC 9000, 10.3.2).
	reset, err := hkdf.Key(sha256.New, secret, nil, "weir quic stateless reset "+o.QUICNode, len(keys.reset))
	if err != nil {
		return keys, fmt.Errorf("front: derive the key of stateless resets: %w", err)
	}
	copy(keys.token[:], token)
	copy(keys.reset[:], reset)
	return keys, nil
}

// certificateKey is the private key of the first certificate; where the certificate is
// chosen for each connection, of the one for clients that name no host. It is nil where
// there is none, or where it does not leave its hardware.
func certificateKey(config *tls.Config) []byte {
	var first *tls.Certificate
	if len(config.Certificates) > 0 {
		first = &config.Certificates[0]
	} else if config.GetCertificate != nil {
		first, _ = config.GetCertificate(&tls.ClientHelloInfo{}) // nil with an error
	}
	if first == nil {
		return nil
	}
	signer, ok := first.PrivateKey.(crypto.Signer)
	if !ok {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil
	}
	return der
}
