package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/edge/token"
)

// smallOrigin has one title in HLS and DASH, and writes down what it is asked for.
type smallOrigin struct {
	mu    sync.Mutex // guards the field below
	asked []string
}

func (o *smallOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.URL.RequestURI())
	o.mu.Unlock()
	types := map[string]string{".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".m4s": "video/mp4"}
	w.Header().Set("Content-Type", types[r.URL.Path[strings.LastIndexByte(r.URL.Path, '.'):]])
	w.Header().Set("Cache-Control", "max-age=60")
	switch r.URL.Path {
	case "/vod/demo/master.m3u8":
		_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1.64001e\",RESOLUTION=640x360\nlow/v.m3u8\n")
	case "/vod/demo/low/v.m3u8":
		_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1.m4s\n#EXT-X-ENDLIST\n")
	case "/vod/demo/manifest.mpd":
		_, _ = io.WriteString(w, `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet mimeType="video/mp4">`+
			`<SegmentTemplate media="low/$Number$.m4s" startNumber="1"/><Representation id="v" bandwidth="800000" codecs="avc1.64001e" width="640" height="360"/></AdaptationSet></Period></MPD>`)
	case "/vod/demo/low/1.m4s", "/vod/other/1.m4s":
		_, _ = io.WriteString(w, "a segment")
	default:
		http.NotFound(w, r)
	}
}

