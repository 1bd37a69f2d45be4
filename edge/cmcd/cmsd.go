package cmcd

import "strconv"

// Hop is what one server tells the player about the way from it: a member of CMSD-Dynamic (CTA-5006).
type Hop struct {
	Name       string // of the server; required
	Throughput int64  // etp: what the connection is thought to carry, kbit/s; 0: unknown
	Most       int64  // mb: the bit rate that the player should not go beyond, kbit/s; 0: none
	Duress     bool   // du: the server is short of something
	RTT        int64  // rtt, ms; negative: unknown
	Delay      int64  // rd: from the request to the first byte of the body, ms; negative: unknown
}

// AppendTo writes the member. The last of the field is the hop nearest to the player: it is appended behind what others said.
//
// Hot path. Allocates nothing but what dst needs.
func (h *Hop) AppendTo(dst []byte) []byte {
	dst = append(dst, '"')
	for i := range len(h.Name) {
		switch c := h.Name[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ' && c < 0x7f:
			dst = append(dst, c)
		}
	}
	dst = append(dst, '"')
	if h.Duress {
		dst = append(dst, ";du"...)
	}
	if h.Throughput > 0 {
		dst = strconv.AppendInt(append(dst, ";etp="...), h.Throughput, 10)
	}
	if h.Most > 0 {
		dst = strconv.AppendInt(append(dst, ";mb="...), h.Most, 10)
	}
	if h.Delay >= 0 {
		dst = strconv.AppendInt(append(dst, ";rd="...), h.Delay, 10)
	}
	if h.RTT >= 0 {
		dst = strconv.AppendInt(append(dst, ";rtt="...), h.RTT, 10)
	}
	return dst
}
