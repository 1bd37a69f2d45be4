package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// StreamBytes is how much one direction of a connection holds before a
	// writer waits, as a socket buffer does.
	StreamBytes = 128 << 10
	// dialTimeout ends a dial that gets no answer, as Linux does after its
	// SYN retries.
	dialTimeout = 127 * time.Second
	// retryTimeout ends a connection whose data a cut link holds, as Linux does
	// after 15 retransmissions (tcp_retries2).
	retryTimeout = 924 * time.Second
	// acceptQueue is how many connections wait for Accept; a dial past it
	// waits.
	acceptQueue = 128

	firstPort     = 20_000 // for ":0"
	ephemeralPort = 40_000 // for the dialling side
)

// Network is a network in memory: named hosts, each with one address from
// 10.0.0.0/16, TCP-like connections, UDP-like packets, and a table of faults per
// link. It uses package time and channels only, so a testing/synctest bubble
// can run it; make it inside the bubble. All methods may be called at the same
// time.
type Network struct {
	mu        sync.Mutex // guards the fields below
	random    *rand.Rand
	hosts     map[string]*Host
	byIP      map[string]*Host
	listeners map[endpoint]*listener
	packets   map[endpoint]*packetConn
	conns     map[*pipe]struct{}
	links     map[pair]*link
	dials     map[pair]int
}

// endpoint is one port of one host.
type endpoint struct {
	host string
	port int
}

// pair is a direction between two hosts; "*" stands for every host.
type pair struct{ from, to string }

// NewNetwork returns a network without hosts. The seed decides which packets
// are lost.
func NewNetwork(seed uint64) *Network {
	return &Network{
		random:    rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
		hosts:     map[string]*Host{},
		byIP:      map[string]*Host{},
		listeners: map[endpoint]*listener{},
		packets:   map[endpoint]*packetConn{},
		conns:     map[*pipe]struct{}{},
		links:     map[pair]*link{},
		dials:     map[pair]int{},
	}
}

// Host is one machine on a Network, and what a program on it sees.
type Host struct {
	network *Network
	name    string
	ip      net.IP

	// the fields below are guarded by network.mu
	nextPort      int
	nextEphemeral int
}

// Host returns the host with a name, made on first use.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hostLocked(name)
}

func (n *Network) hostLocked(name string) *Host {
	if h := n.byIP[name]; h != nil {
		return h
	}
	h := n.hosts[name]
	if h == nil {
		i := len(n.hosts) + 1
		h = &Host{network: n, name: name, ip: net.IPv4(10, 0, byte(i>>8), byte(i)).To4(), nextPort: firstPort, nextEphemeral: ephemeralPort}
		n.hosts[name] = h
		n.byIP[h.ip.String()] = h
	}
	return h
}

// Name returns the name of the host.
func (h *Host) Name() string { return h.name }

// IP returns its address.
func (h *Host) IP() net.IP { return h.ip }

// Listen takes connections at "host:port". The host is a name or its IP; port
// 0 picks a free one.
func (n *Network) Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return n.Host(host).Listen(address)
}

// ListenPacket takes packets at "host:port", as Listen does connections.
func (n *Network) ListenPacket(address string) (net.PacketConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen for packets on %q: %w", address, err)
	}
	return n.Host(host).ListenPacket(address)
}

// Dial connects the host from with "host:port". It waits while the link is cut,
// until ctx ends or 127 s have passed.
func (n *Network) Dial(ctx context.Context, from, to string) (net.Conn, error) {
	return n.Host(from).Dial(ctx, to)
}

// Dials returns how many connections from dialled to; "*" stands for any host.
// Dials that came to nothing count too.
func (n *Network) Dials(from, to string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for p, count := range n.dials {
		if (from == "*" || p.from == from) && (to == "*" || p.to == to) {
			sum += count
		}
	}
	return sum
}

// Listen takes connections on a port of this host. The host part of the
// address may be empty, a wildcard, a loopback address or this host; an
// address of another host is an error.
func (h *Host) Listen(address string) (net.Listener, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := h.bindLocked("tcp", address, func(port int) bool { return n.listeners[endpoint{h.name, port}] != nil })
	if err != nil {
		return nil, err
	}
	l := &listener{
		network: n, at: endpoint{h.name, port}, addr: &net.TCPAddr{IP: h.ip, Port: port},
		queue: make(chan *conn, acceptQueue), closed: make(chan struct{}),
	}
	n.listeners[l.at] = l
	return l, nil
}

