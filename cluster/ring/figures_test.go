package ring

import (
	"cmp"
	"math/bits"
	"slices"
	"testing"
)

// figureSlots is at least the number of slots of any ring: so many hashes, spread evenly, meet each equally often.
const figureSlots = 1 << 18

// everySlot calls yield with a hash for each of figureSlots stretches of the table.
func everySlot(yield func(hash uint64)) {
	inverse := uint64(golden) // Newton: each step doubles the bits of 1/golden mod 2^64 that are right
	for range 5 {
		inverse *= 2 - golden*inverse
	}
	for i := range uint64(figureSlots) {
		yield(i << (64 - 18) * inverse)
	}
}

// shares is the exact part of the keys that each node owns.
func shares(r *Ring) map[string]float64 {
	count := make(map[*Node]int, r.Len())
	everySlot(func(hash uint64) { count[r.Owner(hash)]++ })
	out := make(map[string]float64, len(count))
	for node, n := range count {
		out[node.Name] = float64(n) / figureSlots
	}
	return out
}

// weigh gives nodes weights from 1 to 4 in turn, or one and the same.
func weigh(nodes []Node, unequal bool) (total float64) {
	for i := range nodes {
		nodes[i].Weight = 1
		if unequal {
			nodes[i].Weight = float64(i%4 + 1)
		}
		total += nodes[i].Weight
	}
	return total
}

func TestEverySlotIsMetOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64]bool, figureSlots)
	everySlot(func(hash uint64) { seen[hash*golden>>(64-bits.Len(figureSlots-1))] = true })
	if len(seen) != figureSlots {
		t.Errorf("%d of %d stretches are met", len(seen), figureSlots)
	}
}

// TestFullestNode prints and bounds how much more than its part the fullest node has, beside a ring of 100 virtual
// points for each node.
func TestFullestNode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes int
		limit float64
	}{{3, 1.01}, {10, 1.02}, {100, 1.06}, {1000, 1.2}} {
		for _, unequal := range []bool{false, true} {
			nodes := members(tt.nodes)
			total := weigh(nodes, unequal)
			fullest, points := 0.0, 0.0
			for name, share := range shares(New(nodes)) {
				fullest = max(fullest, share*total/nodes[index(nodes, name)].Weight)
			}
			for i, share := range pointShares(nodes) {
				points = max(points, share*total/nodes[i].Weight)
			}
			t.Logf("%4d nodes, unequal weights %-5v: fullest / its part = %.3f; with virtual points %.3f", tt.nodes, unequal, fullest, points)
			limit := tt.limit
			if unequal { // the lightest has fewer slots to even out
				limit = 1 + 2*(limit-1)
			}
			if fullest > limit {
				t.Errorf("%d nodes, unequal weights %v: fullest / its part = %.3f, want at most %.2f", tt.nodes, unequal, fullest, limit)
			}
		}
	}
}

func index(nodes []Node, name string) int {
	return slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
}

// pointShares is the part of the keys that each node owns on a ring of virtual points, 100 for each unit of weight.
func pointShares(nodes []Node) []float64 {
	var points []point
	for i, n := range nodes {
		for k := range int(100 * n.Weight) {
			points = append(points, point{mix(mix(uint64(i)) ^ uint64(k)), i})
		}
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	out := make([]float64, len(nodes))
	last := points[len(points)-1].at
	for _, p := range points {
		out[p.node] += float64(p.at-last) / (1 << 64) // wraps around at the first
		last = p.at
	}
	return out
}

// TestJoinAndLeaveMoveTheIdeal: what moves is the part of the node that joins or leaves, within 5 % of the part of the
// weights that it has, on average over five nodes, and goes to or comes from nobody else.
func TestJoinAndLeaveMoveTheIdeal(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10, 100} {
		for _, unequal := range []bool{false, true} {
			nodes := members(n)
			total := weigh(nodes, unequal)
			whole := New(nodes)
			share := shares(whole)
			moved, own, ideal := 0.0, 0.0, 0.0
			for i := 0; i < n; i += max(1, n/5) { // each leaves, and joins again: the same keys go there and back
				rest := New(slices.Delete(slices.Clone(nodes), i, i+1))
				everySlot(func(hash uint64) {
					before, after := whole.Owner(hash).Name, rest.Owner(hash).Name
					if before == after {
						return
					}
					moved += 1.0 / figureSlots
					if before != nodes[i].Name {
						t.Errorf("%d nodes, %s left: key %#x moved from %s to %s", n, nodes[i].Name, hash, before, after)
					}
				})
				own += share[nodes[i].Name]
				ideal += nodes[i].Weight / total
			}
			t.Logf("%3d nodes, unequal weights %-5v: %.4f x what the nodes owned moved, %.4f x their part of the weights", n, unequal, moved/own, moved/ideal)
			if moved/own > 1.0001 || moved/ideal > 1.05 {
				t.Errorf("%d nodes, unequal weights %v: %.4f x ideal moved, want at most 1.05", n, unequal, moved/ideal)
			}
		}
	}
}
