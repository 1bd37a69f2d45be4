package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// system is an origin and three edges, each a process of its own, on loopback.
type system struct {
	origin string
	edges  []*edgeProcess
	spki   string
}

type edgeProcess struct {
	*process

	name, http, https, admin, dir, config string
}

const edgeConfig = `
node: {name: %s, zone: zone-a, dir: %q}
listen: {http: "127.0.0.1:0", https: %[9]q, admin: "127.0.0.1:0", drain_timeout: 1s}
tls: {cert: %[3]q, key: %[4]q}
cache: {disk: 1GiB, memory: 64MiB}
cluster: {gossip: "127.0.0.1:0", peer: "127.0.0.1:0", secret_file: %[5]q, join: [%[6]s]%[10]s}
sites: [{hosts: ["*"], origins: ["http://%[7]s"], pages: true%[8]s}]
%[11]s
`

// startSystem brings up the sample title behind three edges that have found one
// another.
func startSystem(t *testing.T, edges int) *system {
	t.Helper()
	return startSystemWith(t, edges, settings{}, anyPort)
}

func anyPort(int) string { return "127.0.0.1:0" }

// settings are more of them, of site and cluster each after a comma. origin, host:port, is in the place of that of the sample.
type settings struct{ site, cluster, node, origin string }

// startSystemWith is startSystem with more settings, and an https address of each edge.
func startSystemWith(t *testing.T, edges int, more settings, https func(i int) string) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{origin: more.origin}
	if s.origin == "" {
		s.origin = startWeir(t, "origin", "--http", "127.0.0.1:0").await(t, `msg="origin is up" http=(\S+)`)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var seeds []string
	for i := range edges {
		e := &edgeProcess{name: fmt.Sprintf("edge-%d", i+1)}
		e.dir = filepath.Join(dir, e.name)
		certFile, keyFile := cert, key
		if i == 0 { // the first mints the certificate, the others share it: a viewer accepts one
			certFile, keyFile = "", ""
		}
		e.config = filepath.Join(dir, e.name+".yaml")
		text := fmt.Sprintf(edgeConfig, e.name, e.dir, certFile, keyFile, secret, strings.Join(seeds, ", "), s.origin, more.site, https(i), more.cluster, more.node)
		if err := os.WriteFile(e.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e.process = startWeir(t, "edge", "-c", e.config)
		e.http = e.await(t, `msg="edge is up".* http=(\S+)`)
		e.https = e.await(t, `msg="edge is up".* https=(\S+)`)
		e.admin = e.await(t, `msg="edge is up".* admin=(\S+)`)
		seeds = append(seeds, fmt.Sprintf("%q", e.await(t, `msg="gossip is up".* gossip=(\S+)`)))
		awaitReady(t, e.admin)
		if i == 0 {
			copyFile(t, filepath.Join(e.dir, "tls", "cert.pem"), cert)
			copyFile(t, filepath.Join(e.dir, "tls", "key.pem"), key)
		}
		s.edges = append(s.edges, e)
	}
	s.spki = spki(t, cert)
	t.Cleanup(func() { // all drain at the same time, and not each when the one before has ended
		for _, e := range s.edges {
			_ = e.cmd.Process.Signal(os.Interrupt) // it may have ended
		}
	})
	return s
}

// httpsHosts are where viewers may be sent.
func (s *system) httpsHosts() (hosts []string) {
	for _, e := range s.edges {
		hosts = append(hosts, e.https)
	}
	return hosts
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// spki is how Chromium is told to trust a certificate that no authority signed.
func spki(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// play is the result of testdata/browser/play.mjs, whose head tells the fields.
type play struct {
	OK            bool
	Failures      []string
	Engine        string
	StartedMs     float64
	PlayedSeconds float64
	Stalls        []struct{ At, Ms float64 }
	Protocols     map[string]int
	Nodes         map[string]int
	Outcomes      map[string]int
	Errors        []string
	Page          struct {
		Node   string
		Pinned bool
	}
	Requests []browserRequest
}

type browserRequest struct {
	URL, Kind, Failed string
	Status            int
	Done, FromCache   bool
}

// givenUp: the player wanted it no more, or the test has ended meanwhile.
func (r *browserRequest) givenUp() bool {
	return r.Failed == "canceled" || r.Failed == "" && !r.Done
}

// browse plays in Chromium. at, if not nil, is called for each half second that
// was played.
func browse(t *testing.T, arguments map[string]any, at func(played float64)) play {
	t.Helper()
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	if _, err := os.Stat("../../edge/player/node_modules/playwright-core"); err != nil {
		if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
			t.Fatal("the npm packages are missing: npm ci --prefix edge/player")
		}
		t.Skip("the npm packages are missing: npm ci --prefix edge/player")
	}
	text, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "../../edge/player/testdata/browser/play.mjs", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var result play
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		line := scanner.Text()
		if seconds, ok := strings.CutPrefix(line, "PLAYED "); ok {
			var played float64
			if _, err := fmt.Sscan(seconds, &played); err == nil && at != nil {
				at(played)
			}
		} else if strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), &result); err != nil {
				t.Errorf("read the browser's result: %v", err)
			}
		}
	}
	err = cmd.Wait()
	t.Logf("%v: started in %.0f ms, played %.1f s, %d stalls, protocols %v, nodes %v, outcomes %v",
		arguments["player"], result.StartedMs, result.PlayedSeconds, len(result.Stalls), result.Protocols, result.Nodes, result.Outcomes)
	if err != nil || !result.OK {
		t.Errorf("the browser: %v, failures %q, errors %q", err, result.Failures, result.Errors)
	}
	return result
}

