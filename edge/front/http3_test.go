package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// dialQUIC opens a bare QUIC connection for HTTP/3 that ends with the test.
func (r *running) dialQUIC(t testing.TB, config *quic.Config) *quic.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, r.HTTPSAddr(), &tls.Config{RootCAs: r.pool, NextProtos: []string{"h3"}}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

// h3Frame is a frame of HTTP/3.
func h3Frame(kind uint64, payload string) string {
	b := quicvarint.Append(nil, kind)
	return string(quicvarint.Append(b, uint64(len(payload)))) + payload
}

// fieldLines encodes names and values as literals of QPACK, without a prefix.
func fieldLines(fields ...string) string {
	var b []byte
	number := func(first byte, prefix uint, n int) {
		most := 1<<prefix - 1
		if n < most {
			b = append(b, first|byte(n))
			return
		}
		b = append(b, first|byte(most))
		for n -= most; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		b = append(b, byte(n))
	}
	for i := 0; i < len(fields); i += 2 {
		number(0x20, 3, len(fields[i]))
		b = append(b, fields[i]...)
		number(0, 7, len(fields[i+1]))
		b = append(b, fields[i+1]...)
	}
	return string(b)
}

// headerFrame is a HEADERS frame with these fields.
func headerFrame(fields ...string) string {
	return h3Frame(h3Headers, "\x00\x00"+fieldLines(fields...))
}

// settingsFrame is a SETTINGS frame with these identifiers and values.
func settingsFrame(settings ...uint64) string {
	var b []byte
	for _, s := range settings {
		b = quicvarint.Append(b, s)
	}
	return h3Frame(h3Settings, string(b))
}

// An outcome is how a raw HTTP/3 exchange ended: with an answer, or an error code of the
// stream or the connection.
type outcome struct {
	answered     bool
	stream, conn http3.ErrCode
}

// outcomeOf waits for a read's error.
func outcomeOf(read func([]byte) (int, error)) (o outcome) {
	buf := make([]byte, 1<<10)
	for {
		n, err := read(buf)
		o.answered = o.answered || n > 0
		var stream *quic.StreamError
		var conn *quic.ApplicationError
		switch {
		case errors.As(err, &stream):
			return outcome{stream: http3.ErrCode(stream.ErrorCode)}
		case errors.As(err, &conn):
			return outcome{conn: http3.ErrCode(conn.ErrorCode)}
		case err != nil:
			return o
		}
	}
}

