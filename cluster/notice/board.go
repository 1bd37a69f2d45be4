package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Options], and waits that follow from nothing else.
const (
	DefaultRecords  = 1 << 16
	DefaultBytes    = 16 << 20
	DefaultKeep     = 7 * 24 * time.Hour
	DefaultInterval = 500 * time.Millisecond

	DefaultPostTimeout   = time.Second
	DefaultRegionTimeout = 3 * time.Second
	DefaultLease         = 10 * time.Second

	leastLease   = 4               // intervals: one exchange may fail
	askTimeout   = 2 * time.Second // for one step of an exchange
	startTimeout = 5 * time.Second // for the exchanges before a node is current
	startMembers = 2               // of those, if there are so many: one may have missed the same as we
	saveInterval = time.Minute     // when nothing new came
)

// Peer is another node.
type Peer struct {
	Name    string
	Address string // host:port, where it is asked
	Lost    bool   // it does not answer gossip: it is not asked, and named as missing

	far bool // in another region
}

// Options of a [Board]. All funcs may be called from several goroutines at once.
type Options struct {
	Name     string                 // this node; required
	Joined   func() <-chan struct{} // closed when Peers is complete for the first time; required
	Peers    func() []Peer          // the other nodes of its region, at the moment; required
	File     string                 // where it is noted how far this node is; its directory exists; "": nowhere
	Records  int                    // kept for others; 0: DefaultRecords
	Bytes    int64                  // of them; 0: DefaultBytes
	Keep     time.Duration          // how long a notice matters; at least an hour; 0: DefaultKeep
	Interval time.Duration          // between exchanges; 0: DefaultInterval
	Log      *slog.Logger           // nil: discard

	// Lease is how long Doubt can do without an exchange with a majority; at least four times Interval. Lost members count
	// until they are heard of again, or for Keep. 0: there is no lease, and no doubt.
	Lease time.Duration

	// Region is the name of this node's region. Where there are others, some nodes of each are its relays: a notice goes
	// from a relay to one of each other region. Relays lists those of this region but this node; Regions lists the other
	// regions with their relays, on a node that is a relay itself, and nothing on all others. nil: there are no others.
	Region  string
	Relays  func() []Peer
	Regions func() []Region

	PostTimeout   time.Duration // of Post for the members of this region; 0: DefaultPostTimeout
	RegionTimeout time.Duration // of Post for other regions, PostTimeout of those included; 0: DefaultRegionTimeout

	// Gossip sends a message of about a kilobyte or less to all members by packets, of which some may be lost; false: it
	// is too long. message returns it as of the time when a packet is sent, or nil when nobody needs it any more. What
	// arrives is for Board.Hear. nil: there is no such road.
	Gossip func(message func() []byte) bool
	// Send posts body to the handler of another node's Board and returns its answer; an error for any status but 200.
	Send func(ctx context.Context, to Peer, body []byte) ([]byte, error)
	// Apply obeys notices of other nodes and returns when that also holds after a crash. removed is what the caller
	// counts. It is told some notices twice. After an error all of them come again.
	Apply func(records []Record) (removed int, err error)
	// Lapse takes the safe side: notices as old as age, or older, cannot be had any more, and nobody knows what they said.
	Lapse func(age time.Duration) error
}

// Board holds the notices of a cluster on one node. Safe for concurrent use.
type Board struct {
	options Options
	self    Origin
	current chan struct{} // closed by Run
	lag     atomic.Int64
	counts  [panics + 1]atomic.Int64
	start   time.Time
	abreast atomic.Int64 // until when nothing is in doubt, in nanoseconds since start

	yielded atomic.Bool // the file is another process's

	saving sync.Mutex // guards the file; taken before mu

	mu       sync.Mutex // guards the fields below
	sequence uint64     // of the last notice posted here
	log      *log
	before   map[Origin]obeyed // by an earlier life of this node
	heard    time.Time         // the end of the last exchange; before the first: that of an earlier life, or the start
	lease    lease
	unsaved  bool
	ended    bool
	saved    time.Time
}

// The indices of Board.counts.
const (
	posted = iota
	unacknowledged
	received
	lapses
	gossiped
	panics
)

