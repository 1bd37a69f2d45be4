package front

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Of what a client asks for at once, no more is read than may wait for its response; more follows when half of that has one,
// or has not after a while.
func TestHTTP2Turns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most, all = 8, 40
		request := rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x82")
		in := repeated(0)
		for i := range uint32(all) {
			in = append(in, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 2*i+1, "\x82")...)
		}
		c := watched(&scripted{in: in})
		c.guard.unanswered = most
		var read atomic.Int64 // requests
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, prefaceBytes)
			_, _ = io.ReadFull(c, buf)
			for {
				if _, err := io.ReadFull(c, buf[:len(request)]); err != nil {
					return
				}
				read.Add(1)
			}
		}()
		want := func(n int64, when string) {
			t.Helper()
			if synctest.Wait(); read.Load() != n {
				t.Fatalf("%d requests are read %s, want %d", read.Load(), when, n)
			}
		}
		answer := func(n int) {
			for range n {
				_, _ = c.Write([]byte(rawFrame(frameHeaders, flagEndHeaders, 1, "\x88") + rawFrame(frameData, flagEndStream, 1, "x")))
			}
		}
		want(most, "at first")
		answer(most/2 - 1)
		want(most, "with less than half of the responses")
		answer(1)
		want(most*3/2, "with half of the responses")
		time.Sleep(longestTurn - 1)
		want(most*3/2, "soon after")
		time.Sleep(1 * time.Nanosecond)
		want(most*5/2, "when those have had their time")
		answer(all) // more than are awaited
		<-done
		if read.Load() != all {
			t.Errorf("%d requests are read in all, want %d", read.Load(), all)
		}
	})
}

// Connections of a server's clients wait for their turn; those of nodes do not.
func TestHTTP2TurnsAreForClients(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		s, err := New(Options{HTTPS: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{{}}}, Handler: http.NotFoundHandler(), TrustClients: trusted})
		if err != nil {
			t.Fatal(err)
		}
		parts, err := s.parts(sockets{https: newConnQueue(&net.TCPAddr{})})
		if err != nil {
			t.Fatal(err)
		}
		a, ok := parts[0].(*tlsAcceptor)
		if !ok {
			t.Fatalf("the first part is a %T", parts[0])
		}
		if waits := a.guard.unanswered >= leastUnanswered && a.guard.poll != nil; waits == trusted {
			t.Errorf("trusted: %v, up to %d requests, poll: %v", trusted, a.guard.unanswered, a.guard.poll)
		}
		if a.wait(); !trusted && a.guard.poll.from.Close() == nil {
			t.Error("the pipe is open when nothing runs any more")
		}
	}
}

// Many goroutines wait, each time until the runtime has looked, and none for ever, also not when they wait at the end.
func TestNextPoll(t *testing.T) {
	t.Parallel()
	p, err := newNextPoll()
	if err != nil {
		t.Fatal(err)
	}
	for range 70_000 { // more than a pipe has room for
		p.wait()
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				p.wait()
			}
		})
	}
	all.Wait()
	for range 4 {
		all.Go(func() {
			for range 1000 {
				p.wait()
			}
		})
	}
	p.close()
	all.Wait()
	p.wait()
}
