//go:build !linux

package front

import "time"

func tcpPath(int) (bytesPerSecond int64, rtt time.Duration) { return 0, 0 }
