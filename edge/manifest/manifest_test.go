package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ladder = `#EXTM3U
#EXT-X-VERSION:10
## a comment that stays
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="stereo",NAME="en",LANGUAGE="en",DEFAULT=YES,CHANNELS="2",URI="audio/en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="surround",NAME="en",LANGUAGE="en",DEFAULT=YES,CHANNELS="6",URI="audio/en51.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="en",URI="subs/en.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=5000000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080,FRAME-RATE=29.970,AUDIO="stereo",SUBTITLES="subs"
v/1080.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1200000,CODECS="avc1.4d401f,mp4a.40.2",RESOLUTION=854x480,FRAME-RATE=29.970,AUDIO="stereo",SUBTITLES="subs"
v/480.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="stereo",SUBTITLES="subs"
v/720.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=16000000,CODECS="hvc1.2.4.L153.B0,ec-3",SUPPLEMENTAL-CODECS="dvh1.08.07/db1p",RESOLUTION=3840x2160,FRAME-RATE=59.940,VIDEO-RANGE=PQ,AUDIO="surround"
v/2160-hdr.m3u8

#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=200000,CODECS="avc1.640028",RESOLUTION=1920x1080,URI="v/1080-i.m3u8"
`

func filter(t testing.TB, l Limits) *Filter {
	t.Helper()
	f, err := NewFilter(l)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// left lists the URIs of what Append makes of a manifest.
func left(t *testing.T, l Limits, text string) []string {
	t.Helper()
	out, err := (&Rewrite{Filter: filter(t, l)}).Append(nil, []byte(text))
	if err != nil {
		return []string{err.Error()}
	}
	var uris []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			uris = append(uris, line)
		} else if _, uri, ok := strings.Cut(line, `URI="`); ok {
			uri, _, _ = strings.Cut(uri, `"`)
			uris = append(uris, uri)
		}
	}
	return uris
}

