package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// workload is a set of stored objects of one size, and how they are asked for.
type workload struct {
	name        string
	bytes       int
	objects     int
	connections int  // over HTTP/1.1
	streams     int  // on each of 4 connections over HTTP/2
	byRequest   bool // the figure is CPU per request, else per GiB
}

// workloads are a segment, a small one, and a playlist.
func workloads() []workload {
	return []workload{
		{name: "2MiB", bytes: 2 << 20, objects: 50, connections: 16, streams: 4},
		{name: "200KiB", bytes: 200 << 10, objects: 200, connections: 16, streams: 4},
		{name: "1.5KiB", bytes: 1536, objects: 200, connections: 32, streams: 8, byRequest: true},
	}
}

func (w workload) unit() string {
	if w.byRequest {
		return "µs/request"
	}
	return "s/GiB"
}

// figure is CPU time per request or per GiB of body.
func (w workload) figure(cpu time.Duration, done counted) float64 {
	if w.byRequest {
		return float64(cpu.Nanoseconds()) / 1e3 / float64(done.requests)
	}
	return cpu.Seconds() / (float64(done.bytes) / (1 << 30))
}

// prefix is the path of the objects without their number.
func (w workload) prefix() string { return "/" + w.name + "/" }

// hotResult is a row of the table: one workload over one protocol.
type hotResult struct {
	Workload string `json:"workload"`
	Protocol string `json:"protocol"` // h1, tls (HTTP/1.1 over TLS 1.3), h2, h3
	Unit     string `json:"unit"`     // of the server's CPU time
	Weir     series `json:"weir"`
	Static   series `json:"nginx_static,omitempty"`
	Cache    series `json:"nginx_cache,omitempty"`
	Before   series `json:"before,omitempty"` // the binary of -compare.before
	// The ratios are of the figures of one round each.
	ToStatic series `json:"weir_to_nginx_static,omitempty"`
	ToCache  series `json:"weir_to_nginx_cache,omitempty"`
	ToBefore series `json:"weir_to_before,omitempty"`
	ToTLS    series `json:"weir_to_weir_tls,omitempty"` // of h3

	last series // of tls: Weir's figure of this round, or none
}

// server is what a load is sent to.
type server struct {
	process   *contender
	clear     string // host:port
	encrypted string
	to        func(*hotResult) *series
}

// hot measures the CPU time that servers take for objects that they have.
func (c *comparison) hot(t *testing.T) {
	files, stateDir := t.TempDir(), t.TempDir()
	bodies := writeObjects(t, files)
	ports := freePorts(t, 4)
	weir := c.weirEdge(t, c.binary, stateDir, "http://"+ports[0])
	weir.await(t, weir.readyURL(), 10*time.Millisecond)
	nginx := c.nginx(t, ports, files, "", stateDir)
	nginx.await(t, "http://"+nginx.Static+"/2MiB/0", 10*time.Millisecond)
	servers := []server{
		{weir.contender, weir.http, weir.https, func(r *hotResult) *series { return &r.Weir }},
		{nginx.contender, nginx.Static, nginx.StaticTLS, func(r *hotResult) *series { return &r.Static }},
		{nginx.contender, nginx.Cache, nginx.CacheTLS, func(r *hotResult) *series { return &r.Cache }},
	}
	if *compareBefore != "" {
		before := c.weirEdge(t, *compareBefore, t.TempDir(), "http://"+ports[0])
		before.await(t, before.readyURL(), 10*time.Millisecond)
		servers = append(servers, server{before.contender, before.http, before.https, func(r *hotResult) *series { return &r.Before }})
	}
	loads := newLoads(c.ctx, t)
	for _, s := range servers {
		warm(t, s, bodies)
	}
	checkHit(t, weir.http)
	for round := range *compareRounds {
		for _, w := range workloads() {
			for _, protocol := range []string{"h1", "tls", "h2", "h3"} {
				if cellWanted(t, w.name+"/"+protocol) {
					c.cell(t, loads, w, protocol, round, weir, servers)
				}
			}
		}
	}
}

