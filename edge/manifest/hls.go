package manifest

import (
	"bytes"
	"strconv"
)

// The tags that are looked at.
const (
	tagVariant  = "#EXT-X-STREAM-INF:"
	tagIFrames  = "#EXT-X-I-FRAME-STREAM-INF:"
	tagMedia    = "#EXT-X-MEDIA:"
	tagSession  = "#EXT-X-SESSION-KEY:"
	tagKey      = "#EXT-X-KEY:"
	tagSteering = "#EXT-X-CONTENT-STEERING:"
	tagDefine   = "#EXT-X-DEFINE:"
)

// line is one of a multivariant playlist, or, for a variant, its tag with all up to its URI; those of no matter stand together.
type line struct {
	start, end int    // in the playlist, with the line ending
	list       []byte // the attribute list; nil: none that matters
	uri        int    // a variant's URI line begins here
	kind       lineKind
	gone       bool
	traits     traits
	audio      []byte // a variant's group, a rendition's own
	media      []byte // a rendition's TYPE
}

type lineKind uint8

const (
	otherLine lineKind = iota
	variantLine
	iFramesLine
	mediaLine
	sessionLine
	steeringLine
)

// hls is a multivariant playlist being rewritten.
type hls struct {
	*Rewrite

	text   []byte
	lines  []line
	copies bool // all is written once for each place of Steering
}

// AppendHLS is Append for HLS, of a multivariant or a media playlist.
func (r *Rewrite) AppendHLS(dst, playlist []byte) ([]byte, error) {
	if !bytes.HasPrefix(playlist, []byte("#EXTM3U")) {
		return dst, ErrFormat
	}
	if r.Child != nil && bytes.Contains(playlist, []byte(tagDefine)) {
		known := *r
		known.Child, r = knowing(r.Child, playlist), &known
	}
	if bytes.HasPrefix(playlist, []byte(tagVariant)) || bytes.Contains(playlist, []byte("\n"+tagVariant)) {
		return r.appendMultivariant(dst, playlist)
	}
	if r.Child == nil && !r.Filter.RestrictsDRM() {
		return append(dst, playlist...), nil
	}
	return r.appendMedia(dst, playlist)
}

// appendMultivariant rewrites the playlist of variants.
func (r *Rewrite) appendMultivariant(dst, playlist []byte) ([]byte, error) {
	h := &hls{Rewrite: r, text: playlist, lines: make([]line, 0, 96)}
	if !h.parse() {
		return dst, ErrFormat
	}
	if r.Filter != nil {
		had, left := h.filter()
		if r.Filter.limits.AudioOnly && had && left == 0 {
			return h.appendAudioOnly(dst)
		}
		if had && left == 0 {
			return dst, ErrEmpty
		}
	}
	return h.append(dst), nil
}

// endOfLine returns where the next line begins, and the line at off without its ending.
func endOfLine(text []byte, off int) (next int, content []byte) {
	next = len(text)
	if i := bytes.IndexByte(text[off:], '\n'); i >= 0 {
		next = off + i + 1
	}
	return next, bytes.TrimRight(text[off:next], "\r\n")
}

// parse returns false where there is too much.
func (h *hls) parse() bool {
	renditions := 0
	for off := 0; off < len(h.text); {
		next, content := endOfLine(h.text, off)
		h.lines = append(h.lines, line{start: off, end: next})
		l := &h.lines[len(h.lines)-1]
		if colon := bytes.IndexByte(content, ':'); colon > 0 && content[0] == '#' {
			if l.kind = kindOf(content[:colon+1]); l.kind != otherLine {
				l.list = content[colon+1:]
				renditions++
			}
		}
		if l.kind == variantLine {
			h.takeURI(l)
		}
		l.parse()
		off = l.end
		if renditions > maxRenditions {
			return false
		}
		if last := len(h.lines) - 2; last > 0 && l.plain() && h.lines[last].plain() {
			h.lines[last].end = l.end
			h.lines = h.lines[:last+1]
		}
	}
	return true
}

