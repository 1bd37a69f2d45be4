package quality

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Node is one that follows sessions.
type Node struct {
	Name    string
	Address string // of its listener for other nodes
}

// Options is what a Ledger needs. The zero value is that of a node alone.
type Options struct {
	Name string // of this node
	// Owner is the node that follows a session; nil: this one all. Called for each session every few seconds; must not block.
	Owner func(Session) Node
	// Send brings a message to [Ledger.Serve] of another node, and its answer back. Required with Owner.
	Send func(ctx context.Context, to Node, message []byte) ([]byte, error)
	// Idle is after how long without a word a session is over; 0: 90 s.
	Idle time.Duration
	Log  *slog.Logger // nil: silent
}

const (
	sendEvery   = 5 * time.Second
	sendTimeout = 2 * time.Second
	lastWord    = 2 * sendEvery // after its end, for what another edge has seen of a session
	defaultIdle = 90 * time.Second
	maxFollowed = 100_000
	maxPending  = 20_000
	maxBatch    = 2_000 // sessions in one message: 1 MB
	clockSkew   = 5 * time.Minute
	hintEvery   = time.Minute // they are of a day, and a Summary holds up the reports that come meanwhile
)

// MaxAge is how old a report of what was watched offline may be.
const MaxAge = 14 * 24 * time.Hour

// Ledger follows viewers. One mutex: a sample costs a few map accesses; all methods may be called at the same time.
type Ledger struct {
	options Options

	mu       sync.Mutex            // guards the fields below
	pending  map[Session]*viewer   // seen here, and not sent yet
	followed map[Session]*viewer   // this node is the owner
	over     map[Session]time.Time // that ended a moment ago: what comes of them later, from another edge, begins none
	hours    []*hour               // the newest last
	total    Figures               // since the start
	offline  Figures               // since the start, of what was watched without a network
	away     int                   // of those that are followed
	dropped  int64
	hints    []Hint
	hinted   time.Time // when they were found
}

// New makes a Ledger.
func New(o Options) (*Ledger, error) {
	if o.Owner != nil && o.Send == nil {
		return nil, errors.New("quality: Options.Send is missing")
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{options: o, pending: map[Session]*viewer{}, followed: map[Session]*viewer{}, over: map[Session]time.Time{}}, nil
}

// Add takes in a sample.
//
// Hot path: one lock, and nothing allocated for a session that is known and a part that it used before.
func (l *Ledger) Add(s *Sample, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Offline {
		if age := now.Sub(s.At); age > MaxAge || age < -clockSkew {
			l.dropped++
			return
		}
		if s.At.Before(now) {
			now = s.At // what it says is of then
		}
	}
	v := l.pending[s.Session]
	if v == nil {
		if len(l.pending) >= maxPending {
			l.dropped++
			return
		}
		v = newViewer(now)
		l.pending[s.Session] = v
	}
	v.add(s, now)
}

// Stats is what a Ledger holds.
type Stats struct {
	Followed, Pending int
	Away              int   // sessions that were watched offline and are being told of
	Dropped           int64 // samples and sessions for which there was no room, and reports that came too late
}

// Stats is a snapshot.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Followed: len(l.followed) - l.away, Away: l.away, Pending: len(l.pending), Dropped: l.dropped}
}

// Run sends what was seen to the owners, and closes sessions that are over, until ctx ends.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.hand(context.WithoutCancel(ctx), time.Now()) // what is left, so that it is counted somewhere
			return nil
		case now := <-tick.C:
			l.hand(ctx, now)
			l.closeIdle(now)
		}
	}
}

// hand brings every session that was seen here to its owner. What cannot be brought is followed here: its figures are
// right in sum, only its session counts twice.
func (l *Ledger) hand(ctx context.Context, now time.Time) {
	l.mu.Lock()
	seen := l.pending
	l.pending = make(map[Session]*viewer, len(seen))
	l.mu.Unlock()
	byOwner := map[Node]map[Session]*viewer{}
	for id, v := range seen {
		v.spans(now)
		owner := Node{Name: l.options.Name}
		if l.options.Owner != nil {
			owner = l.options.Owner(id)
		}
		if byOwner[owner] == nil {
			byOwner[owner] = map[Session]*viewer{}
		}
		byOwner[owner][id] = v
	}
	for owner, batch := range byOwner {
		if owner.Name == l.options.Name || owner.Name == "" || !l.send(ctx, owner, batch) {
			l.take(batch, now)
		}
	}
}

// send brings a batch to its owner in messages of a bounded length.
func (l *Ledger) send(ctx context.Context, to Node, batch map[Session]*viewer) bool {
	some := make(map[Session]*viewer, min(len(batch), maxBatch))
	flush := func() bool {
		text, err := json.Marshal(message{Viewers: some})
		if err != nil {
			panic("quality: " + err.Error()) // numbers and strings: cannot fail
		}
		within, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		if _, err = l.options.Send(within, to, text); err != nil {
			l.options.Log.Debug("reports of viewers were not taken by their owner", "member", to.Name, "error", err)
			return false
		}
		for id := range some {
			delete(batch, id) // what is left is for this node
		}
		clear(some)
		return true
	}
	for id, v := range batch {
		if some[id] = v; len(some) == maxBatch && !flush() {
			return false
		}
	}
	return len(some) == 0 || flush()
}

