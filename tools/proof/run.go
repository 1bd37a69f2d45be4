package proof

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Run runs each script that matches glob as a parallel subtest, in a bubble of
// its own with a lab of its own. No match is a failure.
func Run(t *testing.T, setup Setup, files fs.FS, glob string) {
	t.Helper()
	names, err := fs.Glob(files, glob)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("no script matches %q", glob)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(path.Base(name), path.Ext(name)), func(t *testing.T) {
			t.Parallel()
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			script, err := ParseScript(name, text)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				if err := script.Run(t, setup); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Run runs the script; the caller is in a bubble. It stops at the first step
// that fails, and ends all it started.
func (s *Script) Run(t *testing.T, setup Setup) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &runner{
		ctx: ctx, script: s, network: NewNetwork(1), oracle: NewOracle(s.Name), history: &History{},
		origins: map[string]*originServer{}, nodes: map[string]bool{}, clients: map[clientKey]*Client{}, groups: map[string]*group{},
	}
	lab, err := setup(t, r.network)
	if err != nil {
		cancel()
		return fmt.Errorf("%s: set up: %w", s.Name, err)
	}
	r.lab = lab
	err = r.steps()
	cancel()
	return errors.Join(err, r.close())
}

// runner is a script at work. One goroutine owns it; those of start touch
// their group only.
type runner struct {
	ctx     context.Context
	script  *Script
	network *Network
	oracle  *Oracle
	history *History
	lab     Lab

	origins map[string]*originServer
	nodes   map[string]bool
	clients map[clientKey]*Client
	groups  map[string]*group
	last    string
}

type clientKey struct {
	name, node string
	protocol   Protocol
	secure     bool
	fresh      bool
}

// group is what one client asked for with one line.
type group struct {
	line      int
	results   []Result
	running   bool
	unchecked bool
	explained bool // an expectation spoke of how it ended
	done      sync.WaitGroup
}

type originServer struct {
	handler *Origin
	stop    func()
}

func (r *runner) steps() error {
	for _, step := range r.script.Steps {
		if err := step.command.run(r); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", r.script.Name, step.Line, step, err)
		}
		synctest.Wait()
	}
	for name, g := range r.groups {
		if g.running {
			return fmt.Errorf("%s:%d: client %s was never waited for", r.script.Name, g.line, name)
		}
		if err := g.unexplained(); err != nil {
			return fmt.Errorf("%s:%d: %w", r.script.Name, g.line, err)
		}
	}
	return nil
}

func (r *runner) close() error {
	for _, g := range r.groups {
		g.done.Wait()
	}
	for _, c := range r.clients {
		_ = c.Close() // its connections go with the lab
	}
	err := r.lab.Close()
	for _, o := range r.origins {
		o.stop()
	}
	return err
}

// Serve serves a handler over cleartext HTTP/1.1 and HTTP/2 on a listener, and
// over TLS if config is not nil. stop closes the listener and all connections
// and returns when the server has ended.
func Serve(l net.Listener, h http.Handler, config *tls.Config) (stop func()) {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(config == nil)
	server := &http.Server{Handler: h, Protocols: protocols, TLSConfig: config, ReadHeaderTimeout: time.Minute, ErrorLog: quiet()}
	var done sync.WaitGroup
	done.Go(func() {
		if config != nil {
			_ = server.ServeTLS(l, "", "") // ends with ErrServerClosed
			return
		}
		_ = server.Serve(l) // as above
	})
	return func() {
		_ = server.Close() // what is open is cut
		done.Wait()
	}
}

func (c *originCommand) run(r *runner) error {
	if r.origins[c.name] != nil {
		return errors.New("is there already")
	}
	l, err := r.network.Listen(c.name + ":80")
	if err != nil {
		return err
	}
	if c.hasRule {
		r.oracle.SetRule(c.host+"/*", c.rule)
	}
	o := &originServer{handler: NewOrigin(OriginOptions{Oracle: r.oracle, Host: c.host})}
	o.stop = Serve(l, o.handler, nil)
	r.origins[c.name] = o
	return nil
}

func (c *ruleCommand) run(r *runner) error {
	r.oracle.SetRule(c.pattern, c.rule)
	return nil
}

func (c *nodeCommand) run(r *runner) error {
	errs := make([]error, len(c.names))
	var starts sync.WaitGroup
	for i, name := range c.names {
		if r.nodes[name] {
			errs[i] = fmt.Errorf("%s runs already", name)
			continue
		}
		r.nodes[name] = true
		starts.Go(func() { errs[i] = r.lab.StartNode(name, c.options) })
	}
	starts.Wait()
	return errors.Join(errs...)
}

