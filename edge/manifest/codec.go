package manifest

import (
	"bytes"
	"iter"
	"strings"
)

// Family is a coding format, whatever its sample entry, profile and level.
type Family uint8

// The families. Other is none that is known here, Text is subtitles.
const (
	Other Family = iota
	H264
	HEVC
	DolbyVision
	AV1
	VP9
	VP8
	VVC
	AAC
	MP3
	AC3
	EAC3
	AC4
	Opus
	FLAC
	DTS
	MPEGH
	Text
)

func (f Family) video() bool { return f >= H264 && f <= VVC }
func (f Family) audio() bool { return f >= AAC && f <= MPEGH }

// familyNamed reads a name of [Limits.Codecs]; Other where it is none.
func familyNamed(name string) Family {
	switch strings.ToLower(name) {
	case "h264", "avc":
		return H264
	case "hevc", "h265":
		return HEVC
	case "dolby-vision":
		return DolbyVision
	case "av1":
		return AV1
	case "vp9":
		return VP9
	case "vp8":
		return VP8
	case "vvc", "h266":
		return VVC
	case "aac":
		return AAC
	case "mp3":
		return MP3
	case "ac3":
		return AC3
	case "eac3":
		return EAC3
	case "ac4":
		return AC4
	case "opus":
		return Opus
	case "flac":
		return FLAC
	case "dts":
		return DTS
	case "mpegh":
		return MPEGH
	}
	return Other
}

// familyOf reads the sample entry in front of an RFC 6381 string.
func familyOf(name []byte) Family {
	entry, detail, _ := bytes.Cut(name, []byte("."))
	switch string(entry) {
	case "avc1", "avc3", "avc2", "avc4":
		return H264
	case "hvc1", "hev1":
		return HEVC
	case "dvh1", "dvhe", "dva1", "dvav", "dav1":
		return DolbyVision
	case "av01":
		return AV1
	case "vp09", "vp9":
		return VP9
	case "vp08", "vp8":
		return VP8
	case "vvc1", "vvi1":
		return VVC
	case "mp4a":
		switch string(detail) {
		case "40.34", "69", "6B", "6b":
			return MP3
		}
		return AAC
	case "ac-3":
		return AC3
	case "ec-3":
		return EAC3
	case "ac-4":
		return AC4
	case "Opus", "opus":
		return Opus
	case "fLaC", "flac":
		return FLAC
	case "dtsc", "dtse", "dtsh", "dtsl", "dtsx", "dtsy":
		return DTS
	case "mhm1", "mha1", "mhm2", "mha2":
		return MPEGH
	case "stpp", "wvtt", "tx3g", "sbtt", "c608", "c708":
		return Text
	}
	return Other
}

// codecList goes through a list of codecs (RFC 6381, 3.3), separated by commas.
func codecList(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(list) > 0 {
			name, rest, _ := bytes.Cut(list, []byte(","))
			list = rest
			if name = bytes.TrimSpace(name); len(name) > 0 && !yield(name) {
				return
			}
		}
	}
}

// codec is one that a device has.
type codec struct {
	family Family
	name   []byte // nil: the whole family
}

// parseCodec reads a family's name or an RFC 6381 string.
func parseCodec(name string) (codec, bool) {
	if family := familyNamed(name); family != Other {
		return codec{family: family}, true
	}
	const longest = 64
	if len(name) < 3 || len(name) > longest || strings.ContainsAny(name, "\", \t\r\n") {
		return codec{}, false
	}
	c := codec{family: familyOf([]byte(name)), name: []byte(name)}
	if !strings.Contains(name, ".") && c.family != Other { // the sample entry alone
		c.name = nil
	}
	return c, true
}

// covers tells whether who plays c plays that codec. Of formats with profiles and levels it plays all that are not above;
// of others those that begin alike (mp4a.40 covers mp4a.40.2).
func (c *codec) covers(family Family, name []byte) bool {
	if family != c.family {
		return false
	}
	if c.name == nil || bytes.Equal(c.name, name) {
		return true
	}
	_, has, _ := bytes.Cut(c.name, []byte("."))
	_, wants, _ := bytes.Cut(name, []byte("."))
	switch family {
	case H264:
		return coversAVC(has, wants)
	case HEVC:
		return coversHEVC(has, wants)
	case AV1, VP9:
		return coversNumbers(has, wants)
	default:
		rest, ok := bytes.CutPrefix(name, c.name)
		return ok && rest[0] == '.' // not equal, so there is a rest
	}
}

// coversAVC compares PPCCLL, profile and level in hexadecimal.
func coversAVC(has, wants []byte) bool {
	const digits = 6
	if len(wants) < digits || len(has) < digits {
		return len(wants) == 0
	}
	return hex(wants[:2]) <= hex(has[:2]) && hex(wants[4:6]) <= hex(has[4:6])
}

// coversHEVC compares profile.compatibility.TLEVEL (ISO/IEC 14496-15, annex E).
func coversHEVC(has, wants []byte) bool {
	profileHas, levelHas := hevcParts(has)
	profileWants, levelWants := hevcParts(wants)
	if number(bytes.TrimLeft(profileWants, "ABC")) > number(bytes.TrimLeft(profileHas, "ABC")) {
		return false
	}
	if len(levelHas) == 0 || len(levelWants) == 0 {
		return true
	}
	if levelWants[0] == 'H' && levelHas[0] != 'H' {
		return false
	}
	return number(levelWants[1:]) <= number(levelHas[1:])
}

func hevcParts(detail []byte) (profile, level []byte) {
	profile, rest, _ := bytes.Cut(detail, []byte("."))
	_, rest, _ = bytes.Cut(rest, []byte("."))
	level, _, _ = bytes.Cut(rest, []byte("."))
	return profile, level
}

// coversNumbers compares profile, level and bit depth, in decimals; behind AV1's level stands the tier, M or H.
func coversNumbers(has, wants []byte) bool {
	for range 3 {
		var a, b []byte
		a, has, _ = bytes.Cut(has, []byte("."))
		b, wants, _ = bytes.Cut(wants, []byte("."))
		if len(a) == 0 || len(b) == 0 {
			return true // not said
		}
		if b[len(b)-1] == 'H' && a[len(a)-1] != 'H' || number(bytes.TrimRight(b, "MH")) > number(bytes.TrimRight(a, "MH")) {
			return false
		}
	}
	return true
}

// number reads decimal digits, up to the first other byte, and fifteen at most.
func number(digits []byte) int64 {
	const longest = 15
	var n int64
	for i, c := range digits {
		if c < '0' || c > '9' || i == longest {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// hex reads hexadecimal digits; anything else counts as F.
func hex(digits []byte) int {
	n := 0
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = n*16 + int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n*16 + int(c|0x20-'a') + 10
		default:
			n = n*16 + 15
		}
	}
	return n
}
