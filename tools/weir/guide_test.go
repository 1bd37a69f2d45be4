package main

import (
	"html"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"weir/tools/proof"
)

// TestGuide runs every line of the guide for players, in order, against an edge.
func TestGuide(t *testing.T) {
	t.Parallel()
	proof.RequireTool(t, "curl", "curl")
	s := startSystemWith(t, 1, settings{site: `, sdk: {downloads: {allow: true}}`}, anyPort)
	base := "http://" + s.edges[0].http
	status, page := fetch(t, base+"/player/guide")
	if status != http.StatusOK {
		t.Fatalf("/player/guide: status %d", status)
	}
	var script []string
	for _, block := range regexp.MustCompile(`(?s)<pre><code>(.*?)</code></pre>`).FindAllStringSubmatch(page, -1) {
		script = append(script, html.UnescapeString(block[1]))
	}
	const least = 18
	if n := strings.Count(strings.Join(script, "\n"), "curl "); n < least {
		t.Fatalf("the guide has %d lines to run, want %d or more", n, least)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-exc", "exec 2>&1\n"+strings.Join(script, "\n"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "EDGE="+base)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"every_s":30`, "#EXT-X-STREAM-INF", "PATHWAY-PRIORITY", `"audio_only":true`, "206, ", "to be played until 20"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the lines print nothing with %s:\n%s", want, out)
		}
	}
}
