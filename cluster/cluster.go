package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"weir/cluster/ring"
)

// Cluster is this node's view of the nodes it works with. All methods may be called at the same time.
type Cluster struct {
	options  Options
	log      *slog.Logger
	seedPort uint16 // of a seed that names none

	roster *roster
	tables atomic.Pointer[tables]
	news   *news
	ready  chan struct{}
	drain  chan struct{} // closed by Drain
	once   sync.Once     // closes drain

	addr      atomic.Pointer[string]
	drainedAt atomic.Pointer[time.Time] // when draining was announced

	started        atomic.Bool
	heir           atomic.Bool              // see Abandon
	met            atomic.Pointer[[]string] // see Meet
	published      atomic.Int64
	refusedMeta    atomic.Int64
	strangers      atomic.Int64
	panics         atomic.Int64
	rejoins        atomic.Int64
	rejoinFailures atomic.Int64
	conflicts      atomic.Int64
	lastConflict   atomic.Int64 // over this node's own name, Unix nanoseconds

	mu      sync.Mutex // guards the fields below
	refused map[string]string
}

// New returns the view of a node that has met nobody yet: Ring holds the node itself alone. It starts nothing. The error
// names the field that is wrong; it is ErrNoSecret where other nodes are meant and there is no secret.
func New(o Options) (*Cluster, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Cluster{
		options: o, log: o.Log.With("node", o.Name), seedPort: defaultPort,
		news: newNews(), ready: make(chan struct{}), drain: make(chan struct{}), refused: make(map[string]string),
	}
	if o.Bind != "" {
		if _, port, err := splitBind(o.Bind); err == nil && port != 0 {
			c.seedPort = port
		}
	}
	c.roster = newRoster(Member{
		Name: o.Name, PeerAddr: o.PeerAddr, // bind fills in the host where there is none
		HTTPAddr: o.HTTPAddr, HTTPSAddr: o.HTTPSAddr, Zone: o.Zone, Region: o.Region, Role: o.Role, Build: o.Build,
		Weight: o.Weight, Shield: o.Shield, Relay: o.Relay, Cleartext: o.Cleartext, Self: true, Since: time.Now(),
	})
	c.tables.Store(&tables{region: ring.New(nil), tiers: ring.Tiers{Zone: ring.New(nil), Shield: ring.New(nil)}})
	c.publish()
	return c, nil
}

// Run gossips until ctx ends, then announces that the node is draining, waits for DrainTime, says farewell and returns
// nil; after Abandon it does none of these. It returns an error, at once, when the gossip address cannot be had. It may be called once.
func (c *Cluster) Run(ctx context.Context) error {
	if c.started.Swap(true) {
		return fmt.Errorf("cluster: %s runs already", c.options.Name)
	}
	var list *memberlist.Memberlist
	var keys *memberlist.Keyring
	if !c.options.alone() {
		var err error
		if list, keys, err = c.bind(ctx); err != nil {
			return err
		}
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // the farewell comes after the end of ctx
	var last, others sync.WaitGroup
	last.Go(func() { c.publisher(work) }) // both end with work, after the farewell
	last.Go(func() { c.hear(work) })
	if list != nil {
		others.Go(func() { c.rejoin(ctx, list) }) // ends with ctx, or when its last dial does
		others.Go(func() { c.drainer(ctx, list) })
		others.Go(func() { c.followKeys(ctx, list, keys) })
	} else {
		close(c.ready)
		others.Go(func() { c.drainer(ctx, nil) })
	}
	<-ctx.Done()
	var err error
	if list != nil {
		if !c.heir.Load() {
			c.leave(list)
		}
		if e := list.Shutdown(); e != nil {
			err = fmt.Errorf("cluster: close gossip of %s: %w", c.options.Name, e)
		}
	}
	others.Wait()
	stop()
	last.Wait()
	return err
}

// Ring returns the ring of the nodes that are alive, as of the last change; never nil. It is immutable.
//
// Hot path: one atomic load.
func (c *Cluster) Ring() *ring.Ring { return c.tables.Load().region }

// Tiers returns the tables by which this node chooses whom to ask, as of the last change. In a pool of relays that is
// Homes alone, which the pool of a region has not.
//
// Hot path: one atomic load.
func (c *Cluster) Tiers() ring.Tiers { return c.tables.Load().tiers }

// Members returns all members, sorted by name: this node, the living, and for ForgetAfter those that left or died. The
// caller owns the result.
func (c *Cluster) Members() []Member { return c.roster.list() }

// Addr returns the host:port at which other nodes can join this one, or "" before Run has bound it and on a node that
// stands alone.
func (c *Cluster) Addr() string {
	if p := c.addr.Load(); p != nil {
		return *p
	}
	return ""
}

// Ready returns a channel that is closed when Run has bound the gossip address and every node to join has answered or
// timed out once. It stays open when Run fails.
func (c *Cluster) Ready() <-chan struct{} { return c.ready }

// Drain tells the others that this node is about to leave: rings put it behind all others from now on, while it goes on
// answering. It returns at once and may be called several times; there is no way back but a restart.
func (c *Cluster) Drain() { c.once.Do(func() { close(c.drain) }) }

// Abandon has Run end without a word when its context does, because another process goes on as this node, on the same
// address: to the others it has never been away, if that one gossips within the time of a probe or two.
func (c *Cluster) Abandon() { c.heir.Store(true) }

// Meet names gossip addresses of members that the process before this one knew, before Run: they are asked in the first rounds,
// as Join is.
func (c *Cluster) Meet(addrs []string) { c.met.Store(&addrs) }

// Stats is a snapshot of counters since New, and of what is at the moment.
type Stats struct {
	Alive, Left, Dead int    // members by state; Alive counts this node
	RingVersion       uint64 // version of the published ring
	RingsPublished    int64
	RefusedNodes      int64 // messages of nodes that said something wrong about themselves
	RefusedMessages   int64 // packets and streams with another label, another key or none
	RefusedAddresses  int64 // packets, streams and peers' connections from addresses that Options.Gate does not allow
	CallbackPanics    int64
	Joins             int64 // exchanges with seeds and lost members that succeeded
	JoinFailures      int64
	NameConflicts     int64 // messages that claim a member's name for another address
	DroppedNews       int64 // messages to all members that did not go out, or were not heard, because too many waited
}

// Stats returns a snapshot.
func (c *Cluster) Stats() Stats {
	s := Stats{
		RingVersion: c.Ring().Version(), RingsPublished: c.published.Load(), RefusedNodes: c.refusedMeta.Load(),
		RefusedMessages: c.strangers.Load(), RefusedAddresses: c.options.Gate.Refused(), CallbackPanics: c.panics.Load(), Joins: c.rejoins.Load(),
		JoinFailures: c.rejoinFailures.Load(), NameConflicts: c.conflicts.Load(), DroppedNews: c.news.dropped.Load(),
	}
	for _, m := range c.Members() {
		switch m.State {
		case Alive:
			s.Alive++
		case Left:
			s.Left++
		case Dead:
			s.Dead++
		}
	}
	return s
}

// publisher builds a ring for every change, waiting a little so that a burst of changes makes one ring.
func (c *Cluster) publisher(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.roster.changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.options.PublishDelay):
		}
		select {
		case <-c.roster.changed: // this ring will include it
		default:
		}
		c.publish()
	}
}

