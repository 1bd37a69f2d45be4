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
	self    string
	changed chan struct{} // holds one token while there is a change that no ring was built from
	changes atomic.Int64  // number of changes so far

	mu      sync.Mutex // guards the fields below
	members map[string]Member
}

func newRoster(self Member) *roster {
	return &roster{self: self.Name, changed: make(chan struct{}, 1), members: map[string]Member{self.Name: self}}
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

// ring builds the ring of the living members that hold a share of the keys.
func (r *roster) ring() *ring.Ring {
	var nodes []ring.Node
	for _, m := range r.list() {
		if m.State != Alive || m.Role != RoleEdge {
			continue
		}
		nodes = append(nodes, ring.Node{Name: m.Name, Addr: m.PeerAddr, Zone: m.Zone, Weight: m.Weight, Draining: m.Draining})
	}
	return ring.New(nodes)
}
