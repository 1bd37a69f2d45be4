package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [PeerOptions]: a peer is near, so that a slow one is left early.
const (
	defaultPeerConnect = 250 * time.Millisecond
	defaultPeerSign    = time.Second
	defaultPeerHead    = 15 * time.Second // longer than an origin's: the peer waits for it
	defaultPeerStall   = 12 * time.Second // longer than an origin's, for the same reason
	peerSigns          = 4                // a peer says so for each fill that it joins for us
	peerWindowBytes    = 4 << 20          // receive window of one stream: a 2 MiB segment flows without a pause
	peerConnBytes      = 64 << 20
	clearConns         = 256 // idle connections kept to each node where HTTP/1.1 needs one for each request
	// peerSilence is after how long without a frame a peer is asked whether it is
	// there, and how long it may take to say so. A peer that waits for a slow origin
	// answers; one that hangs has lost its transfers after twice this time, and they
	// are taken up elsewhere before a buffer of a few seconds is empty.
	peerSilence = time.Second
	// peerRetriesPerSecond is beside retryShare: how often the next owner, or the
	// origin, is asked because a peer failed.
	peerRetriesPerSecond = 5
	// hedgeShare of the requests may be sent to a second upstream because the first
	// is slow; mostHedges are saved up at most.
	hedgeShare = 0.02
	mostHedges = 10
	// A peer of which too little is known yet is slow after defaultPatience, one in another region after that times
	// patienceFar: a third of a second there and back, three times for the first request. No peer is slow before
	// leastSlow, which is what a busy machine takes to wake.
	defaultPatience = 100 * time.Millisecond
	patienceFar     = 10
	leastSlow       = 20 * time.Millisecond
	// farTimes longer is what is waited for a node in another region: up to a second
	// and a quarter for the connection, 5 s for a sign of life.
	farTimes = 5
	// boundedLoad is how many times the mean load a node may have of ours before the
	// next owner is asked; crowdedFewest requests at a time are never too many.
	boundedLoad   = 1.25
	crowdedFewest = 32
	maxNodes      = 4096 // more names than a cluster ever has at once
)

// unsignedField is in the answer of a node that does not accept our signature.
const unsignedField = "Weir-Unsigned"

var errUnsigned = errors.New("it does not accept this node's signature: the secrets, or the clocks, differ")

// PeerOptions describes how other nodes are asked.
type PeerOptions struct {
	// Sign signs a request to the node called to, whose body is nil or known as a whole; it may change the header. Where
	// it is given, peers are asked over HTTP/1.1 in the clear, and TLS is not used.
	Sign           func(r *http.Request, to string, body []byte)
	TLS            *tls.Config   // client side of the cluster's mutual TLS; ServerName is set to the node's name
	Dial           DialFunc      // nil: net.Dialer
	ConnectTimeout time.Duration // connection and handshake, default 250 ms each
	SignTimeout    time.Duration // wait for an interim or final response, default 1 s
	HeadTimeout    time.Duration // wait for the final one after an interim one, default 15 s
	StallTimeout   time.Duration // wait for the next byte, default 12 s
	Patience       time.Duration // for a sign of life of a node that is not known yet, before another one is asked; default 100 ms
	// Says names a field of responses by which a node tells something of itself: it is kept for [PeerState] and taken off
	// the response. "": none.
	Says string
}

// Peers asks other nodes of the cluster over HTTP/2, or HTTP/1.1 in the clear. Safe for concurrent use.
type Peers struct {
	options   PeerOptions
	transport *http.Transport
	retries   *budget
	hedges    *budget
	count     counts
	mu        sync.RWMutex     // guards the field below
	nodes     map[string]*peer // by name; at most maxNodes, then all are forgotten
}

// peer is what is known of one node.
type peer struct {
	breaker

	address string       // host:port as last seen in a ring
	far     atomic.Bool  // it is in another region
	running atomic.Int64 // requests whose response is not closed yet
	asked   atomic.Bool
	said    atomic.Pointer[saying]
}

// saying is what a node said of itself.
type saying struct {
	text string
	at   time.Time
}

