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
	for end := time.Now().Add(patience); (ended.Load() < streams || s.Stats().Running > 0) && time.Now().Before(end); {
		runtime.Gosched()
	}
	if ended.Load() != streams || s.Stats().Running != 0 {
		t.Errorf("%d of %d handlers ended, %d requests run", ended.Load(), streams, s.Stats().Running)
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

// Our own client does not spin on a server that allows frames of no bytes (CVE-2026-33814).
func TestClientOfAServerWithoutFrames(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_, _ = io.CopyN(io.Discard, far, int64(prefaceBytes))
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
