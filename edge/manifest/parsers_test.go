package manifest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// parsed is what a parser of others makes of a manifest.
type parsed struct {
	URLs  []string
	Error string
}

// TestParsersOfOthers: what comes out is read by hls-parser in its strict mode, and by mpd-parser, for every profile and
// limit; each URL has the token.
func TestParsersOfOthers(t *testing.T) {
	t.Parallel()
	texts := foreign(t)
	texts["related"] = []byte(related)
	texts["thirty"] = thirty()
	limits := map[string]Limits{"720 lines": {Height: 720}, "stereo": {Channels: 2}, "H.264": {Codecs: []string{"h264", "aac"}}, "audio": {AudioOnly: true}, "2 Mbit/s": {Bitrate: 2_000_000, Order: LowestFirst}}
	for _, class := range Classes() {
		limits[class], _ = Profile(class)
	}
	type manifest struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
	var in []manifest
	for name, text := range texts {
		in = append(in, manifest{name, string(text)})
		for what, l := range limits {
			r := Rewrite{
				Filter: filter(t, l), Child: Query("CAT", "token"),
				Steering: &Steering{Server: "/steer/v1/a", Pathway: "east", Locations: []Location{{"east", "https://edge.example/v/", "m"}, {"west", "https://west.example/v/", "m"}}},
			}
			out, err := r.Append(nil, text)
			if errors.Is(err, ErrEmpty) {
				continue
			}
			if err != nil {
				t.Errorf("%s for %s: %v", name, what, err)
			}
			in = append(in, manifest{name + " for " + what, string(out)})
		}
	}
	results := parse(t, in)
	checked := 0
	var err error
	for _, m := range in {
		before, what, rewritten := strings.Cut(m.Name, " for ")
		if !rewritten || results[before].Error != "" { // it was none before either
			continue
		}
		r := results[m.Name]
		if r.Error != "" {
			t.Errorf("%s, as %s: %s\n%s", before, what, r.Error, m.Text)
			continue
		}
		checked++
		if strings.HasPrefix(strings.TrimSpace(m.Text), "<") { // mpd-parser mends what is broken
			d := xml.NewDecoder(strings.NewReader(m.Text))
			for err == nil {
				_, err = d.Token()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s, as %s: %v\n%s", before, what, err, m.Text)
			}
			err = nil
		}
		for _, url := range r.URLs {
			if !strings.Contains(url, "CAT=token") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "skd:") {
				t.Errorf("%s, as %s: %s has no token", before, what, url)
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d manifests were checked: %v", checked, results)
	}
	t.Logf("%d manifests", checked)
}

func parse(t *testing.T, in any) (out map[string]parsed) {
	t.Helper()
	missing := t.Skip
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		missing = t.Fatal
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not installed: apt-get install nodejs npm")
	}
	dir, err := filepath.Abs("../../tools/proof/npm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hls-parser", "mpd-parser"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", name)); err != nil {
			missing(fmt.Sprintf("%s is not installed: npm ci --prefix tools/proof/npm", name))
		}
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "manifests.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(text), os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("manifests.mjs: %v", err)
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
