package edge

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/edge/upstream"
)

func TestWantedPartAndProbe(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	tests := []struct {
		method, header string
		want           part
		off, end       int64 // of the probe; 0, 0: none
	}{
		{"GET", "", part{0, math.MaxInt64}, 0, 0},
		{"HEAD", "", part{}, 0, 0},
		{"GET", "bytes=0-", part{0, math.MaxInt64}, 0, 0},
		{"GET", "bytes=2097151-2097152", part{2*mib - 1, 2*mib + 1}, 0, 0},
		{"GET", "bytes=2097152-2097152", part{2 * mib, 2*mib + 1}, 2 * mib, 4 * mib},
		{"GET", "bytes=3000000-", part{3_000_000, math.MaxInt64}, 2 * mib, 8 * mib},
		{"GET", "bytes=3000000-4194304", part{3_000_000, 4*mib + 1}, 2 * mib, 6 * mib},
		{"GET", "bytes=8388608-99999999", part{8 * mib, 100_000_000}, 8 * mib, 16 * mib},
		{"GET", "bytes=9000000-9000001,0-1", part{9_000_000, 9_000_002}, 8 * mib, 10 * mib},
		{"GET", "bytes=-500", part{}, 0, 0},
		{"GET", "bytes=9223372036854775806-", part{}, 0, 0},
		{"GET", "bytes=5-3", part{0, math.MaxInt64}, 0, 0},
		{"GET", "items=0-5", part{0, math.MaxInt64}, 0, 0},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, "/", http.NoBody)
		if tt.header != "" {
			r.Header.Set("Range", tt.header)
		}
		got := wantedPart(r)
		off, end, ok := got.probe()
		if got != tt.want || off != tt.off || end != tt.end || ok != (tt.end > 0) {
			t.Errorf("%s %q: got %v, probe %d-%d %v; want %v, %d-%d", tt.method, tt.header, got, off, end, ok, tt.want, tt.off, tt.end)
		}
	}
}

func TestAsWhole(t *testing.T) {
	t.Parallel()
	const now, before = "Mon, 05 Jan 2026 12:00:00 GMT", "Mon, 05 Jan 2026 11:00:00 GMT"
	tests := []struct {
		contentRange, etag, modified string
		size                         int64 // 0: not usable
	}{
		{"bytes 2097152-4194303/9000000", `"a"`, "", 9_000_000},
		{"bytes 2097152-4194303/4194304", `"a"`, "", 4_194_304},
		{"bytes 2097152-2999999/3000000", `"a"`, "", 3_000_000},
		{"bytes 2097152-4194303/9000000", "", before, 9_000_000},
		{"bytes 2097152-4194303/9000000", "", now, 0}, // could change within that second
		{"bytes 2097152-4194303/9000000", `W/"a"`, "", 0},
		{"bytes 2097152-4194303/9000000", "", "", 0},
		{"bytes 2097152-4194302/9000000", `"a"`, "", 0},
		{"bytes 2097153-4194303/9000000", `"a"`, "", 0},
		{"bytes 2097152-4194303/*", `"a"`, "", 0},
		{"bytes 2097152-4194303/2097152", `"a"`, "", 0},
		{"bytes 2097152-4194303/-1", `"a"`, "", 0},
		{"", `"a"`, "", 0},
	}
	for _, tt := range tests {
		resp := &upstream.Response{Status: http.StatusPartialContent, Length: 2 << 20, Header: http.Header{}}
		for name, value := range map[string]string{"Content-Range": tt.contentRange, "Etag": tt.etag, "Last-Modified": tt.modified, "Date": now} {
			if value != "" {
				resp.Header.Set(name, value)
			}
		}
		ok := asWhole(resp, 2<<20, 4<<20)
		if ok != (tt.size > 0) || ok && (resp.Length != tt.size || resp.Status != http.StatusOK || resp.Header.Get("Content-Range") != "") {
			t.Errorf("%+v: got %v, length %d, status %d", tt, ok, resp.Length, resp.Status)
		}
	}
}

