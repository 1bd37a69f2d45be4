package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir/cluster/ring"
	"weir/edge/console"
	"weir/edge/telemetry"
	"weir/edge/upstream"
)

const (
	// ringField tells another node which ring this one uses. It is taken off before a client could see it.
	ringField = "Weir-Uses-Ring"
	// ringPatience is how long members may differ after a change: gossip needs seconds.
	ringPatience = 10 * time.Second
	// heardLately is how long a member that was never asked for anything is said to answer after it was heard of:
	// purges are exchanged with one at random twice a second.
	heardLately = time.Minute
	// goneShown is how long operators are told of a node that is gone.
	goneShown = 10 * time.Minute
)

// usedRing is the ring that a node was seen to use, and since when.
type usedRing struct {
	version uint64
	since   time.Time
}

// shortRing names a ring for people and for other nodes.
func shortRing(r *ring.Ring) string { return fmt.Sprintf("%08x", uint32(r.Version())) }

// inUse is the ring of now. It is looked at with each request of another node, which come twice a second at least.
func (n *node) inUse() (r *ring.Ring, since time.Time) {
	r = n.ring()
	last := n.used.Load()
	if last == nil || last.version != r.Version() {
		last = &usedRing{r.Version(), time.Now()}
		n.used.Store(last)
	}
	return r, last.since
}

// sayRing puts it on a response to another node.
func (n *node) sayRing(h http.Header) {
	r, _ := n.inUse()
	h.Set(ringField, shortRing(r))
}

func (n *node) ringState() console.RingState {
	r, since := n.inUse()
	s := console.RingState{Version: shortRing(r), Nodes: r.Len(), Differ: []string{}}
	if n.peers == nil {
		return s
	}
	for _, m := range n.cluster.Members() {
		if m.Self || m.Region != n.config.Node.Region {
			continue
		}
		if peer, known := n.peers.State(m.Name); known && differs(&peer, s.Version, since) {
			s.Differ = append(s.Differ, m.Name)
		}
	}
	return s
}

// differs tells whether a node uses another ring than the one that is used here since then.
func differs(peer *upstream.PeerState, ours string, since time.Time) bool {
	return peer.Said != "" && peer.Said != ours && peer.SaidAt.Sub(since) > ringPatience
}

// purgeLog is nil on a node that stands alone.
func (n *node) purgeLog() *console.PurgeLog {
	if n.notices == nil {
		return nil
	}
	s := n.notices.Stats()
	out := &console.PurgeLog{
		State: console.Current, Lag: s.Lag, Posted: s.Posted, Received: s.Received, Unacknowledged: s.Unacknowledged, Lapses: s.Lapses,
	}
	select {
	case <-n.current():
	default:
		out.State = console.CatchingUp
	}
	if s.Lag > 0 {
		out.State = console.CatchingUp
	}
	return out
}

func (n *node) budgets() console.Budgets {
	var s console.Budgets
	for _, group := range n.routes.Load().origins {
		b := budgetOf(group.Retries())
		s.OriginRetries.Sent += b.Sent
		s.OriginRetries.Refused += b.Refused
		s.OriginRetries.UsedUp = s.OriginRetries.UsedUp || b.UsedUp
	}
	if n.peers != nil {
		retries, hedges := n.peers.Budgets()
		r, h := budgetOf(retries), budgetOf(hedges)
		s.PeerRetries, s.Hedges = &r, &h
	}
	return s
}

func budgetOf(b upstream.Budget) console.Budget {
	return console.Budget{UsedUp: b.Left < 1, Sent: b.Spent, Refused: b.Refused}
}

// peerCounts is what the metrics read.
func (n *node) peerCounts() telemetry.PeerCounts {
	retries, hedges := n.peers.Budgets()
	out := telemetry.PeerCounts{
		Opened: n.peers.Opened(), Running: map[string]int64{}, Failed: map[string]uint64{},
		Hedges: hedges.Spent, HedgesRefused: hedges.Refused, Retries: retries.Spent, RetriesRefused: retries.Refused,
	}
	for kind, count := range n.peers.Failed() {
		out.Failed[string(kind)] = count
	}
	for _, m := range n.cluster.Members() {
		if s, asked := n.peers.State(m.Name); asked {
			out.Running[m.Name] = s.Running
			if !s.OK {
				out.LeftOut++
			}
		}
	}
	return out
}

