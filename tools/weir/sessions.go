package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"weir/configs"
	"weir/edge/limit"
	"weir/edge/quality"
	"weir/edge/sdk"
	"weir/edge/session"
	"weir/edge/upstream"
)

const (
	// sessionPath is where nodes ask each other for play sessions, on the peers' listener and nowhere else, as noticePath is.
	sessionPath       = "/./sessions"
	downloadPath      = "/./downloads"
	spentPath         = "/./spent"   // one-time tokens
	reportPath        = "/./reports" // of what was watched offline, that they were taken
	sessionLimitBytes = 32 << 20     // of a message: a group of 100,000 has about 20 MB
)

// maxReports is how many batches of reports a node remembers that may not count again, copies included: about 160 MB.
const maxReports = 1 << 18

// downloadLease is how long a download counts that its player does not ask about.
const downloadLease = 30 * 24 * time.Hour

// buildSessions makes what keeps the sessions and downloads of viewers, the one-time tokens that they used and which reports came, and finds those
// that other nodes keep.
func (n *node) buildSessions() (err error) {
	n.ownKey = make([]byte, 32)
	_, _ = rand.Read(n.ownKey) // never fails
	options := session.Options{Name: n.config.Node.Name, Region: n.config.Node.Region, Keys: n.sessionKeys, Log: n.log}
	if n.options.keyring != nil {
		options.Owners, options.Send = n.sessionOwners, n.askSessions
		options.Ring, options.Relays, options.Regions = n.sessionRing, n.sessionRelays, n.sessionRegions
	}
	if n.sessions, err = session.New(options); err != nil {
		return err
	}
	options.Lease = downloadLease
	if options.Send != nil {
		options.Send = n.askDownloads
	}
	if n.downloads, err = session.New(options); err != nil {
		return err
	}
	options.Lease, options.Keep, options.Max = oneTimeLease, oneTimeKeep, oneTimeTokens
	if options.Send != nil {
		options.Send = n.askSpent
	}
	if n.spent, err = session.New(options); err != nil {
		return err
	}
	options.Lease, options.Keep, options.Max = quality.MaxAge, oneTimeKeep, maxReports
	if options.Send != nil {
		options.Send = func(ctx context.Context, to session.Node, message []byte) ([]byte, error) {
			return n.askNode(ctx, to, reportPath, message)
		}
	}
	n.reports, err = session.New(options)
	return err
}

// sessionKeys are those of the cluster's secrets; of a node alone one that ends with it, as its sessions do.
func (n *node) sessionKeys() [][]byte {
	if n.options.keyring == nil {
		return [][]byte{n.ownKey}
	}
	var keys [][]byte
	for _, secret := range n.options.keyring.Secrets() {
		keys = append(keys, secret.SessionKey())
	}
	return keys
}

// sessionOwners are the nodes of the region that a place belongs to.
func (n *node) sessionOwners(p session.Place) []session.Node {
	var nodes []session.Node
	for owner := range n.ring().Owners(uint64(p)) {
		nodes = append(nodes, session.Node{Name: owner.Name, Address: owner.Addr})
	}
	return nodes
}

// sessionRing is all nodes of the region; none before gossip has begun, and while nobody answers of those that are to be there.
func (n *node) sessionRing() (version uint64, nodes []session.Node) {
	r := n.ring()
	select {
	case <-n.cluster.Ready():
	default:
		return r.Version(), nil
	}
	if r.Len() == 1 && len(n.config.Cluster.Join) > 0 {
		return r.Version(), nil
	}
	for _, node := range r.Nodes() {
		nodes = append(nodes, session.Node{Name: node.Name, Address: node.Addr})
	}
	return r.Version(), nodes
}

func (n *node) askSessions(ctx context.Context, to session.Node, message []byte) ([]byte, error) {
	return n.askNode(ctx, to, sessionPath, message)
}

func (n *node) askDownloads(ctx context.Context, to session.Node, message []byte) ([]byte, error) {
	return n.askNode(ctx, to, downloadPath, message)
}

func (n *node) askSpent(ctx context.Context, to session.Node, message []byte) ([]byte, error) {
	return n.askNode(ctx, to, spentPath, message)
}

func (n *node) askNode(ctx context.Context, to session.Node, path string, message []byte) ([]byte, error) {
	if err := n.sameProtocol(to.Name); err != nil {
		return nil, err
	}
	return n.peers.Call(ctx, upstream.Callee{Name: to.Name, Address: to.Address, Far: n.far(to.Name)}, path, message, sessionLimitBytes)
}

func (n *node) sessionRelays() []session.Node {
	var nodes []session.Node
	for _, r := range n.relays() {
		nodes = append(nodes, session.Node{Name: r.Name, Address: r.Address})
	}
	return nodes
}

func (n *node) sessionRegions() [][]session.Node {
	var regions [][]session.Node
	for _, region := range n.otherRegions() {
		var nodes []session.Node
		for _, r := range region.Relays {
			if !r.Lost {
				nodes = append(nodes, session.Node{Name: r.Name, Address: r.Address})
			}
		}
		regions = append(regions, nodes)
	}
	return regions
}

// serveSessions answers another node.
func (n *node) serveSessions(book *session.Book, w http.ResponseWriter, r *http.Request) {
	message, err := io.ReadAll(io.LimitReader(r.Body, sessionLimitBytes))
	if err != nil {
		return // the other node has gone
	}
	answer, err := book.Serve(r.Context(), message)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the other node has gone
}

