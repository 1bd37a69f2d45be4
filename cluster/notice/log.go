package notice

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"time"
)

// maxEarly bounds the notices of one origin that wait for one before them. Further ones are obeyed and not noted: they
// come again.
const maxEarly = 1024

// history is what is known of one origin.
type history struct {
	floor   uint64            // up to here the records are gone
	since   time.Time         // when the last of those was posted
	records []Record          // those after floor, in order
	early   map[uint64]Record // obeyed, and one before them is missing
}

func (h *history) high() uint64 { return h.floor + uint64(len(h.records)) }

func (h *history) last() time.Time {
	if len(h.records) == 0 {
		return h.since
	}
	return h.records[len(h.records)-1].born
}

// log holds the notices of all origins. Not safe for concurrent use. Of origins there are as many as nodes that posted
// anything have started within keep.
type log struct {
	self      Origin // whose numbers go on: it is never forgotten
	most      int    // records
	mostBytes int64  // of them
	keep      time.Duration
	histories map[Origin]*history
	arrivals  []Origin // of the records, in the order in which they came
	bytes     int64
	waiting   int64 // bytes of early records; at most mostBytes, then further ones come again
}

func newLog(self Origin, most int, mostBytes int64, keep time.Duration) *log {
	return &log{self: self, most: most, mostBytes: mostBytes, keep: keep, histories: map[Origin]*history{}}
}

func (l *log) history(o Origin) *history {
	h := l.histories[o]
	if h == nil {
		h = &history{early: map[uint64]Record{}}
		l.histories[o] = h
	}
	return h
}

// high is up to where all notices of an origin are known.
func (l *log) high(o Origin) uint64 {
	if h := l.histories[o]; h != nil {
		return h.high()
	}
	return 0
}

// gaps tells whether anything waits for one before it.
func (l *log) gaps() bool { return l.waiting > 0 }

func (l *log) has(o Origin, sequence uint64) bool {
	h := l.histories[o]
	if h == nil {
		return false
	}
	_, early := h.early[sequence]
	return early || sequence <= h.high()
}

// pass tells whether a record is to be sent on by gossip: it is there, and pass was not asked before.
func (l *log) pass(o Origin, sequence uint64) bool {
	h := l.histories[o]
	if h == nil {
		return false
	}
	if r, ok := h.early[sequence]; ok {
		first := !r.passed
		r.passed = true
		h.early[sequence] = r
		return first
	}
	if sequence <= h.floor || sequence > h.high() {
		return false
	}
	r := &h.records[sequence-h.floor-1]
	first := !r.passed
	r.passed = true
	return first
}

// add notes a record. It does nothing for one that is there. False: there is no room for it, as one before it is missing.
func (l *log) add(r Record) bool {
	if l.has(r.Origin, r.Sequence) {
		return true
	}
	h := l.history(r.Origin)
	if r.Sequence != h.high()+1 {
		if len(h.early) == maxEarly || l.waiting+r.cost() > l.mostBytes {
			return false
		}
		h.early[r.Sequence] = r
		l.waiting += r.cost()
		return true
	}
	l.append(h, r)
	l.absorb(h)
	l.shrink()
	return true
}

func (l *log) append(h *history, r Record) {
	h.records = append(h.records, r)
	l.arrivals = append(l.arrivals, r.Origin)
	l.bytes += r.cost()
}

// absorb moves what waited for its turn.
func (l *log) absorb(h *history) {
	for {
		r, ok := h.early[h.high()+1]
		if !ok {
			return
		}
		l.dropEarly(h, r)
		l.append(h, r)
	}
}

// shrink drops what came first until the bounds hold.
func (l *log) shrink() {
	for len(l.arrivals) > l.most || l.bytes > l.mostBytes {
		l.drop()
	}
}

func (l *log) drop() {
	h := l.histories[l.arrivals[0]]
	l.arrivals = l.arrivals[1:]
	l.bytes -= h.records[0].cost()
	h.floor, h.since = h.records[0].Sequence, h.records[0].born
	h.records[0] = Record{} // lets the text go before the array does
	h.records = h.records[1:]
}

