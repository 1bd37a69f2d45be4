package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/edge/access"
	"weir/edge/cmcd"
	"weir/edge/limit"
)

// asked is an origin that notes what it was asked for.
type asked struct {
	mu    sync.Mutex // guards the fields below
	paths []string
	heads []http.Header
}

func (a *asked) handler(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.paths, a.heads = append(a.paths, r.URL.RequestURI()), append(a.heads, r.Header.Clone())
		a.mu.Unlock()
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path == "/private" {
			w.Header().Set("Cache-Control", "private")
		}
		w.Header().Set("CMSD-Static", "ot=v,br=2000")
		w.Header().Set("CMSD-Dynamic", `"origin";etp=900`)
		_, _ = io.WriteString(w, body)
	}
}

// of returns how often each path was asked for.
func (a *asked) of() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := map[string]int{}
	for _, path := range a.paths {
		counts[path]++
	}
	return counts
}

// TestReport: what a player says reaches the observer, by fields before the query, and neither key nor origin.
func TestReport(t *testing.T) {
	t.Parallel()
	var origin asked
	b := newSiteBench(t, Site{Reports: &Reports{}}, origin.handler("body"))
	said := make(chan string, 8)
	b.edge.options.Observe = func(x *Exchange) {
		if x.Report == nil {
			said <- ""
			return
		}
		said <- fmt.Sprintf("%s %d", x.Report.AppendTo(nil), x.WantedRate())
	}
	for _, test := range []struct {
		path   string
		fields []string
		want   string
	}{
		{"/a", nil, ""},
		{"/a?CMCD=bl%3D2000%2Csid%3D%22s%22%2Crtp%3D800", nil, `bl=2000,rtp=800,sid="s" 100000`},
		{"/a?CMCD=bl%3D1", []string{"CMCD-Session", `sid="h"`, "CMCD-Request", "su"}, `sid="h",su 0`},
		{"/a", []string{"CMCD-Session", `sid="h",v=3`}, ""},
		{"/a?CMCD=" + strings.Repeat("x", 9000), nil, ""}, // refused as a target
		{"/private?CMCD=bs", []string{"CMCD-Object", "ot=v,br=x"}, "ot=v 0"},
	} {
		b.do("GET", test.path, test.fields...)
		if got := <-said; got != test.want {
			t.Errorf("%s %v: got %q, want %q", test.path, test.fields, got, test.want)
		}
	}
	b.do("POST", "/post", "CMCD-Object", "ot=v") // passed as it is, but for that
	<-said
	if counts := origin.of(); counts["/a"] != 1 || counts["/private"] != 1 || counts["/post"] != 1 || len(counts) != 3 {
		t.Errorf("the origin was asked %v", counts)
	}
	origin.mu.Lock()
	defer origin.mu.Unlock()
	for _, h := range origin.heads {
		for name := range h {
			if strings.HasPrefix(name, "Cmcd") {
				t.Errorf("the origin gets %s", name)
			}
		}
	}
	want := ReportStats{ByHeader: 3, ByQuery: 1, Newer: 1, Members: 1, Urgent: 1}
	if got := b.edge.Reports(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReportForwarded: a site may want the fields at its origin.
func TestReportForwarded(t *testing.T) {
	t.Parallel()
	var origin asked
	b := newSiteBench(t, Site{Reports: &Reports{Forward: true}}, origin.handler("body"))
	b.do("GET", "/a", "CMCD-Object", "ot=v")
	b.do("GET", "/private", "CMCD-Object", "ot=v")
	origin.mu.Lock()
	defer origin.mu.Unlock()
	for i, h := range origin.heads {
		if h.Get("Cmcd-Object") != "ot=v" {
			t.Errorf("%s: the origin gets %v", origin.paths[i], h)
		}
	}
}

// TestReportAnswered: urgency becomes a priority, and what this node knows is appended, behind others, for those who report.
func TestReportAnswered(t *testing.T) {
	t.Parallel()
	var origin asked
	b := newSiteBench(t, Site{Reports: &Reports{Dynamic: true}, CORS: NewCORS("*")}, origin.handler("body"))
	pressed := false // before any request
	b.edge.options.Duress = func() bool { return pressed }
	for _, test := range []struct{ path, report, priority, dynamic string }{
		{"/a", "", "", ""},
		{"/a", "bl=100", "", `"edge-1";rd=0`},
		{"/a", "bs", "u=1", `"edge-1";rd=0`},
		{"/a", "su,br=900", "u=1", `"edge-1";rd=0`},
		{"/private", "br=900", "", `"origin";etp=900 "edge-1";rd=0`},
	} {
		fields := []string{}
		if test.report != "" {
			fields = append(fields, "CMCD-Request", test.report)
		}
		g := b.do("GET", test.path, fields...)
		dynamic := g.header.Values("Cmsd-Dynamic")
		if last := len(dynamic) - 1; last >= 0 { // how long it took is not the same each time
			dynamic[last] = dynamic[last][:strings.LastIndex(dynamic[last], "=")+1] + "0"
		}
		if got := strings.Join(dynamic, " "); g.header.Get("Priority") != test.priority || got != test.dynamic || g.header.Get("Cmsd-Static") != "ot=v,br=2000" {
			t.Errorf("%s %s: Priority %q, CMSD-Dynamic %s", test.path, test.report, g.header.Get("Priority"), got)
		}
	}
	if hop := b.do("GET", "/a").header.Get("Cmsd-Dynamic"); hop != "" {
		t.Errorf("what was said to another one is stored: %s", hop)
	}
	pressed = true
	if hop := b.do("GET", "/a", "CMCD-Object", "br=900").header.Get("Cmsd-Dynamic"); !strings.HasPrefix(hop, `"edge-1";du;mb=900;rd=`) {
		t.Errorf("in duress: got %s", hop)
	}
}

// TestPrefetch: what a player will ask for is there when it does; nothing else is fetched for it.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	var origin asked
	list, err := access.New([]access.Rule{{Deny: true, Paths: []string{"/v/denied*"}}, {Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, {Deny: true}})
	if err != nil {
		t.Fatal(err)
	}
	b := newSiteBench(t, Site{Access: list, Reports: &Reports{Prefetch: true}}, origin.handler("body"))
	next := func(list string) { b.do("GET", "/v/1.m4s", "CMCD-Request", "nor="+list) }
	next(`"2.m4s"`)
	b.until("2.m4s is fetched", func() bool { return b.edge.Reports().Prefetched == 1 })
	g := b.do("GET", "/v/2.m4s")
	b.want("the next", g, 200, "edge-1; hit", "body")
	next(`("..%2Fw%2F3.m4s?a=1" "2.m4s")`)
	b.until("3.m4s is fetched", func() bool { return b.edge.Reports().Prefetched == 2 })
	refused := b.edge.Reports().PrefetchRefused
	for i, bad := range []string{
		`"http:%2F%2Fother.example%2F3.m4s"`, `"//other.example/3.m4s"`, `"page.html"`, `"denied.m4s"`, `"..%2F..%2F%2500.m4s"`, `""`, `"1.m4s"`, `"user@x:80/3.m4s"`,
	} {
		next(bad)
		if got := b.edge.Reports().PrefetchRefused - refused; got != int64(i)+1 {
			t.Errorf("%s: %d are refused, want %d", bad, got, i+1)
		}
	}
	next(`("4.m4s" "5.m4s" "6.m4s")`)
	b.until("two of three are fetched", func() bool { return b.edge.Reports().Prefetched == 4 })
	counts := origin.of()
	if counts["/v/1.m4s"] != 1 || counts["/v/2.m4s"] != 1 || counts["/w/3.m4s?a=1"] != 1 || counts["/v/4.m4s"] != 1 || counts["/v/5.m4s"] != 1 || len(counts) != 5 {
		t.Errorf("the origin was asked %v", counts)
	}
	var pressed atomic.Bool
	pressed.Store(true)
	b.edge.options.Duress = pressed.Load
	refused = b.edge.Reports().PrefetchRefused
	if next(`"7.m4s"`); b.edge.Reports().PrefetchRefused != refused+1 {
		t.Error("it is fetched ahead though the node is short of something")
	}
	pressed.Store(false)
	b.edge.prefetches.Add(prefetchRuns)
	refused = b.edge.Reports().PrefetchRefused
	next(`"7.m4s"`)
	if got := b.edge.Reports().PrefetchRefused - refused; got != 1 || origin.of()["/v/7.m4s"] != 0 {
		t.Errorf("there is no room, and %d are refused", got)
	}
}

// until waits for what the edge does by itself.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	never := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-never:
			b.t.Fatal(what + ": never")
		}
	}
}

