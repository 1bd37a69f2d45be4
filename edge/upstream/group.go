package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Defaults of [Options] and [PeerOptions].
const (
	defaultOriginConnect = 2 * time.Second
	defaultOriginHead    = 10 * time.Second
	defaultOriginStall   = 10 * time.Second
	defaultOriginConns   = 256
	// retryShare of all requests may be sent a second time, and a few each second
	// beside that. Finagle's 20 % is for small messages; a fill is megabytes.
	retryShare             = 0.1
	originRetriesPerSecond = 1
	readBufferBytes        = 64 << 10    // of an HTTP/1.1 connection: fewer reads of a 2 MiB body
	expectTimeout          = time.Second // RFC 9110, 10.1.1: a client does not wait for ever to be told to go on
)

// DialFunc opens a connection; net.Dialer.DialContext is one.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Request is what an upstream is asked. Path and Query are in their canonical,
// escaped form and sent as they are.
type Request struct {
	Method string
	Host   string // Host field to send
	Path   string // escaped, begins with '/'
	Query  string // raw, without '?'
	Header http.Header
	Body   io.Reader // nil none
	Length int64     // of Body, -1 unknown
	// Deadline is when the caller stops waiting for the head of the response, where that is sooner than the upstream's
	// own limit; zero: it is not.
	Deadline time.Time
	Far      bool // the node is in another region: what is waited for is longer; for peers
	// Interim is told of each interim response but 100 and 101, from the goroutine of the connection and before
	// Fetch returns; nil: they end here.
	Interim func(status int, h http.Header)
}

// Options describes an origin.
type Options struct {
	URLs     []string      // http(s)://host[:port][/prefix], at least one; equals
	Dial     DialFunc      // opens all connections, to whatever address; nil: those that Private allows, from the system
	Resolver *net.Resolver // without Dial; nil: the system's
	// Private allows names in URLs to stand for this machine and for private networks (RFC 1918, RFC 4193). Addresses that
	// stand there themselves, and localhost, are always dialled; link-local ones and the metadata services of clouds for no name.
	Private        bool
	TLS            *tls.Config   // for https, nil: the system's roots
	ConnectTimeout time.Duration // default 2 s
	HeadTimeout    time.Duration // wait for the response head, default 10 s
	StallTimeout   time.Duration // wait for the next byte, default 10 s
	MaxConns       int           // per host, default 256; more requests wait
}

// Group is an origin: one or more hosts that hold the same. Safe for
// concurrent use.
type Group struct {
	options   Options
	transport *http.Transport
	hosts     []*host
	next      atomic.Uint32 // round robin
	retries   *budget
	count     counts
}

// host is one address of a group and its recent health.
type host struct {
	breaker

	url *url.URL
}

// NewGroup checks the URLs; an error names the bad one. Nothing is dialled.
func NewGroup(o Options) (*Group, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("upstream: an origin needs at least one URL")
	}
	o.ConnectTimeout = orDefault(o.ConnectTimeout, defaultOriginConnect)
	o.HeadTimeout = orDefault(o.HeadTimeout, defaultOriginHead)
	o.StallTimeout = orDefault(o.StallTimeout, defaultOriginStall)
	if o.MaxConns == 0 {
		o.MaxConns = defaultOriginConns
	}
	g := &Group{options: o, retries: newBudget(retryShare, originRetriesPerSecond, originRetriesPerSecond*budgetSeconds)}
	for _, raw := range o.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("origin %q: %w", raw, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("origin %q: want http://host[:port][/prefix] or https://…", raw)
		}
		u.Path, u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/"), ""
		g.hosts = append(g.hosts, &host{url: u})
	}
	dial := o.Dial
	if dial == nil {
		most := reachPublic
		if o.Private {
			most = reachPrivate
		}
		dial = dialOrigin(o.Resolver, most)
	}
	g.transport = &http.Transport{
		DialContext:         withTimeout(dial, o.ConnectTimeout),
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: o.ConnectTimeout,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // bodies pass as they are
		MaxConnsPerHost:     o.MaxConns,
		MaxIdleConnsPerHost: o.MaxConns,
		IdleConnTimeout:     60 * time.Second,
		ReadBufferSize:      readBufferBytes,

		ExpectContinueTimeout: expectTimeout,
	}
	return g, nil
}

