package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/configs"
	"weir/edge/front"
)

const ticketSecretBytes = 32

// buildTLS makes what the https address needs, if there is one: the configured
// certificates, or one minted for the names of the sites.
func (n *node) buildTLS(options *front.Options) error {
	if n.config.Listen.HTTPS == "" {
		return nil
	}
	c := n.config.TLS
	from := front.CertificatesOptions{Strict: c.StrictSNI, StapleDir: filepath.Join(n.config.Node.Dir, "tls", "ocsp"), Log: n.log}
	from.Pairs = certificatePairs(c)
	if len(from.Pairs) == 0 {
		from.MintDir, from.MintNames = filepath.Join(n.config.Node.Dir, "tls"), n.hosts()
	}
	var err error
	if from.ACME, err = n.buildACME(); err != nil {
		return usageError{err}
	}
	if n.certificates, err = front.NewCertificates(from); err != nil {
		return usageError{err}
	}
	options.TLS = &tls.Config{GetCertificate: n.certificates.GetCertificate, MinVersion: tls.VersionTLS12}
	if from.ACME != nil {
		options.TLS.NextProtos = []string{"acme-tls/1"}
		options.Handler = from.ACME.Handler(options.Handler)
	}
	if c.MinVersion == "1.3" {
		options.TLS.MinVersion = tls.VersionTLS13
	}
	if n.options.keyring == nil {
		options.TicketSecret, err = ownTicketSecret(filepath.Join(n.config.Node.Dir, "tls"))
		return err
	}
	// One that is put in its place counts for tickets from the next start on.
	options.TicketSecret = n.options.keyring.Secrets()[0].TicketSecret()
	return nil
}

// ownTicketSecret is that of a node without a cluster, so that its clients resume their sessions after a restart.
func ownTicketSecret(dir string) ([]byte, error) {
	file := filepath.Join(dir, "ticket.secret")
	secret, err := os.ReadFile(file)
	if err == nil && len(secret) >= ticketSecretBytes {
		return secret, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	secret = make([]byte, ticketSecretBytes)
	_, _ = rand.Read(secret) // it never fails
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return secret, os.WriteFile(file, secret, 0o600)
}

// buildACME is nil when no authority is to be asked.
func (n *node) buildACME() (*front.ACME, error) {
	c := n.config.TLS.ACME
	if len(c.Hosts) == 0 {
		return nil, nil
	}
	options := front.ACMEOptions{Hosts: c.Hosts, Directory: c.Directory, Email: c.Email, Agree: c.Agree, Dir: c.Dir, Log: n.log}
	if options.Dir == "" {
		options.Dir = filepath.Join(n.config.Node.Dir, "acme")
	}
	var err error
	if options.Roots, err = readRoots("tls.acme.ca_file", c.CAFile); err != nil {
		return nil, err
	}
	n.acme, err = front.NewACME(options)
	return n.acme, err
}

// readRoots reads the PEM file that a key names; nil, for the system's, where it names none.
func readRoots(key, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in %s", key, file)
	}
	return roots, nil
}

