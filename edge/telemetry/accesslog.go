package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// defaultQueue is how many lines may wait: at 50,000 requests a second it bridges 160 ms of a stalled disk.
	defaultQueue = 8192
	// flushBytes makes one write of about 200 lines when there is much to write.
	flushBytes = 64 << 10
)

// AccessLogOptions configures an AccessLog.
type AccessLogOptions struct {
	Writer io.Writer    // required; used by Run alone, closed by the caller
	Format string       // "json" or "text" (key=value); empty means json
	Queue  int          // lines that may wait; 0 means 8192
	Log    *slog.Logger // nil discards; told when lines are lost
}

// AccessLog writes a line for each Record, asynchronously. When Writer is too slow lines are dropped and counted.
type AccessLog struct {
	log     *slog.Logger
	queue   chan Record // when full, Log drops
	writer  io.Writer
	lines   *bytes.Buffer // not yet written, at most flushBytes and a line; Run's alone, like the three below
	waiting uint64        // how many lines that is
	handler slog.Handler  // writes to lines
	failing bool          // the last write failed
	written atomic.Uint64
	dropped atomic.Uint64
}

// NewAccessLog makes a log that writes once Run runs.
func NewAccessLog(o AccessLogOptions) (*AccessLog, error) {
	if o.Writer == nil {
		return nil, errors.New("access log: Writer is nil")
	}
	if o.Queue < 0 {
		return nil, errors.New("access log: Queue is negative")
	}
	if o.Queue == 0 {
		o.Queue = defaultQueue
	}
	a := &AccessLog{
		log:    orDiscard(o.Log),
		queue:  make(chan Record, o.Queue),
		writer: o.Writer,
		lines:  &bytes.Buffer{},
	}
	options := &slog.HandlerOptions{ReplaceAttr: withoutHead}
	switch o.Format {
	case "", "json":
		a.handler = slog.NewJSONHandler(a.lines, options)
	case "text":
		a.handler = slog.NewTextHandler(a.lines, options)
	default:
		return nil, errors.New("access log: Format " + o.Format + " is neither json nor text")
	}
	return a, nil
}

// Log queues a line. Hot path: one copy into a channel, no allocation; never blocks.
func (a *AccessLog) Log(r *Record) {
	select {
	case a.queue <- *r:
	default:
		a.dropped.Add(1)
	}
}

// Written is the number of lines that the Writer took.
func (a *AccessLog) Written() uint64 { return a.written.Load() }

// Dropped is the number of lines lost because the queue was full or the Writer failed.
func (a *AccessLog) Dropped() uint64 { return a.dropped.Load() }

// Run writes until ctx ends, then writes what is queued, and returns. It is called once. What is logged after its
// return is lost without being counted.
func (a *AccessLog) Run(ctx context.Context) error {
	for {
		select {
		case r := <-a.queue:
			a.write(ctx, &r)
			a.drain(ctx)
		case <-ctx.Done():
			a.drain(ctx)
			return nil
		}
	}
}

// drain writes what is queued now.
func (a *AccessLog) drain(ctx context.Context) {
	for {
		select {
		case r := <-a.queue:
			a.write(ctx, &r)
			continue
		default:
		}
		if a.waiting > 0 {
			a.flush()
		}
		return
	}
}

func (a *AccessLog) write(ctx context.Context, r *Record) {
	line := slog.NewRecord(r.Time, slog.LevelInfo, "", 0)
	line.AddAttrs(
		slog.String("node", r.Node),
		slog.String("site", r.Site),
		slog.String("client", r.Client),
		slog.String("protocol", r.Protocol.String()),
		slog.String("method", r.Method),
		slog.String("host", r.Host),
		slog.String("path", Redact(r.Path)),
		slog.Int("status", r.Status),
		slog.Int64("bytes", r.Bytes),
		milliseconds("duration_ms", r.Duration),
		milliseconds("first_byte_ms", r.FirstByte),
		slog.String("outcome", r.Outcome.String()),
		slog.String("source", r.Source.String()),
		slog.String("cache_status", Redact(r.CacheStatus)),
		slog.String("user_agent", r.UserAgent),
	)
	if r.Session != "" {
		line.AddAttrs(slog.String("sid", r.Session))
	}
	if r.Report != "" {
		line.AddAttrs(slog.String("cmcd", Redact(r.Report)))
	}
	if r.Error != "" {
		line.AddAttrs(slog.String("error", Redact(r.Error)))
	}
	_ = a.handler.Handle(ctx, line) // a Buffer takes everything
	a.waiting++
	if a.lines.Len() >= flushBytes {
		a.flush()
	}
}

// flush writes the waiting lines, or loses them: a disk that is full now may have room for the next ones. It tells the
// log once when writing begins to fail, and once when it works again.
func (a *AccessLog) flush() {
	_, err := a.writer.Write(a.lines.Bytes())
	if err != nil {
		a.dropped.Add(a.waiting)
	} else {
		a.written.Add(a.waiting)
	}
	a.waiting = 0
	a.lines.Reset()
	switch {
	case err != nil && !a.failing:
		a.log.Error("write access log: lines are lost until it works again", "error", err)
	case err == nil && a.failing:
		a.log.Info("write access log: works again", "lost", a.dropped.Load())
	}
	a.failing = err != nil
}

// milliseconds rounds to a microsecond.
func milliseconds(key string, d time.Duration) slog.Attr {
	return slog.Float64(key, float64(d.Microseconds())/1000)
}

// withoutHead drops level and message, which are the same on every line.
func withoutHead(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}