// NewPeers starts nothing.
func NewPeers(o PeerOptions) (*Peers, error) {
	if o.TLS == nil && o.Sign == nil {
		return nil, errors.New("upstream: peers need the cluster's TLS configuration, or a way to sign requests in the clear")
	}
	o.ConnectTimeout = orDefault(o.ConnectTimeout, defaultPeerConnect)
	o.SignTimeout = orDefault(o.SignTimeout, defaultPeerSign)
	o.HeadTimeout = orDefault(o.HeadTimeout, defaultPeerHead)
	o.StallTimeout = orDefault(o.StallTimeout, defaultPeerStall)
	o.Patience = orDefault(o.Patience, defaultPatience)
	p := &Peers{
		options: o, nodes: map[string]*peer{},
		retries: newBudget(retryShare, peerRetriesPerSecond, peerRetriesPerSecond*budgetSeconds),
		hedges:  newBudget(hedgeShare, 0, mostHedges),
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	p.transport = &http.Transport{
		DialContext:         p.dialNode(dial),
		TLSHandshakeTimeout: max(o.ConnectTimeout, time.Second), // a busy peer may be slow to sign
		DisableCompression:  true,
		IdleConnTimeout:     60 * time.Second,
		MaxIdleConnsPerHost: clearConns,
	}
	if o.Sign != nil {
		return p, nil
	}
	p.transport.TLSClientConfig = o.TLS.Clone()
	p.transport.ForceAttemptHTTP2 = true
	p.transport.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerStream:     peerWindowBytes,
		MaxReceiveBufferPerConnection: peerConnBytes,
		SendPingTimeout:               peerSilence, // a silent connection is tested, and replaced
		PingTimeout:                   peerSilence,
	}
	return p, nil
}

// Fetch asks the node of that name at that address. Errors are *Error.
func (p *Peers) Fetch(ctx context.Context, name, address string, r *Request) (*Response, error) {
	op := "fetch from peer " + name
	node := p.learn(name, address, r.Far)
	out, err := newRequest(r, p.scheme(), name, "")
	if err != nil {
		return nil, &Error{Op: op, Source: FromSelf, Kind: InternalError, Err: err}
	}
	if p.options.Sign != nil {
		out.Header = maps.Clone(out.Header) // the caller's goes to others too
		p.options.Sign(out, name, nil)
	}
	waits := limits{sign: node.wait(p.options.SignTimeout), head: p.options.HeadTimeout, signs: peerSigns, stall: p.options.StallTimeout, end: r.Deadline}
	sent := time.Now()
	var signed atomic.Int64 // how long the first interim response took
	p.retries.earn(sent)
	p.hedges.earn(sent)
	node.begin(sent)
	node.asked.Store(true)
	node.running.Add(1)
	resp, err := roundTrip(ctx, p.transport, out, func(status int, h http.Header) {
		signed.CompareAndSwap(0, int64(time.Since(sent)))
		p.listen(node, h)
		if r.Interim != nil {
			r.Interim(status, h)
		}
	}, waits, &p.count, op, FromPeer)
	if err == nil && p.options.Sign != nil && resp.Status == http.StatusForbidden && resp.Header.Get(unsignedField) != "" {
		_ = resp.Body.Close() // a line of text
		resp, err = nil, &Error{Op: op, Source: FromPeer, Kind: HTTPProtocolError, Retry: true, Status: http.StatusForbidden, Err: errUnsigned}
	}
	if err != nil {
		node.running.Add(-1)
	}
	switch {
	case err == nil:
		p.listen(node, resp.Header)
		resp.Node, resp.Body = name, &counted{ReadCloser: resp.Body, running: &node.running}
		sign := time.Duration(signed.Load())
		if sign == 0 {
			sign = resp.ResponseTime.Sub(resp.RequestTime)
		}
		node.good(sign, resp.ResponseTime)
	case ctx.Err() == nil: // what the caller gave up says nothing about the peer, but see Slow
		node.bad(err.Error(), time.Now())
	}
	return resp, err
}

func (p *Peers) scheme() string {
	if p.options.Sign != nil {
		return "http"
	}
	return "https"
}

// PeerState is what the request path knows of a node.
type PeerState struct {
	OK        bool          // it is asked, or would be
	Asked     bool          // it was asked by [Peers.Fetch] at least once
	LastError string        // of the last fetch, "" after a good one
	Slow      time.Duration // 19 of 20 first signs of life took less; 0: too little is known
	Running   int64         // requests whose response is not closed yet
	Breaker   Breaker
	Said      string    // what it said of itself last, see [PeerOptions]; "": nothing
	SaidAt    time.Time // within a second
}

// State tells how a node has answered; false for one that was never asked nor called.
func (p *Peers) State(name string) (s PeerState, ok bool) {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	if node == nil {
		return s, false
	}
	now := time.Now()
	s.Breaker, s.LastError = node.seen(now)
	s.OK, s.Asked, s.Slow, s.Running = node.usable(now), node.asked.Load(), node.slow(), node.running.Load()
	if said := node.said.Load(); said != nil {
		s.Said, s.SaidAt = said.text, said.at
	}
	return s, true
}

