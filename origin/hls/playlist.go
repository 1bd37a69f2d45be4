package hls

import (
	"math"
	"strconv"
	"strings"
)

// version is the protocol version of every playlist: EXT-X-MAP without EXT-X-I-FRAMES-ONLY needs 6, RFC 8216, 7.
const version = "#EXT-X-VERSION:6\n"

// Variant is one EXT-X-STREAM-INF, or EXT-X-I-FRAME-STREAM-INF where it stands in Multivariant.IFrames.
type Variant struct {
	URI              string
	Bandwidth        int64    // peak bits per second, audio included
	AverageBandwidth int64    // bits per second, audio included; 0 leaves it out
	Codecs           []string // RFC 6381, of the variant and its audio group
	Width, Height    int      // pixels; 0 leaves RESOLUTION out
	FrameRate        float64  // frames per second; 0 leaves it out
	AudioGroup       string   // GROUP-ID; empty for none
}

// Audio is one EXT-X-MEDIA of type AUDIO.
type Audio struct {
	Group, Name, URI string
	Language         string // BCP 47; empty leaves it out
	Channels         int    // 0 leaves it out
	Default          bool
}

// Multivariant is a multivariant playlist.
type Multivariant struct {
	Audio    []Audio
	Variants []Variant
	IFrames  []Variant
}

// Append appends the playlist to dst.
func (m *Multivariant) Append(dst []byte) []byte {
	dst = append(dst, "#EXTM3U\n"+version+"#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	for _, a := range m.Audio {
		dst = a.append(dst)
	}
	for _, v := range m.Variants {
		dst = append(dst, "#EXT-X-STREAM-INF:"...)
		dst = v.appendAttributes(dst)
		if v.FrameRate > 0 {
			dst = append(dst, ",FRAME-RATE="...)
			dst = strconv.AppendFloat(dst, v.FrameRate, 'f', 3, 64)
		}
		if v.AudioGroup != "" {
			dst = appendQuoted(dst, ",AUDIO=", v.AudioGroup)
		}
		dst = append(append(append(dst, '\n'), v.URI...), '\n')
	}
	for _, v := range m.IFrames {
		dst = append(dst, "#EXT-X-I-FRAME-STREAM-INF:"...)
		dst = v.appendAttributes(dst)
		dst = append(appendQuoted(dst, ",URI=", v.URI), '\n')
	}
	return dst
}

func (a *Audio) append(dst []byte) []byte {
	dst = appendQuoted(dst, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=", a.Group)
	dst = appendQuoted(dst, ",NAME=", a.Name)
	if a.Language != "" {
		dst = appendQuoted(dst, ",LANGUAGE=", a.Language)
	}
	if a.Default {
		dst = append(dst, ",DEFAULT=YES"...)
	}
	dst = append(dst, ",AUTOSELECT=YES"...)
	if a.Channels > 0 {
		dst = appendQuoted(dst, ",CHANNELS=", strconv.Itoa(a.Channels))
	}
	return append(appendQuoted(dst, ",URI=", a.URI), '\n')
}

func (v *Variant) appendAttributes(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "BANDWIDTH="...), v.Bandwidth, 10)
	if v.AverageBandwidth > 0 {
		dst = strconv.AppendInt(append(dst, ",AVERAGE-BANDWIDTH="...), v.AverageBandwidth, 10)
	}
	dst = appendQuoted(dst, ",CODECS=", strings.Join(v.Codecs, ","))
	if v.Width > 0 {
		dst = strconv.AppendInt(append(dst, ",RESOLUTION="...), int64(v.Width), 10)
		dst = strconv.AppendInt(append(dst, 'x'), int64(v.Height), 10)
	}
	return dst
}

// Segment is one media segment.
type Segment struct {
	URI        string
	Start, End float64 // seconds of presentation time

	// For IFrames: the part of the segment that holds its first frame.
	ByteOffset, ByteLength int64
}

// Media is a media playlist of a whole title.
type Media struct {
	InitURI  string
	Segments []Segment
	IFrames  bool // list first frames by byte range instead of whole segments
}

// Append appends the playlist to dst. Durations are written in microseconds and rounded so that their sum is the
// title's duration to the microsecond, whatever the number of segments.
func (m *Media) Append(dst []byte) []byte {
	target := int64(1)
	for _, s := range m.Segments {
		target = max(target, int64(math.Round(s.End-s.Start))) // RFC 8216, 4.3.3.1: rounded to the nearest integer
	}
	dst = append(dst, "#EXTM3U\n"+version+"#EXT-X-TARGETDURATION:"...)
	dst = append(strconv.AppendInt(dst, target, 10), "\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PLAYLIST-TYPE:VOD\n"...)
	if m.IFrames {
		dst = append(dst, "#EXT-X-I-FRAMES-ONLY\n"...)
	} else {
		dst = append(dst, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	dst = append(appendQuoted(dst, "#EXT-X-MAP:URI=", m.InitURI), '\n')
	for _, s := range m.Segments {
		dst = append(dst, "#EXTINF:"...)
		dst = appendMicroseconds(dst, microseconds(s.End)-microseconds(s.Start))
		dst = append(dst, ",\n"...)
		if m.IFrames {
			dst = strconv.AppendInt(append(dst, "#EXT-X-BYTERANGE:"...), s.ByteLength, 10)
			dst = append(strconv.AppendInt(append(dst, '@'), s.ByteOffset, 10), '\n')
		}
		dst = append(append(dst, s.URI...), '\n')
	}
	return append(dst, "#EXT-X-ENDLIST\n"...)
}

func microseconds(seconds float64) int64 { return int64(math.Round(seconds * 1e6)) }

func appendMicroseconds(dst []byte, us int64) []byte {
	dst = append(strconv.AppendInt(dst, us/1e6, 10), '.')
	fraction := strconv.Itoa(int(us % 1e6))
	for range 6 - len(fraction) {
		dst = append(dst, '0')
	}
	return append(dst, fraction...)
}

// appendQuoted appends a name with its = and a quoted string, RFC 8216, 4.2: no line breaks, no quotes.
func appendQuoted(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), '"')
	for _, c := range []byte(value) {
		if c >= ' ' && c != '"' && c != 0x7f {
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
