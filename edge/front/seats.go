package front

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Connections bounds how many connections there may be. A number that is 0 bounds nothing.
type Connections struct {
	Total   int // of all clients, TCP and QUIC; where they are all there, the one that is idle for longest gives way
	Client  int // of one address; of IPv6 the first 64 bits, for a client has all addresses below them
	Network int // of all addresses that share the first IPv4Bits or IPv6Bits

	IPv4Bits, IPv6Bits int            // 0: 24 and 56
	Exempt             []netip.Prefix // who is in them counts for Total alone, and has no penalty

	Penalty       time.Duration  // the longest that who floods gets no new connection; 0: there is no penalty
	PenaltyExempt []netip.Prefix // who has none
}

const (
	clientBits4, clientBits6   = 32, 64 // RFC 6177, 2
	networkBits4, networkBits6 = 24, 56

	// givingWay is how many connections are found at once that may give way: to look at 10,000 takes a tenth of a
	// millisecond, and a flood asks often.
	givingWay = 64
	// searchEvery is how often they are looked for at most where there were none.
	searchEvery = 10 * time.Millisecond
)

// seats are the connections that there are. A mutex for what connections do when they come and go; what a request
// changes is an atomic of its seat.
type seats struct {
	now func() time.Time // for penalties

	refusals  *refusals
	gaveWay   atomic.Int64
	penalties atomic.Int64
	told      seldom       // of penalties
	accepted  atomic.Int64 // over TCP
	atOnce    int64        // of them; see acceptedAtOnce
	short     atomic.Int64 // times that the system had no descriptor, or no memory, for a connection, or that one was in error

	mu       sync.Mutex // guards the fields below
	limits   Connections
	all      map[*seat]struct{}
	clients  map[netip.Prefix]int // has an entry for each that has a seat
	networks map[netip.Prefix]int
	oldest   []*restingSeat // may give way, the first one last; found when the list was made
	searched time.Time      // when there were none

	offenders map[netip.Prefix]*offender // at most maxOffenders
	forgot    time.Time                  // when some were last looked for
}

// seat is the place of one connection. A nil one is of a connection that does not count.
type seat struct {
	of   *seats
	idle atomic.Int64 // since when it has no request, from accept on, nanoseconds since 1970; 0: it has one, or cannot be closed yet
	used atomic.Bool  // it has had a request, or its end is another's doing: see ended

	// The fields below are guarded by seats.mu.
	left            bool
	named           bool // client and network count
	client, network netip.Prefix
	innocent        bool         // whatever it does is no offence
	end             func()       // closes the connection, and does not wait
	rest            func() int64 // what to ask instead of idle; nil: idle
}

// restingSeat is a seat that was idle since then.
type restingSeat struct {
	*seat
	since int64
}

func newSeats(c Connections, r *refusals) *seats {
	return &seats{now: time.Now, refusals: r, atOnce: acceptedAtOnce * int64(runtime.GOMAXPROCS(0)), limits: c, all: map[*seat]struct{}{}, clients: map[netip.Prefix]int{}, networks: map[netip.Prefix]int{}, offenders: map[netip.Prefix]*offender{}}
}

// set changes the limits. Connections that are there stay.
func (g *seats) set(c Connections) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = c
}

// count returns how many connections there are, and may be.
func (g *seats) count() (open, limit int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(len(g.all)), int64(g.limits.Total)
}

// enter gives a connection from addr its seat, or nil, which is counted. end closes the connection, and does not wait; where it
// is nil the connection gives no way before become.
// Known is false behind a balancer: name follows.
func (g *seats) enter(addr net.Addr, known bool, end func()) *seat {
	ip := ipOf(addr)
	s := &seat{of: g, end: end}
	if end != nil {
		s.idle.Store(time.Now().UnixNano()) // a handshake asks for nothing
	}
	g.mu.Lock()
	why := allowed
	if known {
		why = g.nameLocked(s, ip)
	}
	var way *seat
	if why == allowed && g.limits.Total > 0 && len(g.all) >= g.limits.Total {
		if way = g.giveWayLocked(time.Now()); way == nil {
			why = connectionTotal
			g.unnameLocked(s)
		}
	}
	if why == allowed {
		g.all[s] = struct{}{}
	}
	g.mu.Unlock()
	if why != allowed {
		g.refusals.add(why, addr.String())
		return nil
	}
	way.close()
	return s
}

