package cmaf

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// maxTracks is how many tracks of one file are looked at; more is refused.
const maxTracks = 64

// Movie is what one file holds that can be played.
type Movie struct {
	Tracks []*Track // video and audio tracks in the order of the file; at least one

	digest [sha256.Size]byte // of moov
}

// Parse reads the index of the MP4 file r of size bytes. Errors say in plain words what is wrong with the file, without
// its name. Nothing of r is kept.
func Parse(r io.ReaderAt, size int64) (*Movie, error) {
	moov, err := readMoov(r, size)
	if err != nil {
		return nil, err
	}
	mvhd, ok := child(moov, "mvhd")
	if !ok {
		return nil, errTruncated
	}
	timescale, err := headerTimescale(mvhd)
	if err != nil {
		return nil, err
	}
	_, fragmented := child(moov, "mvex")
	m := &Movie{digest: sha256.Sum256(moov)}
	traks := 0
	for rest := moov; len(rest) > 0; {
		var b box
		if b, rest, err = nextBox(rest); err != nil {
			return nil, err
		}
		if b.kind != "trak" {
			continue
		}
		if traks++; traks > maxTracks {
			return nil, fmt.Errorf("more than %d tracks", maxTracks)
		}
		t, err := parseTrack(b.body, timescale, size)
		switch {
		case errors.Is(err, errSkip):
			continue
		case errors.Is(err, errNoSamples) && fragmented:
			return nil, errors.New("a fragmented MP4 file: the source must be a plain one, with all samples in moov")
		case err != nil:
			return nil, fmt.Errorf("track %d: %w", traks, err)
		}
		t.digest = m.digest
		m.Tracks = append(m.Tracks, t)
	}
	if len(m.Tracks) == 0 {
		return nil, errors.New("no video or audio track that can be played")
	}
	return m, nil
}

// headerTimescale returns the timescale of an mvhd or mdhd box.
func headerTimescale(b []byte) (uint32, error) {
	var timescale uint32
	switch {
	case len(b) >= 32 && b[0] == 1:
		timescale = u32(b[20:])
	case len(b) >= 20 && b[0] == 0:
		timescale = u32(b[12:])
	default:
		return 0, errTruncated
	}
	if timescale == 0 {
		return 0, errors.New("the timescale is 0")
	}
	return timescale, nil
}
