package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/cache"
	"weir/edge/access"
	"weir/edge/upstream"
)

// wire is an origin in memory that keeps what it was asked, as it came.
type wire struct {
	mu    sync.Mutex // guards the fields below
	lines []string   // host and target of each request
	dials int
}

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	w.mu.Lock()
	w.dials++
	w.mu.Unlock()
	ours, theirs := net.Pipe()
	go func() { // ends with the connection
		defer ours.Close()
		r := bufio.NewReader(ours)
		for {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			w.mu.Lock()
			w.lines = append(w.lines, request.Host+request.RequestURI)
			w.mu.Unlock()
			if _, err := io.WriteString(ours, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nCache-Control: no-store\r\n\r\nx"); err != nil {
				return
			}
		}
	}()
	return theirs, nil
}

// take returns what was asked since the last time.
func (w *wire) take() (lines []string, dials int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, dials, w.lines, w.dials = w.lines, w.dials, nil, 0
	return lines, dials
}

// newWireEdge is an edge before a wire whose site denies /private/*. The observed exchange is that of the last request.
func newWireEdge(t testing.TB) (e *Edge, w *wire, last *Exchange) {
	t.Helper()
	w, last = &wire{}, &Exchange{}
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{"http://origin.test"}, Dial: w.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Close)
	rules, err := access.New([]access.Rule{{Deny: true, Paths: []string{"/private/*"}}})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := NewSites(&Site{Hosts: []string{"*"}, Origin: group, Access: rules})
	if err != nil {
		t.Fatal(err)
	}
	store, err := cache.New(cache.Options{MemoryBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	e, err = New(Options{Name: "edge", Cache: store, Sites: sites, Observe: func(x *Exchange) { *last = *x }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		over, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		e.Close(over)
	})
	return e, w, last
}

// FuzzOneTarget holds all steps to one string: what the response is stored under, what the rules see, and what the
// origin is asked for, are the same; and what is refused reaches nobody.
func FuzzOneTarget(f *testing.F) {
	for _, s := range [][2]string{
		{"h", "/"},
		{"H.example:8443", "/a/b?c=d"},
		{"h", "//evil.example/x"},
		{"h", "///x"},
		{"h", "/a/../b"},
		{"h", "/a/%2e%2E/b"},
		{"h", "/a%2fb"},
		{"h", "/a%00"},
		{"h", `/a\b`},
		{"h", "/a%5cb"},
		{"h", "/a#b"},
		{"h", "/%61|{}^`"},
		{"h", "/A.m4s"},
		{"[::1]:80", "/"},
		{"h.", "/?CMCD=x&y"},
		{"h..", "/"},
		{"h", "/%70rivate/x"},
		{"h", "//private/x"},
		{"h", "/private%2Fx"},
		{"h", "/private;a=b/x"},
		{"h", "/%2fprivate/x"},
		{"h", "/private/x"},
		{"h", "http://h/private/x"},
		{"h", "http://other/a#b"},
		{"h", "http://h?x"},
		{"h", "*"},
		{"h", ""},
		{"", "/"},
		{"a@b", "/"},
		{"h", "/;x=1/%3b?;%3b"},
		{"h", "/\xff"},
		{"h", "/%ff?\x7f"},
	} {
		f.Add(s[0], s[1])
	}
	e, w, last := newWireEdge(f)
	f.Fuzz(func(t *testing.T, host, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil { // no server has taken it
			return
		}
		if u.Host != "" { // RFC 9112, 3.2.2
			host = u.Host
		}
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.URL, r.RequestURI, r.Host = u, target, host
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, r)
		lines, dials := w.take()
		if last.Outcome == Refused {
			if len(lines)+dials > 0 || rec.Code < 400 || !slices.Contains(Reasons(), last.Reason) {
				t.Fatalf("%q %q was refused for %q by %d, and the origin asked %q", host, target, last.Reason, rec.Code, lines)
			}
			return
		}
		text := last.Target.KeyText()
		if last.url != text || !slices.Equal(lines, []string{text}) {
			t.Fatalf("%q %q: %q in the rules, %q in the key, %q at the origin", host, target, text, last.url, lines)
		}
		again, err := ParseTarget(last.Target.Host, strings.TrimPrefix(text, last.Target.Host))
		if err != nil || again != last.Target {
			t.Fatalf("%q %q: %+v is no stable form: %+v, %v", host, target, last.Target, again, err)
		}
		plain, err := url.PathUnescape(last.Target.Path)
		for strings.Contains(plain, "//") {
			plain = strings.ReplaceAll(plain, "//", "/")
		}
		if err != nil || strings.HasPrefix(plain, "/private/") {
			t.Fatalf("%q %q got past the rules as %q (%v)", host, target, text, err)
		}
	})
}

