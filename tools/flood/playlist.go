package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// playlist is what a playlist (RFC 8216) tells a viewer: variants, or segments. Immutable, shared by all viewers that
// got the same bytes. URIs are as they stand there.
type playlist struct {
	variants []variant
	audio    map[string]string // the audio renditions' URIs by group; the default of each, or the first
	media    *media            // nil for a multivariant playlist
}

// variant is one choice of a multivariant playlist.
type variant struct {
	uri       string
	bandwidth int64  // peak, bits per second
	group     string // of audio; "" = sound is in the video's segments
}

// media is a media playlist.
type media struct {
	target   time.Duration
	sequence int64 // of the first segment
	segments []segment
	ended    bool // nothing will be added
}

// piece is a resource or a range of it.
type piece struct {
	uri           string
	first, length int64 // bytes; length 0 = all of it
}

// segment is one line of a media playlist.
type segment struct {
	piece

	begin    time.Duration // since the first segment of this playlist
	duration time.Duration
	init     piece // of EXT-X-MAP; without a URI there is none
	gap      bool  // there is nothing to load
}

// Limits of what is read: a day of segments of a second.
const (
	maxPlaylistBytes = 16 << 20
	maxSegments      = 86400
	maxSeconds       = 86400 // of one segment
)

var errPlaylist = errors.New("flood: not a playlist")

// parsePlaylist reads a playlist strictly where a viewer depends on it; tags that it does not need are ignored, as RFC
// 8216, 6.3.1 demands. Errors wrap errPlaylist and name the line.
func parsePlaylist(text []byte) (*playlist, error) {
	p := &playlistParser{list: &playlist{audio: map[string]string{}, media: &media{}}}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: bytes that are not UTF-8", errPlaylist)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if err := p.line(n, strings.TrimRight(string(line), "\r\n")); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errPlaylist, n, err)
		}
	}
	if err := p.end(n); err != nil {
		return nil, fmt.Errorf("%w: %w", errPlaylist, err)
	}
	return p.list, nil
}

// playlistParser holds what the lines before say of the lines to come.
type playlistParser struct {
	list     *playlist
	pending  *variant          // EXT-X-STREAM-INF waits for its URI
	next     segment           // EXTINF, EXT-X-BYTERANGE, EXT-X-GAP wait for their URI
	timed    bool              // EXTINF was there
	ranged   bool              // EXT-X-BYTERANGE was there
	follows  bool              // and began where the one before ended
	init     piece             // EXT-X-MAP in force
	ends     map[string]int64  // where the last range of each resource ended
	isMedia  bool              // a tag of media playlists was there
	fallback map[string]string // the first audio rendition of each group
}

func (p *playlistParser) line(n int, line string) error {
	switch {
	case n == 1 && line != "#EXTM3U":
		return errors.New("it does not begin with #EXTM3U")
	case line == "":
		return nil
	case strings.HasPrefix(line, "#EXT"):
		name, value, _ := strings.Cut(line, ":")
		return p.tag(name, value)
	case strings.HasPrefix(line, "#"):
		return nil
	}
	return p.uri(line)
}

func (p *playlistParser) tag(name, value string) (err error) {
	switch name {
	case "#EXT-X-STREAM-INF":
		return p.stream(value)
	case "#EXT-X-MEDIA":
		return p.rendition(value)
	case "#EXT-X-TARGETDURATION":
		p.isMedia = true
		p.list.media.target, err = seconds(value)
	case "#EXT-X-MEDIA-SEQUENCE":
		p.isMedia = true
		p.list.media.sequence, err = natural(value)
	case "#EXTINF":
		p.isMedia, p.timed = true, true
		duration, _, _ := strings.Cut(value, ",")
		p.next.duration, err = seconds(duration)
	case "#EXT-X-BYTERANGE":
		p.ranged = true
		p.next.first, p.next.length, p.follows, err = byteRange(value)
	case "#EXT-X-MAP":
		p.isMedia = true
		p.init, err = initSection(value)
	case "#EXT-X-GAP":
		p.next.gap = true
	case "#EXT-X-ENDLIST":
		p.isMedia, p.list.media.ended = true, true
	}
	return err
}

func (p *playlistParser) stream(value string) error {
	attributes, err := attributeList(value)
	if err != nil {
		return err
	}
	if p.pending != nil {
		return errors.New("the variant before has no URI")
	}
	p.pending = &variant{group: attributes["AUDIO"]}
	p.pending.bandwidth, err = natural(attributes["BANDWIDTH"]) // RFC 8216, 4.3.4.2: every variant has it
	return err
}

func (p *playlistParser) rendition(value string) error {
	attributes, err := attributeList(value)
	group, uri := attributes["GROUP-ID"], attributes["URI"]
	if err != nil || attributes["TYPE"] != "AUDIO" || uri == "" {
		return err // other types are not played; without a URI the sound is in the variant's own segments
	}
	if p.fallback == nil {
		p.fallback = map[string]string{}
	}
	if p.fallback[group] == "" {
		p.fallback[group] = uri
	}
	if attributes["DEFAULT"] == "YES" && p.list.audio[group] == "" {
		p.list.audio[group] = uri
	}
	return nil
}

