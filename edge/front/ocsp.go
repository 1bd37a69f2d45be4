package front

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// stapleEvery is the time between two looks at what is due; the first retry of a fetch
	// that failed comes as soon, each next one after twice the time, up to an hour.
	stapleEvery    = time.Minute
	maxStapleRetry = time.Hour
	// openStapleLife is how long a response that does not say when the next one comes is used.
	openStapleLife = 12 * time.Hour
	// ocspTimeout bounds one question to a responder.
	ocspTimeout = 10 * time.Second
	// maxOCSPBytes bounds its answer: real ones have 0.5 to 2 KiB.
	maxOCSPBytes = 32 << 10
)

// stapling is what a certificate needs for its OCSP responses. Until the certificate is
// published the fields belong to who made it, and then, but for problem, to the
// stapler.
type stapling struct {
	leaf, issuer *x509.Certificate
	url          string // of the responder; "" for no stapling
	must         bool   // clients refuse the certificate without a response (RFC 7633)

	until   time.Time     // when the response in use ends
	next    time.Time     // when to ask for another
	retry   time.Duration // what was waited for after the last failure
	problem atomic.Pointer[string]
}

func (s *stapling) init(cert *tls.Certificate) {
	chain, err := chainOf(*cert)
	if err != nil || len(chain) < 2 || len(chain[0].OCSPServer) == 0 {
		return // nothing to ask, or nothing to check the answer with
	}
	s.leaf, s.issuer, s.url = chain[0], chain[1], chain[0].OCSPServer[0]
	s.must = mustStaple(chain[0])
}

// mustStaple looks for the TLS feature status_request in a certificate (RFC 7633).
func mustStaple(leaf *x509.Certificate) bool {
	const statusRequest = 5
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}) {
			continue
		}
		var features []int
		if _, err := asn1.Unmarshal(extension.Value, &features); err == nil && slices.Contains(features, statusRequest) {
			return true
		}
	}
	return false
}

// staple keeps the responses of the certificates in use current until ctx ends.
func (c *Certificates) staple(ctx context.Context) {
	tick := time.NewTicker(stapleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-tick.C:
		}
		for _, entry := range c.table.Load().entries {
			c.restaple(ctx, entry, time.Now())
		}
	}
}

// restaple asks for a response when it is time, and drops one that has ended.
func (c *Certificates) restaple(ctx context.Context, entry *certEntry, now time.Time) {
	s := &entry.stapling
	if s.url == "" || now.Before(s.next) {
		return
	}
	err := c.fetchStaple(ctx, entry, now)
	if err == nil {
		s.retry = 0
		s.problem.Store(nil)
		return
	}
	if ctx.Err() != nil {
		return
	}
	s.retry = min(max(2*s.retry, stapleEvery), maxStapleRetry)
	s.next = now.Add(s.retry)
	c.log.Warn("no OCSP response", "error", err, "again in", s.retry, "must staple", s.must)
	over := !now.Before(s.until) // else the one from before is still good
	if over && s.must || errors.As(err, new(revokedError)) {
		text := err.Error()
		s.problem.Store(&text)
	}
	if serving := entry.serving.Load(); over && serving.OCSPStaple != nil {
		bare := *serving
		bare.OCSPStaple = nil
		entry.serving.Store(&bare)
	}
}

// A revokedError says that the authority has taken a certificate back.
type revokedError struct {
	file string
	at   time.Time
}

func (e revokedError) Error() string {
	return fmt.Sprintf("certificate %s: its authority revoked it on %s: replace it", e.file, e.at.Format(time.RFC3339))
}

// fetchStaple asks the responder and staples what it says.
func (c *Certificates) fetchStaple(ctx context.Context, entry *certEntry, now time.Time) error {
	s := &entry.stapling
	answer, err := c.ask(ctx, s)
	if err != nil {
		return fmt.Errorf("OCSP for certificate %s from %s: %w", entry.file, s.url, err)
	}
	if err := entry.take(answer, now); err != nil {
		return err
	}
	if c.opts.StapleDir != "" {
		if err := c.saveStaple(s, answer); err != nil {
			c.log.Warn("OCSP response not kept over a restart", "error", err)
		}
	}
	return nil
}

// ask posts the question (RFC 6960, A.1).
func (c *Certificates) ask(ctx context.Context, s *stapling) ([]byte, error) {
	question, err := ocsp.CreateRequest(s.leaf, s.issuer, &ocsp.RequestOptions{Hash: crypto.SHA1}) // all that every responder knows
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	response, err := c.opts.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // all of it was read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the responder answered %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxOCSPBytes))
}

// take checks a response and staples it.
func (e *certEntry) take(answer []byte, now time.Time) error {
	s := &e.stapling
	response, err := ocsp.ParseResponseForCert(answer, s.leaf, s.issuer)
	if err != nil {
		return fmt.Errorf("OCSP for certificate %s from %s: %w", e.file, s.url, err)
	}
	until := response.NextUpdate
	if until.IsZero() {
		until = response.ThisUpdate.Add(openStapleLife)
	}
	switch {
	case response.Status == ocsp.Revoked:
		return revokedError{e.file, response.RevokedAt}
	case response.Status != ocsp.Good:
		return fmt.Errorf("OCSP for certificate %s: %s does not know it", e.file, s.url)
	case now.Add(clockSkew).Before(response.ThisUpdate), !now.Before(until):
		return fmt.Errorf("OCSP for certificate %s: the response of %s is for %s to %s: see whether this machine's clock is right",
			e.file, s.url, response.ThisUpdate.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	stapled := *e.serving.Load()
	stapled.OCSPStaple = answer
	e.serving.Store(&stapled)
	s.until = until
	s.next = now.Add(max(until.Sub(now)/2, stapleEvery)) // half of what is left is for a responder that is down
	return nil
}

// restoreStaple takes the response that was kept for a certificate, if it is still good.
func (c *Certificates) restoreStaple(entry *certEntry, now time.Time) {
	if c.opts.StapleDir == "" || entry.stapling.url == "" {
		return
	}
	if answer, err := os.ReadFile(c.stapleFile(&entry.stapling)); err == nil {
		_ = entry.take(answer, now) // else it is asked for
	}
}

func (c *Certificates) saveStaple(s *stapling, answer []byte) error {
	if err := os.MkdirAll(c.opts.StapleDir, 0o700); err != nil {
		return err
	}
	return writeFile(c.stapleFile(s), answer, 0o600)
}

func (c *Certificates) stapleFile(s *stapling) string {
	sum := sha256.Sum256(s.leaf.Raw)
	return filepath.Join(c.opts.StapleDir, hex.EncodeToString(sum[:16])+".ocsp")
}

// ocspClient asks directly and keeps nothing open: responders are asked once in hours.
func ocspClient() *http.Client {
	return &http.Client{Timeout: ocspTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxOCSPBytes,
	}}
}

// chainOf parses what a certificate file holds.
func chainOf(cert tls.Certificate) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, parsed)
	}
	return chain, nil
}
