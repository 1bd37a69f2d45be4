package main

import (
	"encoding/json"
	"os"
	"testing"

	"weir/tools/proof"
)

// TestBrowserDownloads: a title is downloaded in Chromium, paused, taken up after a reload without a file being loaded twice,
// and plays with the network cut and the edge killed, byte for byte, in the player page and in a page of another origin; when
// it is removed nothing is left.
func TestBrowserDownloads(t *testing.T) {
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	for _, tt := range []struct{ by, engine string }{
		{"page", "hls.js"}, {"page", "browser"}, {"client", "hls.js"}, {"client", "shaka"}, {"client", "browser"},
	} {
		t.Run(tt.by+" "+tt.engine, func(t *testing.T) {
			s := startSystemWith(t, 1, settings{site: `, sdk: {downloads: {allow: true}}`}, anyPort)
			arguments, err := json.Marshal(map[string]any{"url": "https://" + s.edges[0].https, "by": tt.by, "engine": tt.engine, "spki": s.spki})
			if err != nil {
				t.Fatal(err)
			}
			var result struct {
				Failures []string
				Files    int
				Local    string
			}
			runScript(t, node, "offline.mjs", string(arguments), s.edges[0].kill, &result)
			for _, failure := range result.Failures {
				t.Error(failure)
			}
			if result.Files < 20 || result.Local == "" {
				t.Errorf("%d files were compared, %q plays", result.Files, result.Local)
			}
			t.Logf("%d files are the same", result.Files)
		})
	}
}

// needPlayers skips a test without the players, or fails it where all that tests need was promised.
func needPlayers(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../edge/player/node_modules/playwright-core"); err == nil {
		return
	}
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		t.Fatal("the npm packages are missing: npm ci --prefix edge/player")
	}
	t.Skip("the npm packages are missing: npm ci --prefix edge/player")
}
