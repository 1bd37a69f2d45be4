package edge

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"weir/cluster/ring"
)

// How many nodes a request may still be passed on to. Each node that is asked gets a
// number below that of the request that made the asker ask, and who has 0 asks the
// origin: whatever the nodes think of their rings, no request goes in a circle.
const (
	hopsClient = 3 // may ask an owner in its zone
	hopsZone   = 2 // asked as that: may ask the shield of the region
	hopsShield = 1 // asked as that: may ask the shield of the origin's region
	hopsHome   = 0 // asked as that
)

const (
	// answerTimeout is how long a client waits for the head of a response at most.
	answerTimeout = 15 * time.Second
	// hopMargin is how much sooner each node gives up than the one that asked it: its
	// answer (stale, or an error that says why) arrives while it is still waited for.
	hopMargin = 500 * time.Millisecond
	// joinPatience is how long a peer's request waits for a fill that may itself wait
	// for that peer, as their rings differ: an owner that does not answer is outrun
	// within it, and the fill is at the origin then.
	joinPatience = 150 * time.Millisecond
)

// Fields that nodes tell each other and nobody else.
const (
	hopsField     = "Weir-Hops"        // in requests: one of the above
	ringField     = "Weir-Ring"        // in requests: the version of the table that the asked node was chosen by
	deadlineField = "Weir-Deadline-Ms" // in requests: how long the asker waits for the head
	hotField      = "Weir-Hot"         // in responses: many ask for this, keep a copy at once
	failedField   = "Weir-Failed"      // in responses: the origin could not be reached; see sayFailed
)

// removeOwn takes the fields of other nodes off what comes from, or goes to, others.
func removeOwn(h http.Header) {
	for _, name := range [...]string{hopsField, ringField, deadlineField, hotField, failedField, fetchedAgo} {
		delete(h, name)
	}
}

// hopsOf reads what another node may still have us do; the least where it does not say.
func hopsOf(h http.Header) int {
	n, err := strconv.Atoi(h.Get(hopsField))
	if err != nil || n < hopsHome || n > hopsZone {
		return hopsHome
	}
	return n
}

// deadlineOf is until when the head of the response is waited for.
func deadlineOf(x *Exchange) time.Time {
	most := answerTimeout - time.Duration(hopsClient-x.hops)*hopMargin
	if x.Peer {
		if ms, err := strconv.ParseInt(x.Request.Header.Get(deadlineField), 10, 32); err == nil && ms >= 0 {
			most = min(most, time.Duration(ms)*time.Millisecond)
		}
	}
	return x.Start.Add(most)
}

// candidate is an upstream to ask.
type candidate struct {
	node    *ring.Node // nil: the origin
	stored  bool       // only for what it has stored
	hops    int        // what it is asked with
	version uint64     // of the table that it was chosen by
}

// reach is how many hops what waits for this candidate may wait for.
func (c candidate) reach() int {
	if c.node == nil || c.stored {
		return 0
	}
	return c.hops + 1
}

// far tells whether it is in another region.
func (c candidate) far() bool { return c.node != nil && !c.stored && c.hops == hopsHome }

// plan is whom a fill asks, in turn; the origin is last.
type plan struct {
	candidates []candidate
	owner      bool // this node holds the key for others, and stores it
}

// plan lists the owners in this node's zone, those of its region's shields, and of
// those of the origin's region, as far as the request may still go; of each table
// only those before this node itself. Where this node is the first, it asks the
// one that held the key before it for what that has stored. but names a peer that
// is not to be asked.
func (e *Edge) plan(f *flight, but string) plan {
	if e.options.Tiers == nil || e.options.Peers == nil {
		return plan{candidates: []candidate{{}}, owner: true}
	}
	t, hash := e.options.Tiers(), f.place.Hash64()
	p := plan{owner: true}
	if f.hops >= hopsZone && t.Zone != t.Shield && !e.first(t.Shield, hash) {
		p.owner = e.stage(&p, f, t.Zone, hopsZone, but)
	}
	if f.hops >= hopsShield {
		mine := e.stage(&p, f, t.Shield, hopsShield, but)
		p.owner = p.owner && (mine || t.Zone != t.Shield || f.hops < hopsClient)
	}
	if home := f.site.Home; f.hops > hopsHome && home != "" && home != e.options.Region && t.Homes[home] != nil {
		p.candidates = append(p.candidates, e.owners(t.Homes[home], hash, hopsHome, but)...)
	}
	p.candidates = append(p.candidates, candidate{})
	return p
}

