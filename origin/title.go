package origin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/origin/asset"
	"weir/origin/cmaf"
)

// Problem says why a title cannot be packaged. Its text names the file and the reason, and holds no path of the machine.
type Problem struct {
	Title string
	Err   error
}

// Error returns the text for viewers' developers and operators.
func (p *Problem) Error() string { return fmt.Sprintf("title %s: %v", p.Title, p.Err) }

// Unwrap returns the reason.
func (p *Problem) Unwrap() error { return p.Err }

func isProblem(err error) bool {
	var p *Problem
	return errors.As(err, &p)
}

// title is a title that is ready to be served; it is immutable.
type title struct {
	packaged *asset.Title // set for a folder that is served as it is; nothing else is then

	source     *asset.Title
	plan       *cmaf.Plan
	renditions []*rendition // video first
	master     document
	mpd        document
}

// rendition is a planned rendition under its name in URLs.
type rendition struct {
	*cmaf.Rendition
	id       string
	entry    asset.Entry // the file it is cut from, in the state that was planned
	group    string      // audio: GROUP-ID
	main     bool        // audio: what plays if nobody chooses
	playlist document
	iframes  document // video only
}

// document is a text that was written when the title was prepared.
type document struct {
	text []byte
	etag string
}

func newDocument(text []byte) document {
	sum := sha256.Sum256(text)
	return document{text: text, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// prepareTitle parses and plans the files of a title. Errors are of type *Problem.
func prepareTitle(found *asset.Title) (*title, error) {
	t := &title{source: found}
	if err := t.parse(); err != nil {
		return nil, &Problem{Title: found.Name, Err: err}
	}
	if err := t.write(); err != nil {
		return nil, &Problem{Title: found.Name, Err: err}
	}
	return t, nil
}

// candidate is a track with what is known of its file.
type candidate struct {
	entry asset.Entry
	track *cmaf.Track
	id    string
}

// parse reads all files, chooses the tracks and cuts them.
func (t *title) parse() error {
	var video, audio, muxed []candidate
	ids := map[string]bool{}
	best := -1.0
	for _, entry := range t.source.Media {
		movie, err := parseFile(t.source, entry)
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
		var v, a []candidate
		for _, track := range movie.Tracks {
			c := candidate{entry: entry, track: track}
			if track.Kind == cmaf.Video {
				v = append(v, c)
			} else {
				a = append(a, c)
			}
		}
		switch rate := float64(entry.SizeBytes); {
		case len(v) == 0:
			audio = append(audio, a...)
		case len(a) > 0 && rate > best: // the sound of the best file serves all
			best, muxed = rate, a
		}
		video = append(video, v...)
	}
	if len(audio) == 0 {
		audio = muxed
	}
	for _, list := range [][]candidate{video, audio} {
		for i := range list {
			list[i].id = uniqueID(list[i], ids)
		}
	}
	return t.cut(video, audio)
}

// cut plans the chosen tracks.
func (t *title) cut(video, audio []candidate) error {
	plan, err := cmaf.NewPlan(inputs(video), inputs(audio))
	if err != nil {
		return err
	}
	t.plan = plan
	for i, c := range video {
		t.renditions = append(t.renditions, &rendition{Rendition: plan.Video[i], id: c.id, entry: c.entry})
	}
	for i, c := range audio {
		t.renditions = append(t.renditions, &rendition{Rendition: plan.Audio[i], id: c.id, entry: c.entry})
	}
	t.group()
	return nil
}

func inputs(list []candidate) []cmaf.Input {
	var in []cmaf.Input
	for _, c := range list {
		identity := c.entry.Digest
		if identity == "" {
			identity = fmt.Sprintf("%d %d", c.entry.SizeBytes, c.entry.ModTime.UnixNano())
		}
		in = append(in, cmaf.Input{File: c.entry.Name, Identity: identity, Track: c.track})
	}
	return in
}

func parseFile(found *asset.Title, entry asset.Entry) (*cmaf.Movie, error) {
	f, err := found.Open(entry.Name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	if !f.Equal(entry) {
		return nil, errChanging
	}
	return cmaf.Parse(f, f.SizeBytes)
}

// group puts the audio renditions into groups: one group for each quality, with each language once. Variants pair
// with every group.
func (t *title) group() {
	type quality struct {
		format   string
		channels int
	}
	var kinds []quality
	languages := map[string]bool{}
	main := map[string]bool{}
	for _, r := range t.audio() {
		for n := 0; ; n++ {
			if n == len(kinds) {
				kinds = append(kinds, quality{r.Track.Codec, r.Track.Channels})
			}
			group := "audio"
			if n > 0 {
				group += "-" + strconv.Itoa(n+1)
			}
			key := group + " " + r.Track.Language
			if kinds[n] != (quality{r.Track.Codec, r.Track.Channels}) || languages[key] {
				continue
			}
			languages[key] = true
			r.group, r.main = group, !main[group]
			main[group] = true
			break
		}
	}
}

func (t *title) video() []*rendition { return t.renditions[:len(t.plan.Video)] }
func (t *title) audio() []*rendition { return t.renditions[len(t.plan.Video):] }

// find returns the rendition of that name and version.
func (t *title) find(id, version string) (*rendition, bool) {
	for _, r := range t.renditions {
		if r.id == id && r.Version == version {
			return r, true
		}
	}
	return nil, false
}

// modified returns when the newest file of the title changed.
func (t *title) modified() time.Time {
	var newest time.Time
	for _, e := range t.source.Media {
		if e.ModTime.After(newest) {
			newest = e.ModTime
		}
	}
	return newest
}

func (t *title) memoryBytes() int64 {
	n := int64(len(t.master.text) + len(t.mpd.text) + 4096)
	for _, r := range t.renditions {
		n += r.MemoryBytes() + int64(len(r.playlist.text)+len(r.iframes.text))
	}
	return n
}

// uniqueID makes a name of letters, digits, - and _ from a file's name.
func uniqueID(c candidate, taken map[string]bool) string {
	base := c.entry.Name
	if dot := strings.LastIndexByte(base, '.'); dot > 0 {
		base = base[:dot]
	}
	id := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, base), "-")
	if id == "" {
		id = c.track.Kind.String()
	}
	if taken[id] && c.track.Kind == cmaf.Audio {
		id += "-audio"
	}
	unique := id
	for n := 2; taken[unique]; n++ {
		unique = id + "-" + strconv.Itoa(n)
	}
	taken[unique] = true
	return unique
}
