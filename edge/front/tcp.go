package front

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// tcpListener gives the connections of the cleartext listener our own type.
type tcpListener struct {
	net.Listener
	stats *counters
	gate  *proxyGate
	http1 *http1Limits
	seats *seats
	stop  *stopper // by Close
}

// Close implements net.Listener.
func (l tcpListener) Close() error {
	l.stop.stop()
	return l.Listener.Close()
}

func (l tcpListener) Accept() (net.Conn, error) {
	c, seat, err := l.seats.accept(l.Listener, l.gate, l.stop.done)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return &http1Conn{Conn: c, seat: seat, guard: l.http1.guard()}, nil // not a socket: a test's listener
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		seat.leave()
		_ = tcp.Close() // it was never used
		return nil, err
	}
	conn := &tcpConn{TCPConn: tcp, raw: raw, seat: seat, stats: l.stats, guard: l.http1.guard()}
	if l.gate.knows(tcp.RemoteAddr()) {
		conn.proxied.gate = l.gate
	}
	return conn, nil
}

// tcpConn is a cleartext connection whose ReadFrom sends files from shared
// descriptors.
type tcpConn struct {
	*net.TCPConn
	raw      syscall.RawConn
	seat     *seat
	stats    *counters
	aborted  atomic.Bool
	deadline writeDeadline
	proxied  proxied
	path     path
	guard    http1Guard

	more atomic.Bool // a file follows what is written
	held atomic.Bool // the kernel may be keeping bytes back until more comes
}

func (c *tcpConn) place() *seat { return c.seat }

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	c.seat.leave()
	return c.TCPConn.Close()
}

// SetWriteDeadline implements net.Conn. A write may be given up before t, by an eighth of
// the time that was left when it began.
func (c *tcpConn) SetWriteDeadline(t time.Time) error { return c.deadline.set(c.TCPConn, t) }

// SetDeadline implements net.Conn.
func (c *tcpConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// RemoteAddr implements net.Conn. Behind a balancer it is the client's, and waits for it.
func (c *tcpConn) RemoteAddr() net.Addr {
	if c.proxied.gate == nil {
		return c.TCPConn.RemoteAddr()
	}
	client, _ := c.proxied.of(c.TCPConn, c.seat) // Read tells the error
	return client
}

// Read implements net.Conn.
func (c *tcpConn) Read(p []byte) (int, error) { return c.guard.read(c, p) }

// readBelow reads what the guard has not seen. A connection whose balancer does not say who the client is ends before
// its first byte.
func (c *tcpConn) readBelow(p []byte) (int, error) {
	if c.proxied.gate != nil {
		if _, err := c.proxied.of(c.TCPConn, c.seat); err != nil {
			return 0, io.EOF // net/http answers other errors, and this is for nobody
		}
	}
	return c.TCPConn.Read(p)
}

// Write implements net.Conn.
func (c *tcpConn) Write(p []byte) (int, error) {
	if c.guard.answered {
		return len(p), nil
	}
	c.deadline.begin(c.TCPConn)
	defer c.deadline.end()
	if c.more.Load() {
		c.held.Store(true)
		return c.writeMore(p)
	}
	c.held.Store(false)
	return c.TCPConn.Write(p)
}

// beforeFile tells that Writes until fileNext go before a file: what they write may
// wait in the kernel for the file's first bytes, so that both leave together.
func (c *tcpConn) beforeFile() { c.more.Store(true) }

// fileNext ends what beforeFile began: the next thing is the file.
func (c *tcpConn) fileNext() { c.more.Store(false) }

// afterFile sends what still waits, because nothing of the file was sent.
func (c *tcpConn) afterFile() {
	if c.held.CompareAndSwap(true, false) {
		_ = c.SetNoDelay(true) // tcp(7): this pushes pending output; a closed connection has none
	}
}

// ReadFrom implements io.ReaderFrom. Hot path: for a FileRanger one sendfile(2) for
// as much as the socket takes, and a wait between. Everything else goes to
// net.TCPConn, which has its own ways for *os.File and connections.
func (c *tcpConn) ReadFrom(src io.Reader) (int64, error) {
	c.deadline.begin(c.TCPConn)
	defer c.deadline.end()
	if src, ok := src.(FileRanger); ok {
		if file, off, n := src.FileRange(); file != nil {
			return c.send(file, off, n)
		}
	}
	return c.TCPConn.ReadFrom(src)
}

// send sends n bytes of file from off on. A file that is too short ends the
// connection with a reset: whatever the framing, the client must not take what it
// got for the whole.
func (c *tcpConn) send(file *os.File, off, n int64) (int64, error) {
	sent, err := c.sendfile(file, off, n)
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // both ways to send return it bare
		c.stats.shortFiles.Add(1)
		c.abort()
	}
	return sent, err
}

// linger implements lingerer.
func (c *tcpConn) linger(limit time.Duration, most int64) { discardRest(c.TCPConn, limit, most) }

// abort ends the connection with a reset; what is still in the socket is lost.
func (c *tcpConn) abort() {
	if c.aborted.CompareAndSwap(false, true) {
		_ = c.SetLinger(0) // a closed connection is as good
		_ = c.Close()
	}
}
