package proof

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// readBytes is how much of a body the client reads at a time.
	readBytes = 32 << 10
	// slowSteps is how many reads per second a client with a Rate makes.
	slowSteps = 10
	// ageSlack is what Age may be short by: it counts whole seconds, and each
	// hop may round down once more.
	ageSlack = 2 * time.Second
)

// check is one response under examination.
type check struct {
	client   *Client
	options  Options
	request  *http.Request
	response *http.Response
	result   *Result
	host     string // whose truth it is
	path     string
	rule     Rule
}

func (k *check) fail(kind error, format string, args ...any) {
	k.result.Err = errors.Join(k.result.Err, fmt.Errorf("%w: "+format, append([]any{kind}, args...)...))
}

func (k *check) run() {
	u := k.request.URL
	k.host, k.path = u.Host, Canonical(u.EscapedPath())
	if u.RawQuery != "" {
		k.path += "?" + u.RawQuery
	}
	if k.options.Host != "" {
		k.host = k.options.Host
	}
	if k.options.Truth != "" {
		k.host = k.options.Truth
	}
	k.rule = k.client.options.Oracle.Rule(k.host, k.path)
	if k.request.Header.Get("User-Agent") == "" {
		k.request.Header.Set("User-Agent", "weir-proof/1") // so that a key on it is known here
	}
	k.result.Body = BodyNone
	response, err := k.client.transport.RoundTrip(k.request)
	k.result.Head = time.Since(k.result.Start)
	k.result.FirstByte = k.result.Head
	if err != nil {
		k.fail(ErrNoResponse, "%w", err)
		return
	}
	defer response.Body.Close()
	k.response = response
	k.result.Status, k.result.Header, k.result.Protocol = response.StatusCode, response.Header, response.Proto
	k.age()
	k.cacheStatus()
	k.body()
	k.freshness()
}

// age checks the Age field by itself (RFC 9111, 5.1).
func (k *check) age() {
	lines := k.response.Header.Values("Age")
	if len(lines) == 0 {
		return
	}
	age, err := strconv.ParseUint(lines[0], 10, 31)
	if err != nil || len(lines) > 1 {
		k.fail(ErrAge, "%q is not one number of seconds", lines)
		return
	}
	k.result.Age = int64(age)
	if k.options.MaxAge != nil && k.result.Age > *k.options.MaxAge {
		k.fail(ErrAge, "%d s, at most %d s allowed", age, *k.options.MaxAge)
	}
}

func (k *check) cacheStatus() {
	lines := k.response.Header.Values("Cache-Status")
	list, err := ParseCacheStatus(lines)
	if err != nil {
		k.fail(ErrCacheStatus, "%w", err)
	}
	if len(lines) == 0 && k.client.options.CacheStatus {
		k.fail(ErrCacheStatus, "absent")
	}
	k.result.CacheStatus = list
}

// body sorts the response by its status and checks what that kind has.
func (k *check) body() {
	status := k.response.StatusCode
	ranged := k.request.Header.Get("Range") != ""
	conditional := k.request.Header.Get("If-None-Match") != "" || k.request.Header.Get("If-Modified-Since") != ""
	right := true
	switch {
	case status == k.rule.Status:
		k.whole()
	case status == http.StatusPartialContent && ranged:
		k.partial()
	case status == http.StatusNotModified && conditional:
		if !k.rule.NoValidator {
			k.tag()
		}
		k.drain(false)
	case status == http.StatusRequestedRangeNotSatisfiable && ranged:
		k.unsatisfiable()
		k.drain(true)
	default:
		right = false
		k.drain(true)
	}
	switch {
	case k.options.AnyStatus:
	case k.options.Status != 0 && status != k.options.Status:
		k.fail(ErrStatus, "%d, want %d", status, k.options.Status)
	case k.options.Status == 0 && !right:
		k.fail(ErrStatus, "%d, want %d", status, k.rule.Status)
	}
}