// film is an origin of one large object whose bytes are all its version.
func film(version *atomic.Int32, asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return
		}
		v := version.Load()
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"film"`) // an origin that does not tell its versions apart
		body := strings.NewReader(strings.Repeat(strconv.Itoa(int(v)), 10<<20))
		http.ServeContent(w, r, "film.mp4", time.Time{}, body)
	}
}

// TestSlicesOfAnInvalidatedObjectAreNotUsed: their validator may be the same.
func TestSlicesOfAnInvalidatedObjectAreNotUsed(t *testing.T) {
	t.Parallel()
	var version atomic.Int32
	var asked atomic.Int64
	b := newBench(t, film(&version, &asked))
	for want := range 3 {
		version.Store(int32(want))
		for range 2 {
			g := b.do("GET", "/film.mp4", "Range", "bytes=5000000-5000009")
			if g.status != http.StatusPartialContent || g.body != strings.Repeat(strconv.Itoa(want), 10) {
				t.Fatalf("version %d: got %d %q, %v", want, g.status, g.body, g.err)
			}
		}
		if got := asked.Load(); got != int64(want)+1 {
			t.Errorf("version %d: the origin was asked %d times", want, got)
		}
		if g := b.do("POST", "/film.mp4"); g.status != http.StatusOK {
			t.Fatal(g)
		}
	}
}

// TestConditionsOnALargeObject: the stored head decides, without a slice.
func TestConditionsOnALargeObject(t *testing.T) {
	t.Parallel()
	var version atomic.Int32
	var asked atomic.Int64
	b := newBench(t, film(&version, &asked))
	b.do("GET", "/film.mp4", "Range", "bytes=0-9")
	before := asked.Load()
	for _, tt := range []struct {
		method, name, value string
		ranged              bool
		status              int
		length              string
	}{
		{"GET", "If-None-Match", `"film"`, true, 304, ""},
		{"GET", "If-Range", `"film"`, true, 206, "10"},
		{"GET", "If-Range", `W/"film"`, true, 200, "10485760"},
		{"HEAD", "Accept", "*/*", true, 200, "10485760"},
		{"GET", "Accept", "*/*", false, 200, "10485760"},
	} {
		header := []string{tt.name, tt.value}
		if tt.ranged {
			header = append(header, "Range", "bytes=0-9")
		}
		g := b.do(tt.method, "/film.mp4", header...)
		if g.status != tt.status || tt.length != "" && g.header.Get("Content-Length") != tt.length || g.err != nil {
			t.Errorf("%+v: got %d, Content-Length %s, %v", tt, g.status, g.header.Get("Content-Length"), g.err)
		}
		if tt.method == "GET" && g.status != 304 && fmt.Sprint(len(g.body)) != tt.length {
			t.Errorf("%+v: %d bytes", tt, len(g.body))
		}
	}
	// The two whole ones: slices 1 to 3, slice 4; slice 0 is there.
	if got := asked.Load() - before; got != 2 {
		t.Errorf("the origin was asked %d times", got)
	}
}

// TestARangePastTheEndOfSomethingUnknown is answered with its length.
func TestARangePastTheEndOfSomethingUnknown(t *testing.T) {
	t.Parallel()
	var version atomic.Int32
	var asked atomic.Int64
	b := newBench(t, film(&version, &asked))
	g := b.do("GET", "/film.mp4", "Range", "bytes=99999999-")
	if g.status != http.StatusRequestedRangeNotSatisfiable || g.header.Get("Content-Range") != "bytes */10485760" {
		t.Errorf("got %d, Content-Range %q", g.status, g.header.Get("Content-Range"))
	}
}

// TestAPrivatePartIsPassed: the client gets the part that it asked for, and
// nothing is kept.
func TestAPrivatePartIsPassed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private")
		w.Header().Set("Etag", `"film"`)
		http.ServeContent(w, r, "film.mp4", time.Time{}, strings.NewReader(strings.Repeat("x", 10<<20)))
	})
	g := b.do("GET", "/film.mp4", "Range", "bytes=5000000-5000009")
	b.want("a part", g, http.StatusPartialContent, "fwd=", "xxxxxxxxxx")
	if n := b.cache.Stats(); n.Objects != 0 {
		t.Errorf("%d objects are stored", n.Objects)
	}
}
