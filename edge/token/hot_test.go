package token

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const fullClaims = `{"iss": "me", "sub": "viewer", "aud": ["edge"], "exp": 1700000100, "nbf": 1690000000, "cti": "0102030405060708", "catv": 1,
	"catu": {"scheme": {"exact": "https"}, "host": {"exact": "a.example"}, "path": {"prefix": "/vod/"}, "extension": {"exact": ".m4s"}}, "catm": ["GET", "HEAD"],
	"catalpn": ["h3", "h2"], "catnip": ["192.0.2.0/24"], "catr": {"type": "cookie", "expadd": 600, "deadline": 10}}`

// hotRequests are requests with tokens that are verified for each segment, by kind.
func hotRequests(t testing.TB) map[string]func() (*Verifier, *Request) {
	t.Helper()
	hs, es, ps := testKeys()
	p := pairs()
	end := now.Add(time.Hour)
	cat := func(key *Key) func() (*Verifier, *Request) {
		return func() (*Verifier, *Request) {
			v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key), Issuers: []string{"me"}, Audiences: []string{"edge"}, Renew: true}}})
			return v, get("https://a.example/vod/a/b/segment-17.m4s?CAT=" + mint(t, key, fullClaims))
		}
	}
	of := func(s Scheme, order Order) func() (*Verifier, *Request) {
		return func() (*Verifier, *Request) {
			order.URL, order.End = *get("https://a.example/vod/a/b/segment-17.m4s"), end
			m, err := Mint(s, order)
			if err != nil {
				t.Fatal(err)
			}
			return verifier(t, Options{Schemes: []Scheme{s}}), get(m.URL)
		}
	}
	keys := NewKeys(hs)
	return map[string]func() (*Verifier, *Request){
		"cat-hs256":   cat(hs),
		"cat-es256":   cat(es),
		"cat-ps256":   cat(ps),
		"type-a":      of(Scheme{Kind: TypeA, Keys: keys}, Order{}),
		"type-b":      of(Scheme{Kind: TypeB, Keys: keys}, Order{}),
		"type-c":      of(Scheme{Kind: TypeC, Keys: keys}, Order{}),
		"type-f":      of(Scheme{Kind: TypeF, Keys: keys}, Order{}),
		"akamai":      of(Scheme{Kind: Akamai, Keys: secrets(t, "aabbccddeeff0011")}, Order{Paths: []string{"/vod/*"}}),
		"uri-signing": of(Scheme{Kind: URISigning, Keys: NewKeys(es)}, Order{Claims: []byte(`{"cdniip": "192.0.2.0/24"}`)}),
		"cloudfront":  of(Scheme{Kind: CloudFront, Keys: NewKeys(&Key{ID: "K", Public: &p.rsa.PublicKey, Private: p.rsa})}, Order{Paths: []string{"https://a.example/vod/*"}}),
	}
}

