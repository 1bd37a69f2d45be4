package edge

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// queueProbe measures how long what comes from the network waits until somebody reads it, by a byte on a pipe of our own now
// and then. The runtime's own figure begins when the poller has handed a connection to a goroutine, and it takes 128 of them at a
// time: what is behind them waits in the kernel, a second and more, while that figure says 10 ms. Used by one goroutine, but
// for answer.
type queueProbe struct {
	out, in *os.File
	sent    atomic.Int64 // nanoseconds since 1970; 0: none is under way
	took    atomic.Int64 // by the last one
}

// open makes the pipe.
func (p *queueProbe) open() (err error) {
	p.in, p.out, err = os.Pipe()
	return err
}

// answer reads until close.
func (p *queueProbe) answer() {
	for b := make([]byte, 1); ; {
		if _, err := p.in.Read(b); err != nil {
			return // it is closed
		}
		p.took.Store(time.Now().UnixNano() - p.sent.Load())
		p.sent.Store(0)
	}
}

// ask sends the next byte, and returns how long the last one took, or has taken so far.
func (p *queueProbe) ask(now time.Time) time.Duration {
	if p.out == nil {
		return 0
	}
	if sent := p.sent.Load(); sent != 0 {
		return max(0, time.Duration(now.UnixNano()-sent))
	}
	took := time.Duration(p.took.Load())
	p.sent.Store(now.UnixNano())
	if _, err := p.out.Write([]byte{0}); err != nil { // a pipe that is empty takes a byte
		p.sent.Store(0)
	}
	return max(0, took)
}

func (p *queueProbe) close() { _ = errors.Join(p.out.Close(), p.in.Close()) } // what was in it counts for nothing
