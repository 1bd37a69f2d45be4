package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"weir/edge/access"
	"weir/edge/field"
)

// authorize applies the site's rules to a client's request, and then its tokens; nil: it may go on.
func (e *Edge) authorize(x *Exchange) *refusal {
	if x.site.Tokens != nil {
		return e.authorizeByToken(x)
	}
	return e.byRules(x)
}

// byRules applies the access rules.
func (e *Edge) byRules(x *Exchange) *refusal {
	if e.allowed(x, x.Target.Path) {
		return nil
	}
	return &refusal{status: http.StatusForbidden, reason: "access", text: "this is not allowed from where, when or how it was asked for", kind: field.ErrorHTTPRequestDenied}
}

// allowed tells whether the site's rules let the client ask for a path.
func (e *Edge) allowed(x *Exchange, path string) bool {
	if x.site.Access == nil {
		return true
	}
	r := x.Request
	q := access.Request{
		Addr: clientAddr(r), Method: r.Method, Path: path, Referrer: r.Header.Get("Referer"), Agent: r.Header.Get("User-Agent"), Time: x.Start,
	}
	ok, _ := x.site.Access.Allows(&q, e.options.Geo)
	if loose := loosePath(q.Path); ok && loose != q.Path {
		q.Path = loose // what the origin may make of it has to be allowed too
		ok, _ = x.site.Access.Allows(&q, e.options.Geo)
	}
	return ok
}

// clientAddr is where the request came from; the zero value where that is no IP address.
func clientAddr(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// CORS lets pages of other origins use what a site serves, without credentials (Fetch standard, 3.3). Make it by NewCORS.
type CORS struct {
	any     bool
	origins []string
}

// The fields of CORS, as they are for every site.
//
//nolint:gochecknoglobals // never changed
var (
	corsAny     = []string{"*"}
	corsMethods = []string{"GET, HEAD, OPTIONS"}
	corsRequest = []string{"Range, If-Range, If-None-Match, If-Modified-Since, Content-Type, Authorization, CTA-Common-Access-Token, DPoP, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status"}
	corsExpose  = []string{"Content-Length, Content-Range, Accept-Ranges, Age, Cache-Status, Date, ETag, Last-Modified, Server-Timing, CTA-Common-Access-Token, CMSD-Static, CMSD-Dynamic"}
	corsMaxAge  = []string{"86400"} // what browsers keep a preflight for at most
)

// NewCORS allows the origins, as in the Origin field ("https://example.com"); "*" is all of them.
func NewCORS(origins ...string) *CORS {
	return &CORS{any: slices.Contains(origins, "*"), origins: slices.Clone(origins)}
}

// apply sets the fields of a response, in place of any that the origin has sent: what is stored is the same for all.
//
// Hot path: no allocation for "*".
func (c *CORS) apply(h http.Header, origin string, preflight bool) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	delete(h, "Timing-Allow-Origin")
	allowed := corsAny
	if !c.any {
		h["Vary"] = append(slices.Clip(h["Vary"]), "Origin")
		if !slices.Contains(c.origins, origin) {
			return
		}
		allowed = []string{origin}
	}
	h["Access-Control-Allow-Origin"], h["Timing-Allow-Origin"] = allowed, allowed
	if !preflight {
		h["Access-Control-Expose-Headers"] = corsExpose
		return
	}
	h["Access-Control-Allow-Methods"], h["Access-Control-Allow-Headers"], h["Access-Control-Max-Age"] = corsMethods, corsRequest, corsMaxAge
}

// takeOrigin takes the Origin field off a request whose answer is the site's to give: what is stored must not vary by it.
func (x *Exchange) takeOrigin() {
	if x.site.CORS != nil {
		x.from = x.Request.Header.Get("Origin")
		x.Request.Header.Del("Origin")
	}
}

// preflight answers a browser that asks whether it may ask (Fetch standard, 4.8).
func (e *Edge) preflight(x *Exchange) bool {
	r := x.Request
	if x.from == "" || r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	x.Outcome, x.preflight = Local, true
	x.begin(http.StatusNoContent)
	return true
}

// dress gives a client's response the fields that the site sets on each.
//
// Hot path: no allocation, but for CORS with a list of origins.
func (x *Exchange) dress() {
	if x.site == nil || x.Peer {
		return
	}
	h := x.w.Header()
	if x.site.CORS != nil {
		x.site.CORS.apply(h, x.from, x.preflight)
	}
	if x.Report != nil {
		x.tell(h)
	}
	for name, values := range x.site.Headers {
		h[name] = values
	}
	if x.renewal != nil {
		x.showRenewal(h)
	}
}
