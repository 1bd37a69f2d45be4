package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connectOnly opens a connection and resets it.
func connectOnly(ctx context.Context, s *sender) error {
	_, end, err := s.dial(ctx, s.http)
	if err != nil {
		return err
	}
	s.units.Add(1)
	end()
	return nil
}

// colds counts the names that nobody has asked for.
var colds atomic.Int64

// queryFlood asks for one object by ever new queries.
func queryFlood(ctx context.Context, s *sender) error {
	c, end, err := s.dial(ctx, s.http)
	if err != nil {
		return err
	}
	defer end()
	go drop(c) // ends with the connection
	const at = 100
	for {
		var text []byte
		for range at {
			text = append(text, "GET /o/1KiB/cold.m4s?_="...)
			text = strconv.AppendInt(text, colds.Add(1), 10)
			text = append(text, " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"...)
		}
		if _, err := c.Write(text); err != nil {
			return nil // so it ends
		}
		s.units.Add(at)
	}
}

// hello is what a client says first, with the key shares of a browser of today.
var hello = sync.OnceValue(func() []byte {
	near, far := net.Pipe()
	go func() { // ends with the pipe
		_ = tls.Client(near, &tls.Config{ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}).Handshake()
	}()
	buffer := make([]byte, 4<<10)
	n, _ := far.Read(buffer)
	_ = far.Close()
	return buffer[:n]
})

// helloOnly says hello, and leaves when it hears something.
func helloOnly(ctx context.Context, s *sender) error {
	c, end, err := s.dial(ctx, s.https)
	if err != nil {
		return err
	}
	defer end()
	if _, err := c.Write(hello()); err != nil {
		return err
	}
	s.units.Add(1)
	_, err = c.Read(make([]byte, 8))
	return err
}

func handshakeOnly(ctx context.Context, s *sender) error {
	s.tls.ClientSessionCache = nil
	_, _, end, err := s.dialTLS(ctx, "h2")
	if err != nil {
		return err
	}
	s.units.Add(1)
	end()
	return nil
}

func tlsGarbage(ctx context.Context, s *sender) error {
	c, end, err := s.dial(ctx, s.https)
	if err != nil {
		return err
	}
	defer end()
	_, _ = c.Write(bytes.Repeat([]byte("\xfegarbage"), 100)) // it may be told off meanwhile
	s.units.Add(1)
	drop(c)
	return nil
}

