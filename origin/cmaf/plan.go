package cmaf

import (
	"errors"
	"fmt"
	"time"
)

// The choices of the plan; the package comment tells why.
const (
	minSegment = 1800 * time.Millisecond // groups of pictures are joined until a segment is this long
	maxSegment = 20 * time.Second        // an encoder's default of 250 frames is 16.7 s at 15 frames/s; longer ones are refused
	// maxEndGap is how much the ends of a title's tracks may differ. Encoders leave some frames; more is another cut.
	maxEndGap = 2 * time.Second
	// maxSegmentBytes keeps a segment's length inside 32 bits.
	maxSegmentBytes = 1 << 30
)

// Input is one track that goes into a plan.
type Input struct {
	File     string // name of the source, for errors
	Identity string // changes when the file's content changes, such as its size and modification time; part of the version
	Track    *Track
}

// Plan is how the tracks of one title are cut. It is immutable.
type Plan struct {
	Video, Audio []*Rendition  // in the order of the inputs
	Duration     time.Duration // of the longest video track, or audio track where there is no video
}

// NewPlan cuts the tracks of one title at common times. A title needs one track at least. The errors name the file
// that does not fit and say why.
func NewPlan(video, audio []Input) (*Plan, error) {
	if len(video)+len(audio) == 0 {
		return nil, errors.New("no video or audio track")
	}
	var grid grid
	var err error
	if len(video) > 0 {
		grid, err = videoGrid(video)
	} else {
		grid = audioGrid(audio[0].Track)
	}
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	for i, in := range video {
		r, err := newRendition(in, grid.cuts, grid.samples[i])
		if err != nil {
			return nil, err
		}
		p.Video = append(p.Video, r)
	}
	for _, in := range audio {
		samples, err := audioCuts(in, grid.cuts)
		if err != nil {
			return nil, err
		}
		r, err := newRendition(in, grid.cuts, samples)
		if err != nil {
			return nil, err
		}
		p.Audio = append(p.Audio, r)
	}
	return p, p.checkEnds()
}

// checkEnds compares the ends of all tracks with that of the first and sets the duration.
func (p *Plan) checkEnds() error {
	all := append(append([]*Rendition(nil), p.Video...), p.Audio...)
	for i, r := range all {
		if gap := (r.End() - all[0].End()).Abs(); gap > maxEndGap {
			return fmt.Errorf("%s ends at %.3f s, %s at %.3f s: they do not belong together",
				r.file, r.End().Seconds(), all[0].file, all[0].End().Seconds())
		}
		if i == 0 || i < len(p.Video) {
			p.Duration = max(p.Duration, r.End())
		}
	}
	return nil
}

// grid is where a title is cut.
type grid struct {
	cuts    []int64 // nanoseconds of presentation time at which segments begin
	samples [][]int // for each video input the first sample of each segment
}

// syncPoint is a sync sample and its presentation time in nanoseconds.
type syncPoint struct {
	sample int
	at     int64
}

// syncPoints lists the sync samples of a track in order of presentation.
func (t *Track) syncPoints() []syncPoint {
	var points []syncPoint
	next := 0
	t.samples.each(func(i int, _, composition int64) bool {
		if t.samples.sync != nil {
			if next == len(t.samples.sync) {
				return false
			}
			if t.samples.sync[next] != uint32(i) {
				return true
			}
			next++
		}
		at := t.nanoseconds(t.presentation(composition))
		if n := len(points); n == 0 || points[n-1].at < at {
			points = append(points, syncPoint{sample: i, at: at})
		}
		return true
	})
	return points
}

// presentation converts a composition time of the source into presentation time.
func (t *Track) presentation(composition int64) int64 {
	return composition + t.tfdtShift - t.skip
}

// frame returns the mean duration of a sample.
func (t *Track) frame() time.Duration {
	return time.Duration(t.nanoseconds(t.samples.total()) / int64(t.samples.len()))
}

