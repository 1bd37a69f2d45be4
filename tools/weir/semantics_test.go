package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// step is one request over some protocol, and what has to come of it.
type step struct {
	request []string // names and values
	method  string   // default GET
	status  int
	want    string   // in Cache-Status
	fields  []string // names and values that the response must have; "-Name": must not
}

// TestSemanticsOverEveryProtocol: the rules of a shared cache do not depend on how
// a client comes. Each row runs on a path of its own, over each protocol.
func TestSemanticsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	const date = "Mon, 02 Nov 2026 10:00:00 GMT"
	first := step{status: 200, want: "fwd=uri-miss; fwd-status=200; stored; ttl="}
	rows := []struct {
		name   string
		answer []string // of the origin, to what has no condition that it knows
		steps  []step
	}{
		{"fresh", []string{"Cache-Control", "max-age=60"}, []step{first, {status: 200, want: "hit; ttl=", fields: []string{"Via", "1.1 edge-1"}}}},
		{"no-store", []string{"Cache-Control", "no-store"}, []step{{status: 200, want: "detail=no-store"}, {status: 200, want: "fwd="}}},
		{"private", []string{"Cache-Control", "private, max-age=60"}, []step{{status: 200, want: "detail=private"}, {status: 200, want: "fwd="}}},
		{"validated", []string{"Cache-Control", "no-cache", "ETag", `"1"`}, []step{{status: 200}, {status: 200, want: "fwd=stale; fwd-status=304", fields: []string{"-Age"}}}},
		{"If-None-Match", []string{"Cache-Control", "max-age=60", "ETag", `"1"`}, []step{first, {request: []string{"If-None-Match", `"0", W/"1"`}, status: 304, want: "hit", fields: []string{"Etag", `"1"`, "-Content-Type"}}}},
		{"If-Modified-Since", []string{"Cache-Control", "max-age=60", "Last-Modified", date}, []step{first, {request: []string{"If-Modified-Since", date}, status: 304, want: "hit"}}},
		{"If-Match", []string{"Cache-Control", "max-age=60", "ETag", `"1"`}, []step{first, {request: []string{"If-Match", `"2"`}, status: 412, want: "fwd=request; fwd-status=412"}}},
		{"HEAD", []string{"Cache-Control", "max-age=60"}, []step{{method: "HEAD", status: 200, want: "fwd=uri-miss"}, {status: 200, want: "fwd=uri-miss"}, {method: "HEAD", status: 200, want: "hit", fields: []string{"Content-Length", "10"}}}},
		{"range", []string{"Cache-Control", "max-age=60"}, []step{first, {request: []string{"Range", "bytes=2-4"}, status: 206, want: "hit", fields: []string{"Content-Range", "bytes 2-4/10"}}, {request: []string{"Range", "bytes=10-"}, status: 416, fields: []string{"Content-Range", "bytes */10"}}}},
		{"range if it is weak", []string{"Cache-Control", "max-age=60", "ETag", `W/"1"`}, []step{first, {request: []string{"Range", "bytes=2-4", "If-Range", `W/"1"`}, status: 200, want: "hit"}}},
		{"vary", []string{"Cache-Control", "max-age=60", "Vary", "X"}, []step{{request: []string{"X", "1"}, status: 200}, {request: []string{"X", "2"}, status: 200, want: "fwd=vary-miss"}, {request: []string{"X", "1"}, status: 200, want: "hit"}}},
		{"credentials", []string{"Cache-Control", "max-age=60"}, []step{{request: []string{"Authorization", "x"}, status: 200, want: "detail=authorization"}, {status: 200, want: "stored"}}},
		{"cookie", []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, []step{{status: 200, want: "detail=set-cookie"}, {status: 200, want: "fwd="}}},
		{"for caches", []string{"CDN-Cache-Control", "max-age=60", "Cache-Control", "no-store"}, []step{first, {status: 200, want: "hit"}}},
		{"only if cached", []string{"Cache-Control", "max-age=60"}, []step{{request: []string{"Cache-Control", "only-if-cached"}, status: 504}, first, {request: []string{"Cache-Control", "only-if-cached"}, status: 200, want: "hit"}}},
		{"stale if error", []string{"Cache-Control", "max-age=0, stale-if-error=60", "Fails", "yes"}, []step{{status: 200, want: "stored"}, {status: 200, want: "detail=stale-if-error"}}},
		{"must be validated", []string{"Cache-Control", "max-age=0, must-revalidate", "ETag", `"1"`, "Fails", "yes"}, []step{{status: 200}, {status: 500, want: "fwd=stale; fwd-status=500", fields: []string{"Proxy-Status", "edge-1; next-hop=origin; next-protocol=http/1.1; received-status=500"}}}},
		{"a refusal", nil, []step{{request: []string{"CDN-Loop", "weir"}, status: 508, fields: []string{"Proxy-Status", "edge-1; error=proxy_loop_detected"}}}},
	}
	n := newSemanticsNode(t, func(w http.ResponseWriter, r *http.Request, times int) {
		var row int
		_, _ = fmt.Sscanf(strings.TrimLeft(r.URL.Path, "/"), "%d", &row)
		scripted(w, r, rows[row].answer, times)
	})
	for _, w := range ways() {
		c, base := n.client(t, w)
		for i, row := range rows {
			for j, s := range row.steps {
				h := http.Header{}
				for k := 0; k+1 < len(s.request); k += 2 {
					h.Set(s.request[k], s.request[k+1])
				}
				r := c.Get(t.Context(), fmt.Sprintf("%s/%d/%s", base, i, w.name), proof.Options{Method: s.method, Header: h, AnyStatus: true})
				said := r.Header.Get("Cache-Status")
				if r.Status != s.status || !strings.Contains(said, s.want) {
					t.Errorf("%s, %s, request %d: %d, %q; want %d, %q", w.name, row.name, j, r.Status, said, s.status, s.want)
				}
				wantFields(t, fmt.Sprintf("%s, %s, request %d", w.name, row.name, j), r.Header, s.fields)
			}
		}
	}
}

