package freshness

import (
	"strings"
	"testing"
	"time"
)

func TestParseTargeted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     Directives
		ok       bool
	}{
		{"empty", "", Directives{}, false},
		{"RFC 9213, 2.1", "max-age=60, public", Directives{MaxAge: set(60), Public: true}, true},
		{"true and false", "no-store=?1, private=?0", Directives{NoStore: true}, true},
		{"unknown members", `foo, bar="a, \"b", baz=(1 "x" y;p=1);q, *k=:YQ==:, max-age=5`, Directives{MaxAge: set(5)}, true},
		{"only unknown members are still a field", "foo", Directives{}, true},
		{"RFC 9651, 4.2.2: the last value of a key", "max-age=60, max-age=5, max-age=70", Directives{MaxAge: set(70)}, true},
		{"RFC 9213, 2.1: parameters are ignored", "max-age=60;x=1;y", Directives{MaxAge: set(60)}, true},
		{"a string is no lifetime", `max-age="60"`, Directives{MaxAge: set(0)}, true},
		{"nor is a decimal", "max-age=60.5", Directives{MaxAge: set(0)}, true},
		{"nor a negative number", "max-age=-60", Directives{MaxAge: set(0)}, true},
		{"overflow", "max-age=999999999999999", Directives{MaxAge: set(1 << 31)}, true},
		{"RFC 9651, 4.2.4: 16 digits", "max-age=9999999999999999", Directives{}, false},
		{"RFC 9651, 3.1.2: keys are lower case", "Max-Age=60", Directives{}, false},
		{"trailing comma", "max-age=60,", Directives{}, false},
		{"two commas", "max-age=60,,public", Directives{}, false},
		{"space before =", "max-age =60", Directives{}, false},
		{"space after =", "max-age= 60", Directives{}, false},
		{"open string", `a="b`, Directives{}, false},
		{"open list", "a=(1", Directives{}, false},
		{"open bytes", "a=:YQ", Directives{}, false},
		{"no value", "a=", Directives{}, false},
	}
	for _, tt := range tests {
		got, ok := ParseTargeted([]string{tt.in})
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %q\n got %+v %v\nwant %+v %v", tt.name, tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseTargeted(f *testing.F) {
	for _, s := range []string{"max-age=60, public", `x="a,b\"", no-store`, "a=(1 2);p, b=:YQ==:", "a=?0", `"`, "a=1.5;", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseTargeted([]string{s})
		if again := ParseCacheControl([]string{d.String()}); again != d {
			t.Errorf("%q: not stable:\n%+v\n%+v", s, d, again)
		}
		if !ok && d != (Directives{}) {
			t.Errorf("%q: ignored and yet %+v", s, d)
		}
		ParseSurrogate([]string{s}, "weir")
	})
}

