package field

import (
	"net/http"
	"net/textproto"
	"strings"
)

// hopByHop are the fields that concern one connection only: those of RFC 9110,
// 7.6.1, and the proxy fields that a cache may not keep (RFC 9111, 3.1).
var hopByHop = [...]string{ //nolint:gochecknoglobals // a table, never written
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info",
	"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// RemoveHopByHop removes from h the hop-by-hop fields and those that Connection
// names, so that what is left may be stored or sent on (RFC 9110, 7.6.1).
//
// A Connection option that names a field meant for all recipients is wrong and has
// no effect: it would let a stranger take away the field that makes a response
// private, or the one that tells two responses apart.
func RemoveHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			option = textproto.CanonicalMIMEHeaderKey(strings.Trim(option, " \t"))
			if !endToEnd(option) {
				delete(h, option)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// endToEnd reports whether a field is never an option of one connection.
func endToEnd(name string) bool {
	switch name {
	case "Age", "Authorization", "Cache-Control", "Cdn-Cache-Control", "Cdn-Loop", "Content-Encoding", "Content-Length",
		"Content-Location", "Content-Range", "Content-Type", "Date", "Etag", "Expires", "Host", "Last-Modified",
		"Location", "Pragma", "Range", "Set-Cookie", "Vary", "Via":
		return true
	}
	return false
}

// forwarded are the fields in which hops before ours say who asked and for what.
// An origin that believes them while they are no part of the cache key can be made
// to poison the cache.
var forwarded = [...]string{ //nolint:gochecknoglobals // a table, never written
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto",
	"X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Host", "X-Http-Host-Override",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host", "X-Original-Url", "X-Real-Ip",
	"X-Rewrite-Url", "X-Url-Scheme", "Front-End-Https", "X-Forwarded", "Forwarded-For", "X-Original-Uri", "X-Rewrite-Uri",
	"X-Override-Url", "X-Envoy-Original-Path", "X-Real-Host", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Client-Ip",
}

// RemoveForwarded removes from a request's h every field in which the client could
// pass itself off as another host, scheme, path, method or address, all
// X-Forwarded- fields among them, and every field with an underscore in its name: to
// programs behind CGI, X_Host and X-Host are one.
func RemoveForwarded(h http.Header) {
	for _, name := range forwarded {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") || strings.IndexByte(name, '_') >= 0 {
			delete(h, name)
		}
	}
}

// Via returns a Via member for a message received by HTTP of the given version
// (RFC 9110, 7.6.3): "1.1 name", "2 name", "3 name". A name that is not a token has
// its other bytes replaced by "-".
func Via(major, minor int, name string) string {
	version := "1.1"
	switch {
	case major == 1 && minor == 0:
		version = "1.0"
	case major == 2:
		version = "2"
	case major == 3:
		version = "3"
	}
	return version + " " + pseudonym(name)
}

// AddVia puts our Via member behind those that h already holds, on one line.
func AddVia(h http.Header, major, minor int, name string) {
	member := Via(major, minor, name)
	if lines := h["Via"]; len(lines) > 0 {
		member = strings.Join(lines, ", ") + ", " + member
	}
	h["Via"] = []string{member}
}

// pseudonym makes a token (RFC 9110, 5.6.2) of name.
func pseudonym(name string) string {
	if name == "" {
		return "-"
	}
	for i := range len(name) {
		if !isTchar(name[i]) {
			return string(replaceOthers(name))
		}
	}
	return name
}

func replaceOthers(name string) []byte {
	token := []byte(name)
	for i, c := range token {
		if !isTchar(c) {
			token[i] = '-'
		}
	}
	return token
}
