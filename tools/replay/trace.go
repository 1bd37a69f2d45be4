package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/cache/policy"
)

// ErrFormat is the error of a trace in no known format.
var ErrFormat = errors.New("replay: not a trace")

// Trace is a list of requests for objects.
type Trace struct {
	// Format is the name of the trace's format.
	Format   string
	Requests []Request
	Objects  []Object
	// Clock tells that the requests' times are the trace's own, not made up.
	Clock bool
}

// Request is one request, by the object's place in Trace.Objects.
type Request struct {
	At     time.Duration
	Object uint32
}

// Object is what was asked for.
type Object struct {
	ID     [16]byte
	Bytes  int64
	Stream policy.Stream
}

// Footprint returns the bytes of all objects together.
func (t *Trace) Footprint() int64 {
	sum := int64(0)
	for i := range t.Objects {
		sum += t.Objects[i].Bytes
	}
	return sum
}

// Requested returns the bytes of all requests together.
func (t *Trace) Requested() int64 {
	sum := int64(0)
	for _, r := range t.Requests {
		sum += t.Objects[r.Object].Bytes
	}
	return sum
}

// Read reads a trace; the format is found out by its first bytes:
//
//   - Weir's access log in JSON
//   - CSV with the header t_ms,session,kind,title,rendition,segment,bytes (rendition 0 is audio)
//   - lines "time id bytes"
//   - big-endian 32-bit ids and nothing else; each object is one byte
//
// each of them plain or compressed with gzip. What has no clock gets five seconds between requests. The error is
// ErrFormat, a complaint about a line, or r's.
func Read(r io.Reader) (*Trace, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, _ := b.Peek(6)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("unpack the trace: %w", err)
		}
		b = bufio.NewReaderSize(z, 1<<20)
	case bytes.Equal(head, []byte("\xfd7zXZ\x00")):
		return nil, fmt.Errorf("%w: it is packed with xz: unpack it first, with xz -d", ErrFormat)
	}
	head, err := b.Peek(256)
	if len(head) == 0 {
		return nil, fmt.Errorf("%w: empty (%w)", ErrFormat, err)
	}
	t := builder{trace: &Trace{}, known: map[string]uint32{}}
	switch {
	case head[0] == '{':
		err = t.readLog(b)
	case bytes.HasPrefix(head, []byte(csvHeader)):
		err = t.readCSV(b)
	case isText(head):
		err = t.readLines(b)
	default:
		err = t.readIDs(b)
	}
	if err != nil {
		return nil, err
	}
	if len(t.trace.Requests) == 0 {
		return nil, fmt.Errorf("%w: no requests", ErrFormat)
	}
	return t.trace, nil
}

// isText tells whether the beginning of a trace is digits, spaces and ends of lines.
func isText(head []byte) bool {
	for _, c := range head {
		if (c < '0' || c > '9') && c != ' ' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// builder collects requests and gives every distinct key its object.
type builder struct {
	trace *Trace
	known map[string]uint32
}

// tick is the time between two requests of a trace without a clock. Weir's index tells two seconds apart.
const tick = 5 * time.Second

// add notes a request for the object of a key. The first size counts.
func (b *builder) add(at time.Duration, key string, size int64) {
	b.ask(at, b.object(key, size))
}

// nextTick is the time of the next request where there is no clock.
func (b *builder) nextTick() time.Duration { return time.Duration(len(b.trace.Requests)) * tick }

func (b *builder) ask(at time.Duration, object uint32) {
	b.trace.Requests = append(b.trace.Requests, Request{At: at, Object: object})
}

func (b *builder) object(key string, size int64) uint32 {
	n, ok := b.known[key]
	if !ok {
		n = uint32(len(b.trace.Objects))
		b.known[key] = n
		sum := sha256.Sum256([]byte(key))
		o := Object{Bytes: max(size, 1), Stream: policy.ParseStream(key)}
		copy(o.ID[:], sum[:])
		b.trace.Objects = append(b.trace.Objects, o)
	}
	return n
}

// readIDs reads big-endian 32-bit ids.
func (b *builder) readIDs(r io.Reader) error {
	b.trace.Format = "ids"
	var id [4]byte
	for n := 0; ; n++ {
		switch _, err := io.ReadFull(r, id[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read id %d: %w", n, err)
		}
		b.add(b.nextTick(), fmt.Sprint("replay/", binary.BigEndian.Uint32(id[:])), 1)
	}
}
