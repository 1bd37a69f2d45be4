package ring

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// testKeys is the number of keys that the tests place.
const testKeys = 200_000

// members returns n nodes named edge-1 to edge-n.
func members(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{Name: fmt.Sprintf("edge-%d", i+1), Addr: fmt.Sprintf("10.0.%d.%d:7443", i/250, i%250+1), Zone: "a"}
	}
	return nodes
}

// keys yields n well-spread hashes, the same ones each time.
func keys(n int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for range n {
			if !yield(random.Uint64()) {
				return
			}
		}
	}
}

// names returns the names of the owners of hash, best first.
func names(r *Ring, hash uint64) []string {
	var out []string
	for n := range r.Owners(hash) {
		out = append(out, n.Name)
	}
	return out
}

// slots counts the slots of each owner, by name.
func slots(r *Ring) map[string]int {
	count := make(map[string]int)
	for slot := range Slots {
		count[r.nodes[r.owners[slot*Replicas]].Name]++
	}
	return count
}

func TestBalance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes int
		limit float64 // for the fullest node, relative to the mean
	}{{3, 1.02}, {10, 1.03}, {100, 1.12}, {1000, 1.4}} {
		r := New(members(tt.nodes))
		count, second := make(map[string]int), make(map[string]int)
		for hash := range keys(testKeys) {
			owners := names(r, hash)
			count[owners[0]]++
			second[owners[1]]++
		}
		mean := float64(testKeys) / float64(tt.nodes)
		fullest, next := 0, 0
		for _, n := range r.Nodes() {
			fullest, next = max(fullest, count[n.Name]), max(next, second[n.Name])
		}
		full := 0
		for _, n := range slots(r) {
			full = max(full, n)
		}
		ratio, ratioSlots := float64(fullest)/mean, float64(full)*float64(tt.nodes)/Slots
		t.Logf("%3d nodes: fullest / mean = %.3f of keys, %.3f of slots, %.3f as second owner", tt.nodes, ratio, ratioSlots, float64(next)/mean)
		if ratio > tt.limit {
			t.Errorf("%d nodes: fullest / mean = %.3f, want at most %.2f", tt.nodes, ratio, tt.limit)
		}
	}
}

func TestOnlyTheNeededKeysMove(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10, 100} {
		nodes := members(n)
		before, smaller := New(nodes), New(append(slices.Clone(nodes[:n/2]), nodes[n/2+1:]...))
		gone := nodes[n/2].Name
		moved := 0
		for hash := range keys(testKeys) {
			a, b := before.Owner(hash).Name, smaller.Owner(hash).Name
			if a == b {
				continue
			}
			moved++
			if a != gone {
				t.Fatalf("%d nodes, %s left: key %#x moved from %s to %s", n, gone, hash, a, b)
			}
			if second := names(before, hash)[1]; b != second {
				t.Fatalf("%d nodes, %s left: key %#x went to %s, want its second owner %s", n, gone, hash, b, second)
			}
		}
		// Read backwards this is a join: the newcomer takes the same keys. The ideal is the node's own share of slots.
		ideal := float64(slots(before)[gone]) / Slots * testKeys
		t.Logf("%3d nodes: %d keys moved, %.3f x the node's share, %.3f x 1/n", n, moved, float64(moved)/ideal, float64(moved)*float64(n)/testKeys)
		if ratio := float64(moved) / ideal; ratio > 1.05 {
			t.Errorf("%d nodes: %.3f x ideal moved, want at most 1.05", n, ratio)
		}
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]float64{{1, 2, 3, 4}, {0.5, 0.5, 1}, {10, 20, 10, 20, 40}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 4}} {
		nodes := members(len(weights))
		total := 0.0
		for i, w := range weights {
			nodes[i].Weight = w
			total += w
		}
		count := slots(New(nodes))
		for i, w := range weights {
			got, want := float64(count[nodes[i].Name])/Slots, w/total
			if math.Abs(got/want-1) > 0.03 {
				t.Errorf("weights %v: node %d has %.4f of the slots, want %.4f within 3 %%", weights, i, got, want)
			}
		}
	}
}

