package front

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// responder is an OCSP responder of an authority.
type responder struct {
	*httptest.Server

	asked  atomic.Int64
	status atomic.Int64 // one of ocsp's
	down   atomic.Bool
}

func newResponder(t *testing.T, ca *authority) *responder {
	t.Helper()
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.asked.Add(1)
		body, _ := io.ReadAll(request.Body) // a bad one does not parse
		question, err := ocsp.ParseRequest(body)
		if err != nil || r.down.Load() || request.Header.Get("Content-Type") != "application/ocsp-request" {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		now := time.Now()
		answer, err := ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{
			Status: int(r.status.Load()), SerialNumber: question.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(10 * time.Hour), RevokedAt: now,
		}, ca.key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(answer) // the client sees what is missing
	}))
	t.Cleanup(r.Close)
	return r
}

// stapled adjusts a certificate: it names the responder, and perhaps must have a response.
func (r *responder) stapled(must bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.OCSPServer = []string{r.URL}
		if must {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
		}
	}
}

func TestOCSPStapling(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	r := newResponder(t, ca)
	pair := pairIn(dir, "a")
	ca.write(t, pair, r.stapled(false), "a.example")
	options := CertificatesOptions{Pairs: []CertificatePair{pair}, StapleDir: dir}
	c, err := NewCertificates(options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	at := func(after time.Duration) CertificateState {
		c.restaple(t.Context(), c.table.Load().entries[0], now.Add(after))
		return c.States()[0]
	}
	if state := at(0); !state.Stapled || r.asked.Load() != 1 {
		t.Fatalf("at first: got %+v after %d questions, want a staple", state, r.asked.Load())
	}

	s := startWith(t, Options{Handler: http.NotFoundHandler(), TLS: &tls.Config{GetCertificate: c.GetCertificate}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", s.HTTPSAddr(), &tls.Config{RootCAs: ca.pool(), ServerName: "a.example", MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		response, err := ocsp.ParseResponse(conn.OCSPResponse(), ca.cert)
		if err != nil || response.Status != ocsp.Good {
			t.Errorf("%s: the client got %+v, %v", tls.VersionName(version), response, err)
		}
		_ = conn.Close()
	}

	if at(4 * time.Hour); r.asked.Load() != 1 {
		t.Errorf("before half of its life: asked %d times, want 1", r.asked.Load())
	}
	r.down.Store(true)
	if state := at(6 * time.Hour); !state.Stapled || r.asked.Load() != 2 {
		t.Errorf("responder down: got %+v after %d questions, want the staple from before", state, r.asked.Load())
	}
	if state := at(6*time.Hour + stapleEvery/2); r.asked.Load() != 2 {
		t.Errorf("before the next try: got %+v after %d questions, want 2", state, r.asked.Load())
	}

	again, err := NewCertificates(options)
	if err != nil || !again.States()[0].Stapled {
		t.Errorf("after a restart with the responder down: got %+v, %v, want a staple", again.States()[0], err)
	}

	if state := at(11 * time.Hour); state.Stapled || state.Problem != "" {
		t.Errorf("past the end: got %+v, want no staple and no problem", state)
	}
	r.down.Store(false)
	if state := at(11 * time.Hour); state.Stapled {
		t.Errorf("at once after a failure: got %+v, want it to wait", state)
	}
	r.status.Store(ocsp.Revoked)
	if state := at(9 * time.Hour); state.Stapled {
		t.Errorf("revoked: got %+v, want no staple", state)
	}
}

func TestOCSPRevoked(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	r := newResponder(t, ca)
	r.status.Store(ocsp.Revoked)
	pair := pairIn(dir, "a")
	ca.write(t, pair, r.stapled(false), "a.example")
	c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pair}})
	if err != nil {
		t.Fatal(err)
	}
	c.restaple(t.Context(), c.table.Load().entries[0], time.Now())
	if state := c.States()[0]; state.Stapled || !strings.Contains(state.Problem, "revoked it") {
		t.Errorf("got %+v, want no staple and a problem", state)
	}
}

// TestOCSPRevokedLater: what is revoked while a response from before is still good is told at once, and not when that ends.
func TestOCSPRevokedLater(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	r := newResponder(t, ca)
	pair := pairIn(dir, "a")
	ca.write(t, pair, r.stapled(false), "a.example")
	c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pair}})
	if err != nil {
		t.Fatal(err)
	}
	entry, now := c.table.Load().entries[0], time.Now()
	c.restaple(t.Context(), entry, now)
	r.status.Store(ocsp.Revoked)
	c.restaple(t.Context(), entry, now.Add(6*time.Hour))
	if state := c.States()[0]; !state.Stapled || !strings.Contains(state.Problem, "revoked it") {
		t.Errorf("got %+v, want the staple from before and a problem", state)
	}
}

// TestOCSPOfAnother: a response that another authority signed is none.
func TestOCSPOfAnother(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	r := newResponder(t, newAuthority(t, nil))
	pair := pairIn(dir, "a")
	ca.write(t, pair, r.stapled(true), "a.example")
	c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pair}})
	if err != nil {
		t.Fatal(err)
	}
	c.restaple(t.Context(), c.table.Load().entries[0], time.Now())
	if state := c.States()[0]; state.Stapled || state.Problem == "" {
		t.Errorf("got %+v, want no staple and, as one must be there, a problem", state)
	}
}

// TestOCSPMustStaple: clients refuse such a certificate bare, so it waits for its response.
func TestOCSPMustStaple(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, nil)
	r := newResponder(t, ca)
	r.down.Store(true)
	pair := pairIn(dir, "a")
	ca.write(t, pair, nil, "old.example")
	c, err := NewCertificates(CertificatesOptions{Pairs: []CertificatePair{pair}})
	if err != nil {
		t.Fatal(err)
	}
	ca.write(t, pair, r.stapled(true), "new.example")
	now := time.Now()
	if err := c.refresh(t.Context(), now, false); err == nil || served(t, c, "") != "old.example" {
		t.Errorf("responder down: got %v and serve %s, want old.example", err, served(t, c, ""))
	}
	_ = c.refresh(t.Context(), now.Add(pollEvery), false) // tells, as the test of reloads shows
	r.down.Store(false)
	if err := c.refresh(t.Context(), now.Add(2*pollEvery), false); err != nil || served(t, c, "") != "old.example" {
		t.Errorf("before the next try: got %v and serve %s, want old.example", err, served(t, c, ""))
	}
	if err := c.refresh(t.Context(), now.Add(2*failedEvery), false); err != nil || served(t, c, "") != "new.example" || !c.States()[0].Stapled {
		t.Errorf("responder up: got %v, serve %+v, want new.example with a staple", err, c.States()[0])
	}
}
