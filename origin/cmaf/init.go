package cmaf

import (
	"bytes"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"
)

// initTrackID is the track ID in all that this package writes: each rendition is a file of one track.
const initTrackID = 1

// init writes the initialisation segment (the CMAF header) of the track.
func (t *Track) init() ([]byte, error) {
	seg := mp4.CreateEmptyInit()
	brands := []string{"iso6", "cmfc", "dash", "mp41"}
	if t.skip == 0 {
		brands = append(brands, "cmf2") // ISO/IEC 23000-19: no edit list
	}
	seg.Children[0] = mp4.NewFtyp("iso6", 0, brands)
	seg.Ftyp = seg.Children[0].(*mp4.FtypBox)
	lang := t.Language
	if len(lang) != 3 {
		lang = "und"
	}
	seg.AddEmptyTrack(t.Timescale, t.Kind.String(), lang)
	trak := seg.Moov.Trak
	if lang != t.Language {
		trak.Mdia.AddChild(mp4.CreateElng(t.Language))
	}
	if t.Kind == Video {
		trak.Tkhd.Width = mp4.Fixed32(uint32(t.Width*t.SampleAspectX/t.SampleAspectY) << 16)
		trak.Tkhd.Height = mp4.Fixed32(uint32(t.Height) << 16)
	}
	if t.skip > 0 {
		edts := &mp4.EdtsBox{}
		// Duration 0: all of the fragments to come, ISO/IEC 14496-12, 8.6.6.
		edts.AddChild(&mp4.ElstBox{Version: 1, Entries: []mp4.ElstEntry{{MediaTime: t.skip, MediaRateInteger: 1}}})
		// Behind tkhd, where readers expect it.
		trak.Children = append(trak.Children[:1:1], append([]mp4.Box{edts}, trak.Children[1:]...)...)
	}
	entry, err := rawBox(t.entry)
	if err != nil {
		return nil, err
	}
	stsd := trak.Mdia.Minf.Stbl.Stsd // its AddChild takes decoded entries only
	stsd.Children, stsd.SampleCount = append(stsd.Children, entry), 1
	var out bytes.Buffer
	if err := seg.Encode(&out); err != nil {
		return nil, err
	}
	if t.matrix != nil {
		t.patchMatrix(out.Bytes())
	}
	return out.Bytes(), nil
}

// rawBox makes a box of mp4ff of bytes that are written again as they are.
func rawBox(b []byte) (mp4.Box, error) {
	hdr := mp4.BoxHeader{Name: string(b[4:8]), Size: uint64(len(b)), Hdrlen: 8}
	return mp4.DecodeUnknownSR(hdr, 0, bits.NewFixedSliceReader(b[8:]))
}

// patchMatrix puts the source's transformation into the track header, where mp4ff writes the identity: a picture
// that was filmed on its side must be turned.
func (t *Track) patchMatrix(seg []byte) {
	if tkhd, ok := child(seg, "moov", "trak", "tkhd"); ok && len(tkhd) >= 76 {
		copy(tkhd[40:], t.matrix)
	}
}
