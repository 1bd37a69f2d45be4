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
	handler   http.Handler
	timeout   time.Duration // for a request header
	idle      time.Duration // for a connection without requests
	trusted   bool          // no budgets
	seats     *seats
	stats     *counters
	log       *slog.Logger
	qlog      *atomic.Pointer[Qlog]

	draining atomic.Bool
	conns    sync.WaitGroup
	traces   sync.WaitGroup // of connections

	mu   sync.Mutex // guards the fields below
	open map[*quicConn]struct{}
}

func (s *Server) quicPart(socket net.PacketConn) (*quicPart, error) {
	p := &quicPart{
		socket: socket, handler: s.entry.via(&s.stats.http3, ""), timeout: s.opts.HeaderTimeout, idle: s.opts.IdleTimeout,
		trusted: s.opts.TrustClients, seats: s.seats, stats: &s.stats, log: s.log, qlog: &s.qlog, open: map[*quicConn]struct{}{},
	}
	keys, err := newQUICKeys(s.opts)
	if err != nil {
		return nil, err
	}
	p.transport = &quic.Transport{
		Conn:                  guardPaths(socket, s.ids.mark(), &s.stats.refusals),
		StatelessResetKey:     &keys.reset,
		ConnectionIDGenerator: s.ids,
		TokenGeneratorKey:     &keys.token,
		VerifySourceAddress:   (&retryLimit{most: s.retryFrom}).exceeded,
		ConnContext:           p.admit,
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
		Tracer:                         p.trace,
	})
	if err != nil {
		return nil, errors.Join(err, p.transport.Close())
	}
	p.listener = l
	return p, nil
}

// seatKey is the key under which a connection's context holds its seat.
type seatKey struct{}

// admit gives a connection its seat before the handshake, or refuses it (CONNECTION_REFUSED). The address may be forged as
// long as retryLimit does not mind; such a connection lasts for HeaderTimeout.
func (p *quicPart) admit(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	s := p.seats.enter(client.RemoteAddr, true, nil)
	if s == nil {
		return nil, errRefused
	}
	context.AfterFunc(ctx, s.leave) // when the connection has ended, or has not become one
	return withPrints(context.WithValue(ctx, seatKey{}, s), &prints{quic: true}), nil
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
		c, err := newQUICConn(p, conn)
		if err != nil { // it has ended
			_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
			continue
		}
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

// drain has clients send no new requests and ends each connection when its requests are answered.
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

// retryLimit tells when clients have to prove their addresses: while there are more than so many handshakes in a second, and a
// second longer. It looks at a tenth of a second, so that a flood does not get a second's handshakes at once.
type retryLimit struct {
	most int // of them in a second, from addresses that may be forged

	mu    sync.Mutex // guards the fields below
	begun time.Time
	count int
	until time.Time
}

func (l *retryLimit) exceeded(net.Addr) bool {
	const windows = 10 // in a second
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) >= time.Second/windows {
		l.begun, l.count = now, 0
	}
	if l.count++; l.count > l.most/windows {
		l.until = now.Add(time.Second)
	}
	return now.Before(l.until)
}
