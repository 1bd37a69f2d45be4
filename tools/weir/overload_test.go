package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestMemoryIsBounded: a node that may take 256 MiB is asked, over TLS, for 8 MiB each by clients that take nothing, and for
// what it does not have, which would take a gigabyte. It takes no more than it may, sheds the misses, and serves a
// playlist that is stored. It measures, so nothing runs beside it.
func TestMemoryIsBounded(t *testing.T) { //nolint:paralleltest // see above
	const memory, readers = 256 << 20, 2000
	oracle := proof.NewOracle(t.Name())
	origin := proof.NewOrigin(proof.OriginOptions{Oracle: oracle, Host: "127.0.0.1"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proof.Serve(listener, origin, nil))
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	text := fmt.Sprintf("node: {name: edge-1, dir: %s, memory: 256MiB}\nlisten: {http: \"127.0.0.1:0\", https: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", header_timeout: 2m}\nsites: [{hosts: [\"*\"], origins: [\"http://%s\"]}]\n", dir, listener.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startWeir(t, "edge", "-c", file)
	https := p.await(t, ` https=(127\.0\.0\.1:\d+)`)
	client, err := proof.NewClient(proof.ClientOptions{Oracle: oracle, Protocol: proof.H1, Name: "control", TLS: &tls.Config{InsecureSkipVerify: true}}) //nolint:gosec // the certificate is minted for the test
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	get := func(path string) proof.Result {
		return client.Get(t.Context(), "https://"+https+path, proof.Options{AnyStatus: true, Truth: "127.0.0.1"})
	}
	for _, path := range []string{"/o/8MiB/hot", "/o/4KiB/live.m3u8"} {
		if r := get(path); r.Err != nil || r.Body != proof.BodyOK {
			t.Fatalf("%s", r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var begun, answered, refused atomic.Int64
	shaking := make(chan struct{}, 32) // who asks at once: a busy machine is not what is measured
	for i := range readers {
		all.Go(func() {
			defer begun.Add(1)
			shaking <- struct{}{}
			defer func() { <-shaking }()
			path := "/o/8MiB/hot"
			if i%5 == 0 {
				path = fmt.Sprintf("/o/2MiB/%d", i)
			}
			switch stall(ctx, https, path, &all) {
			case http.StatusOK:
				answered.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
			}
		})
	}
	good, asked := 0, 0
	for begun.Load() < readers || asked < 20 {
		asked++
		if r := get("/o/4KiB/live.m3u8"); r.Err == nil && r.Status == http.StatusOK && r.Body == proof.BodyOK {
			good++
		}
	}
	peak := peakRSS(t, p.cmd.Process.Pid)
	t.Logf("%d stalled readers: %d answered, %d shed; %d of %d requests for a stored playlist answered meanwhile; at most %d MiB resident",
		readers, answered.Load(), refused.Load(), good, asked, peak>>20)
	if peak > memory && !raceDetector() { // that has memory of its own, outside of the runtime's limit
		t.Errorf("the process had %d MiB, and may have %d", peak>>20, memory>>20)
	}
	if good*10 < asked*9 {
		t.Errorf("%d of %d requests for a stored playlist were answered", good, asked)
	}
	if answered.Load() == 0 || refused.Load() < readers/20 {
		t.Errorf("%d answered, %d shed: the load is none, or all is refused", answered.Load(), refused.Load())
	}
	select {
	case <-p.done:
		t.Error("the process has ended")
	default:
	}
}

// stall asks for a path, reads the status, and takes nothing more until ctx ends. It returns 0 where no answer came.
func stall(ctx context.Context, address, path string, until *sync.WaitGroup) int {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10) // what the sockets hold is not the node's
	}
	until.Go(func() { <-ctx.Done(); _ = raw.Close() })
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // as above
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		return 0
	}
	line := make([]byte, 12)
	if _, err := io.ReadFull(c, line); err != nil {
		return 0
	}
	status, _ := strconv.Atoi(string(line[9:])) // 0 is no answer
	return status
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakRSS is the most memory that a process had resident.
func peakRSS(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err) // no Linux
	}
	kilobytes, err := strconv.ParseInt(string(peakLine.FindSubmatch(text)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
