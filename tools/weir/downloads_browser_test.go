package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestBrowserDownloads: a title is downloaded in Chromium, paused, taken up after a reload without a file being loaded twice,
// and plays with the network cut and the edge killed, byte for byte, in the player page and in a page of another origin; when
// it is removed nothing is left.
func TestBrowserDownloads(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	for _, tt := range []struct{ by, engine string }{
		{"page", "hls.js"}, {"page", "browser"}, {"client", "hls.js"}, {"client", "shaka"}, {"client", "dash.js"}, {"client", "browser"},
	} {
		t.Run(tt.by+" "+tt.engine, func(t *testing.T) {
			alongside(t)
			s := startSystemWith(t, 2, settings{site: `, sdk: {downloads: {allow: true}}`}, anyPort)
			arguments, err := json.Marshal(map[string]any{"url": "https://" + s.edges[0].https, "other": "https://" + s.edges[1].https, "by": tt.by, "engine": tt.engine, "spki": s.spki})
			if err != nil {
				t.Fatal(err)
			}
			var result struct {
				Failures []string
				Files    int
				Local    string
				Told     int
			}
			runScript(t, node, "offline.mjs", string(arguments), func(string) { s.edges[0].kill() }, &result)
			for _, failure := range result.Failures {
				t.Error(failure)
			}
			if result.Files < 20 || result.Local == "" {
				t.Errorf("%d files were compared, %q plays", result.Files, result.Local)
			}
			t.Logf("%d files are the same, %d records were told", result.Files, result.Told)
			if tt.by == "client" && tt.engine == "hls.js" {
				checkOffline(t, s.edges[1])
			}
		})
	}
}

// checkOffline waits until a session that was watched offline is over, and looks for it where it should count, and where not.
func checkOffline(t *testing.T, e *edgeProcess) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !strings.Contains(admin(t, e, "/metrics"), "\nweir_offline_sessions_total 1\n"); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("no session that was watched offline was counted in a minute")
		}
	}
	var viewers struct {
		Now  int
		All  struct{ Sessions int64 }
		Rows []struct {
			By, Name string
			Sessions int64
			Watched  float64 `json:"watched_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(admin(t, e, "/v1/viewers")), &viewers); err != nil {
		t.Fatal(err)
	}
	if viewers.Now != 0 || viewers.All.Sessions != 0 || len(viewers.Rows) != 1 || viewers.Rows[0].By != "offline" || viewers.Rows[0].Name != "demo" ||
		viewers.Rows[0].Sessions != 1 || viewers.Rows[0].Watched < 2 {
		t.Errorf("got %+v, want one session of demo, offline, and nothing else", viewers)
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
