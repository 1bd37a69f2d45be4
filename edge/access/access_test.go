package access

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// monday is Monday 1 January 2024, 20:00 in Berlin.
var monday = time.Date(2024, 1, 1, 19, 0, 0, 0, time.UTC)

func window(t *testing.T, text string) Window {
	t.Helper()
	w, err := ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestRules(t *testing.T) {
	t.Parallel()
	geo := database(t)
	deny := func(r Rule) Rule { r.Deny = true; return r }
	networks := func(text ...string) (list []netip.Prefix) {
		for _, p := range text {
			list = append(list, netip.MustParsePrefix(p))
		}
		return list
	}
	for name, tt := range map[string]struct {
		rules []Rule
		q     Request
		want  bool
		rule  int
	}{
		"none":                    {nil, Request{}, true, 0},
		"first that holds":        {[]Rule{{Methods: []string{"PUT"}}, deny(Rule{}), {}}, Request{Method: "GET"}, false, 2},
		"all conditions":          {[]Rule{deny(Rule{Methods: []string{"GET"}, Paths: []string{"/a*"}})}, Request{Method: "GET", Path: "/b"}, true, 0},
		"network":                 {[]Rule{{Networks: networks("10.0.0.0/8", "2001:db8::/32")}, deny(Rule{})}, Request{Addr: netip.MustParseAddr("2001:db8::1")}, true, 1},
		"network, mapped":         {[]Rule{{Networks: networks("10.0.0.0/8")}, deny(Rule{})}, Request{Addr: netip.MustParseAddr("::ffff:10.1.2.3")}, true, 1},
		"another network":         {[]Rule{{Networks: networks("10.0.0.0/8")}, deny(Rule{})}, Request{Addr: netip.MustParseAddr("11.0.0.1")}, false, 2},
		"no address":              {[]Rule{{Networks: networks("0.0.0.0/0", "::/0")}, deny(Rule{})}, Request{}, false, 2},
		"country":                 {[]Rule{deny(Rule{Countries: []string{"DE", "AT"}})}, Request{Addr: netip.MustParseAddr("192.0.2.1")}, false, 1},
		"another country":         {[]Rule{deny(Rule{Countries: []string{"AT"}})}, Request{Addr: netip.MustParseAddr("192.0.2.1")}, true, 0},
		"unknown country":         {[]Rule{{Countries: []string{"DE"}}, deny(Rule{})}, Request{Addr: netip.MustParseAddr("203.0.113.1")}, false, 2},
		"system":                  {[]Rule{deny(Rule{Systems: []uint32{64500}})}, Request{Addr: netip.MustParseAddr("192.0.2.1")}, false, 1},
		"path":                    {[]Rule{deny(Rule{Paths: []string{"/private/*"}})}, Request{Path: "/private/x/y"}, false, 1},
		"path, exact":             {[]Rule{deny(Rule{Paths: []string{"/private"}})}, Request{Path: "/private/x"}, true, 0},
		"path, end":               {[]Rule{deny(Rule{Paths: []string{"*.mpd"}})}, Request{Path: "/a/b.mpd"}, false, 1},
		"referrer":                {[]Rule{{Referrers: []string{"example.com"}}, deny(Rule{})}, Request{Referrer: "https://EXAMPLE.com:8443/page?x"}, true, 1},
		"referrer below":          {[]Rule{{Referrers: []string{"*.example.com"}}, deny(Rule{})}, Request{Referrer: "https://www.example.com"}, true, 1},
		"referrer not below":      {[]Rule{{Referrers: []string{"*.example.com"}}, deny(Rule{})}, Request{Referrer: "https://notexample.com/"}, false, 2},
		"referrer in the path":    {[]Rule{{Referrers: []string{"example.com"}}, deny(Rule{})}, Request{Referrer: "https://evil.example/://example.com/"}, false, 2},
		"referrer as user":        {[]Rule{{Referrers: []string{"example.com"}}, deny(Rule{})}, Request{Referrer: "https://example.com@evil.example/"}, false, 2},
		"referrer in backslash":   {[]Rule{{Referrers: []string{"example.com"}}, deny(Rule{})}, Request{Referrer: `https://evil.example\@example.com/`}, false, 2},
		"no referrer":             {[]Rule{{Referrers: []string{"none"}}, deny(Rule{})}, Request{}, true, 1},
		"none is no host":         {[]Rule{{Referrers: []string{"none"}}, deny(Rule{})}, Request{Referrer: "https://none/"}, false, 2},
		"agent":                   {[]Rule{deny(Rule{Agents: []string{"Scraper"}})}, Request{Agent: "Mozilla (sCRAPEr 1.0)"}, false, 1},
		"another agent":           {[]Rule{deny(Rule{Agents: []string{"scraper"}})}, Request{Agent: "scrape"}, true, 0},
		"in time":                 {[]Rule{{Times: []Window{window(t, "Mon-Fri 18:00-23:30 Europe/Berlin")}}, deny(Rule{})}, Request{Time: monday}, true, 1},
		"out of time":             {[]Rule{{Times: []Window{window(t, "Mon-Fri 18:00-23:30 Europe/Berlin")}}, deny(Rule{})}, Request{Time: monday.Add(-3 * time.Hour)}, false, 2},
		"another day of the week": {[]Rule{{Times: []Window{window(t, "Sat,Sun 00:00-24:00")}}, deny(Rule{})}, Request{Time: monday}, false, 2},
	} {
		l, err := New(tt.rules)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ok, rule := l.Allows(&tt.q, geo); ok != tt.want || rule != tt.rule {
			t.Errorf("%s: got %v by rule %d, want %v by %d", name, ok, rule, tt.want, tt.rule)
		}
	}
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule Rule
		want string
	}{
		{Rule{Countries: []string{"de"}}, "two capital letters"},
		{Rule{Countries: []string{"DEU"}}, "two capital letters"},
		{Rule{Paths: []string{"a"}}, "begin with /"},
		{Rule{Referrers: []string{"https://a"}}, "want a host name"},
		{Rule{Referrers: []string{"a.*"}}, "want a host name"},
		{Rule{Agents: []string{""}}, "empty user agent"},
	} {
		if _, err := New([]Rule{{}, tt.rule}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "rule 2") {
			t.Errorf("%+v: got %v, want rule 2: … %s", tt.rule, err, tt.want)
		}
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		at   string
		want bool
	}{
		{"18:00-20:00", "2024-01-01T18:00:00Z", true},
		{"18:00-20:00", "2024-01-01T19:59:59Z", true},
		{"18:00-20:00", "2024-01-01T20:00:00Z", false},
		{"22:00-02:00", "2024-01-01T23:00:00Z", true},
		{"22:00-02:00", "2024-01-01T01:59:00Z", true},
		{"22:00-02:00", "2024-01-01T12:00:00Z", false},
		{"Mon 22:00-02:00", "2024-01-02T01:00:00Z", true},  // begun on Monday
		{"Mon 22:00-02:00", "2024-01-01T01:00:00Z", false}, // begun on Sunday
		{"Sat-Mon 00:00-24:00", "2024-01-01T23:59:00Z", true},
		{"Sat-Mon 00:00-24:00", "2024-01-02T00:00:00Z", false},
		{"mon,wed 10:00-11:00 America/New_York", "2024-01-03T15:30:00Z", true},
		{"10:00-11:00 Europe/Berlin", "2024-07-01T08:30:00Z", true}, // summer time
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if w := window(t, tt.text); w.Contains(at) != tt.want {
			t.Errorf("%s at %s: got %v", tt.text, tt.at, !tt.want)
		}
	}
	for _, text := range []string{"", "Mon", "18:00", "18-20", "18:00-18:00", "24:01-25:00", "1:00-2:00", "-1:00-02:00", "Xyz 10:00-11:00", "Mon-Xyz 10:00-11:00", "10:00-11:00 Nowhere/Land", "10:00-11:00 UTC UTC"} {
		if w, err := ParseWindow(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, w)
		}
	}
}

