package sdk

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/session"
)

const testMaster = `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="other",URI="other.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="main",DEFAULT=YES,URI="audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=160000,RESOLUTION=640x360,CODECS="avc1.64001e,mp4a.40.2",AUDIO="a"
360.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=810000,RESOLUTION=1920x1080,CODECS="avc1.640028,mp4a.40.2",AUDIO="a"
1080.m3u8?x=1
#EXT-X-STREAM-INF:BANDWIDTH=330000,RESOLUTION=1280x720,CODECS="avc1.64001f,mp4a.40.2",AUDIO="a"
/vod/demo/720.m3u8
`

// testTitle is an edge with a title in three renditions: two segments each, in files of their own, and an audio in byte ranges.
func testTitle(_ *http.Request, path string, _ int64) (int, []byte) {
	name, _, _ := strings.Cut(path, "?")
	switch {
	case strings.HasPrefix(name, "/vod/gone/"):
		return http.StatusNotFound, nil
	case name == "/vod/live/master.m3u8":
		return http.StatusOK, []byte("#EXTM3U\n#EXTINF:2,\n1.m4s\n")
	case strings.HasSuffix(name, "/master.m3u8"):
		return http.StatusOK, []byte(testMaster)
	case strings.HasSuffix(name, "/audio.m3u8"):
		return http.StatusOK, []byte("#EXTM3U\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"100@0\"\n#EXTINF:4,\n#EXT-X-BYTERANGE:900@100\na.mp4\n#EXT-X-ENDLIST\n")
	case strings.HasSuffix(name, "0.m3u8"):
		p := name[strings.LastIndexByte(name, '/')+1 : len(name)-len(".m3u8")]
		return http.StatusOK, fmt.Appendf(nil, "#EXTM3U\n#EXT-X-MAP:URI=\"%s/init.mp4\"\n#EXTINF:2.0,\n%s/1.m4s\n#EXTINF:2,title\n%s/2.m4s\n#EXT-X-ENDLIST\n", p, p, p)
	}
	return http.StatusBadGateway, nil
}

// testSize is 1000 bytes for an init section, and 40,000, 80,000 or 200,000 for a segment.
func testSize(_ *http.Request, path string) int64 {
	switch {
	case strings.HasSuffix(path, "/init.mp4"):
		return 1000
	case strings.HasPrefix(path, "/vod/demo/360/"):
		return 40_000
	case strings.HasPrefix(path, "/vod/demo/720/"):
		return 80_000
	case strings.HasPrefix(path, "/vod/demo/1080/"):
		return 200_000
	}
	return -1
}

func TestDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep, err := session.New(session.Options{Keys: func() [][]byte { return [][]byte{{2}} }, Lease: 48 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		a := testAPI(t, Options{Viewer: byToken, Downloads: keep, DownloadLimit: 2, Fetch: testTitle, Size: testSize})
		post := func(body string) (w interface{ status() int }, d download, p problem) {
			got := ask(a, "POST", "https://edge.example/sdk/v1/downloads", body, "Authorization", "Bearer ann")
			if got.Code == http.StatusCreated {
				return code(got.Code), decode[download](t, got, got.Code), problem{}
			}
			return code(got.Code), download{}, decode[problem](t, got, got.Code)
		}
		_, d, _ := post(`{"asset":"demo","device":"phone"}`)
		if d.Bytes != 402_000 || !d.Exact || d.Files != 5 || d.DurationS != 4 || d.Rendition.Height != 1080 {
			t.Errorf("the best: got %+v", d)
		}
		if want := "[https://edge.example/vod/demo/1080.m3u8?x=1 https://edge.example/vod/demo/audio.m3u8]"; fmt.Sprint(d.Playlists) != want {
			t.Errorf("playlists: got %v, want %s", d.Playlists, want)
		}
		if !d.Expires.Equal(time.Now().Add(48 * time.Hour)) {
			t.Errorf("expires: got %s", d.Expires)
		}
		_, small, _ := post(`{"asset":"demo","device":"phone","max_bytes":200000}`)
		if small.Rendition.Height != 720 || small.Bytes != 162_000 {
			t.Errorf("for 200,000 bytes: got %+v", small)
		}
		if w, _, p := post(`{"asset":"demo"}`); w.status() != 409 || p.Type != problemRoot+"downloads" || len(p.Sessions) != 2 {
			t.Errorf("a third of two: got %d %+v", w.status(), p)
		}
		time.Sleep(24 * time.Hour)
		if w := ask(a, "GET", "/sdk/v1/downloads/"+d.Download, ""); w.Code != 200 {
			t.Errorf("renew: got %d", w.Code)
		}
		time.Sleep(30 * time.Hour)
		if w := ask(a, "GET", "/sdk/v1/downloads/"+small.Download, ""); w.Code != http.StatusGone {
			t.Errorf("one that was not renewed: got %d, want 410", w.Code)
		}
		for body, kind := range map[string]string{
			`{"asset":"demo","max_bytes":50000}`:   "room",
			`{"asset":"live"}`:                     "download",
			`{"asset":"gone"}`:                     "asset",
			`{"asset":"demo","max_bytes":"50000"}`: "request",
		} {
			if _, _, p := post(body); p.Type != problemRoot+kind {
				t.Errorf("%s: got %+v, want %s", body, p, kind)
			}
		}
		if w := ask(a, "DELETE", "/sdk/v1/downloads/"+d.Download, ""); w.Code != http.StatusNoContent {
			t.Errorf("give up: got %d", w.Code)
		}
		// A key repeats one call, and is no place to keep something.
		repeat := func(body, key string) *httptest.ResponseRecorder {
			return ask(a, "POST", "/sdk/v1/downloads", body, "Authorization", "Bearer bob", "Idempotency-Key", key)
		}
		one := decode[download](t, repeat(`{"asset":"demo"}`, "k"), 201)
		if two := decode[download](t, repeat(`{"asset":"demo"}`, "k"), 201); two.Download != one.Download {
			t.Errorf("repeated: got %s, want %s", two.Download, one.Download)
		}
		if w := repeat(`{"asset":"other"}`, "k"); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("another title with the same key: got %d, want 422", w.Code)
		}
		if p := decode[problem](t, repeat(`{"asset":"demo"}`, strings.Repeat("k", 257)), 400); p.Field != "Idempotency-Key" {
			t.Errorf("a key of 257 bytes: got %+v", p)
		}
		if w := ask(testAPI(t, Options{}), "POST", "/sdk/v1/downloads", `{"asset":"demo"}`); w.Code != http.StatusNotFound {
			t.Errorf("where there are none: got %d", w.Code)
		}
	})
}

// TestVeryLongTitle: of more files than are asked for none is looked at one by one.
func TestVeryLongTitle(t *testing.T) { // not parallel: it counts allocations
	const files = 100_000
	playlist := []byte("#EXTM3U\n" + strings.Repeat("#EXTINF:2,\n1.m4s\n", files) + "#EXT-X-ENDLIST\n")
	fetch := func(*http.Request, string, int64) (int, []byte) { return http.StatusOK, playlist }
	a := testAPI(t, Options{Downloads: testBook(t), Fetch: fetch, Size: testSize})
	n := testing.AllocsPerRun(1, func() {
		d := decode[download](t, ask(a, "POST", "/sdk/v1/downloads", `{"asset":"demo"}`), 201)
		if d.Files != files || d.Exact {
			t.Errorf("got %+v", d)
		}
	})
	if n > files {
		t.Errorf("%.0f allocations for %d files", n, files)
	}
}

// TestManyDownloads: titles are measured by few requests at a time, whoever asks; others are told to come again.
func TestManyDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		fetch := func(r *http.Request, path string, limit int64) (int, []byte) {
			if strings.Contains(path, "/master.m3u8") {
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(10 * time.Second)
				running.Add(-1)
			}
			return testTitle(r, path, limit)
		}
		a := testAPI(t, Options{Downloads: testBook(t), Fetch: fetch, Size: testSize})
		statuses := map[int]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				w := ask(a, "POST", "/sdk/v1/downloads", `{"asset":"demo"}`)
				mu.Lock()
				defer mu.Unlock()
				if statuses[w.Code]++; w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
					t.Errorf("busy, and does not say until when: %v", w.Header())
				}
			})
		}
		wg.Wait()
		if most.Load() != measuredTitles || statuses[http.StatusCreated] != measuredTitles || statuses[http.StatusServiceUnavailable] != 20-measuredTitles {
			t.Errorf("%d at a time, answers %v; want %d", most.Load(), statuses, measuredTitles)
		}
		if w := ask(a, "POST", "/sdk/v1/downloads", `{"asset":"demo"}`); w.Code != http.StatusCreated {
			t.Errorf("later: got %d", w.Code)
		}
	})
}