// plain tells whether a line, or several that stand together, stays where it is with all but its URLs.
func (l *line) plain() bool { return l.kind == otherLine && l.list == nil }

// maxRenditions bounds variants and renditions of one playlist, and Representations of one Period: five times of what the
// largest services have.
const maxRenditions = 1024

func kindOf(tag []byte) lineKind {
	switch string(tag) {
	case tagVariant:
		return variantLine
	case tagIFrames:
		return iFramesLine
	case tagMedia:
		return mediaLine
	case tagSession:
		return sessionLine
	case tagSteering:
		return steeringLine
	}
	return otherLine
}

// takeURI finds the URI of a variant, which is the next line that is neither empty nor begins with #. One without is no variant.
func (h *hls) takeURI(l *line) {
	for off := l.end; off < len(h.text); {
		next, content := endOfLine(h.text, off)
		switch {
		case bytes.HasPrefix(content, []byte("#EXT")):
			l.kind = otherLine
			return
		case len(content) > 0 && content[0] != '#':
			l.uri, l.end = off, next
			return
		}
		off = next
	}
	l.kind = otherLine
}

func (l *line) parse() {
	if l.kind == otherLine || l.kind == sessionLine || l.kind == steeringLine {
		return
	}
	for a, ok := nextAttribute(l.list, 0); ok; a, ok = nextAttribute(l.list, a.end) {
		switch string(a.name) {
		case "BANDWIDTH":
			l.traits.bandwidth = number(a.value)
		case "CODECS":
			l.traits.codecs = a.value
		case "RESOLUTION":
			l.traits.height = shorterSide(a.value)
		case "FRAME-RATE":
			l.traits.rate = decimal(a.value)
		case "VIDEO-RANGE":
			l.traits.dynamics = videoRange(a.value)
		case "CHANNELS":
			l.traits.channels = int(number(a.value))
		case "TYPE":
			l.media = a.value
		case "AUDIO":
			if l.kind == variantLine {
				l.audio = a.value
			}
		case "GROUP-ID":
			if l.kind == mediaLine {
				l.audio = a.value
			}
		}
	}
	if l.kind == iFramesLine {
		l.traits.video = true
		l.traits.bandwidth = 0 // it is no bit rate that anything is played at
	}
}

// filter marks what goes. had tells whether there was anything to play, left how many variants are, of those with a picture
// where any had one.
func (h *hls) filter() (had bool, left int) {
	f := h.Filter
	groups := h.audioGroups()
	video, videoLeft := false, 0
	for i := range h.lines {
		l := &h.lines[i]
		switch l.kind {
		case iFramesLine:
			l.gone = !f.allows(&l.traits)
		case sessionLine:
			l.gone = !f.allowsKey(l.list)
		case otherLine, mediaLine, steeringLine:
		case variantLine:
			had = true
			picture := l.traits.hasVideo()
			video = video || picture
			g, mute := groups[string(l.audio)]
			if l.gone = !f.allows(&l.traits) || l.audio != nil && mute && g.left == 0; l.gone {
				continue
			}
			if left++; picture {
				videoLeft++
			}
		}
	}
	h.dropGroups(groups)
	if video && !f.limits.AudioOnly {
		left = videoLeft
	}
	return had, left
}

// group is one of renditions, told from others by its TYPE and GROUP-ID.
type group struct {
	left     int  // renditions that the device plays
	channels int  // the most of these
	had, has bool // by a variant, by one that is left
}

// audioGroups marks audio renditions with more channels than the device has, and tells variants what they sound like.
func (h *hls) audioGroups() map[string]group {
	groups := map[string]group{}
	for i := range h.lines {
		l := &h.lines[i]
		if l.kind != mediaLine || string(l.media) != mediaAudio {
			continue
		}
		g := groups[string(l.audio)]
		if l.gone = h.Filter.limits.Channels > 0 && l.traits.channels > h.Filter.limits.Channels; !l.gone {
			g.left++
			g.channels = max(g.channels, l.traits.channels)
		}
		groups[string(l.audio)] = g
	}
	for i := range h.lines {
		if l := &h.lines[i]; l.kind == variantLine && l.audio != nil {
			l.traits.channels = groups[string(l.audio)].channels
		}
	}
	return groups
}

