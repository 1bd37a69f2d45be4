package freshness

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	sent     = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	received = sent.Add(2 * time.Second)
)

// fields makes a header of "Name: value" lines.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func dated(offset time.Duration, name string) string {
	return name + ": " + received.Add(offset).Format(http.TimeFormat)
}

func set(n int64) Delta { return Delta{Seconds: n, Set: true} }

func TestParseCacheControl(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   []string
		want Directives
	}{
		{"absent", nil, Directives{}},
		{"empty", []string{"", " , ,"}, Directives{}},
		{"one", []string{"max-age=60"}, Directives{MaxAge: set(60)}},
		{"RFC 9111, 5.2: names match without case", []string{"Max-Age=60, NO-STORE"}, Directives{MaxAge: set(60), NoStore: true}},
		{"RFC 9111, 5.2: both forms of a value", []string{`max-age="60"`}, Directives{MaxAge: set(60)}},
		{"several lines", []string{"public", "s-maxage=5"}, Directives{Public: true, SMaxAge: set(5)}},
		{
			"all flags",
			[]string{"no-store,no-cache,private,no-transform,only-if-cached,public,must-revalidate,proxy-revalidate,must-understand,immutable"},
			Directives{true, true, true, true, true, true, true, true, true, true, Delta{}, Delta{}, Delta{}, Delta{}, Delta{}, Delta{}, false},
		},
		{"leading zeros", []string{"max-age=007"}, Directives{MaxAge: set(7)}},
		{"RFC 9111, 4.2.1: twice, the shorter", []string{"max-age=60, max-age=5"}, Directives{MaxAge: set(5)}},
		{"twice, the shorter, first", []string{"max-age=5", "max-age=60"}, Directives{MaxAge: set(5)}},
		{"RFC 9111, 4.2.1: no number is stale", []string{"max-age=abc"}, Directives{MaxAge: set(0)}},
		{"no value", []string{"max-age"}, Directives{MaxAge: set(0)}},
		{"empty value", []string{"max-age="}, Directives{MaxAge: set(0)}},
		{"negative", []string{"max-age=-1"}, Directives{MaxAge: set(0)}},
		{"fraction", []string{"max-age=1.5"}, Directives{MaxAge: set(0)}},
		{"single quotes", []string{"max-age='60'"}, Directives{MaxAge: set(0)}},
		{"space before =", []string{"max-age =60"}, Directives{MaxAge: set(0)}},
		{"space after =", []string{"max-age= 60"}, Directives{MaxAge: set(0)}},
		{"space behind", []string{"max-age=60 , public"}, Directives{MaxAge: set(60), Public: true}},
		{"RFC 9111, 1.2.2: overflow", []string{"max-age=99999999999999999999999999"}, Directives{MaxAge: set(1 << 31)}},
		{"number beside broken one", []string{"max-age=60, max-age=x"}, Directives{MaxAge: set(0)}},
		{"quoted text is not read", []string{`ext="max-age=60, no-store", max-age=1`}, Directives{MaxAge: set(1)}},
		{"quoted text with escapes", []string{`ext="\", no-store", max-age=1`}, Directives{MaxAge: set(1)}},
		{"open quote", []string{`ext="no-store, max-age=1`}, Directives{}},
		{"unknown", []string{"foo, bar=1, max-age=3"}, Directives{MaxAge: set(3)}},
		{"longer name", []string{"xmax-age=60, max-agex=5"}, Directives{}},
		{"RFC 9111, 5.2.2.4: qualified", []string{`no-cache="Set-Cookie, X", private="Y"`}, Directives{NoCache: true, Private: true}},
		{"RFC 5861", []string{"stale-while-revalidate=30, stale-if-error=40"}, Directives{StaleWhileRevalidate: set(30), StaleIfError: set(40)}},
		{"request", []string{"min-fresh=10, max-stale=20, max-age=30"}, Directives{MinFresh: set(10), MaxStale: set(20), MaxAge: set(30)}},
		{"RFC 9111, 5.2.1.2: any staleness", []string{"max-stale"}, Directives{MaxStaleAny: true}},
		{"a number beside it is stricter", []string{"max-stale, max-stale=5"}, Directives{MaxStale: set(5)}},
		{"and before it", []string{"max-stale=5, max-stale"}, Directives{MaxStale: set(5)}},
		{"min-fresh twice, the larger", []string{"min-fresh=1, min-fresh=5"}, Directives{MinFresh: set(5)}},
		{"min-fresh broken", []string{"min-fresh=x"}, Directives{MinFresh: set(1 << 31)}},
	}
	for _, tt := range tests {
		if got := ParseCacheControl(tt.in); got != tt.want {
			t.Errorf("%s: %q\n got %+v\nwant %+v", tt.name, tt.in, got, tt.want)
		}
	}
}

