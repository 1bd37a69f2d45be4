package freshness

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxSeconds is where delta-seconds saturate. RFC 9111, 1.2.2: a value that overflows counts as 2^31.
const maxSeconds = 1 << 31

// Delta is a directive's number of seconds.
type Delta struct {
	// Seconds is between 0 and 2^31.
	Seconds int64
	// Set tells a directive that is absent from one with zero seconds.
	Set bool
}

// Duration returns the seconds as a duration; 0 if the directive is absent.
func (d Delta) Duration() time.Duration { return time.Duration(d.Seconds) * time.Second }

// Directives are the directives of Cache-Control in a request or a response. The zero value is an absent field.
type Directives struct {
	NoStore, NoCache, NoTransform, OnlyIfCached         bool
	Public, Private, MustRevalidate, ProxyRevalidate    bool
	MustUnderstand, Immutable                           bool
	MaxAge, SMaxAge, StaleWhileRevalidate, StaleIfError Delta
	MinFresh, MaxStale                                  Delta
	// MaxStaleAny is max-stale without a number: a stale response of any age is welcome.
	MaxStaleAny bool
}

// ParseCacheControl reads the lines of a Cache-Control field. Names match without case, values may be tokens or quoted
// strings, unknown directives are ignored. RFC 9111, 4.2.1: a lifetime that is no number counts as 0; where a directive
// stands twice the stricter one counts.
func ParseCacheControl(lines []string) Directives {
	var d Directives
	for _, line := range lines {
		for line != "" {
			var name, value string
			var hasValue bool
			name, value, hasValue, line = next(line)
			if name != "" {
				d.set(name, value, hasValue)
			}
		}
	}
	return d
}

// ParseRequest reads a request's directives. RFC 9111, 5.4: without Cache-Control, Pragma: no-cache stands for no-cache.
func ParseRequest(h http.Header) Directives {
	lines := h["Cache-Control"]
	if len(lines) > 0 {
		return ParseCacheControl(lines)
	}
	var d Directives
	for _, line := range h["Pragma"] {
		for line != "" {
			var name string
			name, _, _, line = next(line)
			d.NoCache = d.NoCache || strings.EqualFold(name, "no-cache")
		}
	}
	return d
}

// Accepts tells whether a request with these directives accepts, without validation, a stored response of freshness f.
// RFC 9111, 5.2.1. It grants staleness only where max-stale asks for it and the response does not forbid it.
func (d Directives) Accepts(f Freshness, now time.Time) bool {
	if d.NoCache || d.NoStore || f.NoCache {
		return false
	}
	age := f.Age(now)
	// RFC 8246, 2: a reload (max-age=0) does not have a fresh immutable response validated, no-cache does.
	if d.MaxAge.Set && age > d.MaxAge.Duration() && !(f.Immutable && f.Fresh(now)) {
		return false
	}
	if d.MinFresh.Set && f.Lifetime-age < d.MinFresh.Duration() {
		return false
	}
	if f.Fresh(now) {
		return true
	}
	if f.MustRevalidate {
		return false
	}
	return d.MaxStaleAny || d.MaxStale.Set && f.StaleFor(now) <= d.MaxStale.Duration()
}

// String returns the directives as a field value; ParseCacheControl reads it back.
func (d Directives) String() string {
	var b strings.Builder
	add := func(s string) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
	}
	for _, f := range flags {
		if *f.of(&d) {
			add(f.name)
		}
	}
	for _, n := range deltas {
		if v := *n.of(&d); v.Set {
			add(n.name + "=" + strconv.FormatInt(v.Seconds, 10))
		}
	}
	if d.MaxStaleAny {
		add("max-stale")
	}
	return b.String()
}

var flags = []struct { //nolint:gochecknoglobals // a table, never written
	name string
	of   func(*Directives) *bool
}{
	{"no-store", func(d *Directives) *bool { return &d.NoStore }},
	// RFC 9111, 5.2.2.4 and 5.2.2.7: with field names, no-cache and private cover those fields only; taking them for
	// the whole response is always allowed.
	{"no-cache", func(d *Directives) *bool { return &d.NoCache }},
	{"private", func(d *Directives) *bool { return &d.Private }},
	{"no-transform", func(d *Directives) *bool { return &d.NoTransform }},
	{"only-if-cached", func(d *Directives) *bool { return &d.OnlyIfCached }},
	{"public", func(d *Directives) *bool { return &d.Public }},
	{"must-revalidate", func(d *Directives) *bool { return &d.MustRevalidate }},
	{"proxy-revalidate", func(d *Directives) *bool { return &d.ProxyRevalidate }},
	{"must-understand", func(d *Directives) *bool { return &d.MustUnderstand }},
	{"immutable", func(d *Directives) *bool { return &d.Immutable }},
}

var deltas = []struct { //nolint:gochecknoglobals // a table, never written
	name string
	of   func(*Directives) *Delta
	// larger tells that the larger of two values is the stricter one; broken is the value of one that is no number.
	larger bool
	broken int64
}{
	{"max-age", func(d *Directives) *Delta { return &d.MaxAge }, false, 0},
	{"s-maxage", func(d *Directives) *Delta { return &d.SMaxAge }, false, 0},
	{"stale-while-revalidate", func(d *Directives) *Delta { return &d.StaleWhileRevalidate }, false, 0},
	{"stale-if-error", func(d *Directives) *Delta { return &d.StaleIfError }, false, 0},
	{"min-fresh", func(d *Directives) *Delta { return &d.MinFresh }, true, maxSeconds},
	{"max-stale", func(d *Directives) *Delta { return &d.MaxStale }, false, 0},
}

func (d *Directives) set(name, value string, hasValue bool) {
	if !hasValue && strings.EqualFold(name, "max-stale") {
		// Beside a number, the number is the stricter one.
		d.MaxStaleAny = !d.MaxStale.Set
		return
	}
	for _, f := range flags {
		if strings.EqualFold(name, f.name) {
			*f.of(d) = true
			return
		}
	}
	for _, n := range deltas {
		if !strings.EqualFold(name, n.name) {
			continue
		}
		seconds, ok := parseSeconds(value)
		if !ok {
			seconds = n.broken
		}
		v := n.of(d)
		if !v.Set || (seconds > v.Seconds) == n.larger {
			*v = Delta{Seconds: seconds, Set: true}
		}
		if d.MaxStale.Set {
			d.MaxStaleAny = false
		}
		return
	}
}

// next takes the first member off a comma-separated list. name is empty where the member is. A member that is not
// token["=" (token / quoted-string)] keeps its name, and its value is one that is no number.
func next(line string) (name, value string, hasValue bool, rest string) {
	line = strings.TrimLeft(line, " \t,")
	i := 0
	for i < len(line) && isToken(line[i]) {
		i++
	}
	name, line = line[:i], line[i:]
	switch {
	case line == "":
		return name, "", false, ""
	case line[0] != '=':
		member, after := cutMember(line)
		broken := strings.Trim(member, " \t") != ""
		return name, "", broken, after
	}
	member, rest := cutMember(line[1:])
	member = strings.TrimRight(member, " \t")
	return name, unquote(member), true, rest
}

// cutMember cuts s at the first comma outside a quoted string.
func cutMember(s string) (member, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == ',':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// unquote strips the quotes of a quoted string. Escapes stay: no directive read here needs any.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// parseSeconds reads delta-seconds. RFC 9111, 1.2.2: digits only, saturating at 2^31.
func parseSeconds(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + int64(s[i]-'0'); n > maxSeconds {
			n = maxSeconds
		}
	}
	return n, true
}

func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// saturate adds two durations that are not negative.
func saturate(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
