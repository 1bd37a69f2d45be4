package front

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// newTestPart is a server for connections that a test makes itself.
func newTestPart(handler http.HandlerFunc) *http2Part {
	log := slog.New(slog.DiscardHandler)
	return &http2Part{
		handler: handler, stats: &counters{refusals: refusals{log: log}}, log: log, timeout: time.Minute, idle: time.Hour, workers: newWorkers(), open: map[*http2Conn]struct{}{},
	}
}

// serveScript serves what a client sends, and then leaves, and returns what it got.
func serveScript(p *http2Part, conn *scripted) []byte {
	serveAll(p, conn)
	return conn.out.Bytes()
}

func serveAll(p *http2Part, conn net.Conn) {
	newHTTP2Conn(context.Background(), p, conn).serve()
	p.workers.close()
}

// patient is a client that lets others run before it leaves, so that most responses come.
type patient struct{ *scripted }

// Read implements net.Conn.
func (c patient) Read(p []byte) (int, error) {
	n, err := c.scripted.Read(p)
	for i := 0; err != nil && i < 100; i++ {
		runtime.Gosched()
	}
	return n, err
}

// readAll is a Handler that wants all of a body.
func readAll(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// getBlock is the header of a GET, and postBlock that of a POST.
const (
	getBlock  = "\x82\x87\x84\x41\x01x"
	postBlock = "\x83\x87\x84\x41\x01x"
)

// counted joins what frame makes of the first n streams, behind the preface and SETTINGS.
func counted(n int, frame func(stream uint32) string) []byte {
	b := []byte(http2.ClientPreface + rawFrame(frameSettings, 0, 0, ""))
	for i := range uint32(n) {
		b = append(b, frame(2*i+1)...)
	}
	return b
}

func TestHTTP2Budgets(t *testing.T) {
	t.Parallel()
	always := func(s string) func(uint32) string { return func(uint32) string { return s } }
	opened := func(s string) func(uint32) string {
		return func(stream uint32) string {
			if stream == 1 {
				return rawFrame(frameHeaders, flagEndHeaders, 1, postBlock) + s
			}
			return s
		}
	}
	request := func(stream uint32) string {
		return rawFrame(frameHeaders, flagEndHeaders|flagEndStream, stream, getBlock)
	}
	reset := func(stream uint32) string { return rawFrame(frameReset, 0, stream, "\x00\x00\x00\x08") }
	update := func(stream uint32) string { return rawFrame(frameWindowUpdate, 0, stream, "\x00\x00\x00\x01") }
	resets := func(stream uint32) string { return request(stream) + reset(stream) }
	continued := rawFrame(frameHeaders, 0, 1, getBlock)
	for _, tt := range []struct {
		name string
		in   []byte
		want reason
	}{
		{"resets within", counted(oddEvents, resets), allowed},
		{"a reset too many", counted(oddEvents+1, resets), http2Odd},
		{"resets of one stream", counted(oddEvents+1, opened(reset(1))), http2Odd},
		{"resets that we send", counted(oddEvents+1, func(stream uint32) string {
			return rawFrame(frameHeaders, flagEndHeaders|flagEndStream, stream, "\x82")
		}), http2Odd},
		{"settings within", counted(controlFrames-1, always(rawFrame(frameSettings, 0, 0, ""))), allowed},
		{"settings", counted(controlFrames, always(rawFrame(frameSettings, 0, 0, ""))), http2Control},
		{"pings", counted(controlFrames+1, always(rawFrame(framePing, 0, 0, "12345678"))), http2Control},
		{"priorities", counted(controlFrames+1, always(rawFrame(framePriority, 0, 1, "\x00\x00\x00\x00\x01"))), http2Control},
		{"unknown", counted(controlFrames+1, always(rawFrame(0xb7, 0, 1, "x"))), http2Control},
		{"priority updates", counted(controlFrames+1, always(rawFrame(framePriorityUpdate, 0, 0, "\x00\x00\x00\x01u=1"))), http2Control},
		{"empty bodies", counted(controlFrames+1, opened(rawFrame(frameData, 0, 1, ""))), http2Control},
		{"padded bodies", counted(controlFrames+1, opened(rawFrame(frameData, flagPadded, 1, "\x10"+string(make([]byte, 16))))), http2Control},
		{"whole bodies", counted(controlFrames+100, opened(rawFrame(frameData, 0, 1, "0123456789abcdef"))), allowed},
		{"requests", counted(50, request), allowed},
		{"requests with a window each", counted(50, func(stream uint32) string { return request(stream) + update(stream) }), allowed},
		{"windows", counted(controlFrames+1, always(update(0))), http2Control},
		{"a block too long", []byte(http2.ClientPreface + rawFrame(frameSettings, 0, 0, "") + continued + strings.Repeat(rawFrame(frameContinuation, 0, 1, strings.Repeat("\x84", 15<<10)), 5)), http2HeaderLen},
		{"empty continuations", []byte(http2.ClientPreface + rawFrame(frameSettings, 0, 0, "") + continued + strings.Repeat(rawFrame(frameContinuation, 0, 1, ""), maxContinuations+1)), http2HeaderLen},
		{"a frame of 16 MiB", counted(1, always("\xff\xff\xff\x00\x00\x00\x00\x00\x01")), http2Malformed},
		{"no preface", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), http2Malformed},
		{"no settings", []byte(http2.ClientPreface + rawFrame(framePing, 0, 0, "12345678")), http2Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPart(readAll)
			out := serveScript(p, &scripted{in: tt.in})
			if tt.name != "resets that we send" && tt.want != allowed && p.stats.refusals.counts[tt.want].Load() != 1 {
				t.Errorf("counted %v, want %q", p.stats.refusals.snapshot(), tt.want)
			}
			goAways, code := lastGoAway(t, out)
			switch {
			case tt.want == allowed && goAways > 0:
				t.Errorf("GOAWAY with code %d", code)
			case tt.want == http2Malformed && (goAways != 1 || h2Code(code) == codeNoError):
				t.Errorf("%d GOAWAY, code %d", goAways, code)
			case tt.want != allowed && tt.want != http2Malformed && (goAways != 1 || h2Code(code) != codeEnhanceYourCalm):
				t.Errorf("%d GOAWAY, code %d, want ENHANCE_YOUR_CALM", goAways, code)
			}
			p = newTestPart(readAll)
			p.trusted = true
			_, code = lastGoAway(t, serveScript(p, &scripted{in: tt.in}))
			if (tt.want == http2Odd || tt.want == http2Control) && h2Code(code) == codeEnhanceYourCalm {
				t.Error("a node has a budget")
			}
		})
	}
}

