package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// heapInUse is what the process holds after a collection.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// allocated is what the process has allocated so far.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// A client that takes nothing, and pings for ever, holds no handler longer than the
// deadline that the handler pushes, and little memory until then. Not parallel: it
// measures the process.
func TestHTTP2StalledReaders(t *testing.T) {
	const streams, limit = maxStreams, 2 * time.Second
	file, _ := segment(t, 10<<20)
	var blocked, ended atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
		blocked.Add(1)
		defer ended.Add(1)
		if _, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, 10<<20)); err == nil {
			t.Error("a body went out without a window")
		}
		panic(http.ErrAbortHandler)
	})})
	c := s.rawHTTP2(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	before := heapInUse()
	for i := range uint32(streams) {
		if err := c.request(2*i+1, "/", true); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); blocked.Load() < streams && time.Now().Before(end); {
		runtime.Gosched()
	}
	<-time.After(200 * time.Millisecond) // until they are all stuck in a write
	each := (heapInUse() - before) / streams
	t.Logf("%d handlers blocked, %d bytes for each", blocked.Load()-ended.Load(), each)
	// What copyBytes allows, and 24 KiB for the request and its goroutines.
	if most := int64(copyBytes + 24<<10); each > most {
		t.Errorf("%d bytes for a stalled stream, want at most %d", each, most)
	}
	resets := 0
	for resets < streams {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("after %d resets: %v", resets, err)
		}
		if _, ok := f.(*http2.RSTStreamFrame); ok {
			resets++
			_ = c.WritePing(false, [8]byte{})
		}
	}
	for end := time.Now().Add(patience); ended.Load() < streams && time.Now().Before(end); {
		runtime.Gosched()
	}
	if ended.Load() != streams || s.Stats().Running != 0 {
		t.Errorf("%d of %d handlers ended", ended.Load(), streams)
	}
	for why, n := range s.Stats().Refused {
		if n != 0 {
			t.Errorf("refused for %s: that we give up is not the client's doing", why)
		}
	}
}

// Not parallel: it measures the process.
func TestHPACKBomb(t *testing.T) {
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		t.Error("the handler was called")
	})})
	const reference, references = 0xbe, 10_000 // the newest entry of the dynamic table
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	get := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}, {Name: ":path", Value: "/"}}
	for _, f := range append(get, hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("y", 4000)}) {
		_ = enc.WriteField(f)
	}
	bomb := append(bytes.Clone(block.Bytes()), bytes.Repeat([]byte{reference}, references)...)
	var small bytes.Buffer
	enc = hpack.NewEncoder(&small)
	for _, f := range get {
		_ = enc.WriteField(f)
	}
	for i := range 2000 {
		_ = enc.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i)})
	}
	for name, send := range map[string]func(c *rawHTTP2) error{
		"one frame": func(c *rawHTTP2) error {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bomb, EndHeaders: true, EndStream: true})
		},
		"ten frames": func(c *rawHTTP2) error {
			err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bomb[:5000], EndStream: true})
			for rest := bomb[5000:]; len(rest) > 0 && err == nil; {
				n := min(1000, len(rest))
				err = c.WriteContinuation(1, n == len(rest), rest[:n])
				rest = rest[n:]
			}
			return err
		},
		"many small fields": func(c *rawHTTP2) error {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: small.Bytes(), EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.rawHTTP2(t)
			before := allocated()
			if err := send(c); err != nil {
				t.Fatal(err)
			}
			status, code := "", http2.ErrCodeNo
			c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			for status == "" && code == http2.ErrCodeNo {
				f, err := c.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.MetaHeadersFrame:
					status = f.PseudoValue("status")
				case *http2.GoAwayFrame:
					code = f.ErrCode
				}
			}
			took := allocated() - before
			t.Logf("status %q, GOAWAY %v, %d bytes allocated by both sides", status, code, took)
			if status != "431" && code == http2.ErrCodeNo || took > 1<<20 {
				t.Errorf("status %q, GOAWAY %v, %d bytes allocated, want 431 or GOAWAY and less than 1 MiB", status, code, took)
			}
		})
	}
}

