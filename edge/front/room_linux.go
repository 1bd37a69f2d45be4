package front

import "golang.org/x/sys/unix"

// roomOf returns the size of a piece for which a TCP socket has room, 0 if it is better to
// wait: copyBytes where twice as much is free, as what lies in the socket takes more than
// its length; else leastPiece if the kernel says that a third of the buffer is free. queued is
// what the client has not acknowledged. Hot path: two system calls.
func roomOf(fd int) (n, queued int) {
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return copyBytes, 0 // the write tells
	}
	queued, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil || size-queued >= 2*copyBytes && queued <= size/2 {
		return copyBytes, queued
	}
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds[:], 0); n == 0 && err == nil {
		return 0, queued
	}
	return leastPiece, queued
}
