package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"weir/cache"
	"weir/edge"
	"weir/edge/upstream"
)

// asked is a request in the words that the three protocols have in common.
type asked struct {
	method, authority, path string
	fields                  []string // names in small letters, and values
	body                    string
}

// alike is a whole front door, edge included, before an origin in memory, that is asked the same over all protocols.
type alike struct {
	*running
	edge *edge.Edge

	mu     sync.Mutex // guards the fields below
	seen   string     // the last request that the edge was handed
	origin []string   // what the origin was asked
}

// newAlike has no budgets: a fuzzer is no honest client.
func newAlike(t testing.TB) *alike {
	t.Helper()
	a := &alike{}
	group, err := upstream.NewGroup(upstream.Options{URLs: []string{"http://origin.test"}, Dial: a.dialOrigin})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := edge.NewSites(&edge.Site{Hosts: []string{"*"}, Origin: group})
	if err != nil {
		t.Fatal(err)
	}
	store, err := cache.New(cache.Options{MemoryBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.New(edge.Options{Name: "edge", Cache: store, Sites: sites, Observe: func(*edge.Exchange) {}})
	if err != nil {
		t.Fatal(err)
	}
	a.edge = e
	a.running = start(t, Options{TrustClients: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.see(r)
		e.ServeHTTP(w, r)
	})})
	t.Cleanup(func() {
		a.wait(t)
		over, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		e.Close(over)
		group.Close()
		_ = store.Close() // in memory
	})
	return a
}

func (a *alike) see(r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", r.Method, r.Host, r.RequestURI)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == "Content-Length" { // only HTTP/1.1 has to say it
			continue
		}
		fmt.Fprintf(&b, " %s=%q", name, r.Header[name])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = b.String()
}

