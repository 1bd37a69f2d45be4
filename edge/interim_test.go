package edge

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// TestInterimAndTrailer: what comes before and behind a response that is passed
// reaches a client that takes it; what is stored has neither.
func TestInterimAndTrailer(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		if r.URL.Path == "/stored" {
			w.Header().Set("Cache-Control", hour)
		}
		w.Header().Set("Trailer", "X-Sum, Set-Cookie")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "7")
		w.Header().Set("Set-Cookie", "a=b")
	})
	tests := []struct {
		name, method, path, te, hint, trailer string
	}{
		{"passed", "POST", "/a", "trailers", "</style.css>", "7"},
		{"passed to who throws trailers away", "POST", "/a", "", "</style.css>", ""},
		{"stored", "GET", "/stored", "trailers", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var hint string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				if status == http.StatusEarlyHints {
					hint = h.Get("Link")
				}
				return nil
			}})
			resp, body := send(ctx, t, tt.method, b.url+tt.path, strings.NewReader(""), "Te", tt.te)
			if body != "body" || hint != tt.hint || resp.Header.Get("Link") != "" {
				t.Errorf("%q, hint %q, Link %q; want hint %q", body, hint, resp.Header.Get("Link"), tt.hint)
			}
			if got := resp.Trailer; got.Get("X-Sum") != tt.trailer || got.Get("Set-Cookie") != "" {
				t.Errorf("trailer %v, want X-Sum %q", got, tt.trailer)
			}
		})
	}
}

// TestABodyIsNotAskedForInVain is RFC 9110, 10.1.1: a client that waits to be told
// to go on is told so by the origin.
func TestABodyIsNotAskedForInVain(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	for path, want := range map[string]bool{"/yes": true, "/no": false} {
		told := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { told = true }})
		resp, body := send(ctx, t, "POST", b.url+path, strings.NewReader("film"), "Expect", "100-continue")
		if told != want || want != (body == "film") || want != (resp.StatusCode == 200) {
			t.Errorf("%s: told to go on: %v, then %d %q", path, told, resp.StatusCode, body)
		}
	}
}

// send is for requests that bench.do cannot make.
func send(ctx context.Context, t *testing.T, method, url string, content io.Reader, name, value string) (resp *http.Response, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	if value != "" {
		r.Header.Set(name, value)
	}
	transport := &http.Transport{ExpectContinueTimeout: timeToWait}
	defer transport.CloseIdleConnections()
	if resp, err = transport.RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(read)
}

// timeToWait is longer than any test: a client that is not told to go on never does.
const timeToWait = 1 << 40
