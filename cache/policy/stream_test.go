package policy

import (
	"strings"
	"testing"
)

func TestParseStream(t *testing.T) {
	t.Parallel()
	// Of two keys: what they are to have in common, and the segments, -1 for none.
	const (
		same   = "same rendition"
		sister = "same title, another rendition"
		other  = "another title"
	)
	for _, c := range []struct {
		a, b     string
		relation string
		na, nb   int
	}{
		{"h/vod/demo/720p/seg-12.m4s", "h/vod/demo/720p/seg-13.m4s", same, 12, 13},
		{"h/vod/demo/720p/seg-12.m4s", "h/vod/demo/1080p/seg-12.m4s", sister, 12, 12},
		{"h/vod/demo/720p/seg-12.m4s", "h/vod/demo/audio/seg-12.m4s", sister, 12, 12},
		{"h/vod/demo/720p/seg-12.m4s", "h/vod/other/720p/seg-12.m4s", other, 12, 12},
		{"h/vod/demo/720p/seg-12.m4s", "g/vod/demo/720p/seg-12.m4s", other, 12, 12},
		{"h/vod/demo/video-720p/0a1b2c3d4e5f/seg-00012.m4s", "h/vod/demo/audio-en/ffeeddccbbaa/seg-00012.m4s", sister, 12, 12},
		{"h/vod/demo/720p/0a1b2c3d4e5f/seg-00012.m4s", "h/vod/demo/720p/0a1b2c3d4e5f/seg-00013.m4s", same, 12, 13},
		{"h/live/news/v1/123.ts", "h/live/news/v2/124.ts", sister, 123, 124},
		{"h/live/news/123.ts", "h/live/sport/123.ts", other, 123, 123},
		{"h/vod/film_720p_00012.ts", "h/vod/film_1080p_00013.ts", sister, 12, 13},
		{"h/vod/film_720p_00012.ts", "h/vod/show_720p_00012.ts", other, 12, 12},
		{"h/vod/film/chunk-stream0-00012.m4s", "h/vod/film/chunk-stream1-00012.m4s", sister, 12, 12},
		{"h/vod/film/chunk-stream0-00012.m4s", "h/vod/show/chunk-stream0-00012.m4s", other, 12, 12},
		{"h/vod/film/hd/segment12.ts", "h/vod/film/sd/segment12.ts", sister, 12, 12},
		{"h/film/0/12.m4s", "h/film/1/12.m4s", sister, 12, 12},
		{"h/live/c/v1/seg-12.part3.m4s", "h/live/c/v1/seg-12.m4s", same, 12, 12},
		{"h/live/c/v1/seg-12.3.m4s", "h/live/c/v1/seg-13.m4s", same, 12, 13},
		{"h/film/720p.mp4\n#7", "h/film/1080p.mp4\n#8", sister, 7, 8},
		{"h/film_720p.mp4\n#7", "h/film_1080p.mp4\n#8", sister, 7, 8},
		{"h/films/big.mp4\naccept-encoding:\n#7 v1", "h/films/big.mp4\n#8", same, 7, 8},
		{"h/films/big.mp4\n#7", "h/films/small.mp4\n#7", other, 7, 7},
		{"h/vod/demo/720p/init.mp4", "h/vod/demo/720p.mp4", "", -1, -1},
		{"h/vod/movie2.mp4", "h/vod/movie-1080.mp4", "", -1, -1},
		{"h/vod/demo/720p/index.m3u8", "h/vod/demo/manifest.mpd", "", -1, -1},
		{"h/a/style12.css", "h/", "", -1, -1},
		{"", "no path 12.ts", "", -1, -1},
	} {
		a, b := ParseStream(c.a), ParseStream(c.b)
		segment := func(s Stream) int {
			if !s.Number {
				return -1
			}
			return int(s.Segment)
		}
		if segment(a) != c.na || segment(b) != c.nb {
			t.Errorf("segments of %q, %q: %d, %d, want %d, %d", c.a, c.b, segment(a), segment(b), c.na, c.nb)
		}
		got := other
		switch {
		case a.Title == b.Title && a.Rendition == b.Rendition:
			got = same
		case a.Title == b.Title:
			got = sister
		}
		if c.relation != "" && got != c.relation {
			t.Errorf("%q and %q: %s, want %s", c.a, c.b, got, c.relation)
		}
	}
}

func TestParseStreamKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want Kind
	}{
		{"h/vod/demo/audio-en/ffeeddccbbaa/seg-00012.m4s", Audio},
		{"h/vod/demo/aac/seg-12.m4s", Audio},
		{"h/vod/demo/hd/seg-12.m4a", Audio},
		{"h/vod/demo_audio_12.ts", Audio},
		{"h/vod/demo/video/seg-12.m4s", Video},
		{"h/live/c/v1/12.ts", Video},
		{"h/vod/demo/720p/seg-12.m4s", Unknown},
	} {
		if got := ParseStream(c.in).Kind; got != c.want {
			t.Errorf("kind of %q = %d, want %d", c.in, got, c.want)
		}
	}
}

func FuzzParseStream(f *testing.F) {
	for _, text := range []string{
		"h/vod/demo/720p/0a1b2c3d4e5f/seg-00012.m4s", "h/live/c/v1/123.ts?x=1", "h/vod/T_720p_00012.ts", "h/films/big.mp4\n#7",
		"h/v/chunk-stream0-00012.m4s\nvary:x", "/.ts", "h/-.part.1.m4s", "h/0/0/0/0.ts",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := ParseStream(text)
		if s != ParseStream(text) {
			t.Fatal("not deterministic")
		}
		if !s.Number && s.Segment != 0 {
			t.Errorf("%+v has a segment and no number", s)
		}
		path, rest, _ := strings.Cut(text, "\n")
		if q := ParseStream(path + "?a=b/c.d\n" + rest); q != (Stream{}) {
			t.Errorf("with a query %+v", q)
		}
	})
}

func TestParseStreamAllocatesNothing(t *testing.T) {
	text := "example.com/vod/demo/video-1080p/0a1b2c3d4e5f/seg-00012.m4s\nvary:x"
	if n := testing.AllocsPerRun(100, func() { ParseStream(text) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkParseStream(b *testing.B) {
	text := "example.com/vod/demo/video-1080p/0a1b2c3d4e5f/seg-00012.m4s"
	b.ReportAllocs()
	for b.Loop() {
		ParseStream(text)
	}
}
