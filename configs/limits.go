package configs

import (
	"strconv"
)

// leastBandwidth is the slowest that a body may be paced: the least rendition that anybody watches needs as much, and a
// piece goes out several times in the time after which clients take a connection for dead.
const leastBandwidth = 64 * KiB

// leastMemory is what a node needs that does nothing, four times.
const leastMemory = 128 * MiB

// overload checks the bounds of the node as a whole.
func (v *validator) overload() {
	if m := v.c.Node.Memory; m != 0 && m < leastMemory {
		v.bad("node.memory", m, m.String()+" is too little to work with", "write 128MiB or more, or 0 for no bound")
	}
	o := v.c.Overload
	for _, f := range []struct {
		path  string
		value int
	}{{"overload.fetches", o.Fetches}, {"overload.requests", o.Requests}} {
		if f.value < 0 {
			v.bad(f.path, f.value, "is negative", "write how many, or 0 for any number")
		}
	}
	if o.Delay < 0 {
		v.bad("overload.delay", o.Delay, "is negative", "write a time such as 100ms, or 0 to leave it out")
	}
}

// connections checks how many connections clients may have.
func (v *validator) connections() {
	const path = "listen.connections"
	c := v.c.Listen.Connections
	for _, f := range []struct {
		key   string
		value int
		hint  string
	}{
		{".total", c.Total, "write how many, or 0 for as many as there are descriptors for"},
		{".client", c.Client, "write how many, or 0 for any number"},
		{".network", c.Network, "write how many, or 0 for any number"},
	} {
		if f.value < 0 {
			v.bad(path+f.key, f.value, "is negative", f.hint)
		}
	}
	v.networkBits(path, c.IPv4Bits, c.IPv6Bits)
	for i, text := range c.Exempt {
		v.exempt(itemPath(path+".exempt", i), text)
	}
	for i, text := range c.PenaltyExempt {
		v.exempt(itemPath(path+".penalty_exempt", i), text)
	}
}

// siteLimits checks what clients may have of a site.
func (v *validator) siteLimits(path string, l Limits) {
	for _, scope := range []struct {
		name   string
		bounds Bounds
	}{{"client", l.Client}, {"network", l.Network}, {"token", l.Token}, {"site", l.Site}} {
		v.bounds(path+"."+scope.name, scope.bounds)
	}
	v.networkBits(path, l.IPv4Bits, l.IPv6Bits)
	for i, text := range l.Exempt {
		v.exempt(itemPath(path+".exempt", i), text)
	}
}

func (v *validator) bounds(path string, b Bounds) {
	if !(b.Requests >= 0 && b.Requests <= 1e9) { // also when it is not a number
		v.bad(path+".requests", b.Requests, "is out of range", "write how many per second, such as 50, or 0 for no limit")
	}
	for _, f := range []struct {
		key     string
		value   int
		rate    bool
		without string
	}{
		{".burst", b.Burst, b.Requests == 0, ".requests"},
		{".bandwidth_burst", int(b.BandwidthBurst), b.Bandwidth == 0, ".bandwidth"},
		{".concurrent", b.Concurrent, false, ""},
	} {
		switch {
		case f.value < 0:
			v.bad(path+f.key, f.value, "is negative", "write 0 for the default")
		case f.value > 0 && f.rate:
			v.bad(path+f.key, f.value, "is a burst of a rate that is not limited", "set "+path+f.without+" too")
		}
	}
	if b.Bandwidth != 0 && b.Bandwidth < leastBandwidth {
		v.bad(path+".bandwidth", b.Bandwidth, b.Bandwidth.String()+" a second is too slow for a player to wait for", "write 64KiB or more, or 0 for no limit")
	}
}

// networkBits checks how many bits of an address make a network; 0 is the default.
func (v *validator) networkBits(path string, bits4, bits6 int) {
	for _, f := range []struct {
		key         string
		value, most int
	}{{".ipv4_bits", bits4, 32}, {".ipv6_bits", bits6, 64}} {
		if f.value < 0 || f.value > f.most {
			v.bad(path+f.key, f.value, strconv.Itoa(f.value)+" is out of range", "write a number from 1 to "+strconv.Itoa(f.most))
		}
	}
}

func (v *validator) exempt(path, text string) {
	if _, err := ParsePrefix(text); err != nil {
		v.bad(path, text, strconv.Quote(text)+" is neither an address nor a network", `write "10.0.0.1" or "10.0.0.0/24"`)
	}
}
