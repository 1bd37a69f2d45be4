package session

import (
	"errors"
	"fmt"
	"time"
)

// Session is one viewer who watches one asset. A plain value; the caller owns it.
type Session struct {
	ID     ID
	Asset  string // as the client names it
	Device string // its class: tv, car, phone, web; may be empty
	Label  string // what the client calls it, for its other players to show; may be empty
	Region string // where it was opened

	Started time.Time // time of day at the node that it was opened at
	Expires time.Time // when its lease ends, unless it is renewed; by this node's clock
	Renewed int       // how many times
	Ended   bool      // by End, or by another session in its place; it stays so
}

// Live tells whether the session counts.
func (s *Session) Live(now time.Time) bool { return !s.Ended && now.Before(s.Expires) }

// Errors that callers test for.
var (
	// ErrUnknown: no owner knows the session. Its lease ended long ago, or all its owners were lost.
	ErrUnknown = errors.New("session: no node knows this session")
	// ErrEnded: the session was ended, by its player or another one, or its lease has run out.
	ErrEnded = errors.New("session: the session has ended")
	// ErrFull: the node keeps as many sessions as it may.
	ErrFull = errors.New("session: the node cannot keep more sessions")
	// ErrUnreachable: no owner of the place answers.
	ErrUnreachable = errors.New("session: no node that keeps this session answers")
)

// Conflict is the error of a session that is one too many.
type Conflict struct {
	Limit    int
	Sessions []Session // that live in the group without this one, the oldest first
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("session: %d of %d sessions are open", len(c.Sessions), c.Limit)
}
