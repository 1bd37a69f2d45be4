package token

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// secrets are keys of lines.
func secrets(t testing.TB, lines string) *Keys {
	t.Helper()
	keys, err := ParseKeys([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestSignedURLs: vectors that the vendors publish, and what is near them.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	ali, tencent := secrets(t, "old-secret-of-before\naliyuncdnexp1234"), secrets(t, "DvYmqE81E1F9R791H6lmht")
	link := secrets(t, "secret")
	for _, tt := range []struct {
		name   string
		scheme Scheme
		url    string
		at     int64
		path   string // what is left; with the query
		want   Reason
	}{
		{"A", Scheme{Kind: TypeA, Keys: ali}, "https://a/video/standard/1K.html?auth_key=1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f", 1444435199, "/video/standard/1K.html", ""},
		{"A at its end", Scheme{Kind: TypeA, Keys: ali}, "https://a/video/standard/1K.html?auth_key=1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f", 1444435200, "/video/standard/1K.html", Expired},
		{"A with a time to live", Scheme{Kind: TypeA, Keys: ali, TTL: time.Minute}, "https://a/video/standard/1K.html?auth_key=1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f&b=1", 1444435259, "/video/standard/1K.html?b=1", ""},
		{"A for another path", Scheme{Kind: TypeA, Keys: ali}, "https://a/video/standard/2K.html?auth_key=1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f", 1444435199, "/video/standard/2K.html", BadSignature},
		{"A for another user", Scheme{Kind: TypeA, Keys: ali}, "https://a/video/standard/1K.html?auth_key=1444435200-0-1-80cd3862d699b7118eed99103f2a3a4f", 1444435199, "/video/standard/1K.html", BadSignature},
		{"A cut short", Scheme{Kind: TypeA, Keys: ali}, "https://a/video/standard/1K.html?auth_key=1444435200-0-80cd3862d699b7118eed99103f2a3a4f", 1444435199, "/video/standard/1K.html", Malformed},
		{"A twice", Scheme{Kind: TypeA, Keys: ali}, "https://a/x?auth_key=1-0-0-80cd3862d699b7118eed99103f2a3a4f&auth_key=1-0-0-80cd3862d699b7118eed99103f2a3a4f", 0, "/x", Duplicate},
		{"B", Scheme{Kind: TypeB, Keys: ali, TTL: time.Hour}, "https://a/201508150800/9044548ef1527deadafa49a890a377f0/4/44/44c0909bcfc20a01afaf256ca99a8b8b.mp3", 1439596800, "/4/44/44c0909bcfc20a01afaf256ca99a8b8b.mp3", ""},
		{"B is over", Scheme{Kind: TypeB, Keys: ali, TTL: time.Hour}, "https://a/201508150800/9044548ef1527deadafa49a890a377f0/4/44/44c0909bcfc20a01afaf256ca99a8b8b.mp3", 1439596800 + 3600, "/4/44/44c0909bcfc20a01afaf256ca99a8b8b.mp3", Expired},
		{"B for another path", Scheme{Kind: TypeB, Keys: ali, TTL: time.Hour}, "https://a/201508150800/9044548ef1527deadafa49a890a377f0/4/44/x.mp3", 1439596800, "/4/44/x.mp3", BadSignature},
		{"B with a month that is none", Scheme{Kind: TypeB, Keys: ali}, "https://a/201513150800/9044548ef1527deadafa49a890a377f0/x", 0, "/x", Malformed},
		{"B without", Scheme{Kind: TypeB, Keys: ali}, "https://a/4/44/x.mp3", 1439596800, "/4/44/x.mp3", Missing},
		{"C in the path", Scheme{Kind: TypeC, Keys: tencent, TTL: time.Minute}, "https://a/6688749e8906a726c12fe1be3aacd016/6694d30a/foo.jpg", 0x6694d30a, "/foo.jpg", ""},
		{"C in capitals", Scheme{Kind: TypeC, Keys: tencent, TTL: time.Minute}, "https://a/6688749E8906A726C12FE1BE3AACD016/6694d30a/foo.jpg", 0x6694d30a, "/foo.jpg", ""},
		{"C in the query", Scheme{Kind: TypeC, Keys: tencent, TTL: time.Minute}, "https://a/foo.jpg?KEY1=6688749e8906a726c12fe1be3aacd016&KEY2=6694d30a", 0x6694d30a, "/foo.jpg", ""},
		{"C is over", Scheme{Kind: TypeC, Keys: tencent}, "https://a/foo.jpg?KEY1=6688749e8906a726c12fe1be3aacd016&KEY2=6694d30a", 0x6694d30a, "/foo.jpg", Expired},
		{"F", Scheme{Kind: TypeF, Keys: tencent, TTL: time.Minute}, "https://a/foo.jpg?sign=cadcec4a04e67b9c2abf4b61c642a0dd&time=1721029907", 1721029907, "/foo.jpg", ""},
		{"Tencent's D is F by another name", Scheme{Kind: TypeF, Keys: tencent, TTL: time.Minute, TimeQuery: "t"}, "https://a/foo.jpg?sign=cadcec4a04e67b9c2abf4b61c642a0dd&t=1721029907", 1721029907, "/foo.jpg", ""},
		{"F with another time", Scheme{Kind: TypeF, Keys: tencent, TTL: time.Minute}, "https://a/foo.jpg?sign=cadcec4a04e67b9c2abf4b61c642a0dd&time=1721029908", 1721029907, "/foo.jpg", BadSignature},
		{"F without a time", Scheme{Kind: TypeF, Keys: tencent, TTL: time.Minute}, "https://a/foo.jpg?sign=cadcec4a04e67b9c2abf4b61c642a0dd", 1721029907, "/foo.jpg", Malformed},
		{"secure_link", Scheme{Kind: SecureLink, Keys: link}, "https://a/s/link?md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147483647", 2147483646, "/s/link", ""},
		{"secure_link is over", Scheme{Kind: SecureLink, Keys: link}, "https://a/s/link?md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147483647", 2147483647, "/s/link", Expired},
		{"secure_link for another path", Scheme{Kind: SecureLink, Keys: link}, "https://a/s/lin?md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147483647", 2147483646, "/s/lin", BadSignature},
		{"secure_link without a time", Scheme{Kind: SecureLink, Keys: link}, "https://a/s/link?md5=_e4Nc3iduzkWRm01TBBNYw", 2147483646, "/s/link", Malformed},
	} {
		q := get(tt.url)
		q.Addr = netip.MustParseAddr("127.0.0.1")
		_, err := verifier(t, Options{Schemes: []Scheme{tt.scheme}}).Check(t.Context(), q, time.Unix(tt.at, 0))
		left := q.Path
		if q.Query != "" {
			left += "?" + q.Query
		}
		if reason(err) != tt.want || left != tt.path {
			t.Errorf("%s: got %v, %s; want %q, %s", tt.name, err, left, tt.want, tt.path)
		}
	}
}

// The key and the tokens of the examples of RFC 9246, appendix A, as its authors' generator prints them.
const (
	cdniKey = `{"keys": [{"kty": "EC", "kid": "P5UpOv0eMq1wcxLf7WxIg09JdSYGYFDOWkldueaImf0", "use": "sig", "crv": "P-256",
		"x": "be807S4O7dzB6I4hTiCUvmxCI6FuxWba1xYBlLSSsZ8", "y": "rOGC4vI69g-WF9AGEVI37sNNwbjIzBxSjLvIL7f3RBA",
		"d": "yaowezrCLTU6yIwUL5RQw67cHgvZeMTLVZXjUGb1A1M"}]}`
	cdniHead    = "eyJhbGciOiJFUzI1NiIsImtpZCI6IlA1VXBPdjBlTXExd2N4TGY3V3hJZzA5SmRTWUdZRkRPV2tsZHVlYUltZjAifQ."
	cdniSimple  = cdniHead + "eyJleHAiOjE2NDEwNzkyMjMsImlzcyI6InVDRE4gSW5jIiwiY2RuaXVjIjoiaGFzaDpzaGEtMjU2OzJ0ZGVyZldQYTg2S3U3WW56VzUxWVVwN2RHVWpCU18zU1czRUx4NGhtV1kifQ.P5It6q0kxNx5NBA76D-bYKIxlourey5JpU4diFLGHaVTk21QkEskjxoeneDoBj_1C5Ty1smBOovQMrGzuPmEHA"
	cdniChained = cdniHead + "eyJjZG5pZXRzIjozMCwiY2RuaXN0dCI6MSwiY2RuaXN0ZCI6MiwiZXhwIjoxNjQxMDc5MjIzLCJjZG5pdWMiOiJyZWdleDpodHRwOi8vY2RuaVxcLmV4YW1wbGUvZm9vL2Jhci9bMC05XXszfVxcLnRzIn0.qp4l3B36rRmIUBXzPWdK7p0_zlq7tvgt5oJSBSMOUEWtMsIZf3q0nXSnHPxsNdLcsTSNoFOAgq5y0EjQmvNQoA"
)

// TestURISigning: the examples of the RFC, and each claim by itself.
func TestURISigning(t *testing.T) {
	t.Parallel()
	keys := secrets(t, cdniKey)
	const at, end = 1641079000, 1641079223
	own := func(claims string) string {
		m, err := Mint(Scheme{Kind: URISigning, Keys: keys}, Order{Claims: []byte(claims)})
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	for _, tt := range []struct {
		name, token, url string
		in               string // "": the query
		at               int64
		want             Reason
	}{
		{name: "A.1", token: cdniSimple, url: "http://cdni.example/foo/bar"},
		{name: "A.1 for another URI", token: cdniSimple, url: "http://cdni.example/foo/baz", want: Claim},
		{name: "A.1 over https", token: cdniSimple, url: "https://cdni.example/foo/bar", want: Claim},
		{name: "A.1 at its end", token: cdniSimple, url: "http://cdni.example/foo/bar", at: end, want: Expired},
		{name: "A.3", token: cdniChained, url: "http://cdni.example/foo/bar/123.ts"},
		{name: "A.3 in the path", token: cdniChained, url: "http://cdni.example/foo/bar/123.ts", in: "path"},
		{name: "A.3 as a path parameter", token: cdniChained, url: "http://cdni.example/foo/bar/123.ts", in: ";"},
		{name: "A.3 in a cookie", token: cdniChained, url: "http://cdni.example/foo/bar/123.ts", in: "cookie"},
		{name: "A.3 for another URI", token: cdniChained, url: "http://cdni.example/foo/bar/1234.ts", want: Claim},
		{name: "A.3 for what only begins so", token: cdniChained, url: "http://cdni.example/foo/bar/123.ts?x", want: Claim},
		{name: "changed", token: strings.Replace(cdniSimple, "P5It6q", "P5It6r", 1), url: "http://cdni.example/foo/bar", want: BadSignature},
		{name: "alg none", token: "eyJhbGciOiJub25lIn0.e30.", url: "http://cdni.example/foo/bar", want: UnknownKey},
		{name: "two parts", token: "eyJhbGciOiJub25lIn0.e30", url: "http://cdni.example/foo/bar", want: Malformed},
		{name: "client", token: own(`{"cdniip": "192.0.2.0/24"}`), url: "http://a/x"},
		{name: "client in brackets", token: own(`{"cdniip": "[2001:db8::1/32]"}`), url: "http://a/x", want: Claim},
		{name: "an encrypted client", token: own(`{"cdniip": "a..b.c.d"}`), url: "http://a/x", want: Unsupported},
		{name: "version", token: own(`{"cdniv": 1}`), url: "http://a/x"},
		{name: "another version", token: own(`{"cdniv": 2}`), url: "http://a/x", want: Unsupported},
		{name: "critical", token: own(`{"cdnicrit": "cdniip,cdniuc"}`), url: "http://a/x"},
		{name: "unknown and critical", token: own(`{"x": 1, "cdnicrit": "cdniip,x"}`), url: "http://a/x", want: Unsupported},
		{name: "unknown", token: own(`{"x": 1}`), url: "http://a/x"},
		{name: "a container that is none", token: own(`{"cdniuc": "uri:http://a/x"}`), url: "http://a/x", want: Unsupported},
		{name: "a hash of another kind", token: own(`{"cdniuc": "hash:sha-1;AAAA"}`), url: "http://a/x", want: Unsupported},
		{name: "renewal without a time", token: own(`{"cdnistt": 1}`), url: "http://a/x", want: Malformed},
		{name: "a transport that is unknown", token: own(`{"cdnistt": 2, "cdniets": 30}`), url: "http://a/x", want: Unsupported},
		{name: "audience", token: own(`{"aud": "x"}`), url: "http://a/x", want: Claim},
		{name: "exp 0", token: own(`{"exp": 0}`), url: "http://a/x", want: Expired},
		{name: "exp as text", token: own(`{"exp": "1"}`), url: "http://a/x", want: Malformed},
	} {
		v := verifier(t, Options{Schemes: []Scheme{{Kind: URISigning, Keys: keys, Renew: true}}})
		scheme, rest, _ := strings.Cut(tt.url, "://")
		q := get("https://" + rest)
		q.Scheme = scheme
		path, query := q.Path, q.Query
		switch tt.in {
		case "":
			q.Query = strings.TrimPrefix(q.Query+"&URISigningPackage="+tt.token, "&")
		case "path":
			q.Path = "/URISigningPackage=" + tt.token + q.Path
		case ";":
			q.Path += ";URISigningPackage=" + tt.token
		case "cookie":
			q.Header.Set("Cookie", "URISigningPackage="+tt.token)
		}
		when := int64(at)
		if tt.at != 0 {
			when = tt.at
		}
		g, err := v.Check(t.Context(), q, time.Unix(when, 0))
		if reason(err) != tt.want || q.Path != path || q.Query != query || len(q.Header["Cookie"]) > 0 {
			t.Errorf("%s: got %v, %s?%s, want %q, %s?%s", tt.name, err, q.Path, q.Query, tt.want, path, query)
		}
		if err != nil || tt.token != cdniChained {
			continue
		}
		// The next of the chain holds for cdniets more, in a cookie for the first two segments.
		if g.Renewal == nil || g.Renewal.Field != "Set-Cookie" || !strings.Contains(g.Renewal.Value, "; Path=/foo/bar/; Max-Age=30; HttpOnly") {
			t.Errorf("%s: renewal %+v", tt.name, g.Renewal)
			continue
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(g.Renewal.Value, "URISigningPackage="), ";")
		if e, err := Explain(next); err != nil || e.Claims["exp"] != any(float64(at+30)) || e.Claims["cdnistd"] != any(float64(2)) {
			t.Errorf("%s: the next says %v, %v", tt.name, e.Claims, err)
		}
	}
	rs := NewKeys(&Key{ID: "r", Algorithm: "RS256", Public: &pairs().rsa.PublicKey, Private: pairs().rsa})
	ps := NewKeys(&Key{ID: "r", Algorithm: "PS256", Public: &pairs().rsa.PublicKey})
	m, err := Mint(Scheme{Kind: URISigning, Keys: rs}, Order{})
	if err != nil {
		t.Fatal(err)
	}
	for keys, want := range map[*Keys]Reason{rs: "", ps: UnknownKey} {
		if _, err := verifier(t, Options{Schemes: []Scheme{{Kind: URISigning, Keys: keys}}}).Check(t.Context(), get("https://a/x?URISigningPackage="+m.Token), now); reason(err) != want {
			t.Errorf("signed by RS256: got %v, want %q", err, want)
		}
	}
	if _, err := verifier(t, Options{Schemes: []Scheme{{Kind: URISigning, Keys: keys}}}).Check(t.Context(), get("https://a/URISigningPackage=x/URISigningPackage=y/z"), now); reason(err) != Duplicate {
		t.Errorf("twice in the path: got %v", err)
	}
}

// TestAkamai: both forms of token, and each field.
func TestAkamai(t *testing.T) {
	t.Parallel()
	keys := secrets(t, "aabbccddeeff00112233445566778899")
	s := Scheme{Kind: Akamai, Keys: keys}
	own := func(s Scheme, order Order) string {
		order.URL = *get("https://a/vod/a.m4s")
		m, err := Mint(s, order)
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	end := now.Add(time.Minute)
	for _, tt := range []struct {
		name, token, path string
		scheme            Scheme
		want              Reason
	}{
		{"acl", own(s, Order{End: end, Paths: []string{"/vod/*", "/live/?.m3u8"}}), "/vod/b.m4s", s, ""},
		{"second of the acl", own(s, Order{End: end, Paths: []string{"/vod/*", "/live/?.m3u8"}}), "/live/1.m3u8", s, ""},
		{"outside the acl", own(s, Order{End: end, Paths: []string{"/vod/*", "/live/?.m3u8"}}), "/live/12.m3u8", s, Claim},
		{"URL", own(s, Order{End: end}), "/vod/a.m4s", s, ""},
		{"another URL", own(s, Order{End: end}), "/vod/b.m4s", s, BadSignature},
		{"salt", own(Scheme{Kind: Akamai, Keys: keys, Salt: "x"}, Order{End: end}), "/vod/a.m4s", Scheme{Kind: Akamai, Keys: keys, Salt: "x"}, ""},
		{"another salt", own(Scheme{Kind: Akamai, Keys: keys, Salt: "x"}, Order{End: end}), "/vod/a.m4s", s, BadSignature},
		{"over", own(s, Order{End: now, Paths: []string{"*"}}), "/vod/a.m4s", s, Expired},
		{"not yet", own(s, Order{Begin: end, End: end.Add(time.Hour), Paths: []string{"*"}}), "/vod/a.m4s", s, NotYet},
		{"client", own(s, Order{End: end, Client: "192.0.2.7", Paths: []string{"*"}}), "/vod/a.m4s", s, ""},
		{"another client", own(s, Order{End: end, Client: "192.0.2.8", Paths: []string{"*"}}), "/vod/a.m4s", s, Claim},
		{"escaped", own(Scheme{Kind: Akamai, Keys: keys, Escape: true}, Order{End: end, Subject: "a~b"}), "/vod/a.m4s", Scheme{Kind: Akamai, Keys: keys, Escape: true}, ""},
		{"no hmac", "exp=1~acl=*", "/vod/a.m4s", s, Malformed},
		{"a field twice", "exp=1~exp=2~acl=*~hmac=" + strings.Repeat("00", 32), "/vod/a.m4s", s, Duplicate},
		{"acl= in what is not the acl", own(s, Order{End: end, Subject: "acl=*"}), "/vod/a.m4s", s, ""},
		{"changed", strings.Replace(own(s, Order{End: end, Paths: []string{"/vod/*"}}), "/vod/*", "/*", 1), "/vod/a.m4s", s, BadSignature},
	} {
		for range 2 {
			v := verifier(t, Options{Schemes: []Scheme{tt.scheme}})
			q := get("https://a" + tt.path + "?hdnts=" + tt.token)
			if _, err := v.Check(t.Context(), q, now); reason(err) != tt.want || q.Query != "" {
				t.Errorf("%s: got %v, %q; want %q", tt.name, err, q.Query, tt.want)
			}
			if _, err := v.Check(t.Context(), get("https://a/elsewhere?hdnts="+tt.token), now); err == nil && !strings.Contains(tt.token, "~acl=*") {
				t.Errorf("%s: it opens another path too", tt.name)
			}
		}
	}
}

// TestCloudFront: canned and custom policies, both hashes, both kinds of key.
func TestCloudFront(t *testing.T) {
	t.Parallel()
	p := pairs()
	keys := NewKeys(&Key{ID: "K1", Public: &p.rsa.PublicKey, Private: p.rsa}, &Key{ID: "K2", Public: &p.ec.PublicKey, Private: p.ec})
	s := Scheme{Kind: CloudFront, Keys: keys}
	end := now.Add(time.Minute)
	const url = "https://a/vod/a.m4s?b=1"
	for _, tt := range []struct {
		name  string
		order Order
		url   string // asked for; "": the one that was signed
		addr  string
		want  Reason
	}{
		{name: "canned", order: Order{End: end}},
		{name: "canned, SHA-256", order: Order{End: end, SHA256: true}},
		{name: "canned, ECDSA", order: Order{End: end, KeyID: "K2"}},
		{name: "canned, ECDSA, SHA-256", order: Order{End: end, KeyID: "K2", SHA256: true}},
		{name: "canned for another URL", order: Order{End: end}, url: "https://a/vod/a.m4s?b=2", want: BadSignature},
		{name: "canned is over", order: Order{End: now}, want: Expired},
		{name: "custom", order: Order{End: end, Paths: []string{"https://a/vod/*"}}, url: "https://a/vod/b.m4s"},
		{name: "custom for another path", order: Order{End: end, Paths: []string{"https://a/vod/*"}}, url: "https://a/live/b.m4s", want: Claim},
		{name: "custom for another host", order: Order{End: end, Paths: []string{"https://a/*"}}, url: "https://b/vod/b.m4s", want: Claim},
		{name: "custom for http and https", order: Order{End: end, Paths: []string{"http*://a/*"}}},
		{name: "custom is over", order: Order{End: now, Paths: []string{"*"}}, want: Expired},
		{name: "custom has not begun", order: Order{Begin: end, End: end.Add(time.Hour)}, want: NotYet},
		{name: "custom, client", order: Order{End: end, Client: "192.0.2.0/24"}},
		{name: "custom, another client", order: Order{End: end, Client: "192.0.2.8"}, want: Claim},
	} {
		tt.order.URL = *get(url)
		m, err := Mint(s, tt.order)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range []string{"query", "cookie"} {
			v := verifier(t, Options{Schemes: []Scheme{s}})
			for range 2 { // from memory
				target := url
				if tt.url != "" {
					target = tt.url
				}
				q := get(target)
				want := q.Query
				if in == "query" {
					_, token, _ := strings.Cut(m.URL, "?b=1&")
					q.Query = strings.TrimPrefix(q.Query+"&"+token, "&")
				} else {
					for name, value := range m.Cookies {
						q.Header.Add("Cookie", name+"="+value)
					}
				}
				if _, err := v.Check(t.Context(), q, now); reason(err) != tt.want || q.Query != want || q.Header["Cookie"] != nil {
					t.Errorf("%s in the %s: got %v, %q; want %q", tt.name, in, err, q.Query, tt.want)
				}
			}
		}
	}
	for _, bad := range []string{
		`{"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": 1}, "StringEquals": {"a": "b"}}}]}`,
		`{"Statement": [{"Resource": "*", "Condition": {}}]}`,
		`{"Statement": []}`,
		`{"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": 1}}}]} {}`,
	} {
		if p, err := readPolicy([]byte(bad)); err == nil {
			t.Errorf("%s: is read as %+v", bad, p)
		}
	}
}

// TestCannedPolicyOpensOneURL: what is remembered of a canned policy opens its URL alone, whatever is sent in the place of a policy.
func TestCannedPolicyOpensOneURL(t *testing.T) {
	t.Parallel()
	p := pairs()
	s := Scheme{Kind: CloudFront, Keys: NewKeys(&Key{ID: "K1", Public: &p.rsa.PublicKey, Private: p.rsa})}
	v := verifier(t, Options{Schemes: []Scheme{s}})
	m, err := Mint(s, Order{URL: *get("https://a/vod/a*.m4s"), End: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Check(t.Context(), get(m.URL), now); err != nil {
		t.Fatal(err)
	}
	expires := m.Cookies["CloudFront-Expires"]
	rest := "&Key-Pair-Id=K1&Signature=" + m.Cookies["CloudFront-Signature"]
	for _, target := range []string{
		"https://a/live/b.m4s?Policy=" + expires + "%20https://a/vod/a*.m4s" + rest,
		"https://a/vod/ab.m4s?Policy=" + expires + "%20https://a/vod/a*.m4s" + rest,
		"https://a/live/b.m4s?Expires=" + expires + rest,
	} {
		if g, err := v.Check(t.Context(), get(target), now); err == nil {
			t.Errorf("%s is opened: %+v", target, g)
		}
	}
}

// TestCanonicalPath: a token for one directory opens no other, however the path is written. What reaches a verifier is
// canonical: dot segments are refused before, and escapes are in one form.
func TestCanonicalPath(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}})
	text := mint(t, key, `{"catu": {"path": {"prefix": "/vod/a/"}}}`)
	for path, want := range map[string]Reason{"/vod/a/x": "", "/vod/A/x": Claim, "/vod/a": Claim, "/vod/ab/x": Claim, "//vod/a/x": Claim} {
		q := get("https://a/?CAT=" + text)
		q.Path = path
		if _, err := v.Check(t.Context(), q, now); reason(err) != want {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// TestMintedURLs: what is minted opens its URL, for every kind.
func TestMintedURLs(t *testing.T) {
	t.Parallel()
	p := pairs()
	hs, _, _ := testKeys()
	pair := NewKeys(&Key{ID: "K1", Public: &p.rsa.PublicKey, Private: p.rsa})
	for _, s := range []Scheme{
		{Kind: CAT, Keys: NewKeys(hs)},
		{Kind: TypeA, Keys: NewKeys(hs)},
		{Kind: TypeB, Keys: NewKeys(hs), TTL: 2 * time.Minute},
		{Kind: TypeC, Keys: NewKeys(hs)},
		{Kind: TypeF, Keys: NewKeys(hs)},
		{Kind: TypeF, Keys: NewKeys(hs), Hex: true},
		{Kind: Akamai, Keys: secrets(t, "00ff")},
		{Kind: CloudFront, Keys: pair},
		{Kind: URISigning, Keys: pair},
		{Kind: SecureLink, Keys: NewKeys(hs), Expression: "$expires$uri$host$secret"},
	} {
		m, err := Mint(s, Order{URL: *get("https://a/vod/a.m4s?b=1"), End: now.Add(time.Minute), Path: s.Kind == TypeC})
		if err != nil {
			t.Errorf("%s: %v", s.Kind, err)
			continue
		}
		v := verifier(t, Options{Schemes: []Scheme{s}})
		q := get(m.URL)
		if _, err := v.Check(t.Context(), q, now); err != nil || q.Path != "/vod/a.m4s" || q.Query != "b=1" {
			t.Errorf("%s: %s: %v, %s?%s", s.Kind, m.URL, err, q.Path, q.Query)
		}
		// The same verifier: what it remembers of a token for one path is for that path.
		q = get(strings.Replace(m.URL, "a.m4s", "b.m4s", 1))
		if _, err := v.Check(t.Context(), q, now); s.Kind != CAT && s.Kind != URISigning && reason(err) != BadSignature {
			t.Errorf("%s for another path: %v", s.Kind, err)
		}
		if _, err := v.Check(t.Context(), get(m.URL), now.Add(3*time.Minute)); reason(err) != Expired {
			t.Errorf("%s is over: %v", s.Kind, err)
		}
	}
}

// TestJSONOfClaims: what is read is printed the same.
func TestJSONOfClaims(t *testing.T) {
	t.Parallel()
	const claims = `{"aud":["a","b"],"catalpn":["h3"],"catgeocoord":[1.5,2,3],"cath":{"X-A":{"exact":"1"}},"catif":{"exp":[307,{"Location":["https://x?",{"sub":"y"}]},"k"]},` +
		`"catm":["GET"],"catdpop":{"jti":1,"window":60},"catnip":["10.0.0.0/8","2001:db8::1",64500],"catr":{"cookie-name":"c","expadd":60,"type":"cookie"},"catreplay":0,"catu":{"host":{"exact":"a"},"path":{"prefix":"/a","regex":["x(.)",null]}},` +
		`"catv":1,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"crit":["catm"],"cti":"00ff","exp":1700000000,"iss":"i","or":[{"catm":["GET"]},{"sub":"s"}],"65000":"private"}`
	set, err := ReadClaims([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	var want any
	_ = json.Unmarshal([]byte(claims), &want)
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(setToJSON(set))
	if string(a) != string(b) {
		t.Errorf("got\n%s, want\n%s", b, a)
	}
	for _, bad := range []string{`{"expp": 1}`, `{"catu": {"hosts": {}}}`, `{"catr": {"type": "mail"}}`, `{"catnip": ["x"]}`, `[]`, `{} {}`, `{"cti": "x"}`, `{"exp": "tomorrow"}`} {
		if _, err := ReadClaims([]byte(bad)); err == nil {
			t.Errorf("%s: is read", bad)
		}
	}
}
