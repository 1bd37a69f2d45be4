package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const related = `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static"><Period id="1" duration="PT4S">
<AdaptationSet id="1" contentType="video" mimeType="video/mp4">
<SupplementalProperty schemeIdUri="urn:mpeg:dash:adaptation-set-switching:2016" value="2,3"/>
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="base" bandwidth="1000000" codecs="avc1.4d401f" width="1280" height="720"/>
<Representation id="better" bandwidth="3000000" dependencyId="base" codecs="avc1.64001f" width="1280" height="720"/>
<Representation id="best" bandwidth="9000000" dependencyId="base  better" codecs="avc1.640033" width="1280" height="720"/>
</AdaptationSet>
<AdaptationSet id="2" contentType="video" mimeType="video/mp4">
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<SupplementalProperty schemeIdUri="urn:mpeg:dash:adaptation-set-switching:2016" value="1, 3"></SupplementalProperty>
<Representation id="uhd" bandwidth="9000000" codecs="avc1.640033" width="3840" height="2160"/>
</AdaptationSet>
<AdaptationSet id="3" contentType="video" mimeType="video/mp4">
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="small" bandwidth="300000" codecs="avc1.4d401f" width="640" height="360"/>
</AdaptationSet>
<AdaptationSet id="4" contentType="video" mimeType="video/mp4">
<EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode" value="2"/>
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="trick" bandwidth="100000" codecs="avc1.4d401f" width="640" height="360"/>
</AdaptationSet>
<AdaptationSet id="5" contentType="application" mimeType="application/mp4">
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="facts" bandwidth="1000" codecs="mett" associationId="uhd small best" associationType="cdsc cdtg cdsc"/>
<Representation id="depth" bandwidth="1000" codecs="mett" associationId="uhd" associationType="cdsc"/>
</AdaptationSet>
<AdaptationSet id="6" contentType="audio" mimeType="audio/mp4" lang="en">
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="stereo" bandwidth="128000" codecs="mp4a.40.2" audioSamplingRate="48000"/>
</AdaptationSet>
<AdaptationSet id="7" contentType="audio" mimeType="audio/mp4" lang="en">
<ContentComponent id="71" contentType="audio"/>
<SegmentTemplate media="$RepresentationID$-$Number$.m4s" initialization="$RepresentationID$.mp4" duration="2"/>
<Representation id="surround" bandwidth="384000" codecs="ec-3" audioSamplingRate="48000"/>
</AdaptationSet>
<Subset contains="2 3 6"/>
<Subset contains="2"/>
<Preselection id="p1" preselectionComponents="6" lang="en"><SupplementalProperty schemeIdUri="urn:x" value="1"/></Preselection>
<Preselection id="p2" preselectionComponents="71 6" lang="en"><Label>both</Label></Preselection>
</Period></MPD>
`

// TestDASHReferences: nothing that stays names what went.
func TestDASHReferences(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   Limits
		want string
		here []string
		gone []string
	}{
		{"all", Limits{}, "base better best uhd small trick facts depth stereo surround", []string{`value="2,3"`, `value="1, 3"`, `id="p1"`, `id="p2"`, `contains="2"`, `contains="2 3 6"`}, nil},
		{
			"height",
			Limits{Height: 720},
			"base better best small facts stereo surround",
			[]string{`value="3"`, `associationId="small best" associationType="cdtg cdsc"`, `contains="3 6"`, `id="p2"`},
			[]string{`contains="2`, `id="4"`, `"2,3"`},
		},
		{
			"a dependency",
			Limits{Bitrate: 2_000_000},
			"base small facts stereo surround",
			[]string{`associationId="small" associationType="cdtg"`, `</Preselection>`},
			[]string{"best", "better", `contains="2`},
		},
		{
			"the base",
			Limits{Height: 360},
			"small facts stereo surround",
			[]string{`contains="3 6"`},
			[]string{"adaptation-set-switching", "dependencyId"},
		},
		{"a component", Limits{Codecs: []string{"h264", "aac", "mett"}}, "base better best uhd small trick facts depth stereo", []string{`id="p1"`, `value="1"/></Preselection>`}, []string{"p2", "both", "71"}},
	} {
		out, err := (&Rewrite{Filter: filter(t, tt.in)}).Append(nil, []byte(related))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(representations(t, tt.in, related), " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		for _, text := range tt.here {
			if !strings.Contains(string(out), text) {
				t.Errorf("%s: %s is not there:\n%s", tt.name, text, out)
			}
		}
		for _, text := range tt.gone {
			if strings.Contains(string(out), text) {
				t.Errorf("%s: %s is left:\n%s", tt.name, text, out)
			}
		}
		dangling(t, tt.name, string(out))
	}
}

var (
	named    = regexp.MustCompile(`(?:dependencyId|associationId|contains|preselectionComponents|adaptation-set-switching:2016" value|trickmode" value)="([^"]*)"`)
	havingID = regexp.MustCompile(`<(?:Representation|AdaptationSet|ContentComponent) id="([^"]*)"`)
)

// dangling looks for names of what is not there.
func dangling(t *testing.T, what, text string) {
	t.Helper()
	var ids []string
	for _, match := range havingID.FindAllStringSubmatch(text, -1) {
		ids = append(ids, match[1])
	}
	for _, match := range named.FindAllStringSubmatch(text, -1) {
		for id := range strings.FieldsFuncSeq(match[1], func(r rune) bool { return r == ' ' || r == ',' }) {
			if !slices.Contains(ids, id) {
				t.Errorf("%s: %s names what is not there", what, match[0])
			}
		}
	}
}

// TestManyRepresentations: a chain of needs is followed to its end, and one that no title has is not followed at all.
func TestManyRepresentations(t *testing.T) {
	t.Parallel()
	f, err := NewFilter(Limits{Height: 2160})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		chain, periods int
		want           error
	}{{maxRenditions - 1, 1, nil}, {maxRenditions - 1, 2, nil}, {maxRenditions, 1, ErrFormat}} {
		var b strings.Builder
		b.WriteString("<MPD>")
		for range tt.periods {
			b.WriteString(`<Period><AdaptationSet contentType="video">`)
			for i := range tt.chain - 1 {
				fmt.Fprintf(&b, `<Representation id="%d" dependencyId="%d"/>`, i, i+1)
			}
			fmt.Fprintf(&b, `<Representation id="%d" height="4320"/><Representation id="ok"/></AdaptationSet></Period>`, tt.chain-1)
		}
		b.WriteString("</MPD>")
		out, err := (&Rewrite{Filter: f}).AppendDASH(nil, []byte(b.String()))
		if !errors.Is(err, tt.want) || err == nil && strings.Count(string(out), "<Representation ") != tt.periods {
			t.Errorf("a chain of %d in %d periods: got %v and %d representations", tt.chain, tt.periods, err, strings.Count(string(out), "<Representation "))
		}
	}
}
