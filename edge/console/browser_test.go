package console

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPagesOfOthers: no page but the node's own reaches the API, whatever it knows; and none that calls this machine by
// another name reaches anything.
func TestPagesOfOthers(t *testing.T) {
	t.Parallel()
	c := newConsole(t, options())
	home, away := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7070}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7070}
	for _, tt := range []struct {
		name         string
		local        *net.TCPAddr
		method, path string
		host         string
		header       []string
		token        bool
		want         int
	}{
		{"a tool", home, "GET", "/v1/status", "127.0.0.1:7070", nil, true, 200},
		{"our page", home, "GET", "/v1/status", "localhost:7070", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:7070"}, true, 200},
		{"typed into the address bar", home, "GET", "/", "localhost:7070", []string{"Sec-Fetch-Site", "none"}, false, 200},
		{"a link elsewhere", home, "GET", "/", "localhost:7070", []string{"Sec-Fetch-Site", "cross-site"}, false, 200},
		{"another site", home, "GET", "/v1/status", "127.0.0.1:7070", []string{"Sec-Fetch-Site", "cross-site"}, true, 403},
		{"another port", home, "GET", "/v1/status", "127.0.0.1:7070", []string{"Origin", "http://127.0.0.1:8080"}, true, 403},
		{"a neighbour", away, "POST", "/v1/purge", "edge.example:7070", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://www.example"}, true, 403},
		{"a neighbour that names no origin", home, "GET", "/v1/status", "localhost:7070", []string{"Sec-Fetch-Site", "same-site"}, true, 403},
		{"a page without an origin", home, "POST", "/v1/purge", "127.0.0.1:7070", []string{"Origin", "null"}, true, 403},
		{"a form", home, "POST", "/v1/purge", "127.0.0.1:7070", []string{"Origin", "https://evil.example", "Content-Type", "text/plain"}, false, 403},
		{"metrics for a page", home, "GET", "/metrics", "127.0.0.1:7070", []string{"Origin", "https://evil.example"}, true, 403},
		{"a preflight", home, "OPTIONS", "/v1/status", "127.0.0.1:7070", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "GET"}, false, 403},
		{"rebound", home, "GET", "/", "evil.example:7070", nil, false, 421},
		{"rebound, the API", home, "GET", "/v1/status", "evil.example:7070", nil, false, 421},
		{"rebound, as localhost of another", home, "GET", "/", "localhost.evil.example", nil, false, 421},
		{"rebound, nothing", home, "GET", "/nothing", "evil.example", nil, false, 421},
		{"a probe", home, "GET", "/readyz", "evil.example", nil, false, 200},
		{"a proxy with the token", home, "GET", "/v1/status", "admin.example", nil, true, 200},
		{"an address of IPv6", home, "GET", "/", "[::1]:7070", nil, false, 200},
		{"a name of this machine", home, "GET", "/", "LOCALHOST.:7070", nil, false, 200},
		{"from elsewhere", away, "GET", "/", "edge.example:7070", nil, false, 200},
	} {
		r := httptest.NewRequest(tt.method, "http://"+tt.host+tt.path, strings.NewReader(""))
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.local))
		for i := 0; i+1 < len(tt.header); i += 2 {
			r.Header.Set(tt.header[i], tt.header[i+1])
		}
		if tt.token {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != tt.want || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got %d %s, want %d", tt.name, w.Code, w.Body, tt.want)
		}
	}
}
