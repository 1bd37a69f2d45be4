package proof

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultSize is the body length in bytes of a path that names none: three
// pages, the last one not whole.
const DefaultSize = 10_000

// DefaultCacheControl is the Cache-Control of a rule that names none.
const DefaultCacheControl = "public, max-age=60"

// NoCacheControl as Rule.CacheControl leaves the field out of the response.
const NoCacheControl = "-"

// Rule says how the responses of some URLs look. The zero value is a 200 with
// a length taken from the path: "/o/2MiB/name" has 2 MiB, "/o/1500/name" 1500
// bytes, any other path DefaultSize. A Rule is not changed once it is set.
type Rule struct {
	Size         int64                      // bytes; 0 = from the path (use "/o/0/…" for an empty body)
	SizeOf       func(version uint64) int64 // bytes by version; wins over Size
	CacheControl string                     // "" = DefaultCacheControl, NoCacheControl = none
	ContentType  string                     // "" = application/octet-stream
	Header       http.Header                // further response fields
	Status       int                        // 0 = 200
	Vary         []string                   // request fields that choose the body, and are named in Vary
	Keyed        []string                   // request fields that choose the body, and are not (Cookie, Authorization: a leak shows at once)
	Reflect      []string                   // request fields whose value returns in "X-Reflect-<name>"
	Every        time.Duration              // a new version each time the clock passes a multiple; 0 = never
	Version      func(now time.Time) uint64 // version by time, must not fall; wins over Every
	Chunked      bool                       // no Content-Length (on HTTP/1.1 chunked)
	NoRange      bool                       // Range is ignored and Accept-Ranges is absent
	NoValidator  bool                       // neither ETag nor Last-Modified, and no 304
}

func (r Rule) withDefaults(path string) Rule {
	if r.Size == 0 {
		r.Size = sizeOfPath(path)
	}
	if r.CacheControl == "" {
		r.CacheControl = DefaultCacheControl
	}
	if r.ContentType == "" {
		r.ContentType = "application/octet-stream"
	}
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	return r
}

func (r Rule) sizeOf(version uint64) int64 {
	if r.SizeOf != nil {
		return max(0, r.SizeOf(version))
	}
	return r.Size
}

// sizeOfPath reads the size in "/o/SIZE/…".
func sizeOfPath(path string) int64 {
	rest, ok := strings.CutPrefix(path, "/o/")
	if !ok {
		return DefaultSize
	}
	word, _, _ := strings.Cut(rest, "/")
	n, err := ParseSize(word)
	if err != nil {
		return DefaultSize
	}
	return n
}

// ParseSize reads a number of bytes: digits, then nothing, B, KiB, MiB or GiB.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGi")
	unit := int64(1)
	switch s[len(digits):] {
	case "", "B":
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	default:
		return 0, fmt.Errorf("size %q: unit is not B, KiB, MiB or GiB", s)
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > (1<<62)/unit {
		return 0, fmt.Errorf("size %q: not a number of bytes", s)
	}
	return int64(n) * unit, nil
}