func TestWeightChangeMovesOnlyToTheHeavierNode(t *testing.T) {
	t.Parallel()
	nodes := members(10)
	before := New(nodes)
	nodes[4].Weight = 2
	after := New(nodes)
	moved := 0
	for hash := range keys(testKeys) {
		a, b := before.Owner(hash).Name, after.Owner(hash).Name
		if a == b {
			continue
		}
		moved++
		if b != "edge-5" {
			t.Fatalf("edge-5 got heavier: key %#x moved from %s to %s", hash, a, b)
		}
	}
	if want := testKeys * (2.0/11 - 1.0/10); math.Abs(float64(moved)/want-1) > 0.05 {
		t.Errorf("%d keys moved, want about %.0f", moved, want)
	}
}

func TestDrainingComesLast(t *testing.T) {
	t.Parallel()
	nodes := members(3)
	before := New(nodes)
	nodes[1].Draining = true
	after := New(nodes)
	for hash := range keys(10_000) {
		got := names(after, hash)
		if len(got) != 3 || got[2] != "edge-2" {
			t.Fatalf("edge-2 is draining: owners of %#x are %v, want it last", hash, got)
		}
		want := slices.DeleteFunc(names(before, hash), func(n string) bool { return n == "edge-2" })
		if !slices.Equal(got[:2], want) {
			t.Fatalf("edge-2 is draining: owners of %#x are %v, want %v before it", hash, got, want)
		}
	}
	for i := range nodes {
		nodes[i].Draining = true
	}
	all := New(nodes)
	for hash := range keys(1000) {
		if got, want := names(all, hash), names(before, hash); !slices.Equal(got, want) {
			t.Fatalf("all are draining: owners of %#x are %v, want %v as if none were", hash, got, want)
		}
	}
}

func TestSmallRings(t *testing.T) {
	t.Parallel()
	for n := range 5 {
		r := New(members(n))
		for hash := range keys(1000) {
			got := names(r, hash)
			if want := min(n, Replicas); len(got) != want {
				t.Fatalf("%d nodes: owners of %#x are %v, want %d", n, hash, got, want)
			}
			if sorted := slices.Sorted(slices.Values(got)); len(slices.Compact(sorted)) != len(got) {
				t.Fatalf("%d nodes: owners of %#x are %v: one twice", n, hash, got)
			}
			if owner := r.Owner(hash); (owner == nil) != (n == 0) || owner != nil && owner.Name != got[0] {
				t.Fatalf("%d nodes: owner of %#x is %v, want the first of %v", n, hash, owner, got)
			}
			if list := r.AppendOwners(nil, hash); len(list) != len(got) || len(got) > 0 && list[0].Name != got[0] {
				t.Fatalf("%d nodes: AppendOwners gives %v, want %v", n, list, got)
			}
		}
		if r.Len() != n || len(r.Nodes()) != n {
			t.Errorf("%d nodes: Len %d, Nodes %v", n, r.Len(), r.Nodes())
		}
	}
	var zero Ring
	if zero.Owner(1) != nil || len(names(&zero, 1)) != 0 || zero.Node("a") != nil {
		t.Error("the zero ring has an owner")
	}
}

