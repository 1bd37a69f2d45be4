package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// shareAddress binds another socket to the address of own. SO_REUSEPORT is set only now: as long as there is no
// heir nobody can take packets of the port.
func shareAddress(own *net.UDPConn) (*os.File, error) {
	share := func(_, _ string, raw syscall.RawConn) error {
		return onSocket(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}
	raw, err := own.SyscallConn()
	if err == nil {
		err = share("", "", raw)
	}
	if err != nil {
		return nil, fmt.Errorf("front: share the UDP address: %w", err)
	}
	config := net.ListenConfig{Control: share}
	heir, err := config.ListenPacket(context.Background(), "udp", own.LocalAddr().String())
	if err != nil {
		return nil, fmt.Errorf("front: bind a second socket to %s: %w", own.LocalAddr(), err)
	}
	defer func() { _ = heir.Close() }() // the file below is its copy
	file, err := heir.(*net.UDPConn).File()
	if err != nil {
		return nil, fmt.Errorf("front: copy the second socket: %w", err)
	}
	return file, nil
}

// divide has the kernel choose between the two sockets of an address: own was bound first, so it is number 0.
func divide(own *net.UDPConn, mark uint32, all bool) error {
	other := uint32(1)
	if all {
		other = 0
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},                            // RFC 8999, 5: the first bit tells the form of the header;
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x80, SkipFalse: 2},   // the ID that the packet is for begins
		bpf.LoadAbsolute{Off: 6, Size: markBytes}, bpf.Jump{Skip: 1}, // behind version and length in a long one,
		bpf.LoadAbsolute{Off: 1, Size: markBytes},                // at once in a short one
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: mark, SkipFalse: 1}, // (what is too short for that is for number 0)
		bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: other},
	})
	if err != nil {
		return fmt.Errorf("front: assemble the filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	raw, err := own.SyscallConn()
	if err == nil {
		err = onSocket(raw, func(fd int) error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		})
	}
	if err != nil {
		return fmt.Errorf("front: divide packets between two sockets: %w", err)
	}
	return nil
}

// emptySocket empties a socket: what came between its bind and its filter is another's, and would be answered with resets.
func emptySocket(socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return onSocket(raw, func(fd int) error {
		for {
			_, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
			if errors.Is(err, unix.EAGAIN) {
				return nil
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}

func onSocket(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