// TestHotPathAllocates: a token that was seen before costs nothing but looking; where the URI must be put together, one
// allocation.
func TestHotPathAllocates(t *testing.T) {
	for name, first := range hotRequests(t) {
		v, request := first()
		again := *request
		if _, err := v.Check(t.Context(), &again, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := 0.0
		if name == "cloudfront" {
			want = 1
		}
		n := testing.AllocsPerRun(1000, func() {
			again = *request
			if _, err := v.Check(t.Context(), &again, now); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if n > want {
			t.Errorf("%s: %g allocations, want %g", name, n, want)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, first := range hotRequests(b) {
		b.Run(name+"/again", func(b *testing.B) {
			v, request := first()
			b.ReportAllocs()
			for b.Loop() {
				q := *request
				if _, err := v.Check(b.Context(), &q, now); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/first", func(b *testing.B) {
			v, request := first()
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range v.schemes {
					s.forget()
				}
				q := *request
				if _, err := v.Check(b.Context(), &q, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFirstCheck compares the first check of a token with the bare signature in it, in turns: the best of many rounds of
// each, so that what else the machine does falls on neither.
func BenchmarkFirstCheck(b *testing.B) {
	hs, es, ps := testKeys()
	for _, key := range []*Key{es, ps, hs} {
		b.Run(key.Algorithm, func(b *testing.B) {
			v := verifier(b, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key), Issuers: []string{"me"}, Audiences: []string{"edge"}, Renew: true}}})
			request := get("https://a.example/vod/a/b/segment-17.m4s?CAT=" + mint(b, key, fullClaims))
			m, failed := v.codec.unwrap(request.Query[len("CAT="):])
			if failed != nil {
				b.Fatal(failed)
			}
			text := toSign(map[bool]string{true: "Signature1", false: "MAC0"}[m.sign1], m.Protected, m.Payload)
			bare, whole := time.Hour, time.Hour
			for b.Loop() {
				begin := time.Now()
				if !key.verify(key.Algorithm, text, m.Signature) {
					b.Fatal("the signature is wrong")
				}
				bare = min(bare, time.Since(begin))
				v.schemes[0].forget()
				q := *request
				begin = time.Now()
				if _, err := v.Check(b.Context(), &q, now); err != nil {
					b.Fatal(err)
				}
				whole = min(whole, time.Since(begin))
			}
			b.ReportMetric(float64(bare.Nanoseconds())/1000, "bare-µs")
			b.ReportMetric(float64(whole.Nanoseconds())/1000, "first-µs")
			b.ReportMetric(float64(whole)/float64(bare), "ratio")
			b.ReportMetric(0, "ns/op") // both together, and of no use
		})
	}
}

// forget empties the memory.
func (s *scheme) forget() {
	clearMemo(s.cats)
	clearMemo(s.packages)
	clearMemo(s.policies)
	clearMemo(s.lists)
}

func clearMemo[V any](m *memo[V]) {
	if m == nil {
		return
	}
	for i := range m.shards {
		clear(m.shards[i].young)
		clear(m.shards[i].old)
	}
}

// TestMemoIsBounded: it holds about as many as it is made for, and what is in use stays.
func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemo[int](1024)
	m.put(memoKey{"in use"}, 7)
	for i := range 100_000 {
		m.put(memoKey{"x", strings.Repeat("y", i%7), string(rune(i))}, i)
		m.put(memoKey{string(rune(i))}, i)
		if _, ok := m.get(memoKey{"in use"}); !ok {
			t.Fatalf("what was looked up each time is gone after %d others", i)
		}
	}
	n := 0
	for i := range m.shards {
		n += len(m.shards[i].young) + len(m.shards[i].old)
	}
	if n > 1100 {
		t.Errorf("it holds %d, want about 1024", n)
	}
}

// TestBadTokensAreNotRemembered: a flood of them throws no good one out.
func TestBadTokensAreNotRemembered(t *testing.T) {
	t.Parallel()
	key, _, _ := testKeys()
	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key)}}, Tokens: 32})
	for range 1000 {
		text := mint(t, &Key{ID: "h1", Secret: []byte(strings.Repeat("x", 32))}, `{}`)
		if _, err := v.Check(t.Context(), get("https://a/x?CAT="+text), now); reason(err) != BadSignature {
			t.Fatal(err)
		}
	}
	for i := range v.schemes[0].cats.shards {
		if s := &v.schemes[0].cats.shards[i]; len(s.young)+len(s.old) > 0 {
			t.Error("a bad token is remembered")
		}
	}
}

// TestComparisonTime: how long a wrong signature takes does not tell how much of it is right. It is the t-test of "Dude, is
// my code constant time?" (Reparaz, Balasch, Verbauwhede, 2017): both kinds in random turns, so that what else the machine
// does falls on both, and without the slow tail.
func TestComparisonTime(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	const measurements = 200_000
	key, _, _ := testKeys()
	v := verifier(t, Options{Schemes: []Scheme{{Kind: TypeF, Keys: NewKeys(key)}}})
	m, err := Mint(v.schemes[0].Scheme, Order{URL: *get("https://a/vod/a.m4s"), End: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int) *Request { // a wrong digit
		q := get(m.URL)
		b := []byte(q.Query)
		i := len("sign=") + at
		b[i] = "123456789abcdef0"[digit(b[i])]
		q.Query = string(b)
		return q
	}
	kinds := [2]*Request{change(0), change(31)} // wrong at once; right to the last
	random := rand.New(rand.NewPCG(1, 2))
	var times [2][]float64
	for range measurements {
		k := random.IntN(2)
		q := *kinds[k]
		begin := time.Now()
		_, err := v.Check(t.Context(), &q, now)
		times[k] = append(times[k], float64(time.Since(begin)))
		if reason(err) != BadSignature {
			t.Fatal(err)
		}
	}
	if stat := welch(times); math.Abs(stat) >= 4.5 {
		t.Errorf("|t| = %.1f, want less than 4.5: the time tells what is right", math.Abs(stat))
	} else {
		t.Logf("t = %.2f", stat)
	}
}

// welch is Welch's t statistic of the faster nine tenths of both.
func welch(times [2][]float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(times[0], times[1])))
	cut := all[len(all)*9/10]
	var mean, variance, n [2]float64
	for k := range times {
		for _, x := range times[k] {
			if x > cut {
				continue
			}
			n[k]++
			d := x - mean[k]
			mean[k] += d / n[k]
			variance[k] += d * (x - mean[k])
		}
		variance[k] /= n[k] - 1
	}
	return (mean[0] - mean[1]) / math.Sqrt(variance[0]/n[0]+variance[1]/n[1])
}

