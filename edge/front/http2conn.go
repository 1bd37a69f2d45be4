package front

import (
	"crypto/tls"
	"net"
	"time"
)

const protoHTTP2 = "h2"

// Frame types and the flag that http2Conn knows (RFC 9113, 6).
const (
	frameHeaderBytes  = 9
	frameHeaders      = 0x1
	frameContinuation = 0x9
	flagEndHeaders    = 0x4
	prefaceBytes      = 24
)

// http2Conn watches the frames that come in on an HTTP/2 connection, of which it reads
// only the nine header bytes. net/http has no time-out for a header block, or for a
// frame, that does not come to its end while other streams are open; here it is
// the read deadline of the connection.
//
// It hides ConnectionState: net/http takes a connection that has it for HTTP/1.1. The
// entry gives the requests their TLS state instead.
type http2Conn struct {
	net.Conn
	tls     *tls.ConnectionState
	timeout time.Duration

	// The fields below belong to the one goroutine that reads.
	skip  int    // bytes that belong to the current frame or the preface
	head  []byte // of the next frame, as far as it has come
	store [frameHeaderBytes]byte
	kind  byte // type and flags of the current frame
	flags byte
	open  bool // a header block has begun and not ended
	armed bool // the read deadline stands
}

func newHTTP2Conn(c *tlsConn, timeout time.Duration) *http2Conn {
	state := c.ConnectionState()
	h := &http2Conn{Conn: c, tls: &state, timeout: timeout, skip: prefaceBytes}
	h.head = h.store[:0]
	return h
}

// Read implements net.Conn. Hot path: one look for each frame.
func (c *http2Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.watch(p[:n])
		c.setDeadline()
	}
	return n, err
}

// watch follows the frames through p.
func (c *http2Conn) watch(p []byte) {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip -= n
			p = p[n:]
			if c.skip == 0 {
				c.frameEnd()
			}
			continue
		}
		n := min(frameHeaderBytes-len(c.head), len(p))
		c.head = append(c.head, p[:n]...)
		p = p[n:]
		if len(c.head) == frameHeaderBytes {
			c.frameBegin()
		}
	}
}

func (c *http2Conn) frameBegin() {
	h := c.head
	c.head = c.store[:0]
	c.skip = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	c.kind, c.flags = h[3], h[4]
	if c.kind == frameHeaders {
		c.open = true
	}
	if c.skip == 0 {
		c.frameEnd()
	}
}

func (c *http2Conn) frameEnd() {
	if (c.kind == frameHeaders || c.kind == frameContinuation) && c.flags&flagEndHeaders != 0 {
		c.open = false
	}
}

// setDeadline arms the read deadline when a header block or a frame header is begun
// and disarms it when it is whole. The deadline stays where it was while the
// block goes on, so that one byte now and then does not help.
func (c *http2Conn) setDeadline() {
	want := c.open || len(c.head) > 0
	if want == c.armed {
		return
	}
	c.armed = want
	var deadline time.Time
	if want {
		deadline = time.Now().Add(c.timeout)
	}
	_ = c.SetReadDeadline(deadline) // on a closed connection the next Read tells
}
