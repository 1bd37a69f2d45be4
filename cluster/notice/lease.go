package notice

import (
	"maps"
	"math"
	"slices"
	"time"
)

// contact tells how long ago a node has had, itself or by way of others, all that another one knew.
type contact struct {
	Node string        `json:"node"`
	Ago  time.Duration `json:"ago"` // nanoseconds, while that one was not young; never if negative
	Met  time.Duration `json:"met"` // the same, whatever it was
}

// maxContacts bounds the members that are known; a cluster of one region has a tenth of that.
const maxContacts = 4096

const never = -1

func (c contact) valid() bool {
	return c.Node != "" && len(c.Node) <= maxName && c.Ago >= never && c.Met >= never
}

// lease is what a node knows of how much it can have missed. It is guarded by Board.mu.
type lease struct {
	members  map[string]seen      // the last known ones, without this node
	contacts map[string]time.Time // up to when all is known here that each of them knew while it was not young
	met      map[string]time.Time // the same, whatever it was
	// young tells that this node may have acknowledged what it has forgotten: it was killed. It has obeyed that, but
	// cannot tell others of it until it has met as many members as hold all that a majority knew, with or without it.
	young bool
}

func newLease() lease {
	return lease{members: map[string]seen{}, contacts: map[string]time.Time{}, met: map[string]time.Time{}, young: true}
}

// seen is when a member was last among the peers and not lost.
type seen struct {
	lost bool
	at   time.Time
}

// Doubt returns the time before which a fetch from the origin must have begun for a response to be validated before it
// is used: a notice about it may be unknown here. It is the zero time, for no response at all, as long as this node has
// exchanged notices with a majority of the members, itself among them, within Options.Lease, or stands alone.
//
// Hot path: one atomic load.
func (b *Board) Doubt(now time.Time) time.Time {
	if now.Sub(b.start) < time.Duration(b.abreast.Load()) {
		return time.Time{}
	}
	return now.Add(-b.options.Lease)
}

// Majority returns of how many nodes this one knows what they knew within Options.Lease, and how many there are, itself
// included in both.
func (b *Board) Majority() (have, all int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.lease.members {
		if at, ok := b.lease.contacts[name]; ok && now.Sub(at) < b.options.Lease {
			have++
		}
	}
	return have + 1, len(b.lease.members) + 1
}

// touch notes after an exchange, asked for at a time, that all is known here that the other node knew then, and so all
// that it had from others.
func (b *Board) touch(with Peer, its *answer, asked time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !its.Young {
		note(b.lease.contacts, with.Name, asked, 0)
	}
	note(b.lease.met, with.Name, asked, 0)
	for _, c := range its.Contacts {
		if c.Node == b.self.Node {
			continue
		}
		note(b.lease.contacts, c.Node, asked, c.Ago)
		note(b.lease.met, c.Node, asked, c.Met)
		// One that this node has never met, because it was lost before this one came, counts too.
		if _, known := b.lease.members[c.Node]; !known && b.options.Lease > 0 && len(b.lease.members) < maxContacts {
			b.lease.members[c.Node] = seen{lost: true, at: asked}
		}
	}
}

// note keeps the latest time of a contact that was so long before asked.
func note(contacts map[string]time.Time, name string, asked time.Time, ago time.Duration) {
	at, known := contacts[name]
	if ago != never && (known || len(contacts) < maxContacts) && asked.Add(-ago).After(at) {
		contacts[name] = asked.Add(-ago)
	}
}

// reckon brings the members up to date, and says until when this node is abreast.
func (b *Board) reckon() {
	peers := b.options.Peers()
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.lease.members)
	held := b.Doubt(now).IsZero()
	b.lease.meet(peers, held || b.options.Lease == 0, now, b.options.Keep)
	b.lease.mature(b.start)
	b.unsaved = b.unsaved || len(b.lease.members) != before
	until := b.lease.until(b.options.Lease)
	if until.IsZero() {
		b.abreast.Store(math.MaxInt64)
		return
	}
	b.abreast.Store(int64(until.Sub(b.start)))
}

// meet takes down who is there. Who says farewell is no peer any more, and no member either. Who is lost stays a member
// as long as this node does not hold the lease: it may be the rest of the cluster that lives, and this node that is lost.
func (l *lease) meet(peers []Peer, held bool, now time.Time, keep time.Duration) {
	there := make(map[string]bool, len(peers))
	for _, p := range peers {
		there[p.Name] = true
		at := now
		if old, known := l.members[p.Name]; known && p.Lost {
			at = old.at
		}
		l.members[p.Name] = seen{lost: p.Lost, at: at}
	}
	maps.DeleteFunc(l.members, func(name string, m seen) bool {
		return !there[name] && (held || !m.lost || now.Sub(m.at) > keep)
	})
	for _, contacts := range [...]map[string]time.Time{l.contacts, l.met} {
		maps.DeleteFunc(contacts, func(name string, _ time.Time) bool {
			_, known := l.members[name]
			return !known
		})
	}
}

// mature ends youth when enough others have told what they know since the start.
func (l *lease) mature(start time.Time) {
	if !l.young {
		return
	}
	met := 0
	for _, at := range l.met {
		if !at.Before(start) {
			met++
		}
	}
	// Half of all nodes and this one are a majority: one of those who have acknowledged anything is among the half.
	if met >= (len(l.members)+2)/2 || len(l.members) == 0 {
		l.young = false
	}
}

// until is when the lease ends if nothing more is heard; the zero time for never: there is nobody else.
func (l *lease) until(lasts time.Duration) time.Time {
	needed := (len(l.members) + 1) / 2 // others, to be more than half with this node
	if needed == 0 || lasts == 0 {
		return time.Time{}
	}
	times := make([]time.Time, 0, len(l.members))
	for name := range l.members {
		times = append(times, l.contacts[name]) // the zero time is long ago
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return times[needed-1].Add(lasts)
}

// told is what this node tells others of whom it has heard.
func (l *lease) told(now time.Time) []contact {
	all := make([]contact, 0, len(l.members))
	for name := range l.members {
		c := contact{name, never, never}
		if at, ok := l.contacts[name]; ok {
			c.Ago = age(now, at)
		}
		if at, ok := l.met[name]; ok {
			c.Met = age(now, at)
		}
		all = append(all, c)
	}
	return all
}
