package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// http2Part is the server for HTTP/2, on connections whose handshake is over.
type http2Part struct {
	handler       http.Handler
	stats         *counters
	log           *slog.Logger
	timeout, idle time.Duration
	trusted       bool // no budgets
	listener      net.Listener
	over          <-chan struct{} // closed when nobody puts connections into listener any more

	unanswered int32 // requests of one connection that are read ahead; 0: as many as there are
	poll       *nextPoll
	workers    *workers
	draining   atomic.Bool
	conns      sync.WaitGroup

	mu   sync.Mutex // guards the fields below
	open map[*http2Conn]struct{}
}

func (s *Server) http2Part(l net.Listener, handler http.Handler, over <-chan struct{}) (*http2Part, error) {
	p := &http2Part{
		handler: handler, stats: &s.stats, log: s.log, timeout: s.opts.HeaderTimeout, idle: s.opts.IdleTimeout,
		trusted: s.opts.TrustClients, listener: l, over: over, workers: newWorkers(), open: map[*http2Conn]struct{}{},
	}
	if p.trusted {
		return p, nil
	}
	p.unanswered = mostUnanswered()
	var err error
	p.poll, err = newNextPoll()
	return p, err
}

func (p *http2Part) serve(ctx context.Context) error {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		c := newHTTP2Conn(ctx, p, conn)
		p.mu.Lock()
		p.open[c] = struct{}{}
		p.mu.Unlock()
		p.conns.Go(func() {
			if p.draining.Load() { // perhaps a connection that drain has not seen
				c.endSoon()
			}
			c.serve()
			p.mu.Lock()
			delete(p.open, c)
			p.mu.Unlock()
		})
	}
}

// drain has clients send no new requests and ends each connection when its requests are answered.
func (p *http2Part) drain(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, freshPatience)
	select { // a client that gets GOAWAY asks again, one whose handshake is cut may not
	case <-p.over:
	case <-limit.Done():
	}
	cancel()
	p.draining.Store(true)
	_ = p.listener.Close() // nothing is lost
	var lingering sync.WaitGroup
	for _, c := range p.connections() {
		lingering.Go(func() { c.drain(ctx) })
	}
	lingering.Wait()
	return ctx.Err()
}

func (p *http2Part) cut() {
	for _, c := range p.connections() {
		c.abort()
	}
}

func (p *http2Part) wait() {
	p.conns.Wait()
	p.workers.close()
	p.poll.close()
}

func (p *http2Part) connections() []*http2Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*http2Conn, 0, len(p.open))
	for c := range p.open {
		all = append(all, c)
	}
	return all
}

// workers are goroutines that answer requests. A new goroutine has a small stack, which grows several times before a request is
// answered: some of them stay for a while, and take the next one.
type workers struct {
	work    chan task
	idle    atomic.Int32
	most    int32 // that may be idle
	closed  chan struct{}
	running sync.WaitGroup
}

// A task is what a worker does: answer a request, or send what a connection has queued.
type task interface{ serve() }

const (
	// idleWorkers is how many goroutines wait for work, for each processor, and idleFor how long. They hold some 16 KiB each.
	idleWorkers = 16
	idleFor     = time.Second
)

func newWorkers() *workers {
	return &workers{work: make(chan task), most: int32(idleWorkers * runtime.GOMAXPROCS(0)), closed: make(chan struct{})}
}

// run has a task done, and does not wait for it.
func (w *workers) run(t task) {
	select {
	case w.work <- t: // somebody was waiting for it
	default:
		w.running.Go(func() { w.loop(t) })
	}
}

func (w *workers) loop(t task) {
	timer := time.NewTimer(idleFor)
	defer timer.Stop()
	for {
		t.serve()
		if w.idle.Add(1) > w.most {
			w.idle.Add(-1)
			return
		}
		timer.Reset(idleFor)
		select {
		case t = <-w.work:
			w.idle.Add(-1)
		case <-timer.C:
			w.idle.Add(-1)
			return
		case <-w.closed:
			return
		}
	}
}

// close returns when all have ended. There is no connection any more.
func (w *workers) close() {
	close(w.closed)
	w.running.Wait()
}
