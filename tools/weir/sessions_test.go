package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/tools/proof"
)

// call has a client ask a node's endpoint and reads the answer.
func (l *lab) call(node, method, path, body string, into any) int {
	l.t.Helper()
	r := httptest.NewRequest(method, "http://site.example"+path, strings.NewReader(body))
	r.RequestURI = path
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	l.node(node).edge.ServeHTTP(w, r)
	if into != nil && w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			l.t.Errorf("%s %s via %s: %v: %s", method, path, node, err, w.Body)
		}
	}
	return w.Code
}

type playAnswer struct {
	Session   string            `json:"session"`
	Manifests map[string]string `json:"manifests"`
	Steering  string            `json:"steering"`
	End       string            `json:"end"`
	Token     struct {
		Value string `json:"value"`
		Name  string `json:"name"`
	} `json:"token"`
}

func (l *lab) play(node, asset string) (playAnswer, int) {
	l.t.Helper()
	var p playAnswer
	status := l.call(node, http.MethodPost, "/sdk/v1/sessions", fmt.Sprintf(`{"asset":%q}`, asset), &p)
	return p, status
}

// TestPlaySessions: as many viewers as may watch are let in, whichever nodes they ask at once; they go on when a node is
// killed, and when one joins; and steering leaves out the one that is gone.
func TestPlaySessions(t *testing.T) {
	t.Parallel()
	names := []string{"edge-1", "edge-2", "edge-3", "edge-4"}
	inLabWith(t, map[string]string{"pages": "yes"}, names, func(l *lab, origin *proof.Origin) {
		t := l.t
		for round, lost := range names[1:] {
			asset := fmt.Sprint("match-", round)
			var in atomic.Int64
			sessions := make(chan string, 20)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					switch p, status := l.play(names[i%4], asset); status {
					case http.StatusCreated:
						in.Add(1)
						sessions <- p.Session
					case http.StatusConflict:
					default:
						t.Errorf("play: status %d", status)
					}
				})
			}
			wg.Wait()
			close(sessions)
			if in.Load() != 3 {
				t.Fatalf("%d viewers were let in at once, want 3", in.Load())
			}
			l.network.Kill(lost)
			if err := l.KillNode(lost); err != nil {
				t.Error(err)
			}
			var first string
			for id := range sessions {
				first = id
				for range 3 {
					time.Sleep(5 * time.Second)
					if status := l.call("edge-1", http.MethodPost, "/sdk/v1/sessions/"+id+"/heartbeat", `{"state":"p"}`, nil); status != http.StatusOK {
						t.Errorf("%s is lost: heartbeat: status %d", lost, status)
					}
				}
			}
			if _, status := l.play("edge-1", asset); status != http.StatusConflict {
				t.Errorf("%s is lost: a fourth viewer: status %d, want 409", lost, status)
			}
			var steering struct {
				Priority []string `json:"PATHWAY-PRIORITY"`
			}
			l.call("edge-1", http.MethodGet, "/steer/v1/"+asset+"?session="+first+"&from=edge-1", "", &steering)
			if len(steering.Priority) != 3 || strings.Contains(fmt.Sprint(steering.Priority), lost) {
				t.Errorf("%s is lost: viewers are sent to %v", lost, steering.Priority)
			}
			if err := l.StartNode(lost, map[string]string{"origin": "o", "pages": "yes"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if _, status := l.play(lost, asset); status != http.StatusConflict {
				t.Errorf("%s is back, knows nothing, and lets in a fourth viewer: status %d", lost, status)
			}
			if status := l.call(lost, http.MethodDelete, "/sdk/v1/sessions/"+first, "", nil); status != http.StatusNoContent {
				t.Errorf("end: status %d", status)
			}
			p, status := l.play("edge-1", asset)
			if status != http.StatusCreated {
				t.Errorf("a place is free, and a viewer is refused: status %d", status)
			}
			if want := "http://site.example/o/4KiB/" + asset + "?device=web&session=" + p.Session; p.Manifests["hls"] != want {
				t.Errorf("manifest: got %s, want %s", p.Manifests["hls"], want)
			}
		}
	})
}