const mediaAudio = "AUDIO"

// dropGroups marks the renditions of groups that only variants had which are gone. What no variant ever had stays.
func (h *hls) dropGroups(audio map[string]group) {
	for i := range h.lines {
		l := &h.lines[i]
		if l.kind != variantLine || l.audio == nil {
			continue
		}
		g := audio[string(l.audio)]
		g.had, g.has = true, g.has || !l.gone
		audio[string(l.audio)] = g
	}
	var others map[string]group // by TYPE=GROUP-ID
	for i := range h.lines {
		l := &h.lines[i]
		switch {
		case l.kind != mediaLine || l.gone:
		case string(l.media) == mediaAudio:
			g := audio[string(l.audio)]
			l.gone = g.had && !g.has
		default:
			if others == nil {
				others = h.otherGroups()
			}
			g := others[string(l.media)+"="+string(l.audio)]
			l.gone = g.had && !g.has
		}
	}
}

// otherGroups are those that variants name, but for audio.
func (h *hls) otherGroups() map[string]group {
	groups := map[string]group{}
	for i := range h.lines {
		l := &h.lines[i]
		if l.kind != variantLine {
			continue
		}
		for a, ok := nextAttribute(l.list, 0); ok; a, ok = nextAttribute(l.list, a.end) {
			switch string(a.name) {
			case "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS":
				id := string(a.name) + "=" + string(a.value)
				g := groups[id]
				g.had, g.has = true, g.has || !l.gone
				groups[id] = g
			}
		}
	}
	return groups
}

// allowsKey tells whether a key is one that the device can use: of no DRM system, or of one that it has.
func (f *Filter) allowsKey(list []byte) bool {
	if !f.RestrictsDRM() {
		return true
	}
	format := lookup(list, "KEYFORMAT")
	return format == nil || string(format) == "identity" || f.allowsSystem(format)
}

// append writes the playlist. Variants change places with one another; all other lines stay where they are.
func (h *hls) append(dst []byte) []byte {
	order := h.order()
	n := 0
	var here *Location
	if h.Steering != nil {
		if h.copies = h.copyable(); h.copies {
			here = h.Steering.here()
		}
		next, _ := endOfLine(h.text, 0)
		dst = appendEnded(dst, h.text[:next])
		dst = h.appendSteering(dst)
	}
	for i := range h.lines {
		l := &h.lines[i]
		if l.gone || h.Steering != nil && (l.start == 0 || l.kind == steeringLine) {
			continue
		}
		if l.kind == variantLine && order != nil {
			l = &h.lines[order[n]]
			n++
		}
		if len(dst) > 0 && dst[len(dst)-1] != '\n' { // the last line of the playlist, which had no ending, is not the last any more
			dst = append(dst, '\n')
		}
		dst = h.appendLine(dst, l, here)
	}
	if h.copies {
		dst = h.appendCopies(dst, order)
	}
	return dst
}

// order is the index of the variant for each place of one that is left; nil: as they are.
func (h *hls) order() []int {
	if h.Filter == nil || !h.Filter.reorders {
		return nil
	}
	var variants []int
	var all []*traits
	for i := range h.lines {
		if l := &h.lines[i]; l.kind == variantLine && !l.gone {
			variants, all = append(variants, i), append(all, &l.traits)
		}
	}
	places := h.Filter.arrange(all, true)
	for i, place := range places {
		places[i] = variants[place]
	}
	return places
}

func appendEnded(dst, text []byte) []byte {
	dst = append(dst, text...)
	if text[len(text)-1] != '\n' {
		dst = append(dst, '\n')
	}
	return dst
}

