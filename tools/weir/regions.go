package main

import (
	"context"
	"net"
	"slices"
	"time"

	"weir/cluster"
	"weir/cluster/notice"
	"weir/cluster/ring"
)

// buildWAN makes a relay's view of the other regions. options are those of its own.
func (n *node) buildWAN(options cluster.Options) (err error) {
	c := n.config.Cluster
	if c.WAN.Gossip == "" || n.options.keyring == nil {
		return nil
	}
	options.Label += "-wan"
	options.News = nil
	options.WAN, options.Bind, options.Advertise, options.Join = true, c.WAN.Gossip, c.WAN.Advertise, c.WAN.Join
	options.GossipInterval, options.ProbeInterval, options.ProbeTimeout = 0, 0, 0 // those of a region are too short
	options.PushPullInterval, options.StreamTimeout, options.SuspicionMult, options.GossipNodes = 0, 0, 0, 0
	if c.WAN.Advertise != "" {
		if _, port, err := net.SplitHostPort(options.PeerAddr); err == nil {
			options.PeerAddr = net.JoinHostPort("", port) // at the host that is advertised
		}
	}
	options.News, options.Log = nil, n.log.With("pool", "relays")
	if s := n.options.sockets; s != nil {
		options.Network = s.gossip(socketWAN, c.WAN.Gossip)
	}
	n.wan, err = cluster.New(options)
	return err
}

// awaitRegions has a relay that has just started, or taken over, look for the other regions before it passes on what they
// are to hear. It returns gossipTimeout after the start at most: a region may be cut off.
func (n *node) awaitRegions(ctx context.Context) {
	if n.wan == nil {
		return
	}
	select {
	case <-n.wan.Ready():
		return
	default:
	}
	enough := time.NewTimer(time.Until(n.started.Add(gossipTimeout)))
	defer enough.Stop()
	select {
	case <-n.wan.Ready():
	case <-enough.C:
	case <-ctx.Done():
	}
}

// everyMember lists the members of the region, and on a relay the relays of all.
func (n *node) everyMember() []cluster.Member {
	members := n.cluster.Members()
	if n.wan != nil {
		members = append(members, n.wan.Members()...)
	}
	return members
}

// relays lists those of this region but this node, for purges of other regions.
func (n *node) relays() []notice.Peer {
	var peers []notice.Peer
	for _, m := range n.cluster.Members() {
		if m.Relay && !m.Self && m.State == cluster.Alive {
			peers = append(peers, notice.Peer{Name: m.Name, Address: m.PeerAddr})
		}
	}
	return peers
}

// otherRegions lists the relays of each, on a relay; those that said farewell need not hear of purges.
func (n *node) otherRegions() []notice.Region {
	if n.wan == nil {
		return nil
	}
	var regions []notice.Region
	for _, m := range n.wan.Members() {
		if m.Region == n.config.Node.Region || m.State == cluster.Left {
			continue
		}
		i := slices.IndexFunc(regions, func(r notice.Region) bool { return r.Name == m.Region })
		if i < 0 {
			i, regions = len(regions), append(regions, notice.Region{Name: m.Region})
		}
		regions[i].Relays = append(regions[i].Relays, notice.Peer{Name: m.Name, Address: m.PeerAddr, Lost: m.State == cluster.Dead})
	}
	return regions
}

// far tells whether a node is in another region.
func (n *node) far(name string) bool {
	if n.wan == nil {
		return false
	}
	return slices.ContainsFunc(n.wan.Members(), func(m cluster.Member) bool { return m.Name == name && m.Region != n.config.Node.Region })
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
