package manifest

import "bytes"

// copyable tells whether the playlist can be had from other places: it has no pathways of its own, and all that it lists
// lies beside it.
func (h *hls) copyable() bool {
	if len(h.Steering.Locations) < 2 || h.Steering.Pathway == "" || h.Steering.here() == nil {
		return false
	}
	lines := 0
	for i := range h.lines {
		l := &h.lines[i]
		if l.kind != variantLine && l.kind != mediaLine {
			continue
		}
		lines++
		if lookup(l.list, "PATHWAY-ID") != nil || !movable(lookup(l.list, "URI")) {
			return false
		}
		if _, uri := endOfLine(h.text, l.uri); l.kind == variantLine && !movable(uri) {
			return false
		}
	}
	return lines*len(h.Steering.Locations) <= maxRenditions
}

// appendCopies writes renditions and variants once more for each other place, with groups of their own. Players that know
// PATHWAY-ID keep to one pathway and change over to another one; to others these are redundant streams.
func (h *hls) appendCopies(dst []byte, order []int) []byte {
	if dst[len(dst)-1] != '\n' {
		dst = append(dst, '\n')
	}
	for i := range h.Steering.Locations {
		at := &h.Steering.Locations[i]
		if at.Pathway == h.Steering.Pathway {
			continue
		}
		n := 0
		for j := range h.lines {
			l := &h.lines[j]
			if l.gone || l.kind != variantLine && !l.grouped() {
				continue
			}
			if l.kind == variantLine && order != nil {
				l = &h.lines[order[n]]
				n++
			}
			if dst = h.appendLine(dst, l, at); dst[len(dst)-1] != '\n' {
				dst = append(dst, '\n')
			}
		}
	}
	return dst
}

// grouped tells whether a line is a rendition that a pathway has of its own: closed captions are in the video.
func (l *line) grouped() bool {
	return l.kind == mediaLine && !bytes.Equal(l.media, []byte("CLOSED-CAPTIONS"))
}
