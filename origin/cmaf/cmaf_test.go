package cmaf

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"
)

const demoDir = "../asset/demo"

func demoInput(t testing.TB, name string) ([]byte, Input) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(demoDir, name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return b, Input{File: name, Identity: "test", Track: m.Tracks[0]}
}

func demoPlan(t testing.TB) (map[string][]byte, *Plan) {
	t.Helper()
	files := map[string][]byte{}
	var video, audio []Input
	for _, name := range []string{"demo-720.mp4", "demo-480.mp4", "demo-288.mp4", "demo-audio.m4a"} {
		b, in := demoInput(t, name)
		files[name] = b
		if in.Track.Kind == Video {
			video = append(video, in)
		} else {
			audio = append(audio, in)
		}
	}
	p, err := NewPlan(video, audio)
	if err != nil {
		t.Fatal(err)
	}
	return files, p
}

// segment puts a segment together as a server would send it.
func segment(r *Rendition, file []byte, k int) []byte {
	b := r.AppendHeader(nil, k)
	for _, p := range r.Segments[k].Ranges {
		b = append(b, file[p.Offset:p.Offset+p.Length]...)
	}
	return b
}

// sample is what a player gets of one sample.
type sample struct {
	decode, composition int64
	duration            uint32
	sync                bool
	content             string
}

// sourceSamples reads the samples of a plain MP4 with mp4ff's tables.
func sourceSamples(t *testing.T, file []byte) []sample {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	stbl := f.Moov.Trak.Mdia.Minf.Stbl
	var out []sample
	for i := uint32(1); i <= stbl.Stsz.SampleNumber; i++ {
		decode, duration := stbl.Stts.GetDecodeTime(i)
		s := sample{decode: int64(decode), duration: duration, composition: int64(decode)}
		if stbl.Ctts != nil {
			s.composition += int64(stbl.Ctts.GetCompositionTimeOffset(i))
		}
		s.sync = stbl.Stss == nil || stbl.Stss.IsSyncSample(i)
		chunk, first, err := stbl.Stsc.ChunkNrFromSampleNr(int(i))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(stbl.Stco.ChunkOffset[chunk-1])
		for j := first; j < int(i); j++ {
			at += int64(stbl.Stsz.GetSampleSize(j))
		}
		s.content = string(file[at : at+int64(stbl.Stsz.GetSampleSize(int(i)))])
		out = append(out, s)
	}
	return out
}

// packagedSamples parses a whole rendition back with mp4ff.
func packagedSamples(t *testing.T, r *Rendition, file []byte) []sample {
	t.Helper()
	whole := bytes.Clone(r.Init)
	for k := range r.Segments {
		b := segment(r, file, k)
		if got, want := int64(len(b)), r.Segments[k].Bytes(); got != want {
			t.Fatalf("segment %d has %d bytes, Bytes says %d", k, got, want)
		}
		whole = append(whole, b...)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	var out []sample
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			full, err := frag.GetFullSamples(f.Init.Moov.Mvex.Trex)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range full {
				out = append(out, sample{
					decode: int64(x.DecodeTime), composition: int64(x.DecodeTime) + int64(x.CompositionTimeOffset), duration: x.Dur,
					sync: x.IsSync(), content: string(x.Data),
				})
			}
		}
	}
	return out
}

func TestEverySampleOfTheSourceComesThrough(t *testing.T) {
	t.Parallel()
	files, p := demoPlan(t)
	for _, r := range append(append([]*Rendition{}, p.Video...), p.Audio...) {
		want, got := sourceSamples(t, files[r.file]), packagedSamples(t, r, files[r.file])
		if len(got) != len(want) {
			t.Fatalf("%s: got %d samples, want %d", r.file, len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s sample %d: got %d/%d/%d/%v (%d bytes), want %d/%d/%d/%v (%d bytes)", r.file, i,
					got[i].decode, got[i].composition, got[i].duration, got[i].sync, len(got[i].content),
					want[i].decode, want[i].composition, want[i].duration, want[i].sync, len(want[i].content))
			}
		}
	}
}

func TestInitKeepsSampleEntryAndEdit(t *testing.T) {
	t.Parallel()
	files, p := demoPlan(t)
	for _, r := range append(append([]*Rendition{}, p.Video...), p.Audio...) {
		if !bytes.Contains(files[r.file], r.Track.entry) || !bytes.Contains(r.Init, r.Track.entry) {
			t.Errorf("%s: the sample entry is not the source's", r.file)
		}
		f, err := mp4.DecodeFile(bytes.NewReader(r.Init))
		if err != nil {
			t.Fatal(err)
		}
		want := int64(1024) // AAC priming
		if r.Track.Kind == Video {
			want = 6000 // two frames of reordering
		}
		elst := f.Moov.Trak.Edts.Elst[0]
		if len(elst.Entries) != 1 || elst.Entries[0].MediaTime != want {
			t.Errorf("%s: got edit list %+v, want one entry at %d", r.file, elst.Entries, want)
		}
	}
}

func TestDemoPlan(t *testing.T) {
	t.Parallel()
	_, p := demoPlan(t)
	if got := p.Duration.Seconds(); got != 24 {
		t.Errorf("got duration %v, want 24", got)
	}
	for _, r := range append(append([]*Rendition{}, p.Video...), p.Audio...) {
		if len(r.Segments) != 12 {
			t.Fatalf("%s: got %d segments, want 12", r.file, len(r.Segments))
		}
		for k, s := range r.Segments {
			if d := r.Seconds(s.Start) - 2*float64(k); d > 0.5*1040/48000 || d < -0.5*1040/48000 {
				t.Errorf("%s segment %d begins %v s from where it should", r.file, k, d)
			}
			if len(s.Ranges) != 1 {
				t.Errorf("%s segment %d: got %d ranges of a contiguous source, want 1", r.file, k, len(s.Ranges))
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	_, in := demoInput(t, "demo-288.mp4")
	version := func(identity string) string {
		in.Identity = identity
		p, err := NewPlan([]Input{in}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Video[0].Version
	}
	if a, b := version("1"), version("1"); a != b || len(a) != 16 {
		t.Errorf("got %q and %q for one state of a file, want the same 16 digits", a, b)
	}
	if a, b := version("1"), version("2"); a == b {
		t.Errorf("got version %q for two states of a file", a)
	}
}

func TestAppendHeaderAllocatesNothing(t *testing.T) {
	_, p := demoPlan(t)
	dst := make([]byte, 0, 4096)
	for _, r := range []*Rendition{p.Video[0], p.Audio[0]} {
		if n := testing.AllocsPerRun(100, func() { dst = r.AppendHeader(dst[:0], 3) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", r.file, n)
		}
	}
}

func BenchmarkAppendHeader(b *testing.B) {
	_, p := demoPlan(b)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = p.Video[0].AppendHeader(dst[:0], 3)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkParseAndPlan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		demoPlan(b)
	}
}
