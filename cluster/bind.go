package cluster

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// bind makes the memberlist on its address, and the keys that it uses.
func (c *Cluster) bind(ctx context.Context) (*memberlist.Memberlist, *memberlist.Keyring, error) {
	host, port, err := splitBind(c.options.Bind)
	if err != nil {
		return nil, nil, err
	}
	logger := newGossipLog(c.log, &c.strangers)
	t, err := newTransport(c.options.Network, netip.AddrPortFrom(host, port), c.options.Gate)
	if err != nil {
		return nil, nil, bindError(c.options.Bind, err)
	}
	told, err := c.advertised(ctx, t.bound)
	if err != nil {
		_ = t.Shutdown() // the error above says more
		return nil, nil, fmt.Errorf("cluster: gossip on %s: %w: give one with --advertise", c.options.Bind, err)
	}
	if err := c.introduce(told); err != nil {
		_ = t.Shutdown() // the error above says more
		return nil, nil, err
	}
	config, err := c.config(t, told, logger)
	if err != nil {
		_ = t.Shutdown() // the error above says more
		return nil, nil, err
	}
	list, err := memberlist.Create(config)
	if err != nil {
		_ = t.Shutdown() // the error above says more
		return nil, nil, fmt.Errorf("cluster: gossip on %s: %w", c.options.Bind, err)
	}
	addr := told.String()
	c.addr.Store(&addr)
	return list, config.Keyring, nil
}

// introduce completes what this node tells about itself, now that its gossip address is known.
func (c *Cluster) introduce(told netip.AddrPort) error {
	peer, ok, err := splitPeer(c.options.PeerAddr)
	if err != nil {
		return fmt.Errorf("cluster: peer address %q: %w", c.options.PeerAddr, err)
	}
	if !ok {
		peer = netip.AddrPortFrom(told.Addr(), peer.Port())
	}
	// In memory the addresses of gossip and of the sockets have nothing to do with one another.
	if _, system := c.options.Network.(Sockets); system && peer.Addr().IsLoopback() && !told.Addr().IsLoopback() {
		return fmt.Errorf("cluster: the peer address %s can be reached from this machine alone, but gossip tells the others that the "+
			"node is at %s: listen for peers on an address that they can reach", peer, told.Addr())
	}
	for _, own := range []netip.Addr{told.Addr(), peer.Addr()} {
		if err := c.options.Gate.check(own); err != nil {
			return fmt.Errorf("cluster: other nodes would refuse this one: its address %w: add its network to cluster.allow, "+
				"or advertise another address", err)
		}
	}
	c.roster.change(func(m *Member) {
		m.Addr, m.PeerAddr, m.Keys = told.String(), peer.String(), c.options.Keyring.Secrets().IDs()
		m.HTTPAddr, m.HTTPSAddr = reachable(m.HTTPAddr, told.Addr()), reachable(m.HTTPSAddr, told.Addr())
	})
	if _, err := parseMeta(c.selfMeta().encode()); err != nil {
		return fmt.Errorf("cluster: other nodes would refuse this one: %w", err)
	}
	return nil
}

// advertised returns the gossip address that others are told.
func (c *Cluster) advertised(ctx context.Context, bound netip.AddrPort) (netip.AddrPort, error) {
	if c.options.Advertise == "" {
		if !bound.Addr().IsUnspecified() {
			return bound, nil
		}
		addr, err := privateAddr()
		return netip.AddrPortFrom(addr, bound.Port()), err
	}
	host, port, err := splitSeed(c.options.Advertise, bound.Port())
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(addr, port), nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout) // Run itself sees the end of ctx, and returns nil
	defer cancel()
	addrs, err := c.options.Resolve(ctx, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("look up %s: %w", host, err)
	}
	for _, a := range addrs {
		if a = a.Unmap(); checkHostAddr(a) == nil {
			return netip.AddrPortFrom(a, port), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%s has no usable address", host)
}

// config returns memberlist's configuration.
func (c *Cluster) config(t memberlist.Transport, told netip.AddrPort, logger *log.Logger) (*memberlist.Config, error) {
	o, d := &c.options, delegate{c}
	keys, err := memberlist.NewKeyring(nil, nil)
	if err == nil {
		err = install(keys, o.Keyring.Secrets().gossipKeys())
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: keys of gossip: %w", err)
	}
	m := memberlist.DefaultLANConfig()
	m.Name = o.Name
	m.Transport = t
	m.Label = o.Label
	m.Keyring = keys
	m.AdvertiseAddr, m.AdvertisePort = told.Addr().String(), int(told.Port())
	m.GossipInterval, m.GossipNodes = o.GossipInterval, o.GossipNodes
	m.ProbeInterval, m.ProbeTimeout = o.ProbeInterval, o.ProbeTimeout
	m.SuspicionMult = o.SuspicionMult
	m.PushPullInterval = o.PushPullInterval
	m.TCPTimeout = o.StreamTimeout
	// LZW took a fifth of a cluster's idle CPU (profile of the tests) to save bytes in packets that fit one datagram anyhow.
	m.EnableCompression = false
	m.DeadNodeReclaimTime = time.Millisecond // a dead member's name is free at once, for its restart at another address
	m.Delegate, m.Events, m.Alive, m.Conflict = d, d, d, d
	m.Logger = logger
	return m, nil
}

// bindError says what to do about a gossip address that cannot be had.
func bindError(addr string, err error) error {
	text := err.Error() // a Network need not wrap, so only the words tell
	switch {
	case strings.Contains(text, "address already in use"):
		return fmt.Errorf("cluster: gossip on %s: the port is taken by another process "+
			"(`ss -lntup` shows which): choose another --gossip: %w", addr, err)
	case strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("cluster: gossip on %s: this machine does not have that address: choose another --gossip, "+
			"and give the outside address with --advertise: %w", addr, err)
	case strings.Contains(text, "permission denied"):
		return fmt.Errorf("cluster: gossip on %s: not permitted: choose a --gossip port above 1023: %w", addr, err)
	}
	return fmt.Errorf("cluster: gossip on %s: %w", addr, err)
}
