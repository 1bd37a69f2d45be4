package session

import (
	"encoding/json"
	"fmt"
	"time"
)

// verb is what a message asks for.
type verb string

const (
	open  verb = "open"
	renew verb = "renew"
	end   verb = "end"
	merge verb = "merge" // take in these sessions, and answer with what is known better
	fetch verb = "fetch" // all of the group
	relay verb = "relay" // merge, at the owners of this region
	cross verb = "cross" // relay, in every other region
	want  verb = "want"  // send me many, of the groups that I should have
	many  verb = "many"  // merge each of these groups
)

// message is what nodes ask each other. JSON.
type message struct {
	Verb     verb      `json:"verb"`
	Place    Place     `json:"place,string"`
	ID       ID        `json:"id,omitempty"`
	Opening  *Opening  `json:"opening,omitempty"`
	Sessions []*onWire `json:"sessions,omitempty"`
	Part     bool      `json:"part,omitempty"` // Sessions are not all of the group

	Name   string     `json:"name,omitempty"`   // of the node that wants
	Groups []*message `json:"groups,omitempty"` // many
}

// answer is what comes back.
type answer struct {
	State    state     `json:"state"`
	Limit    int       `json:"limit,omitempty"`
	Session  *onWire   `json:"session,omitempty"`
	Sessions []*onWire `json:"sessions,omitempty"` // of a conflict: the others; else what the answering node knows
	Part     bool      `json:"part,omitempty"`     // it may not know all of the group
	Ring     uint64    `json:"ring,omitempty"`     // to want: its version here
}

type state string

const (
	done     state = "done"
	conflict state = "conflict"
	ended    state = "ended"
	unknown  state = "unknown"
	full     state = "full"
)

// told is the answer to what is to be passed on.
func told(all bool) *answer {
	if all {
		return &answer{State: done}
	}
	return &answer{State: unknown}
}

// onWire is a session between nodes, whose clocks differ: its lease is a span.
type onWire struct {
	ID      ID        `json:"id"`
	Asset   string    `json:"asset,omitempty"`
	Device  string    `json:"device,omitempty"`
	Label   string    `json:"label,omitempty"`
	Region  string    `json:"region,omitempty"`
	Key     string    `json:"key,omitempty"`
	Started time.Time `json:"started"`
	LeftMs  int64     `json:"left_ms"` // until the lease ends; below 0 since
	Renewed int       `json:"renewed,omitempty"`
	Limit   int       `json:"limit,omitempty"`
	Ended   bool      `json:"ended,omitempty"`
}

func toWire(e *entry, now time.Time) *onWire {
	return &onWire{
		ID: e.ID, Asset: e.Asset, Device: e.Device, Label: e.Label, Region: e.Region, Key: e.key, Started: e.Started,
		LeftMs: e.Expires.Sub(now).Milliseconds(), Renewed: e.Renewed, Limit: e.limit, Ended: e.Ended,
	}
}

// entry is the session by this node's clock. A lease is never longer than this node gives.
func (w *onWire) entry(now time.Time, lease time.Duration) *entry {
	left := min(time.Duration(w.LeftMs)*time.Millisecond, lease)
	return &entry{
		Session: Session{
			ID: w.ID, Asset: w.Asset, Device: w.Device, Label: w.Label, Region: w.Region, Started: w.Started, Expires: now.Add(left),
			Renewed: w.Renewed, Ended: w.Ended,
		},
		key: w.Key, limit: w.Limit,
	}
}

func listToWire(list []*entry, now time.Time) []*onWire {
	wire := make([]*onWire, len(list))
	for i, e := range list {
		wire[i] = toWire(e, now)
	}
	return wire
}

func (b *Book) fromWire(list []*onWire, now time.Time) []*entry {
	entries := make([]*entry, 0, len(list))
	for _, w := range list {
		if w != nil && w.ID != "" {
			entries = append(entries, w.entry(now, b.options.Lease))
		}
	}
	return entries
}

// result is the answer as its caller wants it.
func (b *Book) result(a *answer) (Session, error) {
	switch a.State {
	case done:
		if a.Session == nil {
			return Session{}, nil
		}
		return a.Session.entry(time.Now(), b.options.Lease).Session, nil
	case conflict:
		c := &Conflict{Limit: a.Limit}
		for _, e := range b.fromWire(a.Sessions, time.Now()) {
			c.Sessions = append(c.Sessions, e.Session)
		}
		return Session{}, c
	case ended:
		return Session{}, ErrEnded
	case unknown:
		return Session{}, ErrUnknown
	case full:
		return Session{}, ErrFull
	}
	return Session{}, fmt.Errorf("session: a node answers %q", a.State)
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("session: " + err.Error()) // strings, numbers and times of this century: cannot fail
	}
	return text
}
