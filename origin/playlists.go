package origin

import (
	"fmt"
	"slices"
	"strings"

	"weir/origin/cmaf"
	"weir/origin/dash"
	"weir/origin/hls"
)

// minBufferSeconds is how much a player buffers by declaration: the peak bit rates hold over windows of about two
// segments, so this much at that rate plays on without a pause.
const minBufferSeconds = 4

// write writes the title's playlists.
func (t *title) write() error {
	for _, r := range t.renditions {
		r.playlist = newDocument(r.mediaPlaylist(false).Append(nil))
		if r.Track.Kind == cmaf.Video {
			r.iframes = newDocument(r.mediaPlaylist(true).Append(nil))
		}
	}
	t.master = newDocument(t.multivariant().Append(nil))
	mpd, err := t.manifest().Append(nil)
	t.mpd = newDocument(mpd)
	return err
}

// folder returns the rendition's folder, relative to the title.
func (r *rendition) folder() string { return r.id + "/" + r.Version + "/" }

func (r *rendition) mediaPlaylist(iframes bool) *hls.Media {
	m := &hls.Media{InitURI: "init.mp4", IFrames: iframes}
	for k := range r.Segments {
		s := &r.Segments[k]
		m.Segments = append(m.Segments, hls.Segment{
			URI: segmentName(k), Start: r.Seconds(s.Start), End: r.Seconds(s.End), ByteLength: s.HeaderBytes + s.KeyBytes,
		})
	}
	return m
}

func (t *title) multivariant() *hls.Multivariant {
	m := &hls.Multivariant{}
	var groups []string
	for _, r := range t.audio() {
		if len(t.video()) > 0 {
			m.Audio = append(m.Audio, hls.Audio{
				Group: r.group, Name: audioName(r), URI: r.folder() + "index.m3u8", Language: webLanguage(r.Track.Language),
				Channels: r.Track.Channels, Default: r.main,
			})
		}
		if !slices.Contains(groups, r.group) {
			groups = append(groups, r.group)
		}
	}
	if len(t.video()) == 0 {
		for _, r := range t.audio() {
			m.Variants = append(m.Variants, variant(r, nil))
		}
		return m
	}
	for _, r := range t.video() {
		if len(groups) == 0 {
			m.Variants = append(m.Variants, variant(r, nil))
		}
		for _, g := range groups {
			m.Variants = append(m.Variants, variant(r, t.members(g)))
		}
		m.IFrames = append(m.IFrames, r.iframeVariant())
	}
	byBandwidth := func(a, b hls.Variant) int { return int(b.AverageBandwidth - a.AverageBandwidth) }
	slices.SortStableFunc(m.Variants, byBandwidth)
	slices.SortStableFunc(m.IFrames, byBandwidth)
	return m
}

// members returns the renditions of an audio group.
func (t *title) members(group string) []*rendition {
	var list []*rendition
	for _, r := range t.audio() {
		if r.group == group {
			list = append(list, r)
		}
	}
	return list
}

// variant describes a rendition together with the most demanding one of an audio group, RFC 8216, 4.3.4.2.
func variant(r *rendition, audio []*rendition) hls.Variant {
	v := hls.Variant{
		URI: r.folder() + "index.m3u8", Bandwidth: r.PeakBitsPerSecond(), AverageBandwidth: r.AverageBitsPerSecond(),
		Codecs: []string{r.Track.Codec},
	}
	v.Width, v.Height = r.displaySize()
	if n, d := r.FrameRate(); r.Track.Kind == cmaf.Video {
		v.FrameRate = float64(n) / float64(d)
	}
	var peak, average int64
	for _, a := range audio {
		v.AudioGroup = a.group
		peak, average = max(peak, a.PeakBitsPerSecond()), max(average, a.AverageBitsPerSecond())
		if !slices.Contains(v.Codecs, a.Track.Codec) {
			v.Codecs = append(v.Codecs, a.Track.Codec)
		}
	}
	v.Bandwidth += peak
	v.AverageBandwidth += average
	return v
}

