package front

import (
	"runtime"
	"time"
)

const (
	// unansweredPerProcessor is for how many requests of a connection the response may be awaited, for each processor, until
	// the next is read; leastUnanswered is never too many: of a host with HTTP/1.1, browsers ask for six things at once.
	unansweredPerProcessor = 4
	leastUnanswered        = 8
	// longestTurn bounds the wait: those that are awaited may wait for an origin themselves.
	longestTurn = 5 * time.Millisecond
)

// mostUnanswered is how many requests of one connection are read ahead of their responses.
func mostUnanswered() int32 {
	return max(leastUnanswered, int32(unansweredPerProcessor*runtime.GOMAXPROCS(0)))
}

// awaitTurn has who asks for a hundred things at once wait while enough of them are worked at. Else there were a hundred
// goroutines ready to run, and as long as a processor has those it looks for nobody else's requests (see nextPoll). Half of them
// answered, it lets the runtime look, and goes on. Responses that have begun do not count, as those may last.
//
// Hot path: an atomic load for each request, as long as there are few.
func (c *http2Conn) awaitTurn() {
	most := c.part.unanswered
	if most == 0 || c.unanswered.Load() < most {
		return
	}
	c.flushAside()
	timer := time.NewTimer(longestTurn)
	defer timer.Stop()
	for c.unanswered.Load() > most/2 {
		select {
		case <-c.answered:
		case <-timer.C:
			c.unanswered.Store(0) // they have had their time
		}
	}
	c.part.poll.wait()
}

// answer notes that the response begins. Those to requests that no longer count are not told from others: then more is read.
func (s *http2Stream) answer() {
	if s.begun.Swap(true) {
		return
	}
	c := s.conn
	if c.unanswered.Load() > 0 && c.unanswered.Add(-1) == c.part.unanswered/2 {
		select {
		case c.answered <- struct{}{}:
		default:
		}
	}
}
