package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/token"
	"weir/tools/proof"
)

// keyLine is a file of one key.
func keyLine(t *testing.T, file, id, secret string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(id+" "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mintCAT is a token of a key file.
func mintCAT(t *testing.T, file, claims string) string {
	t.Helper()
	return mintUntil(t, file, claims, time.Now().Add(time.Hour))
}

func mintUntil(t *testing.T, file, claims string, end time.Time) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	m, err := token.Mint(token.Scheme{Kind: token.CAT, Keys: keys}, token.Order{Claims: []byte(claims), End: end})
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// TestTokensOverEveryProtocol: the same tokens open and do not open over all of them, each refusal is counted once, and keys
// rotate by a reload while one-time tokens stay used.
func TestTokensOverEveryProtocol(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, old := filepath.Join(dir, "keys"), filepath.Join(dir, "old")
	keyLine(t, file, "k1", "0123456789abcdef0123456789abcdef")
	keyLine(t, old, "k1", "0123456789abcdef0123456789abcdef")
	var config *configs.Config
	s := newSocketNode(t, func(o *nodeOptions) {
		config = o.config
		o.config.Sites[0].Token = configs.Token{Schemes: []configs.TokenScheme{{Kind: "cat", KeysFile: file}}, Exempt: []string{"/o/4KiB/free"}}
		o.load = func() (*configs.Config, error) { return config, nil }
	})
	ask := func(c *proof.Client, base, path, text string, status int, more ...string) {
		t.Helper()
		h := http.Header{"CTA-Common-Access-Token": {text}}
		for i := 0; i < len(more); i += 2 {
			h.Add(more[i], more[i+1])
		}
		r := c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1", Header: h, AnyStatus: true})
		if r.Status != status || status == http.StatusOK && (r.Err != nil || r.Body != proof.BodyOK) {
			t.Errorf("%s %s: got %d, %s, %v, want %d", r.Protocol, path, r.Status, r.Body, r.Err, status)
		}
	}
	alpn := map[string]string{"h1": "http/1.1", "h1+tls": "http/1.1", "h2": "h2", "h3": "h3"}
	refused := map[string]int64{}
	strange := filepath.Join(dir, "strange")
	keyLine(t, strange, "k9", "0123456789abcdef0123456789abcdef")
	forged := filepath.Join(dir, "forged")
	keyLine(t, forged, "k1", "another-secret-of-the-same-length")
	for i, w := range ways() {
		c, base := s.client(t, w)
		good := mintCAT(t, file, `{"catu": {"path": {"prefix": "/o/4KiB/"}}, "catalpn": ["`+alpn[w.name]+`"]}`)
		ask(c, base, "/o/4KiB/a", good, 200)
		ask(c, base, "/o/4KiB/a", good, 200)
		ask(c, base, "/o/4KiB/free", "", 200)
		other := slices.Collect(func(yield func(string) bool) {
			for _, p := range alpn {
				if p != alpn[w.name] && !yield(p) {
					return
				}
			}
		})[0]
		once := mintCAT(t, file, fmt.Sprintf(`{"catreplay": 1, "cti": "0%d"}`, i))
		ask(c, base, "/o/4KiB/a", once, 200)
		for _, tt := range []struct{ path, text, reason string }{
			{"/o/4KiB/a", "", "token-missing"},
			{"/o/8KiB/a", good, "token-claim"},
			{"/o/4KiB/a", mintCAT(t, file, `{"catalpn": ["`+other+`"]}`), "token-claim"},
			{"/o/4KiB/a", mintCAT(t, file, `{"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`), "token-claim"},
			{"/o/4KiB/a", mintCAT(t, file, `{"exp": 1, "crit": ["exp"], "nbf": 99999999999}`), "token-not-yet"},
			{"/o/4KiB/a", mintUntil(t, file, `{}`, time.Now().Add(-time.Second)), "token-expired"},
			{"/o/4KiB/a", mintCAT(t, file, `{"crit": [70000], "70000": 1}`), "token-unsupported"},
			{"/o/4KiB/a", mintCAT(t, strange, `{}`), "token-key"},
			{"/o/4KiB/a", mintCAT(t, forged, `{}`), "token-signature"},
			{"/o/4KiB/a?CAT=" + good + "&CAT=" + good, "", "token-duplicate"},
			{"/o/4KiB/a", once, "token-replayed"},
			{"/o/4KiB/a", "junk", "token-malformed"},
		} {
			ask(c, base, tt.path, tt.text, 403)
			refused[tt.reason]++
		}
		ask(c, base, "/o/4KiB/a", mintCAT(t, file, fmt.Sprintf(`{"catreplay": 1, "cti": "1%d"}`, i)), http.StatusTooEarly, "Early-Data", "1")
		refused["token-early-data"]++
		for range 3 {
			ask(c, base, "/o/4KiB/a", mintCAT(t, file, fmt.Sprintf(`{"catreplay": 2, "cti": "2%d"}`, i)), 200)
		}
	}
	for _, reason := range edge.Reasons() {
		if strings.HasPrefix(reason, "token-") && s.edge.Refused(reason) != refused[reason] {
			t.Errorf("%s: %d are counted, want %d", reason, s.edge.Refused(reason), refused[reason])
		}
	}
	if n := s.edge.Reused(); n != int64(2*len(ways())) {
		t.Errorf("%d reuses are counted, want 2 for each protocol", n)
	}
	if n := s.origin.Count("/o/4KiB/a").Requests; n != 1 {
		t.Errorf("the origin was asked %d times for one object, want once: the token is in its key", n)
	}

	// A new key, the old one still there; then without the old one; then a file that is none.
	c, base := s.client(t, ways()[2])
	once := mintCAT(t, old, `{"catreplay": 1, "cti": "aa"}`)
	ask(c, base, "/o/4KiB/a", once, 200)
	both := "k2 fedcba9876543210fedcba9876543210\nk1 0123456789abcdef0123456789abcdef\n"
	if err := os.WriteFile(file, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	first, second := mintCAT(t, old, `{}`), mintCAT(t, file, `{}`)
	ask(c, base, "/o/4KiB/a", second, 403)
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(c, base, "/o/4KiB/a", first, 200)
	ask(c, base, "/o/4KiB/a", second, 200)
	ask(c, base, "/o/4KiB/a", once, 403)
	keyLine(t, file, "k2", "fedcba9876543210fedcba9876543210")
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(c, base, "/o/4KiB/a", first, 403)
	ask(c, base, "/o/4KiB/a", second, 200)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(t.Context()); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "fedcba") {
		t.Errorf("a file without keys is taken: %v", err)
	}
	keyLine(t, file, "k3", "fedcba")
	if err := s.reload(t.Context()); err == nil || !strings.Contains(err.Error(), file+": token: keys: line 1: the secret of the key \"k3\" has 6 bytes") {
		t.Errorf("a secret of six bytes is taken: %v", err)
	}
	ask(c, base, "/o/4KiB/a", second, 200)
}

// TestTokenCommand: sign, verify and explain, for people and as JSON; exit codes tell.
func TestTokenCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	keyLine(t, keys, "k1", "0123456789abcdef0123456789abcdef")
	weir := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"token"}, args...), streams{&out, &errs}); code != want {
			t.Errorf("weir token %q: exit code %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	const target = "https://video.example/vod/demo/a.m4s?b=1"
	signed := strings.TrimSpace(weir(0, "sign", "--keys", keys, "--expires", "1h", "--subject", "me", "--claims", `{"catm": ["GET"]}`, target))
	if !strings.HasPrefix(signed, target+"&CAT=") {
		t.Fatalf("got %s", signed)
	}
	if text := weir(0, "verify", "--keys", keys, signed); !strings.Contains(text, "good") || !strings.Contains(text, "me") {
		t.Errorf("verify: %s", text)
	}
	if text := weir(1, "verify", "--keys", keys, "--method", "POST", signed); !strings.Contains(text, "token-claim") {
		t.Errorf("verify: %s", text)
	}
	if text := weir(1, "verify", "--keys", keys, "--at", time.Now().Add(2*time.Hour).Format(time.RFC3339), signed); !strings.Contains(text, "token-expired") {
		t.Errorf("verify later: %s", text)
	}
	if text := weir(1, "verify", "--keys", keys, "https://video.example/vod/../x"); !strings.Contains(text, "dot segment") {
		t.Errorf("verify a path with dots: %s", text)
	}
	_, raw, _ := strings.Cut(signed, "CAT=")
	for _, what := range []string{raw, signed} {
		if text := weir(0, "explain", what); !strings.Contains(text, `"catm"`) && !strings.Contains(text, "catm") || !strings.Contains(text, "HS256") || !strings.Contains(text, "k1") {
			t.Errorf("explain %s: %s", what, text)
		}
	}
	var minted token.Minted
	if err := json.Unmarshal([]byte(weir(0, "sign", "--json", "--kind", "type-f", "--keys", keys, target)), &minted); err != nil || minted.Kind != token.TypeF || !strings.Contains(minted.URL, "sign=") {
		t.Errorf("sign --json: %+v, %v", minted, err)
	}
	var verdict struct {
		Good   bool
		Reason string
		Why    string
		Target string
	}
	if err := json.Unmarshal([]byte(weir(0, "verify", "--json", "--kind", "type-f", "--ttl", "1h", "--keys", keys, minted.URL)), &verdict); err != nil || !verdict.Good || verdict.Target != "/vod/demo/a.m4s?b=1" {
		t.Errorf("verify --json: %+v, %v", verdict, err)
	}
	text := weir(1, "verify", "--json", "--kind", "type-f", "--keys", keys, strings.Replace(minted.URL, "a.m4s", "b.m4s", 1))
	if line, _, _ := strings.Cut(text, "\n}"); json.Unmarshal([]byte(line+"\n}"), &verdict) != nil || verdict.Good || verdict.Reason != "token-signature" {
		t.Errorf("verify --json of another path: %s", text)
	}
	short := filepath.Join(dir, "short")
	keyLine(t, short, "k9", "too-short")
	if text := weir(2, "sign", "--keys", short, target); !strings.Contains(text, short) || !strings.Contains(text, `line 1: the secret of the key "k9"`) || strings.Contains(text, "too-short") {
		t.Errorf("sign with a short secret: %s", text)
	}
	weir(0, "sign", "--keys", short, "--kind", "type-f", target)
	weir(2, "sign", "--keys", keys, "--kind", "jwt", target)
	weir(2, "sign", "--keys", filepath.Join(dir, "none"), target)
	weir(2, "sign", "--keys", keys, "--claims", `{"expp": 1}`, target)
	weir(2, "sign", "--keys", keys, "not a URL")
	weir(1, "explain", "junk")
}
