package player

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustNew(t *testing.T, o Options) *Player {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	hlsjs := filepath.Join(t.TempDir(), "hls.min.js")
	if err := os.WriteFile(hlsjs, []byte("var Hls;"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := mustNew(t, Options{HLSJS: hlsjs})
	const immutable = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		method, target string
		status         int
		contentType    string
		cacheControl   string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"GET", "/player/guide", 200, "text/html; charset=utf-8", "no-cache"},
		{"GET", "/player/guide.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/player/config.json", 200, "application/json", "no-cache"},
		{"GET", "/player/main.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"GET", "/player/" + p.version + "/main.js", 200, "text/javascript; charset=utf-8", immutable},
		{"GET", "/player/" + p.version + "/player.css", 200, "text/css; charset=utf-8", immutable},
		{"GET", "/player/" + p.version + "/mark.svg", 200, "image/svg+xml", immutable},
		{"GET", p.hlsjs, 200, "text/javascript; charset=utf-8", immutable},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/player/index.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/player/", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/player/000000000000/main.js", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/player/../player.go", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/vod/demo/master.m3u8", 404, "text/plain; charset=utf-8", ""},
	} {
		r := ask(t, p, c.method, c.target)
		body := text(t, r)
		if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.contentType || r.Header.Get("Cache-Control") != c.cacheControl {
			t.Errorf("%s %s: got %d %q %q, want %d %q %q", c.method, c.target, r.StatusCode, r.Header.Get("Content-Type"),
				r.Header.Get("Cache-Control"), c.status, c.contentType, c.cacheControl)
		}
		if (c.method == "HEAD") != (body == "") {
			t.Errorf("%s %s: body of %d bytes", c.method, c.target, len(body))
		}
		if c.status == 200 && r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no nosniff", c.method, c.target)
		}
	}
}

func TestRevalidation(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{})
	for _, coding := range []string{"", "gzip", "br, GZIP;q=0.5"} {
		first := ask(t, p, "GET", "/", "Accept-Encoding", coding)
		tag := first.Header.Get("ETag")
		if compressed := first.Header.Get("Content-Encoding") == "gzip"; compressed != (coding != "") {
			t.Fatalf("Accept-Encoding %q: compressed %v", coding, compressed)
		}
		for header, want := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
			r := ask(t, p, "GET", "/", "Accept-Encoding", coding, "If-None-Match", header)
			if r.StatusCode != want || r.Header.Get("ETag") != tag {
				t.Errorf("Accept-Encoding %q, If-None-Match %q: got %d %s, want %d %s", coding, header, r.StatusCode, r.Header.Get("ETag"), want, tag)
			}
			if want == 304 && text(t, r) != "" {
				t.Errorf("304 with a body")
			}
		}
	}
	plain, zipped := ask(t, p, "GET", "/"), ask(t, p, "GET", "/", "Accept-Encoding", "gzip")
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("both codings have one strong tag")
	}
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil || string(body) != text(t, plain) {
		t.Errorf("the compressed page differs from the plain one (%v)", err)
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.000": false, "gzip; q=0.1": true, "gzip;q=x": false, "*": false, "xgzip": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("acceptsGzip(%q) = %v, want %v", header, got, want)
		}
	}
}

func FuzzRequestHeaders(f *testing.F) {
	f.Add("gzip;q=1", `W/"a", "b"`, "/player/main.js")
	f.Add("", "*", "/")
	p, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, coding, tags, target string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = target
		r.Header["Accept-Encoding"], r.Header["If-None-Match"] = []string{coding}, []string{tags}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 304 && w.Code != 404 {
			t.Errorf("%q %q %q: %d", coding, tags, target, w.Code)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	nodes := []Node{
		{Name: "edge-1", URL: "https://127.0.0.1:8443/"},
		{Name: "edge-2", URL: "http://127.0.0.1:8081/ignored?q#f"},
		{Name: "no-scheme", URL: "127.0.0.1:8443"},
		{Name: "no-host", URL: "https:///x"},
		{Name: "strange", URL: "ftp://127.0.0.1"},
		{Name: "broken", URL: "https://%zz"},
	}
	p := mustNew(t, Options{Title: `A "title" <b>`, HLS: "/live/one/master.m3u8", Asset: "one", DASH: "/live/one/manifest.mpd", Nodes: func() []Node { return nodes }})
	for name, o := range map[string]*Player{"config.json": p, "config-default.json": mustNew(t, Options{})} {
		r := ask(t, o, "GET", "/player/config.json")
		if r.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: a page of another node may not read it", name)
		}
		golden(t, name, strings.ReplaceAll(text(t, r), o.version, "VERSION"))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	nodes := []Node{{Name: "a", URL: "https://a.example"}, {Name: "b", URL: "http://b.example:8080"}, {Name: "c", URL: "http://c.example;script-src"}}
	p := mustNew(t, Options{Nodes: func() []Node { return nodes }})
	got := ask(t, p, "GET", "/").Header.Get("Content-Security-Policy")
	want := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' https: http://b.example:8080; " +
		"media-src 'self' https: http://b.example:8080 blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The page may ask nobody else for anything, and every file it names exists.
func TestPageAsksNobodyElse(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{})
	named := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from "\./([^"]+)"|url\(([^)]*)\)`)
	files, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		source := string(body)
		switch name {
		case "index.html":
			source = text(t, ask(t, p, "GET", "/"))
		case "guide.html":
			source = text(t, ask(t, p, "GET", "/player/guide"))
		}
		for _, match := range named.FindAllStringSubmatch(source, -1) {
			target := match[1]
			if match[2] != "" {
				target = path.Join("/player", p.version, path.Dir(name), match[2])
			}
			if strings.HasPrefix(target, "/vod/") || strings.HasPrefix(target, "/sdk/v1/") { // the title itself, and package sdk
				continue
			}
			if r := ask(t, p, "GET", target); r.StatusCode != 200 {
				t.Errorf("%s names %q: %d", name, match[0], r.StatusCode)
			}
		}
		for _, foreign := range regexp.MustCompile(`https?://[^\s"'<>)]*`).FindAllString(source, -1) {
			if foreign != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", name, foreign)
			}
		}
		if strings.Contains(source, "style=") || regexp.MustCompile(`\son[a-z]+="`).MatchString(source) {
			t.Errorf("%s has inline style or script, which its policy forbids", name)
		}
	}
}