// lastGoAway goes through the frames that a client got, which have to be whole.
func lastGoAway(t *testing.T, out []byte) (n int, code uint32) {
	t.Helper()
	for len(out) >= frameHeaderBytes {
		f := parseFrame(out)
		if out = out[frameHeaderBytes:]; f.length > len(out) {
			t.Fatalf("half a frame: %+v, %d bytes", f, len(out))
		}
		if f.kind == frameGoAway {
			n, code = n+1, binary.BigEndian.Uint32(out[4:])
		}
		out = out[f.length:]
	}
	if len(out) > 0 {
		t.Fatalf("%d bytes behind the last frame", len(out))
	}
	return n, code
}

func TestHTTP2BudgetsBeginAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPart(readAll)
		client := dialPart(t, p)
		for i := range 5 * oddEvents {
			if i%oddEvents == 0 {
				time.Sleep(budgetWindow)
			}
			client.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, uint32(2*i+1), getBlock), rawFrame(frameReset, 0, uint32(2*i+1), "\x00\x00\x00\x08"))
		}
		synctest.Wait()
		if n := p.stats.refusals.counts[http2Odd].Load(); n > 0 {
			t.Errorf("refused for %d resets in each window", oddEvents)
		}
		client.close(p)
	})
}

// partClient is a client of a part over a pipe, in the bubble of a test.
type partClient struct {
	net.Conn
	framer *http2.Framer
	frames chan http2.Frame // until the connection ends; bodies are copied
	done   chan struct{}
}

