package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/edge/session"
)

// TestOpenAPI has a client that is generated from the document ask for everything, and checks each answer against it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int64
	a := testAPI(t, Options{
		Issue: func(g Grant) (Token, error) {
			return Token{Value: fmt.Sprint("token-", tokens.Add(1)), Carry: "query", Name: "CAT", Expires: g.Until}, nil
		},
		Downloads: testBook(t), DownloadLimit: 1, Fetch: testTitle, Size: testSize,
		Viewer: byToken, AccountLimit: 2, Node: "edge-1",
		Nodes:  func(bool) []Node { return nodesNamed("edge-1", "edge-2") },
		Assist: func(*http.Request, session.ID) Advice { return Advice{MaxBitrateKbps: 8000, ThroughputKbps: 12000} },
		Probe: func(_ *http.Request, path string) int {
			switch {
			case strings.Contains(path, "/gone/"):
				return http.StatusNotFound
			case strings.Contains(path, "/8k/"):
				return http.StatusNotAcceptable
			}
			return http.StatusOK
		},
		Assets: []Asset{{Match: "*", HLS: "/vod/{asset}/master.m3u8", DASH: "/vod/{asset}/manifest.mpd", Licenses: map[string]string{"widevine": "https://drm.example/"}}},
	})
	server := httptest.NewServer(a)
	defer server.Close()
	out := runNode(t, "sdk.mjs", server.URL)
	var report struct {
		Used     map[string][]int `json:"used"`
		Failures []string         `json:"failures"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, failure := range report.Failures {
		t.Error(failure)
	}
	if len(report.Used) == 0 {
		t.Error("nothing was asked")
	}
}

// runNode runs a script beside the npm packages of tools/proof/npm, and returns what it prints.
func runNode(t *testing.T, script string, args ...string) []byte {
	t.Helper()
	missing := t.Skip
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		missing = t.Fatal
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not installed: apt-get install nodejs npm")
	}
	dir := filepath.Join("..", "..", "tools", "proof", "npm")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "openapi-client-axios")); err != nil {
		missing("openapi-client-axios is not installed: npm ci --prefix tools/proof/npm")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{script}, args...)...)
	cmd.Dir = dir
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %s: %v\n%s", script, err, complaints.String())
	}
	return out
}

// TestDocumentNamesProblems: clients learn from the document what they may be told.
func TestDocumentNamesProblems(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]struct {
			Parameters []struct{ Schema struct{ Enum []string } }
		}
	}
	if err := json.Unmarshal(openAPIDocument(), &document); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, k := range kinds() {
		want = append(want, k.name)
	}
	if got := document.Paths["/sdk/v1/problems/{name}"].Parameters[0].Schema.Enum; !slices.Equal(got, want) {
		t.Errorf("the document names %q, want %q", got, want)
	}
}
