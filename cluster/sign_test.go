package cluster

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// signedRequest is one of edge-1 to edge-2, as edge-2 receives it. change may spoil it on the way.
func signedRequest(t *testing.T, s *Signer, method, body string, change func(*http.Request)) *http.Request {
	t.Helper()
	out, err := http.NewRequest(method, "http://edge-2/a%2Fb?q=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	out.Host = "video.example"
	out.Header.Set("Range", "bytes=0-1")
	out.Header.Set("Weir-Hops", "2")
	out.Header.Set("Accept-Encoding", "gzip")
	out.Header.Set(signatureField, "of a client") // and so may this come:
	out.Header.Set(digestField, "of a client")
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	s.Sign(out, "edge-2", content)
	in := httptest.NewRequest(method, out.URL.RequestURI(), strings.NewReader(body))
	in.Host, in.Header = out.Host, out.Header
	if change != nil {
		change(in)
	}
	return in
}

// ask hands a request to the handler of edge-2, and returns the status and what reached what stands behind.
func askSigned(s *Signer, r *http.Request) (status int, reached *http.Request, body string) {
	w := httptest.NewRecorder()
	s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			text = []byte(err.Error())
		}
		reached, body = r, string(text)
	})).ServeHTTP(w, r)
	return w.Code, reached, body
}

func TestSignedRequests(t *testing.T) {
	t.Parallel()
	older, newer := NewSecret(), NewSecret()
	with := func(secrets ...Secret) *Keyring { return keyringOf(t, secrets...) }
	for _, tt := range []struct {
		name          string
		asks, answers *Keyring
		ok            bool
	}{
		{"one secret", with(older), with(older), true},
		{"the answering node has a new one, too", with(older), with(older, newer), true},
		{"the asking node uses the new one", with(newer, older), with(older, newer), true},
		{"the answering node has the new one alone", with(newer, older), with(newer), true},
		{"the asking node has the old one alone", with(older), with(newer), false},
		{"the answering node does not have the new one", with(newer, older), with(older), false},
	} {
		signer, verifier := NewSigner(tt.asks, "edge-1", nil), NewSigner(tt.answers, "edge-2", nil)
		for _, body := range []string{"", "a notice"} {
			method := http.MethodGet
			if body != "" {
				method = http.MethodPost
			}
			status, reached, got := askSigned(verifier, signedRequest(t, signer, method, body, nil))
			if (status == http.StatusOK) != tt.ok || (reached != nil) != tt.ok {
				t.Errorf("%s, %s: status %d, reached %v, want success: %v", tt.name, method, status, reached != nil, tt.ok)
			}
			if reached == nil {
				continue
			}
			if got != body || reached.Header.Get("Weir-Hops") != "2" || reached.Header.Get(signatureField) != "" || reached.Header.Get(digestField) != "" {
				t.Errorf("%s, %s: body %q, header %v", tt.name, method, got, reached.Header)
			}
		}
	}
}

