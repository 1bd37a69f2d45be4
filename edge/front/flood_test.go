package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawHTTP2 is a client that sends any frames it likes.
type rawHTTP2 struct {
	*http2.Framer
	net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// rawHTTP2 connects and sends the preface and settings.
func (r *running) rawHTTP2(t testing.TB, settings ...http2.Setting) *rawHTTP2 {
	t.Helper()
	c := newRawHTTP2(r.dial(t, true, "h2"))
	_ = c.WriteSettings(settings...)
	return c
}

// newRawHTTP2 sends the preface.
func newRawHTTP2(conn net.Conn) *rawHTTP2 {
	c := &rawHTTP2{Framer: http2.NewFramer(conn, conn), Conn: conn}
	c.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	return c
}

// request sends HEADERS for a GET of path; fields are more names and values. Without end
// it leaves the stream open for a body.
func (c *rawHTTP2) request(stream uint32, path string, end bool, fields ...string) error {
	method := "GET"
	if !end {
		method = "POST"
	}
	return c.headers(stream, end, append([]string{":method", method, ":scheme", "https", ":authority", "x", ":path", path}, fields...)...)
}

func (c *rawHTTP2) headers(stream uint32, end bool, fields ...string) error {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end})
}

// ended reads to the end of the connection and returns the code of the last GOAWAY, if any.
func (c *rawHTTP2) ended() (code http2.ErrCode, said bool) {
	for {
		f, err := c.ReadFrame()
		var wrong http2.StreamError
		if errors.As(err, &wrong) {
			continue
		}
		if err != nil {
			return code, said
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code, said = f.ErrCode, true
		}
	}
}

// stream reads until a stream ends, and returns its status and the code of its reset.
func (c *rawHTTP2) stream(t *testing.T, id uint32) (status string, reset http2.ErrCode, wasReset bool) {
	t.Helper()
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("waiting for stream %d: %v", id, err)
		}
		if f.Header().StreamID != id {
			if g, ok := f.(*http2.GoAwayFrame); ok {
				t.Fatalf("waiting for stream %d: GOAWAY %v", id, g.ErrCode)
			}
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			if f.StreamEnded() {
				return status, 0, false
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return status, 0, false
			}
		case *http2.RSTStreamFrame:
			return status, f.ErrCode, true
		}
	}
}

// threadCPU is what the calling thread has used so far.
func threadCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_THREAD, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// control asks n times for want and returns the 99th percentile.
func control(t *testing.T, c *http.Client, url, want string, n int) time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		if _, body, err := get(c, url); err != nil || string(body) != want {
			t.Fatalf("an honest request: %d bytes, %v, want %d", len(body), err, len(want))
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took[n*99/100]
}

// calmAgain checks, when a flood is over, that nothing of it is left but what another round of
// honest requests may hold.
func calmAgain(t *testing.T) (check func()) {
	t.Helper()
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	return func() {
		t.Helper()
		for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines+5 && time.Now().Before(end); {
			<-time.After(10 * time.Millisecond)
		}
		_ = heapInUse() // what lies in pools goes at the second collection
		now := heapInUse()
		t.Logf("%d goroutines, %d before; %d bytes more", runtime.NumGoroutine(), goroutines, now-heap)
		if runtime.NumGoroutine() > goroutines+5 || now-heap > max(4<<20, heap/10) {
			t.Error("the flood is over, and not all is as before")
		}
	}
}

// honestBody is what honest clients ask for during floods.
var honestBody = strings.Repeat("x", 1500)

