package front

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// holdBytes is how much of a body waits for the Handler's end or a Flush, so that a small one leaves with its header and its
// length.
const holdBytes = 4 << 10

// responseHead is what the ResponseWriters of HTTP/2 and HTTP/3 have in common: all but how it is sent.
type responseHead struct {
	sender responseSender // whose head it is
	fields http.Header
	head   bool // the request is HEAD
	status int  // 0 until it is known
	sent   bool // the header is out

	length  int64    // of the body, as the Handler announced it; -1 for no word
	written int64    // bytes of the body
	held    []byte   // those of them that wait
	trailer []string // names of fields that come after the body
	broken  error    // of the first write that failed: it may have ended inside a frame
}

// A responseSender is what they differ in.
type responseSender interface {
	inform(status int)          // sends an interim response
	rank()                      // settles the priority of the response
	send(p []byte) (int, error) // sends the header, unless it is out, what waits, and p; returns how much of p is out
}

// Header implements http.ResponseWriter.
func (h *responseHead) Header() http.Header { return h.fields }

// WriteHeader implements http.ResponseWriter.
func (h *responseHead) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("front: invalid status " + strconv.Itoa(status))
	case h.status != 0:
	case status < 200:
		h.sender.inform(status)
	default:
		h.settle(status)
		h.sender.rank()
	}
}

// Write implements http.ResponseWriter.
func (h *responseHead) Write(p []byte) (int, error) {
	h.begin(p)
	if n, err := h.admit(int64(len(p))); err != nil || h.head {
		return n, err
	}
	if !h.sent && len(h.held)+len(p) < holdBytes && h.length != h.written {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	return h.sender.send(p)
}

// WriteString implements io.StringWriter.
func (h *responseHead) WriteString(s string) (int, error) { return h.Write([]byte(s)) }

// Flush implements http.Flusher.
func (h *responseHead) Flush() { _ = h.FlushError() } // http.Flusher has no error

// FlushError sends what waits.
func (h *responseHead) FlushError() error {
	h.begin(h.held)
	if h.sent && len(h.held) == 0 {
		return h.broken
	}
	_, err := h.sender.send(nil)
	return err
}

// EnableFullDuplex is for http.ResponseController: both directions are independent.
func (h *responseHead) EnableFullDuplex() error { return nil }

// begin settles the header when the body begins with p, or what is known of it.
func (h *responseHead) begin(p []byte) {
	if h.status == 0 {
		h.guessType(p)
		h.WriteHeader(http.StatusOK)
	}
}

// beginFile is begin for a body that goes on with n bytes of file from off on: what waits goes first.
func (h *responseHead) beginFile(file *os.File, off, n int64) error {
	if h.status == 0 {
		first := make([]byte, min(n, 512)) // of which the type is guessed
		got, _ := file.ReadAt(first, off)
		h.begin(first[:got])
	}
	if len(h.held) > 0 {
		return h.FlushError()
	}
	return nil
}

// settle takes the status of the response, and what the header says of its body.
func (h *responseHead) settle(status int) {
	h.status, h.length = status, -1
	if announced := h.fields["Content-Length"]; len(announced) > 0 {
		n, err := strconv.ParseUint(announced[0], 10, 63)
		if err != nil || len(announced) > 1 {
			delete(h.fields, "Content-Length")
		} else {
			h.length = int64(n)
		}
	}
	for _, field := range h.fields["Trailer"] {
		for name := range strings.SplitSeq(field, ",") {
			h.trailer = append(h.trailer, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// guessType settles the type of a body that begins with p where the Handler has not.
func (h *responseHead) guessType(p []byte) {
	if _, ok := h.fields["Content-Type"]; !ok && len(p) > 0 && len(h.fields["Content-Encoding"]) == 0 {
		h.fields["Content-Type"] = []string{http.DetectContentType(p)}
	}
}

// settleLength tells the length of a body that is whole before its header is out.
func (h *responseHead) settleLength() {
	if !h.sent && !h.bodyless() && h.length < 0 && (!h.head || h.written > 0) && h.fields["Trailer"] == nil {
		h.fields["Content-Length"] = []string{strconv.FormatInt(h.written, 10)}
	}
}

// isShort tells whether the body is shorter than was announced.
func (h *responseHead) isShort() bool { return h.length > h.written && !h.head && !h.bodyless() }

// bodyless tells whether a response of this status has no body (RFC 9110, 15.3.5 and
// 15.4.5).
func (h *responseHead) bodyless() bool {
	return h.status == http.StatusNoContent || h.status == http.StatusNotModified
}

// admit counts n more bytes of the body, if there may be as many.
func (h *responseHead) admit(n int64) (int, error) {
	switch {
	case h.broken != nil:
		return 0, h.broken
	case h.bodyless():
		return 0, http.ErrBodyNotAllowed
	case h.length >= 0 && h.written+n > h.length:
		return 0, http.ErrContentLength
	}
	h.written += n
	return int(n), nil
}

// leavesOut tells whether a field of the Handler is none of the header.
func (h *responseHead) leavesOut(name string, status int) bool {
	return status < 200 && name == "Content-Length" || forConnection(name) || strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(h.trailer, name)
}

// appendFields appends the lines of one field, each by line. What must not be sent is left out.
func appendFields(b []byte, name string, values []string, line func(b []byte, name, value string) []byte) []byte {
	if !httpguts.ValidHeaderFieldName(name) {
		return b
	}
	for _, value := range values {
		if httpguts.ValidHeaderFieldValue(value) {
			b = line(b, name, value)
		}
	}
	return b
}

// trailerLines are the lines of the trailers; nil where there are none.
func (h *responseHead) trailerLines(line func(b []byte, name, value string) []byte) (lines []byte) {
	for name, values := range h.fields {
		bare, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if (prefixed || slices.Contains(h.trailer, bare)) && httpguts.ValidTrailerHeader(bare) {
			lines = appendFields(lines, bare, values, line)
		}
	}
	return lines
}
