package sdk

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// rendition is one variant of a multivariant playlist, with the audio that belongs to it.
type rendition struct {
	bandwidth int64 // bit/s, at most
	average   int64 // bit/s; 0: not said
	codecs    string
	height    int
	playlists []string // of the variant, then of its default audio
}

// renditions reads a multivariant playlist (RFC 8216bis, 4.4.6). A media playlist has none.
func renditions(text string) []rendition {
	var list []rendition
	audio := map[string]string{} // group: the default's URI
	var groups []string          // of list
	var next map[string]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "#EXT-X-MEDIA:"); ok {
			a := attributes(rest)
			if group := a["GROUP-ID"]; a["TYPE"] == "AUDIO" && a["URI"] != "" && (audio[group] == "" || a["DEFAULT"] == "YES") {
				audio[group] = a["URI"]
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "#EXT-X-STREAM-INF:"); ok {
			next = attributes(rest)
			continue
		}
		if next == nil || line == "" || line[0] == '#' {
			continue
		}
		r := rendition{codecs: next["CODECS"], playlists: []string{line}}
		r.bandwidth, _ = strconv.ParseInt(next["BANDWIDTH"], 10, 64)       // 0 where it is none
		r.average, _ = strconv.ParseInt(next["AVERAGE-BANDWIDTH"], 10, 64) // as above
		if _, height, ok := strings.Cut(next["RESOLUTION"], "x"); ok {
			r.height, _ = strconv.Atoi(height) // as above
		}
		list, groups, next = append(list, r), append(groups, next["AUDIO"]), nil
	}
	for i, group := range groups {
		if uri := audio[group]; uri != "" {
			list[i].playlists = append(list[i].playlists, uri)
		}
	}
	return list
}

// file is a part of a rendition: a segment or an initialization section.
type file struct {
	uri    string
	length int64 // of a byte range; -1: the whole
}

// media is what a media playlist lists (RFC 8216bis, 4.4.4).
type media struct {
	files    []file
	duration time.Duration
	ended    bool // nothing will be added
}

func readMedia(text string) media {
	var m media
	length := int64(-1)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "#EXT-X-ENDLIST":
			m.ended = true
		case strings.HasPrefix(line, "#EXTINF:"):
			seconds, _, _ := strings.Cut(line[len("#EXTINF:"):], ",")
			if s, err := strconv.ParseFloat(seconds, 64); err == nil && s >= 0 && s < 86400 {
				m.duration += time.Duration(s * float64(time.Second))
			}
		case strings.HasPrefix(line, "#EXT-X-BYTERANGE:"):
			length = rangeLength(line[len("#EXT-X-BYTERANGE:"):])
		case strings.HasPrefix(line, "#EXT-X-MAP:"):
			a := attributes(line[len("#EXT-X-MAP:"):])
			f := file{uri: a["URI"], length: -1}
			if a["BYTERANGE"] != "" {
				f.length = rangeLength(a["BYTERANGE"])
			}
			m.files = append(m.files, f)
		case line != "" && line[0] != '#':
			m.files = append(m.files, file{uri: line, length: length})
			length = -1
		}
	}
	return m
}

func rangeLength(text string) int64 {
	n, _, _ := strings.Cut(text, "@")
	length, err := strconv.ParseInt(n, 10, 64)
	if err != nil || length < 0 {
		return -1
	}
	return length
}

// attributes reads an attribute list (RFC 8216bis, 4.2); quotes are taken off.
func attributes(list string) map[string]string {
	all := map[string]string{}
	for list != "" {
		name, rest, ok := strings.Cut(list, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			if value, rest, ok = strings.Cut(rest[1:], `"`); !ok {
				break
			}
			list = strings.TrimPrefix(rest, ",")
		} else {
			value, list, _ = strings.Cut(rest, ",")
		}
		all[strings.TrimSpace(name)] = value
	}
	return all
}

// pathOf resolves a playlist's URI against the playlist's own path and query; "" where it leads to another server.
func pathOf(playlist, uri string) string {
	from, err := url.Parse(playlist)
	if err != nil {
		return ""
	}
	to, err := from.Parse(uri)
	if err != nil || to.Host != "" || !strings.HasPrefix(to.EscapedPath(), "/") {
		return ""
	}
	to.Fragment = ""
	return to.String()
}
