package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// liveChannel is what ffmpeg makes of a test picture, a segment each second, in HLS and DASH.
const liveChannel = `-nostdin -v error -re -f lavfi -i testsrc2=size=320x180:rate=25 -re -f lavfi -i sine=sample_rate=48000 ` +
	`-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -sc_threshold 0 -b:v 300k -c:a aac ` +
	`-f dash -seg_duration 1 -update_period 1 -window_size 10 -extra_window_size 30 -use_template 1 -use_timeline 1 ` +
	`-hls_playlist 1 -hls_master_name master.m3u8 -adaptation_sets`

// publishLive has ffmpeg publish the title "news" until the test ends, and returns the address of an origin that serves it.
func publishLive(t *testing.T) string {
	t.Helper()
	ffmpeg := proof.RequireTool(t, "ffmpeg", "ffmpeg")
	root := t.TempDir()
	dir := filepath.Join(root, "vod", "news")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(root))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lifetime, kind := "max-age=60", "video/mp4"
		switch path.Ext(r.URL.Path) {
		case ".mpd":
			lifetime, kind = "max-age=1", "application/dash+xml"
		case ".m3u8":
			lifetime, kind = "max-age=1", "application/vnd.apple.mpegurl"
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "*")
		w.Header().Set("Cache-Control", lifetime)
		w.Header().Set("Content-Type", kind)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(origin.Close)
	cmd := exec.Command(ffmpeg, append(strings.Fields(liveChannel), "id=0,streams=v id=1,streams=a", "manifest.mpd")...)
	cmd.Dir = dir
	encoder := startProcess(t, cmd)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for { // until there is something to begin with
		if _, err := os.Stat(filepath.Join(dir, "chunk-stream1-00006.m4s")); err == nil {
			return strings.TrimPrefix(origin.URL, "http://")
		}
		select {
		case <-encoder.done:
			t.Fatalf("ffmpeg ended: %s", encoder.output())
		case <-tick.C:
		}
	}
}

// TestLiveSteering: as TestSteering, with a title that goes on: also what tells players of new segments, the MPD that is loaded anew
// and the playlists of media, is asked of the edge that steering names. No edge is killed with dash.js: where an MPD cannot be
// loaded anew it asks neither again nor elsewhere.
func TestLiveSteering(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	proof.RequireTool(t, "chromium", "chromium")
	for _, tt := range steeredPlayers {
		if tt.player == "shaka" && !*steerAll {
			continue // one player of each format
		}
		t.Run(tt.player+" "+tt.format, func(t *testing.T) {
			alongside(t)
			more, losses := steeredSettings, 2
			if tt.player == "dash.js" {
				losses = 1
			}
			more.origin = publishLive(t)
			result, lost := loseEdges(t, more, "news", tt.format, losses, map[string]any{"player": tt.player, "config": tt.config})
			result.left(t, "manifest", lost)
		})
	}
}
