package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestInvalidation holds RFC 9111, 4.4 row by row: what is stored at /a, /b and
// for two values of X is asked for again after a request to /a, or is not.
func TestInvalidation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, target string
		status               int
		header               [2]string
		gone, kept           []string
	}{
		{"POST", "POST", "/a", 200, [2]string{}, []string{"/a"}, []string{"/b"}},
		{"PUT", "PUT", "/a", 201, [2]string{}, []string{"/a"}, []string{"/b"}},
		{"DELETE", "DELETE", "/a", 204, [2]string{}, []string{"/a"}, []string{"/b"}},
		{"redirect", "POST", "/a", 303, [2]string{}, []string{"/a"}, nil},
		{"a method of unknown safety", "M-SEARCH", "/a", 200, [2]string{}, []string{"/a"}, nil},
		{"a safe method", "OPTIONS", "/a", 200, [2]string{}, nil, []string{"/a"}},
		{"client error", "POST", "/a", 404, [2]string{}, nil, []string{"/a"}},
		{"server error", "POST", "/a", 500, [2]string{}, nil, []string{"/a"}},
		{"Location", "POST", "/a", 201, [2]string{"Location", "/b"}, []string{"/a", "/b"}, []string{"/c"}},
		{"Location, relative", "POST", "/a", 201, [2]string{"Location", "b"}, []string{"/b"}, []string{"/c"}},
		{"Location, same origin", "POST", "/a", 201, [2]string{"Location", "http://HOST/b"}, []string{"/b"}, []string{"/c"}},
		{"Location, other host", "POST", "/a", 201, [2]string{"Location", "http://other/b"}, []string{"/a"}, []string{"/b"}},
		{"Location, other port", "POST", "/a", 201, [2]string{"Location", "http://127.0.0.1:1/b"}, []string{"/a"}, []string{"/b"}},
		{"Location, broken", "POST", "/a", 201, [2]string{"Location", "http://[/b"}, []string{"/a"}, []string{"/b"}},
		{"Content-Location", "PUT", "/a", 200, [2]string{"Content-Location", "/b"}, []string{"/a", "/b"}, []string{"/c"}},
		{"all variants", "POST", "/v", 200, [2]string{}, []string{"/v 1", "/v 2"}, []string{"/a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					if tt.header[0] != "" {
						w.Header().Set(tt.header[0], strings.ReplaceAll(tt.header[1], "HOST", r.Host))
					}
					w.WriteHeader(tt.status)
					return
				}
				w.Header().Set("Cache-Control", "max-age=600")
				if r.URL.Path == "/v" {
					w.Header().Set("Vary", "X")
				}
				_, _ = io.WriteString(w, r.URL.Path)
			})
			get := func(what string) (outcome string) {
				path, x, _ := strings.Cut(what, " ")
				return b.do("GET", path, "X", x).header.Get("Cache-Status")
			}
			for _, what := range append(append([]string{}, tt.gone...), tt.kept...) {
				get(what)
				if got := get(what); !strings.Contains(got, "hit") {
					t.Fatalf("%s: %s before", what, got)
				}
			}
			if g := b.do(tt.method, tt.target); g.status != tt.status {
				t.Fatalf("%s got %d, %v", tt.method, g.status, g.err)
			}
			for _, what := range tt.kept {
				if got := get(what); !strings.Contains(got, "hit") {
					t.Errorf("%s was not kept: %s", what, got)
				}
			}
			for _, what := range tt.gone {
				if got := get(what); strings.Contains(got, "hit") {
					t.Errorf("%s was kept: %s", what, got)
				}
				if got := get(what); !strings.Contains(got, "hit") {
					t.Errorf("%s is not stored anew: %s", what, got)
				}
			}
		})
	}
}

