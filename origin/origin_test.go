package origin

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/origin/asset"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const demoDir = "asset/demo"

func newOrigin(t testing.TB, source asset.Source, log io.Writer) *Origin {
	t.Helper()
	o, err := New(Options{Titles: source, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func directory(t testing.TB, root string) *asset.Dir {
	t.Helper()
	d, err := asset.Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// copyDemo copies files of the sample to a folder under other names: from, to, from, to.
func copyDemo(t testing.TB, dir string, names ...string) {
	t.Helper()
	for ; len(names) > 0; names = names[2:] {
		b, err := os.ReadFile(filepath.Join(demoDir, names[0]))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, names[1]), b)
	}
}

func writeFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func do(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "http://origin"+path, nil)
	for ; len(header) > 0; header = header[2:] {
		r.Header.Set(header[0], header[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// folder returns the path of the folder of a title's rendition: the one whose rendition has the given name.
func folder(t testing.TB, h http.Handler, title, rendition string) string {
	t.Helper()
	master := body(t, do(h, "GET", "/vod/"+title+"/master.m3u8"))
	m := regexp.MustCompile(regexp.QuoteMeta(rendition) + "/[0-9a-f]{16}/").FindString(master)
	if m == "" {
		t.Fatalf("no rendition %s of %s in:\n%s", rendition, title, master)
	}
	return "/vod/" + title + "/" + m
}

func TestPlaylistsOfTheDemo(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, asset.Demo(), io.Discard)
	for name, path := range map[string]string{
		"master.m3u8": "/vod/demo/master.m3u8", "manifest.mpd": "/vod/demo/manifest.mpd",
		"video.m3u8":   folder(t, o, "demo", "demo-720") + "index.m3u8",
		"audio.m3u8":   folder(t, o, "demo", "demo-audio") + "index.m3u8",
		"iframes.m3u8": folder(t, o, "demo", "demo-720") + "iframes.m3u8",
	} {
		got := body(t, do(o, "GET", path))
		golden := filepath.Join("testdata", name)
		if *update {
			writeFile(t, golden, []byte(got))
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, asset.Demo(), io.Discard)
	video, audio := folder(t, o, "demo", "demo-288"), folder(t, o, "demo", "demo-audio")
	tests := []struct{ path, kind, lifetime string }{
		{"/vod/demo/master.m3u8", "application/vnd.apple.mpegurl", forPlaylist},
		{"/vod/demo/manifest.mpd", "application/dash+xml", forPlaylist},
		{video + "index.m3u8", "application/vnd.apple.mpegurl", forEver},
		{video + "init.mp4", "video/mp4", forEver},
		{video + "seg-00001.m4s", "video/mp4", forEver},
		{audio + "init.mp4", "audio/mp4", forEver},
		{audio + "seg-00012.m4s", "audio/mp4", forEver},
		{"/", "application/json", "public, max-age=2"},
	}
	for _, tt := range tests {
		get, head := do(o, "GET", tt.path), do(o, "HEAD", tt.path)
		n := len(body(t, get))
		for _, r := range []*http.Response{get, head} {
			h := r.Header
			if r.StatusCode != 200 || h.Get("Content-Type") != tt.kind || h.Get("Cache-Control") != tt.lifetime ||
				h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Timing-Allow-Origin") != "*" ||
				h.Get("Accept-Ranges") != "bytes" || r.ContentLength != int64(n) {
				t.Errorf("%s: got %d, %d bytes, %v", tt.path, r.StatusCode, n, h)
			}
		}
		if again := do(o, "GET", tt.path, "If-None-Match", `"x", W/`+get.Header.Get("ETag")); again.StatusCode != 304 || body(t, again) != "" {
			t.Errorf("%s with its ETag: got %d, want 304", tt.path, again.StatusCode)
		}
		if at := get.Header.Get("Last-Modified"); at != "" {
			if again := do(o, "GET", tt.path, "If-Modified-Since", at); again.StatusCode != 304 {
				t.Errorf("%s with its date: got %d, want 304", tt.path, again.StatusCode)
			}
		}
	}
	if r := do(o, "OPTIONS", "/vod/demo/master.m3u8"); r.StatusCode != 204 || r.Header.Get("Allow") != allowed {
		t.Errorf("OPTIONS: got %d %v", r.StatusCode, r.Header)
	}
	if r := do(o, "POST", "/vod/demo/master.m3u8"); r.StatusCode != 405 || r.Header.Get("Allow") != allowed {
		t.Errorf("POST: got %d %v", r.StatusCode, r.Header)
	}
	if r := do(o, "GET", "/healthz"); r.StatusCode != 200 {
		t.Errorf("healthz: got %d", r.StatusCode)
	}
}

// TestRanges compares every kind of range with the same piece of the whole, over header and file parts, for a
// contiguous source, an interleaved one in a directory, and the embedded one.
func TestRanges(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	copyDemo(t, root, "demo-288.mp4", "film/a.mp4", "demo-audio.m4a", "film/b.m4a")
	server := httptest.NewServer(newOrigin(t, asset.Join(directory(t, root), asset.Demo()), io.Discard))
	defer server.Close()
	for title, rendition := range map[string]string{"film": "a", "demo": "demo-720"} {
		path := folder(t, server.Config.Handler, title, rendition) + "seg-00003.m4s"
		whole := fetch(t, server.URL+path, "")
		n := len(whole)
		for spec, want := range map[string]string{
			"bytes=0-0": whole[:1], "bytes=0-": whole, "bytes=100-1999": whole[100:2000], "bytes=1000-": whole[1000:], "bytes=-7": whole[n-7:],
			"bytes=-99999999": whole, "bytes=5-99999999999999999999": whole[5:], "BYTES=1-2": whole[1:3], "bytes=2-1": whole, "items=0-1": whole,
			"bytes=0-1,4-5": whole,
		} {
			if got := fetch(t, server.URL+path, spec); got != want {
				t.Errorf("%s of %s: got %d bytes, want %d equal ones", spec, path, len(got), len(want))
			}
		}
		for _, spec := range []string{"bytes=-0", "bytes=99999999-"} {
			if r := do(server.Config.Handler, "GET", path, "Range", spec); r.StatusCode != 416 || !strings.HasPrefix(r.Header.Get("Content-Range"), "bytes */") {
				t.Errorf("%s: got %d %v, want 416", spec, r.StatusCode, r.Header)
			}
		}
		if r := do(server.Config.Handler, "GET", path, "Range", "bytes=1-2", "If-Range", `"other"`); r.StatusCode != 200 {
			t.Errorf("If-Range of another version: got %d, want 200", r.StatusCode)
		}
	}
}

func fetch(t testing.TB, url, spec string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if spec != "" {
		r.Header.Set("Range", spec)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return body(t, res)
}

// countingWriter is a ResponseWriter whose connection can send files.
type countingWriter struct {
	*httptest.ResponseRecorder
	copied, sent int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.copied += int64(len(p))
	return w.ResponseRecorder.Write(p)
}

func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	if lr, ok := r.(*io.LimitedReader); !ok {
		return 0, io.ErrNoProgress
	} else if _, ok := lr.R.(*os.File); !ok {
		return 0, io.ErrNoProgress
	}
	n, err := io.Copy(w.ResponseRecorder, r)
	w.sent += n
	return n, err
}

func TestMediaOfAFileIsNotCopied(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	copyDemo(t, root, "demo-720.mp4", "film.mp4")
	o := newOrigin(t, directory(t, root), io.Discard)
	path := folder(t, o, "film", "film") + "seg-00002.m4s"
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
	o.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.copied > 2048 || w.sent < 50_000 || int(w.copied+w.sent) != w.Body.Len() {
		t.Errorf("got %d bytes copied and %d by ReadFrom of %d, want the header copied only", w.copied, w.sent, w.Body.Len())
	}
}

func TestBrokenTitles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	copyDemo(t, root, "demo-480.mp4", "good/a.mp4", "demo-288.mp4", "cut/a.mp4", "demo-720.mp4", "mixed/a.mp4", "demo-288.mp4", "mixed/b.mp4")
	if err := os.Truncate(filepath.Join(root, "cut/a.mp4"), 100_000); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "text/film.mp4"), []byte("this is no video, whatever its name says"))
	writeFile(t, filepath.Join(root, "mixed/c.mp4"), nil)
	var mu sync.Mutex
	log := &bytes.Buffer{}
	o := newOrigin(t, directory(t, root), lockedWriter{&mu, log})
	for range 3 {
		for title, want := range map[string]string{"cut": "a.mp4: track 1: cut short", "text": "film.mp4: not an MP4", "mixed": "c.mp4: not an MP4 file: too short"} {
			r := do(o, "GET", "/vod/"+title+"/master.m3u8")
			if text := body(t, r); r.StatusCode != 500 || !strings.Contains(text, want) || strings.Contains(text, root) ||
				r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %d %q, want 500 with %q", title, r.StatusCode, text, want)
			}
		}
		if r := do(o, "GET", "/vod/good/master.m3u8"); r.StatusCode != 200 {
			t.Errorf("good: got %d", r.StatusCode)
		}
	}
	if got := strings.Count(log.String(), "cut short"); got != 1 {
		t.Errorf("logged the problem %d times, want once", got)
	}
	var list struct{ Titles []Title }
	if err := json.Unmarshal([]byte(body(t, do(o, "GET", "/vod/"))), &list); err != nil {
		t.Fatal(err)
	}
	for _, title := range list.Titles {
		if (title.Name == "good") != (title.Problem == "") {
			t.Errorf("listing: %s has problem %q", title.Name, title.Problem)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestNothingOutsideIsServed(t *testing.T) {
	t.Parallel()
	outside, root := t.TempDir(), t.TempDir()
	const canary = "CANARY-OUTSIDE"
	writeFile(t, filepath.Join(outside, "secret.m3u8"), []byte(canary))
	copyDemo(t, outside, "demo-288.mp4", "film.mp4")
	writeFile(t, filepath.Join(root, "pkg/master.m3u8"), []byte("#EXTM3U\n"))
	writeFile(t, filepath.Join(root, "pkg/.hidden.m3u8"), []byte(canary))
	for link, to := range map[string]string{"pkg/link.m3u8": "secret.m3u8", "out": "", "film.mp4": "film.mp4", "pkg/dir": ""} {
		if err := os.Symlink(filepath.Join(outside, to), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	o := newOrigin(t, directory(t, root), io.Discard)
	server := httptest.NewServer(o)
	defer server.Close()
	for path, want := range map[string]int{
		"/vod/pkg/master.m3u8": 200, "/vod/pkg/link.m3u8": 404, "/vod/pkg/dir/secret.m3u8": 404, "/vod/out/secret.m3u8": 404,
		"/vod/pkg/link.m3u8/": 400, "/vod/pkg/link.m3u8/.": 400, "/vod/pkg/link.m3u8//": 400, "/vod/pkg/link.m3u8%2f": 400, "/vod/film.mp4/": 400, "/vod/film.mp4": 404,
		"/vod/pkg/dir": 404, "/vod/pkg/dir//secret.m3u8": 400, "/vod/out/film.mp4": 404, "/vod/out/film.mp4/": 400, "/vod/film/film.mp4": 404,
		"/vod/out/": 400, "/vod/pkg/dir/": 400, "/vod/film/master.m3u8": 404, "/vod/out/film/master.m3u8": 404, "/vod/pkg/.hidden.m3u8": 404,
		"/vod/../secret.m3u8": 400, "/vod/pkg/../../secret.m3u8": 400, "/vod/pkg/%2e%2e/x": 400, "/vod/pkg/..%2f..%2fsecret.m3u8": 400,
		"/vod//etc/passwd": 400, "/vod/pkg/a%00b": 400, "/vod/pkg/..%5cx": 400, "/vod/none/master.m3u8": 404, "/etc/passwd": 404,
	} {
		r, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text := body(t, r)
		_ = r.Body.Close()
		if r.StatusCode != want || strings.Contains(text, canary) {
			t.Errorf("%s: got %d %q, want %d", path, r.StatusCode, text, want)
		}
	}
}

func TestPackagedFolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "shows/one/main.m3u8"), []byte("#EXTM3U\n"))
	writeFile(t, filepath.Join(root, "shows/one/v0/seg 1.ts"), []byte("0123456789"))
	o := newOrigin(t, directory(t, root), io.Discard)
	r := do(o, "GET", "/vod/shows/one/v0/seg%201.ts", "Range", "bytes=2-4")
	if got := body(t, r); got != "234" || r.StatusCode != 206 || r.Header.Get("Content-Type") != "video/mp2t" || r.Header.Get("Cache-Control") != forFile {
		t.Errorf("got %d %q %v", r.StatusCode, got, r.Header)
	}
	if r := do(o, "GET", "/vod/shows/one/main.m3u8"); r.Header.Get("Cache-Control") != forPlaylist || r.Header.Get("Content-Type") != typeHLS {
		t.Errorf("got %d %v", r.StatusCode, r.Header)
	}
	titles, err := o.Titles(t.Context())
	if err != nil || len(titles) != 1 || titles[0].Name != "shows/one" || titles[0].HLS != "/vod/shows/one/main.m3u8" || titles[0].DASH != "" {
		t.Errorf("got %+v, %v", titles, err)
	}
}

func TestReplacedFileGetsNewURLs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	copyDemo(t, root, "demo-480.mp4", "film/a.mp4", "demo-720.mp4", "film/b.mp4")
	o := newOrigin(t, directory(t, root), io.Discard)
	a, b := folder(t, o, "film", "a"), folder(t, o, "film", "b")
	copyDemo(t, root, "demo-288.mp4", "film/a.mp4")
	if r := do(o, "GET", a+"seg-00001.m4s"); r.StatusCode != 404 {
		t.Errorf("the old version of a replaced file: got %d, want 404", r.StatusCode)
	}
	if again := folder(t, o, "film", "a"); again == a {
		t.Errorf("the replaced file kept its URL %s", a)
	}
	if again := folder(t, o, "film", "b"); again != b {
		t.Errorf("the other rendition moved from %s to %s", b, again)
	}
}

func TestConcurrentRequestsShareTheWork(t *testing.T) {
	t.Parallel()
	source := asset.Demo()
	o := newOrigin(t, source, io.Discard)
	first, err := asset.Demo().Title("demo")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	created := make(chan bool, 32)
	for range 32 {
		done.Go(func() {
			p, mine := o.shelf.claim("demo", first.Media, time.Now())
			if created <- mine; mine {
				o.prepare(p, first)
			}
			if _, err := p.wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	close(created)
	n := 0
	for mine := range created {
		if mine {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the title was prepared %d times, want once", n)
	}
}

func TestShelfIsBounded(t *testing.T) {
	t.Parallel()
	s := newShelf(100)
	for _, name := range []string{"a", "b", "c", "d"} {
		p, _ := s.claim(name, nil, time.Unix(0, 0))
		s.fill(p, nil, nil, 40)
	}
	if s.bytes != 80 || len(s.places) != 2 || s.places["d"] == nil || s.places["c"] == nil {
		t.Errorf("got %d bytes in %d places, want c and d with 80", s.bytes, len(s.places))
	}
}
