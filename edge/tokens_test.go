package edge

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/access"
	"weir/edge/token"
)

const catField = "Cta-Common-Access-Token"

// tokenScheme is a scheme with one secret.
func tokenScheme(kind token.Kind) token.Scheme {
	return token.Scheme{Kind: kind, Renew: true, TTL: time.Hour, Keys: token.NewKeys(&token.Key{ID: "k", Secret: []byte("0123456789abcdef0123456789abcdef")})}
}

func newTokens(t testing.TB, o token.Options) *token.Verifier {
	t.Helper()
	v, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// catFor is a token with these claims.
func catFor(t testing.TB, claims string) string {
	t.Helper()
	m, err := token.Mint(tokenScheme(token.CAT), token.Order{Claims: []byte(claims)})
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// catUntil is one that ends so much later, or earlier.
func catUntil(t testing.TB, d time.Duration, more string) string {
	t.Helper()
	return catFor(t, fmt.Sprintf(`{"exp": %d, "sub": "viewer-1"%s}`, time.Now().Add(d).Unix(), more))
}

// TestTokens: who has no good token gets neither the stored response nor the origin's, the token opens what it says and is
// seen by nobody behind the edge, and other nodes have asked their own clients.
func TestTokens(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	origin := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" || r.Header.Get(catField) != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("the origin sees %s, %v", r.URL, r.Header)
		}
		cacheable(600, "body")(w, r)
	}
	b := newSiteBench(t, Site{Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}, Exempt: []string{"/free/*"}})}, origin)
	b.edge.options.Log = slog.New(slog.NewTextHandler(&log, nil))
	good := catUntil(t, time.Hour, `, "catu": {"path": {"prefix": "/vod/a/"}}`)
	b.want("first", b.do("GET", "/vod/a/x?CAT="+good), 200, "stored", "body")
	b.want("in the query", b.do("GET", "/vod/a/x?CAT="+catUntil(t, time.Hour, "")), 200, "hit", "body")
	b.want("in the field", b.do("GET", "/vod/a/x", catField, good), 200, "hit", "body")
	b.want("in the cookie", b.do("GET", "/vod/a/x", "Cookie", "CTA-Common-Access-Token="+good), 200, "hit", "body")
	b.want("no need", b.do("GET", "/free/x?CAT=junk"), 200, "stored", "body")
	if n, objects := b.origin.Load(), b.cache.Stats().Objects; n != 2 || objects != 2 {
		t.Errorf("the origin was asked %d times, %d objects are stored, want 2 and 2", n, objects)
	}
	b.mu.Lock()
	if x := b.seen[0]; x.Subject != "viewer-1" || x.LoggedTarget() != "/vod/a/x" {
		t.Errorf("subject %q, logged as %s", x.Subject, x.LoggedTarget())
	}
	b.mu.Unlock()

	for _, tt := range []struct {
		name, method, target string
		field                string
		status               int
		reason               string
	}{
		{"of another key; the first, which is logged", "GET", "/vod/a/x?CAT=" + good[:len(good)-2] + "AA", "", 403, "token-signature"},
		{"none", "GET", "/vod/a/x", "", 403, "token-missing"},
		{"none, of what is not stored", "GET", "/vod/a/y", "", 403, "token-missing"},
		{"another path", "GET", "/vod/b/x", good, 403, "token-claim"},
		{"another path in disguise", "GET", "/vod/%62/x", good, 403, "token-claim"},
		{"an escaped slash is none", "GET", "/vod/a%2fx", good, 403, "token-claim"},
		{"dots", "GET", "/vod/a/../b/x", good, 400, "target"},
		{"escaped dots", "GET", "/vod/a%2f..%2fb", good, 400, "target"},
		{"escaped dots in a segment", "GET", "/vod/a/%2e%2e/b/x", good, 400, "target"},
		{"another letter case", "GET", "/vod/A/x", good, 403, "token-claim"},
		{"expired a second ago", "GET", "/vod/a/x", catUntil(t, -time.Second, ""), 403, "token-expired"},
		{"twice", "GET", "/vod/a/x?CAT=a&CAT=b", "", 403, "token-duplicate"},
		{"no token at all", "GET", "/vod/a/x", "junk", 403, "token-malformed"},
		{"critical", "GET", "/vod/a/x", catUntil(t, time.Hour, `, "crit": [70000], "70000": 1`), 403, "token-unsupported"},
		{"unsafe", "POST", "/vod/a/x", "", 403, "token-missing"},
	} {
		before, asked := b.edge.Refused(tt.reason), b.origin.Load()
		g := b.do(tt.method, tt.target, catField, tt.field)
		var p struct {
			Title, Detail string
			Status        int
		}
		problem := strings.HasPrefix(g.header.Get("Content-Type"), "application/problem+json") && json.Unmarshal([]byte(g.body), &p) == nil && p.Status == tt.status && p.Detail != ""
		if g.status != tt.status || g.header.Get("Cache-Control") != "no-store" || tt.status == 403 && !problem {
			t.Errorf("%s: got %d, %v, %s", tt.name, g.status, g.header, g.body)
		}
		if strings.Contains(g.body, "expire") || strings.Contains(g.body, "claim") || strings.Contains(g.body, "signature") {
			t.Errorf("%s: the client is told why: %s", tt.name, g.body)
		}
		if n := b.edge.Refused(tt.reason) - before; n != 1 || b.origin.Load() != asked {
			t.Errorf("%s: counted %d times as %s, the origin was asked %d times", tt.name, n, tt.reason, b.origin.Load()-asked)
		}
	}
	if text := log.String(); !strings.Contains(text, "token-signature") || strings.Contains(text, good[20:60]) {
		t.Errorf("the log: %s", text)
	}
	if resp := b.asPeer("/vod/a/x"); resp.StatusCode != http.StatusOK {
		t.Errorf("another node gets %d", resp.StatusCode)
	}
}