func TestNewRejects(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{HLS: "vod/x.m3u8"}, {HLS: "//evil.example/x.m3u8"}, {DASH: "https://x/y.mpd"}, {HLSJS: filepath.Join(t.TempDir(), "none.js")}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) took it", o)
		}
	}
}

func TestVersionFollowsContent(t *testing.T) {
	t.Parallel()
	a := versionOf(map[string][]byte{"a": []byte("1"), "b": []byte("2")})
	for name, other := range map[string]map[string][]byte{
		"content": {"a": []byte("1"), "b": []byte("3")}, "name": {"a": []byte("1"), "c": []byte("2")}, "border": {"a": []byte("12"), "b": nil},
	} {
		if versionOf(other) == a {
			t.Errorf("%s: same version", name)
		}
	}
}

func TestHandles(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{})
	for target, want := range map[string]bool{"/": true, "/player/x": true, "/player": false, "/players/x": false, "/vod/demo/x.m4s": false, "": false} {
		if got := p.Handles(target); got != want {
			t.Errorf("Handles(%q) = %v, want %v", target, got, want)
		}
	}
}

// The page reads Cache-Status and playlists with code of its own, and brings the client that others import.
func TestModules(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"nodes.test.mjs", "parsers.test.mjs", "sdk.test.mjs", "downloads.test.mjs", "seen.test.mjs"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("node"); err != nil {
				missing(t, "the package nodejs")
			}
			if _, err := os.Stat("node_modules/@svta/cml-cmcd"); err != nil {
				missing(t, "npm ci --prefix edge/player")
			}
			out, err := exec.CommandContext(t.Context(), "node", "--test", filepath.Join("testdata", file)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// A page that keeps something finds all its files listed, and a worker that may serve the page itself.
func TestFilesOfPage(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{})
	var list []string
	if err := json.Unmarshal([]byte(text(t, ask(t, p, "GET", "/player/"+p.version+"/files.json"))), &list); err != nil {
		t.Fatal(err)
	}
	files, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(files) { // the guide is no part of the page; config.json is no file
		t.Errorf("%d files are listed, want %d", len(list), len(files))
	}
	for _, target := range list {
		r := ask(t, p, "GET", target)
		worker := strings.HasSuffix(target, "/sdk/offline.js")
		if r.StatusCode != 200 || (r.Header.Get("Service-Worker-Allowed") == "/") != worker {
			t.Errorf("%s: %d, Service-Worker-Allowed %q", target, r.StatusCode, r.Header.Get("Service-Worker-Allowed"))
		}
	}
	for _, needed := range []string{"/", "/player/config.json", "/player/" + p.version + "/main.js", "/player/" + p.version + "/sdk/offline.js"} {
		if !slices.Contains(list, needed) {
			t.Errorf("%s is not listed", needed)
		}
	}
}

// The client's types are comments, which a checker reads.
func TestClientTypes(t *testing.T) {
	t.Parallel()
	checker := filepath.Join("node_modules", ".bin", "tsc")
	if _, err := os.Stat(checker); err != nil {
		missing(t, "npm ci --prefix edge/player")
	}
	if out, err := exec.CommandContext(t.Context(), checker, "--project", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Pages of other origins may import the client, and all that it imports, by both addresses.
func TestClientIsShared(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{})
	for target, want := range map[string]string{
		"/player/sdk/weir.js": "*", "/player/sdk/wire.js": "*", "/player/" + p.version + "/sdk/weir.js": "*",
		"/player/main.js": "", "/player/" + p.version + "/main.js": "", "/": "",
	} {
		h := ask(t, p, "GET", target, "Origin", "https://other.example").Header
		if got := h.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", target, got, want)
		}
		if got := h.Get("Cross-Origin-Resource-Policy") == "cross-origin"; got != (want != "") {
			t.Errorf("%s: for other origins: %v", target, got)
		}
	}
	imports := regexp.MustCompile(`(?:from|import\() ?"([^"]+)"`)
	files, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		if !strings.HasPrefix(name, sdkFolder) {
			continue
		}
		for _, match := range imports.FindAllStringSubmatch(string(body), -1) {
			if !strings.HasPrefix(match[1], "./") && match[1] != "/player/sdk/weir.js" { // the example of how to import it
				t.Errorf("%s imports %s, from outside its folder", name, match[1])
			}
		}
	}
}