func dialPart(t *testing.T, p *http2Part, settings ...http2.Setting) *partClient {
	t.Helper()
	ours, theirs := net.Pipe()
	c := &partClient{Conn: ours, framer: http2.NewFramer(ours, ours), frames: make(chan http2.Frame, 10_000), done: make(chan struct{})}
	go func() { // ends with the connection
		defer close(c.done)
		newHTTP2Conn(t.Context(), p, theirs).serve()
	}()
	go func() { // as above
		defer close(c.frames)
		for {
			f, err := c.framer.ReadFrame()
			if err != nil {
				return
			}
			if d, ok := f.(*http2.DataFrame); ok {
				f = &sentData{http2.DataFrame{FrameHeader: d.FrameHeader}, len(d.Data())}
			}
			c.frames <- f
		}
	}()
	c.send(t, http2.ClientPreface)
	if err := c.framer.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return c
}

// sentData is a DATA frame whose bytes are gone.
type sentData struct {
	http2.DataFrame
	bytes int
}

func (c *partClient) send(t *testing.T, frames ...string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.Join(frames, "")); err != nil {
		t.Fatal(err)
	}
}

// got is what has come: the bytes of bodies in the order of their frames, by stream.
func (c *partClient) got() (order []uint32, sizes map[uint32]int) {
	synctest.Wait()
	sizes = map[uint32]int{}
	for {
		select {
		case f := <-c.frames:
			if d, ok := f.(*sentData); ok {
				order = append(order, d.StreamID)
				sizes[d.StreamID] += d.bytes
			}
		default:
			return order, sizes
		}
	}
}

func (c *partClient) close(p *http2Part) {
	_ = c.Close()
	<-c.done
	p.workers.close()
}

// No more of a body leaves than both windows let go, whatever the client does to them meanwhile.
func TestHTTP2Windows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPart(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 200_000)) })
		c := dialPart(t, p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		want := func(n int, when string) {
			t.Helper()
			if _, sizes := c.got(); sizes[1] != n {
				t.Errorf("%s: %d bytes, want %d", when, sizes[1], n)
			}
		}
		c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, getBlock))
		want(10, "a window of 10")
		_ = c.framer.WriteWindowUpdate(1, 90)
		want(90, "90 more")
		_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		_ = c.framer.WriteWindowUpdate(1, 10)
		want(0, "none, as the window is 10 less")
		_ = c.framer.WriteWindowUpdate(1, 1<<20)
		want(defaultWindow-100, "all of the connection's")
		_ = c.framer.WriteWindowUpdate(0, 1<<20)
		want(200_000-defaultWindow, "the rest")
		c.close(p)
	})
}

