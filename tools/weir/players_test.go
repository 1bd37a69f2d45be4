package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/configs"
)

// TestPlayersOverEveryProtocol: what players are refused, and when to come again, is the same problem document over all of
// them, and each is counted.
func TestPlayersOverEveryProtocol(t *testing.T) {
	t.Parallel()
	viewers := write(t, "viewers", "v1 fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n")
	s := newSocketNode(t, func(o *nodeOptions) {
		c := &o.config.Sites[0]
		c.Pages = true
		c.SDK = configs.SDK{
			Assets:   []configs.Asset{{Match: "small", HLS: "/o/4KiB/{asset}", Viewers: 1}, {Match: "film", HLS: "/o/4KiB/{asset}"}},
			Accounts: configs.Accounts{KeysFile: viewers, Streams: 1},
			Limits:   configs.SDKLimits{Account: configs.RequestRate{Requests: 0.001, Burst: 9}},
		}
	})
	counted := map[string]int64{}
	for _, w := range ways() {
		c, base := s.client(t, w)
		ask := func(method, path, bearer, body string, more ...string) (*http.Response, []byte) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body == "" {
				r.Body, r.ContentLength = http.NoBody, 0
			} else {
				r.Header.Set("Content-Type", "application/json")
			}
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			for i := 0; i < len(more); i += 2 {
				r.Header.Set(more[i], more[i+1])
			}
			answer, err := c.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer, text
		}
		const sessions = "/sdk/v1/sessions"
		ann, bob := tokenFor(t, viewers, "ann "+w.name), tokenFor(t, viewers, "bob "+w.name)
		var p playAnswer
		if r, text := ask("POST", sessions, ann, `{"asset":"small"}`, "Idempotency-Key", "1"); r.StatusCode != http.StatusCreated || json.Unmarshal(text, &p) != nil {
			t.Fatalf("%s: play: status %d: %s", w.name, r.StatusCode, text)
		}
		beat := sessions + "/" + p.Session + "/heartbeat"
		for _, tt := range []struct {
			method, path, bearer, body string
			more                       []string
			status                     int
			problem                    string
		}{
			{"POST", sessions, "", `{"asset":"film"}`, nil, 401, "credential"},
			{"POST", sessions, ann + "x", `{"asset":"film"}`, nil, 401, "credential"},
			{"POST", sessions, ann, `{"asset":"film"}`, nil, 409, "sessions"},
			{"POST", sessions, bob, `{"asset":"small"}`, nil, 409, "audience"},
			{"POST", sessions, ann, `{"asset":"film"}`, []string{"Idempotency-Key", "1"}, 422, "idempotency"},
			{"POST", sessions, ann, `{"asset"`, nil, 400, "request"},
			{"POST", sessions, ann, `{"asset":"` + strings.Repeat("x", 20<<10) + `"}`, nil, 413, "body-size"},
			{"POST", sessions, ann, `{"asset":"film"}`, []string{"Content-Type", "text/plain"}, 415, "media-type"},
			{"POST", sessions, ann, `{"asset":"other"}`, nil, 404, "asset"},
			{"PUT", sessions, ann, `{}`, nil, 405, "method"},
			{"GET", "/sdk/v1/nothing", "", "", nil, 404, "not-found"},
			{"POST", beat, "", `{"state":"p"}`, nil, 200, ""},
			{"DELETE", sessions + "/" + p.Session, "", "", nil, 204, ""},
			{"POST", beat, "", `{"state":"p"}`, nil, 410, "ended"},
			{"POST", sessions + "/abc/heartbeat", "", `{"state":"p"}`, nil, 404, "not-found"},
		} {
			r, text := ask(tt.method, tt.path, tt.bearer, tt.body, tt.more...)
			checkProblem(t, w.name+" "+tt.method+" "+tt.path, r, text, tt.status, tt.problem)
			if tt.problem != "" {
				counted[tt.problem]++
			}
		}
		// The limit of an account.
		last := 0
		for range 12 {
			r, text := ask("POST", sessions, ann, `{"asset":"film","replace":true}`)
			if last = r.StatusCode; last == http.StatusTooManyRequests {
				checkProblem(t, w.name+": too often", r, text, last, "rate")
				if wait, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || wait < 1 {
					t.Errorf("%s: Retry-After %q", w.name, r.Header.Get("Retry-After"))
				}
				counted["rate"]++
			}
		}
		if last != http.StatusTooManyRequests {
			t.Errorf("%s: the twelfth play call: status %d, want 429", w.name, last)
		}
	}
	for name, want := range counted {
		if got := s.players.Answered(name); got != want {
			t.Errorf("%s: %d problems are counted, want %d", name, got, want)
		}
	}
}

// newAccountsNode has a film for viewers with a token of the one key in file.
func newAccountsNode(t *testing.T) (s *socketNode, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "keys")
	keyLine(t, file, "k1", "0123456789abcdef0123456789abcdef")
	return newSocketNode(t, func(o *nodeOptions) {
		o.config.Sites[0].Pages = true
		o.config.Sites[0].SDK = configs.SDK{Assets: []configs.Asset{{Match: "film", HLS: "/o/4KiB/{asset}"}}, Accounts: configs.Accounts{KeysFile: file}}
	}), file
}

// TestViewersOfAProtocol: a viewer's token that is good over one protocol opens no session over another.
func TestViewersOfAProtocol(t *testing.T) {
	t.Parallel()
	s, file := newAccountsNode(t)
	for _, w := range ways() {
		c, base := s.client(t, w)
		for _, protocol := range []string{"http/1.1", "h2", "h3"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/sdk/v1/sessions", strings.NewReader(`{"asset":"film"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+mintCAT(t, file, `{"sub": "ann", "catalpn": ["`+protocol+`"]}`))
			answer, err := c.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			status, problem := http.StatusUnauthorized, "credential"
			if map[int]string{1: "http/1.1", 2: "h2", 3: "h3"}[answer.ProtoMajor] == protocol {
				status, problem = http.StatusCreated, ""
			}
			checkProblem(t, w.name+" by a token for "+protocol, answer, body, status, problem)
		}
	}
}

// checkProblem holds an answer against RFC 9457.
func checkProblem(t *testing.T, what string, r *http.Response, text []byte, status int, name string) {
	t.Helper()
	if r.StatusCode != status {
		t.Errorf("%s: status %d, want %d: %s", what, r.StatusCode, status, text)
		return
	}
	if name == "" {
		return
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&p); err != nil || r.Header.Get("Content-Type") != "application/problem+json" ||
		p.Type != "/sdk/v1/problems/"+name || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("%s: got %s, %v: %s", what, r.Header.Get("Content-Type"), err, text)
	}
}
