package front

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// nextPoll lets goroutines wait until the runtime has looked at the network. It does that where a processor has nothing else
// to run, and else every 10 milliseconds: what comes meanwhile waits, whosever it is. Goroutines that wait for it together
// wait for one byte in a pipe, of which the runtime hears no sooner than of all else.
type nextPoll struct {
	from, to *os.File
	raw      syscall.RawConn // of from

	mu      sync.Mutex    // guards the field below
	waiting chan struct{} // closed when the byte that is under way has come; nil: none is
}

func newNextPoll() (*nextPoll, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look into a pipe: %w", err)
	}
	return &nextPoll{from: from, to: to, raw: raw}, nil
}

// wait waits for the next look, or returns at once after close. It may be called from many goroutines.
func (p *nextPoll) wait() {
	if p == nil {
		return
	}
	p.mu.Lock()
	if p.waiting != nil {
		done := p.waiting
		p.mu.Unlock()
		<-done
		return
	}
	done := make(chan struct{})
	p.waiting = done
	p.mu.Unlock()
	p.sendByte()
	p.mu.Lock()
	p.waiting = nil
	p.mu.Unlock()
	close(done)
}

// sendByte sends one to itself. A Read alone would find it there, and ask nobody.
func (p *nextPoll) sendByte() {
	var one [1]byte
	var asked bool
	var failed error
	err := p.raw.Read(func(uintptr) bool {
		if !asked {
			asked = true
			_, failed = p.to.Write(one[:])
			return failed != nil
		}
		return true
	})
	if err == nil && failed == nil {
		_, _ = p.from.Read(one[:]) // it is there
	}
}

// close ends all waiting.
func (p *nextPoll) close() {
	if p != nil {
		_ = p.from.Close() // whatever is in it
		_ = p.to.Close()
	}
}
