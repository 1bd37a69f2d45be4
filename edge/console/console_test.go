package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const token = "s3cret-s3cret-s3cret"

// sample is a status with a value of its own in every field.
func sample() Status {
	return Status{
		Name: "edge-1", Version: "v1", State: "ready", UptimeSeconds: 1.5, Zone: "a", Region: "eu",
		Protocols: Protocols{1, 2, 3},
		Requests:  Requests{Total: 36, Hit: 1, Stale: 2, Miss: 3, Pass: 4, Collapsed: 5, Local: 6, Refused: 7, Error: 8},
		Bytes:     Bytes{Sent: 100, FromPeer: 20, FromOrigin: 3},
		Cache: Cache{
			MemoryBytes: 1, MemoryLimit: 2, DiskBytes: 3, DiskLimit: 4, Objects: 5, HotObjects: 6, Evictions: 7,
		},
		Fills: 8, Connections: 9,
		Origin:   Origin{URL: "http://o", OK: true, LastError: "EOF"},
		Ring:     RingState{Version: "0123abcd", Nodes: 3, Differ: []string{"edge-3"}},
		PurgeLog: &PurgeLog{State: CatchingUp, Lag: 1, Posted: 2, Received: 3, Unacknowledged: 4, Lapses: 5},
		Budgets: Budgets{
			OriginRetries: Budget{Sent: 1, Refused: 2}, PeerRetries: &Budget{UsedUp: true, Sent: 3, Refused: 4}, Hedges: &Budget{Sent: 5, Refused: 6},
		},
		Latency:  &Latency{Bounds: []float64{0.5, 1}, Counts: []uint64{1, 2, 3}},
		Problems: []Problem{{What: "w", Why: "y", Fix: "f"}},
	}
}

func options() Options {
	until := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	return Options{
		Name: "edge-1", Token: token, TokenFile: "/var/lib/weir/admin.token",
		Ready:  func() error { return nil },
		Status: sample,
		Members: func() []Member {
			return []Member{{
				Name: "edge-1", Address: "192.0.2.1:7443", Zone: "a", Region: "eu", State: "alive", Weight: 1,
				Build: "v1", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Self: true, Ring: "0123abcd",
			}, {
				Name: "edge-2", Address: "192.0.2.2:7443", Zone: "b", Region: "eu", State: "alive", Weight: 2,
				Build: "v2", Since: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Answers: "no", P95: 0.25, Error: "connection refused", Running: 7,
				Breaker: Breaker{State: "open", Until: &until, Opened: 3}, Ring: "4567cdef",
			}}
		},
		Ring: func(url string) (Route, error) {
			if strings.Contains(url, "nobody") {
				return Route{}, errors.New("no site takes the host nobody")
			}
			return Route{Key: url, Owners: []string{"edge-2", "edge-1"}, LeftOut: []string{"edge-2"}, Ring: "0123abcd", Why: "edge-2 owns the key."}, nil
		},
		Purge: func(_ context.Context, p Purge) (Receipt, error) {
			if slices.Contains(p.Items, "bad") {
				return Receipt{}, &FieldError{"url", "It is bad.", "Send a good one."}
			}
			if slices.Contains(p.Items, "full") {
				return Receipt{}, errors.New("no space left on device")
			}
			nodes := []NodeReceipt{{Node: "edge-1", State: "applied", Removed: len(p.Items)}}
			if slices.Contains(p.Items, "far") {
				at := time.Date(2026, 1, 2, 3, 4, 5, 7, time.UTC)
				nodes = append(nodes, NodeReceipt{Node: "edge-2", State: "applied", Time: &at}, NodeReceipt{Node: "edge-3", State: "missing", Error: "no answer"})
			}
			return Receipt{
				ID: "edge-1-1", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Kind: p.Kind, Items: p.Items, Soft: p.Soft,
				Nodes: nodes,
			}, nil
		},
		Viewers: func(context.Context) Viewers {
			f := Fared{
				Sessions: 9, Started: 8, Left: 1, Fatal: 2, WatchedSeconds: 3600, StartUpP50: 0.5, StartUpP95: 1.5, StallRatio: 0.01, Stalls: 3,
				BitrateKbps: 3000, Switches: 4, ErrorRatio: 0.1,
			}
			return Viewers{Playing: Playing{Sessions: 7, Titles: []PlayingTitle{{Name: "film", Sessions: 7, Devices: map[string]int{"tv": 4, "web": 3}}}}, Now: 5, All: f, Rows: []ViewersOf{{By: "edge", Name: "edge-1", Now: 5, Fared: f}}, Hints: []string{"edge-1 falls behind."}, Missing: []string{"edge-2"}}
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "weir_up 1\n") }),
	}
}