// What RFC 9114 and 9204 want of a server for what a client must not send.
func TestHTTP3Breaches(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})
	get := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}
	with := func(more ...string) string { return headerFrame(append(append([]string(nil), get...), more...)...) }
	fine := with()
	settings := "\x00" + settingsFrame()
	answer := outcome{answered: true}
	inConn := func(code http3.ErrCode) outcome { return outcome{conn: code} }
	inStream := func(code http3.ErrCode) outcome { return outcome{stream: code} }
	raw := func(lines string) string { return h3Frame(h3Headers, lines) }
	for name, tt := range map[string]struct {
		uni     []string // streams of the client; one that ends in END is closed
		request string
		want    outcome
		why     reason // allowed: http3Malformed, if there is no answer
	}{
		"nothing odd":                       {[]string{settings}, fine, answer, allowed},
		"unknown settings":                  {[]string{"\x00" + settingsFrame(0x21, 5, 0x4040, 1)}, fine, answer, allowed},
		"unknown frame first":               {[]string{settings}, h3Frame(0x21, "grease") + fine, answer, allowed},
		"unknown stream":                    {[]string{settings, "\x21grease"}, fine, answer, allowed},
		"two control streams":               {[]string{settings, settings}, "", inConn(http3.ErrCodeStreamCreationError), allowed},
		"control stream closed":             {[]string{settings + "END"}, "", inConn(http3.ErrCodeClosedCriticalStream), allowed},
		"no settings":                       {[]string{"\x00" + h3Frame(h3GoAway, "\x00")}, "", inConn(http3.ErrCodeMissingSettings), allowed},
		"second settings":                   {[]string{settings + settingsFrame()}, "", inConn(http3.ErrCodeFrameUnexpected), allowed},
		"data on the control stream":        {[]string{settings + h3Frame(0, "x")}, "", inConn(http3.ErrCodeFrameUnexpected), allowed},
		"setting of HTTP/2, push":           {[]string{"\x00" + settingsFrame(2, 0)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"setting of HTTP/2, streams":        {[]string{"\x00" + settingsFrame(3, 100)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"setting of HTTP/2, window":         {[]string{"\x00" + settingsFrame(4, 100)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"setting of HTTP/2, frame size":     {[]string{"\x00" + settingsFrame(6, 100, 5, 100)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"a setting twice":                   {[]string{"\x00" + settingsFrame(6, 100, 6, 100)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"half a setting":                    {[]string{"\x00" + h3Frame(h3Settings, "\x06")}, "", inConn(http3.ErrCodeFrameError), allowed},
		"an extension's frame":              {[]string{settings + h3Frame(0x21, strings.Repeat("x", 500))}, fine, answer, allowed},
		"settings too long":                 {[]string{"\x00\x04\x80\x01\x00\x00"}, "", inConn(http3.ErrCodeExcessiveLoad), http3Control},
		"switch that is neither on nor off": {[]string{"\x00" + settingsFrame(0x33, 2)}, "", inConn(http3.ErrCodeSettingsError), allowed},
		"header on the control stream":      {[]string{settings + fine}, "", inConn(http3.ErrCodeFrameUnexpected), allowed},
		"push promise, control stream":      {[]string{settings + h3Frame(h3PushPromise, "\x00\x00\x00")}, "", inConn(http3.ErrCodeFrameUnexpected), allowed},
		"ping of HTTP/2, control stream":    {[]string{settings + h3Frame(6, "x")}, "", inConn(http3.ErrCodeFrameUnexpected), allowed},
		"cancel push of nothing":            {[]string{settings + h3Frame(h3CancelPush, "\x00")}, "", inConn(http3.ErrCodeIDError), allowed},
		"max push id":                       {[]string{settings + h3Frame(h3MaxPushID, "\x05") + h3Frame(h3MaxPushID, "\x05") + h3Frame(h3MaxPushID, "\x09")}, fine, answer, allowed},
		"max push id going down":            {[]string{settings + h3Frame(h3MaxPushID, "\x05") + h3Frame(h3MaxPushID, "\x04")}, "", inConn(http3.ErrCodeIDError), allowed},
		"max push id with more":             {[]string{settings + h3Frame(h3MaxPushID, "\x05\x05")}, "", inConn(http3.ErrCodeFrameError), allowed},
		"max push id, empty":                {[]string{settings + h3Frame(h3MaxPushID, "")}, "", inConn(http3.ErrCodeFrameError), allowed},
		"max push id, too long":             {[]string{settings + h3Frame(h3MaxPushID, "123456789")}, "", inConn(http3.ErrCodeFrameError), allowed},
		"goaway":                            {[]string{settings + h3Frame(h3GoAway, "\x05") + h3Frame(h3GoAway, "\x04")}, fine, answer, allowed},
		"goaway going up":                   {[]string{settings + h3Frame(h3GoAway, "\x05") + h3Frame(h3GoAway, "\x06")}, "", inConn(http3.ErrCodeIDError), allowed},
		"priority":                          {[]string{settings + h3Frame(h3PriorityUpdate, "\x00u=1")}, fine, answer, allowed},
		"priority of no stream":             {[]string{settings + h3Frame(h3PriorityUpdate, "")}, "", inConn(http3.ErrCodeFrameError), allowed},
		"priority of our stream":            {[]string{settings + h3Frame(h3PriorityUpdate, "\x03u=1")}, "", inConn(http3.ErrCodeIDError), allowed},
		"priority of a push":                {[]string{settings + h3Frame(h3PriorityUpdatePush, "\x00u=1")}, "", inConn(http3.ErrCodeIDError), allowed},
		"priority too long":                 {[]string{settings + h3Frame(h3PriorityUpdate, "\x00"+strings.Repeat("x", 2<<10))}, "", inConn(http3.ErrCodeExcessiveLoad), http3Control},
		"priority on a request stream":      {[]string{settings}, h3Frame(h3PriorityUpdate, "\x00u=1") + fine, inConn(http3.ErrCodeFrameUnexpected), allowed},
		"control stream cut in a frame":     {[]string{settings + "\x0d\x05xEND"}, "", inConn(http3.ErrCodeClosedCriticalStream), allowed},
		"control stream, long type":         {[]string{"\x40\x00" + settingsFrame(), settings}, "", inConn(http3.ErrCodeStreamCreationError), allowed},
		"push stream":                       {[]string{settings, "\x01"}, "", inConn(http3.ErrCodeStreamCreationError), allowed},
		"encoder stream":                    {[]string{settings, "\x02\x20"}, fine, answer, allowed},
		"encoder stream, capacity":          {[]string{settings, "\x02\x3f\x01"}, "", inConn(codeQPACKEncoderStream), allowed},
		"encoder stream, insert":            {[]string{settings, "\x02\xc0\x01x"}, "", inConn(codeQPACKEncoderStream), allowed},
		"encoder stream closed":             {[]string{settings, "\x02END"}, "", inConn(http3.ErrCodeClosedCriticalStream), allowed},
		"two encoder streams":               {[]string{settings, "\x02", "\x02"}, "", inConn(http3.ErrCodeStreamCreationError), allowed},
		"decoder stream, cancellation":      {[]string{settings, "\x03\x40\x44\x7f\x81\x01"}, fine, answer, allowed},
		"decoder stream, increment":         {[]string{settings, "\x03\x00"}, "", inConn(codeQPACKDecoderStream), allowed},
		"decoder stream, acknowledgment":    {[]string{settings, "\x03\x40\x80"}, "", inConn(codeQPACKDecoderStream), allowed},
		"decoder stream closed":             {[]string{settings, "\x03END"}, "", inConn(http3.ErrCodeClosedCriticalStream), allowed},
		"body":                              {nil, with("content-length", "4") + h3Frame(0, "bo") + h3Frame(0x21, "x") + h3Frame(0, "dy"), answer, allowed},
		"body, trailers":                    {nil, with() + h3Frame(0, "body") + headerFrame("a", "b") + h3Frame(0x21, "x"), answer, allowed},
		"body shorter than its length":      {nil, with("content-length", "5") + h3Frame(0, "body"), inStream(http3.ErrCodeMessageError), badField},
		"body longer than its length":       {nil, with("content-length", "3") + h3Frame(0, "body"), inStream(http3.ErrCodeMessageError), badField},
		"body that does not come":           {nil, with("content-length", "3"), inStream(http3.ErrCodeMessageError), badField},
		"body cut in a frame":               {nil, with() + "\x00\x05body", inConn(http3.ErrCodeFrameError), allowed},
		"body cut in a frame's head":        {nil, with() + "\x00", inConn(http3.ErrCodeFrameError), allowed},
		"settings after the header":         {nil, with() + settingsFrame(), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"data after trailers":               {nil, with() + h3Frame(0, "body") + headerFrame("a", "b") + h3Frame(0, "x"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"trailers twice":                    {nil, with() + headerFrame("a", "b") + headerFrame("a", "b"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"trailers with a path":              {nil, with() + headerFrame(":path", "/"), inStream(http3.ErrCodeMessageError), allowed},
		"trailers with a length":            {nil, with() + headerFrame("content-length", "1"), inStream(http3.ErrCodeMessageError), allowed},
		"trailers, dynamic index":           {nil, with() + raw("\x00\x00\x80"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"trailers, too long":                {nil, with() + headerFrame("a", strings.Repeat("b", maxHeaderBytes-20)), inStream(http3.ErrCodeExcessiveLoad), headerBytes},
		"data first":                        {nil, h3Frame(0, "x"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"settings on a request stream":      {nil, settingsFrame(), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"push promise on a request stream":  {nil, h3Frame(h3PushPromise, "\x00\x00\x00"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"cancel push on a request stream":   {nil, h3Frame(h3CancelPush, "\x00"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"max push id on a request stream":   {nil, h3Frame(h3MaxPushID, "\x00"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"goaway on a request stream":        {nil, h3Frame(h3GoAway, "\x00"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"frame of HTTP/2, ping":             {nil, h3Frame(6, "x"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"frame of HTTP/2, continuation":     {nil, h3Frame(9, "x"), inConn(http3.ErrCodeFrameUnexpected), allowed},
		"half a header":                     {nil, fine[:len(fine)-3], inConn(http3.ErrCodeFrameError), allowed},
		"half a frame header":               {nil, "\x01\x40", inConn(http3.ErrCodeFrameError), allowed},
		"static index too large":            {nil, raw("\x00\x00\xff\x24"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"dynamic index":                     {nil, raw("\x00\x00\x80"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"dynamic name":                      {nil, raw("\x00\x00\x40\x01x"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"post-base index":                   {nil, raw("\x00\x00\x10"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"inserts wanted":                    {nil, raw("\x02\x00\xd1\xd7"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"string without end":                {nil, raw("\x00\x00\x51\x05x"), inConn(http3.ErrCodeQPACKDecompressionFailed), allowed},
		"no scheme":                         {nil, headerFrame(":method", "GET", ":authority", "x", ":path", "/"), inStream(http3.ErrCodeMessageError), allowed},
		"no scheme, indexed":                {nil, raw("\x00\x00\xd1\xc1" + fieldLines(":authority", "x")), inStream(http3.ErrCodeMessageError), allowed},
		"scheme, indexed":                   {nil, raw("\x00\x00\xd1\xc1\xd7" + fieldLines(":authority", "x")), answer, allowed},
		"scheme, static name":               {nil, raw("\x00\x00\xd1\xc1\x5f\x07\x05https" + fieldLines(":authority", "x")), answer, allowed},
		"connect":                           {nil, headerFrame(":method", "CONNECT", ":authority", "x:1"), answer, allowed},
		"two paths":                         {nil, headerFrame(append([]string{":path", "/"}, get...)...), inStream(http3.ErrCodeMessageError), allowed},
		"late pseudo-header":                {nil, headerFrame(":method", "GET", ":scheme", "https", "a", "b", ":authority", "x", ":path", "/"), inStream(http3.ErrCodeMessageError), allowed},
		"no path":                           {nil, headerFrame(get[:6]...), inStream(http3.ErrCodeMessageError), allowed},
		"another host":                      {nil, with("host", "y"), inStream(http3.ErrCodeMessageError), allowed},
		"upper case":                        {nil, with("X-Y", "z"), inStream(http3.ErrCodeMessageError), allowed},
		"a line feed":                       {nil, with("x", "a\nb"), inStream(http3.ErrCodeMessageError), allowed},
		"connection":                        {nil, with("connection", "close"), inStream(http3.ErrCodeMessageError), allowed},
		"te":                                {nil, with("te", "gzip"), inStream(http3.ErrCodeMessageError), allowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{HeaderTimeout: 3 * time.Second, Handler: handler})
			conn := s.dialQUIC(t, nil)
			read := sendBreach(conn, tt.uni, tt.request)
			if got := outcomeOf(read); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if tt.want != answer && tt.why == allowed {
				tt.why = http3Malformed
			}
			s.refusedOnce(t, name, tt.why)
		})
	}
}

// sendBreach opens the streams and returns how the response is read. The server may have
// ended the connection over the first of them when the next is opened: that is what is read then.
func sendBreach(conn *quic.Conn, uni []string, request string) func([]byte) (int, error) {
	ended := func(err error) func([]byte) (int, error) {
		return func([]byte) (int, error) { return 0, err }
	}
	for _, sent := range uni {
		str, err := conn.OpenUniStream()
		if err != nil {
			return ended(err)
		}
		begin, end := strings.CutSuffix(sent, "END")
		_, _ = str.Write([]byte(begin))
		if end {
			_ = str.Close()
		}
	}
	str, err := conn.OpenStream()
	if err != nil {
		return ended(err)
	}
	if request != "" {
		_, _ = str.Write([]byte(request))
		_ = str.Close()
	}
	_ = str.SetReadDeadline(time.Now().Add(patience))
	return str.Read
}

// A header that decodes to far more than it is, and the same in trailers. Not parallel: it
// measures the process.
func TestQPACKBomb(t *testing.T) {
	var read atomic.Pointer[error]
	var called atomic.Bool
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called.Store(true)
		_, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			read.Store(&err)
			panic(http.ErrAbortHandler)
		}
	})})
	// Index 85 is content-security-policy: script-src 'none'; object-src 'none'; base-uri 'none'.
	bomb := strings.Repeat("\xff\x16", 2000)
	get := fieldLines(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")
	for name, request := range map[string]string{
		"header":          h3Frame(h3Headers, "\x00\x00"+get+bomb),
		"trailer":         h3Frame(h3Headers, "\x00\x00"+get) + h3Frame(0, "body") + h3Frame(h3Headers, "\x00\x00"+bomb),
		"long header":     h3Frame(h3Headers, "\x00\x00"+get+fieldLines("x", strings.Repeat("y", 60_000))),
		"long trailer":    h3Frame(h3Headers, "\x00\x00"+get) + h3Frame(0, "body") + h3Frame(h3Headers, "\x00\x00"+fieldLines("x", strings.Repeat("y", 60_000))),
		"header of 1 GiB": "\x01\xc0\x00\x00\x00\x40\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			read.Store(nil)
			called.Store(false)
			conn := s.dialQUIC(t, nil)
			str, err := conn.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			before := allocated()
			_, _ = str.Write([]byte(request))
			if name != "header of 1 GiB" {
				_ = str.Close()
			}
			_ = str.SetReadDeadline(time.Now().Add(patience))
			head := make([]byte, 512)
			n, err := io.ReadFull(str, head)
			took := allocated() - before
			t.Logf("%d bytes of an answer, %v; %d bytes allocated by both sides", n, err, took)
			var reset *quic.StreamError
			if refused := n > 0 && !called.Load() || errors.As(err, &reset); !refused || took > 1<<20 {
				t.Errorf("%q, %v, %d bytes allocated, want 431 or a reset, and less than 1 MiB", head[:n], err, took)
			}
			if strings.Contains(name, "trailer") && read.Load() == nil {
				t.Error("the handler was told that the body came to its end")
			}
		})
	}
}

// A client with a window of 1,000 bytes that never reads holds no handler longer than the
// deadline that the handler pushes.
func TestHTTP3StalledReaders(t *testing.T) {
	t.Parallel()
	const streams, limit = maxStreams, 2 * time.Second
	file, _ := segment(t, 1<<20)
	var blocked, ended atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		blocked.Add(1)
		defer ended.Add(1)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
		if _, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, 1<<20)); err == nil {
			t.Error("a body went out without a window")
		}
		panic(http.ErrAbortHandler)
	})})
	conn := s.dialQUIC(t, &quic.Config{InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000, KeepAlivePeriod: 100 * time.Millisecond})
	get := headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")
	for range streams {
		str, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write([]byte(get))
		_ = str.Close()
	}
	most := int64(0)
	for end := time.Now().Add(patience); ended.Load() < streams && time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		most = max(most, blocked.Load()-ended.Load())
	}
	if most != streams || ended.Load() != streams {
		t.Errorf("%d handlers blocked, %d of %d ended", most, ended.Load(), streams)
	}
	if err := conn.Context().Err(); err != nil {
		t.Errorf("the connection ended: %v", context.Cause(conn.Context()))
	}
}

// Not parallel: it measures the process.
func TestHTTP3Floods(t *testing.T) {
	var begun atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/honest" {
			_, _ = io.WriteString(w, honestBody)
			return
		}
		begun.Add(1)
		<-r.Context().Done() // whoever gives up does so before the answer
	})})
	honest, base := s.client(t, "h3")
	const asked = 50
	_ = control(t, honest, base+"/honest", honestBody, asked)
	defer calmAgain(t)()
	get := []byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"))
	for name, send := range map[string]func(str *quic.Stream){
		"rapid reset": func(str *quic.Stream) {
			_, _ = str.Write(get)
			<-time.After(time.Millisecond) // else the header does not leave
			str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
			str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		},
		"half a header": func(str *quic.Stream) {
			_, _ = str.Write(get[:5])
			<-time.After(time.Millisecond)
			str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		},
		"no scheme": func(str *quic.Stream) {
			_, _ = str.Write([]byte(headerFrame(":method", "GET", ":authority", "x", ":path", "/")))
			_ = str.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			idle := control(t, honest, base+"/honest", honestBody, asked)
			before := s.Stats().Refused[http3Odd.String()]
			cpu, handlers := processCPU(), begun.Load()
			conn := s.dialQUIC(t, nil)
			sent := 0
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				for {
					str, err := conn.OpenStreamSync(ctx)
					if err != nil {
						done <- err
						return
					}
					sent++
					send(str)
				}
			}()
			during := control(t, honest, base+"/honest", honestBody, asked)
			var closed *quic.ApplicationError
			if err := <-done; !errors.As(err, &closed) || http3.ErrCode(closed.ErrorCode) != http3.ErrCodeExcessiveLoad {
				t.Errorf("the connection ended with %v, want H3_EXCESSIVE_LOAD", err)
			}
			if got := s.Stats().Refused[http3Odd.String()] - before; got != 1 || begun.Load()-handlers > 1000 {
				t.Errorf("refused %d times after %d streams and %d handlers", got, sent, begun.Load()-handlers)
			}
			t.Logf("%d streams, %d handlers, CPU of both sides and the honest client %v; honest p99 %.1f times that of before, %v",
				sent, begun.Load()-handlers, processCPU()-cpu, float64(during)/float64(idle), idle)
		})
	}
}

// A body that is shorter than its header says ends visibly.
func TestHTTP3ShortBody(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	})})
	conn := s.dialQUIC(t, nil)
	read := sendBreach(conn, nil, headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"))
	if got := outcomeOf(read); got != (outcome{stream: http3.ErrCodeRequestCanceled}) {
		t.Errorf("%+v", got)
	}
}

// What may be written into a response, and what becomes of it.
func TestHTTP3Responses(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 100_000)
	handlers := map[string]struct {
		handler http.HandlerFunc
		status  int
		body    string
		header  http.Header // what has to be there; nil values must not
		trailer http.Header
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200, "", http.Header{"Content-Length": {"0"}}, nil},
		"small": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, 200, "<html>",
			http.Header{"Content-Length": {"6"}, "Content-Type": {"text/html; charset=utf-8"}},
			nil,
		},
		"in pieces": {func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, big)
			}
		}, 200, big + big + big, http.Header{"Content-Length": nil}, nil},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "b")
		}, 200, "ab", http.Header{"Content-Length": nil}, nil},
		"not modified": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body of 304: %v", err)
			}
		}, 304, "", http.Header{"Content-Length": nil}, nil},
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			if _, err := io.WriteString(w, "abc"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("more than was announced: %v", err)
			}
			_, _ = io.WriteString(w, "ab")
		}, 200, "ab", nil, nil},
		"no such length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "-2")
			_, _ = io.WriteString(w, "ab")
		}, 200, "ab", http.Header{"Content-Length": {"2"}}, nil},
		"fields": {func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h["Connection"], h["Bad Name"], h["X-Bad"], h["Date"] = []string{"close"}, []string{"x"}, []string{"a\r\nb: c", "fine"}, nil
			h["X-Long"] = []string{big[:20_000]}
		}, 200, "", http.Header{"Connection": nil, "Bad Name": nil, "B": nil, "X-Bad": {"fine"}, "Date": nil, "X-Long": {big[:20_000]}}, nil},
		"trailers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-One, Content-Length")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-One", "1")
			w.Header().Set(http.TrailerPrefix+"X-Two", "2")
		}, 200, "body", nil, http.Header{"X-One": {"1"}, "X-Two": {"2"}}},
	}
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[r.URL.Query().Get("h")].handler(w, r)
	})})
	c, base := s.client(t, "h3")
	for name, tt := range handlers {
		t.Run(name, func(t *testing.T) {
			res, body, err := get(c, base+"/?h="+url.QueryEscape(name))
			if err != nil || res.StatusCode != tt.status || string(body) != tt.body {
				t.Fatalf("%v, %v, %d bytes", res, err, len(body))
			}
			for k, want := range tt.header {
				if !slices.Equal(res.Header[k], want) {
					t.Errorf("%s is %.100q, want %.100q", k, res.Header[k], want)
				}
			}
			for k, want := range tt.trailer {
				if !slices.Equal(res.Trailer[k], want) {
					t.Errorf("trailer %s is %q, want %q", k, res.Trailer[k], want)
				}
			}
			res, err = c.Head(base + "/?h=" + url.QueryEscape(name))
			if err != nil || res.StatusCode != tt.status {
				t.Errorf("HEAD: %v, %v", res, err)
			}
		})
	}
}

