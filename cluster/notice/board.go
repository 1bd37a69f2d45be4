package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

	postTimeout  = time.Second     // for all members to acknowledge
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
}

// Options of a [Board]. All funcs may be called from several goroutines at once.
type Options struct {
	Name     string                 // this node; required
	Joined   func() <-chan struct{} // closed when Peers is complete for the first time; required
	Peers    func() []Peer          // the other nodes, at the moment; required
	File     string                 // where it is noted how far this node is; its directory exists; "": nowhere
	Records  int                    // kept for others; 0: DefaultRecords
	Bytes    int64                  // of them; 0: DefaultBytes
	Keep     time.Duration          // how long a notice matters; at least an hour; 0: DefaultKeep
	Interval time.Duration          // between exchanges; 0: DefaultInterval
	Log      *slog.Logger           // nil: discard

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
	counts  [4]atomic.Int64

	saving sync.Mutex // guards the file; taken before mu

	mu       sync.Mutex // guards the fields below
	sequence uint64     // of the last notice posted here
	log      *log
	before   map[Origin]obeyed // by an earlier life of this node
	heard    time.Time         // the end of the last exchange; before the first: that of an earlier life, or the start
	unsaved  bool
	saved    time.Time
}

// The indices of Board.counts.
const (
	posted = iota
	unacknowledged
	received
	lapses
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
	if o.Records < 1 || o.Bytes < 1 || o.Keep < keepMargin || o.Interval < 0 {
		return nil, errors.New("notice: Options.Records, Bytes, Keep or Interval is out of range")
	}
	self := Origin{o.Name, now.UnixNano()}
	b := &Board{
		options: o, self: self, current: make(chan struct{}), log: newLog(self, o.Records, o.Bytes, o.Keep),
		before: map[Origin]obeyed{}, heard: now,
	}
	return b, b.load(now)
}

func orDefault[T comparable](value, fallback T) T {
	if zero := *new(T); value == zero {
		return fallback
	}
	return value
}

// Receipt is what became of a notice on one other node.
type Receipt struct {
	Node    string
	Removed int           // as its Options.Apply counted
	Took    time.Duration // until it had acknowledged
	Err     error         // nil: it has obeyed. Else it does so when it can be reached
}

// Post tells all other nodes a notice that this one has obeyed already, and returns after a second at most, with a
// Receipt of each. An error means that the body is none, and nobody was told.
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
	message, err := encode(message{Records: []Record{r}})
	if err != nil {
		return nil, fmt.Errorf("notice: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTimeout) // who asked may go, the notice stands
	defer cancel()
	peers := b.options.Peers()
	receipts := make([]Receipt, len(peers))
	var sends sync.WaitGroup
	for i, to := range peers {
		sends.Go(func() { receipts[i] = b.deliver(ctx, to, message) })
	}
	b.save(time.Now()) // so that a later life knows that there was this notice
	sends.Wait()
	return receipts, nil
}

var errLost = errors.New("it is lost to the cluster")

func (b *Board) deliver(ctx context.Context, to Peer, message []byte) Receipt {
	sent := time.Now()
	r := Receipt{Node: to.Name, Err: errLost}
	if !to.Lost {
		var a answer
		a, r.Err = b.send(ctx, to, message)
		r.Removed, r.Took = a.Removed, time.Since(sent)
	}
	if r.Err != nil {
		b.counts[unacknowledged].Add(1)
	}
	return r
}

func (b *Board) send(ctx context.Context, to Peer, message []byte) (a answer, err error) {
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
	Lapses         int64 // times that the safe side was taken
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
		Lapses: b.counts[lapses].Load(), Lag: b.lag.Load(), Records: records, Bytes: bytes,
	}
}
