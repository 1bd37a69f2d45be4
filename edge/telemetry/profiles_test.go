package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

// pushed is one upload as the receiver saw it.
type pushed struct {
	name    string // the query's name: app{tag=value,…}
	profile *profile.Profile
	err     error
}

// receive is a Pyroscope server that hands on what it is sent. It answers late if hold is not nil: when hold is closed.
func receive(t *testing.T, hold chan struct{}) (url string, uploads chan pushed) {
	t.Helper()
	uploads = make(chan pushed, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if hold != nil {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			return
		}
		uploads <- decode(r)
	}))
	t.Cleanup(server.Close)
	return server.URL, uploads
}

func decode(r *http.Request) pushed {
	if r.Method != http.MethodPost || r.URL.Path != "/ingest" {
		return pushed{err: errors.New("not POST /ingest: " + r.Method + " " + r.URL.Path)}
	}
	file, _, err := r.FormFile("profile")
	if err != nil {
		return pushed{err: err}
	}
	parsed, err := profile.Parse(file) // reads gzip
	return pushed{name: r.URL.Query().Get("name"), profile: parsed, err: err}
}

// run starts p and returns a func that ends it and waits.
func run(t *testing.T, p *Profiles) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }() // ends with ctx, stop waits
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

//go:noinline
func burnForTheProfile(done <-chan struct{}) int {
	n := 0
	for {
		select {
		case <-done:
			return n
		default:
			for i := range 100_000 {
				n += i * i
			}
		}
	}
}

// TestProfilesArrive profiles this process for real: the CPU profiler knows no other clock than the processor's. It
// ends as soon as the function has been seen.
func TestProfilesArrive(t *testing.T) {
	url, uploads := receive(t, nil)
	p, err := NewProfiles(ProfilesOptions{Server: url, App: "weir.test", Tags: map[string]string{"node": "edge-1"}, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, p)
	defer stop()
	burning := make(chan struct{})
	burnt := make(chan int, 1)
	go func() { burnt <- burnForTheProfile(burning) }() // ends with burning, waited for below
	defer func() { close(burning); <-burnt }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for cpu, heap := false, false; !cpu || !heap; {
		if err := p.Flush(ctx); err != nil {
			t.Fatalf("flush: %v; CPU profile seen: %v, heap: %v", err, cpu, heap)
		}
		for len(uploads) > 0 {
			up := <-uploads
			if up.err != nil {
				t.Fatal(up.err)
			}
			if !strings.HasPrefix(up.name, "weir.test{") || !strings.Contains(up.name, "node=edge-1") {
				t.Fatalf("name: got %q, want the application and the tag", up.name)
			}
			cpu = cpu || has(up.profile, "samples") && calls(up.profile, "burnForTheProfile")
			heap = heap || has(up.profile, "inuse_space")
		}
	}
}

func has(p *profile.Profile, sampleType string) bool {
	for _, t := range p.SampleType {
		if t.Type == sampleType {
			return true
		}
	}
	return false
}

func calls(p *profile.Profile, function string) bool {
	for _, f := range p.Function {
		if strings.HasSuffix(f.Name, "."+function) {
			return true
		}
	}
	return false
}

// TestProfilesWithoutServer: nothing but a warning, and no waiting.
func TestProfilesWithoutServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // nobody listens there now
	var told bytes.Buffer
	p, err := NewProfiles(ProfilesOptions{Server: server.URL, Log: slog.New(slog.NewTextHandler(&told, nil))})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, p)
	if err := p.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	if !strings.Contains(told.String(), "level=WARN") {
		t.Errorf("got log %q, want a warning", told.String())
	}
	if err := p.Flush(t.Context()); !errors.Is(err, ErrProfilesStopped) {
		t.Errorf("flush after the end: got %v, want ErrProfilesStopped", err)
	}
}

// TestProfilesServerHangs: an upload that hangs does not hold up the end.
func TestProfilesServerHangs(t *testing.T) {
	hold := make(chan struct{})
	url, _ := receive(t, hold)
	p, err := NewProfiles(ProfilesOptions{Server: url})
	if err != nil {
		t.Fatal(err)
	}
	p.lastPush = 50 * time.Millisecond
	stop := run(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush that nobody waits for: got %v, want canceled", err)
	}
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > profileTimeout/2 {
		t.Errorf("the end took %v", took)
	}
	close(hold)
}

func TestProfilesOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []ProfilesOptions{{}, {Server: "localhost:4040"}, {Server: "ftp://h"}, {Server: "http://"}, {Server: "http://h", Every: -1}, {Server: "http://h\x7f"}} {
		if _, err := NewProfiles(o); err == nil {
			t.Errorf("NewProfiles(%+v): got no error", o)
		}
	}
}
