package edge

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/edge/manifest"
)

const (
	renditionLow  = "#EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720\nlow.m3u8\n"
	renditionHigh = "#EXT-X-STREAM-INF:BANDWIDTH=8000000,CODECS=\"hvc1.2.4.L150.B0,mp4a.40.2\",RESOLUTION=3840x2160\nhigh.m3u8\n"
	bothOf        = "#EXTM3U\n" + renditionHigh + renditionLow
	carGets       = "#EXTM3U\n" + renditionLow
)

func someDevices(t testing.TB) *Devices {
	t.Helper()
	profiles := map[string]manifest.Limits{"none": {Codecs: []string{"av1"}}, "drm": {DRM: []string{"widevine"}}}
	for _, class := range manifest.Classes() {
		profiles[class], _ = manifest.Profile(class)
	}
	devices, err := NewDevices(profiles)
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

// playlist is an origin that sends body as one, with a tag, and takes conditions.
func playlist(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=600")
		h.Set("Content-Type", "application/vnd.apple.mpegurl")
		h.Set("Last-Modified", "Tue, 03 Mar 2026 10:00:00 GMT")
		if h.Set("Etag", `"v1"`); r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, body)
	}
}

// TestDevices: every class gets a manifest of its own from one stored object, fetched once.
func TestDevices(t *testing.T) {
	t.Parallel()
	b := newSiteBench(t, Site{Devices: someDevices(t)}, playlist(bothOf))
	b.want("stored", b.do("GET", "/m.m3u8"), 200, "stored", bothOf)
	b.want("car", b.do("GET", "/m.m3u8?device=car"), 200, "hit", carGets)
	b.want("again", b.do("GET", "/m.m3u8?device=car"), 200, "hit", carGets)
	b.want("web", b.do("GET", "/m.m3u8?device=web"), 200, "hit", bothOf)
	b.want("phone", b.do("GET", "/m.m3u8?device=phone"), 200, "hit", carGets)
	b.want("metered", b.do("GET", "/m.m3u8?metered=1&device=phone"), 200, "hit", carGets)
	b.want("stored still", b.do("GET", "/m.m3u8"), 200, "hit", bothOf)
	if n := b.origin.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	b.want("miss", b.do("GET", "/other.m3u8?x=1&device=car"), 200, "stored", carGets)
	b.want("capabilities", b.do("GET", "/m.m3u8?codecs=avc1.640028%2Cmp4a.40.2&device=tv&session=s1&height=720&fps=30&channels=2&range=sdr&drm=widevine"), 200, "hit",
		strings.ReplaceAll(carGets, "low.m3u8\n", "low.m3u8?codecs=avc1.640028%2Cmp4a.40.2&device=tv&height=720&fps=30&channels=2&range=sdr&drm=widevine&session=s1\n"))
	b.want("more than the class", b.do("GET", "/m.m3u8?device=car&codecs=hevc&height=2160&bitrate=9000000&session=s2"), 200, "hit", "#EXTM3U\n"+renditionHigh)
	for _, wrong := range []string{"height=x", "drm=mine", "range=sdr,dark", "codecs=a", "bitrate=-1"} {
		if g := b.do("GET", "/m.m3u8?device=car&"+wrong); g.status != http.StatusBadRequest || g.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %q", wrong, g.status, g.body)
		}
	}
	b.want("no class of the site's", b.do("GET", "/other.m3u8?x=1&device=fridge"), 200, "stored", bothOf)
	b.want("no manifest", b.do("GET", "/a.html?device=car"), 200, "stored", bothOf)
	resp := b.asPeer("/peer.m3u8?device=car")
	if tag := resp.Header.Get("Etag"); tag != `"v1"` {
		t.Errorf("another node gets %s, want what is stored", tag)
	}
}

// TestDeviceWithNothing: never an empty ladder.
func TestDeviceWithNothing(t *testing.T) {
	t.Parallel()
	b := newSiteBench(t, Site{Devices: someDevices(t), CORS: NewCORS("*")}, playlist(bothOf))
	for range 2 {
		g := b.do("GET", "/m.m3u8?device=none")
		if g.status != http.StatusNotAcceptable || g.header.Get("Content-Type") != "application/problem+json" || g.header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(g.body, `"status":406`) || g.header.Get("Etag") != "" || g.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("got %d %q %v", g.status, g.body, g.header)
		}
	}
	if n := b.edge.Refused("device"); n != 2 {
		t.Errorf("%d refusals are counted, want 2", n)
	}
}

