package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record is one with all fields filled.
func record() *Record {
	return &Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Node: "edge-1", Site: "v.example", Method: "GET", Host: "v.example",
		Path: "/a\"b?token=s3cret&q=1", Protocol: H3, Status: 206, Bytes: 4096, Duration: 12345 * time.Microsecond,
		FirstByte: 700 * time.Microsecond, Outcome: Collapsed, Source: Origin, Client: "192.0.2.1", UserAgent: "tv/1 \n",
		CacheStatus: "edge-1; fwd=uri-miss; collapsed", Error: `get "http://o/?sig=s3cret": EOF`,
	}
}

func newAccessLog(t *testing.T, o AccessLogOptions) *AccessLog {
	t.Helper()
	a, err := NewAccessLog(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// logAll runs a log until it has written the records.
func logAll(t *testing.T, a *AccessLog, records ...*Record) {
	t.Helper()
	for _, r := range records {
		a.Log(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAccessLogJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	quiet := record()
	quiet.Error = ""
	logAll(t, newAccessLog(t, AccessLogOptions{Writer: &out}), record(), quiet)
	want := `{"time":"2026-01-02T03:04:05.006Z","node":"edge-1","site":"v.example","client":"192.0.2.1","protocol":"h3",` +
		`"method":"GET","host":"v.example","path":"/a\"b?token=REDACTED&q=1","status":206,"bytes":4096,"duration_ms":12.345,` +
		`"first_byte_ms":0.7,"outcome":"collapsed","source":"origin","cache_status":"edge-1; fwd=uri-miss; collapsed",` +
		`"user_agent":"tv/1 \n"`
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || lines[0] != want+`,"error":"get \"http://o/?sig=REDACTED\": EOF"}` || lines[1] != want+"}" {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if !json.Valid([]byte(lines[0])) {
		t.Errorf("not JSON: %s", lines[0])
	}
}

func TestAccessLogText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logAll(t, newAccessLog(t, AccessLogOptions{Writer: &out, Format: "text"}), record())
	for _, part := range []string{"time=2026-01-02T03:04:05.006Z node=edge-1 ", ` path="/a\"b?token=REDACTED&q=1" `, " status=206 ", `user_agent="tv/1 \n"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("got %s, want %s in it", out.String(), part)
		}
	}
	if strings.Contains(out.String(), "s3cret") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %q, want one line without the secret", out.String())
	}
}

// TestAccessLogReport: what a player says is a field of its own, without secrets.
func TestAccessLogReport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := record()
	r.Session, r.Report = "s-1", `bl=100,nor=("a.m4s?token=s3cret&x=1")`
	logAll(t, newAccessLog(t, AccessLogOptions{Writer: &out}), r, record())
	lines := strings.Split(out.String(), "\n")
	if want := `"sid":"s-1","cmcd":"bl=100,nor=(\"a.m4s?token=REDACTED&x=1\")"`; !strings.Contains(lines[0], want) || strings.Contains(lines[1], "sid") {
		t.Errorf("got\n%s\nwant %s in the first line alone", out.String(), want)
	}
}

// gate is a writer that stands still until it is opened.
type gate struct {
	opened chan struct{}
	mu     sync.Mutex // guards the fields below
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.opened
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Buffer.Write(p)
}

func TestAccessLogDropsAndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &gate{opened: make(chan struct{})}
		a := newAccessLog(t, AccessLogOptions{Writer: out, Queue: 10})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }() // ends with ctx, waited for below
		a.Log(record())
		synctest.Wait() // Run has taken it and stands in Write
		for range 25 {
			a.Log(record()) // never blocks, or the bubble would deadlock
		}
		if got := a.Dropped(); got != 15 {
			t.Errorf("dropped: got %d, want 15", got)
		}
		close(out.opened)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := strings.Count(out.String(), "\n"); got != 11 || a.Written() != 11 {
			t.Errorf("got %d lines, %d written, want 11", got, a.Written())
		}
	})
}

// TestAccessLogFlushesWhenIdle: a single line does not wait in a buffer.
func TestAccessLogFlushesWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &gate{opened: make(chan struct{})}
		close(out.opened)
		a := newAccessLog(t, AccessLogOptions{Writer: out})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }() // ends with ctx, waited for below
		a.Log(record())
		synctest.Wait()
		if out.Len() == 0 {
			t.Error("the line is not there while the log is idle")
		}
		cancel()
		<-ended
	})
}

// flaky fails while broken is set.
type flaky struct {
	broken bool
	bytes.Buffer
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.broken {
		return 0, errors.New("no space left on device")
	}
	return f.Buffer.Write(p)
}

func TestAccessLogSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	out := &flaky{broken: true}
	a := newAccessLog(t, AccessLogOptions{Writer: out, Log: slog.New(slog.NewTextHandler(&told, nil))})
	logAll(t, a, record())
	logAll(t, a, record())
	out.broken = false
	logAll(t, a, record())
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("got %d lines after the disk has room again, want 1", got)
	}
	if got := a.Dropped(); got != 2 {
		t.Errorf("dropped: got %d, want 2", got)
	}
	if got := a.Written(); got != 1 {
		t.Errorf("written: got %d, want 1", got)
	}
	if got := strings.Count(told.String(), "no space left"); got != 1 {
		t.Errorf("told %d times, want once:\n%s", got, told.String())
	}
	if !strings.Contains(told.String(), "works again") {
		t.Errorf("not told that it works again:\n%s", told.String())
	}
}

func TestAccessLogOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []AccessLogOptions{{}, {Writer: &bytes.Buffer{}, Format: "xml"}, {Writer: &bytes.Buffer{}, Queue: -1}} {
		if _, err := NewAccessLog(o); err == nil {
			t.Errorf("NewAccessLog(%+v): got no error", o)
		}
	}
}

func TestLogAllocatesNothing(t *testing.T) {
	a := newAccessLog(t, AccessLogOptions{Writer: &bytes.Buffer{}, Queue: 2000})
	r := record()
	if n := testing.AllocsPerRun(1000, func() { a.Log(r) }); n != 0 {
		t.Errorf("got %v allocations for each line, want 0", n)
	}
}

func BenchmarkAccessLogWrite(b *testing.B) {
	a, err := NewAccessLog(AccessLogOptions{Writer: discard{}})
	if err != nil {
		b.Fatal(err)
	}
	r := record()
	b.ReportAllocs()
	for b.Loop() {
		a.write(b.Context(), r)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
