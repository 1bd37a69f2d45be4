package tag

import (
	"errors"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
)

// entry is a line of the file: the generation of one name or of one slot of a sketch, or the length that prefixes have.
type entry struct {
	kind   Kind
	hash   uint64 // 0 where the entry is a length only
	length int    // of a prefix, in bytes; 0 where another entry has it
	width  int    // of a slot: how many leading bits of the hash count; 0 for a name
	times
}

// maxLength bounds a name in bytes. No request target is longer than 8 KiB, and no host than 255 bytes.
const maxLength = 9 << 10

// enter notes the entry.
func (e entry) enter(g *generations) {
	switch {
	case e.width > 0:
		g.raiseFolded(e.hash, e.width, e.times)
	case e.hash > 0:
		g.raise(e.hash, e.times)
	}
}

var errEntry = errors.New("tag: malformed line")

// appendTo appends the entry as it stands in the file: a checksum, then kind, hash, length, width, hard and soft time.
func (e entry) appendTo(line []byte) []byte {
	text := append(make([]byte, 0, 96), e.kind...)
	text = strconv.AppendUint(append(text, ' '), e.hash, 16)
	for _, n := range [...]int64{int64(e.length), int64(e.width), e.hard, e.soft} {
		text = strconv.AppendInt(append(text, ' '), n, 10)
	}
	line = strconv.AppendUint(line, uint64(checksum(text)), 16)
	return append(append(append(line, ' '), text...), '\n')
}

func checksum(text []byte) uint32 { return crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)) }

// parseEntry reads a line without its end.
func parseEntry(line string) (entry, error) {
	first, text, _ := strings.Cut(line, " ")
	sum, err := strconv.ParseUint(first, 16, 32)
	words := strings.Split(text, " ")
	if err != nil || uint32(sum) != checksum([]byte(text)) || len(words) != 6 {
		return entry{}, errEntry
	}
	e := entry{kind: Kind(words[0])}
	if e.hash, err = strconv.ParseUint(words[1], 16, 64); err != nil {
		return entry{}, errEntry
	}
	var numbers [4]int64
	for i, most := range [...]int64{maxLength, 63, math.MaxInt64, math.MaxInt64} {
		n, err := strconv.ParseInt(words[i+2], 10, 64)
		if err != nil || n < 0 || n > most {
			return entry{}, errEntry
		}
		numbers[i] = n
	}
	e.length, e.width, e.hard, e.soft = int(numbers[0]), int(numbers[1]), numbers[2], numbers[3]
	if !e.sound() {
		return entry{}, errEntry
	}
	return e, nil
}

func (e entry) sound() bool {
	switch e.kind {
	case All:
		return e.hash == 0 && e.length == 0 && e.width == 0
	case Prefix:
		return e.width == 0 || e.length == 0
	case URL, Tag:
		return e.length == 0
	}
	return false
}
