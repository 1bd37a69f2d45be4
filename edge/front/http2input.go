package front

import (
	"encoding/binary"
	"errors"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// inputBytes is the buffer of a connection. Frames of requests and bodies are taken as they come, in pieces; only what must be
	// there as a whole has to fit, which is settings and priorities.
	inputBytes = 4 << 10
	// hpackTable is the dynamic table that a client may use: the default (RFC 9113, 6.5.2).
	hpackTable = 4 << 10
)

// http2Input reads the frames of a connection. It belongs to the one goroutine that does.
type http2Input struct {
	conn *http2Conn
	buf  [inputBytes]byte
	r, w int  // what is unread in it
	slow bool // the read deadline stands

	decoder      *hpack.Decoder
	block        headerBlock
	odd, control budget
}

// headerBlock is a header, or trailers, whose frames come.
type headerBlock struct {
	open     bool
	stream   uint32
	bytes    int // of the block
	frames   int // that have continued it
	end      bool
	fresh    bool         // it begins a request
	of       *http2Stream // or has the trailers of one; nil: of nobody's that is still there
	self     bool         // the stream depends on itself (RFC 9113, 5.3)
	late     bool         // we have reset the stream
	left     int          // of what the fields may have
	tooLarge bool
	section  *fieldSection
}

func malformed(code h2Code) error { return breach{code, http2Malformed} }

// serve reads until the connection is over, and returns why.
func (in *http2Input) serve() error {
	err := in.preface()
	for first := true; err == nil; first = false {
		err = in.frame(first)
	}
	if in.block.section != nil {
		fieldSections.Put(in.block.section)
		in.block.section = nil
	}
	return err
}

func (in *http2Input) preface() error {
	for n := 1; n <= prefaceBytes; n++ {
		if err := in.need(n, true); err != nil {
			return err
		}
		if string(in.buf[:n]) != clientPreface[:n] {
			return malformed(codeProtocolError)
		}
	}
	in.r += prefaceBytes
	return nil
}

// need waits until n bytes are there unread, inputBytes at most. Where something has begun that the client must end in time,
// the read has a deadline, which stays where it was until that is whole: one byte now and then does not help.
func (in *http2Input) need(n int, begun bool) error {
	for in.w-in.r < n {
		if in.conn.ending.Load() {
			return errEnding
		}
		in.conn.flushAside() // what the frames before have caused
		in.arm(begun || in.block.open || in.w > in.r)
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
		got, err := in.conn.conn.Read(in.buf[in.w:])
		in.w += got
		switch {
		case got > 0:
		case errors.Is(err, os.ErrDeadlineExceeded) && in.conn.ending.Load():
			return errEnding
		case err != nil:
			return err
		}
	}
	return nil
}

func (in *http2Input) arm(slow bool) {
	if slow == in.slow {
		return
	}
	in.slow = slow
	var deadline time.Time
	if slow {
		deadline = time.Now().Add(in.conn.part.timeout)
	}
	_ = in.conn.conn.SetReadDeadline(deadline) // on a closed connection the read tells
	if in.conn.ending.Load() {
		_ = in.conn.conn.SetReadDeadline(time.Now())
	}
}

// payload waits for n bytes, and returns them until the next call.
func (in *http2Input) payload(n int) ([]byte, error) {
	if err := in.need(n, true); err != nil {
		return nil, err
	}
	in.r += n
	return in.buf[in.r-n : in.r], nil
}

// pieces has n bytes taken as they come.
func (in *http2Input) pieces(n int, begun bool, take func(p []byte) error) error {
	for n > 0 {
		if err := in.need(1, begun); err != nil {
			return err
		}
		p := in.buf[in.r:min(in.w, in.r+n)]
		in.r += len(p)
		n -= len(p)
		if err := take(p); err != nil {
			return err
		}
	}
	return nil
}

func skipped([]byte) error { return nil }