// dialOrigin answers all requests of a connection in memory, and keeps what they are for.
func (a *alike) dialOrigin(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { // ends with the connection
		defer ours.Close()
		for r := bufio.NewReader(ours); ; {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			a.mu.Lock()
			a.origin = append(a.origin, request.Method+" "+request.Host+request.RequestURI)
			a.mu.Unlock()
			if _, err := io.WriteString(ours, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: max-age=60\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	return theirs, nil
}

// A verdict is what became of a request.
type verdict struct {
	status int    // 0: the stream or the connection was ended without an answer
	seen   string // by the edge
	origin string // what it was asked
	counts int64  // refusals that the front and the edge counted
}

// refused tells whether the request was turned away, in whatever way.
func (v verdict) refused() bool { return v.status == 0 || v.status >= 400 }

// ask sends q and collects what became of it.
func (a *alike) ask(t testing.TB, q asked, send func(testing.TB, asked) int) verdict {
	t.Helper()
	a.mu.Lock()
	a.seen, a.origin = "", nil
	a.mu.Unlock()
	before := a.counts()
	status := send(t, q)
	for end := time.Now().Add(patience); a.Stats().Running > 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	counts := a.counts() - before
	a.mu.Lock()
	defer a.mu.Unlock()
	return verdict{status, a.seen, strings.Join(a.origin, " "), counts}
}

// counts is how many requests have been refused.
func (a *alike) counts() (n int64) {
	for _, refused := range a.refused() {
		n += refused
	}
	for _, why := range edge.Reasons() {
		n += a.edge.Refused(why)
	}
	return n
}

func (a *alike) http1(t testing.TB, q asked) int {
	t.Helper()
	conn, err := net.Dial("tcp", a.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", q.method, q.path, q.authority)
	for i := 0; i+1 < len(q.fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", q.fields[i], q.fields[i+1])
	}
	if q.body != "" && !slices.Contains(q.fields, "content-length") {
		fmt.Fprintf(&b, "content-length: %d\r\n", len(q.body))
	}
	_, _ = io.WriteString(conn, b.String()+"\r\n"+q.body)
	for r := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(r, &http.Request{Method: q.method})
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= 200 {
			return resp.StatusCode
		}
	}
}

// all is q with its pseudo-header fields.
func (q asked) all() []string {
	return append([]string{":method", q.method, ":scheme", "https", ":authority", q.authority, ":path", q.path}, q.fields...)
}

func (a *alike) http2(t testing.TB, q asked) int {
	t.Helper()
	conn, err := tls.Dial("tcp", a.HTTPSAddr(), &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &rawHTTP2{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	c.AllowIllegalWrites, c.enc = true, hpack.NewEncoder(&c.block)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = c.WriteSettings()
	_ = c.headers(1, q.body == "", q.all()...)
	if q.body != "" {
		_ = c.WriteData(1, true, []byte(q.body))
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if status, _ := strconv.Atoi(f.PseudoValue("status")); status >= 200 {
				return status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return 0
		}
	}
}

func (a *alike) http3(t testing.TB, q asked) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, a.HTTPSAddr(), &tls.Config{RootCAs: a.pool, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = str.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(str, headerFrame(q.all()...))
	if q.body != "" {
		_, _ = io.WriteString(str, h3Frame(0, q.body))
	}
	_ = str.Close()
	answer, err := io.ReadAll(str)
	if err != nil && len(answer) == 0 {
		return 0
	}
	return h3Status(answer)
}

// h3Status finds the status in the first header section of an answer, whose line begins the section: an entry of the
// static table, or its name with a literal value (RFC 9204, 4.5 and Appendix A).
func h3Status(answer []byte) int {
	s := string(answer)
	for _, p := range []string{"103", "200", "304", "404", "503", "100", "204", "206", "302", "400", "403", "421", "425", "500"} {
		i := slices.Index([]string{"103", "200", "304", "404", "503"}, p) + 24
		if i < 24 {
			i = slices.Index([]string{"100", "204", "206", "302", "400", "403", "421", "425", "500"}, p) + 63
		}
		line := string([]byte{0xc0 | byte(i)})
		if i >= 63 {
			line = string([]byte{0xff, byte(i - 63)})
		}
		if head := strings.Index(s, "\x00\x00"+line); head >= 0 && head < 16 {
			status, _ := strconv.Atoi(p)
			return status
		}
	}
	return 499 // another one, which is none of success
}

// judge asks q over all three, and returns what differs.
func (a *alike) judge(t testing.TB, q asked) (one verdict, err error) {
	t.Helper()
	sends := []func(testing.TB, asked) int{a.http1, a.http2, a.http3}
	for i, send := range sends {
		v := a.ask(t, q, send)
		if v.counts > 1 || (v.counts == 1) != v.refused() {
			return one, fmt.Errorf("HTTP/%d says %d, and counts %d refusals", i+1, v.status, v.counts)
		}
		switch {
		case i == 0:
			one = v
		case v.refused() != one.refused():
			return one, fmt.Errorf("HTTP/%d says %d (%s), HTTP/1.1 %d (%s)", i+1, v.status, v.seen, one.status, one.seen)
		case !v.refused() && v.seen != one.seen:
			return one, fmt.Errorf("HTTP/%d hands on %s, HTTP/1.1 %s", i+1, v.seen, one.seen)
		}
		if v.refused() && v.origin != "" {
			return one, fmt.Errorf("HTTP/%d refuses by %d, and asks the origin %s", i+1, v.status, v.origin)
		}
		if i > 0 && !v.refused() && q.method == http.MethodGet && v.origin != "" && one.origin != "" {
			return one, errors.New("the origin was asked again for one key: " + v.origin)
		}
	}
	return one, nil
}

// TestProtocolsAreAlike: the same request is the same over all three protocols, or refused by all.
func TestProtocolsAreAlike(t *testing.T) {
	t.Parallel()
	a := newAlike(t)
	for _, tt := range []struct {
		name    string
		q       asked
		refused bool
	}{
		{"a GET", asked{"GET", "h", "/a", nil, ""}, false},
		{"the same with a port", asked{"GET", "h:80", "/a", nil, ""}, false},
		{"escapes", asked{"GET", "h", "/%61%2f", nil, ""}, false},
		{"two slashes", asked{"GET", "h", "//evil.example/x", nil, ""}, false},
		{"fields", asked{"GET", "h", "/b", []string{"a", "1", "a", "2", "accept", "*/*"}, ""}, false},
		{"a POST", asked{"POST", "h", "/p", nil, "body"}, false},
		{"a POST with its length", asked{"POST", "h", "/p", []string{"content-length", "4"}, "body"}, false},
		{"a POST without a body", asked{"POST", "h", "/p", []string{"content-length", "0"}, ""}, false},
		{"dot segments", asked{"GET", "h", "/a/../b", nil, ""}, true},
		{"escaped dot segments", asked{"GET", "h", "/a/%2e%2E/b", nil, ""}, true},
		{"NUL", asked{"GET", "h", "/a%00", nil, ""}, true},
		{"a backslash", asked{"GET", "h", `/a\b`, nil, ""}, true},
		{"a fragment", asked{"GET", "h", "/a#b", nil, ""}, true},
		{"a bad escape", asked{"GET", "h", "/%zz", nil, ""}, true},
		{"above ASCII", asked{"GET", "h", "/\xff", nil, ""}, true},
		{"a blank", asked{"GET", "h", "/a b", nil, ""}, true},
		{"a long target", asked{"GET", "h", "/" + strings.Repeat("a", 9<<10), nil, ""}, true},
		{"a user", asked{"GET", "u@h", "/", nil, ""}, true},
		{"a path in the host", asked{"GET", "h/x", "/", nil, ""}, true},
		{"no port", asked{"GET", "h:99999", "/", nil, ""}, true},
		{"dots in the host", asked{"GET", "h..x", "/", nil, ""}, true},
		{"two hosts", asked{"GET", "h", "/", []string{"host", "i"}, ""}, true},
		{"small letters", asked{"get", "h", "/", nil, ""}, true},
		{"TRACE", asked{"TRACE", "h", "/", nil, ""}, true},
		{"PURGE", asked{"PURGE", "h", "/", nil, ""}, true},
		{"a GET with a body", asked{"GET", "h", "/", []string{"content-length", "4"}, "body"}, true},
		{"a GET that says so", asked{"GET", "h", "/", []string{"content-length", "4"}, ""}, true},
		{"two lengths", asked{"POST", "h", "/", []string{"content-length", "4", "content-length", "5"}, "body"}, true},
		{"a list of lengths", asked{"POST", "h", "/", []string{"content-length", "4, 4"}, "body"}, true},
		{"a length with a sign", asked{"POST", "h", "/", []string{"content-length", "+4"}, "body"}, true},
		{"an expectation", asked{"GET", "h", "/", []string{"expect", "200-ok"}, ""}, true},
		{"NUL in a value", asked{"GET", "h", "/", []string{"a", "b\x00c"}, ""}, true},
		{"a line feed in a value", asked{"GET", "h", "/", []string{"a", "b\r\nc: d\x7f"}, ""}, true},
		{"a blank in a name", asked{"GET", "h", "/", []string{"a b", "c"}, ""}, true},
		{"transfer-encoding", asked{"GET", "h", "/", []string{"transfer-encoding", "gzip"}, ""}, true},
		{"201 fields", asked{"GET", "h", "/", strings.Split(strings.Repeat("a,b,", 2*maxFields+1), ",")[:4*maxFields+2], ""}, true},
	} {
		got, err := a.judge(t, tt.q)
		if err != nil || got.refused() != tt.refused {
			t.Errorf("%s: %d, refused %v, want %v; %v", tt.name, got.status, got.refused(), tt.refused, err)
		}
	}
}

// comparable tells whether the three protocols can say q at all, and in the same words.
func (q asked) comparable() bool {
	if !strings.HasPrefix(q.path, "/") || q.method == "" || q.method == http.MethodConnect || q.authority == "" || strings.ContainsAny(q.authority, " \t\r\n") ||
		// Of a GET over HTTP/3 nobody knows whether a body of no announced length follows: it is not read.
		q.body != "" && (q.method == http.MethodGet || q.method == http.MethodHead) ||
		strings.ContainsAny(q.method+q.path, " \r\n") || len(q.path)+len(q.authority)+len(q.method) > 4<<10 {
		return false
	}
	for i := 0; i+1 < len(q.fields); i += 2 {
		name, value := q.fields[i], q.fields[i+1]
		switch name {
		case "", "host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "cookie", "content-length", "expect", "priority":
			return false // told otherwise, or held to rules of each protocol: the table has them
		}
		if strings.ToLower(name) != name || strings.ContainsAny(name, ": \t\r\n") || strings.ContainsAny(value, "\r\n") || strings.Trim(value, " \t") != value {
			return false
		}
	}
	return true
}

// FuzzProtocolsAreAlike makes up what the table does not think of.
func FuzzProtocolsAreAlike(f *testing.F) {
	f.Add("GET", "h", "/", "a", "b", "")
	f.Add("POST", "h:80", "//x?y=%2f&CMCD=z", "if-none-match", `"1"`, "body")
	f.Add("get", "[::1]", "/%2e", "range", "bytes=0-", "")
	f.Add("OPTIONS", "a..b", "/a;b|c", "cdn-loop", "weir", "x")
	f.Add("HEAD", "H.", "/\x80", "x_y", "\xff", "")
	a := newAlike(f)
	f.Fuzz(func(t *testing.T, method, authority, path, name, value, body string) {
		q := asked{method, authority, path, []string{name, value}, body}
		if !q.comparable() || len(body) > 1<<10 {
			return
		}
		if _, err := a.judge(t, q); err != nil {
			t.Fatalf("%+q: %v", q, err)
		}
	})
}