// matching returns the running nodes that a pattern names (path.Match), in the
// order of their numbers; a name that is no pattern stands for itself, running
// or not.
func (r *runner) matching(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[`) {
		return []string{pattern}, nil
	}
	var names []string
	for name := range r.nodes {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		} else if ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no running node is named %q", pattern)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return names, nil
}

// wait ends a group and fails on everything that no edge may do.
func (g *group) wait() error {
	g.done.Wait()
	g.running = false
	for _, result := range g.results {
		if !g.unchecked && result.Err != nil && !soft(result.Err) {
			return fmt.Errorf("%s", result)
		}
	}
	return nil
}

// unexplained returns the first trouble of a group that no expectation named.
func (g *group) unexplained() error {
	for _, result := range g.results {
		if result.Err != nil && !g.explained {
			return fmt.Errorf("nothing expects this: %s", result)
		}
	}
	return nil
}

// soft says whether all of an error may be what a script wants to see: no
// response, an abort, a status.
func soft(err error) bool {
	for _, hard := range []error{
		ErrShortEnd, ErrLong, ErrWrongByte, ErrLength, ErrContentRange, ErrMultipart, ErrETag, ErrAge, ErrCacheStatus, ErrStale,
	} {
		if errors.Is(err, hard) {
			return false
		}
	}
	return true
}

func (c *waitCommand) run(r *runner) error {
	g := r.groups[c.client]
	if g == nil || !g.running {
		return errors.New("this client is not busy")
	}
	r.last = c.client
	return g.wait()
}

func (r *runner) origin(name string) (*Origin, error) {
	if o := r.origins[name]; o != nil {
		return o.handler, nil
	}
	return nil, fmt.Errorf("no origin %q", name)
}

func (c *faultCommand) run(r *runner) error {
	o, err := r.origin(c.origin)
	if err != nil {
		return err
	}
	for _, f := range c.faults {
		o.Fault(c.pattern, f)
	}
	return nil
}

func (c *clearCommand) run(r *runner) error {
	o, err := r.origin(c.origin)
	if err == nil {
		o.ClearFaults()
	}
	return err
}

func (c *releaseCommand) run(r *runner) error {
	o, err := r.origin(c.origin)
	if err == nil {
		o.Release(c.pattern)
	}
	return err
}

func (c *bumpCommand) run(r *runner) error {
	r.oracle.Bump(c.pattern, time.Now())
	return nil
}

func (c *purgedCommand) run(r *runner) error {
	r.history.Purged(Purge{c.pattern, time.Now()})
	return nil
}

func (c *stalenessCommand) run(r *runner) error {
	return r.history.CheckStaleness(r.oracle, c.bound, nil)
}

func (c *killCommand) run(r *runner) error {
	names, err := r.matching(c.name)
	if err != nil {
		return err
	}
	for _, name := range names {
		r.network.Kill(name)
	}
	for _, name := range names {
		if err := r.kill(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) kill(name string) error {
	if o := r.origins[name]; o != nil {
		o.stop()
		delete(r.origins, name)
		return nil
	}
	if !r.nodes[name] {
		return fmt.Errorf("nothing named %q runs", name)
	}
	delete(r.nodes, name)
	return r.lab.KillNode(name)
}

func (c *cutCommand) run(r *runner) error {
	if c.oneWay {
		r.network.CutOneWay(c.from, c.to)
	} else {
		r.network.Cut(c.from, c.to)
	}
	return nil
}

func (c *healCommand) run(r *runner) error {
	r.network.Heal(c.a, c.b)
	return nil
}

func (c *delayCommand) run(r *runner) error {
	r.network.Delay(c.a, c.b, c.d)
	return nil
}

func (c *lateCommand) run(r *runner) error {
	r.network.Late(c.from, c.to, c.d)
	return nil
}

func (c *throttleCommand) run(r *runner) error {
	r.network.Throttle(c.from, c.to, c.bytesPerSecond)
	return nil
}

func (c *lossCommand) run(r *runner) error {
	r.network.Loss(c.a, c.b, c.share)
	return nil
}

func (c *advanceCommand) run(*runner) error {
	time.Sleep(c.d) // of the bubble's clock
	return nil
}

func (c *doCommand) run(r *runner) error {
	names, err := r.matching(c.node)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !r.nodes[name] {
			return fmt.Errorf("no node %q", name)
		}
		if err := r.lab.Do(name, c.words); err != nil {
			return err
		}
	}
	return nil
}