// TestTailoredConditions: validators and ranges are about what the viewer gets.
func TestTailoredConditions(t *testing.T) {
	t.Parallel()
	b := newSiteBench(t, Site{Devices: someDevices(t)}, playlist(bothOf))
	stored, car, phone := b.do("GET", "/m.m3u8"), b.do("GET", "/m.m3u8?device=car"), b.do("GET", "/m.m3u8?device=phone")
	tag := car.header.Get("Etag")
	if stored.header.Get("Etag") != `"v1"` || !strings.HasPrefix(tag, `"v1-`) || tag == phone.header.Get("Etag") || car.header.Get("Last-Modified") != "" {
		t.Errorf("tags: stored %s, car %s, phone %s", stored.header.Get("Etag"), tag, phone.header.Get("Etag"))
	}
	if got, want := car.header.Get("Content-Length"), fmt.Sprint(len(carGets)); got != want {
		t.Errorf("Content-Length %s, want %s", got, want)
	}
	for _, test := range []struct {
		name   string
		fields []string
		status int
		body   string
	}{
		{"its own tag", []string{"If-None-Match", tag}, 304, ""},
		{"the stored one's", []string{"If-None-Match", `"v1"`}, 200, carGets},
		{"if it is the one", []string{"If-Match", tag}, 200, carGets},
		{"if it is another", []string{"If-Match", `"v1"`}, 412, "the manifest for this device is not the one that the condition names\n"},
		{"a range", []string{"Range", "bytes=8-20"}, 206, carGets[8:21]},
		{"a range of the tag", []string{"Range", "bytes=8-20", "If-Range", tag}, 206, carGets[8:21]},
		{"a range of another", []string{"Range", "bytes=8-20", "If-Range", `"v1"`}, 200, carGets},
		{"past the end", []string{"Range", "bytes=200-"}, 416, "the range lies outside of the 104 bytes\n"},
	} {
		g := b.do("GET", "/m.m3u8?device=car", test.fields...)
		if g.status != test.status || g.body != test.body || g.status < 400 && g.header.Get("Etag") != tag {
			t.Errorf("%s: got %d %q, tag %s; want %d %q", test.name, g.status, g.body, g.header.Get("Etag"), test.status, test.body)
		}
	}
	head := b.do("HEAD", "/m.m3u8?device=car")
	if head.status != 200 || head.header.Get("Etag") != tag || head.header.Get("Content-Length") != fmt.Sprint(len(carGets)) || head.body != "" {
		t.Errorf("HEAD: got %d %v", head.status, head.header)
	}
	if head := b.do("HEAD", "/cold.m3u8?device=car"); head.status != 200 || head.header.Get("Etag") != tag || head.header.Get("Content-Length") != "" {
		t.Errorf("HEAD that is passed: got %d %v", head.status, head.header)
	}
	if n := b.origin.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
}

// TestTailoredPass: what may not be stored is made for the viewer too.
func TestTailoredPass(t *testing.T) {
	t.Parallel()
	var asked atomic.Pointer[http.Header]
	b := newSiteBench(t, Site{Devices: someDevices(t)}, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		asked.Store(&h)
		w.Header().Set("Cache-Control", "private")
		w.Header().Set("Etag", `W/"v1"`)
		body := bothOf
		if r.URL.RawQuery != "" {
			body = r.URL.RawQuery
		}
		_, _ = io.WriteString(w, body)
	})
	g := b.do("GET", "/m.m3u8?device=car", "Range", "bytes=0-3")
	b.want("passed", g, 200, "fwd=uri-miss", carGets)
	if tag := g.header.Get("Etag"); !strings.HasPrefix(tag, `W/"v1-`) || b.do("GET", "/m.m3u8?device=car", "If-None-Match", tag).status != 304 {
		t.Errorf("tag %s", tag)
	}
	if h := *asked.Load(); h.Get("If-None-Match") != "" || h.Get("Range") != "" {
		t.Errorf("the origin is asked under the viewer's conditions: %v", h)
	}
	b.want("nothing", b.do("GET", "/m.m3u8?device=none"), 406, "", `{"title":"No rendition fits the device","status":406,"detail":"nothing of this title is within what the device plays; ask without a device class for all of it"}`)
	b.want("no playlist", b.do("GET", "/m.m3u8?a=b&device=car"), 200, "", "a=b")
}

