package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weir/edge/console"
)

// shelf is a running weir with a directory that outlives it, before an origin that counts.
type shelf struct {
	*process

	t      *testing.T
	dir    string
	origin *httptest.Server
	asked  atomic.Int64
	http   string
	admin  string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: t.TempDir()}
	s.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Surrogate-Key", "t"+strings.Trim(r.URL.Path, "/"))
		fmt.Fprint(w, s.asked.Add(1), strings.Repeat("x", 200<<10))
	}))
	t.Cleanup(s.origin.Close)
	s.start()
	return s
}

func (s *shelf) start() {
	s.t.Helper()
	s.process = startWeir(s.t, "edge", "--name", "edge-1", "--origin", s.origin.URL, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", s.dir)
	up := s.await(s.t, `(.*edge is up.*)`)
	word := func(key string) string {
		_, rest, _ := strings.Cut(up, " "+key+"=")
		value, _, _ := strings.Cut(rest, " ")
		return value
	}
	s.http, s.admin = word("http"), word("admin")
	awaitReady(s.t, s.admin)
}

// get returns how the cache answered.
func (s *shelf) get(path string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.http+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = "v.example"
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatal(err)
	}
	status := resp.Header.Get("Cache-Status")
	switch {
	case strings.Contains(status, "; hit"):
		return "hit"
	case strings.Contains(status, "fwd=stale"):
		return "stale"
	}
	return "miss"
}

func (s *shelf) purge(args ...string) (code int, out, err string) {
	s.t.Helper()
	return try(s.t, append([]string{"purge", "--admin", s.admin, "--dir", s.dir}, args...)...)
}

// TestPurgesSurviveAKill: what was purged is on the disk of a node that dies right after its receipt, and is not served
// by the next one.
func TestPurgesSurviveAKill(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	paths := []string{"/url", "/prefix/1", "/prefix/2", "/tag", "/soft", "/kept"}
	for _, path := range paths {
		s.get(path)
		if got := s.get(path); got != "hit" {
			t.Fatalf("%s is a %s", path, got)
		}
	}
	for _, args := range [][]string{{"http://v.example/url"}, {"--prefix", "http://v.example/prefix/"}, {"--tag", "ttag"}, {"--soft", "http://v.example/soft"}} {
		if code, out, err := s.purge(args...); code != exitOK || !strings.Contains(out, "applied") {
			t.Fatalf("weir purge %q: %d %q %q", args, code, out, err)
		}
	}
	s.kill()
	s.start()
	for path, want := range map[string]string{"/url": "miss", "/prefix/1": "miss", "/prefix/2": "miss", "/tag": "miss", "/soft": "stale", "/kept": "hit"} {
		if got := s.get(path); got != want {
			t.Errorf("%s is a %s after the restart, want %s", path, got, want)
		}
		if got := s.get(path); got != "hit" {
			t.Errorf("%s is a %s then", path, got)
		}
	}
	// A damaged file: nobody knows what was purged.
	s.kill()
	file := filepath.Join(s.dir, "purges")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2]++
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.await(t, `(everything stored until now counts as purged)`)
	for _, path := range paths {
		if got := s.get(path); got != "miss" {
			t.Errorf("%s is a %s after the file of purges was damaged", path, got)
		}
	}
}

func TestPurgeCommand(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.get("/a")
	for _, tt := range []struct {
		args []string
		code int
		want []string // in what it prints
	}{
		{[]string{"http://v.example/a", "http://v.example/%62?c"}, exitOK, []string{"url v.example/a", "edge-1-", "hard", "v.example/a", "v.example/b?c", "edge-1  applied  1"}},
		{[]string{"/a"}, exitOK, []string{"localhost/a", "edge-1  applied  0"}},
		{[]string{"--prefix", "http://v.example/a,b/", "--prefix", "/c", "--soft"}, exitOK, []string{"soft", "v.example/a,b/", "localhost/c"}},
		{[]string{"--tag", "x,y"}, exitOK, []string{"tag x,y"}},
		{[]string{"--all", "--soft"}, exitOK, []string{"all\n", "soft"}},
		{nil, exitUsage, []string{"--prefix", "--tag", "--all"}},
		{[]string{"--all", "--tag", "x"}, exitUsage, []string{"one command for each"}},
		{[]string{"v.example/a"}, exitUsage, []string{"url", "v.example/a", "absolute URL"}},
		{[]string{"http://v.example/a", "http://v.example/../b"}, exitUsage, []string{"urls[1]", "dot segment"}},
		{[]string{"--tag", ""}, exitUsage, []string{"tag", "Surrogate-Key"}},
	} {
		code, out, err := s.purge(tt.args...)
		if code != tt.code || (code == exitOK) != (err == "") || strings.Count(strings.TrimSpace(err), "\n") > 0 {
			t.Errorf("weir purge %q: %d %q %q, want %d", tt.args, code, out, err, tt.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(out+err, want) {
				t.Errorf("weir purge %q: %q does not say %q", tt.args, out+err, want)
			}
		}
	}
	var receipt console.Receipt
	code, out, _ := s.purge("--json", "http://v.example/a")
	if err := json.Unmarshal([]byte(out), &receipt); err != nil || code != exitOK || receipt.ID == "" || receipt.Time.IsZero() || len(receipt.Nodes) != 1 || receipt.Items[0] != "v.example/a" {
		t.Errorf("weir purge --json: %d %q %v", code, out, err)
	}
	metrics, err := (&adminFlags{Admin: s.admin, Dir: s.dir}).ask(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`weir_purges_total{kind="url"} 3`, `weir_purges_total{kind="all"} 1`, `weir_purged_objects_total 1`, "weir_purge_names "} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
}

// TestPurgeCommandNamesWhoIsMissing: nobody who looks at the exit code takes a purge for done that is not.
func TestPurgeCommandNamesWhoIsMissing(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"edge-1-1","nodes":[{"node":"edge-1","state":"applied","removed":3},{"node":"edge-2","state":"missing","error":"no answer"}]}`)
	}))
	t.Cleanup(api.Close)
	token := write(t, "token", "sixteen or more characters")
	for _, form := range []string{"--soft", "--json"} {
		code, out, err := try(t, "purge", "--admin", api.Listener.Addr().String(), "--token-file", token, "--all", form)
		if code != exitFailed || !strings.Contains(err, "edge-2") || strings.Contains(err, "edge-1") || !strings.Contains(out, "no answer") {
			t.Errorf("%s: got %d %q %q, want 1 and edge-2 named", form, code, out, err)
		}
	}
}
