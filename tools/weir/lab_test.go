package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/cluster"
	"weir/configs"
	"weir/edge/console"
	"weir/tools/proof"
)

// lab runs real nodes on a network in memory.
type lab struct {
	t       *testing.T
	network *proof.Network
	panics  atomic.Int64 // that nodes have stopped

	mu      sync.Mutex                // guards the fields below
	secrets map[string]cluster.Secret // by the name that a script gives them
	files   map[string]*secretFile    // of nodes
	names   []string                  // in the order of their first start: all are seeds
	regions map[string]string         // of nodes
	relays  []string                  // seeds of the relays' pool
	dirs    map[string]string
	nodes   map[string]*labNode
	off     map[string]bool // nodes that no peer reaches, and that reach none; gossip works
}

// secretFile is a node's, in memory.
type secretFile struct{ text atomic.Pointer[[]byte] }

func (f *secretFile) read() ([]byte, error) { return *f.text.Load(), nil }

type labNode struct {
	*node

	task *task
}

func newLab(t *testing.T, network *proof.Network) (proof.Lab, error) {
	t.Helper()
	return &lab{
		t: t, network: network, secrets: map[string]cluster.Secret{}, files: map[string]*secretFile{}, dirs: map[string]string{}, regions: map[string]string{},
		nodes: map[string]*labNode{}, off: map[string]bool{},
	}, nil
}

// TestScenarios runs every script under testdata.
func TestScenarios(t *testing.T) {
	t.Parallel()
	proof.Run(t, newLab, os.DirFS("testdata"), "*.txt")
}

// StartNode starts an edge, or starts it again with what it has on disk.
// Options: origin=NAME (required), alone, strict, pages (of Weir's own; any small object is an asset with three viewers at most), zone=Z, region=R, shield, relay, home=R (of the origin), keys=FILE (of the tokens that it wants), disk=SIZE, memory=SIZE,
// secrets=NAME,NAME, allow=NETWORK, cleartext, graceful (takes its time to leave).
func (l *lab) StartNode(name string, options map[string]string) error {
	config, err := l.configuration(name, options)
	if err != nil {
		return err
	}
	o := nodeOptions{config: config, network: labNetwork{l.network.Host(name), l, name}, log: slog.New(panicCounter{slog.DiscardHandler, &l.panics}), hurry: true}
	if os.Getenv("WEIR_LAB_LOG") != "" {
		o.log = slog.New(panicCounter{slog.NewTextHandler(l.t.Output(), nil), &l.panics})
	}
	if _, graceful := options["graceful"]; graceful {
		o.hurry, config.Listen.DrainTimeout = false, configs.Default().Listen.DrainTimeout
	}
	if _, alone := options["alone"]; !alone {
		if err := l.keyring(name, options["secrets"], &o); err != nil {
			return err
		}
	}
	n, err := newNode(o)
	if err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		n.close()
		return err
	}
	running := &labNode{node: n, task: start(context.Background(), n.run)}
	l.mu.Lock()
	l.nodes[name] = running
	l.mu.Unlock()
	select {
	case <-n.cluster.Ready():
		return nil
	case <-running.task.done:
		return fmt.Errorf("%s ended: %w", name, running.task.err)
	}
}

