package edge

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/edge/upstream"
)

// maxMarks bounds the table of invalidated targets: about 4 MiB. When it is full
// the oldest mark goes; then other variants of that target, which no request has
// touched since, live on until they are stale.
const maxMarks = 1 << 15

// marks remembers which targets were invalidated, and when: a stored response is
// found by the values of the fields in its Vary, so nobody can list all of a
// target's responses to remove them. Safe for concurrent use.
type marks struct {
	used atomic.Bool  // whether there ever was a mark; keeps hits off the lock
	mu   sync.RWMutex // guards the fields below
	at   map[cache.ID]time.Time
	ring []cache.ID // in the order in which they came, from next on
	next int
}

// set invalidates all that was asked for until now.
func (m *marks) set(id cache.ID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[cache.ID]time.Time{}
	}
	if _, ok := m.at[id]; !ok {
		if len(m.ring) < maxMarks {
			m.ring = append(m.ring, id)
		} else {
			delete(m.at, m.ring[m.next])
			m.ring[m.next] = id
			m.next = (m.next + 1) % maxMarks
		}
	}
	m.at[id] = now
	m.used.Store(true)
}

// last returns when a target was invalidated last; ok is false for never.
//
// Hot path: one atomic load until something is invalidated.
func (m *marks) last(id cache.ID) (at time.Time, ok bool) {
	if !m.used.Load() {
		return time.Time{}, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	at, ok = m.at[id]
	return at, ok
}

// outdated tells whether a response of the target with this ID was asked for
// before the target was invalidated.
func (e *Edge) outdated(primary cache.ID, o *cache.Object) bool {
	at, ok := e.marks.last(primary)
	return ok && !o.Head().RequestTime.After(at)
}

// invalidate obeys RFC 9111, 4.4: after a non-error response to a method that is
// not known to be safe, what is stored for the target, and for the Location and
// Content-Location of the same origin, is not used any more. It reaches this node
// and what it fetches; copies of other nodes live on until they are stale.
func (e *Edge) invalidate(x *Exchange, resp *upstream.Response) {
	if safe(x.Request.Method) || resp.Status < 200 || resp.Status > 399 {
		return
	}
	now := time.Now()
	e.forget(x.Target, now)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if target, ok := sibling(x, resp.Header.Get(name)); ok && target != x.Target {
			e.forget(target, now)
		}
	}
}

func (e *Edge) forget(t Target, now time.Time) {
	key := cache.NewKey(t.KeyText())
	e.marks.set(key.ID, now)
	e.options.Cache.Remove(key)
}

// sibling resolves a reference in a response; ok is false for none, and for one
// to another origin (RFC 9111, 4.4: a server must not invalidate what others
// serve). The scheme does not tell origins apart, for keys do not hold it.
func sibling(x *Exchange, reference string) (t Target, ok bool) {
	if reference == "" {
		return Target{}, false
	}
	to, err := url.Parse(reference)
	if err != nil || to.Scheme != "" && to.Scheme != "http" && to.Scheme != "https" || to.Scheme != "" && to.Host == "" {
		return Target{}, false
	}
	// The origin is told the host without port, see upstream.Request.
	if to.Host != "" && !strings.EqualFold(to.Host, x.Request.Host) && !strings.EqualFold(to.Host, x.Target.Host) {
		return Target{}, false
	}
	base, err := url.ParseRequestURI(x.Target.Path)
	if err != nil {
		return Target{}, false
	}
	base.RawQuery = x.Target.Query
	t, err = ParseTarget(x.Request.Host, base.ResolveReference(to).RequestURI())
	return t, err == nil
}

// safe lists the methods registered as safe (RFC 9110, 9.2.1 and 16.1.1).
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}
