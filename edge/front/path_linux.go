package front

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpPath asks the kernel. Of what was sent while there was nothing more to send, it keeps the rate only where that is higher.
func tcpPath(fd int) (bytesPerSecond int64, rtt time.Duration) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0
	}
	return int64(info.Delivery_rate), time.Duration(info.Rtt) * time.Microsecond
}
