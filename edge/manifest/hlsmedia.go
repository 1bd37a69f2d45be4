package manifest

import "bytes"

// appendMedia rewrites a media playlist, line by line.
func (r *Rewrite) appendMedia(dst, playlist []byte) ([]byte, error) {
	was := len(dst)
	keys, usable := 0, 0 // before a segment: several are of several formats
	for off := 0; off < len(playlist); {
		next, content := endOfLine(playlist, off)
		text := playlist[off:next]
		off = next
		if list, ok := bytes.CutPrefix(content, []byte(tagKey)); ok {
			if keys++; !r.Filter.allowsKey(list) {
				continue
			}
			usable++
		} else if len(content) > 0 && content[0] != '#' {
			if keys > 0 && usable == 0 { // without a key line the segments would pass for clear
				return dst[:was], ErrEmpty
			}
			keys, usable = 0, 0
		}
		dst = r.appendTagLine(dst, text)
	}
	if keys > 0 && usable == 0 {
		return dst[:was], ErrEmpty
	}
	return dst, nil
}

// appendTagLine writes a line of which only URLs are changed.
func (r *Rewrite) appendTagLine(dst, text []byte) []byte {
	if r.Child == nil || len(text) == 0 {
		return append(dst, text...)
	}
	content := bytes.TrimRight(text, "\r\n")
	ending := text[len(content):]
	if len(content) == 0 {
		return append(dst, text...)
	}
	if content[0] != '#' {
		return append(r.Child(dst, content, Media), ending...)
	}
	tag, list, ok := bytes.Cut(content, []byte(":"))
	to, known := uriTag(tag)
	if !ok || !known {
		return append(dst, text...)
	}
	dst = append(append(dst, tag...), ':')
	copied := 0
	for a, ok := nextAttribute(list, 0); ok; a, ok = nextAttribute(list, a.end) {
		switch string(a.name) {
		case "URI", "X-ASSET-URI", "X-ASSET-LIST":
			dst = append(dst, list[copied:a.from]...)
			dst = r.Child(dst, a.value, to)
			copied = a.to
		}
	}
	return append(append(dst, list[copied:]...), ending...)
}

// uriTag tells what the URLs in a tag's attributes lead to.
func uriTag(tag []byte) (Resource, bool) {
	switch string(tag) {
	case "#EXT-X-MAP", "#EXT-X-PART", "#EXT-X-PRELOAD-HINT":
		return Media, true
	case "#EXT-X-RENDITION-REPORT":
		return Playlist, true
	case "#EXT-X-KEY", "#EXT-X-SESSION-KEY":
		return Key, true
	case "#EXT-X-SESSION-DATA", "#EXT-X-DATERANGE":
		return Elsewhere, true
	}
	return 0, false
}
