package front

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// reason is why a connection was ended, or a request refused, before the Handler had a
// say. Its text is the label of the metric.
type reason int32

const (
	allowed           reason = iota
	http2Odd                 // resets, in either direction
	http2Control             // frames that ask for nothing
	http2HeaderLen           // a header block without end
	http2Malformed           // a breach of RFC 9113 or 7541: a stream that was reset, a connection that was ended
	http3Odd                 // streams that were cancelled or malformed
	http3Control             // frames that ask for nothing
	http3Malformed           // a breach of RFC 9114 or 9204: the same
	tooManyFields            // a header of more than maxFields lines
	twoHosts                 // no host, or more than one, or what cannot be one
	earlyData                // a request in 0-RTT that is not safe to replay
	http1Syntax              // a request line or field line that is none (RFC 9112, 3 and 5)
	http1Framing             // where a request ends is in doubt (RFC 9112, 6.3 and 7)
	httpVersion              // a version of HTTP that is not spoken here
	targetForm               // a request target that is too long, or of no form that is meant for us
	headerBytes              // a header of more than maxHeaderBytes
	slowHeader               // a header that did not come to its end in time
	badField                 // a field of HTTP/2 or HTTP/3 whose value is none, or a length that is not the body's
	connectMethod            // CONNECT
	expectation              // Expect with another value than 100-continue
	connectionTotal          // a connection beyond Connections.Total, where none is idle
	connectionClient         // one beyond Connections.Client
	connectionNetwork        // one beyond Connections.Network
	http1Pipelined           // requests that did not wait for the answers to those before
	penalty                  // a connection of a client, or a network, that floods
	pathProbes               // a packet to an address at which a QUIC client may be, beyond the budget
	quicStrangers            // a packet of no connection, beyond the number that is looked at
	reasons                  // how many there are
)

// refusalLogEvery is how often a refusal is logged at most: a flood must not fill a disk.
const refusalLogEvery = time.Second

func (r reason) String() string {
	return [reasons]string{
		"", "h2_odd_events", "h2_control_frames", "h2_header_block", "h2_malformed", "h3_odd_events", "h3_control_frames",
		"h3_malformed", "fields", "hosts", "early_data",
		"h1_syntax", "h1_framing", "version", "target", "header_bytes", "header_timeout", "field", "method", "expect",
		"connections", "client_connections", "network_connections", "h1_pipelined", "penalty", "quic_path_probes", "quic_strangers",
	}[r]
}

// refusals counts by reason and logs some. It is safe for concurrent use.
type refusals struct {
	log    *slog.Logger
	counts [reasons]atomic.Int64
	lines  seldom
}

// seldom keeps lines of the log apart. It is safe for concurrent use.
type seldom struct {
	mu     sync.Mutex // guards the fields below
	logged time.Time
	silent int64 // lines that were not written since
}

// due tells whether a line may be written, and how many were not since the last one.
func (s *seldom) due() (yes bool, silent int64) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.logged) < refusalLogEvery {
		s.silent++
		return false, 0
	}
	silent, s.logged, s.silent = s.silent, now, 0
	return true, silent
}

// add counts one refusal of a client.
func (r *refusals) add(why reason, client string) {
	r.counts[why].Add(1)
	if yes, silent := r.lines.due(); yes {
		r.log.Warn("client refused", "reason", why.String(), "client", client, "others since the last line", silent)
	}
}

// snapshot returns the counts by reason, with every reason in it.
func (r *refusals) snapshot() map[string]int64 {
	all := make(map[string]int64, reasons-1)
	for why := allowed + 1; why < reasons; why++ {
		all[why.String()] = r.counts[why].Load()
	}
	return all
}

// budget bounds how often something may happen in a window of time.
type budget struct {
	limit int
	begun time.Time
	used  int
}

// budgetWindow is the window of every budget.
const budgetWindow = 10 * time.Second

// spend notes n events and tells whether the budget allowed them.
func (b *budget) spend(now time.Time, n int) bool {
	if now.Sub(b.begun) >= budgetWindow {
		b.begun, b.used = now, 0
	}
	b.used += n
	return b.used <= b.limit
}
