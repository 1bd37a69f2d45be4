package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Source says whose fault an [Error] is, or who answered a request.
type Source string

// The sources of a response or of a failure.
const (
	FromClient Source = "client"
	FromSelf   Source = "self"
	FromPeer   Source = "peer"
	FromOrigin Source = "origin"
)

// Kind is a proxy error type of RFC 9209, section 2.3.
type Kind string

// The error types that this package tells apart.
const (
	DNSError              Kind = "dns_error"
	DNSTimeout            Kind = "dns_timeout"
	ConnectionRefused     Kind = "connection_refused"
	ConnectionTimeout     Kind = "connection_timeout"
	ConnectionTerminated  Kind = "connection_terminated"
	DestinationUnavail    Kind = "destination_unavailable"
	DestinationUnroutable Kind = "destination_ip_unroutable"
	TLSProtocolError      Kind = "tls_protocol_error"
	TLSCertificateError   Kind = "tls_certificate_error"
	TLSAlertReceived      Kind = "tls_alert_received"
	HTTPProtocolError     Kind = "http_protocol_error"
	HTTPResponseHeader    Kind = "http_response_header_section_size"
	HTTPResponseTransfer  Kind = "http_response_transfer_coding"
	HTTPResponseTimeout   Kind = "http_response_timeout"
	HTTPResponseIncompl   Kind = "http_response_incomplete"
	ConnectionReadTimeout Kind = "connection_read_timeout"
	LoopDetected          Kind = "proxy_loop_detected"
	InternalError         Kind = "proxy_internal_error"
	HTTPRequestError      Kind = "http_request_error"
	DestinationProhibited Kind = "destination_ip_prohibited"
)

// Error is a failed step of a fetch.
type Error struct {
	Op     string // what was tried and on what: "fetch from http://10.0.0.7:80"
	Source Source // whose fault it is
	Kind   Kind   // error type of RFC 9209
	Retry  bool   // no byte of a response was taken: the same request may go elsewhere
	Status int    // that the upstream answered with; 0: it did not
	Err    error
}

// Error tells what was tried and why it did not work.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes with which a fetch's context is cancelled by its own watch.
var (
	errNoSign   = errors.New("no sign of life in time")
	errNoHead   = errors.New("no response head in time")
	errStalled  = errors.New("no byte of the body in time")
	errFinished = errors.New("response closed")
)

// kindOf finds the error type of RFC 9209 for a failure of net/http.
func kindOf(ctx context.Context, err error) Kind {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errNoSign), errors.Is(cause, errNoHead):
		return HTTPResponseTimeout
	case errors.Is(cause, errStalled):
		return ConnectionReadTimeout
	}
	var dns *net.DNSError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, errProhibited):
		return DestinationProhibited
	case errors.As(err, &dns) && dns.IsTimeout:
		return DNSTimeout
	case errors.As(err, &dns):
		return DNSError
	case errors.As(err, &cert):
		return TLSCertificateError
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls marks an alert that the other side sent
		return TLSAlertReceived
	case errors.As(err, &record), errors.As(err, &alert):
		return TLSProtocolError
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return DestinationUnroutable
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return ConnectionTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return ConnectionRefused
	case errors.Is(err, io.ErrUnexpectedEOF):
		return HTTPResponseIncompl
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return ConnectionTerminated
	}
	// net/http has no types for these.
	switch text := err.Error(); {
	case strings.Contains(text, "server response headers exceeded"):
		return HTTPResponseHeader
	case strings.Contains(text, "unsupported transfer encoding"):
		return HTTPResponseTransfer
	}
	return HTTPProtocolError
}