// TestAFillThatBeganBeforeAnInvalidationIsNotJoined: who asks after the write
// never gets the response of before, of no variant.
func TestAFillThatBeganBeforeAnInvalidationIsNotJoined(t *testing.T) {
	t.Parallel()
	for _, vary := range []string{"", "X"} {
		t.Run("Vary: "+vary, func(t *testing.T) {
			t.Parallel()
			release, held := make(chan struct{}), make(chan struct{})
			var written atomic.Bool
			b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					written.Store(true)
					return
				}
				w.Header().Set("Cache-Control", "max-age=600")
				if vary != "" {
					w.Header().Set("Vary", vary)
				}
				if written.Load() || r.Header.Get("X") == "other" {
					_, _ = io.WriteString(w, "after")
					return
				}
				_, _ = io.WriteString(w, "bef")
				_ = http.NewResponseController(w).Flush()
				close(held)
				<-release
				_, _ = io.WriteString(w, "ore")
			})
			if vary != "" {
				b.do("GET", "/a", "X", "other") // now the variant's own key is known
			}
			first, begun := make(chan got, 1), make(chan struct{})
			go func() { first <- b.watch("GET", "/a", begun) }() // ends with the fill
			<-held
			<-begun // from here on the first client has the old fill's response
			b.do("POST", "/a")
			after := make(chan got, 1)
			go func() { after <- b.do("GET", "/a") }() // ends with the fill at the latest
			select {
			case g := <-after:
				if g.body != "after" {
					t.Errorf("after the write: %q, %v", g.body, g.err)
				}
			case <-time.After(10 * time.Second):
				t.Error("who asked after the write waits for the fill of before")
			}
			close(release)
			if g := <-first; g.body != "before" {
				t.Errorf("the first client: %q, %v", g.body, g.err)
			}
			if g := b.do("GET", "/a"); g.body != "after" {
				t.Errorf("once the old fill is stored: %q, %v", g.body, g.err)
			}
		})
	}
}

// TestAfterAnInvalidationTheOwnersResponseIsNotUsed where it may be the one of before.
func TestAfterAnInvalidationTheOwnersResponseIsNotUsed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, "after")
	})
	owner := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, "before")
	}))
	owner.EnableHTTP2 = true
	owner.StartTLS()
	t.Cleanup(owner.Close)
	path := b.owned(owner)
	if g := b.do("GET", path); g.body != "before" {
		t.Fatalf("the owner was not asked: %q, %v", g.body, g.err)
	}
	b.do("POST", path)
	if g := b.do("GET", path); g.body != "after" {
		t.Errorf("after the write: %q, %v", g.body, g.err)
	}
}

// TestLifetimesByTheOrigin: which field gives a response its lifetime, and what
// is sent on of it.
func TestLifetimesByTheOrigin(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-100 * time.Hour).UTC().Format(http.TimeFormat)
	tests := []struct {
		name   string
		site   Site
		status int
		header []string
		hit    bool
	}{
		{"no lifetime", Site{}, 200, nil, false},
		{"RFC 9111, 4.2.2: off by default", Site{}, 200, []string{"Last-Modified", old}, false},
		{"RFC 9111, 4.2.2: heuristic", Site{Heuristic: true}, 200, []string{"Last-Modified", old}, true},
		{"heuristic, not this status", Site{Heuristic: true}, 403, []string{"Last-Modified", old}, false},
		{"heuristic, public", Site{Heuristic: true}, 403, []string{"Last-Modified", old, "Cache-Control", "public"}, true},
		{"RFC 9213, 2.2: CDN-Cache-Control", Site{}, 200, []string{"CDN-Cache-Control", "max-age=60", "Cache-Control", "no-store"}, true},
		{"RFC 9213, 2.2: no-store for caches like us", Site{}, 200, []string{"CDN-Cache-Control", "no-store", "Cache-Control", "max-age=60"}, false},
		{"Surrogate-Control off", Site{}, 200, []string{"Surrogate-Control", "max-age=60"}, false},
		{"Surrogate-Control on", Site{Surrogate: true}, 200, []string{"Surrogate-Control", "max-age=60;weir"}, true},
		{"Surrogate-Control on, not stored", Site{Surrogate: true}, 200, []string{"Surrogate-Control", "no-store"}, false},
		{"RFC 9111, 4.2.1: Age unreadable", Site{}, 200, []string{"Cache-Control", "max-age=60", "Age", "x"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var capability atomic.Value
			b := newSiteBench(t, tt.site, func(w http.ResponseWriter, r *http.Request) {
				capability.Store(r.Header.Get("Surrogate-Capability"))
				for i := 0; i+1 < len(tt.header); i += 2 {
					w.Header().Set(tt.header[i], tt.header[i+1])
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, "x")
			})
			for i := range 2 {
				g := b.do("GET", "/a", "Surrogate-Capability", `evil="ESI/1.0"`)
				if hit := strings.Contains(g.header.Get("Cache-Status"), "hit"); g.status != tt.status || hit != (tt.hit && i == 1) {
					t.Errorf("request %d: %d, %s", i, g.status, g.header.Get("Cache-Status"))
				}
				if tt.site.Surrogate && g.header.Get("Surrogate-Control") != "" {
					t.Errorf("a client got Surrogate-Control %q", g.header.Get("Surrogate-Control"))
				}
			}
			want := ""
			if tt.site.Surrogate {
				want = `weir="Surrogate/1.0"`
			}
			if got := capability.Load(); got != want {
				t.Errorf("the origin saw Surrogate-Capability %q, want %q", got, want)
			}
		})
	}
}

