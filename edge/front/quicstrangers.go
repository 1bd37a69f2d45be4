package front

import (
	"encoding/binary"
	"runtime"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// strangerWindow is long enough for what waits in the socket of a busy machine.
	strangerWindow = 100 * time.Millisecond
	// newcomersPerProcessor is how many packets that may begin a connection are read in strangerWindow, for each processor:
	// more than twice the handshakes that one can do.
	newcomersPerProcessor = 250
	// mostLost is how many others are read in strangerWindow: of connections that a process before had, of other versions,
	// and of nothing at all. quic-go answers few of them.
	mostLost = 100
)

// strangers counts packets of no connection of ours: they have another connection ID than we give out. The flood of them
// must not be in the way of the others, who wait behind it in the socket. One goroutine uses it.
type strangers struct {
	mark            uint32 // of our connection IDs
	most            int    // newcomers in strangerWindow
	begun           time.Time
	newcomers, lost int
}

func newStrangers(mark uint32) strangers {
	return strangers{mark: mark, most: newcomersPerProcessor * runtime.GOMAXPROCS(0)}
}

// takes tells whether a packet is to be read. Hot path: no allocation.
func (s *strangers) takes(b []byte, now time.Time) bool {
	const longHeader, version1, version2 = 0x80, 1, 0x6b3343cf // RFC 9000, 15; RFC 9369, 3.1
	at, long := 1, false
	if len(b) > 0 && b[0]&longHeader != 0 {
		at, long = 6, true
	}
	if len(b) >= at+markBytes && binary.BigEndian.Uint32(b[at:]) == s.mark {
		return true
	}
	if now.Sub(s.begun) >= strangerWindow {
		s.begun, s.newcomers, s.lost = now, 0, 0
	}
	if long && len(b) >= probeBytes { // RFC 9000, 14.1
		if v := binary.BigEndian.Uint32(b[1:]); v == version1 || v == version2 {
			s.newcomers++
			return s.newcomers <= s.most
		}
	}
	s.lost++
	return s.lost <= mostLost
}

// ReadBatch reads packets for quic-go, and leaves out strangers beyond their number. Hot path: a look at ten bytes of each.
func (g *pathGuard) ReadBatch(packets []ipv4.Message, flags int) (int, error) {
	for {
		n, err := g.batches.ReadBatch(packets, flags)
		if err != nil || n == 0 {
			return n, err
		}
		now, kept := time.Now(), 0
		for i := range n {
			from, to := &packets[i], &packets[kept]
			if !g.strangers.takes(from.Buffers[0][:from.N], now) {
				continue
			}
			if kept != i { // a buffer stays where it is: quic-go has another reference to it
				to.N, to.NN = copy(to.Buffers[0], from.Buffers[0][:from.N]), copy(to.OOB, from.OOB[:from.NN])
				to.Addr, to.Flags = from.Addr, from.Flags
			}
			kept++
		}
		if kept < n {
			g.refusals.counts[quicStrangers].Add(int64(n - kept - 1))
			g.refusals.add(quicStrangers, packets[n-1].Addr.String())
		}
		if kept > 0 {
			return kept, nil
		}
	}
}
