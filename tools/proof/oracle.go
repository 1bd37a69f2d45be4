package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// seenLimit bounds how many bodies an Oracle remembers by hash. Past it new
// ones are not remembered, and Explain calls them "an object not known here".
const seenLimit = 1 << 16

// Oracle knows the truth about every URL: its rule, its version at any time,
// and so each byte of its body. An Origin serves the truth, a Client checks
// against it; the two share one Oracle. Rules and bumps may be added while
// both run. All methods may be called at the same time.
type Oracle struct {
	secret string

	mu    sync.Mutex // guards the fields below
	rules []ruleEntry
	bumps map[string][]time.Time // by rule pattern or path, ascending
	seen  map[uint64]string      // url hash → identity
}

type ruleEntry struct {
	pattern string
	rule    Rule
}

// NewOracle returns an oracle whose bodies are keyed by secret. Two oracles
// with the same secret and the same rules agree on every byte.
func NewOracle(secret string) *Oracle {
	return &Oracle{secret: secret, bumps: map[string][]time.Time{}, seen: map[uint64]string{}}
}

// SetRule makes rule decide over all URLs that match pattern: an exact path
// ("/o/1KiB/a", with the query if there is one), or a prefix that ends in '*'
// ("/o/*"); a host before the first slash limits it to that host. The longest
// matching path wins, then the pattern with a host; a second SetRule of the same
// pattern replaces the first.
func (o *Oracle) SetRule(pattern string, rule Rule) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.rules {
		if o.rules[i].pattern == pattern {
			o.rules[i].rule = rule
			return
		}
	}
	o.rules = append(o.rules, ruleEntry{pattern, rule})
}

// Bump makes a new version current from now on, for all URLs that match
// pattern (as in SetRule). now must not be before that of an earlier Bump.
func (o *Oracle) Bump(pattern string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bumps[pattern] = append(o.bumps[pattern], now)
}

// Version returns the version of the URL that was current at a time: 1, plus
// what the rule's schedule adds, plus the bumps until then. It never falls as
// at grows.
func (o *Oracle) Version(host, path string, at time.Time) uint64 {
	rule := o.Rule(host, path)
	version := uint64(1)
	switch {
	case rule.Version != nil:
		version = rule.Version(at)
	case rule.Every > 0:
		version += uint64(max(0, at.UnixNano())) / uint64(rule.Every)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for pattern, times := range o.bumps {
		if !matches(pattern, host, path) {
			continue
		}
		for _, t := range times {
			if !t.After(at) {
				version++
			}
		}
	}
	return version
}

// Rule returns the rule that decides over a URL, its defaults filled in.
func (o *Oracle) Rule(host, path string) Rule {
	o.mu.Lock()
	best, rule := -1, Rule{}
	for _, e := range o.rules {
		if w := weight(e.pattern); w > best && matches(e.pattern, host, path) {
			best, rule = w, e.rule
		}
	}
	o.mu.Unlock()
	return rule.withDefaults(path)
}

// Truth is what a right response for one URL at one version looks like.
type Truth struct {
	Version      uint64
	Status       int
	ETag         string // strong, "v<version>-<hash>"
	LastModified time.Time
	Body         *Body
	Rule         Rule
}

// Truth returns the truth about version v of a URL as a request with the given
// header fields would see it. host is compared without its port and case; path
// is the escaped path with the query.
func (o *Oracle) Truth(host, path string, header http.Header, version uint64) Truth {
	rule := o.Rule(host, path)
	identity := identityOf(host, path, rule, header)
	body := newBody(o.secret, identity, version, rule.sizeOf(version))
	o.remember(body)
	return Truth{
		Version:      version,
		Status:       rule.Status,
		ETag:         body.ETag(),
		LastModified: modified(version),
		Body:         body,
		Rule:         rule,
	}
}

func (o *Oracle) remember(b *Body) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) < seenLimit {
		o.seen[b.hash] = b.identity
	}
}

// name returns the identity of the body with a hash, "" when it was never
// asked for.
func (o *Oracle) name(hash uint64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[hash]
}

// lastModifiedBase is before every clock a test runs on: bubbles start in
// 2000, versions count seconds from here.
const lastModifiedBase = 915148800 // 1999-01-01T00:00:00Z

func modified(version uint64) time.Time {
	return time.Unix(lastModifiedBase+int64(version%(1<<30)), 0).UTC()
}

// identityOf is the text that names a body: host, path and the value of each
// header field that its rule puts into the seed.
func identityOf(host, path string, rule Rule, header http.Header) string {
	var b strings.Builder
	b.WriteString(hostOf(host))
	b.WriteString(Canonical(path))
	for _, names := range [][]string{rule.Vary, rule.Keyed} {
		for _, name := range names {
			fmt.Fprintf(&b, "\n%s: %s", http.CanonicalHeaderKey(name), strings.Join(header.Values(name), ", "))
		}
	}
	return b.String()
}

// hostOf removes the port and folds the case.
func hostOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(host)
}

// matches says whether a pattern of SetRule covers a URL.
func matches(pattern, host, path string) bool {
	if slash := strings.IndexByte(pattern, '/'); slash > 0 {
		if !strings.EqualFold(pattern[:slash], hostOf(host)) {
			return false
		}
		pattern = pattern[slash:]
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}

// weight orders patterns by how exact they are.
func weight(pattern string) int {
	slash := max(0, strings.IndexByte(pattern, '/'))
	prefix, wide := strings.CutSuffix(pattern[slash:], "*")
	w := 4*len(prefix) + min(slash, 1)
	if !wide {
		w += 2
	}
	return w
}

// Canonical returns an escaped path with its query in the form that names the
// body: percent-encoded unreserved characters are decoded, other escapes are
// in upper case (RFC 3986, 6.2.2), an empty path is "/". Nothing else is
// folded, so that "/a%2Fb" and "/a/b" are two objects.
func Canonical(path string) string {
	if path == "" || path[0] == '?' {
		path = "/" + path
	}
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		raw, err := url.PathUnescape(path[i : i+3])
		switch {
		case err != nil:
			b.WriteByte('%')
			continue
		case unreserved(raw[0]):
			b.WriteByte(raw[0])
		default:
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// seedOf returns the cipher key and the URL hash of a body.
func seedOf(secret, identity string, version uint64) (key [16]byte, hash uint64) {
	name := sha256.Sum256([]byte(identity))
	hash = binary.BigEndian.Uint64(name[:])
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%d:%s%d", len(secret), secret, len(identity), identity, version)
	copy(key[:], h.Sum(nil))
	return key, hash
}
