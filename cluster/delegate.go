package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxRefusals bounds the names whose refusal was logged; past it nothing more is logged, only counted.
const maxRefusals = 256

// errPanic refuses a node whose message made a callback panic.
var errPanic = errors.New("cluster: panic while looking at a message")

// delegate receives memberlist's callbacks. Most run with memberlist's own lock held, so none of them calls memberlist,
// blocks, or panics outwards: what came from the network must not be able to end the process.
type delegate struct{ c *Cluster }

// NodeMeta returns what this node tells about itself.
func (d delegate) NodeMeta(limit int) (b []byte) {
	defer d.guard(nil)
	b = d.c.selfMeta().encode()
	if len(b) > limit {
		return nil // not reached: the fields' own limits add up to less
	}
	return b
}

// NotifyMsg takes news, see Cluster.Tell; the library uses the bytes again.
func (d delegate) NotifyMsg(message []byte) {
	defer d.guard(nil)
	if d.c.options.News != nil {
		d.c.news.arrived(message)
	}
}

// GetBroadcasts returns news for one packet.
func (d delegate) GetBroadcasts(overhead, limit int) (texts [][]byte) {
	defer d.guard(nil)
	return d.c.news.take(overhead, limit, newsSends(d.c.Ring().Len()))
}

// LocalState has nothing to add to a full exchange.
func (d delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState ignores what is added to a full exchange.
func (d delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive refuses a node that says something wrong about itself: an error here keeps it out of the member list.
func (d delegate) NotifyAlive(n *memberlist.Node) (err error) {
	defer d.guard(&err)
	if n.Name == d.c.options.Name {
		return nil
	}
	_, err = d.c.memberOf(n)
	if err != nil {
		d.c.refuse(n.Name, err)
	}
	return err
}

// NotifyJoin notes a member that is new or back.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	defer d.guard(nil)
	if m, ok := d.note(n); ok {
		d.c.log.Info("member joined", facts(m)...)
	}
}

// NotifyUpdate notes a member that says something new about itself.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	defer d.guard(nil)
	if m, ok := d.note(n); ok {
		d.c.log.Info("member changed", facts(m)...)
	}
}

// NotifyLeave notes a member that left or died.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	defer d.guard(nil)
	if n.Name == d.c.options.Name {
		return
	}
	m, left := d.c.roster.gone(n.Name, time.Now())
	if left {
		d.c.log.Info("member left", "member", m.Name, "gossip", m.Addr)
	} else {
		d.c.log.Warn("member lost", "member", m.Name, "gossip", m.Addr)
	}
}

// NotifyConflict hears of two nodes with one name.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	defer d.guard(nil)
	d.c.conflict(existing, other)
}

// note takes down what a node says about itself; false when it is refused.
func (d delegate) note(n *memberlist.Node) (Member, bool) {
	m, err := d.c.memberOf(n)
	if err != nil {
		if n.Name != d.c.options.Name {
			d.c.refuse(n.Name, err)
		}
		return Member{}, false
	}
	d.c.roster.alive(m, time.Now())
	if m.Cleartext != d.c.options.Cleartext {
		d.c.log.Warn("member is not asked, and does not ask: one of the two speaks TLS with its peers, the other HTTP in the clear; "+
			"set cluster.cleartext alike on all nodes", "member", m.Name, "cleartext", m.Cleartext)
	}
	return m, true
}

// welcome keeps the regions apart: what their pools share would be a ring over long ways.
func (o *Options) welcome(m Member) error {
	if o.WAN || m.Region == o.Region {
		return nil
	}
	return fmt.Errorf("it is in region %q and this one in %q: regions meet through relays, not in one pool", m.Region, o.Region)
}

// facts are the keys and values of a log line about a member.
func facts(m Member) []any {
	return []any{"member", m.Name, "gossip", m.Addr, "peer", m.PeerAddr, "zone", m.Zone, "draining", m.Draining}
}

// guard stops a panic and counts it; err, where given, is set.
func (d delegate) guard(err *error) {
	v := recover()
	if v == nil {
		return
	}
	d.c.panics.Add(1)
	d.c.log.Error("panic in a gossip callback", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if err != nil {
		*err = errPanic
	}
}

// memberOf reads what a node says about itself, and refuses what this node may not use. The result shares nothing with n.
func (c *Cluster) memberOf(n *memberlist.Node) (Member, error) {
	if err := checkName(n.Name); err != nil {
		return Member{}, fmt.Errorf("name: %w", err)
	}
	addr, ok := netip.AddrFromSlice(n.Addr)
	if !ok || n.Port == 0 {
		return Member{}, fmt.Errorf("gossip address %v, port %d", n.Addr, n.Port)
	}
	addr = addr.Unmap()
	if err := checkHostAddr(addr); err != nil {
		return Member{}, fmt.Errorf("gossip address %s: %w", addr, err)
	}
	m, err := parseMeta(n.Meta)
	if err != nil {
		return Member{}, fmt.Errorf("metadata: %w", err)
	}
	if err := c.checkPlaces(netip.AddrPortFrom(addr, n.Port), m); err != nil {
		return Member{}, err
	}
	member := m.member(n.Name, netip.AddrPortFrom(addr, n.Port).String())
	return member, c.options.welcome(member)
}

// checkPlaces refuses addresses that are good by themselves and not for another node. What is said of this node comes back
// from others and is not checked again.
func (c *Cluster) checkPlaces(gossip netip.AddrPort, m meta) error {
	peer, err := netip.ParseAddrPort(m.Peer)
	if err != nil {
		return fmt.Errorf("peer address: %w", err) // not reached: parseMeta has checked it
	}
	for _, f := range []struct {
		field string
		addr  netip.AddrPort
	}{{"gossip address", gossip}, {"peer address", peer}} {
		if err := c.options.Gate.check(f.addr.Addr()); err != nil {
			return fmt.Errorf("%s: %w", f.field, err)
		}
		if c.isAdmin(f.addr) {
			return fmt.Errorf("%s: %s is where this node listens for operators", f.field, f.addr)
		}
	}
	// A peer on loopback is this machine to every node; that is right only where all nodes are on one.
	if peer.Addr().IsLoopback() && !gossip.Addr().IsLoopback() {
		return fmt.Errorf("peer address: %s is on whatever machine asks, and gossip comes from %s", peer, gossip.Addr())
	}
	return nil
}

// isAdmin says whether an address is this node's listener for operators.
func (c *Cluster) isAdmin(a netip.AddrPort) bool {
	if c.options.AdminAddr == "" {
		return false
	}
	host, port, err := splitBind(c.options.AdminAddr)
	if err != nil || port != a.Port() { // New has checked it
		return false
	}
	own, err := netip.ParseAddrPort(c.Addr())
	return host == a.Addr() || host.IsUnspecified() && (a.Addr().IsLoopback() || err == nil && own.Addr() == a.Addr())
}
