package cmaf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// maxMoovBytes bounds what is read of one file: a moov of this size describes about 20 million samples, nine
	// days of video at 25 frames a second.
	maxMoovBytes = 256 << 20
	// maxTopBoxes bounds the search for moov in a file of millions of tiny boxes.
	maxTopBoxes = 4096
)

// topLevel are the boxes that a file may begin with. Anything else is no MP4.
var topLevel = [...]string{"ftyp", "moov", "mdat", "free", "skip", "wide", "pdin", "styp", "uuid", "pnot", "meta"} //nolint:gochecknoglobals // a table, never written

// errTruncated says that boxes of a moov do not fit into each other.
var errTruncated = errors.New("the index (moov) is damaged")

// readMoov finds the moov box of a file of the given size and returns its body.
func readMoov(r io.ReaderAt, size int64) ([]byte, error) {
	var fragmented bool
	off := int64(0)
	for range maxTopBoxes {
		if off+8 > size {
			break
		}
		kind, head, length, err := readBoxHeader(r, off, size)
		if err != nil {
			return nil, err
		}
		if off == 0 && !slices.Contains(topLevel[:], kind) {
			return nil, errors.New("not an MP4 file")
		}
		if length < head || length > size-off {
			return nil, fmt.Errorf("cut short: box %q at byte %d wants %d bytes, the file has %d left", kind, off, length, size-off)
		}
		if kind == "moov" {
			if length > maxMoovBytes {
				return nil, fmt.Errorf("index (moov) of %d bytes is larger than %d", length, maxMoovBytes)
			}
			moov := make([]byte, length-head)
			if _, err := r.ReadAt(moov, off+head); err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read index (moov): %w", err)
			}
			return moov, nil
		}
		fragmented = fragmented || kind == "moof"
		off += length
	}
	if off == 0 {
		return nil, errors.New("not an MP4 file: too short")
	}
	return nil, errors.New("no index (moov): not a whole MP4 file")
}

// readBoxHeader reads the header of the box at off: its type, the header's own length and the box's whole length.
func readBoxHeader(r io.ReaderAt, off, size int64) (kind string, head, length int64, err error) {
	var b [16]byte
	n, err := r.ReadAt(b[:min(16, size-off)], off)
	if err != nil && (!errors.Is(err, io.EOF) || n < 8) {
		return "", 0, 0, fmt.Errorf("read box at byte %d: %w", off, err)
	}
	kind, head, length = string(b[4:8]), 8, int64(binary.BigEndian.Uint32(b[:]))
	switch {
	case length == 1 && n == 16:
		wide := binary.BigEndian.Uint64(b[8:])
		if wide > uint64(size) {
			wide = uint64(size) + 1 // past the end in any case
		}
		head, length = 16, int64(wide)
	case length == 0:
		length = size - off // ISO/IEC 14496-12, 4.2: size 0 reaches to the end of the file
	}
	return kind, head, length, nil
}

// box is a box inside moov.
type box struct {
	kind  string
	whole []byte // with its header
	body  []byte
}

// nextBox takes the first box from b.
func nextBox(b []byte) (first box, rest []byte, err error) {
	if len(b) < 8 {
		return box{}, nil, errTruncated
	}
	length, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
	switch {
	case length == 1 && len(b) >= 16:
		length, head = binary.BigEndian.Uint64(b[8:]), 16
	case length == 0:
		length = uint64(len(b))
	}
	if length < head || length > uint64(len(b)) {
		return box{}, nil, errTruncated
	}
	return box{kind: string(b[4:8]), whole: b[:length], body: b[head:length]}, b[length:], nil
}

// child returns the body of the first box of that kind in b, at the end of the given path of boxes.
func child(b []byte, path ...string) ([]byte, bool) {
	for _, kind := range path {
		for {
			first, rest, err := nextBox(b)
			if err != nil {
				return nil, false
			}
			if b = rest; first.kind == kind {
				b = first.body
				break
			}
		}
	}
	return b, true
}

// table returns the rows of a full box that holds a count and then that many rows of width bytes. head is the length of
// what stands before the count, at least the 4 bytes of version and flags. The count is believed only as far as there
// are bytes.
func table(body []byte, head, width int) ([]byte, error) {
	if len(body) < head+4 {
		return nil, errTruncated
	}
	n := uint64(binary.BigEndian.Uint32(body[head:]))
	rows := body[head+4:]
	if n*uint64(width) > uint64(len(rows)) {
		return nil, errTruncated
	}
	return rows[:n*uint64(width)], nil
}

func u16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
