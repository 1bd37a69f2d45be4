package player

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The sample title, as the origin keeps it.
var (
	renditions = []string{"demo-720.mp4", "demo-480.mp4", "demo-288.mp4", "demo-audio.m4a"}
	samplePath = "../../origin/asset/demo"
)

// missing skips a test for want of an external program, or fails it where all
// of them were promised.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

func needTools(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("plays in real time")
	}
	for program, install := range map[string]string{"ffmpeg": "the package ffmpeg", "node": "the package nodejs", "chromium": "the package chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, install)
		}
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		missing(t, "npm ci --prefix edge/player")
	}
}

// packSample packages the sample as static HLS and DASH under dir/vod/demo.
func packSample(t *testing.T, dir string) {
	t.Helper()
	target := filepath.Join(dir, "vod", "demo")
	if err := os.MkdirAll(target, 0o750); err != nil {
		t.Fatal(err)
	}
	args := []string{"-hide_banner", "-loglevel", "error"}
	for _, name := range renditions {
		file, err := filepath.Abs(filepath.Join(samplePath, name))
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-i", file)
	}
	args = append(args, strings.Fields("-map 0:v -map 1:v -map 2:v -map 3:a -c copy -f dash -seg_duration 2 -hls_playlist 1 -hls_master_name master.m3u8 -use_template 1 -use_timeline 0 -adaptation_sets")...)
	args = append(args, "id=0,streams=v id=1,streams=a", "manifest.mpd")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", args...)
	cmd.Dir = target
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
}

// An edge is a stand-in: the player page and static files over HTTP/2, with the
// fields that a page needs to see.
type edge struct {
	*httptest.Server
	player atomic.Pointer[Player] // set once all edges have their addresses
}

// newEdge starts one; timing is its Timing-Allow-Origin, "" = none.
func newEdge(t *testing.T, name, dir, timing string) *edge {
	t.Helper()
	e := &edge{}
	files := http.FileServer(http.Dir(dir))
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "*")
		if timing != "" {
			h.Set("Timing-Allow-Origin", timing)
		}
		if p := e.player.Load(); p != nil && p.Handles(r.URL.Path) {
			p.ServeHTTP(w, r)
			return
		}
		h.Set("Cache-Status", name+"; hit; ttl=600")
		switch path.Ext(r.URL.Path) {
		case ".m3u8":
			h.Set("Content-Type", "application/vnd.apple.mpegurl")
		case ".mpd":
			h.Set("Content-Type", "application/dash+xml")
		default:
			h.Set("Content-Type", "video/mp4")
		}
		files.ServeHTTP(w, r)
	}))
	e.EnableHTTP2 = true
	e.Config.ErrorLog = log.New(io.Discard, "", 0) // a killed connection is what these tests are about
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

// kill ends the edge as a dead process does: listener and connections at once.
func (e *edge) kill() {
	e.Listener.Close() // it may be closed already
	e.CloseClientConnections()
}

// cluster starts edges that know one another.
func cluster(t *testing.T, dir, hlsjs string, names ...string) []*edge {
	t.Helper()
	edges := make([]*edge, len(names))
	nodes := make([]Node, len(names))
	for i, name := range names {
		edges[i] = newEdge(t, name, dir, "*")
		nodes[i] = Node{Name: name, URL: edges[i].URL}
	}
	p := mustNew(t, Options{HLSJS: hlsjs, Nodes: func() []Node { return nodes }})
	for _, e := range edges {
		e.player.Store(p)
	}
	return edges
}

// played is the part of play.mjs' result that these tests read.
type played struct {
	OK            bool             `json:"ok"`
	Failures      []string         `json:"failures"`
	Engine        string           `json:"engine"`
	PlayedSeconds float64          `json:"playedSeconds"`
	Position      float64          `json:"position"`
	StartedMs     int              `json:"startedMs"`
	Stalls        []map[string]any `json:"stalls"`
	Protocols     map[string]int   `json:"protocols"`
	Nodes         map[string]int   `json:"nodes"`
	Frames        []map[string]any `json:"frames"`
	Page          struct {
		Node    string
		Entries []struct{ Kind, Outcome, Protocol, Node string }
	} `json:"page"`
}

// A browser is testdata/browser/play.mjs, which serves one run after the other.
type browser struct {
	in     io.Writer
	out    *bufio.Scanner
	stderr *strings.Builder
	wait   func() error
}

// newBrowser starts one, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // it closes its browser
	cmd := exec.CommandContext(ctx, "node", "testdata/browser/play.mjs", "serve")
	b := &browser{stderr: &strings.Builder{}, wait: sync.OnceValue(cmd.Wait)}
	cmd.Stderr = b.stderr
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
	b.in, b.out = in, bufio.NewScanner(out)
	b.out.Buffer(nil, 4<<20)
	t.Cleanup(func() {
		in.Close() // it has ended, or ends now
		_ = b.wait()
		cancel()
	})
	return b
}

// play runs once; progress is called with the seconds played.
func (b *browser) play(t *testing.T, arguments map[string]any, progress func(seconds float64)) played {
	t.Helper()
	input, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", input); err != nil {
		t.Fatalf("play.mjs %s: %v\n%s", input, err, b.stderr.String())
	}
	for b.out.Scan() {
		var seconds float64
		if n, _ := fmt.Sscanf(b.out.Text(), "PLAYED %f", &seconds); n == 0 {
			break
		}
		if progress != nil {
			progress(seconds)
		}
	}
	var result played
	if err := json.Unmarshal(b.out.Bytes(), &result); err != nil {
		t.Fatalf("play.mjs %s: %v, %v: %q\n%s", input, err, b.wait(), b.out.Text(), b.stderr.String())
	}
	return result
}

