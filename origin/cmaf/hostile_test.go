package cmaf

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// patch returns a copy of a demo file with bytes written at an offset behind the first occurrence of a box type.
func patch(t testing.TB, name, box string, at int, with ...byte) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(demoDir, name))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte(box))
	if i < 0 {
		t.Fatalf("no %s in %s", box, name)
	}
	copy(b[i+4+at:], with)
	return b
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	whole := patch(t, "demo-288.mp4", "moov", 0)
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "too short"},
		{"text", []byte("this is no video, it is a text that somebody called film.mp4"), "not an MP4"},
		{"ends in moov", whole[:2000], "cut short"},
		{"ends in mdat", whole[:len(whole)-1], "cut short"},
		{"no moov", patch(t, "demo-288.mp4", "moov", -4, []byte("free")...), "no index"},
		{"box size 1 wide huge", append([]byte{0, 0, 0, 1, 'm', 'o', 'o', 'v'}, bytes.Repeat([]byte{0xff}, 8)...), "cut short"},
		{"stts count", patch(t, "demo-288.mp4", "stts", 4, huge...), "damaged"},
		{"ctts count", patch(t, "demo-288.mp4", "ctts", 4, huge...), "damaged"},
		{"stsz count", patch(t, "demo-288.mp4", "stsz", 8, huge...), "damaged"},
		{"stsz uniform", patch(t, "demo-288.mp4", "stsz", 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff), "cut short"},
		{"stsz too large", patch(t, "demo-288.mp4", "stsz", 12, huge...), "cut short"},
		{"stsc", patch(t, "demo-288.mp4", "stsc", 8, huge...), "chunks"},
		{"stco", patch(t, "demo-288.mp4", "stco", 8, huge...), "cut short"},
		{"stss", patch(t, "demo-288.mp4", "stss", 8, huge...), "sync"},
		{"elst speed", patch(t, "demo-288.mp4", "elst", 16, 0, 2), "speed"},
		{"no timescale", patch(t, "demo-288.mp4", "mdhd", 12, 0, 0, 0, 0), "timescale"},
		{"long", patch(t, "demo-288.mp4", "stts", 12, 0x7f, 0xff, 0xff, 0xff), "hours"},
		{"codec", patch(t, "demo-288.mp4", "stsd", 12, []byte("xyz1")...), "not supported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(bytes.NewReader(tt.in), int64(len(tt.in)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestNewPlanRefuses(t *testing.T) {
	t.Parallel()
	_, v720 := demoInput(t, "demo-720.mp4")
	_, audio := demoInput(t, "demo-audio.m4a")
	change := func(name string, f func(*Track)) Input {
		_, in := demoInput(t, name)
		f(in.Track)
		in.File = "other.mp4"
		return in
	}
	tests := []struct {
		name         string
		video, audio []Input
		want         string
	}{
		{"nothing", nil, nil, "no video or audio"},
		{"no first sync", []Input{change("demo-480.mp4", func(t *Track) { t.samples.sync = t.samples.sync[1:] })}, nil, "other.mp4 does not begin"},
		{"moved by a frame", []Input{v720, change("demo-480.mp4", func(t *Track) { t.tfdtShift = 3000 })}, nil, "other.mp4 begins at 0.0333 s"},
		{"no common sync", []Input{v720, change("demo-480.mp4", func(t *Track) {
			for i := range t.samples.sync[1:] {
				t.samples.sync[i+1] += 30
			}
		})}, nil, "other.mp4 shares no sync frame"},
		{"one sync frame", []Input{change("demo-480.mp4", func(t *Track) { t.samples.sync = t.samples.sync[:1] })}, nil, "no sync frame between"},
		{"half as long", []Input{v720, change("demo-480.mp4", func(t *Track) { t.samples.trim(12 * 90000) })}, nil, "other.mp4 ends at"},
		{"late sound", []Input{v720}, []Input{{File: "a.m4a", Track: func() *Track { t := *audio.Track; t.tfdtShift = 5 * 48000; return &t }()}}, "no sound"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewPlan(tt.video, tt.audio)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestMemoryIsBounded holds the parser to memory in proportion to the file, whatever the file claims.
func TestMemoryIsBounded(t *testing.T) {
	whole := patch(t, "demo-288.mp4", "moov", 0)
	for _, box := range []string{"stts", "ctts", "stsz", "stsc", "stco", "stss", "elst", "stsd"} {
		in := patch(t, "demo-288.mp4", box, 4, 0x7f, 0xff, 0xff, 0xff)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Parse(bytes.NewReader(in), int64(len(in)))
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(4*len(whole)); got > limit {
			t.Errorf("a hostile %s cost %d bytes, limit %d", box, got, limit)
		}
	}
}

// FuzzParse feeds a corrupt moov to the parser and the planner: they may refuse it, but what they accept must lie in
// the file and its headers must have the length they promise.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"demo-288.mp4", "demo-audio.m4a"} {
		b, err := os.ReadFile(filepath.Join(demoDir, name))
		if err != nil {
			f.Fatal(err)
		}
		end := bytes.Index(b, []byte("mdat")) - 4
		f.Add(b[:end], uint32(len(b)-end))
	}
	f.Add([]byte("\x00\x00\x00\x08moov"), uint32(0))
	f.Fuzz(func(t *testing.T, index []byte, media uint32) {
		file := append(bytes.Clone(index), make([]byte, min(media, 1<<19))...)
		if at := len(index); len(file) >= at+8 {
			binary.BigEndian.PutUint32(file[at:], uint32(len(file)-at))
			copy(file[at+4:], "mdat")
		}
		m, err := Parse(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		for _, track := range m.Tracks {
			video, audio := []Input{{File: "f", Track: track}}, []Input(nil)
			if track.Kind == Audio {
				video, audio = audio, video
			}
			p, err := NewPlan(video, audio)
			if err != nil {
				continue
			}
			r := append(p.Video, p.Audio...)[0]
			for k := range r.Segments {
				if got := len(r.AppendHeader(nil, k)); int64(got) != r.Segments[k].HeaderBytes {
					t.Fatalf("segment %d: got a header of %d bytes, promised %d", k, got, r.Segments[k].HeaderBytes)
				}
				for _, place := range r.Segments[k].Ranges {
					if place.Offset < 0 || place.Length <= 0 || place.Offset+place.Length > int64(len(file)) {
						t.Fatalf("segment %d: range %+v lies outside of %d bytes", k, place, len(file))
					}
				}
			}
			r.PeakBitsPerSecond()
			r.FrameRate()
		}
	})
}
