package ring

import "math/bits"

// The functions here reckon on memory that nobody else has, some hundred million times in a test of many nodes. They tell the
// race detector so (go:norace), which took five times as long over them.

// best is the owner list of one slot while it is being found, best first. A slot's competitors are compared by class (not
// draining before draining), then by score (lower first), then by draw (higher first), then by index, which is the order
// of the names.
type best struct {
	index [Replicas]uint16
	class [Replicas]uint8
	score [Replicas]float64
	draw  [Replicas]uint64
}

// racer is a node as place sees it.
type racer struct {
	seed    uint64
	inverse float64 // 1 / weight
	class   uint8   // 0, or 1 when draining
}

// place returns Replicas owner indices for every slot.
//
// Weighted rendezvous hashing: a node's score for a slot is -log2(u)/weight, where u in (0,1] is the node's draw for the
// slot; the lowest scores win. Where all nodes are alike the highest draw decides, which gives the same lists without the
// logarithm.
//
//go:norace
func place(nodes []Node) []uint16 {
	if len(nodes) == 0 {
		return nil
	}
	racers := racersOf(nodes)
	fill := race
	if alike(racers) {
		fill = raceAlike
	}
	owners := make([]uint16, Slots*Replicas)
	for slot := range Slots {
		fill(listOf(owners, slot), mix(uint64(slot)), racers)
	}
	return owners
}

// replace returns what place(nodes) does, from what it returned for old.
//
//go:norace
func replace(old []Node, owners []uint16, nodes []Node) []uint16 {
	moved, came := compare(old, nodes)
	if len(owners) == 0 || len(old) < Replicas || len(nodes) < Replicas || len(came) > len(nodes)/2 {
		return place(nodes)
	}
	racers := racersOf(nodes)
	fill := race
	if alike(racers) {
		fill = raceAlike
	}
	out := make([]uint16, Slots*Replicas)
	for slot := range Slots {
		list, seed := listOf(out, slot), mix(uint64(slot))
		if !translate(list, listOf(owners, slot), moved) {
			fill(list, seed, racers)
			continue
		}
		for _, i := range came {
			if last := racers[list[Replicas-1]]; !racers[i].mayBeat(last, seed) {
				continue
			}
			join(list, seed, racers, i)
		}
	}
	return out
}

// compare tells what became of the old nodes: their index now, none for one that went or is placed otherwise; and which
// of the new ones have come or are placed otherwise. Both are sorted by name.
func compare(old, nodes []Node) (moved, came []uint16) {
	moved = make([]uint16, len(old))
	i := 0
	for k, n := range nodes {
		for ; i < len(old) && old[i].Name < n.Name; i++ {
			moved[i] = none
		}
		if i == len(old) || old[i].Name != n.Name {
			came = append(came, uint16(k))
			continue
		}
		moved[i] = uint16(k)
		if old[i].Weight != n.Weight || old[i].Draining != n.Draining {
			moved[i], came = none, append(came, uint16(k))
		}
		i++
	}
	for ; i < len(old); i++ {
		moved[i] = none
	}
	return moved, came
}

// translate copies a list with the indices of now; false where one of its nodes is not there any more.
//
//go:norace
func translate(to, from, moved []uint16) bool {
	for k, i := range from {
		if to[k] = moved[i]; to[k] == none {
			return false
		}
	}
	return true
}

// join races one more node against a full list.
//
//go:norace
func join(list []uint16, slot uint64, racers []racer, newcomer uint16) {
	b := best{index: [Replicas]uint16{none, none, none, none}}
	for _, i := range [...]uint16{list[0], list[1], list[2], list[3], newcomer} {
		d := draw(racers[i].seed, slot)
		b.insert(i, racers[i].class, racers[i].score(d), d)
	}
	copy(list, b.index[:])
}

func racersOf(nodes []Node) []racer {
	racers := make([]racer, len(nodes))
	for i, n := range nodes {
		racers[i] = racer{seed: mix(fnvString(fnvOffset, n.Name)), inverse: 1 / n.Weight}
		if n.Draining {
			racers[i].class = 1
		}
	}
	return racers
}