// Who is more urgent goes first; of those that are alike in turn, or in order (RFC 9218, 10).
func TestHTTP2Priorities(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		ranks  []string // of requests 1, 3, 5 …; "-": it says nothing
		paths  []string
		want   []uint32 // streams in the order of their pieces, those in a row being one
		shared bool     // and so on
	}{
		{"nothing is said", []string{"-", "-"}, nil, []uint32{1, 3, 1, 3}, true},
		{"urgency", []string{"u=5", "u=1", "u=3"}, nil, []uint32{3, 5, 1}, false},
		{"one after the other", []string{"u=3", "u=3"}, nil, []uint32{1, 3}, false},
		{"a playlist", []string{"-", "-"}, []string{"/a.mp4", "/a.m3u8"}, []uint32{3, 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newTestPart(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = []string{"application/octet-stream"}
					w.Header()["Content-Length"] = []string{strconv.Itoa(4 * copyBytes)} // the last piece ends the stream
					_, _ = w.Write(make([]byte, 4*copyBytes))
				})
				c := dialPart(t, p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				_ = c.framer.WriteWindowUpdate(0, 1<<24)
				for i, rank := range tt.ranks {
					path := "/"
					if tt.paths != nil {
						path = tt.paths[i]
					}
					var block bytes.Buffer
					enc := hpack.NewEncoder(&block)
					for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}, {Name: ":path", Value: path}, {Name: "priority", Value: rank}} {
						if f.Value != "-" {
							_ = enc.WriteField(f)
						}
					}
					stream := uint32(2*i + 1)
					c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, stream, block.String()))
					synctest.Wait()
				}
				c.got()
				_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
				order, _ := c.got()
				if order = slices.Compact(order); !slices.Equal(order[:min(len(order), len(tt.want))], tt.want) || !tt.shared && len(order) > len(tt.want) {
					t.Errorf("frames of streams %v, want %v", order, tt.want)
				}
				c.close(p)
			})
		})
	}
}

// Of what a client asks for at once, no more is handled than may wait for its response; more follows when half of that has one,
// or has not after a while.
func TestHTTP2Turns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most, all = 8, 40
		var running atomic.Int64 // requests that have come
		next, over := make(chan struct{}), make(chan struct{})
		p := newTestPart(func(http.ResponseWriter, *http.Request) {
			running.Add(1)
			select {
			case <-next:
			case <-over:
			}
		})
		p.unanswered = most
		c := dialPart(t, p)
		go func() { // ends when all are read
			for i := range uint32(all) {
				_, _ = io.WriteString(c, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 2*i+1, getBlock))
			}
		}()
		want := func(n int64, when string) {
			t.Helper()
			if synctest.Wait(); running.Load() != n {
				t.Fatalf("%d requests are handled %s, want %d", running.Load(), when, n)
			}
		}
		answer := func(n int) {
			for range n {
				next <- struct{}{}
			}
		}
		want(most, "at first")
		answer(most/2 - 1)
		want(most, "with less than half of the responses")
		answer(1)
		want(most*3/2, "with half of the responses")
		time.Sleep(longestTurn - 1)
		want(most*3/2, "soon after")
		time.Sleep(1 * time.Nanosecond)
		want(most*5/2, "when those have had their time")
		close(over)
		want(all, "when all are answered")
		c.close(p)
	})
}

// A write that waits for a window ends with its deadline, and a request that is reset at once; the connection goes on.
func TestHTTP2Deadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 1)
		p := newTestPart(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
			}
			_, err := w.Write(make([]byte, 1<<20))
			errs <- err
		})
		c := dialPart(t, p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		begin := time.Now()
		c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, getBlock))
		if err := <-errs; err == nil || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v, want a minute", err, time.Since(begin))
		}
		c.send(t, rawFrame(frameHeaders, flagEndHeaders, 3, postBlock))
		synctest.Wait()
		c.send(t, rawFrame(frameReset, 0, 3, "\x00\x00\x00\x08"))
		if err := <-errs; err == nil {
			t.Error("no error for a stream that is reset")
		}
		c.send(t, rawFrame(frameHeaders, flagEndHeaders, 5, postBlock), rawFrame(frameWindowUpdate, 0, 5, "\x00\x20\x00\x00"), rawFrame(frameWindowUpdate, 0, 0, "\x00\x20\x00\x00"))
		if err := <-errs; err != nil {
			t.Errorf("the next request: %v", err)
		}
		c.close(p)
	})
}

