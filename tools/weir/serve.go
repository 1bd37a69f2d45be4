package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// task is functions that run side by side until they are stopped.
type task struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the last has returned
	err    error         // theirs, joined; to be read after done
}

// start runs all functions. The first that fails ends the others; when ctx
// ends all do. Whoever starts a task stops it.
func start(ctx context.Context, functions ...func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel: cancel, done: make(chan struct{})}
	errs := make([]error, len(functions))
	var running sync.WaitGroup
	for i, run := range functions {
		running.Go(func() {
			if errs[i] = run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	go func() { // ends with the last function
		running.Wait()
		t.err = errors.Join(errs...)
		close(t.done)
	}()
	return t
}

// stop ends the functions, waits for them and returns their errors.
func (t *task) stop() error {
	t.cancel()
	<-t.done
	return t.err
}

// plainServer serves small cleartext HTTP, such as the admin listener: what is
// not the data path.
type plainServer struct {
	listener net.Listener
	server   *http.Server
	retired  chan struct{} // closed by retire
	once     sync.Once     // closes it
}

func newPlainServer(l net.Listener, h http.Handler, log *slog.Logger) *plainServer {
	return &plainServer{listener: l, retired: make(chan struct{}), server: &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// retireTimeout is how long what operators have asked a process may take after another one has taken over.
const retireTimeout = 10 * time.Second

// retireGrace is for a connection that was accepted at that moment to begin.
const retireGrace = 200 * time.Millisecond

// retire ends run as the end of its context does; others have the socket as well.
func (s *plainServer) retire() { s.once.Do(func() { close(s.retired) }) }

// run serves until ctx ends, then lets running responses finish for up to drain.
func (s *plainServer) run(ctx context.Context, drain time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }() // ends with Shutdown or Close below
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-s.retired:
		_ = s.listener.Close()                               // others have the socket
		if err := <-served; !errors.Is(err, net.ErrClosed) { // it cannot accept any more
			return err
		}
		// Shutdown does not know a connection that has only just been accepted.
		<-time.After(retireGrace) // also when ctx ends
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireTimeout)
		defer cancel()
		if s.server.Shutdown(deadline) != nil {
			return s.server.Close()
		}
		return nil
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := s.server.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) { // it was closed here
		err = errors.Join(err, end)
	}
	return err
}
