package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pollEvery is the time between two looks at the files. A look is two stat(2) for a pair.
	pollEvery = 5 * time.Second
	// mintEvery is the time between two looks at a certificate of our own, which lives for a year.
	mintEvery = 24 * time.Hour
	// ExpiryWarning is how long before its end a certificate is reported: two weeks are
	// what is left when a renewal that begins a month before the end has failed for two.
	ExpiryWarning = 14 * 24 * time.Hour
	// failedEvery is the time between two tries with files that cannot be used and do not
	// change: they may only be ahead of their time, or wait for an OCSP response.
	failedEvery = time.Minute
	// warnEvery is the time between two warnings about one certificate.
	warnEvery = 24 * time.Hour
)

// A CertificatePair names the two PEM files of a certificate.
type CertificatePair struct {
	Cert string // the leaf, then each issuer up to the root, which may be left out
	Key  string // the leaf's private key
}

// CertificatesOptions says where certificates come from. One of Pairs and MintDir is
// needed.
type CertificatesOptions struct {
	// Pairs are the certificates in order: the first serves clients that name no host.
	Pairs []CertificatePair
	// MintDir is where MintCertificate keeps a certificate for MintNames when there are
	// no Pairs.
	MintDir   string
	MintNames []string
	// ACME has certificates for its hosts, which go before those of Pairs; nil for none.
	// Until it has one, Pairs serve, or else the minted one.
	ACME *ACME
	// Strict refuses clients that name a host for which there is no certificate
	// (unrecognized_name, RFC 6066, 3); without it they get the first. Who names no host
	// gets the first either way.
	Strict bool
	// StapleDir keeps OCSP responses over a restart; "" keeps them in memory alone.
	StapleDir string
	// Client asks OCSP responders; nil means one that gives up after 10 s.
	Client *http.Client
	// Log gets changes at info level, what is wrong with a file at error level, and at
	// warn level, once a day, what ends within ExpiryWarning; nil discards them.
	Log *slog.Logger
}

// Certificates chooses a certificate for each handshake, and keeps what it chooses
// from up to date: it reloads files that change and staples OCSP responses (RFC 6066,
// 8) to certificates that name a responder. Its methods may be called by many
// goroutines at once. Handshakes read an immutable table through one pointer; the
// goroutines of Run alone replace it.
type Certificates struct {
	opts    CertificatesOptions
	log     *slog.Logger
	table   atomic.Pointer[certTable]
	reloads chan reloadOrder
	wake    chan struct{} // tells the stapler of new certificates; holds one

	// The fields below belong to the goroutine of Run, and to New before it.
	sources []*certSource
	warned  time.Time
}

// certSource is where one certificate comes from.
type certSource struct {
	pair   CertificatePair // zero: minted
	seen   [2]os.FileInfo  // the files when they were last read
	failed bool            // what was seen cannot be used
	told   bool            // and that was said
	again  time.Time       // when what failed is tried again, changed or not
	minted time.Time       // when a minted one was last looked at
}

// certTable is what handshakes choose from. Immutable but for the staples and texts in
// its entries.
type certTable struct {
	entries []*certEntry // in the order of the sources
	byName  map[string][]*certEntry
}

// certEntry is one certificate in use.
type certEntry struct {
	file     string                          // for messages
	problem  atomic.Pointer[string]          // why its file was not taken, nil when it was
	serving  atomic.Pointer[tls.Certificate] // with its staple; Leaf is set
	stapling stapling
}

// CertificateState tells of one certificate in use.
type CertificateState struct {
	File     string    // the certificate's file
	Names    []string  // host names, then addresses
	NotAfter time.Time // when it ends
	Problem  string    // why a newer file was not taken, or what OCSP says against it; "" for nothing
	Stapled  bool      // an OCSP response goes out with it
}

// NewCertificates reads all certificates. An error names the file and what is wrong
// with it. It starts nothing: see Run.
func NewCertificates(o CertificatesOptions) (*Certificates, error) {
	if len(o.Pairs) == 0 && o.MintDir == "" {
		return nil, errors.New("front: one of CertificatesOptions.Pairs and MintDir is needed")
	}
	c := &Certificates{opts: o, log: o.Log, reloads: make(chan reloadOrder), wake: make(chan struct{}, 1)}
	c.opts.Pairs = slices.Clone(o.Pairs)
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.opts.Client == nil {
		c.opts.Client = ocspClient()
	}
	for _, pair := range c.opts.Pairs {
		c.sources = append(c.sources, &certSource{pair: pair})
	}
	if len(c.sources) == 0 {
		c.sources = []*certSource{{}}
	}
	now := time.Now()
	entries := make([]*certEntry, len(c.sources))
	for i, source := range c.sources {
		entry, err := c.load(source, now)
		if err != nil {
			return nil, err
		}
		entries[i] = entry
	}
	c.publish(entries)
	return c, nil
}