// tag reads the version from the ETag; false means that there is none that
// can be used.
func (k *check) tag() (Truth, bool) {
	oracle, text := k.client.options.Oracle, k.response.Header.Get("ETag")
	if text == "" {
		if !k.rule.NoValidator {
			k.fail(ErrETag, "absent")
		}
		return Truth{}, false
	}
	version, hash, ok := ParseETag(text)
	if !ok {
		k.fail(ErrETag, "%s is not one of the oracle's", text)
		return Truth{}, false
	}
	truth := oracle.Truth(k.host, k.path, k.request.Header, version)
	if hash != truth.Body.hash {
		k.fail(ErrETag, "%s is that of %s", text, oracle.label(hash))
		return Truth{}, false
	}
	if now := oracle.Version(k.host, k.path, time.Now()); version > now {
		k.fail(ErrETag, "%s, but version %d is the newest", text, now)
	}
	k.result.Version = version
	return truth, true
}

// prover returns a verifier for the body, by tag or by the first bytes.
func (k *check) prover() *verifier {
	v := &verifier{oracle: k.client.options.Oracle}
	if truth, ok := k.tag(); ok {
		v.body = truth.Body
		return v
	}
	v.choose = func(off int64, first []byte) *Body {
		truth := k.guess(off, first)
		k.result.Version = truth.Version
		return truth.Body
	}
	return v
}

// guess finds the version whose bytes these are, among those that were current
// lately; the current one if none fits.
func (k *check) guess(off int64, first []byte) Truth {
	oracle := k.client.options.Oracle
	now := oracle.Version(k.host, k.path, time.Now())
	for back := uint64(0); back < 4*nearVersions && back < now; back++ {
		truth := oracle.Truth(k.host, k.path, k.request.Header, now-back)
		probe := make([]byte, min(len(first), PageBytes))
		truth.Body.fill(probe, off)
		if differ(first[:len(probe)], probe) < 0 {
			return truth
		}
	}
	return oracle.Truth(k.host, k.path, k.request.Header, now)
}

// whole checks a response that carries everything, or the HEAD of it.
func (k *check) whole() {
	v := k.prover()
	known := v.body != nil
	if k.request.Method == http.MethodHead {
		if known && k.response.ContentLength >= 0 && k.response.ContentLength != v.body.size {
			k.fail(ErrLength, "%d, want %d", k.response.ContentLength, v.body.size)
		}
		k.drain(false)
		return
	}
	v.end = -1
	if known {
		k.length(v.body.size)
		v.end = v.body.size
	}
	v.full = true
	k.finish(v, k.copyBody(k.response.Body, v))
}

func (k *check) length(want int64) {
	if got := k.response.ContentLength; got >= 0 && got != want {
		k.fail(ErrLength, "%d, want %d", got, want)
	}
}

// partial checks a 206 (RFC 9110, 15.3.7).
func (k *check) partial() {
	if boundary := boundaryOf(k.response.Header); boundary != "" {
		k.multiparts(boundary)
		return
	}
	s, size, err := parseContentRange(k.response.Header.Get("Content-Range"))
	if err != nil || s.start < 0 {
		k.fail(ErrContentRange, "%q in a 206", k.response.Header.Get("Content-Range"))
		k.drain(true)
		return
	}
	v := k.prover()
	if v.body != nil {
		k.contentRange(s, size, v.body.size)
	}
	k.length(s.length)
	v.off, v.end = s.start, s.end()
	k.finish(v, k.copyBody(k.response.Body, v))
}

// contentRange checks that a stretch was asked for.
func (k *check) contentRange(s span, size, truth int64) {
	if size != truth && (size >= 0 || !k.rule.Chunked) {
		k.fail(ErrContentRange, "%s, but the size is %d", k.describe(s, size), truth)
	}
	asked, state := parseRange(k.request.Header.Get("Range"), truth)
	if state != rangeSome {
		k.fail(ErrContentRange, "%s, but no range was asked for that could be served", k.describe(s, size))
		return
	}
	if !covers(asked, s) {
		k.fail(ErrContentRange, "%s, asked for %s", k.describe(s, size), k.request.Header.Get("Range"))
	}
}

func (k *check) describe(s span, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.start, s.end()-1, size)
}

