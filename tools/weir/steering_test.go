package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/tools/proof"
)

// TestSteering: hls.js follows the steering server to an edge that a title's viewers share, and when that is killed, to
// another one, while it plays.
func TestSteering(t *testing.T) {
	proof.RequireTool(t, "chromium", "chromium")
	_, port, err := net.SplitHostPort(freePorts(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	// As in the world: hosts of their own, and the same port.
	s := startSystemWith(t, 3, "", func(i int) string { return fmt.Sprintf("127.0.0.%d:%s", 1+i, port) })
	p := playAt(t, s.edges[0].https)
	first := steeredTo(t, p.Steering)
	if len(first) != 3 {
		t.Fatalf("viewers are sent to %v, want all three", first)
	}
	killed := false
	result := browse(t, map[string]any{
		"url": p.Manifests["hls"], "player": "hls.js",
		// Little ahead: else the sample, of 24 s, is loaded before the player has heard of other edges.
		"config":  map[string]any{"maxBufferLength": 4, "maxMaxBufferLength": 4},
		"seconds": 16, "timeout": 120, "quic": "off", "spki": s.spki, "maxStalls": -1, "allowErrors": true,
	}, func(played float64) {
		if played >= 5 && !killed {
			killed = true
			i := slices.IndexFunc(s.edges, func(e *edgeProcess) bool { return e.name == first[0] })
			s.edges[i].kill()
		}
	})
	if !killed {
		t.Fatal("nothing was killed: the test shows nothing")
	}
	if result.Nodes[first[0]] == 0 || len(result.Nodes) < 2 {
		t.Errorf("steering says %v, segments came from %v", first, result.Nodes)
	}
}

// playAt opens a session for the sample.
func playAt(t *testing.T, host string) playAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/sdk/v1/sessions", strings.NewReader(`{"asset":"demo","device":"web"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	var p playAnswer
	answered(t, r, &p)
	return p
}

func steeredTo(t *testing.T, address string) []string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Priority []string `json:"PATHWAY-PRIORITY"`
	}
	answered(t, r, &m)
	return m.Priority
}

func answered(t *testing.T, r *http.Request, into any) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a certificate that the test's node minted
	defer transport.CloseIdleConnections()
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if err := json.NewDecoder(w.Body).Decode(into); err != nil || w.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s: %s, %v", r.URL, w.Status, err)
	}
}