// buildAdminTLS makes what the operators' address needs, if it has a certificate.
func (n *node) buildAdminTLS() error {
	c := n.config.Admin
	if c.Cert == "" {
		return nil
	}
	clients, err := readRoots("admin.client_ca", c.ClientCA)
	if err != nil {
		return usageError{err}
	}
	pairs := []front.CertificatePair{{Cert: c.Cert, Key: c.Key}}
	if n.adminCertificates, err = front.NewCertificates(front.CertificatesOptions{Pairs: pairs, Log: n.log}); err != nil {
		return usageError{err}
	}
	// Operators are few, and a ticket would outlive a client's certificate that is not
	// wanted any more.
	n.adminTLS = &tls.Config{GetCertificate: n.adminCertificates.GetCertificate, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	if clients != nil {
		n.adminTLS.ClientAuth, n.adminTLS.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return nil
}

// certificateSets lists what there is of certificates.
func (n *node) certificateSets() []*front.Certificates {
	return slices.DeleteFunc([]*front.Certificates{n.certificates, n.adminCertificates}, func(c *front.Certificates) bool { return c == nil })
}

// buildBalancers names the balancers whose word about clients counts.
func (n *node) buildBalancers(options *front.Options) error {
	for _, text := range n.config.Listen.ProxyProtocol {
		prefix, err := configs.ParsePrefix(text)
		if err != nil {
			return usageError{err}
		}
		options.ProxyProtocol = append(options.ProxyProtocol, prefix)
	}
	return nil
}

// hosts lists the names of all sites.
func (n *node) hosts() []string {
	var names []string
	for _, site := range n.config.Sites {
		for _, host := range site.Hosts {
			if host != "*" {
				names = append(names, host)
			}
		}
	}
	return names
}

// runTLS keeps the certificates current.
func (n *node) runTLS(ctx context.Context) error {
	var parts []func(context.Context) error
	for _, set := range n.certificateSets() {
		parts = append(parts, set.Run)
	}
	if n.acme != nil {
		parts = append(parts, func(ctx context.Context) error { return n.acme.Run(ctx, n.public.HTTPAddr(), n.public.HTTPSAddr()) })
	}
	watching := start(ctx, parts...)
	<-ctx.Done()
	return watching.stop()
}

// reloadTLS reads the certificates anew. One that cannot be used leaves that from before
// in place, and is in the log and in the status.
func (n *node) reloadTLS(ctx context.Context) {
	for _, set := range n.certificateSets() {
		_ = set.Reload(ctx) // what it could not take it has logged
	}
}

// tlsProblems says what is wrong with the certificates.
func (n *node) tlsProblems(now time.Time, add func(what, why, fix string)) {
	for _, set := range n.certificateSets() {
		problemsOf(set.States(), now, add)
	}
}

func problemsOf(states []front.CertificateState, now time.Time, add func(what, why, fix string)) {
	for _, s := range states {
		switch left := s.NotAfter.Sub(now); {
		case s.NotAfter.IsZero():
			if s.Problem == "" {
				continue // it is being asked for
			}
		case left <= 0:
			add("The certificate for "+forWhom(s.Names)+" has ended.", fmt.Sprintf("%s was good until %s.", s.File, s.NotAfter.Format(time.RFC3339)), "Renew it: clients refuse it. The node takes the new file by itself.")
		case left < front.ExpiryWarning:
			add(fmt.Sprintf("The certificate for %s ends in %.0f days.", forWhom(s.Names), left.Hours()/24), fmt.Sprintf("%s is good until %s.", s.File, s.NotAfter.Format(time.RFC3339)), "Renew it. The node takes the new file by itself.")
		}
		if s.Problem != "" {
			add("The certificate for "+forWhom(s.Names)+" is not as it should be.", s.Problem+".", "The one from before is in use; put it right, and the node takes it by itself.")
		}
	}
}

// forWhom names up to three.
func forWhom(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// registerTLSMetrics counts what certificates have left, and what the listeners refuse
// before there is a request.
func (n *node) registerTLSMetrics() error {
	errs := []error{
		n.metrics.Counter("weir_tls_handshake_errors_total", "TLS handshakes over TCP that failed or timed out.", func() float64 { return float64(n.public.Stats().HandshakeErrors) }),
		n.metrics.Counter("weir_proxy_protocol_errors_total", "Connections of balancers that did not begin with a PROXY protocol header.", func() float64 { return float64(n.public.Stats().ProxyErrors) }),
	}
	if n.certificates == nil {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, n.registerCertificates())...)
}

// registerCertificates adds a gauge for each certificate that has none yet.
func (n *node) registerCertificates() error {
	var errs []error
	for name := range n.certificatesLeft() {
		if !slices.Contains(n.gauges, name) {
			n.gauges = append(n.gauges, name)
			errs = append(errs, n.metrics.Gauge("weir_certificate_left_seconds", "Seconds until a certificate ends, by its first name; 0 where there is none.", func() float64 {
				return n.certificatesLeft()[name]
			}, "name", name))
		}
	}
	return errors.Join(errs...)
}

// certificatesLeft tells how many seconds each certificate has left, by its first name.
func (n *node) certificatesLeft() map[string]float64 {
	left := map[string]float64{}
	for _, state := range n.certificates.States() {
		name := state.File
		if len(state.Names) > 0 {
			name = state.Names[0]
		}
		if _, taken := left[name]; taken { // two kinds of key for one name
			name = state.File
		}
		left[name] = 0
		if !state.NotAfter.IsZero() { // else it is not there yet
			left[name] = time.Until(state.NotAfter).Seconds()
		}
	}
	return left
}
