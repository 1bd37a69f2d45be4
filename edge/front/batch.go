package front

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// batchBytes is the most that one write(2) below TLS takes: eight records of 16 KiB with
// what is around them. Collecting them took 0.72x the CPU of a write(2) for each.
const batchBytes = 8 * (16<<10 + 32)

// smallBatchBytes is enough for what HTTP/2 writes at once, a frame of 16 KiB, with the short
// records with which crypto/tls begins. A reader that stalls may keep its batch.
const smallBatchBytes = 20 << 10

var (
	batchBuffers      = sync.Pool{New: func() any { return new([batchBytes]byte) }}
	smallBatchBuffers = sync.Pool{New: func() any { return new([smallBatchBytes]byte) }}
)

// takeBatch returns a buffer for n bytes and their records, or for a part of them.
func takeBatch(n int) []byte {
	if n <= leastPiece+1<<10 {
		return smallBatchBuffers.Get().(*[smallBatchBytes]byte)[:]
	}
	return batchBuffers.Get().(*[batchBytes]byte)[:]
}

func giveBatch(buf []byte) {
	if len(buf) == smallBatchBytes {
		smallBatchBuffers.Put((*[smallBatchBytes]byte)(buf))
		return
	}
	batchBuffers.Put((*[batchBytes]byte)(buf))
}

// batchConn is the connection below crypto/tls. Between begin and end it collects
// what is written; the rest of the time it passes writes on.
type batchConn struct {
	net.Conn
	seat *seat

	socket   syscall.RawConn // of Conn; nil if it is no socket
	deadline writeDeadline   // with a lock of its own: it is set while a write holds the other
	path     path

	// The lock is held across writes to the socket, against the rule: it is what keeps
	// the records of tlsConn.Write and those that crypto/tls sends on its own (alerts,
	// key updates) in the order in which they were sealed.
	mu   sync.Mutex // guards the fields below
	buf  []byte
	used int
	err  error // a write failed: a record is lost or cut, so none may follow
}

// Close implements net.Conn.
func (c *batchConn) Close() error {
	c.seat.leave()
	return c.Conn.Close()
}

// SetWriteDeadline implements net.Conn, as tcpConn does.
func (c *batchConn) SetWriteDeadline(t time.Time) error { return c.deadline.set(c.Conn, t) }

// SetDeadline implements net.Conn.
func (c *batchConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// begin starts to collect what n bytes become.
func (c *batchConn) begin(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = takeBatch(n)
}

// end sends what is collected and stops to collect.
func (c *batchConn) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flushLocked()
	giveBatch(c.buf)
	c.buf = nil
	return err
}

// Write takes one record, or several.
func (c *batchConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.buf == nil {
		return c.writeLocked(p)
	}
	if c.used+len(p) > len(c.buf) {
		if err := c.flushLocked(); err != nil {
			return 0, err
		}
	}
	if len(p) > len(c.buf) {
		return c.writeLocked(p)
	}
	c.used += copy(c.buf[c.used:], p)
	return len(p), nil
}

func (c *batchConn) flushLocked() error {
	if c.used == 0 || c.err != nil {
		c.used = 0
		return c.err
	}
	_, err := c.writeLocked(c.buf[:c.used])
	c.used = 0
	return err
}

func (c *batchConn) writeLocked(p []byte) (int, error) {
	c.deadline.begin(c.Conn)
	n, err := c.Conn.Write(p)
	c.deadline.end()
	c.err = err
	return n, err
}

// linger implements lingerer.
func (c *batchConn) linger(limit time.Duration, most int64) {
	discardRest(c.Conn, limit, most)
}

// abort ends the connection with a reset where it is a TCP connection.
func (c *batchConn) abort() {
	c.seat.leave()
	reset(accepted(c.Conn))
}