func (h *hls) appendSteering(dst []byte) []byte {
	dst = append(append(append(dst, tagSteering...), `SERVER-URI="`...), h.Steering.Server...)
	return append(append(append(dst, `",PATHWAY-ID="`...), h.Steering.first(h.copies)...), "\"\n"...)
}

// appendLine writes a line, and a variant's with all up to its URI; as it is at a place; nil: where the playlist is.
func (h *hls) appendLine(dst []byte, l *line, at *Location) []byte {
	if l.kind != variantLine {
		return h.appendTag(dst, l.start, l.end, l, at)
	}
	next, _ := endOfLine(h.text, l.start)
	dst = h.appendTag(dst, l.start, next, l, at)
	dst = append(dst, h.text[next:l.uri]...)
	_, uri := endOfLine(h.text, l.uri)
	dst = h.appendURI(dst, uri, Playlist, at)
	return append(dst, h.text[l.uri+len(uri):l.end]...)
}

func (h *hls) appendURI(dst, uri []byte, to Resource, at *Location) []byte {
	if to != Playlist || !movable(uri) {
		at = nil // an I-frame playlist may lie elsewhere
	}
	switch {
	case at != nil && h.Child != nil:
		return at.append(dst, h.Child(nil, uri, to))
	case at != nil:
		return at.append(dst, uri)
	case h.Child != nil:
		return h.Child(dst, uri, to)
	}
	return append(dst, uri...)
}

// appendTag writes the line [start, end) with what is to be changed in its attributes.
func (h *hls) appendTag(dst []byte, start, end int, l *line, at *Location) []byte {
	text := h.text[start:end]
	if l.list == nil {
		for len(text) > 0 {
			next, _ := endOfLine(text, 0)
			dst = h.appendTagLine(dst, text[:next])
			text = text[next:]
		}
		return dst
	}
	variant := l.kind == variantLine || l.kind == iFramesLine
	from := bytes.IndexByte(text, ':') + 1
	copied, pathway := 0, false
	for a, ok := nextAttribute(l.list, 0); ok; a, ok = nextAttribute(l.list, a.end) {
		switch string(a.name) {
		case "PATHWAY-ID":
			pathway = true
		case "SUPPLEMENTAL-CODECS":
			if variant && h.Filter != nil && !h.Filter.hasSupplement(a.value) {
				cut := a.start
				if cut > 0 {
					cut = bytes.LastIndexByte(l.list[:cut], ',')
				}
				dst = append(dst, text[copied:max(from+cut, copied)]...)
				if copied = from + a.end; a.start == 0 {
					copied = min(copied+1, len(text)) // the comma behind, as there is none before
				}
			}
		case "URI", "SERVER-URI":
			if h.Child != nil || at != nil && l.resource() == Playlist {
				dst = append(dst, text[copied:from+a.from]...)
				dst = h.appendURI(dst, a.value, l.resource(), at)
				copied = from + a.to
			}
		case "AUDIO", "VIDEO", "SUBTITLES", "GROUP-ID":
			if at != nil && at.Pathway != h.Steering.Pathway { // a group is of one pathway
				dst = append(append(append(dst, text[copied:from+a.to]...), '@'), at.Pathway...)
				copied = from + a.to
			}
		}
	}
	ending := from + len(l.list)
	dst = append(dst, text[copied:max(ending, copied)]...)
	switch {
	case at != nil && (variant || l.grouped()):
		dst = appendPathway(dst, at.Pathway)
	case at == nil && variant && !pathway && h.Steering != nil && h.Steering.Pathway != "":
		dst = appendPathway(dst, h.Steering.Pathway)
	}
	return append(dst, text[max(ending, copied):]...)
}

func appendPathway(dst []byte, name string) []byte {
	return append(append(append(dst, `,PATHWAY-ID="`...), name...), '"')
}