func (l *log) dropEarly(h *history, r Record) {
	delete(h.early, r.Sequence)
	l.waiting -= r.cost()
}

// raise notes that the records of an origin up to floor, the last of them posted at since, will never come.
func (l *log) raise(o Origin, floor uint64, since time.Time) {
	h := l.history(o)
	if floor <= h.high() {
		return
	}
	for _, r := range h.records {
		l.bytes -= r.cost()
	}
	l.arrivals = slices.DeleteFunc(l.arrivals, func(of Origin) bool { return of == o })
	h.floor, h.since, h.records = floor, since, nil
	for sequence, r := range h.early {
		if sequence <= floor {
			l.dropEarly(h, r)
		}
	}
	l.absorb(h)
	l.shrink()
}

// expire forgets what is older than keep, and origins of which nothing else is known.
func (l *log) expire(now time.Time) {
	for len(l.arrivals) > 0 && now.Sub(l.histories[l.arrivals[0]].records[0].born) > l.keep {
		l.drop()
	}
	for o, h := range l.histories {
		for _, r := range h.early {
			if now.Sub(r.born) > l.keep {
				l.dropEarly(h, r)
			}
		}
		if o != l.self && len(h.records) == 0 && len(h.early) == 0 && now.Sub(h.since) > l.keep {
			delete(l.histories, o)
		}
	}
}

// digest says what is there.
func (l *log) digest(now time.Time) []position {
	l.expire(now)
	all := make([]position, 0, len(l.histories))
	for o, h := range l.histories {
		p := position{Origin: o, Floor: h.floor, High: h.high(), Early: slices.Sorted(maps.Keys(h.early))}
		if p.High == 0 && len(p.Early) == 0 {
			continue
		}
		if p.High > 0 {
			p.Age = age(now, h.last())
		}
		if h.floor > 0 {
			p.FloorAge = age(now, h.since)
		}
		all = append(all, p)
	}
	return all
}

// sum is the same for digests that lack nothing of each other, never 0. Two that differ have the same one in 1 of 2^64 cases.
func sum(digest []position) uint64 {
	total := uint64(1)
	var text []byte
	for _, p := range digest {
		text = append(text[:0], p.Node...)
		text = append(text, 0)
		text = binary.BigEndian.AppendUint64(text, uint64(p.Incarnation))
		text = binary.BigEndian.AppendUint64(text, p.High)
		for _, sequence := range p.Early {
			text = binary.BigEndian.AppendUint64(text, sequence)
		}
		hash := sha256.Sum256(text)
		total += binary.BigEndian.Uint64(hash[:]) // in any order
	}
	return max(total, 1)
}

// missing returns the records that a digest lacks, of each origin in order of their numbers, or the first of them.
func (l *log) missing(theirs []position, now time.Time) (records []Record, more bool) {
	have := make(map[Origin]position, len(theirs))
	for _, p := range theirs {
		have[p.Origin] = p
	}
	bytes := int64(0)
	for o, h := range l.histories {
		for r := range h.after(have[o]) {
			if len(records) == batchRecords || bytes > batchBytes {
				return records, true
			}
			records = append(records, r.aged(now))
			bytes += r.cost()
		}
	}
	return records, false
}

// after yields the records that another node lacks, in order.
func (h *history) after(has position) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if from := max(has.High, h.floor); from < h.high() {
			for _, r := range h.records[from-h.floor:] {
				if _, ok := slices.BinarySearch(has.Early, r.Sequence); !ok && !yield(r) {
					return
				}
			}
		}
		for _, sequence := range slices.Sorted(maps.Keys(h.early)) {
			if _, ok := slices.BinarySearch(has.Early, sequence); !ok && sequence > has.High && !yield(h.early[sequence]) {
				return
			}
		}
	}
}

// age is never negative, whatever the clock did.
func age(now, then time.Time) time.Duration { return max(0, now.Sub(then)) }
