package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// errProhibited tells that an origin's name stands for an address that no origin has.
var errProhibited = errors.New("upstream: the address is not one of an origin")

// reach is how far away an address is.
type reach uint8

const (
	reachPublic  reach = iota
	reachPrivate       // this machine, or a network of its operator
	reachNowhere       // no server that is meant: link-local, multicast, the metadata services of clouds, reserved
)

// Networks of IANA's registries of special-purpose addresses, beside those that net/netip knows.
//
//nolint:gochecknoglobals // tables, never written
var (
	nowhere = prefixes("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"100.100.100.200/32", "fd00:ec2::254/128", // where clouds that do not use 169.254.169.254 tell a machine its secrets
		"::/96", "100::/64", "2001:db8::/32", "fec0::/10")
	private = prefixes("100.64.0.0/10", "2001::/32", "64:ff9b:1::/48")
	// In these an IPv4 address stands behind so many bytes: NAT64 (RFC 6052) and 6to4 (RFC 3056).
	nat64, sixToFour = netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16")
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// reachOf looks through the ways to write an IPv4 address as one of IPv6.
func reachOf(a netip.Addr) reach {
	if a = a.WithZone("").Unmap(); a.Is6() && a != netip.IPv6Loopback() {
		bytes := a.As16()
		switch {
		case nat64.Contains(a):
			return reachOf(netip.AddrFrom4([4]byte(bytes[12:])))
		case sixToFour.Contains(a):
			return reachOf(netip.AddrFrom4([4]byte(bytes[2:])))
		}
	}
	switch {
	case a.IsLoopback():
		return reachPrivate
	case a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), within(nowhere, a):
		return reachNowhere
	case a.IsPrivate(), within(private, a):
		return reachPrivate
	}
	return reachPublic
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// dialOrigin dials what an origin's URL names. An address that stands there itself is the operator's own word, and so is
// localhost (RFC 6761, 6.3); of a name, which may stand for another address every time, each address is looked at when
// it is about to be used. The most that it may be is most.
func dialOrigin(resolver *net.Resolver, most reach) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Resolver: resolver}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if !isLiteral(host) {
			d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
				to, err := netip.ParseAddrPort(address)
				if err != nil {
					return err
				}
				if reachOf(to.Addr()) > most {
					return fmt.Errorf("%w: %s is %s", errProhibited, host, to.Addr())
				}
				return nil
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

// isLiteral tells whether no resolver is asked for a host.
func isLiteral(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
