package manifest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// Errors of a Rewrite. Others do not occur.
var (
	// ErrEmpty tells that nothing is left that the device could play.
	ErrEmpty = errors.New("manifest: no rendition fits the device")
	// ErrFormat tells that this is no playlist, or no MPD, that can be read.
	ErrFormat = errors.New("manifest: not a playlist or MPD")
)

// Range is the dynamic range of video, in the words of VIDEO-RANGE (RFC 8216bis, 4.4.6.2).
type Range uint8

// The dynamic ranges, as a set: or them together.
const (
	SDR Range = 1 << iota
	HLG
	PQ
)

// Order is how renditions are listed by bitrate.
type Order uint8

// The orders.
const (
	AsStored Order = iota
	LowestFirst
	HighestFirst
)

// Limits says what a device can play and likes to. The zero value is everything, as it is stored.
type Limits struct {
	// Codecs are RFC 6381 strings, such as avc1.640028, of which profile and level are the highest that are played, or
	// names of families: h264, hevc, av1, vp9, vp8, vvc, dolby-vision; aac, mp3, ac3, eac3, ac4, opus, flac, dts, mpegh.
	// Where none is video, all video is played; so it is with audio. Empty: all.
	Codecs []string
	// Height is the most lines of a picture, of its shorter side. 0: no limit.
	Height int
	// FrameRate is the most frames per second; a hundredth more is let through (29.97 is 30). 0: no limit.
	FrameRate float64
	// Bitrate is the highest peak bit rate, in bit/s, of a variant, or of a DASH Representation. 0: no limit.
	Bitrate int64
	// MeteredBitrate goes in place of Bitrate, if it is lower, on a network that is paid by the byte; see Metered. 0: Bitrate.
	MeteredBitrate int64
	// Ranges are the dynamic ranges that are shown. 0: all.
	Ranges Range
	// Channels is the most audio channels. 0: no limit.
	Channels int
	// DRM are the systems that the device has: widevine, playready, fairplay, clearkey, or a UUID; "none" alone: none.
	// Empty: all.
	DRM []string
	// AudioOnly leaves out all video.
	AudioOnly bool

	// Order lists renditions by bitrate, within what Prefer, HDRFirst and SurroundFirst put together.
	Order Order
	// Prefer are families or codecs, the best first, whose renditions come before others.
	Prefer []string
	// HDRFirst lists HLG and PQ before SDR.
	HDRFirst bool
	// SurroundFirst lists more audio channels before less.
	SurroundFirst bool
	// Start is the bit rate, in bit/s, of which the highest HLS variant that is not above is listed first. 0: order alone.
	Start int64
}

// With returns l with each limit that o has in place of its own: o's zero fields change nothing.
func (l Limits) With(o Limits) Limits {
	replace(&l.Height, o.Height)
	replace(&l.FrameRate, o.FrameRate)
	replace(&l.Bitrate, o.Bitrate)
	replace(&l.MeteredBitrate, o.MeteredBitrate)
	replace(&l.Ranges, o.Ranges)
	replace(&l.Channels, o.Channels)
	replace(&l.AudioOnly, o.AudioOnly)
	replace(&l.Order, o.Order)
	replace(&l.HDRFirst, o.HDRFirst)
	replace(&l.SurroundFirst, o.SurroundFirst)
	replace(&l.Start, o.Start)
	for _, list := range [...]struct{ to, from *[]string }{{&l.Codecs, &o.Codecs}, {&l.DRM, &o.DRM}, {&l.Prefer, &o.Prefer}} {
		if len(*list.from) > 0 {
			*list.to = *list.from
		}
	}
	return l
}

func replace[T comparable](to *T, from T) {
	var zero T
	if from != zero {
		*to = from
	}
}

// Metered returns l for a network that is paid by the byte.
func (l Limits) Metered() Limits {
	if l.MeteredBitrate > 0 && (l.Bitrate == 0 || l.MeteredBitrate < l.Bitrate) {
		l.Bitrate = l.MeteredBitrate
	}
	return l
}

// Filter is Limits made ready. Immutable; a nil Filter changes nothing.
type Filter struct {
	limits       Limits
	codecs       []codec
	anyVideo     bool // codecs has no video: all is played
	anyAudio     bool
	prefer       []codec
	drm          []string // UUIDs in lower case; nil: all
	reorders     bool
	fingerprint  uint64
	restrictsDRM bool
}

