package policy

import (
	"encoding/binary"
	"sync"
)

// Classes of entries, each with its own column so that a sample can be drawn from one.
const (
	streamed = 0 // pieces of streams
	small    = 1 // stream-less, not yet proven
	proven   = 2 // stream-less, asked again while small or soon after
	nClasses = 3
)

// table is a shard of the Index: columns of entries without gaps and an open-addressing table of references to them.
// Neither has a pointer per entry. Full, it grows by an eighth.
type table struct {
	mu      sync.Mutex // guards the fields below
	columns [nClasses]column
	refs    []ref
	count   uint32
}

// column holds the entries of one class; a gap is filled with the last.
type column struct {
	pages []*page
	n     uint32
}

// pageEntries is how many entries a page has: they fill the 16 KiB that the allocator gives.
const pageEntries = 481

// page holds entries side by side, so that a look at one touches one line of the processor's cache, or two.
type page [pageEntries]slot

// slot is an entry packed: its ID, and three fields without padding between them.
type slot [34]byte

// entry is what is known of an object.
type entry struct {
	version  uint64 // versionBits
	blocks   uint32 // of blockBytes, blocksBits
	verified bool
	uses     uint8  // since it was last passed over, usesBits
	stamp    uint32 // of the last use, stream-less: of the entrance into its queue; stampBits of ticks
	stream   Stream
}

// Widths of an entry's packed fields.
const (
	versionBits = 34
	blocksBits  = 26
	usesBits    = 2
	titleBits   = 28
	segmentBits = 20
	stampBits   = 24

	versionMask = 1<<versionBits - 1
	blocksMask  = 1<<blocksBits - 1
	usesMask    = 1<<usesBits - 1
	titleMask   = 1<<titleBits - 1
	segmentMask = 1<<segmentBits - 1
	stampMask   = 1<<stampBits - 1
)

func (s *slot) id() *[16]byte { return (*[16]byte)(s[:16]) }

func (s *slot) set(e *entry) {
	a := e.version<<30 | uint64(e.blocks)<<4 | uint64(e.uses&usesMask)<<2
	if e.verified {
		a |= 2
	}
	if e.stream.Kind == Audio {
		a |= 1
	}
	b := uint64(e.stream.Title)<<36 | uint64(e.stream.Rendition)<<28 | uint64(e.stream.Segment)<<8 | uint64(e.stamp>>16)
	binary.LittleEndian.PutUint64(s[16:], a)
	binary.LittleEndian.PutUint64(s[24:], b)
	binary.LittleEndian.PutUint16(s[32:], uint16(e.stamp))
}

func (s *slot) entry(class uint32) (e entry) {
	a, b, c := binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:]), binary.LittleEndian.Uint16(s[32:])
	e.version, e.blocks, e.uses, e.verified = a>>30, uint32(a>>4)&blocksMask, uint8(a>>2)&usesMask, a&2 != 0
	e.stamp = uint32(b&0xff)<<16 | uint32(c)
	if class == streamed {
		e.stream = Stream{Title: uint32(b >> 36), Rendition: uint8(b >> 28), Segment: uint32(b>>8) & segmentMask, Number: true, Kind: Video}
		if a&1 != 0 {
			e.stream.Kind = Audio
		}
	}
	return e
}

// ref names an entry: how far it lies from where it would best be, 8 bits; its class, 2; a tag of its ID, 2, which spares
// most looks at others; its place in the column, 20.
type ref uint32

const (
	empty      ref = 0xffffffff
	refStep    ref = 1 << 24
	maxAway        = 254
	classShift     = 22
	tagBits    ref = 3 << 20
	placeBits      = 20
	placeMask      = 1<<placeBits - 1
	firstRefs      = 64
	fullTenths     = 9 // of ten references are in use when a table grows
)

func (r ref) away() uint32  { return uint32(r >> 24) }
func (r ref) class() uint32 { return uint32(r>>classShift) & 3 }
func (r ref) place() uint32 { return uint32(r) & placeMask }

func makeRef(class, place uint32, tag ref) ref { return ref(class<<classShift|place) | tag }

func refTag(id *[16]byte) ref { return ref(id[12]) << placeBits & tagBits }