// name tells from whom a connection is whose balancer has said so. It is false where that client has too many.
func (s *seat) name(addr net.Addr) bool {
	if s == nil {
		return true
	}
	s.of.mu.Lock()
	why := s.of.nameLocked(s, ipOf(addr))
	s.of.mu.Unlock()
	if why != allowed {
		s.of.refusals.add(why, addr.String())
	}
	return why == allowed
}

func (g *seats) nameLocked(s *seat, ip netip.Addr) reason {
	if !ip.IsValid() || s.left || s.named {
		return allowed
	}
	client, network := clientBits6, cmp.Or(g.limits.IPv6Bits, networkBits6)
	if ip.Is4() {
		client, network = clientBits4, cmp.Or(g.limits.IPv4Bits, networkBits4)
	}
	s.client, _ = ip.Prefix(client) // the bits are in range
	s.network, _ = ip.Prefix(network)
	exempt := contains(g.limits.Exempt, ip)
	s.innocent = exempt || contains(g.limits.PenaltyExempt, ip)
	switch {
	case exempt:
		return allowed
	case !s.innocent && g.penalisedLocked(s.client, s.network):
		return penalty
	case g.limits.Client > 0 && g.clients[s.client] >= g.limits.Client:
		return connectionClient
	case g.limits.Network > 0 && g.networks[s.network] >= g.limits.Network:
		return connectionNetwork
	}
	s.named = true
	g.clients[s.client]++
	g.networks[s.network]++
	return allowed
}