// TestSetCookieReachesItsViewerAlone departs from what RFC 9111, 7.3 allows.
func TestSetCookieReachesItsViewerAlone(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", fmt.Sprintf("id=%d", n.Add(1)))
	})
	for i := range 2 {
		if got, want := b.do("GET", "/a").header.Get("Set-Cookie"), fmt.Sprintf("id=%d", i+1); got != want {
			t.Errorf("viewer %d got %q", i+1, got)
		}
	}
}

func TestVaryValue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, field string
		a, b        []string
		same        bool
	}{
		{"RFC 9111, 4.1: white space", "X", []string{"1,2"}, []string{" 1 ,\t2 "}, true},
		{"lines", "X", []string{"1, 2"}, []string{"1", "2"}, true},
		{"white space inside", "X", []string{"a  b"}, []string{"a b"}, true},
		{"but not none", "X", []string{"a b"}, []string{"ab"}, false},
		{"quoted", "X", []string{`"a, b"`}, []string{`"a,b"`}, false},
		{"quoted quote", "X", []string{`"a\", b"`}, []string{`"a\",b"`}, false},
		{"case", "X", []string{"A"}, []string{"a"}, false},
		{"order", "X", []string{"1, 2"}, []string{"2, 1"}, false},
		{"RFC 5646, 2.1.1: languages", "Accept-Language", []string{"en, de"}, []string{"EN,De"}, true},
		{"order of languages", "Accept-Language", []string{"en, de"}, []string{"de, en"}, false},
		{"absent is not empty of it", "X", nil, []string{"a"}, false},
	}
	for _, tt := range tests {
		a, b := varyValue(strings.ToLower(tt.field), http.Header{tt.field: tt.a}), varyValue(strings.ToLower(tt.field), http.Header{tt.field: tt.b})
		if (a == b) != tt.same {
			t.Errorf("%s: %q is %q, %q is %q", tt.name, tt.a, a, tt.b, b)
		}
	}
}

// TestDateStandsForLastModified is RFC 9111, 4.3.2.
func TestDateStandsForLastModified(t *testing.T) {
	t.Parallel()
	const date = "Mon, 02 Nov 2026 10:00:00 GMT"
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=99999999")
		w.Header().Set("Date", date)
	})
	b.do("GET", "/a")
	for since, want := range map[string]int{date: 304, "Mon, 02 Nov 2026 10:00:01 GMT": 304, "Mon, 02 Nov 2026 09:59:59 GMT": 200} {
		if g := b.do("GET", "/a", "If-Modified-Since", since); g.status != want {
			t.Errorf("since %s: %d, want %d", since, g.status, want)
		}
	}
}
