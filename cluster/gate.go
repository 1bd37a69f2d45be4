package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRefusedLines bounds the lines about refused addresses in a second; the rest is only counted.
const maxRefusedLines = 1

// Gate lets in whoever comes from an allowed address. Gossip and the peers' listener of a node stand behind one. It keeps
// strangers from making the node work, who have no secret and would be refused later. All methods may be called at the
// same time, also those of a nil Gate, which lets in everybody.
type Gate struct {
	allow   []netip.Prefix
	log     *slog.Logger
	refused atomic.Int64
	lines   limiter
}

// NewGate returns a gate for the networks in allow, such as 10.0.0.0/8; without any it returns nil, which lets in
// everybody. Refusals go to log, one a second at most; nil discards.
func NewGate(allow []netip.Prefix, log *slog.Logger) *Gate {
	if len(allow) == 0 {
		return nil
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Gate{allow: slices.Clone(allow), log: log}
}

// ParseAllow reads networks in CIDR notation. The error repeats the one that is wrong.
func ParseAllow(networks []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range networks {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("cluster: allowed network %q: want one such as 10.0.0.0/8", text)
		case p != p.Masked():
			return nil, fmt.Errorf("cluster: allowed network %q: want it written as %s", text, p.Masked())
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("cluster: allowed network %q: want it written as IPv4", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// Allows says whether the address is allowed.
func (g *Gate) Allows(a netip.Addr) bool {
	if g == nil {
		return true
	}
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Refused returns how many packets and connections were refused.
func (g *Gate) Refused() int64 {
	if g == nil {
		return 0
	}
	return g.refused.Load()
}

// Listener returns l without the connections from elsewhere, which are closed before a byte is read.
func (g *Gate) Listener(l net.Listener) net.Listener {
	if g == nil {
		return l
	}
	return gatedListener{l, g}
}

// String returns the allowed networks.
func (g *Gate) String() string {
	if g == nil {
		return "everybody"
	}
	words := make([]string, len(g.allow))
	for i, p := range g.allow {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// admits says whether what comes from that address may come in, and counts it otherwise.
func (g *Gate) admits(from net.Addr, what string) bool {
	if g == nil {
		return true
	}
	if addr, ok := addrOf(from); ok && g.Allows(addr) {
		return true
	}
	g.refused.Add(1)
	if g.lines.allow(time.Now(), maxRefusedLines) {
		g.log.Warn("refused: the address is not among those allowed", "what", what, "from", from.String(), "allowed", g.String())
	}
	return false
}

// check refuses an address, of this node or of another, at which nobody may be.
func (g *Gate) check(a netip.Addr) error {
	if g.Allows(a) {
		return nil
	}
	return fmt.Errorf("%s is outside the allowed networks, %s", a, g)
}

type gatedListener struct {
	net.Listener
	gate *Gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.gate.admits(c.RemoteAddr(), "connection") {
			return c, err
		}
		_ = c.Close() // it was never used
	}
}

// gatedPackets loses packets from elsewhere.
type gatedPackets struct {
	net.PacketConn
	gate *Gate
}

func (p gatedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil || p.gate.admits(from, "packet") {
			return n, from, err
		}
	}
}

func addrOf(a net.Addr) (netip.Addr, bool) {
	if a == nil {
		return netip.Addr{}, false
	}
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr(), true
	case *net.UDPAddr:
		return a.AddrPort().Addr(), true
	}
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr(), err == nil
}

// limiter allows some lines a second.
type limiter struct {
	mu     sync.Mutex // guards the fields below
	second time.Time
	lines  int
}

// allow says whether one more of most lines may be written in this second.
func (l *limiter) allow(now time.Time, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	l.lines++
	return l.lines <= most
}
