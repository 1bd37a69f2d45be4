package front

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// RFC 9113, 8.1.1: what is malformed ends its stream and is not answered with success.
func TestHTTP2MalformedRequests(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	get := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"}
	with := func(more ...string) []string { return append(append([]string(nil), get...), more...) }
	for name, tt := range map[string]struct {
		fields []string
		body   int    // bytes of DATA; none: END_STREAM on HEADERS
		status string // besides a stream error
		why    reason // allowed: http2Malformed, if it is refused
	}{
		"body shorter than said":   {fields: with("content-length", "5"), body: 3, why: badField},
		"body that is not there":   {fields: with("content-length", "5"), why: badField},
		"two lengths":              {fields: with("content-length", "5", "content-length", "6"), body: 5},
		"a list of lengths":        {fields: with("content-length", "5, 5"), body: 5},
		"a length with a sign":     {fields: with("content-length", "+5"), body: 5},
		"no length, two methods":   {fields: with("content-length", "x", ":method", "GET")},
		"a user":                   {fields: []string{":method", "GET", ":scheme", "https", ":authority", "u@x", ":path", "/"}},
		"a bad path":               {fields: []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "x y"}},
		"a protocol":               {fields: []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "x", ":path", "/"}},
		"a connect with a path":    {fields: []string{":method", "CONNECT", ":scheme", "https", ":authority", "x", ":path", "/"}},
		"a large field":            {fields: with("a", strings.Repeat("b", maxHeaderBytes-20), "c", strings.Repeat("d", 1<<10)), status: "431", why: headerBytes},
		"many large fields":        {fields: with(strings.Split(strings.Repeat("a,"+strings.Repeat("b", 500)+",", 80), ",")[:160]...), status: "431", why: headerBytes},
		"large, and no method":     {fields: with("a", strings.Repeat("b", maxHeaderBytes-100), "c", strings.Repeat("d", 1<<10))[2:], status: "431", why: headerBytes},
		"a header of all its size": {fields: with("a", strings.Repeat("b", maxHeaderBytes-200)), status: "200"},
		"an expectation":           {fields: with("expect", "200-ok"), status: "417", why: expectation},
		"a blank":                  {fields: with("x", " y"), status: "400", why: badField},
		"te: trailers":             {fields: with("te", "trailers"), status: "200"},
		"te twice":                 {fields: with("te", "trailers", "te", "trailers"), status: "200"},
		"a cookie in 101 pieces":   {fields: with(strings.Split(strings.Repeat("cookie,b,", maxFields+1), ",")[:2*maxFields+2]...), status: "200"},
		"body longer than said":    {fields: with("content-length", "5"), body: 7, why: badField},
		"body though none is said": {fields: with("content-length", "0"), body: 1, why: badField},
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
		"another host":             {fields: with("host", "y")},
		"two hosts":                {fields: with("host", "x", "host", "x")},
		"upper case":               {fields: with("X-Y", "z")},
		"a line feed":              {fields: with("x", "a\nb")},
		"transfer-encoding":        {fields: with("transfer-encoding", "chunked")},
		"connection":               {fields: with("connection", "close")},
		"connection, and a body":   {fields: with("connection", "close", "content-length", "2"), body: 5},
		"te":                       {fields: with("te", "gzip")},
		"101 fields":               {fields: with(strings.Split(strings.Repeat("a,b,", maxFields+1), ",")[:2*maxFields+2]...), status: "431", why: tooManyFields},
		"100 fields":               {fields: with(strings.Split(strings.Repeat("a,b,", maxFields+1), ",")[:2*maxFields]...), status: "200"},
		"the same host":            {fields: with("host", "x"), status: "200"},
		"body as said":             {fields: with("content-length", "5"), body: 5, status: "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Handler: handler})
			c := s.rawHTTP2(t)

			c.split(1, tt.body == 0, tt.fields...)
			if tt.body > 0 {
				_ = c.WriteData(1, true, make([]byte, tt.body))
			}
			status, code, reset := c.stream(t, 1)
			if tt.why == allowed && tt.status != "200" {
				tt.why = http2Malformed
			}
			s.refusedOnce(t, name, tt.why)
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

// split sends a header in frames as large as may be.
func (c *rawHTTP2) split(stream uint32, end bool, fields ...string) {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	n := min(maxReadFrame, c.block.Len())
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Next(n), EndHeaders: c.block.Len() == 0, EndStream: end})
	for c.block.Len() > 0 {
		n = min(maxReadFrame, c.block.Len())
		_ = c.WriteContinuation(stream, c.block.Len() == n, c.block.Next(n))
	}
}