// frame reads one frame. Hot path: of a request, an allocation for each string that is not in a table of HPACK.
func (in *http2Input) frame(first bool) error {
	if err := in.need(frameHeaderBytes, first); err != nil {
		return err
	}
	f := parseFrame(in.buf[in.r:])
	in.r += frameHeaderBytes
	switch b := &in.block; {
	case f.length > maxReadFrame:
		return malformed(codeFrameSize)
	case first && (f.kind != frameSettings || f.has(flagAck)), // RFC 9113, 3.4
		b.open && (f.kind != frameContinuation || f.stream != b.stream), // RFC 9113, 6.10
		!b.open && f.kind == frameContinuation:
		return malformed(codeProtocolError)
	}
	if !in.spend(f) {
		return breach{codeEnhanceYourCalm, http2Control}
	}
	switch f.kind {
	case frameHeaders:
		return in.headers(f)
	case frameContinuation:
		return in.continuation(f)
	case frameData:
		return in.data(f)
	case frameReset:
		return in.reset(f)
	case frameWindowUpdate:
		return in.windowUpdate(f)
	case frameSettings:
		return in.settings(f)
	case framePing:
		return in.ping(f)
	case framePriority:
		return in.priority(f)
	case framePriorityUpdate:
		return in.priorityUpdate(f)
	case frameGoAway:
		if f.stream != 0 {
			return malformed(codeProtocolError)
		}
		if f.length < goAwayBytes {
			return malformed(codeFrameSize)
		}
	case framePushPromise:
		return malformed(codeProtocolError) // RFC 9113, 8.4
	}
	return in.pieces(f.length, true, skipped) // RFC 9113, 5.5: unknown ones mean nothing
}

// spend counts frames that ask for nothing. It is false when that was one too many.
func (in *http2Input) spend(f frame) bool {
	switch f.kind {
	case frameHeaders:
		in.conn.earn(1) // for the stream's window, which some set when they open it
		return true
	case frameContinuation, frameReset: // they have bounds of their own
		return true
	case frameData:
		if tiny := f.length < tinyData || f.has(flagPadded) && f.length <= maxPadding; !tiny || f.has(flagEndStream) {
			return true
		}
	case frameWindowUpdate:
		if in.conn.credit.Add(-1) >= 0 {
			return true
		}
		in.conn.credit.Add(1)
	}
	return in.conn.part.trusted || in.control.spend(time.Now(), 1)
}

// spendOdd counts an odd event.
func (in *http2Input) spendOdd() error {
	if in.conn.part.trusted || in.odd.spend(time.Now(), 1) {
		return nil
	}
	return breach{codeEnhanceYourCalm, http2Odd}
}

// refuse resets a stream for what the client sent, and counts why.
func (in *http2Input) refuse(id uint32, code h2Code, why reason) error {
	c := in.conn
	c.count(why) // before the client can know
	c.mu.Lock()
	s := c.streams[id]
	if s != nil {
		s.failLocked(errMalformed)
	}
	c.resetLocked(id, code)
	c.mu.Unlock()
	if s != nil {
		s.cancel(errMalformed)
	}
	return in.spendOdd()
}