func (l *lab) configuration(name string, options map[string]string) (*configs.Config, error) {
	origin := options["origin"]
	if origin == "" {
		return nil, errors.New("a node needs origin=NAME")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := configs.Default()
	ip := l.network.Host(name).IP().String()
	c.Node.Name, c.Node.Zone, c.Node.Dir = name, options["zone"], l.dirLocked(name)
	c.Listen.HTTP, c.Listen.HTTPS, c.Listen.Admin = net.JoinHostPort(ip, "80"), net.JoinHostPort(ip, "443"), net.JoinHostPort(ip, "7070")
	c.Listen.HTTP3, c.Listen.DrainTimeout = false, configs.Duration(time.Millisecond)
	c.Cluster.Gossip, c.Cluster.Peer = net.JoinHostPort(ip, "7946"), net.JoinHostPort(ip, "7443")
	c.Node.Region, l.regions[name] = options["region"], options["region"]
	_, c.Cluster.Shield = options["shield"]
	if _, relay := options["relay"]; relay {
		if !slices.Contains(l.relays, name) {
			l.relays = append(l.relays, name)
		}
		c.Cluster.WAN.Gossip = net.JoinHostPort(ip, "7947")
		for _, seed := range l.relays {
			c.Cluster.WAN.Join = append(c.Cluster.WAN.Join, net.JoinHostPort(l.network.Host(seed).IP().String(), "7947"))
		}
	}
	for _, seed := range l.names {
		if l.regions[seed] != l.regions[name] {
			continue
		}
		c.Cluster.Join = append(c.Cluster.Join, net.JoinHostPort(l.network.Host(seed).IP().String(), "7946"))
	}
	c.Sites = []configs.Site{{Hosts: []string{"*"}, Home: options["home"], Origins: []string{"http://" + origin + ":80"}}}
	if file := options["keys"]; file != "" {
		c.Sites[0].Token = configs.Token{Schemes: []configs.TokenScheme{{Kind: "cat", KeysFile: file}}}
	}
	if _, pages := options["pages"]; pages {
		c.Sites[0].Pages, c.Sites[0].SDK.Downloads.Allow = true, true
		c.Sites[0].SDK.Assets = []configs.Asset{{Match: "*", HLS: "/o/4KiB/{asset}", Viewers: 3}}
	}
	for key, to := range map[string]*configs.Bytes{"disk": &c.Cache.Disk, "memory": &c.Cache.Memory} {
		if text := options[key]; text != "" {
			if err := to.UnmarshalText([]byte(text)); err != nil {
				return nil, err
			}
		}
	}
	_, c.Cluster.Cleartext = options["cleartext"]
	if allow := options["allow"]; allow != "" {
		c.Cluster.Allow = []string{allow}
	}
	c.Cluster.Strict = options["strict"] != ""
	if options["alone"] != "" {
		c.Cluster.Gossip, c.Cluster.Join = "", nil
	}
	return c, nil
}

// keyring gives a node its file of secrets: those named, or else what it had in an earlier life, or the one of all.
func (l *lab) keyring(name, secrets string, o *nodeOptions) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files[name] == nil {
		l.files[name] = &secretFile{}
		if secrets == "" {
			secrets = "first"
		}
	}
	if secrets != "" {
		l.writeSecretsLocked(name, strings.Split(secrets, ","))
	}
	o.keyring, err = cluster.NewKeyring(cluster.KeyringOptions{Read: l.files[name].read, Log: o.log})
	return err
}

// writeSecretsLocked writes the file of a node and returns what stands for its secrets in a status.
func (l *lab) writeSecretsLocked(name string, secrets []string) (ids string) {
	var text strings.Builder
	for _, s := range secrets {
		if l.secrets[s].IsZero() {
			l.secrets[s] = cluster.NewSecret()
		}
		text.WriteString(l.secrets[s].Reveal() + " # " + s + "\n")
		ids += l.secrets[s].ID() + " "
	}
	written := []byte(text.String())
	l.files[name].text.Store(&written)
	return strings.TrimSpace(ids)
}

// dirLocked is the same for every life of a node.
func (l *lab) dirLocked(name string) string {
	if l.dirs[name] == "" {
		l.names = append(l.names, name)
		l.dirs[name] = l.t.TempDir()
	}
	return l.dirs[name]
}

// KillNode ends a node whose network is gone already: it cannot say farewell.
func (l *lab) KillNode(name string) error {
	n := l.take(name)
	if n == nil {
		return fmt.Errorf("%s does not run", name)
	}
	_ = n.task.stop() // whatever it says of its broken network
	return nil
}

// node returns a running node, or nil.
func (l *lab) node(name string) *labNode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[name]
}

// take is node, for the one who ends it.
func (l *lab) take(name string) *labNode {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	delete(l.nodes, name)
	return n
}

// Dial connects a client.
func (l *lab) Dial(ctx context.Context, client, node string, secure bool) (net.Conn, error) {
	port := 80
	if secure {
		port = 443
	}
	return l.network.Dial(ctx, client, net.JoinHostPort(l.network.Host(node).IP().String(), strconv.Itoa(port)))
}

// labNetwork is a node's network, where connections between peers can fail though all others work.
type labNetwork struct {
	network

	lab  *lab
	name string
}

// Dial connects the node.
func (n labNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := n.network.Dial(ctx, address)
	if err != nil || !strings.HasSuffix(address, ":7443") {
		return conn, err
	}
	n.lab.mu.Lock()
	names := slices.Clone(n.lab.names)
	n.lab.mu.Unlock()
	for _, other := range names {
		if strings.HasPrefix(address, n.lab.network.Host(other).IP().String()+":") {
			return &labConn{conn, n.lab, [2]string{n.name, other}}, nil
		}
	}
	return conn, nil
}

// labConn is a connection between two peers.
type labConn struct {
	net.Conn

	lab  *lab
	ends [2]string
}

// Write fails while either end is off.
func (c *labConn) Write(b []byte) (int, error) {
	c.lab.mu.Lock()
	off := c.lab.off[c.ends[0]] || c.lab.off[c.ends[1]]
	c.lab.mu.Unlock()
	if off {
		return 0, errors.New("peers are off")
	}
	return c.Conn.Write(b)
}

