package front

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// frameBytes is the payload of a DATA frame that we send: what everybody takes (RFC 9113, 4.2).
const frameBytes = 16 << 10

// http2Response is the ResponseWriter of a stream.
type http2Response struct {
	responseHead

	stream *http2Stream
	over   bool // END_STREAM is out
}

// rank settles the priority of the response.
func (w *http2Response) rank() {
	s := w.stream
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.rank.settle(w.fields, s.request)
}

// inform sends an interim response.
func (w *http2Response) inform(status int) {
	if w.broken == nil {
		w.broken = w.emit(w.appendHeader(nil, status, false), false)
	}
}

// proceed tells a client that waits for it to send the body. Unlike the other methods it may be called beside them: bodies are
// read by whoever passes them on.
func (w *http2Response) proceed() {
	s := w.stream
	if s.begun.Load() {
		return
	}
	if done, _ := s.conn.put(s, appendStatusOnly(nil, s.id, http.StatusContinue), 0, false); done { // who hears nothing sends it all the same
		s.conn.flush()
	}
}

// SetReadDeadline is for http.ResponseController.
func (w *http2Response) SetReadDeadline(t time.Time) error {
	w.stream.body.setDeadline(t)
	return nil
}

// SetWriteDeadline is for http.ResponseController.
func (w *http2Response) SetWriteDeadline(t time.Time) error {
	w.stream.setDeadline(t)
	return nil
}

// whole tells whether the stream ends with the byte that has been written last.
func (w *http2Response) whole() bool {
	return w.trailer == nil && (w.head || w.bodyless() || w.length == w.written)
}