type code int

func (c code) status() int { return int(c) }

// TestLengthsThatNobodyTells follow from the bitrate.
func TestLengthsThatNobodyTells(t *testing.T) {
	a := testAPI(t, Options{Downloads: testBook(t), Fetch: testTitle})
	d := decode[download](t, ask(a, "POST", "/sdk/v1/downloads", `{"asset":"demo"}`), 201)
	if d.Exact || d.Bytes != 810_000*9/10/8*4 {
		t.Errorf("got %+v", d)
	}
}

// TestDownloadToken: the playlists come with the download's own token, and it is renewed as that of a session is.
func TestDownloadToken(t *testing.T) {
	t.Parallel()
	var issued []Grant
	a := testAPI(t, Options{
		Downloads: testBook(t), Size: testSize,
		Fetch: func(r *http.Request, path string, limit int64) (int, []byte) { // as an edge that passes tokens on
			status, body := testTitle(r, path, limit)
			_, query, _ := strings.Cut(path, "?")
			return status, []byte(strings.ReplaceAll(string(body), "720.m3u8", "720.m3u8?"+query))
		},
		Issue: func(g Grant) (Token, error) {
			issued = append(issued, g)
			return Token{Value: fmt.Sprint("token ", len(issued)), Carry: "query", Name: "CAT", Expires: g.Until}, nil
		},
	})
	d := decode[download](t, ask(a, "POST", "https://edge.example/sdk/v1/downloads", `{"asset":"demo","max_bytes":200000}`), 201)
	if want := "[https://edge.example/vod/demo/720.m3u8?CAT=token+2&device=web https://edge.example/vod/demo/audio.m3u8?CAT=token+2]"; fmt.Sprint(d.Playlists) != want {
		t.Errorf("playlists: got %v, want %s", d.Playlists, want)
	}
	renewed := decode[Token](t, ask(a, "POST", "/sdk/v1/token", fmt.Sprintf(`{"session":%q}`, d.Download)), 200)
	if last := issued[len(issued)-1]; renewed.Value != "token 3" || last.Session != d.Download || last.Prefix != "/vod/demo/" || last.Until.Before(d.Expires) {
		t.Errorf("renewed: got %+v for %+v", renewed, last)
	}
	if w := ask(a, "POST", "/sdk/v1/token", `{"session":"nobody's"}`); w.Code != http.StatusNotFound {
		t.Errorf("of nobody: got %d", w.Code)
	}
}

func FuzzPlaylists(f *testing.F) {
	f.Add(testMaster)
	f.Add("#EXTM3U\n#EXT-X-MAP:URI=\"a\",BYTERANGE=\"1@0\"\n#EXTINF:4,\n#EXT-X-BYTERANGE:9@1\na\n#EXT-X-ENDLIST")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range renditions(text) {
			if len(r.playlists) == 0 || len(r.playlists) > 2 {
				t.Errorf("%q: %+v", text, r)
			}
			for _, uri := range r.playlists {
				if path := pathOf("/vod/demo/master.m3u8", uri); path != "" && path[0] != '/' {
					t.Errorf("%q leads to %q", uri, path)
				}
			}
		}
		if m := readMedia(text); m.duration < 0 {
			t.Errorf("%q lasts %s", text, m.duration)
		}
	})
}

// TestPanicOfAMeasurement: one of a file ends the call, in its handler's goroutine, where it can be stopped.
func TestPanicOfAMeasurement(t *testing.T) {
	t.Parallel()
	a := testAPI(t, Options{Viewer: byToken, Downloads: testBook(t), DownloadLimit: 2, Fetch: testTitle, Size: func(*http.Request, string) int64 { panic("a bug") }})
	defer func() {
		if p := recover(); !strings.Contains(fmt.Sprint(p), "a bug") {
			t.Errorf("got a panic of %v, want that of the measurement", p)
		}
	}()
	ask(a, "POST", "https://edge.example/sdk/v1/downloads", `{"asset":"demo","device":"phone"}`, "Authorization", "Bearer ann")
}