// headers begins a header block.
func (in *http2Input) headers(f frame) error {
	c, b := in.conn, &in.block
	*b = headerBlock{open: true, stream: f.stream, bytes: f.length, end: f.has(flagEndStream), left: maxHeaderBytes, section: b.section}
	if b.section == nil {
		b.section = fieldSections.Get().(*fieldSection)
	}
	b.section.lines, b.section.text = b.section.lines[:0], b.section.text[:0]
	in.decoder.SetEmitEnabled(true)
	if f.stream%2 == 0 { // RFC 9113, 5.1.1
		return malformed(codeProtocolError)
	}
	c.mu.Lock()
	switch {
	case f.stream > c.last:
		b.fresh, c.last = true, f.stream
	default:
		b.of = c.streams[f.stream]
		b.late = c.wasResetLocked(f.stream)
		if b.of != nil && b.of.isOverLocked() {
			b.of = nil
		}
	}
	c.mu.Unlock()
	if !b.fresh && b.of == nil && !b.late { // RFC 9113, 5.1
		return malformed(codeStreamClosed)
	}
	before, padding := 0, 0
	if f.has(flagPadded) {
		before++
	}
	if f.has(flagPriority) {
		before += priorityBytes
	}
	if f.length < before {
		return malformed(codeFrameSize)
	}
	p, err := in.payload(before)
	if err != nil {
		return err
	}
	if f.has(flagPadded) {
		padding, p = int(p[0]), p[1:]
	}
	if f.has(flagPriority) {
		b.self = binary.BigEndian.Uint32(p)&largestStream == f.stream
	}
	if padding > f.length-before { // RFC 9113, 6.2
		return malformed(codeProtocolError)
	}
	if err := in.fragment(f.length - before - padding); err != nil {
		return err
	}
	if err := in.pieces(padding, true, skipped); err != nil {
		return err
	}
	return in.blockEnd(f)
}

func (in *http2Input) continuation(f frame) error {
	b := &in.block
	b.bytes += f.length
	b.frames++
	if b.bytes > maxBlockBytes || b.frames > maxContinuations {
		return breach{codeEnhanceYourCalm, http2HeaderLen}
	}
	if err := in.fragment(f.length); err != nil {
		return err
	}
	return in.blockEnd(f)
}

// fragment decodes a piece of a header block.
func (in *http2Input) fragment(n int) error {
	return in.pieces(n, true, func(p []byte) error {
		if _, err := in.decoder.Write(p); err != nil {
			return malformed(codeCompression)
		}
		return nil
	})
}

// field takes a field line. Of a header that is too large the rest only goes through the decoder's table.
func (in *http2Input) field(f hpack.HeaderField) {
	b := &in.block
	if b.left -= int(f.Size()); b.left < 0 {
		b.tooLarge = true
		in.decoder.SetEmitEnabled(false)
		return
	}
	b.section.add(f.Name, f.Value)
}

// blockEnd goes on where the block is whole.
func (in *http2Input) blockEnd(f frame) error {
	b := &in.block
	if !f.has(flagEndHeaders) {
		return nil
	}
	b.open = false
	if in.decoder.Close() != nil {
		return malformed(codeCompression)
	}
	switch {
	case b.self && b.fresh:
		return in.refuse(b.stream, codeProtocolError, http2Malformed)
	case b.fresh:
		return in.request()
	case b.of != nil:
		return in.trailers()
	}
	return nil // late
}

// request has a request answered.
func (in *http2Input) request() error {
	c, b := in.conn, &in.block
	c.mu.Lock()
	open, over := c.open, c.refused != 0 && b.stream >= c.refused || c.closing
	c.mu.Unlock()
	switch {
	case over: // RFC 9113, 6.8: it was told
		return nil
	case open >= maxStreams:
		return in.refuse(b.stream, codeRefusedStream, http2Malformed)
	case b.tooLarge:
		c.count(headerBytes)
		c.admit(newHTTP2Stream(c, b.stream, nil, b.end))
		return in.spendOdd()
	}
	r, err := b.section.request(2)
	if err != nil {
		return in.refuse(b.stream, codeProtocolError, http2Malformed)
	}
	if b.end && r.ContentLength > 0 { // RFC 9113, 8.1.1
		return in.refuse(b.stream, codeProtocolError, badField)
	}
	r.RemoteAddr, r.TLS = c.client, c.state
	c.awaitTurn()
	c.admit(newHTTP2Stream(c, b.stream, r, b.end))
	return nil
}