// FuzzCheck: whatever stands in a request, nothing panics, nothing is opened that no key signed, and no token is left.
func FuzzCheck(f *testing.F) {
	hs, es, ps := testKeys()
	keys := NewKeys(hs, es, ps)
	p := pairs()
	lines := secrets(f, "aabbccddeeff0011")
	v := verifier(f, Options{Replays: NewReplays(10), Once: ever, Schemes: []Scheme{
		{Kind: CAT, Keys: keys, Renew: true},
		{Kind: URISigning, Keys: keys, Renew: true},
		{Kind: Akamai, Keys: lines},
		{Kind: CloudFront, Keys: NewKeys(&Key{ID: "K", Public: &p.rsa.PublicKey})},
	}})
	clouds := verifier(f, Options{Schemes: []Scheme{{Kind: TypeA, Keys: lines}, {Kind: TypeC, Keys: lines}, {Kind: TypeF, Keys: lines}, {Kind: SecureLink, Keys: lines}}})
	f.Add("/vod/a.m4s", "CAT="+mint(f, hs, fullClaims), "", "")
	f.Add("/URISigningPackage="+cdniSimple+"/x", "b=1", "CTA-Common-Access-Token=x; a=b", "")
	f.Add("/6688749e8906a726c12fe1be3aacd016/6694d30a/foo.jpg", "hdnts=exp=1~acl=*~hmac=00&Policy=e30_&Signature=a&Key-Pair-Id=K", "CloudFront-Signature=a", "x")
	f.Add("/x", "auth_key=1-0-0-80cd3862d699b7118eed99103f2a3a4f&sign=a&time=b&md5=c&expires=d", "", "")
	f.Fuzz(func(t *testing.T, path, query, cookies, field string) {
		q := get("https://a/")
		q.Path, q.Query = "/"+path, query
		q.Header = http.Header{"Cookie": {cookies}, "Cta-Common-Access-Token": {field}}
		if _, err := v.Check(t.Context(), q, time.Unix(1_800_000_000, 0)); err == nil {
			t.Errorf("%q?%q, %q, %q is opened", path, query, cookies, field)
		}
		again := *q
		if _, err := clouds.Check(t.Context(), &again, time.Unix(1_800_000_000, 0)); err == nil {
			t.Errorf("%q?%q is opened", path, query)
		}
		if q.Path == "" || q.Path[0] != '/' || q.Header["Cta-Common-Access-Token"] != nil {
			t.Errorf("%q, %q is left", q.Path, q.Header)
		}
		for part := range strings.SplitSeq(q.Query, "&") {
			if name, _, _ := strings.Cut(part, "="); name == "CAT" || name == "Signature" || name == "hdnts" {
				t.Errorf("%q is left of %q", q.Query, query)
			}
		}
	})
}

// FuzzClaims: claims in CBOR, as one who has a key might write them, are read or refused; what is read can be printed.
func FuzzClaims(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{fullClaims, `{"or": [{"catnip": ["2001:db8::/32", 1]}], "catif": {"exp": [302, {"Location": ["x", {}]}, "k"]}, "crit": ["catm"], "geohash": "u3"}`} {
		set, err := ReadClaims([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		b, _ := c.enc.Marshal(set)
		f.Add(b)
	}
	key, _, _ := testKeys()
	v := verifier(f, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(key), Renew: true}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		var set map[any]any
		if c.dec.Unmarshal(b, &set) != nil {
			return
		}
		_ = setToJSON(set)
		claims, failed := readClaims(set, 0)
		if failed != nil {
			return
		}
		_ = claims.hold(v.schemes[0], v, get("https://a/vod/a.m4s"), now)
		if _, err := c.enc.Marshal(set); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// FuzzKeys: a file of keys is read or refused.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("a hex:00\n# b\nsecret"))
	f.Add([]byte(cdniKey))
	f.Add([]byte("id: a\n" + pemOf(pairs().rsa)))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseKeys(b)
		if (err == nil) == (keys == nil) {
			t.Errorf("got %v, %v", keys, err)
		}
	})
}

// FuzzExplain: any text is explained or refused.
func FuzzExplain(f *testing.F) {
	hs, _, _ := testKeys()
	f.Add(mint(f, hs, fullClaims))
	f.Add(cdniSimple)
	f.Add("exp=1~acl=*~hmac=00")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Explain(text) })
}
