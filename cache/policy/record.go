package policy

import (
	"encoding/binary"
	"iter"
	"time"
)

// Record is an entry as a snapshot keeps it.
type Record struct {
	ID    [16]byte
	Bytes int64
	// Version is what State has; 0 means unknown.
	Version uint64
	// Hint is the policy's own: the stream, the last use, and how the entry stands. All zero is one of no stream that was
	// used long ago. Its form may change between releases; what is not understood counts as all zero.
	Hint [16]byte
}

// hintForm is the first byte of a hint.
const hintForm = 1

// All yields every entry that stays while it runs, in no order; one that comes or moves meanwhile may be missed or seen
// twice. Each shard is copied under its lock and yielded without it.
func (x *Index) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		var list []Record
		for i := range x.shards {
			list = x.shards[i].records(list[:0])
			for _, r := range list {
				if !yield(r) {
					return
				}
			}
		}
	}
}

func (t *table) records(list []Record) []Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	for class := range t.columns {
		col := &t.columns[class]
		for place := range col.n {
			e := t.entryLocked(makeRef(uint32(class), place, 0))
			list = append(list, Record{ID: col.id(place), Bytes: e.bytes(), Version: e.version, Hint: e.hint(uint32(class))})
		}
	}
	return list
}

// Load enters an entry of a snapshot, not verified, without evicting. It is false, and nothing is changed, if there is no
// room or the ID is there already.
func (x *Index) Load(r Record) bool {
	e, class := entryOf(&r)
	if !x.bytes.take(e.bytes()) {
		return false
	}
	t := x.shard(&r.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, _, known := t.findLocked(&r.ID); known {
		x.bytes.give(e.bytes())
		return false
	}
	return x.enterLocked(t, &r.ID, class, &e)
}

// PutRecord is a Put of an entry of a snapshot.
func (x *Index) PutRecord(r Record, verified bool) {
	e, class := entryOf(&r)
	e.verified = verified
	x.put(&r.ID, class, &e)
}

// Record returns what a snapshot would keep of id.
func (x *Index) Record(id [16]byte) (Record, bool) {
	t := x.shard(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, r, ok := t.findLocked(&id)
	if !ok {
		return Record{}, false
	}
	e := t.entryLocked(r)
	return Record{ID: id, Bytes: e.bytes(), Version: e.version, Hint: e.hint(r.class())}, true
}

// HintAt is the hint of an object of which only the time is known when it was stored.
func HintAt(stored time.Time) [16]byte {
	e := entry{stamp: stampAt(stored.UnixMilli())}
	return e.hint(small)
}

func (e *entry) hint(class uint32) (h [16]byte) {
	h[0], h[1], h[2] = hintForm, byte(class), e.uses
	h[3], h[4] = byte(e.stream.Kind), e.stream.Rendition
	h[5], h[6], h[7] = byte(e.stamp>>16), byte(e.stamp>>8), byte(e.stamp)
	binary.BigEndian.PutUint32(h[8:], e.stream.Title)
	binary.BigEndian.PutUint32(h[12:], e.stream.Segment)
	return h
}

func entryOf(r *Record) (e entry, class uint32) {
	e = entry{version: r.Version & versionMask, blocks: blocksOf(r.Bytes)}
	h := &r.Hint
	if h[0] != hintForm || h[1] >= nClasses {
		return e, small
	}
	e.uses = h[2] & usesMask
	e.stamp = uint32(h[5])<<16 | uint32(h[6])<<8 | uint32(h[7])
	if h[1] == streamed {
		e.stream = kept(Stream{
			Title: binary.BigEndian.Uint32(h[8:]), Rendition: h[4], Segment: binary.BigEndian.Uint32(h[12:]), Number: true,
			Kind: Kind(h[3]),
		})
	}
	return e, uint32(h[1])
}