// Do knows eleven actions: "finds TEXT" wants the node to have a problem with these words, "drain" tells the node to stop and
// waits for nothing, "leave" stops it with a farewell, "untroubled" wants no request of the node to another one to have
// failed, "await N" waits until its ring has N nodes, "meets N" until it can ask N other regions, "owns URL" is how it finds
// itself placed, "sees NODE yes|no" is how it finds that another answers, "secrets NAME…" rewrites the node's file of secrets
// and waits until all members of its ring see that it has them, "peers off|on" has its connections with other nodes fail,
// those of gossip excepted, and "purge [soft] url|prefix|tag|all ITEM… [within 3ms] [missing NODE…]"
// purges, and wants these nodes, and no others, not to acknowledge it.
func (l *lab) Do(name string, words []string) error {
	n := l.node(name)
	switch {
	case n == nil:
		return fmt.Errorf("%s does not run", name)
	case len(words) == 2 && words[0] == "finds":
		for _, p := range n.status().Problems {
			if strings.Contains(p.What+" "+p.Why+" "+p.Fix, words[1]) {
				return nil
			}
		}
		return fmt.Errorf("%s does not find that %s: %+v", name, words[1], n.status().Problems)
	case len(words) == 1 && words[0] == "drain":
		n.task.cancel()
		return nil
	case len(words) == 1 && words[0] == "untroubled":
		if s := n.peers.Stats(); s.Failures > 0 || s.Broken > 0 {
			return fmt.Errorf("of %d requests to other nodes %d failed and %d broke off", s.Requests, s.Failures, s.Broken)
		}
		return nil
	case len(words) == 1 && words[0] == "leave":
		return l.take(name).task.stop()
	case len(words) == 2 && words[0] == "owns":
		route, err := n.route(words[1])
		if err == nil && (len(route.Owners) == 0 || route.Owners[0] != name) {
			err = fmt.Errorf("%s is owned by %q", words[1], route.Owners)
		}
		return err
	case len(words) == 3 && words[0] == "sees":
		for _, m := range n.members() {
			if m.Name == words[1] && m.Answers == words[2] {
				return nil
			}
		}
		return fmt.Errorf("%s does not find that %s answers: %s; it has %+v", name, words[1], words[2], n.members())
	case len(words) > 1 && words[0] == "secrets":
		l.mu.Lock()
		ids := l.writeSecretsLocked(name, words[1:])
		l.mu.Unlock()
		return l.rotate(name, ids)
	case len(words) == 2 && words[0] == "peers":
		l.mu.Lock()
		l.off[name] = words[1] == "off"
		l.mu.Unlock()
		return nil
	case len(words) == 2 && words[0] == "await":
		want, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		return await(want, func() int { return n.ring().Len() }, name+"'s nodes on its ring")
	case len(words) == 2 && words[0] == "meets":
		want, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		return await(want, func() int { return len(n.tiers().Homes) }, name+"'s other regions")
	case len(words) > 1 && words[0] == "purge":
		p := console.Purge{Soft: words[1] == "soft"}
		if p.Soft {
			words = words[1:]
		}
		if len(words) > 1 {
			p.Kind, p.Items = words[1], words[2:]
		}
		missing := ""
		if i := slices.Index(p.Items, "missing"); i >= 0 {
			p.Items, missing = p.Items[:i], strings.Join(p.Items[i+1:], " ")
		}
		limit := time.Minute
		if i := slices.Index(p.Items, "within"); i >= 0 && i+2 == len(p.Items) {
			var err error
			if limit, err = time.ParseDuration(p.Items[i+1]); err != nil {
				return err
			}
			p.Items = p.Items[:i]
		}
		began := time.Now()
		receipt, err := n.purge(l.t.Context(), p)
		if took := time.Since(began); err == nil && took > limit {
			return fmt.Errorf("the purge took %s, more than %s", took, limit)
		}
		if got := strings.Join(receipt.Missing(), " "); err == nil && got != missing {
			err = fmt.Errorf("the purge is not acknowledged by %q, want %q: %+v", got, missing, receipt.Nodes)
		}
		return err
	}
	return fmt.Errorf("unknown action %q", words)
}

// await gives a minute to what is to become so many; in virtual time.
func await(want int, of func() int, what string) error {
	for deadline := time.Now().Add(time.Minute); of() != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d after a minute, want %d", what, of(), want)
		}
	}
	return nil
}

// rotate waits until all members of a node's ring see it with these secrets.
func (l *lab) rotate(name, ids string) error {
	ring := l.nodes[name].ring()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // virtual time
		missing := ""
		for _, n := range l.nodes {
			if ring.Node(n.config.Node.Name) == nil {
				continue
			}
			for _, m := range n.members() {
				if m.Name == name && m.Keys != ids {
					missing = fmt.Sprintf("%s sees %s with the secrets %s, want %s", n.config.Node.Name, name, m.Keys, ids)
				}
			}
		}
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New(missing)
		}
	}
}

// Close ends all nodes.
func (l *lab) Close() error {
	var errs []error
	for _, n := range l.nodes {
		n.task.cancel()
	}
	for _, n := range l.nodes {
		errs = append(errs, n.task.stop())
	}
	time.Sleep(time.Minute) // virtual: the gossip library's probes end by themselves, and nobody can wait for them
	return errors.Join(errs...)
}
