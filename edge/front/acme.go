package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// protoACME is the protocol in whose name an authority looks at a host's TLS (RFC 8737).
const protoACME = "acme-tls/1"

// ACMEOptions says for whom certificates are asked, and where.
type ACMEOptions struct {
	// Hosts are the names to have certificates for, one each; needed. An authority must
	// reach each at this node: port 80 at the HTTP listener or port 443 at the HTTPS one.
	Hosts []string
	// Directory is the URL of the authority (RFC 8555, 7.1.1); needed.
	Directory string
	// Roots vouch for the directory's server; nil means the system's.
	Roots *x509.CertPool
	// Email is where the authority writes to; may be empty.
	Email string
	// Agree says that the operator agrees to the authority's terms; needed.
	Agree bool
	// Dir keeps account, keys and certificates; needed. Nodes that share it share them,
	// and answer one another's challenges.
	Dir string
	// Log gets what is obtained and what fails; nil discards it.
	Log *slog.Logger
}

// ACME has certificates for hosts from an authority (RFC 8555), and renews them when a
// third of their life is left. It proves that the hosts are here by both ways that need
// no access to DNS: HTTP-01 through Handler, TLS-ALPN-01 through Certificates. Its methods
// may be called by many goroutines at once. The work is certmagic's; nothing outside
// this file knows of it.
type ACME struct {
	opts    ACMEOptions
	hosts   map[string]bool
	log     *slog.Logger
	running atomic.Pointer[acmeRunning] // nil before Run and after it

	mu       sync.Mutex // guards the fields below
	problems map[string]string
}

type acmeRunning struct {
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// NewACME checks the options. It starts nothing: see Run.
func NewACME(o ACMEOptions) (*ACME, error) {
	switch {
	case len(o.Hosts) == 0:
		return nil, errors.New("front: ACMEOptions.Hosts is empty")
	case o.Directory == "":
		return nil, errors.New("front: ACMEOptions.Directory is missing")
	case o.Dir == "":
		return nil, errors.New("front: ACMEOptions.Dir is missing")
	case !o.Agree:
		return nil, errors.New("front: ACMEOptions.Agree is false: the authority gives nothing without")
	}
	a := &ACME{opts: o, hosts: map[string]bool{}, log: o.Log, problems: map[string]string{}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.opts.Hosts = slices.Clone(o.Hosts)
	for i, host := range a.opts.Hosts {
		a.opts.Hosts[i] = strings.ToLower(host)
		a.hosts[a.opts.Hosts[i]] = true
	}
	return a, nil
}

// Run obtains and renews until ctx ends. The addresses are those that the Server has
// bound, as its HTTPAddr and HTTPSAddr tell; an empty one leaves the challenge out. It is
// called at most once. Its error is nil; what fails is tried again for a month, with
// longer and longer pauses. What the library still does when ctx ends stops a moment
// after Run has returned.
func (a *ACME) Run(ctx context.Context, httpAddr, httpsAddr string) error {
	log := zapLogger(a.log)
	r := &acmeRunning{}
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return r.config, nil }, Logger: log,
	})
	defer r.cache.Stop()
	r.config = certmagic.New(r.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: a.opts.Dir}, Logger: log, OnEvent: a.event})
	template := certmagic.ACMEIssuer{
		CA: a.opts.Directory, Email: a.opts.Email, Agreed: a.opts.Agree, TrustedRoots: a.opts.Roots, Logger: log,
		DisableHTTPChallenge: httpAddr == "", DisableTLSALPNChallenge: httpsAddr == "",
	}
	// The library would open these addresses itself, finds them in use, and leaves the
	// challenges to who has them: us.
	template.ListenHost, template.AltHTTPPort = splitPort(httpAddr)
	if host, port := splitPort(httpsAddr); port != 0 {
		template.ListenHost, template.AltTLSALPNPort = host, port
	}
	r.issuer = certmagic.NewACMEIssuer(r.config, template)
	r.config.Issuers = []certmagic.Issuer{r.issuer}
	a.running.Store(r)
	defer a.running.Store(nil)
	if err := r.config.ManageAsync(ctx, a.opts.Hosts); err != nil {
		a.log.Error("certificates by ACME", "error", err)
	}
	<-ctx.Done()
	return nil
}

func splitPort(address string) (host string, port int) {
	host, text, _ := net.SplitHostPort(address) // it was bound, or is empty
	port, _ = strconv.Atoi(text)
	return host, port
}

// Handler answers the challenges that an authority makes in the clear, for our hosts
// alone, and gives everything else to next.
func (a *ACME) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil && certmagic.LooksLikeHTTPChallenge(r) {
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = r.Host
			}
			if running := a.running.Load(); running != nil && a.hosts[strings.ToLower(host)] && running.issuer.HandleHTTPChallenge(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// certificate returns the one for a host of ours, nil while there is none.
func (a *ACME) certificate(hello *tls.ClientHelloInfo, name string) *tls.Certificate {
	running := a.running.Load()
	if running == nil || !a.hosts[name] {
		return nil
	}
	cert, err := running.config.GetCertificate(hello)
	if err != nil || cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	return cert
}

// event notes what became of a host. The library calls it.
func (a *ACME) event(_ context.Context, event string, about map[string]any) error {
	host, _ := about["identifier"].(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch event {
	case "cert_failed":
		a.problems[host] = fmt.Sprintf("certificate for %s from %s: %v", host, a.opts.Directory, about["error"])
	case "cert_obtained":
		delete(a.problems, host)
	}
	return nil
}

// states lists the hosts: those without a certificate have no NotAfter.
func (a *ACME) states() []CertificateState {
	running := a.running.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	var states []CertificateState
	for _, host := range a.opts.Hosts {
		state := CertificateState{File: a.opts.Directory, Names: []string{host}, Problem: a.problems[host]}
		if running != nil {
			for _, cert := range running.cache.AllMatchingCertificates(host) {
				state.NotAfter, state.Stapled = cert.Leaf.NotAfter, len(cert.OCSPStaple) > 0
			}
		}
		states = append(states, state)
	}
	return states
}

// isACME tells whether a client is an authority that looks for the answer to a challenge.
func isACME(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == protoACME
}
