package token

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOtherIssuers: what the issuers of others make is taken here, and theirs take ours.
func TestOtherIssuers(t *testing.T) {
	t.Parallel()
	hs, es, _ := testKeys()
	p := pairs()
	today := time.Now().Truncate(time.Second) // @eyevinn/cat asks the clock
	theirs := today.Unix()
	ours := func(key *Key, claims string) string {
		m, err := Mint(Scheme{Kind: CAT, Keys: NewKeys(key)}, Order{Claims: []byte(claims), Subject: "viewer", End: today.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	c, _ := newCodec()
	sign1, _ := c.unwrap(ours(es, `{}`))
	d, _ := p.ec.Bytes()
	public, _ := p.ec.PublicKey.Bytes()
	var got struct {
		CAT        map[string]string         `json:"cat"`
		Verdicts   map[string]string         `json:"verdicts"`
		Akamai     map[string]string         `json:"akamai"`
		CloudFront map[string]string         `json:"cloudfront"`
		Cookies    map[string]map[string]any `json:"cookies"`
	}
	out := script(t, "tokens.mjs", map[string]any{
		"now": theirs, "secret": hex.EncodeToString(hs.Secret), "akamai": "aabbccddeeff0011", "rsa": pemOf(p.rsa),
		"ec":    map[string]string{"d": hex.EncodeToString(d), "x": hex.EncodeToString(public[1:33]), "y": hex.EncodeToString(public[33:])},
		"sign1": hex.EncodeToString(sign1.tagged()),
		"cat": map[string]any{
			"full": map[string]any{
				"iss": "weir", "sub": "viewer", "aud": []string{"edge"}, "exp": theirs + 60, "nbf": theirs - 60, "iat": theirs, "cti": "00ff", "catv": 1, "catm": []string{"GET"},
				"catu":   map[string]any{"host": map[string]any{"exact-match": "a.example"}, "path": map[string]any{"prefix-match": "/vod/"}},
				"catnip": []any{"192.0.2.0/24", "2001:db8::1", 64500}, "catr": map[string]any{"type": "header", "expadd": 600, "deadline": 300},
			},
			"path": map[string]any{"exp": theirs + 60, "catu": map[string]any{"path": map[string]any{"prefix-match": "/live/"}}},
			"over": map[string]any{"exp": theirs - 60},
			"catif": map[string]any{"exp": theirs - 60, "catif": map[string]any{
				"exp": []any{307, map[string]any{"Location": []any{"https://login.example/?CAT=", map[string]any{"iss": "weir", "sub": "late"}}}, "h1"},
			}},
		},
		"ours": map[string]string{
			"good":  ours(hs, `{"iss": "weir", "aud": ["edge"], "catv": 1, "catu": {"path": {"prefix": "/vod/"}, "host": {"exact": "a.example"}}, "catr": {"type": "cookie", "expadd": 60}, "cti": "aa"}`),
			"path":  ours(hs, `{"iss": "weir", "aud": ["edge"], "catu": {"path": {"prefix": "/live/"}}}`),
			"other": ours(&Key{ID: "h1", Algorithm: "HS256", Secret: bytes.Repeat([]byte{1}, 32)}, `{"iss": "weir"}`),
		},
	})
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}

	v := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(hs, es), Issuers: nil, Audiences: []string{"edge"}, Renew: true}}})
	bare := verifier(t, Options{Schemes: []Scheme{{Kind: CAT, Keys: NewKeys(hs, es), Renew: true}}})
	for name, want := range map[string]Reason{"full": "", "path": Claim, "over": Expired, "catif": Expired, "es256": ""} {
		check := bare
		if name == "full" {
			check = v
		}
		g, err := check.Check(t.Context(), get("https://a.example/vod/a.m4s?CAT="+got.CAT[name]), today)
		if reason(err) != want {
			t.Errorf("their %s: %v, want %q", name, err, want)
		}
		if name == "full" && (g.Subject != "viewer" || g.Key != "h1" || g.Renewal == nil || g.Renewal.Field != "Cta-Common-Access-Token") {
			t.Errorf("their full: %+v", g)
		}
		if name == "catif" {
			e, _ := err.(*Error) //nolint:errorlint // just made
			if e == nil || e.Answer == nil || e.Answer.Status != 307 || !strings.HasPrefix(e.Answer.Header.Get("Location"), "https://login.example/?CAT=") {
				t.Errorf("their catif: %+v", e)
			}
		}
	}
	e, err := Explain(got.CAT["full"])
	if err != nil || e.KeyID != "h1" || e.Claims["cti"] != "00ff" || len(e.Notes) > 0 {
		t.Errorf("their full is explained as %+v, %v", e, err)
	}
	payload := hex.EncodeToString(sign1.Payload)
	for name, want := range map[string]string{"good": "good for viewer", "path": "URI https://a.example/vod/a.m4s not allowed", "other": "Failed to validate token signature with any of the available keys", "sign1": payload} {
		if got.Verdicts[name] != want {
			t.Errorf("our %s: they say %q, want %q", name, got.Verdicts[name], want)
		}
	}

	keys := secrets(t, "aabbccddeeff0011")
	for name, tt := range map[string]struct {
		path   string
		scheme Scheme
	}{
		"acl": {path: "/live/x"}, "url": {path: "/vod/a.m4s"}, "salted": {path: "/vod/a.m4s", scheme: Scheme{Salt: "salty"}}, "full": {path: "/x"},
		"escaped": {path: "/vod/a b~c.m4s", scheme: Scheme{Escape: true}},
	} {
		tt.scheme.Kind, tt.scheme.Keys = Akamai, keys
		v := verifier(t, Options{Schemes: []Scheme{tt.scheme}})
		for path, want := range map[string]bool{tt.path: true, "/other": name == "full"} {
			q := get("https://a.example/?hdnts=" + got.Akamai[name])
			q.Path = path
			if _, err := v.Check(t.Context(), q, today); (err == nil) != want {
				t.Errorf("akamai-edgeauth, %s, for %s: %v", name, path, err)
			}
		}
	}

	cf := verifier(t, Options{Schemes: []Scheme{{Kind: CloudFront, Keys: NewKeys(&Key{ID: "K1", Public: &p.rsa.PublicKey})}}})
	for name, url := range got.CloudFront {
		q := get(url)
		if _, err := cf.Check(t.Context(), q, today); err != nil || q.Query != "b=1" {
			t.Errorf("cloudfront-signer, %s: %v, %q", name, err, q.Query)
		}
		if _, err := cf.Check(t.Context(), get(strings.Replace(url, "/vod/", "/live/", 1)), today); err == nil {
			t.Errorf("cloudfront-signer, %s: opens another path", name)
		}
	}
	for name, cookies := range got.Cookies {
		q := get("https://a.example/vod/a.m4s?b=1")
		for n, value := range cookies {
			text, ok := value.(string)
			if !ok {
				b, _ := json.Marshal(int64(value.(float64))) //nolint:forcetypeassert // it is a number
				text = string(b)
			}
			q.Header.Add("Cookie", n+"="+text)
		}
		if _, err := cf.Check(t.Context(), q, today); err != nil || q.Header["Cookie"] != nil {
			t.Errorf("cloudfront-signer, %s, in cookies: %v", name, err)
		}
	}
}

// tagged is the message with the tag that others want.
func (m *opened) tagged() []byte { return append([]byte{0xd2}, m.content...) }

func pemOf(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// script runs JavaScript that uses the issuers of others.
func script(t *testing.T, name string, input any) []byte {
	t.Helper()
	missing := t.Skip
	if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
		missing = t.Fatal
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not installed: apt-get install nodejs npm")
	}
	dir, err := filepath.Abs("../../tools/proof/npm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"@eyevinn/cat", "dpop"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", name)); err != nil {
			missing(name + " is not installed: npm ci --prefix tools/proof/npm")
		}
	}
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, name)
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}