// TestTokenInThePath: other rules and the key see what is left of the path.
func TestTokenInThePath(t *testing.T) {
	t.Parallel()
	list, err := access.New([]access.Rule{{Deny: true, Paths: []string{"/private/*"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := tokenScheme(token.TypeB)
	b := newSiteBench(t, Site{Access: list, Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{s}})}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, r.URL.Path)
	})
	signed := func(path string, end time.Time) string {
		m, err := token.Mint(s, token.Order{URL: token.Request{Scheme: "http", Host: "x", Path: path}, End: end})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(m.URL, "http://x")
	}
	now := time.Now()
	b.want("first", b.do("GET", signed("/vod/x", now)), 200, "stored", "/vod/x")
	b.want("signed a minute later", b.do("GET", signed("/vod/x", now.Add(time.Minute))), 200, "hit", "/vod/x")
	if g := b.do("GET", signed("/private/x", now)); g.status != 403 || b.edge.Refused("access") != 1 {
		t.Errorf("denied by the access rules: got %d", g.status)
	}
	if g := b.do("GET", signed("/vod/x", now)+"x"); g.status != 403 || b.edge.Refused("token-signature") != 1 {
		t.Errorf("another path: got %d", g.status)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if target := b.seen[0].LoggedTarget(); target != "/vod/x" {
		t.Errorf("logged as %s", target)
	}
}

// TestTokenOfALoosePath: a path that an origin may read as one that needs a token needs one.
func TestTokenOfALoosePath(t *testing.T) {
	t.Parallel()
	b := newSiteBench(t, Site{Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}, Paths: []string{"/vod/*"}})}, cacheable(600, "body"))
	for path, status := range map[string]int{"/vod/x": 403, "//vod/x": 403, "/vod%2fx": 403, "/vod;a=b/x": 403, "/;a/;b/vod/x": 403, "/;%2fa/vod/x": 403, "/vod%2fx;a%2fb": 403, "/live/x": 200, "/live;a/x;b": 200} {
		if g := b.do("GET", path); g.status != status {
			t.Errorf("%s: got %d, want %d", path, g.status, status)
		}
	}
}

// TestTokenIsOver: a token ends at its second, by the wall clock, hit or miss, remembered or not.
func TestTokenIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})
		begin := time.Now()
		text := catFor(t, fmt.Sprintf(`{"nbf": %d, "exp": %d}`, begin.Add(time.Hour).Unix(), begin.Add(2*time.Hour).Unix()))
		for _, tt := range []struct {
			at   time.Duration
			good bool
		}{{0, false}, {time.Hour - time.Second, false}, {time.Hour, true}, {2*time.Hour - time.Nanosecond, true}, {2 * time.Hour, false}, {2*time.Hour + time.Second, false}} {
			time.Sleep(time.Until(begin.Add(tt.at)))
			q := &token.Request{Scheme: "https", Host: "a", Path: "/x", Header: http.Header{catField: {text}}}
			if _, err := v.Check(t.Context(), q, time.Now()); (err == nil) != tt.good {
				t.Errorf("after %s: %v", tt.at, err)
			}
		}
	})
}

