package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"weir/edge/access"
	"weir/edge/field"
	"weir/edge/token"
)

// authorizeByToken takes the site's tokens off a client's request, and holds them against what is left, after all other
// rules: those see the path that the key has, and what they deny uses no token up. Weir's own pages need none, and neither
// does a browser that asks whether it may ask: it has no token to show.
//
// Hot path. No allocation for a token that was seen before.
func (e *Edge) authorizeByToken(x *Exchange) *refusal {
	v, r := x.site.Tokens, x.Request
	if x.site.Pages != nil && x.site.Pages.Page(x.Target.Path) != nil {
		return e.byRules(x)
	}
	if x.site.CORS != nil && r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		return e.byRules(x)
	}
	q := token.RequestOver(r)
	q.Host, q.Port, q.Path, q.Query = x.Target.Host, portOf(r.Host), x.Target.Path, x.Target.Query
	q.Header, q.EarlyData = r.Header, r.Header.Get("Early-Data") != ""
	if w, ok := x.w.(printer); ok && r.TLS != nil {
		q.JA3, q.JA4 = w.Prints()
	}
	var found token.Found
	v.Take(&q, &found)
	x.Target.Path, x.Target.Query, q.Loose = q.Path, q.Query, loosePath(q.Path)
	if no := e.byRules(x); no != nil {
		return no
	}
	grant, err := v.Decide(r.Context(), &q, &found, x.Start)
	if err != nil {
		return refusedToken(x, err)
	}
	x.Subject = grant.Subject
	if grant.Reused {
		e.noteReused(x, grant.Key)
	}
	return x.renew(grant.Renewal)
}

// A printer is a ResponseWriter that knows the fingerprints of the client's TLS; "" is unknown.
type printer interface {
	Prints() (ja3, ja4 string)
}

// refusedToken says no more to the client than that it may not: the log says why.
func refusedToken(x *Exchange, err error) *refusal {
	x.Err = err
	no := &refusal{status: http.StatusForbidden, reason: string(token.Malformed), text: "A valid token is needed for this.", kind: field.ErrorHTTPRequestDenied, problem: true}
	why, ok := errors.AsType[*token.Error](err)
	if !ok {
		return no
	}
	no.reason = string(why.Reason)
	if why.Reason == token.TooEarly {
		no.status, no.text = http.StatusTooEarly, "This may not be asked for in early data: ask again after the handshake."
	}
	if why.Reason == token.Unsure {
		no.status, no.text, no.retry = http.StatusServiceUnavailable, "Whether the token was used before cannot be told now: ask again.", time.Second
	}
	if why.Reason == token.TooMany {
		no.status, no.text, no.retry = http.StatusTooManyRequests, "Too many proofs of this key: ask again later.", max(why.Wait, time.Second)
	}
	if why.Answer != nil { // the token's own wish (catif)
		no.status = why.Answer.Status
		for name, values := range why.Answer.Header {
			x.w.Header()[name] = values
		}
	}
	return no
}

// renew hands out a new token: in a field of the response, which is then for this client alone, or by sending the client to
// the URL with it.
func (x *Exchange) renew(r *token.Renewal) *refusal {
	switch {
	case r == nil:
	case r.Status != 0:
		x.w.Header().Set(r.Field, r.Value)
		return &refusal{status: r.Status, text: "The token is renewed: follow the Location.", problem: true}
	default:
		x.renewal = r
	}
	return nil
}

// showRenewal puts a new token into the response. What says it may be shared says so no more: the token is this client's. A
// targeted field would go before Cache-Control at a cache on the way (RFC 9213, 2.2).
func (x *Exchange) showRenewal(h http.Header) {
	h.Add(x.renewal.Field, x.renewal.Value)
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") || name == "Surrogate-Control" {
			delete(h, name)
		}
	}
	control, said := "private", strings.Join(h["Cache-Control"], ",")
	if strings.Contains(said, `"`) {
		said = "" // of some fields alone
	}
	for directive := range strings.SplitSeq(said, ",") {
		directive = strings.TrimSpace(directive)
		switch name, _, _ := strings.Cut(strings.ToLower(directive), "="); name {
		case "", "public", "private", "s-maxage":
		default:
			control += ", " + directive
		}
	}
	h.Set("Cache-Control", control)
}

// redirect answers with the Location that is set already.
func (e *Edge) redirect(x *Exchange, to *refusal) {
	x.Outcome = Local
	e.text(x, to.status, to.text)
}

// portOf is the port that a Host field names; 0: none.
func portOf(host string) uint16 {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") {
		return 0
	}
	port, err := strconv.ParseUint(host[i+1:], 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// Locator finds the place of clients for tokens, in the databases of access rules; nil where there are none.
func Locator(geo *access.Geo) func(netip.Addr) token.Place {
	if geo == nil {
		return nil
	}
	return func(a netip.Addr) token.Place {
		p := geo.Find(a)
		return token.Place{Country: p.Country, System: p.System, Located: p.Located, Latitude: p.Latitude, Longitude: p.Longitude, Elevated: p.Elevated, Altitude: p.Altitude}
	}
}

// LoggedTarget is the request target for logs: where the site takes tokens it is canonical and free of them.
func (x *Exchange) LoggedTarget() string {
	switch {
	case x.site == nil || x.site.Tokens == nil || x.Peer:
		return x.Request.RequestURI
	case x.Target.Query == "":
		return x.Target.Path
	}
	return fmt.Sprintf("%s?%s", x.Target.Path, x.Target.Query)
}
