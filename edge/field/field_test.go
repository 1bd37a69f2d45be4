package field

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestCacheStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   CacheStatus
		want string
	}{
		{"hit", CacheStatus{Node: "edge-1", Hit: true, TTL: 30 * time.Second, HasTTL: true}, `edge-1; hit; ttl=30`},
		{"stale hit", CacheStatus{Node: "edge-1", Hit: true, TTL: -5 * time.Second, HasTTL: true}, `edge-1; hit; ttl=-5`},
		{"stale by less than a second", CacheStatus{Node: "edge-1", Hit: true, TTL: -time.Millisecond, HasTTL: true}, `edge-1; hit; ttl=-1`},
		{"fresh for less than a second", CacheStatus{Node: "edge-1", Hit: true, TTL: time.Millisecond, HasTTL: true}, `edge-1; hit; ttl=0`},
		{
			"everything of a miss",
			CacheStatus{
				Node: "e", Forward: ForwardURIMiss, ForwardStatus: 200, TTL: 1500 * time.Millisecond, HasTTL: true,
				Stored: true, Collapsed: true, Key: "https://a/b", Detail: "cold",
			},
			`e; fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=1; key="https://a/b"; detail=cold`,
		},
		{
			"a hit says nothing of going forward",
			CacheStatus{Node: "e", Hit: true, Forward: ForwardStale, ForwardStatus: 304, Stored: true, Collapsed: true},
			`e; hit`,
		},
		{"name that is no token", CacheStatus{Node: `9 "a"\`, Hit: true}, `"9 \"a\"\\"; hit`},
		{"no name", CacheStatus{Hit: true}, `""; hit`},
		{"control bytes and UTF-8", CacheStatus{Node: "e", Key: "a\r\nb\x7fé"}, `e; key="a%0D%0Ab%7F%C3%A9"`},
		{"detail with blanks", CacheStatus{Node: "e", Detail: "two words"}, `e; detail="two words"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.in.String()
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !ValidList(got) {
				t.Errorf("%s is no List", got)
			}
		})
	}
}

func TestCacheStatusClipsLongKeys(t *testing.T) {
	t.Parallel()
	c := CacheStatus{Node: "e", Key: strings.Repeat("k", 9000)}
	if got := len(c.String()); got > 2*maxKeyBytes {
		t.Errorf("%d bytes", got)
	}
}

func TestCacheStatusAdd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		have []string
		want string
	}{
		{"none", nil, "e; hit"},
		{"one", []string{"origin; fwd=miss"}, "origin; fwd=miss, e; hit"},
		{"two lines", []string{"a; hit", `"b c"; hit`}, `a; hit, "b c"; hit, e; hit`},
		{"a broken line is left out", []string{`a; hit`, `"b; hit`, `;`}, `a; hit, e; hit`},
		{"an empty line", []string{""}, `e; hit`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.have != nil {
				h["Cache-Status"] = tt.have
			}
			(&CacheStatus{Node: "e", Hit: true}).Add(h)
			if got := h["Cache-Status"]; !reflect.DeepEqual(got, []string{tt.want}) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAppendToAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	c := &CacheStatus{Node: "edge-1", Forward: ForwardMiss, ForwardStatus: 200, HasTTL: true, TTL: time.Hour, Key: "k"}
	p := &ProxyStatus{Node: "edge-1", Error: ErrorDNS, Details: "x y"}
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendAge(p.AppendTo(c.AppendTo(buf[:0])), time.Minute)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestProxyStatus(t *testing.T) {
	t.Parallel()
	p := ProxyStatus{
		Node: "edge 1", Error: ErrorConnectionRefused, NextHop: "origin.example", NextProtocol: "h2",
		ReceivedStatus: 503, Details: `said "no"`,
	}
	want := `"edge 1"; error=connection_refused; next-hop=origin.example; next-protocol=h2; received-status=503; details="said \"no\""`
	if got := p.String(); got != want || !ValidList(got) {
		t.Errorf("got %s, want %s", got, want)
	}
	for e, want := range map[ProxyError]int{
		ErrorDNSTimeout: 504, ErrorConnectionRefused: 502, ErrorDestinationUnavailable: 503, ErrorHTTPRequestDenied: 403,
		ErrorHTTPRequest: 400, ErrorProxyInternal: 500, "own": 502,
	} {
		if got := e.Status(); got != want {
			t.Errorf("%s: status %d, want %d", e, got, want)
		}
	}
}

func TestValidList(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "a", "a, b", "a,b", "a ,\tb", `"a\"b\\"`, "a;b;c=1", "a; b=?1;c=:AAA=:", "1, -2, 3.25", "(a b);q=1", "()", "*a/b:c", "a;b=\"x, y\"",
	} {
		if !ValidList(s) {
			t.Errorf("ValidList(%q) = false", s)
		}
	}
	for _, s := range []string{
		",", "a,", "a b", `"a`, `"a\b"`, "a;", "a;B", "a;b=", "1.", "1.2345", "1234567890123456", "?2", ":AA", "(a", "(a,b)", "é", "a\x00", "-", "@1x",
	} {
		if ValidList(s) {
			t.Errorf("ValidList(%q) = true", s)
		}
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0", 0: "0", 1999 * time.Millisecond: "1", 24 * time.Hour: "86400", 1<<63 - 1: "2147483648",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %s, want %s", d, got, want)
		}
	}
	if got, want := AltSvc(8443, 24*time.Hour), `h3=":8443"; ma=86400`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzValidList(f *testing.F) {
	for _, s := range []string{"a; hit, b", `"x"; key="a\"b"`, "(a b);q=0.5", ":YQ==:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Two Lists joined are a List; a List with our member behind it stays one.
		if ValidList(s) && strings.Trim(s, " ") != "" && !ValidList(strings.Trim(s, " ")+", e; hit") {
			t.Errorf("ValidList(%q), but not with a member behind it", s)
		}
	})
}

func FuzzCacheStatus(f *testing.F) {
	f.Add("edge", "key", "detail")
	f.Add("", "\x00\xff\"\\", "é, b; c")
	f.Fuzz(func(t *testing.T, node, key, detail string) {
		got := (&CacheStatus{Node: node, Key: key, Detail: detail, Forward: ForwardMiss}).String()
		if !ValidList(got) || !ValidList((&ProxyStatus{Node: node, NextHop: key, NextProtocol: node, Details: detail}).String()) {
			t.Errorf("%q is no List", got)
		}
	})
}
