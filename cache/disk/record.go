package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Record is what the journal keeps of an object.
type Record struct {
	ID [16]byte
	// Bytes is what the file takes, below 2^56.
	Bytes int64
	// Version is the caller's, 0 where it is not known. Hint is the caller's, too.
	Version uint64
	Hint    [16]byte
}

const (
	journalMagic   = "WEIRidx\n"
	journalVersion = 1
	headerSize     = 32

	// recordSize is one Record: ID, kind and Bytes in one word, Version, Hint.
	recordSize = 48
	// blockHead is in front of every block: its number, how many records follow, and the checksum of all of it.
	blockHead = 16
	// blockRecords fill a block of 64 KiB: what one write and one checksum cover. A torn block loses that many records at
	// most, and smaller ones load no faster.
	blockRecords = (64<<10 - blockHead) / recordSize

	kindShift = 56
	kindAdd   = 1
	kindGone  = 2

	flagSnapshot = 1 << 0
	flagClean    = 1 << 1
)

// header is the first 32 bytes of a snapshot and of a log, little-endian.
type header struct {
	flags      uint32
	generation uint64
}

func (h header) append(b []byte) []byte {
	start := len(b)
	b = append(b, journalMagic...)
	b = binary.LittleEndian.AppendUint32(b, journalVersion)
	b = binary.LittleEndian.AppendUint32(b, h.flags)
	b = binary.LittleEndian.AppendUint64(b, h.generation)
	b = binary.LittleEndian.AppendUint32(b, 0) // reserved
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseHeader(b []byte) (header, error) {
	switch {
	case len(b) != headerSize || string(b[:8]) != journalMagic:
		return header{}, fmt.Errorf("no journal: %w", ErrCorrupt)
	case crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]):
		return header{}, fmt.Errorf("journal's header checksum: %w", ErrCorrupt)
	case binary.LittleEndian.Uint32(b[8:]) != journalVersion:
		return header{}, fmt.Errorf("journal of format %d: %w", binary.LittleEndian.Uint32(b[8:]), ErrCorrupt)
	}
	return header{flags: binary.LittleEndian.Uint32(b[12:]), generation: binary.LittleEndian.Uint64(b[16:])}, nil
}

func appendRecord(b []byte, kind uint64, r *Record) []byte {
	b = append(b, r.ID[:]...)
	b = binary.LittleEndian.AppendUint64(b, kind<<kindShift|uint64(r.Bytes)&(1<<kindShift-1))
	b = binary.LittleEndian.AppendUint64(b, r.Version)
	return append(b, r.Hint[:]...)
}

// parseRecord reads what appendRecord wrote; b has recordSize bytes.
func parseRecord(b []byte, r *Record) (kind uint64) {
	word := binary.LittleEndian.Uint64(b[16:])
	*r = Record{
		ID:      [16]byte(b),
		Bytes:   int64(word & (1<<kindShift - 1)),
		Version: binary.LittleEndian.Uint64(b[24:]),
		Hint:    [16]byte(b[32:48]),
	}
	return word >> kindShift
}

// sealBlock fills in the head of a block, which is b with room for the head and whole records. A block is bound to its
// file and its place: the number is the generation's low half and the block's index.
func sealBlock(b []byte, generation, index uint64) {
	binary.LittleEndian.PutUint64(b, blockNumber(generation, index))
	binary.LittleEndian.PutUint32(b[8:], uint32((len(b)-blockHead)/recordSize))
	binary.LittleEndian.PutUint32(b[12:], blockSum(b))
}

// openBlock checks the block at the start of b and returns its records; ok is false if it is damaged or cut short. No
// records end a snapshot.
func openBlock(b []byte, generation, index uint64) (records []byte, ok bool) {
	if len(b) < blockHead || binary.LittleEndian.Uint64(b) != blockNumber(generation, index) {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b[8:]))
	if n > blockRecords || int64(len(b)) < blockHead+n*recordSize {
		return nil, false
	}
	b = b[:blockHead+n*recordSize]
	if blockSum(b) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, false
	}
	return b[blockHead:], true
}

func blockNumber(generation, index uint64) uint64 { return generation<<32 | index&(1<<32-1) }

func blockSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[blockHead:])
}
