package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestBrowserConsole: what an operator reads of viewers in Chromium. Six play sessions at three edges count six, whichever
// edge is asked; of two edges the one whose viewers wait is named.
func TestBrowserConsole(t *testing.T) {
	node := proof.RequireTool(t, "node", "nodejs")
	proof.RequireTool(t, "chromium", "chromium")
	needPlayers(t)
	s := startSystemWith(t, 3, settings{site: `, cmcd: {enabled: true}`}, anyPort)
	for i, device := range []string{"tv", "tv", "web", "phone", "car", "phone"} {
		tell(t, s.edges[i%3], "POST", "/sdk/v1/sessions", fmt.Sprintf(`{"asset":"demo","device":%q}`, device), http.StatusCreated, "Content-Type", "application/json")
	}
	const viewers = 20 // at each edge: fewer are no reason for a hint
	for i, e := range s.edges[:2] {
		for n := range viewers {
			id := fmt.Sprintf("%s-%d", e.name, n)
			report := fmt.Sprintf(`br=2000,cid="demo",d=4000,ot=v,sid="%s",v=2`, id)
			if i == 1 {
				report = fmt.Sprintf(`br=2000,bsd=(400),cid="demo",d=4000,ot=v,sid="%s",v=2`, id)
			}
			tell(t, e, "GET", "/vod/demo/master.m3u8", "", http.StatusOK, "CMCD-Request", report)
			tell(t, e, "POST", "/sdk/v1/cmcd", fmt.Sprintf(`cid="demo",e=ps,sid="%s",sta=e,ts=1,v=2`, id), http.StatusNoContent, "Content-Type", "application/cmcd")
		}
	}
	offline := fmt.Sprintf("cid=\"demo\",e=ps,sid=\"away\",sta=p,ts=%[1]d,v=2,weir-offline\ncid=\"demo\",e=ps,sid=\"away\",sta=e,ts=%[2]d,v=2,weir-offline",
		time.Now().Add(-time.Hour).UnixMilli(), time.Now().Add(-time.Hour+50*time.Second).UnixMilli())
	for _, e := range s.edges[:2] { // the first answer was lost, say
		tell(t, e, "POST", "/sdk/v1/cmcd", offline, http.StatusNoContent, "Content-Type", "application/cmcd", "Idempotency-Key", "away")
	}
	for _, e := range s.edges {
		awaitViewers(t, e, 2*viewers)
	}
	credential, err := os.ReadFile(filepath.Join(s.edges[2].dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	arguments, err := json.Marshal(map[string]any{"url": "http://" + s.edges[2].admin + "/#token=" + strings.TrimSpace(string(credential)), "shots": os.Getenv("WEIR_SHOTS")})
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Failures, Hints   []string
		Playing, Now, Bar string
		Offline           []string
	}
	runScript(t, node, "console.mjs", string(arguments), func(string) {}, &result)
	for _, failure := range result.Failures {
		t.Error(failure)
	}
	if result.Now != "6 sessions" || result.Bar != "demo6" || result.Playing != "tv2web1phone2car1" {
		t.Errorf("the page shows %q, %q, %q", result.Now, result.Bar, result.Playing)
	}
	if want := "Viewers on edge-2 wait for 9.1 % of their time, all others for 0.0 %."; len(result.Hints) != 1 || result.Hints[0] != want {
		t.Errorf("the page hints %q, want %q", result.Hints, want)
	}
	if len(result.Offline) != 1 || !strings.HasPrefix(result.Offline[0], "demo|–|1|50\u2009s|") {
		t.Errorf("watched offline: %q, want one session of demo", result.Offline)
	}
}

// awaitViewers waits until a node tells of so many sessions that are over, and of the one that was watched offline.
func awaitViewers(t *testing.T, e *edgeProcess, sessions int64) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		text := admin(t, e, "/v1/viewers")
		var v struct {
			Playing struct {
				Sessions int
				Titles   []struct{ Sessions int }
			}
			All  struct{ Sessions int64 }
			Rows []struct{ By string }
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if v.Playing.Sessions == 6 && len(v.Playing.Titles) == 1 && v.All.Sessions == sessions && len(v.Rows) > 0 && v.Rows[len(v.Rows)-1].By == "offline" {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s tells after a minute: %s", e.name, text)
		}
	}
}

// tell asks an edge as a player does, with fields in pairs.
func tell(t *testing.T, e *edgeProcess, method, path, body string, want int, fields ...string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != want {
		t.Fatalf("%s %s: %d %s (%v), want %d", method, path, response.StatusCode, text, err, want)
	}
}
