package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Types of frames of HTTP/3 (RFC 9114, 7.2; RFC 9218, 7.2).
const (
	h3Data, h3Headers, h3CancelPush, h3Settings = 0x0, 0x1, 0x3, 0x4
	h3PushPromise, h3GoAway, h3MaxPushID        = 0x5, 0x7, 0xd
	h3PriorityUpdate, h3PriorityUpdatePush      = 0xf0700, 0xf0701

	// readBytes is the buffer of a stream while its header is read: of a longer one as much
	// must have come before there is room for the rest.
	readBytes = 4 << 10
)

// streamBuffer is the buffer of a stream that is read.
type streamBuffer [readBytes]byte

var (
	streamBuffers = sync.Pool{New: func() any { return new(streamBuffer) }}
	fieldSections = sync.Pool{New: func() any { return new(fieldSection) }}
)

// errBreach says that the connection has been ended for what came on a stream.
var errBreach = errors.New("front: breach of HTTP/3")

// http3Stream is a request stream: the request, its body, and the response. It is the
// context of the request, too, which ends with the stream.
type http3Stream struct {
	context.Context // of the stream
	conn            *quicConn
	str             *quic.Stream
	request         *http.Request
	response        http3Response

	rank rank // guarded by the mutex of conn

	mu       sync.Mutex  // held while the body is read; guards the fields below
	frames   frameReader // of str
	left     int64       // bytes of the DATA frame that are still to come
	length   int64       // that the request announced; -1 for none
	received int64       // bytes of the body
	trailers bool        // they are there: nothing may follow
	ended    error       // of the body
}

// rankLocked changes the rank of the stream, and lets quic-go know. It is called with the mutex of conn held.
func (s *http3Stream) rankLocked(change func(r *rank)) {
	before := s.rank.priority
	if change(&s.rank); s.rank.priority != before {
		s.str.SetPriority(s.rank.priority.urgency, s.rank.priority.incremental)
	}
}

// Value implements context.Context.
func (s *http3Stream) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey:
		return s.conn.conn.LocalAddr()
	case connKey{}:
		return s
	}
	return s.Context.Value(key)
}

// readRequest reads the header. It is false when there is none to answer: then the
// stream or the connection has got what it deserves.
func (s *http3Stream) readRequest() bool {
	section := fieldSections.Get().(*fieldSection)
	defer fieldSections.Put(section)
	err := s.readHeader(section)
	if err == nil {
		s.request, err = section.request(3)
	}
	switch {
	case err == nil:
	case errors.Is(err, errBreach):
		return false
	case errors.Is(err, errMalformed):
		s.refuse(http3Malformed, http3.ErrCodeMessageError)
		return false
	case errors.Is(err, errTooLarge):
		s.refuseHeader()
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.refuse(slowHeader, http3.ErrCodeRequestIncomplete)
		return false
	case errors.Is(err, io.EOF): // a stream without a request
		s.refuse(http3Malformed, http3.ErrCodeRequestIncomplete)
		return false
	default: // given up
		s.abort(http3.ErrCodeRequestIncomplete)
		return false
	}
	_ = s.str.SetReadDeadline(time.Time{}) // it cannot fail
	if s.conn.qlog != nil {
		s.traceRequest()
	}
	return s.frame()
}

// readHeader reads and decodes the header section.
func (s *http3Stream) readHeader(section *fieldSection) error {
	for {
		kind, length, err := s.frames.head()
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return s.breach(http3.ErrCodeFrameError) // RFC 9114, 7.1
		case err != nil:
			return err
		case kind == h3Headers:
			return s.readSection(section, length)
		case kind == h3Data || !s.skips(kind):
			return s.breach(http3.ErrCodeFrameUnexpected) // RFC 9114, 4.1
		}
		if err := s.skip(length); err != nil {
			return err
		}
	}
}

// readSection reads the payload of a HEADERS frame and decodes it.
func (s *http3Stream) readSection(section *fieldSection, length uint64) error {
	if length > maxHeaderBytes {
		return errTooLarge
	}
	payload, err := s.frames.payload(int(length))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.breach(http3.ErrCodeFrameError)
	case err != nil:
		return err
	}
	if err = section.decode(payload, maxHeaderBytes); errors.Is(err, errQPACK) {
		return s.breach(http3.ErrCodeQPACKDecompressionFailed) // RFC 9204, 2.2.3 and 3.1
	}
	return err
}

