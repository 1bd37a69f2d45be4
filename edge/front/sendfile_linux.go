package front

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxSendfile bounds one call; the kernel takes at most 2^31-4096 bytes.
const maxSendfile = 1 << 30

// sendfile sends n bytes of file from off on with sendfile(2) at an explicit offset,
// so any number of connections can send from one descriptor. It waits for room in
// the socket as net.Conn does, up to the write deadline.
func (c *tcpConn) sendfile(file *os.File, off, n int64) (int64, error) {
	in, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	s := sending{stats: c.stats, held: &c.held, off: off, left: n}
	// Control and Write keep both descriptors open while we use their numbers.
	var waitErr error
	err = in.Control(func(fd uintptr) {
		s.in = int(fd)
		for left := s.left; ; left = s.left {
			waitErr = c.raw.Write(s.step)
			if !errors.Is(waitErr, os.ErrDeadlineExceeded) || !c.deadline.again(c.TCPConn, left-s.left) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return n - s.left, err
	case s.unsupported:
		rest, err := copyFileRange(c.TCPConn, file, s.off, s.left)
		return n - s.left + rest, err
	case s.err != nil:
		return n - s.left, s.err
	}
	return n - s.left, waitErr
}

// sending is the state of one sendfile over the waits between its calls.
type sending struct {
	stats       *counters
	held        *atomic.Bool // of the connection
	in          int
	off, left   int64
	err         error
	unsupported bool // the file system cannot, or not any more: what is left has to go in another way
}

// step sends until done, and returns false to be called again when there is room.
func (s *sending) step(out uintptr) bool {
	for s.left > 0 {
		s.stats.sendfileCalls.Add(1)
		k, err := unix.Sendfile(int(out), s.in, &s.off, int(min(s.left, maxSendfile)))
		if k > 0 {
			s.held.Store(false)
			s.left -= int64(k)
			s.stats.sendfileBytes.Add(int64(k))
		}
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP:
			s.unsupported = true
			return true
		case err != nil:
			s.err = os.NewSyscallError("sendfile", err)
			return true
		case k == 0:
			s.err = io.ErrUnexpectedEOF
			return true
		}
	}
	return true
}

// writeMore is a Write with MSG_MORE: the kernel keeps the end of p back until the next
// bytes come, for up to 0.2 s.
func (c *tcpConn) writeMore(p []byte) (int, error) {
	var sent int
	var err error
	waitErr := c.raw.Write(func(fd uintptr) bool {
		for sent < len(p) {
			var n int
			n, err = unix.SendmsgN(int(fd), p[sent:], nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			sent += max(n, 0)
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				err = nil
				return false
			case err != nil:
				err = os.NewSyscallError("sendmsg", err)
				return true
			}
		}
		return true
	})
	if err == nil {
		err = waitErr
	}
	return sent, err
}