// http2Floods are what one connection may be flooded with: i counts from 0.
var http2Floods = []struct {
	name string
	want []reason // any of them; nil: net/http ends the connection itself
	send func(c *rawHTTP2, i uint32) error
}{
	{"rapid reset", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/", true), c.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
	}},
	{"reset of a body", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/", false), c.WriteData(2*i+1, false, make([]byte, 100)), c.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
	}},
	{"window of zero", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/wait", false), c.WriteWindowUpdate(2*i+1, 0))
	}},
	{"window too large", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/wait", false), c.WriteWindowUpdate(2*i+1, 1<<31-1))
	}},
	{"priority on itself", []reason{http2Odd, http2Control}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/wait", false), c.WritePriority(2*i+1, http2.PriorityParam{StreamDep: 2*i + 1}))
	}},
	{"body after its end", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/wait", true), c.WriteData(2*i+1, false, make([]byte, 100)))
	}},
	{"no path", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error { return c.headers(2*i+1, true, ":method", "GET", ":scheme", "https") }},
	{"body longer than said", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error {
		return errors.Join(c.request(2*i+1, "/wait", false, "content-length", "5"), c.WriteData(2*i+1, true, make([]byte, 7)))
	}},
	{"too many streams", []reason{http2Odd}, func(c *rawHTTP2, i uint32) error { return c.request(2*i+1, "/wait", true) }},
	{"continuations of 15 KB", nil, func(c *rawHTTP2, i uint32) error {
		if i == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}
		return c.WriteContinuation(1, false, bytes.Repeat([]byte{0x84}, 15<<10))
	}},
	{"empty continuations", []reason{http2HeaderLen}, func(c *rawHTTP2, i uint32) error {
		if i == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}
		return c.WriteContinuation(1, false, nil)
	}},
	{"pings", []reason{http2Control}, func(c *rawHTTP2, _ uint32) error { return c.WritePing(false, [8]byte{}) }},
	{"acknowledged pings", []reason{http2Control}, func(c *rawHTTP2, _ uint32) error { return c.WritePing(true, [8]byte{}) }},
	{"settings", []reason{http2Control}, func(c *rawHTTP2, i uint32) error {
		return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i % 100})
	}},
	{"priorities", []reason{http2Control}, func(c *rawHTTP2, i uint32) error {
		return c.WritePriority(2*i+1, http2.PriorityParam{StreamDep: 0, Weight: 1})
	}},
	{"unknown frames", []reason{http2Control}, func(c *rawHTTP2, _ uint32) error { return c.WriteRawFrame(0xbb, 0, 0, []byte("x")) }},
	{"priority updates", []reason{http2Control}, func(c *rawHTTP2, _ uint32) error { return c.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=1")) }},
	{"windows of the connection", []reason{http2Control}, func(c *rawHTTP2, _ uint32) error { return c.WriteWindowUpdate(0, 1) }},
	{"empty bodies", []reason{http2Control}, func(c *rawHTTP2, i uint32) error {
		if i == 0 {
			return c.request(1, "/wait", false)
		}
		return c.WriteData(1, false, nil)
	}},
}

// Not parallel: it measures the process. Each flood goes on, over one connection after
// another, while an honest client asks; that client, and what both sides have spent, is
// logged. What is checked is the reason of the end, and GOAWAY.
func TestHTTP2Floods(t *testing.T) {
	var begun atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			begun.Add(1)
			<-r.Context().Done()
		case "/honest":
			_, _ = io.WriteString(w, honestBody)
		default:
			begun.Add(1)
		}
	})})
	honest, url := s.client(t, "h2")
	const asked = 50
	_ = control(t, honest, url+"/honest", honestBody, asked)
	defer calmAgain(t)()
	for _, flood := range http2Floods {
		t.Run(flood.name, func(t *testing.T) {
			idle := control(t, honest, url+"/honest", honestBody, asked)
			before, handlers := s.Stats().Refused, begun.Load()
			all := processCPU()
			stop := make(chan struct{})
			result := make(chan floodResult, 1)
			go func() { result <- attack(t, s, flood.send, stop) }()
			during := control(t, honest, url+"/honest", honestBody, asked)
			close(stop)
			got := <-result
			all = processCPU() - all
			refused := s.Stats().Refused
			n := int64(0)
			for _, want := range flood.want {
				n += refused[want.String()] - before[want.String()]
			}
			if n != int64(got.connections) && flood.want != nil {
				t.Errorf("%d of %d connections were refused for %s: %v before, %v after", n, got.connections, flood.want, before, refused)
			}
			if got.calm != got.connections && flood.want != nil {
				t.Errorf("%d of %d connections ended with ENHANCE_YOUR_CALM, the others with %v", got.calm, got.connections, got.codes)
			}
			each := int(begun.Load()-handlers) / got.connections
			if each > 2*oddEvents+maxStreams {
				t.Errorf("%d handlers were begun for one connection", each)
			}
			t.Logf("%d connections, %d units sent on each, %d handlers each; our CPU/theirs %.1f (with the honest client's); honest p99 %.1f times that of before, %v",
				got.connections, got.units/got.connections, each, float64(all-got.cpu)/float64(got.cpu), float64(during)/float64(idle), idle)
		})
	}
}

type floodResult struct {
	connections, calm, units int
	codes                    []http2.ErrCode
	cpu                      time.Duration // of the sender
}

// attack floods connections one after another until stop is closed, at least one.
func attack(t *testing.T, s *running, send func(*rawHTTP2, uint32) error, stop <-chan struct{}) (r floodResult) {
	t.Helper()
	runtime.LockOSThread() // its CPU is counted by the thread, which ends with it
	cpu := threadCPU()
	for {
		c := s.rawHTTP2(t)
		type ending struct {
			code http2.ErrCode
			said bool
		}
		ends := make(chan ending, 1)
		var over atomic.Bool
		go func() {
			code, said := c.ended()
			over.Store(true)
			ends <- ending{code, said}
		}()
		const most = 100_000
		for i := uint32(0); i < most && !over.Load() && send(c, i) == nil; i++ {
			r.units++
		}
		end := <-ends
		_ = c.Conn.Close()
		r.connections++
		if end.said && end.code == http2.ErrCodeEnhanceYourCalm {
			r.calm++
		} else {
			r.codes = append(r.codes, end.code)
		}
		select {
		case <-stop:
			r.cpu = threadCPU() - cpu
			return r
		default:
		}
	}
}

// Browsers load a hundred objects at once and give up many, players seek: none of that is
// a flood.
func TestHonestTrafficIsNotRefused(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 60_000)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(len(content))))
	})})
	for _, protocol := range []string{"h2", "h3"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c, url := s.client(t, protocol)
			if _, _, err := get(c, url); err != nil { // one connection for all that follows
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					if _, body, err := get(c, fmt.Sprint(url, "/", i)); err != nil || !bytes.Equal(body, content) {
						t.Errorf("%d bytes, %v", len(body), err)
					}
				})
			}
			all.Wait()
			for i := range 20 { // aborted after a while, as by a player that seeks
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.CopyN(io.Discard, res.Body, int64(i*2_000))
				cancel()
				_ = res.Body.Close()
			}
			for range 20 { // and at once
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				all.Go(func() {
					res, err := c.Do(req)
					if err == nil {
						_ = res.Body.Close()
					}
				})
				cancel()
			}
			all.Wait()
			if _, body, err := get(c, url); err != nil || !bytes.Equal(body, content) {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			for why, n := range s.Stats().Refused {
				if n != 0 {
					t.Errorf("refused for %s", why)
				}
			}
			if stats := s.Stats(); protocol == "h2" && stats.HTTP2.Accepted != 1 {
				t.Errorf("%d connections, want 1", stats.HTTP2.Accepted)
			}
		})
	}
}
