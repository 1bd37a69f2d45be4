package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/cluster"
	"weir/edge/console"
	"weir/edge/front"
)

// upgrades is how a node lets another process take over.
type upgrades struct {
	asks      chan chan upgraded // of operators, to the upgrader
	successor atomic.Pointer[successor]
	taken     chan struct{} // closed when another process has taken over

	good, bad atomic.Int64
	last      atomic.Pointer[upgraded]
}

// upgraded is what became of one.
type upgraded struct {
	time    time.Time
	pid     int
	version string
	err     error // the node runs on as it was
}

// program is what the process was started as, for another one to be started alike. A name that is a link, or is looked up,
// is so again.
type program struct {
	path string
	args []string
	dir  string
	pid  int
}

// thisProgram has to be asked before anything changes the working directory.
func thisProgram() (program, error) {
	dir, err := os.Getwd()
	if err != nil {
		return program{}, err
	}
	path := os.Args[0]
	if filepath.Base(path) == path { // it was found in PATH
		if path, err = exec.LookPath(path); err != nil {
			if path, err = os.Executable(); err != nil {
				return program{}, err
			}
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return program{path, os.Args[1:], dir, os.Getpid()}, nil
}

// successor is the old process's side of a hand-over.
type successor struct {
	line *line
	cmd  *exec.Cmd
	heir *front.Heir // nil without HTTP/3

	mu   sync.Mutex // held for a question and its answer on line, once the other process is told to go; guards the field below
	owed int        // answers to purges that have not come
}

// upgrader has another process take over whenever it is asked to, until ctx ends or one has.
func (n *node) upgrader(ctx context.Context) error {
	for {
		var answer chan upgraded
		select {
		case <-ctx.Done():
			return nil
		case <-n.options.usr2:
		case answer = <-n.upgrades.asks:
		}
		did := n.upgrade(ctx)
		n.upgrades.last.Store(&did)
		if answer != nil {
			answer <- did // it has room for one
		}
		if did.err == nil {
			n.upgrades.good.Add(1)
			n.log.Info("another process has taken over", "pid", did.pid, "version", did.version, "took", time.Since(did.time))
			n.options.notify.say("MAINPID=" + fmt.Sprint(did.pid))
			close(n.upgrades.taken)
			return nil
		}
		n.upgrades.bad.Add(1)
		n.log.Error("no other process takes over: this one runs on as it was", "error", did.err)
	}
}

// askUpgrade is what operators ask for by the API: the same as the signal, and they hear what came of it.
func (n *node) askUpgrade(ctx context.Context) (console.Upgrade, error) {
	answer := make(chan upgraded, 1)
	select {
	case n.upgrades.asks <- answer:
	case <-n.upgrades.taken:
		return console.Upgrade{}, errors.New("another process has taken over already: ask that one")
	case <-ctx.Done():
		return console.Upgrade{}, ctx.Err()
	}
	did := <-answer // the upgrader has a time-out
	return console.Upgrade{PID: did.pid, Version: did.version, Seconds: time.Since(did.time).Seconds()}, did.err
}

// upgrade starts another process and gives it what this one has, or runs on as if nothing had been.
func (n *node) upgrade(ctx context.Context) (did upgraded) {
	did.time = time.Now()
	limit, cancel := context.WithTimeout(ctx, n.config.Listen.UpgradeTimeout.D())
	defer cancel()
	s, err := n.startSuccessor() //nolint:contextcheck // it binds without waiting
	if err != nil {
		did.err = err
		return did
	}
	did.pid = s.cmd.Process.Pid
	if did.version, err = n.handOver(limit, s); err == nil {
		return did
	}
	ended := s.end(err)
	switch {
	case limit.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("it was not ready within %s (listen.upgrade_timeout)", n.config.Listen.UpgradeTimeout.D())
	case ended != "":
		err = fmt.Errorf("it has ended: %s", ended)
	}
	did.err = fmt.Errorf("process %d, %s: %w", did.pid, s.cmd.Path, errors.Join(err, n.takeBack(ctx, s)))
	return did
}

// startSuccessor runs the same program again, as the file system has it now.
func (n *node) startSuccessor() (_ *successor, err error) {
	switch {
	case n.options.program.pid == 1: // the kernel ends all of a PID namespace with its first process
		return nil, errors.New("this is process 1 of a container, which would end with it: start the container with an init (docker run --init), or replace the container")
	case n.options.sockets == nil || n.options.program.path == "":
		return nil, errors.New("this process cannot be followed by another: only weir edge can")
	case n.options.takeOver.running():
		return nil, errors.New("the process that this one has taken over from still drains: try again when it has ended, or end it (its log tells how long it may take: listen.drain_timeout)")
	case *n.state.Load() != "ready":
		return nil, errors.New("the node is " + *n.state.Load())
	}
	s := &successor{}
	all, err := n.options.sockets.copies()
	if err != nil {
		return nil, err
	}
	defer func() { closeSockets(all) }()
	if s.heir, err = n.public.Heir(); err != nil {
		return nil, err
	}
	if s.heir != nil {
		all = append(all, socket{Name: socketHTTPS, Packets: true, Address: n.options.sockets.address(socketHTTPS), file: s.heir.File})
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for the hand-over: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "hand-over")
	defer theirs.Close()
	if s.line, err = newLine(os.NewFile(uintptr(pair[0]), "hand-over")); err != nil {
		return nil, err
	}
	if err := s.line.say(message{Say: saySockets, Sockets: all}); err != nil {
		return nil, errors.Join(err, s.line.conn.Close())
	}
	p := n.options.program
	s.cmd = exec.Command(p.path, p.args...) //nolint:noctx // it outlives this process
	s.cmd.Args[0], s.cmd.Dir = os.Args[0], p.dir
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	s.cmd.Env = append(childEnvironment(os.Environ()), fmt.Sprintf("%s=%d", takeOverVariable, firstDescriptor))
	s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, theirs)
	for _, socket := range all {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, socket.file)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.path, err), s.line.conn.Close())
	}
	n.log.Info("another process is to take over", "pid", s.cmd.Process.Pid, "program", p.path)
	return s, nil
}

