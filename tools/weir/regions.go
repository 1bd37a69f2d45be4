package main

import (
	"context"
	"net"

	"weir/cluster"
	"weir/cluster/ring"
)

// buildWAN makes a relay's view of the other regions. options are those of its own.
func (n *node) buildWAN(options cluster.Options) (err error) {
	c := n.config.Cluster
	if c.WAN.Gossip == "" || n.options.keyring == nil {
		return nil
	}
	options.Label += "-wan"
	options.WAN, options.Bind, options.Advertise, options.Join = true, c.WAN.Gossip, c.WAN.Advertise, c.WAN.Join
	options.GossipInterval, options.ProbeInterval, options.ProbeTimeout = 0, 0, 0 // those of a region are too short
	options.PushPullInterval, options.StreamTimeout, options.SuspicionMult, options.GossipNodes = 0, 0, 0, 0
	if c.WAN.Advertise != "" {
		if _, port, err := net.SplitHostPort(options.PeerAddr); err == nil {
			options.PeerAddr = net.JoinHostPort("", port) // at the host that is advertised
		}
	}
	options.News, options.Log = nil, n.log.With("pool", "relays")
	n.wan, err = cluster.New(options)
	return err
}

// gossip is what keeps this node a member.
func (n *node) gossip() []func(context.Context) error {
	pools := []func(context.Context) error{n.cluster.Run}
	if n.wan != nil {
		pools = append(pools, n.wan.Run)
	}
	return pools
}

// tiers is what the edge places by.
//
// Hot path: two atomic loads.
func (n *node) tiers() ring.Tiers {
	tiers := n.cluster.Tiers()
	if n.wan != nil {
		tiers.Homes = n.wan.Tiers().Homes
	}
	return tiers
}
