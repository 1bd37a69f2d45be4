package cmaf

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// maxSamples bounds a track's index where the file does not list every sample: 16 million, which is four days
// of AAC and seven of video at 25 frames/s.
const maxSamples = 1 << 24

// samples is the sample index of a track in columns. Columns that would hold one value only are left out, so a sample
// costs 4 to 12 bytes.
type samples struct {
	sizes     []uint32 // bytes
	durations []uint32 // nil: all are duration
	duration  uint32
	offsets   []int32  // composition offsets; nil: all are 0
	sync      []uint32 // the sync samples, ascending; nil: all are

	chunkAt    []int64  // where each chunk begins in the file
	chunkFirst []uint32 // and with which sample
}

func (s *samples) len() int { return len(s.sizes) }

func (s *samples) durationOf(i int) uint32 {
	if s.durations == nil {
		return s.duration
	}
	return s.durations[i]
}

func (s *samples) offsetOf(i int) int32 {
	if s.offsets == nil {
		return 0
	}
	return s.offsets[i]
}

// syncIn returns the listed sync samples from first to end (excluded).
func (s *samples) syncIn(first, end int) []uint32 {
	lo, _ := slices.BinarySearch(s.sync, uint32(first))
	hi, _ := slices.BinarySearch(s.sync, uint32(end))
	return s.sync[lo:hi]
}

// each calls f for every sample in decode order, with its decode time and its composition time, until f answers false.
func (s *samples) each(f func(i int, decode, composition int64) bool) {
	var decode int64
	for i := range s.sizes {
		if !f(i, decode, decode+int64(s.offsetOf(i))) {
			return
		}
		decode += int64(s.durationOf(i))
	}
}

// total returns the sum of all durations.
func (s *samples) total() int64 {
	if s.durations == nil {
		return int64(s.duration) * int64(s.len())
	}
	var sum int64
	for _, d := range s.durations {
		sum += int64(d)
	}
	return sum
}

// trim drops the last samples, as far as all of them are composed at end or later.
func (s *samples) trim(end int64) {
	keep := 0
	s.each(func(i int, _, composition int64) bool {
		if composition < end {
			keep = i + 1
		}
		return true
	})
	if keep == len(s.sizes) {
		return
	}
	s.sizes = s.sizes[:keep]
	if s.durations != nil {
		s.durations = s.durations[:keep]
	}
	if s.offsets != nil {
		s.offsets = s.offsets[:keep]
	}
	at, _ := slices.BinarySearch(s.sync, uint32(keep))
	s.sync = s.sync[:at]
}

// reader walks over the places of the samples, in order, so that a whole track is planned in one pass.
type reader struct {
	samples *samples
	next    int   // sample
	chunk   int   // chunk of the sample before
	at      int64 // where the sample before ended
}

func (s *samples) reader() *reader { return &reader{samples: s, chunk: -1} }

// ranges returns the places of the samples from the one after the last call up to end (excluded), neighbours merged.
func (r *reader) ranges(end int) []Range {
	var places []Range
	s := r.samples
	for ; r.next < end; r.next++ {
		if r.chunk+1 < len(s.chunkFirst) && s.chunkFirst[r.chunk+1] == uint32(r.next) {
			r.chunk++
			r.at = s.chunkAt[r.chunk]
		}
		n := int64(s.sizes[r.next])
		if last := len(places) - 1; last >= 0 && places[last].Offset+places[last].Length == r.at {
			places[last].Length += n
		} else if n > 0 {
			places = append(places, Range{Offset: r.at, Length: n})
		}
		r.at += n
	}
	return slices.Clip(places)
}

// parseSamples reads the tables of a sample table box and checks that they agree and lie inside the file.
func parseSamples(stbl []byte, fileSize int64) (samples, error) {
	var s samples
	for _, step := range []func([]byte, int64) error{s.parseSizes, s.parseDurations, s.parseOffsets, s.parseSync, s.parseChunks} {
		if err := step(stbl, fileSize); err != nil {
			return samples{}, err
		}
	}
	return s, s.checkPlaces(fileSize)
}

// parseSizes reads stsz or stz2, ISO/IEC 14496-12, 8.7.3.
func (s *samples) parseSizes(stbl []byte, fileSize int64) error {
	if body, ok := child(stbl, "stsz"); ok && len(body) >= 12 {
		if uniform := u32(body[4:]); uniform > 0 {
			n := int64(u32(body[8:]))
			if n*int64(uniform) > fileSize { // this also bounds the memory that a claim can cost
				return fmt.Errorf("%d samples of %d bytes do not fit into the file: cut short", n, uniform)
			}
			if n > maxSamples {
				return fmt.Errorf("a track of more than %d samples", maxSamples)
			}
			s.sizes = slices.Repeat([]uint32{uniform}, int(n))
			return s.some()
		}
		rows, err := table(body, 8, 4)
		if err != nil {
			return err
		}
		s.sizes = make([]uint32, len(rows)/4)
		for i := range s.sizes {
			s.sizes[i] = u32(rows[4*i:])
		}
		return s.some()
	}
	body, ok := child(stbl, "stz2")
	if !ok || len(body) < 12 || (body[7] != 8 && body[7] != 16) {
		return errTruncated
	}
	width := int(body[7]) / 8
	rows, err := table(body, 8, width)
	if err != nil {
		return err
	}
	s.sizes = make([]uint32, len(rows)/width)
	for i := range s.sizes {
		if width == 1 {
			s.sizes[i] = uint32(rows[i])
		} else {
			s.sizes[i] = uint32(u16(rows[2*i:]))
		}
	}
	return s.some()
}

