package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"weir/tools/proof"
)

// TestBrowserSessions: a viewer's session in Chromium over HTTP/3, with the player page and with the client in a page of
// another origin: its lease is renewed, it survives the loss of its edge, a second viewer is refused in words where one may
// watch, and leaving the page makes room for the next one.
func TestBrowserSessions(t *testing.T) {
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	for _, tt := range []struct{ by, engine string }{
		{"page", "hls.js"}, {"client", "hls.js"}, {"client", "dash.js"},
	} {
		t.Run(tt.by+" "+tt.engine, func(t *testing.T) {
			s := startSystemWith(t, 3, settings{site: `, sdk: {heartbeat: 5s, assets: [{match: demo, hls: "/vod/{asset}/master.m3u8", dash: "/vod/{asset}/manifest.mpd", viewers: 1}]}`}, anyPort)
			var hosts []string
			for _, e := range s.edges {
				hosts = append(hosts, e.https)
			}
			arguments, err := json.Marshal(map[string]any{
				"url": "https://" + s.edges[0].https, "by": tt.by, "engine": tt.engine, "spki": s.spki, "quicHosts": hosts,
			})
			if err != nil {
				t.Fatal(err)
			}
			var result sessionsResult
			runScript(t, node, "session.mjs", string(arguments), func(server string) {
				s.edges[slices.Index(hosts, strings.TrimPrefix(server, "https://"))].kill()
			}, &result)
			for _, failure := range result.Failures {
				t.Error(failure)
			}
			if !strings.Contains(result.Words, "As many people are watching as may watch at once") {
				t.Errorf("the second viewer reads %q", result.Words)
			}
			if len(result.Protocols) != 1 || result.Protocols["h3"] == 0 {
				t.Errorf("answers came by %v, want HTTP/3 alone", result.Protocols)
			}
			t.Logf("%v by %v", result.Servers, result.Protocols)
		})
	}
}

// TestBrowserInstead: of one account one page may play. The second one is told what plays, and its button moves playback there;
// the first one is told that it ended, and its button moves it back, to where it was. Another account is not disturbed.
func TestBrowserInstead(t *testing.T) {
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	for _, engine := range []string{"hls.js", "browser"} {
		t.Run(engine, func(t *testing.T) {
			viewers := write(t, "viewers", "v1 fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n")
			s := startSystemWith(t, 2, settings{site: fmt.Sprintf(`, sdk: {heartbeat: 5s, accounts: {keys_file: %q, streams: 1}}`, viewers)}, anyPort)
			arguments, err := json.Marshal(map[string]any{
				"url": "https://" + s.edges[0].https, "other": "https://" + s.edges[1].https, "engine": engine, "spki": s.spki,
				"ann": tokenFor(t, viewers, "ann"), "bob": tokenFor(t, viewers, "bob"),
			})
			if err != nil {
				t.Fatal(err)
			}
			var result struct{ Failures []string }
			runScript(t, node, "instead.mjs", string(arguments), func(string) {}, &result)
			for _, failure := range result.Failures {
				t.Error(failure)
			}
		})
	}
}

type sessionsResult struct {
	Failures  []string
	Protocols map[string]int
	Servers   []string
	Words     string
}

// runScript runs a script of edge/player/testdata/browser, calls kill when that asks for it, and reads its last line.
func runScript(t *testing.T, node, script, arguments string, kill func(server string), result any) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, "../../edge/player/testdata/browser/"+script, arguments)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		last = lines.Text()
		if server, ok := strings.CutPrefix(last, "KILL"); ok {
			kill(strings.TrimSpace(server))
			_, _ = fmt.Fprintln(in, "killed") // where it has ended, Wait says why
		}
	}
	err = cmd.Wait()
	if json.Unmarshal([]byte(last), result) != nil {
		t.Fatalf("%s %s: %v: %s", script, arguments, err, last)
	}
}
