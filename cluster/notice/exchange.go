package notice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// keepMargin before the end of Options.Keep nothing is taken from others any more: they may forget it a little later.
const keepMargin = time.Hour

// maxRounds bounds one exchange: a full log in batches.
const maxRounds = 64

// Run catches up with the other nodes, then exchanges notices with one of them at random each Options.Interval, and a
// relay with one of another region each second time, until ctx ends. It returns nil.
func (b *Board) Run(ctx context.Context) error {
	b.save(time.Now()) // the file of the last life may say that nothing came after it
	b.catchUp(ctx)
	close(b.current)
	var abroad sync.WaitGroup
	if b.options.Regions != nil {
		abroad.Go(func() { b.exchangeAbroad(ctx) }) // ends with ctx
	}
	for b.pause(ctx, b.options.Interval) {
		if peers := b.reachable(); len(peers) > 0 {
			b.exchangeWith(ctx, peers[0])
		}
		b.reckon()
		b.saveSometimes(time.Now())
	}
	abroad.Wait()
	b.end()
	return nil
}

// pause waits, give or take a quarter so that nodes that start together drift apart; false when ctx has ended.
func (b *Board) pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(float64(wait) * (0.75 + rand.Float64()/2))):
		return true
	}
}

func (b *Board) exchangeWith(ctx context.Context, peer Peer) {
	if err := b.exchange(ctx, peer); err != nil && ctx.Err() == nil {
		b.options.Log.Debug("no exchange of notices", "member", peer.Name, "error", err)
	}
}

// catchUp exchanges with a few members before this node counts as current.
func (b *Board) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-b.options.Joined():
	case <-ctx.Done():
	}
	done, peers := 0, b.reachable()
	b.reckon()
	var last error
	for _, peer := range peers {
		if done == startMembers || ctx.Err() != nil {
			break
		}
		if err := b.exchange(ctx, peer); err != nil {
			last = err
			continue
		}
		done++
	}
	if relay, ok := b.foreign(); ok && ctx.Err() == nil {
		b.exchangeWith(ctx, relay)
	}
	b.reckon()
	if done < min(startMembers, len(peers)) || ctx.Err() != nil {
		b.options.Log.Warn("this node serves before it has heard of all that was purged while it was away", "members", len(peers), "asked", done, "error", last)
	}
	b.resume(time.Now())
}

// reachable returns the members that can be asked, in random order.
func (b *Board) reachable() []Peer { return shuffled(b.options.Peers()) }

// errBroken is what a panic leaves of an exchange.
var errBroken = errors.New("notice: internal error")

