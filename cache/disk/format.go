package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	// BlockBytes is how much body one checksum covers.
	BlockBytes = 64 << 10

	magic      = "WEIRobj\n"
	version    = 1
	footerSize = 64

	// maxMeta bounds the caller's blob: heads are limited to 32 KiB, so 1 MiB is never reached by an honest one.
	maxMeta = 1 << 20
)

// castagnoli is CRC32C: computed by the processor at several bytes a cycle.
var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a table, never written

// footer is the last 64 bytes of a file, little-endian.
type footer struct {
	appends  uint32 // how many trailers were appended after the first
	bodyLen  int64
	metaLen  int
	tableLen int // entries
	id       [16]byte
	trailer  uint32 // CRC32C of meta and table
}

func (f *footer) trailerSize() int64 { return int64(f.metaLen) + 4*int64(f.tableLen) }

func (f *footer) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, f.appends)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.bodyLen))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.metaLen))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.tableLen))
	b = append(b, f.id[:]...)
	b = binary.LittleEndian.AppendUint32(b, f.trailer)
	b = binary.LittleEndian.AppendUint64(b, 0) // reserved
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseFooter reads a footer and checks it against the file it was in.
func parseFooter(b []byte, id [16]byte, fileSize int64) (footer, error) {
	var f footer
	switch {
	case len(b) != footerSize:
		return f, fmt.Errorf("footer of %d bytes: %w", len(b), ErrCorrupt)
	case string(b[:8]) != magic:
		return f, fmt.Errorf("no footer at the end: %w", ErrCorrupt)
	case crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]):
		return f, fmt.Errorf("footer checksum: %w", ErrCorrupt)
	case binary.LittleEndian.Uint32(b[8:]) != version:
		return f, fmt.Errorf("format %d: %w", binary.LittleEndian.Uint32(b[8:]), ErrCorrupt)
	}
	body := binary.LittleEndian.Uint64(b[16:])
	f = footer{
		appends:  binary.LittleEndian.Uint32(b[12:]),
		bodyLen:  int64(min(body, math.MaxInt64)),
		metaLen:  int(binary.LittleEndian.Uint32(b[24:])),
		tableLen: int(binary.LittleEndian.Uint32(b[28:])),
		id:       [16]byte(b[32:48]),
		trailer:  binary.LittleEndian.Uint32(b[48:]),
	}
	switch {
	case f.id != id:
		return f, fmt.Errorf("file of object %x: %w", f.id, ErrCorrupt)
	case f.metaLen > maxMeta || f.bodyLen > fileSize || int64(f.tableLen) != blocks(f.bodyLen):
		return f, fmt.Errorf("lengths: %w", ErrCorrupt)
	}
	want := f.bodyLen + f.trailerSize() + footerSize
	if f.appends == 0 && fileSize != want || fileSize < want {
		return f, fmt.Errorf("file of %d bytes, %d wanted: %w", fileSize, want, ErrCorrupt)
	}
	return f, nil
}

// appendTrailer appends meta, table and footer to b; the footer's lengths and checksum are filled in.
func appendTrailer(b, meta []byte, table []uint32, f footer) []byte {
	start := len(b)
	b = append(b, meta...)
	for _, sum := range table {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	f.metaLen, f.tableLen = len(meta), len(table)
	f.trailer = crc32.Checksum(b[start:], castagnoli)
	return f.append(b)
}

func blocks(bodyLen int64) int64 { return bodyLen/BlockBytes + min(1, bodyLen%BlockBytes) }

// FileBytes returns the length of a new file with a body and a blob of these lengths.
func FileBytes(bodyLen int64, metaLen int) int64 {
	return bodyLen + int64(metaLen) + 4*blocks(bodyLen) + footerSize
}