// TestOneTimeToken: it opens one request, and none in early data, where an attacker may have sent it before.
func TestOneTimeToken(t *testing.T) {
	t.Parallel()
	list, err := access.New([]access.Rule{{Deny: true, Methods: []string{"POST"}}})
	if err != nil {
		t.Fatal(err)
	}
	var used sync.Map
	var down atomic.Bool
	b := newSiteBench(t, Site{Access: list, Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}, Once: func(_ context.Context, id [sha256.Size]byte, _ time.Duration) (bool, error) {
		if down.Load() {
			return false, errors.New("nobody answers")
		}
		_, again := used.LoadOrStore(id, true)
		return !again, nil
	}, Replays: token.NewReplays(10)})}, cacheable(600, "body"))
	once := catUntil(t, time.Hour, `, "catreplay": 1, "cti": "01"`)
	for range 100 {
		if g := b.do("GET", "/a?CAT="+once, "Early-Data", "1"); g.status != http.StatusTooEarly {
			t.Fatalf("in early data: got %d", g.status)
		}
	}
	if n := b.edge.Refused("token-early-data"); n != 100 || b.origin.Load() != 0 {
		t.Errorf("%d are counted, the origin was asked %d times", n, b.origin.Load())
	}
	if g := b.do("POST", "/a?CAT="+once); g.status != 403 {
		t.Errorf("denied by another rule: got %d", g.status)
	}
	b.want("once", b.do("GET", "/a?CAT="+once), 200, "stored", "body")
	if g := b.do("GET", "/a?CAT="+once); g.status != 403 || b.edge.Refused("token-replayed") != 1 {
		t.Errorf("twice: got %d", g.status)
	}
	down.Store(true)
	unsure := b.do("GET", "/a?CAT="+catUntil(t, time.Hour, `, "catreplay": 1, "cti": "02"`))
	if unsure.status != 503 || unsure.header.Get("Retry-After") != "1" || b.edge.Refused("token-unsure") != 1 {
		t.Errorf("where nobody answers: got %d, %v", unsure.status, unsure.header)
	}
	told := catUntil(t, time.Hour, `, "catreplay": 2, "cti": "03"`)
	for range 5 {
		b.want("with reuse detection", b.do("GET", "/a?CAT="+told), 200, "hit", "body")
	}
	if n := b.edge.Reused(); n != 4 {
		t.Errorf("%d reuses are counted, want 4", n)
	}
	b.want("for many, in early data", b.do("GET", "/a?CAT="+catUntil(t, time.Hour, ""), "Early-Data", "1"), 200, "hit", "body")
}

// TestTokenRenewal: the new token comes with the response, which is then not for others, or by a redirect.
func TestTokenRenewal(t *testing.T) {
	t.Parallel()
	v := newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})
	b := newSiteBench(t, Site{Tokens: v, CORS: NewCORS("*")}, cacheable(600, "body"))
	for name, want := range map[string]struct{ catr, field, prefix string }{
		"header": {`{"type": "header", "expadd": 600}`, catField, ""},
		"cookie": {`{"type": "cookie", "expadd": 600, "cookie-params": ["Path=/vod/"]}`, "Set-Cookie", "CTA-Common-Access-Token="},
	} {
		g := b.do("GET", "/vod/x?CAT="+catUntil(t, 30*time.Second, `, "catr": `+want.catr))
		next, ok := strings.CutPrefix(g.header.Get(want.field), want.prefix)
		next, _, _ = strings.Cut(next, ";")
		if g.status != 200 || g.body != "body" || !ok || !strings.HasPrefix(g.header.Get("Cache-Control"), "private, max-age=600") {
			t.Errorf("%s: got %d, %v", name, g.status, g.header)
		}
		if expose := g.header.Get("Access-Control-Expose-Headers"); !strings.Contains(expose, "CTA-Common-Access-Token") {
			t.Errorf("%s: pages may see %s", name, expose)
		}
		if g := b.do("GET", "/vod/x?CAT="+next); g.status != 200 || g.header.Get(want.field) != "" || g.header.Get("Cache-Control") != "max-age=600" {
			t.Errorf("%s, with the new one: got %d, %v", name, g.status, g.header)
		}
	}
	g := b.do("GET", "/vod/x?b=1&CAT="+catUntil(t, 30*time.Second, `, "catr": {"type": "redirect", "expadd": 600}`))
	if g.status != http.StatusFound || g.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(g.header.Get("Location"), b.url+"/vod/x?b=1&CAT=") {
		t.Errorf("redirect: got %d, %v", g.status, g.header)
	}
	if there := b.do("GET", strings.TrimPrefix(g.header.Get("Location"), b.url)); there.status != 200 {
		t.Errorf("where it leads: got %d", there.status)
	}
	g = b.do("GET", "/vod/x?CAT="+catUntil(t, -time.Second, `, "catif": {"exp": [307, {"Location": "https://login.example/"}]}`))
	if g.status != 307 || g.header.Get("Location") != "https://login.example/" || b.edge.Refused("token-expired") != 1 {
		t.Errorf("catif: got %d, %v", g.status, g.header)
	}
	g = b.do("OPTIONS", "/vod/x", "Origin", "https://page.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "cta-common-access-token")
	if g.status != http.StatusNoContent || !strings.Contains(g.header.Get("Access-Control-Allow-Headers"), "CTA-Common-Access-Token") {
		t.Errorf("preflight: got %d, %v", g.status, g.header)
	}
	if g := b.do("OPTIONS", "/vod/x"); g.status != 403 {
		t.Errorf("what is no preflight: got %d", g.status)
	}
}