// childEnvironment leaves out what was meant for this process alone.
func childEnvironment(all []string) (kept []string) {
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case takeOverVariable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID":
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}

// handOver goes through the steps. After an error takeBack has to be called.
func (n *node) handOver(ctx context.Context, s *successor) (version string, err error) {
	step := func(send, await string) (m message) {
		if err == nil && send != "" {
			err = s.line.say(message{Say: send})
		}
		if err == nil {
			m, err = s.line.await(ctx, await)
		}
		return m
	}
	version = step("", sayPrepared).Version
	if err == nil {
		n.purges.Share(func() error { return n.tellPurge(s) }) //nolint:contextcheck // purges come after ctx, too
		err = n.cache.Yield(ctx)
	}
	step(sayYours, sayReady)
	if err == nil && s.heir != nil {
		err = s.heir.Bequeath()
	}
	if err == nil {
		err = n.tellBooks(ctx, s)
	}
	if err != nil {
		return version, err
	}
	if n.notices != nil {
		n.notices.Yield()
	}
	s.mu.Lock() // a purge that comes now is told when the other one serves; of those before it reads when it has heard go
	defer s.mu.Unlock()
	n.upgrades.successor.Store(s)
	err = s.line.say(message{Say: sayGo, Key: n.ownKey})
	step("", sayServing)
	return version, err
}

// end ends the process. Where it has ended by itself, which is what err is about then, it tells how.
func (s *successor) end(err error) (how string) {
	alone := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	patience := time.Duration(0)
	if alone {
		patience = time.Second // its line may end before it does
	}
	kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() }) // it may have ended
	defer kill.Stop()
	_ = s.cmd.Wait()        // the state below tells more
	_ = s.line.conn.Close() // nobody is there
	if alone {
		how = s.cmd.ProcessState.String()
	}
	return how
}

