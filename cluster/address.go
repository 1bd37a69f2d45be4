package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// splitBind reads host:port to listen on. The host is an IP address, "localhost", or empty for every address.
func splitBind(s string) (netip.Addr, uint16, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return netip.Addr{}, 0, errors.New("want host:port")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.Addr{}, 0, errors.New("want a port from 0 to 65535")
	}
	switch host {
	case "":
		return netip.IPv4Unspecified(), uint16(port), nil
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, errors.New("want an IP address of this machine, localhost, or nothing for every address")
	}
	return addr.Unmap(), uint16(port), nil
}

// splitSeed reads host, host:port or [host]:port of another node; the host is a name or an IP address.
func splitSeed(s string, port uint16) (string, uint16, error) {
	host := s
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().String(), port, checkHostAddr(addr)
	}
	if strings.Contains(s, ":") {
		h, portText, err := net.SplitHostPort(s)
		if err != nil {
			return "", 0, errors.New("want host or host:port")
		}
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || n == 0 {
			return "", 0, errors.New("want a port from 1 to 65535")
		}
		host, port = h, uint16(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String(), port, checkHostAddr(addr)
	}
	if host == "" || !isWord(host) {
		return "", 0, errors.New("want a host name or IP address")
	}
	return host, port, nil
}

// splitPeer reads the host:port of a listener of this node that others are told. The host is an IP address; empty or
// every address means: the one that gossip advertises, and ok is false.
func splitPeer(s string) (a netip.AddrPort, ok bool, err error) {
	addr, port, err := splitBind(s)
	switch {
	case err != nil:
		return netip.AddrPort{}, false, err
	case port == 0:
		return netip.AddrPort{}, false, errors.New("want a port from 1 to 65535")
	case addr.IsUnspecified():
		return netip.AddrPortFrom(addr, port), false, nil
	}
	return netip.AddrPortFrom(addr, port), true, checkHostAddr(addr)
}

// reachable returns s with the host replaced by addr where s names none: what others can use of "host:port to listen on".
func reachable(s string, addr netip.Addr) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s
	}
	if host == "localhost" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		return net.JoinHostPort(addr.String(), port)
	}
	return s
}

// checkListen allows what checkPublic does, and addresses that reachable makes so.
func checkListen(s string) error {
	return checkPublic(reachable(s, netip.AddrFrom4([4]byte{192, 0, 2, 1})))
}

// privateAddr returns an address of this machine that others can probably reach: the first private IPv4 address, or else
// the first global one.
func privateAddr() (netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list addresses: %w", err)
	}
	var global netip.Addr
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		if !addr.IsGlobalUnicast() {
			continue
		}
		if addr.IsPrivate() && addr.Is4() {
			return addr, nil
		}
		if !global.IsValid() {
			global = addr
		}
	}
	if !global.IsValid() {
		return netip.Addr{}, errors.New("this machine has no address to tell the others")
	}
	return global, nil
}
