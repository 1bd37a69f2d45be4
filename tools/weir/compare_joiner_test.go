package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	joiners      = 500
	joinerBytes  = 2 << 20
	joinerPieces = 30
	joinerHead   = 200 * time.Millisecond // from the request to the origin's head and first piece
	joinerBody   = 300 * time.Millisecond // from there to its last piece
	lateBy       = 250 * time.Millisecond // the second client comes in the middle of the fetch
	lateTrials   = 3                      // in each round
)

// joinerResult is what one server did for clients that came during a fetch.
type joinerResult struct {
	Server  string `json:"server"`
	Fetches series `json:"origin_fetches"`
	// Times are of a client's own request, in milliseconds; the first byte is the
	// body's.
	FirstP50 series `json:"first_byte_p50_ms"`
	FirstP99 series `json:"first_byte_p99_ms"`
	TotalP50 series `json:"total_p50_ms"`
	TotalP99 series `json:"total_p99_ms"`
	PeakMiB  series `json:"peak_rss_mib"`
	GrownMiB series `json:"peak_over_rss_before_mib"`
	Late     series `json:"late_first_byte_ms"` // of one client that comes 250 ms after another

	address string
	process *contender
}

// joiner measures many clients at once that want an object which nobody has yet.
func (c *comparison) joiner(t *testing.T) {
	origin := newTrickle()
	site := httptest.NewServer(origin)
	t.Cleanup(site.Close)
	stateDir := t.TempDir()
	weir := c.weirEdge(t, c.binary, stateDir, site.URL)
	weir.await(t, weir.readyURL(), 10*time.Millisecond)
	nginx := c.nginx(t, freePorts(t, 4), t.TempDir(), site.URL, stateDir)
	nginx.await(t, "http://"+nginx.Cache+"/", 10*time.Millisecond)
	varnish, varnishAddress := c.varnish(t, strings.TrimPrefix(site.URL, "http://"))
	varnish.await(t, "http://"+varnishAddress+"/", 10*time.Millisecond)
	c.Joiner = []*joinerResult{
		{Server: "weir", address: weir.http, process: weir.contender},
		{Server: "varnish", address: varnishAddress, process: varnish},
		{Server: "nginx lock on", address: nginx.Cache, process: nginx.contender},
	}
	for round := range *compareRounds {
		for i := range c.Joiner {
			r := c.Joiner[(i+round)%len(c.Joiner)]
			wait := func() {}
			if r.process == weir.contender {
				wait = weir.profile(t, fmt.Sprintf("joiner-%d", round+1), time.Second)
			}
			r.crowd(t, origin, fmt.Sprintf("/crowd/%d/%d", round, i))
			wait()
		}
		for trial := range lateTrials {
			for _, r := range c.Joiner {
				r.late(t, origin, fmt.Sprintf("/late/%s/%d/%d", r.address, round, trial))
			}
		}
	}
}

// crowd sends all clients for one object at once, over connections that stand.
func (r *joinerResult) crowd(t *testing.T, origin *trickle, path string) {
	t.Helper()
	conns := make([]net.Conn, joiners)
	for i := range conns {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	r.process.resetRSS()
	before := r.process.rss()
	first, total, errs := make([]time.Duration, joiners), make([]time.Duration, joiners), make([]error, joiners)
	var clients sync.WaitGroup
	begin := make(chan struct{})
	for i, conn := range conns {
		clients.Go(func() {
			<-begin
			first[i], total[i], errs[i] = origin.ask(conn, path)
		})
	}
	close(begin)
	clients.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%s: %v", r.Server, err)
	}
	peak := r.process.peakRSS()
	r.Fetches = append(r.Fetches, float64(origin.fetches(path)))
	r.FirstP50 = append(r.FirstP50, milliseconds(percentile(first, 50)))
	r.FirstP99 = append(r.FirstP99, milliseconds(percentile(first, 99)))
	r.TotalP50 = append(r.TotalP50, milliseconds(percentile(total, 50)))
	r.TotalP99 = append(r.TotalP99, milliseconds(percentile(total, 99)))
	r.PeakMiB = append(r.PeakMiB, float64(peak)/(1<<20))
	r.GrownMiB = append(r.GrownMiB, float64(max(0, peak-before))/(1<<20))
}

// late has one client cause the fetch and measures a second.
func (r *joinerResult) late(t *testing.T, origin *trickle, path string) {
	t.Helper()
	var conns [2]net.Conn
	for i := range conns {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	var first sync.WaitGroup
	var firstErr error
	first.Go(func() { _, _, firstErr = origin.ask(conns[0], path) })
	time.Sleep(lateBy)
	firstByte, _, err := origin.ask(conns[1], path)
	first.Wait()
	if err := errors.Join(firstErr, err); err != nil {
		t.Fatalf("%s: %v", r.Server, err)
	}
	if n := origin.fetches(path); n != 1 {
		t.Errorf("%s: %d fetches for two clients", r.Server, n)
	}
	r.Late = append(r.Late, milliseconds(firstByte))
}

// trickle is an origin that takes its time.
type trickle struct {
	body []byte

	mu   sync.Mutex // guards the field below
	seen map[string]int
}

func newTrickle() *trickle {
	o := &trickle{body: make([]byte, joinerBytes), seen: map[string]int{}}
	_, _ = rand.NewChaCha8([32]byte{2}).Read(o.body) // it never fails
	return o
}

func (o *trickle) fetches(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[path]
}

func (o *trickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" { // asked for when a server is waited for
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "up\n")
		return
	}
	o.mu.Lock()
	o.seen[r.URL.Path]++
	o.mu.Unlock()
	start := time.Now()
	time.Sleep(joinerHead)
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	for i := range joinerPieces {
		time.Sleep(time.Until(start.Add(joinerHead + time.Duration(i)*joinerBody/(joinerPieces-1))))
		if _, err := w.Write(o.body[i*len(o.body)/joinerPieces : (i+1)*len(o.body)/joinerPieces]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// ask sends a request and reads and compares its whole response.
func (o *trickle) ask(conn net.Conn, path string) (first, total time.Duration, err error) {
	start := time.Now()
	if err := conn.SetDeadline(start.Add(30 * time.Second)); err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path); err != nil {
		return 0, 0, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 4<<10), nil)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, 0, errors.New(response.Status)
	}
	buffer := make([]byte, 64<<10)
	at := 0
	for {
		n, err := response.Body.Read(buffer)
		if at == 0 && n > 0 {
			first = time.Since(start)
		}
		if at+n > len(o.body) || !bytes.Equal(buffer[:n], o.body[at:at+n]) {
			return 0, 0, fmt.Errorf("wrong bytes from %d on", at)
		}
		at += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, fmt.Errorf("after %d bytes: %w", at, err)
		}
	}
	if at != len(o.body) {
		return 0, 0, fmt.Errorf("%d bytes of %d", at, len(o.body))
	}
	return first, time.Since(start), nil
}
