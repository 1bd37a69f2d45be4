package front

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// scripted is a connection that gives what it was given in pieces and keeps what is
// written.
type scripted struct {
	net.Conn
	in     []byte
	piece  func() int // size of the next read; nil: as much as there is room for
	out    bytes.Buffer
	closed atomic.Bool
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	if c.piece != nil {
		p = p[:min(len(p), max(1, c.piece()))]
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.out.Write(p)
}

func (c *scripted) Close() error                     { c.closed.Store(true); return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// watched puts the guard around c.
func watched(c net.Conn) *http2Conn {
	return watchHTTP2(c, nil, &http2Guard{timeout: time.Minute, refusals: &refusals{log: slog.New(slog.DiscardHandler)}})
}

// rawFrame is a frame with a payload.
func rawFrame(kind, flags byte, stream uint32, payload string) string {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

// repeated is the preface and n copies of s.
func repeated(n int, s ...string) []byte {
	b := []byte(http2.ClientPreface)
	for range n {
		for _, s := range s {
			b = append(b, s...)
		}
	}
	return b
}

func TestGuardBudgets(t *testing.T) {
	t.Parallel()
	headers := rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x82")
	reset := rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08")
	body := rawFrame(frameData, 0, 1, "0123456789abcdef")
	update := rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x10\x00")
	for _, tt := range []struct {
		name string
		in   []byte
		want reason
	}{
		{"resets within", repeated(oddEvents, headers, reset), allowed},
		{"a reset too many", repeated(oddEvents+1, headers, reset), http2Odd},
		{"resets of one stream", repeated(oddEvents+1, reset), http2Odd},
		{"settings within", repeated(controlFrames, rawFrame(frameSettings, 0, 0, "")), allowed},
		{"settings", repeated(controlFrames+1, rawFrame(frameSettings, 0, 0, "")), http2Control},
		{"pings", repeated(controlFrames+1, rawFrame(6, 0, 0, "12345678")), http2Control},
		{"priorities", repeated(controlFrames+1, rawFrame(2, 0, 1, "12345")), http2Control},
		{"unknown", repeated(controlFrames+1, rawFrame(0xb7, 0, 1, "x")), http2Control},
		{"priority updates", repeated(controlFrames+1, rawFrame(0x10, 0, 0, "\x00\x00\x00\x01u=1")), http2Control},
		{"empty bodies", repeated(controlFrames+1, rawFrame(frameData, 0, 1, "")), http2Control},
		{"padded bodies", repeated(controlFrames+1, rawFrame(frameData, flagPadded, 1, "\x10"+string(make([]byte, 16)))), http2Control},
		{"whole bodies", repeated(2*controlFrames, body), allowed},
		{"last bodies", repeated(2*controlFrames, rawFrame(frameData, flagEndStream, 1, "")), allowed},
		{"requests", repeated(10*controlFrames, headers), allowed},
		{"requests with a window each", repeated(2*controlFrames, headers, update), allowed},
		{"windows", repeated(controlFrames+1, update), http2Control},
		{"a block in four", repeated(50, rawFrame(frameHeaders, 0, 1, string(make([]byte, maxReadFrame))), rawFrame(frameContinuation, 0, 1, string(make([]byte, maxReadFrame))), rawFrame(frameContinuation, flagEndHeaders, 1, string(make([]byte, maxReadFrame)))), allowed},
		{"a block too long", repeated(1, headers+rawFrame(frameHeaders, 0, 1, "\x82"), string(bytes.Repeat([]byte(rawFrame(frameContinuation, 0, 1, string(make([]byte, 15<<10)))), 5))), http2HeaderLen},
		{"empty continuations", repeated(1, rawFrame(frameHeaders, 0, 1, "\x82"), string(bytes.Repeat([]byte(rawFrame(frameContinuation, 0, 1, "")), maxContinuations+1))), http2HeaderLen},
		{"frames of 16 MiB", repeated(1, "\xff\xff\xff\x00\x00\x00\x00\x00\x01"), allowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn := &scripted{in: bytes.Clone(tt.in)}
			c := watched(conn)
			_, _ = c.Write([]byte(rawFrame(frameSettings, 0, 0, "")))
			got, err := io.ReadAll(c)
			if why := reason(c.why.Load()); why != tt.want {
				t.Fatalf("refused for %q, want %q", why, tt.want)
			}
			if tt.want == allowed {
				if err != nil || !bytes.Equal(got, tt.in) {
					t.Errorf("%d bytes came through, %v, want the %d that went in", len(got), err, len(tt.in))
				}
				return
			}
			if !errors.Is(err, net.ErrClosed) || !conn.closed.Load() || c.guard.refusals.counts[tt.want].Load() != 1 {
				t.Errorf("%v, closed: %v, counted: %v", err, conn.closed.Load(), c.guard.refusals.snapshot())
			}
			if out := conn.out.Bytes()[frameHeaderBytes:]; !bytes.Equal(out, goAway(c.last.Load())) {
				t.Errorf("the client got %x, want GOAWAY", out)
			}
		})
	}
}

// The resets that a client makes us send count as well (MadeYouReset), but not those
// by which a Handler gives up.
func TestGuardCountsWhatTheServerResets(t *testing.T) {
	t.Parallel()
	for code, want := range map[http2.ErrCode]reason{
		http2.ErrCodeProtocol: http2Odd, http2.ErrCodeFlowControl: http2Odd, http2.ErrCodeStreamClosed: http2Odd,
		http2.ErrCodeFrameSize: http2Odd, http2.ErrCodeRefusedStream: http2Odd, http2.ErrCodeNo: allowed, http2.ErrCodeInternal: allowed,
	} {
		conn := &scripted{}
		c := watched(conn)
		var want101 []byte
		for range oddEvents + 1 {
			reset := []byte(rawFrame(frameReset, 0, 1, string(binary.BigEndian.AppendUint32(nil, uint32(code)))))
			next := []byte(rawFrame(frameData, 0, 1, "next"))
			want101 = append(want101, reset...)
			if _, err := c.Write(append(reset, next...)); err != nil {
				t.Fatal(err)
			}
			if !c.over {
				want101 = append(want101, next...)
			}
		}
		if got := reason(c.why.Load()); got != want {
			t.Errorf("%v: refused for %q, want %q", code, got, want)
		}
		if want != allowed {
			want101 = append(want101, goAway(0)...)
		}
		if !bytes.Equal(conn.out.Bytes(), want101) {
			t.Errorf("%v: %d bytes were written, want %d: all to the reset, and GOAWAY", code, conn.out.Len(), len(want101))
		}
	}
}

func TestGuardWindowsPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reset := rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08")
		conn := &scripted{in: repeated(oddEvents, reset)}
		c := watched(conn)
		for range 5 {
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(budgetWindow)
			conn.in = repeated(oddEvents, reset)[prefaceBytes:]
		}
		if c.refused() {
			t.Errorf("refused for %d resets in each window", oddEvents)
		}
	})
}

