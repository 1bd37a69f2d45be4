package front

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// errRefused is what net/http reads when a connection is over.
var errRefused = errors.New("front: the client was refused")

// http1Guard stands between a connection and net/http's HTTP/1.1, as http2Conn does for HTTP/2: net/http takes bare LF,
// goes on after a request with two lengths, and refuses some things without a word to us. The guard refuses them first,
// and all of them, counted; what it lets through net/http takes for the same requests.
//
// A refused client gets one answer, after those to the requests before, and the connection ends: nothing that follows
// is looked at. Its methods are for the one goroutine that reads.
type http1Guard struct {
	walk     http1Walk
	refusals *refusals
	pipeline budget
	trusted  bool // it has no budget
	counted  bool
	answered bool // nothing of net/http's goes out any more: it has a word for half a line, too
}

// http1Limits are what the guards of a server share.
type http1Limits struct {
	fields   int
	refusals *refusals
	trusted  bool
}

func (l *http1Limits) guard() http1Guard {
	return http1Guard{walk: http1Walk{fields: l.fields, bytes: maxHeaderBytes * l.fields / maxFields}, refusals: l.refusals, pipeline: budget{limit: maxPipelined}, trusted: l.trusted}
}

// guarded is the connection below a guard.
type guarded interface {
	net.Conn
	lingerer
	readBelow(p []byte) (int, error)
}

// read reads from c for net/http. Hot path: one look at each byte of a head, none at those of a body; no allocation.
func (g *http1Guard) read(c guarded, p []byte) (int, error) {
	for !g.walk.over() {
		n, err := c.readBelow(p)
		n = g.walk.next(p[:n])
		if g.walk.piped > 0 {
			g.piped()
		}
		if n > 0 {
			return n, nil // an error comes again
		}
		if err != nil && !g.walk.over() {
			return 0, g.cut(c, err, len(p))
		}
	}
	switch {
	case g.walk.body:
		// Whoever reads the body gets an error, and net/http will not read another request.
		g.refuse(c)
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: errRefused}
	case len(p) == 1 && !g.answered:
		// net/http waits for the end of the connection while it handles the request before, or has room for no more in the
		// middle of a line. It gets a byte that does no harm, as no head gets whole by it, and asks again when it can be told.
		p[0] = '?'
		return 1, nil
	}
	g.answer(c)
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: errRefused}
}

// maxPipelined is how many requests of a connection may come together with the one before in budgetWindow. Browsers have
// given pipelining up, and players never did it; it is how a client asks for a thousand things with one write.
const maxPipelined = 100

// pipedBytes is how much of such a request's head counts as one more of them: 31 KiB take as long as nine small ones.
const pipedBytes = 4 << 10

// piped counts the requests that came so; when they are too many no other is read.
func (g *http1Guard) piped() {
	n := g.walk.piped
	g.walk.piped = 0
	if g.trusted || g.pipeline.spend(time.Now(), n) || g.walk.over() {
		return
	}
	g.walk.body = !g.walk.begun() && g.walk.step != stepStart // of a request that has been handed on
	g.walk.refuse(http.StatusTooManyRequests, http1Pipelined)
}

// cut is what net/http is told of an error below. It would take half a line for a whole one, and say that it is wrong:
// to who has left there is nothing to say, and who takes too long hears that.
func (g *http1Guard) cut(c guarded, err error, room int) error {
	if room == 1 || !g.walk.begun() {
		return err // net/http may have ended the read itself; or there is no request
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.walk.refuse(http.StatusRequestTimeout, slowHeader)
		g.answer(c)
	}
	g.answered = true
	return &net.OpError{Op: "read", Net: "tcp", Err: err}
}

// refuse counts the refusal, once.
func (g *http1Guard) refuse(c guarded) {
	if !g.counted {
		g.counted = true
		g.refusals.add(g.walk.no.why, c.RemoteAddr().String())
		if c, ok := c.(seated); ok {
			c.place().offend(g.walk.no.why.points())
		}
	}
}

// answer tells the client why, and lets it take that. All answers before are out: net/http is about to read a request.
func (g *http1Guard) answer(c guarded) {
	if g.answered {
		return
	}
	g.refuse(c)
	status := g.walk.no.status
	line := fmt.Sprintf("%d %s\n", status, http.StatusText(status))
	allow := ""
	if status == http.StatusMethodNotAllowed {
		allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
	}
	_ = c.SetWriteDeadline(time.Now().Add(goAwayWait))
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), allow, len(line), line)
	g.answered = true
	if err == nil && status != http.StatusRequestTimeout { // who is that slow does not listen
		c.linger(goAwayWait, lingerBytes)
	}
}

// http1TLSConn is a TLS connection that speaks HTTP/1.1.
type http1TLSConn struct {
	*tlsConn
	guard http1Guard
}

// Read implements net.Conn.
func (c *http1TLSConn) Read(p []byte) (int, error) { return c.guard.read(c, p) }

// Write implements net.Conn.
func (c *http1TLSConn) Write(p []byte) (int, error) {
	if c.guard.answered {
		return len(p), nil
	}
	return c.tlsConn.Write(p)
}

// linger says goodbye before, as TLS has it.
func (c *http1TLSConn) linger(limit time.Duration, most int64) {
	_ = c.CloseWrite() // what is lost is lost
	c.tlsConn.linger(limit, most)
}

func (c *http1TLSConn) readBelow(p []byte) (int, error) { return c.tlsConn.Read(p) }

// http1Conn is a connection in the clear that is no socket: one of a test's network.
type http1Conn struct {
	net.Conn
	seat  *seat
	guard http1Guard
}

func (c *http1Conn) place() *seat { return c.seat }

// Close implements net.Conn.
func (c *http1Conn) Close() error {
	c.seat.leave()
	return c.Conn.Close()
}

// Read implements net.Conn.
func (c *http1Conn) Read(p []byte) (int, error) { return c.guard.read(c, p) }

func (c *http1Conn) readBelow(p []byte) (int, error) { return c.Conn.Read(p) }

// Write implements net.Conn.
func (c *http1Conn) Write(p []byte) (int, error) {
	if c.guard.answered {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// linger does not wait: only the close of a socket throws away what was not read.
func (c *http1Conn) linger(time.Duration, int64) {}