// TestTailoredCoding: gzip is read, and what cannot be read goes out as it is.
func TestTailoredCoding(t *testing.T) {
	t.Parallel()
	var accepted atomic.Value
	b := newSiteBench(t, Site{Devices: someDevices(t)}, func(w http.ResponseWriter, r *http.Request) {
		accepted.Store(r.Header.Get("Accept-Encoding"))
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path == "/br.m3u8" {
			w.Header().Set("Content-Encoding", "br")
			_, _ = io.WriteString(w, "brotli")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, bothOf)
		_ = z.Close()
	})
	g := b.do("GET", "/m.m3u8?device=car", "Accept-Encoding", "gzip")
	b.want("gzip", g, 200, "stored", carGets)
	if g.header.Get("Content-Encoding") != "" || accepted.Load() != "" {
		t.Errorf("Content-Encoding %q, the origin was asked for %q", g.header.Get("Content-Encoding"), accepted.Load())
	}
	g = b.do("GET", "/br.m3u8?device=car")
	if b.want("brotli", g, 200, "stored", "brotli"); g.header.Get("Content-Encoding") != "br" {
		t.Errorf("Content-Encoding %q", g.header.Get("Content-Encoding"))
	}
}

// TestTailoredRenewed: what is remembered of one version is not shown of the next.
func TestTailoredRenewed(t *testing.T) {
	t.Parallel()
	var more atomic.Bool // the origin has another version
	b := newSiteBench(t, Site{Devices: someDevices(t)}, func(w http.ResponseWriter, r *http.Request) {
		version := bothOf
		if more.Load() {
			version += "#EXT-X-INDEPENDENT-SEGMENTS\n"
		}
		w.Header().Set("Cache-Control", "max-age=0, must-revalidate")
		w.Header().Set("Etag", fmt.Sprintf(`"%d"`, len(version)))
		if r.Header.Get("If-None-Match") == w.Header().Get("Etag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, version)
	})
	for range 2 {
		b.want("first", b.do("GET", "/m.m3u8?device=car"), 200, "", carGets)
	}
	more.Store(true)
	for range 2 {
		b.want("second", b.do("GET", "/m.m3u8?device=car"), 200, "", carGets+"#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
}

// TestPassOn: a client says what it is where it has to.
func TestPassOn(t *testing.T) {
	t.Parallel()
	const mpd = `<MPD><Location>m.mpd?a=1</Location><Period><AdaptationSet mimeType="video/mp4"><SegmentTemplate media="$Number$.m4s"/><Representation height="2"/></AdaptationSet></Period></MPD>`
	b := newSiteBench(t, Site{Devices: someDevices(t)}, func(w http.ResponseWriter, r *http.Request) {
		body := bothOf
		if strings.HasSuffix(r.URL.Path, ".mpd") {
			body = mpd
		}
		playlist(body)(w, r)
	})
	b.want("MPD", b.do("GET", "/m.mpd?device=tv"), 200, "", strings.Replace(mpd, "a=1", "a=1&amp;device=tv", 1))
	b.want("metered", b.do("GET", "/m.mpd?session=s&device=tv&metered=1"), 200, "", strings.Replace(mpd, "a=1", "a=1&amp;device=tv&amp;metered=1&amp;session=s", 1))
	b.want("keys", b.do("GET", "/m.m3u8?device=drm"), 200, "", strings.ReplaceAll(bothOf, ".m3u8\n", ".m3u8?device=drm\n"))
}

// TestTailor: what a site's func wants is made for each viewer, and remembered where it may be.
func TestTailor(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	site := Site{Tailor: func(r *http.Request, target Target) Tailoring {
		calls.Add(1)
		if r.Header.Get("X-Viewer") == "" {
			return Tailoring{}
		}
		return Tailoring{Child: manifest.Query("t", r.Header.Get("X-Viewer")), Steering: &manifest.Steering{Server: target.Path + ".steer"}}
	}}
	b := newSiteBench(t, site, playlist(carGets))
	tags := []string{}
	for _, viewer := range []string{"a", "b", ""} {
		want := carGets
		if viewer != "" {
			want = strings.Replace(strings.Replace(carGets, "low.m3u8", "low.m3u8?t="+viewer, 1), "#EXTM3U\n", "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"/m.m3u8.steer\",PATHWAY-ID=\".\"\n", 1)
		}
		g := b.do("GET", "/m.m3u8", "X-Viewer", viewer)
		b.want("viewer "+viewer, g, 200, "", want)
		tags = append(tags, g.header.Get("Etag"))
	}
	if slices.Sort(tags); len(slices.Compact(tags)) != 3 {
		t.Errorf("tags %q", tags)
	}
	b.do("GET", "/seg.m4s")
	if n := calls.Load(); n != 3 {
		t.Errorf("asked %d times, want once for each manifest", n)
	}
}

// TestTailorOff: what is no manifest costs nothing, nor does a manifest of a site without devices.
func TestTailorOff(t *testing.T) {
	e, devices := &Edge{}, someDevices(t)
	for _, test := range []struct {
		site   Site
		target Target
	}{{Site{}, Target{Path: "/m.m3u8", Query: "device=car"}}, {Site{Devices: devices}, Target{Path: "/seg.m4s", Query: "device=car"}}} {
		x := &Exchange{site: &test.site, Target: test.target, Request: &http.Request{Method: "GET"}}
		if n := testing.AllocsPerRun(100, func() { _ = e.tailor(x) }); n != 0 || x.tailored != nil || x.Target.Query != "device=car" {
			t.Errorf("%s: %v allocations", test.target.Path, n)
		}
	}
}

// TestTailoredBlocking: a playlist that is held back, and comes in pieces, is made when it is whole; its directives are in the
// key as ever.
func TestTailoredBlocking(t *testing.T) {
	t.Parallel()
	const live = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n" +
		"#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\",KEYFORMAT=\"urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed\"\n#EXTINF:4,\n5.m4s\n"
	var asked atomic.Value
	release := make(chan struct{})
	b := newSiteBench(t, Site{Devices: someDevices(t)}, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.RawQuery)
		w.Header().Set("Cache-Control", "max-age=6")
		_, _ = io.WriteString(w, live[:100])
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, live[100:])
	})
	answers := make(chan got, 2)
	for _, device := range []string{"drm", "web"} {
		go func() { answers <- b.do("GET", "/live.m3u8?_HLS_msn=5&_HLS_part=1&device="+device) }() // ends with the answer, which is waited for
	}
	close(release)
	var bodies []string
	for range 2 {
		bodies = append(bodies, (<-answers).body)
	}
	slices.SortFunc(bodies, func(a, b string) int { return len(a) - len(b) })
	if bodies[1] != live || strings.Contains(bodies[0], "skd") || !strings.Contains(bodies[0], "5.m4s") {
		t.Errorf("got %q", bodies)
	}
	if q := asked.Load(); q != "_HLS_msn=5&_HLS_part=1" || b.origin.Load() != 1 {
		t.Errorf("the origin was asked %d times, for %q", b.origin.Load(), q)
	}
}

