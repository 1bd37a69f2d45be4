package sdk

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/cmcd"
	"weir/edge/limit"
	"weir/edge/session"
)

func testBook(t *testing.T) *session.Book {
	t.Helper()
	b, err := session.New(session.Options{Keys: func() [][]byte { return [][]byte{[]byte("a key for ids of the tests")} }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testAPI(t *testing.T, o Options) *API {
	t.Helper()
	if o.Sessions == nil {
		o.Sessions = testBook(t)
	}
	o.Key = func() []byte { return []byte("a key for accounts of the tests") }
	if !o.Rates.Network.On() {
		o.Rates.Network = limit.Rate{PerSecond: 1e9, Burst: 1e9} // all tests are one client
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// byToken takes the bearer's name for the account.
func byToken(r *http.Request) (Viewer, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Viewer{}, errors.New("no token came with the request")
	}
	return Viewer{Account: name}, nil
}

// ask sends a request; headers are pairs.
func ask(a *API, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status: got %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probed []string
		a := testAPI(t, Options{
			Viewer: byToken, AccountLimit: 2,
			Assets: []Asset{
				{Match: "live/*", HLS: "/{asset}/index.m3u8", Licenses: map[string]string{"widevine": "https://drm.example/{asset}?s={session}", "fairplay": "https://drm.example/fps"}},
				DefaultAsset(),
			},
			Probe: func(_ *http.Request, path string) int { probed = append(probed, path); return http.StatusOK },
		})
		w := ask(a, "POST", "https://edge.example/sdk/v1/sessions",
			`{"asset":"live/news 1","device":"car","label":"the van","capabilities":{"codecs":["avc1.640028","mp4a.40.2"],"max_height":720,"drm":["widevine"],"network":"metered","hdr":[],"later":1},"later":{}}`,
			"Authorization", "Bearer ann")
		p := decode[played](t, w, http.StatusCreated)
		want := "/live/news%201/index.m3u8?codecs=avc1.640028%2Cmp4a.40.2&device=car&drm=widevine&height=720&metered=1&range=sdr"
		if len(probed) != 1 || probed[0] != want {
			t.Errorf("probed %q, want %q", probed, want)
		}
		if got := p.Manifests["hls"]; got != "https://edge.example"+want+"&session="+p.Session {
			t.Errorf("manifest: got %s, want %s with the session", got, want)
		}
		if len(p.Manifests) != 1 || len(p.Licenses) != 1 || p.Licenses["widevine"] != "https://drm.example/live%2Fnews+1?s="+p.Session {
			t.Errorf("manifests %v, licenses %v", p.Manifests, p.Licenses)
		}
		if p.Steering != "https://edge.example/steer/v1/live/news%201?session="+p.Session {
			t.Errorf("steering: got %s", p.Steering)
		}
		if p.CMCD.SID != p.Session || p.CMCD.CID != "live/news 1" || p.Buffer.GoalS != 120 || !p.Expires.Equal(time.Now().Add(session.DefaultLease)) {
			t.Errorf("got %+v", p)
		}
		if got := w.Header().Get("Location"); got != "/sdk/v1/sessions/"+p.Session {
			t.Errorf("Location: got %q", got)
		}

		// The same call again, and another one with its key.
		time.Sleep(time.Second)
		call := `{"asset":"demo"}`
		one := decode[played](t, ask(a, "POST", "/sdk/v1/sessions", call, "Authorization", "Bearer ann", "Idempotency-Key", "k"), 201)
		if two := decode[played](t, ask(a, "POST", "/sdk/v1/sessions", call, "Authorization", "Bearer ann", "Idempotency-Key", "k"), 201); two.Session != one.Session {
			t.Errorf("repeated: got session %s, want %s", two.Session, one.Session)
		}
		if w := ask(a, "POST", "/sdk/v1/sessions", `{"asset":"other"}`, "Authorization", "Bearer ann", "Idempotency-Key", "k"); w.Code != 422 {
			t.Errorf("another call with the same key: got %d, want 422", w.Code)
		}

		// One too many, which one may be ended, and a heartbeat after it was.
		no := decode[problem](t, ask(a, "POST", "/sdk/v1/sessions", call, "Authorization", "Bearer ann"), http.StatusConflict)
		if no.Limit != 2 || len(no.Sessions) != 2 || no.Sessions[0].Session != p.Session || no.Sessions[0].Label != "the van" {
			t.Errorf("conflict: got %+v", no)
		}
		decode[played](t, ask(a, "POST", "/sdk/v1/sessions", call, "Authorization", "Bearer bob"), 201)
		if w := ask(a, "DELETE", "/sdk/v1/sessions/"+p.Session, ""); w.Code != http.StatusNoContent {
			t.Errorf("end: got %d", w.Code)
		}
		if w := ask(a, "POST", "/sdk/v1/sessions/"+p.Session+"/heartbeat", ""); w.Code != http.StatusGone {
			t.Errorf("heartbeat after the end: got %d, want 410", w.Code)
		}
		decode[played](t, ask(a, "POST", "/sdk/v1/sessions", call, "Authorization", "Bearer ann"), 201)
		decode[played](t, ask(a, "POST", "/sdk/v1/sessions", `{"asset":"demo","replace":true}`, "Authorization", "Bearer ann"), 201)
	})
}

// TestSameKeyOfStrangers: viewers without an account who thought of the same key do not share a session, nor a download.
func TestSameKeyOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a busy machine ends no lease
		a := testAPI(t, Options{Downloads: testBook(t), Fetch: testTitle, Size: testSize})
		for _, path := range []string{"/sdk/v1/sessions", "/sdk/v1/downloads"} {
			open := func(address, agent string) string {
				t.Helper()
				r := httptest.NewRequest("POST", path, strings.NewReader(`{"asset":"demo"}`))
				r.RemoteAddr = address
				for name, value := range map[string]string{"Content-Type": "application/json", "User-Agent": agent, "Idempotency-Key": "1"} {
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				if w.Code != http.StatusCreated {
					t.Fatalf("%s: status %d: %s", address, w.Code, w.Body)
				}
				return w.Header().Get("Location")
			}
			seen := map[string]string{}
			for _, c := range []struct{ client, address, agent string }{
				{"ann", "192.0.2.1:1000", "tv/1"},
				{"ann", "192.0.2.1:2000", "tv/1"},
				{"bob, next door", "192.0.2.2:1000", "tv/1"},
				{"ann's phone", "192.0.2.1:1000", "phone/1"},
				{"ann, over a socket of IPv6", "192.0.2.1:1000", "tv/2"},
				{"ann, over a socket of IPv6", "[::ffff:192.0.2.1]:3000", "tv/2"},
				{"eve", "[2001:db8::1]:1000", "tv/1"},
				{"eve", "[2001:db8::2]:1000", "tv/1"}, // her device has a new address
				{"joe", "[2001:db8:0:1::1]:1000", "tv/1"},
			} {
				got := open(c.address, c.agent)
				if before := seen[c.client]; before != "" && got != before {
					t.Errorf("%s again: got %s, want %s", c.client, got, before)
				}
				for other, theirs := range seen {
					if other != c.client && theirs == got {
						t.Errorf("%s gets the session of %s", c.client, other)
					}
				}
				seen[c.client] = got
			}
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAPI(t, Options{Assist: func(*http.Request, session.ID) Advice { return Advice{MaxBitrateKbps: 3000} }})
		p := decode[played](t, ask(a, "POST", "/sdk/v1/sessions", `{"asset":"demo","device":"car"}`), 201)
		path := "/sdk/v1/sessions/" + p.Session + "/heartbeat"
		for range 5 {
			time.Sleep(60 * time.Second)
			r := decode[renewed](t, ask(a, "POST", path, `{"state":"p","position_s":12.5,"driving":true}`), 200)
			if !r.AudioOnly || r.Advice.MaxBitrateKbps != 3000 || r.EveryS != 30 || !r.Expires.Equal(time.Now().Add(session.DefaultLease)) {
				t.Fatalf("heartbeat: got %+v", r)
			}
		}
		time.Sleep(session.DefaultLease)
		if w := ask(a, "POST", path, ""); w.Code != http.StatusGone {
			t.Errorf("heartbeat after the lease: got %d, want 410", w.Code)
		}
		if w := ask(a, "POST", p.End, "bye", "Content-Type", "text/plain"); w.Code != http.StatusNoContent {
			t.Errorf("a beacon: got %d, want 204", w.Code)
		}
	})
}

func TestAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAPI(t, Options{Viewer: byToken, AccountLimit: 5, Assets: []Asset{{Match: "match", HLS: "/match.m3u8", Limit: 2}, DefaultAsset()}})
		play := func(who string) *httptest.ResponseRecorder {
			return ask(a, "POST", "/sdk/v1/sessions", `{"asset":"match"}`, "Authorization", "Bearer "+who)
		}
		first := decode[played](t, play("ann"), 201)
		time.Sleep(40 * time.Second)
		decode[played](t, play("bob"), 201)
		no := decode[problem](t, play("eve"), http.StatusConflict)
		if no.Type != problemRoot+"audience" || len(no.Sessions) != 0 {
			t.Errorf("a third of two viewers: got %+v; the sessions of others are nobody's business", no)
		}
		decode[played](t, ask(a, "POST", "/sdk/v1/sessions", `{"asset":"demo"}`, "Authorization", "Bearer eve"), 201)
		decode[renewed](t, ask(a, "POST", "/sdk/v1/sessions/"+first.Session+"/heartbeat", ""), 200)
		time.Sleep(40 * time.Second)
		decode[renewed](t, ask(a, "POST", "/sdk/v1/sessions/"+first.Session+"/heartbeat", ""), 200)
		time.Sleep(session.DefaultLease - 40*time.Second) // the second has not been renewed
		decode[played](t, play("eve"), 201)
		if w := play("joe"); w.Code != http.StatusConflict {
			t.Errorf("the first was renewed, yet its place is free: %d", w.Code)
		}
		ask(a, "DELETE", "/sdk/v1/sessions/"+first.Session, "")
		decode[played](t, play("joe"), 201)
	})
}

