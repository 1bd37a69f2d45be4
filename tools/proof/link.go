package proof

import (
	"context"
	"sync"
	"time"
)

// link is what happens to traffic in one direction between two hosts.
type link struct {
	mu sync.Mutex // guards the fields below
	condition
	free    time.Time     // when what was sent at that rate has crossed
	changed chan struct{} // closed and replaced at every change
	streams map[*stream]struct{}
}

// condition is what is wrong with a link; the zero value is nothing.
type condition struct {
	cut   bool
	delay time.Duration
	loss  float64
	late  time.Duration // of bytes of connections only; Never = they do not arrive
	rate  int64         // bytes per second of all connections together; 0 = no limit
}

// shape makes a condition that of one link.
func (n *Network) shape(from, to string, c condition) {
	l := n.link(from, to)
	l.mu.Lock()
	same := l.condition == c
	l.mu.Unlock()
	if !same {
		l.edit(func(l *link) { l.condition = c })
	}
}

// link returns the link of one direction, made on first use from what "*"
// rules say now.
func (n *Network) link(from, to string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkLocked(from, to)
}

func (n *Network) linkLocked(from, to string) *link {
	p := pair{from, to}
	l := n.links[p]
	if l != nil {
		return l
	}
	l = &link{changed: make(chan struct{}), streams: map[*stream]struct{}{}}
	for _, wide := range []pair{{"*", "*"}, {from, "*"}, {"*", to}} {
		w := n.links[wide]
		if w == nil || wide == p || from == to {
			continue // a host always reaches itself
		}
		w.mu.Lock()
		l.cut, l.delay, l.loss, l.rate = l.cut || w.cut, max(l.delay, w.delay), max(l.loss, w.loss), max(l.rate, w.rate)
		if l.late != Never {
			l.late = w.late
		}
		w.mu.Unlock()
	}
	n.links[p] = l
	return l
}

// Cut stops all traffic between two hosts without a word: what is sent waits
// (or is lost, as a packet), dials hang. After 924 s a connection that holds
// data ends for its writer with ETIMEDOUT. "*" stands for every other host.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay stops the traffic from one host to another only. Dials hang in
// both directions, as their handshake needs both.
func (n *Network) CutOneWay(from, to string) {
	n.change(from, to, func(l *link) { l.cut = true })
}

// Delay makes each byte and packet between two hosts arrive d later; 0 ends
// it. A dial takes one delay each way.
func (n *Network) Delay(a, b string, d time.Duration) {
	n.change(a, b, func(l *link) { l.delay = d })
	n.change(b, a, func(l *link) { l.delay = d })
}

// Loss makes a share of the packets between two hosts vanish, 0 to 1.
// Connections are not concerned: TCP repairs loss.
func (n *Network) Loss(a, b string, share float64) {
	n.change(a, b, func(l *link) { l.loss = share })
	n.change(b, a, func(l *link) { l.loss = share })
}

// Never as the argument of Late: what is sent does not arrive before the heal.
const Never time.Duration = -1

// Late makes each byte of a connection from one host to another arrive d later,
// while packets and dials pass as ever: so a process behaves that hangs, while its
// kernel takes connections and its gossip goes on. 0 ends it.
func (n *Network) Late(from, to string, d time.Duration) {
	n.change(from, to, func(l *link) { l.late = d })
}

// Throttle lets so many bytes per second pass from one host to another, on all
// connections together; packets pass as ever. 0 ends it.
func (n *Network) Throttle(from, to string, bytesPerSecond int64) {
	n.change(from, to, func(l *link) { l.rate, l.free = bytesPerSecond, time.Time{} })
}

// Heal ends every fault between two hosts: what waited arrives. Heal("*", "*")
// heals all. Healing one link of a host that was cut from "*" heals that link.
func (n *Network) Heal(a, b string) {
	clean := func(l *link) { l.condition, l.free = condition{}, time.Time{} }
	n.change(a, b, clean)
	n.change(b, a, clean)
}

// change edits a link and every known link that a "*" covers.
func (n *Network) change(from, to string, edit func(l *link)) {
	n.mu.Lock()
	from, to = n.nameLocked(from), n.nameLocked(to)
	links := []*link{n.linkLocked(from, to)}
	for p, l := range n.links {
		covered := (from == "*" || from == p.from) && (to == "*" || to == p.to)
		if covered && l != links[0] && p.from != p.to {
			links = append(links, l)
		}
	}
	n.mu.Unlock()
	for _, l := range links {
		l.edit(edit)
	}
}

// nameLocked turns an IP into its host's name.
func (n *Network) nameLocked(host string) string {
	if h := n.byIP[host]; h != nil {
		return h.name
	}
	return host
}

func (l *link) edit(edit func(l *link)) {
	l.mu.Lock()
	edit(l)
	close(l.changed)
	l.changed = make(chan struct{})
	streams := make([]*stream, 0, len(l.streams))
	for s := range l.streams {
		streams = append(streams, s)
	}
	l.mu.Unlock()
	for _, s := range streams {
		s.linkChanged()
	}
}

func (l *link) state() (cut bool, delay time.Duration, loss float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut, l.delay, l.loss
}

// holds says whether bytes of connections wait for a heal.
func (l *link) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut || l.late == Never
}

// throttleSteps is in how many pieces the bytes of a second arrive.
const throttleSteps = 10

// piece shortens n bytes to what a throttled link takes at a time.
func (l *link) piece(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 {
		return n
	}
	return min(n, int(max(1, l.rate/throttleSteps)))
}

// arrival says when n bytes of a connection that are sent now arrive; zero: at
// once.
func (l *link) arrival(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, wait := time.Now(), l.delay
	if l.late > 0 {
		wait += l.late
	}
	if l.rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
		wait += l.free.Sub(now)
	}
	if wait == 0 {
		return time.Time{}
	}
	return now.Add(wait)
}

// pass waits until one segment could have crossed.
func (l *link) pass(ctx context.Context) error {
	for {
		l.mu.Lock()
		cut, delay, changed := l.cut, l.delay, l.changed
		l.mu.Unlock()
		if !cut {
			if !pause(ctx, delay, nil) {
				return context.Cause(ctx)
			}
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *link) add(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[s] = struct{}{}
}

func (l *link) remove(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
}

// Reset ends all connections between two hosts for both of them, as a middlebox
// that forgets them does.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	a, b = n.nameLocked(a), n.nameLocked(b)
	var ends []*conn
	for p := range n.conns {
		if p.between == (pair{a, b}) || p.between == (pair{b, a}) {
			ends = append(ends, p.client, p.server)
		}
	}
	n.mu.Unlock()
	for _, c := range ends {
		c.in.fail()
		c.out.fail()
	}
}