func newConsole(t *testing.T, o Options) *Console {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends one request; authorization may be empty.
func ask(c http.Handler, method, target, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	open := map[string]int{
		"/": 200, "/console.css": 200, "/main.js": 200, "/icon.svg": 200, "/healthz": 200, "/readyz": 200,
		"/nothing": 404, "/index.html": 404, "/page/index.html": 404, "/healthz/": 404, "//": 404, "/favicon.ico": 404,
	}
	closed := map[string]int{
		"/v1/status": 200, "/v1/members": 200, "/v1/viewers": 200, "/v1/ring?url=http%3A%2F%2Fa%2Fb": 200, "/metrics": 200,
		"/v1/purge": 405, "/v1/purge/": 404, "/v1": 404, "/v1/": 404, "/v1/nothing": 404, "/v1/status/": 404, "/metrics/": 404, "/metricsx": 404, "/v1x": 404,
	}
	for path, want := range open {
		if got := ask(c, http.MethodGet, path, ""); got.Code != want {
			t.Errorf("GET %s without token: got %d, want %d", path, got.Code, want)
		}
	}
	for path, want := range closed {
		if got := ask(c, http.MethodGet, path, "Bearer "+token); got.Code != want {
			t.Errorf("GET %s with token: got %d, want %d", path, got.Code, want)
		}
		for _, bad := range []string{
			"", "Bearer", "Bearer ", "Bearer x", "Bearer " + token[1:], "Bearer " + token + "x", "Basic " + token,
			token, "Bearer " + strings.ToUpper(token),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				got := ask(c, method, path, bad)
				if got.Code != http.StatusUnauthorized || !strings.HasPrefix(got.Header().Get("WWW-Authenticate"), `Bearer realm="weir"`) {
					t.Errorf("%s %s with %q: got %d, %v, want 401 with a challenge", method, path, bad, got.Code, got.Header())
				}
			}
		}
	}
	if got := ask(c, http.MethodGet, "/v1/status", "bearer  "+token+" "); got.Code != http.StatusOK {
		t.Errorf("scheme in lower case: got %d, want 200", got.Code)
	}
	if got := ask(c, http.MethodGet, "/v1/status?token="+token, ""); got.Code != http.StatusUnauthorized {
		t.Errorf("token in the query: got %d, want 401: queries end in logs", got.Code)
	}
}