// TestLaterAudience: who watches already counts when a title gets a limit, and when the limit's owners have lost it, and goes on.
func TestLaterAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := testBook(t)
		before := testAPI(t, Options{Sessions: book})
		var watching []played
		for range 3 {
			watching = append(watching, decode[played](t, ask(before, "POST", "/sdk/v1/sessions", `{"asset":"match"}`), 201))
		}
		a := testAPI(t, Options{Sessions: book, Assets: []Asset{{Match: "match", HLS: "/match.m3u8", Limit: 3}}})
		for range 3 {
			time.Sleep(30 * time.Second)
			for _, p := range watching {
				decode[renewed](t, ask(a, "POST", "/sdk/v1/sessions/"+p.Session+"/heartbeat", ""), 200)
			}
		}
		if w := ask(a, "POST", "/sdk/v1/sessions", `{"asset":"match"}`); w.Code != http.StatusConflict {
			t.Errorf("a fourth of three viewers: got %d, want 409", w.Code)
		}
		ask(a, "DELETE", "/sdk/v1/sessions/"+watching[0].Session, "")
		decode[played](t, ask(a, "POST", "/sdk/v1/sessions", `{"asset":"match"}`), 201)
	})
}

// TestRefusals are all problems a client can cause, with what they name.
func TestRefusals(t *testing.T) {
	a := testAPI(t, Options{
		Viewer: byToken, Assets: []Asset{{Match: "film*", HLS: "/{asset}.m3u8"}},
		Probe: func(_ *http.Request, path string) int {
			return map[string]int{"/film-gone.m3u8": 404, "/film-8k.m3u8": 406, "/film-private.m3u8": 403, "/film-ill.m3u8": 502}[path[:strings.IndexByte(path, '?')]]
		},
	})
	const sessions = "/sdk/v1/sessions"
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		kind, field              string
	}{
		{"no JSON", "POST", sessions, `{"asset"`, nil, 400, "request", ""},
		{"a list", "POST", sessions, `[]`, nil, 400, "request", ""},
		{"wrong type", "POST", sessions, `{"asset":"film","capabilities":{"max_height":"720"}}`, nil, 400, "request", "capabilities.max_height"},
		{"no asset", "POST", sessions, `{}`, nil, 400, "request", "asset"},
		{"dots", "POST", sessions, `{"asset":"film/../../admin"}`, nil, 400, "request", "asset"},
		{"backslash", "POST", sessions, `{"asset":"film\\x"}`, nil, 400, "request", "asset"},
		{"control", "POST", sessions, `{"asset":"film\u0000"}`, nil, 400, "request", "asset"},
		{"long name", "POST", sessions, `{"asset":"film` + strings.Repeat("x", 130) + `"}`, nil, 400, "request", "asset"},
		{"device", "POST", sessions, `{"asset":"film","device":"fridge"}`, nil, 400, "request", "device"},
		{"codec", "POST", sessions, `{"asset":"film","capabilities":{"codecs":["avc1&x=1"]}}`, nil, 400, "request", "capabilities.codecs"},
		{"height", "POST", sessions, `{"asset":"film","capabilities":{"max_height":-1}}`, nil, 400, "request", "capabilities.max_height"},
		{"network", "POST", sessions, `{"asset":"film","capabilities":{"network":"5g"}}`, nil, 400, "request", "capabilities.network"},
		{"label", "POST", sessions, `{"asset":"film","label":"` + strings.Repeat("x", 65) + `"}`, nil, 400, "request", "label"},
		{"key", "POST", sessions, `{"asset":"film"}`, []string{"Idempotency-Key", strings.Repeat("x", 257)}, 400, "request", "Idempotency-Key"},
		{"form", "POST", sessions, `asset=film`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "media-type", ""},
		{"huge", "POST", sessions, `{"asset":"film","later":"` + strings.Repeat("x", maxBodyBytes) + `"}`, nil, 413, "body-size", ""},
		{"no rule", "POST", sessions, `{"asset":"series"}`, nil, 404, "asset", ""},
		{"no manifest", "POST", sessions, `{"asset":"film-gone"}`, nil, 404, "asset", ""},
		{"no rendition", "POST", sessions, `{"asset":"film-8k"}`, nil, 406, "playable", ""},
		{"private", "POST", sessions, `{"asset":"film-private"}`, nil, 403, "forbidden", ""},
		{"stranger", "POST", sessions, `{"asset":"film"}`, []string{"Authorization", "Basic x"}, 401, "credential", ""},
		{"method", "PUT", sessions, `{}`, nil, 405, "method", ""},
		{"path", "GET", "/sdk/v1/nothing", "", nil, 404, "not-found", ""},
		{"session", "POST", sessions + "/abc/heartbeat", "", nil, 404, "not-found", ""},
		{"beat", "POST", sessions + "/abc/heartbeat", `{"position_s":"x"}`, nil, 400, "request", "position_s"},
		{"config", "GET", "/sdk/v1/config?device=fridge", "", nil, 400, "request", "device"},
		{"steer", "GET", "/steer/v1/a%5Cb", "", nil, 400, "request", "asset"},
		{"steer from", "GET", "/steer/v1/film?from=a%0Ab", "", nil, 400, "request", "from"},
		{"cmcd", "POST", "/sdk/v1/cmcd", "x", []string{"Content-Type", "text/plain"}, 415, "media-type", ""},
		{"advice", "GET", "/sdk/v1/assist/abc", "", nil, 404, "not-found", ""},
	} {
		w := ask(a, c.method, c.path, c.body, append([]string{"Authorization", "Bearer ann"}, c.headers...)...)
		p := decode[problem](t, w, c.status)
		if p.Type != problemRoot+c.kind || p.Field != c.field || p.Status != c.status || p.Detail == "" || p.Title == "" {
			t.Errorf("%s: got %+v, want kind %s, field %q", c.name, p, c.kind, c.field)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s: Content-Type %q", c.name, got)
		}
		if w := ask(a, "GET", p.Type, ""); w.Code != 200 || !strings.Contains(w.Body.String(), p.Title) {
			t.Errorf("%s: its type leads to %d %s", c.name, w.Code, w.Body)
		}
	}
	// An origin in trouble is no reason not to play what the cache has.
	decode[played](t, ask(a, "POST", sessions, `{"asset":"film-ill"}`, "Authorization", "Bearer ann"), 201)
}

