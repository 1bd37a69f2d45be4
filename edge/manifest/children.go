package manifest

import (
	"bytes"
	"slices"
	"strings"
)

// Query returns a Child that gives URLs of these hosts, and those without a host, the query parameter name=value, in place of
// any that has that name. Both must be escaped as a query wants it. DASH templates get their $ doubled by the Rewrite.
func Query(name, value string, hosts ...string) Child {
	parameter := name + "=" + value
	hosts = slices.Clone(hosts)
	return func(dst, url []byte, _ Resource) []byte {
		if !concerns(url, hosts) {
			return append(dst, url...)
		}
		url, fragment := cutFragment(url)
		before, query, found := bytes.Cut(url, []byte("?"))
		dst = append(append(dst, before...), '?')
		for found && len(query) > 0 {
			var one []byte
			one, query, _ = bytes.Cut(query, []byte("&"))
			if key, _, _ := bytes.Cut(one, []byte("=")); string(key) != name && len(one) > 0 {
				dst = append(append(dst, one...), '&')
			}
		}
		return append(append(dst, parameter...), fragment...)
	}
}

// Path returns a Child that puts prefix, such as /TOKEN, in front of the path of URLs of these hosts, and of those that are
// a path alone. Relative URLs stay: they are resolved against the manifest's own, which has the prefix.
func Path(prefix string, hosts ...string) Child {
	hosts = slices.Clone(hosts)
	return func(dst, url []byte, _ Resource) []byte {
		if !concerns(url, hosts) {
			return append(dst, url...)
		}
		path := url
		if _, rest, ok := cutAuthority(url); ok {
			path = rest
		} else if len(url) == 0 || url[0] != '/' {
			return append(dst, url...)
		}
		if bytes.HasPrefix(path, []byte(prefix+"/")) {
			return append(dst, url...)
		}
		dst = append(dst, url[:len(url)-len(path)]...)
		return append(append(dst, prefix...), path...)
	}
}

// Both returns a Child that does first, then second; either may be nil.
func Both(first, second Child) Child {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(dst, url []byte, to Resource) []byte { return second(dst, first(nil, url, to), to) }
}

// maxValueBytes is how much of a variable is looked at: its host stands in front.
const maxValueBytes = 512

// knowing is a Child that knows the playlist's variables (RFC 8216bis, 4.3): a URL that begins with one leads where that says.
// What the variable is cannot be seen in the URL, which stays as it is but for what the Child adds. Values that are imported
// or from a query are not known: they count as paths.
func knowing(child Child, playlist []byte) Child {
	values := map[string][]byte{}
	for off := 0; off < len(playlist); {
		next, content := endOfLine(playlist, off)
		if list, ok := bytes.CutPrefix(content, []byte(tagDefine)); ok {
			if name, value := lookup(list, "NAME"), lookup(list, "VALUE"); name != nil && value != nil {
				values[string(name)] = value[:min(len(value), maxValueBytes)]
			}
		}
		off = next
	}
	return func(dst, url []byte, to Resource) []byte {
		if inside, ok := bytes.CutPrefix(url, []byte("{$")); ok {
			name, rest, _ := bytes.Cut(inside, []byte("}"))
			if value := values[string(name)]; value != nil {
				if whole := slices.Concat(value, rest); bytes.Equal(child(nil, whole, to), whole) {
					return append(dst, url...) // it leads elsewhere
				}
			}
		}
		return child(dst, url, to)
	}
}

// concerns tells whether a URL is one of ours: http or https on one of the hosts, or without a host.
func concerns(url []byte, hosts []string) bool {
	if authority, _, ok := cutAuthority(url); ok {
		host := string(authority)
		return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) })
	}
	// What browsers skip, and take for a slash (WHATWG URL, 4.4), hides a host.
	return len(url) > 0 && url[0] != ' ' && !hasScheme(url) && !bytes.ContainsAny(url, "\\\t\r\n")
}

// cutAuthority finds the authority of an http or https URL, or of one without a scheme ("//host/path").
func cutAuthority(url []byte) (authority, rest []byte, ok bool) {
	_, found := bytes.CutPrefix(url, []byte("//"))
	after := url[min(2, len(url)):]
	if !found {
		scheme, behind, slashes := bytes.Cut(url, []byte("://"))
		if !slashes || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
			return nil, nil, false
		}
		after = behind
	}
	if end := bytes.IndexAny(after, "/?#"); end >= 0 {
		return after[:end], after[end:], true
	}
	return after, nil, true
}

// hasScheme tells whether a URL begins with one (RFC 3986, 3.1).
func hasScheme(url []byte) bool {
	for i, c := range url {
		switch {
		case c == ':':
			return i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return false
}

func cutFragment(url []byte) (before, fragment []byte) {
	if i := bytes.IndexByte(url, '#'); i >= 0 {
		return url[:i], url[i:]
	}
	return url, nil
}