// A player that takes much sends many WINDOW_UPDATE frames: what it was sent pays.
func TestGuardWindowUpdatesOfADownload(t *testing.T) {
	t.Parallel()
	conn := &scripted{in: []byte(http2.ClientPreface)}
	c := watched(conn)
	data := []byte(rawFrame(frameData, 0, 1, string(make([]byte, maxReadFrame))))
	update := rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x20\x00") // every 8 KiB, for the stream and the connection
	for range 20_000 {
		_, _ = c.Write(data)
		conn.out.Reset()
		conn.in = append(conn.in, update+update+update+update...)
		if _, err := io.Copy(io.Discard, c); err != nil || c.refused() {
			t.Fatalf("%v, refused for %q", err, reason(c.why.Load()))
		}
	}
	conn.in = repeated(maxWindowCredit+100+controlFrames, update)[prefaceBytes:]
	if _, _ = io.Copy(io.Discard, c); !c.refused() {
		t.Error("what was sent pays for ever")
	}
}

// GOAWAY waits for the end of the frame that is under way.
func TestGuardWaitsForTheBorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := rawFrame(frameData, 0, 1, "a body of some length")
		conn := &scripted{in: repeated(oddEvents+1, rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08"))}
		c := watched(conn)
		_, _ = c.Write([]byte(data[:12]))
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, c)
			done <- err
		}()
		synctest.Wait()
		if conn.closed.Load() {
			t.Fatal("closed in the middle of a frame")
		}
		if n, err := c.Write([]byte(data[12:] + data)); n != len(data)-12+len(data) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		if want := data + string(goAway(0)); conn.out.String() != want {
			t.Errorf("written %q, want %q", conn.out.String(), want)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) || !conn.closed.Load() {
			t.Errorf("the reader: %v, closed: %v", err, conn.closed.Load())
		}
	})
}

