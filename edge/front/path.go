package front

import (
	"sync/atomic"
	"syscall"
	"time"
)

// pathEvery is how often the way to a client is looked at, at most.
const pathEvery = time.Second

// A path keeps what is known of the way to a client, of one connection. The zero value knows nothing yet.
type path struct {
	looked atomic.Int64 // nanoseconds since 1970
	rate   atomic.Int64 // bytes a second
	rtt    atomic.Int64 // nanoseconds; 0: unknown
}

// of returns what look has found, which is called once in pathEvery. Hot path: no allocation.
func (p *path) of(look func() (bytesPerSecond int64, rtt time.Duration)) (int64, time.Duration) {
	now, before := time.Now().UnixNano(), p.looked.Load()
	if now-before >= int64(pathEvery) && p.looked.CompareAndSwap(before, now) {
		rate, rtt := look()
		p.rate.Store(rate)
		p.rtt.Store(int64(rtt))
	}
	return p.rate.Load(), time.Duration(p.rtt.Load())
}

// A pathed is a connection that knows the way to its client.
type pathed interface {
	way() (bytesPerSecond int64, rtt time.Duration)
}

// Path returns what the connection has carried of late, in bytes a second, and its round trip; 0 is unknown. Of TCP the kernel
// tells, by one system call a second at most, what it has seen acknowledged; of QUIC it is what the congestion window lets go in
// a round trip.
func (w *responseWriter) Path() (bytesPerSecond int64, rtt time.Duration) {
	if w.way == nil {
		return 0, 0
	}
	return w.way.way()
}

func (c *tcpConn) way() (int64, time.Duration) {
	return c.path.of(func() (int64, time.Duration) { return pathOf(c.raw) })
}

func (c *tlsConn) way() (int64, time.Duration) {
	return c.raw.path.of(func() (int64, time.Duration) { return pathOf(c.raw.socket) })
}

func (c *http2Conn) way() (int64, time.Duration) {
	if c.tls == nil {
		return 0, 0
	}
	return c.tls.way()
}

func (s *http3Stream) way() (int64, time.Duration) {
	return s.conn.path.of(func() (int64, time.Duration) {
		stats := s.conn.conn.ConnectionStats()
		if stats.SmoothedRTT <= 0 {
			return 0, 0
		}
		return int64(float64(stats.CongestionWindow) / stats.SmoothedRTT.Seconds()), stats.SmoothedRTT
	})
}

// pathOf asks a socket; nil is none.
func pathOf(socket syscall.RawConn) (bytesPerSecond int64, rtt time.Duration) {
	if socket == nil {
		return 0, 0
	}
	_ = socket.Control(func(fd uintptr) { bytesPerSecond, rtt = tcpPath(int(fd)) }) // of a closed one nothing is known
	return bytesPerSecond, rtt
}
