package cmaf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// Format is what the sample entry of a track says about its media.
type Format struct {
	FourCC string // type of the sample entry, such as avc1
	Codec  string // for CODECS, RFC 6381

	Width, Height    int // pixels as coded; 0 for audio
	SampleAspectX    int // shape of a pixel, 1:1 where the source does not say
	SampleAspectY    int
	Channels         int // loudspeaker channels; 0 for video
	SamplesPerSecond int // of audio; 0 for video
}

// sampleEntry returns the one sample entry of a sample table, as it is and understood.
func sampleEntry(stbl []byte, kind Kind) ([]byte, Format, error) {
	stsd, ok := child(stbl, "stsd")
	if !ok || len(stsd) < 8 {
		return nil, Format{}, errTruncated
	}
	b, _, err := nextBox(stsd[8:])
	if err != nil {
		return nil, Format{}, err
	}
	var f Format
	if kind == Video {
		f, err = videoFormat(b)
	} else {
		f, err = audioFormat(b)
	}
	if len(b.whole) > 1<<20 {
		return nil, f, errTruncated // what holds this much describes no media
	}
	entry := binary.BigEndian.AppendUint32(nil, uint32(8+len(b.body))) // whatever form of length the source has
	return append(append(entry, b.kind...), b.body...), f, err
}

// videoFormat reads a VisualSampleEntry, ISO/IEC 14496-12, 12.1.3.
func videoFormat(b box) (Format, error) {
	const fixed = 78
	f := Format{FourCC: b.kind, SampleAspectX: 1, SampleAspectY: 1}
	if len(b.body) < fixed {
		return f, errTruncated
	}
	f.Width, f.Height = int(u16(b.body[24:])), int(u16(b.body[26:]))
	inner := b.body[fixed:]
	if pasp, ok := child(inner, "pasp"); ok && len(pasp) >= 8 {
		if x, y := u32(pasp), u32(pasp[4:]); x > 0 && y > 0 && x <= 1<<16 && y <= 1<<16 {
			f.SampleAspectX, f.SampleAspectY = int(x), int(y)
		}
	}
	if f.Width == 0 || f.Height == 0 {
		return f, errSkip
	}
	var err error
	switch b.kind {
	case "avc1", "avc3":
		f.Codec, err = avcCodec(b.kind, inner)
	case "hvc1", "hev1":
		f.Codec, err = hevcCodec(b.kind, inner)
	case "av01":
		f.Codec, err = av1Codec(inner)
	case "vp09":
		f.Codec, err = vp9Codec(inner)
	case "encv":
		err = errors.New("encrypted: the source must be clear")
	case "jpeg", "mjpg", "png ", "tmcd":
		err = errSkip // cover pictures
	default:
		err = fmt.Errorf("video of type %q is not supported", printable(b.kind))
	}
	return f, err
}

// avcCodec follows RFC 6381, 3.3, for avcC of ISO/IEC 14496-15.
func avcCodec(kind string, inner []byte) (string, error) {
	c, ok := child(inner, "avcC")
	if !ok || len(c) < 4 {
		return "", errTruncated
	}
	return fmt.Sprintf("%s.%02x%02x%02x", kind, c[1], c[2], c[3]), nil
}