func FuzzParseCacheControl(f *testing.F) {
	for _, s := range []string{"max-age=60, public", `x="a,b\"", no-store`, "max-stale, min-fresh=x", "s-maxage =1,,=;", `"`, `a="\`} {
		f.Add(s, "")
		f.Add("max-age=1", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		d := ParseCacheControl([]string{a, b})
		if again := ParseCacheControl([]string{d.String()}); again != d {
			t.Errorf("%q, %q: not stable:\n%+v\n%+v", a, b, d, again)
		}
	})
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   http.Header
		want Directives
	}{
		{fields("Cache-Control: max-age=0"), Directives{MaxAge: set(0)}},
		{fields("Pragma: x, No-Cache"), Directives{NoCache: true}},
		// RFC 9111, 5.4: Cache-Control goes before Pragma.
		{fields("Pragma: no-cache", "Cache-Control: max-age=5"), Directives{MaxAge: set(5)}},
		{fields("Pragma: foo"), Directives{}},
	}
	for _, tt := range tests {
		if got := ParseRequest(tt.in); got != tt.want {
			t.Errorf("ParseRequest(%v) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestStorable(t *testing.T) {
	t.Parallel()
	none := http.Header{}
	tests := []struct {
		name     string
		method   string
		request  http.Header
		status   int
		response http.Header
		want     string // reason, "" = storable
	}{
		{"heuristically cacheable", "GET", none, 200, none, ""},
		{"max-age", "GET", none, 200, fields("Cache-Control: max-age=60"), ""},
		{"RFC 9111, 3: method", "POST", none, 200, fields("Cache-Control: max-age=60"), "method"},
		{"HEAD", "HEAD", none, 200, fields("Cache-Control: max-age=60"), "method"},
		{"RFC 9111, 3: final status", "GET", none, 103, fields("Cache-Control: max-age=60"), "status"},
		{"no status", "GET", none, 600, fields("Cache-Control: max-age=60"), "status"},
		{"206", "GET", none, 206, fields("Cache-Control: max-age=60"), "status"},
		{"304", "GET", none, 304, fields("Cache-Control: max-age=60"), "status"},
		{"explicit lifetime, any final status", "GET", none, 599, fields("Cache-Control: max-age=60"), ""},
		{"503 with Expires", "GET", none, 503, fields(dated(time.Minute, "Expires")), ""},
		{"503 without lifetime", "GET", none, 503, none, "no-lifetime"},
		{"302 without lifetime", "GET", none, 302, none, "no-lifetime"},
		{"302 public", "GET", none, 302, fields("Cache-Control: public"), ""},
		{"404 without lifetime", "GET", none, 404, none, ""},
		{"RFC 9111, 5.2.2.5: no-store", "GET", none, 200, fields("Cache-Control: no-store, max-age=60"), "no-store"},
		{"RFC 9111, 5.2.1.5: no-store in the request", "GET", fields("Cache-Control: no-store"), 200, fields("Cache-Control: max-age=60"), "no-store"},
		{"RFC 9111, 5.2.2.3: must-understand", "GET", none, 200, fields("Cache-Control: no-store, must-understand, max-age=60"), ""},
		{"must-understand, unknown status", "GET", none, 299, fields("Cache-Control: must-understand, max-age=60"), "must-understand"},
		{"RFC 9111, 5.2.2.7: private", "GET", none, 200, fields("Cache-Control: private, max-age=60"), "private"},
		{"private fields", "GET", none, 200, fields(`Cache-Control: private="X", max-age=60`), "private"},
		{"no-cache is stored and validated", "GET", none, 200, fields("Cache-Control: no-cache"), ""},
		{"RFC 9111, 3.5: Authorization", "GET", fields("Authorization: x"), 200, fields("Cache-Control: max-age=60"), "authorization"},
		{"Authorization and public", "GET", fields("Authorization: x"), 200, fields("Cache-Control: public, max-age=60"), ""},
		{"Authorization and s-maxage", "GET", fields("Authorization: x"), 200, fields("Cache-Control: s-maxage=60"), ""},
		{"Authorization and must-revalidate", "GET", fields("Authorization: x"), 200, fields("Cache-Control: must-revalidate, max-age=60"), ""},
		{"Authorization and proxy-revalidate", "GET", fields("Authorization: x"), 200, fields("Cache-Control: proxy-revalidate, max-age=60"), "authorization"},
		{"RFC 9111, 4.1: Vary", "GET", none, 200, fields("Vary: Accept, *", "Cache-Control: max-age=60"), "vary"},
		{"Vary by name", "GET", none, 200, fields("Vary: Accept", "Cache-Control: max-age=60"), ""},
		{"Set-Cookie", "GET", none, 200, fields("Set-Cookie: a=b", "Cache-Control: max-age=60"), "set-cookie"},
		{"Set-Cookie and public", "GET", none, 200, fields("Set-Cookie: a=b", "Cache-Control: public, max-age=60"), ""},
		{"Set-Cookie and s-maxage", "GET", none, 200, fields("Set-Cookie: a=b", "Cache-Control: s-maxage=60"), ""},
		{"Set-Cookie and a targeted field", "GET", none, 200, fields("Set-Cookie: a=b", "CDN-Cache-Control: max-age=60"), ""},
		{"400 that a request may have caused", "GET", none, 400, fields("Cache-Control: max-age=60"), "client-error"},
		{"431", "GET", none, 431, fields(dated(time.Minute, "Expires")), "client-error"},
		{"403 that the origin shares", "GET", none, 403, fields("Cache-Control: s-maxage=60"), ""},
		{"414 is about the target", "GET", none, 414, fields("Cache-Control: max-age=60"), ""},
	}
	for _, tt := range tests {
		ok, reason := Storable(tt.method, tt.request, Response{Status: tt.status, Header: tt.response})
		if ok != (tt.want == "") || reason != tt.want {
			t.Errorf("%s: Storable = %v, %q, want %q", tt.name, ok, reason, tt.want)
		}
	}
}

func TestLifetimeAndAge(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name          string
		in            http.Header
		lifetime, age time.Duration
	}{
		{"nothing", fields(), 7 * time.Second, 2 * time.Second},
		{"RFC 9111, 4.2.1: s-maxage first", fields("Cache-Control: max-age=5, s-maxage=60", dated(day, "Expires")), time.Minute, 2 * time.Second},
		{"then max-age", fields("Cache-Control: max-age=5", dated(day, "Expires")), 5 * time.Second, 2 * time.Second},
		{"max-age=0 counts", fields("Cache-Control: max-age=0", dated(day, "Expires")), 0, 2 * time.Second},
		{"then Expires less Date", fields(dated(time.Minute, "Expires"), dated(-time.Second, "Date")), 61 * time.Second, 2 * time.Second},
		{"Expires without Date", fields(dated(time.Minute, "Expires")), time.Minute, 2 * time.Second},
		{"Expires, broken Date", fields(dated(time.Minute, "Expires"), "Date: x"), time.Minute, 2 * time.Second},
		{"RFC 9111, 5.3: Expires: 0", fields("Expires: 0"), 0, 2 * time.Second},
		{"Expires in the past", fields(dated(-time.Minute, "Expires")), 0, 2 * time.Second},
		{"RFC 9111, 4.2.3: apparent age", fields(dated(-10*time.Second, "Date")), 7 * time.Second, 10 * time.Second},
		{"Date in the future", fields(dated(time.Hour, "Date")), 7 * time.Second, 2 * time.Second},
		{"Age and delay", fields("Age: 20", dated(0, "Date")), 7 * time.Second, 22 * time.Second},
		{"the larger counts", fields("Age: 20", dated(-time.Minute, "Date")), 7 * time.Second, time.Minute},
		{"RFC 9111, 4.2.1: two Ages are stale", fields("Age: 0", "Age: 90"), 0, 2 * time.Second},
		{"a list of Ages", fields("Age: 0, 0"), 0, 2 * time.Second},
		{"Age that is no number", fields("Age: x", "Cache-Control: max-age=60"), 0, 2 * time.Second},
		{"Age that is a fraction", fields("Age: 1.0"), 0, 2 * time.Second},
		{"Age with a parameter", fields("Age: 1;x=2"), 0, 2 * time.Second},
		{"negative Age", fields("Age: -5"), 0, 2 * time.Second},
		{"Age overflows", fields("Age: 99999999999999999999"), 7 * time.Second, (1<<31 + 2) * time.Second},
	}
	for _, tt := range tests {
		f := Of(Response{Status: 200, Header: tt.in, RequestTime: sent, ResponseTime: received}, 7*time.Second)
		if f.Lifetime != tt.lifetime || f.InitialAge != tt.age || !f.ResponseTime.Equal(received) {
			t.Errorf("%s: lifetime %v, age %v, want %v, %v", tt.name, f.Lifetime, f.InitialAge, tt.lifetime, tt.age)
		}
	}
}

func TestMustRevalidate(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"max-age=1":                                     false,
		"max-age=1, must-revalidate":                    true,
		"max-age=1, proxy-revalidate":                   true,
		"s-maxage=1":                                    true,
		"s-maxage=1, stale-while-revalidate=5":          false,
		"s-maxage=1, stale-if-error=5":                  false,
		"s-maxage=1, stale-if-error=5, must-revalidate": true,
	}
	for in, want := range tests {
		f := Of(Response{Header: fields("Cache-Control: " + in)}, 0)
		if f.MustRevalidate != want {
			t.Errorf("%q: MustRevalidate = %v, want %v", in, f.MustRevalidate, want)
		}
	}
}

func TestOverTime(t *testing.T) {
	t.Parallel()
	of := func(cc string) Freshness {
		return Of(Response{Header: fields("Cache-Control: " + cc), RequestTime: received, ResponseTime: received}, 0)
	}
	tests := []struct {
		cc                         string
		at                         time.Duration
		fresh, revalidate, onError bool
		stale                      time.Duration
	}{
		{"max-age=10", -time.Hour, true, false, false, 0},
		{"max-age=10", 9 * time.Second, true, false, false, 0},
		{"max-age=10", 10 * time.Second, false, false, false, 0},
		{"max-age=10, stale-while-revalidate=5", 14 * time.Second, false, true, false, 4 * time.Second},
		{"max-age=10, stale-while-revalidate=5", 15 * time.Second, false, false, false, 5 * time.Second},
		{"max-age=10, stale-if-error=5", 14 * time.Second, false, false, true, 4 * time.Second},
		{"max-age=10, stale-if-error=5, must-revalidate", 14 * time.Second, false, false, false, 4 * time.Second},
		{"max-age=10, no-cache, stale-if-error=5", 5 * time.Second, false, false, false, 0},
	}
	for _, tt := range tests {
		f, now := of(tt.cc), received.Add(tt.at)
		if got := f.Fresh(now); got != tt.fresh {
			t.Errorf("%s at %v: Fresh = %v", tt.cc, tt.at, got)
		}
		if got := f.WhileRevalidating(now); got != (tt.revalidate || tt.fresh && strings.Contains(tt.cc, "while")) {
			t.Errorf("%s at %v: WhileRevalidating = %v", tt.cc, tt.at, got)
		}
		if got := f.OnError(now); got != tt.onError {
			t.Errorf("%s at %v: OnError = %v", tt.cc, tt.at, got)
		}
		if got := f.StaleFor(now); got != tt.stale {
			t.Errorf("%s at %v: StaleFor = %v, want %v", tt.cc, tt.at, got, tt.stale)
		}
		if f.Age(now) < 0 {
			t.Errorf("%s at %v: negative age", tt.cc, tt.at)
		}
	}
	far := Freshness{InitialAge: 1<<63 - 1}
	if got := far.Age(far.ResponseTime.Add(time.Hour)); got < 0 {
		t.Errorf("age overflows: %v", got)
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	plain := Freshness{Lifetime: 100 * time.Second, ResponseTime: received}
	strict, noCache := plain, plain
	strict.MustRevalidate, noCache.NoCache = true, true
	immutable := plain
	immutable.Immutable = true
	tests := []struct {
		request string
		f       Freshness
		at      time.Duration
		want    bool
	}{
		{"", plain, 50 * time.Second, true},
		{"", plain, 150 * time.Second, false},
		{"no-cache", plain, 0, false},
		{"no-store", plain, 0, false},
		{"max-age=40", plain, 50 * time.Second, false},
		{"max-age=50", plain, 50 * time.Second, true},
		{"max-age=0", plain, 0, true},
		{"max-age=0", plain, time.Second, false},
		{"max-age=0", immutable, time.Second, true},
		{"max-age=0", immutable, 150 * time.Second, false},
		{"no-cache", immutable, time.Second, false},
		{"min-fresh=50", plain, 50 * time.Second, true},
		{"min-fresh=51", plain, 50 * time.Second, false},
		{"max-stale", plain, time.Hour, true},
		{"max-stale=50", plain, 150 * time.Second, true},
		{"max-stale=49", plain, 150 * time.Second, false},
		{"max-stale", strict, 150 * time.Second, false},
		{"max-age=120, max-stale", plain, 150 * time.Second, false},
		{"max-stale", noCache, 0, false},
	}
	for _, tt := range tests {
		d := ParseCacheControl([]string{tt.request})
		if got := d.Accepts(tt.f, received.Add(tt.at)); got != tt.want {
			t.Errorf("%q at %v: Accepts = %v, want %v", tt.request, tt.at, got, tt.want)
		}
	}
}

func TestConditional(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want http.Header }{
		{fields("Content-Type: x"), nil},
		{fields("Etag: "), nil},
		{fields(`Etag: "a"`), fields(`If-None-Match: "a"`)},
		{fields(`Etag: W/"a"`, `Etag: "b"`, "Last-Modified: then"), fields(`If-None-Match: W/"a"`, "If-Modified-Since: then")},
		{fields("Last-Modified: then"), fields("If-Modified-Since: then")},
	}
	for _, tt := range tests {
		if got := Conditional(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Conditional(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestRenews(t *testing.T) {
	t.Parallel()
	const then, later = "Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT", "Last-Modified: Mon, 23 Nov 2026 11:00:00 GMT"
	tests := []struct {
		name          string
		stored, fresh http.Header
		want          bool
	}{
		{"same tag", fields(`Etag: "a"`), fields(`Etag: "a"`), true},
		{"the tag that was sent matched", fields(`Etag: "a-gzip"`), fields(`Etag: "a"`), true},
		{"tag left out", fields(`Etag: "a"`, then), fields(later), true},
		{"a tag where none was", fields(then), fields(`Etag: "a"`, then), false},
		{"same date", fields(then), fields(then), true},
		{"other date", fields(then), fields(later), false},
		{"date left out", fields(then), fields(), true},
	}
	for _, tt := range tests {
		if got := Renews(tt.stored, tt.fresh); got != tt.want {
			t.Errorf("RFC 9111, 4.3.4: %s: Renews = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	stored := fields("Content-Length: 100", "Content-Encoding: gzip", "Content-Type: text/plain", "Etag: \"a\"", "Content-MD5: a",
		"Cache-Control: max-age=1", "Age: 50", dated(-time.Hour, "Date"), "X-Kept: 1", "X-Two: 1", "X-Two: 2")
	fresh := fields("Content-Length: 0", "Content-Encoding: br", "Content-Range: bytes 0-1/2", "Content-Type: text/html",
		"Etag: \"b\"", "Content-MD5: b", "Cache-Control: max-age=2", dated(0, "Date"), "X-Two: 3", "X-New: 1",
		"Connection: close, x-hop", "X-Hop: 1", "Transfer-Encoding: chunked", "Keep-Alive: 5")
	want := fields("Content-Length: 100", "Content-Encoding: gzip", "Content-Type: text/html", "Etag: \"a\"", "Content-MD5: a",
		"Cache-Control: max-age=2", dated(0, "Date"), "X-Kept: 1", "X-Two: 3", "X-New: 1")
	before := fmt.Sprint(stored, fresh)
	if got := Update(stored, fresh); !reflect.DeepEqual(got, want) {
		t.Errorf("Update\n got %v\nwant %v", got, want)
	}
	if after := fmt.Sprint(stored, fresh); after != before {
		t.Errorf("arguments changed:\n%s\n%s", before, after)
	}
	// A 304 without a Date was generated when it arrived; the stored Date and Age say nothing of it.
	got := Update(stored, fields("X-New: 1"))
	if len(got["Age"]) > 0 || len(got["Date"]) > 0 {
		t.Errorf("Age %q and Date %q outlive a 304", got["Age"], got["Date"])
	}
}

// FuzzLifetime holds whatever Age, Date and Expires say to what RFC 9111, 4.2 promises: no age or lifetime is negative,
// none grows when time stands still, and max-age is never exceeded.
func FuzzLifetime(f *testing.F) {
	for _, age := range []string{"", "0", "-5", "9000000000", "0, 7200", " 7 ", "1;a=b"} {
		f.Add(age, received.Format(http.TimeFormat), "0", int64(60))
	}
	f.Add("1", "Mon, 23 Nov 2099 10:00:00 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", int64(-1))
	f.Add("1", "Mon, 23 Nov 0001 10:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", int64(1<<40))
	f.Fuzz(func(t *testing.T, age, date, expires string, maxAge int64) {
		h := http.Header{"Age": {age}, "Date": {date}, "Expires": {expires}}
		if maxAge >= 0 {
			h["Cache-Control"] = []string{fmt.Sprintf("max-age=%d", maxAge)}
		}
		fresh := Of(Response{Status: 200, Header: h, RequestTime: sent, ResponseTime: received}, 0)
		if fresh.Lifetime < 0 || fresh.InitialAge < 0 || fresh.Age(received.Add(-time.Hour)) < 0 {
			t.Errorf("%v: %+v", h, fresh)
		}
		if maxAge >= 0 && fresh.Lifetime > time.Duration(min(maxAge, maxSeconds))*time.Second {
			t.Errorf("%v: fresh for %v", h, fresh.Lifetime)
		}
		later := received.Add(time.Hour)
		if fresh.Age(later) < fresh.Age(received) || !fresh.Fresh(received) && fresh.Fresh(later) {
			t.Errorf("%v: fresher an hour later", h)
		}
	})
}
