package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/configs"
	"weir/edge/console"
	"weir/edge/front"
)

// reloads counts how often the configuration was read again.
type reloads struct {
	good, bad atomic.Int64
	last      atomic.Pointer[lastReload]     // nil: never
	taken     atomic.Pointer[lastReload]     // the last without an error; nil: none
	config    atomic.Pointer[configs.Config] // the last that was taken; nil: that of the start
	asks      chan chan *lastReload          // of operators, to the reloader
}

// lastReload is what became of a try. Immutable once it is told.
type lastReload struct {
	time    time.Time
	err     error    // nil: it was taken
	changed []string // keys that count now
	wait    []string // keys that have changed and count from the next start on
}

// reloader reads the configuration again whenever it is asked to, until ctx ends.
func (n *node) reloader(ctx context.Context) error {
	for {
		var answer chan *lastReload
		select {
		case <-ctx.Done():
			return nil
		case <-n.options.hangup:
		case answer = <-n.reloads.asks:
		}
		n.options.notify.reloading()
		_ = n.reload(ctx) // it is in the log and in the status
		n.reloadTLS(ctx)
		if n.options.keyring != nil {
			n.options.keyring.Reload()
		}
		n.options.notify.say("READY=1")
		if answer != nil {
			answer <- n.reloads.last.Load() // it has room for one
		}
	}
}

// askReload is what operators ask for by the API: the same as the signal, and they hear what came of it.
func (n *node) askReload(ctx context.Context) (console.Reload, error) {
	answer := make(chan *lastReload, 1)
	select {
	case n.reloads.asks <- answer:
	case <-ctx.Done():
		return console.Reload{}, ctx.Err()
	}
	select {
	case last := <-answer:
		return console.Reload{Time: last.time, Changed: last.changed, Restart: last.wait}, last.err
	case <-ctx.Done():
		return console.Reload{}, ctx.Err()
	}
}

