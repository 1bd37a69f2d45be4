package proof

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

//go:embed testdata/*.txt
var scripts embed.FS

// fakeLab has nodes that are the smallest cache there can be: one lock around
// fetch and store, a body is kept for 10 s, HEAD and ranges pass.
type fakeLab struct {
	network *Network

	mu    sync.Mutex // guards the field below
	nodes map[string]*fakeNode
}

func newFakeLab(_ *testing.T, network *Network) (Lab, error) {
	return &fakeLab{network: network, nodes: map[string]*fakeNode{}}, nil
}

func (l *fakeLab) StartNode(name string, options map[string]string) error {
	if options["origin"] == "" {
		return errors.New("a node needs origin=NAME")
	}
	listener, err := l.network.Listen(name + ":80")
	if err != nil {
		return err
	}
	h := l.network.Host(name)
	n := &fakeNode{name: name, origin: options["origin"], spoil: options["spoil"] != "", stored: map[string]*stored{}, lock: make(chan struct{}, 1)}
	n.transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.Dial(ctx, n.origin+":80")
	}}
	n.stop = Serve(listener, n, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[name] = n
	return nil
}

func (l *fakeLab) KillNode(name string) error {
	l.mu.Lock()
	n := l.nodes[name]
	delete(l.nodes, name)
	l.mu.Unlock()
	n.stop()
	n.transport.CloseIdleConnections()
	return nil
}

func (l *fakeLab) Dial(ctx context.Context, client, node string, secure bool) (net.Conn, error) {
	if secure {
		return nil, errors.New("the fake has no TLS")
	}
	return l.network.Dial(ctx, client, node+":80")
}

func (l *fakeLab) Do(node string, words []string) error {
	if words[0] != "purge" {
		return fmt.Errorf("unknown action %q", words)
	}
	n := l.nodes[node]
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.stored)
	return nil
}

func (l *fakeLab) Close() error {
	for name := range l.nodes {
		_ = l.KillNode(name)
	}
	return nil
}

type fakeNode struct {
	name, origin string
	spoil        bool
	transport    *http.Transport
	stop         func()
	lock         chan struct{} // held while a miss is fetched

	mu     sync.Mutex // guards the field below
	stored map[string]*stored
}

type stored struct {
	header http.Header
	body   []byte
	at     time.Time
}

func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Range") != "" || r.Method != http.MethodGet {
		n.pass(w, r, "bypass")
		return
	}
	outcome := "hit"
	s := n.find(r.URL.String())
	if s == nil {
		select {
		case n.lock <- struct{}{}:
			defer func() { <-n.lock }()
		case <-r.Context().Done():
			return
		}
		outcome = "fwd=uri-miss; collapsed"
		if s = n.find(r.URL.String()); s == nil {
			n.pass(w, r, "uri-miss")
			return
		}
	}
	for k, v := range s.header {
		w.Header()[k] = v
	}
	w.Header().Set("Age", fmt.Sprint(int(time.Since(s.at).Seconds())))
	w.Header().Set("Cache-Status", n.name+"; "+outcome)
	_, _ = w.Write(s.body)
}

func (n *fakeNode) find(key string) *stored {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.stored[key]; s != nil && time.Since(s.at) < 10*time.Second {
		return s
	}
	return nil
}