// database writes one of countries and one of systems, as operators bring them.
func database(t *testing.T) *Geo {
	t.Helper()
	write := func(name string, value mmdbtype.DataType) string {
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: name, RecordSize: 24, IncludeReservedNetworks: true})
		if err != nil {
			t.Fatal(err)
		}
		_, network, err := net.ParseCIDR("192.0.2.0/24")
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, value); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(t.TempDir(), name+".mmdb"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.WriteTo(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	g, err := OpenGeo(
		write("GeoLite2-City", mmdbtype.Map{
			"country":  mmdbtype.Map{"iso_code": mmdbtype.String("DE")},
			"location": mmdbtype.Map{"latitude": mmdbtype.Float64(52.52), "longitude": mmdbtype.Float64(13.405), "altitude": mmdbtype.Float64(34)},
		}),
		write("GeoLite2-ASN", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func TestGeo(t *testing.T) {
	t.Parallel()
	g := database(t)
	berlin := Place{Country: "DE", System: 64500, Located: true, Latitude: 52.52, Longitude: 13.405, Elevated: true, Altitude: 34}
	for text, want := range map[string]Place{"192.0.2.7": berlin, "::ffff:192.0.2.7": berlin, "198.51.100.1": {}, "2001:db8::1": {}} {
		if got := g.Find(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	var none *Geo
	if got := none.Find(netip.MustParseAddr("192.0.2.7")); got != (Place{}) {
		t.Errorf("without a database: %+v", got)
	}
	if _, err := OpenGeo(filepath.Join(t.TempDir(), "none.mmdb")); err == nil || !strings.Contains(err.Error(), "none.mmdb") {
		t.Errorf("got %v", err)
	}
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	l, err := New([]Rule{
		{Deny: true, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Deny: true, Paths: []string{"/private/*", "*.bak"}, Methods: []string{"GET"}},
		{Referrers: []string{"*.example.com"}, Agents: []string{"mozilla"}, Times: []Window{window(t, "Mon-Fri 18:00-23:30 Europe/Berlin")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	q := Request{Addr: netip.MustParseAddr("192.0.2.1"), Method: "GET", Path: "/vod/demo/seg-00001.m4s", Referrer: "https://www.example.com/", Agent: "Mozilla/5.0", Time: monday}
	if n := testing.AllocsPerRun(100, func() {
		if ok, _ := l.Allows(&q, nil); !ok {
			t.Error("denied")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkAllows(b *testing.B) {
	l, err := New([]Rule{{Deny: true, Paths: []string{"/private/*", "*.bak"}}, {Referrers: []string{"*.example.com"}, Agents: []string{"mozilla"}}})
	if err != nil {
		b.Fatal(err)
	}
	q := Request{Method: "GET", Path: "/vod/demo/seg-00001.m4s", Referrer: "https://www.example.com/", Agent: "Mozilla/5.0"}
	b.ReportAllocs()
	for b.Loop() {
		l.Allows(&q, nil)
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("/a*b", "/axxb")
	f.Add("*****", "")
	f.Add("a*a*a*a*b", strings.Repeat("a", 50))
	f.Fuzz(func(t *testing.T, pattern, text string) {
		got := glob(pattern, text)
		if !strings.Contains(pattern, "*") && got != (pattern == text) {
			t.Errorf("glob(%q, %q) = %v", pattern, text, got)
		}
		if got && !glob(pattern+"*", text+"x") {
			t.Errorf("%q matches %q, and %q not %q", pattern, text, pattern+"*", text+"x")
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	f.Add("Mon-Fri 18:00-23:30 Europe/Berlin")
	f.Add("00:00-24:00")
	f.Fuzz(func(_ *testing.T, text string) {
		if w, err := ParseWindow(text); err == nil {
			w.Contains(monday)
		}
	})
}

func FuzzReferrer(f *testing.F) {
	f.Add("https://user@example.com:80/x", "example.com")
	f.Fuzz(func(t *testing.T, field, name string) {
		host := hostOf(field)
		if strings.ContainsAny(host, "/?#@") {
			t.Errorf("the host of %q is %q", field, host)
		}
		_ = (&Rule{Referrers: []string{"*." + name}}).referred(field)
	})
}
