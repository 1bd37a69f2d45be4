package cluster

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/cluster/ring"
)

// roster is what this node knows of all members, itself included. Gossip writes it from its callbacks; everybody else
// reads copies.
type roster struct {
	self      string
	cleartext bool          // this node speaks HTTP in the clear with its peers: who does not is on no ring
	changed   chan struct{} // holds one token while there is a change that no ring was built from
	changes   atomic.Int64  // number of changes so far

	mu      sync.Mutex // guards the fields below
	members map[string]Member
}

func newRoster(self Member) *roster {
	return &roster{self: self.Name, cleartext: self.Cleartext, changed: make(chan struct{}, 1), members: map[string]Member{self.Name: self}}
}

// alive records that a member joined or changed. Since stays when it was alive before.
func (r *roster) alive(m Member, now time.Time) {
	r.mu.Lock()
	old, known := r.members[m.Name]
	m.State, m.Since, m.Self = Alive, now, m.Name == r.self
	if known && old.State == Alive {
		m.Since = old.Since
	}
	r.members[m.Name] = m
	r.mu.Unlock()
	r.touch()
}

// gone records that a member is no longer there, and says whether it left. memberlist does not tell a farewell from a
// crash, but every node announces that it is draining before it leaves.
func (r *roster) gone(name string, now time.Time) (m Member, left bool) {
	r.mu.Lock()
	m, known := r.members[name]
	if known && name != r.self && m.State == Alive {
		m.State, m.Since = Dead, now
		if m.Draining {
			m.State = Left
		}
		r.members[name] = m
	}
	r.mu.Unlock()
	r.touch()
	return m, m.State == Left
}

// change applies f to this node's own entry.
func (r *roster) change(f func(*Member)) {
	r.mu.Lock()
	m := r.members[r.self]
	f(&m)
	r.members[r.self] = m
	r.mu.Unlock()
	r.touch()
}

// touch asks for a new ring; several requests before it is built are one.
func (r *roster) touch() {
	r.changes.Add(1)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// forget drops members that have been gone since before limit.
func (r *roster) forget(limit time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, m := range r.members {
		if m.State != Alive && m.Since.Before(limit) {
			delete(r.members, name)
		}
	}
}

// list returns all members, sorted by name.
func (r *roster) list() []Member {
	r.mu.Lock()
	out := make([]Member, 0, len(r.members))
	for _, m := range r.members {
		out = append(out, m)
	}
	r.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// tables is what a node places keys by: all living members that hold a share, and the tiers among them.
type tables struct {
	region *ring.Ring
	tiers  ring.Tiers
}

// tables makes those of now from those before. In the pool of relays there is no zone: Homes has the other regions.
func (r *roster) tables(before tables, wan bool) tables {
	var nodes []ring.Node
	var self Member
	shields, regions := map[string]bool{}, map[string][]Member{}
	for _, m := range r.list() {
		if m.Self {
			self = m
		}
		if m.State != Alive || m.Role != RoleEdge || m.Cleartext != r.cleartext {
			continue
		}
		nodes = append(nodes, ring.Node{Name: m.Name, Addr: m.PeerAddr, Zone: m.Zone, Weight: m.Weight, Draining: m.Draining})
		shields[m.Name] = m.Shield
		regions[m.Region] = append(regions[m.Region], m)
	}
	now := tables{region: before.region.Next(nodes)}
	if wan {
		delete(regions, self.Region)
		now.tiers.Homes = homes(regions, before.tiers.Homes)
		return now
	}
	now.tiers.Zone = part(nodes, now.region, before.tiers.Zone, func(n ring.Node) bool { return self.Zone == "" || n.Zone == self.Zone })
	now.tiers.Shield = part(nodes, now.region, before.tiers.Shield, func(n ring.Node) bool { return shields[n.Name] })
	return now
}

// part is the ring of those of nodes that are wanted; the whole where that is all of them, or none.
func part(nodes []ring.Node, whole, before *ring.Ring, wanted func(ring.Node) bool) *ring.Ring {
	some := slices.DeleteFunc(slices.Clone(nodes), func(n ring.Node) bool { return !wanted(n) })
	if len(some) == 0 || len(some) == len(nodes) {
		return whole
	}
	return before.Next(some)
}

// homes are the rings of the shields of each region, or of all its members here where none is one.
func homes(regions map[string][]Member, before map[string]*ring.Ring) map[string]*ring.Ring {
	out := make(map[string]*ring.Ring, len(regions))
	for region, members := range regions {
		var all, shields []ring.Node
		for _, m := range members {
			n := ring.Node{Name: m.Name, Addr: m.PeerAddr, Zone: m.Zone, Weight: m.Weight, Draining: m.Draining}
			if all = append(all, n); m.Shield {
				shields = append(shields, n)
			}
		}
		if len(shields) == 0 {
			shields = all
		}
		old := before[region]
		if old == nil {
			old = ring.New(nil)
		}
		out[region] = old.Next(shields)
	}
	return out
}
