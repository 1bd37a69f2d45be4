package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	// Packets come in bursts, when many members have news at once. As much as the system allows of this waits to be read.
	socketBufferBytes = 2 << 20
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

// newTransport binds addr on network, behind gate.
func newTransport(network Network, addr netip.AddrPort, gate *Gate) (*transport, error) {
	streams, packets, bound, err := bindBoth(network, addr)
	if err != nil {
		return nil, err
	}
	t := &transport{
		network: network, packets: packets, streams: streams, bound: bound,
		packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn),
		conns: make(map[*trackedConn]struct{}),
	}
	if gate != nil {
		t.packets, t.streams = gatedPackets{packets, gate}, gate.Listener(streams)
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.wg.Go(t.readPackets) // both end at Shutdown, which waits
	t.wg.Go(t.accept)
	return t, nil
}

// bindBoth binds one port for streams and packets.
func bindBoth(network Network, addr netip.AddrPort) (net.Listener, net.PacketConn, netip.AddrPort, error) {
	for try := 1; ; try++ {
		streams, err := network.Listen(addr.String())
		if err != nil {
			return nil, nil, addr, err
		}
		bound, err := netip.ParseAddrPort(streams.Addr().String())
		if err != nil {
			_ = streams.Close() // the error above says more
			return nil, nil, addr, fmt.Errorf("bound address %q: %w", streams.Addr(), err)
		}
		packets, err := network.ListenPacket(bound.String())
		if err == nil {
			return streams, packets, netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), nil
		}
		_ = streams.Close() // the error above says more
		if addr.Port() != 0 || try == bindAttempts {
			return nil, nil, addr, err
		}
	}
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

// Sockets is the Network of this machine. The zero value binds all sockets itself.
type Sockets struct {
	// Streams and Packets open a socket in place of the system's, such as one that a process before this one had bound;
	// nil: the system does. Addr has the port of the streams where it is for packets.
	Streams func(addr string) (net.Listener, error)
	Packets func(addr string) (net.PacketConn, error)
}

// ListenPacket binds UDP.
func (s Sockets) ListenPacket(addr string) (net.PacketConn, error) {
	bind := s.Packets
	if bind == nil {
		bind = func(addr string) (net.PacketConn, error) { return net.ListenPacket("udp", addr) } //nolint:noctx // binding does not wait
	}
	c, err := bind(addr)
	if err != nil {
		return nil, err
	}
	if udp, ok := c.(*net.UDPConn); ok {
		for size := socketBufferBytes; size > 0 && udp.SetReadBuffer(size) != nil; size /= 2 {
		}
	}
	return c, nil
}

// Listen binds TCP.
func (s Sockets) Listen(addr string) (net.Listener, error) {
	if s.Streams != nil {
		return s.Streams(addr)
	}
	return net.Listen("tcp", addr) //nolint:noctx // binding does not wait
}

// Dial connects by TCP.
func (Sockets) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
