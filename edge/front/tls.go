package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// batchFrom is the size from which on a Write is batched. A smaller one is a record
// or two, and the copy would cost more than the call.
const batchFrom = 1 << 10

// tlsConn is a TLS connection after its handshake, whose Write leaves in few pieces.
// It is no *tls.Conn, so net/http neither repeats the handshake nor picks the protocol;
// through ConnectionState it finds the TLS state.
type tlsConn struct {
	*tls.Conn
	raw   *batchConn
	hello *prints

	writing atomic.Int32 // Writes that are under way, perhaps past crypto/tls, or wait for room
	mu      sync.Mutex   // held by the one Write that may batch; no field is guarded
}

// Write sends p. When it returns without an error, all of p is with the kernel. Hot
// path: one write(2) for each 128 KiB, one buffer of that size from a pool.
func (c *tlsConn) Write(p []byte) (int, error) {
	if len(p) < batchFrom {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing.Add(1)
	defer c.writing.Add(-1)
	c.raw.begin(len(p))
	n, err := c.Conn.Write(p)
	if endErr := c.raw.end(); err == nil && endErr != nil {
		return 0, endErr // some of it is out, but which bytes only the peer knows
	}
	return n, err
}

// writeBoth sends p and then q, as Write does.
func (c *tlsConn) writeBoth(p, q []byte) error {
	if len(p) == 0 {
		p, q = q, nil
	}
	if len(q) == 0 {
		_, err := c.Write(p)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing.Add(1)
	defer c.writing.Add(-1)
	c.raw.begin(len(p) + len(q))
	_, err := c.Conn.Write(p)
	if err == nil {
		_, err = c.Conn.Write(q)
	}
	return errors.Join(err, c.raw.end())
}

// Close says goodbye, unless a Write is stuck: then crypto/tls would wait seconds for
// room to say it in.
func (c *tlsConn) Close() error {
	if c.writing.Load() > 0 {
		return c.raw.Close()
	}
	return c.Conn.Close()
}

func (c *tlsConn) abort() { c.raw.abort() }

func (c *tlsConn) place() *seat { return c.raw.seat }

// tlsAcceptor makes the TLS handshakes of a listener and hands each connection to the
// queue of the protocol that was agreed on.
type tlsAcceptor struct {
	listener     net.Listener
	config       *tls.Config
	timeout      time.Duration // for the handshake, and then for the first header
	stats        *counters
	log          *slog.Logger
	gate         *proxyGate
	http1, http2 *connQueue
	limits       *http1Limits
	seats        *seats
	stop         *stopper      // by drain
	over         chan struct{} // closed when all handshakes are
}

// serve accepts until the listener is closed, and returns when all handshakes are
// over. Its error is nil after a close.
func (a *tlsAcceptor) serve(ctx context.Context) error {
	defer close(a.over)
	ctx, cancel := context.WithCancel(ctx)
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	defer cancel() // ends the handshakes, which hang up
	for {
		c, seat, err := a.seats.accept(a.listener, a.gate, a.stop.done)
		switch {
		case errors.Is(err, net.ErrClosed):
			late := time.AfterFunc(freshPatience, cancel)
			defer late.Stop()
			handshakes.Wait()
			return nil
		case err != nil:
			return err
		}
		handshakes.Go(func() { a.handshake(ctx, c, seat) })
	}
}

func (a *tlsAcceptor) drain(context.Context) error {
	a.stop.stop()
	_ = a.listener.Close() // nothing is lost
	return nil
}
func (a *tlsAcceptor) cut()  {}
func (a *tlsAcceptor) wait() {} // serve waits

func (a *tlsAcceptor) handshake(ctx context.Context, c net.Conn, s *seat) {
	if a.gate.knows(c.RemoteAddr()) {
		client, err := a.gate.client(c, s)
		if err != nil {
			return
		}
		c = &clientConn{Conn: c, client: client}
	}
	raw := &batchConn{Conn: c, seat: s, socket: socketOf(c)}
	defer a.stats.caught(a.log, "a handshake", func() { _ = raw.Close() }) // closed is closed
	conn := tls.Server(raw, a.config)
	deadline := time.Now().Add(a.timeout)
	_ = conn.SetDeadline(deadline) // it fails on a closed connection, as the handshake will
	hello := &prints{}
	if err := conn.HandshakeContext(withPrints(ctx, hello)); err != nil {
		s.ended(noHandshake)
		a.stats.handshakeErrors.Add(1)
		a.log.Debug("TLS handshake failed", "client", c.RemoteAddr().String(), "error", err)
		explainTLS(err)
		_ = conn.Close()
		return
	}
	if conn.ConnectionState().NegotiatedProtocol == protoACME {
		_ = conn.Close() // RFC 8737, 3: the handshake was the answer
		return
	}
	_ = conn.SetWriteDeadline(time.Time{})
	_ = conn.SetReadDeadline(time.Now().Add(a.timeout)) // until the protocol sets its own
	t := &tlsConn{Conn: conn, raw: raw, hello: hello}
	if conn.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		a.http2.put(t)
		return
	}
	a.http1.put(&http1TLSConn{tlsConn: t, guard: a.limits.guard()})
}

// explainTLS tells a client that spoke HTTP to the TLS port what is wrong.
func explainTLS(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks HTTPS\n")
	}
}

// A connQueue is a net.Listener fed by put.
type connQueue struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newConnQueue(addr net.Addr) *connQueue {
	return &connQueue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put hands c to Accept; when the queue is closed, c is closed.
func (q *connQueue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		_ = c.Close() // nobody wants it
	}
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return q.addr }