// New reads the file and starts nothing. now names this life of the node, no other may have had it.
func New(o Options, now time.Time) (*Board, error) {
	if o.Name == "" || o.Joined == nil || o.Peers == nil || o.Send == nil || o.Apply == nil || o.Lapse == nil {
		return nil, errors.New("notice: Options needs Name, Joined, Peers, Send, Apply and Lapse")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Records, o.Bytes = orDefault(o.Records, DefaultRecords), orDefault(o.Bytes, DefaultBytes)
	o.Keep, o.Interval = orDefault(o.Keep, DefaultKeep), orDefault(o.Interval, DefaultInterval)
	o.PostTimeout, o.RegionTimeout = orDefault(o.PostTimeout, DefaultPostTimeout), orDefault(o.RegionTimeout, DefaultRegionTimeout)
	switch {
	case o.Records < 1, o.Bytes < 1, o.Keep < keepMargin, o.Interval < 0, o.PostTimeout < 0, o.RegionTimeout < o.PostTimeout:
		return nil, errors.New("notice: Options.Records, Bytes, Keep, Interval, PostTimeout or RegionTimeout is out of range")
	case o.Lease != 0 && o.Lease < leastLease*o.Interval:
		return nil, fmt.Errorf("notice: Options.Lease of %s is less than four times Interval, %s", o.Lease, o.Interval)
	}
	self := Origin{o.Name, now.UnixNano()}
	b := &Board{
		options: o, self: self, current: make(chan struct{}), log: newLog(self, o.Records, o.Bytes, o.Keep),
		before: map[Origin]obeyed{}, heard: now, lease: newLease(), start: now,
	}
	if err := b.load(now); err != nil {
		return nil, err
	}
	if len(b.lease.members) == 0 {
		b.abreast.Store(math.MaxInt64)
	}
	return b, nil
}

func orDefault[T comparable](value, fallback T) T {
	if zero := *new(T); value == zero {
		return fallback
	}
	return value
}

// Receipt is what became of a notice on one other node.
type Receipt struct {
	Node    string        // "": nobody in Region, or in Elsewhere, could be asked
	Region  string        // as in Options
	Removed int           // as its Options.Apply counted
	Took    time.Duration // until it had acknowledged
	Err     error         // nil: it has obeyed. Else it does so when it can be reached
}

// Post tells all other nodes a notice that this one has obeyed already, and returns after Options.PostTimeout at most,
// or RegionTimeout where there are other regions, with a Receipt of each. An error means that the body is none, and nobody was told.
func (b *Board) Post(ctx context.Context, body json.RawMessage) ([]Receipt, error) {
	if len(body) > MaxBody || !json.Valid(body) {
		return nil, fmt.Errorf("notice: a body of %d bytes is too long, or no JSON", len(body))
	}
	b.mu.Lock()
	b.sequence++
	r := Record{Origin: b.self, Sequence: b.sequence, Body: body, born: time.Now()}
	b.log.add(r)
	b.unsaved = true
	b.mu.Unlock()
	b.counts[posted].Add(1)
	began := time.Now()
	relays := b.relays()
	heard := make(chan Peer, len(relays))
	var roads sync.WaitGroup
	var near, far []Receipt
	whole := context.WithoutCancel(ctx) // who asked may go, the notice stands
	roads.Go(func() {
		ctx, cancel := context.WithTimeout(whole, b.options.PostTimeout)
		defer cancel()
		near = b.tell(ctx, r, began, func(p Peer) {
			if relays[p.Name] {
				heard <- p
			}
		})
		close(heard)
	})
	if len(relays) > 0 || len(b.regions()) > 0 {
		roads.Go(func() {
			ctx, cancel := context.WithTimeout(whole, b.options.RegionTimeout)
			defer cancel()
			far = b.farther(ctx, r, began, heard)
		})
	}
	b.save(time.Now()) // so that a later life knows that there was this notice
	roads.Wait()
	receipts := append(near, far...)
	for _, r := range receipts {
		if r.Err != nil {
			b.counts[unacknowledged].Add(1)
		}
	}
	return receipts, nil
}

// relays are the names of the other relays of this region.
func (b *Board) relays() map[string]bool {
	names := map[string]bool{}
	if b.options.Relays != nil {
		for _, p := range b.options.Relays() {
			names[p.Name] = true
		}
	}
	return names
}

var errLost = errors.New("it is lost to the cluster")

// tell tells the members of this region. obeyed, where there is one, is told of each that has, at once.
func (b *Board) tell(ctx context.Context, r Record, began time.Time, obeyed func(Peer)) []Receipt {
	message, err := encode(message{Records: []Record{r.aged(time.Now())}})
	peers := b.options.Peers()
	receipts := make([]Receipt, len(peers))
	enough := &atomic.Bool{}
	b.gossip(r, enough)
	var sends sync.WaitGroup
	for i, to := range peers {
		receipts[i] = Receipt{Node: to.Name, Region: b.options.Region, Err: err}
		switch {
		case err != nil: // not reached: it is JSON
		case to.Lost:
			receipts[i].Err = errLost
		default:
			sends.Go(func() { b.deliver(ctx, to, message, &receipts[i], began, obeyed) })
		}
	}
	sends.Wait()
	enough.Store(!slices.ContainsFunc(receipts, func(r Receipt) bool { return r.Err != nil }))
	return receipts
}

func (b *Board) deliver(ctx context.Context, to Peer, message []byte, r *Receipt, began time.Time, obeyed func(Peer)) {
	a, err := b.send(ctx, to, message)
	r.Removed, r.Took, r.Err = a.Removed, time.Since(began), err
	if err == nil && obeyed != nil {
		obeyed(to)
	}
}

func (b *Board) send(ctx context.Context, to Peer, message []byte) (a answer, err error) {
	defer b.caught(to, &err)
	text, err := b.options.Send(ctx, to, message)
	if err == nil {
		err = parse(text, &a)
	}
	return a, err
}

// Current returns a channel that is closed when this node has obeyed what was posted while it was away, as far as other
// nodes could be asked: at the latest five seconds after Run has begun.
func (b *Board) Current() <-chan struct{} { return b.current }

// Stats are counts since New, and what is at the moment.
type Stats struct {
	Posted         int64 // here
	Unacknowledged int64 // other nodes' receipts of those that had an error
	Received       int64 // of others, and obeyed
	Gossiped       int64 // of those, that came by gossip first
	Lapses         int64 // times that the safe side was taken
	Panics         int64 // of exchanges
	Lag            int64 // notices that the last exchange found missing here
	Records, Bytes int64 // kept for others
}

// Stats returns a snapshot.
func (b *Board) Stats() Stats {
	b.mu.Lock()
	records, bytes := int64(len(b.log.arrivals)), b.log.bytes
	b.mu.Unlock()
	return Stats{
		Posted: b.counts[posted].Load(), Unacknowledged: b.counts[unacknowledged].Load(), Received: b.counts[received].Load(),
		Gossiped: b.counts[gossiped].Load(), Lapses: b.counts[lapses].Load(), Panics: b.counts[panics].Load(), Lag: b.lag.Load(), Records: records, Bytes: bytes,
	}
}
