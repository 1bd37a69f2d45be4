package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// protocol is how a viewer speaks.
type protocol string

const (
	h1 protocol = "h1"
	h2 protocol = "h2"
	h3 protocol = "h3"
)

// viewersPerSocket share one UDP socket: enough to need few descriptors, few enough that its buffer does not overflow.
const viewersPerSocket = 64

const dialTimeout = 5 * time.Second

var errDial = errors.New("flood: no connection")

// line is one viewer's connection to one edge; close ends it, also with a request on it that has been given up.
type line struct {
	http.RoundTripper

	close func()
}

// exchange connects viewers to edges. Each line has connections of its own, as viewers do. Safe for concurrent use.
type exchange struct {
	tls    *tls.Config
	dialer func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex // guards the fields below
	sockets map[int]*quic.Transport
}

func newExchange(config *tls.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) *exchange {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &exchange{tls: config, dialer: dial, sockets: map[int]*quic.Transport{}}
}

// connect returns a line of viewer to an edge; it connects with its first request.
func (x *exchange) connect(viewer int, edge *url.URL, p protocol) line {
	if p == h3 && edge.Scheme == "https" {
		return x.udp(viewer)
	}
	protocols := &http.Protocols{}
	if p == h2 && edge.Scheme == "https" {
		protocols.SetHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	t := &http.Transport{
		Protocols: protocols, TLSClientConfig: x.tls.Clone(), DisableCompression: true, MaxIdleConnsPerHost: 1,
		TLSHandshakeTimeout: dialTimeout,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := x.dialer(ctx, network, address)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errDial, err)
			}
			return conn, nil
		},
	}
	return line{RoundTripper: t, close: t.CloseIdleConnections}
}

func (x *exchange) udp(viewer int) line {
	t := &http3.Transport{
		TLSClientConfig: x.tls.Clone(), DisableCompression: true,
		Dial: func(ctx context.Context, address string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			conn, err := x.dialUDP(ctx, viewer, address, config, qc)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errDial, err)
			}
			return conn, nil
		},
	}
	return line{RoundTripper: t, close: func() { _ = t.Close() }} // it has nothing to lose
}

func (x *exchange) dialUDP(ctx context.Context, viewer int, address string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	socket, err := x.socket(viewer / viewersPerSocket)
	if err != nil {
		return nil, err
	}
	return socket.DialEarly(ctx, to, config, qc)
}

func (x *exchange) socket(i int) (*quic.Transport, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if t := x.sockets[i]; t != nil {
		return t, nil
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	x.sockets[i] = &quic.Transport{Conn: conn}
	return x.sockets[i], nil
}

// close ends what the lines share; all lines must be closed.
func (x *exchange) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.sockets {
		_ = t.Close() // nobody is there to be told
		_ = t.Conn.Close()
	}
	clear(x.sockets)
}
