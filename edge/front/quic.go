package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// quicIdle ends a connection from which no packet came. It is shorter than the idle
	// time-out: a client that is gone must not hold a download's memory.
	quicIdle = 30 * time.Second
	// maxUniStreams is enough for the three streams of HTTP/3 and reserved types beside them.
	maxUniStreams = 16
	// retryFrom is the number of handshakes in a second from addresses that may be forged
	// after which clients have to prove theirs first, at the price of a round trip.
	retryFrom = 200
	// lingerStep and lingerQuiet say when a connection without requests has delivered what
	// it held: it has sent nothing for as long. A client that reads slowly has all of it before
	// it has read it, and loses what it has not read when the connection is closed.
	lingerStep  = 50 * time.Millisecond
	lingerQuiet = 2 * time.Second
)

// quicPart serves HTTP/3 on a UDP socket.
type quicPart struct {
	transport *quic.Transport
	listener  *quic.EarlyListener
	socket    net.PacketConn
	server    *http3.Server // never serves itself: it holds the settings of the connections
	timeout   time.Duration // for a request header
	trusted   bool          // no budgets
	stats     *counters
	log       *slog.Logger

	draining atomic.Bool
	conns    sync.WaitGroup
	traces   sync.WaitGroup // of connections

	mu   sync.Mutex // guards the fields below
	open map[*quicConn]struct{}
}

func (s *Server) quicPart(socket net.PacketConn) (*quicPart, error) {
	p := &quicPart{
		socket: socket, timeout: s.opts.HeaderTimeout, trusted: s.opts.TrustClients, stats: &s.stats, log: s.log, open: map[*quicConn]struct{}{},
	}
	p.server = &http3.Server{
		Handler:        p.begin(s.entry.via(&s.stats.http3, "")),
		MaxHeaderBytes: maxHeaderBytes,
		IdleTimeout:    s.opts.IdleTimeout,
		Logger:         slog.New(slog.DiscardHandler), // panics end in the entry; the rest is per request
		ConnContext:    func(ctx context.Context, c *quic.Conn) context.Context { return context.WithValue(ctx, quicKey{}, c) },
	}
	keys, err := newQUICKeys(s.opts)
	if err != nil {
		return nil, err
	}
	p.transport = &quic.Transport{
		Conn:                  socket,
		StatelessResetKey:     &keys.reset,
		ConnectionIDGenerator: s.ids,
		TokenGeneratorKey:     &keys.token,
		VerifySourceAddress:   (&retryLimit{}).exceeded,
	}
	config := http3.ConfigureTLSConfig(s.opts.TLS)
	config.MinVersion = tls.VersionTLS13
	l, err := p.transport.ListenEarly(config, &quic.Config{
		HandshakeIdleTimeout:           s.opts.HeaderTimeout,
		MaxIdleTimeout:                 min(quicIdle, s.opts.IdleTimeout),
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          maxUniStreams,
		Allow0RTT:                      true,
		Tracer:                         p.tracer(s.opts.QlogDir),
	})
	if err != nil {
		return nil, errors.Join(err, p.transport.Close())
	}
	p.listener = l
	return p, nil
}

func (p *quicPart) serve(ctx context.Context) error {
	for {
		conn, err := p.listener.Accept(ctx)
		if errors.Is(err, quic.ErrServerClosed) || ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is the clean end
		}
		if err != nil {
			return err
		}
		c := &quicConn{part: p, conn: conn, odd: budget{limit: oddEvents}}
		p.mu.Lock()
		p.open[c] = struct{}{}
		p.mu.Unlock()
		p.conns.Go(func() { //nolint:contextcheck // a connection outlives ctx while it drains
			c.serve()
			p.mu.Lock()
			delete(p.open, c)
			p.mu.Unlock()
		})
	}
}

// drain rejects new requests and ends each connection when its requests are answered.
func (p *quicPart) drain(ctx context.Context) error {
	p.draining.Store(true)
	_ = p.listener.Close() // open connections go on
	var lingering sync.WaitGroup
	for _, c := range p.connections() {
		lingering.Go(func() { c.drain(ctx) })
	}
	lingering.Wait()
	return ctx.Err()
}

