package hls

import (
	"strings"
	"testing"
)

func TestDurationsSumUpExactly(t *testing.T) {
	t.Parallel()
	m := Media{InitURI: "init.mp4"}
	const frame = 1001.0 / 30000
	for k := range 1000 {
		m.Segments = append(m.Segments, Segment{URI: "s", Start: float64(60*k) * frame, End: float64(60*(k+1)) * frame})
	}
	text := string(m.Append(nil))
	total := int64(0)
	for line := range strings.Lines(text) {
		if d, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
			n := int64(0)
			for _, c := range d {
				if c >= '0' && c <= '9' {
					n = n*10 + int64(c-'0')
				}
			}
			total += n
		}
	}
	if total != 2_002_000_000 {
		t.Errorf("got %d microseconds in all, want 2002000000", total)
	}
	if !strings.Contains(text, "#EXT-X-TARGETDURATION:2\n") {
		t.Errorf("got target duration in %s, want 2", text[:100])
	}
}

func TestQuotedStringsStayWhole(t *testing.T) {
	t.Parallel()
	m := Multivariant{Audio: []Audio{{Group: "a", Name: "say \"hi\"\r\n#EXT-X-ENDLIST", URI: "u"}}}
	want := "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"say hi#EXT-X-ENDLIST\",AUTOSELECT=YES,URI=\"u\"\n"
	if got := string(m.Append(nil)); !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end in %q", got, want)
	}
}
