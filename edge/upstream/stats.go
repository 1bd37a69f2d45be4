package upstream

import (
	"slices"
	"sync/atomic"
)

// Stats counts what was asked of a Group or of Peers since the start.
type Stats struct {
	Requests uint64 // sent, retries included
	Failures uint64 // that brought no response head
	Broken   uint64 // bodies that failed before their end
	Bytes    int64  // of bodies, as they came
	Running  int64  // responses not closed yet, and requests without one
}

// counts are the atomics behind Stats.
type counts struct {
	requests, failures, broken atomic.Uint64
	bytes, running             atomic.Int64
	kinds                      [nKinds]atomic.Uint64 // failures and broken bodies that the caller had not given up, as in Kinds
}

func (c *counts) snapshot() Stats {
	return Stats{
		Requests: c.requests.Load(), Failures: c.failures.Load(), Broken: c.broken.Load(),
		Bytes: c.bytes.Load(), Running: c.running.Load(),
	}
}

const nKinds = 20

// Kinds lists the kinds of failures that are counted, each once. The caller owns the result.
func Kinds() []Kind {
	return []Kind{
		DNSError, DNSTimeout, ConnectionRefused, ConnectionTimeout, ConnectionTerminated, DestinationUnavail, DestinationUnroutable,
		TLSProtocolError, TLSCertificateError, TLSAlertReceived, HTTPProtocolError, HTTPResponseHeader, HTTPResponseTransfer,
		HTTPResponseTimeout, HTTPResponseIncompl, ConnectionReadTimeout, LoopDetected, InternalError,
		HTTPRequestError, DestinationProhibited,
	}
}

func (c *counts) failed(kind Kind) {
	if i := slices.Index(Kinds(), kind); i >= 0 {
		c.kinds[i].Add(1)
	}
}

// byKind leaves out what never happened.
func (c *counts) byKind() map[Kind]uint64 {
	out := map[Kind]uint64{}
	for i, kind := range Kinds() {
		if n := c.kinds[i].Load(); n > 0 {
			out[kind] = n
		}
	}
	return out
}
