package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/pyroscope-go"
)

const (
	// profileTimeout bounds one upload.
	profileTimeout = 10 * time.Second
	// defaultLastPush bounds the upload of the last profiles when Run ends.
	defaultLastPush = 3 * time.Second
	// defaultProfileRate is how much time one profile covers.
	defaultProfileRate = 15 * time.Second
)

// ErrProfilesStopped is what Flush returns when Run has ended.
var ErrProfilesStopped = errors.New("telemetry: profiles are not running")

// ProfilesOptions configures Profiles.
type ProfilesOptions struct {
	Server string            // http:// or https:// URL of the Pyroscope server, required
	App    string            // the application's name there; empty means weir
	Tags   map[string]string // on every profile
	Every  time.Duration     // the time that one profile covers; 0 means 15 s
	Log    *slog.Logger      // nil discards
}

// Profiles pushes CPU, heap and goroutine profiles of the whole process to a Pyroscope server. The CPU profiler is one
// per process: one Profiles runs at a time. A server that is away costs profiles, nothing else.
type Profiles struct {
	config pyroscope.Config
	client *pushClient
	flush  chan chan struct{} // asks Run, which owns the profiler, to push; it closes what it is sent
	ended  chan struct{}      // closed when Run takes no more

	lastPush time.Duration // defaultLastPush, but in tests
}

// NewProfiles checks the options; nothing runs and nothing is sent before Run.
func NewProfiles(o ProfilesOptions) (*Profiles, error) {
	server, err := url.Parse(o.Server)
	if err != nil {
		return nil, fmt.Errorf("profiles: Server: %w", err)
	}
	if server.Scheme != "http" && server.Scheme != "https" || server.Host == "" {
		return nil, fmt.Errorf("profiles: Server %q is no http:// or https:// URL", o.Server)
	}
	if o.Every < 0 {
		return nil, errors.New("profiles: Every is negative")
	}
	if o.App == "" {
		o.App = "weir"
	}
	if o.Every == 0 {
		o.Every = defaultProfileRate
	}
	client := newPushClient()
	return &Profiles{
		client: client,
		flush:  make(chan chan struct{}),
		ended:  make(chan struct{}),

		lastPush: defaultLastPush,
		config: pyroscope.Config{
			ApplicationName: o.App,
			ServerAddress:   o.Server,
			Tags:            o.Tags,
			UploadRate:      o.Every,
			HTTPClient:      client,
			Logger:          pushLog{orDiscard(o.Log)},
			DisableGCRuns:   true, // a forced collection costs a large cache more than a missing heap profile
			ProfileTypes: []pyroscope.ProfileType{
				pyroscope.ProfileCPU,
				pyroscope.ProfileAllocObjects, pyroscope.ProfileAllocSpace,
				pyroscope.ProfileInuseObjects, pyroscope.ProfileInuseSpace,
				pyroscope.ProfileGoroutines,
			},
		},
	}, nil
}

// Run profiles and pushes until ctx ends, then pushes the last profiles, for at most 3 seconds, and returns.
// It is called once.
func (p *Profiles) Run(ctx context.Context) error {
	defer close(p.ended)
	defer p.client.stop()
	profiler, err := pyroscope.Start(p.config)
	if err != nil {
		return fmt.Errorf("start profiles: %w", err)
	}
	// A push that hangs when ctx ends is cut off, whoever asked for it.
	stopTimer := context.AfterFunc(ctx, func() { p.client.stopAfter(p.lastPush) })
	defer stopTimer()
	for ctx.Err() == nil {
		select {
		case done := <-p.flush:
			profiler.Flush(true)
			close(done)
		case <-ctx.Done():
		}
	}
	profiler.Flush(true)
	p.client.stop() // what the last moment held is not worth waiting for
	if err := profiler.Stop(); err != nil {
		return fmt.Errorf("stop profiles: %w", err)
	}
	return nil
}

// Flush pushes what has been gathered so far and returns when the server has answered or the upload timed out, when
// ctx ends, or, with ErrProfilesStopped, when Run has ended. Before Run it waits for Run.
func (p *Profiles) Flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case p.flush <- done:
	case <-p.ended:
		return ErrProfilesStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pushClient sends uploads and can cut all of them off.
type pushClient struct {
	client *http.Client
	ctx    context.Context // ends when stop is called: an upload belongs to the run, not to a caller
	cancel context.CancelFunc
}

func newPushClient() *pushClient {
	ctx, cancel := context.WithCancel(context.Background())
	return &pushClient{
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: 5, IdleConnTimeout: 30 * time.Second,
			},
			Timeout: profileTimeout,
			// Pyroscope does not redirect; following would turn the upload into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ctx: ctx, cancel: cancel,
	}
}

func (c *pushClient) stop() {
	c.cancel()
	c.client.CloseIdleConnections()
}

// stopAfter stops d from now, or not at all if stop came first.
func (c *pushClient) stopAfter(d time.Duration) {
	timer := time.AfterFunc(d, c.stop)
	context.AfterFunc(c.ctx, func() { timer.Stop() })
}

// Do sends one request; it ends when the client is stopped.
func (c *pushClient) Do(request *http.Request) (*http.Response, error) {
	return c.client.Do(request.WithContext(c.ctx))
}

// pushLog passes Pyroscope's messages on: its chatter at debug, its errors as warnings, for nothing is lost to viewers.
type pushLog struct{ log *slog.Logger }

// Infof logs at debug.
func (l pushLog) Infof(format string, v ...any) {
	l.log.Debug("pyroscope says", "text", fmt.Sprintf(format, v...))
}

// Debugf discards.
func (l pushLog) Debugf(string, ...any) {}

// Errorf logs a warning.
func (l pushLog) Errorf(format string, v ...any) {
	l.log.Warn("pyroscope says", "text", fmt.Sprintf(format, v...))
}
