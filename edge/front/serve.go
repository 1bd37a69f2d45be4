package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A part is one of the servers that a Run consists of.
type part interface {
	// serve serves until drain or cut; its error is nil then. Ctx is that of the requests.
	serve(ctx context.Context) error
	// drain takes nothing new and returns when all requests have ended, or with ctx's
	// error when it has.
	drain(ctx context.Context) error
	// cut ends what drain had to leave.
	cut()
	// wait returns when nothing of the part runs any more. It is called last.
	wait()
}

// parts makes the servers for what is bound. They own the sockets from then on.
func (s *Server) parts(bound sockets) ([]part, error) {
	var parts []part
	gate, limits := s.proxyGate(), &http1Limits{fields: s.entry.fields, refusals: &s.stats.refusals, trusted: s.opts.TrustClients}
	if bound.http != nil {
		l := tcpListener{Listener: bound.http, stats: &s.stats, gate: gate, http1: limits, seats: s.seats, stop: newStopper()}
		parts = append(parts, s.httpPart(l, &s.stats.cleartext, ""))
	}
	if bound.https == nil {
		return parts, nil
	}
	altSvc := ""
	if bound.udp != nil {
		port := portOf(bound.udp.LocalAddr())
		// RFC 7838, 3: the same host, another protocol on that port.
		altSvc = fmt.Sprintf(`h3=":%d"; ma=%d`, port, int(altSvcMaxAge.Seconds()))
		p, err := s.quicPart(bound.udp)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	http1, http2 := newConnQueue(bound.https.Addr()), newConnQueue(bound.https.Addr())
	acceptor := &tlsAcceptor{
		listener: bound.https,
		config:   tlsConfig(s.opts.TLS),
		timeout:  s.opts.HeaderTimeout,
		stats:    &s.stats,
		log:      s.log,
		gate:     gate,
		http1:    http1,
		http2:    http2,
		limits:   limits,
		seats:    s.seats,
		stop:     newStopper(),
		over:     make(chan struct{}),
	}
	secure := s.httpPart(http1, &s.stats.http1, altSvc)
	secure.over = acceptor.over
	multiplexed, err := s.http2Part(http2, s.entry.via(&s.stats.http2, altSvc), acceptor.over)
	if err != nil {
		return nil, err
	}
	return append(parts, acceptor, secure, multiplexed), nil
}

// tlsConfig is the configuration for TLS over TCP. Of TLS 1.2 it leaves the suites that
// HTTP/2 allows (RFC 9113, 9.2.2); those of TLS 1.3, AES-128-GCM first where the processor
// has it, are crypto/tls's own choice, as are session tickets.
func tlsConfig(base *tls.Config) *tls.Config {
	config := base.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	protocols := []string{protoHTTP2, "http/1.1"}
	if slices.Contains(config.NextProtos, protoACME) {
		protocols = append(protocols, protoACME)
	}
	config.NextProtos = protocols
	if config.CipherSuites == nil {
		config.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return config
}

// run serves the parts until ctx ends or one of them fails, and drains them.
func (s *Server) run(ctx context.Context, parts []part) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, len(parts))
	var serving sync.WaitGroup
	for _, p := range parts {
		serving.Go(func() {
			if err := p.serve(base); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	limit, stop := context.WithTimeout(base, s.opts.DrainTimeout)
	defer stop()
	var draining sync.WaitGroup
	for _, p := range parts {
		draining.Go(func() {
			if p.drain(limit) != nil {
				p.cut()
			}
		})
	}
	draining.Wait()
	cancel() // requests that were cut find their context ended
	serving.Wait()
	for _, p := range parts {
		p.wait()
	}
	s.entry.close()
	return err
}

// httpPart is a server for HTTP/1.1 on connections that are ready for it.
type httpPart struct {
	server   *http.Server
	listener net.Listener
	over     <-chan struct{} // closed when nobody puts connections into listener any more; nil: it is the system's
	conns    sync.WaitGroup  // connections whose goroutine has not ended
	open     atomic.Int64    // how many those are
	draining atomic.Bool
	served   chan struct{} // closed when nothing is accepted any more
}

// freshPatience is how long a connection that was accepted last may take, from the begin of a drain on, until its handshake is
// over and its first request there.
const freshPatience = time.Second

func (s *Server) httpPart(l net.Listener, p *protocolCounters, altSvc string) *httpPart {
	part := &httpPart{listener: l, served: make(chan struct{})}
	unused := noRequestTLS
	if p == &s.stats.cleartext {
		unused = noRequest
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	part.server = &http.Server{
		Handler:                      s.entry.via(p, altSvc),
		Protocols:                    &protocols,
		ReadHeaderTimeout:            s.opts.HeaderTimeout,
		IdleTimeout:                  s.opts.IdleTimeout,
		MaxHeaderBytes:               2 * maxHeaderBytes, // the guard has its own, and says so
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return withConn(ctx, c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			if c, ok := c.(seated); ok {
				c.place().state(state)
			}
			switch state {
			case http.StateNew: // called before the connection's goroutine starts
				part.conns.Add(1)
				part.open.Add(1)
				p.connected()
			case http.StateClosed, http.StateHijacked:
				if c, ok := c.(seated); ok && !part.draining.Load() {
					c.place().ended(unused)
				}
				p.disconnected()
				part.open.Add(-1)
				part.conns.Done()
			case http.StateActive, http.StateIdle: // not counted
			}
		},
	}
	return part
}

func (p *httpPart) serve(ctx context.Context) error {
	defer close(p.served)
	p.server.BaseContext = func(net.Listener) context.Context { return ctx }
	err := p.server.Serve(p.listener)
	if errors.Is(err, http.ErrServerClosed) || p.draining.Load() {
		return nil
	}
	return err
}

// drain ends when all connections have. net/http's Shutdown closes one whose first request it has not read yet, without an
// answer: so before that those that were accepted at the last moment get one.
func (p *httpPart) drain(ctx context.Context) error {
	p.settle(ctx)
	return p.server.Shutdown(ctx)
}

func (p *httpPart) settle(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, freshPatience)
	defer cancel()
	if p.over != nil {
		select {
		case <-p.over:
		case <-limit.Done():
		}
	}
	p.server.SetKeepAlivesEnabled(false) // who is idle is closed, and each other one with its next response
	p.draining.Store(true)
	_ = p.listener.Close() // nothing is lost
	<-p.served
	for p.open.Load() > 0 && rest(limit, leastPause) == nil {
	}
}

func (p *httpPart) cut()  { _ = p.server.Close() } // what it closes is lost anyway
func (p *httpPart) wait() { p.conns.Wait() }
