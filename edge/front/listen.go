package front

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// portTries is how often a free port is looked for that TCP and UDP can share. The
// system gives out ports for the two on its own terms, so a clash is possible, twenty
// in a row are not.
const portTries = 20

// sockets are what Listen binds; a nil one is not wanted.
type sockets struct {
	http, https net.Listener
	udp         net.PacketConn
}

func (b sockets) close() error {
	var errs []error
	if b.http != nil {
		errs = append(errs, b.http.Close())
	}
	if b.https != nil {
		errs = append(errs, b.https.Close())
	}
	if b.udp != nil {
		errs = append(errs, b.udp.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) bind() (b sockets, err error) {
	defer func() {
		if err != nil {
			_ = b.close() // the bind error is the one to tell
		}
	}()
	if s.opts.HTTP != "" {
		if b.http, err = s.opts.Listen("tcp", s.opts.HTTP); err != nil {
			return b, listenError(s.opts.HTTP, s.opts.HTTPFlag, err)
		}
	}
	if s.opts.HTTPS != "" {
		if b.https, b.udp, err = s.bindHTTPS(); err != nil {
			return b, listenError(s.opts.HTTPS, s.opts.HTTPSFlag, err)
		}
	}
	return b, nil
}

// bindHTTPS binds TCP and UDP to one port.
func (s *Server) bindHTTPS() (net.Listener, net.PacketConn, error) {
	_, port, _ := net.SplitHostPort(s.opts.HTTPS) // a bad address is the listener's to refuse
	for try := 1; ; try++ {
		tcp, err := s.opts.Listen("tcp", s.opts.HTTPS)
		if err != nil || s.opts.DisableHTTP3 {
			return tcp, nil, err
		}
		udp, err := s.listenUDP(s.opts.HTTPS, tcp.Addr())
		if err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close() // nobody has used it
		free := port == "" || port == "0"
		if !free || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// listenUDP binds the host of address with the port of the TCP listener.
func (s *Server) listenUDP(address string, tcp net.Addr) (net.PacketConn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(tcp.String())
	if err != nil {
		return nil, err
	}
	return s.opts.ListenPacket("udp", net.JoinHostPort(host, port))
}

// An addressError says in one line why an address cannot be listened on and what
// to do; it unwraps to the system's error.
type addressError struct {
	text string
	err  error
}

func (e *addressError) Error() string { return e.text }
func (e *addressError) Unwrap() error { return e.err }

// listenError explains err for people. Flag is the name of the setting, or empty.
func listenError(address, flag string, err error) error {
	with := ""
	if flag != "" {
		with = " with " + flag
	}
	var reason string
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		reason = "the port is taken: stop the other program or choose another address" + with
	case errors.Is(err, syscall.EACCES):
		reason = "no permission: allow ports below 1024 (setcap cap_net_bind_service=+ep on the program) or choose a higher port" + with
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		reason = "this machine has no such address: choose another" + with
	default:
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	return &addressError{text: "listen on " + address + ": " + reason, err: err}
}

// portOf returns the port of a bound address, 0 if it has none.
func portOf(a net.Addr) int {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port) // 0 is the answer for nonsense
	return n
}
