package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Defaults of [PeerOptions]: a peer is near, so that a slow one is left early.
const (
	defaultPeerConnect = 250 * time.Millisecond
	defaultPeerSign    = time.Second
	defaultPeerHead    = 15 * time.Second // longer than an origin's: the peer waits for it
	defaultPeerStall   = 12 * time.Second // longer than an origin's, for the same reason
	peerWindowBytes    = 4 << 20          // receive window of one stream: a 2 MiB segment flows without a pause
	peerConnBytes      = 64 << 20
	maxNodes           = 4096 // more names than a cluster ever has at once
)

// PeerOptions describes how other nodes are asked.
type PeerOptions struct {
	TLS            *tls.Config   // client side of the cluster's mutual TLS; ServerName is set to the node's name
	Dial           DialFunc      // nil: net.Dialer
	ConnectTimeout time.Duration // connection and handshake, default 250 ms each
	SignTimeout    time.Duration // wait for an interim or final response, default 1 s
	HeadTimeout    time.Duration // wait for the final one after an interim one, default 15 s
	StallTimeout   time.Duration // wait for the next byte, default 12 s
}

// Peers asks other nodes of the cluster over HTTP/2. Safe for concurrent use.
type Peers struct {
	options   PeerOptions
	transport *http.Transport
	count     counts
	mu        sync.RWMutex     // guards the field below
	nodes     map[string]*peer // by name; at most maxNodes, then all are forgotten
}

// peer is what is known of one node.
type peer struct {
	health

	address string // host:port as last seen in a ring
}

// NewPeers starts nothing.
func NewPeers(o PeerOptions) (*Peers, error) {
	if o.TLS == nil {
		return nil, errors.New("upstream: peers need the cluster's TLS configuration")
	}
	o.ConnectTimeout = orDefault(o.ConnectTimeout, defaultPeerConnect)
	o.SignTimeout = orDefault(o.SignTimeout, defaultPeerSign)
	o.HeadTimeout = orDefault(o.HeadTimeout, defaultPeerHead)
	o.StallTimeout = orDefault(o.StallTimeout, defaultPeerStall)
	p := &Peers{options: o, nodes: map[string]*peer{}}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	p.transport = &http.Transport{
		DialContext:         p.dialNode(withTimeout(dial, o.ConnectTimeout)),
		TLSClientConfig:     o.TLS.Clone(),
		TLSHandshakeTimeout: max(o.ConnectTimeout, time.Second), // a busy peer may be slow to sign
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		IdleConnTimeout:     60 * time.Second,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     peerWindowBytes,
			MaxReceiveBufferPerConnection: peerConnBytes,
			SendPingTimeout:               5 * time.Second, // a silent connection is tested, and replaced
			PingTimeout:                   2 * time.Second,
		},
	}
	return p, nil
}

// Fetch asks the node of that name at that address. Errors are *Error.
func (p *Peers) Fetch(ctx context.Context, name, address string, r *Request) (*Response, error) {
	op := "fetch from peer " + name
	node := p.learn(name, address)
	out, err := newRequest(r, "https", name, "")
	if err != nil {
		return nil, &Error{Op: op, Source: FromSelf, Kind: InternalError, Err: err}
	}
	waits := limits{sign: p.options.SignTimeout, head: p.options.HeadTimeout, stall: p.options.StallTimeout}
	resp, err := roundTrip(ctx, p.transport, out, nil, waits, &p.count, op, FromPeer)
	node.note(err, ctx.Err() != nil, time.Now())
	if resp != nil {
		resp.Node = name
	}
	return resp, err
}

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

// learn returns the node, a fresh one when its address changed: it restarted.
func (p *Peers) learn(name, address string) *peer {
	p.mu.RLock()
	node := p.nodes[name]
	p.mu.RUnlock()
	if node != nil && node.address == address {
		return node
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if node = p.nodes[name]; node == nil || node.address != address {
		if len(p.nodes) >= maxNodes {
			clear(p.nodes)
		}
		node = &peer{address: address}
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
		return dial(ctx, network, node.address)
	}
}