// frame settles what the body is.
func (s *http3Stream) frame() bool {
	if s.length = s.request.ContentLength; s.frames.atEnd() {
		if s.length > 0 { // RFC 9114, 4.1.2
			s.refuse(badField, http3.ErrCodeMessageError)
			return false
		}
		s.request.ContentLength, s.request.Body = 0, http.NoBody
		s.release()
		return true
	}
	s.request.Body = s
	return true
}

// skips tells whether frames of a type are skipped on a request stream: unknown ones
// (RFC 9114, 9). Those of HTTP/2 (7.2.8), and those of the control stream, are not.
func (s *http3Stream) skips(kind uint64) bool {
	switch kind {
	case 0x2, 0x6, 0x8, 0x9, h3CancelPush, h3Settings, h3PushPromise, h3GoAway, h3MaxPushID, h3PriorityUpdate, h3PriorityUpdatePush:
		return false
	}
	return true
}

// skip skips the payload of a frame that means nothing to us.
func (s *http3Stream) skip(length uint64) error {
	if !s.conn.spendIdle() {
		return errBreach
	}
	err := s.frames.discard(length)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return s.breach(http3.ErrCodeFrameError)
	}
	return err
}

// Read implements io.Reader for the body.
func (s *http3Stream) Read(p []byte) (int, error) {
	s.mu.Lock() // held while it waits: finish ends the reading before it wants the lock
	defer s.mu.Unlock()
	if s.ended != nil || len(p) == 0 {
		return 0, s.ended
	}
	n, err := s.readBody(p)
	s.ended = err
	return n, err
}

// Close implements io.Closer for the body.
func (s *http3Stream) Close() error {
	s.str.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return nil
}

func (s *http3Stream) readBody(p []byte) (int, error) {
	for s.left == 0 {
		if err := s.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := s.frames.read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.received += int64(n)
	if errors.Is(err, io.EOF) {
		if s.left > 0 {
			return n, s.breach(http3.ErrCodeFrameError)
		}
		err = nil // the next read tells
	}
	return n, err
}

// nextFrame goes on to the next DATA frame, and over the trailers. It returns io.EOF at
// the end of the body.
func (s *http3Stream) nextFrame() error {
	kind, length, err := s.frames.head()
	switch {
	case errors.Is(err, io.EOF):
		if s.length > s.received { // RFC 9114, 4.1.2
			s.refuse(badField, http3.ErrCodeMessageError)
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.breach(http3.ErrCodeFrameError)
	case err != nil:
		return err
	case (kind == h3Data || kind == h3Headers) && s.trailers, !s.skips(kind):
		return s.breach(http3.ErrCodeFrameUnexpected) // RFC 9114, 4.1
	case kind == h3Headers:
		s.trailers = true
		return s.readTrailers(length)
	case kind != h3Data:
		return s.skip(length)
	case s.length >= 0 && length > uint64(s.length-s.received): // RFC 9114, 4.1.2
		s.refuse(badField, http3.ErrCodeMessageError)
		return errMalformed
	case length == 0 && !s.conn.spendIdle():
		return errBreach
	}
	s.left = int64(length)
	return nil
}

func (s *http3Stream) readTrailers(length uint64) error {
	section := fieldSections.Get().(*fieldSection)
	defer fieldSections.Put(section)
	err := s.readSection(section, length)
	if errors.Is(err, errTooLarge) {
		s.refuse(headerBytes, http3.ErrCodeExcessiveLoad)
	}
	if err != nil {
		return err
	}
	trailer, err := section.trailer()
	if err != nil {
		s.refuse(http3Malformed, http3.ErrCodeMessageError)
		return err
	}
	if s.request.Trailer == nil {
		s.request.Trailer = trailer
		return nil
	}
	for name, values := range trailer { // the handler may have a copy of the request
		s.request.Trailer[name] = values
	}
	return nil
}

// refuseHeader answers a header that is too large, and reads no more.
func (s *http3Stream) refuseHeader() {
	s.count(headerBytes)
	s.conn.spendOdd()
	s.str.CancelRead(quic.StreamErrorCode(http3.ErrCodeExcessiveLoad))
	s.response.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	s.response.finish()
}

// finish ends the stream when the Handler has returned. Whole is false when it panicked.
func (s *http3Stream) finish(whole bool) {
	if !whole {
		s.abort(http3.ErrCodeInternalError)
	} else if !s.response.finish() {
		s.abort(http3.ErrCodeRequestCanceled)
	}
	s.str.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError)) // RFC 9114, 4.1: what is left is not wanted
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = http.ErrBodyReadAfterClose
	}
	s.release()
}

