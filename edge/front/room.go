package front

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// leastPiece is the size of a piece for a socket that has room, but not much: one record
// of TLS, or one frame of HTTP/2.
const leastPiece = 16 << 10

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

// room looks now and then, and says no more than leastPiece: a piece is held while the
// stream's window is closed, of which only net/http knows. To wait as a Write does would keep net/http's frames from the
// socket, which streams that have ended need.
func (c *http2Conn) room(ctx context.Context) (int, error) {
	t, ok := c.Conn.(*tlsConn)
	if !ok || t.raw.socket == nil {
		return leastPiece, nil
	}
	n, err := roomNow(t.raw.socket)
	if n > 0 || err != nil {
		return n, err
	}
	begin, timer := time.Now(), time.NewTimer(firstLook)
	defer timer.Stop()
	for n == 0 && err == nil {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-timer.C:
		}
		waited := time.Since(begin)
		if waited > writeStall {
			return 0, os.ErrDeadlineExceeded
		}
		timer.Reset(min(max(waited/2, firstLook), longestLook))
		n, err = roomNow(t.raw.socket)
	}
	return n, err
}

func roomNow(socket syscall.RawConn) (int, error) {
	l := lookers.Get().(*looker)
	defer lookers.Put(l)
	err := socket.Control(l.look)
	return min(l.n, leastPiece), err
}

// looker looks for room from within a syscall.RawConn, without an allocation.
type looker struct {
	n    int
	look func(fd uintptr)
	wait func(fd uintptr) bool
}

var lookers = sync.Pool{New: func() any {
	l := new(looker)
	l.look = func(fd uintptr) { l.n = roomOf(int(fd)) }
	l.wait = func(fd uintptr) bool { l.look(fd); return l.n > 0 }
	return l
}}

// socketOf returns the socket below a connection that was accepted; nil if it is none.
func socketOf(conn any) syscall.RawConn {
	if behind, ok := conn.(*clientConn); ok {
		conn = behind.Conn
	}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}
