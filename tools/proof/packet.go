package proof

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// packetQueue is how many packets wait for ReadFrom; more are lost.
	packetQueue = 1024
	// packetBytes is the largest packet, as with UDP over IPv4.
	packetBytes = 65507
)

// packetConn is a UDP-like socket.
type packetConn struct {
	network *Network
	host    *Host
	at      endpoint
	addr    *net.UDPAddr

	mu     sync.Mutex // guards the fields below
	cond   *sync.Cond // on mu
	queue  []packet
	closed bool
	reader deadline
}

type packet struct {
	bytes []byte
	from  *net.UDPAddr
}

// ListenPacket takes packets on a port of this host; the address is as for
// Listen. Packets may be lost, never changed, doubled or reordered (unless the
// link's delay changes).
func (h *Host) ListenPacket(address string) (net.PacketConn, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := h.bindLocked("udp", address, func(port int) bool { return n.packets[endpoint{h.name, port}] != nil })
	if err != nil {
		return nil, err
	}
	c := &packetConn{network: n, host: h, at: endpoint{h.name, port}, addr: &net.UDPAddr{IP: h.ip, Port: port}}
	c.cond = sync.NewCond(&c.mu)
	n.packets[c.at] = c
	return c, nil
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var err error
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.reader.passed():
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return 0, nil, &net.OpError{Op: "read", Net: "udp", Source: c.addr, Err: err}
		}
		if len(c.queue) > 0 {
			p := c.queue[0]
			c.queue[0] = packet{}
			c.queue = c.queue[1:]
			return copy(b, p.bytes), p.from, nil
		}
		c.cond.Wait()
	}
}

// WriteTo sends one packet. That nobody gets it is no error.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	fail := func(err error) (int, error) {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: c.addr, Addr: to, Err: err}
	}
	if closed {
		return fail(net.ErrClosed)
	}
	if len(b) > packetBytes {
		return fail(fmt.Errorf("packet of %d bytes is too long", len(b)))
	}
	host, text, err := net.SplitHostPort(to.String())
	if err != nil {
		return fail(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fail(err)
	}
	c.send(packet{append([]byte(nil), b...), c.addr}, host, port)
	return len(b), nil
}

func (c *packetConn) send(p packet, host string, port int) {
	n := c.network
	n.mu.Lock()
	target := c.host
	if !c.host.isSelf(host) {
		target = n.hosts[n.nameLocked(host)]
	}
	if target == nil {
		n.mu.Unlock()
		return
	}
	l := n.linkLocked(c.host.name, target.name)
	cut, delay, loss := l.state()
	lost := cut || loss > 0 && n.random.Float64() < loss
	n.mu.Unlock()
	if lost {
		return
	}
	deliver := func() {
		n.mu.Lock()
		to := n.packets[endpoint{target.name, port}]
		n.mu.Unlock()
		if to != nil {
			to.put(p)
		}
	}
	if delay == 0 {
		deliver()
		return
	}
	time.AfterFunc(delay, deliver) // ends by itself
}

func (c *packetConn) put(p packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.queue) >= packetQueue {
		return
	}
	c.queue = append(c.queue, p)
	c.cond.Broadcast()
}

func (c *packetConn) Close() error {
	c.network.mu.Lock()
	if c.network.packets[c.at] == c {
		delete(c.network.packets, c.at)
	}
	c.network.mu.Unlock()
	c.end()
	return nil
}

func (c *packetConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.reader.stop()
	c.cond.Broadcast()
}

func (c *packetConn) LocalAddr() net.Addr { return c.addr }

func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reader.stop()
	c.reader.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		c.reader.timer = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.cond.Broadcast()
		})
	}
	c.cond.Broadcast()
	return nil
}

// SetWriteDeadline does nothing: a write never waits.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer and SetWriteBuffer do nothing; QUIC stacks call them.
func (c *packetConn) SetReadBuffer(int) error  { return nil }
func (c *packetConn) SetWriteBuffer(int) error { return nil }