// unsatisfiable checks a 416.
func (k *check) unsatisfiable() {
	oracle := k.client.options.Oracle
	version := oracle.Version(k.host, k.path, time.Now())
	truth := oracle.Truth(k.host, k.path, k.request.Header, version)
	if _, state := parseRange(k.request.Header.Get("Range"), truth.Body.size); state != rangeUnsatisfiable {
		k.fail(ErrStatus, "416 for %q of %d bytes", k.request.Header.Get("Range"), truth.Body.size)
	}
	if text := k.response.Header.Get("Content-Range"); text != "" {
		s, size, err := parseContentRange(text)
		if err != nil || s.start >= 0 || size != truth.Body.size {
			k.fail(ErrContentRange, "%q, want bytes */%d", text, truth.Body.size)
		}
	}
}

// freshness compares the version with the clock, the Age and the bound.
func (k *check) freshness() {
	r := k.result
	if r.Version == 0 {
		return
	}
	oracle := k.client.options.Oracle
	age := time.Duration(max(0, r.Age)) * time.Second
	if since := r.Start.Add(-age - ageSlack); r.Version < oracle.Version(k.host, k.path, since) {
		k.fail(ErrAge, "%s says that version %d was still current then, it was not", age, r.Version)
	}
	if bound := k.client.options.Bound; bound != nil {
		if oldest := oracle.Version(k.host, k.path, r.Start.Add(-*bound)); r.Version < oldest {
			k.fail(ErrStale, "version %d, version %d was current %s ago", r.Version, oldest, *bound)
		}
	}
}

// drain reads a body that is not the oracle's. If none is due, one byte is too
// many.
func (k *check) drain(due bool) {
	end := k.copyBody(k.response.Body, nil)
	switch {
	case end == nil && !due && k.result.Bytes > 0:
		k.fail(ErrLong, "%d bytes in a response that has no body", k.result.Bytes)
		k.result.Body = BodyWrong
	case end == nil && due:
		k.result.Body = BodyUnproven
	case errors.Is(end, errLeft):
		k.result.Body = BodyLeft
	case end != nil:
		k.fail(ErrAborted, "after %d bytes: %w", k.result.Bytes, end)
		k.result.Body = BodyAborted
	}
}

// errLeft ends a copy after Options.StopAfter bytes.
var errLeft = errors.New("proof: client left")

// copyBody reads a body at the client's rate. It answers nil at a clean end,
// errLeft when the client stopped, else what ended it.
func (k *check) copyBody(body io.Reader, v *verifier) error {
	buf := make([]byte, readBytes)
	rate, start := k.options.Rate, time.Now()
	if rate > 0 {
		buf = buf[:min(max(1, rate/slowSteps), readBytes)]
	}
	for {
		if stop := k.options.StopAfter; stop > 0 {
			if k.result.Bytes >= stop {
				return errLeft
			}
			buf = buf[:min(int64(len(buf)), stop-k.result.Bytes)]
		}
		n, err := body.Read(buf)
		k.received(n)
		if v != nil {
			v.write(buf[:n])
		}
		if rate > 0 && n > 0 {
			due := start.Add(time.Duration(float64(k.result.Bytes) / float64(rate) * float64(time.Second)))
			if !pause(k.request.Context(), time.Until(due), nil) {
				return k.request.Context().Err()
			}
		}
		if err == io.EOF { // the end itself, not an error that wraps it
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (k *check) received(n int) {
	if n > 0 && k.result.Bytes == 0 {
		k.result.FirstByte = time.Since(k.result.Start)
	}
	k.result.Bytes += int64(n)
}

// finish judges a body by how it ended and what the verifier saw.
func (k *check) finish(v *verifier, end error) {
	v.close()
	k.result.Verified += v.verified
	if v.full && v.body != nil {
		v.end = v.body.size
	}
	switch {
	case v.problem != "":
		k.fail(ErrWrongByte, "%s", v.problem)
		k.result.Body = BodyWrong
	case v.end >= 0 && v.off > v.end:
		k.fail(ErrLong, "%d bytes past the end at %d", v.off-v.end, v.end)
		k.result.Body = BodyWrong
	case errors.Is(end, errLeft):
		k.result.Body = BodyLeft
	case end != nil:
		k.fail(ErrAborted, "after %d bytes: %w", k.result.Bytes, end)
		k.result.Body = BodyAborted
	case v.end >= 0 && v.off < v.end:
		k.fail(ErrShortEnd, "at byte %d of %d", v.off, v.end)
		k.result.Body = BodyShort
	default:
		k.result.Body = BodyOK
	}
}
