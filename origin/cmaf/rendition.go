package cmaf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// layout is part of every version: raise it when the bytes of segments or initialisation segments change for the
// same source, so that caches do not mix the two.
const layout = 1

// Range is a piece of a source file, in bytes.
type Range struct{ Offset, Length int64 }

// Segment is one segment of a rendition: a header of HeaderBytes, then the Ranges of the source in order.
type Segment struct {
	Start, End  int64 // presentation time, in units of the track
	Ranges      []Range
	HeaderBytes int64
	MediaBytes  int64 // sum of Ranges
	KeyBytes    int64 // media up to the end of the first sample: with the header, what shows the first frame

	first, end int    // samples
	tfdt       int64  // decode time of the first sample
	run        uint32 // flags of trun
	duration   uint32 // of every sample, unless run has sampleDurations
}

// Bytes returns the whole length of the segment.
func (s *Segment) Bytes() int64 { return s.HeaderBytes + s.MediaBytes }

// Rendition is one track cut into segments. It is immutable; all its methods may be called at the same time.
type Rendition struct {
	Track    *Track
	Segments []Segment
	Init     []byte // the initialisation segment; not to be changed
	Version  string // 16 hex digits that stand for every byte of Init and the segments

	file string
}

// newRendition cuts the track before the samples listed in firsts, which belong to the presentation times in cuts.
func newRendition(in Input, cuts []int64, firsts []int) (*Rendition, error) {
	own := *in.Track
	t := &own
	r := &Rendition{Track: t, file: in.File, Segments: make([]Segment, len(firsts))}
	places := t.samples.reader()
	for k, first := range firsts {
		s := &r.Segments[k]
		s.first, s.end = first, t.samples.len()
		if k+1 < len(firsts) {
			s.end = firsts[k+1]
		}
		s.Ranges = places.ranges(s.end)
		for _, p := range s.Ranges {
			s.MediaBytes += p.Length
		}
		if s.MediaBytes > maxSegmentBytes {
			return nil, fmt.Errorf("%s has a segment of %d bytes at %.2f s, more than %d", in.File, s.MediaBytes, float64(cuts[k])/1e9, int64(maxSegmentBytes))
		}
		s.KeyBytes = int64(t.samples.sizes[first])
		s.shape(t)
	}
	r.times(cuts[0])
	var err error
	if r.Init, err = t.init(); err != nil {
		return nil, fmt.Errorf("%s: initialisation segment: %w", in.File, err)
	}
	r.Version = r.version(in.Identity)
	t.samples.chunkAt, t.samples.chunkFirst = nil, nil // the ranges say it now
	return r, nil
}

// times sets decode and presentation times. A segment ends where the next begins; the first one of audio begins with the
// presentation, since priming is not heard.
func (r *Rendition) times(begin int64) {
	t := r.Track
	k := -1
	var latest int64
	t.samples.each(func(i int, decode, composition int64) bool {
		at := t.presentation(composition)
		if k+1 < len(r.Segments) && r.Segments[k+1].first == i {
			k++
			r.Segments[k].tfdt = decode + t.tfdtShift
			r.Segments[k].Start = at
		}
		r.Segments[k].Start = min(r.Segments[k].Start, at)
		latest = max(latest, at+int64(t.samples.durationOf(i)))
		return true
	})
	if t.Kind == Audio {
		r.Segments[0].Start = t.fromNanoseconds(begin)
	}
	for k := range r.Segments {
		r.Segments[k].Start = max(0, r.Segments[k].Start)
		if k > 0 {
			r.Segments[k-1].End = r.Segments[k].Start
		}
	}
	r.Segments[len(r.Segments)-1].End = latest
}

// version hashes all that decides the rendition's bytes.
func (r *Rendition) version(identity string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%d\n", layout, identity, r.Track.ID)
	h.Write(r.Track.digest[:])
	h.Write(r.Init)
	var b [8]byte
	for k := range r.Segments {
		binary.BigEndian.PutUint64(b[:], uint64(r.Segments[k].first))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Seconds converts a time of the rendition's segments into seconds.
func (r *Rendition) Seconds(at int64) float64 { return float64(at) / float64(r.Track.Timescale) }

// End returns the presentation time at which the last sample ends.
func (r *Rendition) End() time.Duration {
	return time.Duration(r.Track.nanoseconds(r.Segments[len(r.Segments)-1].End))
}

// MemoryBytes estimates what the rendition holds in memory.
func (r *Rendition) MemoryBytes() int64 {
	s := &r.Track.samples
	n := 4*len(s.sizes) + 4*len(s.durations) + 4*len(s.offsets) + 4*len(s.sync) + len(r.Init) + 512
	for k := range r.Segments {
		n += 160 + 16*len(r.Segments[k].Ranges)
	}
	return int64(n)
}

// FrameRate returns the mean number of frames per second as a fraction in lowest terms.
func (r *Rendition) FrameRate() (numerator, denominator int64) {
	s := &r.Track.samples
	total := s.total()
	if total == 0 {
		return 0, 1
	}
	numerator, denominator = int64(s.len())*int64(r.Track.Timescale), total
	if g := gcd(numerator, denominator); g > 1 {
		numerator, denominator = numerator/g, denominator/g
	}
	return numerator, denominator
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// AverageBitsPerSecond returns the mean bit rate over all segments, headers included.
func (r *Rendition) AverageBitsPerSecond() int64 {
	var bytes int64
	for k := range r.Segments {
		bytes += r.Segments[k].Bytes()
	}
	last := r.Segments[len(r.Segments)-1]
	return bitRate(bytes, r.Seconds(last.End-r.Segments[0].Start))
}

// PeakBitsPerSecond returns the peak segment bit rate: the largest bit rate of any contiguous set of segments whose
// duration is between 0.5 and 1.5 times the longest segment, RFC 8216, 4.1.
func (r *Rendition) PeakBitsPerSecond() int64 {
	target := 0.0
	for k := range r.Segments {
		target = max(target, r.Seconds(r.Segments[k].End-r.Segments[k].Start))
	}
	var peak int64
	for k := range r.Segments {
		var bytes int64
		for j := k; j < len(r.Segments); j++ {
			bytes += r.Segments[j].Bytes()
			d := r.Seconds(r.Segments[j].End - r.Segments[k].Start)
			if d > 1.5*target {
				break
			}
			if d >= 0.5*target {
				peak = max(peak, bitRate(bytes, d))
			}
		}
	}
	return max(peak, r.AverageBitsPerSecond())
}

func bitRate(bytes int64, seconds float64) int64 {
	if seconds <= 0 {
		return 0
	}
	return int64(float64(bytes)*8/seconds + 0.5)
}