// pass streams a response through, and keeps a whole 200.
func (n *fakeNode) pass(w http.ResponseWriter, r *http.Request, why string) {
	up := r.Clone(r.Context())
	up.URL.Scheme, up.URL.Host, up.RequestURI = "http", r.Host, ""
	up.Header.Set("CDN-Loop", n.name)
	response, err := n.transport.RoundTrip(up)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	for k, v := range response.Header {
		w.Header()[k] = v
	}
	at := time.Now()
	w.Header().Set("Cache-Status", n.name+"; fwd="+why)
	w.WriteHeader(response.StatusCode)
	body, err := io.ReadAll(response.Body)
	if n.spoil && len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	_, _ = w.Write(body)
	if err != nil {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if response.StatusCode == http.StatusOK && why == "uri-miss" {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.stored[r.URL.String()] = &stored{response.Header, body, at}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	Run(t, newFakeLab, scripts, "testdata/*.txt")
}

// Scripts that must fail, with what they must say.
func TestScriptsFail(t *testing.T) {
	t.Parallel()
	const top = "origin o\nnode n origin=o\n"
	for name, c := range map[string]struct{ script, want string }{
		"expectation":   {top + "client a GET http://o/o/3000/a via n\nexpect outcome=hit", `x.txt:4: expect outcome=hit: got outcome "miss", want outcome=hit`},
		"wrong byte":    {"origin o\nnode n origin=o spoil\nclient a GET http://o/o/3000/a via n", "x.txt:3: client a GET http://o/o/3000/a via n: "},
		"origin count":  {top + "client a GET http://o/o/3000/a via n\nexpect origin o /o/3000/a requests=2", `x.txt:4: expect origin o /o/3000/a requests=2: got requests "1"`},
		"abort":         {top + "fault o /* truncate=1000\nclient a GET http://o/o/3000/a via n", "x.txt:4: nothing expects this"},
		"abort, later":  {top + "fault o /* truncate=1000\nclient a GET http://o/o/3000/a via n\nclient a GET http://o/o/3000/a via n", "before this, line 4"},
		"status":        {top + "fault o /* status=503\nclient a GET http://o/o/3000/a via n\nexpect age=none", "x.txt:4: nothing expects this"},
		"times":         {top + "client a GET http://o/o/3000/a via n x5\nexpect outcome=miss times=2", "1 of 5 results match, want times=2"},
		"no wait":       {top + "start a GET http://o/o/3000/a via n", "x.txt:3: client a was never waited for"},
		"busy":          {top + "start a GET http://o/o/3000/a via n\nexpect status=200", "still at it"},
		"lab":           {"node n", "x.txt:1: node n: a node needs origin=NAME"},
		"unknown node":  {top + "kill m", `x.txt:3: kill m: nothing named "m" runs`},
		"stale":         {top + "rule /o/* no-validator\nclient a GET http://o/o/3000/a via n\nadvance 5s\nbump /o/*\nadvance 4s\nclient a GET http://o/o/3000/a via n\nstaleness 3s", "x.txt:9: staleness 3s: " + ErrStale.Error()},
		"parse":         {top + "\nclient a", "x.txt:4: client: want NAME METHOD URL via NODE"},
		"unknown":       {"start o", "x.txt:1: start: "},
		"no such node":  {top + "client a GET http://o/o/3000/a via m*", `no running node is named "m*"`},
		"none is left":  {top + "client a GET http://o/o/3000/a via n* but n", `no node is left of "n*" but "n"`},
		"runs already":  {top + "nodes n 2 origin=o\nnodes n 2 origin=o", "n-1 runs already"},
		"per path":      {top + "client a GET http://o/o/3000/{n%2} via n fresh x4\nexpect origin o /o/* per-path<=0.9", `got per-path "1.000"`},
		"network dials": {top + "client a GET http://o/o/3000/a via n\nexpect network n o dials=0", `got dials "1"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				script, err := ParseScript("x.txt", []byte(c.script))
				if err == nil {
					err = script.Run(t, newFakeLab)
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q in it", err, c.want)
				}
			})
		})
	}
}

func TestParseScriptErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`jump`:                                   "unknown verb",
		`origin`:                                 "want NAME",
		`origin o size=x`:                        "rule size=x",
		`origin o colour=red`:                    "rule colour: unknown",
		`origin o vary=A vary=B`:                 "twice",
		`rule /a`:                                "want PATTERN",
		`rule /a status=99`:                      "out of range",
		`rule /a every=-1s`:                      "negative",
		`client c GET http://o/ by n`:            "where via belongs",
		`client c POST http://o/ via n`:          "not GET or HEAD",
		`client c GET /o via n`:                  "not a URL",
		`client c GET http://o/ via n twice`:     "unknown, or lacks its argument",
		`client c GET http://o/ via n x0`:        "not a count",
		`client c GET http://o/ via n header A`:  "no colon",
		`client c GET http://o/ via n over h3`:   "not h1 or h2",
		`client c GET http://o/ via n rate fast`: "not a number",
		`wait`:                                   "want CLIENT",
		`expect`:                                 "want [CLIENT]",
		`expect c`:                               "want [CLIENT]",
		`expect colour=red`:                      "unknown here",
		`expect status=200 ok`:                   "not KEY=VALUE",
		`expect error~(`:                         "missing closing",
		`expect age<=soon`:                       "invalid duration",
		`expect bytes>=1x`:                       "not a number of bytes",
		`expect origin o requests=1`:             "want [CLIENT]",
		`expect origin o / age=1`:                "unknown here",
		`expect network a b requests=1`:          "unknown here",
		`fault o /a`:                             "want ORIGIN",
		`fault o /a explode`:                     "unknown kind",
		`fault o /a skip=1`:                      "no fault",
		`fault o /a stall=1:x`:                   "invalid duration",
		`fault o /a reset-head=1`:                "takes no argument",
		`fault o /a status=1`:                    "out of range",
		`fault o /a trickle=0/1s`:                "rate of nothing",
		`fault o /a shift=-1`:                    "negative",
		`cut a`:                                  "want A B",
		`cut a => b`:                             "want A B",
		`heal a`:                                 "want A B",
		`delay a b slow`:                         "invalid duration",
		`loss a b 2`:                             "between 0 and 1",
		`late a b 1s`:                            "want A -> B",
		`late a -> b soon`:                       "invalid duration",
		`throttle a -> b`:                        "want A -> B",
		`throttle a -> b fast`:                   "not a number of bytes",
		`nodes n`:                                "want NAME COUNT",
		`nodes n many`:                           "not a count",
		`nodes n 3 a a`:                          "twice",
		`client c GET http://o/{m} via n`:        "want {n}",
		`client c GET http://o/{zipf} via n`:     "want {n}",
		`client c GET http://o/{n%0} via n`:      "want {n}",
		`client c GET http://o/ via n during x`:  "invalid duration",
		`advance`:                                "want DURATION",
		`advance -1s`:                            "negative",
		`do n`:                                   "want NODE",
		`bump "/a`:                               "quote is not closed",
		`bump "/a\n"`:                            `only \" and \\`,
	} {
		_, err := ParseScript("f", []byte("# first\n"+line))
		if err == nil || !strings.HasPrefix(err.Error(), "f:2: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", line, err, want)
		}
	}
}

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"":                      nil,
		"  # all":               nil,
		"a b\tc # d":            {"a", "b", "c"},
		"a#b":                   {"a#b"},
		`a "b c" "" x"y z"`:     {"a", "b c", "", "xy z"},
		`"a\"b\\c" d\e`:         {`a"b\c`, `d\e`},
		`cache-status~"n; hit"`: {"cache-status~n; hit"},
	} {
		got, err := splitWords(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestTerms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		term, got string
		want      bool
	}{
		{"status=200", "200", true},
		{"status=200|206", "206", true},
		{"status!=200|206", "206", false},
		{"status!=200", "404", true},
		{"bytes=1KiB", "1024", true},
		{"bytes<=1KiB", "1025", false},
		{"bytes>1KiB", "1025", true},
		{"bytes<1KiB", "1024", false},
		{"age<=10s", "10", true},
		{"age<=10", "11", false},
		{"age>=1m", "60", true},
		{"age=none", "none", true},
		{"age<=10", "none", false},
		{"ttfb<=1s", "999ms", true},
		{"ttfb=5", "5s", true},
		{"cache-status~hit", "n; hit", true},
		{"cache-status!~^n", "n; hit", false},
		{"header.X=a=b", "a=b", true},
		{"per-path<=1.05", "1.050", true},
		{"per-path<1.05", "1.051", false},
	} {
		term, ok := parseTerm(c.term)
		if !ok || term.check(of(term.key)) != nil || term.holds(c.got) != c.want {
			t.Errorf("%s of %q: want %v (%v, %v)", c.term, c.got, c.want, ok, term.check(of(term.key)))
		}
	}
}

// of is where a key may be used.
func of(key string) string {
	if slices.Contains(keysOf("origin"), key) && !slices.Contains(keysOf(""), key) {
		return "origin"
	}
	return ""
}

func TestNumbered(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/a": "/a /a /a", "/{n}/a": "/1/a /2/a /3/a", "/{n%2}": "/0 /1 /0", "/{zipf%1}": "/0 /0 /0",
	} {
		n, err := parseNumbered(in)
		if err != nil {
			t.Fatal(err)
		}
		s := n.sequence()
		if got := strings.Join([]string{s.next(), s.next(), s.next()}, " "); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	counts := make([]int, 10)
	z, random := newZipf(len(counts)), rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		counts[z.pick(random)]++
	}
	if counts[0] < 2900 || counts[0] > 3300 || counts[9] < 300 || counts[9] > 450 { // 1 and 10^-0.9 of 3.24
		t.Errorf("got %d, want about 3086 to 388", counts)
	}
}

