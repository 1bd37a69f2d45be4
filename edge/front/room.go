package front

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// leastPiece is the size of a piece for a socket that has room, but not much: one record
// of TLS, or one frame of HTTP/2.
const leastPiece = 16 << 10

// firstPiece is the size of a small buffer.
const firstPiece = 8 << 10

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