// RFC 9113, 8.1.1: what is malformed ends its stream and is not answered with success.
func TestHTTP2MalformedRequests(t *testing.T) {
	t.Parallel()
	var bodies atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			bodies.Add(1)
		} else {
			panic(http.ErrAbortHandler)
		}
	})})
	get := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}
	with := func(more ...string) []string { return append(append([]string(nil), get...), more...) }
	for name, tt := range map[string]struct {
		fields []string
		body   int    // bytes of DATA; none: END_STREAM on HEADERS
		status string // besides a stream error; what net/http answers itself
	}{
		"body shorter than said":   {fields: with("content-length", "5"), body: 3},
		"body longer than said":    {fields: with("content-length", "5"), body: 7},
		"body though none is said": {fields: with("content-length", "0"), body: 1},
		"two methods":              {fields: with(":method", "GET")},
		"two paths":                {fields: append([]string{":path", "/"}, get...)},
		"two authorities":          {fields: append([]string{":authority", "y"}, get...)},
		"late pseudo-header":       {fields: []string{":method", "GET", ":scheme", "https", ":authority", "x", "a", "b", ":path", "/"}},
		"no path":                  {fields: get[:6]},
		"empty path":               {fields: []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", ""}},
		"no method":                {fields: get[2:]},
		"no scheme":                {fields: []string{":method", "GET", ":authority", "x", ":path", "/"}},
		"unknown pseudo-header":    {fields: append([]string{":x", "y"}, get...)},
		"a status":                 {fields: append([]string{":status", "200"}, get...)},
		"another host":             {fields: with("host", "y"), status: "400"},
		"two hosts":                {fields: with("host", "x", "host", "x"), status: "400"},
		"upper case":               {fields: with("X-Y", "z")},
		"a line feed":              {fields: with("x", "a\nb")},
		"transfer-encoding":        {fields: with("transfer-encoding", "chunked"), status: "400"},
		"connection":               {fields: with("connection", "close"), status: "400"},
		"te":                       {fields: with("te", "gzip"), status: "400"},
		"101 fields":               {fields: with(strings.Split(strings.Repeat("a,b,", maxFields+1), ",")[:2*maxFields+2]...), status: "431"},
		"100 fields":               {fields: with(strings.Split(strings.Repeat("a,b,", maxFields+1), ",")[:2*maxFields]...), status: "200"},
		"the same host":            {fields: with("host", "x"), status: "200"},
		"body as said":             {fields: with("content-length", "5"), body: 5, status: "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.rawHTTP2(t)
			if err := c.headers(1, tt.body == 0, tt.fields...); err != nil {
				t.Fatal(err)
			}
			if tt.body > 0 {
				_ = c.WriteData(1, true, make([]byte, tt.body))
			}
			status, code, reset := c.stream(t, 1)
			switch {
			case reset && tt.status != "200" && code == http2.ErrCodeProtocol:
			case !reset && status == tt.status:
			case reset && code == http2.ErrCodeInternal && tt.body > 0 && tt.status == "": // the handler was told, and gave up
			default:
				t.Errorf("status %q, reset %v with %v, want %q or PROTOCOL_ERROR", status, reset, code, tt.status)
			}
		})
	}
}

// Our own client does not spin on a server that allows frames of no bytes (CVE-2026-33814).
func TestClientOfAServerWithoutFrames(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_, _ = io.CopyN(io.Discard, far, prefaceBytes)
		fr := http2.NewFramer(far, far)
		fr.AllowIllegalWrites = true
		go func() { _, _ = io.Copy(io.Discard, far) }()
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
	}()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		Protocols: &p, DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil },
	}}
	begin := time.Now()
	res, err := client.Post("http://x/", "text/plain", bytes.NewReader(make([]byte, 100_000)))
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("a request was answered")
	}
	if took := time.Since(begin); took > 5*time.Second || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v after %v, want an error at once", err, took)
	}
}

// Between nodes there is room for the fields that a node adds.
func TestFieldsBetweenNodes(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TrustClients: true, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	for n, want := range map[int]string{2 * maxFields: "200", 2*maxFields + 1: "431"} {
		fields := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}
		for range n {
			fields = append(fields, "a", "b")
		}
		c := s.rawHTTP2(t)
		if err := c.headers(1, true, fields...); err != nil {
			t.Fatal(err)
		}
		if status, code, reset := c.stream(t, 1); status != want || reset {
			t.Errorf("%d fields: status %q, reset %v with %v, want %s", n, status, reset, code, want)
		}
	}
}