// videoGrid finds the sync points that all inputs share, to half a frame, and joins them to segments.
func videoGrid(video []Input) (grid, error) {
	tolerance := time.Duration(1<<63 - 1)
	for _, in := range video {
		tolerance = min(tolerance, in.Track.frame()/2)
	}
	common := make([][]syncPoint, len(video))
	for i, in := range video {
		points := in.Track.syncPoints()
		if len(points) == 0 || points[0].sample != 0 {
			return grid{}, fmt.Errorf("%s does not begin with a sync frame", in.File)
		}
		if i > 0 {
			if d := time.Duration(points[0].at - common[0][0].at).Abs(); d > tolerance {
				return grid{}, fmt.Errorf("%s begins at %.4f s, %s at %.4f s: they cannot be switched between",
					in.File, float64(points[0].at)/1e9, video[0].File, float64(common[0][0].at)/1e9)
			}
			points = intersect(common[:i], points, tolerance)
			if len(points) == 1 && len(in.Track.syncPoints()) > 1 {
				return grid{}, fmt.Errorf("%s shares no sync frame with %s but the first: encode all renditions with the same key frame times",
					in.File, video[0].File)
			}
		}
		common[i] = points
	}
	return joinSyncPoints(video, common, tolerance)
}

// intersect keeps of the lists in common, which are of equal length, the points that points has, too, and returns the
// corresponding ones of points.
func intersect(common [][]syncPoint, points []syncPoint, tolerance time.Duration) []syncPoint {
	kept, j := 0, 0
	var mine []syncPoint
	for k := range common[0] {
		at := common[0][k].at
		for j < len(points) && points[j].at < at-int64(tolerance) {
			j++
		}
		if j == len(points) || points[j].at > at+int64(tolerance) {
			continue
		}
		for i := range common {
			common[i][kept] = common[i][k]
		}
		kept++
		mine = append(mine, points[j])
		j++
	}
	for i := range common {
		common[i] = common[i][:kept]
	}
	return mine
}

// joinSyncPoints makes segments of the common sync points.
func joinSyncPoints(video []Input, common [][]syncPoint, tolerance time.Duration) (grid, error) {
	g := grid{samples: make([][]int, len(video))}
	end := video[0].Track.end()
	last := int64(0)
	for k, p := range common[0] {
		if k > 0 && time.Duration(p.at-last) < minSegment-tolerance {
			continue
		}
		if k > 0 && time.Duration(end-p.at) < minSegment/2 {
			break // too little is left for a segment of its own
		}
		if err := checkSegment(video, last, p.at); k > 0 && err != nil {
			return grid{}, err
		}
		last = p.at
		g.cuts = append(g.cuts, p.at)
		for i := range video {
			g.samples[i] = append(g.samples[i], common[i][k].sample)
		}
	}
	return g, checkSegment(video, last, end)
}

func checkSegment(video []Input, from, to int64) error {
	if time.Duration(to-from) <= maxSegment {
		return nil
	}
	if len(video) == 1 {
		return fmt.Errorf("%s has no sync frame between %.2f s and %.2f s, more than %v", video[0].File, float64(from)/1e9, float64(to)/1e9, maxSegment)
	}
	return fmt.Errorf("%s and the other renditions share no sync frame between %.2f s and %.2f s, more than %v",
		video[len(video)-1].File, float64(from)/1e9, float64(to)/1e9, maxSegment)
}

// end returns the presentation time in nanoseconds at which the last sample ends.
func (t *Track) end() int64 {
	var end int64
	t.samples.each(func(i int, _, composition int64) bool {
		end = max(end, composition+int64(t.samples.durationOf(i)))
		return true
	})
	return t.nanoseconds(t.presentation(end))
}

// audioGrid cuts a title without video every 2 s.
func audioGrid(t *Track) grid {
	const every = int64(2 * time.Second)
	var g grid
	for at, end := int64(0), t.end(); at == 0 || end-at >= every/2; at += every {
		g.cuts = append(g.cuts, at)
	}
	return g
}

// audioCuts returns the first sample of each segment: the one that begins nearest to the cut.
func audioCuts(in Input, cuts []int64) ([]int, error) {
	t := in.Track
	first := []int{0}
	prev := int64(0)
	t.samples.each(func(i int, _, composition int64) bool {
		at := t.nanoseconds(t.presentation(composition))
		for len(first) < len(cuts) && at >= cuts[len(first)] {
			k := i
			if i > 0 && cuts[len(first)]-prev < at-cuts[len(first)] {
				k = i - 1
			}
			first = append(first, k)
		}
		prev = at
		return len(first) < len(cuts)
	})
	for k := 1; k < len(first); k++ {
		if first[k] == first[k-1] {
			return nil, fmt.Errorf("%s has no sound between %.2f s and %.2f s: a gap of a whole segment is not supported",
				in.File, float64(cuts[k-1])/1e9, float64(cuts[k])/1e9)
		}
	}
	return first, nil
}