// NewFilter refuses negative limits and names that nobody has. It copies l.
func NewFilter(l Limits) (*Filter, error) {
	if l.Height < 0 || l.FrameRate < 0 || l.Bitrate < 0 || l.MeteredBitrate < 0 || l.Channels < 0 || l.Start < 0 {
		return nil, errors.New("manifest: a limit is negative")
	}
	if l.Ranges > SDR|HLG|PQ || l.Order > HighestFirst {
		return nil, errors.New("manifest: Ranges or Order is none of its values")
	}
	f := &Filter{limits: l, anyVideo: true, anyAudio: true}
	for _, name := range l.Codecs {
		c, ok := parseCodec(name)
		if !ok {
			return nil, fmt.Errorf("manifest: %q is neither a codec (RFC 6381) nor a family of codecs", name)
		}
		f.codecs = append(f.codecs, c)
		f.anyVideo = f.anyVideo && !c.family.video()
		f.anyAudio = f.anyAudio && !c.family.audio()
	}
	for _, name := range l.Prefer {
		c, ok := parseCodec(name)
		if !ok {
			return nil, fmt.Errorf("manifest: %q is neither a codec (RFC 6381) nor a family of codecs", name)
		}
		f.prefer = append(f.prefer, c)
	}
	for _, name := range l.DRM {
		id, ok := systemID(name)
		switch {
		case name == "none" && len(l.DRM) == 1:
		case !ok:
			return nil, fmt.Errorf("manifest: %q is no DRM system", name)
		default:
			f.drm = append(f.drm, id...)
		}
	}
	f.limits.Codecs, f.limits.DRM, f.limits.Prefer = slices.Clone(l.Codecs), slices.Clone(l.DRM), slices.Clone(l.Prefer)
	f.restrictsDRM = len(l.DRM) > 0
	f.reorders = l.Order != AsStored || len(l.Prefer) > 0 || l.HDRFirst || l.SurroundFirst || l.Start > 0
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%+v", l) // a hash takes everything
	f.fingerprint = h.Sum64()
	return f, nil
}

// Fingerprint is the same for the same Limits, also in other processes of the same build, and 0 for a nil Filter.
func (f *Filter) Fingerprint() uint64 {
	if f == nil {
		return 0
	}
	return f.fingerprint
}

// RestrictsDRM tells whether media playlists are changed too, as keys of DRM systems stand there.
func (f *Filter) RestrictsDRM() bool { return f != nil && f.restrictsDRM }

// Limits returns what the filter was made of. The lists are not the caller's to change.
func (f *Filter) Limits() Limits { return f.limits }

// traits is what a manifest says of one rendition; zero: nothing.
type traits struct {
	codecs       []byte // a list of RFC 6381 strings
	height       int
	rate         float64
	bandwidth    int64
	dynamics     Range
	channels     int
	video, audio bool // by type, where it is told otherwise than by codecs
}

// hasVideo tells whether the rendition has a picture.
func (t *traits) hasVideo() bool {
	if t.video || t.height > 0 {
		return true
	}
	for name := range codecList(t.codecs) {
		if familyOf(name).video() {
			return true
		}
	}
	return false
}

// dynamicRange is the range that is said, or what the codecs say.
func (t *traits) dynamicRange() Range {
	if t.dynamics != 0 {
		return t.dynamics
	}
	other := false
	dolby := false
	for name := range codecList(t.codecs) {
		family := familyOf(name)
		dolby = dolby || family == DolbyVision
		other = other || family.video() && family != DolbyVision
	}
	if dolby && !other {
		return PQ
	}
	return SDR
}

// allows tells whether the device plays a rendition.
func (f *Filter) allows(t *traits) bool {
	l := &f.limits
	video := t.hasVideo()
	switch {
	case l.AudioOnly && video,
		l.Height > 0 && t.height > l.Height,
		l.FrameRate > 0 && t.rate > l.FrameRate+0.01,
		l.Bitrate > 0 && t.bandwidth > l.Bitrate,
		l.Channels > 0 && t.channels > l.Channels,
		l.Ranges != 0 && video && l.Ranges&t.dynamicRange() == 0:
		return false
	}
	return f.allowsCodecs(t.codecs)
}

// allowsCodecs tells whether the device has all codecs of a list.
func (f *Filter) allowsCodecs(list []byte) bool {
	if len(f.codecs) == 0 {
		return true
	}
	for name := range codecList(list) {
		if !f.allowsCodec(name) {
			return false
		}
	}
	return true
}

func (f *Filter) allowsCodec(name []byte) bool {
	family := familyOf(name)
	if family == Text || f.anyVideo && family.video() || f.anyAudio && family.audio() || len(f.codecs) == 0 {
		return true
	}
	for i := range f.codecs {
		if f.codecs[i].covers(family, name) {
			return true
		}
	}
	return false
}

// allowsSystem tells whether the device has a DRM system: a UUID, with or without urn:uuid:, or a KEYFORMAT.
func (f *Filter) allowsSystem(name []byte) bool {
	if !f.RestrictsDRM() {
		return true
	}
	ids, ok := systemID(string(name))
	if !ok {
		return false
	}
	return slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(f.drm, id) })
}

// systemID reads a DRM system's name, KEYFORMAT or UUID.
func systemID(name string) ([]string, bool) {
	switch name = strings.TrimPrefix(strings.ToLower(name), "urn:uuid:"); name {
	case "widevine":
		return []string{"edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"}, true
	case "playready", "com.microsoft.playready":
		return []string{"9a04f079-9840-4286-ab92-e65be0885f95"}, true
	case "fairplay", "com.apple.streamingkeydelivery":
		return []string{"94ce86fb-07ff-4f43-adb8-93d2fa968ca2"}, true
	case "clearkey", "org.w3.clearkey": // DASH-IF's and the W3C's
		return []string{"e2719d58-a985-b3c9-781a-b030af78d30e", "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"}, true
	}
	const uuidBytes = 36
	if len(name) != uuidBytes || strings.Trim(name, "0123456789abcdef-") != "" || strings.Count(name, "-") != 4 {
		return nil, false
	}
	return []string{name}, true
}