// Ask is the message to [Ledger.Serve] that wants a summary, which [Answered] reads.
func Ask() []byte { return []byte(`{"summary":true}`) }

// Answered reads the answer of another node.
func Answered(text []byte) (s Summary, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return Summary{}, fmt.Errorf("quality: the answer of another node is malformed: %w", err)
	}
	return s, nil
}

// message is what nodes tell and ask each other. JSON.
type message struct {
	Viewers map[Session]*viewer `json:"viewers,omitempty"`
	Summary bool                `json:"summary,omitempty"` // is wanted
}

// Serve answers a message of another node: nothing, or the summary of this node.
func (l *Ledger) Serve(text []byte, now time.Time) ([]byte, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("quality: a message of another node is malformed: %w", err)
	}
	l.take(m.Viewers, now)
	if !m.Summary {
		return []byte("{}"), nil
	}
	answer, err := json.Marshal(l.Summary(now))
	if err != nil {
		return nil, fmt.Errorf("quality: %w", err)
	}
	return answer, nil
}

// take follows sessions.
func (l *Ledger) take(batch map[Session]*viewer, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, seen := range batch {
		if seen == nil {
			continue
		}
		v := l.followed[id]
		if v == nil {
			if _, over := l.over[id]; over {
				continue
			}
			if len(l.followed) >= maxFollowed {
				l.dropped++
				continue
			}
			v = newViewer(now.Add(-seen.FirstAgo))
			l.followed[id] = v
		}
		if seen.Offline && !v.Offline {
			l.away++
		}
		v.merge(seen, now)
		if v.Ended && v.ended.IsZero() {
			v.ended = now
		}
	}
}

func (l *Ledger) closeIdle(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, v := range l.followed {
		last := v.last
		if v.Offline {
			last = v.heard // its times are of days ago
		}
		if now.Sub(last) >= l.options.Idle || v.Ended && now.Sub(v.ended) >= lastWord {
			l.closeLocked(id, v, now)
		}
	}
	for id, at := range l.over {
		if now.Sub(at) > l.options.Idle {
			delete(l.over, id)
		}
	}
}

func (l *Ledger) closeLocked(id Session, v *viewer, now time.Time) {
	delete(l.followed, id)
	if v.Ended {
		l.over[id] = now
	}
	f := v.figures()
	if v.Offline {
		l.away--
		l.offline.Add(&f)
		if v.Title != "" {
			l.hourLocked(now).name(OfflineKind, v.Title).Add(&f)
		}
		return
	}
	l.total.Add(&f)
	l.hourLocked(now).add(v)
}

// Total is of all sessions since the start that this node owned: it only grows.
func (l *Ledger) Total() Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Offline is of all that was watched without a network and told since the start to this node, as Total is of the rest.
func (l *Ledger) Offline() Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offline
}

// hourLocked is the figures of this hour. Those of more than a day ago go.
func (l *Ledger) hourLocked(now time.Time) *hour {
	begin := now.Truncate(time.Hour)
	if n := len(l.hours); n == 0 || l.hours[n-1].begin.Before(begin) {
		l.hours = append(l.hours, &hour{begin: begin, named: map[Kind]map[string]*Named{}})
	}
	for now.Sub(l.hours[0].begin) >= (hours+1)*time.Hour {
		l.hours = l.hours[1:]
	}
	return l.hours[len(l.hours)-1]
}

// Hints are those of [Ledger.Summary], as they were a minute ago at most. The caller must not change them.
func (l *Ledger) Hints(now time.Time) []Hint {
	l.mu.Lock()
	hints, old := l.hints, l.hinted.IsZero() || now.Sub(l.hinted) >= hintEvery
	if old {
		l.hinted = now
	}
	l.mu.Unlock()
	if !old {
		return hints
	}
	hints = l.Summary(now).Hints
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hints = hints
	return hints
}

// Summary is of the sessions that this node owns, for the last day.
func (l *Ledger) Summary(now time.Time) Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hourLocked(now)
	var s Summary
	byName := map[Kind]map[string]*Named{}
	for _, h := range l.hours {
		s.All.Add(&h.all)
		for kind, names := range h.named {
			for name, n := range names {
				entry(byName, kind, name).Add(&n.Figures)
			}
		}
	}
	for _, v := range l.followed {
		if v.Ended || v.Offline {
			continue
		}
		s.Viewers++
		for kind, name := range map[Kind]string{Title: v.Title, Device: v.Device, NetworkKind: v.Network, Edge: v.Edge} {
			if name == "" {
				continue
			}
			if len(byName[kind]) >= 2*maxNames && byName[kind][name] == nil {
				name = other
			}
			entry(byName, kind, name).Viewers++
		}
	}
	s.list(byName)
	return s
}