func (p *quicPart) cut() {
	for _, c := range p.connections() {
		c.close()
	}
}

func (p *quicPart) wait() {
	p.conns.Wait()
	_ = p.transport.Close() // it sends nothing more
	_ = p.socket.Close()    // the transport leaves it open
	p.traces.Wait()
}

func (p *quicPart) connections() []*quicConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*quicConn, 0, len(p.open))
	for c := range p.open {
		all = append(all, c)
	}
	return all
}

// quicConn is one HTTP/3 connection.
type quicConn struct {
	part    *quicPart
	conn    *quic.Conn
	running atomic.Int64 // requests
	refused atomic.Bool

	encoder, decoder atomic.Bool // the client's QPACK streams are there

	mu  sync.Mutex // guards the field below
	odd budget
}

// serve returns when the connection has ended and its goroutines with it.
func (c *quicConn) serve() {
	raw, err := c.part.server.NewRawServerConn(c.conn)
	if err != nil || c.part.draining.Load() { // a connection that drain has not seen
		c.close()
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		select {
		case <-c.conn.HandshakeComplete():
		case <-c.conn.Context().Done(): // an address that was forged, perhaps
			return
		}
		c.part.stats.http3.connected()
		defer c.part.stats.http3.disconnected()
		for {
			str, err := c.conn.AcceptUniStream(context.Background()) // until the connection ends
			if err != nil {
				return
			}
			streams.Go(func() { c.serveUni(raw, str) })
		}
	})
	for {
		str, err := c.conn.AcceptStream(context.Background()) // until the connection ends
		if err != nil {
			return
		}
		if c.part.draining.Load() {
			// RFC 9114, 4.1.1: not processed, so the client may send it again elsewhere.
			str.ReleaseStreamCredit()
			str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			continue
		}
		_ = str.SetReadDeadline(time.Now().Add(c.part.timeout)) // it cannot fail
		c.running.Add(1)
		streams.Go(func() {
			defer c.running.Add(-1)
			if c.admit(str) {
				raw.HandleRequestStream(str)
			}
			c.judge(str)
		})
	}
}

// drain waits until no request runs and all is delivered, and closes the connection.
// An answer is delivered some time after its handler has returned, and quic-go does
// not say when; a connection that sends nothing more has nothing more to deliver.
func (c *quicConn) drain(ctx context.Context) {
	tick := time.NewTicker(lingerStep)
	defer tick.Stop()
	sent, quiet := uint64(0), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			c.close()
			return
		case <-c.conn.Context().Done():
			return
		case <-tick.C:
		}
		now := c.conn.ConnectionStats().BytesSent
		if c.running.Load() > 0 || now != sent {
			sent, quiet = now, 0
			continue
		}
		if quiet += lingerStep; quiet >= lingerQuiet {
			c.close()
			return
		}
	}
}

func (c *quicConn) close() {
	_ = c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // closed is closed
}

// quicKey is the key under which a request's context holds its QUIC connection.
type quicKey struct{}

// begin takes away the header's deadline once the header is there, and refuses what must
// not come in early data: anybody may send that again (RFC 8470, 4 and 5.2).
func (p *quicPart) begin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // http3's writer has it
		if c, ok := r.Context().Value(quicKey{}).(*quic.Conn); ok && early(c) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				p.stats.refusals.add(earlyData, r.RemoteAddr)
				w.WriteHeader(http.StatusTooEarly)
				return
			}
			r.Header["Early-Data"] = []string{"1"} // RFC 8470, 5.1: whoever is asked next has to know
		}
		next.ServeHTTP(w, r)
	})
}

// early tells whether the client has still to prove that it is there now.
func early(c *quic.Conn) bool {
	select {
	case <-c.HandshakeComplete():
		return false
	default:
		return true
	}
}

// retryLimit counts handshakes by the second.
type retryLimit struct {
	mu    sync.Mutex // guards the fields below
	begun time.Time
	count int
}

func (l *retryLimit) exceeded(net.Addr) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) >= time.Second {
		l.begun, l.count = now, 0
	}
	l.count++
	return l.count > retryFrom
}