// caught keeps a panic to the exchange with the node that it happens in. It is deferred.
func (b *Board) caught(with Peer, err *error) {
	if p := recover(); p != nil {
		b.counts[panics].Add(1)
		b.options.Log.Error("an exchange of notices panicked", "member", with.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = errBroken
	}
}

// exchange takes from another node what is missing here, and gives what is missing there.
func (b *Board) exchange(ctx context.Context, with Peer) (err error) {
	defer b.caught(with, &err)
	if same, err := b.compare(ctx, with); same || err != nil {
		return err
	}
	for range maxRounds {
		now := time.Now()
		b.mu.Lock()
		mine := b.log.digest(now)
		b.mu.Unlock()
		theirs, err := b.ask(ctx, with, message{Ask: true, Digest: mine})
		if err != nil {
			return err
		}
		b.lag.Store(lagOf(mine, theirs.Digest))
		if err := b.settle(theirs.Digest); err != nil {
			return err
		}
		_, noted, err := b.receive(theirs.Records)
		if err != nil {
			return err
		}
		if !theirs.More && noted && !with.far {
			b.touch(with, &theirs, now)
		}
		b.mu.Lock()
		records, more := b.log.missing(theirs.Digest, time.Now())
		b.mu.Unlock()
		if len(records) > 0 {
			if _, err := b.ask(ctx, with, message{Records: records}); err != nil {
				return err
			}
		}
		if !theirs.More && !more {
			b.lag.Store(0)
			return b.meet(now)
		}
	}
	return nil // the next exchange goes on
}

// compare tells whether the other node has the same as this one: so it is nearly always, and then that is all.
func (b *Board) compare(ctx context.Context, with Peer) (same bool, err error) {
	now := time.Now()
	b.mu.Lock()
	mine := b.log.digest(now)
	b.mu.Unlock()
	theirs, err := b.ask(ctx, with, message{Sum: sum(mine)})
	if err != nil || !theirs.Same {
		return false, err
	}
	b.lag.Store(0)
	if !with.far {
		b.touch(with, &theirs, now)
	}
	return true, b.meet(now)
}

func (b *Board) ask(ctx context.Context, with Peer, m message) (answer, error) {
	text, err := encode(m)
	if err != nil {
		return answer{}, fmt.Errorf("notice: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return b.send(ctx, with, text)
}

// lagOf counts what one digest has and the other has not.
func lagOf(mine, theirs []position) (lag int64) {
	have := make(map[Origin]uint64, len(mine))
	for _, p := range mine {
		have[p.Origin] = p.High
	}
	for _, p := range theirs {
		lag += int64(p.High - min(p.High, have[p.Origin]))
	}
	return lag
}

// meet notes that this node has heard all that another one knows. Of what had come and gone in between, if it was away
// for longer than notices are kept, nobody tells any more.
func (b *Board) meet(now time.Time) error {
	b.mu.Lock()
	away := now.Sub(b.heard) > b.options.Keep-keepMargin
	b.mu.Unlock()
	if away {
		if err := b.lapse(b.options.Keep - keepMargin); err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.heard = now
	b.mu.Unlock()
	return nil
}

func (b *Board) lapse(age time.Duration) error {
	b.counts[lapses].Add(1)
	b.options.Log.Warn("purges cannot be had any more: what was stored before them counts as purged", "age", age)
	return b.options.Lapse(age)
}

// settle takes note of what others have lost: it will never come.
func (b *Board) settle(theirs []position) error {
	for _, p := range theirs {
		now := time.Now()
		b.mu.Lock()
		missed := p.Floor > b.log.high(p.Origin) && p.Age < b.options.Keep-keepMargin
		known := p.Floor <= b.before[p.Origin].High || p.FloorAge >= b.options.Keep-keepMargin
		b.mu.Unlock()
		if !missed {
			continue
		}
		if !known {
			if err := b.lapse(p.FloorAge); err != nil {
				return err
			}
		}
		b.mu.Lock()
		b.log.raise(p.Origin, p.Floor, now.Add(-p.FloorAge))
		b.unsaved = true
		b.mu.Unlock()
	}
	return nil
}

// receive obeys the notices that are new, and notes them. Not noted: some wait for too many before them, and come again.
func (b *Board) receive(records []Record) (removed int, noted bool, err error) {
	now := time.Now()
	var fresh, known []Record
	b.mu.Lock()
	for _, r := range records {
		r.born = now.Add(-r.Age)
		switch {
		case b.log.has(r.Origin, r.Sequence), r.Age > b.options.Keep-keepMargin:
		case r.Sequence <= b.before[r.Origin].High: // obeyed in an earlier life
			known = append(known, r)
		default:
			fresh = append(fresh, r)
		}
	}
	b.mu.Unlock()
	if len(fresh) > 0 {
		if removed, err = b.options.Apply(fresh); err != nil {
			return removed, false, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	noted = true
	for _, r := range append(known, fresh...) {
		noted = b.log.add(r) && noted
		b.unsaved = true
	}
	b.counts[received].Add(int64(len(fresh)))
	return removed, noted, nil
}

// errNoRoom keeps a notice from being acknowledged that this node could not tell others.
var errNoRoom = errors.New("notice: obeyed, and not noted: too many wait for one before them")

// ServeHTTP answers other nodes. It belongs behind a listener that authenticates them.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "this takes POST", http.StatusMethodNotAllowed)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, "the message cannot be read", http.StatusRequestEntityTooLarge)
		return
	}
	var m message
	if err := parse(text, &m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := b.answer(r.Context(), &m)
	if err == nil {
		text, err = encode(a)
	}
	if err != nil {
		b.options.Log.Error("notices of another node are not obeyed", "client", r.RemoteAddr, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the node has gone: it asks again
}

func (b *Board) answer(ctx context.Context, m *message) (a answer, err error) {
	var settled error
	if m.Ask {
		settled = b.settle(m.Digest)
	}
	var noted bool
	a.Removed, noted, err = b.receive(m.Records)
	switch {
	case err == nil && !noted:
		err = errNoRoom
	case err == nil && m.Reach != reachNode:
		var receipts []Receipt
		receipts, err = b.bring(ctx, m.Records, m.Reach)
		a.Receipts = toSend(receipts)
	}
	if m.Ask {
		now := time.Now()
		b.mu.Lock()
		a.Digest = b.log.digest(now)
		a.Records, a.More = b.log.missing(m.Digest, now)
		a.Contacts, a.Young = b.lease.told(now), b.lease.young
		b.mu.Unlock()
	}
	if m.Sum > 0 {
		now := time.Now()
		b.mu.Lock()
		a.Same = m.Sum == sum(b.log.digest(now))
		a.Contacts, a.Young = b.lease.told(now), b.lease.young
		b.mu.Unlock()
	}
	return a, errors.Join(settled, err)
}
