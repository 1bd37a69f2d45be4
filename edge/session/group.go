package session

import (
	"cmp"
	"slices"
	"time"
)

// group holds the sessions that count together. Not safe for concurrent use: its shard's lock guards it.
type group struct {
	sessions map[ID]*entry
	byKey    map[string]ID // of idempotent openings that are still here; of several with one key the last that lives
	sweep    time.Time     // nothing expires before
	live     int           // at the last sweep, and what was opened or ended since
	part     bool          // other owners may have more of it
}

// entry is a session with what only its owners need.
type entry struct {
	Session

	key   string // of the opening; "" none
	limit int    // of the group when it was opened; 0 none
}

// sweepPerSession spreads the cost of looking through a large group: one with 50,000 sessions is looked through once in
// a second at most, whatever expires in it.
const sweepPerSession = 20 * time.Microsecond

func newGroup() *group { return &group{sessions: map[ID]*entry{}, byKey: map[string]ID{}} }

// expire counts what lives and forgets what has been over for longer than keep. It returns how many were forgotten.
func (g *group) expire(now time.Time, keep time.Duration) (forgotten int) {
	if now.Before(g.sweep) {
		return 0
	}
	g.live = 0
	g.sweep = now.Add(keep)
	for id, e := range g.sessions {
		switch next := e.Expires; {
		case e.Live(now):
			g.live++
			g.sweep = earlier(g.sweep, next)
		case !now.Before(next.Add(keep)):
			delete(g.sessions, id)
			if g.byKey[e.key] == id { // a later opening may have it
				delete(g.byKey, e.key)
			}
			forgotten++
		default:
			g.sweep = earlier(g.sweep, next.Add(keep))
		}
	}
	if pause := now.Add(time.Duration(len(g.sessions)) * sweepPerSession); g.sweep.Before(pause) {
		g.sweep = pause
	}
	return forgotten
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// put takes in a session that is not here yet.
func (g *group) put(e *entry, now time.Time) {
	g.sessions[e.ID] = e
	if e.key != "" {
		if last := g.sessions[g.byKey[e.key]]; last == nil || !last.Live(now) || compare(last, e) < 0 {
			g.byKey[e.key] = e.ID
		}
	}
	if e.Live(now) {
		g.live++
		g.sweep = earlier(g.sweep, e.Expires)
	}
}

// opened is the session of the same opening, nil where there is none: the client has asked twice, or its first owner
// was lost in answering.
func (g *group) opened(o *Opening) *entry {
	if e := g.sessions[o.Session.ID]; e != nil || o.Key == "" {
		return e
	}
	return g.sessions[g.byKey[o.Key]]
}

// end makes a session count no more.
func (g *group) end(e *entry, now time.Time) {
	if e.Live(now) {
		g.live--
	}
	e.Ended = true
}

// merge takes in what another node knows of a session: who has ended it is right, else who has renewed it more often. It
// tells whether the session is new here, and whether this node knows better.
func (g *group) merge(theirs *entry, now time.Time) (added, better bool) {
	ours := g.sessions[theirs.ID]
	if ours == nil {
		g.put(theirs, now)
		return true, false
	}
	better = ours.Ended && !theirs.Ended || ours.Renewed > theirs.Renewed
	if theirs.Ended && !ours.Ended {
		g.end(ours, now)
	}
	if theirs.Renewed > ours.Renewed {
		ours.Renewed = theirs.Renewed
		if !ours.Live(now) && !ours.Ended && now.Before(theirs.Expires) {
			g.live++
		}
		ours.Expires = theirs.Expires
		g.sweep = earlier(g.sweep, ours.Expires)
	}
	return false, better
}

// excess tells whether the session is one too many: as many as the limit allows began before it.
func (g *group) excess(e *entry, limit int, now time.Time) bool {
	if limit <= 0 || g.live <= limit {
		return false
	}
	before := 0
	for _, other := range g.sessions {
		if other != e && other.Live(now) && compare(other, e) < 0 {
			before++
		}
	}
	return before >= limit
}

// compare ranks sessions by their beginning, the same on every node.
func compare(a, b *entry) int {
	return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
}

// oldest is the session that has waited longest to be renewed, nil where none lives.
func (g *group) oldest(now time.Time) *entry {
	var oldest *entry
	for _, e := range g.sessions {
		if e.Live(now) && (oldest == nil || cmp.Or(e.Expires.Compare(oldest.Expires), compare(e, oldest)) < 0) {
			oldest = e
		}
	}
	return oldest
}

// others lists the sessions that live without one of them, the oldest first, up to most; of a large group any.
func (g *group) others(id ID, most int, now time.Time) []Session {
	var list []*entry
	for _, e := range g.sessions {
		if e.ID != id && e.Live(now) {
			if list = append(list, e); len(list) == most && len(g.sessions) > wholeGroup {
				break // each who is refused would look at all who watch
			}
		}
	}
	slices.SortFunc(list, compare)
	sessions := make([]Session, 0, min(most, len(list)))
	for _, e := range list[:min(most, len(list))] {
		sessions = append(sessions, e.Session)
	}
	return sessions
}