// release gives the buffer back.
func (s *http3Stream) release() {
	if s.frames.buf != nil {
		streamBuffers.Put((*streamBuffer)(s.frames.buf))
		s.frames.buf = nil
	}
}

// count counts a refusal, also against the client.
func (s *http3Stream) count(why reason) {
	s.conn.part.stats.refusals.add(why, s.conn.remoteAddr())
	s.conn.offend(why)
}

// refuse resets the stream, and counts why.
func (s *http3Stream) refuse(why reason, code http3.ErrCode) {
	s.count(why)
	s.abort(code)
}

// abort resets the stream.
func (s *http3Stream) abort(code http3.ErrCode) {
	s.str.CancelRead(quic.StreamErrorCode(code))
	s.str.CancelWrite(quic.StreamErrorCode(code))
}

// breach ends the connection.
func (s *http3Stream) breach(code http3.ErrCode) error {
	s.conn.refuse(http3Malformed, code)
	return errBreach
}

// frameReader reads frames from a stream.
type frameReader struct {
	str  io.Reader
	buf  []byte // what was read too much; nil for none
	r, w int    // what is unread in it
	end  bool   // nothing comes after it
}

// head reads the type and the length of a frame. It returns io.EOF only where no frame
// has begun.
func (f *frameReader) head() (kind, length uint64, err error) {
	if kind, err = f.varint(); err != nil {
		return 0, 0, err
	}
	if length, err = f.varint(); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return kind, length, err
}

// varint reads a variable-length integer.
func (f *frameReader) varint() (uint64, error) {
	if err := f.need(1); err != nil {
		return 0, err
	}
	if err := f.need(1 << (f.buf[f.r] >> 6)); err != nil {
		return 0, err
	}
	value, n, err := quicvarint.Parse(f.buf[f.r:f.w])
	f.r += n
	return value, err
}

// payload reads n bytes, which stay until the next call.
func (f *frameReader) payload(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	err := f.need(min(n, len(f.buf)))
	if err == nil && n > len(f.buf) {
		whole := make([]byte, n)
		had := copy(whole, f.buf[f.r:f.w])
		f.r += had
		if _, err = io.ReadFull(f.str, whole[had:]); err == nil {
			return whole, nil
		}
	}
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	f.r += n
	return f.buf[f.r-n : f.r], nil
}

// need fills the buffer up to n unread bytes. It returns io.EOF when there is none, and
// io.ErrUnexpectedEOF when there are too few.
func (f *frameReader) need(n int) error {
	if f.w-f.r >= n {
		return nil
	}
	if f.buf == nil {
		f.buf = streamBuffers.Get().(*streamBuffer)[:]
	}
	f.w = copy(f.buf, f.buf[f.r:f.w])
	f.r = 0
	for f.w < n {
		if f.end {
			if f.w == 0 {
				return io.EOF
			}
			return io.ErrUnexpectedEOF
		}
		got, err := f.str.Read(f.buf[f.w:])
		f.w += got
		if f.end = errors.Is(err, io.EOF); err != nil && !f.end {
			return err
		}
	}
	return nil
}

// read reads what is there. It returns io.EOF with the last bytes, or after them.
func (f *frameReader) read(p []byte) (int, error) {
	if f.r < f.w {
		n := copy(p, f.buf[f.r:f.w])
		f.r += n
		return n, nil
	}
	if f.end {
		return 0, io.EOF
	}
	n, err := f.str.Read(p)
	f.end = errors.Is(err, io.EOF)
	return n, err
}

// discard skips n bytes.
func (f *frameReader) discard(n uint64) error {
	for n > 0 {
		if err := f.need(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		skipped := min(n, uint64(f.w-f.r))
		f.r += int(skipped)
		n -= skipped
	}
	return nil
}

// atEnd tells whether nothing is to come that has not come yet.
func (f *frameReader) atEnd() bool { return f.end && f.r == f.w }