// A client that has all of a response may ask for the next thing, whether the Handler has returned or not; one that has not may not.
func TestHTTP2Streams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		p := newTestPart(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Length", "1")
				_, _ = w.Write([]byte("x"))
			}
			<-over
		})
		c := dialPart(t, p)
		request := func(stream uint32, block string) string {
			return rawFrame(frameHeaders, flagEndHeaders|flagEndStream, stream, block)
		}
		for i := range uint32(maxStreams) {
			c.send(t, request(2*i+1, getBlock))
			synctest.Wait()
		}
		for i := range uint32(maxStreams) {
			c.send(t, request(2*(maxStreams+i)+1, postBlock))
		}
		synctest.Wait()
		if n := p.stats.refusals.counts[http2Malformed].Load(); n != 0 {
			t.Errorf("%d requests are refused behind responses that are over", n)
		}
		c.send(t, request(4*maxStreams+1, getBlock))
		synctest.Wait()
		if n := p.stats.refusals.counts[http2Malformed].Load(); n != 1 {
			t.Errorf("%d requests are refused, want the one too many", n)
		}
		close(over)
		c.close(p)
	})
}

// checkStreams goes through the frames that a client got: of each stream a header, bodies, perhaps trailers, and nothing behind its
// end or a reset.
func checkStreams(t *testing.T, out []byte) {
	t.Helper()
	const header, body, end = 1, 2, 3
	state := map[uint32]int{}
	for len(out) > 0 {
		f := parseFrame(out)
		out = out[frameHeaderBytes+f.length:]
		before := state[f.stream]
		var now int
		switch f.kind {
		case frameHeaders, frameContinuation:
			now = max(header, before)
		case frameData:
			now = body
		case frameReset:
			now = end
		default:
			continue
		}
		if f.stream == 0 || f.kind != frameReset && before == end || f.kind == frameData && before == 0 {
			t.Errorf("a frame of type %d of stream %d in state %d", f.kind, f.stream, before)
		}
		if f.kind != frameContinuation && f.has(flagEndStream) && f.has(flagEndHeaders) || f.kind == frameData && f.has(flagEndStream) {
			now = end
		}
		state[f.stream] = now
	}
}

// FuzzHTTP2 sends frames of any kind: nothing panics, all that comes back are whole frames, in an order that makes sense, and the
// connection ends.
func FuzzHTTP2(f *testing.F) {
	get := rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, getBlock)
	f.Add([]byte(get+rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x10\x00")+rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08")), uint64(7))
	f.Add([]byte(rawFrame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00\x02")+get), uint64(1))
	f.Add([]byte(rawFrame(frameHeaders, flagEndHeaders, 1, postBlock)+rawFrame(frameData, flagPadded, 1, "\x02body\x00\x00")+rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x00\x01a\x01b")), uint64(3))
	f.Add([]byte(rawFrame(frameHeaders, 0, 1, getBlock[:3])+rawFrame(frameContinuation, flagEndHeaders, 1, getBlock[3:])), uint64(12345))
	f.Add([]byte(rawFrame(framePriorityUpdate, 0, 0, "\x00\x00\x00\x01u=1,i")+rawFrame(framePriority, 0, 1, "\x00\x00\x00\x01\x01")), uint64(2))
	f.Add([]byte(rawFrame(frameHeaders, flagEndHeaders, 1, "\x02\x03PUT"+getBlock[1:])+rawFrame(frameData, 0, 1, "body")+rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x00\x00")), uint64(4))
	f.Fuzz(func(t *testing.T, frames []byte, seed uint64) {
		size := func() int { // small sizes most often, large ones now and then
			seed = seed*6364136223846793005 + 1442695040888963407
			return 1 + int(seed>>33)%(1<<(seed>>60))
		}
		p := newTestPart(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				_, _ = w.Write(make([]byte, 2*frameBytes)) // while the body comes
			}
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n, r.URL)
		})
		conn := &scripted{in: append([]byte(http2.ClientPreface+rawFrame(frameSettings, 0, 0, "")), frames...), piece: size}
		serveAll(p, patient{conn})
		out := conn.out.Bytes()
		lastGoAway(t, out)
		checkStreams(t, out)
		if n := p.stats.panics.Load(); n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}