// stage adds those to ask by one table, with so many hops. Where the request has come
// to this node by that table, or nobody is before it, the key is this node's.
func (e *Edge) stage(p *plan, f *flight, table *ring.Ring, hops int, but string) (mine bool) {
	var owners []candidate
	hash := f.place.Hash64()
	if f.hops > hops {
		owners = e.owners(table, hash, hops, but)
	}
	if len(owners) == 0 {
		owners, mine = e.formerly(table, hash, but), true
	}
	p.candidates = append(p.candidates, owners...)
	return mine
}

// first tells whether this node is the first owner in a table.
func (e *Edge) first(table *ring.Ring, hash uint64) bool {
	owner := table.Owner(hash)
	return owner != nil && owner.Name == e.options.Name
}

// owners are those before this node; the second goes first where the first has more
// than its share of what we ask.
func (e *Edge) owners(table *ring.Ring, hash uint64, hops int, but string) (list []candidate) {
	for owner := range table.Owners(hash) {
		if owner.Name == e.options.Name {
			break
		}
		if e.askable(owner, but) {
			list = append(list, candidate{node: owner, hops: hops, version: table.Version()})
		}
	}
	if len(list) > 1 && e.options.Peers.Crowded(list[0].node.Name, table.Len()) {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

func (e *Edge) askable(n *ring.Node, but string) bool {
	return n.Name != e.options.Name && n.Addr != "" && n.Name != but && e.options.Peers.Usable(n.Name)
}

// formerly is the node that owned the key in a table until a short while ago: one
// that drains, or, where this node is new, the one that would own it without this
// node, which is the next on the list (rendezvous hashing). It is asked for what it
// has stored alone.
func (e *Edge) formerly(table *ring.Ring, hash uint64, but string) []candidate {
	former := table.Former(hash)
	if former == nil && !e.options.Joined.IsZero() && time.Since(e.options.Joined) <= handoverTime {
		for n := range table.Owners(hash) {
			if n.Name != e.options.Name {
				former = n
				break
			}
		}
	}
	if former == nil || !e.askable(former, but) {
		return nil
	}
	return []candidate{{node: former, stored: true, version: table.Version()}}
}

// agree counts requests of nodes that see other nodes than this one does: they are
// served all the same.
func (e *Edge) agree(x *Exchange) {
	if e.options.Tiers == nil || x.hops == hopsHome {
		return // asked from another region, or only for what is stored
	}
	theirs, err := strconv.ParseUint(x.Request.Header.Get(ringField), 16, 64)
	if err != nil {
		return
	}
	t := e.options.Tiers()
	mine := t.Shield
	if x.hops == hopsZone {
		mine = t.Zone
	}
	if mine.Version() != theirs {
		e.disagreed.Add(1)
	}
}

// Disagreements counts the requests of other nodes whose tables were not this node's: some for a moment after each
// change of members.
func (e *Edge) Disagreements() int64 { return e.disagreed.Load() }

// heat counts what peers ask for, so that they can be told to keep a copy of what is
// hot. One counter a second for each key, shared by keys that fall together: at worst
// something is copied one request early. Safe for concurrent use.
type heat [4096]atomic.Uint64 // the second, and the count in the lowest 16 bits

// hotPerSecond is how often peers ask for one key within a second before it is hot: a
// node of ten that keeps a copy then takes 5 requests a second off this one at least.
const hotPerSecond = 50

// hot counts a request.
//
// Hot path: one atomic exchange.
func (h *heat) hot(hash uint64, now time.Time) bool {
	counter, second := &h[hash%uint64(len(h))], uint64(now.Unix())<<16
	for {
		old := counter.Load()
		next := second + 1
		if old&^0xffff == second {
			if next = old + 1; next&0xffff == 0 {
				return true // full for this second
			}
		}
		if counter.CompareAndSwap(old, next) {
			return next&0xffff > hotPerSecond
		}
	}
}
