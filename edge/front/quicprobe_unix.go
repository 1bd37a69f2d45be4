//go:build unix

package front

import "golang.org/x/sys/unix"

// hasECN tells whether a packet is marked for ECN, or marked as not.
func hasECN(oob []byte) bool {
	for len(oob) > 0 {
		head, _, rest, err := unix.ParseOneSocketControlMessage(oob)
		switch {
		case err != nil:
			return false
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_TOS, head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_TCLASS:
			return true
		}
		oob = rest
	}
	return false
}
