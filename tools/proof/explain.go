package proof

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	// nearVersions is how many versions to each side Explain compares with
	// where the wrong bytes hold no stamp.
	nearVersions = 16
	// nearShift is how many bytes to each side it looks for a shifted body.
	nearShift = 256
	// proofBytes is the least number of bytes that must agree before a
	// guess counts: 8 bytes agree by accident once in 2^64.
	proofBytes = 8
)

// Explain says in words what got is, which was received at offset off where
// the bytes of want should be: a single changed byte, a page of another object
// or version or offset, a shifted body, zeros, or noise. It answers "" if got
// is right. The more of the page around the wrong byte got holds, the more
// exact the answer.
func (o *Oracle) Explain(want *Body, off int64, got []byte) string {
	right := make([]byte, len(got))
	want.fill(right, off)
	first := differ(got, right)
	if first < 0 {
		if end := off + int64(len(got)); end > want.size {
			return fmt.Sprintf("%d bytes past the end at %d", end-max(off, want.size), want.size)
		}
		return ""
	}
	where := fmt.Sprintf("byte %d (page %d, offset %d in it) of %s version %d: ",
		off+int64(first), (off+int64(first))/PageBytes, (off+int64(first))%PageBytes, want.label(), want.version)
	if text := o.explainFlip(got, right, first); text != "" {
		return where + text
	}
	if text := o.explainStamp(want, off, got, first); text != "" {
		return where + text
	}
	if text := o.explainNear(want, off, got, first); text != "" {
		return where + text
	}
	return where + fmt.Sprintf("noise: got % x, want % x", clip(got[first:]), clip(right[first:]))
}

// explainFlip names a few wrong bytes in an otherwise right stretch.
func (o *Oracle) explainFlip(got, right []byte, first int) string {
	wrong := 0
	for i := range got {
		if got[i] != right[i] {
			wrong++
		}
	}
	if wrong > 4 || wrong*4 > len(got) {
		return ""
	}
	return fmt.Sprintf("noise: %d wrong of %d bytes, got 0x%02x, want 0x%02x", wrong, len(got), got[first], right[first])
}

// explainStamp reads the first whole stamp at or around the wrong byte.
func (o *Oracle) explainStamp(want *Body, off int64, got []byte, first int) string {
	from := max(0, first-StampBytes)
	i := bytes.Index(got[from:], []byte(stampMagic))
	if i < 0 {
		return ""
	}
	at := from + i
	s, ok := readStamp(got[at:])
	if !ok {
		return ""
	}
	var text string
	switch place := off + int64(at); {
	case s.hash != want.hash:
		text = fmt.Sprintf("other object: %s version %d, page %d", o.label(s.hash), s.version, s.page)
	case s.version != want.version:
		text = fmt.Sprintf("other version: %d, page %d", s.version, s.page)
	case place%PageBytes != 0:
		text = fmt.Sprintf("other offset: page %d stands at byte %d, shifted by %+d", s.page, place, place-int64(s.page)*PageBytes)
	case s.page != uint64(place/PageBytes):
		text = fmt.Sprintf("other page: %d", s.page)
	default:
		return "" // the stamp is right, the rest is not
	}
	if rest := got[at:]; len(rest) >= PageBytes && checksum(rest[StampBytes:PageBytes]) != s.crc {
		text += ", itself damaged"
	}
	return text
}

// explainNear compares with the same object at other versions and offsets.
func (o *Oracle) explainNear(want *Body, off int64, got []byte, first int) string {
	got, off = got[first:], off+int64(first)
	if len(got) < proofBytes {
		return ""
	}
	got = got[:min(len(got), StampBytes)]
	if len(bytes.Trim(got, "\x00")) == 0 {
		return "zeros"
	}
	probe := make([]byte, len(got))
	for d := uint64(1); d <= nearVersions; d++ {
		for _, version := range []uint64{want.version - d, want.version + d} {
			newBody(o.secret, want.identity, version, want.size).fill(probe, off)
			if bytes.Equal(probe, got) {
				return fmt.Sprintf("other version: %d at the same offset", version)
			}
		}
	}
	low := max(0, off-nearShift)
	around := make([]byte, off-low+nearShift+int64(len(got)))
	want.fill(around, low)
	if i := bytes.Index(around, got); i >= 0 {
		return fmt.Sprintf("other offset: byte %d stands here, shifted by %+d", low+int64(i), off-low-int64(i))
	}
	return ""
}

// label names a body by its URL.
func (b *Body) label() string { return strings.ReplaceAll(b.identity, "\n", " ") }

func (o *Oracle) label(hash uint64) string {
	if name := o.name(hash); name != "" {
		return strings.ReplaceAll(name, "\n", " ")
	}
	return fmt.Sprintf("an object not known here (%016x)", hash)
}

// differ returns the index of the first difference of two slices of the same
// length, or -1.
func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func clip(p []byte) []byte { return p[:min(len(p), 16)] }