// Run looks at the files every 5 s, obeys Reload, and fetches OCSP responses, until ctx
// ends. It is called at most once. Its error is nil.
func (c *Certificates) Run(ctx context.Context) error {
	var stapler sync.WaitGroup
	defer stapler.Wait()
	stapler.Go(func() { c.staple(ctx) }) // ends with ctx
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	c.warn(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = c.refresh(ctx, time.Now(), false) // logged there
		case order := <-c.reloads:
			if order.pairs != nil {
				order.done <- c.replace(ctx, order.pairs, time.Now())
			} else {
				order.done <- c.refresh(ctx, time.Now(), true)
			}
		}
		c.warn(time.Now())
	}
}

// Reload reads every file anew, changed or not. Where one cannot be used, the certificate
// from before stays and the error says why; the others change all the same. It needs
// Run, and waits for it until ctx ends.
func (c *Certificates) Reload(ctx context.Context) error { return c.order(ctx, nil) }

// Replace takes other Pairs in place of those of the options, at least one. Where one cannot be used nothing changes. It
// needs Run, as Reload does; certificates by ACME, and one that was minted in place of Pairs, are not touched.
func (c *Certificates) Replace(ctx context.Context, pairs []CertificatePair) error {
	if len(pairs) == 0 {
		return errors.New("front: no certificates to take in place of others")
	}
	return c.order(ctx, slices.Clone(pairs))
}

// reloadOrder is what Run is to do. Pairs are nil for Reload.
type reloadOrder struct {
	pairs []CertificatePair
	done  chan error // has room for one
}