func spki(e *edge) string {
	sum := sha256.Sum256(e.Certificate().RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func mustPlay(t *testing.T, r played) {
	t.Helper()
	if !r.OK {
		t.Errorf("%s: %s", r.Engine, strings.Join(r.Failures, "\n"))
	}
	t.Logf("%s: started in %d ms, played %.1f s, %d stalls, %v from %v", r.Engine, r.StartedMs, r.PlayedSeconds, len(r.Stalls), r.Protocols, r.Nodes)
}

// Real time on real cores: the runs follow one another, or they would measure
// each other.
func TestBrowser(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	packSample(t, dir)
	const hlsjs = "node_modules/hls.js/dist/hls.min.js"
	b := newBrowser(t)
	// A stall or two of a busy machine says nothing about the page; what the
	// tests promise is that playback goes on.
	const stalls = 2

	t.Run("page", func(t *testing.T) {
		e := cluster(t, dir, hlsjs, "edge-1")[0]
		r := b.play(t, map[string]any{"url": e.URL + "/", "spki": spki(e), "seconds": 4, "maxStalls": stalls, "protocol": "h2", "visible": true, "strip": true}, nil)
		mustPlay(t, r)
		if r.Engine != "hls.js" {
			t.Errorf("engine %q, want hls.js", r.Engine)
		}
		segments := 0
		for _, entry := range r.Page.Entries {
			if entry.Kind != "video" && entry.Kind != "audio" {
				continue
			}
			segments++
			if entry.Outcome != "hit" || entry.Node != "edge-1" || entry.Protocol != "h2" {
				t.Errorf("the page shows %+v, want a hit on edge-1 over h2", entry)
			}
		}
		if segments == 0 {
			t.Error("the page shows no segment")
		}
	})
	t.Run("page around the end", func(t *testing.T) {
		e := cluster(t, dir, hlsjs, "edge-1")[0]
		r := b.play(t, map[string]any{"url": e.URL + "/", "spki": spki(e), "from": 20, "seconds": 8, "maxStalls": stalls + 1}, nil)
		mustPlay(t, r)
		if r.Position > 10 {
			t.Errorf("it ended at %.1f s: it was not at the title's end", r.Position)
		}
	})
	// The browser's own HLS drops its buffer when a request fails: the page can
	// only open the next edge at the same position, which the viewer sees.
	for engine, allowed := range map[string]int{"hls.js": stalls, "browser": stalls + 3} {
		t.Run("page loses its edge, "+engine, func(t *testing.T) {
			edges := cluster(t, dir, hlsjs, "edge-1", "edge-2")
			killed := false
			arguments := map[string]any{"url": edges[0].URL + "/?engine=" + engine, "spki": spki(edges[0]), "seconds": 13, "maxStalls": allowed, "strip": true}
			r := b.play(t, arguments, func(seconds float64) {
				if seconds >= 1 && !killed {
					killed = true
					edges[0].kill()
				}
			})
			mustPlay(t, r)
			if r.Engine != engine || r.Page.Node != "edge-2" || r.Nodes["edge-2"] == 0 {
				t.Errorf("engine %s ended on %q with segments from %v, want %s on edge-2", r.Engine, r.Page.Node, r.Nodes, engine)
			}
		})
	}
	for _, c := range []struct{ player, manifest string }{{"hls.js", "master.m3u8"}, {"dash.js", "manifest.mpd"}, {"shaka", "manifest.mpd"}, {"shaka", "master.m3u8"}} {
		t.Run(c.player+" "+c.manifest, func(t *testing.T) {
			e := newEdge(t, "edge-1", dir, "*")
			mustPlay(t, b.play(t, map[string]any{
				"url": e.URL + "/vod/demo/" + c.manifest, "player": c.player, "spki": spki(e), "seconds": 3,
				"maxStalls": stalls, "protocol": "h2", "visible": true, "strip": true,
			}, nil))
		})
	}
}

// play.mjs must be able to fail: a test that stands on it proves nothing else.
func TestBrowserVerdict(t *testing.T) {
	t.Parallel()
	needTools(t)
	dir := t.TempDir()
	packSample(t, dir)
	e, b := newEdge(t, "edge-1", dir, ""), newBrowser(t)
	for want, arguments := range map[string]map[string]any{
		"not over h3":     {"url": e.URL + "/vod/demo/master.m3u8", "player": "hls.js", "protocol": "h3", "seconds": 2},
		"resource timing": {"url": e.URL + "/vod/demo/master.m3u8", "player": "hls.js", "visible": true, "seconds": 2},
		"never started":   {"url": e.URL + "/vod/none/master.m3u8", "player": "hls.js", "timeout": 3},
		"manifest":        {"url": e.URL + "/vod/none/manifest.mpd", "player": "dash.js", "timeout": 3},
	} {
		r := b.play(t, arguments, nil)
		if r.OK || !strings.Contains(strings.Join(r.Failures, "\n"), want) {
			t.Errorf("%v: got ok %v %q, want a failure about %q", arguments, r.OK, r.Failures, want)
		}
	}
}

// The layouts for cars, televisions and phones: what can be touched, focused and read.
func TestBrowserLayouts(t *testing.T) {
	t.Parallel()
	needTools(t)
	dir := t.TempDir()
	packSample(t, dir)
	e := cluster(t, dir, "node_modules/hls.js/dist/hls.min.js", "edge-1")[0]
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/browser/layout.mjs", fmt.Sprintf(`{"url":%q}`, e.URL))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var result struct {
		Failures []string
		Targets  map[string]float64
	}
	if json.Unmarshal(out, &result) != nil {
		t.Fatalf("layout.mjs: %v: %s\n%s", err, out, stderr.String())
	}
	for _, failure := range result.Failures {
		t.Error(failure)
	}
	t.Logf("smallest targets: %v px", result.Targets)
}