// Fetch asks one host of the group; when that fails before a byte of the
// response came, or answers 502, 503 or 504, a safe request goes once to
// another host. The response's body belongs to the caller. Errors are *Error.
func (g *Group) Fetch(ctx context.Context, r *Request) (*Response, error) {
	safe := r.Body == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions)
	g.retries.earn(time.Now())
	first := g.pick(nil)
	resp, err := g.ask(ctx, first, r)
	if !safe || ctx.Err() != nil || err == nil && !unavailable(resp.Status) {
		return resp, err
	}
	var failure *Error
	if errors.As(err, &failure) && !failure.Retry {
		return nil, err
	}
	second := g.pick(first)
	if second == nil || !g.retries.spend(time.Now()) {
		return resp, err
	}
	if resp != nil {
		_ = resp.Body.Close() // the answer of a sick host is given up
	}
	return g.ask(ctx, second, r)
}

// Host is the state of one host of a group.
type Host struct {
	URL       string
	OK        bool   // false while it is left out
	LastError string // of the last failed fetch, "" after a good one
}

// Hosts tells the state of each host.
func (g *Group) Hosts() []Host {
	now := time.Now()
	out := make([]Host, 0, len(g.hosts))
	for _, h := range g.hosts {
		s := Host{URL: h.url.String()}
		s.OK, s.LastError = h.state(now)
		out = append(out, s)
	}
	return out
}

// Stats counts the fetches from all hosts.
func (g *Group) Stats() Stats { return g.count.snapshot() }

// Retries is the budget of second tries.
func (g *Group) Retries() Budget { return g.retries.seen(time.Now()) }

// Close drops idle connections.
func (g *Group) Close() { g.transport.CloseIdleConnections() }

// pick takes the next usable host other than not; when all are out, the next
// one all the same: an origin is never given up. nil when there is no other.
func (g *Group) pick(not *host) *host {
	now := time.Now()
	start := int(g.next.Add(1))
	var fallback *host
	for i := range g.hosts {
		h := g.hosts[(start+i)%len(g.hosts)]
		if h == not {
			continue
		}
		if h.usable(now) {
			return h
		}
		if fallback == nil {
			fallback = h
		}
	}
	return fallback
}

func (g *Group) ask(ctx context.Context, h *host, r *Request) (*Response, error) {
	op := "fetch from " + h.url.Scheme + "://" + h.url.Host
	out, err := newRequest(r, h.url.Scheme, h.url.Host, h.url.Path)
	if err != nil {
		return nil, &Error{Op: op, Source: FromSelf, Kind: InternalError, Err: err}
	}
	waits := limits{sign: g.options.HeadTimeout, head: g.options.HeadTimeout, signs: 1, stall: g.options.StallTimeout, end: r.Deadline}
	h.begin(time.Now())
	resp, err := roundTrip(ctx, g.transport, out, r.Interim, waits, &g.count, op, FromOrigin)
	switch {
	case err == nil && unavailable(resp.Status):
		h.bad(fmt.Sprintf("answered with status %d", resp.Status), resp.ResponseTime)
	case err == nil:
		h.good(resp.ResponseTime.Sub(resp.RequestTime), resp.ResponseTime)
	case ctx.Err() == nil && !unsent(out): // what the caller gave up, or did not send, says nothing about the host
		h.bad(err.Error(), time.Now())
	}
	return resp, err
}

