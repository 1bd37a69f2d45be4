package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Subject is a Lab whose nodes a Trial can look into. Its methods may be called at
// the same time.
type Subject interface {
	Lab
	// Purge purges a URL at a node and returns the nodes that obey it when it
	// returns, that one among them. An error means that nobody was told.
	Purge(node, url string) (acknowledged []string, err error)
	// View returns what a running node says of itself.
	View(node string) (View, error)
	// Damage spoils something that a node which does not run has stored, chosen by a
	// random number.
	Damage(node string, random uint64) error
}

// View is what a node says of itself.
type View struct {
	Ring      uint64 // equal where nodes place every key alike
	RingNodes int
	Ready     bool   // clients may be sent to it
	Lag       int64  // purges that it knows to be missing
	Panics    int64  // stopped, since its first start
	Requests  uint64 // of clients that ended, since its last start
	Bytes     int64  // of body sent to them
	Corrupt   int64  // stored responses found damaged since its last start
	Over      string // a budget that is exceeded, "" for none
}

// TrialOptions describe a Trial; For is needed, the rest may be zero.
type TrialOptions struct {
	Seed              uint64        // of faults and load
	For               time.Duration // how long it goes on
	Nodes             int           // 0 = 5; at least 3
	RequestsPerSecond float64       // of all clients; 0 = 4
	Options           map[string]string
	// Log is told of every round; nil = nobody.
	Log func(format string, args ...any)
}

// TrialReport is what a Trial saw.
type TrialReport struct {
	Rounds, Requests, Right, Excused, Purges, Versions, Corrupt int

	Faults  map[StrikeKind]int
	Longest time.Duration // until all rings agreed after the last fault
	Breaks  []string      // of invariants; the trial ends with the round of the first
}

// String is one line.
func (r TrialReport) String() string {
	var faults []string
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		faults = append(faults, fmt.Sprintf("%s %d", kind, r.Faults[kind]))
	}
	return fmt.Sprintf("%d rounds, %d requests (%d right, %d excused by a fault), %d versions, %d purges, %d damaged files found, rings agree after %s at most; faults: %s; broken: %d",
		r.Rounds, r.Requests, r.Right, r.Excused, r.Versions, r.Purges, r.Corrupt, r.Longest, strings.Join(faults, ", "), len(r.Breaks))
}

// Trial runs nodes under load while faults strike them by the schedule of a seed,
// and checks all that the package comment lists. The lab that setup makes must be a
// Subject. The caller is in a bubble. The error joins the breaks.
func Trial(t *testing.T, setup Setup, o TrialOptions) (TrialReport, error) {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 5
	}
	if o.RequestsPerSecond == 0 {
		o.RequestsPerSecond = 4
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	network := NewNetwork(o.Seed)
	lab, err := setup(t, network)
	if err != nil {
		return TrialReport{}, fmt.Errorf("trial: set up: %w", err)
	}
	subject, ok := lab.(Subject)
	if !ok {
		return TrialReport{}, errors.Join(fmt.Errorf("trial: %T is no Subject", lab), lab.Close())
	}
	tr := &trial{
		options: o, network: network, lab: subject, oracle: NewOracle("trial"), start: time.Now(),
		clients: map[string]*Client{}, report: TrialReport{Faults: map[StrikeKind]int{}},
		judge: newJudge(), told: map[string]int{},
	}
	tr.judge.trial = tr
	err = tr.run(t.Context())
	report := tr.report
	for _, b := range report.Breaks {
		err = errors.Join(err, errors.New(b))
	}
	return report, err
}

// trial is a Trial at work.
type trial struct {
	options TrialOptions
	network *Network
	lab     Subject
	oracle  *Oracle
	origin  *Origin
	stop    func() // of the origin; nil while it is down
	names   []string
	clients map[string]*Client // by node
	paths   []string
	judge   *judge
	start   time.Time
	work    sync.WaitGroup // load and editors

	mu     sync.Mutex // guards the fields below
	report TrialReport
	active []Strike       // that are conditions of links
	told   map[string]int // breaks by invariant
}