// reload takes over what may change while the node runs, see live. A configuration that is wrong anywhere changes
// nothing. Calls must follow one another.
func (n *node) reload(ctx context.Context) error {
	last := &lastReload{time: time.Now()}
	last.err = n.reconfigure(ctx, last)
	n.reloads.last.Store(last)
	if last.err == nil {
		n.reloads.taken.Store(last)
	}
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

// reconfigure first makes all that can fail, and changes nothing before that is done.
func (n *node) reconfigure(ctx context.Context, last *lastReload) error {
	if n.options.load == nil {
		return nil
	}
	config, err := n.options.load()
	if err != nil {
		return err
	}
	limits, err := connections(&config.Listen.Connections, maxFiles(), n.options.memory)
	if err != nil {
		return err
	}
	routes, err := n.buildRoutes(config.Sites, n.routes.Load())
	if err != nil {
		return err
	}
	before := cmp.Or(n.reloads.config.Load(), n.config)
	traced := config.Log.Qlog == before.Log.Qlog && config.Log.QlogSize == before.Log.QlogSize // as they are
	var qlog *front.Qlog
	if !traced {
		qlog, err = openQlog(config.Log, n.log)
	}
	if err == nil {
		err = n.takeFiles(ctx, config)
	}
	if err != nil {
		routes.drop(n.routes.Load())
		return err
	}
	if !traced {
		n.public.SetQlog(qlog)
	}
	n.metrics.AddSites(routes.names...)
	n.overload.Set(overloadOptions(&config.Overload, n.options.memory, n.options.floor))
	n.public.SetConnections(limits)
	n.edge.SetSites(routes.sites)
	n.take(routes)
	if n.options.level != nil {
		n.options.level.Set(level(config.Log.Level))
	}
	n.reloads.config.Store(config)
	last.changed = slices.DeleteFunc(configs.Differences(before, config), func(key string) bool { return !n.live(key, config) })
	last.wait = slices.DeleteFunc(configs.Differences(n.config, config), func(key string) bool { return n.live(key, config) })
	if strict(config) && !strict(n.config) {
		last.wait = append(last.wait, "sites[].strict") // this node has no lease
	}
	return nil
}

// takeFiles opens the access log anew, so that one that was moved away is let go, and the certificates where others are
// named. One that cannot be had leaves all as it was.
func (n *node) takeFiles(ctx context.Context, config *configs.Config) error {
	file, err := n.options.access.open(config.Log.Access)
	if err != nil {
		return err
	}
	before := cmp.Or(n.reloads.config.Load(), n.config)
	now, was := certificatePairs(config.TLS), certificatePairs(before.TLS)
	if n.certificates != nil && len(now) > 0 && len(was) > 0 && !slices.Equal(now, was) {
		if err := n.certificates.Replace(ctx, now); err != nil {
			_ = file.Close() // nil, or never written
			return usageError{err}
		}
		if err := n.registerCertificates(); err != nil {
			n.log.Error("a certificate has no metric", "error", err)
		}
	}
	n.options.access.take(file)
	return nil
}

// openQlog opens the folder of qlog files; nil where none is named.
func openQlog(c configs.Log, log *slog.Logger) (*front.Qlog, error) {
	if c.Qlog == "" {
		return nil, nil
	}
	q, err := front.OpenQlog(c.Qlog, int64(c.QlogSize), log)
	if err != nil {
		return nil, usageError{fmt.Errorf("log.qlog: %w", err)}
	}
	return q, nil
}

// certificatePairs are the certificates that a configuration names.
func certificatePairs(c configs.TLS) (pairs []front.CertificatePair) {
	if c.Cert != "" || c.Key != "" {
		pairs = append(pairs, front.CertificatePair{Cert: c.Cert, Key: c.Key})
	}
	for _, pair := range c.Certificates {
		pairs = append(pairs, front.CertificatePair{Cert: pair.Cert, Key: pair.Key})
	}
	return pairs
}

// live tells whether a key of config counts without a restart.
func (n *node) live(key string, config *configs.Config) bool {
	switch key {
	case "log.access": // else nothing writes it, or would have to stop
		return n.options.access != nil && openable(config.Log.Access)
	case "tls.cert", "tls.key", "tls.certificates": // else one was minted, or would have to be
		return n.certificates != nil && len(certificatePairs(n.config.TLS)) > 0 && len(certificatePairs(config.TLS)) > 0
	}
	return key == "sites" || key == "log.level" || strings.HasPrefix(key, "log.qlog") || strings.HasPrefix(key, "overload.") || strings.HasPrefix(key, "listen.connections.")
}

// configState is what the status tells of the configuration.
func (n *node) configState() console.ConfigState {
	s := console.ConfigState{File: n.config.File(), Taken: n.started, Restart: []string{}}
	last := n.reloads.last.Load()
	if last == nil {
		return s
	}
	s.Tried = &last.time
	if last.err != nil {
		s.Error = last.err.Error()
	}
	if taken := n.reloads.taken.Load(); taken != nil {
		s.Taken, s.Restart = taken.time, append(s.Restart, taken.wait...)
	}
	return s
}

// effective is the last configuration that was taken.
func (n *node) effective(w io.Writer) error {
	return cmp.Or(n.reloads.config.Load(), n.config).Print(w)
}

// reloadCommand has a node read its configuration again.
type reloadCommand struct {
	adminFlags
}

// Run prints what has changed; a configuration that is not taken makes the exit code 1.
func (c *reloadCommand) Run(ctx context.Context, std streams) error {
	body, err := c.send(ctx, http.MethodPost, "/v1/reload", []byte("{}"))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	var r console.Reload
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintln(std.out, "the configuration is taken")
	if len(r.Changed) > 0 {
		fmt.Fprintln(std.out, "changed: "+strings.Join(r.Changed, " "))
	}
	if len(r.Restart) > 0 {
		fmt.Fprintln(std.out, "needs a restart: "+strings.Join(r.Restart, " "))
	}
	return nil
}
