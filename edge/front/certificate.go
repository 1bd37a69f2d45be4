package front

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	leafLife  = 397 * 24 * time.Hour // browsers refuse more than 398 days
	caLife    = 10 * 365 * 24 * time.Hour
	renewLeft = 30 * 24 * time.Hour // a certificate with less left is minted anew
	clockSkew = time.Hour           // how far a client's clock may be behind ours
)

// LoadCertificate reads a PEM certificate chain and its key. An error names the file
// and what is wrong with it: unreadable, not PEM, the key of another certificate,
// expired, not valid yet.
func LoadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	return loadCertificate(certFile, keyFile, time.Now())
}

// MintCertificate returns a certificate for names (host names or IP addresses),
// localhost, 127.0.0.1 and ::1, signed by a CA of our own. It keeps both in dir,
// which it creates: cert.pem, key.pem, ca.pem and ca-key.pem, keys readable by their
// owner alone. What is there is used again while it is for the same names and has
// more than 30 days left; the CA stays when the certificate is renewed. Files are
// replaced in one step each.
func MintCertificate(dir string, names []string, now time.Time) (tls.Certificate, error) {
	m := mint{dir: dir, now: now}
	m.dnsNames, m.addresses = subjects(names)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, fmt.Errorf("keep certificates in %s: %w", dir, err)
	}
	ca, err := m.authority()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mint a CA in %s: %w", dir, err)
	}
	if cert, err := loadCertificate(m.path("cert.pem"), m.path("key.pem"), now); err == nil && m.usable(cert.Leaf, ca.Leaf) {
		return cert, nil
	}
	cert, err := m.leaf(ca)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mint a certificate in %s: %w", dir, err)
	}
	return cert, nil
}

// SPKI returns the base64 SHA-256 of the certificate's public key, by which browsers
// can be told to trust it (Chromium: --ignore-certificate-errors-spki-list). It is
// empty for a certificate that does not parse.
func SPKI(cert tls.Certificate) string {
	leaf := cert.Leaf
	if leaf == nil {
		if len(cert.Certificate) == 0 {
			return ""
		}
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return ""
		}
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func loadCertificate(certFile, keyFile string, now time.Time) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate key: %w", err)
	}
	if block, _ := pem.Decode(certPEM); block == nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s: no PEM block in it", certFile)
	}
	if block, _ := pem.Decode(keyPEM); block == nil {
		return tls.Certificate{}, fmt.Errorf("certificate key %s: no PEM block in it", keyFile)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	switch {
	case now.After(cert.Leaf.NotAfter):
		return tls.Certificate{}, fmt.Errorf("certificate %s: expired on %s", certFile, cert.Leaf.NotAfter.Format(time.RFC3339))
	case now.Before(cert.Leaf.NotBefore):
		return tls.Certificate{}, fmt.Errorf("certificate %s: not valid before %s", certFile, cert.Leaf.NotBefore.Format(time.RFC3339))
	}
	return cert, nil
}

// subjects sorts the names of a certificate into host names and addresses.
func subjects(names []string) (dnsNames []string, addresses []net.IP) {
	all := append([]string{"localhost", "127.0.0.1", "::1"}, names...)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		if ip := net.ParseIP(name); ip != nil {
			addresses = append(addresses, ip)
		} else if name != "" {
			dnsNames = append(dnsNames, name)
		}
	}
	return dnsNames, addresses
}

// mint is one run of MintCertificate.
type mint struct {
	dir       string
	now       time.Time
	dnsNames  []string
	addresses []net.IP
}

func (m *mint) path(name string) string { return filepath.Join(m.dir, name) }

// authority returns the CA of the directory, a new one if there is none that lasts.
func (m *mint) authority() (tls.Certificate, error) {
	ca, err := loadCertificate(m.path("ca.pem"), m.path("ca-key.pem"), m.now)
	if err == nil && ca.Leaf.IsCA && ca.Leaf.NotAfter.Sub(m.now) > leafLife {
		return ca, nil
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Weir local CA", Organization: []string{"Weir"}},
		NotBefore:             m.now.Add(-clockSkew),
		NotAfter:              m.now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return m.issue(template, nil, "ca.pem", "ca-key.pem")
}

// leaf mints the certificate that clients see.
func (m *mint) leaf(ca tls.Certificate) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: m.dnsNames[0], Organization: []string{"Weir"}},
		NotBefore:             m.now.Add(-clockSkew),
		NotAfter:              m.now.Add(leafLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              m.dnsNames,
		IPAddresses:           m.addresses,
	}
	return m.issue(template, &ca, "cert.pem", "key.pem")
}

// issue makes a P-256 key, signs the template with ca (nil: with itself), and writes
// both, the key first: a key without its certificate is just replaced next time.
func (m *mint) issue(template *x509.Certificate, ca *tls.Certificate, certName, keyName string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return tls.Certificate{}, err
	}
	parent, signer := template, crypto.PrivateKey(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := writeFile(m.path(keyName), keyPEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	if err := writeFile(m.path(certName), certPEM, 0o644); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// usable reports whether leaf is for our names, signed by ca, and lasts.
func (m *mint) usable(leaf, ca *x509.Certificate) bool {
	sameAddress := func(a, b net.IP) bool { return a.Equal(b) }
	return leaf.NotAfter.Sub(m.now) > renewLeft &&
		slices.Equal(leaf.DNSNames, m.dnsNames) &&
		slices.EqualFunc(leaf.IPAddresses, m.addresses, sameAddress) &&
		leaf.CheckSignatureFrom(ca) == nil
}

// writeFile replaces the file name in one step.
func writeFile(name string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
	}
	return err
}