// publish builds the tables from the roster, unless those that are out say the same.
func (c *Cluster) publish() {
	before := c.tables.Load()
	now := c.roster.tables(*before, c.options.WAN)
	if before.same(now) && c.published.Load() > 0 {
		return
	}
	c.tables.Store(&now)
	c.published.Add(1)
}

// same says whether both place every key alike.
func (t tables) same(other tables) bool {
	return t.region.Version() == other.region.Version() && sameRing(t.tiers.Zone, other.tiers.Zone) && sameRing(t.tiers.Shield, other.tiers.Shield) &&
		maps.EqualFunc(t.tiers.Homes, other.tiers.Homes, sameRing)
}

func sameRing(a, b *ring.Ring) bool {
	return a == b || a != nil && b != nil && a.Version() == b.Version()
}

// drainer announces draining when Drain asks for it.
func (c *Cluster) drainer(ctx context.Context, list *memberlist.Memberlist) {
	select {
	case <-ctx.Done():
	case <-c.drain:
		c.announceDraining(list)
	}
}

func (c *Cluster) announceDraining(list *memberlist.Memberlist) {
	now := time.Now()
	if !c.drainedAt.CompareAndSwap(nil, &now) {
		return
	}
	c.roster.change(func(m *Member) { m.Draining = true })
	if list == nil {
		return
	}
	if err := list.UpdateNode(c.options.LeaveTimeout); err != nil {
		c.log.Warn("announce draining", "error", err)
	}
}

// leave announces draining, gives it time, and says farewell.
func (c *Cluster) leave(list *memberlist.Memberlist) {
	c.announceDraining(list)
	if c.Stats().Alive > 1 {
		time.Sleep(c.options.DrainTime - time.Since(*c.drainedAt.Load()))
	}
	if err := list.Leave(c.options.LeaveTimeout); err != nil {
		c.log.Warn("leave", "error", err)
	}
}

// selfMeta returns what this node tells about itself.
func (c *Cluster) selfMeta() meta {
	c.roster.mu.Lock()
	defer c.roster.mu.Unlock()
	m := c.roster.members[c.roster.self]
	return meta{
		Draining: m.Draining, Shield: m.Shield, Relay: m.Relay, Clear: m.Cleartext, Weight: m.Weight, Role: m.Role, Zone: m.Zone, Region: m.Region, Peer: m.PeerAddr,
		HTTP: m.HTTPAddr, HTTPS: m.HTTPSAddr, Build: m.Build, Keys: m.Keys,
	}
}