// trailers ends the body of a request.
func (in *http2Input) trailers() error {
	b := &in.block
	s := b.of
	if s.body.over() {
		return in.refuse(b.stream, codeStreamClosed, http2Malformed)
	}
	if !b.end { // RFC 9113, 8.1
		return in.refuse(b.stream, codeProtocolError, http2Malformed)
	}
	if b.tooLarge {
		return in.refuse(b.stream, codeEnhanceYourCalm, headerBytes)
	}
	trailer, err := b.section.trailer()
	if err != nil {
		return in.refuse(b.stream, codeProtocolError, http2Malformed)
	}
	return in.endBody(s, trailer)
}

func (in *http2Input) endBody(s *http2Stream, trailer http.Header) error {
	if !s.body.finish(trailer) { // RFC 9113, 8.1.1
		return in.refuse(s.id, codeProtocolError, badField)
	}
	return nil
}

// data takes a piece of a body.
func (in *http2Input) data(f frame) error {
	c := in.conn
	c.mu.Lock()
	s, late, idle := c.streams[f.stream], false, f.stream > c.last
	c.receive -= int64(f.length)
	tooMuch := c.receive < 0
	if s != nil && s.isOverLocked() {
		s = nil
	}
	if s == nil {
		late = c.wasResetLocked(f.stream)
		c.creditLocked(int64(f.length)) // nobody reads it
	}
	c.mu.Unlock()
	switch {
	case f.stream%2 == 0 || idle:
		return malformed(codeProtocolError)
	case tooMuch:
		return malformed(codeFlowControl)
	case s == nil && !late:
		return malformed(codeStreamClosed)
	}
	padding, content := 0, f.length
	if f.has(flagPadded) {
		if f.length == 0 {
			return malformed(codeFrameSize)
		}
		p, err := in.payload(1)
		if err != nil {
			return err
		}
		if padding = int(p[0]); padding >= f.length { // RFC 9113, 6.1
			return malformed(codeProtocolError)
		}
		content -= 1 + padding
	}
	if s == nil {
		return in.pieces(content+padding, false, skipped)
	}
	refused := in.take(s, f, content)
	err := in.pieces(content, false, func(p []byte) error {
		if refused == nil {
			s.body.write(p)
		}
		return nil
	})
	if err == nil {
		err = in.pieces(padding, false, skipped)
	}
	switch {
	case err != nil:
		return err
	case refused != nil:
		return refused()
	case f.has(flagEndStream):
		return in.endBody(s, nil)
	}
	return nil
}

// take settles whether a stream may have a piece of a body; if not, it returns how to refuse that.
func (in *http2Input) take(s *http2Stream, f frame, content int) (refuse func() error) {
	why, code := allowed, codeNoError
	switch fits, announced := s.body.expect(f.length, content); {
	case s.body.over():
		why, code = http2Malformed, codeStreamClosed
	case !fits:
		why, code = http2Malformed, codeFlowControl
	case !announced: // RFC 9113, 8.1.1
		why, code = badField, codeProtocolError
	}
	overhead := f.length - content
	if why != allowed {
		overhead = f.length
	}
	in.conn.mu.Lock()
	in.conn.creditLocked(int64(overhead))
	in.conn.mu.Unlock()
	if why == allowed {
		return nil
	}
	return func() error { return in.refuse(s.id, code, why) }
}

func (in *http2Input) reset(f frame) error {
	if f.length != codeBytes {
		return malformed(codeFrameSize)
	}
	if _, err := in.payload(codeBytes); err != nil {
		return err
	}
	c := in.conn
	c.mu.Lock()
	s, idle := c.streams[f.stream], f.stream > c.last
	if s != nil {
		s.failLocked(errReset)
	}
	c.mu.Unlock()
	if f.stream == 0 || idle {
		return malformed(codeProtocolError)
	}
	if s != nil {
		s.cancel(errReset)
	}
	return in.spendOdd()
}

func (c *http2Conn) wasResetLocked(id uint32) bool {
	for _, r := range c.resets {
		if r == id {
			return true
		}
	}
	return false
}