// cell measures all servers once.
func (c *comparison) cell(t *testing.T, loads *loads, w workload, protocol string, round int, weir *weirContender, servers []server) {
	t.Helper()
	if protocol == "h3" {
		if w.name == "200KiB" { // between the other two in every respect
			return
		}
		servers = slices.DeleteFunc(slices.Clone(servers), func(s server) bool { return strings.HasPrefix(s.name(), "nginx") }) // Debian's has none
	}
	result := c.hotResult(w, protocol)
	var figures hotResult // of this round
	for i := range servers {
		s := servers[(i+round)%len(servers)]
		wait := func() {}
		if s.process == weir.contender {
			wait = weir.profile(t, fmt.Sprintf("%s-%s-%d", w.name, protocol, round+1), *compareWindow)
		}
		before := s.process.cpu()
		done, err := loads.run(t, w, protocol, s)
		cpu := s.process.cpuSince(before)
		wait()
		if err != nil {
			t.Errorf("round %d, %s over %s, %s: %v", round+1, w.name, protocol, s.name(), err)
			continue
		}
		figure := w.figure(cpu, done)
		*s.to(&figures) = series{figure}
		*s.to(result) = append(*s.to(result), figure)
		t.Logf("round %d, %s over %s, %s: %.3g %s (%d requests)", round+1, w.name, protocol, s.name(), figure, w.unit(), done.requests)
	}
	result.ToStatic = append(result.ToStatic, ratio(figures.Weir, figures.Static)...)
	result.ToCache = append(result.ToCache, ratio(figures.Weir, figures.Cache)...)
	result.ToBefore = append(result.ToBefore, ratio(figures.Weir, figures.Before)...)
	switch protocol {
	case "tls":
		result.last = figures.Weir
	case "h3":
		result.ToTLS = append(result.ToTLS, ratio(figures.Weir, c.hotResult(w, "tls").last)...)
	}
}

// ratio is empty where one of the figures could not be had.
func ratio(a, b series) series {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return series{a[0] / b[0]}
}

func (s server) name() string {
	var r hotResult
	switch s.to(&r) {
	case &r.Weir:
		return "weir"
	case &r.Before:
		return "before"
	case &r.Static:
		return "nginx static"
	default:
		return "nginx cache"
	}
}

// hotResult finds the row, or makes it.
func (c *comparison) hotResult(w workload, protocol string) *hotResult {
	for _, r := range c.Hot {
		if r.Workload == w.name && r.Protocol == protocol {
			return r
		}
	}
	r := &hotResult{Workload: w.name, Protocol: protocol, Unit: w.unit()}
	c.Hot = append(c.Hot, r)
	return r
}

// writeObjects makes the files, of random bytes, and returns them by path.
func writeObjects(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	bodies := map[string][]byte{}
	for _, w := range workloads() {
		if err := os.Mkdir(filepath.Join(dir, w.name), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range w.objects {
			body := make([]byte, w.bytes)
			_, _ = random.Read(body) // it never fails
			path := w.prefix() + strconv.Itoa(i)
			bodies[path] = body
			if err := os.WriteFile(filepath.Join(dir, path), body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return bodies
}

// warm asks for every object twice, so that it is stored, and checks its bytes.
func warm(t *testing.T, s server, bodies map[string][]byte) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, // the bytes are compared
	}}
	defer client.CloseIdleConnections()
	for _, base := range []string{"http://" + s.clear, "https://" + s.encrypted} {
		for path, want := range bodies {
			response, err := client.Get(base + path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
				t.Fatalf("%s: status %d, %d bytes, error %v; want the file's %d bytes", base+path, response.StatusCode, len(got), err, len(want))
			}
		}
	}
}

// checkHit makes sure that it is stored objects that are measured.
func checkHit(t *testing.T, address string) {
	t.Helper()
	for _, w := range workloads() {
		response, err := http.Get("http://" + address + w.prefix() + "0")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if status := response.Header.Get("Cache-Status"); !strings.Contains(status, "; hit") {
			t.Fatalf("%s0 was asked for before, but Cache-Status is %q", w.prefix(), status)
		}
	}
}