// A writer that never comes to the end of its frame does not keep the connection.
func TestGuardDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := &scripted{in: repeated(oddEvents+1, rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08"))}
		c := watched(conn)
		_, _ = c.Write([]byte("\x00\x00\x10"))
		begin := time.Now()
		_, err := io.Copy(io.Discard, c)
		if took := time.Since(begin); took != goAwayWait || !errors.Is(err, net.ErrClosed) || !conn.closed.Load() {
			t.Errorf("%v after %v, closed: %v", err, took, conn.closed.Load())
		}
	})
}

func TestGuardTrustsNodes(t *testing.T) {
	t.Parallel()
	in := repeated(2000, rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08"), rawFrame(6, 0, 0, "12345678"))
	c := watched(&scripted{in: bytes.Clone(in)})
	c.guard.trusted = true
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, in) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(in))
	}
}

func TestDropDuplicates(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         "",
		"\x00\x04\x00\x00\x00\x01": "\x00\x04\x00\x00\x00\x01",
		"\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00\x02":                         "\xf0\x00\x00\x00\x00\x01\x00\x04\x00\x00\x00\x02",
		"\x00\x04\x00\x00\x00\x01\x00\x03\x00\x00\x00\x02\x00\x04\x00\x00\x00\x03": "\xf0\x00\x00\x00\x00\x01\x00\x03\x00\x00\x00\x02\x00\x04\x00\x00\x00\x03",
		"\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00\x01": "\xf0\x00\x00\x00\x00\x01\xf0\x01\x00\x00\x00\x01\x00\x04\x00\x00\x00\x01",
		"\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00":                             "\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00",
	} {
		got := []byte(in)
		if dropDuplicates(got); string(got) != want {
			t.Errorf("%x became %x, want %x", in, got, want)
		}
	}
}

