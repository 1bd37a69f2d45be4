package origin

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/origin/asset"
	"weir/origin/cmaf"
)

// maxListed is how many titles a listing describes; of more only the first are told.
const maxListed = 1000

// Title describes a title in a listing.
type Title struct {
	Name            string      `json:"name"`
	HLS             string      `json:"hls,omitempty"`  // path of the multivariant playlist, escaped for a URL
	DASH            string      `json:"dash,omitempty"` // path of the MPD
	DurationSeconds float64     `json:"duration_seconds"`
	Renditions      []Rendition `json:"renditions"`
	Problem         string      `json:"problem,omitempty"` // why it cannot be served; empty if it can
}

// Rendition describes a rendition in a listing.
type Rendition struct {
	Name          string `json:"name"`
	Kind          string `json:"kind"` // video or audio
	Codec         string `json:"codec"`
	Width         int    `json:"width,omitempty"`
	Height        int    `json:"height,omitempty"`
	Language      string `json:"language,omitempty"`
	BitsPerSecond int64  `json:"bits_per_second"` // average
}

// Titles describes the titles, the first 1000 by name. It prepares those that are not on the shelf, about a millisecond
// each. Titles with a problem are listed with it.
func (o *Origin) Titles(ctx context.Context) ([]Title, error) {
	names, err := o.titles.Titles(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Title, 0, min(len(names), maxListed))
	for _, name := range names[:min(len(names), maxListed)] {
		t, err := o.title(ctx, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		list = append(list, describe(name, t, err))
	}
	return list, nil
}

func describe(name string, t *title, err error) Title {
	base := (&url.URL{Path: "/vod/" + name + "/"}).EscapedPath()
	d := Title{Name: name, Renditions: []Rendition{}}
	switch {
	case err != nil:
		d.Problem = err.Error()
	case t.packaged != nil:
		d.HLS = pick(base, t.packaged.Playlists, ".m3u8", "master.m3u8")
		d.DASH = pick(base, t.packaged.Playlists, ".mpd", "manifest.mpd")
		return d
	default:
		d.DurationSeconds = t.plan.Duration.Seconds()
		for _, r := range t.renditions {
			f := &r.Track.Format
			about := Rendition{
				Name: r.id, Kind: r.Track.Kind.String(), Codec: f.Codec, Width: f.Width, Height: f.Height,
				BitsPerSecond: r.AverageBitsPerSecond(),
			}
			if r.Track.Kind == cmaf.Audio {
				about.Language = webLanguage(r.Track.Language)
			}
			d.Renditions = append(d.Renditions, about)
		}
	}
	d.HLS, d.DASH = base+"master.m3u8", base+"manifest.mpd"
	return d
}

// pick returns the path of the playlist of a packaged folder that is most likely the first to read, or nothing.
func pick(base string, playlists []asset.Entry, ext, usual string) string {
	var names []string
	for _, e := range playlists {
		if strings.HasSuffix(strings.ToLower(e.Name), ext) {
			names = append(names, e.Name)
		}
	}
	for _, name := range []string{usual, "main" + ext, "index" + ext, "playlist" + ext} {
		if slices.Contains(names, name) {
			return base + name
		}
	}
	if len(names) == 0 {
		return ""
	}
	return base + url.PathEscape(names[0])
}

// list answers with the titles as JSON.
func (o *Origin) list(w http.ResponseWriter, r *http.Request) {
	titles, err := o.Titles(r.Context())
	if err != nil {
		if r.Context().Err() == nil {
			o.log.Error("list titles", "error", err)
			fail(w, http.StatusServiceUnavailable, "the titles cannot be listed now")
		}
		return
	}
	text, err := json.MarshalIndent(struct {
		Titles []Title `json:"titles"`
	}{titles}, "", "  ")
	if err != nil {
		fail(w, http.StatusInternalServerError, "the titles cannot be listed")
		return
	}
	doc := newDocument(append(text, '\n'))
	o.deliver(w, r, &content{kind: "application/json", etag: doc.etag, lifetime: "public, max-age=2", memory: doc.text})
}
