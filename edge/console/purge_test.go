package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// post sends a purge as an operator would.
func post(c http.Handler, mediaType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/purge", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestPurge(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	for _, tt := range []struct {
		name, body string
		status     int
	}{
		{"purge-url", `{"url": "https://v.example/a"}`, 200},
		{"purge-tags", ` {"tags": ["a", "b"], "soft": true} `, 200},
		{"purge-all", `{"all": true, "soft": false}`, 200},
		{"purge-far", `{"tag": "far"}`, 202},
		{"purge-nothing", `{}`, 400},
		{"purge-two", `{"url": "https://v.example/a", "tags": ["a"]}`, 400},
		{"purge-unknown", `{"uri": "https://v.example/a"}`, 400},
		{"purge-type", `{"urls": "https://v.example/a"}`, 400},
		{"purge-bad", `{"url": "bad"}`, 422},
		{"purge-full", `{"url": "full"}`, 500},
	} {
		w := post(c, "application/json", tt.body)
		if w.Code != tt.status {
			t.Errorf("%s: got %d, want %d: %s", tt.body, w.Code, tt.status, w.Body)
		}
		golden(t, tt.name, w.Body.Bytes())
	}
}

func TestPurgeRefusals(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	const good = `{"all": true}`
	many := `{"urls": ["a"` + strings.Repeat(`,"a"`, 1000) + `]}`
	for _, tt := range []struct {
		name, mediaType, body string
		status                int
	}{
		{"good", "application/json; charset=utf-8", good, 200},
		{"a thousand", "application/json", strings.Replace(many, `"a",`, "", 1), 200},
		{"more", "application/json", many, 400},
		{"no type", "", good, 415},
		{"a form, as another site could send it", "application/x-www-form-urlencoded", good, 415},
		{"text", "text/plain", good, 415},
		{"empty", "application/json", "", 400},
		{"null", "application/json", "null", 400},
		{"no object", "application/json", `["a"]`, 400},
		{"two objects", "application/json", good + good, 400},
		{"cut", "application/json", `{"all": tr`, 400},
		{"all false", "application/json", `{"all": false}`, 400},
		{"all and more", "application/json", `{"all": true, "tag": "a"}`, 400},
		{"empty lists", "application/json", `{"urls": [], "tags": []}`, 400},
		{"large", "application/json", `{"url": "` + strings.Repeat("a", 1<<20) + `"}`, 413},
	} {
		w := post(c, tt.mediaType, tt.body)
		if w.Code != tt.status {
			t.Errorf("%s: got %d %.200s, want %d", tt.name, w.Code, w.Body, tt.status)
		}
		if tt.status == 200 {
			continue
		}
		var p problemDetails
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Reason == "" || p.Fix == "" || p.Status != tt.status {
			t.Errorf("%s: got %s, want a problem with reason and fix", tt.name, w.Body)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, "PURGE"} {
		if w := ask(c, method, "/v1/purge", "Bearer "+token); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: got %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	o := options()
	o.Purge = nil
	if w := post(newConsole(t, o), "application/json", good); w.Code != http.StatusNotFound {
		t.Errorf("a node without a cache: got %d", w.Code)
	}
}

func FuzzParsePurge(f *testing.F) {
	for _, seed := range []string{`{"url":"a"}`, `{"urls":["a","b"],"soft":true}`, `{"all":true}`, `{"tag":null}`, `{"prefixes":[""]}`, `{`, `{"URL":"a"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, wrong := parsePurge(text)
		if wrong != nil {
			if wrong.Reason == "" || wrong.Fix == "" {
				t.Errorf("%q: got %+v", text, wrong)
			}
			return
		}
		if len(p.Items) > maxPurgeItems || (p.Kind == "all") != (len(p.Items) == 0) {
			t.Errorf("%q: got %+v", text, p)
		}
		if p.Kind == "all" {
			return
		}
		items, err := json.Marshal(p.Items)
		if err != nil {
			t.Fatal(err)
		}
		name := map[string]string{"url": "urls", "prefix": "prefixes", "tag": "tags"}[p.Kind]
		again, wrong := parsePurge(fmt.Appendf(nil, `{%q: %s, "soft": %v}`, name, items, p.Soft))
		if wrong != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is %+v, printed and read again %+v, %v", text, p, again, wrong)
		}
	})
}