func TestFaultText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"delay=5s", "stall=1000", "stall=1000:30s", "trickle=1000/1s", "status=503", "truncate=1000", "reset-head", "reset=0",
		"length=-10", "length=10", "extra=10", "wrong-range=-5", "ignore-range", "flip=5000", "shift=1", "mix=5000", "other",
	} {
		f, err := ParseFault(text)
		if err != nil || f.String() != text {
			t.Errorf("%s: got %s, %v", text, f, err)
		}
	}
}

func TestRunFindsNoScript(t *testing.T) {
	t.Parallel()
	if _, err := ParseScript("f", []byte(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("a line of 2 MiB was read")
	}
	if names, _ := (fstest.MapFS{}).Glob("*.txt"); names != nil {
		t.Errorf("got %q", names)
	}
}

func FuzzParseScript(f *testing.F) {
	names, _ := scripts.ReadDir("testdata")
	for _, n := range names {
		text, _ := scripts.ReadFile("testdata/" + n.Name())
		f.Add(string(text))
	}
	f.Add(`expect cache-status~"a \"b\" #c"`)
	f.Fuzz(func(t *testing.T, text string) {
		once, err := ParseScript("f", []byte(text))
		if err != nil {
			return
		}
		twice, err := ParseScript("f", []byte(once.String()))
		if err != nil {
			t.Fatalf("printed script is not valid: %v\n%s", err, once)
		}
		if twice.String() != once.String() {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
	})
}