// TestLimitInANewCluster: as many viewers as may watch are let in by nodes that have just been started, while they find one
// another, whether one after the other or all at about the same time.
func TestLimitInANewCluster(t *testing.T) {
	t.Parallel()
	for round := range 8 {
		random := rand.New(rand.NewPCG(uint64(round), 1))
		inLabWith(t, nil, nil, func(l *lab, _ *proof.Origin) {
			t := l.t
			var in atomic.Int64
			var nodes, viewers sync.WaitGroup
			for i := range 5 {
				name, pause := fmt.Sprint("edge-", i+1), time.Duration(random.IntN(400))*time.Millisecond
				nodes.Go(func() {
					time.Sleep(pause)
					if err := l.StartNode(name, map[string]string{"origin": "o", "pages": "yes"}); err != nil {
						t.Error(err)
						return
					}
					for k := range 6 {
						viewers.Go(func() {
							time.Sleep(time.Duration(k) * 150 * time.Millisecond)
							switch _, status := l.play(name, "match"); status {
							case http.StatusCreated:
								in.Add(1)
							case http.StatusConflict:
							default:
								t.Errorf("play at %s: status %d", name, status)
							}
						})
					}
				})
				if inTurn := round%2 == 0; inTurn {
					nodes.Wait()
				}
			}
			nodes.Wait()
			viewers.Wait()
			if in.Load() != 3 {
				t.Errorf("round %d: %d viewers were let in, want 3", round, in.Load())
			}
		})
	}
}

// TestSessionsAcrossRegions: what is opened in one region counts in the other.
func TestSessionsAcrossRegions(t *testing.T) {
	t.Parallel()
	inLab(t, nil, func(l *lab, _ *proof.Origin) {
		t := l.t
		for name, region := range map[string]string{"west-1": "west", "west-2": "west", "east-1": "east", "east-2": "east"} {
			options := map[string]string{"origin": "o", "pages": "yes", "region": region}
			if strings.HasSuffix(name, "1") {
				options["relay"] = "yes"
			}
			if err := l.StartNode(name, options); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // both regions have found each other
		for i := range 3 {
			if _, status := l.play([]string{"west-1", "west-2"}[i%2], "match"); status != http.StatusCreated {
				t.Fatalf("play: status %d", status)
			}
		}
		time.Sleep(2 * time.Second)
		for _, name := range []string{"east-1", "east-2"} {
			if _, status := l.play(name, "match"); status != http.StatusConflict {
				t.Errorf("a fourth viewer, in the other region: status %d, want 409", status)
			}
		}
	})
}

// TestViewersOverEdges: what a player reports to several edges is one session, whichever node is asked, and names nobody.
func TestViewersOverEdges(t *testing.T) {
	t.Parallel()
	names := []string{"edge-1", "edge-2", "edge-3"}
	inLabWith(t, map[string]string{"pages": "yes"}, names, func(l *lab, _ *proof.Origin) {
		t := l.t
		event := func(node, record string) {
			r := httptest.NewRequest(http.MethodPost, "http://site.example/sdk/v1/cmcd", strings.NewReader(record))
			r.RequestURI, r.RemoteAddr = "/sdk/v1/cmcd", "192.0.2.77:4000"
			r.Header.Set("Content-Type", "application/cmcd")
			w := httptest.NewRecorder()
			l.node(node).edge.ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Errorf("an event at %s: status %d", node, w.Code)
			}
		}
		for viewer := range 12 {
			sid := fmt.Sprintf(`sid="viewer-%d",cid="film",v=2`, viewer)
			event(names[viewer%3], `e=ps,sta=s,su,`+sid)
			event(names[viewer%3], `e=ps,sta=p,msd=800,br=(3000;v),`+sid)
			time.Sleep(time.Second)
			event(names[(viewer+1)%3], `e=t,sta=p,bsd=(1500;v),`+sid)
			if viewer == 0 {
				event(names[2], `e=e,ec=("DRM-1"),sta=f,`+sid)
			}
		}
		time.Sleep(20 * time.Second)
		v := l.node("edge-2").viewers(t.Context())
		if v.Now != 11 || v.All.Sessions != 1 || v.All.Fatal != 1 || len(v.Missing) != 0 {
			t.Errorf("while they watch: %+v", v)
		}
		time.Sleep(3 * time.Minute)
		for _, name := range names {
			v := l.node(name).viewers(t.Context())
			if v.Now != 0 || v.All.Sessions != 12 || v.All.Started != 12 || v.All.Stalls != 12 || v.All.StartUpP50 < 0.5 || v.All.StartUpP50 > 1 || v.All.ErrorRatio != 1.0/12 {
				t.Errorf("%s, when all is over: %+v", name, v.All)
			}
			for _, row := range v.Rows {
				if row.By == "network" && row.Name != "192.0.2.0/24" || strings.Contains(row.Name, "viewer") {
					t.Errorf("a viewer can be told from %+v", row)
				}
			}
		}
		l.network.Kill("edge-3")
		if err := l.KillNode("edge-3"); err != nil {
			t.Error(err)
		}
		if v := l.node("edge-1").viewers(t.Context()); fmt.Sprint(v.Missing) != "[edge-3]" {
			t.Errorf("missing: got %v, want edge-3", v.Missing)
		}
	})
}

