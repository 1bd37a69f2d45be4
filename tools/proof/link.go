package proof

import (
	"context"
	"sync"
	"time"
)

// link is what happens to traffic in one direction between two hosts.
type link struct {
	mu      sync.Mutex // guards the fields below
	cut     bool
	delay   time.Duration
	loss    float64
	changed chan struct{} // closed and replaced at every change
	streams map[*stream]struct{}
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
		l.cut, l.delay, l.loss = l.cut || w.cut, max(l.delay, w.delay), max(l.loss, w.loss)
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

// Heal ends every fault between two hosts: what waited arrives. Heal("*", "*")
// heals all. Healing one link of a host that was cut from "*" heals that link.
func (n *Network) Heal(a, b string) {
	clean := func(l *link) { l.cut, l.delay, l.loss = false, 0, 0 }
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
