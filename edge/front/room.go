package front

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// leastPiece is the size of a piece for a socket that has room, but not much: one record
// of TLS, or one frame of HTTP/2.
const leastPiece = 16 << 10

// firstPiece is the size of a piece for a client of HTTP/2 that has not acknowledged trialBytes on its connection. net/http
// keeps the memory of the largest frame that a connection has had: of one that takes nothing from the start that is half
// of what it would be.
const (
	firstPiece = 8<<10 - frameHeaderBytes
	trialBytes = 256 << 10
)

const (
	// firstLook and longestLook bound the time between two looks for room. It grows with what
	// was waited so far, so that of the two thirds of a socket's buffer that are still to be
	// sent when there is room a client takes half at most before it is noticed.
	firstLook   = 2 * time.Millisecond
	longestLook = time.Second
)

// A roomer is a connection whose socket can be asked for room before anything is taken out
// of the pools to fill it: a client that stalls then holds none of that.
type roomer interface {
	// room waits until there is some, and returns the size of a piece that fits. The errors
	// are those of a Write, or ctx's.
	room(ctx context.Context) (int, error)
}

// room waits as a Write does, up to the write deadline.
func (c *http1TLSConn) room(context.Context) (int, error) {
	raw := c.raw
	if raw.socket == nil {
		return copyBytes, nil
	}
	c.writing.Add(1) // Close must not wait
	defer c.writing.Add(-1)
	raw.deadline.begin(raw.Conn)
	defer raw.deadline.end()
	l := lookers.Get().(*looker)
	defer lookers.Put(l)
	err := raw.socket.Write(l.wait)
	return l.n, err
}

// room looks now and then. To wait as a Write does would keep net/http's frames from the socket, which streams that have
// ended need.
func (c *http2Conn) room(ctx context.Context) (int, error) {
	t, ok := c.Conn.(*tlsConn)
	if !ok || t.raw.socket == nil {
		return leastPiece, nil
	}
	n, err := c.look(t.raw.socket)
	for waited := time.Duration(0); n == 0 && err == nil; n, err = c.look(t.raw.socket) {
		if waited > writeStall {
			return 0, os.ErrDeadlineExceeded
		}
		pause := min(max(waited/2, firstLook), longestLook)
		if err := rest(ctx, pause); err != nil {
			return 0, err
		}
		waited += pause
	}
	return n, err
}

// look returns the size of a piece for which there is room now, 0 for none: until the client has taken trialBytes, no more
// than firstPiece. Hot path: two system calls.
func (c *http2Conn) look(socket syscall.RawConn) (int, error) {
	l := lookers.Get().(*looker)
	defer lookers.Put(l)
	err := socket.Control(l.look)
	if !c.tried.Load() {
		if c.sent.Load()-int64(l.queued) < trialBytes {
			return min(l.n, firstPiece), err
		}
		c.tried.Store(true)
	}
	return l.n, err
}

// rest waits for so long, or returns why ctx has ended.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A stride finds the size of the pieces in which an HTTP/2 stream takes a file. Nothing knows the stream's window but
// net/http, and a piece is held while that is closed. So only a stream that has let quickPieces go at once gets more than
// leastPiece, while there are not wideWrites of those already: that many, and no more, may then stall with one.
type stride struct {
	wide  chan struct{} // of the server, as long as wideWrites
	quick int           // pieces in a row that did not wait
}

// Pieces of 64 KiB cost 0.9 of the CPU of pieces of 16 KiB (BenchmarkGet).
const (
	quickPieces = 4
	quickWrite  = 5 * time.Millisecond
	wideWrites  = 64
)

// send sends a piece of n bytes at most.
func (s *stride) send(w io.Writer, file *os.File, off, n int64) (int64, error) {
	if n > leastPiece {
		if s.quick < quickPieces {
			n = leastPiece
		} else {
			select {
			case s.wide <- struct{}{}:
				defer func() { <-s.wide }()
			default:
				n = leastPiece
			}
		}
	}
	begin := time.Now()
	sent, err := copyFileRange(w, file, off, n)
	if s.quick++; time.Since(begin) > quickWrite {
		s.quick = 0
	}
	return sent, err
}

// looker looks for room from within a syscall.RawConn, without an allocation.
type looker struct {
	n, queued int

	look func(fd uintptr)
	wait func(fd uintptr) bool
}

var lookers = sync.Pool{New: func() any {
	l := new(looker)
	l.look = func(fd uintptr) { l.n, l.queued = roomOf(int(fd)) }
	l.wait = func(fd uintptr) bool { l.look(fd); return l.n > 0 }
	return l
}}

// socketOf returns the socket below a connection that was accepted; nil if it is none.
func socketOf(conn net.Conn) syscall.RawConn {
	if c, ok := accepted(conn).(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}