// What net/http ends a connection for, or resets a stream for beside the header of its request,
// is a refusal as well; what it does for a Handler is none.
func TestHTTP2RefusalsAreCounted(t *testing.T) {
	t.Parallel()
	preface := http2.ClientPreface + rawFrame(frameSettings, 0, 0, "")
	block := func(fields ...string) string {
		var b bytes.Buffer
		enc := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.String()
	}
	fine := func(method string, more ...string) string {
		return block(append([]string{":method", method, ":scheme", "https", ":authority", "x", ":path", "/"}, more...)...)
	}
	get := rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, fine("GET"))
	post := rawFrame(frameHeaders, flagEndHeaders, 1, fine("POST"))
	data := rawFrame(frameData, flagEndStream, 1, "body")
	ping := rawFrame(6, 0, 0, "12345678")
	var waiting sync.WaitGroup
	defer waiting.Wait()
	large := fine("GET", "a", strings.Repeat("~", maxHeaderBytes))
	for name, tt := range map[string]struct {
		in   string
		want reason
	}{
		"a request":                      {preface + get + ping, allowed},
		"a request, padded":              {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream|flagPadded, 1, "\x05"+fine("GET")+"\xff\xff\xff\xff\xff"), allowed},
		"a request with a priority":      {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority, 1, "\x00\x00\x00\x00\x05"+fine("GET")), allowed},
		"both, and te":                   {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority|flagPadded, 1, "\x01\x00\x00\x00\x00\x05"+fine("GET", "te", "x")+"\xff"), http2Malformed},
		"a body":                         {preface + post + data, allowed},
		"a body of its length, padded":   {preface + rawFrame(frameHeaders, flagEndHeaders, 1, fine("POST", "content-length", "4")) + rawFrame(frameData, flagPadded, 1, "\x02bo\x00\x00") + rawFrame(frameData, flagEndStream, 1, "dy"), allowed},
		"a short body, padded":           {preface + rawFrame(frameHeaders, flagEndHeaders, 1, fine("POST", "content-length", "4")) + rawFrame(frameData, flagPadded|flagEndStream, 1, "\x02bo\x00\x00"), badField},
		"a short body before trailers":   {preface + rawFrame(frameHeaders, flagEndHeaders, 1, fine("POST", "content-length", "4")) + rawFrame(frameData, 0, 1, "bo") + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, block("a", "b")), badField},
		"a body that is given up":        {preface + rawFrame(frameHeaders, flagEndHeaders, 1, fine("POST", "content-length", "4")) + rawFrame(frameReset, 0, 1, "\x00\x00\x00\x08"), allowed},
		"trailers":                       {preface + post + rawFrame(frameData, 0, 1, "body") + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, block("a", "b", "te", "x")), http2Malformed},
		"trailers with a path":           {preface + post + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, block(":path", "/")), http2Malformed},
		"trailers that do not end":       {preface + post + rawFrame(frameHeaders, flagEndHeaders, 1, block("a", "b")), http2Malformed},
		"a header and a body to refuse":  {preface + rawFrame(frameHeaders, flagEndHeaders, 1, fine("GET", "content-length", "4", ":path", "/")) + data + data, http2Malformed},
		"a body after its end":           {preface + post + data + data, http2Malformed},
		"the preface of HTTP/1.1":        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2Malformed},
		"half the preface":               {http2.ClientPreface[:18] + "xx\r\n\r\n", http2Malformed},
		"no settings":                    {http2.ClientPreface + get, http2Malformed},
		"a ping too long":                {preface + rawFrame(6, 0, 0, "123456789"), http2Malformed},
		"a frame too long":               {preface + "\x00\x50\x00\x00\x00\x00\x00\x00\x01", http2Malformed},
		"an even stream":                 {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 2, fine("GET")), http2Malformed},
		"a stream of before":             {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 3, fine("GET")) + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, fine("GET")), http2Malformed},
		"a body without a request":       {preface + rawFrame(frameData, 0, 5, "x"), http2Malformed},
		"a continuation of nothing":      {preface + rawFrame(frameContinuation, flagEndHeaders, 1, fine("GET")), http2Malformed},
		"a ping inside a header":         {preface + rawFrame(frameHeaders, flagEndStream, 1, "\x82") + ping, http2Malformed},
		"an index of nothing":            {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, "\xff\xff\x03"), http2Malformed},
		"half a field":                   {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, fine("GET")+"\x00\x05a"), http2Malformed},
		"a header without its priority":  {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority, 1, "\x82"), http2Malformed},
		"a body without its padding":     {preface + post + rawFrame(frameData, flagPadded, 1, ""), http2Malformed},
		"a push without its stream":      {preface + rawFrame(framePushPromise, 0, 1, "\x00"), http2Malformed},
		"a push":                         {preface + rawFrame(framePushPromise, 0, 1, "\x00\x00\x00\x02\x82"), http2Malformed},
		"padding longer than the frame":  {preface + rawFrame(frameHeaders, flagEndHeaders|flagPadded, 1, "\xffx"), http2Malformed},
		"a stream that waits for itself": {preface + rawFrame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority, 1, "\x00\x00\x00\x01\x05"+fine("GET")), http2Malformed},
		"a window of nothing":            {preface + post + rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x00\x00"), http2Malformed},
		"a window too large":             {preface + rawFrame(frameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"), http2Malformed},
		"a header that is too large":     {preface + rawFrame(frameHeaders, flagEndStream, 1, large[:maxReadFrame]) + rawFrame(frameContinuation, 0, 1, large[maxReadFrame:2*maxReadFrame]) + rawFrame(frameContinuation, flagEndHeaders, 1, large[2*maxReadFrame:]+strings.Repeat("\xbe", 200)), headerBytes},
		"and goes on":                    {preface + rawFrame(frameHeaders, flagEndStream, 1, fine("GET", "a", strings.Repeat("~", 4000))+strings.Repeat("\xbe", 100)) + rawFrame(frameContinuation, flagEndHeaders, 1, "\xbe"), headerBytes},
		"a header that stops":            {preface + rawFrame(frameHeaders, flagEndStream, 1, "\x82"), slowHeader},
		"settings that stop":             {preface + rawFrame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x01")[:12], slowHeader},
	} {
		s := start(t, Options{HeaderTimeout: time.Second, IdleTimeout: 2 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
		})})
		c := s.dial(t, true, "h2")
		_, _ = io.WriteString(c, tt.in)
		waiting.Go(func() {
			_, _ = io.Copy(io.Discard, c) // to the idle time-out, where the connection is left
			s.refusedOnce(t, name, tt.want)
		})
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

// FuzzHTTP2Refusals sends one request, whatever its header block says: either the Handler has it whole and answers, or
// there is one refusal.
func FuzzHTTP2Refusals(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, more := range []string{"te:trailers", "content-length:4", "content-length:4, 4", "connection:x", "expect:100-continue", "cookie: a", "host:y", ":path:/"} {
		block.Reset()
		i := strings.LastIndexByte(more, ':')
		for _, field := range []hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "https"},
			{Name: ":authority", Value: "x"},
			{Name: ":path", Value: "/"},
			{Name: more[:i], Value: more[i+1:]},
		} {
			_ = enc.WriteField(field)
		}
		f.Add(bytes.Clone(block.Bytes()), []byte("body"), uint8(0))
		f.Add(bytes.Clone(block.Bytes()), []byte{}, uint8(flagPriority))
	}
	s := start(f, Options{TrustClients: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})})
	count := func() (n int64) {
		for _, refused := range s.refused() {
			n += refused
		}
		return n
	}
	f.Fuzz(func(t *testing.T, block, body []byte, flags uint8) {
		if len(block) > maxReadFrame || len(body) > 1<<10 {
			return
		}
		before := count()
		c := s.rawHTTP2(t)
		c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		flags = flags&(flagPadded|flagPriority) | flagEndHeaders
		if len(body) == 0 {
			flags |= flagEndStream
		}
		_, _ = io.WriteString(c.Conn, rawFrame(frameHeaders, flags, 1, string(block)))
		if len(body) > 0 {
			_ = c.WriteData(1, true, body)
		}
		status := ""
		for ended := false; !ended; {
			frame, err := c.ReadFrame()
			if err != nil {
				break
			}
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				status, ended = frame.PseudoValue("status"), frame.StreamEnded()
			case *http2.DataFrame:
				ended = frame.StreamEnded()
			case *http2.RSTStreamFrame:
				status, ended = "", true
			case *http2.GoAwayFrame:
				ended = true
			}
		}
		_ = c.Conn.Close()
		if n := count() - before; (n == 1) != (status != "200") || n > 1 {
			t.Errorf("%d refusals, status %q: %v", n, status, s.refused())
		}
	})
}