// TestRenewalIsPrivate: no cache on the way is let keep a token that is one client's.
func TestRenewalIsPrivate(t *testing.T) {
	t.Parallel()
	v := newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})
	for _, tt := range []struct{ sent, want string }{
		{"max-age=600, Public, s-maxage=900", "private, max-age=600"},
		{"public", "private"},
		{`max-age=600, private="set-cookie, x-a"`, "private"},
		{"", "private"},
		{"no-store", "private, no-store"},
		{"PRIVATE, max-age=60", "private, max-age=60"},
	} {
		b := newSiteBench(t, Site{Tokens: v}, func(w http.ResponseWriter, _ *http.Request) {
			if tt.sent != "" {
				w.Header().Set("Cache-Control", tt.sent)
			}
			w.Header().Set("CDN-Cache-Control", "max-age=900")
			w.Header().Set("Surrogate-Control", "max-age=900")
			_, _ = io.WriteString(w, "body")
		})
		g := b.do("GET", "/vod/x?CAT="+catUntil(t, 30*time.Second, `, "catr": {"type": "header", "expadd": 600}`))
		if g.header.Get(catField) == "" || g.header.Get("Cache-Control") != tt.want || g.header.Get("Cdn-Cache-Control") != "" || g.header.Get("Surrogate-Control") != "" {
			t.Errorf("%q: got %v, want %q", tt.sent, g.header, tt.want)
		}
		if g = b.do("GET", "/vod/x?CAT="+catUntil(t, time.Hour, "")); g.header.Get("Cdn-Cache-Control") != "max-age=900" || g.header.Get("Cache-Control") != tt.sent {
			t.Errorf("%q, for others: got %v", tt.sent, g.header)
		}
	}
}

// TestTokenOfAPlace: claims about the place hold where a database tells it.
func TestTokenOfAPlace(t *testing.T) {
	t.Parallel()
	if Locator(nil) != nil {
		t.Error("without databases there is a locator")
	}
	v := newTokens(t, token.Options{
		Schemes: []token.Scheme{tokenScheme(token.CAT)},
		Locate: func(a netip.Addr) token.Place {
			return token.Place{Country: map[bool]string{true: "DE"}[a.IsLoopback()]}
		},
	})
	b := newSiteBench(t, Site{Tokens: v}, cacheable(600, "body"))
	for country, status := range map[string]int{"DE": 200, "FR": 403} {
		if g := b.do("GET", "/a", catField, catUntil(t, time.Hour, `, "catgeoiso3166": ["`+country+`"]`)); g.status != status {
			t.Errorf("%s: got %d", country, g.status)
		}
	}
}

