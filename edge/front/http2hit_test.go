package front

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hitBytes is a playlist. hitAllocs is what one costs, one of its client's TLS included: 7 are the request, 6 the stream with its
// context and its response, 2 the wrapper of that, 2 of TLS and one is the date.
const hitBytes, hitAllocs = 1000, 20

// hitHandler answers as an edge does that has the object in memory, and allocates nothing.
func hitHandler() http.Handler {
	content := make([]byte, hitBytes)
	fields := http.Header{
		"Content-Length": {"1000"}, "Content-Type": {"application/vnd.apple.mpegurl"}, "Cache-Control": {"max-age=2"},
		"Etag": {`"5f3e2d1c0b"`}, "Cache-Status": {"weir; hit; ttl=1"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range fields {
			h[name] = values
		}
		_, _ = w.Write(content)
	})
}

// bareClient asks for one small thing after another over HTTP/2, and neither looks at the answers nor allocates.
type bareClient struct {
	conn   io.ReadWriter
	ask    []byte // HEADERS
	update []byte // WINDOW_UPDATE of the connection
	buf    []byte
	asked  uint32
}

func (r *running) bareClient(t testing.TB) *bareClient {
	t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0) // each request is alike
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/a/b.m3u8"}, {"user-agent", "someone's player"}, {"accept", "*/*"},
	} {
		if err := enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	c := &bareClient{
		conn: r.dial(t, true, protoHTTP2), buf: make([]byte, 4<<10), update: []byte(rawFrame(frameWindowUpdate, 0, 0, "\x00\x10\x00\x00")),
		ask: []byte(rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, block.String())),
	}
	if _, err := io.WriteString(c.conn, http2.ClientPreface+rawFrame(frameSettings, 0, 0, "")+rawFrame(frameSettings, flagAck, 0, "")); err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks and reads up to the end of the answer.
func (c *bareClient) get() error {
	const each = 1 << 20 / hitBytes // requests that an update of the window is for
	binary.BigEndian.PutUint32(c.ask[5:], 2*c.asked+1)
	request := c.ask
	if c.asked%each == 0 {
		request = append(c.buf[:0], c.update...)
		request = append(request, c.ask...)
	}
	c.asked++
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	for {
		if _, err := io.ReadFull(c.conn, c.buf[:frameHeaderBytes]); err != nil {
			return err
		}
		f := parseFrame(c.buf)
		if _, err := io.ReadFull(c.conn, c.buf[:f.length]); err != nil {
			return err
		}
		if f.kind == frameData && f.has(flagEndStream) {
			return nil
		}
	}
}

// BenchmarkHTTP2 asks for a playlist from memory, one at a time; the client's CPU counts.
func BenchmarkHTTP2(b *testing.B) {
	c := start(b, Options{Handler: hitHandler()}).bareClient(b)
	begin := cpuSeconds(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.get(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-begin)*1e6/float64(b.N), "cpu-µs/op")
}

// What a small hit allocates: the stream, its context, the request, and what it is made of.
func TestHTTP2Allocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	c := start(t, Options{Handler: hitHandler()}).bareClient(t)
	if n := testing.AllocsPerRun(2000, func() {
		if err := c.get(); err != nil {
			t.Fatal(err)
		}
	}); n > hitAllocs {
		t.Errorf("%v allocations, want at most %d", n, hitAllocs)
	}
}
