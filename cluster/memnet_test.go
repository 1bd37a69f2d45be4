package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// memnet is a network in memory. Packets and streams between hosts that may not talk vanish, as on a real network.
type memnet struct {
	mu      sync.Mutex // guards the fields below
	next    uint16     // port for whoever asks for port 0
	packets map[string]*memPackets
	streams map[string]*memListener
	apart   func(from, to string) bool // of hosts, without port; nil: everybody hears everybody
	nodes   []*testNode                // that run on it
}

func newMemnet() *memnet {
	return &memnet{next: 20000, packets: make(map[string]*memPackets), streams: make(map[string]*memListener)}
}

// host returns the network as the machine with that IP address sees it.
func (n *memnet) host(ip string) memHost { return memHost{n, ip} }

// split keeps hosts apart for which f is true; nil ends it.
func (n *memnet) split(f func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.apart = f
}

// add notes a node and returns how many there are.
func (n *memnet) add(node *testNode) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes = append(n.nodes, node)
	return len(n.nodes)
}

// cut takes one machine off the network.
func (n *memnet) cut(ip string) {
	n.split(func(from, to string) bool { return from == ip || to == ip })
}

func (n *memnet) hears(from, to string) bool {
	a, b := hostOf(from), hostOf(to)
	return a == b || n.apart == nil || !n.apart(a, b)
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

type memHost struct {
	net *memnet
	ip  string
}

func (h memHost) addr(addr string) (string, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "", err
	}
	if a.Addr().String() != h.ip {
		return "", fmt.Errorf("listen %s: bind: cannot assign requested address", addr)
	}
	port := a.Port()
	if port == 0 {
		h.net.next++
		port = h.net.next
	}
	return netip.AddrPortFrom(a.Addr(), port).String(), nil
}

func (h memHost) ListenPacket(addr string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr, err := h.addr(addr)
	if err != nil {
		return nil, err
	}
	if h.net.packets[addr] != nil {
		return nil, errors.New("listen: bind: address already in use")
	}
	p := &memPackets{net: h.net, addr: addr, arrived: make(chan memPacket, 4096), closed: make(chan struct{})}
	h.net.packets[addr] = p
	return p, nil
}

func (h memHost) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr, err := h.addr(addr)
	if err != nil {
		return nil, err
	}
	if h.net.streams[addr] != nil {
		return nil, errors.New("listen: bind: address already in use")
	}
	l := &memListener{net: h.net, addr: addr, arrived: make(chan net.Conn), closed: make(chan struct{})}
	h.net.streams[addr] = l
	return l, nil
}

func (h memHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	h.net.mu.Lock()
	l, hears := h.net.streams[addr], h.net.hears(h.ip, addr)
	h.net.mu.Unlock()
	if !hears {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case l.arrived <- memConn{there, h.ip + ":1"}:
		return memConn{here, addr}, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memPacket struct {
	from string
	b    []byte
}

type memPackets struct {
	net     *memnet
	addr    string
	arrived chan memPacket
	once    sync.Once
	closed  chan struct{}
}

func (p *memPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case m := <-p.arrived:
		return copy(b, m.b), memAddr(m.from), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *memPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	p.net.mu.Lock()
	q := p.net.packets[to.String()]
	hears := p.net.hears(p.addr, to.String())
	p.net.mu.Unlock()
	if q != nil && hears {
		select {
		case q.arrived <- memPacket{p.addr, append([]byte(nil), b...)}:
		default:
		}
	}
	return len(b), nil
}

func (p *memPackets) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.net.mu.Lock()
		delete(p.net.packets, p.addr)
		p.net.mu.Unlock()
	})
	return nil
}

func (p *memPackets) LocalAddr() net.Addr              { return memAddr(p.addr) }
func (p *memPackets) SetDeadline(time.Time) error      { return nil }
func (p *memPackets) SetReadDeadline(time.Time) error  { return nil }
func (p *memPackets) SetWriteDeadline(time.Time) error { return nil }

type memListener struct {
	net     *memnet
	addr    string
	arrived chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.arrived:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		delete(l.net.streams, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }

type memConn struct {
	net.Conn
	remote string
}

func (c memConn) RemoteAddr() net.Addr { return memAddr(c.remote) }

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

// The helper must fail like a network: a test that never loses a packet proves nothing.
func TestMemnetLosesWhatItShould(t *testing.T) {
	t.Parallel()
	n := newMemnet()
	a, err := n.host("10.0.0.1").ListenPacket("10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.host("10.0.0.2").ListenPacket("10.0.0.2:1")
	if err != nil {
		t.Fatal(err)
	}
	n.cut("10.0.0.2")
	_, _ = a.WriteTo([]byte("lost"), b.LocalAddr()) // never an error
	n.split(nil)
	_, _ = a.WriteTo([]byte("kept"), b.LocalAddr()) // never an error
	buf := make([]byte, 16)
	got, from, err := b.ReadFrom(buf)
	if err != nil || string(buf[:got]) != "kept" || from.String() != "10.0.0.1:1" {
		t.Errorf("got %q from %v, %v, want kept from 10.0.0.1:1", buf[:got], from, err)
	}
}
