package manifest

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const mpd = `<?xml version="1.0" encoding="UTF-8"?>
<!-- <Period> in a comment -->
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static">
  <ProgramInformation><Title><![CDATA[a < b]]></Title></ProgramInformation>
  <Location>https://cdn.example/v/manifest.mpd?a=1&amp;b=2</Location>
  <Period id="1">
    <BaseURL>dash/</BaseURL>
    <AdaptationSet id="1" contentType="video" mimeType="video/mp4" frameRate="30000/1001">
      <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc"/>
      <ContentProtection schemeIdUri="urn:uuid:EDEF8BA9-79D6-4ACE-A3C8-27DCD51D21ED"><cenc:pssh>AAAA</cenc:pssh></ContentProtection>
      <ContentProtection schemeIdUri="urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95"/>
      <SegmentTemplate media="$RepresentationID$/$Number%05d$.m4s" initialization='$RepresentationID$/init.mp4'/>
      <Representation id="v1" bandwidth="5000000" codecs="avc1.640028" width="1920" height="1080"/>
      <Representation id="v2" bandwidth="2500000" codecs="avc1.64001f" width="1280" height="720"/>
      <Representation id="v3" bandwidth="1200000" codecs="avc1.4d401f" width="854" height="480"/>
    </AdaptationSet>
    <AdaptationSet id="2" mimeType="video/mp4">
      <SupplementalProperty schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="16"/>
      <Representation id="v4" bandwidth="16000000" codecs="hvc1.2.4.L153.B0" width="3840" height="2160" frameRate="60"><BaseURL>whole.mp4</BaseURL></Representation>
    </AdaptationSet>
    <AdaptationSet id="3" contentType="audio" lang="en">
      <Representation id="a1" mimeType="audio/mp4" bandwidth="128000" codecs="mp4a.40.2">
        <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="4" contentType="audio" lang="en">
      <AudioChannelConfiguration schemeIdUri="tag:dolby.com,2014:dash:audio_channel_configuration:2011" value="F801"/>
      <Representation id="a2" mimeType="audio/mp4" bandwidth="384000" codecs="ec-3"></Representation>
    </AdaptationSet>
    <AdaptationSet id="5" mimeType="image/jpeg"><Representation id="t1" bandwidth="10000" width="3200" height="1800"/></AdaptationSet>
  </Period>
</MPD>
`

var identifier = regexp.MustCompile(`<Representation id="(\w+)"`)

func representations(t *testing.T, l Limits, text string) []string {
	t.Helper()
	out, err := (&Rewrite{Filter: filter(t, l)}).Append(nil, []byte(text))
	if err != nil {
		return []string{err.Error()}
	}
	if _, err := (&Rewrite{}).Append(nil, out); err != nil {
		t.Errorf("%+v: what comes out cannot be read:\n%s", l, out)
	}
	var ids []string
	for _, match := range identifier.FindAllStringSubmatch(string(out), -1) {
		ids = append(ids, match[1])
	}
	return ids
}

