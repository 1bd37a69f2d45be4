package edge

import (
	"sync"
	"testing"
	"time"
)

// TestQueueProbe: a byte that nobody reads makes the delay grow; once it is read the delay is what that has taken, and the next
// one follows.
func TestQueueProbe(t *testing.T) {
	t.Parallel()
	p := &queueProbe{}
	if d := p.ask(time.Now()); d != 0 {
		t.Errorf("closed, it says %v", d)
	}
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	const waits = time.Hour
	begun := time.Now().Add(-waits)
	for i, after := range []time.Duration{0, time.Second, waits / 2} {
		if d := p.ask(begun.Add(after)); d != after {
			t.Errorf("look %d after %v: %v", i, after, d)
		}
	}
	var reading sync.WaitGroup
	reading.Go(p.answer)
	for end := time.Now().Add(time.Minute); p.sent.Load() != 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never read")
		}
	}
	if d := p.ask(time.Now()); d < waits {
		t.Errorf("the byte was read after %v, want %v at least", d, waits)
	}
	p.close()
	reading.Wait()
}
