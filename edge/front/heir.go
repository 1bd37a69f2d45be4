package front

import (
	"errors"
	"net"
	"os"
)

// errNoHeir is why there is no socket for another process.
var errNoHeir = errors.New("front: there is no UDP socket to share")

// Heir is the UDP socket of a process that is to take over from this one, on the same address. The kernel divides the
// packets between the two sockets by the connection ID: those of connections that this server has always come here. New
// connections come here, too, until Bequeath; from then on to the heir. So each process reads its own socket as ever,
// by the same system calls, and a client that changes its address stays with whom it was.
//
// A server has one heir at a time, and the one before has to be gone.
type Heir struct {
	// File is the socket, for the other process to inherit; the caller closes it.
	File *os.File

	own *net.UDPConn
	ids connIDs
}

// Heir makes the socket. It needs Listen, and a kernel that can divide packets: Linux. An error that is
// errors.ErrUnsupported tells that this one cannot; it is nil with a nil Heir where the server has no HTTP/3.
func (s *Server) Heir() (*Heir, error) {
	s.mu.Lock()
	udp := s.sockets.udp
	s.mu.Unlock()
	if udp == nil {
		return nil, nil
	}
	own, ok := udp.(*net.UDPConn)
	if !ok {
		return nil, errNoHeir
	}
	file, err := shareAddress(own)
	if err != nil {
		return nil, err
	}
	h := &Heir{File: file, own: own, ids: s.ids}
	if err := errors.Join(h.Retain(), emptySocket(file)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return h, nil
}

// Bequeath has new connections go to the heir.
func (h *Heir) Bequeath() error { return divide(h.own, h.ids.mark(), false) }

// Retain takes that back. What waits in the heir's socket is lost when that is closed, as packets may be.
func (h *Heir) Retain() error { return divide(h.own, h.ids.mark(), true) }