// alike says whether nothing but the draws tells the nodes apart.
func alike(racers []racer) bool {
	for _, r := range racers {
		if r.inverse != racers[0].inverse || r.class != racers[0].class {
			return false
		}
	}
	return true
}

// mayBeat is false where r comes behind last for sure.
//
//go:norace
func (r racer) mayBeat(last racer, slot uint64) bool {
	if r.class != last.class {
		return r.class < last.class
	}
	d, least := draw(r.seed, slot), draw(last.seed, slot)
	return d >= least || r.inverse < last.inverse
}

//
//go:norace
func listOf(owners []uint16, slot int) []uint16 {
	return owners[slot*Replicas : slot*Replicas+Replicas : slot*Replicas+Replicas]
}

// raceAlike fills list with the indices of the highest draws.
//
//go:norace
func raceAlike(list []uint16, slot uint64, racers []racer) {
	var d [Replicas]uint64
	for k := range list {
		list[k] = none
	}
	const last = Replicas - 1
	for i := range racers {
		x := draw(racers[i].seed, slot)
		if x <= d[last] && list[last] != none {
			continue
		}
		k := last
		for ; k > 0 && (list[k-1] == none || x > d[k-1]); k-- {
			d[k], list[k] = d[k-1], list[k-1]
		}
		d[k], list[k] = x, uint16(i)
	}
}

// race fills list where weights differ or some nodes are draining.
//
//go:norace
func race(list []uint16, slot uint64, racers []racer) {
	b := best{index: [Replicas]uint16{none, none, none, none}}
	for i := range racers {
		d := draw(racers[i].seed, slot)
		if b.hopeless(racers[i], d) {
			continue
		}
		b.insert(uint16(i), racers[i].class, racers[i].score(d), d)
	}
	copy(list, b.index[:])
}

// score is one IEEE multiplication of a value below 2^38: exact on every architecture, so every node gets the same order.
func (r racer) score(draw uint64) float64 { return float64(negLog2(draw)) * r.inverse }

// hopeless says whether the racer cannot come before the last of a full list. It spares most racers the logarithm:
// -log2(u) >= (1-u)/ln 2, and the slack (1.4426 for 1.442695, 2 units of 2^-32) is more than negLog2 rounds by.
//
//go:norace
func (b *best) hopeless(r racer, draw uint64) bool {
	const last = Replicas - 1
	return b.index[last] != none && r.class >= b.class[last] && (float64(^draw>>32)*1.4426-2)*r.inverse > b.score[last]
}

//
//go:norace
func (b *best) insert(index uint16, class uint8, score float64, draw uint64) {
	at := Replicas
	for at > 0 && b.before(at-1, class, score, draw) {
		at--
	}
	if at == Replicas {
		return
	}
	for k := Replicas - 1; k > at; k-- {
		b.index[k], b.class[k], b.score[k], b.draw[k] = b.index[k-1], b.class[k-1], b.score[k-1], b.draw[k-1]
	}
	b.index[at], b.class[at], b.score[at], b.draw[at] = index, class, score, draw
}

// before says whether a newcomer belongs before place k. Equals stay behind: the lower index came first.
//
//go:norace
func (b *best) before(k int, class uint8, score float64, draw uint64) bool {
	switch {
	case b.index[k] == none:
		return true
	case class != b.class[k]:
		return class < b.class[k]
	case score != b.score[k]:
		return score < b.score[k]
	}
	return draw > b.draw[k]
}

// draw is a node's number for a slot: the two mixed seeds through one 128-bit multiplication, its halves folded together.
func draw(seed, slot uint64) uint64 {
	hi, lo := bits.Mul64(seed^slot, golden)
	hi, lo = bits.Mul64(hi^lo^seed, 0xD6E8FEB86659FD93)
	return hi ^ lo
}

// mix is the finaliser of SplitMix64: every bit of x changes every bit of the result with probability 1/2.
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
