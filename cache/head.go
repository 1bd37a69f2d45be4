package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"weir/cache/freshness"
)

// Head is the stored head of a response. It does not change once it has been given to the cache, nor do its fields.
type Head struct {
	Status int
	// Header has the end-to-end fields as received; the caller has removed the hop-by-hop ones.
	Header http.Header
	// RequestTime is when the request was sent, ResponseTime when the head arrived. RFC 9111, 4.2.3.
	RequestTime, ResponseTime time.Time
	// Fetched is when the fetch from the origin began, by the clock of the caller; a peer did it earlier than RequestTime.
	// The zero time means that nobody knows.
	Fetched time.Time
	// Tags are what a purge may name the response by, as the caller makes them.
	Tags []uint64
	// Length is the body's length in bytes, -1 while it is unknown.
	Length int64
	// Sliced, if not 0, is the length of a representation whose bytes are not the body, which is empty: the caller keeps
	// them in Objects of their own. The cache stores the number and makes nothing of it.
	Sliced int64
	// Freshness tells how long the response may be reused.
	Freshness freshness.Freshness
}

// headVersion is the version of the encoding below; heads of another version are misses.
const headVersion = 2

var errHead = errors.New("cache: malformed stored head")

// stored is what stands in a file beside the body.
type stored struct {
	version uint64 // of the object, see Object
	text    string // of the key
	head    Head
}

// encode returns the encoding of s: fixed numbers little-endian, strings with their length in front, header fields
// sorted by name so that equal heads have equal encodings. The body's length is the file's business.
func (s *stored) encode() []byte {
	h, f := &s.head, &s.head.Freshness
	b := []byte{headVersion}
	b = binary.LittleEndian.AppendUint64(b, s.version)
	b = appendString(b, s.text)
	b = binary.AppendUvarint(b, uint64(h.Status))
	b = appendTime(b, h.RequestTime)
	b = appendTime(b, h.ResponseTime)
	b = appendTime(b, h.Fetched)
	b = binary.AppendUvarint(b, uint64(len(h.Tags)))
	for _, tag := range h.Tags {
		b = binary.LittleEndian.AppendUint64(b, tag)
	}
	for _, d := range [...]time.Duration{f.Lifetime, f.InitialAge, f.StaleWhileRevalidate, f.StaleIfError} {
		b = binary.AppendVarint(b, int64(d))
	}
	b = appendTime(b, f.ResponseTime)
	b = append(b, bit(f.NoCache, 0)|bit(f.MustRevalidate, 1)|bit(f.Immutable, 2))
	b = binary.AppendUvarint(b, uint64(h.Sliced))
	b = binary.AppendUvarint(b, uint64(len(h.Header)))
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		values := h.Header[name]
		b = appendString(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = appendString(b, v)
		}
	}
	return b
}

// parseStored reads what append wrote. The head's Length is left 0.
func parseStored(b []byte) (stored, error) {
	d := decoder{b: b}
	if v := d.byte(); v != headVersion {
		return stored{}, fmt.Errorf("%w: version %d", errHead, v)
	}
	s := stored{version: d.uint64(), text: d.string()}
	h, f := &s.head, &s.head.Freshness
	h.Status = int(d.uvarint(999))
	h.RequestTime = d.time()
	h.ResponseTime = d.time()
	h.Fetched = d.time()
	if n := d.uvarint(uint64(len(d.b) / 8)); n > 0 {
		h.Tags = make([]uint64, n)
	}
	for i := range h.Tags {
		h.Tags[i] = d.uint64()
	}
	for _, p := range [...]*time.Duration{&f.Lifetime, &f.InitialAge, &f.StaleWhileRevalidate, &f.StaleIfError} {
		*p = time.Duration(d.varint())
	}
	f.ResponseTime = d.time()
	flags := d.byte()
	f.NoCache, f.MustRevalidate, f.Immutable = flags&1 != 0, flags&2 != 0, flags&4 != 0
	h.Sliced = int64(d.uvarint(math.MaxInt64))
	// Every field and every value takes a byte at least, so the counts are bounded by what is left.
	n := d.uvarint(uint64(len(d.b)))
	h.Header = make(http.Header, n)
	for range n {
		name := d.string()
		values := make([]string, d.uvarint(uint64(len(d.b))))
		for i := range values {
			values[i] = d.string()
		}
		h.Header[name] = values
	}
	if d.bad || len(d.b) > 0 {
		return stored{}, errHead
	}
	return s, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

func bit(set bool, n uint) byte {
	if set {
		return 1 << n
	}
	return 0
}

// decoder takes values off b; once something is wrong it is bad and returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > limit {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(int(d.uvarint(uint64(len(d.b)))))) }

func (d *decoder) time() time.Time {
	seconds := d.varint()
	return time.Unix(seconds, int64(d.uvarint(uint64(time.Second-1)))).UTC()
}