func TestNodesAreNormalised(t *testing.T) {
	t.Parallel()
	in := []Node{
		{Name: "c", Addr: "3", Weight: math.NaN()},
		{Name: "a", Addr: "2", Weight: -3},
		{Name: "b", Addr: "9", Weight: math.Inf(1)},
		{Name: "a", Addr: "1"},
	}
	r := New(in)
	want := []Node{{Name: "a", Addr: "1", Weight: 1}, {Name: "b", Addr: "9", Weight: MaxWeight}, {Name: "c", Addr: "3", Weight: 1}}
	if got := r.Nodes(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	in[0].Name, in[1].Name = "x", "y"
	r.Nodes()[0].Name = "z"
	if got := r.Nodes(); !slices.Equal(got, want) {
		t.Errorf("the ring shares its nodes: got %v", got)
	}
	if n := r.Node("b"); n == nil || n.Addr != "9" {
		t.Errorf("Node(b) = %v", n)
	}
	if n := r.Node("bb"); n != nil {
		t.Errorf("Node(bb) = %v", n)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	base := members(4)
	shuffled := []Node{base[2], base[0], base[3], base[1]}
	one := New(base).Version()
	if two := New(shuffled).Version(); one != two {
		t.Errorf("the order of the nodes changes the version: %#x, %#x", one, two)
	}
	seen := map[uint64]string{one: "unchanged"}
	for what, change := range map[string]func(n *Node){
		"name": func(n *Node) { n.Name = "other" }, "addr": func(n *Node) { n.Addr = "10.9.9.9:1" },
		"zone": func(n *Node) { n.Zone = "b" }, "weight": func(n *Node) { n.Weight = 2 },
		"draining": func(n *Node) { n.Draining = true },
		"boundary": func(n *Node) { n.Zone, n.Addr = n.Addr, n.Zone },
	} {
		nodes := slices.Clone(base)
		change(&nodes[1])
		v := New(nodes).Version()
		if as, ok := seen[v]; ok {
			t.Errorf("changed %s: version %#x as for %s", what, v, as)
		}
		seen[v] = what
	}
}

// TestGolden holds the placement still: a build that places differently splits a cluster during its upgrade.
func TestGolden(t *testing.T) {
	t.Parallel()
	weighted := members(10)
	for i := range weighted {
		weighted[i].Weight = float64(i + 1)
	}
	weighted[3].Draining = true
	for _, tt := range []struct {
		name           string
		nodes          []Node
		version, table uint64
		first          string
	}{
		{"3 alike", members(3), 0xa3646220bc0efa60, 0xcb00ac4498c56405, "edge-3 edge-2 edge-1"},
		{"100 alike", members(100), 0x625cdfc3ddc8d638, 0xc4ae9ce19a848ae7, "edge-60 edge-37 edge-40 edge-10"},
		{"10 weighted, one draining", weighted, 0xf8b46c5625f17e8e, 0xcc596e186e3d3fc3, "edge-10 edge-5 edge-3 edge-7"},
	} {
		r := New(tt.nodes)
		table := fnvOffset
		for _, i := range r.owners {
			table = fnvUint64(table, uint64(i))
		}
		first := strings.Join(names(r, 0x0123456789abcdef), " ")
		if r.Version() != tt.version || table != tt.table || first != tt.first {
			t.Errorf("%s: got %#x, %#x, %q, want %#x, %#x, %q", tt.name, r.Version(), table, first, tt.version, tt.table, tt.first)
		}
	}
}

// TestNextIsNew walks from membership to membership: a ring made of the one before is the one made of nothing.
func TestNextIsNew(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	here, pool := map[string]Node{}, members(12)
	r := New(nil)
	for step := range 16 {
		for range 1 + random.IntN(2) {
			n := pool[random.IntN(len(pool))]
			switch random.IntN(5) {
			case 0:
				delete(here, n.Name)
				continue
			case 1:
				n.Draining = true
			case 2:
				n.Weight = 1 + 3*random.Float64()
			case 3:
				n.Addr = "192.0.2.1:1"
			}
			here[n.Name] = n
		}
		nodes := slices.Collect(maps.Values(here))
		r = r.Next(nodes)
		want := New(nodes)
		if r.Version() != want.Version() || !slices.Equal(r.nodes, want.nodes) || !slices.Equal(r.owners, want.owners) || !slices.Equal(r.former, want.former) {
			t.Fatalf("seed %d, step %d: the ring made of the one before differs for %+v", seed, step, want.nodes)
		}
	}
}

// TestAlikeIsTheSpecialCase checks that the way without logarithms gives the lists of the way with them.
func TestAlikeIsTheSpecialCase(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 7, 60} {
		nodes := normalise(members(n))
		fast := place(nodes)
		racers := make([]racer, n)
		for i := range nodes {
			racers[i] = racer{seed: mix(fnvString(fnvOffset, nodes[i].Name)), inverse: 1}
		}
		slow := make([]uint16, Replicas)
		for slot := range Slots {
			race(slow, mix(uint64(slot)), racers)
			if got := fast[slot*Replicas : slot*Replicas+Replicas]; !slices.Equal(got, slow) {
				t.Fatalf("%d nodes, slot %d: %v without logarithms, %v with them", n, slot, got, slow)
			}
		}
	}
}

func TestNegLog2(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 1_000_000 {
		d := random.Uint64() >> random.IntN(64)
		if d == 0 {
			continue
		}
		got, want := float64(negLog2(d))/(1<<32), 64-math.Log2(float64(d))
		if math.Abs(got-want) > 3e-6 {
			t.Fatalf("negLog2(%#x) = %v, want %v", d, got, want)
		}
		if d < math.MaxUint64 && negLog2(d+1) > negLog2(d) {
			t.Fatalf("negLog2 grows from %#x to %#x", d, d+1)
		}
	}
	for zeros := range 64 {
		d := uint64(1) << (63 - zeros)
		if negLog2(d-1) < negLog2(d) {
			t.Errorf("negLog2 grows from %#x to %#x", d-1, d)
		}
		if got, want := negLog2(d), uint64(zeros+1)<<32; got != want {
			t.Errorf("negLog2(%#x) = %#x, want %#x", d, got, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	r := New(members(10))
	var hash uint64
	var buffer [Replicas]*Node
	total := 0
	if n := testing.AllocsPerRun(1000, func() {
		hash += golden
		for node := range r.Owners(hash) {
			total += len(node.Name)
		}
		total += len(r.AppendOwners(buffer[:0], hash)) + len(r.Owner(hash).Name) + len(r.Node("edge-3").Addr)
	}); n != 0 {
		t.Errorf("%v allocations for a look-up, want 0", n)
	}
}

// BenchmarkOwners compares a look-up with one in a ring of 100 virtual points for each node, in the same run.
func BenchmarkOwners(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1000} {
		r, points := New(members(n)), virtualPoints(n)
		b.Run(fmt.Sprintf("slots/nodes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			hash, total := uint64(0), 0
			for b.Loop() {
				hash = hash*6364136223846793005 + 1442695040888963407
				for node := range r.Owners(hash) {
					total += len(node.Name)
					break
				}
			}
		})
		b.Run(fmt.Sprintf("vnodes/nodes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			hash, total := uint64(0), 0
			for b.Loop() {
				hash = hash*6364136223846793005 + 1442695040888963407
				i, _ := slices.BinarySearchFunc(points, hash, func(p point, h uint64) int { return cmp.Compare(p.at, h) })
				total += len(r.nodes[points[i%len(points)].node].Name)
			}
		})
	}
}

// point is a virtual node of a classic ring.
type point struct {
	at   uint64
	node int
}

func virtualPoints(nodes int) []point {
	points := make([]point, nodes*100)
	for i := range points {
		points[i] = point{mix(uint64(i)), i % nodes}
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	return points
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{3, 10, 100, 200} {
		nodes := members(n)
		weighted := members(n)
		for i := range weighted {
			weighted[i].Weight = float64(i%4 + 1)
		}
		b.Run(fmt.Sprintf("alike/nodes=%d", n), func(b *testing.B) { build(b, nodes) })
		b.Run(fmt.Sprintf("weighted/nodes=%d", n), func(b *testing.B) { build(b, weighted) })
	}
}

func build(b *testing.B, nodes []Node) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if New(nodes).Len() != len(nodes) {
			b.Fatal("nodes lost")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/Slots/float64(len(nodes)), "ns/slot/node")
}

// BenchmarkJoin is what one more node costs, made of the ring before and made of nothing.
func BenchmarkJoin(b *testing.B) {
	for _, n := range []int{3, 10, 100, 200} {
		before, nodes := New(members(n-1)), members(n)
		b.Run(fmt.Sprintf("next/nodes=%d", n), func(b *testing.B) {
			for b.Loop() {
				before.Next(nodes)
			}
		})
		b.Run(fmt.Sprintf("new/nodes=%d", n), func(b *testing.B) {
			for b.Loop() {
				New(nodes)
			}
		})
	}
}

// TestFormerNamesWhoDrains: for every key that a draining node gave away, and no other.
func TestFormerNamesWhoDrains(t *testing.T) {
	t.Parallel()
	before := New(members(10))
	nodes := members(10)
	nodes[3].Draining = true
	after := New(nodes)
	given := 0
	for hash := range keys(testKeys) {
		if before.Former(hash) != nil {
			t.Fatal("nobody drains, and there is a former owner")
		}
		former := after.Former(hash)
		was := before.Owner(hash).Name
		switch {
		case was != "edge-4" && former != nil:
			t.Fatalf("%s owns a key as before, and %s is said to have", was, former.Name)
		case was == "edge-4" && (former == nil || former.Name != was):
			t.Fatalf("the former owner is %v, want %s", former, was)
		case former != nil:
			given++
		}
	}
	if given < testKeys/11 || given > testKeys/9 {
		t.Errorf("%d of %d keys were given away", given, testKeys)
	}
}
