package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParsePlaylist(t *testing.T) {
	t.Parallel()
	const head = "#EXTM3U\n"
	tests := []struct {
		name, in string
		want     *playlist
	}{
		{"variants", head + "#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS=\"a,b\",AUDIO=\"g\"\r\nlow.m3u8\r\n#EXT-X-STREAM-INF:BANDWIDTH=200\nhigh.m3u8\n", &playlist{
			variants: []variant{{uri: "low.m3u8", bandwidth: 100, group: "g"}, {uri: "high.m3u8", bandwidth: 200}}, audio: map[string]string{},
		}},
		{"the default sound", head + `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="1",URI="a"` + "\n" + `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="2",DEFAULT=YES,URI="b"` + "\n" + `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="h",NAME="1",URI="c"` + "\n" + `#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="h",NAME="1",URI="d"` + "\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n", &playlist{
			variants: []variant{{uri: "v", bandwidth: 1}}, audio: map[string]string{"g": "b", "h": "c"},
		}},
		{"segments", head + "#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i\"\n# a comment\n#EXTINF:2.5,title, more\na\n\n#EXT-X-GAP\n#EXTINF:1\nb\n#EXT-X-UNKNOWN:1\n#EXT-X-ENDLIST\n", &playlist{
			audio: map[string]string{}, media: &media{target: 2 * time.Second, sequence: 7, ended: true, segments: []segment{
				{piece: piece{uri: "a"}, duration: 2500 * time.Millisecond, init: piece{uri: "i"}},
				{piece: piece{uri: "b"}, begin: 2500 * time.Millisecond, duration: time.Second, init: piece{uri: "i"}, gap: true},
			}},
		}},
		{"ranges", head + "#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"f\",BYTERANGE=\"5@0\"\n#EXTINF:1,\n#EXT-X-BYTERANGE:10@5\nf\n#EXTINF:1,\n#EXT-X-BYTERANGE:20\nf\n", &playlist{
			audio: map[string]string{}, media: &media{target: 2 * time.Second, segments: []segment{
				{piece: piece{"f", 5, 10}, duration: time.Second, init: piece{"f", 0, 5}},
				{piece: piece{"f", 15, 20}, begin: time.Second, duration: time.Second, init: piece{"f", 0, 5}},
			}},
		}},
		{"live and empty", head + "#EXT-X-TARGETDURATION:2\n", &playlist{audio: map[string]string{}, media: &media{target: 2 * time.Second}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePlaylist([]byte(tt.in))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q\ngot  %+v, %v\nwant %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParsePlaylistRefuses(t *testing.T) {
	t.Parallel()
	const head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"
	tests := []struct{ name, in, want string }{
		{"nothing", "", "nothing there"},
		{"a page", "<html>", "line 1"},
		{"a mark before", "\ufeff#EXTM3U\n", "line 1"},
		{"not text", "#EXTM3U\n#\xff\n", "UTF-8"},
		{"no kind", "#EXTM3U\n", "EXT-X-TARGETDURATION"},
		{"both kinds", head + "#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n", "both"},
		{"a URI of nothing", head + "a\n", "line 3: a URI without"},
		{"a segment of nothing", head + "#EXTINF:1,\n", "no URI"},
		{"a variant of nothing", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "no URI"},
		{"two variants of one", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n", "line 3"},
		{"no bandwidth", "#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"a\"\nv\n", "line 2"},
		{"a negative duration", head + "#EXTINF:-1,\na\n", "-1"},
		{"no duration", head + "#EXTINF:NaN,\na\n", "NaN"},
		{"an endless one", head + "#EXTINF:1e300,\na\n", "1e300"},
		{"a signed number", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:+1\n", "+1"},
		{"an open quote", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a\nv\n", "quote"},
		{"no comma", "#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"a\"BANDWIDTH=1\nv\n", "comma"},
		{"an attribute twice", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,BANDWIDTH=2\nv\n", "twice"},
		{"a map of nothing", head + "#EXT-X-MAP:BYTERANGE=\"1@0\"\n", "EXT-X-MAP"},
		{"an empty range", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:0@1\na\n", "no length"},
		{"a range after nothing", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:5\na\n", "offset"},
		{"a range past all", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:9223372036854775807@1\na\n", "past"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parsePlaylist([]byte(tt.in)); !errors.Is(err, errPlaylist) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: got error %v, want one that says %q", tt.in, err, tt.want)
			}
		})
	}
}

// TestParseOurPlaylists: what our origin writes is understood, all of it.
func TestParseOurPlaylists(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"master": "3 variants, sound in 1 groups", "video": "12 segments, 24s, ended true", "audio": "12 segments, 24.000333s, ended true",
	} {
		text, err := os.ReadFile("../../origin/testdata/" + name + ".m3u8")
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePlaylist(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := fmt.Sprintf("%d variants, sound in %d groups", len(p.variants), len(p.audio))
		if m := p.media; m != nil {
			last := m.segments[len(m.segments)-1]
			got = fmt.Sprintf("%d segments, %v, ended %v", len(m.segments), last.begin+last.duration, m.ended)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// print writes a playlist that reads the same.
func (p *playlist) print() string {
	var b strings.Builder
	b.WriteString("#EXTM3U\n")
	for group, uri := range p.audio {
		fmt.Fprintf(&b, "#EXT-X-MEDIA:TYPE=AUDIO,DEFAULT=YES,GROUP-ID=\"%s\",URI=\"%s\"\n", group, uri)
	}
	for _, v := range p.variants {
		fmt.Fprintf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AUDIO=\"%s\"\n%s\n", v.bandwidth, v.group, v.uri)
	}
	if p.media == nil {
		return b.String()
	}
	fmt.Fprintf(&b, "#EXT-X-TARGETDURATION:%.9f\n#EXT-X-MEDIA-SEQUENCE:%d\n", p.media.target.Seconds(), p.media.sequence)
	for _, s := range p.media.segments {
		if s.init.uri != "" {
			fmt.Fprintf(&b, "#EXT-X-MAP:URI=\"%s\"", s.init.uri)
			if s.init.length > 0 {
				fmt.Fprintf(&b, ",BYTERANGE=\"%d@%d\"", s.init.length, s.init.first)
			}
			b.WriteString("\n")
		}
		if s.length > 0 {
			fmt.Fprintf(&b, "#EXT-X-BYTERANGE:%d@%d\n", s.length, s.first)
		}
		if s.gap {
			b.WriteString("#EXT-X-GAP\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%.9f,\n%s\n", s.duration.Seconds(), s.uri)
	}
	if p.media.ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	return b.String()
}

func FuzzParsePlaylist(f *testing.F) {
	f.Add("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,AUDIO=\"g\"\nlow\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",URI=\"a\"\n")
	f.Add("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"f\",BYTERANGE=\"5@0\"\n#EXTINF:1.5,\n#EXT-X-BYTERANGE:10@5\nf\n#EXT-X-GAP\n#EXTINF:1,\n#EXT-X-BYTERANGE:7\nf\n#EXT-X-ENDLIST\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parsePlaylist([]byte(text))
		if err != nil {
			if !errors.Is(err, errPlaylist) {
				t.Errorf("%q: error %v is not errPlaylist", text, err)
			}
			return
		}
		again, err := parsePlaylist([]byte(first.print()))
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Errorf("%q printed as %q: %v\nfirst %+v\nagain %+v", text, first.print(), err, first, again)
		}
	})
}