// TestOneKeyForEachTarget: what RFC 3986, 6.2.2 calls the same is stored once, and nothing else is.
func TestOneKeyForEachTarget(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(60, "x"))
	ask := func(target string) int {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", target)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		same    []string
		origins int64
	}{
		{[]string{"/a.m4s", "/%61.m4s", "/%61%2em4s", "http://h/a.m4s", "http://h:80/%61.m4s"}, 1},
		{[]string{"/A.m4s"}, 1},
		{[]string{"/b%2fc", "/b%2Fc"}, 1},
		{[]string{"/b/c"}, 1},
		{[]string{"//b/c"}, 1},
		{[]string{"/d|e", "/d%7Ce", "/d%7ce"}, 1},
		{[]string{"http://h", "http://h/", "/"}, 1},
		{[]string{"http://h?q", "/?q"}, 1},
		{[]string{"/vod/../admin", "/vod/%2e%2e/admin", "/vod/.%2e/admin", "http://h/a#b", `http://h/a\b`, "http://h/../a"}, 0},
	} {
		before := b.origin.Load()
		for _, target := range tt.same {
			if status, want := ask(target), map[bool]int{true: 200, false: 400}[tt.origins > 0]; status != want {
				t.Errorf("%s: status %d, want %d", target, status, want)
			}
		}
		if n := b.origin.Load() - before; n != tt.origins {
			t.Errorf("%q: the origin was asked %d times, want %d", tt.same, n, tt.origins)
		}
	}
}

// TestMethods: each refusal is one, and none costs the origin a request.
func TestMethods(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) })
	for method, want := range map[string]int{
		"get": 400, "Get": 400, "GET1": 400, "G_T": 400, "-GET": 400, strings.Repeat("A", 33): 400, "PURGE": 405, "BAN": 405, "TRACE": 405,
		"VERSION-CONTROL": 200, "PROPFIND": 200, "DELETE": 200,
	} {
		origin, refused := b.origin.Load(), b.edge.Refused("method")
		r := httptest.NewRequest(http.MethodGet, b.url+"/a", http.NoBody)
		r.Method, r.RequestURI = method, "/a"
		rec := httptest.NewRecorder()
		b.edge.ServeHTTP(rec, r)
		no := map[bool]int64{true: 1}[want != 200]
		if rec.Code != want || b.origin.Load()-origin != 1-no || b.edge.Refused("method")-refused != no {
			t.Errorf("%s: status %d, want %d; %d to the origin, %d refused", method, rec.Code, want, b.origin.Load()-origin, b.edge.Refused("method")-refused)
		}
	}
}

// TestNoFieldMakesAnotherRequest: what the rules have seen is what the origin is asked, over fills and passes alike.
func TestNoFieldMakesAnotherRequest(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_ = r.Header.Write(w)
	}
	fields := []string{
		"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Host", "X-Forwarded-Path", "X_Forwarded_Host", "X_original_url", "X-Original-Uri", "X-Host",
		"Forwarded", "X-Real-Ip", "True-Client-Ip", "Content_Length", "Transfer_Encoding",
	}
	overrides := []string{"X-Http-Method-Override", "X-Method-Override", "X-Http-Method"}
	rules, err := access.New([]access.Rule{{Deny: true, Methods: []string{"DELETE"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range []Site{{}, {Access: rules}} {
		b := newSiteBench(t, site, echo)
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
			for _, name := range slices.Concat(fields, overrides) {
				g := b.do(method, "/a", name, "canary")
				kept := method == "POST" && site.Access == nil && slices.Contains(overrides, name)
				if strings.Contains(g.body, "canary") != kept {
					t.Errorf("%s with %s, rules %v: the origin saw %s", method, name, site.Access != nil, g.body)
				}
			}
		}
	}
}

// TestASpoiledBodyIsTheClients: a request whose body breaks off is answered as such, and the origin keeps its good name.
func TestASpoiledBodyIsTheClients(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for range 20 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusBadRequest || !resp.Close || !strings.Contains(resp.Header.Get("Proxy-Status"), "http_request_error") {
			t.Errorf("got %d, close %v, Proxy-Status %q", resp.StatusCode, resp.Close, resp.Header.Get("Proxy-Status"))
		}
		conn.Close()
	}
	for _, host := range b.edge.sites.Load().all.Origin.Hosts() {
		if !host.OK || host.LastError != "" {
			t.Errorf("the origin is held for broken: %s", host.LastError)
		}
	}
}