// TestMemo: what has the same place is not taken for another one.
func TestMemo(t *testing.T) {
	t.Parallel()
	var m memo
	id, head := cache.NewKey("h/m").ID, &cache.Head{ResponseTime: time.Unix(1, 0)}
	place := m.place(id, 7)
	place.Store(&madeManifest{id: id, at: head.ResponseTime, mark: 7})
	if m.place(id, 7+memoPlaces) != place || !place.Load().of(id, head, 7) {
		t.Error("it is not where it was put")
	}
	if made := place.Load(); made.of(id, head, 7+memoPlaces) || made.of(cache.NewKey("h/n").ID, head, 7) || made.of(id, &cache.Head{ResponseTime: time.Unix(2, 0)}, 7) {
		t.Error("another one is taken for it")
	}
}

// TestTailoredAllocations: a manifest that was made before for such a device costs what a hit of the stored one costs.
func TestTailoredAllocations(t *testing.T) {
	b := newSiteBench(t, Site{Devices: someDevices(t)}, playlist(bothOf))
	b.edge.options.Observe = func(*Exchange) {}
	allocations := func(target, want string) float64 {
		t.Helper()
		b.want(target, b.do("GET", target), 200, "", want)
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Host = strings.TrimPrefix(b.url, "http://")
		w := &deafWriter{header: http.Header{}}
		n := testing.AllocsPerRun(200, func() {
			clear(w.header)
			b.edge.ServeHTTP(w, r)
		})
		if w.status != http.StatusOK {
			t.Errorf("%s: status %d", target, w.status)
		}
		return n
	}
	plain := allocations("/m.m3u8", bothOf)
	for _, target := range []string{"/m.m3u8?device=car", "/m.m3u8?device=car&height=720&session=abc"} {
		if n := allocations(target, carGets); n != plain {
			t.Errorf("%s: %v allocations a hit, want %v, as without a device", target, n, plain)
		}
	}
}

func TestGather(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][3]string{
		"":                           {"", "", ""},
		"device=car":                 {"device=car", "", ""},
		"a=1&device=car&height=480":  {"device=car&height=480", "", "a=1"},
		"device=car&a=1&height=480":  {"device=car&height=480", "", "a=1"},
		"device=car&a&session=s&b=&": {"device=car", "session=s", "a&b=&"},
		"session=s&x=1&device=tv&y":  {"device=tv", "session=s", "x=1&y"},
		"height=1&x&height=2&x&drm=": {"height=1&height=2&drm=", "", "x&x"},
	} {
		if got := [3]string{gather(query, ofDevice), gather(query, ofSession), gather(query, ofOthers)}; got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}