// The hosts of a trial beside its nodes, and the host of its URLs.
const (
	trialOrigin = "origin"
	trialClient = "viewers"
	trialSite   = "site.example"
)

func (tr *trial) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tr.rules()
	tr.origin = NewOrigin(OriginOptions{Oracle: tr.oracle})
	err := tr.startOrigin()
	for i := range tr.options.Nodes {
		tr.names = append(tr.names, fmt.Sprintf("edge-%d", i+1))
	}
	for _, name := range tr.names {
		err = errors.Join(err, tr.startNode(name), tr.connect(name))
	}
	if err == nil {
		tr.work.Go(func() { tr.load(ctx) })
		tr.work.Go(func() { tr.edit(ctx) })
		err = tr.rounds(ctx, NewSchedule(tr.options.Seed, tr.names, tr.options.For))
	}
	cancel()
	tr.work.Wait()
	for _, c := range tr.clients {
		_ = c.Close() // its connections go with the lab
	}
	err = errors.Join(err, tr.lab.Close())
	if tr.stop != nil {
		tr.stop()
	}
	return err
}

func (tr *trial) startNode(name string) error {
	options := maps.Clone(tr.options.Options)
	if options == nil {
		options = map[string]string{}
	}
	options["origin"] = trialOrigin
	return tr.lab.StartNode(name, options)
}

func (tr *trial) connect(name string) error {
	client, err := NewClient(ClientOptions{
		Oracle: tr.oracle, Name: trialClient, Node: name,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return tr.lab.Dial(ctx, trialClient, name, false)
		},
	})
	tr.clients[name] = client
	return err
}

func (tr *trial) startOrigin() error {
	l, err := tr.network.Listen(trialOrigin + ":80")
	if err == nil {
		tr.stop = Serve(l, http.HandlerFunc(tr.serve), nil)
	}
	return err
}

// serve answers as the origin does, and watches what is asked.
func (tr *trial) serve(w http.ResponseWriter, r *http.Request) {
	defer tr.judge.asked(r)()
	tr.origin.ServeHTTP(w, r)
}

// rounds strikes and checks, until something is broken.
func (tr *trial) rounds(ctx context.Context, schedule []Round) error {
	for i, r := range schedule {
		tr.options.Log("seed %d, round %d at %s", tr.options.Seed, i+1, time.Since(tr.start))
		if err := tr.round(ctx, r); err != nil {
			return fmt.Errorf("seed %d, round %d: %w", tr.options.Seed, i+1, err)
		}
		tr.mu.Lock()
		tr.report.Rounds++
		broken := len(tr.report.Breaks) > 0
		tr.mu.Unlock()
		if broken {
			for _, f := range r.Faults {
				tr.options.Log("%s", f)
			}
			return fmt.Errorf("seed %d, broken in round %d, %s after the start", tr.options.Seed, i+1, time.Since(tr.start))
		}
	}
	return nil
}

func (tr *trial) round(ctx context.Context, r Round) error {
	tr.judge.calm(true)
	time.Sleep(r.Quiet)
	tr.judge.calm(false)
	begin := time.Now()
	var faults sync.WaitGroup
	errs := make([]error, len(r.Faults))
	for i, f := range r.Faults {
		faults.Go(func() {
			time.Sleep(time.Until(begin.Add(f.At)))
			tr.mu.Lock()
			tr.report.Faults[f.Kind]++
			tr.mu.Unlock()
			tr.options.Log("%s", f)
			errs[i] = tr.strike(f, r)
		})
	}
	faults.Wait()
	tr.origin.ClearFaults()
	err := errors.Join(errs...)
	if err == nil {
		tr.settle(ctx)
	}
	return err
}

