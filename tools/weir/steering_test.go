package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"weir/tools/proof"
)

// steeredPlayers are those that steering is shown with.
var steeredPlayers = []struct {
	player, format string
	config         map[string]any
}{
	// Little ahead: else the sample, of 24 s, is loaded before the player has heard of other edges.
	{"hls.js", "hls", map[string]any{"maxBufferLength": 4, "maxMaxBufferLength": 4}},
	{"shaka", "hls", map[string]any{"streaming": map[string]any{"bufferingGoal": 4, "rebufferingGoal": 0.5}}},
	{"dash.js", "dash", map[string]any{"streaming": map[string]any{
		"buffer": map[string]any{"bufferTimeDefault": 4, "bufferTimeAtTopQuality": 4, "bufferTimeAtTopQualityLongForm": 4, "fastSwitchEnabled": false},
		// It asks the same edge so often before it goes elsewhere.
		"retryAttempts": map[string]any{"MediaSegment": 1}, "retryIntervals": map[string]any{"MediaSegment": 200},
	}}},
	{"shaka", "dash", map[string]any{"streaming": map[string]any{"bufferingGoal": 4, "rebufferingGoal": 0.5}}},
}

// TestSteering: every player follows the steering server to the edges that a title's viewers share; away from one that drains, before
// it has gone; and from one that is killed to the last, while it plays.
func TestSteering(t *testing.T) { //nolint:tparallel // its plays share the machine with each other alone
	proof.RequireTool(t, "chromium", "chromium")
	for _, tt := range steeredPlayers {
		t.Run(tt.player+" "+tt.format, func(t *testing.T) {
			alongside(t)
			loseEdges(t, steeredSettings, "demo", tt.format, 2, map[string]any{"player": tt.player, "config": tt.config})
		})
	}
	for i, tt := range steeredPlayers {
		if i > 0 && !*steerAll {
			break // players leave the protocol to the browser: one of them tells enough
		}
		t.Run(tt.player+" "+tt.format+" over HTTP/3", func(t *testing.T) { // without TCP
			alongside(t)
			loseEdges(t, steeredSettings, "demo", tt.format, 2, map[string]any{"player": tt.player, "config": tt.config, "quic": "forced", "protocol": "h3"})
		})
	}
}

var steerAll = flag.Bool("steering.all", false, "show steering with all players over HTTP/3 and on live titles, too")

var steeredSettings = settings{site: ", sdk: {steering: {ttl: 1s}}", cluster: ", timers: {drain: 60s}"}

// loseEdges plays a title from three edges, of which one drains; where two are to be lost, of the others the one that is played
// from is killed.
func loseEdges(t *testing.T, more settings, asset, format string, losses int, arguments map[string]any) (result play, lost []*edgeProcess) {
	t.Helper()
	s := startSteered(t, 3, more)
	p := playAt(t, s.edges[0].https, asset)
	first := steeredTo(t, p.Steering)
	if len(first) != 3 {
		t.Fatalf("viewers are sent to %v, want all three", first)
	}
	all := map[string]any{"url": p.Manifests[format], "seconds": 22, "timeout": 120, "quic": "off", "spki": s.spki, "maxStalls": -1, "allowErrors": true}
	maps.Copy(all, arguments)
	if all["quic"] == "forced" {
		all["quicHosts"] = s.httpsHosts()
	}
	result = browse(t, all, func(played float64) {
		switch {
		case played >= 4 && len(lost) == 0:
			lost = append(lost, s.named(first[0]))
			lost[0].signal(t, os.Interrupt)
		case played >= 12 && len(lost) == 1 && losses == 2:
			left := s.edges[slices.IndexFunc(s.edges, func(e *edgeProcess) bool { return e != lost[0] })]
			lost = append(lost, s.named(steeredTo(t, strings.Replace(p.Steering, s.edges[0].https, left.https, 1))[0]))
			lost[1].kill()
		}
	})
	for _, e := range s.edges {
		e.kill() // they would drain for long
	}
	if len(lost) != losses {
		t.Fatalf("%d edges were lost, want %d: the test shows nothing", len(lost), losses)
	}
	if len(result.Nodes) != losses+1 {
		t.Errorf("segments came from %v, want %d edges", result.Nodes, losses+1)
	}
	result.left(t, "segment", lost)
	return result, lost
}

// left checks that a player asked the edge that drained for all that it answered, and went elsewhere. It may come back to it once
// another one was killed, as shaka does: the server that it asks where to go was killed with the edge that it loads from.
func (p *play) left(t *testing.T, kind string, lost []*edgeProcess) {
	t.Helper()
	asked, failed := 0, 0
	for _, r := range p.Requests {
		if u, err := url.Parse(r.URL); err == nil && r.Kind == kind && u.Host == lost[0].https {
			if asked++; r.Status != http.StatusOK && !r.givenUp() {
				failed++
			}
		}
	}
	last := p.lastHost(kind)
	if asked == 0 || failed > 0 || last == lost[len(lost)-1].https {
		t.Errorf("%d of %d %ss of the edge that drained did not come; the last was asked of %s", failed, asked, kind, last)
	}
}

// startSteered starts edges with hosts of their own and the same port, as in the world. Nobody connects from these hosts, so that
// the port stays free.
func startSteered(t *testing.T, edges int, more settings) *system {
	t.Helper()
	_, port, err := net.SplitHostPort(freePorts(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	return startSystemWith(t, edges, more, func(i int) string { return fmt.Sprintf("127.9.0.%d:%s", 1+i, port) })
}

func (s *system) named(name string) *edgeProcess {
	return s.edges[slices.IndexFunc(s.edges, func(e *edgeProcess) bool { return e.name == name })]
}

// lastHost is of whom the last of a kind was asked.
func (p *play) lastHost(kind string) (host string) {
	for _, r := range p.Requests {
		if u, err := url.Parse(r.URL); err == nil && r.Kind == kind {
			host = u.Host
		}
	}
	return host
}

// playAt opens a session for a title.
func playAt(t *testing.T, host, asset string) playAnswer {
	t.Helper()
	body := strings.NewReader(`{"asset":"` + asset + `","device":"web"}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/sdk/v1/sessions", body)
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