// takeBack makes all as it was before the other process, which has ended.
func (n *node) takeBack(ctx context.Context, s *successor) error {
	n.upgrades.successor.Store(nil)
	if n.notices != nil {
		n.notices.Reclaim()
	}
	var errs []error
	if s.heir != nil {
		errs = append(errs, s.heir.Retain())
	}
	return errors.Join(append(errs, n.purges.Own(time.Now()), n.cache.Reclaim(ctx))...)
}

// errNotFollowed is of a purge that the process which has taken over may not know of. It holds in this one, and is in the file.
var errNotFollowed = errors.New("weir: the process that has taken over has not confirmed the purge")

// tellPurge has the other process obey a purge before it is acknowledged here. Its error is an errNotFollowed.
func (n *node) tellPurge(s *successor) error {
	if n.upgrades.successor.Load() != s {
		return nil // it has not read the file yet
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.upgrades.successor.Load() != s {
		return nil // it has failed meanwhile
	}
	ctx, cancel := context.WithTimeout(context.Background(), obeyTimeout)
	defer cancel()
	_ = s.line.conn.SetWriteDeadline(time.Now().Add(obeyTimeout)) // a closed one needs none, here and below
	err := s.line.say(message{Say: sayPurged})
	_ = s.line.conn.SetWriteDeadline(time.Time{})
	if err == nil {
		s.owed++
	}
	for err == nil && s.owed > 0 { // the last answer is the one to this purge
		if _, err = s.line.await(ctx, sayObeyed); err == nil {
			s.owed--
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errNotFollowed, err)
		n.log.Error("the process that has taken over may not know of a purge", "error", err)
	}
	return err
}

// leaveGossip tells the other process that gossip is free.
func (n *node) leaveGossip() {
	if s := n.upgrades.successor.Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), gossipTimeout)
		defer cancel()
		if err := n.tellBooks(ctx, s); err != nil {
			n.log.Error("the process that has taken over may not know the latest play sessions", "error", err)
		}
		n.tellQuality(ctx, s)
		m := message{Say: sayGossip, Members: gossipAddresses(n.cluster)}
		if n.wan != nil {
			m.Relays = gossipAddresses(n.wan)
		}
		_ = s.line.say(m)           // it goes on by itself after a while
		_ = s.cmd.Process.Release() // it outlives this process
	}
}

// tellQuality tells the other process how viewers fare, and forgets it.
func (n *node) tellQuality(ctx context.Context, s *successor) {
	_ = s.line.conn.SetWriteDeadline(time.Now().Add(gossipTimeout)) // a closed one needs none, here and below
	defer func() { _ = s.line.conn.SetWriteDeadline(time.Time{}) }()
	if err := n.quality.Export(ctx, time.Now(), func(part []byte) error {
		return s.line.say(message{Say: sayBook, Book: bookQuality, Part: part})
	}); err != nil {
		n.log.Error("the process that has taken over may not know how viewers fare", "error", err)
	}
}

// tellTheRest tells the other process what came of that while this one drained.
func (n *node) tellTheRest() {
	if s := n.upgrades.successor.Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), gossipTimeout)
		defer cancel()
		n.tellQuality(ctx, s)
	}
}

func gossipAddresses(c *cluster.Cluster) (addresses []string) {
	for _, m := range c.Members() {
		if !m.Self && m.State == cluster.Alive {
			addresses = append(addresses, m.Addr)
		}
	}
	return addresses
}

// upgradeCommand has a running node replaced by what its program is now.
type upgradeCommand struct {
	adminFlags
}

// Run prints who has taken over; where nobody has, the exit code is 1 and the node runs on.
func (c *upgradeCommand) Run(ctx context.Context, std streams) error {
	c.patience = upgradePatience
	body, err := c.send(ctx, http.MethodPost, "/v1/upgrade", []byte("{}"))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	var u console.Upgrade
	if err := json.Unmarshal(body, &u); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintf(std.out, "process %d, version %s, has taken over after %.1f s; the one before drains\n", u.PID, cmp.Or(u.Version, "unknown"), u.Seconds)
	return nil
}

// upgradePatience is longer than listen.upgrade_timeout may be.
const upgradePatience = 11 * time.Minute