func contains(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func (g *seats) unnameLocked(s *seat) {
	if s.named {
		s.named = false
		takeOne(g.clients, s.client)
		takeOne(g.networks, s.network)
	}
}

func takeOne(counts map[netip.Prefix]int, of netip.Prefix) {
	if counts[of]--; counts[of] == 0 {
		delete(counts, of)
	}
}

// giveWayLocked takes its seat from the connection that is idle for longest, nil where none is. The caller closes it.
func (g *seats) giveWayLocked(now time.Time) *seat {
	for range 2 {
		for len(g.oldest) > 0 {
			s := g.oldest[len(g.oldest)-1]
			g.oldest = g.oldest[:len(g.oldest)-1]
			if !s.left && s.restsLocked() == s.since {
				g.gaveWay.Add(1)
				s.use()
				g.leaveLocked(s.seat)
				return s.seat
			}
		}
		if now.Sub(g.searched) < searchEvery {
			return nil
		}
		g.searchLocked()
	}
	g.searched = now
	return nil
}

// searchLocked finds who may give way.
func (g *seats) searchLocked() {
	var idle []*restingSeat
	for s := range g.all {
		if since := s.restsLocked(); since > 0 {
			idle = append(idle, &restingSeat{seat: s, since: since})
		}
	}
	slices.SortFunc(idle, func(a, b *restingSeat) int { return cmp.Compare(a.since, b.since) })
	g.oldest = idle[:min(len(idle), givingWay)]
	slices.Reverse(g.oldest)
}

func (s *seat) restsLocked() int64 {
	if s.rest != nil {
		return s.rest()
	}
	return s.idle.Load()
}

// giveWay closes the connection that is idle for longest; false where none is.
func (g *seats) giveWay() bool {
	g.mu.Lock()
	way := g.giveWayLocked(time.Now())
	g.mu.Unlock()
	way.close()
	return way != nil
}

// close ends the connection. Its seat is free already.
func (s *seat) close() {
	if s != nil && s.end != nil {
		s.end()
	}
}

// leave gives the seat back. Called again it does nothing.
func (s *seat) leave() {
	if s == nil {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.leaveLocked(s)
}

func (g *seats) leaveLocked(s *seat) {
	if s.left {
		return
	}
	s.left = true
	delete(g.all, s)
	g.unnameLocked(s)
}

// become says how a connection that takes its time to become one is closed, and since when it is idle.
func (s *seat) become(end func(), rest func() int64) {
	if s == nil {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.end, s.rest = end, rest
}

// use notes that the connection has a request. Hot path: two atomics, one of them for the first request only.
func (s *seat) use() {
	if s != nil && !s.used.Load() {
		s.used.Store(true)
	}
}

// ended counts a connection that has ended without a request, where it was its client that left, or was too slow.
func (s *seat) ended(points int) {
	if s != nil && !s.used.Load() {
		s.offend(points)
	}
}

// state notes what net/http says of the connection. Hot path: the clock, and no lock.
func (s *seat) state(state http.ConnState) {
	switch {
	case s == nil:
	case state == http.StateNew, state == http.StateIdle: // who has asked for nothing yet is as idle
		s.idle.Store(time.Now().UnixNano())
	default:
		s.idle.Store(0)
	}
}

// seated is a connection that has a seat.
type seated interface{ place() *seat }

// accept takes the next connection that gets a seat; those that get none it closes, with a reset, which leaves nothing of
// them in the kernel. Where the system has no descriptor left it closes idle connections, and waits, longer each time, for
// others to end. Its error is for ever.
func (g *seats) accept(l net.Listener, gate *proxyGate, stop <-chan struct{}) (net.Conn, *seat, error) {
	if g.accepted.Add(1)%g.atOnce == 0 {
		time.Sleep(acceptedPause)
	}
	refused := 0
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			if s := g.enter(c.RemoteAddr(), !gate.knows(c.RemoteAddr()), func() { _ = c.Close() }); s != nil {
				return c, s, nil
			}
			reset(c)
			if refused++; refused%refusedAtOnce == 0 {
				time.Sleep(refusedPause)
			}
			continue
		}
		passes, short := acceptsAgain(err)
		if !passes {
			return nil, nil, err
		}
		g.short.Add(1)
		if pause = min(max(2*pause, leastPause), longestPause); short && g.giveWay() {
			pause = leastPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return nil, nil, net.ErrClosed
		}
	}
}

// acceptsAgain tells whether an error of accept(2) passes, and whether it says that the system is short of something. Among those
// that pass are errors of the connection that waited, which Linux tells there, and a firewall's.
func acceptsAgain(err error) (passes, short bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false, false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS:
		return true, true
	case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EFAULT: // the listener is none
		return false, false
	default:
		return true, false
	}
}

// leastPause and longestPause are how long nothing is accepted after an error.
const leastPause, longestPause = 5 * time.Millisecond, 250 * time.Millisecond

// So many connections are accepted for each processor, and then there is a pause, in which the poller is asked for what the
// connections that are there have sent: while there is something to run it is not, but each 10 ms. Under a flood of connections from
// 200 networks those who asked meanwhile waited 1.9 to 3.2 ms (p99), without pauses 4.5 to 13 (TestAttacks in tools/weir); with
// pauses of 50 microseconds 3.6 to 6.7. Two processors still accepted 9,000 to 18,000 in a second.
const (
	acceptedAtOnce = 4
	acceptedPause  = 200 * time.Microsecond
)

// Of connections that get no seat so many are closed one after the other, and then there is a pause. A flood of them never lets
// a goroutine that accepts wait, and while it does not the requests of others wait for the poller: with it their p99 under
// floods of connections was 4 ms, without it 6 to 45 ms (TestAttacks in tools/weir, eight at once).
const (
	refusedAtOnce = 8
	refusedPause  = time.Millisecond
)

// reset closes a connection that nobody has used.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a closed connection is as good
	}
	_ = c.Close()
}

// ipOf is the address without its port; the zero value where it has none.
func ipOf(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// stopper is a channel that is closed once.
type stopper struct {
	once sync.Once
	done chan struct{}
}

func newStopper() *stopper { return &stopper{done: make(chan struct{})} }

func (s *stopper) stop() { s.once.Do(func() { close(s.done) }) }