func TestSpoiltRequestsAreRefused(t *testing.T) {
	t.Parallel()
	keyring := keyringOf(t, testSecret)
	signer := NewSigner(keyring, "edge-1", nil)
	words := func(f func(w []string)) func(*http.Request) {
		return func(r *http.Request) {
			w := strings.Split(r.Header.Get(signatureField), " ")
			f(w)
			r.Header.Set(signatureField, strings.Join(w, " "))
		}
	}
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	for name, change := range map[string]func(*http.Request){
		"no signature":            func(r *http.Request) { r.Header.Del(signatureField) },
		"two signatures":          func(r *http.Request) { r.Header.Add(signatureField, r.Header.Get(signatureField)) },
		"an empty one":            func(r *http.Request) { r.Header.Set(signatureField, "") },
		"nonsense":                func(r *http.Request) { r.Header.Set(signatureField, "a b c d") },
		"method":                  func(r *http.Request) { r.Method = http.MethodDelete },
		"host":                    func(r *http.Request) { r.Host = "other.example" },
		"path":                    func(r *http.Request) { r.RequestURI = "/a/b?q=1" },
		"query":                   func(r *http.Request) { r.RequestURI = "/a%2Fb?q=2" },
		"range":                   func(r *http.Request) { r.Header.Set("Range", "bytes=0-2") },
		"no range":                func(r *http.Request) { r.Header.Del("Range") },
		"a condition more":        func(r *http.Request) { r.Header.Set("If-Range", `"x"`) },
		"hops":                    func(r *http.Request) { r.Header.Set("Weir-Hops", "3") },
		"a field of ours more":    func(r *http.Request) { r.Header.Set("Weir-Ring", "1") },
		"a value more":            func(r *http.Request) { r.Header.Add("Weir-Hops", "2") },
		"name":                    words(func(w []string) { w[0] = "edge-3" }),
		"time":                    words(func(w []string) { w[1] = w[1][:len(w[1])-1] + string('0'+('9'-w[1][len(w[1])-1])) }), // another last digit
		"time with a sign":        words(func(w []string) { w[1] = "+" + w[1] }),
		"nonce":                   words(func(w []string) { w[2] = strings.Repeat("A", len(w[2])) }),
		"nonce with a line's end": words(func(w []string) { w[2] = w[2][1:] + "\n" }),
		"MAC":                     words(func(w []string) { w[3] = strings.Repeat("A", len(w[3])) }),
		"MAC short":               words(func(w []string) { w[3] = w[3][:20] }),
		"no MAC":                  words(func(w []string) { w[3] = "" }),
		"body":                    body("another"),
		"no body":                 body(""),
		"body's hash": func(r *http.Request) {
			body("another")(r)
			r.Header.Set(digestField, digest([]byte("another")))
		},
		"no hash": func(r *http.Request) { r.Header.Del(digestField) },
	} {
		verifier := NewSigner(keyring, "edge-2", nil)
		status, reached, _ := askSigned(verifier, signedRequest(t, signer, http.MethodPost, "a notice", change))
		if status != http.StatusForbidden || reached != nil || verifier.Refused() != 1 {
			t.Errorf("%s: status %d, reached %v, %d counted, want 403, false, 1", name, status, reached != nil, verifier.Refused())
		}
	}
	other := NewSigner(keyring, "edge-3", nil)
	if status, _, _ := askSigned(other, signedRequest(t, signer, http.MethodGet, "", nil)); status != http.StatusForbidden {
		t.Errorf("a request to another node: status %d, want 403", status)
	}
	// An unsigned body on a signed request that had none.
	get := signedRequest(t, signer, http.MethodGet, "", body("smuggled"))
	if status, _, _ := askSigned(NewSigner(keyring, "edge-2", nil), get); status != http.StatusForbidden {
		t.Errorf("a body that nobody signed: status %d, want 403", status)
	}
}

func TestOldSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keyring := keyringOf(t, testSecret)
		signer, logged := NewSigner(keyring, "edge-1", nil), &lines{}
		verifier := NewSigner(keyring, "edge-2", logged.logger())
		r := signedRequest(t, signer, http.MethodGet, "", nil)
		header := r.Header.Clone()
		again := func() int {
			r.Header = header.Clone()
			status, _, _ := askSigned(verifier, r)
			return status
		}
		for _, tt := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {30 * time.Second, 200}, {time.Second, 403}, {time.Hour, 403}} {
			time.Sleep(tt.wait)
			if got := again(); got != tt.want {
				t.Errorf("%v later: status %d, want %d", tt.wait, got, tt.want)
			}
		}
		for range 1000 {
			again()
		}
		if got := logged.count("no node has signed"); got == 0 || got > 3 {
			t.Errorf("%d lines logged within a moment, want 1 to 3", got)
		}
		if logged.count("are the clocks right") == 0 {
			t.Errorf("the log does not say why:\n%s", logged)
		}
	})
}

// A request of another clock's future is as bad.
func TestSignatureOfTheFuture(t *testing.T) {
	t.Parallel()
	keyring := keyringOf(t, testSecret)
	r := signedRequest(t, NewSigner(keyring, "edge-1", nil), http.MethodGet, "", nil)
	verifier := NewSigner(keyring, "edge-2", nil)
	if _, err := verifier.verify(r, time.Now().Add(-31*time.Second)); err == nil {
		t.Error("a signature of 31 seconds hence is accepted")
	}
	if from, err := verifier.verify(r, time.Now().Add(-29*time.Second)); err != nil || from != "edge-1" {
		t.Errorf("a signature of 29 seconds hence: %q, %v", from, err)
	}
}

func FuzzSignature(f *testing.F) {
	good := signature{from: "edge-1", time: 1, nonce: strings.Repeat("a", 16), mac: bytes.Repeat([]byte{7}, 32)}
	f.Add(good.String())
	f.Add("edge-1 1 aaaaaaaaaaaaaaaa AAAA")
	f.Add("a b c d")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseSignature(text)
		if ok && s.String() != text {
			t.Errorf("%q reads as %q", text, s.String())
		}
		r := &http.Request{Method: "GET", Host: "h", RequestURI: "/", URL: &url.URL{}, Header: http.Header{signatureField: {text}}}
		k, err := NewKeyring(KeyringOptions{Secrets: Secrets{testSecret}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewSigner(k, "edge-2", nil).verify(r, time.UnixMilli(s.time)); err == nil {
			t.Errorf("%q is good", text)
		}
	})
}
