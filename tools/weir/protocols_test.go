package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// socketNode is one edge before an oracle origin, on real sockets.
type socketNode struct {
	*node

	oracle *proof.Oracle
	origin *proof.Origin
}

// newSocketNode starts one; adjust changes its options.
func newSocketNode(t *testing.T, adjust ...func(*nodeOptions)) *socketNode {
	t.Helper()
	s := &socketNode{oracle: proof.NewOracle(t.Name())}
	s.origin = proof.NewOrigin(proof.OriginOptions{Oracle: s.oracle, Host: "127.0.0.1"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopOrigin := proof.Serve(listener, s.origin, nil)
	c := configs.Default()
	c.Node.Name, c.Node.Dir = "edge-1", t.TempDir()
	c.Listen.HTTP, c.Listen.HTTPS, c.Listen.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Listen.DrainTimeout = configs.Duration(time.Second)
	c.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://" + listener.Addr().String()}}}
	options := nodeOptions{config: c, log: slog.New(slog.DiscardHandler)}
	for _, change := range adjust {
		change(&options)
	}
	if s.node, err = newNode(options); err != nil {
		t.Fatal(err)
	}
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	running := start(context.Background(), s.run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
		stopOrigin()
	})
	return s
}

// way is how a client comes.
type way struct {
	name     string
	protocol proof.Protocol
	secure   bool
}

func ways() []way {
	return []way{{"h1", proof.H1, false}, {"h1+tls", proof.H1, true}, {"h2", proof.H2, true}, {"h3", proof.H3, true}}
}

func (s *socketNode) client(t *testing.T, w way) (c *proof.Client, base string) {
	t.Helper()
	c, err := proof.NewClient(proof.ClientOptions{
		Oracle: s.oracle, Protocol: w.protocol, Name: w.name, Node: "edge-1", CacheStatus: true,
		TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is minted for the test
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if w.secure {
		return c, "https://" + s.public.HTTPSAddr()
	}
	return c, "http://" + s.public.HTTPAddr()
}

// TestJoinersOverEveryProtocol: whoever asks for what is being fetched gets the
// first byte at once, from byte 0, while the origin still holds the rest.
func TestJoinersOverEveryProtocol(t *testing.T) {
	t.Parallel()
	s := newSocketNode(t)
	const path = "/o/1MiB/film"
	release := s.origin.Fault(path, proof.Fault{Kind: "stall", At: 600_000})
	results := make(chan proof.Result, len(ways()))
	var all sync.WaitGroup
	begun := make(chan struct{}, len(ways()))
	for _, w := range ways() {
		c, base := s.client(t, w)
		// One takes what is there and leaves: it got the first half while the origin
		// stalls, or this never ends.
		first := c.Get(t.Context(), base+path, proof.Options{StopAfter: 300_000, Truth: "127.0.0.1"})
		if first.Err != nil || first.Verified < 300_000 {
			t.Errorf("%s: %v, %d bytes right", w.name, first.Err, first.Verified)
		}
		all.Go(func() {
			begun <- struct{}{}
			results <- c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1"})
		})
		<-begun
	}
	release()
	all.Wait()
	close(results)
	for r := range results {
		if r.Err != nil || r.Body != proof.BodyOK {
			t.Errorf("%s", r)
		}
	}
	if n := s.origin.Count(path).Requests; n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestNoCleanShortEndOverAnyProtocol: an origin that breaks off makes a broken
// transfer at every client, and nothing is kept.
func TestNoCleanShortEndOverAnyProtocol(t *testing.T) {
	t.Parallel()
	s := newSocketNode(t)
	for _, w := range ways() {
		for name, rule := range map[string]proof.Rule{ // with a validator the rest would be fetched
			"length": {NoValidator: true}, "no-length": {NoValidator: true, Chunked: true},
		} {
			path := "/o/1MiB/" + w.name + name
			s.oracle.SetRule(path, rule)
			s.origin.Fault(path, proof.Fault{Kind: "truncate", At: 700_000, Times: 1})
			c, base := s.client(t, w)
			r := c.Get(t.Context(), base+path, proof.Options{AnyStatus: true, Truth: "127.0.0.1"})
			if r.Status == 200 && r.Body != proof.BodyAborted {
				t.Errorf("%s %s: a truncated body ended as %s: %v", w.name, name, r.Body, r)
			}
			if r := c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
				t.Errorf("%s %s: afterwards: %v", w.name, name, r)
			}
		}
	}
}

// TestSendfile: what is hot goes from the cached descriptor to the socket by
// sendfile over cleartext HTTP/1.1, all of it and nothing else.
func TestSendfile(t *testing.T) {
	t.Parallel()
	s := newSocketNode(t)
	c, base := s.client(t, ways()[0])
	const path, size, times = "/o/2MiB/film", 2 << 20, 5
	get := func() {
		if r := c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1"}); r.Err != nil || r.Body != proof.BodyOK {
			t.Fatal(r)
		}
	}
	get() // the miss
	before := s.public.Stats()
	for range times {
		get()
	}
	after := s.public.Stats()
	if sent := after.SendfileBytes - before.SendfileBytes; sent != times*size {
		t.Errorf("sendfile sent %d bytes of %d", sent, times*size)
	}
	if calls := after.SendfileCalls - before.SendfileCalls; calls < times {
		t.Errorf("%d sendfile calls for %d responses", calls, times)
	}
	if r := c.Get(t.Context(), base+path, proof.Options{Range: "bytes=1000000-1000999", Truth: "127.0.0.1"}); r.Err != nil || r.Status != 206 {
		t.Errorf("range: %v", r)
	}
}

// TestHitsOverEveryProtocol: one object, one fetch, the right bytes.
func TestHitsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	s := newSocketNode(t)
	for _, path := range []string{"/o/1500/list", "/o/200KiB/part", "/o/2MiB/film"} {
		for i, w := range ways() {
			c, base := s.client(t, w)
			r := c.Get(t.Context(), base+path, proof.Options{Truth: "127.0.0.1"})
			if want := "hit"; r.Err != nil || r.Body != proof.BodyOK || i > 0 && r.Outcome() != want {
				t.Errorf("%s %s: %v", w.name, path, r)
			}
		}
		if n := s.origin.Count(path).Requests; n != 1 {
			t.Errorf("%s: the origin was asked %d times", path, n)
		}
	}
}

// TestFFmpegReadsThroughTheCluster: an independent reader finds the whole title
// in both manifests.
func TestFFmpegReadsThroughTheCluster(t *testing.T) {
	t.Parallel()
	ffprobe := proof.RequireTool(t, "ffprobe", "ffmpeg")
	s := startSystem(t, 2)
	for i, manifest := range []string{"master.m3u8", "manifest.mpd"} {
		cmd := exec.CommandContext(t.Context(), ffprobe, "-v", "error", "-count_packets", "-select_streams", "v:0",
			"-show_entries", "stream=codec_name,width,nb_read_packets", "-of", "csv=p=0", "http://"+s.edges[i].http+"/vod/demo/"+manifest)
		errors, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		complaints, _ := io.ReadAll(errors)
		text, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || len(complaints) > 0 || !containsAll(string(text), "h264", ",720") {
			t.Errorf("ffprobe %s: %v, %q, %q; want h264 and 24 s x 30 frames", manifest, err, text, complaints)
		}
	}
}