// TestTokenAllocations: a hit with a token that was seen before allocates no more than one without; where it is taken out
// of the field, nothing at all.
func TestTokenAllocations(t *testing.T) {
	b := newSiteBench(t, Site{Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})}, cacheable(3600, strings.Repeat("x", 1536)))
	text := catUntil(t, time.Hour, `, "catu": {"path": {"prefix": "/h"}}, "catm": ["GET"]`)
	b.do(http.MethodGet, "/hot?CAT="+text)
	b.edge.options.Observe = func(*Exchange) {}
	for _, in := range []string{"query", "field"} {
		target, field := "/hot", []string{text}
		if in == "query" {
			target += "?CAT=" + text
		}
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Host = strings.TrimPrefix(b.url, "http://")
		w := &deafWriter{header: http.Header{}}
		allocs := testing.AllocsPerRun(200, func() {
			clear(w.header)
			if in == "field" {
				r.Header[catField] = field
			}
			b.edge.ServeHTTP(w, r)
		})
		if w.status != http.StatusOK || allocs > hotHitAllocations {
			t.Errorf("in the %s: status %d, %v allocations a hit, want at most %d", in, w.status, allocs, hotHitAllocations)
		}
	}
}

// BenchmarkHotHitWithToken is BenchmarkHotHit with a token.
func BenchmarkHotHitWithToken(b *testing.B) {
	bench := newSiteBench(b, Site{Tokens: newTokens(b, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})}, cacheable(3600, strings.Repeat("x", 1536)))
	text := catUntil(b, time.Hour, `, "catu": {"path": {"prefix": "/h"}}, "catm": ["GET"]`)
	bench.do(http.MethodGet, "/hot?CAT="+text)
	bench.edge.options.Observe = func(x *Exchange) { _ = x.CacheStatus() }
	r := httptest.NewRequest(http.MethodGet, "/hot?CAT="+text, nil)
	r.Host = strings.TrimPrefix(bench.url, "http://")
	w := &deafWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		bench.edge.ServeHTTP(w, r)
	}
}

// TestTokenReasons: each has its counter.
func TestTokenReasons(t *testing.T) {
	t.Parallel()
	for _, r := range token.Reasons() {
		if !slices.Contains(Reasons(), string(r)) {
			t.Errorf("%s has no counter", r)
		}
	}
}

// TestTooManyProofs: the client is told when to ask again.
func TestTooManyProofs(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, 40 * time.Millisecond: time.Second} {
		no := refusedToken(&Exchange{}, &token.Error{Reason: token.TooMany, Wait: wait})
		if no.status != http.StatusTooManyRequests || no.retry != want || no.reason != string(token.TooMany) {
			t.Errorf("%s to wait: got %d, %s, %s", wait, no.status, no.retry, no.reason)
		}
	}
}

// printedWriter knows the fingerprints of its client.
type printedWriter struct {
	*httptest.ResponseRecorder

	ja3, ja4 string
}

func (w *printedWriter) Prints() (ja3, ja4 string) { return w.ja3, w.ja4 }

// TestTokenOfAFingerprint opens for the client that says hello so, over TLS.
func TestTokenOfAFingerprint(t *testing.T) {
	t.Parallel()
	const hello, other, md5 = "t13d1516h2_8daaf6152771_e5627efa2ab1", "t13d1516h2_8daaf6152771_b186095e22b6", "ada70206e40642a3e4461f35503241d5"
	b := newSiteBench(t, Site{Tokens: newTokens(t, token.Options{Schemes: []token.Scheme{tokenScheme(token.CAT)}})}, cacheable(600, "body"))
	for _, tt := range []struct {
		kind     int
		value    string
		ja3, ja4 string
		secure   bool
		status   int
	}{
		{2, hello, md5, hello, true, http.StatusOK},
		{0, md5, md5, hello, true, http.StatusOK},
		{2, hello, md5, other, true, http.StatusForbidden},
		{2, hello, "", "", true, http.StatusForbidden},
		{2, hello, "", "", false, http.StatusForbidden},
	} {
		text := catFor(t, fmt.Sprintf(`{"cattprint": {"fingerprint-type": %d, "fingerprint-value": %q}}`, tt.kind, tt.value))
		r := httptest.NewRequest(http.MethodGet, "http://site.example/a?CAT="+text, http.NoBody)
		if tt.secure {
			r.TLS = &tls.ConnectionState{}
		}
		r.RequestURI = "/a?CAT=" + text
		w := &printedWriter{httptest.NewRecorder(), tt.ja3, tt.ja4}
		b.edge.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%+v: status %d", tt, w.Code)
		}
	}
}
