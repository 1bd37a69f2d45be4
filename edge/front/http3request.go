package front

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// pseudoHeader are the pseudo-header fields of a request (RFC 9114, 4.3.1).
type pseudoHeader struct {
	method, scheme, authority, path string
	has                             uint8 // a bit for each that is there
}

const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
)

// set notes one of them. It is false for an unknown one, or one that is there.
func (p *pseudoHeader) set(name, value string) bool {
	var bit uint8
	switch name {
	case ":method":
		bit, p.method = hasMethod, value
	case ":scheme":
		bit, p.scheme = hasScheme, value
	case ":authority":
		bit, p.authority = hasAuthority, value
	case ":path":
		bit, p.path = hasPath, value
	}
	first := bit != 0 && p.has&bit == 0
	p.has |= bit
	return first
}

// request makes a request of HTTP/2 or HTTP/3 of a decoded field section. Its error is errMalformed, for what
// RFC 9113, 8.1.1 and RFC 9114, 4.1.2 call so. Hot path: one string for all names and values, one slice.
func (s *fieldSection) request(major int) (*http.Request, error) {
	var pseudo pseudoHeader
	header, err := s.header(&pseudo)
	if err != nil {
		return nil, err
	}
	length, err := contentLength(header)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: pseudo.method, Proto: "HTTP/3.0", ProtoMajor: major, Header: header, ContentLength: length, RequestURI: pseudo.path,
	}
	if major == 2 {
		r.Proto = "HTTP/2.0"
	}
	if r.Host, err = pseudo.host(header); err != nil {
		return nil, err
	}
	if r.URL, err = pseudo.url(r.Host); err != nil {
		return nil, err
	}
	if r.Method == http.MethodConnect {
		r.RequestURI = r.Host
	}
	if cookies := header["Cookie"]; len(cookies) > 1 { // RFC 9114, 4.2.1
		header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	if announced, ok := header["Trailer"]; ok {
		r.Trailer = announcedTrailers(announced)
		delete(header, "Trailer")
	}
	return r, nil
}

// header returns the lines as a header, and puts those of pseudo-headers into pseudo; nil
// if there must be none.
func (s *fieldSection) header(pseudo *pseudoHeader) (http.Header, error) {
	for _, l := range s.lines {
		if l.entry < 0 && !canonicalize(s.text[l.begin:l.name]) {
			return nil, errMalformed
		}
	}
	text := string(s.text)
	header := make(http.Header, len(s.lines))
	values := make([]string, len(s.lines))
	for _, l := range s.lines {
		name, value := text[l.begin:l.name], text[l.name:l.tail]
		if l.entry >= 0 {
			name = staticNames[l.entry]
		}
		if l.whole {
			value = staticTable[l.entry].value
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, errMalformed
		}
		if name[0] == ':' {
			// RFC 9114, 4.3: before all others, and none in trailers.
			if pseudo == nil || len(header) > 0 || !pseudo.set(name, value) {
				return nil, errMalformed
			}
			continue
		}
		if name == "Te" && value != "trailers" || forConnection(name) {
			return nil, errMalformed // RFC 9114, 4.2
		}
		if had, ok := header[name]; ok {
			header[name] = append(had, value)
			continue
		}
		values[0] = value
		header[name], values = values[:1:1], values[1:]
	}
	return header, nil
}

// canonicalize gives a name the form that http.Header has. It is false for one that is not
// of lower case, or no name at all (RFC 9114, 4.2 and 10.3).
func canonicalize(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	if name[0] == ':' {
		return true // there are few, and set knows them
	}
	first := true
	for i, c := range name {
		if 'A' <= c && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
		if first && 'a' <= c && c <= 'z' {
			name[i] = c - 'a' + 'A'
		}
		first = c == '-'
	}
	return true
}

// forConnection tells whether a field says something of a connection of HTTP/1.1.
func forConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// contentLength returns the length that a header announces, -1 without one. A length
// that is repeated counts once.
func contentLength(header http.Header) (int64, error) {
	values, ok := header["Content-Length"]
	if !ok {
		return -1, nil
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return 0, errMalformed
		}
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || values[0][0] == '+' {
		return 0, errMalformed
	}
	header["Content-Length"] = values[:1]
	return int64(n), nil
}

// host returns the host that the request is for, and takes Host out of the header.
func (p *pseudoHeader) host(header http.Header) (string, error) {
	hosts := header["Host"]
	delete(header, "Host")
	connect := p.method == http.MethodConnect
	switch {
	case len(hosts) > 1:
		return "", errMalformed
	case len(hosts) == 1 && p.has&hasAuthority == 0 && !connect:
		p.authority = hosts[0]
	case len(hosts) == 1 && !strings.EqualFold(hosts[0], p.authority):
		return "", errMalformed
	}
	// RFC 9114, 4.3.1: without user information, and not empty.
	if p.authority == "" || strings.Contains(p.authority, "@") {
		return "", errMalformed
	}
	return p.authority, nil
}

// url returns the target of the request, and checks what has to be there.
func (p *pseudoHeader) url(host string) (*url.URL, error) {
	if !httpguts.ValidHeaderFieldName(p.method) { // a method is a token, too
		return nil, errMalformed
	}
	if p.method == http.MethodConnect { // RFC 9114, 4.4
		if p.has&(hasScheme|hasPath) != 0 {
			return nil, errMalformed
		}
		return &url.URL{Host: host}, nil
	}
	if p.scheme == "" || !strings.HasPrefix(p.path, "/") && (p.path != "*" || p.method != http.MethodOptions) {
		return nil, errMalformed
	}
	u, err := url.ParseRequestURI(p.path)
	if err != nil {
		return nil, errMalformed
	}
	return u, nil
}

// announcedTrailers returns the keys that Trailer fields announce, without values.
func announcedTrailers(fields []string) http.Header {
	announced := http.Header{}
	for _, field := range fields {
		for name := range strings.SplitSeq(field, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
				announced[name] = nil
			}
		}
	}
	return announced
}

// trailer returns a trailer section as a header.
func (s *fieldSection) trailer() (http.Header, error) {
	header, err := s.header(nil)
	for name := range header {
		if !httpguts.ValidTrailerHeader(name) {
			return nil, errMalformed
		}
	}
	return header, err
}