func TestUnauthorizedSaysWhere(t *testing.T) {
	t.Parallel()
	o := options()
	for file, want := range map[string]string{
		"/var/lib/weir/admin.token": "The token lies in /var/lib/weir/admin.token.",
		"":                          "The token lies in admin.token in the node's directory.",
	} {
		o.TokenFile = file
		w := ask(newConsole(t, o), http.MethodGet, "/v1/status", "")
		var p problemDetails
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || !strings.HasSuffix(p.Detail, want) || p.Status != 401 {
			t.Errorf("got %s, %v, want a problem that says %s", w.Body, err, want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("got Content-Type %s", got)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	for _, path := range []string{"/", "/healthz", "/readyz", "/v1/status", "/v1/members", "/v1/ring", "/metrics"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PURGE"} {
			got := ask(c, method, path, "Bearer "+token)
			if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: got %d, Allow %q", method, path, got.Code, got.Header().Get("Allow"))
			}
		}
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	o := options()
	var reason error
	o.Ready = func() error { return reason }
	c := newConsole(t, o)
	if w := ask(c, http.MethodGet, "/readyz", ""); w.Code != 200 || w.Body.String() != "ready\n" {
		t.Errorf("ready: got %d %q", w.Code, w.Body)
	}
	reason = errors.New("draining")
	if w := ask(c, http.MethodGet, "/readyz", ""); w.Code != 503 || w.Body.String() != "draining\n" {
		t.Errorf("draining: got %d %q, want 503 and the reason", w.Code, w.Body)
	}
	if w := ask(c, http.MethodGet, "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz while draining: got %d, want 200", w.Code)
	}
	var s Status
	w := ask(c, http.MethodGet, "/v1/status", "Bearer "+token)
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Ready {
		t.Errorf("status while draining: got ready %v, %v", s.Ready, err)
	}
}

// TestAnswers holds the JSON to golden files: scripts rely on it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	tests := []struct {
		name, target string
		status       int
	}{
		{"status", "/v1/status", 200},
		{"members", "/v1/members", 200},
		{"viewers", "/v1/viewers", 200},
		{"ring", "/v1/ring?url=https%3A%2F%2Fv.example%2Fa%3Fb%3Dc", 200},
		{"ring-relative", "/v1/ring?url=%2Fa", 400},
		{"ring-missing", "/v1/ring", 400},
		{"ring-error", "/v1/ring?url=https%3A%2F%2Fnobody%2Fa", 422},
		{"unknown", "/v1/nothing", 404},
	}
	for _, tt := range tests {
		w := ask(c, http.MethodGet, tt.target, "Bearer "+token)
		if w.Code != tt.status {
			t.Errorf("GET %s: got %d, want %d", tt.target, w.Code, tt.status)
		}
		golden(t, tt.name, w.Body.Bytes())
	}
}

func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatalf("%s: %v: %s", name, err, body)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, pretty.Bytes(), want)
	}
}

// TestAlone: a node without cluster and metrics.
func TestAlone(t *testing.T) {
	t.Parallel()
	o := options()
	o.Members, o.Ring, o.Metrics = nil, nil, nil
	o.Status = func() Status { return Status{} }
	c := newConsole(t, o)
	if w := ask(c, http.MethodGet, "/v1/members", "Bearer "+token); strings.TrimSpace(w.Body.String()) != `{"members":[]}` {
		t.Errorf("members: got %s", w.Body)
	}
	if w := ask(c, http.MethodGet, "/v1/status", "Bearer "+token); !strings.Contains(w.Body.String(), `"problems":[]`) {
		t.Errorf("status: got %s, want an empty list of problems", w.Body)
	}
	for _, path := range []string{"/v1/ring?url=http%3A%2F%2Fa%2F", "/metrics"} {
		if w := ask(c, http.MethodGet, path, "Bearer "+token); w.Code != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, w.Code)
		}
	}
}

// TestSummary: the first words of the status say what is wrong and what to do.
func TestSummary(t *testing.T) {
	t.Parallel()
	disk := Problem{What: "The disk is full.", Why: "no space", Fix: "Free some."}
	gone := Problem{What: "edge-2 is gone.", Why: "no answer", Fix: "Restart it."}
	for _, tt := range []struct {
		problems []Problem
		unready  error
		want     string
	}{
		{nil, nil, "All is well."},
		{[]Problem{disk}, nil, "The disk is full. Free some."},
		{[]Problem{disk, gone}, nil, "2 things are wrong; first: The disk is full. Free some."},
		{nil, errors.New("the node is draining"), "This node takes no traffic: the node is draining."},
		{[]Problem{gone}, errors.New("the node is starting"), "This node takes no traffic: the node is starting. edge-2 is gone. Restart it."},
	} {
		if got := summary(&Status{Problems: tt.problems}, tt.unready); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestSecurityFields(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	for _, path := range []string{"/", "/main.js", "/healthz", "/readyz", "/v1/status", "/metrics", "/nothing"} {
		for _, authorization := range []string{"", "Bearer " + token} {
			h := ask(c, http.MethodGet, path, authorization).Header()
			policy := h.Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "form-action 'none'"} {
				if !strings.Contains(policy, part) {
					t.Errorf("%s: got policy %q, want %s in it", path, policy, part)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
				t.Errorf("%s: got policy %q", path, policy)
			}
			for name, want := range map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: got %s %q, want %q", path, name, got, want)
				}
			}
			if h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: other pages may read it", path)
			}
		}
	}
}