func (p *playlistParser) uri(line string) error {
	if p.pending != nil {
		p.pending.uri = line
		p.list.variants = append(p.list.variants, *p.pending)
		p.pending = nil
		return nil
	}
	if !p.timed {
		return errors.New("a URI without EXTINF or EXT-X-STREAM-INF before it")
	}
	m := p.list.media
	if len(m.segments) == maxSegments {
		return fmt.Errorf("more than %d segments", maxSegments)
	}
	p.next.uri, p.next.init = line, p.init
	if err := p.place(); err != nil {
		return err
	}
	if n := len(m.segments); n > 0 {
		p.next.begin = m.segments[n-1].begin + m.segments[n-1].duration
	}
	m.segments = append(m.segments, p.next)
	p.next, p.timed, p.ranged, p.follows = segment{}, false, false, false
	return nil
}

// place gives a range without an offset the end of the one before (RFC 8216, 4.3.2.2).
func (p *playlistParser) place() error {
	if !p.ranged {
		return nil
	}
	end, known := p.ends[p.next.uri]
	if p.follows && !known {
		return errors.New("a byte range without an offset, and none of the same resource before it")
	}
	if p.follows {
		p.next.first = end
	}
	if p.next.first > math.MaxInt64-p.next.length {
		return errors.New("a byte range past the end of all numbers")
	}
	if p.ends == nil {
		p.ends = map[string]int64{}
	}
	p.ends[p.next.uri] = p.next.first + p.next.length
	return nil
}

// end decides which of the two kinds it was.
func (p *playlistParser) end(lines int) error {
	multivariant := len(p.list.variants) > 0
	switch {
	case lines == 0:
		return errors.New("nothing there")
	case p.pending != nil || p.timed:
		return errors.New("the last tag has no URI")
	case multivariant && p.isMedia:
		return errors.New("both variants and segments")
	case multivariant:
		for group, uri := range p.fallback {
			if p.list.audio[group] == "" {
				p.list.audio[group] = uri
			}
		}
		p.list.media = nil
		return nil
	case p.list.media.target <= 0:
		return errors.New("no variants, and no EXT-X-TARGETDURATION")
	}
	return nil
}

func initSection(value string) (p piece, err error) {
	attributes, err := attributeList(value)
	if err != nil {
		return p, err
	}
	if p.uri = attributes["URI"]; p.uri == "" {
		return p, errors.New("EXT-X-MAP without a URI")
	}
	if text := attributes["BYTERANGE"]; text != "" {
		p.first, p.length, _, err = byteRange(text)
	}
	return p, err
}

// byteRange reads LENGTH[@OFFSET]; follows when there is no offset.
func byteRange(text string) (first, length int64, follows bool, err error) {
	n, offset, placed := strings.Cut(text, "@")
	if length, err = natural(n); err != nil || length == 0 {
		return 0, 0, false, fmt.Errorf("the byte range %q has no length", text)
	}
	if placed {
		first, err = natural(offset)
	}
	if err == nil && first > math.MaxInt64-length {
		err = fmt.Errorf("the byte range %q ends past all numbers", text)
	}
	return first, length, !placed, err
}

// natural reads a decimal-integer (RFC 8216, 4.2), up to 2^63-1.
func natural(text string) (int64, error) {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return strconv.ParseInt(text, 10, 64)
}

func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || s < 0 || s > maxSeconds || s != s { // NaN is not itself
		return 0, fmt.Errorf("%q is not a duration from 0 to %d s", text, maxSeconds)
	}
	return time.Duration(math.Round(s * float64(time.Second))), nil
}

// attributeList reads NAME=VALUE,NAME="VALUE" (RFC 8216, 4.2). A name that comes twice is an error.
func attributeList(text string) (map[string]string, error) {
	attributes := map[string]string{}
	for text != "" {
		name, rest, found := strings.Cut(text, "=")
		if name = strings.TrimLeft(name, " "); !found || name == "" {
			return nil, fmt.Errorf("the attribute list %q has no name and value", text)
		}
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			if value, rest, found = strings.Cut(quoted, `"`); !found {
				return nil, fmt.Errorf("the value of %s has no closing quote", name)
			}
			if rest != "" && rest[0] != ',' {
				return nil, fmt.Errorf("no comma after the value of %s", name)
			}
			text = strings.TrimPrefix(rest, ",")
		} else if value, text, _ = strings.Cut(rest, ","); strings.Contains(value, `"`) {
			return nil, fmt.Errorf("the value of %s has a quote inside", name)
		}
		if _, twice := attributes[name]; twice {
			return nil, fmt.Errorf("%s stands there twice", name)
		}
		attributes[name] = value
	}
	return attributes, nil
}
