package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/cluster"
)

// Names of a node's sockets. HTTPS, gossip and wan are two each: a listener, and one for packets.
const (
	socketHTTP   = "http"
	socketHTTPS  = "https"
	socketAdmin  = "admin"
	socketPeer   = "peer"
	socketGossip = "gossip"
	socketWAN    = "wan"
)

// A socket is one that a process can give to another.
type socket struct {
	Name    string `json:"name"`    // one of the above
	Packets bool   `json:"packets"` // UDP
	Address string `json:"address"` // as configured; "" fits every configuration

	file *os.File
}

// sockets are those that the process was given, by systemd or by the process that it takes over from, until they are used,
// and those that it uses, to be given to the next.
type sockets struct {
	mu    sync.Mutex // guards the fields below
	given []socket
	used  []usedSocket
}

type usedSocket struct {
	socket
	from syscall.Conn
}

// listener is net.Listen for the socket of that name.
func (s *sockets) listener(name, address string) (net.Listener, error) {
	file := s.take(name, address, false)
	if file == nil {
		l, err := net.Listen("tcp", address) //nolint:noctx // binding does not wait
		if err == nil {
			s.note(name, address, false, l)
		}
		return l, err
	}
	l, err := net.FileListener(file)
	_ = file.Close() // l has its own copy
	if err == nil {
		s.note(name, address, false, l)
	}
	return l, err
}

// packets is net.ListenPacket for the socket of that name; configured is its address in the configuration.
func (s *sockets) packets(name, configured, address string) (net.PacketConn, error) {
	if file := s.take(name, configured, true); file != nil {
		c, err := net.FilePacketConn(file)
		_ = file.Close() // c has its own copy
		if err == nil {
			s.note(name, configured, true, c)
		}
		return c, err
	}
	c, err := net.ListenPacket("udp", address) //nolint:noctx // binding does not wait
	if err == nil {
		s.note(name, configured, true, c)
	}
	return c, err
}

// take finds what was given, nil if there is none.
func (s *sockets) take(name, address string, packets bool) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.given, func(g socket) bool {
		return g.Name == name && g.Packets == packets && (g.Address == "" || g.Address == address)
	})
	if i < 0 {
		return nil
	}
	file := s.given[i].file
	s.given = slices.Delete(s.given, i, i+1)
	return file
}

// note remembers what is used. A later one of the same name takes the place of an earlier.
func (s *sockets) note(name, address string, packets bool, from any) {
	conn, ok := from.(syscall.Conn)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = slices.DeleteFunc(s.used, func(u usedSocket) bool { return u.Name == name && u.Packets == packets })
	s.used = append(s.used, usedSocket{socket{Name: name, Packets: packets, Address: address}, conn})
}

// copies are what another process is to get, but the socket of QUIC's packets, which is not to be shared. The caller closes
// them.
func (s *sockets) copies() ([]socket, error) {
	s.mu.Lock()
	used := slices.Clone(s.used)
	s.mu.Unlock()
	var all []socket
	for _, u := range used {
		if u.Name == socketHTTPS && u.Packets {
			continue
		}
		file, err := copySocket(u.from, u.Name)
		if err != nil {
			closeSockets(all)
			return nil, fmt.Errorf("copy the socket of %s: %w", u.Name, err)
		}
		u.file = file
		all = append(all, u.socket)
	}
	return all, nil
}

// copySocket makes a copy for another process. The File method of connections and listeners would do so too, but what it
// returns turns the socket, of which there is only one, to blocking when it is given to a process: then an Accept that waits
// in this one does not end with Close.
func copySocket(from syscall.Conn, name string) (*os.File, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// address is what a socket was configured with, "" where there is none of that name.
func (s *sockets) address(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.used {
		if u.Name == name {
			return u.Address
		}
	}
	return ""
}

// rest closes what was given and is not used, and lists it.
func (s *sockets) rest() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.given {
		names = append(names, g.Name)
	}
	closeSockets(s.given)
	s.given = nil
	return names
}

func closeSockets(all []socket) {
	for _, s := range all {
		_ = s.file.Close() // nothing was written
	}
}

// front opens the listeners of a front.Server: the one in the clear, where there is one, comes first.
func (s *sockets) front(http bool) func(network, address string) (net.Listener, error) {
	return func(_, address string) (net.Listener, error) {
		name := socketHTTPS
		if http {
			http, name = false, socketHTTP
		}
		return s.listener(name, address)
	}
}

// named opens listeners of one name.
func (s *sockets) named(name string) func(network, address string) (net.Listener, error) {
	return func(_, address string) (net.Listener, error) { return s.listener(name, address) }
}

// gossip is the network of a pool of members.
func (s *sockets) gossip(name, configured string) cluster.Network {
	return cluster.Sockets{
		Streams: func(address string) (net.Listener, error) { return s.listener(name, address) },
		Packets: func(address string) (net.PacketConn, error) { return s.packets(name, configured, address) },
	}
}
