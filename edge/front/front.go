package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options and fixed limits. They are those that guides for HTTP servers
// facing the open Internet agree on.
const (
	defaultDrainTimeout  = 30 * time.Second
	defaultHeaderTimeout = 5 * time.Second
	defaultIdleTimeout   = 75 * time.Second

	maxHeaderBytes = 32 << 10 // request line and fields, or the decoded field section
	maxFields      = 100      // field lines of a header
	maxStreams     = 100      // requests at once on one HTTP/2 or HTTP/3 connection
	maxReadFrame   = 16 << 10 // payload of an HTTP/2 frame that we take: the least that there is (RFC 9113, 4.2)
	streamWindow   = 64 << 10 // bytes of a request body that may wait unread
	connWindow     = 1 << 20  // the same for all streams of a connection
	altSvcMaxAge   = 24 * time.Hour
	// writeStall ends an HTTP/2 connection on which no byte could be written for as
	// long: the writes of its streams share one socket, so no stream's deadline tells.
	writeStall = 30 * time.Second
)

// Options configures a Server. At least one of HTTP and HTTPS must be set.
type Options struct {
	// HTTP is the host:port of the cleartext HTTP/1.1 listener; empty for none.
	HTTP string
	// HTTPS is the host:port of the TLS listener: TCP for HTTP/1.1 and HTTP/2, UDP for
	// HTTP/3; empty for none. With port 0 both get one free port.
	HTTPS string
	// Handler answers all requests. Its ResponseWriter implements io.ReaderFrom,
	// http.Flusher and what http.ResponseController needs.
	Handler http.Handler
	// TLS is the base configuration for HTTPS, with certificates; it is cloned. The
	// minimum version is raised to TLS 1.2 and the application protocols are set; of those
	// that are there, acme-tls/1 stays, for ACME's challenges.
	TLS *tls.Config
	// TicketSecret yields the keys of TLS session tickets, which change every 12 hours:
	// servers that share it resume one another's sessions. Empty means one of its own, at
	// random. A session is resumed only for the host that it began with.
	TicketSecret []byte
	// ProxyProtocol lists balancers by their addresses: their TCP connections must begin
	// with a PROXY protocol header, version 1 or 2, within HeaderTimeout, and the client
	// that it names is the request's RemoteAddr. Connections from elsewhere are clients'
	// own, whatever they say. HTTP/3 has no such header.
	ProxyProtocol []netip.Prefix
	// DisableHTTP3 leaves the UDP port closed and Alt-Svc out.
	DisableHTTP3 bool

	DrainTimeout  time.Duration // how long running requests may go on once Run's context has ended; default 30 s
	HeaderTimeout time.Duration // for the handshake and for a request header, each; default 5 s
	IdleTimeout   time.Duration // for a connection without requests; default 75 s

	// Connections bounds the connections of clients.
	Connections Connections

	// TrustClients lifts the budgets of HTTP/2 and HTTP/3 connections, for a listener whose
	// clients are known by their certificates: another node may well cancel a thousand
	// requests in a second. Sizes and times stay bounded; of field lines there may be twice as
	// many.
	TrustClients bool

	// QUICKey is the secret from which the keys of address tokens and stateless resets come,
	// so that clients of a server that was restarted learn at once that their connections
	// are gone. It is not kept. Nil: the first certificate's key; without one of those a random
	// secret.
	QUICKey []byte
	// QUICNode is this server's name among those with the same QUICKey, which then take each
	// other's address tokens, but cannot reset each other's connections.
	QUICNode string
	// Qlog gets a file for every QUIC connection. Nil for none. It is the Server's from New on; see SetQlog.
	Qlog *Qlog

	// HTTPFlag and HTTPSFlag name the settings of the two addresses in error texts, such
	// as "--http"; empty leaves the name out.
	HTTPFlag, HTTPSFlag string

	// Listen opens the TCP listeners, and ListenPacket the UDP socket, whose address has the port of the TLS listener; nil
	// means net.Listen and net.ListenPacket. For sockets that another process has bound, and for tests.
	Listen       func(network, address string) (net.Listener, error)
	ListenPacket func(network, address string) (net.PacketConn, error)
	// Log gets refused handshakes at debug level, refused clients at warning level, but not
	// more than one a second, and panics at error level; nil discards them.
	Log *slog.Logger
}