func (t *table) home(id *[16]byte) uint32 {
	return uint32(uint64(binary.BigEndian.Uint32(id[8:12])) * uint64(len(t.refs)) >> 32)
}

func (t *table) next(i uint32) uint32 {
	if i++; i == uint32(len(t.refs)) {
		return 0
	}
	return i
}

// findLocked returns where the reference to id stands.
func (t *table) findLocked(id *[16]byte) (at uint32, r ref, ok bool) {
	if t.count == 0 {
		return 0, 0, false
	}
	at = t.home(id)
	tag := refTag(id)
	for away := uint32(0); ; away++ {
		r = t.refs[at]
		if r == empty || r.away() < away {
			return 0, 0, false
		}
		if r.away() == away && r&tagBits == tag && *t.columns[r.class()].at(r.place()).id() == *id {
			return at, r, true
		}
		at = t.next(at)
	}
}

// addLocked puts an entry in that is not there; false if the table can hold no more.
func (t *table) addLocked(id *[16]byte, class uint32, e *entry) bool {
	col := &t.columns[class]
	if col.n > placeMask {
		return false
	}
	if (t.count+1)*10 > uint32(len(t.refs))*fullTenths {
		t.growLocked()
	}
	place := col.n
	if place/pageEntries == uint32(len(col.pages)) {
		col.pages = append(col.pages, new(page))
	}
	col.n++
	t.count++
	s := col.at(place)
	*s.id() = *id
	s.set(e)
	for !t.linkLocked(t.home(id), makeRef(class, place, refTag(id))) {
		t.growLocked() // which links what is in the columns, this one too
		break
	}
	return true
}

// linkLocked enters a reference: who is farther from home takes the place of who is nearer.
func (t *table) linkLocked(at uint32, r ref) bool {
	for {
		there := t.refs[at]
		if there == empty {
			t.refs[at] = r
			return true
		}
		if there.away() < r.away() {
			t.refs[at], r = r, there
		}
		if r.away() == maxAway {
			return false
		}
		r += refStep
		at = t.next(at)
	}
}

// growLocked makes room for an eighth more.
func (t *table) growLocked() { t.resizeLocked(max(firstRefs, len(t.refs)+len(t.refs)/8)) }

// resizeLocked makes n references, or more if need be, and links all entries anew.
func (t *table) resizeLocked(n int) {
	for ; ; n += n / 8 {
		t.refs = make([]ref, n)
		for i := range t.refs {
			t.refs[i] = empty
		}
		if t.relinkLocked() {
			return
		}
	}
}

func (t *table) relinkLocked() bool {
	for class := range t.columns {
		col := &t.columns[class]
		for place := range col.n {
			id := col.at(place).id()
			if !t.linkLocked(t.home(id), makeRef(uint32(class), place, refTag(id))) {
				return false
			}
		}
	}
	return true
}

// removeLocked takes the entry at a reference out.
func (t *table) removeLocked(at uint32) {
	r := t.refs[at]
	t.unlinkLocked(at)
	col := &t.columns[r.class()]
	last := col.n - 1
	if place := r.place(); place != last {
		from := col.at(last)
		// The last entry fills the gap; its reference follows.
		moved, there, ok := t.findLocked(from.id())
		if checked && !ok {
			panic("policy: an entry without a reference")
		}
		*col.at(place) = *from
		t.refs[moved] = there&^placeMask | ref(place)
	}
	col.n--
	t.count--
	// One page is kept for what comes next.
	if used := int((col.n + pageEntries - 1) / pageEntries); used+1 < len(col.pages) {
		col.pages[len(col.pages)-1] = nil
		col.pages = col.pages[:len(col.pages)-1]
	}
}

// unlinkLocked takes a reference out; those behind it move nearer to home.
func (t *table) unlinkLocked(at uint32) {
	for {
		next := t.next(at)
		r := t.refs[next]
		if r == empty || r.away() == 0 {
			t.refs[at] = empty
			return
		}
		t.refs[at] = r - refStep
		at = next
	}
}

func (c *column) at(place uint32) *slot { return &c.pages[place/pageEntries][place%pageEntries] }

func (t *table) entryLocked(r ref) entry { return t.columns[r.class()].at(r.place()).entry(r.class()) }

func (t *table) setLocked(r ref, e *entry) { t.columns[r.class()].at(r.place()).set(e) }