func TestDASHLimits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		in   Limits
		want string
	}{
		{"nothing", Limits{}, "v1 v2 v3 v4 a1 a2 t1"},
		{"height", Limits{Height: 720}, "v2 v3 a1 a2 t1"},
		{"codecs", Limits{Codecs: []string{"h264", "aac"}}, "v1 v2 v3 a1 t1"},
		{"frame rate", Limits{FrameRate: 30}, "v1 v2 v3 a1 a2 t1"},
		{"bitrate", Limits{Bitrate: 2_500_000}, "v2 v3 a1 a2 t1"},
		{"SDR", Limits{Ranges: SDR}, "v1 v2 v3 a1 a2 t1"},
		{"PQ", Limits{Ranges: PQ}, "v4 a1 a2 t1"},
		{"stereo", Limits{Channels: 2}, "v1 v2 v3 v4 a1 t1"},
		{"5.1", Limits{Channels: 6}, "v1 v2 v3 v4 a1 a2 t1"},
		{"lowest first", Limits{Order: LowestFirst}, "v3 v2 v1 v4 a1 a2 t1"},
		{"preferred codec", Limits{Prefer: []string{"hevc"}}, "v4 v1 v2 v3 a1 a2 t1"},
		{"surround first", Limits{SurroundFirst: true, HDRFirst: true}, "v4 v1 v2 v3 a2 a1 t1"},
		{"both levels", Limits{Prefer: []string{"hevc"}, Order: LowestFirst, Height: 720 * 3}, "v4 v3 v2 v1 a1 a2 t1"},
		{"audio only", Limits{AudioOnly: true}, "a1 a2"},
		{"widevine", Limits{DRM: []string{"widevine"}}, "v1 v2 v3 v4 a1 a2 t1"},
		{"no DRM", Limits{DRM: []string{"none"}}, "v4 a1 a2 t1"},
		{"no video", Limits{Codecs: []string{"av1"}}, ErrEmpty.Error()},
		{"no audio", Limits{Codecs: []string{"opus"}}, ErrEmpty.Error()},
	} {
		if got := strings.Join(representations(t, test.in, mpd), " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// TestDASHCut holds what goes to the bytes of the element and the white space before it.
func TestDASHCut(t *testing.T) {
	t.Parallel()
	out, err := (&Rewrite{Filter: filter(t, Limits{DRM: []string{"playready"}, Height: 1080, Channels: 2})}).Append(nil, []byte(mpd))
	want := mpd
	for _, gone := range []string{"\n      <ContentProtection schemeIdUri=\"urn:uuid:EDEF", "\n    <AdaptationSet id=\"2\"", "\n    <AdaptationSet id=\"4\""} {
		before, rest, _ := strings.Cut(want, gone)
		end := "</AdaptationSet>"
		if strings.Contains(gone, "Content") {
			end = "</ContentProtection>"
		}
		_, after, _ := strings.Cut(rest, end)
		want = before + after
	}
	if err != nil || string(out) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
}

func TestDASHPeriods(t *testing.T) {
	t.Parallel()
	const one = `<MPD><Period><AdaptationSet mimeType="video/mp4"><Representation id="a" height="100"/></AdaptationSet></Period>`
	const both = one + `<Period><AdaptationSet mimeType="video/mp4"><Representation id="b" height="900"/></AdaptationSet></Period></MPD>`
	if got := representations(t, Limits{Height: 500}, both); !slices.Equal(got, []string{ErrEmpty.Error()}) {
		t.Errorf("a period without video: got %q", got)
	}
	if got := representations(t, Limits{Height: 900}, both); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
	// A representation that says another number of channels than its set is judged by its own.
	const channels = `<MPD><Period><AdaptationSet mimeType="audio/mp4"><AudioChannelConfiguration schemeIdUri="urn:mpeg:mpegB:cicp:ChannelConfiguration" value="6"/>` +
		`<Representation id="a"/><Representation id="b"><AudioChannelConfiguration schemeIdUri="urn:mpeg:mpegB:cicp:ChannelConfiguration" value="2"/></Representation></AdaptationSet></Period></MPD>`
	if got := representations(t, Limits{Channels: 2}, channels); !slices.Equal(got, []string{"b"}) {
		t.Errorf("got %q", got)
	}
}

func TestDASHURLs(t *testing.T) {
	t.Parallel()
	r := Rewrite{Child: Query("t", "$1", "cdn.example")}
	out, err := r.Append(nil, []byte(mpd))
	want := strings.NewReplacer(
		"$Number%05d$.m4s", "$Number%05d$.m4s?t=$$1", "init.mp4", "init.mp4?t=$$1", "whole.mp4", "whole.mp4?t=$1",
		"a=1&amp;b=2", "a=1&amp;b=2&amp;t=$1").Replace(mpd)
	if err != nil || string(out) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	out, err = (&Rewrite{Child: Path("/T", "cdn.example")}).Append(nil, []byte(`<MPD><BaseURL> /v/ </BaseURL><Period><SegmentList><SegmentURL media="/a"/></SegmentList></Period></MPD>`))
	if want := `<MPD><BaseURL> /T/v/ </BaseURL><Period><SegmentList><SegmentURL media="/T/a"/></SegmentList></Period></MPD>`; err != nil || string(out) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
}

func TestEmptyLeavesBuffer(t *testing.T) {
	t.Parallel()
	r := Rewrite{Filter: filter(t, Limits{Height: 1})}
	for _, text := range []string{mpd, ladder} {
		if out, err := r.Append([]byte("kept"), []byte(text)); !errors.Is(err, ErrEmpty) || string(out) != "kept" {
			t.Errorf("got %q, %v", out, err)
		}
	}
}

// TestSubtitlesAreNoSound: subtitles and data in MP4 are neither video nor audio: with them alone nothing is left.
func TestSubtitlesAreNoSound(t *testing.T) {
	t.Parallel()
	const head = `<MPD><Period><AdaptationSet contentType="video"><Representation id="v" mimeType="video/mp4" codecs="avc1.4d401f" height="480"/></AdaptationSet>`
	const sound = `<AdaptationSet><Representation id="a" mimeType="audio/mp4" codecs="ec-3"/></AdaptationSet>`
	for _, tt := range []struct {
		name, sets string
		limits     Limits
		want       []string
	}{
		{"subtitles by type", `<AdaptationSet mimeType="application/mp4"><Representation id="s" codecs="stpp.ttml.im1t"/></AdaptationSet>`, Limits{Codecs: []string{"h264", "aac"}}, []string{ErrEmpty.Error()}},
		{"subtitles by codec", `<AdaptationSet><Representation id="s" codecs="wvtt"/></AdaptationSet>`, Limits{Codecs: []string{"h264", "aac"}}, []string{ErrEmpty.Error()}},
		{"subtitles beside sound", `<AdaptationSet><Representation id="s" codecs="wvtt"/></AdaptationSet>`, Limits{Codecs: []string{"h264", "eac3"}}, []string{"v", "a", "s"}},
		{"another sound", `<AdaptationSet contentType="audio"><Representation id="b"/></AdaptationSet>`, Limits{Codecs: []string{"h264", "aac"}}, []string{"v", "b"}},
		{"who knows", `<AdaptationSet><Representation id="b"/></AdaptationSet>`, Limits{Codecs: []string{"h264", "aac"}}, []string{"v", "b"}},
	} {
		if got := representations(t, tt.limits, head+sound+tt.sets+"</Period></MPD>"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	data := head + `<AdaptationSet mimeType="application/mp4"><Representation id="m" codecs="mett"/></AdaptationSet></Period></MPD>`
	if got := representations(t, Limits{AudioOnly: true}, data); !slices.Equal(got, []string{ErrEmpty.Error()}) {
		t.Errorf("data for who wants sound: got %q", got)
	}
	if got := representations(t, Limits{Codecs: []string{"h264"}, Height: 720}, data); len(got) == 0 || got[0] != "v" {
		t.Errorf("data that goes with its codec: got %q, want the video", got)
	}
}
