package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	asked      = 3                      // owners that are tried
	sought     = 16                     // nodes that one which is new asks for a group
	askTimeout = 500 * time.Millisecond // for one of them
	copyTime   = 250 * time.Millisecond // for the copy: longer than any way inside a region takes
	quietTime  = time.Second            // that a node is left out for after it did not answer
	maxChanges = 4096
	farTimeout = 2 * time.Second
	// onwardTimeout is for all other regions at once: less than farTimeout, for which the node that asked its relay waits.
	onwardTimeout = 3 * farTimeout / 4
)

// Opening says what is opened.
type Opening struct {
	Session Session       // of it Asset, Device and Label; ID is made by [Book.Open]
	Key     string        // two openings of one group with the same Key are one; "": each is its own
	Limit   int           // of sessions that live in the group; 0: none
	Replace bool          // end those of the group that were renewed longest ago, where the limit is reached
	For     time.Duration // how long it lives unless it is renewed, where that is less than a lease; 0: a lease
}

// Open begins a session in the group of that place. Errors are a *Conflict, ErrFull and ErrUnreachable.
func (b *Book) Open(ctx context.Context, p Place, o Opening) (Session, error) {
	o.Session.ID = newID(b.options.Keys()[0], p)
	return b.Join(ctx, p, o)
}

// Join is Open for a session that has an ID already, in another group: so that one session counts in two.
func (b *Book) Join(ctx context.Context, p Place, o Opening) (Session, error) {
	return b.route(ctx, &message{Verb: open, Place: p, Opening: &o})
}

// Renew lets the session's lease begin anew. Errors are ErrUnknown, ErrEnded, ErrUnreachable, and a *Conflict where it turns out to be one
// too many: then it has ended.
func (b *Book) Renew(ctx context.Context, id ID) (Session, error) {
	p, err := b.Place(id)
	if err != nil {
		return Session{}, err
	}
	return b.RenewIn(ctx, p, id)
}

// RenewIn is Renew in another group that the session has joined.
func (b *Book) RenewIn(ctx context.Context, p Place, id ID) (Session, error) {
	return b.route(ctx, &message{Verb: renew, Place: p, ID: id})
}

// End ends the session. Ending one that has ended is no error. Errors are ErrUnknown and ErrUnreachable.
func (b *Book) End(ctx context.Context, id ID) (Session, error) {
	p, err := b.Place(id)
	if err != nil {
		return Session{}, err
	}
	return b.EndIn(ctx, p, id)
}

// EndIn is End in another group that the session has joined.
func (b *Book) EndIn(ctx context.Context, p Place, id ID) (Session, error) {
	return b.route(ctx, &message{Verb: end, Place: p, ID: id})
}

// Place is where a session of the cluster lies. ErrUnknown where the cluster has not made the ID.
func (b *Book) Place(id ID) (Place, error) {
	p, err := id.place(b.options.Keys())
	if err != nil {
		return 0, errors.Join(ErrUnknown, err)
	}
	return p, nil
}

// route has an owner decide, the best that answers.
func (b *Book) route(ctx context.Context, m *message) (Session, error) {
	if err := b.await(ctx, m); err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	owners := b.owners(m.Place, asked)
	if len(owners) == 0 {
		a, err := b.decide(ctx, m)
		if err != nil {
			return Session{}, err
		}
		return b.result(a)
	}
	var failed []error
	for _, n := range owners {
		a, err := b.send(ctx, n, m, askTimeout)
		if err == nil {
			return b.result(a)
		}
		failed = append(failed, err)
	}
	return Session{}, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(failed...))
}

// await holds back what a limit is for until the nodes place groups alike: at who is asked, and at who decides.
func (b *Book) await(ctx context.Context, m *message) error {
	if m.Verb != open || m.Opening.Limit == 0 {
		return nil
	}
	select {
	case <-b.agreed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("session: the nodes do not agree yet on who keeps it: %w", ctx.Err())
	}
}

// owners are the first of the place, up to most, who did not answer a moment ago last; none alone.
func (b *Book) owners(p Place, most int) []Node {
	if b.options.Owners == nil {
		return nil
	}
	all := b.options.Owners(p)
	all = all[:min(most, len(all))]
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.quiet) == 0 {
		return all
	}
	var first, last []Node
	for _, n := range all {
		if n.Name != b.options.Name && now.Before(b.quiet[n.Name]) {
			last = append(last, n)
		} else {
			first = append(first, n)
		}
	}
	return append(first, last...)
}

// first tells whether this node is the first owner.
func (b *Book) first(p Place) bool {
	if b.options.Owners == nil {
		return true
	}
	owners := b.options.Owners(p)
	return len(owners) == 0 || owners[0].Name == b.options.Name
}

// send asks a node, this one or another.
func (b *Book) send(ctx context.Context, to Node, m *message, limit time.Duration) (*answer, error) {
	if to.Name == b.options.Name {
		return b.decide(ctx, m)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	text, err := b.options.Send(ctx, to, encode(m))
	if err != nil {
		if !errors.Is(context.Cause(ctx), context.Canceled) { // the client's leaving says nothing of the node
			b.hush(to.Name)
		}
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("session: the answer of %s is malformed: %w", to.Name, err)
	}
	return &a, nil
}

func (b *Book) unhush(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.quiet, name)
}

func (b *Book) isQuiet(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.quiet[name])
}

func (b *Book) hush(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.quiet[name] = time.Now().Add(quietTime)
}

// ask takes in what the other owners know of a group: the first two that answer. A node that is new asks many: those that
// joined with it may have taken the places of all who have the group, and these have not shared it yet.
func (b *Book) ask(ctx context.Context, p Place) {
	if b.young.Load() {
		var asking sync.WaitGroup
		for _, n := range b.owners(p, sought) {
			asking.Go(func() { b.fetch(ctx, n, p) })
		}
		asking.Wait()
		return
	}
	answered := 0
	for _, n := range b.owners(p, asked) {
		if b.fetch(ctx, n, p) {
			if answered++; answered == 2 {
				return
			}
		}
	}
}

// fetch takes in what another node knows of a group. It tells whether that one answers: if none does, this node begins anew.
func (b *Book) fetch(ctx context.Context, from Node, p Place) bool {
	if from.Name == b.options.Name {
		return false
	}
	a, err := b.send(ctx, from, &message{Verb: fetch, Place: p}, copyTime)
	if err != nil {
		return false
	}
	if now := time.Now(); a.State == done {
		b.take(p, b.fromWire(a.Sessions, now), a.Part, now)
	}
	return true
}

// exchange brings a change to the next owner, and what that one knows better here. Where it does not answer another one
// gets the copy; where none does the session is here alone until it is renewed.
func (b *Book) exchange(ctx context.Context, p Place, id ID) {
	b.change(p, id)
	now := time.Now()
	some, part := b.some(p, id, now)
	m := &message{Verb: merge, Place: p, Sessions: listToWire(some, now), Part: part}
	for _, n := range b.owners(p, asked) {
		if n.Name == b.options.Name {
			continue
		}
		a, err := b.send(context.WithoutCancel(ctx), n, m, copyTime)
		if err != nil {
			b.log.Debug("a session is not copied", "member", n.Name, "error", err)
			continue
		}
		now := time.Now()
		b.take(p, b.fromWire(a.Sessions, now), true, now)
		return
	}
}