// The body of a request and its trailers, which come in pieces.
func TestHTTP3RequestBody(t *testing.T) {
	t.Parallel()
	type seen struct {
		length  int64
		body    string
		err     string
		trailer http.Header
	}
	got := make(chan seen, 1)
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got <- seen{r.ContentLength, string(body), fmt.Sprint(err), r.Trailer}
	})})
	conn := s.dialQUIC(t, nil)
	header := headerFrame(":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "x-long", strings.Repeat("y", 6000), "trailer", "x-one")
	long := strings.Repeat("body", 5000)
	request := header + h3Frame(0, long) + h3Frame(0x21, "grease") + h3Frame(0, "") + h3Frame(0, "end") + headerFrame("x-one", "1", "x-two", "2")
	for _, step := range []int{len(request), 1000, 7} {
		str, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for rest := request; rest != ""; {
			piece := rest[:min(step, len(rest))]
			rest = rest[len(piece):]
			_, _ = str.Write([]byte(piece))
		}
		_ = str.Close()
		if o := outcomeOf(str.Read); !o.answered {
			t.Fatalf("in steps of %d: %+v", step, o)
		}
		want := seen{-1, long + "end", "<nil>", http.Header{"X-One": {"1"}, "X-Two": {"2"}}}
		if g := <-got; !reflect.DeepEqual(g, want) {
			t.Errorf("in steps of %d: length %d, %d bytes, %s, %v", step, g.length, len(g.body), g.err, g.trailer)
		}
	}
}

