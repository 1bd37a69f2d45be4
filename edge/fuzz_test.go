package edge

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzVaryValue: a normal form is its own, and values that differ by more than
// white space beside commas stay apart.
func FuzzVaryValue(f *testing.F) {
	for _, s := range []string{"", " a ,\tb", `"a, \" b" , c`, "br;q=0.5, gzip ; q=0", "EN, de;q=0.1", `"open `, `\`, ",,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"x", "accept-language", "accept-encoding"} {
			field := http.CanonicalHeaderKey(name)
			once := varyValue(name, http.Header{field: {s}})
			if twice := varyValue(name, http.Header{field: {once}}); twice != once {
				t.Errorf("%s: %q is %q, which is %q", name, s, once, twice)
			}
			if strings.ContainsAny(once, "\n") && !strings.ContainsAny(s, "\n") {
				t.Errorf("%s: %q has a new line in %q", name, s, once)
			}
		}
		bare := strings.NewReplacer(" ", "", "\t", "")
		if got := varyValue("x", http.Header{"X": {s}}); bare.Replace(got) != bare.Replace(s) {
			t.Errorf("%q loses more than white space: %q", s, got)
		}
		varyNames(http.Header{"Vary": {s}})
		etagListed(s, `"1"`)
	})
}

// FuzzPlaylistLifetime: whatever a playlist says, its lifetime is within bounds.
func FuzzPlaylistLifetime(f *testing.F) {
	for _, s := range []string{
		"", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "#EXT-X-TARGETDURATION:NaN", "#EXT-X-TARGETDURATION:-1", "PART-TARGET=1e300,",
		`<MPD type="dynamic" minimumUpdatePeriod="P1DT2H3M4.5S">`, `"dynamic" minimumUpdatePeriod="PT99999D99999D`, `"dynamic" minimumUpdatePeriod="P`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/a.m3u8", "/a.mpd"} {
			if d := playlistLifetime(path, body); d < minLiveTTL || d > vodTTL {
				t.Errorf("%s: %q is fresh for %v", path, body, d)
			}
		}
	})
}
