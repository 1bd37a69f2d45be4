package proof

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Protocol is the version of HTTP a Client speaks.
type Protocol string

// The protocols. Over a http URL H1 and H2 are cleartext (H2 with prior
// knowledge); H3 needs https.
const (
	H1 Protocol = "h1"
	H2 Protocol = "h2"
	H3 Protocol = "h3"
)

// ClientOptions describe a Client. Oracle is needed, the rest may be zero.
type ClientOptions struct {
	Oracle   *Oracle
	Protocol Protocol // "" = H1
	// Name and Node go into results and the history: who asks, and whom.
	Name, Node string
	// Via is the host:port to connect to; "" = the URL's. The URL's host is
	// still what goes into Host and TLS.
	Via string
	// Dial makes connections for H1 and H2; nil = real TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ListenPacket makes the socket of H3; nil = real UDP. Via must then be
	// an IP and a port.
	ListenPacket func() (net.PacketConn, error)
	// TLS has the trusted roots; nil = the system's.
	TLS *tls.Config
	// CacheStatus demands a Cache-Status field in every response.
	CacheStatus bool
	// Bound is how long after its end a version may still be served; nil =
	// not checked here (History can do it later).
	Bound *time.Duration
	// History takes one entry per request; nil = none.
	History *History
	// Fresh makes a new connection for each request.
	Fresh bool
}

// Client asks for objects and checks all of every response against the
// oracle, while it streams: memory is bounded by a few pages per request. Get
// may be called at the same time; Close ends its idle connections.
type Client struct {
	options   ClientOptions
	transport http.RoundTripper
	end       func() error
}

// Options describe one request.
type Options struct {
	Method    string      // "" = GET; HEAD
	Host      string      // Host field, "" = the URL's
	Range     string      // Range field, "bytes=0-99"
	Header    http.Header // further request fields
	As        string      // who asks, for the history; "" = the client's name
	Truth     string      // the host whose body is expected; "" = Host
	Status    int         // the status that must come; 0 = any right one
	AnyStatus bool        // no status is wrong
	MaxAge    *int64      // seconds the Age may have at most; nil = any
	Rate      int64       // bytes per second to read at; 0 = as they come
	StopAfter int64       // leave after this many body bytes; 0 = stay
}

// NewClient returns a client; it connects when it is asked to get something.
func NewClient(options ClientOptions) (*Client, error) {
	if options.Oracle == nil {
		return nil, errors.New("proof: client without an Oracle")
	}
	if options.Protocol == "" {
		options.Protocol = H1
	}
	if options.Dial == nil {
		options.Dial = (&net.Dialer{}).DialContext
	}
	c := &Client{options: options, end: func() error { return nil }}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if options.TLS != nil {
		config = options.TLS.Clone()
	}
	switch options.Protocol {
	case H1, H2:
		c.tcp(config)
	case H3:
		c.udp(config)
	default:
		return nil, fmt.Errorf("proof: client protocol %q is not h1, h2 or h3", options.Protocol)
	}
	return c, nil
}

func (c *Client) tcp(config *tls.Config) {
	protocols := &http.Protocols{}
	config.NextProtos = nil // the transport fills it from protocols
	if c.options.Protocol == H1 {
		protocols.SetHTTP1(true)
	} else {
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
	}
	t := &http.Transport{
		Protocols:           protocols,
		TLSClientConfig:     config,
		DisableCompression:  true,
		DisableKeepAlives:   c.options.Fresh,
		MaxIdleConnsPerHost: 1 << 20, // the tests decide how many there are
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if c.options.Via != "" {
				address = c.options.Via
			}
			return c.options.Dial(ctx, network, address)
		},
	}
	c.transport = t
	c.end = func() error {
		t.CloseIdleConnections()
		return nil
	}
}

func (c *Client) udp(config *tls.Config) {
	s := &socket{listen: c.options.ListenPacket}
	t := &http3.Transport{
		TLSClientConfig:    config,
		DisableCompression: true,
		Dial: func(ctx context.Context, address string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			if c.options.Via != "" {
				address = c.options.Via
			}
			return s.dial(ctx, address, config, qc)
		},
	}
	c.transport = t
	c.end = func() error { return errors.Join(t.Close(), s.close()) }
}

// socket is the UDP side of an HTTP/3 client, opened by the first request.
type socket struct {
	listen func() (net.PacketConn, error)

	mu        sync.Mutex // guards the fields below
	conn      net.PacketConn
	transport *quic.Transport
}

func (s *socket) dial(ctx context.Context, address string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	t, err := s.open()
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	return t.DialEarly(ctx, to, config, qc)
}

