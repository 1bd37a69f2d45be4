package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"weir/cluster"
	"weir/configs"
)

// edgeCommand runs one edge node. Flags win over the file.
type edgeCommand struct {
	Config     string        `name:"config" short:"c" help:"Configuration file; see weir config." placeholder:"FILE"`
	Name       string        `help:"Name of this node, unique in the cluster. Default: the machine's."`
	Origin     []string      `help:"Where misses are fetched from; several are equals." placeholder:"URL"`
	HTTP       *string       `name:"http" help:"Cleartext HTTP/1.1 address." placeholder:"ADDR"`
	HTTPS      *string       `name:"https" help:"Address for HTTP/1.1 and HTTP/2 (TCP) and HTTP/3 (UDP)." placeholder:"ADDR"`
	Admin      *string       `help:"Operators' address." placeholder:"ADDR"`
	Dir        string        `help:"State directory: cache, certificate, admin token." placeholder:"DIR"`
	CacheSize  configs.Bytes `help:"Disk budget, such as 100GiB." placeholder:"SIZE"`
	MemorySize configs.Bytes `help:"Memory budget, such as 2GiB." placeholder:"SIZE"`
	Gossip     string        `help:"Address for membership, UDP and TCP. Makes the node part of a cluster." placeholder:"ADDR"`
	Join       []string      `help:"Gossip addresses of other nodes." placeholder:"ADDR"`
	SecretFile string        `help:"File with the secret that all nodes share; it is read again when it changes." placeholder:"FILE"`
	Zone       string        `help:"Failure domain of this node."`
	Region     string        `help:"Region of this node."`
	Cert       string        `help:"Certificate file (PEM). Default: one is minted." placeholder:"FILE"`
	Key        string        `help:"Private key file (PEM)." placeholder:"FILE"`
}

// Run serves until a signal.
func (c *edgeCommand) Run(ctx context.Context, std streams) (err error) {
	before, given, err := inherit(ctx)
	if err != nil {
		return err
	}
	defer func() { before.failed(err) }()
	config, err := c.configuration()
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	log := newLog(config.Log, level, std)
	keyring, err := openKeyring(config.Cluster, log)
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2)
	defer signal.Stop(usr2)
	options := nodeOptions{config: config, log: log, keyring: keyring, load: c.configuration, hangup: hangup, level: level, usr2: usr2, notify: newNotifier(log), watchdog: watchdogEvery(), takeOver: before, sockets: given}
	if options.program, err = thisProgram(); err != nil {
		return err
	}
	if options.access, err = newAccessFile(config.Log); err != nil {
		return err
	}
	defer options.access.Close()
	if err := before.prepared(ctx); err != nil { // now the directory is ours
		return err
	}
	options.memory, options.floor = limitMemory(config)
	n, err := newNode(options)
	if err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		n.close()
		return err
	}
	n.announce(log)
	return n.run(ctx)
}

// configuration is the file with the flags over it, checked.
func (c *edgeCommand) configuration() (*configs.Config, error) {
	config, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	if c.Config == "" {
		c.defaultsWithoutFile(config)
	}
	c.override(config)
	if config.Node.Name == "" {
		config.Node.Name = hostName()
	}
	if config.Node.Dir == "" {
		config.Node.Dir = defaultDir(config.Node.Name)
	}
	if len(config.Sites) == 0 {
		return nil, usageError{fmt.Errorf("an edge needs an origin: say --origin http://HOST:PORT, or name a file with sites by -c")}
	}
	if err := config.Validate(); err != nil {
		return nil, usageError{err}
	}
	if config.Cluster.Gossip != "" && config.Cluster.SecretFile == "" {
		return nil, usageError{cluster.ErrNoSecret}
	}
	return config, nil
}

// defaultsWithoutFile suits a node that is run by hand: it listens where it is
// told to, and several fit on one machine.
func (c *edgeCommand) defaultsWithoutFile(config *configs.Config) {
	config.Node.Dir = ""
	if c.HTTP != nil || c.HTTPS != nil {
		config.Listen.HTTP, config.Listen.HTTPS = "", ""
	}
	if host, _, err := net.SplitHostPort(c.Gossip); err == nil {
		config.Cluster.Peer = net.JoinHostPort(host, "0") // its address travels by gossip
	}
}

func (c *edgeCommand) override(config *configs.Config) {
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	set(&config.Node.Name, c.Name)
	set(&config.Node.Zone, c.Zone)
	set(&config.Node.Region, c.Region)
	set(&config.Node.Dir, c.Dir)
	set(&config.TLS.Cert, c.Cert)
	set(&config.TLS.Key, c.Key)
	set(&config.Cluster.Gossip, c.Gossip)
	set(&config.Cluster.SecretFile, c.SecretFile)
	for _, address := range []struct{ to, from *string }{{&config.Listen.HTTP, c.HTTP}, {&config.Listen.HTTPS, c.HTTPS}, {&config.Listen.Admin, c.Admin}} {
		if address.from != nil {
			*address.to = *address.from
		}
	}
	if len(c.Join) > 0 {
		config.Cluster.Join = c.Join
	}
	if c.CacheSize > 0 {
		config.Cache.Disk = c.CacheSize
	}
	if c.MemorySize > 0 {
		config.Cache.Memory = c.MemorySize
	}
	if len(c.Origin) > 0 {
		// Who names an origin by hand knows where it is.
		config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: c.Origin, PrivateOrigins: true}}
	}
}

// announce logs where the node can be reached.
func (n *node) announce(log interface{ Info(string, ...any) }) {
	var origins []string
	for _, group := range n.routes.Load().origins {
		for _, host := range group.Hosts() {
			if u, err := url.Parse(host.URL); err == nil {
				origins = append(origins, u.Redacted())
			}
		}
	}
	args := []any{"name", n.config.Node.Name, "origin", strings.Join(origins, " "), "dir", n.config.Node.Dir}
	for name, address := range map[string]string{"http": n.public.HTTPAddr(), "https": n.public.HTTPSAddr(), "gossip": n.config.Cluster.Gossip} {
		if address != "" {
			args = append(args, name, address)
		}
	}
	if n.admin != nil {
		args = append(args, "admin", n.admin.listener.Addr().String())
	}
	log.Info("edge is up", args...)
}
