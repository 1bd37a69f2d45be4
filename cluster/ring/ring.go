package ring

import (
	"iter"
	"math"
	"slices"
	"strings"
)

const (
	// Slots is the number of entries in the table. The fullest of 10 nodes has 1.01 times the mean of them, of 100 nodes
	// 1.04 times, of 1,000 nodes 1.16 times (TestBalance prints the figures).
	Slots = 1 << slotBits

	// Replicas is the number of nodes each slot names, where there are so many.
	Replicas = 4

	// MaxWeight is the upper bound of Node.Weight; New clamps what lies above.
	MaxWeight = 1000.0
	// MinWeight is the lower bound of Node.Weight; New clamps what lies below, but for 0, which counts as 1.
	MinWeight = 0.001

	slotBits = 18

	// maxNodes is what a uint16 index can name with one value kept for "none".
	maxNodes = math.MaxUint16
	none     = math.MaxUint16

	// golden is 2^64 divided by the golden ratio: multiplying by it spreads all bits of a hash into the highest ones.
	golden = 0x9E3779B97F4A7C15
)

// Node is one member of a Ring.
type Node struct {
	Name     string  // unique in the ring
	Addr     string  // host:port of the node's peer listener
	Zone     string  // failure domain; told, not used for placement
	Weight   float64 // share of the keys relative to the other nodes; 0 means 1
	Draining bool    // about to leave: comes after every node that is not draining
}

// Ring is an immutable placement of keys on nodes. The zero value is an empty ring. All methods may be called at the same
// time from any number of goroutines.
type Ring struct {
	nodes   []Node   // sorted by name, names unique
	owners  []uint16 // Replicas indices into nodes for each slot, best first, none where there is no further node
	former  []uint16 // the same as it was before nodes began to drain; nil where none does
	version uint64
}

// New builds the ring of nodes. It keeps a copy, sorted by name; of several nodes with one name it keeps the one with the
// lowest address. A weight of 0 or one that is no number counts as 1, others are clamped to MinWeight and MaxWeight. Nodes
// past the 65,535th name are ignored. The result shares nothing with the argument.
func New(nodes []Node) *Ring { return new(Ring).Next(nodes) }

// Next builds the ring that New(nodes) builds, in less time where few nodes have come, gone or changed since r: slots that
// name none of those that went are only raced against those that came. r stays as it is.
func (r *Ring) Next(nodes []Node) *Ring {
	next := &Ring{nodes: normalise(nodes)}
	next.version = version(next.nodes)
	next.owners = replace(r.nodes, r.owners, next.nodes)
	if !drains(next.nodes) {
		return next
	}
	before := r.former
	if before == nil {
		before = r.owners
	}
	next.former = replace(staying(r.nodes), before, staying(next.nodes))
	return next
}

func drains(nodes []Node) bool {
	return slices.ContainsFunc(nodes, func(n Node) bool { return n.Draining })
}

// staying returns the nodes as if none were draining.
func staying(nodes []Node) []Node {
	out := slices.Clone(nodes)
	for i := range out {
		out[i].Draining = false
	}
	return out
}

// Owners yields the nodes that should hold the key with this hash: the owner, then those to ask when it cannot answer, at
// most Replicas in all. Nodes that are draining come last. An empty ring yields nothing. The nodes belong to the ring and
// must not be changed.
//
// Hot path. The iterator is inlined into a range statement and lives on the caller's stack: no allocation.
func (r *Ring) Owners(hash uint64) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for _, i := range r.slot(hash) {
			if i == none || !yield(&r.nodes[i]) {
				return
			}
		}
	}
}

// AppendOwners appends what Owners yields to dst, for a caller that wants a slice in a buffer of its own.
//
// Hot path: allocates only when dst has no room for Replicas more.
func (r *Ring) AppendOwners(dst []*Node, hash uint64) []*Node {
	for _, i := range r.slot(hash) {
		if i == none {
			break
		}
		dst = append(dst, &r.nodes[i])
	}
	return dst
}

// Owner returns the first node that Owners yields, or nil when the ring is empty. It belongs to the ring and must not be
// changed.
//
// Hot path: no allocation.
func (r *Ring) Owner(hash uint64) *Node {
	s := r.slot(hash)
	if len(s) == 0 || s[0] == none {
		return nil
	}
	return &r.nodes[s[0]]
}

// Former returns the node that owned the key with this hash before it began to drain, which may still have what it held;
// nil where the owner is the same. It belongs to the ring and must not be changed.
//
// Hot path: no allocation.
func (r *Ring) Former(hash uint64) *Node {
	if r.former == nil {
		return nil
	}
	i := Slot(hash) * Replicas
	if r.former[i] == r.owners[i] {
		return nil
	}
	return &r.nodes[r.former[i]]
}

// Slot returns the slot of hash, from 0 to Slots-1. All 64 bits of the hash take part.
func Slot(hash uint64) int { return int((hash * golden) >> (64 - slotBits)) }

// Len returns the number of nodes.
func (r *Ring) Len() int { return len(r.nodes) }

// Nodes returns a copy of the nodes, sorted by name, as New normalised them.
func (r *Ring) Nodes() []Node { return slices.Clone(r.nodes) }

// Node returns the node called name, or nil. It belongs to the ring and must not be changed.
//
// Hot path: a binary search, no allocation.
func (r *Ring) Node(name string) *Node {
	i, ok := slices.BinarySearchFunc(r.nodes, name, func(n Node, name string) int { return strings.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return &r.nodes[i]
}

// Version returns a hash of the nodes (names, addresses, zones, weights, draining). Two nodes of a cluster with the same
// version place every key alike.
func (r *Ring) Version() uint64 { return r.version }

// slot returns the owner list of hash: Replicas indices, or nothing when the ring is empty.
func (r *Ring) slot(hash uint64) []uint16 {
	if len(r.owners) == 0 {
		return nil
	}
	i := Slot(hash) * Replicas
	return r.owners[i : i+Replicas]
}

// normalise returns a copy of nodes sorted by name, without repeated names, every weight usable.
func normalise(nodes []Node) []Node {
	out := slices.Clone(nodes)
	slices.SortFunc(out, func(a, b Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Addr, b.Addr)
	})
	out = slices.CompactFunc(out, func(a, b Node) bool { return a.Name == b.Name })
	if len(out) > maxNodes {
		out = out[:maxNodes]
	}
	for i := range out {
		out[i].Weight = clamp(out[i].Weight)
	}
	return out
}

func clamp(w float64) float64 {
	if w == 0 || w != w {
		return 1
	}
	return min(max(w, MinWeight), MaxWeight)
}

// version hashes the normalised nodes. Every string carries its length, so no two memberships share an encoding.
func version(nodes []Node) uint64 {
	h := fnvOffset
	for _, n := range nodes {
		h = fnvString(fnvString(fnvString(h, n.Name), n.Addr), n.Zone)
		h = fnvUint64(h, math.Float64bits(n.Weight))
		if n.Draining {
			h = fnvUint64(h, 1)
		} else {
			h = fnvUint64(h, 0)
		}
	}
	return mix(h)
}

// FNV-1a, 64 bits.
const (
	fnvOffset uint64 = 0xcbf29ce484222325
	fnvPrime  uint64 = 0x100000001b3
)

func fnvString(h uint64, s string) uint64 {
	h = fnvUint64(h, uint64(len(s)))
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

func fnvUint64(h, v uint64) uint64 {
	for range 8 {
		h = (h ^ v&0xff) * fnvPrime
		v >>= 8
	}
	return h
}
