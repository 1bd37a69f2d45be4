package front

import (
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
)

const (
	// joinedBytes is up to which size header and body are copied together, so that they leave
	// in one write.
	joinedBytes = leastPiece
	// dataHeadBytes is what sendFile leaves for the head of a DATA frame.
	dataHeadBytes = 1 + 4
)

// http3Response is the ResponseWriter of a request stream.
type http3Response struct {
	responseHead

	stream   *http3Stream
	deadline pieceDeadline
}

// rank settles the priority of the response.
func (w *http3Response) rank() {
	s := w.stream
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.rankLocked(func(r *rank) { r.settle(w.fields, s.request) })
}

// inform sends an interim response.
func (w *http3Response) inform(status int) {
	if buf := w.appendHeader(nil, status); w.broken == nil {
		_, w.broken = w.stream.str.Write(buf)
	}
}

// send sends the header, unless it is out, what waits, and p. It returns how much of p is
// out. Hot path: one write of a small response, no allocation.
func (w *http3Response) send(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	n, err := w.sendJoined(p)
	if err == nil && n < len(p) {
		n, err = w.stream.str.Write(p)
	}
	w.broken = err
	return n, err
}

// sendJoined sends all of send but a large p, and returns how much of p. Its buffer is not kept while p goes out.
func (w *http3Response) sendJoined(p []byte) (int, error) {
	joined := takeBuffer(joinedBytes)
	defer giveBuffer(joined)
	b := joined[:0]
	if !w.sent {
		b = w.appendHeader(b, w.status)
		w.sent = true
	}
	if n := len(w.held) + len(p); n > 0 {
		b = quicvarint.Append(append(b, h3Data), uint64(n))
	}
	b = append(b, w.held...)
	w.held = nil
	if len(b)+len(p) > joinedBytes {
		p = nil
	}
	if _, err := w.stream.str.Write(append(b, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline is for http.ResponseController.
func (w *http3Response) SetReadDeadline(t time.Time) error { return w.stream.str.SetReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController.
func (w *http3Response) SetWriteDeadline(t time.Time) error { return w.deadline.set(w.stream.str, t) }

// finish sends what is missing at the end. It is false when that is not possible, or when
// the body is shorter than was announced.
func (w *http3Response) finish() bool {
	w.begin(w.held)
	w.settleLength()
	if w.FlushError() != nil || w.isShort() {
		return false
	}
	if trailer := w.appendTrailer(nil); trailer != nil {
		if _, err := w.stream.str.Write(trailer); err != nil {
			return false
		}
	}
	return w.stream.str.Close() == nil
}

// appendHeader appends a HEADERS frame.
func (w *http3Response) appendHeader(b []byte, status int) []byte {
	if w.stream.conn.qlog != nil {
		w.trace(status)
	}
	begin := len(b)
	b = append(b, h3Headers, 0, 0, 0, 0, 0, 0) // the length is put in below; a section has a prefix of two bytes
	b = appendField(b, ":status", strconv.Itoa(status))
	for name, values := range w.fields {
		if !w.leavesOut(name, status) {
			b = appendFields(b, name, values, appendField)
		}
	}
	if _, ok := w.fields["Date"]; !ok && status >= 200 {
		b = appendField(b, "Date", time.Now().UTC().Format(http.TimeFormat))
	}
	quicvarint.AppendWithLen(b[:begin+1], uint64(len(b)-begin-dataHeadBytes), dataHeadBytes-1)
	return b
}

// appendTrailer appends a HEADERS frame with the trailers, if there are any.
func (w *http3Response) appendTrailer(b []byte) []byte {
	lines := w.trailerLines(appendField)
	if lines == nil {
		return b
	}
	b = quicvarint.Append(append(b, h3Headers), uint64(2+len(lines)))
	return append(append(b, 0, 0), lines...)
}