func (c *Certificates) order(ctx context.Context, pairs []CertificatePair) error {
	done := make(chan error, 1)
	select {
	case c.reloads <- reloadOrder{pairs, done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// GetCertificate is for tls.Config: the certificate for the name that the client asks
// for, exact before wildcard, else the first. Of several for one name it is the first
// whose kind of key the client knows. Hot path: two look-ups for each handshake.
func (c *Certificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	table := c.table.Load()
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if c.opts.ACME != nil {
		// An authority wants the answer to its challenge and nothing else.
		if cert := c.opts.ACME.certificate(hello, name); cert != nil || isACME(hello) {
			return cert, nil
		}
	}
	if name == "" {
		return table.entries[0].serving.Load(), nil
	}
	found := table.byName[name]
	if found == nil {
		if _, parent, ok := strings.Cut(name, "."); ok {
			found = table.byName["*."+parent] // RFC 9525, 6.3: for one label, the leftmost
		}
	}
	if found == nil {
		if c.opts.Strict {
			return nil, nil // crypto/tls answers no certificate with unrecognized_name
		}
		return table.entries[0].serving.Load(), nil
	}
	return supported(hello, found), nil
}

// supported returns the first certificate that the client can use, or the first.
func supported(hello *tls.ClientHelloInfo, entries []*certEntry) *tls.Certificate {
	if len(entries) > 1 {
		for _, entry := range entries {
			if cert := entry.serving.Load(); hello.SupportsCertificate(cert) == nil {
				return cert
			}
		}
	}
	return entries[0].serving.Load()
}

// States lists the certificates in use, in the order of the options, then those by ACME:
// of these, one without NotAfter is not there yet.
func (c *Certificates) States() []CertificateState {
	var states []CertificateState
	for _, entry := range c.table.Load().entries {
		cert := entry.serving.Load()
		state := CertificateState{File: entry.file, Names: names(cert), NotAfter: cert.Leaf.NotAfter, Stapled: len(cert.OCSPStaple) > 0}
		if problem := entry.problem.Load(); problem != nil {
			state.Problem = *problem
		} else if problem := entry.stapling.problem.Load(); problem != nil {
			state.Problem = *problem
		}
		states = append(states, state)
	}
	if c.opts.ACME != nil {
		states = append(states, c.opts.ACME.states()...)
	}
	return states
}

// load reads the certificate of a source.
func (c *Certificates) load(source *certSource, now time.Time) (*certEntry, error) {
	if source.pair == (CertificatePair{}) {
		source.minted = now
		cert, err := MintCertificate(c.opts.MintDir, c.opts.MintNames, now)
		if err != nil {
			return nil, err
		}
		return newCertEntry(c.opts.MintDir, cert), nil
	}
	source.look()
	cert, err := loadCertificate(source.pair.Cert, source.pair.Key, now)
	if err != nil {
		return nil, err
	}
	if err := checkChain(source.pair.Cert, cert); err != nil {
		return nil, err
	}
	entry := newCertEntry(source.pair.Cert, cert)
	c.restoreStaple(entry, now)
	return entry, nil
}

func newCertEntry(file string, cert tls.Certificate) *certEntry {
	entry := &certEntry{file: file}
	entry.serving.Store(&cert)
	entry.stapling.init(&cert)
	return entry
}

// refresh reads the sources that have changed, or all, and publishes what can be used.
func (c *Certificates) refresh(ctx context.Context, now time.Time, all bool) error {
	entries := slices.Clone(c.table.Load().entries)
	var errs []error
	changed := false
	for i, source := range c.sources {
		if !all && !source.due(now) {
			continue
		}
		entry, err := c.load(source, now)
		if err == nil && entry.stapling.must && entry.serving.Load().OCSPStaple == nil {
			// RFC 7633: clients refuse it bare, so it comes with its response or not yet.
			err = c.fetchStaple(ctx, entry, now)
		}
		if err != nil {
			errs = append(errs, err)
			c.keep(source, entries[i], err, now, all)
			continue
		}
		source.failed, source.told = false, false
		entries[i].problem.Store(nil)
		if slices.EqualFunc(entry.serving.Load().Certificate, entries[i].serving.Load().Certificate, slices.Equal) {
			continue
		}
		c.log.Info("certificate changed", "file", entry.file, "names", names(entry.serving.Load()), "until", entry.serving.Load().Leaf.NotAfter)
		entries[i], changed = entry, true
	}
	if changed {
		c.publish(entries)
	}
	return errors.Join(errs...)
}

// replace loads the pairs and publishes them, or nothing. What stays keeps its entry, and with it its staple.
func (c *Certificates) replace(ctx context.Context, pairs []CertificatePair, now time.Time) error {
	old := c.table.Load().entries
	sources, entries := make([]*certSource, len(pairs)), make([]*certEntry, len(pairs))
	for i, pair := range pairs {
		if at := slices.IndexFunc(c.sources, func(s *certSource) bool { return s.pair == pair }); at >= 0 {
			sources[i], entries[i] = c.sources[at], old[at]
			continue
		}
		sources[i] = &certSource{pair: pair}
		var err error
		if entries[i], err = c.load(sources[i], now); err != nil {
			return err
		}
		if entries[i].stapling.must && entries[i].serving.Load().OCSPStaple == nil { // as in refresh
			if err := c.fetchStaple(ctx, entries[i], now); err != nil {
				return err
			}
		}
	}
	c.sources = sources
	c.publish(entries)
	c.log.Info("certificates replaced", "before", len(old), "now", len(entries))
	return nil
}

// keep notes that a source cannot be used. Two files are seldom replaced at once, so a
// look that finds half of a new pair says nothing, and the next one does.
func (c *Certificates) keep(source *certSource, entry *certEntry, err error, now time.Time, asked bool) {
	if source.failed && !source.told || asked {
		source.told = true
		text := err.Error()
		entry.problem.Store(&text)
		c.log.Error("certificate not taken, the one from before stays", "error", err, "until", entry.serving.Load().Leaf.NotAfter)
	}
	source.failed, source.again = true, now.Add(failedEvery)
}

// look notes the files as they are before they are read.
func (s *certSource) look() {
	for i, name := range []string{s.pair.Cert, s.pair.Key} {
		s.seen[i], _ = os.Stat(name) // reading it tells what is wrong
	}
}

// due tells whether the source is to be read: it has changed, or it could not be used
// and nobody has said so yet, or not lately.
func (s *certSource) due(now time.Time) bool {
	if s.pair == (CertificatePair{}) {
		return now.Sub(s.minted) >= mintEvery
	}
	was := s.seen
	s.look()
	if s.failed && (!s.told || !now.Before(s.again)) {
		return true
	}
	for i := range was {
		if changed(was[i], s.seen[i]) {
			s.failed, s.told = false, false
			return true
		}
	}
	return false
}

func changed(was, is os.FileInfo) bool {
	if was == nil || is == nil {
		return (was == nil) != (is == nil)
	}
	return !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) || was.Size() != is.Size()
}

// publish gives handshakes the entries to choose from, and the stapler something to do.
func (c *Certificates) publish(entries []*certEntry) {
	table := &certTable{entries: entries, byName: map[string][]*certEntry{}}
	for _, entry := range entries {
		for _, name := range entry.serving.Load().Leaf.DNSNames {
			name = strings.ToLower(name)
			if !slices.Contains(table.byName[name], entry) {
				table.byName[name] = append(table.byName[name], entry)
			}
		}
	}
	c.table.Store(table)
	select {
	case c.wake <- struct{}{}:
	default: // it is told already
	}
}

// warn logs, once a day, what ends soon.
func (c *Certificates) warn(now time.Time) {
	if now.Sub(c.warned) < warnEvery {
		return
	}
	c.warned = now
	for _, state := range c.States() {
		if left := state.NotAfter.Sub(now); left < ExpiryWarning && !state.NotAfter.IsZero() {
			c.log.Warn("certificate ends soon", "file", state.File, "names", state.Names, "until", state.NotAfter, "left", left.Round(time.Minute))
		}
	}
}

// names lists whom a certificate is for.
func names(cert *tls.Certificate) []string {
	all := slices.Clone(cert.Leaf.DNSNames)
	for _, ip := range cert.Leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// checkChain makes sure that each certificate of the file is signed by the next.
func checkChain(file string, cert tls.Certificate) error {
	chain, err := chainOf(cert)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", file, err)
	}
	for i := range len(chain) - 1 {
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			return fmt.Errorf("certificate %s: number %d in it (%s) is not signed by number %d (%s): write the leaf first, then each issuer: %w",
				file, i+1, chain[i].Subject, i+2, chain[i+1].Subject, err)
		}
	}
	return nil
}