// Server serves one http.Handler on the listeners of its Options. Its methods may
// be called by many goroutines at once.
type Server struct {
	opts  Options
	log   *slog.Logger
	stats counters
	entry entry
	ids   connIDs // of QUIC connections
	seats *seats  // of all connections
	qlog  atomic.Pointer[Qlog]
	// retryFrom is the number of handshakes in a second after which clients have to prove their addresses.
	retryFrom int

	mu      sync.Mutex // guards the fields below
	bound   bool
	started bool
	sockets sockets
}

// New checks the options and returns a Server that listens nowhere yet.
func New(o Options) (*Server, error) {
	switch {
	case o.Handler == nil:
		return nil, errors.New("front: Options.Handler is missing")
	case o.HTTP == "" && o.HTTPS == "":
		return nil, errors.New("front: one of Options.HTTP and Options.HTTPS is needed")
	case o.HTTPS != "" && (o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil):
		return nil, errors.New("front: Options.TLS needs a certificate for Options.HTTPS")
	}
	for name, d := range map[string]*time.Duration{
		"DrainTimeout": &o.DrainTimeout, "HeaderTimeout": &o.HeaderTimeout, "IdleTimeout": &o.IdleTimeout,
	} {
		if *d < 0 {
			return nil, fmt.Errorf("front: Options.%s is negative", name)
		}
	}
	setDefault(&o.DrainTimeout, defaultDrainTimeout)
	setDefault(&o.HeaderTimeout, defaultHeaderTimeout)
	setDefault(&o.IdleTimeout, defaultIdleTimeout)
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.ListenPacket == nil {
		o.ListenPacket = net.ListenPacket
	}
	s := &Server{opts: o, log: o.Log, ids: newConnIDs(), retryFrom: retryFrom}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		s.opts.TLS = o.TLS.Clone()
		newTickets(o.TicketSecret).configure(s.opts.TLS)
		notePrints(s.opts.TLS)
		s.stats.guardTLS(s.opts.TLS, s.log)
	}
	s.stats.refusals.log = s.log
	s.seats = newSeats(o.Connections, &s.stats.refusals)
	s.qlog.Store(o.Qlog)
	s.entry = entry{next: o.Handler, stats: &s.stats, log: s.log, fields: maxFields, idle: make(chan struct{})}
	if o.TrustClients {
		s.entry.fields *= 2 // a node adds to what a client may send
	}
	return s, nil
}

// Listen binds the addresses, so that a caller knows before Run whether it can
// serve, and where. Called again it does nothing. Its errors name the address and
// what to do, in one line.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound {
		return nil
	}
	bound, err := s.bind()
	if err != nil {
		return err
	}
	s.sockets, s.bound = bound, true
	return nil
}

// HTTPAddr returns the bound address of the cleartext listener, host:port with the
// real port; empty before Listen, or when there is none.
func (s *Server) HTTPAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.sockets.http)
}

// HTTPSAddr returns the bound address of the TLS listener, which is also that of
// HTTP/3; empty before Listen, or when there is none.
func (s *Server) HTTPSAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return address(s.sockets.https)
}

// SetConnections changes how many connections there may be. Those that are there stay.
func (s *Server) SetConnections(c Connections) { s.seats.set(c) }

// SetQlog has the QUIC connections that come from now on traced elsewhere, nil: nowhere. The files of those that are there
// end.
func (s *Server) SetQlog(q *Qlog) {
	if before := s.qlog.Swap(q); before != nil && before != q {
		before.end()
	}
}

// Close gives back what Listen bound when Run is not going to be called. After Run
// it does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || !s.bound {
		return nil
	}
	s.started = true
	return s.sockets.close()
}

// Run listens if Listen was not called, serves until ctx ends, and then drains: no
// new connections, keep-alive connections end with their response, HTTP/2 and HTTP/3
// clients get GOAWAY; what still runs after DrainTimeout is cut. It returns when every
// goroutine that it started has ended, which needs handlers that return once their
// context has. The error is nil after a drain, even one that had to cut. Run works once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.mu.Lock()
	started, bound := s.started, s.sockets
	s.started = true
	s.mu.Unlock()
	if started {
		return errors.New("front: Run was called before")
	}
	parts, err := s.parts(bound)
	if err != nil {
		return errors.Join(err, bound.close())
	}
	return s.run(ctx, parts)
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