// stallsAllowed is none, but for edges with the race detector, which take many times the processor: they are run without it
// too.
func stallsAllowed() int {
	if raceDetector() {
		return -1
	}
	return 0
}

// alongside has a play share the machine with the others of its test, where no play is judged by its stalls: each leaves most of
// two processors idle.
func alongside(t *testing.T) {
	t.Helper()
	if raceDetector() {
		t.Parallel()
	}
}

// TestPlayback plays the sample through the cluster with every player, HTTP/3
// forced, at least 20 seconds without a stall.
func TestPlayback(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	proof.RequireTool(t, "chromium", "chromium")
	s := startSystem(t, 3)
	for i, tt := range []struct{ player, path string }{
		{"page", "/"},
		{"page", "/?engine=browser"},
		{"hls.js", "/vod/demo/master.m3u8"},
		{"dash.js", "/vod/demo/manifest.mpd"},
		{"shaka", "/vod/demo/manifest.mpd"},
		{"shaka", "/vod/demo/master.m3u8"},
	} {
		t.Run(tt.player+" "+filepath.Base(tt.path), func(t *testing.T) {
			alongside(t)
			edge := s.edges[i%len(s.edges)]
			result := browse(t, map[string]any{
				"url": "https://" + edge.https + tt.path, "player": tt.player, "seconds": 20, "timeout": 90,
				"quic": "forced", "quicHosts": s.httpsHosts(), "spki": s.spki, "protocol": "h3", "visible": true, "strip": true, "maxStalls": stallsAllowed(),
			}, nil)
			if tt.player != "page" && result.Nodes[edge.name] == 0 { // the page goes where steering says
				t.Errorf("no segment came from %s: %v", edge.name, result.Nodes)
			}
		})
	}
	t.Run("via Alt-Svc", func(t *testing.T) { playViaAltSvc(t, s) })
	t.Run("outlives an edge", playOutlivingAnEdge)
}

// playViaAltSvc: the browser finds HTTP/3 by itself.
func playViaAltSvc(t *testing.T, s *system) {
	t.Helper()
	alongside(t)
	browse(t, map[string]any{
		"url": "https://" + s.edges[0].https + "/vod/demo/master.m3u8", "player": "hls.js", "seconds": 20, "timeout": 90,
		"quic": "altsvc", "spki": s.spki, "lastProtocol": "h3", "maxStalls": stallsAllowed(),
	}, nil)
}

// playOutlivingAnEdge: the edge that a viewer watches through is killed;
// playback goes on through another one.
func playOutlivingAnEdge(t *testing.T) {
	t.Helper()
	alongside(t)
	s := startSystem(t, 3)
	killed := false
	result := browse(t, map[string]any{
		"url": "https://" + s.edges[0].https + "/", "player": "page", "choose": 0, "seconds": 22, "timeout": 90,
		"quic": "forced", "quicHosts": s.httpsHosts(), "spki": s.spki, "maxStalls": stallsAllowed(),
	}, func(played float64) {
		if played >= 4 && !killed {
			killed = true
			s.edges[0].kill()
		}
	})
	if !killed {
		t.Fatal("nothing was killed: the test shows nothing")
	}
	if result.Engine != "hls.js" || len(result.Nodes) < 2 {
		t.Errorf("played by %s, segments came from %v only", result.Engine, result.Nodes)
	}
}

// TestSystemSurvivesInterrupt: an edge that is told to stop ends by itself, with 0.
func TestSystemSurvivesInterrupt(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 2)
	begin := time.Now()
	for _, e := range s.edges {
		if code := e.stop(); code != 0 {
			t.Errorf("%s ended with %d:\n%s", e.name, code, e.output())
		}
	}
	t.Logf("two edges drained and left in %s", time.Since(begin).Round(time.Millisecond))
}
