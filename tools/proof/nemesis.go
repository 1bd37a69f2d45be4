package proof

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The times of a round: nothing is wrong, then faults begin and end, then nothing
// is wrong again for as long as the cluster may take to be one.
const (
	leastQuiet, mostQuiet = 15 * time.Second, 60 * time.Second
	faultsBegin           = 20 * time.Second // the last one, after the first may
	leastFault, mostFault = time.Second, 60 * time.Second
	mostFaults            = 4 // at a time
	settleTime            = 15 * time.Second
	exchangeTime          = 5 * time.Second
)

// Round is a stretch of a Schedule: a quiet time, then faults.
type Round struct {
	Quiet  time.Duration
	Faults []Strike
}

// Strike is a fault of a Round: what happens to whom, and when.
type Strike struct {
	Kind  StrikeKind
	At    time.Duration // after the quiet time
	For   time.Duration
	Nodes []string // that it concerns, in the order that Kind tells
	Text  string   // the argument: a duration, a share, a Fault, in their usual form
}

// StrikeKind names what a Strike does.
type StrikeKind string

// What may happen. A node that something happens to is the first of Nodes.
const (
	StrikeKill     StrikeKind = "kill"      // the node dies, and starts again at the end
	StrikeDamage   StrikeKind = "damage"    // as kill; meanwhile some of its files are spoilt
	StrikeLeave    StrikeKind = "leave"     // as kill, but with a farewell
	StrikePause    StrikeKind = "pause"     // all its links are cut, its clients' too
	StrikeCut      StrikeKind = "cut"       // between two nodes
	StrikeOneWay   StrikeKind = "one-way"   // from a node to another one
	StrikeSplit    StrikeKind = "split"     // Nodes on one side, the rest on the other
	StrikeDelay    StrikeKind = "delay"     // between two nodes, of Text
	StrikeLoss     StrikeKind = "loss"      // of packets between all nodes, a share of Text
	StrikeLate     StrikeKind = "late"      // what the node says to others on connections, by Text
	StrikeThrottle StrikeKind = "throttle"  // of what the node says to others, Text bytes a second
	StrikeReset    StrikeKind = "reset"     // of all connections between two nodes, once
	StrikeNoOrigin StrikeKind = "no-origin" // the node alone does not reach the origin
	StrikeOrigin   StrikeKind = "origin"    // the origin does Text, to a tenth of all requests or to all
	StrikeDown     StrikeKind = "down"      // the origin is away
)

// String is one line.
func (s Strike) String() string {
	return strings.TrimRight(fmt.Sprintf("+%s for %s: %s %s %s", s.At, s.For, s.Kind, strings.Join(s.Nodes, " "), s.Text), " ")
}

// NewSchedule returns the rounds that a seed stands for, about as many as the
// duration takes. It depends on nothing else: who runs a seed again sees the
// same.
func NewSchedule(seed uint64, nodes []string, d time.Duration) []Round {
	s := scheduler{random: rand.New(rand.NewPCG(seed, 1)), nodes: nodes}
	var rounds []Round
	for sum := time.Duration(0); sum < d; {
		r := s.round()
		sum += r.Length()
		rounds = append(rounds, r)
	}
	return rounds
}

// Length is how long the round takes, until the cluster must be one again.
func (r Round) Length() time.Duration {
	end := time.Duration(0)
	for _, f := range r.Faults {
		end = max(end, f.At+f.For)
	}
	return r.Quiet + end + settleTime + exchangeTime
}

// scheduler makes rounds.
type scheduler struct {
	random *rand.Rand
	nodes  []string
}

func (s *scheduler) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.random.Int64N(int64(most-least))).Truncate(time.Millisecond)
}

// round chooses faults, no two of which happen to the same node, or are the end of the origin.
func (s *scheduler) round() Round {
	r := Round{Quiet: s.between(leastQuiet, mostQuiet)}
	left := slices.Clone(s.nodes)
	s.random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	for range 1 + s.random.IntN(mostFaults) {
		if len(left) < 3 {
			break
		}
		f, rest := s.strike(left)
		if f.Kind == StrikeDown && slices.ContainsFunc(r.Faults, func(other Strike) bool { return other.Kind == StrikeDown }) {
			continue // there is one origin
		}
		left, r.Faults = rest, append(r.Faults, f)
	}
	slices.SortStableFunc(r.Faults, func(a, b Strike) int { return cmp.Compare(a.At, b.At) })
	return r
}

// strike makes one fault of the nodes that are left, and returns those that it
// leaves.
func (s *scheduler) strike(left []string) (Strike, []string) {
	kinds := []StrikeKind{
		StrikeKill, StrikeKill, StrikeDamage, StrikeLeave, StrikePause, StrikePause, StrikeCut, StrikeOneWay, StrikeSplit,
		StrikeDelay, StrikeLoss, StrikeLate, StrikeThrottle, StrikeReset, StrikeNoOrigin, StrikeOrigin, StrikeOrigin, StrikeDown,
	}
	f := Strike{Kind: kinds[s.random.IntN(len(kinds))], At: s.between(0, faultsBegin), For: s.between(leastFault, mostFault)}
	used := 0
	switch f.Kind {
	case StrikeKill, StrikeDamage, StrikeLeave, StrikePause, StrikeNoOrigin:
		used = 1
	case StrikeCut, StrikeOneWay, StrikeReset:
		used = 2
	case StrikeSplit:
		used = 1 + s.random.IntN(len(left)-1)
	case StrikeDelay:
		used, f.Text = 2, s.between(20*time.Millisecond, 2*time.Second).String()
	case StrikeLoss:
		f.Text = fmt.Sprintf("%.2f", 0.05+0.35*s.random.Float64())
	case StrikeLate:
		used, f.Text = 1, s.between(200*time.Millisecond, 10*time.Second).String()
	case StrikeThrottle:
		used, f.Text = 1, fmt.Sprintf("%dKiB", 1+s.random.IntN(64))
	case StrikeOrigin:
		f.Text = s.originFault()
	case StrikeDown:
	}
	f.Nodes = left[:used:used]
	if used > 1 { // links break, machines do not: they may suffer something else, too
		return f, left
	}
	return f, left[used:]
}

func (s *scheduler) originFault() string {
	at := s.random.IntN(40_000)
	faults := []string{
		"status=503", "status=500", "reset-head", "delay=" + s.between(100*time.Millisecond, 15*time.Second).String(),
		fmt.Sprintf("truncate=%d", at), fmt.Sprintf("reset=%d", at), fmt.Sprintf("stall=%d:30s", at), "trickle=8KiB/1s",
	}
	return faults[s.random.IntN(len(faults))]
}
