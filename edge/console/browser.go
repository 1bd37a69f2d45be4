package console

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// fromAnotherSite tells whether a page of another origin sent the request, as its browser says (Fetch standard, 3.1, and
// Fetch Metadata, 2.3). The token is nothing that a browser would add by itself; that no page but ours may ask at all holds
// even where it was given away.
func fromAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// rebound tells whether a request that came over loopback is for a name that nobody on this machine would use: the mark of
// a page whose name was made to stand for this machine after it was loaded.
func rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return false
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
