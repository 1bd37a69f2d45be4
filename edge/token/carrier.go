package token

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// Carriers say where tokens of a scheme stand. A name that is empty: not there.
type Carriers struct {
	Header string // a request field in canonical form; of Authorization what follows "Bearer" or "DPoP"
	Cookie string
	Query  string // a parameter
	Path   bool   // in the path, where the kind has such a form
}

// carrier is where one token stood.
type carrier uint8

const (
	inHeader carrier = iota
	inQuery
	inPath
	inCookie
)

// candidate is a token as found: its text, and for kinds of several parts those.
type candidate struct {
	text  string
	parts [5]string
	at    carrier
}

// candidates are the tokens of one scheme that a request carries, the one to try first in front: what the client says
// in a field before what the URL says before what was given to it as a cookie.
type candidates struct {
	list [3]candidate
	n    int
	long bool // one was too long to be looked at
}

func (c *candidates) add(t candidate) {
	switch {
	case t.text == "" || c.n == len(c.list):
	case len(t.text) > maxTokenBytes:
		c.long = true
	default:
		c.list[c.n] = t
		c.n++
	}
}

// maxTokenBytes bounds the work for one token. A URL has 8 KiB at most; a token with many claims about 1 KiB.
const maxTokenBytes = 4 << 10

// takeField takes the token off the request's fields.
func (q *Request) takeField(name string) (string, *Error) {
	values := q.Header[name]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", wrong(Duplicate, "the field %s stands there %d times", name, len(values))
	}
	value := values[0]
	if name == "Authorization" {
		scheme, text, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "DPoP") { // RFC 9449, 7.1
			return "", nil // credentials of another kind, for the origin
		}
		value = text
	}
	delete(q.Header, name)
	return textproto.TrimString(value), nil
}

// takeParameters takes parameters off the query and puts their values, as they are, beside their names.
//
// Hot path: no allocation where what is left is one piece of the query.
func (q *Request) takeParameters(names, values []string) *Error {
	query := q.Query
	from, to, pieces := 0, 0, 0 // what is kept, where it is one piece
	var kept strings.Builder
	var twice *Error
	for at := 0; at < len(query); {
		end := strings.IndexByte(query[at:], '&')
		if end < 0 {
			end = len(query)
		} else {
			end += at
		}
		name, value, _ := strings.Cut(query[at:end], "=")
		if i := parameter(name, names); i >= 0 {
			if values[i] != "" {
				twice = wrong(Duplicate, "the parameter %s stands there twice", names[i])
			}
			values[i] = value
		} else {
			switch {
			case pieces == 0:
				from, to, pieces = at, end, 1
			case pieces == 1 && to+1 == at:
				to = end
			default:
				if pieces == 1 {
					kept.WriteString(query[from:to])
				}
				kept.WriteByte('&')
				kept.WriteString(query[at:end])
				pieces = 2
			}
		}
		at = end + 1
	}
	if pieces == 2 {
		q.Query = kept.String()
	} else {
		q.Query = query[from:to]
	}
	return twice
}

// parameter is the index of a parameter's name, written in whatever way, among names; -1: it is none of them.
func parameter(name string, names []string) int {
	if name == "" {
		return -1
	}
	name = unescape(name)
	for i := range names {
		if names[i] == name {
			return i
		}
	}
	return -1
}

// unescape decodes percent-encoding; what cannot be decoded stays.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// takeCookies takes cookies off the request and puts their values beside their names. Of two with one name the first
// counts: clients send the one with the longer path first (RFC 6265, 5.4), and both are theirs to send.
func (q *Request) takeCookies(names, values []string) {
	fields := q.Header["Cookie"]
	if len(fields) == 0 {
		return
	}
	var kept []string
	taken := false
	for _, field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			pair = textproto.TrimString(pair)
			name, value, _ := strings.Cut(pair, "=")
			found := false
			for i := range names {
				if names[i] != "" && names[i] == name {
					found, taken = true, true
					if values[i] == "" {
						values[i] = strings.Trim(value, `"`)
					}
				}
			}
			if !found && pair != "" {
				kept = append(kept, pair)
			}
		}
	}
	if !taken {
		return
	}
	if len(kept) == 0 {
		delete(q.Header, "Cookie")
		return
	}
	q.Header["Cookie"] = []string{strings.Join(kept, "; ")}
}

// find takes a token that is one text off all its carriers.
func (c Carriers) find(q *Request, found *candidates) *Error {
	var failed *Error
	if c.Header != "" {
		text, err := q.takeField(c.Header)
		found.add(candidate{text: text, at: inHeader})
		failed = err
	}
	if c.Query != "" {
		names, values := [1]string{c.Query}, [1]string{}
		if err := q.takeParameters(names[:], values[:]); err != nil {
			failed = err
		}
		if !strings.Contains(values[0], "~hmac=") { // EdgeAuth signs its own escapes
			values[0] = unescape(values[0])
		}
		found.add(candidate{text: values[0], at: inQuery})
	}
	if c.Path && c.Query != "" {
		found.add(candidate{text: q.takeSegment(c.Query), at: inPath})
		if q.takeSegment(c.Query) != "" {
			failed = wrong(Duplicate, "the path names %s twice", c.Query)
		}
	}
	if c.Cookie != "" {
		names, values := [1]string{c.Cookie}, [1]string{}
		q.takeCookies(names[:], values[:])
		found.add(candidate{text: values[0], at: inCookie})
	}
	return failed
}

// takeSegment takes a path segment, or a path parameter at the end of one, of the form NAME=VALUE off the path.
func (q *Request) takeSegment(name string) string {
	path := q.Path
	for at := 0; at < len(path); {
		i := strings.Index(path[at:], name)
		if i < 0 {
			return ""
		}
		i += at
		at = i + len(name)
		if i == 0 || path[i-1] != '/' && path[i-1] != ';' || at >= len(path) || path[at] != '=' {
			continue
		}
		end := len(path)
		if n := strings.IndexAny(path[at:], "/;"); n >= 0 {
			end = at + n
		}
		value := path[at+1 : end]
		before, after := path[:i-1], path[end:]
		if after == "" && path[i-1] == '/' { // it was the last segment: what is left ends as the signer wrote it
			q.Path = before
		} else {
			q.Path = before + after
		}
		if q.Path == "" {
			q.Path = "/"
		}
		return value
	}
	return ""
}

// cookie is the value of Set-Cookie for a token; params are attributes such as "Secure" and "Path=/".
func cookie(name, value string, params []string) string {
	all := append([]string{name + "=" + value}, params...)
	return strings.Join(all, "; ")
}

// fieldName tells whether a token may name a response field to set: no framing, no field of the cache.
func fieldName(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Trailer", "Te", "Keep-Alive", "Content-Encoding", "Content-Range", "Content-Type", "Age", "Date", "Etag", "Vary", "Via":
		return false
	}
	for i := range len(name) {
		if c := name[i]; !(c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return len(name) <= 64
}

// fieldValue tells whether a token may have a response field hold it.
func fieldValue(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] >= 0x7f {
			return false
		}
	}
	return len(v) <= maxTokenBytes
}
