package policy

import (
	"encoding/binary"
	"iter"
	"math"
	"runtime"
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
			s := col.at(place)
			e := s.entry(uint32(class))
			list = append(list, Record{ID: *s.id(), Bytes: e.bytes(), Version: e.version, Hint: e.hint(uint32(class))})
		}
	}
	return list
}

// touchedAhead is how many records' references are fetched into the processor's cache side by side, before they are
// looked at one after the other.
const touchedAhead = 32

// touchLocked looks at where the references to records would be.
func (t *table) touchLocked(records []Record) {
	if len(t.refs) == 0 {
		return
	}
	all := ref(0)
	for i := range records {
		all |= t.refs[t.home(&records[i].ID)]
	}
	runtime.KeepAlive(all) // or the compiler leaves the looks out
}

// Grow makes room for so many entries in all, which spares growing step by step.
func (x *Index) Grow(entries int) {
	each := float64(min(int64(entries), x.bytes.limit/blockBytes)) / indexShards
	each += 4 * math.Sqrt(each) // shards differ
	for i := range x.shards {
		t := &x.shards[i]
		t.mu.Lock()
		if refs := int(each)*10/fullTenths + firstRefs; entries > 0 && refs > len(t.refs) {
			t.resizeLocked(refs)
		}
		t.mu.Unlock()
	}
}

// Load enters entries of a snapshot, not verified, without evicting; an ID that is there already it leaves as it is. It
// returns those from the first on for which there was no room.
//
// One mutex for each run of records whose IDs end in the same six bits: order many so.
func (x *Index) Load(records []Record) (left []Record) {
	for len(records) > 0 {
		t, n, bytes := x.shard(&records[0].ID), 0, int64(0)
		for n < len(records) && x.shard(&records[n].ID) == t {
			bytes += loadedBytes(&records[n])
			n++
		}
		if !x.bytes.take(bytes) {
			n, bytes = 1, loadedBytes(&records[0])
			if !x.bytes.take(bytes) {
				if _, known := x.Peek(records[0].ID); !known {
					return records
				}
				records = records[1:]
				continue
			}
		}
		x.bytes.give(bytes - x.loadRun(t, records[:n]))
		records = records[n:]
	}
	return nil
}

func loadedBytes(r *Record) int64 { return int64(blocksOf(r.Bytes)) * blockBytes }

// loadRun enters records of one shard, whose bytes are taken, and returns how many of them the index keeps.
func (x *Index) loadRun(t *table, records []Record) (kept int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var held, entries [nClasses]int64
	for i := range records {
		r := &records[i]
		if i%touchedAhead == 0 {
			t.touchLocked(records[i:min(i+touchedAhead, len(records))])
		}
		if _, _, known := t.findLocked(&r.ID); known {
			continue
		}
		if e, class := entryOf(r); t.addLocked(&r.ID, class, &e) {
			held[class] += e.bytes()
			entries[class]++
		}
	}
	for class := range held {
		x.held[class].Add(held[class])
		x.entries[class].Add(entries[class])
		kept += held[class]
	}
	return kept
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
