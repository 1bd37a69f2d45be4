package front

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// pieceWait is how long a piece of a file waits in memory for a client that takes nothing.
// Then it is given back, and read again when there is room: what was not sent is still in
// the file.
const pieceWait = 250 * time.Millisecond

// fileSending is the state of sendFile.
type fileSending struct {
	*http3Response
	file      *os.File
	off, left int64
	frame     int64  // what is still to come of the file in the DATA frame that has begun
	head      []byte // what has not left of what goes before it
	slow      bool   // the client let a piece wait: the next one is small
}

// sendFile writes n bytes of file from off on, as copyFileRange does. The header of the
// response and that of a frame lie before the bytes of the file, so that a piece is one
// write. A client that stalls holds no piece. Hot path: for each piece a buffer from a
// pool, and a deadline that is moved.
func (w *http3Response) sendFile(file *os.File, off, n int64) (int64, error) {
	if err := w.beginFile(file, off, n); err != nil {
		return 0, err
	}
	s := fileSending{http3Response: w, file: file, off: off, left: n}
	defer w.deadline.ease(w.stream.str)
	for s.left > 0 {
		waits, err := s.piece()
		if waits {
			err = s.wait()
		}
		if err != nil {
			return n - s.left, err
		}
	}
	return n, nil
}

// piece sends as much as one buffer takes. It tells whether the client lets us wait.
func (s *fileSending) piece() (waits bool, err error) {
	want := int64(copyBytes)
	if s.slow {
		want = leastPiece
	}
	buf := takeBuffer(want)
	defer giveBuffer(buf)
	b := append(buf[:0], s.head...)
	if s.frame == 0 {
		if b, err = s.beginFrame(b, len(buf)); err != nil {
			return false, err
		}
	}
	begin := len(b)
	b = b[:begin+int(min(s.frame, int64(len(buf)-begin)))]
	if got, err := s.file.ReadAt(b[begin:], s.off); got < len(b)-begin {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		s.broken, s.left = err, s.left-int64(got)
		return false, err
	}
	s.deadline.hurry(s.stream.str)
	done, err := s.stream.str.Write(b)
	s.head = bytes.Clone(b[min(done, begin):begin])
	n := int64(max(0, done-begin))
	s.off, s.left, s.frame = s.off+n, s.left-n, s.frame-n
	s.slow = err != nil
	if err != nil && s.deadline.hurried(err) {
		return true, nil
	}
	s.broken = err
	return false, err
}

// beginFrame appends what goes before the first byte of a DATA frame, the header of the
// response included.
func (s *fileSending) beginFrame(b []byte, room int) ([]byte, error) {
	if !s.sent {
		if b = s.appendHeader(b, s.status); len(b) > room/2 {
			b = b[:0]
			_ = s.FlushError() // admit tells
		}
	}
	s.frame = min(s.left, int64(room-dataHeadBytes-len(b)))
	if _, err := s.admit(s.frame); err != nil {
		return nil, err
	}
	s.sent = true
	return quicvarint.AppendWithLen(append(b, h3Data), uint64(s.frame), dataHeadBytes-1), nil
}

// wait returns when the client takes more, and holds nothing meanwhile: a write that may
// send no byte comes back as soon as it could have sent one.
func (s *fileSending) wait() error {
	s.deadline.ease(s.stream.str)
	_, err := s.stream.str.WriteWithLimit([]byte{0}, func(int) int { return 0 })
	if errors.Is(err, quic.ErrWriteLimitReached) {
		return nil
	}
	s.broken = err
	return err
}

// pieceDeadline keeps the write deadline of a stream: the Handler's, or before it that of a
// piece.
type pieceDeadline struct {
	mu    sync.Mutex // guards the fields below
	want  time.Time  // the Handler's; zero: none
	piece time.Time  // zero: no piece is under way
}

// set notes the Handler's.
func (d *pieceDeadline) set(stream writeDeadliner, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	return d.armLocked(stream)
}

// hurry lets what is written next wait for pieceWait, and ease ends that.
func (d *pieceDeadline) hurry(stream writeDeadliner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.piece = time.Now().Add(pieceWait)
	_ = d.armLocked(stream) // the write tells
}

func (d *pieceDeadline) ease(stream writeDeadliner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.piece = time.Time{}
	_ = d.armLocked(stream) // the next write tells
}

// hurried tells whether err comes from the piece's deadline and not from the Handler's.
func (d *pieceDeadline) hurried(err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Is(err, os.ErrDeadlineExceeded) && (d.want.IsZero() || time.Now().Before(d.want))
}

// armLocked is called with the lock held across a call to the stream, which does not block.
func (d *pieceDeadline) armLocked(stream writeDeadliner) error {
	t := d.want
	if !d.piece.IsZero() && (t.IsZero() || d.piece.Before(t)) {
		t = d.piece
	}
	return stream.SetWriteDeadline(t)
}
