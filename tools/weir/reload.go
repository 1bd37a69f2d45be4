package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"weir/configs"
)

// reloads counts how often the configuration was read again.
type reloads struct {
	good, bad atomic.Int64
	last      atomic.Pointer[lastReload] // nil: never
}

type lastReload struct {
	time time.Time
	err  error    // nil: it was taken
	wait []string // keys that have changed and count from the next start on
}

// reloader reads the configuration again whenever it is asked to, until ctx ends.
func (n *node) reloader(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.options.hangup:
			_ = n.reload() // it is in the log and in the status
			n.reloadTLS(ctx)
			if n.options.keyring != nil {
				n.options.keyring.Reload()
			}
		}
	}
}

// reload takes over what may change while the node runs: the sites. A configuration that is wrong anywhere changes
// nothing. Calls must follow one another.
func (n *node) reload() error {
	last := &lastReload{time: time.Now()}
	last.wait, last.err = n.reconfigure()
	n.reloads.last.Store(last)
	switch {
	case last.err != nil:
		n.reloads.bad.Add(1)
		n.log.Error("the configuration is not taken: the node runs on as it was", "error", last.err)
	case len(last.wait) > 0:
		n.reloads.good.Add(1)
		n.log.Warn("configuration taken; some keys count from the next start on", "keys", strings.Join(last.wait, " "))
	default:
		n.reloads.good.Add(1)
		n.log.Info("configuration taken")
	}
	return last.err
}

func (n *node) reconfigure() (wait []string, err error) {
	if n.options.load == nil {
		return nil, nil
	}
	config, err := n.options.load()
	if err != nil {
		return nil, err
	}
	routes, err := n.buildRoutes(config.Sites, n.routes.Load())
	if err != nil {
		return nil, err
	}
	n.metrics.AddSites(routes.names...)
	n.edge.SetSites(routes.sites)
	n.take(routes)
	for _, key := range configs.Differences(n.config, config) {
		if key != "sites" {
			wait = append(wait, key)
		}
	}
	if strict(config) && !strict(n.config) {
		wait = append(wait, "sites[].strict") // this node has no lease
	}
	return wait, nil
}
