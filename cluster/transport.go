package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	maxPacket = 65536

	// A socket that cannot accept or read for the moment is tried again after this pause.
	socketPause = 50 * time.Millisecond

	// Asked for port 0, the system gives a TCP port that may be taken for UDP: so it is asked again.
	bindAttempts = 10
)

// transport carries memberlist's packets and streams over a Network.
type transport struct {
	network Network
	packets net.PacketConn
	streams net.Listener
	bound   netip.AddrPort

	packetCh chan *memberlist.Packet
	streamCh chan net.Conn

	ctx  context.Context // ends at Shutdown
	stop context.CancelFunc
	wg   sync.WaitGroup // the two loops

	mu    sync.Mutex // guards the fields below
	conns map[*trackedConn]struct{}
}

// newTransport binds addr on network.
func newTransport(network Network, addr string) (*transport, error) {
	streams, err := network.Listen(addr)
	if err != nil {
		return nil, err
	}
	bound, err := netip.ParseAddrPort(streams.Addr().String())
	if err != nil {
		_ = streams.Close() // the error above says more
		return nil, fmt.Errorf("bound address %q: %w", streams.Addr(), err)
	}
	packets, err := network.ListenPacket(bound.String())
	if err != nil {
		_ = streams.Close() // the error above says more
		return nil, err
	}
	t := &transport{
		network: network, packets: packets, streams: streams, bound: bound,
		packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn),
		conns: make(map[*trackedConn]struct{}),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.wg.Go(t.readPackets) // both end at Shutdown, which waits
	t.wg.Go(t.accept)
	return t, nil
}

// FinalAdvertiseAddr returns what it is given, or the bound address.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return t.bound.Addr().AsSlice(), int(t.bound.Port()), nil
	}
	addr, err := netip.ParseAddr(ip)
	return addr.AsSlice(), port, err
}

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// PacketCh returns the channel of packets that arrived.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// DialTimeout opens a stream.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return t.track(conn)
}

// StreamCh returns the channel of streams that others opened.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

// Shutdown closes everything and waits for the loops.
func (t *transport) Shutdown() error {
	t.stop()
	err := errors.Join(t.streams.Close(), t.packets.Close())
	t.mu.Lock()
	conns := t.conns
	t.conns = nil
	t.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close() // its owner gets the error from what it is doing
	}
	t.wg.Wait()
	return err
}

func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.packets.ReadFrom(buf)
		switch {
		case t.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.pause()
			continue
		case n == 0:
			continue
		}
		select {
		case t.packetCh <- &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: from, Timestamp: time.Now()}:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *transport) accept() {
	for {
		conn, err := t.streams.Accept()
		switch {
		case t.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = conn.Close() // nobody is left to use it
			}
			return
		case err != nil:
			t.pause()
			continue
		}
		tracked, err := t.track(conn)
		if err != nil {
			return
		}
		select {
		case t.streamCh <- tracked:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *transport) pause() {
	select {
	case <-time.After(socketPause):
	case <-t.ctx.Done():
	}
}

// track notes an open stream, so that Shutdown can end whoever waits on it.
func (t *transport) track(conn net.Conn) (net.Conn, error) {
	c := &trackedConn{Conn: conn, transport: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		_ = conn.Close() // the error below says why
		return nil, net.ErrClosed
	}
	t.conns[c] = struct{}{}
	return c, nil
}

type trackedConn struct {
	net.Conn
	transport *transport
}

func (c *trackedConn) Close() error {
	c.transport.mu.Lock()
	delete(c.transport.conns, c)
	c.transport.mu.Unlock()
	return c.Conn.Close()
}

// socketTransport is memberlist's own transport over real sockets, except that Shutdown also ends the dials under way.
type socketTransport struct {
	*memberlist.NetTransport
	ctx  context.Context
	stop context.CancelFunc
}

// newSocketTransport binds host and port, UDP and TCP.
func newSocketTransport(host netip.Addr, port uint16, logger *log.Logger) (*socketTransport, error) {
	var err error
	for range bindAttempts {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{host.String()}, BindPort: int(port), Logger: logger,
		})
		if err == nil {
			ctx, stop := context.WithCancel(context.Background())
			return &socketTransport{NetTransport: t, ctx: ctx, stop: stop}, nil
		}
		if port != 0 {
			break
		}
	}
	return nil, err
}

// DialTimeout opens a stream.
func (t *socketTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// DialAddressTimeout opens a stream.
func (t *socketTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown closes the sockets and ends the dials.
func (t *socketTransport) Shutdown() error {
	t.stop()
	return t.NetTransport.Shutdown()
}
