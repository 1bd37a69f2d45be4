package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/edge/cmcd"
	"weir/edge/front"
	"weir/edge/limit"
	"weir/edge/sdk"
	"weir/edge/session"
	"weir/tools/proof"
)

// answerRig is an API of each kind that a refusal needs, and the sessions that its clients name.
type answerRig struct {
	apis  map[string]*sdk.API
	gates []*sdk.Gate
	ids   map[string]string
}

// answerBook is one whose ids all others know.
func answerBook(t *testing.T, o session.Options) *session.Book {
	t.Helper()
	o.Keys = func() [][]byte { return [][]byte{[]byte("a key for ids of this test")} }
	b, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// atPath are statuses by what the path of a title begins with.
func atPath(path string) int {
	for name, status := range map[string]int{"/film-gone": 404, "/film-8k": 406, "/film-private": 403} {
		if strings.HasPrefix(path, name) {
			return status
		}
	}
	return http.StatusOK
}

func newAnswerRig(t *testing.T) *answerRig {
	t.Helper()
	r := &answerRig{apis: map[string]*sdk.API{}, ids: map[string]string{"unknown": "abc"}}
	sessions, downloads := answerBook(t, session.Options{}), answerBook(t, session.Options{})
	apart, together := answerBook(t, session.Options{}), answerBook(t, session.Options{})
	add := func(name string, change func(*sdk.Options)) {
		gate := sdk.NewGate(time.Now())
		o := sdk.Options{
			Sessions: sessions, Downloads: downloads, Once: answerBook(t, session.Options{}), Gate: gate, AccountLimit: 1, DownloadLimit: 1,
			Key:    func() []byte { return []byte("a key for accounts of this test") },
			Assets: []sdk.Asset{{Match: "film*", HLS: "/{asset}.m3u8"}},
			Viewer: func(r *http.Request) (sdk.Viewer, error) {
				who, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if !ok {
					return sdk.Viewer{}, errNoToken
				}
				return sdk.Viewer{Account: who}, nil
			},
			Probe: func(_ *http.Request, path string) int { return atPath(path) },
			Fetch: func(_ *http.Request, path string, _ int64) (int, []byte) {
				text := "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1.m4s\n"
				if !strings.HasPrefix(path, "/film-live") {
					text += "#EXT-X-ENDLIST\n"
				}
				return atPath(path), []byte(text)
			},
			Size:   func(*http.Request, string) int64 { return 1000 },
			Issue:  func(g sdk.Grant) (sdk.Token, error) { return sdk.Token{Value: "x", Expires: g.Until}, nil },
			Assist: func(*http.Request, session.ID) sdk.Advice { return sdk.Advice{} },
			Report: func(*http.Request, *cmcd.Report) bool { return true },
			Rates:  sdk.Rates{Network: limit.Rate{PerSecond: 1e9, Burst: 1e9}, Account: limit.Rate{PerSecond: 1e9, Burst: 1e9}},
		}
		if change != nil {
			change(&o)
		}
		api, err := sdk.New(o)
		if err != nil {
			t.Fatal(err)
		}
		r.apis[name], r.gates = api, append(r.gates, gate)
	}
	add("whole", nil)
	add("apart", func(o *sdk.Options) { o.Sessions = apart })
	add("together", func(o *sdk.Options) { o.Sessions = together })
	add("lost", func(o *sdk.Options) {
		away := session.Options{
			Owners: func(session.Place) []session.Node { return []session.Node{{Name: "edge-9", Address: "192.0.2.9:1"}} },
			Send:   func(context.Context, session.Node, []byte) ([]byte, error) { return nil, errors.New("nobody answers") },
		}
		o.Sessions, o.Downloads, o.Once = answerBook(t, away), answerBook(t, away), answerBook(t, away)
	})
	add("full", func(o *sdk.Options) { o.Sessions = answerBook(t, session.Options{Max: 1}) })
	add("mute", func(o *sdk.Options) {
		o.Issue = func(sdk.Grant) (sdk.Token, error) { return sdk.Token{}, errors.New("no key signs") }
	})
	add("rated", func(o *sdk.Options) { o.Rates.Network = limit.Rate{PerSecond: 1e-3, Burst: 1} })
	add("busy", func(o *sdk.Options) { o.Report = func(*http.Request, *cmcd.Report) bool { return false } })
	add("often", func(o *sdk.Options) {
		o.Viewer = func(*http.Request) (sdk.Viewer, error) {
			return sdk.Viewer{}, &sdk.NotNow{Text: "too often", Often: true, Wait: 7 * time.Second}
		}
	})
	add("unsure", func(o *sdk.Options) {
		o.Viewer = func(*http.Request) (sdk.Viewer, error) {
			return sdk.Viewer{}, &sdk.NotNow{Text: "ask again", Wait: time.Second}
		}
	})
	open := func(api, path, who string) string {
		q := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"asset":"film"}`))
		for name, value := range map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + who, "Idempotency-Key": who} {
			q.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		r.apis[api].ServeHTTP(w, q)
		if w.Code != http.StatusCreated {
			t.Fatalf("%s %s: status %d: %s", api, path, w.Code, w.Body)
		}
		return w.Header().Get("Location")[len(path)+1:]
	}
	const play, keep = "/sdk/v1/sessions", "/sdk/v1/downloads"
	r.ids["live"], r.ids["download"] = open("whole", play, "ann"), open("whole", keep, "ann")
	r.ids["ended"], r.ids["given up"] = open("whole", play, "eve"), open("whole", keep, "eve")
	for path, id := range map[string]string{play: r.ids["ended"], keep: r.ids["given up"]} {
		w := httptest.NewRecorder()
		r.apis["whole"].ServeHTTP(w, httptest.NewRequest(http.MethodDelete, path+"/"+id, http.NoBody))
		if w.Code != http.StatusNoContent {
			t.Fatalf("end: status %d", w.Code)
		}
	}
	open("full", play, "ann")
	// Two nodes that do not reach each other let in one too many; then they meet.
	for id, who := range map[string]string{"excess": "ann", "another excess": "bob"} {
		open("apart", play, who)
		r.ids[id] = open("together", play, who) // the later one
	}
	if err := apart.Export(together.Import); err != nil {
		t.Fatal(err)
	}
	first := httptest.NewRequest(http.MethodGet, "/time", http.NoBody)
	first.RemoteAddr = "127.0.0.1:1"
	r.apis["rated"].ServeHTTP(httptest.NewRecorder(), first)
	return r
}

// answerRow provokes one answer.
type answerRow struct {
	op     string // method and path, as the document has them
	status int
	kind   string // of the problem
	api    string
	id     string // by its name in answerRig.ids, or what stands in the path for a name
	body   string
	fields []string // in place of Content-Type: application/json and ann's credential
}

// answerRows are all refusals that the document lists.
func answerRows() []answerRow {
	const (
		config, steer  = "GET /sdk/v1/config", "GET /steer/v1/{asset}"
		play, keep     = "POST /sdk/v1/sessions", "POST /sdk/v1/downloads"
		end, beacon    = "DELETE /sdk/v1/sessions/{id}", "POST /sdk/v1/sessions/{id}/end"
		beat, token    = "POST /sdk/v1/sessions/{id}/heartbeat", "POST /sdk/v1/token"
		events, assist = "POST /sdk/v1/cmcd", "GET /sdk/v1/assist/{id}"
		kept, given    = "GET /sdk/v1/downloads/{id}", "DELETE /sdk/v1/downloads/{id}"
		explain        = "GET /sdk/v1/problems/{name}"
		film           = `{"asset":"film"}`
	)
	bob, plain, nobody := []string{"Authorization", "Bearer bob"}, []string{"Content-Type", "text/plain"}, []string{"Authorization", ""}
	key := []string{"Idempotency-Key", "ann"}
	long := `{"asset":"film","later":"` + strings.Repeat("x", 17<<10) + `"}`
	rows := []answerRow{
		{config, 400, "request", "whole", "?device=fridge", "", nil},
		{steer, 400, "request", "whole", "a%5Cb", "", nil},
		{explain, 404, "not-found", "whole", "nothing", "", nil},
		{assist, 404, "not-found", "whole", "unknown", "", nil},
		{events, 400, "request", "whole", "", "[{", nil},
		{events, 413, "body-size", "whole", "", strings.Repeat("x", 257<<10), nil},
		{events, 415, "media-type", "whole", "", "x", plain},
		{events, 429, "busy", "busy", "", `{"e":"t","ts":1,"v":2}`, nil},
		{events, 503, "busy", "lost", "", `{"e":"t","ts":1,"v":2}`, key},
		{beat, 400, "request", "whole", "live", `{"position_s":"x"}`, nil},
		{beat, 404, "not-found", "whole", "unknown", "", nil},
		{beat, 409, "sessions", "together", "excess", "", nil},
		{beat, 410, "ended", "whole", "ended", "", nil},
		{beat, 413, "body-size", "whole", "live", long, nil},
		{beat, 415, "media-type", "whole", "live", "x", plain},
		{beat, 503, "busy", "lost", "live", "", nil},
		{token, 400, "request", "whole", "", "{", nil},
		{token, 404, "not-found", "whole", "", `{"session":"abc"}`, nil},
		{token, 409, "sessions", "together", "", `{"session":"{another excess}"}`, nil},
		{token, 410, "ended", "whole", "", `{"session":"{ended}"}`, nil},
		{token, 413, "body-size", "whole", "", long, nil},
		{token, 415, "media-type", "whole", "", "x", plain},
		{token, 503, "busy", "lost", "", `{"session":"{live}"}`, nil},
		{token, 503, "busy", "mute", "", `{"session":"{live}"}`, nil},
		{kept, 404, "not-found", "whole", "unknown", "", nil},
		{kept, 410, "ended", "whole", "given up", "", nil},
		{kept, 503, "busy", "lost", "download", "", nil},
		{play, 409, "sessions", "whole", "", film, nil},
		{keep, 409, "downloads", "whole", "", film, nil},
		{keep, 409, "download", "whole", "", `{"asset":"film-live"}`, bob},
		{keep, 409, "room", "whole", "", `{"asset":"film","max_bytes":1}`, bob},
		{play, 503, "busy", "full", "", film, bob},
	}
	for _, op := range []string{play, keep} {
		rows = append(rows,
			answerRow{op, 400, "request", "whole", "", `{"asset":"../film"}`, nil},
			answerRow{op, 401, "credential", "whole", "", film, nobody},
			answerRow{op, 403, "forbidden", "whole", "", `{"asset":"film-private"}`, bob},
			answerRow{op, 404, "asset", "whole", "", `{"asset":"film-gone"}`, bob},
			answerRow{op, 406, "playable", "whole", "", `{"asset":"film-8k"}`, bob},
			answerRow{op, 413, "body-size", "whole", "", long, nil},
			answerRow{op, 415, "media-type", "whole", "", film, plain},
			answerRow{op, 422, "idempotency", "whole", "", `{"asset":"film-2"}`, key},
			answerRow{op, 429, "rate", "often", "", film, nil},
			answerRow{op, 503, "busy", "unsure", "", film, nil},
			answerRow{op, 503, "busy", "lost", "", film, bob},
			answerRow{op, 503, "busy", "mute", "", film, bob},
		)
	}
	for _, op := range []string{end, beacon, given} {
		rows = append(rows, answerRow{op, 404, "not-found", "whole", "unknown", "", nil}, answerRow{op, 503, "busy", "lost", "live", "", nil})
	}
	for _, op := range []string{
		config, steer, play, keep, end, beacon, beat, token, events, assist, kept, given, explain, "GET /sdk/v1/openapi.json", "GET /time",
	} {
		rows = append(rows, answerRow{op, 429, "rate", "rated", "live", "", nil})
	}
	return rows
}

// TestEveryRefusalOverEveryProtocol: each answer that the OpenAPI document lists as a problem comes, over each protocol, as
// a problem document that any page may read and no cache keeps, and is counted by its name; what may be asked again says when.
func TestEveryRefusalOverEveryProtocol(t *testing.T) {
	t.Parallel()
	rigs := map[string]*answerRig{}
	for _, w := range ways() {
		rigs[w.name] = newAnswerRig(t)
	}
	certificate, err := front.MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err := front.New(front.Options{
		HTTP: "127.0.0.1:0", HTTPS: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, DrainTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rigs[r.Header.Get("Test-Way")].apis[r.Header.Get("Test-API")].ServeHTTP(w, r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	running := start(context.Background(), server.Run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
	})
	listed := listedRefusals(t, rigs["h1"].apis["whole"])
	provoked := map[string]bool{}
	for _, w := range ways() {
		base := "http://" + server.HTTPAddr()
		if w.secure {
			base = "https://" + server.HTTPSAddr()
		}
		c, err := proof.NewClient(proof.ClientOptions{
			Oracle: proof.NewOracle(t.Name()), Protocol: w.protocol,
			TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is minted for the test
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		rig, counted := rigs[w.name], map[string]int64{}
		for _, row := range answerRows() {
			what := w.name + " " + row.op + " " + strconv.Itoa(row.status) + " from " + row.api
			if _, known := listed[row.refusal()]; !known {
				t.Errorf("%s: the document does not list it", what)
			}
			provoked[row.refusal()] = true
			r, text := rig.ask(t, c, base, w.name, &row)
			checkProblem(t, what, r, text, row.status, row.kind)
			counted[row.kind]++
			h := r.Header
			if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cache-Control") != "no-store" || r.StatusCode == http.StatusUnauthorized && h.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: got %v", what, h)
			}
			wait, err := strconv.Atoi(h.Get("Retry-After"))
			if again := row.status == 429 || row.status == 503; again != (err == nil) || again && (wait < 1 || !strings.Contains(string(text), `"retry_s":`+h.Get("Retry-After"))) {
				t.Errorf("%s: Retry-After %q: %s", what, h.Get("Retry-After"), text)
			}
		}
		for name, want := range counted {
			got := int64(0)
			for _, g := range rig.gates {
				got += g.Answered(name)
			}
			if got != want {
				t.Errorf("%s: %s is counted %d times, want %d", w.name, name, got, want)
			}
		}
	}
	for refusal := range listed {
		if !provoked[refusal] {
			t.Errorf("nothing provokes %s", refusal)
		}
	}
}

func (row *answerRow) refusal() string { return row.op + " " + strconv.Itoa(row.status) }

// ask sends what a row says.
func (r *answerRig) ask(t *testing.T, c *proof.Client, base, way string, row *answerRow) (*http.Response, []byte) {
	t.Helper()
	name, ok := r.ids[row.id]
	if !ok {
		name = row.id
	}
	method, path, _ := strings.Cut(row.op, " ")
	if strings.HasPrefix(name, "?") {
		path += name
	}
	path = strings.NewReplacer("{id}", name, "{name}", name, "{asset}", name).Replace(path)
	body := row.body
	for id, value := range r.ids {
		body = strings.ReplaceAll(body, "{"+id+"}", value)
	}
	q, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		q.Body, q.ContentLength = http.NoBody, 0
	}
	for i, fields := 0, append([]string{"Content-Type", "application/json", "Authorization", "Bearer ann", "Test-Way", way, "Test-API", row.api}, row.fields...); i < len(fields); i += 2 {
		q.Header.Set(fields[i], fields[i+1])
	}
	answer, err := c.RoundTrip(q)
	if err != nil {
		t.Fatalf("%s %s: %v", way, row.op, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, text
}

// listedRefusals are the answers that the document names, but for those that are none.
func listedRefusals(t *testing.T, api *sdk.API) map[string]bool {
	t.Helper()
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/sdk/v1/openapi.json", http.NoBody))
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for path, methods := range document.Paths {
		for method, text := range methods {
			var operation struct{ Responses map[string]json.RawMessage }
			if method == "parameters" {
				continue
			}
			if err := json.Unmarshal(text, &operation); err != nil {
				t.Fatal(err)
			}
			for status := range operation.Responses {
				if status >= "400" {
					listed[strings.ToUpper(method)+" "+path+" "+status] = true
				}
			}
		}
	}
	return listed
}