// Opened counts, for each node that was left out, how often that was.
func (p *Peers) Opened() map[string]uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	now, out := time.Now(), map[string]uint64{}
	for name, node := range p.nodes {
		if s, _ := node.seen(now); s.Opened > 0 {
			out[name] = uint64(s.Opened)
		}
	}
	return out
}

// Failed counts failed requests and broken bodies by what went wrong; what never did is left out, and what the caller
// gave up.
func (p *Peers) Failed() map[Kind]uint64 { return p.count.byKind() }

// Budgets are those of [Peers.Retry] and [Peers.Hedge].
func (p *Peers) Budgets() (retries, hedges Budget) {
	now := time.Now()
	return p.retries.seen(now), p.hedges.seen(now)
}

// Patience is how long to wait for a sign of life of that node, which may be in
// another region, before asking somebody else as well: what 19 of 20 of its answers
// took less than.
func (p *Peers) Patience(name string, far bool) time.Duration {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	slow := p.options.Patience
	if far {
		slow *= patienceFar
	}
	if node != nil {
		if known := node.slow(); known > 0 {
			slow = known
		}
	}
	return max(slow, leastSlow)
}

// Slow tells that somebody else answered while nothing was heard of that node. As
// a failure it counts towards leaving the node out.
func (p *Peers) Slow(name string) {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	if node != nil {
		node.bad("slower than another upstream that was asked later", time.Now())
	}
}

// Crowded tells whether that node, one of so many, has more than its share of what
// we ask of peers: more than 1.25 times the mean, and more than a few (bounded
// load: Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads).
func (p *Peers) Crowded(name string, nodes int) bool {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	if node == nil {
		return false
	}
	running := node.running.Load()
	return running > crowdedFewest && float64(running)*float64(nodes) > boundedLoad*float64(p.count.running.Load())
}

// Retry tells whether another upstream may be asked because a peer failed: 10 %
// of the requests and 5 each second.
func (p *Peers) Retry() bool { return p.retries.spend(time.Now()) }

// Hedge tells whether another upstream may be asked because a peer is slow: 2 % of
// the requests.
func (p *Peers) Hedge() bool { return p.hedges.spend(time.Now()) }

// Usable is false for a node that failed several times in a row, for a while:
// gossip needs seconds to find a dead node, the request path must not.
func (p *Peers) Usable(name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	node := p.nodes[name]
	return node == nil || node.usable(time.Now())
}

// Stats counts the fetches from all peers.
func (p *Peers) Stats() Stats { return p.count.snapshot() }

// Close drops idle connections.
func (p *Peers) Close() { p.transport.CloseIdleConnections() }

// wait is how long to wait where a near node gets d.
func (n *peer) wait(d time.Duration) time.Duration {
	if n.far.Load() {
		return farTimes * d
	}
	return d
}

// listen keeps what a node says of itself.
func (p *Peers) listen(node *peer, h http.Header) {
	if p.options.Says == "" {
		return
	}
	said := h.Get(p.options.Says)
	h.Del(p.options.Says)
	const longest = 64 // it is shown to operators
	now := time.Now()
	if last := node.said.Load(); said != "" && len(said) <= longest && (last == nil || last.text != said || now.Sub(last.at) > time.Second) {
		node.said.Store(&saying{said, now})
	}
}

// learn returns the node, a fresh one when its address changed: it restarted.
func (p *Peers) learn(name, address string, far bool) *peer {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	if node != nil && node.address == address {
		if far && !node.far.Load() {
			node.far.Store(true)
		}
		return node
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if node = p.nodes[name]; node == nil || node.address != address {
		if len(p.nodes) >= maxNodes {
			clear(p.nodes)
		}
		fresh := &peer{address: address}
		if node != nil {
			s, _ := node.seen(time.Now())
			fresh.times = s.Opened // counters do not go back
		}
		fresh.far.Store(far)
		node = fresh
		p.nodes[name] = node
	}
	return node
}

// dialNode lets net/http pool connections by node name, which is also the name
// in the node's certificate, and dials the address that the ring gave.
func (p *Peers) dialNode(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, nodePort string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(nodePort)
		if err != nil {
			return nil, err
		}
		p.mu.RLock()
		node := p.nodes[name]
		p.mu.RUnlock()
		if node == nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("node " + name + " has left")}
		}
		return withTimeout(dial, node.wait(p.options.ConnectTimeout))(ctx, network, node.address)
	}
}

// counted is the body of a peer's response; closing it tells that it is over.
type counted struct {
	io.ReadCloser

	running *atomic.Int64
	once    sync.Once // ends running
}

// Close ends the transfer.
func (c *counted) Close() error {
	c.once.Do(func() { c.running.Add(-1) })
	return c.ReadCloser.Close()
}
