package front

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// probeBytes is how long quic-go's packets are by which it looks whether a client is at another address, or says that
	// it is there itself (RFC 9000, 8.2).
	probeBytes = 1200
	// probesPerPath is how many of them one port gets in budgetWindow, twice what an honest client needs in that time: one
	// and three more, at 0.1, 0.3 and 0.7 seconds, where the first were lost.
	probesPerPath = 8
	// probesPerClient is how many one address gets, or the first 64 bits of one: 30 kB/s. Behind it may be a network with
	// many clients, whose ports change all at once.
	probesPerClient = 256
	// probedPaths bounds the memory: when as many ports and addresses are known, no others are probed.
	probedPaths = 4096
)

// A pathGuard is the UDP socket of HTTP/3. Of a client that writes from another address quic-go says 1,200 bytes to that
// address for each packet that asks for it, however short, and keeps to no limit, where RFC 9000, 8.2.2 and 9.3 allow three
// times of what came from there: 28 times was measured. The address may be anybody's. Here that has a budget, and what is
// beyond it is not sent. A packet of that kind is told by its length, its short header, and that it alone has no mark for
// ECN. It is safe for concurrent use.
type pathGuard struct {
	*net.UDPConn
	batches   *ipv4.PacketConn // the same, to read from
	refusals  *refusals
	strangers strangers   // of the goroutine that reads
	marks     atomic.Bool // the system can mark packets, so that what has no mark is a probe

	mu     sync.Mutex // guards the fields below
	begun  time.Time
	probed map[netip.AddrPort]int // in budgetWindow, by port, and with port 0 by address
}

// guardPaths wraps a UDP socket on which packets with a mark are ours. Batched reads and segmentation offload stay.
func guardPaths(socket net.PacketConn, mark uint32, r *refusals) net.PacketConn {
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		return socket
	}
	return &pathGuard{UDPConn: udp, refusals: r, batches: ipv4.NewPacketConn(udp), strangers: newStrangers(mark)}
}

// WriteMsgUDP sends a packet, or packets. Hot path: two comparisons, for all but one packet in a thousand.
func (g *pathGuard) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if (len(b) == probeBytes || !g.marks.Load()) && g.isProbe(b, oob) && !g.allows(time.Now(), addr) {
		g.refusals.add(pathProbes, addr.String())
		return len(b), len(oob), nil
	}
	return g.UDPConn.WriteMsgUDP(b, oob, addr)
}

// isProbe tells what quic-go sends to an address that it has yet to believe.
func (g *pathGuard) isProbe(b, oob []byte) bool {
	const longHeader = 0x80
	if hasECN(oob) {
		g.marks.Store(true)
		return false
	}
	return len(b) == probeBytes && b[0]&longHeader == 0 && g.marks.Load()
}

// allows counts a probe.
func (g *pathGuard) allows(now time.Time, addr *net.UDPAddr) bool {
	ip, bits := ipOf(addr), clientBits6
	if ip.Is4() {
		bits = clientBits4
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return false // no address
	}
	path, client := netip.AddrPortFrom(ip, uint16(addr.Port)), netip.AddrPortFrom(prefix.Addr(), 0)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probed == nil || now.Sub(g.begun) >= budgetWindow {
		g.begun, g.probed = now, map[netip.AddrPort]int{}
	}
	sent := g.probed[path]
	if sent >= probesPerPath || g.probed[client] >= probesPerClient || sent == 0 && len(g.probed) >= probedPaths {
		return false
	}
	g.probed[path]++
	g.probed[client]++
	return true
}