// tellBooks tells the process that takes over who watches and downloads, until ctx ends.
func (n *node) tellBooks(ctx context.Context, s *successor) error {
	_ = s.line.conn.SetWriteDeadline(time.Time{}) // a closed one needs none, here and below
	stop := context.AfterFunc(ctx, func() { _ = s.line.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	for name, book := range n.books() {
		if err := book.Export(func(part []byte) error {
			return s.line.say(message{Say: sayBook, Book: name, Part: part})
		}); err != nil {
			return err
		}
	}
	return nil
}

// takeBook takes in what the process before has told.
func (n *node) takeBook(m message) error {
	if m.Say == sayGo {
		if len(m.Key) > 0 {
			n.ownKey = m.Key // before anybody is served
		}
		return nil
	}
	if m.Book == bookQuality {
		return n.quality.Import(m.Part, time.Now())
	}
	book := n.books()[m.Book]
	if book == nil {
		return fmt.Errorf("the process before tells of %q, which is not known here", m.Book)
	}
	return book.Import(m.Part)
}

func (n *node) books() map[string]*session.Book {
	return map[string]*session.Book{bookSessions: n.sessions, bookDownloads: n.downloads, bookSpent: n.spent, bookReports: n.reports}
}

// newAPI makes the endpoints for players of a site.
func (n *node) newAPI(s *configs.Site) (*sdk.API, error) {
	steering, err := steeringOf(&s.SDK.Steering)
	if err != nil {
		return nil, err
	}
	options := sdk.Options{
		Sessions: n.sessions, Key: func() []byte { return n.sessionKeys()[0] }, Report: n.report, Once: n.reports, Node: n.config.Node.Name, Nodes: n.steeredNodes, Probe: n.probe,
		Heartbeat: s.SDK.Heartbeat.D(), Assist: n.assist(s), Log: n.log, Gate: n.players,
		Steering: steering, Starves: starves,
		Rates: sdk.Rates{Network: sdkRate(s.SDK.Limits.Network), Account: sdkRate(s.SDK.Limits.Account)},
	}
	if s.SDK.Downloads.Allow {
		options.Downloads, options.DownloadLimit, options.Fetch, options.Size = n.downloads, s.SDK.Downloads.PerAccount, n.fetchHere, n.sizeHere
	}
	for _, a := range s.SDK.Assets {
		options.Assets = append(options.Assets, sdk.Asset{Match: a.Match, HLS: a.HLS, DASH: a.DASH, Licenses: a.Licenses, Limit: a.Viewers})
	}
	if s.SDK.Accounts.KeysFile != "" {
		if options.Viewer, err = n.viewersOfTokens(&s.SDK.Accounts); err != nil {
			return nil, err
		}
		options.AccountLimit = s.SDK.Accounts.Streams
	}
	if s.SDK.Tokens {
		if options.Issue, err = issuer(&s.Token); err != nil {
			return nil, err
		}
	}
	return sdk.New(options)
}

// sdkRate is a rate of the endpoints for players; the zero value leaves it to them.
func sdkRate(c configs.RequestRate) limit.Rate {
	r := limit.Rate{PerSecond: c.Requests, Burst: float64(c.Burst)}
	if c.Burst == 0 {
		r.Burst = 10 * c.Requests
	}
	return r
}

// probe asks the edge for a path as the client of r is about to, and returns the status.
func (n *node) probe(r *http.Request, path string) int {
	w := &innerWriter{}
	n.askEdge(w, r, http.MethodGet, path)
	return w.status
}

// fetchHere returns up to most bytes of the body too.
func (n *node) fetchHere(r *http.Request, path string, most int64) (status int, body []byte) {
	w := &innerWriter{limit: most}
	n.askEdge(w, r, http.MethodGet, path)
	return w.status, w.body
}

// sizeHere returns the length of what is at a path, below 0 where it is not told.
func (n *node) sizeHere(r *http.Request, path string) int64 {
	w := &innerWriter{}
	n.askEdge(w, r, http.MethodHead, path)
	size, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	if err != nil || w.status != http.StatusOK {
		return -1
	}
	return size
}

// askEdge has the edge answer as it would answer the client of r.
func (n *node) askEdge(w *innerWriter, r *http.Request, method, path string) {
	w.header, w.status = http.Header{}, http.StatusNotFound
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return
	}
	ask := (&http.Request{
		Method: method, URL: target, RequestURI: path, Host: r.Host, Header: http.Header{}, Body: http.NoBody,
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, RemoteAddr: r.RemoteAddr, TLS: r.TLS,
	}).WithContext(r.Context())
	// Not Authorization: it tells who the viewer is, and is for no origin.
	for _, name := range []string{"User-Agent", "Referer", "Origin"} {
		if values := r.Header.Values(name); len(values) > 0 {
			ask.Header[name] = values
		}
	}
	defer func() {
		switch broken := recover(); broken {
		case nil:
		case http.ErrAbortHandler: // how the edge breaks a body off
			w.status = http.StatusBadGateway
		default:
			panic(broken)
		}
	}()
	n.edge.ServeHTTP(w, ask)
}

// innerWriter keeps the head, and some of the body.
type innerWriter struct {
	header http.Header
	status int
	begun  bool
	limit  int64 // of body
	body   []byte
}

// Header is http.ResponseWriter's.
func (w *innerWriter) Header() http.Header { return w.header }

// WriteHeader notes the status of the final response.
func (w *innerWriter) WriteHeader(status int) {
	if !w.begun && status >= http.StatusOK {
		w.status, w.begun = status, true
	}
}

func (w *innerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if room := w.limit - int64(len(w.body)); room > 0 {
		w.body = append(w.body, p[:min(room, int64(len(p)))]...)
	}
	return len(p), nil
}
