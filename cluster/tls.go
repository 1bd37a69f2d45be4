package cluster

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	caName = "Weir cluster peers"

	// A leaf lives in the memory of one process and dies with it: its dates need only outlast the process and bridge
	// clocks that disagree.
	leafBackdate = 24 * time.Hour
	leafLifetime = 10 * 365 * 24 * time.Hour

	serialBits = 127
)

// PeerTLS returns the configurations with which the node called name serves its peers and asks them: TLS 1.3, both sides
// with a certificate of the cluster's own authority, HTTP/2 preferred over HTTP/1.1. The authority's key is derived from
// a secret, so every node has it and mints its own certificate here, from the first secret; certificates from any secret
// of the keyring are accepted, and all others refused in both directions. The configurations follow the keyring: they do
// for each handshake what its secrets say then, and leave alone what was connected before.
//
// The client always checks the chain. It also checks the peer's name where it knows one: when the ServerName is the node's
// name (http.Transport takes it from the URL's host), the certificate must be for that node; when it is an IP address or
// empty, any node of the cluster will do. A certificate is good for ten years. Both configurations may be cloned and used
// at the same time.
func (k *Keyring) PeerTLS(name string) (server, client *tls.Config, err error) {
	if err := checkName(name); err != nil {
		return nil, nil, fmt.Errorf("cluster: name %q: %w", name, err)
	}
	p := &peerIdentity{keyring: k, name: name}
	if _, err := p.papers(); err != nil {
		return nil, nil, err
	}
	server = &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			papers, err := p.papers()
			if err != nil {
				return nil, err
			}
			return papers.server, nil
		},
	}
	client = &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			papers, err := p.papers()
			if err != nil {
				return nil, err
			}
			return &papers.leaf, nil
		},
		// Peers are dialled by IP address while their certificates carry names, so the check is our own, below.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain always, the name where it is known
		VerifyConnection: func(state tls.ConnectionState) error {
			papers, err := p.papers()
			if err != nil {
				return err
			}
			return verifyPeer(state, papers.roots)
		},
	}
	return server, client, nil
}

// peerIdentity makes a node's papers anew when the keyring's secrets have changed. What it made is an immutable value
// behind an atomic pointer.
type peerIdentity struct {
	keyring *Keyring
	name    string
	made    atomic.Pointer[peerPapers]
}

// peerPapers are what a node shows, and what it accepts, with one set of secrets.
type peerPapers struct {
	of     *keySet
	leaf   tls.Certificate
	roots  *x509.CertPool
	server *tls.Config
}

// papers returns those for the secrets of now.
func (p *peerIdentity) papers() (*peerPapers, error) {
	of := p.keyring.current.Load()
	if made := p.made.Load(); made != nil && made.of == of {
		return made, nil
	}
	made, err := makePapers(of, p.name, time.Now())
	if err != nil {
		return nil, err
	}
	p.made.Store(made) // another handshake may have made its own: both are good
	return made, nil
}

func makePapers(of *keySet, name string, now time.Time) (*peerPapers, error) {
	p := &peerPapers{of: of, roots: x509.NewCertPool()}
	for i, secret := range of.secrets {
		key, ca, err := secret.authority()
		if err != nil {
			return nil, fmt.Errorf("cluster: make peer authority: %w", err)
		}
		p.roots.AddCert(ca)
		if i > 0 {
			continue
		}
		if p.leaf, err = mintLeaf(name, now, key, ca); err != nil {
			return nil, fmt.Errorf("cluster: make peer certificate for %s: %w", name, err)
		}
	}
	p.server = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{p.leaf},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    p.roots,
		NextProtos:   []string{"h2", "http/1.1"},
		// A ticket would let in once more who came with a secret that is gone by now.
		SessionTicketsDisabled: true,
	}
	return p, nil
}

// authority returns the cluster's certificate authority. Nothing in it depends on when or where it is made: all nodes have
// the same one, to the byte.
func (s Secret) authority() (ed25519.PrivateKey, *x509.Certificate, error) {
	key := ed25519.NewKeyFromSeed(s.derive(caKeyLabel))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: caName},
		NotBefore:             time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no well-defined end
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key) // Ed25519 needs no randomness
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return key, ca, err
}

func mintLeaf(name string, now time.Time, caKey ed25519.PrivateKey, ca *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             now.Add(-leafBackdate),
		NotAfter:              now.Add(leafLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// verifyPeer is the client's check of a server: the chain always, the name unless it is only an address.
func verifyPeer(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("cluster: peer showed no certificate")
	}
	options := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(), // the authority signs leaves alone
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if _, err := netip.ParseAddr(state.ServerName); err != nil {
		options.DNSName = state.ServerName
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return fmt.Errorf("cluster: peer is not a node of this cluster with that name: %w", err)
	}
	return nil
}