// scripted answers as an origin with one representation of ten bytes.
func scripted(w http.ResponseWriter, r *http.Request, answer []string, times int) {
	tag := ""
	for i := 0; i+1 < len(answer); i += 2 {
		switch answer[i] {
		case "Fails":
			if times > 1 {
				w.Header().Del("Cache-Control")
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		case "ETag":
			tag = answer[i+1]
			w.Header().Set("ETag", tag)
		default:
			w.Header().Set(answer[i], answer[i+1])
		}
	}
	switch match := r.Header.Get("If-Match"); {
	case match != "" && match != tag:
		w.WriteHeader(http.StatusPreconditionFailed)
	case tag != "" && r.Header.Get("If-None-Match") == tag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "0123456789")
	}
}

func wantFields(t *testing.T, what string, h http.Header, want []string) {
	t.Helper()
	for i := 0; i < len(want); i++ {
		if name, absent := strings.CutPrefix(want[i], "-"); absent {
			if got := h.Get(name); got != "" {
				t.Errorf("%s: %s %q, want none", what, name, got)
			}
			continue
		}
		if got := h.Get(want[i]); got != want[i+1] {
			t.Errorf("%s: %s %q, want %q", what, want[i], got, want[i+1])
		}
		i++
	}
}

// newSemanticsNode is a node on real sockets before an origin that is told how
// often it was asked for a path.
func newSemanticsNode(t *testing.T, origin func(w http.ResponseWriter, r *http.Request, times int)) *socketNode {
	t.Helper()
	var mu sync.Mutex // guards asked
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		times := asked[r.URL.Path]
		mu.Unlock()
		origin(w, r, times)
	}))
	c := configs.Default()
	c.Node.Name, c.Node.Dir = "edge-1", t.TempDir()
	c.Listen.HTTP, c.Listen.HTTPS, c.Listen.Admin = "127.0.0.1:0", "127.0.0.1:0", ""
	c.Listen.DrainTimeout = configs.Duration(time.Second)
	c.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{server.URL}}}
	n, err := newNode(nodeOptions{config: c, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.listen(); err != nil {
		t.Fatal(err)
	}
	running := start(context.Background(), n.run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return &socketNode{node: n, oracle: proof.NewOracle(t.Name())}
}