func TestParseSurrogate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want Directives
		ok   bool
	}{
		{"max-age=60", Directives{MaxAge: set(60)}, true},
		{"MaX-aGe=60", Directives{MaxAge: set(60)}, true},
		{"max-age=60+30", Directives{MaxAge: set(60), StaleWhileRevalidate: set(30)}, true},
		{"max-age=60;weir", Directives{MaxAge: set(60)}, true},
		{"max-age=60;other", Directives{}, false},
		{"max-age=60;other, max-age=5", Directives{MaxAge: set(5)}, true},
		{"no-store, max-age=60;weir", Directives{MaxAge: set(60)}, true},
		{"no-store-remote", Directives{NoStore: true}, true},
		{`content="ESI/1.0, max-age=5"`, Directives{}, false},
		{"max-age", Directives{MaxAge: set(0)}, true},
	}
	for _, tt := range tests {
		if got, ok := ParseSurrogate([]string{tt.in}, "weir"); got != tt.want || ok != tt.ok {
			t.Errorf("%q\n got %+v %v\nwant %+v %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTargetedFieldsGoFirst(t *testing.T) {
	t.Parallel()
	future := dated(time.Hour, "Expires")
	tests := []struct {
		name, surrogate string
		in              []string
		storable        bool
		lifetime        time.Duration
	}{
		{"RFC 9213, 2.2: before Cache-Control", "", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, true, time.Minute},
		{"and Expires", "", []string{"CDN-Cache-Control: max-age=0", future}, true, 0},
		{"also where it names no lifetime", "", []string{"CDN-Cache-Control: must-revalidate", "Cache-Control: max-age=60", future}, true, 7 * time.Second},
		{"RFC 9213, 2.1: ignored when broken", "", []string{"CDN-Cache-Control: max-age =60", "Cache-Control: max-age=5"}, true, 5 * time.Second},
		{"no-store", "", []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}, false, 7 * time.Second},
		{"before Surrogate-Control", "weir", []string{"CDN-Cache-Control: max-age=60", "Surrogate-Control: max-age=5"}, true, time.Minute},
		{"Surrogate-Control asked for", "weir", []string{"Surrogate-Control: max-age=5", "Cache-Control: no-store", future}, true, 5 * time.Second},
		{"Surrogate-Control for another", "weir", []string{"Surrogate-Control: max-age=5;x", "Cache-Control: max-age=60"}, true, time.Minute},
		{"Surrogate-Control not asked for", "", []string{"Surrogate-Control: max-age=5", "Cache-Control: max-age=60"}, true, time.Minute},
	}
	for _, tt := range tests {
		r := Response{Status: 200, Header: fields(tt.in...), RequestTime: received, ResponseTime: received, Surrogate: tt.surrogate}
		ok, _ := Storable("GET", nil, r)
		if f := Of(r, 7*time.Second); ok != tt.storable || f.Lifetime != tt.lifetime {
			t.Errorf("%s: %s: storable %v, lifetime %v, want %v, %v", tt.name, strings.Join(tt.in, "; "), ok, f.Lifetime, tt.storable, tt.lifetime)
		}
	}
}

func TestHeuristic(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		in     []string
		want   time.Duration
	}{
		{"RFC 9111, 4.2.2: a tenth", 200, []string{dated(-10*time.Hour, "Last-Modified")}, time.Hour},
		{"counted from Date", 200, []string{dated(-10*time.Hour, "Last-Modified"), dated(-5*time.Hour, "Date")}, 30 * time.Minute},
		{"at most a day", 200, []string{dated(-1000*time.Hour, "Last-Modified")}, 24 * time.Hour},
		{"modified in the future", 200, []string{dated(time.Hour, "Last-Modified")}, 0},
		{"nothing known", 200, nil, 0},
		{"not beside a lifetime", 200, []string{dated(-10*time.Hour, "Last-Modified"), "Cache-Control: max-age=5"}, 0},
		{"nor Expires", 200, []string{dated(-10*time.Hour, "Last-Modified"), "Expires: 0"}, 0},
		{"RFC 9110, 15.1: status", 403, []string{dated(-10*time.Hour, "Last-Modified")}, 0},
		{"any status that is public", 403, []string{dated(-10*time.Hour, "Last-Modified"), "Cache-Control: public"}, time.Hour},
	}
	for _, tt := range tests {
		if got := Heuristic(Response{Status: tt.status, Header: fields(tt.in...), ResponseTime: received}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTargetedFieldsOfTheSite is RFC 9213, 2.2: the first field of the target list that can be read counts alone.
func TestTargetedFieldsOfTheSite(t *testing.T) {
	t.Parallel()
	names := []string{"Weir-Cache-Control", "Vod-Cache-Control"}
	tests := []struct {
		name  string
		lines []string
		want  time.Duration
	}{
		{"the first", []string{"Weir-Cache-Control: max-age=5", "Vod-Cache-Control: max-age=6", "CDN-Cache-Control: max-age=7", "Cache-Control: max-age=8"}, 5 * time.Second},
		{"the second", []string{"Vod-Cache-Control: max-age=6", "CDN-Cache-Control: max-age=7"}, 6 * time.Second},
		{"one that cannot be read is skipped", []string{"Weir-Cache-Control: max-age=5,", "CDN-Cache-Control: max-age=7"}, 7 * time.Second},
		{"an empty one too", []string{"Weir-Cache-Control: ", "Cache-Control: max-age=8"}, 8 * time.Second},
		{"beside it no other field counts", []string{"Weir-Cache-Control: no-cache", "Cache-Control: max-age=8"}, 0},
		{"an unknown one", []string{"Other-Cache-Control: max-age=5", "Cache-Control: max-age=8"}, 8 * time.Second},
	}
	for _, tt := range tests {
		f := Of(Response{Status: 200, Header: fields(tt.lines...), Targeted: names}, 0)
		if f.Lifetime != tt.want {
			t.Errorf("%s: fresh for %v, want %v", tt.name, f.Lifetime, tt.want)
		}
	}
}
