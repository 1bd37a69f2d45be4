package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestBrowserAdapters: the client with each player in Chromium. It plays with CMCD by query and by header, in both versions,
// which comes to the access log, the metrics and the session's quality, renews its lease, and ends when its page is left. What
// is refused is said in words: no rendition (406), no account (401), a busy service (503), a token that is over (403, renewed),
// too many streams (409, with which one may be ended), ended by another (410), no network.
func TestBrowserAdapters(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	type carried struct {
		Mode    string `json:"mode"`
		Version int    `json:"version"`
	}
	all := []carried{{"query", 2}, {"headers", 2}, {"query", 1}, {"headers", 1}}
	for _, tt := range []struct {
		engine string
		cmcd   []carried // of the player's own requests
	}{
		{"hls.js", all}, {"dash.js", all}, {"shaka", all}, {"shaka-hls", all[:1]}, {"browser", all[:1]},
	} {
		t.Run(tt.engine, func(t *testing.T) {
			alongside(t)
			log := filepath.Join(t.TempDir(), "access.log")
			keys := write(t, "keys", "k1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n")
			viewers := write(t, "viewers", "v1 fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n")
			s := startSystemWith(t, 1, settings{
				site: fmt.Sprintf(`, token: {schemes: [{kind: cat, keys_file: %q}]}, sdk: {heartbeat: 5s, tokens: true, accounts: {keys_file: %q, streams: 1}}`, keys, viewers),
				node: fmt.Sprintf(`log: {access: %q}`, log),
			}, anyPort)
			arguments, err := json.Marshal(map[string]any{
				"url": "https://" + s.edges[0].https, "engine": tt.engine, "cmcd": tt.cmcd, "spki": s.spki,
				"viewer": tokenFor(t, viewers, "ann"), "other": tokenFor(t, viewers, "bob"),
			})
			if err != nil {
				t.Fatal(err)
			}
			var result struct {
				Failures []string
				Sessions []struct {
					carried

					ID string
				}
				Words map[string]string
			}
			runScript(t, node, "adapters.mjs", string(arguments), func(string) {}, &result)
			for _, failure := range result.Failures {
				t.Error(failure)
			}
			for what, want := range map[string]string{
				"playable": "This device cannot play the title", "credential": "Please sign in", "busy": "The service is busy. It takes no new viewers just now. Try again in 2 minutes",
				"sessions": "Something else is playing. One stream at a time may play, and demo on a browser is playing now", "ended": "Playback was ended",
				"endedToo": "Playback was ended", "offline": "No server answers. Check the network",
			} {
				if !strings.HasPrefix(result.Words[what], want) {
					t.Errorf("%s: the viewer reads %q, want %q", what, result.Words[what], want)
				}
			}
			if len(result.Sessions) != len(tt.cmcd) {
				t.Fatalf("%d sessions were played, want %d", len(result.Sessions), len(tt.cmcd))
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			for _, played := range result.Sessions {
				requests, wrong := 0, ""
				for line := range strings.Lines(string(text)) {
					if !strings.Contains(line, " sid="+played.ID+" cmcd=") || !strings.Contains(line, "/vod/") {
						continue
					}
					requests++
					if isV2 := strings.Contains(line, "v=2"); isV2 != (played.Version == 2) {
						wrong = line
					}
				}
				if native := tt.engine == "browser"; (requests < 3) != native || wrong != "" {
					t.Errorf("%s, CMCD v%d: %d requests of the session came to the access log with it, of another version: %q", played.Mode, played.Version, requests, wrong)
				}
			}
			checkReports(t, s.edges[0], tt.engine != "browser", len(tt.cmcd) > 1)
		})
	}
}

// checkReports looks for the reports in the metrics, and for the viewers, whose players report events of their own, in the
// console's.
func checkReports(t *testing.T, e *edgeProcess, requests, headers bool) {
	t.Helper()
	metrics := admin(t, e, "/metrics")
	for by, want := range map[string]bool{"query": requests, "header": requests && headers} {
		m := regexp.MustCompile(`weir_cmcd_reports_total\{by="` + by + `"\} (\d+)`).FindStringSubmatch(metrics)
		if len(m) != 2 || (m[1] != "0") != want {
			t.Errorf("reports by %s: %q, want some: %v", by, m, want)
		}
	}
	var viewers struct {
		Rows []struct {
			By, Name string
			Sessions int64
			Started  int64
		}
	}
	if err := json.Unmarshal([]byte(admin(t, e, "/v1/viewers")), &viewers); err != nil {
		t.Fatal(err)
	}
	for _, row := range viewers.Rows {
		if row.By == "title" && row.Name == "demo" {
			return
		}
	}
	t.Errorf("no viewer of the title is known: %+v", viewers.Rows)
}

func admin(t *testing.T, e *edgeProcess, path string) string {
	t.Helper()
	credential, err := os.ReadFile(filepath.Join(e.dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(credential)))
	w, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", path, w.StatusCode, err, body)
	}
	return string(body)
}
