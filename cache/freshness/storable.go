package freshness

import (
	"net/http"
	"strings"
)

// Storable tells whether a shared cache may store the response to a request. RFC 9111, 3. reason is a short token that
// says why not: method, status, no-store, private, authorization, vary, set-cookie, client-error, must-understand,
// no-lifetime.
func Storable(method string, request http.Header, r Response) (ok bool, reason string) {
	d, targeted := r.control()
	shared := d.Public || d.SMaxAge.Set || targeted // the origin speaks to shared caches
	switch {
	case method != http.MethodGet:
		return false, "method"
	case !final(r.Status) || r.Status == http.StatusPartialContent || r.Status == http.StatusNotModified:
		// A 206 is a part and a 304 no response of its own: neither may be stored by who keeps whole responses.
		return false, "status"
	case d.MustUnderstand && !understood(r.Status):
		// RFC 9111, 5.2.2.3.
		return false, "must-understand"
	case d.NoStore && !d.MustUnderstand:
		// RFC 9111, 5.2.2.3: a cache that understands the status code ignores no-store beside must-understand.
		return false, "no-store"
	case ParseCacheControl(request["Cache-Control"]).NoStore:
		// RFC 9111, 5.2.1.5.
		return false, "no-store"
	case d.Private:
		return false, "private"
	case len(request["Authorization"]) > 0 && !d.Public && !d.MustRevalidate && !d.SMaxAge.Set:
		// RFC 9111, 3.5.
		return false, "authorization"
	case variesOnAll(r.Header["Vary"]):
		// RFC 9111, 4.1: such a response never matches a later request.
		return false, "vary"
	case len(r.Header["Set-Cookie"]) > 0 && !shared:
		// RFC 9111, 7.3 lets a cache store it. A cookie handed to every viewer is a session leaked to all of them, so
		// only an origin that names shared caches (public, s-maxage, a targeted field) gets that.
		return false, "set-cookie"
	case blamesRequest(r.Status) && !shared:
		return false, "client-error"
	case !explicit(d, r.expires(targeted)) && !heuristic(r.Status):
		return false, "no-lifetime"
	}
	return true, ""
}

// final tells whether a status code ends a response. RFC 9110, 15.
func final(status int) bool { return status >= 200 && status <= 599 }

// explicit tells whether the response names its own lifetime or calls itself public. RFC 9111, 3, last item.
func explicit(d Directives, expires []string) bool {
	return d.Public || d.MaxAge.Set || d.SMaxAge.Set || len(expires) > 0
}

// heuristic tells whether a status code is heuristically cacheable. RFC 9110, 15.1; 206 is left out here.
func heuristic(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}

// blamesRequest tells whether a status code may be due to request fields that no key holds: one client that sends a
// broken or a huge field would take the resource from all others (cache-poisoned denial of service). RFC 9111, 3 lets a
// cache store such an error with an explicit lifetime. We do only where the origin names shared caches, for many add
// max-age to whatever they send. 404, 405, 410, 414 and 451 are about the target and the method, which the key holds.
func blamesRequest(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotAcceptable,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusLengthRequired, http.StatusPreconditionFailed,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusRequestedRangeNotSatisfiable,
		http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity, http.StatusTooEarly,
		http.StatusUpgradeRequired, http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

// understood tells whether we know a status code's caching requirements: all that RFC 9110 defines with none of its own.
func understood(status int) bool {
	if heuristic(status) {
		return true
	}
	switch status {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotAcceptable,
		http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func variesOnAll(lines []string) bool {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if strings.Trim(name, " \t") == "*" {
				return true
			}
		}
	}
	return false
}