// send sends the header, unless it is out, what waits, and p. It returns how much of p is out. Hot path: a small response is
// copied into the queue once.
func (w *http2Response) send(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	done, err := w.sendJoined(p)
	if err == nil && !done {
		src := bodySource{first: w.held, then: p, left: int64(len(w.held) + len(p))}
		w.held = nil
		if err = w.sendBody(&src, w.whole()); err != nil {
			w.broken = err
			return max(0, len(p)-int(src.left)), err
		}
	}
	w.broken = err
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// sendJoined queues all of send where that is little and may go. It is false where it may not: then nothing is done.
func (w *http2Response) sendJoined(p []byte) (bool, error) {
	n := len(w.held) + len(p)
	if n+frameHeaderBytes > joinedBytes/2 {
		return false, nil
	}
	joined := takeBuffer(joinedBytes)
	defer giveBuffer(joined)
	b, end := joined[:0], w.whole()
	if !w.sent {
		b = w.appendHeader(b, w.status, end && n == 0)
	}
	if n > 0 || w.sent && end {
		b = appendFrame(b, n, frameData, endFlag(end), w.stream.id)
		b = append(append(b, w.held...), p...)
	}
	done, err := w.stream.conn.put(w.stream, b, int64(n), end)
	if done {
		w.sent, w.held, w.over = true, nil, end
		w.stream.answer()
		w.stream.conn.earn(2 + int64(n/windowBytesPerUpdate))
		w.stream.conn.flush()
	}
	return done, err
}

func endFlag(end bool) byte {
	if end {
		return flagEndStream
	}
	return 0
}

// emit sends whole frames without a body, which may be the last.
func (w *http2Response) emit(frames []byte, end bool) error {
	s, c := w.stream, w.stream.conn
	if done, err := c.put(s, frames, 0, end); done || err != nil {
		c.flush()
		return err
	}
	if _, err := c.takeTurn(s, 0); err != nil {
		return err
	}
	if end {
		c.close(s)
	}
	return c.send(frames, s, 0, 0)
}

// sendFile writes n bytes of file from off on, as copyFileRange does.
func (w *http2Response) sendFile(file *os.File, off, n int64) (int64, error) {
	if err := w.beginFile(file, off, n); err != nil {
		return 0, err
	}
	if _, err := w.admit(n); err != nil {
		return 0, err
	}
	src := bodySource{file: diskFile{file}, off: off, left: n}
	if err := w.sendBody(&src, w.whole()); err != nil {
		w.broken = err
		w.written -= src.left
		return n - src.left, err
	}
	return n, nil
}

// sendBody sends the header, unless it is out, and all of src, in pieces for which the client's windows are open and the socket
// has room. Hot path: for each piece a buffer from a pool, and one write.
func (w *http2Response) sendBody(src *bodySource, end bool) error {
	var header []byte
	if !w.sent {
		header = w.appendHeader(nil, w.status, end && src.left == 0)
		w.sent = true
	}
	s, c := w.stream, w.stream.conn
	for header != nil || src.left > 0 {
		n, err := c.takeTurn(s, min(src.left, copyBytes))
		if err != nil {
			return err
		}
		if n, err = c.awaitRoom(s, n); err != nil {
			return err
		}
		sent, err := w.sendPiece(header, src, n, end)
		if errors.Is(err, errCold) {
			err = src.warm() // others have the turn meanwhile
		}
		if err != nil {
			return err
		}
		s.answer()
		c.mu.Lock()
		s.sent += sent
		c.mu.Unlock()
		c.earn(2*(1+sent/frameBytes) + sent/windowBytesPerUpdate)
		header = nil
	}
	w.over = w.over || end
	return nil
}

// sendPiece sends a header and n bytes of src, or some of those: fewer, and errCold, where more is not in memory. The caller has
// the turn for them, and loses it.
func (w *http2Response) sendPiece(header []byte, src *bodySource, n int64, end bool) (int64, error) {
	s, c := w.stream, w.stream.conn
	frames := (n + frameBytes - 1) / frameBytes
	buf := takeBuffer(int64(len(header)) + n + frames*frameHeaderBytes)
	defer giveBuffer(buf)
	b, sent, cold := append(buf[:0], header...), int64(0), error(nil)
	for sent < n && len(b)+frameHeaderBytes < len(buf) {
		piece := min(n-sent, frameBytes, int64(len(buf)-len(b)-frameHeaderBytes))
		last := end && piece == src.left
		b = appendFrame(b, int(piece), frameData, endFlag(last), s.id)
		begin := len(b)
		b = b[:begin+int(piece)]
		if err := src.read(b[begin:]); errors.Is(err, errCold) {
			b, cold = b[:begin-frameHeaderBytes], err
			break
		} else if err != nil {
			c.giveBack(s, n, true)
			return 0, err
		}
		sent += piece
	}
	if sent < n {
		c.giveBack(s, n-sent, false)
	}
	if end && src.left == 0 {
		c.close(s)
	}
	more := min(src.left, copyBytes)
	if cold != nil {
		more = 0 // else it has the turn while it waits for the disk
	}
	if err := c.send(b, s, sent, more); err != nil {
		return sent, err
	}
	return sent, cold
}

// finish sends what is missing at the end. It is false when that is not possible, or when the body is shorter than was announced.
func (w *http2Response) finish() bool {
	w.begin(w.held)
	w.settleLength()
	lines := w.trailerLines(appendHPACK)
	if !w.sent && lines == nil && !w.isShort() {
		w.trailer, w.length = nil, w.written // so it ends with what waits
	}
	if w.FlushError() != nil || w.isShort() {
		return false
	}
	switch {
	case w.over:
		return true
	case lines != nil:
		return w.emit(appendBlock(nil, lines, flagEndStream, w.stream.id), true) == nil
	}
	return w.emit(appendFrame(nil, 0, frameData, flagEndStream, w.stream.id), true) == nil
}

// appendHeader appends a header block.
func (w *http2Response) appendHeader(b []byte, status int, end bool) []byte {
	begin := len(b)
	b = appendFrame(b, 0, frameHeaders, flagEndHeaders|endFlag(end), w.stream.id)
	b = appendStatus(b, status)
	for name, values := range w.fields {
		if !w.leavesOut(name, status) {
			b = appendFields(b, name, values, appendHPACK)
		}
	}
	if _, ok := w.fields["Date"]; !ok && status >= 200 {
		b = appendHPACK(b, "Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if len(b)-begin-frameHeaderBytes > frameBytes {
		block := append([]byte(nil), b[begin+frameHeaderBytes:]...)
		return appendBlock(b[:begin], block, endFlag(end), w.stream.id)
	}
	setLength(b[begin:])
	return b
}

// appendBlock appends a header block of any length.
func appendBlock(b, block []byte, flags byte, stream uint32) []byte {
	for kind := byte(frameHeaders); ; kind, flags = frameContinuation, 0 {
		n := min(len(block), frameBytes)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		b = append(appendFrame(b, n, kind, flags, stream), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
	}
}

func appendStatusOnly(b []byte, stream uint32, status int) []byte {
	return appendBlock(b, appendStatus(nil, status), 0, stream)
}
