package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// indexPoll is the time between two looks at whether the cache knows what it has.
const indexPoll = 5 * time.Millisecond

// run serves until ctx ends, or another process has taken over, then drains: gossip says that the node is leaving, unless
// it is not, the listeners finish what they have begun, and the operators' listener, which must work when nothing else
// does, goes last.
func (n *node) run(ctx context.Context) error {
	defer n.close()
	whole := context.WithoutCancel(ctx)
	disk := start(whole, n.cache.Run)
	if err := n.takeOver(ctx); err != nil {
		return errors.Join(err, disk.stop())
	}
	last := start(whole, n.background()...)
	data := start(whole, n.listeners()...)
	n.serving.Store(true)
	n.say("ready")
	n.options.takeOver.serving()
	met := n.options.takeOver.awaitGossip(ctx)
	n.cluster.Meet(met.Members)
	if n.wan != nil {
		n.wan.Meet(met.Relays)
	}
	gossip := start(ctx, n.gossip()...)

	select {
	case <-ctx.Done():
		n.log.Info("draining: running responses finish, new ones go elsewhere")
	case <-n.upgrades.taken:
		n.cluster.Abandon()
		if n.wan != nil {
			n.wan.Abandon()
		}
		n.log.Info("draining: running responses finish here, new ones are the other process's")
	case <-gossip.done: // before ctx ends only by a failure, as the three below
	case <-data.done:
	case <-last.done:
	case <-disk.done:
	}
	n.say("draining")
	n.retire()
	err := gossip.stop()
	n.leaveGossip() //nolint:contextcheck // ctx is over
	err = errors.Join(err, data.stop())
	finish, cancel := context.WithTimeout(whole, n.config.Listen.DrainTimeout.D())
	defer cancel()
	n.edge.Close(finish)
	err = errors.Join(err, last.stop())
	n.tellTheRest() //nolint:contextcheck // ctx is over
	return errors.Join(err, disk.stop())
}

// takeOver waits until the cache knows what it has and the process before this one gives way, if there is one.
func (n *node) takeOver(ctx context.Context) error {
	if n.options.takeOver == nil {
		return nil
	}
	for poll := time.NewTicker(indexPoll); !n.cache.Stats().Scanned; {
		select {
		case <-poll.C:
		case <-ctx.Done():
			poll.Stop()
			return ctx.Err()
		}
	}
	if err := n.options.takeOver.ready(ctx, n.takeBook); err != nil {
		return err
	}
	if err := n.followPurges(); err != nil { // what came since the file was read
		return err
	}
	return nil
}

// retire tells the service manager that this process ends, and leaves operators to the process that has taken over.
func (n *node) retire() {
	select {
	case <-n.upgrades.taken:
		if n.admin != nil {
			n.admin.retire()
		}
	default:
		n.options.notify.say("STOPPING=1", "STATUS=draining")
	}
}

// listeners are what clients and peers reach.
func (n *node) listeners() []func(context.Context) error {
	listeners := []func(context.Context) error{n.public.Run}
	if n.inner != nil {
		listeners = append(listeners, n.inner.Run)
	}
	return listeners
}

// background is what must outlive them.
func (n *node) background() []func(context.Context) error {
	background := []func(context.Context) error{n.sessions.Run, n.overload.Run, n.downloads.Run, n.spent.Run, n.reports.Run, n.quality.Run, n.reportReady, n.reloader, n.upgrader, n.runTLS, n.watchdog}
	if t := n.options.takeOver; t != nil {
		background = append(background, n.followBefore)
	}
	if n.options.keyring != nil {
		background = append(background, n.options.keyring.Run)
	}
	if n.notices != nil {
		background = append(background, n.notices.Run, n.tellPressure)
	}
	if n.admin != nil {
		background = append(background, func(ctx context.Context) error { return n.admin.run(ctx, time.Second) })
	}
	if n.access != nil {
		background = append(background, n.access.Run)
	}
	if n.profiles != nil {
		background = append(background, n.profiles.Run)
	}
	return background
}

func (n *node) followPurges() error { return n.purges.Follow(time.Now()) }

// followBefore obeys what the process before hears of while it drains.
func (n *node) followBefore(ctx context.Context) error {
	n.options.takeOver.follow(ctx, n.followPurges, n.takeBook)
	if err := n.purges.Own(time.Now()); err != nil {
		n.log.Error("the purges of the process before may not be known", "error", err)
	}
	n.log.Info("the process before has ended")
	return nil
}

// reportReady tells the service manager that clients may come, and the log where other nodes can join, once that is known.
func (n *node) reportReady(ctx context.Context) error {
	select {
	case <-n.cluster.Ready():
		if address := n.cluster.Addr(); address != "" {
			n.log.Info("gossip is up", "gossip", address, "peer", n.peerAddr(), "members", n.ring().Len())
		}
	case <-ctx.Done():
		return nil
	}
	if s := n.options.sockets; s != nil {
		for _, name := range s.rest() {
			n.log.Warn("a socket was given that the configuration does not want", "name", name)
		}
	}
	if current := n.current(); current != nil {
		select {
		case <-current:
		case <-ctx.Done():
			return nil
		}
	}
	n.options.notify.say("READY=1", fmt.Sprintf("STATUS=serving as %s", n.config.Node.Name))
	return nil
}

// close releases what newNode opened.
func (n *node) close() {
	n.serving.Store(false)
	if routes := n.routes.Load(); routes != nil {
		for _, group := range routes.origins {
			group.Close()
		}
	}
	if n.peers != nil {
		n.peers.Close()
	}
	if n.geo != nil {
		n.geo.Close()
	}
	if n.cache != nil {
		if err := n.cache.Close(); err != nil {
			n.log.Error("the cache did not close cleanly", "error", err)
		}
	}
	if n.purges != nil {
		if err := n.purges.Close(); err != nil {
			n.log.Error("the file of purges did not close cleanly", "error", err)
		}
	}
}
