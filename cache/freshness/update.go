package freshness

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Conditional returns the fields that turn a request into a validation of the stored response. RFC 9111, 4.3.1.
// It is nil if the stored response has no validator.
func Conditional(stored http.Header) http.Header {
	h := http.Header{}
	if etag := stored["Etag"]; len(etag) > 0 && etag[0] != "" {
		h["If-None-Match"] = etag[:1:1]
	}
	if modified := stored["Last-Modified"]; len(modified) > 0 && modified[0] != "" {
		h["If-Modified-Since"] = modified[:1:1]
	}
	if len(h) == 0 {
		return nil
	}
	return h
}

// Renews tells whether a 304 with the header fresh, the answer to Conditional(stored), is about the stored response (RFC
// 9111, 4.3.4). Where the stored one has an entity tag the 304 says that it matched, and we depart from the letter by
// taking that for enough: servers that compress answer with the tag of the plain bytes, or with none. Without one a date
// has to match, and a tag names other bytes than those that are stored.
func Renews(stored, fresh http.Header) bool {
	if first(stored, "Etag") != "" {
		return true
	}
	was, is := first(stored, "Last-Modified"), first(fresh, "Last-Modified")
	return first(fresh, "Etag") == "" && (is == "" || was == is)
}

func first(h http.Header, name string) string {
	if lines := h[name]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// Update returns the header of a stored response after a 304 with the header fresh. RFC 9111, 3.2: each field of the
// 304 replaces the stored one, except those that may not be stored and those that describe the stored bytes. Neither
// argument is changed; values are shared with them.
func Update(stored, fresh http.Header) http.Header {
	h := make(http.Header, len(stored)+len(fresh))
	for name, values := range stored {
		h[name] = slices.Clip(values)
	}
	// Both tell the age of the message that carried them. The 304 was generated just now, so where it is silent the
	// stored ones would make the response older than it is; without Date, the time of receipt counts.
	delete(h, "Age")
	delete(h, "Date")
	named := connectionNames(fresh)
	for name, values := range fresh {
		if !keptOnUpdate(name) && !slices.Contains(named, name) {
			h[name] = slices.Clip(values)
		}
	}
	return h
}

// keptOnUpdate tells whether a 304 leaves the stored field alone.
func keptOnUpdate(name string) bool {
	switch name {
	case "Content-Length",
		// RFC 9111, 3.2, fields that the stored bytes depend on: a coding or range that does not describe them would
		// make the body unreadable. Content-Type does not change how bytes are stored, so it is taken over.
		"Content-Encoding", "Content-Range", "Content-Md5",
		// RFC 9111, 4.3.4: a strong validator names the bytes it was stored with. A 304 that answers our If-None-Match
		// confirms those bytes; another validator in it, even if it were right, would let a later range or condition
		// match bytes that we do not have.
		"Etag",
		// RFC 9111, 3.1: not stored, so not updated.
		"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade", "Trailer",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization":
		return true
	}
	return false
}

// connectionNames returns the canonical names that Connection lists.
func connectionNames(h http.Header) []string {
	var names []string
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t")))
		}
	}
	return names
}