// FuzzGuard holds the guard to what it promises: what it lets through in either direction
// is what was sent, but for the identifiers of overridden settings; and what follows a
// refusal is GOAWAY at the border of a frame.
func FuzzGuard(f *testing.F) {
	f.Add([]byte(rawFrame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x01\x00\x04\x00\x00\x00\x02")+rawFrame(frameData, 0, 1, "body")), uint64(7))
	f.Add(repeated(oddEvents+1, rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08"))[prefaceBytes:], uint64(3))
	f.Add(repeated(controlFrames+1, rawFrame(6, 1, 0, "12345678"))[prefaceBytes:], uint64(12345))
	f.Add([]byte(rawFrame(frameHeaders, 0, 1, "\x82")+string(repeated(20, rawFrame(frameContinuation, 0, 1, ""))[prefaceBytes:])), uint64(1))
	f.Fuzz(func(t *testing.T, frames []byte, seed uint64) {
		size := func() int { // small sizes most often, large ones now and then
			seed = seed*6364136223846793005 + 1442695040888963407
			return 1 + int(seed>>33)%(1<<(seed>>60))
		}
		in := append([]byte(http2.ClientPreface), frames...)
		conn := &scripted{in: bytes.Clone(in), piece: size}
		c := watched(conn)
		_, _ = c.Write([]byte(rawFrame(frameSettings, 0, 0, "")))
		var got []byte
		var err error
		for err == nil {
			buf := make([]byte, size())
			var n int
			n, err = c.Read(buf)
			got = append(got, buf[:n]...)
		}
		if !c.refused() && len(got) != len(in) || len(got) > len(in) {
			t.Fatalf("%d of %d bytes came through, %v", len(got), len(in), err)
		}
		sameButSettings(t, in[:len(got)], got)
		if c.refused() != conn.closed.Load() {
			t.Fatalf("refused %v, closed %v", c.refused(), conn.closed.Load())
		}
		fuzzGuardOut(t, frames, size)
	})
}

// fuzzGuardOut sends frames in pieces and compares what arrives.
func fuzzGuardOut(t *testing.T, frames []byte, size func() int) {
	t.Helper()
	conn := &scripted{}
	c := watched(conn)
	for sent := 0; sent < len(frames); {
		piece := frames[sent:min(sent+size(), len(frames))]
		n, err := c.Write(piece)
		if n != len(piece) || err != nil {
			t.Fatalf("Write of %d = %d, %v", len(piece), n, err)
		}
		sent += n
	}
	got := conn.out.Bytes()
	if c.over {
		said := goAway(0)
		if !bytes.HasSuffix(got, said) {
			t.Fatalf("%x does not end with GOAWAY", got)
		}
		if got = got[:len(got)-len(said)]; !wholeFrames(got) {
			t.Fatal("GOAWAY stands inside a frame")
		}
	} else if len(got) != len(frames) {
		t.Fatalf("%d of %d bytes were sent without a refusal", len(got), len(frames))
	}
	if !bytes.HasPrefix(frames, got) {
		t.Fatalf("got  %x\nwant %x", got, frames)
	}
}

// wholeFrames tells whether b ends where a frame does.
func wholeFrames(b []byte) bool {
	for len(b) >= frameHeaderBytes {
		n := frameHeaderBytes + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// sameButSettings checks that got is want but for overridden settings.
func sameButSettings(t *testing.T, want, got []byte) {
	t.Helper()
	for at := prefaceBytes; at+frameHeaderBytes <= len(want); {
		length := int(want[at])<<16 + int(want[at+1])<<8 + int(want[at+2])
		payload := at + frameHeaderBytes
		end := min(payload+length, len(want))
		if want[at+3] == frameSettings {
			for i := payload; i+1 < end; i += settingBytes {
				if binary.BigEndian.Uint16(got[i:]) == unusedSetting+uint16((i-payload)/settingBytes) {
					copy(got[i:i+2], want[i:])
				}
			}
		}
		at = end
	}
	if !bytes.Equal(want, got) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
}

// What the guard costs for each read and write must not be memory, but for a string of the
// header that HPACK has in no table: here the path.
func TestGuardDoesNotAllocate(t *testing.T) {
	run, _ := guardRound(maxReadFrame)
	if allocs := testing.AllocsPerRun(1000, run); allocs > 1 {
		t.Errorf("%v allocations for a request, want 1", allocs)
	}
}

// nullConn takes everything and gives the same bytes again and again.
type nullConn struct {
	scripted
	script []byte
	at     int
}

func (c *nullConn) Read(p []byte) (int, error) {
	n := copy(p, c.script[c.at:])
	c.at = (c.at + n) % len(c.script)
	return n, nil
}

func (c *nullConn) Write(p []byte) (int, error) { return len(p), nil }

// playerHeader is what a player sends for a segment: all but the path is in the static table, or, from its second request
// on, would be in the dynamic one; here it has an index of the static one, too, so that each round is like the first.
func playerHeader() string {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "https"},
		{Name: ":path", Value: "/vod/demo/video-1080/segment-01234.m4s", Sensitive: true},
		{Name: "accept-encoding", Value: "gzip, deflate"},
	} {
		_ = enc.WriteField(f)
	}
	return b.String() + strings.Repeat("\xa1", 10)
}

// guardRound returns what passes the guard for a request with an answer of size bytes, and
// the same past it.
func guardRound(size int) (through, past func()) {
	header := playerHeader()
	request := []byte(rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, header))
	updates := []byte(rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x80\x00") + rawFrame(frameWindowUpdate, 0, 0, "\x00\x00\x80\x00"))
	script := bytes.Clone(request)
	frames := (size + maxReadFrame - 1) / maxReadFrame
	for range frames / 2 {
		script = append(script, updates...)
	}
	head := []byte(rawFrame(frameHeaders, flagEndHeaders, 1, string(make([]byte, 150))))
	data := []byte(rawFrame(frameData, 0, 1, string(make([]byte, min(size, maxReadFrame)))))
	buf := make([]byte, len(header))
	round := func(c net.Conn) func() {
		frameIn := func(payload int) { // as net/http reads
			_, _ = c.Read(buf[:frameHeaderBytes])
			_, _ = c.Read(buf[:payload])
		}
		return func() {
			frameIn(len(header))
			_, _ = c.Write(head)
			for i := range frames {
				_, _ = c.Write(data)
				if i%2 == 1 {
					frameIn(4)
					frameIn(4)
				}
			}
		}
	}
	guarded := watched(&nullConn{script: script})
	guarded.in = frameWalk{} // past the preface
	watched := round(guarded)
	return func() {
		guarded.last.Store(0) // the stream is new each time
		watched()
	}, round(&nullConn{script: script})
}

// BenchmarkGuard is the guard alone: subtract past from through. Of a whole download see
// BenchmarkGet.
func BenchmarkGuard(b *testing.B) {
	for name, size := range map[string]int{"2MiB": segmentBytes, "1.5KiB": 1500} {
		through, past := guardRound(size)
		b.Run(name+"/through", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				through()
			}
		})
		b.Run(name+"/past", func(b *testing.B) {
			for b.Loop() {
				past()
			}
		})
	}
}

// A settings frame that stalls in its middle is no reason to wait for ever.
func TestGuardStalledSettings(t *testing.T) {
	t.Parallel()
	s := slowServer(t)
	c := s.dial(t, true, "h2")
	_, _ = io.WriteString(c, http2.ClientPreface+rawFrame(frameSettings, 0, 0, "")+rawFrame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x01")[:12])
	begin := time.Now()
	_, err := io.Copy(io.Discard, c)
	if took := time.Since(begin); took > 5*time.Second || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("open after %v, %v", took, err)
	}
}

// A client that takes large frames gets none: net/http would keep the memory of the largest for as long as the connection.
func TestFramesStaySmall(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // more than the sockets take
	file, _ := segment(t, size)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, size))
	})})
	c := s.rawHTTP2(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	c.SetMaxReadFrameSize(1 << 20)
	if err := errors.Join(c.WriteWindowUpdate(0, 1<<30), c.request(1, "/", true)); err != nil {
		t.Fatal(err)
	}
	got, largest, first := 0, 0, 0
	for got < size {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := f.(*http2.DataFrame); ok {
			n := len(data.Data())
			if got < trialBytes/2 { // of what the connection counts, the headers of frames and records are a part
				first = max(first, n)
			}
			got, largest = got+n, max(largest, n)
		}
	}
	if largest != leastPiece || first > firstPiece {
		t.Errorf("the largest frame has %d bytes, want %d; of the first ones %d, want %d at most", largest, leastPiece, first, firstPiece)
	}
}