func (s *samples) some() error {
	if len(s.sizes) == 0 {
		return errNoSamples
	}
	return nil
}

// parseDurations reads stts.
func (s *samples) parseDurations(stbl []byte, _ int64) error {
	body, ok := child(stbl, "stts")
	if !ok {
		return errTruncated
	}
	rows, err := table(body, 4, 8)
	if err != nil {
		return err
	}
	if len(rows) >= 8 && int64(u32(rows)) >= int64(s.len()) { // one run for all
		s.duration = u32(rows[4:])
		return checkDuration(s.duration)
	}
	s.durations = make([]uint32, 0, s.len())
	for ; len(rows) > 0; rows = rows[8:] {
		n, d := int64(u32(rows)), u32(rows[4:])
		if err := checkDuration(d); err != nil {
			return err
		}
		n = min(n, int64(s.len()-len(s.durations)))
		for range n {
			s.durations = append(s.durations, d)
		}
	}
	if len(s.durations) != s.len() {
		return fmt.Errorf("the index has sizes of %d samples, but times of %d", s.len(), len(s.durations))
	}
	return nil
}

func checkDuration(d uint32) error {
	if d > math.MaxInt32 {
		return errors.New("a sample has a negative duration")
	}
	return nil
}

// parseOffsets reads ctts, if there is one. Version 0 is read as signed, too: writers put negative offsets there.
func (s *samples) parseOffsets(stbl []byte, _ int64) error {
	body, ok := child(stbl, "ctts")
	if !ok {
		return nil
	}
	rows, err := table(body, 4, 8)
	if err != nil {
		return err
	}
	s.offsets = make([]int32, 0, s.len())
	for ; len(rows) > 0; rows = rows[8:] {
		n := min(int64(u32(rows)), int64(s.len()-len(s.offsets)))
		for range n {
			s.offsets = append(s.offsets, int32(u32(rows[4:])))
		}
	}
	if len(s.offsets) != s.len() {
		return fmt.Errorf("the index has sizes of %d samples, but composition times of %d", s.len(), len(s.offsets))
	}
	if !slices.ContainsFunc(s.offsets, func(o int32) bool { return o != 0 }) {
		s.offsets = nil
	}
	return nil
}

// parseSync reads stss, if there is one; without it every sample is a sync sample.
func (s *samples) parseSync(stbl []byte, _ int64) error {
	body, ok := child(stbl, "stss")
	if !ok {
		return nil
	}
	rows, err := table(body, 4, 4)
	if err != nil {
		return err
	}
	s.sync = make([]uint32, 0, len(rows)/4)
	last := uint32(0)
	for ; len(rows) > 0; rows = rows[4:] {
		n := u32(rows)
		if n <= last || int64(n) > int64(s.len()) {
			return errors.New("the list of sync samples is damaged")
		}
		s.sync = append(s.sync, n-1)
		last = n
	}
	if len(s.sync) == s.len() {
		s.sync = nil
	}
	return nil
}

// parseChunks reads stco or co64 and stsc.
func (s *samples) parseChunks(stbl []byte, fileSize int64) error {
	body, ok := child(stbl, "stco")
	width := 4
	if !ok {
		body, ok = child(stbl, "co64")
		width = 8
	}
	stsc, ok2 := child(stbl, "stsc")
	if !ok || !ok2 {
		return errTruncated
	}
	places, err := table(body, 4, width)
	if err != nil {
		return err
	}
	runs, err := table(stsc, 4, 12)
	if err != nil {
		return err
	}
	chunks := len(places) / width
	s.chunkAt, s.chunkFirst = make([]int64, 0, chunks), make([]uint32, 0, chunks)
	first := int64(0)
	for len(runs) > 0 && first < int64(s.len()) {
		from, until, per := int64(u32(runs)), int64(chunks)+1, int64(u32(runs[4:]))
		if u32(runs[8:]) != 1 {
			return errors.New("a track with several sample descriptions is not supported")
		}
		if runs = runs[12:]; len(runs) > 0 {
			until = int64(u32(runs))
		}
		if from != int64(len(s.chunkAt))+1 || until <= from || until > int64(chunks)+1 || per == 0 {
			return errors.New("the list of chunks is damaged")
		}
		for c := from - 1; c < until-1 && first < int64(s.len()); c++ {
			var at uint64
			if width == 4 {
				at = uint64(u32(places[4*c:]))
			} else {
				at = u64(places[8*c:])
			}
			if at > uint64(fileSize) {
				return fmt.Errorf("cut short: sample %d lies at byte %d, the file ends at %d", first+1, at, fileSize)
			}
			s.chunkAt, s.chunkFirst = append(s.chunkAt, int64(at)), append(s.chunkFirst, uint32(first))
			first += per
		}
	}
	if first < int64(s.len()) {
		return fmt.Errorf("the index has sizes of %d samples, but places of %d", s.len(), first)
	}
	return nil
}

// checkPlaces makes sure that every sample lies inside the file.
func (s *samples) checkPlaces(fileSize int64) error {
	chunk, at := -1, int64(0)
	for i, n := range s.sizes {
		if chunk+1 < len(s.chunkFirst) && s.chunkFirst[chunk+1] == uint32(i) {
			chunk++
			at = s.chunkAt[chunk]
		}
		if at += int64(n); at > fileSize {
			return fmt.Errorf("cut short: sample %d ends at byte %d, the file ends at %d", i+1, at, fileSize)
		}
	}
	return nil
}