// asOperator gets a path of a node's console.
func (l *lab) asOperator(node, path string) string {
	l.t.Helper()
	n := l.node(node)
	token, err := os.ReadFile(filepath.Join(n.config.Node.Dir, "admin.token"))
	if err != nil {
		l.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Header.Set("Authorization", "Bearer "+string(token))
	w := httptest.NewRecorder()
	n.admin.server.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		l.t.Fatalf("%s of %s: status %d: %s", path, node, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestHintsOfANode: where the players of one rendition wait and those of one network meet errors, by what they report, the
// console says so in words and the metrics count it; nothing else is named.
func TestHintsOfANode(t *testing.T) {
	t.Parallel()
	inLabWith(t, map[string]string{"pages": "yes"}, []string{"edge-1"}, func(l *lab, _ *proof.Origin) {
		t := l.t
		const viewers = 100
		hints := func() (words []string, counted map[string]string) {
			t.Helper()
			var v struct{ Hints []string }
			if err := json.Unmarshal([]byte(l.asOperator("edge-1", "/v1/viewers")), &v); err != nil {
				t.Fatal(err)
			}
			counted = map[string]string{}
			for _, m := range regexp.MustCompile(`(?m)^weir_viewer_hints\{by="(\w+)",what="(\w+)"\} (\S+)$`).FindAllStringSubmatch(l.asOperator("edge-1", "/metrics"), -1) {
				counted[m[1]+" "+m[2]] = m[3]
			}
			return v.Hints, counted
		}
		all := func(record func(bitrate, network int) string) {
			for i := range viewers {
				bitrate, network := 3000*(1+i%2), i/2%2
				r := httptest.NewRequest(http.MethodPost, "http://site.example/sdk/v1/cmcd", strings.NewReader(record(bitrate, network)+fmt.Sprintf(`,sid="viewer-%d",cid="film",v=2`, i)))
				r.RequestURI, r.RemoteAddr = "/sdk/v1/cmcd", fmt.Sprintf("%s.%d:4000", [2]string{"192.0.2", "198.51.100"}[network], i)
				r.Header.Set("Content-Type", "application/cmcd")
				w := httptest.NewRecorder()
				l.node("edge-1").edge.ServeHTTP(w, r)
				if w.Code != http.StatusNoContent {
					t.Fatalf("an event: status %d: %s", w.Code, w.Body)
				}
			}
			time.Sleep(30 * time.Second)
		}
		want := map[string]string{"edge stalls": "0", "edge errors": "0", "rendition stalls": "0", "rendition errors": "0", "network stalls": "0", "network errors": "0"}
		all(func(bitrate, _ int) string { return fmt.Sprintf("e=ps,sta=p,msd=800,br=(%d;v)", bitrate) })
		if words, counted := hints(); len(words) != 0 || !maps.Equal(counted, want) {
			t.Errorf("while all is well: got %q, %v", words, counted)
		}
		all(func(bitrate, _ int) string {
			if bitrate == 6000 {
				return "e=t,sta=p,bsd=(3000;v),br=(6000;v)"
			}
			return "e=t,sta=p,br=(3000;v)"
		})
		all(func(_, network int) string {
			if network == 1 {
				return `e=e,ec=("DRM-1"),sta=p`
			}
			return "e=t,sta=p"
		})
		all(func(int, int) string { return "e=ps,sta=e" })
		words, counted := hints()
		if len(words) != 2 || !strings.Contains(words[0], "at 6000 kbit/s wait for ") || !strings.Contains(words[1], "in 198.51.100.0/24 meet errors") {
			t.Errorf("got %q, want one of the rendition and one of the network", words)
		}
		want["rendition stalls"], want["network errors"] = "1", "1"
		if !maps.Equal(counted, want) {
			t.Errorf("the metrics count %v, want %v", counted, want)
		}
	})
}