// bindLocked checks an address to listen on and picks its port.
func (h *Host) bindLocked(network, address string, taken func(port int) bool) (int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("listen on %q: %w", address, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return 0, fmt.Errorf("listen on %q: port is not a number up to 65535", address)
	}
	if !h.isSelf(host) {
		return 0, fmt.Errorf("listen on %q as %s: %w", address, h.name, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	if port != 0 {
		if taken(port) {
			return 0, &net.OpError{Op: "listen", Net: network, Addr: &net.TCPAddr{IP: h.ip, Port: port}, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		}
		return port, nil
	}
	for taken(h.nextPort) {
		h.nextPort++
	}
	h.nextPort++
	return h.nextPort - 1, nil
}

func (h *Host) isSelf(host string) bool {
	if host == "" || host == h.name || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsUnspecified() || ip.IsLoopback() || ip.Equal(h.ip))
}

// target finds the host an address names; loopback is this host.
func (h *Host) target(address string) (endpoint, *net.TCPAddr, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, nil, fmt.Errorf("dial %q: %w", address, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return endpoint{}, nil, fmt.Errorf("dial %q: port is not a number", address)
	}
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	to := h
	if !h.isSelf(host) {
		if to = n.byIP[host]; to == nil {
			to = n.hosts[host]
		}
	}
	if to == nil {
		return endpoint{}, nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	return endpoint{to.name, port}, &net.TCPAddr{IP: to.ip, Port: port}, nil
}

// Dial connects with "host:port".
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, addr, err := h.target(address)
	if err != nil {
		return nil, err
	}
	n := h.network
	n.mu.Lock()
	n.dials[pair{h.name, to.host}]++
	n.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, os.ErrDeadlineExceeded)
	defer cancel()
	c, err := h.connect(ctx, to, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: err}
	}
	return c, nil
}

// connect sends the SYN and waits for its answer.
func (h *Host) connect(ctx context.Context, to endpoint, addr *net.TCPAddr) (net.Conn, error) {
	n := h.network
	out, back := n.link(h.name, to.host), n.link(to.host, h.name)
	for _, l := range []*link{out, back} {
		if err := l.pass(ctx); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	l := n.listeners[to]
	if l == nil {
		n.mu.Unlock()
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	local := &net.TCPAddr{IP: h.ip, Port: h.nextEphemeral}
	if h.nextEphemeral++; h.nextEphemeral > 65535 {
		h.nextEphemeral = ephemeralPort
	}
	p := newPipe(n, pair{h.name, to.host}, local, addr, out, back)
	n.conns[p] = struct{}{}
	n.mu.Unlock()
	select {
	case l.queue <- p.server:
		return p.client, nil
	case <-l.closed:
		p.server.end(true)
		p.client.end(true)
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	case <-ctx.Done():
		p.client.end(true)
		p.server.end(true)
		return nil, context.Cause(ctx)
	}
}

// Kill ends a host as kill -9 does: all its connections are reset, its
// listeners and packet sockets are gone. It may listen again afterwards.
func (n *Network) Kill(name string) {
	n.mu.Lock()
	name = n.hostLocked(name).name
	var end []func()
	for at, l := range n.listeners {
		if at.host == name {
			end = append(end, l.end)
			delete(n.listeners, at)
		}
	}
	for at, c := range n.packets {
		if at.host == name {
			end = append(end, c.end)
			delete(n.packets, at)
		}
	}
	for p := range n.conns {
		if p.between.from == name {
			end = append(end, func() { p.client.end(true) })
		}
		if p.between.to == name {
			end = append(end, func() { p.server.end(true) })
		}
	}
	n.mu.Unlock()
	for _, f := range end {
		f()
	}
}

// listener is a TCP-like listener.
type listener struct {
	network *Network
	at      endpoint
	addr    *net.TCPAddr
	queue   chan *conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.network.mu.Lock()
	if l.network.listeners[l.at] == l {
		delete(l.network.listeners, l.at)
	}
	l.network.mu.Unlock()
	l.end()
	return nil
}

// end refuses what waits in the queue, as closing a real listener does.
func (l *listener) end() {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case c := <-l.queue:
			c.end(true)
		default:
			return
		}
	}
}