// settle waits until the cluster must be one, and looks whether it is.
func (tr *trial) settle(ctx context.Context) {
	healed := time.Now()
	for !tr.oneRing() {
		if time.Since(healed) > settleTime {
			tr.broken("I12", "rings differ %s after the last fault: %s", settleTime, tr.views())
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	tr.mu.Lock()
	tr.report.Longest = max(tr.report.Longest, time.Since(healed))
	tr.mu.Unlock()
	time.Sleep(time.Until(healed.Add(settleTime)))
	time.Sleep(exchangeTime)
	tr.judge.everywhere()
	tr.probe(ctx)
	tr.look()
}

func (tr *trial) oneRing() bool {
	var first View
	for i, name := range tr.names {
		v, err := tr.lab.View(name)
		if i == 0 {
			first = v
		}
		if err != nil || v.Ring != first.Ring || v.RingNodes != len(tr.names) {
			return false
		}
	}
	return true
}

func (tr *trial) views() string {
	var b strings.Builder
	for _, name := range tr.names {
		v, err := tr.lab.View(name)
		fmt.Fprintf(&b, "%s %x of %d (%v); ", name, v.Ring, v.RingNodes, err)
	}
	return b.String()
}

// probe asks every node for what was purged lately.
func (tr *trial) probe(ctx context.Context) {
	var asks sync.WaitGroup
	for _, path := range tr.judge.purgedLately() {
		for _, name := range tr.names {
			asks.Go(func() { tr.ask(ctx, name, path, Options{Range: "bytes=0-1999"}) })
		}
	}
	asks.Wait()
}

// look checks what nodes say of themselves.
func (tr *trial) look() {
	synctest.Wait()
	for _, name := range tr.names {
		v, err := tr.lab.View(name)
		switch {
		case err != nil:
			tr.broken("N9", "%s: %v", name, err)
		case !v.Ready:
			tr.broken("I14", "%s is not ready %s after the last fault", name, settleTime+exchangeTime)
		case v.Lag > 0:
			tr.broken("I13", "%s lacks %d purges %s after the last fault", name, v.Lag, settleTime+exchangeTime)
		case v.Over != "":
			tr.broken("I8", "%s has more than it may: %s", name, v.Over)
		case v.Panics > 0:
			tr.broken("I17", "%s panicked %d times", name, v.Panics)
		}
		tr.judge.sums(name, v)
	}
}

// mostBreaks of one invariant are told.
const mostBreaks = 5

// broken notes that an invariant does not hold.
func (tr *trial) broken(invariant, format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.told[invariant]++; tr.told[invariant] <= mostBreaks {
		text := fmt.Sprintf("%s, seed %d, %s: ", invariant, tr.options.Seed, time.Since(tr.start)) + fmt.Sprintf(format, args...)
		tr.report.Breaks = append(tr.report.Breaks, text)
	}
}

// strike does what f says, until its end.
func (tr *trial) strike(f Strike, in Round) error {
	end := time.Now().Add(f.For)
	wait := func() { time.Sleep(time.Until(end)) }
	switch f.Kind {
	case StrikeKill, StrikeDamage, StrikeLeave:
		return tr.down(f, in)
	case StrikeReset:
		tr.network.Reset(f.Nodes[0], f.Nodes[1])
		return nil
	case StrikeOrigin:
		return tr.faultyOrigin(f, wait)
	case StrikeDown:
		defer tr.judge.excuse("")()
		tr.network.Kill(trialOrigin)
		tr.stop()
		wait()
		return tr.startOrigin()
	case StrikePause:
		defer tr.judge.excuse(f.Nodes[0])()
	case StrikeNoOrigin:
		defer tr.judge.excuse("")() // others may be told by it that the origin is away
	default: // nobody is excused: what becomes of a link, viewers do not notice
	}
	if err := tr.shape(f, true); err != nil {
		return err
	}
	wait()
	return tr.shape(f, false)
}

// shape adds the condition of links that a fault makes to those of others, or takes
// it away.
func (tr *trial) shape(f Strike, begins bool) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if begins {
		tr.active = append(tr.active, f)
	} else {
		tr.active = slices.DeleteFunc(tr.active, func(other Strike) bool { return other.String() == f.String() })
	}
	hosts := append([]string{trialOrigin, trialClient}, tr.names...)
	for _, from := range hosts {
		for _, to := range hosts {
			var c condition
			for _, f := range tr.active {
				if err := f.condition(from, to, &c); err != nil {
					return err
				}
			}
			tr.network.shape(from, to, c)
		}
	}
	return nil
}

// condition adds what the fault does to one link.
func (s Strike) condition(from, to string, c *condition) (err error) {
	isNode := func(host string) bool { return host != trialOrigin && host != trialClient }
	has := func(host string) bool { return slices.Contains(s.Nodes, host) }
	between := from != to && isNode(from) && isNode(to)
	switch s.Kind {
	case StrikePause:
		c.cut = c.cut || from != to && (has(from) || has(to))
	case StrikeNoOrigin:
		c.cut = c.cut || has(from) && to == trialOrigin || from == trialOrigin && has(to)
	case StrikeCut:
		c.cut = c.cut || from != to && has(from) && has(to)
	case StrikeOneWay:
		c.cut = c.cut || from == s.Nodes[0] && to == s.Nodes[1]
	case StrikeSplit:
		c.cut = c.cut || between && has(from) != has(to)
	case StrikeDelay:
		if from != to && has(from) && has(to) {
			c.delay, err = parseDuration(s.Text)
		}
	case StrikeLoss:
		if between {
			c.loss, err = strconv.ParseFloat(s.Text, 64)
		}
	case StrikeLate:
		if between && has(from) {
			c.late, err = parseDuration(s.Text)
		}
	case StrikeThrottle:
		if between && has(from) {
			c.rate, err = ParseSize(s.Text)
		}
	default: // it has nothing to do with links
	}
	return err
}

// down ends a node and starts it again.
func (tr *trial) down(f Strike, in Round) error {
	random := rand.New(rand.NewPCG(tr.options.Seed, uint64(f.At)+uint64(f.For)))
	name := f.Nodes[0]
	defer tr.judge.excuse(name)()
	end := time.Now().Add(f.For)
	var err error
	if f.Kind == StrikeLeave {
		err = tr.lab.Do(name, []string{"leave"})
	} else {
		tr.network.Kill(name)
		err = tr.lab.KillNode(name)
	}
	if err != nil {
		return err
	}
	if f.Kind == StrikeDamage {
		for range 1 + random.IntN(20) {
			if err := tr.lab.Damage(name, random.Uint64()); err != nil {
				return err
			}
		}
	}
	time.Sleep(time.Until(end))
	tr.judge.restarts(name, in.linksHold())
	return tr.startNode(name)
}

// linksHold says whether no link between nodes is concerned.
func (r Round) linksHold() bool {
	return !slices.ContainsFunc(r.Faults, func(f Strike) bool {
		switch f.Kind {
		case StrikeKill, StrikeDamage, StrikeLeave, StrikeNoOrigin, StrikeOrigin, StrikeDown, StrikeReset:
			return false
		default:
			return true
		}
	})
}

// faultyOrigin strikes some requests, or all.
func (tr *trial) faultyOrigin(f Strike, wait func()) error {
	defer tr.judge.excuse("")()
	fault, err := ParseFault(f.Text)
	if err != nil {
		return err
	}
	if f.For > mostFault/2 { // now and then only
		fault.Times = 10
	}
	pattern := "/*"
	if fault.Kind == FaultTrickle { // a film would take longer than the fault
		pattern = "/kept/*"
	}
	tr.origin.Fault(pattern, fault)
	wait()
	tr.origin.ClearFaults()
	return nil
}