// hevcCodec follows ISO/IEC 14496-15, annex E.3.
func hevcCodec(kind string, inner []byte) (string, error) {
	c, ok := child(inner, "hvcC")
	if !ok || len(c) < 13 {
		return "", errTruncated
	}
	space := [...]string{"", "A", "B", "C"}[c[1]>>6]
	tier := "L"
	if c[1]&0x20 != 0 {
		tier = "H"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s.%s%d.%x.%s%d", kind, space, c[1]&0x1f, bits.Reverse32(u32(c[2:])), tier, c[12])
	constraints := c[6:12]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, b := range constraints {
		fmt.Fprintf(&s, ".%x", b)
	}
	return s.String(), nil
}

// av1Codec follows the AV1 codec ISO media file format binding, section 5, in the short form.
func av1Codec(inner []byte) (string, error) {
	c, ok := child(inner, "av1C")
	if !ok || len(c) < 4 {
		return "", errTruncated
	}
	tier, depth := "M", 8
	if c[2]&0x80 != 0 {
		tier = "H"
	}
	switch {
	case c[2]&0x60 == 0x60:
		depth = 12
	case c[2]&0x40 != 0:
		depth = 10
	}
	return fmt.Sprintf("av01.%d.%02d%s.%02d", c[1]>>5, c[1]&0x1f, tier, depth), nil
}

// vp9Codec follows the VP codec ISO media file format binding.
func vp9Codec(inner []byte) (string, error) {
	c, ok := child(inner, "vpcC")
	if !ok || len(c) < 7 {
		return "", errTruncated
	}
	return fmt.Sprintf("vp09.%02d.%02d.%02d", c[4], c[5], c[6]>>4), nil
}

// audioFormat reads an AudioSampleEntry, ISO/IEC 14496-12, 12.2.3, or one of QuickTime, whose version decides its length.
func audioFormat(b box) (Format, error) {
	f := Format{FourCC: b.kind}
	if len(b.body) < 28 {
		return f, errTruncated
	}
	f.Channels, f.SamplesPerSecond = int(u16(b.body[16:])), int(u32(b.body[24:])>>16)
	fixed := 28
	switch u16(b.body[8:]) {
	case 1:
		fixed += 16
	case 2:
		fixed += 36
	}
	if len(b.body) < fixed {
		return f, errTruncated
	}
	inner := b.body[fixed:]
	var err error
	switch b.kind {
	case "mp4a":
		err = f.mp4a(inner)
	case "ac-3":
		f.ac3(inner)
	case "ec-3":
		f.ec3(inner)
	case "Opus":
		f.Codec = b.kind
		if c, ok := child(inner, "dOps"); ok && len(c) >= 2 {
			f.Channels = int(c[1])
		}
	case "fLaC":
		f.Codec = b.kind
	case "enca":
		err = errors.New("encrypted: the source must be clear")
	default:
		err = fmt.Errorf("audio of type %q is not supported", printable(b.kind))
	}
	return f, err
}

// mp4a reads the elementary stream descriptor, ISO/IEC 14496-1, 7.2.6, for codec, channels and sampling rate.
func (f *Format) mp4a(inner []byte) error {
	esds, ok := child(inner, "esds")
	if !ok {
		if wave, in := child(inner, "wave"); in {
			esds, ok = child(wave, "esds")
		}
	}
	if !ok || len(esds) < 4 {
		return errTruncated
	}
	es, ok := descriptor(esds[4:], 3)
	if !ok || len(es) < 3 {
		return errTruncated
	}
	config, ok := descriptor(es[3+optionalES(es):], 4)
	if !ok || len(config) < 13 {
		return errTruncated
	}
	object := config[0]
	f.Codec = fmt.Sprintf("mp4a.%02x", object)
	if object != 0x40 {
		return nil
	}
	specific, ok := descriptor(config[13:], 5)
	if !ok || len(specific) < 2 {
		return errTruncated
	}
	f.aac(specific)
	return nil
}

// optionalES returns the length of the optional fields of an ES_Descriptor behind its first 3 bytes.
func optionalES(es []byte) int {
	n := 0
	if es[2]&0x80 != 0 {
		n += 2
	}
	if es[2]&0x40 != 0 && len(es) > 3+n {
		n += 1 + int(es[3+n])
	}
	if es[2]&0x20 != 0 {
		n += 2
	}
	return min(n, len(es)-3)
}

// aac reads the first bits of an AudioSpecificConfig, ISO/IEC 14496-3, 1.6.2.1.
func (f *Format) aac(c []byte) {
	object := int(c[0] >> 3)
	rate, channels := int(c[0]&7)<<1|int(c[1]>>7), int(c[1]>>3&15)
	if object == 31 {
		object = 32 + (int(c[0]&7)<<3 | int(c[1]>>5))
		rate = 15 // not read on: the sample entry has a rate
		channels = 0
	}
	f.Codec = fmt.Sprintf("mp4a.40.%d", object)
	rates := [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
	if rate < len(rates) {
		f.SamplesPerSecond = rates[rate]
	}
	switch {
	case channels >= 1 && channels <= 6:
		f.Channels = channels
	case channels == 7, channels == 12, channels == 14:
		f.Channels = 8
	case channels == 11:
		f.Channels = 7
	}
}

// descriptor returns the body of the first descriptor in b if it has the given tag.
func descriptor(b []byte, tag byte) ([]byte, bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, false
	}
	n, i := 0, 1
	for ; i < len(b) && i <= 4; i++ {
		n = n<<7 | int(b[i]&0x7f)
		if b[i]&0x80 == 0 {
			i++
			break
		}
	}
	if n > len(b)-i {
		return nil, false
	}
	return b[i : i+n], true
}

// acChannels is the number of full channels by acmod, ETSI TS 102 366, 4.4.2.3.
var acChannels = [...]int{2, 1, 2, 3, 3, 4, 4, 5} //nolint:gochecknoglobals // a table, never written

func (f *Format) ac3(inner []byte) {
	f.Codec = f.FourCC
	if c, ok := child(inner, "dac3"); ok && len(c) >= 3 { // ETSI TS 102 366, F.4
		f.Channels = acChannels[c[1]>>3&7] + int(c[1]>>2&1)
	}
}

func (f *Format) ec3(inner []byte) {
	f.Codec = f.FourCC
	if c, ok := child(inner, "dec3"); ok && len(c) >= 5 { // ETSI TS 102 366, F.6
		f.Channels = acChannels[c[3]>>1&7] + int(c[3]&1)
	}
}

// printable makes a box type fit for an error text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
