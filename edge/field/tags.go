package field

import (
	"net/http"
	"strings"
)

// The fields in which origins name what a response belongs to.
const (
	surrogateKey = "Surrogate-Key"
	cacheTag     = "Cache-Tag"
	edgeCacheTag = "Edge-Cache-Tag"
)

// TagFields lists the fields that are between an origin and its caches: clients have no use for them.
func TagFields() [3]string { return [...]string{surrogateKey, cacheTag, edgeCacheTag} }

// Tags returns the tags of a response: the words of Surrogate-Key, separated by spaces, and those of Cache-Tag and
// Edge-Cache-Tag, separated by commas. They are compared as they are, case included. nil for none.
func Tags(h http.Header) []string {
	var tags []string
	for _, line := range h[surrogateKey] {
		tags = append(tags, strings.Fields(line)...)
	}
	for _, name := range [...]string{cacheTag, edgeCacheTag} {
		for _, line := range h[name] {
			for tag := range strings.SplitSeq(line, ",") {
				if tag = strings.Trim(tag, " \t"); tag != "" {
					tags = append(tags, tag)
				}
			}
		}
	}
	return tags
}

// Groups returns the groups that Cache-Groups or Cache-Group-Invalidation lists (RFC 9875): a List of Strings, over all
// lines of the field. Parameters are passed over. ok is false for what is no such List: the whole field is void then
// (RFC 9651, 4.2). nil, true for none.
func Groups(lines []string) (groups []string, ok bool) {
	p := listScanner{s: strings.Trim(strings.Join(lines, ","), " ")}
	if p.s == "" {
		return nil, true
	}
	for {
		from := p.i
		if p.peek() != '"' || !p.quoted() {
			return nil, false
		}
		groups = append(groups, unquote(p.s[from:p.i]))
		if !p.parameters() {
			return nil, false
		}
		p.skip(" \t")
		if p.i == len(p.s) {
			return groups, true
		}
		if !p.take(',') {
			return nil, false
		}
		p.skip(" \t")
	}
}

// unquote returns what a well-formed String means.
func unquote(quoted string) string {
	text := quoted[1 : len(quoted)-1]
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++ // what is escaped follows, always
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