// Frames that ask for nothing end the connection when there are too many, wherever they come.
// Not parallel: it measures the process.
func TestHTTP3EmptyFloods(t *testing.T) {
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })})
	honest, base := s.client(t, "h3")
	const asked = 50
	_ = control(t, honest, base, "", asked)
	defer calmAgain(t)()
	post := headerFrame(":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/")
	for name, tt := range map[string]struct{ control, request, frame string }{
		"priority updates":                     {"\x00" + settingsFrame(), "", h3Frame(h3PriorityUpdate, "\x00u=1")},
		"unknown frames":                       {"\x00" + settingsFrame(), "", h3Frame(0x21, "")},
		"push ids":                             {"\x00" + settingsFrame(), "", h3Frame(h3MaxPushID, "\x05")},
		"empty bodies":                         {"", post, h3Frame(h3Data, "")},
		"unknown frames in a body":             {"", post, h3Frame(0x21, "")},
		"unknown frames that precede a header": {"", "", h3Frame(0x21, "")},
	} {
		t.Run(name, func(t *testing.T) {
			idle := control(t, honest, base, "", asked)
			before := s.Stats().Refused[http3Control.String()]
			conn := s.dialQUIC(t, nil)
			all := processCPU()
			sent := make(chan struct{})
			go func() {
				flood := []byte(tt.control + tt.request + strings.Repeat(tt.frame, 50_000))
				if tt.control != "" {
					if str, err := conn.OpenUniStream(); err == nil {
						_, _ = str.Write(flood)
					}
				} else if str, err := conn.OpenStream(); err == nil {
					_, _ = str.Write(flood)
				}
				close(sent)
			}()
			during := control(t, honest, base, "", asked)
			<-conn.Context().Done()
			<-sent
			all = processCPU() - all
			var end *quic.ApplicationError
			if !errors.As(context.Cause(conn.Context()), &end) || http3.ErrCode(end.ErrorCode) != http3.ErrCodeExcessiveLoad {
				t.Errorf("the connection ended with %v", context.Cause(conn.Context()))
			}
			if got := s.Stats().Refused[http3Control.String()] - before; got != 1 {
				t.Errorf("refused %d times", got)
			}
			t.Logf("CPU of both sides and the honest client %v; honest p99 %.1f times that of before, %v", all, float64(during)/float64(idle), idle)
		})
	}
}
