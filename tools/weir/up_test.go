package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"weir/edge/console"
)

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func fetch(t *testing.T, address string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestUp: the one command brings everything up, says where it is, and leaves
// nothing behind.
func TestUp(t *testing.T) {
	t.Parallel()
	p := startWeir(t, "up", "--port-shift=-1")
	page := p.await(t, `^\s+(http://\S+/)\s+the same without TLS`)
	consoleURL := p.await(t, `Console\s+(\S+)`)
	hls := p.await(t, `HLS\s+(\S+)`)
	dash := p.await(t, `DASH\s+(\S+)`)
	dir := p.await(t, `State is in (\S+)\. Ctrl-C`)
	for address, want := range map[string]string{page: "<title>", hls: "#EXTM3U", dash: "<MPD", consoleURL: "<title>"} {
		if status, body := fetch(t, address); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %.80q, want 200 and %q", address, status, body, want)
		}
	}
	t.Run("download", func(t *testing.T) { checkDownload(t, strings.TrimSuffix(page, "/")) })
	u, err := url.Parse(consoleURL)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimPrefix(u.Fragment, "token=")
	t.Run("status", func(t *testing.T) { checkStatus(t, u.Host, token) })
	if code := p.stop(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, p.output())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state directory %s is left: %v", dir, err)
	}
}

// checkDownload: the sample may be taken along, and is as long as the endpoint says.
func checkDownload(t *testing.T, base string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/sdk/v1/downloads", strings.NewReader(`{"asset":"demo","device":"car"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var d struct {
		Playlists []string `json:"playlists"`
		Bytes     int64    `json:"bytes"`
		Exact     bool     `json:"exact"`
		Files     int      `json:"files"`
	}
	if err := json.NewDecoder(response.Body).Decode(&d); err != nil || response.StatusCode != http.StatusCreated || !d.Exact || len(d.Playlists) == 0 {
		t.Fatalf("status %d, %+v, %v", response.StatusCode, d, err)
	}
	var total int64
	files := map[string]bool{}
	for _, playlist := range d.Playlists {
		_, text := fetch(t, playlist)
		at, err := url.Parse(playlist)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if _, uri, ok := strings.Cut(line, `#EXT-X-MAP:URI="`); ok {
				line, _, _ = strings.Cut(uri, `"`)
			}
			if line == "" || line[0] == '#' {
				continue
			}
			file, err := at.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			if !files[file.String()] {
				_, body := fetch(t, file.String())
				total += int64(len(body))
			}
			files[file.String()] = true
		}
	}
	if total != d.Bytes || len(files) != d.Files {
		t.Errorf("the endpoint says %d bytes in %d files, there are %d in %d", d.Bytes, d.Files, total, len(files))
	}
}

func checkStatus(t *testing.T, admin, token string) {
	t.Helper()
	file := write(t, "admin.token", token+"\n")
	code, out, err := try(t, "status", "--admin", admin, "--token-file", file)
	if code != exitOK || !containsAll(out, "edge-1", "edge-2", "edge-3", "alive", "All is well.", "closed", "current") {
		t.Errorf("weir status: %d\n%s%s", code, out, err)
	}
	code, out, err = try(t, "status", "--admin", admin, "--token-file", file, "--json")
	var s console.Status
	if json.Unmarshal([]byte(out), &s) != nil || code != exitOK || !s.Ready || s.Requests.Total == 0 || s.Ring.Nodes != 3 || s.Summary == "" || s.Bytes.FromOrigin+s.Bytes.FromPeer == 0 {
		t.Errorf("weir status --json: %d\n%s%s", code, out, err)
	}
	code, out, err = try(t, "ring", "--admin", admin, "--token-file", file, "/vod/demo/master.m3u8")
	if code != exitOK || !containsAll(out, "key", "owners", "edge-") {
		t.Errorf("weir ring URL: %d\n%s%s", code, out, err)
	}
	code, out, err = try(t, "ring", "--admin", admin, "--token-file", file)
	if code != exitOK || !containsAll(out, "MEMBER", "edge-3") {
		t.Errorf("weir ring: %d\n%s%s", code, out, err)
	}
	metrics := (&adminFlags{Admin: admin, TokenFile: file})
	text, metricsErr := metrics.ask(t.Context(), "/metrics")
	if metricsErr != nil || !containsAll(string(text), `weir_requests_total{outcome="`, `weir_upstream_requests_total{source="`, "weir_cluster_members 3", `weir_peer_hedges_total{result="refused"} 0`, "weir_peers_left_out 0", "weir_purge_log_lag 0", "weir_sendfile_bytes_total") {
		t.Errorf("/metrics: %v\n%s", metricsErr, text)
	}
	wrong := write(t, "wrong.token", "not the token at all")
	if code, _, err := try(t, "status", "--admin", admin, "--token-file", wrong); code != exitUsage || !strings.Contains(err, "token") {
		t.Errorf("weir status with a wrong token: %d %q", code, err)
	}
}

// TestUpSharesTheMemory: the nodes of one process have together what it may take.
func TestUpSharesTheMemory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		memory, hot       int64
		fetches, requests int
	}{{0, 128 << 20, 4096, 0}, {300 << 20, 50 << 20, 200, 800}, {8 << 30, 128 << 20, 4096, 21845}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u := &upCluster{command: &upCommand{Nodes: 3, PortShift: -1}, memory: tt.memory, origin: &originServer{plainServer: &plainServer{listener: listener}}}
		c := u.configuration(0)
		_ = listener.Close()
		if got := int64(c.Cache.Memory); got != tt.hot || c.Overload.Fetches != tt.fetches || c.Overload.Requests != tt.requests {
			t.Errorf("with %d bytes: %d for the hot tier, %d fetches, %d requests at once; want %d, %d, %d",
				tt.memory, got, c.Overload.Fetches, c.Overload.Requests, tt.hot, tt.fetches, tt.requests)
		}
	}
}
