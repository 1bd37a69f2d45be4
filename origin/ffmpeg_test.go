package origin

import (
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/origin/asset"
)

// tool returns the path of an external program, or skips the test where it is not installed.
func tool(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		t.Fatalf("%s is missing: install the package %s", program, debianPackage)
	}
	t.Skipf("%s is missing: install the package %s", program, debianPackage)
	return ""
}

// frames returns a line of time stamp and checksum for each frame that ffmpeg reads of the first stream of a kind.
// Frames before time zero are left out: ffmpeg drops priming samples by the edit list of a plain MP4, but not by that of a
// fragmented one, and players do not play what lies before zero. Durations are left out, too: ffmpeg 5.1 reads those of
// fragments from a default.
func frames(t *testing.T, ffmpeg, input, stream string, options ...string) []string {
	t.Helper()
	args := append([]string{"-nostdin", "-v", "error", "-copyts", "-i", input, "-map", stream}, options...)
	cmd := exec.CommandContext(t.Context(), ffmpeg, append(args, "-f", "framemd5", "-")...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil || problems.Len() > 0 {
		t.Fatalf("ffmpeg of %s: %v\n%s", input, err, problems.String())
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		field := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") || len(field) < 6 || strings.HasPrefix(strings.TrimSpace(field[2]), "-") {
			continue
		}
		list = append(list, strings.TrimSpace(field[2])+strings.TrimSpace(field[4])+field[5])
	}
	return list
}

func equalFrames(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: got %d frames, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: frame %d: got %s, want %s", what, i, got[i], want[i])
			return
		}
	}
}

// TestFFmpegReadsTheSource compares pictures, sound and their times, as ffmpeg plays the stream over HTTP, with those of the source.
func TestFFmpegReadsTheSource(t *testing.T) {
	t.Parallel()
	ffmpeg := tool(t, "ffmpeg", "ffmpeg")
	root := t.TempDir()
	muxed := filepath.Join(root, "muxed.mp4") // interleaved, with both edit lists
	cmd := exec.CommandContext(t.Context(), ffmpeg, "-nostdin", "-v", "error", "-i", filepath.Join(demoDir, "demo-720.mp4"),
		"-i", filepath.Join(demoDir, "demo-audio.m4a"), "-map", "0:v", "-map", "1:a", "-c", "copy", muxed)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mux: %v\n%s", err, out)
	}
	server := httptest.NewServer(newOrigin(t, asset.Join(directory(t, root), asset.Demo()), io.Discard))
	defer server.Close()
	demo := filepath.Join(demoDir, "demo-")
	packets, decoded := []string{"-c", "copy"}, []string(nil)
	for _, tt := range []struct {
		path, video, audio string
		options            []string
	}{
		{"/vod/demo/master.m3u8", demo + "720.mp4", demo + "audio.m4a", packets},
		{"/vod/demo/manifest.mpd", demo + "288.mp4", demo + "audio.m4a", decoded}, // the smallest picture: decoding is slow
		{"/vod/muxed/master.m3u8", muxed, muxed, packets},
		{"/vod/muxed/manifest.mpd", muxed, muxed, packets},
	} {
		for _, stream := range []string{"0:v:0", "0:a:0"} {
			source := tt.video
			if stream == "0:a:0" {
				source = tt.audio
			}
			equalFrames(t, tt.path+" "+stream, frames(t, ffmpeg, server.URL+tt.path, stream, tt.options...), frames(t, ffmpeg, source, stream, tt.options...))
		}
	}
}