// problems says what is wrong and what to do about it, the worst first.
func (n *node) problems(s *console.Status) []console.Problem {
	problems := []console.Problem{}
	add := func(what, why, fix string) {
		problems = append(problems, console.Problem{What: what, Why: why, Fix: fix})
	}
	if !s.Origin.OK {
		add("The origin "+s.Origin.URL+" does not answer.", s.Origin.LastError+".", "Start it or correct its address; stored content is served meanwhile.")
	}
	if last := n.reloads.last.Load(); last != nil && last.err != nil {
		add("The configuration could not be read again.", last.err.Error()+".", "Correct the file and run weir reload, or send SIGHUP; until then the node runs on as it was.")
	}
	if lost := n.cache.Stats().DiskErrors; lost > 0 {
		add("The disk did not take responses.", fmt.Sprintf("%d responses since the start were served but not stored.", lost), "Look at the node's log, free space or lower cache.disk.")
	}
	if s.PurgeLog != nil && s.PurgeLog.Lag > 0 {
		add("Purges of other nodes are not obeyed here.", fmt.Sprintf("%d are known to be missing.", s.PurgeLog.Lag), "Look at the node's log; with a full disk purges cannot be kept.")
	}
	if strict(n.config) && n.notices != nil && !n.notices.Doubt(time.Now()).IsZero() {
		have, all := n.notices.Majority()
		add("This node is cut off from most of the others.",
			fmt.Sprintf("It has heard lately from %d of %d nodes, itself included, and cannot know what was purged elsewhere: strict sites have the origin confirm what they serve.", have, all),
			"Bring the network or the other nodes back. Nodes that are gone for good count for a week, or until this node is restarted without cluster.strict.")
	}
	for _, member := range n.members() {
		if member.Answers == "no" && member.State == "alive" {
			add("Node "+member.Name+" does not answer this node.", silence(&member), "Other nodes are asked instead of it. Look at its log, and at the network between the two.")
		}
	}
	if len(s.Ring.Differ) > 0 {
		add(strings.Join(s.Ring.Differ, ", ")+" and this node place keys by different rings.",
			fmt.Sprintf("This node uses %s with %s.", s.Ring.Version, plural(s.Ring.Nodes, "node")),
			"The origin is asked more often until they agree. Compare weir ring on both: who is missing on one of them cannot be reached from there.")
	}
	if b := s.Budgets.PeerRetries; b != nil && b.UsedUp {
		add("Requests are not tried again at the next node.", fmt.Sprintf("The budget for that is used up; %d were refused since the start.", b.Refused),
			"The origin is asked instead. Look at the members that do not answer.")
	}
	n.mismatches(add)
	for _, member := range n.cluster.Members() {
		if member.State.String() == "dead" && time.Since(member.Since) < goneShown {
			add("Node "+member.Name+" is gone.", fmt.Sprintf("It has not answered since %s.", member.Since.Format(time.TimeOnly)), "Restart it, or let it be: its keys have moved to other nodes.")
		}
	}
	n.overloadProblem(time.Now(), add)
	n.tlsProblems(time.Now(), add)
	return problems
}

// silence tells why a member is left out, and how long yet.
func silence(m *console.Member) string {
	why := ""
	if m.Error != "" {
		why = "Last error: " + strings.TrimSuffix(m.Error, ".") + ". "
	}
	if m.Breaker.Until == nil {
		return why + "The next request tries it again."
	}
	return fmt.Sprintf("%sIt is left out for another %s, the %s.", why, max(time.Until(*m.Breaker.Until), 0).Round(time.Second), ordinal(m.Breaker.Opened))
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first time"
	case 2:
		return "second time"
	case 3:
		return "third time"
	}
	return fmt.Sprintf("%dth time", n)
}

func (n *node) members() []console.Member {
	members := n.cluster.Members()
	out := make([]console.Member, 0, len(members))
	for _, m := range members {
		state := m.State.String()
		if state == "alive" && m.Draining {
			state = "draining"
		}
		out = append(out, n.answering(console.Member{
			Name: m.Name, Address: cmp.Or(m.HTTPSAddr, m.HTTPAddr, m.PeerAddr),
			Zone: m.Zone, Region: m.Region, State: state, Weight: m.Weight, Build: m.Build, Keys: m.Keys, Since: m.Since, Self: m.Self,
		}))
	}
	return out
}

// answering adds what the request path knows of a member.
func (n *node) answering(m console.Member) console.Member {
	if m.Self {
		m.Ring = shortRing(n.ring())
	}
	if n.peers == nil {
		return m
	}
	s, known := n.peers.State(m.Name)
	if !known {
		return m
	}
	switch {
	case m.State == "dead" || m.State == "left" || s.Breaker.State != upstream.BreakerClosed:
		m.Answers = "no"
	case s.Asked || time.Since(s.SaidAt) < heardLately:
		m.Answers = "yes"
	}
	m.P95, m.Error, m.Running, m.Ring = s.Slow.Seconds(), s.LastError, s.Running, s.Said
	m.Breaker = console.Breaker{State: string(s.Breaker.State), Opened: s.Breaker.Opened}
	if s.Breaker.State == upstream.BreakerOpen {
		m.Breaker.Until = &s.Breaker.Until
	}
	return m
}
