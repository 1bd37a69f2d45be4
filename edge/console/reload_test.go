package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestOrders: reload and upgrade are obeyed with the token and by POST alone, and say what came of them.
func TestOrders(t *testing.T) {
	t.Parallel()
	var wrong error
	asked := 0
	o := options()
	o.Reload = func(context.Context) (Reload, error) {
		asked++
		return Reload{Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Restart: []string{"cache.disk"}}, wrong
	}
	o.Upgrade = func(context.Context) (Upgrade, error) {
		asked++
		return Upgrade{PID: 7, Version: "v2", Seconds: 0.5}, wrong
	}
	o.Config = func(w io.Writer) error {
		_, err := io.WriteString(w, "log: {level: info}\n")
		return errors.Join(err, wrong)
	}
	c, bare := newConsole(t, o), newConsole(t, options())
	for _, tt := range []struct {
		name, method, path, credential string
		on                             *Console
		wrong                          error
		status                         int
		body                           string
	}{
		{"reload", http.MethodPost, "/v1/reload", token, c, nil, 200, `{"time":"2026-01-02T03:04:05.000000006Z","changed":[],"restart":["cache.disk"]}`},
		{"a file that is wrong", http.MethodPost, "/v1/reload", token, c, errors.New("weir.yaml:3:1: no such key"), 422, "nothing has changed: weir.yaml:3:1: no such key"},
		{"no configuration", http.MethodPost, "/v1/reload", token, bare, nil, 404, "no configuration"},
		{"a reload by GET", http.MethodGet, "/v1/reload", token, c, nil, 405, "takes POST"},
		{"a stranger's reload", http.MethodPost, "/v1/reload", "", c, nil, 401, "token"},
		{"upgrade", http.MethodPost, "/v1/upgrade", token, c, nil, 200, `{"pid":7,"version":"v2","seconds":0.5}`},
		{"a program that is wrong", http.MethodPost, "/v1/upgrade", token, c, errors.New("exit status 3"), 502, "runs on as it was: exit status 3"},
		{"no program", http.MethodPost, "/v1/upgrade", token, bare, nil, 404, "No other process"},
		{"an upgrade by GET", http.MethodGet, "/v1/upgrade", token, c, nil, 405, "takes POST"},
		{"a stranger's upgrade", http.MethodPost, "/v1/upgrade", "wrong", c, nil, 401, "token"},
		{"config", http.MethodGet, "/v1/config", token, c, nil, 200, "log: {level: info}\n"},
		{"a stranger's look at it", http.MethodGet, "/v1/config", "", c, nil, 401, "token"},
	} {
		wrong = tt.wrong
		before := asked
		r := httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}"))
		if tt.credential != "" {
			r.Header.Set("Authorization", "Bearer "+tt.credential)
		}
		w := httptest.NewRecorder()
		tt.on.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, w.Code, w.Body, tt.status, tt.body)
		}
		if tt.status >= 400 && tt.wrong == nil && asked != before {
			t.Errorf("%s: it is obeyed all the same", tt.name)
		}
	}
}
