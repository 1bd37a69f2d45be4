package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/configs"
)

// activated returns the sockets that a service manager has bound for this process (sd_listen_fds(3)). They are told apart by
// FileDescriptorName, which is that of one of our sockets.
func activated() ([]socket, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil, usageError{fmt.Errorf("LISTEN_FDS: %w", err)}
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name) // they are for nobody else
	}
	if len(names) != count {
		return nil, usageError{fmt.Errorf("%d sockets are given and %d names: set FileDescriptorName in each socket unit", count, len(names))}
	}
	var all []socket
	for i, name := range names {
		fd := firstDescriptor + i // SD_LISTEN_FDS_START
		syscall.CloseOnExec(fd)
		switch name {
		case socketHTTP, socketHTTPS, socketAdmin, socketPeer, socketGossip, socketWAN:
		default:
			return nil, usageError{fmt.Errorf("a socket is given as %q: FileDescriptorName is one of http, https, admin, peer, gossip, wan", name)}
		}
		kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
		if err != nil {
			return nil, fmt.Errorf("the socket that is given as %s: %w", name, err)
		}
		all = append(all, socket{Name: name, Packets: kind == syscall.SOCK_DGRAM, file: os.NewFile(uintptr(fd), name)})
	}
	return all, nil
}

// notifier tells the service manager how the process is (sd_notify(3)). A nil one tells nobody.
type notifier struct {
	address *net.UnixAddr
	log     *slog.Logger
}

// newNotifier is nil where nobody wants to know.
func newNotifier(log *slog.Logger) *notifier {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	return &notifier{&net.UnixAddr{Name: name, Net: "unixgram"}, log} // net knows @ as the mark of an abstract name
}

// say sends assignments such as READY=1. It does not wait.
func (n *notifier) say(assignments ...string) {
	if n == nil {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, n.address)
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(assignments, "\n")))
		_ = conn.Close() // the datagram is out
	}
	if err != nil {
		n.log.Warn("the service manager cannot be told how this process is", "error", err)
	}
}

// reloading is what Type=notify-reload wants to hear first; it compares the time with its own.
func (n *notifier) reloading() {
	if n == nil {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return // then the reload counts as done at READY=1
	}
	n.say("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

// watchdogEvery is how often the service manager wants a sign of life; 0: never. Half of what it allows, as sd_notify(3) has it.
func watchdogEvery() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	micro, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || micro <= 0 {
		return 0
	}
	return time.Duration(micro) * time.Microsecond / 2
}

// watchdog gives signs of life as long as this node answers requests on its own listener, until ctx ends.
func (n *node) watchdog(ctx context.Context) error {
	if n.options.notify == nil || n.options.watchdog <= 0 {
		return nil
	}
	tick := time.NewTicker(n.options.watchdog)
	defer tick.Stop()
	for {
		switch err := n.answers(ctx, n.options.watchdog); {
		case err == nil:
			n.options.notify.say("WATCHDOG=1")
		case ctx.Err() == nil:
			n.log.Error("this node does not answer itself: the service manager gets no sign of life", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// answers asks the node's own listener for what is not stored, and may not be fetched: any response is an answer.
func (n *node) answers(ctx context.Context, within time.Duration) error {
	scheme, address := "http://", n.public.HTTPAddr()
	if address == "" {
		scheme, address = "https://", n.public.HTTPSAddr()
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+reachable(address)+"/.well-known/weir-watchdog", http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Cache-Control", "only-if-cached") // RFC 9111, 5.2.1.7
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it is ourselves
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err == nil && n.balancer(conn.LocalAddr()) {
				_, err = conn.Write([]byte("PROXY UNKNOWN\r\n")) // as a balancer that asks for itself
			}
			return conn, err
		},
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// balancer tells whether connections from addr must begin with a PROXY protocol header.
func (n *node) balancer(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && slices.ContainsFunc(n.config.Listen.ProxyProtocol, func(text string) bool {
		prefix, err := configs.ParsePrefix(text)
		return err == nil && prefix.Contains(tcp.AddrPort().Addr().Unmap())
	})
}

// reachable is an address at which this machine reaches what is bound to a.
func reachable(a string) string {
	host, port, err := net.SplitHostPort(a)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return a
}