// hasSupplement tells whether the device has one of SUPPLEMENTAL-CODECS: codecs, each with brands behind a slash.
func (f *Filter) hasSupplement(list []byte) bool {
	if len(f.codecs) == 0 {
		return true
	}
	for name := range codecList(list) {
		name, _, _ = bytes.Cut(name, []byte("/"))
		if f.allowsCodec(name) {
			return true
		}
	}
	return false
}

func (l *line) resource() Resource {
	switch l.kind {
	case mediaLine, iFramesLine:
		return Playlist
	case sessionLine:
		return Key
	case otherLine, variantLine, steeringLine:
	}
	return Elsewhere
}

// What one rendition of audio may need, in bit/s, where a playlist does not say so: AAC at its usual best, and E-AC-3.
const (
	stereoBandwidth   = 320_000
	surroundBandwidth = 768_000
)

// sound is what becomes a variant where there is no picture: a group of audio renditions.
type sound struct {
	first  int    // the line of its first rendition that has a playlist of its own; 0: none
	used   bool   // by a variant
	codecs []byte // of the first variant that uses it, without its video
}

// sounds are those of the playlist.
func (h *hls) sounds() map[string]sound {
	all := map[string]sound{}
	for i := range h.lines {
		l := &h.lines[i]
		s := all[string(l.audio)]
		switch {
		case l.kind == mediaLine && string(l.media) == mediaAudio && s.first == 0 && lookup(l.list, "URI") != nil:
			s.first = i
		case l.kind == variantLine && !s.used:
			s.used, s.codecs = true, audioCodecs(l.traits.codecs)
		default:
			continue
		}
		all[string(l.audio)] = s
	}
	return all
}

// audioCodecs are those of a list that are no video.
func audioCodecs(list []byte) (codecs []byte) {
	for name := range codecList(list) {
		if familyOf(name).audio() {
			if len(codecs) > 0 {
				codecs = append(codecs, ',')
			}
			codecs = append(codecs, name...)
		}
	}
	return codecs
}

// appendAudioOnly makes variants of the audio groups, where a playlist has no variant that is audio alone: each group's first
// rendition, with the audio codecs of the variants that use it.
func (h *hls) appendAudioOnly(dst []byte) ([]byte, error) {
	was, found := len(dst), false
	sounds := h.sounds()
	for i := range h.lines {
		switch l := &h.lines[i]; {
		case l.kind == otherLine || l.kind == sessionLine && !l.gone:
			dst = h.appendLine(dst, l, nil)
		case l.kind == mediaLine && string(l.media) == mediaAudio:
			s := sounds[string(l.audio)]
			if s.first == 0 || !h.Filter.allowsCodecs(s.codecs) {
				continue
			}
			if h.Filter.limits.Channels > 0 && l.traits.channels > h.Filter.limits.Channels {
				continue
			}
			l.gone = false
			if dst = h.appendLine(dst, l, nil); dst[len(dst)-1] != '\n' {
				dst = append(dst, '\n')
			}
			if s.first != i {
				continue
			}
			found = true
			dst = h.appendAudioVariant(dst, l, s.codecs, lookup(l.list, "URI"))
		}
	}
	if !found {
		return dst[:was], ErrEmpty
	}
	return dst, nil
}

func (h *hls) appendAudioVariant(dst []byte, l *line, codecs, uri []byte) []byte {
	bandwidth := int64(stereoBandwidth)
	if l.traits.channels > 2 {
		bandwidth = surroundBandwidth
	}
	dst = append(append(dst, tagVariant+"BANDWIDTH="...), strconv.FormatInt(bandwidth, 10)...)
	if len(codecs) > 0 {
		dst = append(append(append(dst, `,CODECS="`...), codecs...), '"')
	}
	dst = append(append(append(dst, `,AUDIO="`...), l.audio...), "\"\n"...)
	if h.Child != nil {
		dst = h.Child(dst, uri, Playlist)
	} else {
		dst = append(dst, uri...)
	}
	return append(dst, '\n')
}