func unavailable(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// limits are the waits of one fetch.
type limits struct {
	sign  time.Duration // for an interim or final response
	head  time.Duration // for the final response after an interim one
	signs int           // interim responses that begin that wait anew; more of them are no progress
	stall time.Duration // for the next byte of the body
	end   time.Time     // of both waits for a response at the latest; zero: none
}

// before is a wait, shortened where the end comes sooner.
func (l *limits) before(wait time.Duration) time.Duration {
	if l.end.IsZero() {
		return wait
	}
	return min(wait, max(time.Until(l.end), time.Millisecond))
}

// roundTrip sends one request and wraps the answer.
func roundTrip(ctx context.Context, rt http.RoundTripper, out *http.Request, interim func(int, http.Header), l limits, count *counts, op string, from Source) (*Response, error) {
	outer := ctx
	ctx, watch := newWatch(ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if l.signs--; l.signs >= 0 {
				watch.expect(l.before(l.head), errNoHead)
			}
			if interim != nil && status != http.StatusContinue && status != http.StatusSwitchingProtocols {
				interim(status, http.Header(h))
			}
			return nil
		},
	})
	watch.expect(l.before(l.sign), errNoSign)
	sent := time.Now()
	count.requests.Add(1)
	count.running.Add(1)
	resp, err := rt.RoundTrip(out.WithContext(ctx)) //nolint:bodyclose // the Response below owns the body; its reader closes it
	watch.pause()
	if err != nil {
		kind := kindOf(ctx, err)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if broken := bodyError(out); broken != nil {
			kind, from, err = HTTPRequestError, FromClient, fmt.Errorf("read the request's body: %w", broken)
		}
		watch.end()
		count.failures.Add(1)
		if outer.Err() == nil {
			count.failed(kind)
		}
		count.running.Add(-1)
		return nil, &Error{Op: op, Source: from, Kind: kind, Retry: outer.Err() == nil && from != FromClient, Err: err}
	}
	promised := resp.ContentLength
	if out.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified {
		promised = 0
	}
	return &Response{
		Status: resp.StatusCode, Header: resp.Header, Length: resp.ContentLength, From: from, RequestTime: sent, ResponseTime: time.Now(),
		Protocol: protocol(resp), Trailer: func() http.Header { return resp.Trailer },
		Body: &body{rc: resp.Body, ctx: ctx, watch: watch, stall: l.stall, left: promised, op: op, from: from, count: count},
	}, nil
}

// protocol is the ALPN name of what the upstream spoke (RFC 7301, 6).
func protocol(resp *http.Response) string {
	switch {
	case resp.ProtoMajor == 2:
		return "h2"
	case resp.ProtoMinor == 0:
		return "http/1.0"
	}
	return "http/1.1"
}

// newRequest builds the request for net/http; the path goes out as it is.
func newRequest(r *Request, scheme, address, prefix string) (*http.Request, error) {
	escaped := prefix + r.Path
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, err
	}
	out := &http.Request{
		Method: r.Method, Host: r.Host, Header: r.Header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Scheme: scheme, Host: address, Path: plain, RawPath: escaped, RawQuery: r.Query},
	}
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if _, set := out.Header["User-Agent"]; !set {
		out.Header["User-Agent"] = nil // net/http would add its own name
	}
	if r.Body != nil {
		out.Body, out.ContentLength = &requestBody{Reader: r.Body}, r.Length
	}
	return out, nil
}

// requestBody remembers how a client's body ended: what a client does not send, or spoils, is no fault of the host. The
// transport reads it in a goroutine of its own.
type requestBody struct {
	io.Reader
	end atomic.Pointer[error] // io.EOF where it was whole
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.end.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close implements io.Closer. The body is the caller's.
func (b *requestBody) Close() error { return nil }

// unsent tells whether the client has not sent all of its body. An EOF inside another error is no end.
func unsent(r *http.Request) bool {
	b, ok := r.Body.(*requestBody)
	if !ok {
		return false
	}
	end := b.end.Load()
	return end == nil || *end != io.EOF
}

// bodyError is why the client's body could not be read, nil where it could.
func bodyError(r *http.Request) error {
	if b, ok := r.Body.(*requestBody); ok {
		if end := b.end.Load(); end != nil && *end != io.EOF {
			return *end
		}
	}
	return nil
}

func withTimeout(dial DialFunc, d time.Duration) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return dial(ctx, network, address)
	}
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}
