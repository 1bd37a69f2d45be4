package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/tools/proof"
)

// attack is one way to make a node work.
type attack struct {
	name    string
	honest  proof.Protocol // of the client that asks meanwhile
	workers int            // how many do it at once; 0: 4
	// networks is how many networks its connections come from in turn, at most 200; 0: one.
	networks int
	ratio    float64 // our CPU for each second of theirs, at most; 0: attackRatio
	// once does it on one connection, and counts in s.units. It is called again and again until ctx ends.
	once func(ctx context.Context, s *sender) error
}

// sender is the attacker.
type sender struct {
	attack      attack
	http, https string
	from        net.IP
	tls         *tls.Config

	units, connections, failed atomic.Int64
	mu                         sync.Mutex // guards the field below
	err                        error
	stop                       func() // ends what runs, and waits
}

// newSender takes the name of an attack, the addresses of the node, and its own.
func newSender(args []string) *sender {
	s := &sender{http: args[2], https: args[3], from: net.ParseIP(args[4])}
	// What costs it least: it looks at no certificate, has one curve, and takes up sessions.
	s.tls = &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: tls.NewLRUClientSessionCache(0)} //nolint:gosec // as it says
	for _, a := range attacks {
		if a.name == args[1] {
			s.attack = a
		}
	}
	return s
}

func (s *sender) play(words []string) any {
	if words[0] == "off" {
		s.stop()
		r := sentReport{Units: s.units.Swap(0), Connections: s.connections.Swap(0), Failed: s.failed.Swap(0)}
		if s.err != nil {
			r.Error = s.err.Error()
		}
		return r
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	s.stop = func() { cancel(); all.Wait() }
	for range max(s.attack.workers, 1) {
		all.Go(func() {
			for ctx.Err() == nil {
				s.connections.Add(1)
				if err := s.attack.once(ctx, s); err != nil && ctx.Err() == nil {
					s.failed.Add(1)
					s.mu.Lock()
					s.err = err
					s.mu.Unlock()
				}
			}
		})
	}
	return sentReport{}
}

// dial connects; the connection is reset when its user or ctx ends.
func (s *sender) dial(ctx context.Context, address string) (*net.TCPConn, func(), error) {
	from := s.from
	if n := s.attack.networks; n > 0 {
		from = net.IPv4(127, from.To4()[1], byte(s.connections.Load()%int64(n)), 1)
	}
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext(ctx, "tcp", address)
	if err != nil {
		time.Sleep(time.Millisecond) // no port, or no answer
		return nil, nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, nil, errors.New("no TCP")
	}
	_ = tcp.SetLinger(0)
	_ = tcp.SetWriteBuffer(64 << 10) // what waits in it was sent for nothing
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	return tcp, func() { stop(); _ = tcp.Close() }, nil
}

// dialTLS is dial, and a handshake for a protocol. Raw is what is below.
func (s *sender) dialTLS(ctx context.Context, protocol string) (c *tls.Conn, raw *net.TCPConn, end func(), err error) {
	raw, end, err = s.dial(ctx, s.https)
	if err != nil {
		return nil, nil, nil, err
	}
	config := s.tls.Clone()
	config.NextProtos = []string{protocol}
	config.ServerName = "localhost"
	c = tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		end()
		return nil, nil, nil, err
	}
	return c, raw, end, nil
}

// drop takes what comes until the other side ends, and looks at nothing.
func drop(c net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buffer); err != nil {
			return
		}
	}
}

// flood writes a text of so many units on a connection in the clear again and again, until it is told off, and takes what comes.
func flood(text []byte, units int64) func(context.Context, *sender) error {
	return func(ctx context.Context, s *sender) error {
		c, end, err := s.dial(ctx, s.http)
		if err != nil {
			return err
		}
		defer end()
		go drop(c) // ends with the connection
		for {
			if _, err := c.Write(text); err != nil {
				return nil // so it ends
			}
			s.units.Add(units)
		}
	}
}

// refusedOnce writes a text on a connection of its own, and waits until that ends.
func refusedOnce(text []byte) func(context.Context, *sender) error {
	return func(ctx context.Context, s *sender) error {
		c, end, err := s.dial(ctx, s.http)
		if err != nil {
			return err
		}
		defer end()
		_, _ = c.Write(text) // it may be told off meanwhile
		s.units.Add(1)
		drop(c)
		return nil
	}
}

// slowly writes a text a byte a second.
func slowly(text string) func(context.Context, *sender) error {
	return func(ctx context.Context, s *sender) error {
		c, end, err := s.dial(ctx, s.http)
		if err != nil {
			return err
		}
		defer end()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return nil // so it ends
			}
			s.units.Add(1)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
		drop(c)
		return nil
	}
}

// held writes a text, reads nothing, and stays.
func held(text string) func(context.Context, *sender) error {
	return func(ctx context.Context, s *sender) error {
		c, end, err := s.dial(ctx, s.http)
		if err != nil {
			return err
		}
		defer end()
		_ = c.SetReadBuffer(4 << 10)
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		s.units.Add(1)
		<-ctx.Done()
		return nil
	}
}

// forged lets one socket send packets from many addresses: with IP_PKTINFO the sender of a packet is any address of loopback.
func forged(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + i>>16&0x3f), byte(i >> 8), byte(i)})
}