// TestPlayWithTokens: a viewer who is known gets URLs that open one title, playlists and MPDs pass the token on and name the
// steering server, and neither key nor origin sees any of it.
func TestPlayWithTokens(t *testing.T) {
	t.Parallel()
	o := &smallOrigin{}
	origin := httptest.NewServer(o)
	defer origin.Close()
	keys := write(t, "keys", "k1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n")
	viewers := write(t, "viewers", "v1 fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n")
	c := configs.Default()
	c.Node.Name, c.Node.Dir = "edge-1", t.TempDir()
	c.Listen.HTTP, c.Listen.HTTPS, c.Listen.Admin = "127.0.0.1:0", "", ""
	c.Listen.DrainTimeout = configs.Duration(time.Second)
	c.Sites = []configs.Site{{
		Hosts: []string{"*"}, Origins: []string{origin.URL}, PrivateOrigins: true, Pages: true,
		Token: configs.Token{Schemes: []configs.TokenScheme{{Kind: "cat", KeysFile: keys}}},
		SDK:   configs.SDK{Tokens: true, Accounts: configs.Accounts{KeysFile: viewers, Streams: 1}},
	}}
	n, err := newNode(nodeOptions{config: c, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.listen(); err != nil {
		t.Fatal(err)
	}
	running := start(context.Background(), n.run)
	defer func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + n.public.HTTPAddr()

	if status, _ := post(t, base+"/sdk/v1/sessions", "", `{"asset":"demo"}`); status != http.StatusUnauthorized {
		t.Errorf("a stranger: status %d, want 401", status)
	}
	if status, _ := post(t, base+"/sdk/v1/sessions", tokenFor(t, keys, "ann"), `{"asset":"demo"}`); status != http.StatusUnauthorized {
		t.Errorf("a token with the key of content: status %d, want 401", status)
	}
	ann := tokenFor(t, viewers, "ann")
	status, body := post(t, base+"/sdk/v1/sessions", ann, `{"asset":"demo","device":"phone"}`)
	var p struct {
		Session   string            `json:"session"`
		Manifests map[string]string `json:"manifests"`
		Token     struct {
			Value string `json:"value"`
			Name  string `json:"name"`
		} `json:"token"`
	}
	if err := json.Unmarshal(body, &p); err != nil || status != http.StatusCreated || p.Token.Value == "" {
		t.Fatalf("play: status %d, %v: %s", status, err, body)
	}
	if status, body = post(t, base+"/sdk/v1/sessions", ann, `{"asset":"demo"}`); status != http.StatusConflict || !strings.Contains(string(body), p.Session) {
		t.Errorf("a second stream of one: status %d: %s", status, body)
	}
	if status, _ = post(t, base+"/sdk/v1/sessions", tokenFor(t, viewers, "bob"), `{"asset":"nothing"}`); status != http.StatusNotFound {
		t.Errorf("a title that is not there: status %d, want 404", status)
	}

	master := mustFetch(t, p.Manifests["hls"])
	wantSteering := `#EXT-X-CONTENT-STEERING:SERVER-URI="` + base + `/steer/v1/demo?from=edge-1&session=` + p.Session + `",PATHWAY-ID="edge-1"`
	if !containsAll(master, wantSteering, `,PATHWAY-ID="edge-1"`+"\n", "low/v.m3u8?CAT="+p.Token.Value) {
		t.Errorf("the playlist is\n%s", master)
	}
	child := resolve(t, p.Manifests["hls"], regexp.MustCompile(`(?m)^low.*$`).FindString(master))
	media := mustFetch(t, child)
	segment := resolve(t, child, regexp.MustCompile(`(?m)^1\.m4s.*$`).FindString(media))
	if got := mustFetch(t, segment); got != "a segment" {
		t.Errorf("the segment is %q", got)
	}
	mpd := mustFetch(t, p.Manifests["dash"])
	if !containsAll(mpd, `<ContentSteering defaultServiceLocation="edge-1"`, `serviceLocation="edge-1"`, base+"/vod/demo/", "low/$Number$.m4s?CAT="+p.Token.Value) {
		t.Errorf("the MPD is\n%s", mpd)
	}

	for name, address := range map[string]string{
		"no token":      base + "/vod/demo/low/1.m4s",
		"another title": base + "/vod/other/1.m4s?CAT=" + p.Token.Value,
		"a spoilt one":  base + "/vod/demo/low/1.m4s?CAT=" + p.Token.Value[:len(p.Token.Value)-2] + "AA",
		"of a viewer":   base + "/vod/demo/low/1.m4s?CAT=" + ann,
	} {
		if got, text := fetch(t, address); got != http.StatusForbidden || strings.Contains(text, "segment\n") {
			t.Errorf("%s: status %d, want 403", name, got)
		}
	}

	status, body = post(t, base+"/sdk/v1/token", "", `{"session":"`+p.Session+`"}`)
	var renewed struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &renewed); err != nil || status != http.StatusOK {
		t.Fatalf("renew: status %d, %v: %s", status, err, body)
	}
	if got := mustFetch(t, base+"/vod/demo/low/1.m4s?CAT="+renewed.Value); got != "a segment" {
		t.Errorf("with the renewed token the segment is %q", got)
	}
	if status, _ := post(t, base+"/sdk/v1/token", "", `{"session":"`+strings.Repeat("x", 32)+`"}`); status != http.StatusNotFound {
		t.Errorf("renew for nobody: status %d, want 404", status)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	counts := map[string]int{}
	for _, asked := range o.asked {
		counts[asked]++
		if strings.ContainsAny(asked, "?") || counts[asked] > 1 && !strings.Contains(asked, "nothing") {
			t.Errorf("the origin was asked for %v", o.asked)
			break
		}
	}
}

func tokenFor(t *testing.T, file, subject string) string {
	t.Helper()
	scheme, err := tokenScheme(&configs.TokenScheme{Kind: "cat", KeysFile: file})
	if err != nil {
		t.Fatal(err)
	}
	m, err := token.Mint(scheme, token.Order{End: time.Now().Add(time.Hour), Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

func post(t *testing.T, address, bearer, body string) (status int, answer []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if answer, err = io.ReadAll(w.Body); err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, answer
}

func mustFetch(t *testing.T, address string) string {
	t.Helper()
	status, body := fetch(t, address)
	if status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", address, status, body)
	}
	return body
}

func resolve(t *testing.T, base, reference string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	to, err := u.Parse(reference)
	if err != nil || reference == "" {
		t.Fatalf("%q: %v", reference, err)
	}
	return to.String()
}
