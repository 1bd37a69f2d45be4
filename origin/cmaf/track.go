package cmaf

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Kind says what a track holds.
type Kind int

// The kinds of tracks.
const (
	Video Kind = iota
	Audio
)

// String returns the word that MIME types use: video or audio.
func (k Kind) String() string {
	if k == Audio {
		return "audio"
	}
	return "video"
}

var (
	errSkip      = errors.New("not a track to play")
	errNoSamples = errors.New("the track has no samples")
	errFarEdit   = fmt.Errorf("the edit list reaches beyond %d hours", maxHours)
)

// Track is one track of a source file with its sample index. It is immutable.
type Track struct {
	Kind      Kind
	ID        uint32 // track ID in the source
	Timescale uint32 // units a second of all times of this track
	Language  string // ISO 639-2 code, or a BCP 47 tag where the source has one; "und" where unknown
	Format           // what the sample entry says

	samples samples
	entry   []byte // the sample entry, whole, as in the source
	matrix  []byte // 36 bytes of the track header where it is not the identity, else nil

	// The source's edit list, folded as the package comment tells. A sample is presented at
	// decode time + its offset + tfdtShift - skip.
	tfdtShift int64
	skip      int64
	digest    [sha256.Size]byte
}

// Samples returns the number of samples that are played.
func (t *Track) Samples() int { return t.samples.len() }

// parseTrack reads one trak box. movieScale is the timescale of the movie header.
func parseTrack(trak []byte, movieScale uint32, fileSize int64) (*Track, error) {
	tkhd, ok1 := child(trak, "tkhd")
	mdia, ok2 := child(trak, "mdia")
	hdlr, ok3 := child(mdia, "hdlr")
	mdhd, ok4 := child(mdia, "mdhd")
	if !ok1 || !ok2 || !ok3 || !ok4 || len(hdlr) < 12 || len(tkhd) < 84 {
		return nil, errTruncated
	}
	t := &Track{Language: language(mdia, mdhd)}
	switch string(hdlr[8:12]) {
	case "vide":
		t.Kind = Video
	case "soun":
		t.Kind = Audio
	default:
		return nil, errSkip
	}
	var err error
	if t.Timescale, err = headerTimescale(mdhd); err != nil {
		return nil, err
	}
	stbl, ok := child(mdia, "minf", "stbl")
	if !ok {
		return nil, errTruncated
	}
	if t.entry, t.Format, err = sampleEntry(stbl, t.Kind); err != nil {
		return nil, err
	}
	if t.samples, err = parseSamples(stbl, fileSize); err != nil {
		return nil, err
	}
	if t.samples.total()/int64(t.Timescale) > maxHours*3600 {
		return nil, fmt.Errorf("longer than %d hours", maxHours)
	}
	t.header(tkhd)
	edits, _ := child(trak, "edts", "elst")
	return t, t.fold(edits, movieScale)
}

// header takes the track ID and the transformation from a track header, ISO/IEC 14496-12, 8.3.2.
func (t *Track) header(tkhd []byte) {
	id, matrix := 12, 40
	if tkhd[0] == 1 && len(tkhd) >= 96 {
		id, matrix = 20, 52
	}
	t.ID = u32(tkhd[id:])
	const identity = "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00"
	if m := tkhd[matrix : matrix+36]; t.Kind == Video && string(m) != identity {
		t.matrix = append([]byte(nil), m...)
	}
}

// language returns the language of a track: the extended tag, or else the packed ISO 639-2 code of mdhd.
func language(mdia, mdhd []byte) string {
	if elng, ok := child(mdia, "elng"); ok && len(elng) > 4 {
		tag := elng[4:]
		for i, c := range tag {
			if c == 0 {
				tag = tag[:i]
				break
			}
		}
		if validLanguage(string(tag)) {
			return string(tag)
		}
	}
	at := 20
	if mdhd[0] == 1 {
		at = 32
	}
	if len(mdhd) < at+2 {
		return "und"
	}
	packed := u16(mdhd[at:])
	code := string([]byte{byte(packed>>10&31) + 0x60, byte(packed>>5&31) + 0x60, byte(packed&31) + 0x60})
	if !validLanguage(code) {
		return "und"
	}
	return code
}

// validLanguage keeps out what could not stand in a playlist.
func validLanguage(tag string) bool {
	for _, c := range []byte(tag) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(tag) >= 2 && len(tag) <= 35
}

// fold reads an edit list and sets the shifts, and drops the samples behind its end.
func (t *Track) fold(elst []byte, movieScale uint32) error {
	delay, start, length, err := parseEdits(elst)
	if err != nil {
		return err
	}
	ticks := func(movie int64) int64 { return ceilScale(movie, t.Timescale, movieScale) }
	shift := ticks(delay) - start
	if limit := maxHours * 3600 * int64(t.Timescale); shift > limit || shift < -limit {
		return errFarEdit
	}
	if length > 0 {
		t.samples.trim(start + ticks(length))
		if t.samples.len() == 0 {
			return errors.New("the edit list leaves no sample")
		}
	}
	t.tfdtShift, t.skip = max(0, shift), max(0, -shift)
	return nil
}

// maxHours is how long a track may be. The bound keeps times in nanoseconds, and the number of segments that a few
// bytes can ask for, inside sensible limits.
const maxHours = 100

// maxTime bounds times in a track's own units, so that sums and products with them cannot overflow.
const maxTime = 1 << 46

// parseEdits returns how long after the start of the movie the track begins (in units of the movie), at which of its
// own times it begins, and how much of it is played (in units of the movie, 0 = all).
func parseEdits(elst []byte) (delay, start, length int64, err error) {
	if elst == nil {
		return 0, 0, 0, nil
	}
	width := 12
	if len(elst) > 0 && elst[0] == 1 {
		width = 20
	}
	rows, err := table(elst, 4, width)
	if err != nil {
		return 0, 0, 0, err
	}
	seen := false
	for ; len(rows) > 0; rows = rows[width:] {
		var duration, at int64
		if width == 20 {
			duration, at = int64(min(u64(rows), maxTime+1)), int64(u64(rows[8:]))
		} else {
			duration, at = int64(u32(rows)), int64(int32(u32(rows[4:])))
		}
		switch {
		case duration > maxTime || at > maxTime || at < -1:
			return 0, 0, 0, errFarEdit
		case at == -1 && !seen:
			if delay += duration; delay > maxTime {
				return 0, 0, 0, errFarEdit
			}
		case at == -1:
			return 0, 0, 0, errors.New("an edit list with a gap in the middle is not supported")
		case seen:
			return 0, 0, 0, errors.New("an edit list with several cuts is not supported")
		case u32(rows[width-4:]) != 0x10000:
			return 0, 0, 0, errors.New("an edit list that changes the speed is not supported")
		default:
			seen, start, length = true, at, duration
		}
	}
	return delay, start, length, nil
}

// ceilScale converts t from units of from a second into units of to, rounded up.
func ceilScale(t int64, to, from uint32) int64 {
	whole, part := t/int64(from), t%int64(from)
	if whole > maxTime/int64(to) {
		return maxTime + 1
	}
	return whole*int64(to) + (part*int64(to)+int64(from)-1)/int64(from)
}

// nanoseconds converts a time of the track into nanoseconds.
func (t *Track) nanoseconds(at int64) int64 {
	s := int64(t.Timescale)
	return at/s*1e9 + at%s*1e9/s
}

// fromNanoseconds converts nanoseconds into the nearest time of the track.
func (t *Track) fromNanoseconds(ns int64) int64 {
	s := int64(t.Timescale)
	return ns/1e9*s + (ns%1e9*s+5e8)/1e9
}
