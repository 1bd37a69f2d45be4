package front

import "sync/atomic"

// Stats is a snapshot of what a Server counted since New. The numbers are read one
// after another, so they may differ by what happened in between.
type Stats struct {
	Cleartext ProtocolStats // HTTP/1.1 in the clear
	HTTP1     ProtocolStats // HTTP/1.1 over TLS
	HTTP2     ProtocolStats
	HTTP3     ProtocolStats

	Running         int64 // requests being handled now
	Panics          int64 // of handlers, other than http.ErrAbortHandler, of handshakes and of streams
	HandshakeErrors int64 // TLS handshakes over TCP that failed or timed out
	ProxyErrors     int64 // connections of balancers that did not begin with a PROXY protocol header

	Connections        int64 // connections now, those included that are not ready
	ConnectionsLimit   int64 // the most of them, 0 for any number
	ConnectionsGaveWay int64 // idle ones that were closed for others
	Penalties          int64 // times that a client, or a network, got no new connection for a while
	AcceptErrors       int64 // times that the system had no descriptor, or no memory, for a connection, or that one was in error

	SendfileCalls int64 // sendfile(2) calls, those that had to wait included
	SendfileBytes int64 // body bytes sent by them
	ShortFiles    int64 // files that ended before their range did

	// Refused counts connections that were ended, requests that were refused before
	// the Handler had a say, and packets that were not sent, by reason: h2_odd_events, h2_control_frames, h2_header_block, h2_malformed,
	// h3_odd_events, h3_control_frames, h3_malformed, fields, hosts, early_data, h1_syntax, h1_framing, version,
	// target, header_bytes, header_timeout, field, method, expect, connections, client_connections,
	// network_connections, h1_pipelined, penalty, quic_path_probes, quic_strangers. Every reason is there. It is the caller's.
	Refused map[string]int64
}

// ProtocolStats counts one protocol.
type ProtocolStats struct {
	Open     int64 // connections now
	Accepted int64 // connections in all, after their handshake
	Requests int64 // requests in all
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	c := &s.stats
	open, limit := s.seats.count()
	return Stats{
		Connections: open, ConnectionsLimit: limit, ConnectionsGaveWay: s.seats.gaveWay.Load(), Penalties: s.seats.penalties.Load(), AcceptErrors: s.seats.short.Load(),
		Cleartext:       c.cleartext.snapshot(),
		HTTP1:           c.http1.snapshot(),
		HTTP2:           c.http2.snapshot(),
		HTTP3:           c.http3.snapshot(),
		Running:         s.entry.running.Load() & runningMask,
		Panics:          c.panics.Load(),
		HandshakeErrors: c.handshakeErrors.Load(),
		ProxyErrors:     c.proxyErrors.Load(),
		SendfileCalls:   c.sendfileCalls.Load(),
		SendfileBytes:   c.sendfileBytes.Load(),
		ShortFiles:      c.shortFiles.Load(),
		Refused:         c.refusals.snapshot(),
	}
}

// counters are the live numbers behind Stats.
type counters struct {
	cleartext, http1, http2, http3 protocolCounters

	panics, handshakeErrors, proxyErrors     atomic.Int64
	sendfileCalls, sendfileBytes, shortFiles atomic.Int64

	refusals refusals
}

type protocolCounters struct{ open, accepted, requests atomic.Int64 }

func (p *protocolCounters) snapshot() ProtocolStats {
	return ProtocolStats{Open: p.open.Load(), Accepted: p.accepted.Load(), Requests: p.requests.Load()}
}

func (p *protocolCounters) connected()    { p.open.Add(1); p.accepted.Add(1) }
func (p *protocolCounters) disconnected() { p.open.Add(-1) }