// TestReportNoAllocation: reading a report costs none, and a site that does not ask pays nothing.
func TestReportNoAllocation(t *testing.T) {
	e := &Edge{}
	for _, site := range []*Site{{}, {Reports: &Reports{Prefetch: true, Dynamic: true}}} {
		x := &Exchange{site: site, Request: &http.Request{Method: "GET", URL: &url.URL{RawQuery: "a=1&CMCD=bl%3D2000%2Csid%3D%22s%22%2Crtp%3D800%2Csu"}, Header: http.Header{}}}
		least := 1e9
		for range 50 { // the race detector empties pools at random
			least = min(least, testing.AllocsPerRun(1, func() {
				e.report(x)
				e.forgetReport(x)
			}))
		}
		if least > 0 {
			t.Errorf("%+v: %v allocations", site.Reports, least)
		}
	}
	if e.Reports().ByQuery == 0 {
		t.Error("nothing was read")
	}
}

// farWriter knows the way to its client.
type farWriter struct {
	deafWriter

	rate int64
	rtt  time.Duration
}

func (w *farWriter) Path() (int64, time.Duration) { return w.rate, w.rtt }

// TestHopIsTold: what this node knows of the way and of the client's bounds is told, behind what others said, by one allocation.
func TestHopIsTold(t *testing.T) {
	bounds := func(perSecond float64) Bounds { return Bounds{Bytes: limit.Rate{PerSecond: perSecond}} }
	limits := &Limits{Client: bounds(750_000), Token: bounds(1_500_000), Site: Bounds{Concurrent: 1}}
	for _, tt := range []struct {
		name    string
		w       http.ResponseWriter
		known   [scopes]bool
		pressed bool
		others  []string
		want    string
	}{
		{"nothing is known", &deafWriter{}, [scopes]bool{}, false, nil, `"edge-1";rd=3`},
		{"the way", &farWriter{rate: 2_500_000, rtt: 41_600 * time.Microsecond}, [scopes]bool{}, false, nil, `"edge-1";etp=20000;rd=3;rtt=42`},
		{"a near client", &farWriter{rate: 0, rtt: 40 * time.Microsecond}, [scopes]bool{}, false, nil, `"edge-1";rd=3;rtt=0`},
		{"the client's bound", &deafWriter{}, [scopes]bool{perClient: true, perToken: true, perSite: true}, false, nil, `"edge-1";mb=4000;rd=3`},
		{"the token's alone", &deafWriter{}, [scopes]bool{perToken: true}, false, nil, `"edge-1";mb=8000;rd=3`},
		{"a bound of something else", &deafWriter{}, [scopes]bool{perSite: true}, false, nil, `"edge-1";rd=3`},
		{"duress", &deafWriter{}, [scopes]bool{perToken: true}, true, nil, `"edge-1";du;mb=900;rd=3`},
		{"duress and a lower bound", &deafWriter{}, [scopes]bool{perClient: true}, true, nil, `"edge-1";du;mb=900;rd=3`},
		{"behind others", &farWriter{rtt: time.Second}, [scopes]bool{}, false, []string{`"origin";etp=5`}, `"origin";etp=5, "edge-1";rd=3;rtt=1000`},
	} {
		x := &Exchange{w: tt.w, site: &Site{Reports: &Reports{Dynamic: true}, Limits: limits}, Report: new(cmcd.Report), FirstByte: 3 * time.Millisecond, pressed: tt.pressed}
		if err := x.Report.Parse([]byte("br=900")); err != nil {
			t.Fatal(err)
		}
		x.status.Node, x.bounded.known = "edge-1", tt.known
		h := http.Header{}
		if tt.others != nil {
			h["Cmsd-Dynamic"] = tt.others
		}
		x.tell(h)
		if got := strings.Join(h["Cmsd-Dynamic"], ", "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if n := testing.AllocsPerRun(100, func() {
			clear(h)
			x.tell(h)
		}); n > 1 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}
