package field

import (
	"net/http"
	"strconv"
)

// ProxyError is an error type of RFC 9209, 2.3: why an intermediary could not
// answer as asked.
type ProxyError string

// The error types of RFC 9209.
const (
	ErrorDNSTimeout                ProxyError = "dns_timeout"
	ErrorDNS                       ProxyError = "dns_error"
	ErrorDestinationNotFound       ProxyError = "destination_not_found"
	ErrorDestinationUnavailable    ProxyError = "destination_unavailable"
	ErrorDestinationIPProhibited   ProxyError = "destination_ip_prohibited"
	ErrorDestinationIPUnroutable   ProxyError = "destination_ip_unroutable"
	ErrorConnectionRefused         ProxyError = "connection_refused"
	ErrorConnectionTerminated      ProxyError = "connection_terminated"
	ErrorConnectionTimeout         ProxyError = "connection_timeout"
	ErrorConnectionReadTimeout     ProxyError = "connection_read_timeout"
	ErrorConnectionWriteTimeout    ProxyError = "connection_write_timeout"
	ErrorConnectionLimitReached    ProxyError = "connection_limit_reached"
	ErrorTLSProtocol               ProxyError = "tls_protocol_error"
	ErrorTLSCertificate            ProxyError = "tls_certificate_error"
	ErrorTLSAlertReceived          ProxyError = "tls_alert_received"
	ErrorHTTPRequest               ProxyError = "http_request_error"
	ErrorHTTPRequestDenied         ProxyError = "http_request_denied"
	ErrorHTTPResponseIncomplete    ProxyError = "http_response_incomplete"
	ErrorHTTPResponseHeaderSection ProxyError = "http_response_header_section_size"
	ErrorHTTPResponseHeaderSize    ProxyError = "http_response_header_size"
	ErrorHTTPResponseBodySize      ProxyError = "http_response_body_size"
	ErrorHTTPResponseTransfer      ProxyError = "http_response_transfer_coding"
	ErrorHTTPResponseContent       ProxyError = "http_response_content_coding"
	ErrorHTTPResponseTimeout       ProxyError = "http_response_timeout"
	ErrorHTTPUpgradeFailed         ProxyError = "http_upgrade_failed"
	ErrorHTTPProtocol              ProxyError = "http_protocol_error"
	ErrorProxyInternalResponse     ProxyError = "proxy_internal_response"
	ErrorProxyInternal             ProxyError = "proxy_internal_error"
	ErrorProxyConfiguration        ProxyError = "proxy_configuration_error"
	ErrorProxyLoopDetected         ProxyError = "proxy_loop_detected"
)

// Status returns the status that RFC 9209 recommends for the error type, and 502
// for one that it does not name or where it leaves the choice open.
func (e ProxyError) Status() int {
	switch e {
	case ErrorDNSTimeout, ErrorConnectionTimeout, ErrorConnectionReadTimeout,
		ErrorConnectionWriteTimeout, ErrorHTTPResponseTimeout:
		return http.StatusGatewayTimeout
	case ErrorDestinationUnavailable, ErrorConnectionLimitReached:
		return http.StatusServiceUnavailable
	case ErrorDestinationNotFound, ErrorProxyInternal, ErrorProxyConfiguration:
		return http.StatusInternalServerError
	case ErrorHTTPRequest:
		return http.StatusBadRequest
	case ErrorHTTPRequestDenied:
		return http.StatusForbidden
	default:
		return http.StatusBadGateway
	}
}

// ProxyStatus is one member of a Proxy-Status field. The zero value of each field
// but Node leaves its parameter out.
type ProxyStatus struct {
	Node           string     // the intermediary's name
	Error          ProxyError // what went wrong
	NextHop        string     // the upstream asked; leave it out where its name is nobody's business
	NextProtocol   string     // the ALPN name spoken with it, such as "h2"
	ReceivedStatus int        // the status that the next hop answered with
	Details        string     // further words; shown to clients, so no addresses or secrets
}

// AppendTo appends the member to dst. It allocates nothing beyond the growth of dst.
func (p *ProxyStatus) AppendTo(dst []byte) []byte {
	dst = appendName(dst, p.Node)
	if p.Error != "" {
		dst = append(dst, "; error="...)
		dst = append(dst, p.Error...)
	}
	if p.NextHop != "" {
		dst = append(dst, "; next-hop="...)
		dst = appendName(dst, clip(p.NextHop))
	}
	if p.NextProtocol != "" {
		dst = append(dst, "; next-protocol="...)
		dst = appendName(dst, p.NextProtocol)
	}
	if p.ReceivedStatus != 0 {
		dst = append(dst, "; received-status="...)
		dst = strconv.AppendInt(dst, int64(p.ReceivedStatus), 10)
	}
	if p.Details != "" {
		dst = append(dst, "; details="...)
		dst = appendString(dst, clip(p.Details))
	}
	return dst
}

// String returns the member as AppendTo prints it.
func (p *ProxyStatus) String() string { return string(p.AppendTo(make([]byte, 0, 128))) }

// Add puts the member behind those that h already holds.
func (p *ProxyStatus) Add(h http.Header) { addMember(h, "Proxy-Status", p.String()) }
