package field

import (
	"net/http"
	"strconv"
	"time"
)

// Forward is the reason why a request went on to the next hop (RFC 9211, 2.2).
type Forward string

// The reasons of RFC 9211. The same words stand in logs and metrics.
const (
	ForwardBypass   Forward = "bypass"    // the cache was told not to handle the request
	ForwardMethod   Forward = "method"    // the method's semantics require it
	ForwardURIMiss  Forward = "uri-miss"  // nothing is stored for the URI
	ForwardVaryMiss Forward = "vary-miss" // stored for the URI, but for other request fields
	ForwardMiss     Forward = "miss"      // nothing stored fits, for either reason
	ForwardRequest  Forward = "request"   // the request's own directives forbid the stored response
	ForwardStale    Forward = "stale"     // the stored response is no longer fresh
	ForwardPartial  Forward = "partial"   // only part of the range is stored
)

// maxKeyBytes bounds a printed key or detail: the field is for people, and a key may be
// as long as a request target.
const maxKeyBytes = 512

// CacheStatus is one member of a Cache-Status field: how one cache handled one
// request. The zero value of each field but Node leaves its parameter out.
type CacheStatus struct {
	Node          string        // the cache's name; printed as a token where it is one, else as a string
	Hit           bool          // served from the cache without going forward; the forward parameters are then left out
	Forward       Forward       // why the request went forward
	ForwardStatus int           // status that the next hop answered with
	TTL           time.Duration // freshness left, in whole seconds, negative when stale; printed if HasTTL
	HasTTL        bool
	Stored        bool   // the forwarded response was stored
	Collapsed     bool   // the request waited for another one's forward
	Key           string // cache key
	Detail        string // further words of ours
}

// AppendTo appends the member to dst, parameters in a fixed order. Hot path: no
// allocation beyond the growth of dst.
func (c *CacheStatus) AppendTo(dst []byte) []byte {
	dst = appendName(dst, c.Node)
	if c.Hit {
		dst = append(dst, "; hit"...)
	} else {
		dst = c.appendForward(dst)
	}
	if c.Stored && !c.Hit {
		dst = append(dst, "; stored"...)
	}
	if c.Collapsed && !c.Hit {
		dst = append(dst, "; collapsed"...)
	}
	if c.HasTTL {
		dst = append(dst, "; ttl="...)
		dst = strconv.AppendInt(dst, wholeSeconds(c.TTL), 10)
	}
	if c.Key != "" {
		dst = append(dst, "; key="...)
		dst = appendString(dst, clip(c.Key))
	}
	if c.Detail != "" {
		dst = append(dst, "; detail="...)
		dst = appendName(dst, clip(c.Detail))
	}
	return dst
}

// String returns the member as AppendTo prints it.
func (c *CacheStatus) String() string { return string(c.AppendTo(make([]byte, 0, 128))) }

// Add puts the member behind those that h already holds: the cache nearest to the
// client comes last (RFC 9211, 2).
func (c *CacheStatus) Add(h http.Header) { addMember(h, "Cache-Status", c.String()) }

func (c *CacheStatus) appendForward(dst []byte) []byte {
	if c.Forward != "" {
		dst = append(dst, "; fwd="...)
		dst = append(dst, c.Forward...)
	}
	if c.ForwardStatus != 0 {
		dst = append(dst, "; fwd-status="...)
		dst = strconv.AppendInt(dst, int64(c.ForwardStatus), 10)
	}
	return dst
}

// wholeSeconds rounds down, so that what is stale by less than a second is not
// taken for fresh.
func wholeSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		seconds--
	}
	return seconds
}

func clip(s string) string {
	if len(s) > maxKeyBytes {
		return s[:maxKeyBytes]
	}
	return s
}

// addMember joins the lines of a structured list and puts member behind them, on
// one line. Lines that do not form a list are dropped: kept, they would make the
// receiver ignore ours too (RFC 8941, 4.2).
func addMember(h http.Header, name, member string) {
	lines := h[name]
	if len(lines) == 0 {
		h[name] = []string{member}
		return
	}
	n := len(member)
	for _, line := range lines {
		n += len(line) + 2
	}
	joined := make([]byte, 0, n)
	for _, line := range lines {
		if !ValidList(line) {
			continue
		}
		if joined = append(joined, line...); len(line) > 0 {
			joined = append(joined, ", "...)
		}
	}
	h[name] = []string{string(append(joined, member...))}
}
