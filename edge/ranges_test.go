package edge

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ranged is an origin of paths by name: /N has N bytes, /gone is a 404.
type ranged struct{ now time.Time }

// at is a date so long after now.
func (o ranged) at(d time.Duration) string { return o.now.Add(d).UTC().Format(http.TimeFormat) }

func (o ranged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("Date", o.at(0))
	switch r.URL.Query().Get("v") {
	case "weak":
		w.Header().Set("Etag", `W/"1"`)
	case "date":
		w.Header().Set("Last-Modified", o.at(-time.Hour))
	case "young":
		w.Header().Set("Last-Modified", o.at(0))
	default:
		w.Header().Set("Etag", `"1"`)
	}
	n, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		n = 100
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = io.WriteString(w, strings.Repeat("x", n))
}

// TestRangesThatWantTooMuch: whatever a Range field holds, nobody gets more than
// the whole, nor a range of what is no whole (RFC 9110, 14.2 and 17.15).
func TestRangesThatWantTooMuch(t *testing.T) {
	t.Parallel()
	b := newBench(t, ranged{time.Now()}.ServeHTTP)
	tests := []struct {
		name, method, path, header string
		status, most               int
	}{
		{"the whole, a hundred times", "GET", "/10000000", "bytes=0-" + strings.Repeat(",0-", 99), 200, 10_000_000},
		{"the whole, sixteen times", "GET", "/10000000", "bytes=0-" + strings.Repeat(",0-", 15), 206, 10_000_000},
		{"overlapping", "GET", "/1000000", "bytes=0-600000,500000-900000,1-2", 206, 900_001},
		{"seventeen bytes", "GET", "/1000000", "bytes=" + strings.Repeat("0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,", 2) + "99-99", 200, 1_000_000},
		{"parts that cost more than the whole", "GET", "/40", "bytes=0-0,2-2,4-4,6-6", 200, 40},
		{"nothing", "GET", "/1000", "bytes=-0", 416, 100},
		{"an empty body", "GET", "/0", "bytes=0-", 416, 100},
		{"a suffix of an empty body", "GET", "/0", "bytes=-1", 416, 100},
		{"a head", "HEAD", "/1000", "bytes=0-9", 200, 0},
		{"an error", "GET", "/gone", "bytes=0-9", 404, 100},
		{"a method that knows none", "POST", "/1000", "bytes=0-9", 200, 1000},
	}
	for _, tt := range tests {
		for _, again := range []bool{false, true} {
			if tt.method == "HEAD" && !again {
				b.do("GET", tt.path)
			}
			g := b.do(tt.method, tt.path, "Range", tt.header)
			if g.err != nil || g.status != tt.status || len(g.body) > tt.most {
				t.Errorf("%s (again %v): got %d, %d bytes, %v; want %d, at most %d", tt.name, again, g.status, len(g.body), g.err, tt.status, tt.most)
			}
			if size := strings.TrimPrefix(tt.path, "/"); tt.status == 416 && g.header.Get("Content-Range") != "bytes */"+size {
				t.Errorf("%s: Content-Range %q", tt.name, g.header.Get("Content-Range"))
			}
		}
	}
}

// TestIfRangeNeedsAStrongMatch: RFC 9110, 13.1.5.
func TestIfRangeNeedsAStrongMatch(t *testing.T) {
	t.Parallel()
	o := ranged{time.Now()}
	b := newBench(t, o.ServeHTTP)
	for _, tt := range []struct {
		path, condition string
		status          int
	}{
		{"/1000", `"1"`, 206},
		{"/1000", `"2"`, 200},
		{"/1000", `W/"1"`, 200},
		{"/1000", `"1", "2"`, 200},
		{"/1000", o.at(-time.Hour), 200},
		{"/1000?v=weak", `W/"1"`, 200},
		{"/1000?v=weak", `"1"`, 200},
		{"/1000?v=date", o.at(-time.Hour), 206},
		{"/1000?v=date", o.at(-time.Hour + time.Second), 200},
		{"/1000?v=date", o.at(-time.Hour - time.Second), 200},
		{"/1000?v=young", o.at(0), 200}, // it may change again within that second
	} {
		for range 2 {
			if g := b.do("GET", tt.path, "Range", "bytes=0-9", "If-Range", tt.condition); g.status != tt.status || g.err != nil {
				t.Errorf("%s, If-Range %s: got %d, %v; want %d", tt.path, tt.condition, g.status, g.err, tt.status)
			}
		}
	}
}
