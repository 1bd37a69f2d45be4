package edge

import (
	"net/http"
	"net/url"
	"strings"

	"weir/cache/tag"
	"weir/edge/field"
	"weir/edge/upstream"
)

// invalidate obeys RFC 9111, 4.4: after a non-error response to a method that is not known to be safe, what is stored
// for the target, for the Location and Content-Location of the same origin, and in the groups that the response lists
// (RFC 9875, 3), is not used any more. It reaches this node and what it fetches; copies of other nodes live on until they
// are stale.
func (e *Edge) invalidate(x *Exchange, resp *upstream.Response) {
	if safe(x.Request.Method) || resp.Status < 200 || resp.Status > 399 {
		return
	}
	urls := []string{x.Target.KeyText()}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if target, ok := sibling(x, resp.Header.Get(name)); ok && target != x.Target {
			urls = append(urls, target.KeyText())
		}
	}
	e.forget(e.stamped(tag.URL, urls, false))
	groups, _ := field.Groups(resp.Header["Cache-Group-Invalidation"]) // malformed: none
	for i, group := range groups {
		groups[i] = tag.Group(x.Target.Host, group)
	}
	if len(groups) > 0 {
		e.forget(e.stamped(tag.Tag, groups, false))
	}
}

// forget applies a purge that a client has caused: nobody waits for the disk.
func (e *Edge) forget(p tag.Purge) {
	if err := e.options.Purges.Invalidate(p); err != nil {
		e.options.Log.Warn("an invalidation holds until this node restarts only", "id", p.ID, "error", err)
	}
	e.remove(p)
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
