package configs

import (
	"slices"
	"strconv"
	"strings"
)

// tokenKinds are the kinds of tokens, as the package that verifies them has them.
func tokenKinds() []string {
	return []string{"cat", "uri-signing", "akamai", "cloudfront", "type-a", "type-b", "type-c", "type-f", "secure-link"}
}

// token finds what can be told without the keys.
func (v *validator) token(path string, t *Token) {
	const most = 4
	if len(t.Schemes) > most {
		v.bad(path+".schemes", t.Schemes, strconv.Itoa(len(t.Schemes))+" are more than "+strconv.Itoa(most), "make another site, or leave out what nobody uses")
	}
	for i := range t.Schemes {
		v.tokenScheme(itemPath(path+".schemes", i), &t.Schemes[i])
	}
	for key, patterns := range map[string][]string{".paths": t.Paths, ".exempt": t.Exempt} {
		for i, pattern := range patterns {
			if !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*") {
				v.bad(itemPath(path+key, i), pattern, strconv.Quote(pattern)+" fits no path", "begin it with / or *")
			}
		}
	}
	if t.Leeway < 0 {
		v.bad(path+".leeway", t.Leeway, "is negative", "write leeway: 5s")
	}
	if len(t.Schemes) == 0 && (len(t.Paths) > 0 || len(t.Exempt) > 0) {
		v.bad(path+".paths", t.Paths, "are never asked for a token: there are no schemes", "name one in token.schemes")
	}
}

func (v *validator) tokenScheme(path string, s *TokenScheme) {
	if !slices.Contains(tokenKinds(), s.Kind) {
		v.bad(path+".kind", s.Kind, strconv.Quote(s.Kind)+" is no kind of token", "write one of "+strings.Join(tokenKinds(), ", "))
		v.placeAt(path)
	}
	if s.KeysFile == "" {
		v.bad(path+".keys_file", s.KeysFile, "is missing", "name the file with the keys")
		v.placeAt(path)
	}
	if s.TTL < 0 {
		v.bad(path+".ttl", s.TTL, "is negative", "write ttl: 30m")
	}
	for key, name := range map[string]string{".header": s.Header, ".cookie": s.Cookie, ".query": s.Query, ".time_query": s.TimeQuery} {
		if name != "" && !tokenName(name) {
			v.bad(path+key, name, strconv.Quote(name)+" is no name", "write letters, digits, '-' and '_'")
		}
	}
}

// tokenName accepts what is a name in a header, a cookie and a query alike; such as __token__.
func tokenName(name string) bool { return plainName("a"+name+"a", 65) }
