package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"weir/tools/proof"
)

// loads are the clients: wrk, h2load, and quic-go's.
type loads struct {
	ctx         context.Context
	wrk, h2load string
	dir         string // for lists of URLs
}

// counted is what a load's client received.
type counted struct{ requests, bytes int64 }

func newLoads(ctx context.Context, t *testing.T) *loads {
	t.Helper()
	return &loads{
		ctx: ctx, wrk: proof.RequireTool(t, "wrk", "wrk"), h2load: proof.RequireTool(t, "h2load", "nghttp2-client"), dir: t.TempDir(),
	}
}

// run sends one load for the window of the flags. It fails if anything but whole
// responses came back.
func (l *loads) run(t *testing.T, w workload, protocol string, s server) (counted, error) {
	t.Helper()
	switch protocol {
	case "h1":
		return l.runWrk(w, "http://"+s.clear)
	case "tls":
		return l.runWrk(w, "https://"+s.encrypted) // wrk offers no protocols: HTTP/1.1
	case "h2":
		return l.runH2load(t, w, "https://"+s.encrypted)
	default:
		return l.runHTTP3(w, "https://"+s.encrypted)
	}
}

var wrkCounts = regexp.MustCompile(`counted requests=(\d+) bytes=(\d+) errors=(\d+)`)

// runWrk counts bytes with the response heads, which are below 0.3 % of a segment.
func (l *loads) runWrk(w workload, url string) (counted, error) {
	n, err := l.command(wrkCounts, l.wrk, "-t", "2", "-c", strconv.Itoa(w.connections), "-d", l.seconds(), "-s", "testdata/compare/pick.lua",
		url, "--", w.prefix(), strconv.Itoa(w.objects))
	switch {
	case err != nil:
		return counted{}, err
	case n[0] == 0 || n[2] != 0:
		return counted{}, fmt.Errorf("wrk had %d requests and %d errors", n[0], n[2])
	}
	return counted{requests: n[0], bytes: n[1]}, nil
}

// h2loadCounts needs the protocol, too: h2load falls back to HTTP/1.1.
var h2loadCounts = regexp.MustCompile(`(?s)Application protocol: h2.*requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout.*traffic: .* \((\d+)\) data`)

// runH2load asks for the objects in turn: it cannot pick.
func (l *loads) runH2load(t *testing.T, w workload, url string) (counted, error) {
	t.Helper()
	var list strings.Builder
	for _, i := range rand.Perm(w.objects) {
		fmt.Fprintf(&list, "%s%s%d\n", url, w.prefix(), i)
	}
	file := filepath.Join(l.dir, "urls")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := l.command(h2loadCounts, l.h2load, "-c", "4", "-m", strconv.Itoa(w.streams), "-D", l.seconds(), "-i", file)
	switch {
	case err != nil:
		return counted{}, err
	case n[0] == 0 || n[1]+n[2]+n[3] != 0:
		return counted{}, fmt.Errorf("h2load: %d requests succeeded, %d failed, %d had an error, %d timed out", n[0], n[1], n[2], n[3])
	}
	return counted{requests: n[0], bytes: n[4]}, nil
}

func (l *loads) seconds() string { return strconv.Itoa(int(compareWindow.Seconds())) }

// command runs a client that ends by itself and returns the numbers of its report:
// the groups of the expression.
func (l *loads) command(report *regexp.Regexp, path string, args ...string) ([]int64, error) {
	ctx, cancel := context.WithTimeout(l.ctx, *compareWindow+loadSpare)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", path, err, out)
	}
	match := report.FindSubmatch(out)
	if match == nil {
		return nil, fmt.Errorf("%s: no figures in its report:\n%s", path, out)
	}
	n := make([]int64, len(match)-1)
	for i, group := range match[1:] {
		n[i], _ = strconv.ParseInt(string(group), 10, 64) // digits, as the expression has it
	}
	return n, nil
}

// loadSpare is how long after its window a load may take to end.
const loadSpare = 30 * time.Second

const (
	http3Connections = 2
	http3Streams     = 2 // on each
)

// runHTTP3 asks with quic-go's client. Its two handshakes are inside the window, as
// those of the others are.
func (l *loads) runHTTP3(w workload, url string) (counted, error) {
	ctx, cancel := context.WithTimeout(l.ctx, *compareWindow+loadSpare)
	defer cancel()
	var dones [http3Connections * http3Streams]counted
	var errs [len(dones)]error
	var clients sync.WaitGroup
	end := time.Now().Add(*compareWindow)
	for i := range http3Connections {
		// as wrk and h2load, it does not look at the certificate
		transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.Close()
		for j := range http3Streams {
			client := i*http3Streams + j
			clients.Go(func() { dones[client], errs[client] = askUntil(ctx, end, transport, w, url) })
		}
	}
	clients.Wait()
	var total counted
	for _, done := range dones {
		total.requests += done.requests
		total.bytes += done.bytes
	}
	return total, errors.Join(errs[:]...)
}

// askUntil asks for random objects, one after the other.
func askUntil(ctx context.Context, end time.Time, transport http.RoundTripper, w workload, url string) (done counted, err error) {
	buffer := make([]byte, 64<<10)
	for time.Now().Before(end) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+w.prefix()+strconv.Itoa(rand.IntN(w.objects)), http.NoBody)
		if err != nil {
			return done, err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return done, err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, response.Body, buffer)
		response.Body.Close()
		if err != nil {
			return done, err
		}
		if response.StatusCode != http.StatusOK || n != int64(w.bytes) {
			return done, fmt.Errorf("%s: status %d, %d bytes", request.URL, response.StatusCode, n)
		}
		done.requests++
		done.bytes += n
	}
	return done, nil
}