func slowHello(ctx context.Context, s *sender) error {
	c, end, err := s.dial(ctx, s.https)
	if err != nil {
		return err
	}
	defer end()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range hello() {
		if _, err := c.Write(hello()[i : i+1]); err != nil {
			return nil // so it ends
		}
		s.units.Add(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// h2Text is what is sent on one HTTP/2 connection, whole.
type h2Text struct {
	*http2.Framer
	bytes.Buffer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (x *h2Text) request(stream uint32, end bool, path string, fields ...string) {
	method := "GET"
	if !end {
		method = "POST"
	}
	x.block.Reset()
	fields = append([]string{":method", method, ":scheme", "https", ":authority", "127.0.0.1", ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		_ = x.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = x.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: x.block.Bytes(), EndHeaders: true, EndStream: end})
}

// floodHTTP2 sends so many units of a kind on a connection, and takes what comes until that ends.
func floodHTTP2(unit func(x *h2Text, i uint32)) func(context.Context, *sender) error {
	const most, units = 128 << 10, 10_000 // no client is let send as much
	text := sync.OnceValues(func() ([]byte, int64) {
		x := &h2Text{}
		x.Framer = http2.NewFramer(&x.Buffer, nil)
		x.AllowIllegalWrites = true
		x.enc = hpack.NewEncoder(&x.block)
		_, _ = io.WriteString(&x.Buffer, http2.ClientPreface)
		_ = x.WriteSettings()
		n := uint32(0)
		for ; n < units && x.Len() < most; n++ {
			unit(x, n)
		}
		return x.Bytes(), int64(n)
	})
	return func(ctx context.Context, s *sender) error {
		c, raw, end, err := s.dialTLS(ctx, "h2")
		if err != nil {
			return err
		}
		defer end()
		what, n := text()
		if _, err := c.Write(what); err == nil {
			s.units.Add(n)
		}
		_ = raw.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // it does not wait for what net/http ends after seconds
		drop(raw)
		return nil
	}
}

const coldPath = "/o/1KiB/cold.m4s"

func h2RapidReset(x *h2Text, i uint32) {
	x.request(2*i+1, true, "/o/16KiB/hot.m4s")
	_ = x.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
}

func h2ZeroIncrement(x *h2Text, i uint32) {
	x.request(2*i+1, true, "/o/16KiB/hot.m4s")
	_ = x.WriteWindowUpdate(2*i+1, 0)
}

func h2LateBody(x *h2Text, i uint32) {
	x.request(2*i+1, true, "/o/16KiB/hot.m4s")
	_ = x.WriteData(2*i+1, false, make([]byte, 100))
}

func h2Streams(x *h2Text, i uint32) { x.request(2*i+1, true, "/o/8MiB/large") }

func h2Continuations(x *h2Text, i uint32) {
	if i == 0 {
		_ = x.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		return
	}
	_ = x.WriteContinuation(1, false, bytes.Repeat([]byte{0x84}, 15<<10))
}

func h2EmptyContinuations(x *h2Text, i uint32) {
	if i == 0 {
		_ = x.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		return
	}
	_ = x.WriteContinuation(1, false, nil)
}

func h2Pings(x *h2Text, _ uint32) { _ = x.WritePing(false, [8]byte{}) }
func h2Settings(x *h2Text, i uint32) {
	_ = x.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i % 100})
}

func h2Priorities(x *h2Text, i uint32) {
	_ = x.WritePriority(2*i+1, http2.PriorityParam{Weight: 1})
}
func h2Unknown(x *h2Text, _ uint32) { _ = x.WriteRawFrame(0xbb, 0, 0, []byte("x")) }

func h2EmptyData(x *h2Text, i uint32) {
	if i == 0 {
		x.request(1, false, coldPath)
		return
	}
	_ = x.WriteData(1, false, nil)
}

// h2Bomb names a field of 4 KB by its number, 4,000 times in a header.
func h2Bomb(x *h2Text, i uint32) {
	x.request(2*i+1, true, "/", "bomb", string(bytes.Repeat([]byte{'a'}, 4000)))
	const newest = 0x80 | 62 // RFC 7541, 2.3.3
	_ = x.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 3, BlockFragment: bytes.Repeat([]byte{newest}, 16<<10), EndHeaders: true, EndStream: true})
}

// zeroWindow asks for a hundred large objects and gives no room for them, and answers that it is there.
func zeroWindow(ctx context.Context, s *sender) error {
	c, raw, end, err := s.dialTLS(ctx, "h2")
	if err != nil {
		return err
	}
	defer end()
	x := &h2Text{}
	x.Framer = http2.NewFramer(&x.Buffer, nil)
	x.enc = hpack.NewEncoder(&x.block)
	_, _ = io.WriteString(&x.Buffer, http2.ClientPreface)
	_ = x.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize})
	_ = x.WriteSettingsAck()
	const streams = 100
	for i := range uint32(streams) {
		x.request(2*i+1, true, "/o/8MiB/large")
	}
	if _, err := c.Write(x.Bytes()); err != nil {
		return err
	}
	s.units.Add(streams)
	drop(raw)
	return nil
}

// hitsHTTP2 asks for a small object as often as it may, a hundred times at once.
func hitsHTTP2(ctx context.Context, s *sender) error {
	c, _, end, err := s.dialTLS(ctx, "h2")
	if err != nil {
		return err
	}
	defer end()
	const streams = 100
	x := &h2Text{}
	x.Framer = http2.NewFramer(&x.Buffer, c)
	x.enc = hpack.NewEncoder(&x.block)
	_, _ = io.WriteString(&x.Buffer, http2.ClientPreface)
	_ = x.WriteSettings()
	for next := uint32(1); ; {
		for range streams {
			x.request(next, true, "/o/16/hot")
			next += 2
		}
		_ = x.WriteWindowUpdate(0, 16*streams)
		if _, err := c.Write(x.Bytes()); err != nil {
			return nil // so it ends
		}
		x.Reset()
		s.units.Add(streams)
		for ended := 0; ended < streams; {
			f, err := x.ReadFrame()
			if err != nil {
				return err
			}
			if (f.Header().Type == http2.FrameData || f.Header().Type == http2.FrameHeaders) && f.Header().Flags.Has(http2.FlagDataEndStream) {
				ended++
			}
		}
	}
}
