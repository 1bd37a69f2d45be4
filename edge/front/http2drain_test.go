package front

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// The first frame is SETTINGS (RFC 9113, 3.4), also where the drain begins before the connection is served.
func TestHTTP2DrainsBehindSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestPart(readAll)
		ours, theirs := net.Pipe()
		c := newHTTP2Conn(t.Context(), p, theirs)
		go c.drain(t.Context()) // ends with the connection
		synctest.Wait()
		go c.serve() // as above
		framer := http2.NewFramer(ours, ours)
		for i, want := range []http2.FrameType{http2.FrameSettings, http2.FrameWindowUpdate, http2.FrameGoAway, http2.FramePing} {
			if f, err := framer.ReadFrame(); err != nil || f.Header().Type != want {
				t.Errorf("frame %d is %v, %v, want %v", i, f, err, want)
			}
		}
		_ = ours.Close()
		<-c.done
		p.workers.close()
	})
}

// lateListener has one connection, which it returns a moment after it is closed.
type lateListener struct {
	net.Listener // nil: nobody asks for the address

	conn   net.Conn
	closed chan struct{}
}

// Close implements net.Listener.
func (l *lateListener) Close() error {
	close(l.closed)
	return nil
}

// Accept implements net.Listener.
func (l *lateListener) Accept() (conn net.Conn, err error) {
	<-l.closed
	time.Sleep(time.Millisecond)
	if conn, l.conn = l.conn, nil; conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}

// A connection that was accepted before the listener closed, but that the drain has not seen, does not stay until it is idle.
func TestHTTP2DrainsTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		over := make(chan struct{})
		close(over)
		p := newTestPart(readAll)
		p.listener, p.over = &lateListener{conn: theirs, closed: make(chan struct{})}, over
		begin, served := time.Now(), make(chan error, 1)
		go func() { served <- p.serve(t.Context()) }()
		if err := p.drain(t.Context()); err != nil || len(p.connections()) > 0 {
			t.Fatalf("%v, %d connections: the drain has seen it", err, len(p.connections()))
		}
		framer, said := http2.NewFramer(ours, ours), false
		for {
			f, err := framer.ReadFrame()
			if err != nil {
				break
			}
			if g, ok := f.(*http2.GoAwayFrame); ok {
				said = g.ErrCode == http2.ErrCodeNo
			}
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		p.conns.Wait()
		p.workers.close()
		if took := time.Since(begin); !said || took > goAwayWait {
			t.Errorf("the connection ended after %v, want it at once; GOAWAY: %v", took, said)
		}
	})
}
