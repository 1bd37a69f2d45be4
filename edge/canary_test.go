package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestNothingInARequestChoosesWhereWeConnect: whatever a client says of addresses, in target, Host and fields, only the
// site's origin is connected to.
func TestNothingInARequestChoosesWhereWeConnect(t *testing.T) {
	t.Parallel()
	canary, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int64
	ended := make(chan struct{})
	go func() { // ends by Close
		defer close(ended)
		for {
			c, err := canary.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	here := canary.Addr().String()
	_, port, _ := net.SplitHostPort(here)
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "redirect") {
			http.Redirect(w, r, "http://"+here+"/", http.StatusFound)
			return
		}
		w.Header().Set("Cache-Control", r.Header.Get("X-Want"))
		w.Header().Set("Link", "<http://"+here+"/>; rel=preload")
		w.Header().Set("Content-Location", "http://"+here+"/")
		w.Header().Set("X-Accel-Redirect", "http://"+here+"/")
		w.Header().Set("X-Sendfile", "http://"+here+"/")
		_, _ = io.WriteString(w, "origin")
	})
	address := strings.TrimPrefix(b.url, "http://")
	send := func(line, host string, fields ...string) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "%s\r\nHost: %s\r\nConnection: close\r\n", line, host)
		for _, f := range fields {
			_, _ = fmt.Fprintf(conn, "%s\r\n", f)
		}
		_, _ = io.WriteString(conn, "\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%q, Host %q, %q: %v", line, host, fields, err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK && string(body) != "origin" && !strings.HasPrefix(line, "HEAD") {
			t.Errorf("%q, Host %q, %q: got %q", line, host, fields, body)
		}
	}
	uri := "http://" + here + "/latest/meta-data/"
	n := 0
	path := func(p string) string { n++; return fmt.Sprintf("/%d%s", n, p) } // each a miss
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PROPFIND"} {
		for _, query := range []string{"u", "url", "uri", "target", "dest", "redirect", "next", "host", "proxy", "file"} {
			send(fmt.Sprintf("%s %s?%s=%s HTTP/1.1", method, path("/fetch"), query, url.QueryEscape(uri)), "h")
			send(fmt.Sprintf("%s %s?%s=%s HTTP/1.1", method, path("/fetch"), query, uri), "h")
		}
		for _, field := range []string{
			"X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-For", "X-Host", "X-Original-Host", "X-HTTP-Host-Override", "X-Original-URL", "X-Rewrite-URL",
			"X-Forwarded-Path", "X-Proxy-Url", "Base-Url", "Destination", "Referer", "Origin", "Via", "Proxy", "X-Wap-Profile", "From", "True-Client-IP",
		} {
			send(method+" "+path("/x")+" HTTP/1.1", "h", field+": "+here)
			send(method+" "+path("/x")+" HTTP/1.1", "h", field+": "+uri)
			send(method+" "+path("/x")+" HTTP/1.1", "h", strings.ReplaceAll(field, "-", "_")+": "+uri)
		}
		send(method+" "+path("/x")+" HTTP/1.1", "h", "Forwarded: for="+here+";host="+here+";proto=http;by="+here)
		for _, host := range []string{
			here, "127.0.0.1", "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "2130706433:" + port, "0x7f000001:" + port, "0:" + port, "127.1:" + port,
			"h@" + here, "h#@" + here, here + "/", "h:80@" + here, "h " + here, "127.0.0.1.:" + port,
		} {
			send(method+" "+path("/x")+" HTTP/1.1", host)
			send(method+" http://"+host+path("/x")+" HTTP/1.1", "h")
			send(method+" http://h"+path("/x")+" HTTP/1.1", host)
			send(method+" //"+host+path("/x")+" HTTP/1.1", "h")
			send(method+" "+path("/")+"http://"+host+"/x HTTP/1.1", "h")
			send(method+" "+path("/@")+host+"/x HTTP/1.1", "h")
		}
		send(method+" "+path("/redirect")+" HTTP/1.1", "h", "X-Want: max-age=60")
		send(method+" "+path("/links")+" HTTP/1.1", "h", "X-Want: max-age=60")
		send(method+" "+path("/links")+" HTTP/1.1", "h", "X-Want: no-store")
	}
	send("CONNECT "+here+" HTTP/1.1", here)
	send("GET "+uri+" HTTP/1.0", "h")
	send("GET @"+here+"/ HTTP/1.1", "h")
	send("GET /x HTTP/1.1", "h", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Origin: "+uri)
	_ = canary.Close()
	<-ended
	if n := connections.Load(); n != 0 || b.origin.Load() < 100 {
		t.Errorf("%d connections to an address that requests named, %d requests to the origin", n, b.origin.Load())
	}
}