// TestTokenDoesNotLeak: not into an answer, not into the log.
func TestTokenDoesNotLeak(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	o := options()
	o.Log = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := newConsole(t, o)
	almost := token + "almost"
	for _, path := range []string{"/", "/v1/status", "/v1/ring?url=x", "/v1/nothing", "/metrics", "/" + "nothing"} {
		for _, authorization := range []string{"Bearer " + token, "Bearer " + almost, "Basic " + token} {
			w := ask(c, http.MethodGet, path, authorization)
			if text := w.Body.String(); strings.Contains(text, token) {
				t.Errorf("%s: the answer holds the token: %s", path, text)
			}
			for name, values := range w.Header() {
				if strings.Contains(strings.Join(values, " "), token) {
					t.Errorf("%s: the field %s holds the token", path, name)
				}
			}
		}
	}
	if !strings.Contains(told.String(), "refuse token") || strings.Contains(told.String(), token) {
		t.Errorf("got log\n%s\nwant refusals without the token", told.String())
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Options){
		"no token":    func(o *Options) { o.Token = "" },
		"short token": func(o *Options) { o.Token = "123456789012345" },
		"no Ready":    func(o *Options) { o.Ready = nil },
		"no Status":   func(o *Options) { o.Status = nil },
	} {
		o := options()
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestPage holds the page to its own policy: nothing inline, nothing from elsewhere, every file that it asks for there.
func TestPage(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	html := ask(c, http.MethodGet, "/", "").Body.String()
	for _, bad := range []string{"<style", "style=", "onclick=", "onload=", "javascript:", "http://", "src=\"//"} {
		if strings.Contains(html, bad) {
			t.Errorf("index.html has %s, which the policy forbids", bad)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<\s]`).MatchString(html) {
		t.Error("index.html has an inline script")
	}
	asked := regexp.MustCompile(`(?:href|src)="(/[^"]+)"|from "\./([^"]+)"`)
	seen := map[string]bool{}
	for queue := []string{"/"}; len(queue) > 0; queue = queue[1:] {
		w := ask(c, http.MethodGet, queue[0], "")
		if w.Code != http.StatusOK {
			t.Errorf("%s is asked for and not there: %d", queue[0], w.Code)
		}
		body := w.Body.String()
		if strings.Contains(body, "innerHTML") || strings.Contains(body, "eval(") || strings.Contains(body, "@import") {
			t.Errorf("%s writes markup or code", queue[0])
		}
		for _, match := range asked.FindAllStringSubmatch(body, -1) {
			path := match[1]
			if path == "" {
				path = "/" + match[2]
			}
			if !seen[path] {
				seen[path] = true
				queue = append(queue, path)
			}
		}
	}
	if len(seen)+1 != len(c.pages) {
		t.Errorf("the page asks for %d files, %d are embedded", len(seen)+1, len(c.pages))
	}
	ids := regexp.MustCompile(`(?:byID|put|bar|legend)\("([a-z0-9-]+)"[,)]`)
	for name, page := range c.pages {
		for _, match := range ids.FindAllStringSubmatch(string(page.body), -1) {
			if !strings.Contains(html, `id="`+match[1]+`"`) {
				t.Errorf("%s uses the id %s, which index.html does not have", name, match[1])
			}
		}
	}
}