func TestBusy(t *testing.T) {
	b, err := session.New(session.Options{Keys: func() [][]byte { return [][]byte{{1}} }, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	a := testAPI(t, Options{Sessions: b})
	decode[played](t, ask(a, "POST", "/sdk/v1/sessions", `{"asset":"demo"}`), 201)
	w := ask(a, "POST", "/sdk/v1/sessions", `{"asset":"demo"}`)
	if p := decode[problem](t, w, 503); p.RetryS < 10 || w.Header().Get("Retry-After") != fmt.Sprint(p.RetryS) {
		t.Errorf("got %+v, Retry-After %q", p, w.Header().Get("Retry-After"))
	}
}

func TestConfig(t *testing.T) {
	a := testAPI(t, Options{Nodes: func(secure bool) []Node {
		if !secure {
			t.Error("asked for nodes without TLS")
		}
		return []Node{{Name: "a", URL: "https://a.example"}, {Name: "b", URL: "https://b.example", Leaves: true}}
	}})
	w := ask(a, "GET", "https://edge.example/sdk/v1/config?device=tv", "")
	c := decode[clientConfig](t, w, 200)
	if c.Buffer.GoalS != 60 || !slices.Equal(c.Nodes, []string{"https://a.example"}) || slices.Contains(c.Features, "token") {
		t.Errorf("got %+v", c)
	}
	if !strings.HasPrefix(w.Header().Get("Cache-Control"), "public") {
		t.Errorf("Cache-Control: %q", w.Header().Get("Cache-Control"))
	}
	if w = ask(a, "GET", "https://edge.example/sdk/v1/config?device=tv", "", "If-None-Match", w.Header().Get("ETag")); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("again: got %d", w.Code)
	}
}

func TestEvents(t *testing.T) {
	var got []string
	a := testAPI(t, Options{Report: func(_ *http.Request, report *cmcd.Report) bool {
		got = append(got, fmt.Sprintf("%s %s %d", report.Text(cmcd.Event), report.Text(cmcd.SessionID), report.Int(cmcd.Timestamp)))
		return len(got) < 7
	}})
	post := func(kind, body string) *httptest.ResponseRecorder {
		return ask(a, "POST", "/sdk/v1/cmcd", body, "Content-Type", kind)
	}
	if w := post("application/cmcd", "e=ps,sta=p,ts=1,v=2\ne=t,ts=2,v=2\r\n\n"+strings.Repeat("x", 10_000)+"\n)(\ne=e,ts=3,v=2"); w.Code != 204 {
		t.Fatalf("a batch: got %d", w.Code)
	}
	if w := post("application/json", `[{"e":"ps","sid":"s","ts":4,"v":2},{"e":"t","ts":5,"v":2}] {"e":"e","ts":6,"v":2}`); w.Code != 204 {
		t.Fatalf("a batch of JSON: got %d", w.Code)
	}
	if want := []string{"ps  1", "t  2", "e  3", "ps s 4", "t  5", "e  6"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if w := post("text/cmcd", "e=t,ts=7,v=2"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("too many: got %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	for kind, want := range map[string]int{"application/json": 400, "text/plain": 415, "": 415} {
		if w := post(kind, "[{"); w.Code != want {
			t.Errorf("%q: got %d, want %d", kind, w.Code, want)
		}
	}
}

// TestOfflineEvents: what was watched offline counts once, however often it is sent; without a key nobody could tell.
func TestOfflineEvents(t *testing.T) {
	book, err := session.New(session.Options{Keys: func() [][]byte { return [][]byte{{1}} }, Lease: time.Hour, Max: 3})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	a := testAPI(t, Options{Once: book, Report: func(_ *http.Request, report *cmcd.Report) bool {
		got = append(got, fmt.Sprintf("%d %v", report.Int(cmcd.Timestamp), report.Bool(cmcd.Offline)))
		return true
	}})
	for _, c := range []struct {
		key, body string
		status    int
		field     string
	}{
		{"", "e=t,ts=1,v=2,weir-offline", 400, "Idempotency-Key"},
		{strings.Repeat("x", 257), "e=t,ts=1,v=2,weir-offline", 400, "Idempotency-Key"},
		{"1", "e=t,ts=2,v=2,weir-offline\ne=ps,ts=3,v=2,weir-offline", 204, ""},
		{"1", "e=t,ts=2,v=2,weir-offline\ne=ps,ts=3,v=2,weir-offline", 204, ""},
		{"", "e=t,ts=4,v=2", 204, ""},
		{"", "e=t,ts=4,v=2", 204, ""}, // nobody said that it is the same
		{"2", "e=t,ts=5,v=2", 204, ""},
		{"2", "e=t,ts=5,v=2", 204, ""},
		{"3", "e=t,ts=6,v=2,weir-offline", 204, ""},
		{"4", "e=t,ts=7,v=2,weir-offline", 503, ""},
	} {
		w := ask(a, "POST", "/sdk/v1/cmcd", c.body, "Content-Type", "application/cmcd", "Idempotency-Key", c.key)
		if w.Code != c.status || c.field != "" && decode[problem](t, w, c.status).Field != c.field {
			t.Errorf("%+v: got %d %s", c, w.Code, w.Body)
		}
	}
	if want := []string{"2 true", "3 true", "4 false", "4 false", "5 false", "6 true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAPI(t, Options{})
		time.Sleep(123 * time.Millisecond)
		if got := ask(a, "GET", "/time", "").Body.String(); got != "2000-01-01T00:00:00.123Z" {
			t.Errorf("got %q", got)
		}
		if got := ask(a, "GET", "/time?format=ms", "").Body.String(); got != fmt.Sprint(time.Now().UnixMilli()) {
			t.Errorf("got %q", got)
		}
	})
}

func TestPagesOfAnyOrigin(t *testing.T) {
	a := testAPI(t, Options{})
	w := ask(a, "OPTIONS", "/sdk/v1/sessions", "", "Origin", "https://tv.example", "Access-Control-Request-Method", "POST")
	h := w.Header()
	if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Idempotency-Key") || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: got %d %v", w.Code, h)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Options{Sessions: testBook(t), Key: func() []byte { return []byte{1} }}
	for name, change := range map[string]func(*Options){
		"no sessions":      func(o *Options) { o.Sessions = nil },
		"no key":           func(o *Options) { o.Key = nil },
		"a late heartbeat": func(o *Options) { o.Heartbeat = time.Minute },
		"a rule for none":  func(o *Options) { o.Assets = []Asset{{HLS: "/x"}} },
		"no manifest":      func(o *Options) { o.Assets = []Asset{{Match: "*"}} },
		"a relative path":  func(o *Options) { o.Assets = []Asset{{Match: "*", HLS: "x"}} },
		"a license": func(o *Options) {
			o.Assets = []Asset{{Match: "*", HLS: "/x", Licenses: map[string]string{"widevine": "/drm"}}}
		},
		"a pathway's name":  func(o *Options) { o.Steering.Pathways = []Pathway{{ID: "a b", Host: "x"}} },
		"a pathway's host":  func(o *Options) { o.Steering.Pathways = []Pathway{{ID: "a", Host: "https://x/"}} },
		"two of a name":     func(o *Options) { o.Steering.Pathways = []Pathway{{ID: "a", Host: "x"}, {ID: "a", Host: "y"}} },
		"a negative weight": func(o *Options) { o.Steering.Pathways = []Pathway{{ID: "a", Host: "x", Weight: -1}} },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func FuzzPlay(f *testing.F) {
	f.Add(`{"asset":"demo","device":"tv","capabilities":{"codecs":["hvc1.2.4.L153"],"max_height":2160,"hdr":["pq"]}}`)
	f.Add(`{"asset":"a/b","capabilities":{"network":"metered"},"replace":true}`)
	f.Add(`{"asset":"..%2f"}`)
	b := fuzzBook(f)
	a, err := New(Options{Sessions: b, Key: func() []byte { return []byte{1} }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "https://edge.example/sdk/v1/sessions", strings.NewReader(body))
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code == 201 {
			var p played
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			for _, u := range []string{p.Manifests["hls"], p.Manifests["dash"], p.Steering} {
				path := strings.TrimPrefix(u, "https://edge.example")
				if path == u || !strings.HasPrefix(path, "/vod/") && !strings.HasPrefix(path, "/steer/v1/") || strings.Contains(path, "/../") || strings.ContainsAny(path, " \\\"<>") {
					t.Errorf("the play call of %q leads to %q", body, u)
				}
			}
			_, _ = b.End(t.Context(), session.ID(p.Session))
		} else if w.Code >= 500 {
			t.Errorf("%q: status %d", body, w.Code)
		}
	})
}

func fuzzBook(f *testing.F) *session.Book {
	f.Helper()
	b, err := session.New(session.Options{Keys: func() [][]byte { return [][]byte{{1}} }, Max: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	return b
}