func (s *socket) open() (*quic.Transport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport != nil {
		return s.transport, nil
	}
	listen := s.listen
	if listen == nil {
		listen = func() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
	}
	conn, err := listen()
	if err != nil {
		return nil, err
	}
	s.conn, s.transport = conn, &quic.Transport{Conn: conn}
	return s.transport, nil
}

func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == nil {
		return nil
	}
	err := errors.Join(s.transport.Close(), s.conn.Close())
	s.transport, s.conn = nil, nil
	return err
}

// Close ends the connections that are idle, and all of H3.
func (c *Client) Close() error { return c.end() }

// RoundTrip asks as http.RoundTripper does and checks nothing: for what is no object of the oracle's.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) { return c.transport.RoundTrip(r) }

// Get asks for a URL and checks the response. It always returns a whole
// Result; what was wrong is in its Err. ctx ends a request early, which is
// then reported as aborted.
func (c *Client) Get(ctx context.Context, rawURL string, options Options) Result {
	result := Result{
		Method: options.Method, URL: rawURL, Range: options.Range, Node: c.options.Node, As: options.As,
		Start: time.Now(), Age: -1,
	}
	if result.Method == "" {
		result.Method = http.MethodGet
	}
	if result.As == "" {
		result.As = c.options.Name
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		result.Err = fmt.Errorf("%w: %w", ErrNoResponse, err)
		return result
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &http.Request{Method: result.Method, URL: u, Host: options.Host, Header: options.Header.Clone()}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if options.Range != "" {
		r.Header.Set("Range", options.Range)
	}
	k := &check{client: c, options: options, request: r.WithContext(ctx), result: &result}
	k.run() //nolint:contextcheck // the request carries ctx
	result.Total = time.Since(result.Start)
	if c.options.History != nil {
		c.options.History.Add(result.entry())
	}
	return result
}

// Result is what one request came to.
type Result struct {
	Method, URL, Range string
	Node, As           string
	Protocol           string // as the response says: HTTP/1.1, HTTP/2.0, HTTP/3.0
	Status             int    // 0 = no response
	Header             http.Header
	Start              time.Time
	Head               time.Duration // from Start until the response head was there
	FirstByte          time.Duration // until the first body byte, or Head if there is none
	Total              time.Duration // until the end
	Version            uint64        // of the body or its tag; 0 = not known
	Bytes              int64         // of body received
	Verified           int64         // of them, found right
	Age                int64         // seconds; -1 = no Age field
	CacheStatus        []CacheStatus
	Body               BodyState
	Err                error // everything that was wrong, joined; nil = all was right
}

// BodyState says how a body ended.
type BodyState string

// The ways a body ends.
const (
	BodyNone     BodyState = "none"     // there was no response, or none with a body
	BodyOK       BodyState = "ok"       // complete and right
	BodyAborted  BodyState = "aborted"  // the connection or stream ended visibly early; bytes until then are right
	BodyShort    BodyState = "short"    // ended cleanly, too early
	BodyWrong    BodyState = "wrong"    // bytes were wrong, or too many
	BodyLeft     BodyState = "left"     // the client left, as told; bytes until then are right
	BodyUnproven BodyState = "unproven" // not the oracle's (an error text, a 304)
)

// Aborted says whether the body ended in a way that any client can see.
func (r Result) Aborted() bool { return r.Body == BodyAborted }

// Outcome is how the cache nearest to the client put it: hit, stale, miss,
// pass, collapsed; "" without Cache-Status.
func (r Result) Outcome() string {
	if len(r.CacheStatus) == 0 {
		return ""
	}
	return r.CacheStatus[len(r.CacheStatus)-1].Outcome()
}

// String is one line.
func (r Result) String() string {
	text := fmt.Sprintf("%s %s %s: %d %s, %d bytes, version %d, body %s", r.Protocol, r.Method, r.URL, r.Status, r.Outcome(), r.Bytes, r.Version, r.Body)
	if r.Err != nil {
		text += ": " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	return text
}

// The kinds of trouble a Result.Err may hold; test with errors.Is.
var (
	ErrNoResponse   = errors.New("proof: no response")
	ErrStatus       = errors.New("proof: wrong status")
	ErrAborted      = errors.New("proof: body aborted")
	ErrShortEnd     = errors.New("proof: body ended cleanly but short")
	ErrLong         = errors.New("proof: body too long")
	ErrWrongByte    = errors.New("proof: wrong byte")
	ErrLength       = errors.New("proof: wrong Content-Length")
	ErrContentRange = errors.New("proof: wrong Content-Range")
	ErrMultipart    = errors.New("proof: wrong multipart body")
	ErrETag         = errors.New("proof: wrong ETag")
	ErrAge          = errors.New("proof: wrong Age")
	ErrCacheStatus  = errors.New("proof: wrong Cache-Status")
	ErrStale        = errors.New("proof: older than the staleness bound")
)
