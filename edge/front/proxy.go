package front

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// proxySignature begins a header of version 2; one of version 1 begins with proxyWord.
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyWord      = "PROXY "
	// maxProxyLine bounds a header of version 1 (its specification, 2.1: 107 with CRLF).
	maxProxyLine = 107
	// maxProxyBytes bounds what follows the fixed part of version 2: 36 bytes of addresses,
	// and additions of which a client's certificate may be one.
	maxProxyBytes = 4 << 10
)

// proxyGate knows the balancers in front of us: what they connect with begins with a
// PROXY protocol header that names the client. A nil gate knows none.
type proxyGate struct {
	from    []netip.Prefix
	timeout time.Duration // for the header
	stats   *counters
	log     *slog.Logger
}

// proxyGate is nil when there are no balancers.
func (s *Server) proxyGate() *proxyGate {
	if len(s.opts.ProxyProtocol) == 0 {
		return nil
	}
	return &proxyGate{from: s.opts.ProxyProtocol, timeout: s.opts.HeaderTimeout, stats: &s.stats, log: s.log}
}

// knows tells whether a connection from addr must begin with a header.
func (g *proxyGate) knows(addr net.Addr) bool {
	return g != nil && contains(g.from, ipOf(addr))
}

// client reads the header of c and returns the address that it names. What is no header
// is an error, counted, and closes c, and so is one connection more than that client may
// have. The read deadline stays: both protocols that follow set their own.
func (g *proxyGate) client(c net.Conn, s *seat) (net.Addr, error) {
	_ = c.SetReadDeadline(time.Now().Add(g.timeout)) // on a closed connection the read tells
	client, err := readProxyHeader(c)
	if err != nil {
		g.stats.proxyErrors.Add(1)
		g.log.Debug("PROXY protocol header refused", "balancer", c.RemoteAddr().String(), "error", err)
		s.leave()
		_ = c.Close() // it was never used
		return nil, err
	}
	if !client.IsValid() {
		return c.RemoteAddr(), nil // the balancer speaks for itself
	}
	addr := net.TCPAddrFromAddrPort(client)
	if !s.name(addr) {
		s.leave()
		reset(c)
		return nil, errRefused
	}
	return addr, nil
}

// readProxyHeader reads a PROXY protocol header of version 1 or 2, and not a byte more:
// what follows is for TLS and sendfile, which read and write the socket itself. The
// address is the zero value where the header says that there is none to tell.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxySignature), maxProxyLine) // no header is shorter
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case string(head) == proxySignature:
		return readProxyBinary(r)
	case strings.HasPrefix(string(head), proxyWord):
		return readProxyLine(r, head)
	}
	return netip.AddrPort{}, errors.New("the connection does not begin with a PROXY protocol header")
}

// readProxyLine reads version 1: "PROXY TCP4 source destination port port". It reads by
// the byte, for the end is where the line ends; version 2 is there for who minds.
func readProxyLine(r io.Reader, line []byte) (netip.AddrPort, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxProxyLine {
			return netip.AddrPort{}, errors.New("the PROXY line does not end")
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	words := strings.Split(string(line[:len(line)-2]), " ")
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("malformed PROXY line %q", line)
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		end, err := netip.ParseAddrPort(net.JoinHostPort(words[2+i], words[4+i]))
		if err != nil || end.Addr().Is4() != (words[1] == "TCP4") || end.Addr().Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("malformed PROXY line %q", line)
		}
		ends[i] = end
	}
	return netip.AddrPortFrom(ends[0].Addr().Unmap(), ends[0].Port()), nil
}

// readProxyBinary reads what follows the signature of version 2.
func readProxyBinary(r io.Reader) (netip.AddrPort, error) {
	var fixed [4]byte // version and command, family and transport, length
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	n := int(binary.BigEndian.Uint16(fixed[2:]))
	if n > maxProxyBytes {
		return netip.AddrPort{}, fmt.Errorf("the PROXY header has %d bytes, at most %d are read", n, maxProxyBytes)
	}
	rest := make([]byte, n)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	const local, proxied = 0x20, 0x21
	switch {
	case fixed[0] == local: // a health check
		return netip.AddrPort{}, nil
	case fixed[0] != proxied:
		return netip.AddrPort{}, fmt.Errorf("version and command 0x%02x of the PROXY header are unknown", fixed[0])
	}
	return proxyAddress(fixed[1], rest)
}

// proxyAddress finds the client among the addresses of version 2.
func proxyAddress(family byte, rest []byte) (netip.AddrPort, error) {
	var addressBytes int
	switch family {
	case 0x11, 0x12: // IPv4
		addressBytes = 4
	case 0x21, 0x22: // IPv6
		addressBytes = 16
	case 0x00, 0x31, 0x32: // unspecified, or a socket that has no network address
		return netip.AddrPort{}, nil
	default:
		return netip.AddrPort{}, fmt.Errorf("address family 0x%02x of the PROXY header is unknown", family)
	}
	if len(rest) < 2*addressBytes+4 {
		return netip.AddrPort{}, fmt.Errorf("the PROXY header has %d bytes of addresses, not %d", len(rest), 2*addressBytes+4)
	}
	ip, _ := netip.AddrFromSlice(rest[:addressBytes]) // 4 or 16 always fit
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(rest[2*addressBytes:])), nil
}

// proxied is the client of a connection as far as a balancer tells. The header is read when
// somebody first asks, not when the connection is accepted: it may take its time.
type proxied struct {
	gate   *proxyGate // nil: nobody has to tell
	once   sync.Once
	client net.Addr
	err    error
}

// of reads the header of c once.
func (p *proxied) of(c net.Conn, s *seat) (net.Addr, error) {
	p.once.Do(func() { p.client, p.err = p.gate.client(c, s) })
	if p.err != nil {
		return c.RemoteAddr(), p.err
	}
	return p.client, nil
}

// clientConn is a connection that says that it comes from client.
type clientConn struct {
	net.Conn
	client net.Addr
}

// RemoteAddr implements net.Conn.
func (c *clientConn) RemoteAddr() net.Addr { return c.client }

// accepted is the connection as it was accepted, without a balancer's word.
func accepted(c net.Conn) net.Conn {
	if behind, ok := c.(*clientConn); ok {
		return behind.Conn
	}
	return c
}