func TestHLSLimits(t *testing.T) {
	t.Parallel()
	const en, en51, subs, trick = "audio/en.m3u8", "audio/en51.m3u8", "subs/en.m3u8", "v/1080-i.m3u8"
	for _, test := range []struct {
		name string
		in   Limits
		want []string
	}{
		{"nothing", Limits{}, []string{en, en51, subs, "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", "v/2160-hdr.m3u8", trick}},
		{"height", Limits{Height: 720}, []string{en, subs, "v/480.m3u8", "v/720.m3u8"}},
		{"family", Limits{Codecs: []string{"h264"}}, []string{en, subs, "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"profile and level", Limits{Codecs: []string{"avc1.4d401f"}}, []string{en, subs, "v/480.m3u8"}},
		{"audio codec", Limits{Codecs: []string{"ec-3"}}, []string{en51, "v/2160-hdr.m3u8", trick}},
		{"frame rate", Limits{FrameRate: 30}, []string{en, subs, "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"bitrate", Limits{Bitrate: 2_500_000}, []string{en, subs, "v/480.m3u8", "v/720.m3u8", trick}},
		{"metered", Limits{Bitrate: 5_000_000, MeteredBitrate: 1_200_000}.Metered(), []string{en, subs, "v/480.m3u8", trick}},
		{"SDR", Limits{Ranges: SDR}, []string{en, subs, "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"PQ", Limits{Ranges: PQ}, []string{en51, "v/2160-hdr.m3u8"}},
		{"channels", Limits{Channels: 2}, []string{en, subs, "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"lowest first", Limits{Channels: 2, Order: LowestFirst}, []string{en, subs, "v/480.m3u8", "v/720.m3u8", "v/1080.m3u8", trick}},
		{"start", Limits{Channels: 2, Order: HighestFirst, Start: 3_000_000}, []string{en, subs, "v/720.m3u8", "v/1080.m3u8", "v/480.m3u8", trick}},
		{"start below all", Limits{Channels: 2, Start: 1}, []string{en, subs, "v/480.m3u8", "v/1080.m3u8", "v/720.m3u8", trick}},
		{"preferred codec", Limits{Prefer: []string{"hevc"}}, []string{en, en51, subs, "v/2160-hdr.m3u8", "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"HDR first", Limits{HDRFirst: true, Order: LowestFirst}, []string{en, en51, subs, "v/2160-hdr.m3u8", "v/480.m3u8", "v/720.m3u8", "v/1080.m3u8", trick}},
		{"surround first", Limits{SurroundFirst: true}, []string{en, en51, subs, "v/2160-hdr.m3u8", "v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", trick}},
		{"audio only", Limits{AudioOnly: true}, []string{en, "audio/en.m3u8", en51, "audio/en51.m3u8"}},
		{"audio only, stereo", Limits{AudioOnly: true, Channels: 2}, []string{en, "audio/en.m3u8"}},
		{"no such codec", Limits{Codecs: []string{"av1"}}, []string{ErrEmpty.Error()}},
		{"too low", Limits{Bitrate: 1000}, []string{ErrEmpty.Error()}},
	} {
		if got := left(t, test.in, ladder); !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

func TestOnlyVideoGone(t *testing.T) {
	t.Parallel()
	const text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS=\"hvc1.1.6.L93.B0,mp4a.40.2\",RESOLUTION=1280x720\nv.m3u8\n" +
		"#EXT-X-STREAM-INF:BANDWIDTH=90000,CODECS=\"mp4a.40.2\"\na.m3u8"
	if got := left(t, Limits{Codecs: []string{"h264", "aac"}}, text); !slices.Equal(got, []string{ErrEmpty.Error()}) {
		t.Errorf("a viewer of video got %q", got)
	}
	if got := left(t, Limits{AudioOnly: true}, text); !slices.Equal(got, []string{"a.m3u8"}) {
		t.Errorf("a listener got %q", got)
	}
	if got := left(t, Limits{Order: LowestFirst}, text); !slices.Equal(got, []string{"a.m3u8", "v.m3u8"}) {
		t.Errorf("the last line without an ending: got %q", got)
	}
	const portrait = "#EXTM3U\r\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=720x1280\r\nv.m3u8\r\n"
	if got := left(t, Limits{Height: 720}, portrait); !slices.Equal(got, []string{"v.m3u8"}) {
		t.Errorf("portrait: got %q", got)
	}
}

func TestSupplementalCodecs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{`BANDWIDTH=1,SUPPLEMENTAL-CODECS="dvh1.08.07/db4h",CODECS="hvc1.2.4.L93.B0"`, `BANDWIDTH=1,CODECS="hvc1.2.4.L93.B0"`},
		{`SUPPLEMENTAL-CODECS="dvh1.08.07/db4h",BANDWIDTH=1`, `BANDWIDTH=1`},
		{`BANDWIDTH=1,SUPPLEMENTAL-CODECS="dvh1.08.07/db4h"`, `BANDWIDTH=1`},
		{`BANDWIDTH=1,SUPPLEMENTAL-CODECS="hvc1.2.20000000.L153.B0/x"`, `BANDWIDTH=1,SUPPLEMENTAL-CODECS="hvc1.2.20000000.L153.B0/x"`},
	} {
		r := Rewrite{Filter: filter(t, Limits{Codecs: []string{"hevc", "aac"}})}
		out, err := r.Append(nil, []byte("#EXTM3U\n"+tagVariant+test.in+"\nv\n"))
		if want := "#EXTM3U\n" + tagVariant + test.want + "\nv\n"; err != nil || string(out) != want {
			t.Errorf("%s: got %q, %v", test.in, out, err)
		}
	}
}

const encrypted = `#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://k",KEYFORMAT="com.apple.streamingkeydelivery"
#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AA",KEYFORMAT="urn:uuid:EDEF8BA9-79D6-4ACE-A3C8-27DCD51D21ED"
#EXT-X-MAP:URI="init.mp4",BYTERANGE="800@0"
#EXTINF:4,
1.m4s
#EXT-X-KEY:METHOD=AES-128,URI="key"
#EXTINF:4,
2.m4s?x=1#f
#EXT-X-PART:DURATION=1,URI="3.1.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="3.2.m4s"
#EXT-X-RENDITION-REPORT:URI="../a/a.m3u8",LAST-MSN=3
`

func TestMediaPlaylist(t *testing.T) {
	t.Parallel()
	r := Rewrite{Filter: filter(t, Limits{DRM: []string{"widevine"}}), Child: Query("t", "1", "cdn.example")}
	out, err := r.Append(nil, []byte(encrypted))
	want := strings.NewReplacer(
		"#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n", "",
		"init.mp4", "init.mp4?t=1", "1.m4s\n", "1.m4s?t=1\n", `"key"`, `"key?t=1"`, "2.m4s?x=1#f", "2.m4s?x=1&t=1#f",
		"3.1.m4s", "3.1.m4s?t=1", "3.2.m4s", "3.2.m4s?t=1", "a.m3u8", "a.m3u8?t=1").Replace(encrypted)
	if err != nil || string(out) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	for _, none := range [][]string{{"playready"}, {"none"}} {
		r.Filter = filter(t, Limits{DRM: none})
		if out, err := r.Append([]byte("x"), []byte(encrypted)); !errors.Is(err, ErrEmpty) || string(out) != "x" {
			t.Errorf("%v: got %q, %v", none, out, err)
		}
	}
}

func TestChild(t *testing.T) {
	t.Parallel()
	query, path := Query("t", "a%2Fb", "cdn.example", "cdn.example:8443"), Path("/T", "cdn.example")
	for _, test := range []struct{ in, query, path string }{
		{"a/b.m4s", "a/b.m4s?t=a%2Fb", "a/b.m4s"},
		{"/a?x&y=1", "/a?x&y=1&t=a%2Fb", "/T/a?x&y=1"},
		{"/a?t=old&y=1&t=", "/a?y=1&t=a%2Fb", "/T/a?t=old&y=1&t="},
		{"/a?", "/a?t=a%2Fb", "/T/a?"},
		{"https://CDN.example/a#f", "https://CDN.example/a?t=a%2Fb#f", "https://CDN.example/T/a#f"},
		{"//cdn.example:8443/a", "//cdn.example:8443/a?t=a%2Fb", "//cdn.example:8443/a"},
		{"http://other.example/a", "http://other.example/a", "http://other.example/a"},
		{"http://cdn.example@other.example/a", "http://cdn.example@other.example/a", "http://cdn.example@other.example/a"},
		{"http://cdn.example.other/a", "http://cdn.example.other/a", "http://cdn.example.other/a"},
		{"skd://cdn.example/a", "skd://cdn.example/a", "skd://cdn.example/a"},
		{"data:,x", "data:,x", "data:,x"},
		{"/\\other.example/a", "/\\other.example/a", "/\\other.example/a"}, // browsers take \ for /, and skip the others
		{"/\t/other.example/a", "/\t/other.example/a", "/\t/other.example/a"},
		{" https://other.example/a", " https://other.example/a", " https://other.example/a"},
		{"/a b", "/a b?t=a%2Fb", "/T/a b"},
		{"/T/a", "/T/a?t=a%2Fb", "/T/a"},
		{"?x", "?x&t=a%2Fb", "?x"},
	} {
		if got := string(query(nil, []byte(test.in), Media)); got != test.query {
			t.Errorf("query of %s: got %s, want %s", test.in, got, test.query)
		}
		if got := string(path(nil, []byte(test.in), Media)); got != test.path {
			t.Errorf("path of %s: got %s, want %s", test.in, got, test.path)
		}
	}
	if got := string(Both(path, query)(nil, []byte("/a"), Media)); got != "/T/a?t=a%2Fb" {
		t.Errorf("both: got %s", got)
	}
}

func TestSteering(t *testing.T) {
	t.Parallel()
	r := Rewrite{Steering: &Steering{Server: "/steer?a=1&b=2", Pathway: "east", QueryFirst: true, Locations: []Location{{"east", "https://e.example/v/", "m.mpd?a&b"}, {"west", "https://w.example/v/", ""}}}}
	const variant = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n#EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"west\"\nw\n"
	out, err := r.Append(nil, []byte("#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"old\"\n"+variant))
	want := "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer?a=1&b=2\",PATHWAY-ID=\"east\"\n" + strings.Replace(variant, "BANDWIDTH=1\n", "BANDWIDTH=1,PATHWAY-ID=\"east\"\n", 1)
	if err != nil || string(out) != want {
		t.Errorf("HLS: got %v\n%s\nwant\n%s", err, out, want)
	}
	const steering = `<ContentSteering defaultServiceLocation="east" queryBeforeStart="true">/steer?a=1&amp;b=2</ContentSteering>`
	for _, test := range []struct{ in, want string }{
		{
			"<MPD>\n <Period></Period>\n</MPD>",
			"<MPD>\n <BaseURL serviceLocation=\"east\">https://e.example/v/</BaseURL>\n <BaseURL serviceLocation=\"west\">https://w.example/v/</BaseURL>\n " +
				"<BaseURL serviceLocation=\".\">https://e.example/v/</BaseURL>\n " + steering + "\n <Period></Period>\n</MPD>",
		},
		{
			"<MPD><BaseURL availabilityTimeOffset=\"1\"> a&amp;b/ </BaseURL><Period/></MPD>",
			`<MPD><BaseURL serviceLocation="east" availabilityTimeOffset="1">https://e.example/v/a&amp;b/</BaseURL>` +
				`<BaseURL serviceLocation="west" availabilityTimeOffset="1">https://w.example/v/a&amp;b/</BaseURL>` +
				`<BaseURL serviceLocation="." availabilityTimeOffset="1">https://e.example/v/a&amp;b/</BaseURL>` + steering + "\n<Period/></MPD>",
		},
		{"<MPD><BaseURL>/a/</BaseURL><Period/></MPD>", `<MPD><BaseURL serviceLocation="east">https://e.example/a/</BaseURL><BaseURL serviceLocation="west">https://w.example/a/</BaseURL><BaseURL serviceLocation=".">https://e.example/a/</BaseURL>` + steering + "\n<Period/></MPD>"},
		{"<MPD><BaseURL>https://x/</BaseURL><Period/></MPD>", `<MPD><BaseURL serviceLocation="east">https://x/</BaseURL>` + steering + "\n<Period/></MPD>"},
		{`<MPD><BaseURL serviceLocation="x">a/</BaseURL><ContentSteering>old</ContentSteering><Period/></MPD>`, `<MPD><BaseURL serviceLocation="x">a/</BaseURL>` + steering + "\n<Period/></MPD>"},
	} {
		if out, err = r.Append(nil, []byte(test.in)); err != nil || string(out) != test.want {
			t.Errorf("DASH: got %v\n%s\nwant\n%s", err, out, test.want)
		}
	}
	r.Steering.Locations[1].Manifest = "m.mpd?a&b"
	live := func(in, want string) {
		t.Helper()
		const bases = `<BaseURL serviceLocation="east">https://e.example/v/</BaseURL>` + "\n" + `<BaseURL serviceLocation="west">https://w.example/v/</BaseURL>` + "\n" + `<BaseURL serviceLocation=".">https://e.example/v/</BaseURL>` + "\n"
		if out, err = r.Append(nil, []byte(`<MPD type="dynamic">`+in+`<Period/></MPD>`)); err != nil || string(out) != `<MPD type="dynamic">`+bases+strings.Replace(want, "STEERING", steering, 1)+`<Period/></MPD>` {
			t.Errorf("live DASH %q: got %v\n%s\nwant\n%s", in, err, out, want)
		}
	}
	live("", `<Location serviceLocation="east">https://e.example/v/m.mpd?a&amp;b</Location>`+"\n"+`<Location serviceLocation="west">https://w.example/v/m.mpd?a&amp;b</Location>`+"\nSTEERING\n")
	live("<Location> ../x?y&amp;z </Location><PatchLocation ttl=\"9\">p</PatchLocation>", "STEERING\n"+`<Location serviceLocation="east">https://e.example/v/../x?y&amp;z</Location><Location serviceLocation="west">https://w.example/v/../x?y&amp;z</Location>`+
		`<PatchLocation serviceLocation="east" ttl="9">https://e.example/v/p</PatchLocation><PatchLocation serviceLocation="west" ttl="9">https://w.example/v/p</PatchLocation>`)
	const own = `<Location>https://o.example/m</Location><Location serviceLocation="o">m</Location>`
	live(own, "STEERING\n"+own)
	r.Child, r.Steering.Locations[0].Manifest = Query("t", "1"), "" // media only
	live("", `<Location serviceLocation="west">https://w.example/v/m.mpd?a&amp;b&amp;t=1</Location>`+"\nSTEERING\n")
	live("<Location>x</Location>", "STEERING\n"+`<Location serviceLocation="west">https://w.example/v/x?t=1</Location>`)
	out, err = r.Append(nil, []byte("<MPD><BaseURL>a.mp4</BaseURL><Period/></MPD>"))
	if err != nil || !strings.HasPrefix(string(out), `<MPD><BaseURL serviceLocation="east">https://e.example/v/a.mp4?t=1</BaseURL><BaseURL serviceLocation="west">https://w.example/v/a.mp4?t=1</BaseURL><BaseURL serviceLocation=".">https://e.example/v/a.mp4?t=1</BaseURL><C`) {
		t.Errorf("with a token: got %v\n%s", err, out)
	}
}

// TestCopies: a playlist lists its variants and renditions once for each place, with groups of their own; the tag says where
// to begin.
func TestCopies(t *testing.T) {
	t.Parallel()
	r := Rewrite{Child: Query("t", "1"), Steering: &Steering{
		Server: "s", Pathway: "east", First: "west", Locations: []Location{{"east", "https://e.example/v/", ""}, {"west", "https://w.example:8443/v/", ""}},
	}}
	in := `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="a.m3u8"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="y",INSTREAM-ID="CC1"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a",CLOSED-CAPTIONS="c"
v.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="a"
/w.m3u8`
	want := `#EXTM3U
#EXT-X-CONTENT-STEERING:SERVER-URI="s",PATHWAY-ID="west"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="https://e.example/v/a.m3u8?t=1",PATHWAY-ID="east"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="y",INSTREAM-ID="CC1"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a",CLOSED-CAPTIONS="c",PATHWAY-ID="east"
https://e.example/v/v.m3u8?t=1
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="https://e.example/v/i.m3u8?t=1",PATHWAY-ID="east"
#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="a",PATHWAY-ID="east"
https://e.example/w.m3u8?t=1
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a@west",NAME="x",URI="https://w.example:8443/v/a.m3u8?t=1",PATHWAY-ID="west"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a@west",CLOSED-CAPTIONS="c",PATHWAY-ID="west"
https://w.example:8443/v/v.m3u8?t=1
#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="a@west",PATHWAY-ID="west"
https://w.example:8443/w.m3u8?t=1
`
	if out, err := r.Append(nil, []byte(in)); err != nil || string(out) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	highest := Rewrite{Steering: r.Steering, Filter: filter(t, Limits{Order: HighestFirst})}
	if out, err := highest.Append(nil, []byte(in)); err != nil || strings.Index(string(out), ":8443/v/v.m3u8") < strings.Index(string(out), ":8443/w.m3u8") {
		t.Errorf("the highest first: got %v\n%s", err, out)
	}
	for _, not := range []string{
		strings.Replace(in, "/w.m3u8", "https://other.example/w.m3u8", 1),
		strings.Replace(in, "a.m3u8", "//other.example/a.m3u8", 1),
		strings.Replace(in, "v.m3u8", "{$cdn}/v.m3u8", 1),
		strings.Replace(in, "BANDWIDTH=2", `BANDWIDTH=2,PATHWAY-ID="x"`, 1),
	} {
		if out, err := r.Append(nil, []byte(not)); err != nil || strings.Contains(string(out), "w.example:8443") || !strings.Contains(string(out), `"s",PATHWAY-ID="east"`) {
			t.Errorf("want no copies of\n%s\ngot %v\n%s", not, err, out)
		}
	}
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		has, wants string
		want       bool
	}{
		{"h264", "avc3.f4003d", true},
		{"avc1", "avc1.42e01e", true},
		{"avc1.640028", "avc1.42E01E", true},
		{"avc1.640028", "avc1.640029", false},
		{"avc1.640028", "avc1.6e0028", false},
		{"avc1.640028", "hvc1.1.6.L93.B0", false},
		{"hvc1.1.6.L120.B0", "hev1.1.6.L93.90", true},
		{"hvc1.1.6.L120.B0", "hvc1.2.4.L93.B0", false},
		{"hvc1.2.4.L120.B0", "hvc1.2.4.H120.B0", false},
		{"hvc1.2.4.H153.B0", "hvc1.A2.4.L153.B0", true},
		{"av01.0.08M.10", "av01.0.05M.08", true},
		{"av01.0.08M.08", "av01.0.08M.10", false},
		{"av01.0.08M.08", "av01.0.08H.08", false},
		{"av01.0.08M.08", "av01.1.08M.08", false},
		{"vp09.00.51.08", "vp09.02.10.10.01", false},
		{"vp09.02.51.10", "vp09.02.10.10.01", true},
		{"mp4a.40", "mp4a.40.2", true},
		{"mp4a.40.2", "mp4a.40.29", false},
		{"aac", "mp4a.40.34", false},
		{"mp3", "mp4a.40.34", true},
		{"dolby-vision", "dvh1.05.06", true},
		{"h264", "ec-3", true}, // says nothing of audio
		{"aac", "ec-3", false},
		{"aac", "wvtt", true},
		{"h264", "xyz1.2", false},
		{"xyz1", "xyz1.2", true},
		{"xyz1", "xyz12", false},
	} {
		if got := filter(t, Limits{Codecs: []string{test.has}}).allowsCodec([]byte(test.wants)); got != test.want {
			t.Errorf("who has %s plays %s: got %v", test.has, test.wants, got)
		}
	}
}

func TestBadLimits(t *testing.T) {
	t.Parallel()
	for _, l := range []Limits{{Height: -1}, {Codecs: []string{""}}, {Codecs: []string{"a b c"}}, {DRM: []string{"other"}}, {DRM: []string{"none", "widevine"}}, {Prefer: []string{"?"}}, {Ranges: 8}, {Order: 9}} {
		if _, err := NewFilter(l); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
	for _, class := range Classes() {
		l, ok := Profile(class)
		if !ok {
			t.Errorf("%s has no profile", class)
		}
		filter(t, l)
	}
	a, b := filter(t, Limits{Height: 720}), filter(t, Limits{Height: 721})
	if a.Fingerprint() == b.Fingerprint() || a.Fingerprint() != filter(t, Limits{}.With(Limits{Height: 720})).Fingerprint() {
		t.Error("fingerprints do not follow the limits")
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	for class, want := range map[string][]string{
		"tv":    {"v/2160-hdr.m3u8", "v/1080.m3u8", "v/720.m3u8", "v/480.m3u8"},
		"car":   {"v/480.m3u8", "v/720.m3u8"},
		"phone": {"v/480.m3u8", "v/1080.m3u8", "v/720.m3u8"},
		"web":   {"v/1080.m3u8", "v/480.m3u8", "v/720.m3u8", "v/2160-hdr.m3u8"},
	} {
		l, _ := Profile(class)
		got := slices.DeleteFunc(left(t, l, ladder), func(uri string) bool { return !strings.HasPrefix(uri, "v/") || uri == "v/1080-i.m3u8" })
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", class, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "<html></html>", "<MPD>", "<MPD></Period>", "</MPD>", "<MPD/><MPD/>", "<!DOCTYPE MPD []><MPD/>", "<MPD a=\"<\"", "<MPD a='>'>", "EXTM3U", "<MPD>" + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</MPD>"} {
		if out, err := (&Rewrite{}).Append(nil, []byte(text)); !errors.Is(err, ErrFormat) || len(out) > 0 {
			t.Errorf("%.40q: got %q, %v", text, out, err)
		}
	}
}

// foreign are playlists and MPDs of this file and of the origin.
func foreign(t testing.TB) map[string][]byte {
	t.Helper()
	texts := map[string][]byte{"ladder": []byte(ladder), "encrypted": []byte(encrypted), "mpd": []byte(mpd), "unused": []byte(unused)}
	files, err := filepath.Glob("../../origin/testdata/*.m*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = text
	}
	return texts
}

const unused = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"nobody's\",NAME=\"x\"\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\"\n" +
	"#EXT-X-STREAM-INF:BANDWIDTH=1\nv"

func TestIdentity(t *testing.T) {
	t.Parallel()
	for name, text := range foreign(t) {
		for _, r := range []Rewrite{{}, {Filter: filter(t, Limits{})}, {Filter: filter(t, Limits{Height: 1 << 20, Bitrate: 1 << 40, FrameRate: 1000, Channels: 99, Ranges: SDR | HLG | PQ})}, {Child: same}} {
			out, err := r.Append(nil, text)
			if err != nil || !bytes.Equal(out, text) {
				t.Errorf("%s: a rewrite that allows everything gives %v\n%s", name, err, out)
			}
		}
	}
}

func same(dst, url []byte, _ Resource) []byte { return append(dst, url...) }

func FuzzAppend(f *testing.F) {
	for _, text := range foreign(f) {
		f.Add(text)
	}
	f.Add([]byte("#EXTM3U\n#EXT-X-STREAM-INF:SUPPLEMENTAL-CODECS=\"x\",SUPPLEMENTAL-CODECS=\"y\"\nv"))
	f.Add([]byte("<MPD><Period><AdaptationSet><Representation/></AdaptationSet></Period></MPD>"))
	f.Add([]byte(related))
	all, child := filter(f, Limits{}), Both(Path("/T"), Query("t", "$1"))
	var some []*Filter
	for _, l := range []Limits{{Codecs: []string{"h264", "aac"}, Height: 720, Channels: 2}, {AudioOnly: true}, {DRM: []string{"widevine"}, Order: LowestFirst, Start: 1e6}, {Prefer: []string{"hevc"}, HDRFirst: true, SurroundFirst: true, Order: HighestFirst}} {
		some = append(some, filter(f, l))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := (&Rewrite{Filter: all}).Append(nil, text)
		if err == nil && !bytes.Equal(out, text) {
			t.Fatalf("all is allowed and %q becomes %q", text, out)
		}
		for _, filter := range some {
			once, err := (&Rewrite{Filter: filter, Child: child, Steering: &Steering{Server: "s", Pathway: "p", Locations: []Location{{"p", "https://p/", "m"}, {"q", "https://q/", "m"}}}}).Append(nil, text)
			if err != nil {
				continue
			}
			if _, err := (&Rewrite{Filter: all}).Append(nil, once); err != nil {
				t.Fatalf("%q becomes %q, which cannot be read", text, once)
			}
		}
	})
}

// thirty is a playlist of 30 variants as encoders for many devices make it.
func thirty() []byte {
	b := []byte("#EXTM3U\n#EXT-X-VERSION:10\n#EXT-X-INDEPENDENT-SEGMENTS\n")
	for _, group := range []string{"aac", "ec3", "opus"} {
		for _, language := range []string{"en", "de", "fr", "es"} {
			b = fmt.Appendf(b, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=%q,NAME=%q,LANGUAGE=%q,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/%s/%s/index.m3u8\"\n", group, language, language, group, language)
		}
	}
	for i := range 30 {
		codec := [...]string{"avc1.640028,mp4a.40.2", "hvc1.2.4.L123.B0,ec-3", "av01.0.08M.10,opus"}[i%3]
		group := [...]string{"aac", "ec3", "opus"}[i%3]
		b = fmt.Appendf(b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q,RESOLUTION=%dx%d,FRAME-RATE=29.970,VIDEO-RANGE=SDR,AUDIO=%q,CLOSED-CAPTIONS=NONE\nvideo/%d/index.m3u8\n",
			400_000*(i+1), 300_000*(i+1), codec, 128*(i+1), 72*(i+1), group, i)
	}
	return b
}

// BenchmarkFilter must stay under 100 µs for the HLS playlist of 30 renditions.
func BenchmarkFilter(b *testing.B) {
	car, _ := Profile("car")
	tv, _ := Profile("tv")
	for _, bench := range []struct {
		name string
		r    Rewrite
		text []byte
	}{
		{"hls/car", Rewrite{Filter: filter(b, car)}, thirty()},
		{"hls/tv", Rewrite{Filter: filter(b, tv)}, thirty()},
		{"hls/token", Rewrite{Filter: filter(b, tv), Child: Query("CAT", strings.Repeat("x", 300))}, thirty()},
		{"dash/car", Rewrite{Filter: filter(b, car)}, []byte(mpd)},
		{"dash/token", Rewrite{Filter: filter(b, tv), Child: Query("CAT", strings.Repeat("x", 300))}, []byte(mpd)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.text)))
			var out []byte
			for b.Loop() {
				var err error
				if out, err = bench.r.Append(out[:0], bench.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestVariables: a URL that begins with a variable is of the host that the variable names, and no other gets what viewers carry.
func TestVariables(t *testing.T) {
	t.Parallel()
	r := &Rewrite{Child: Query("t", "secret", "a.example")}
	for _, tt := range []struct{ define, uri, want string }{
		{`NAME="x",VALUE="https://ads.example/y"`, "{$x}/1.ts", "{$x}/1.ts"},
		{`VALUE="//ads.example",NAME="x"`, "{$x}/1.ts?b=1", "{$x}/1.ts?b=1"},
		{`NAME="x",VALUE="https://a.example"`, "{$x}/1.ts", "{$x}/1.ts?t=secret"},
		{`NAME="x",VALUE="low"`, "{$x}/1.ts", "{$x}/1.ts?t=secret"},
		{`NAME="x",VALUE="low"`, "v/{$x}.ts", "v/{$x}.ts?t=secret"},
		{`NAME="x",VALUE="low"`, "1.ts", "1.ts?t=secret"},
		{`IMPORT="x"`, "{$x}/1.ts", "{$x}/1.ts?t=secret"},
	} {
		for _, around := range [][2]string{{"#EXTINF:2,\n", "\n"}, {`#EXT-X-MAP:URI="`, "\"\n"}, {"#EXT-X-STREAM-INF:BANDWIDTH=1\n", "\n"}} {
			head := "#EXTM3U\n#EXT-X-DEFINE:" + tt.define + "\n" + around[0]
			got, err := r.AppendHLS(nil, []byte(head+tt.uri+around[1]))
			if want := head + tt.want + around[1]; err != nil || string(got) != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
	}
}

// TestManyLines: a playlist costs memory for what is in it, not for how many lines it is spread over, and comes back whole.
func TestManyLines(t *testing.T) {
	t.Parallel()
	const much = 100_000
	filler := strings.Repeat("\n#x\r\n# EXT\n#EXT-X-FUTURE:URI=\"a\"\n", much)
	key := `#EXT-X-SESSION-DATA:DATA-ID="x",URI="d.json"` + "\n"
	text := "#EXTM3U\n" + filler + "#EXT-X-STREAM-INF:BANDWIDTH=1\n" + filler[:much] + "\nv.m3u8\n" + key + filler
	h := &hls{Rewrite: &Rewrite{}, text: []byte(text)}
	if !h.parse() || len(h.lines) > 10 {
		t.Errorf("%d lines are kept", len(h.lines))
	}
	r := &Rewrite{Child: Query("t", "1"), Filter: filter(t, Limits{Order: LowestFirst}), Steering: &Steering{Server: "s"}}
	out, err := r.AppendHLS(nil, []byte(text))
	want := strings.NewReplacer("#EXTM3U\n", "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"s\",PATHWAY-ID=\".\"\n", "v.m3u8", "v.m3u8?t=1", "d.json", "d.json?t=1").Replace(text)
	if err != nil || string(out) != want {
		t.Errorf("got %v and %d bytes, want %d", err, len(out), len(want))
	}
	many := "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n" + strings.Repeat("#EXT-X-MEDIA:\n", much)
	if h = (&hls{Rewrite: &Rewrite{}, text: []byte(many)}); h.parse() || len(h.lines) > 2*maxRenditions {
		t.Errorf("of too many renditions %d lines are kept", len(h.lines))
	}
}
