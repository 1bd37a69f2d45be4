package ring

import "math/bits"

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
func place(nodes []Node) []uint16 {
	if len(nodes) == 0 {
		return nil
	}
	racers := make([]racer, len(nodes))
	alike := true
	for i, n := range nodes {
		racers[i] = racer{seed: mix(fnvString(fnvOffset, n.Name)), inverse: 1 / n.Weight}
		if n.Draining {
			racers[i].class = 1
		}
		alike = alike && racers[i].inverse == racers[0].inverse && racers[i].class == racers[0].class
	}
	owners := make([]uint16, Slots*Replicas)
	for slot := range Slots {
		list := owners[slot*Replicas : slot*Replicas+Replicas : slot*Replicas+Replicas]
		if alike {
			raceAlike(list, mix(uint64(slot)), racers)
		} else {
			race(list, mix(uint64(slot)), racers)
		}
	}
	return owners
}

// raceAlike fills list with the indices of the highest draws.
func raceAlike(list []uint16, slot uint64, racers []racer) {
	var d0, d1, d2 uint64
	i0, i1, i2 := uint16(none), uint16(none), uint16(none)
	for i := range racers {
		d := draw(racers[i].seed, slot)
		switch {
		case d <= d2 && i2 != none:
		case d <= d1 && i1 != none:
			d2, i2 = d, uint16(i)
		case d <= d0 && i0 != none:
			d2, i2, d1, i1 = d1, i1, d, uint16(i)
		default:
			d2, i2, d1, i1, d0, i0 = d1, i1, d0, i0, d, uint16(i)
		}
	}
	list[0], list[1], list[2] = i0, i1, i2
}

// race fills list where weights differ or some nodes are draining.
func race(list []uint16, slot uint64, racers []racer) {
	b := best{index: [Replicas]uint16{none, none, none}}
	for i := range racers {
		d := draw(racers[i].seed, slot)
		if b.hopeless(racers[i], d) {
			continue
		}
		// One IEEE multiplication of a value below 2^38: exact on every architecture, so every node gets the same order.
		b.insert(uint16(i), racers[i].class, float64(negLog2(d))*racers[i].inverse, d)
	}
	copy(list, b.index[:])
}

// hopeless says whether the racer cannot come before the last of a full list. It spares most racers the logarithm:
// -log2(u) >= (1-u)/ln 2, and the slack (1.4426 for 1.442695, 2 units of 2^-32) is more than negLog2 rounds by.
func (b *best) hopeless(r racer, draw uint64) bool {
	const last = Replicas - 1
	return b.index[last] != none && r.class >= b.class[last] && (float64(^draw>>32)*1.4426-2)*r.inverse > b.score[last]
}

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