// iframeVariant describes the I-frame playlist of a rendition: first frames only, so a frame is all there is of a segment.
func (r *rendition) iframeVariant() hls.Variant {
	v := variant(r, nil)
	v.URI = r.folder() + "iframes.m3u8"
	var peak, bytes float64
	for k := range r.Segments {
		s := &r.Segments[k]
		n := float64(s.HeaderBytes + s.KeyBytes)
		bytes += n
		if d := r.Seconds(s.End - s.Start); d > 0 {
			peak = max(peak, n*8/d)
		}
	}
	v.Bandwidth = int64(peak + 0.5)
	if d := r.End().Seconds(); d > 0 {
		v.AverageBandwidth = min(v.Bandwidth, int64(bytes*8/d+0.5))
	}
	return v
}

// displaySize returns the size of the picture in square pixels.
func (r *rendition) displaySize() (width, height int) {
	f := &r.Track.Format
	if f.Width == 0 {
		return 0, 0
	}
	return (f.Width*f.SampleAspectX + f.SampleAspectY/2) / f.SampleAspectY, f.Height
}

func audioName(r *rendition) string {
	if name := webLanguage(r.Track.Language); name != "" {
		return name
	}
	return "Audio"
}

// manifest describes the same renditions for DASH. Video of different codecs stands in different adaptation sets, since
// players switch inside a set only.
func (t *title) manifest() *dash.MPD {
	m := &dash.MPD{Duration: t.plan.Duration.Seconds(), MinBufferSeconds: minBufferSeconds}
	index := map[string]int{}
	for _, r := range t.renditions {
		key := r.Track.FourCC
		set := dash.AdaptationSet{Video: r.Track.Kind == cmaf.Video, Main: len(m.Sets) == 0}
		if !set.Video {
			key = r.group + " " + r.Track.Language
			set.Main, set.Language = r.main && r.group == "audio", webLanguage(r.Track.Language)
		}
		i, ok := index[key]
		if !ok {
			i = len(m.Sets)
			index[key] = i
			m.Sets = append(m.Sets, set)
		}
		m.Sets[i].Representations = append(m.Sets[i].Representations, r.representation())
	}
	return m
}

func (r *rendition) representation() dash.Representation {
	f := &r.Track.Format
	out := dash.Representation{
		ID: r.id, Codecs: f.Codec, Bandwidth: r.PeakBitsPerSecond(), Width: f.Width, Height: f.Height,
		SarX: f.SampleAspectX, SarY: f.SampleAspectY, SamplesPerSecond: f.SamplesPerSecond, Channels: f.Channels,
		Timescale: r.Track.Timescale,
		InitURI:   "$RepresentationID$/" + r.Version + "/init.mp4",
		MediaURI:  "$RepresentationID$/" + r.Version + "/seg-$Number%05d$.m4s",
	}
	out.FrameRateNumerator, out.FrameRateDivisor = r.FrameRate()
	for k := range r.Segments {
		out.Segments = append(out.Segments, dash.Segment{Start: r.Segments[k].Start, End: r.Segments[k].End})
	}
	return out
}

func segmentName(k int) string { return fmt.Sprintf("seg-%05d.m4s", k+1) }

// shortLanguages are the ISO 639-2 codes of MP4 that BCP 47 wants in their two-letter form, RFC 5646, 2.2.1.
const shortLanguages = "ara ar bul bg cat ca ces cs cze cs chi zh zho zh dan da deu de ger de dut nl nld nl ell el gre el eng en " +
	"est et eus eu baq eu fas fa per fa fin fi fra fr fre fr gle ga glg gl heb he hin hi hrv hr hun hu ind id isl is ice is ita it " +
	"jpn ja kor ko lav lv lit lt msa ms may ms nob nb nor no nno nn pol pl por pt ron ro rum ro rus ru slk sk slo sk slv sl spa es " +
	"srp sr swe sv tam ta tel te tha th tur tr ukr uk urd ur vie vi "

// webLanguage returns the BCP 47 tag of a track's language, or nothing where it is not known.
func webLanguage(code string) string {
	if code == "und" || code == "" {
		return ""
	}
	if i := strings.Index(shortLanguages, code+" "); len(code) == 3 && i >= 0 {
		return shortLanguages[i+4 : i+6]
	}
	return code
}
