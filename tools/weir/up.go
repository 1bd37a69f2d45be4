package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"weir/cluster"
	"weir/configs"
	"weir/edge/front"
	"weir/edge/player"
)

// Ports that weir up uses; node i has the i-th after the first.
const (
	upHTTPS  = 8443
	upHTTP   = 8080
	upAdmin  = 7070
	upOrigin = 8090
	maxNodes = 20
)

// meetTimeout is how long the nodes may take to find one another.
const meetTimeout = 15 * time.Second

// upCommand runs everything on this machine.
type upCommand struct {
	Nodes     int    `help:"Number of edges." default:"3"`
	Dir       string `help:"State directory, kept. Default: a temporary one, removed at the end." placeholder:"DIR"`
	Root      string `help:"Folder with titles of your own, beside the sample." placeholder:"DIR"`
	PortShift int    `help:"Added to every port, to run beside another one; -1 takes any free ports." placeholder:"N"`
	Verbose   bool   `short:"v" help:"Show the nodes' own log."`
}

// upCluster is what weir up has started.
type upCluster struct {
	command *upCommand
	out     io.Writer
	log     *slog.Logger
	dir     string
	secret  cluster.Secret
	memory  int64     // that the process may take; 0: no bound
	floor   heapFloor // of the process
	origin  *originServer
	tasks   []*task // the origin's first, then one for each node
	nodes   []*node
}

// Run starts the cluster, prints where it is, and ends it with the context.
func (c *upCommand) Run(ctx context.Context, std streams) (err error) {
	if c.Nodes < 1 || c.Nodes > maxNodes {
		return usageError{fmt.Errorf("--nodes %d: choose 1 to %d", c.Nodes, maxNodes)}
	}
	begin := time.Now()
	level := slog.LevelError
	if c.Verbose {
		level = slog.LevelInfo
	}
	u := &upCluster{command: c, out: std.out, log: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level})), secret: cluster.NewSecret()}
	u.memory, u.floor = limitMemory(configs.Default()) // there is no file: GOMEMLIMIT
	remove, err := u.makeDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	defer func() {
		fmt.Fprintln(std.out, "\n  stopping …")
		err = errors.Join(err, u.stop())
	}()
	fmt.Fprintf(std.out, "\n  Weir %s · one origin and %s on this machine\n\n", version, plural(c.Nodes, "edge"))
	if err := u.start(ctx); err != nil {
		return err
	}
	u.print(time.Since(begin))
	return u.wait(ctx)
}

func (u *upCluster) makeDir() (remove func() error, err error) {
	u.dir = u.command.Dir
	if u.dir != "" {
		return func() error { return nil }, makeDir(u.dir)
	}
	if u.dir, err = os.MkdirTemp("", "weir-up-"); err != nil {
		return nil, usageError{fmt.Errorf("make a temporary state directory: %w: name one with --dir", err)}
	}
	return func() error { return os.RemoveAll(u.dir) }, nil
}

// start brings up the origin, then the nodes one after the other, and waits
// until all of them see one another and the sample title has come through.
func (u *upCluster) start(ctx context.Context) error {
	var err error
	if u.origin, err = newOriginServer(configs.Origin{Root: u.command.Root, HTTP: u.address(upOrigin, 0)}, "--port-shift", u.log); err != nil {
		return err
	}
	whole := context.WithoutCancel(ctx)
	u.tasks = append(u.tasks, start(whole, func(ctx context.Context) error { return u.origin.run(ctx, time.Second) }))
	u.step("origin", "http://"+u.origin.address())
	certificate, err := front.MintCertificate(filepath.Join(u.dir, "tls"), nil, time.Now())
	if err != nil {
		return err
	}
	for i := range u.command.Nodes {
		n, err := u.startNode(whole, i)
		if err != nil {
			return err
		}
		u.step(n.config.Node.Name, "https://"+n.public.HTTPSAddr()+"  http://"+n.public.HTTPAddr())
	}
	if err := u.meet(ctx); err != nil {
		return err
	}
	u.step("gossip", plural(u.command.Nodes, "member")+", ring "+fmt.Sprintf("%08x", uint32(u.nodes[0].ring().Version())))
	if err := u.try(ctx, certificate); err != nil {
		return err
	}
	u.step("demo", "the sample title came through every edge")
	return nil
}

func (u *upCluster) startNode(ctx context.Context, i int) (*node, error) {
	config := u.configuration(i)
	keyring, err := cluster.NewKeyring(cluster.KeyringOptions{Secrets: cluster.Secrets{u.secret}})
	if err != nil {
		return nil, err
	}
	n, err := newNode(nodeOptions{config: config, keyring: keyring, log: u.log, hurry: true, flag: "--port-shift", memory: u.memory, floor: u.floor})
	if err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		n.close()
		return nil, err
	}
	u.nodes = append(u.nodes, n)
	t := start(ctx, n.run)
	u.tasks = append(u.tasks, t)
	select {
	case <-n.cluster.Ready():
		return n, nil
	case <-t.done:
		if t.err == nil {
			t.err = errors.New("it ended at once")
		}
		return nil, fmt.Errorf("start %s: %w", config.Node.Name, t.err)
	case <-time.After(meetTimeout):
		return nil, fmt.Errorf("start %s: gossip was not ready after %s", config.Node.Name, meetTimeout)
	}
}

// configuration is that of node i.
func (u *upCluster) configuration(i int) *configs.Config {
	c := configs.Default()
	c.Node.Name = "edge-" + strconv.Itoa(i+1)
	c.Node.Zone = "zone-a" // of one zone, as one cache: in zones of their own each would keep a copy of everything
	c.Node.Dir = filepath.Join(u.dir, c.Node.Name)
	c.Listen.HTTP, c.Listen.HTTPS, c.Listen.Admin = u.address(upHTTP, i), u.address(upHTTPS, i), u.address(upAdmin, i)
	c.Listen.DrainTimeout = configs.Duration(time.Second)
	c.TLS.Cert, c.TLS.Key = filepath.Join(u.dir, "tls", "cert.pem"), filepath.Join(u.dir, "tls", "key.pem")
	c.Cache.Disk, c.Cache.Memory = 2*configs.GiB, 128*configs.MiB
	if share := u.memory / int64(u.command.Nodes); share > 0 { // the nodes are one process, whose memory each of them watches
		c.Cache.Memory = min(c.Cache.Memory, configs.Bytes(hotBytes(c, share)))
		c.Overload.Fetches, c.Overload.Requests = min(c.Overload.Fetches, max(1, int(share/fetchMemory))), max(1, int(share/requestMemory))
	}
	c.Cluster.Gossip, c.Cluster.Peer = "127.0.0.1:0", "127.0.0.1:0"
	for _, n := range u.nodes {
		c.Cluster.Join = append(c.Cluster.Join, n.cluster.Addr())
	}
	c.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://" + u.origin.address()}, Pages: true, CMCD: configs.CMCD{Enabled: true, Prefetch: true, CMSD: true}, SDK: configs.SDK{Downloads: configs.Downloads{Allow: true}}}}
	return c
}

func (u *upCluster) address(port, i int) string {
	if u.command.PortShift < 0 {
		return "127.0.0.1:0"
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i+u.command.PortShift))
}

// meet waits until every node has every node on its ring.
func (u *upCluster) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		met := 0
		for _, n := range u.nodes {
			if n.ring().Len() == len(u.nodes) {
				met++
			}
		}
		if met == len(u.nodes) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d edges see all the others after %s", met, len(u.nodes), meetTimeout)
		}
	}
}

// try fetches the sample's first playlist through every edge, over TLS.
func (u *upCluster) try(ctx context.Context, certificate tls.Certificate) error {
	roots := x509.NewCertPool()
	for _, der := range certificate.Certificate {
		if parsed, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(parsed)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, n := range u.nodes {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+n.public.HTTPSAddr()+player.DefaultHLS, http.NoBody)
		if err != nil {
			return err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return fmt.Errorf("fetch the sample through %s: %w", n.config.Node.Name, err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("fetch the sample through %s: %s %w", n.config.Node.Name, response.Status, err)
		}
	}
	return nil
}

func (u *upCluster) step(what, detail string) { fmt.Fprintf(u.out, "  ✓ %-8s %s\n", what, detail) }

func (u *upCluster) print(took time.Duration) {
	first := u.nodes[0]
	secure, plain := "https://"+first.public.HTTPSAddr(), "http://"+first.public.HTTPAddr()
	fmt.Fprintf(u.out, `
  Up in %.1f s. Open in a browser:

    Player     %s/      HTTP/3; accept the self-made certificate once
               %s/       the same without TLS
    Console    http://%s/#token=%s
    HLS        %s%s
    DASH       %s%s

  State is in %s. Ctrl-C ends it all.
`, took.Seconds(), secure, plain, first.admin.listener.Addr(), first.token, plain, player.DefaultHLS, plain, player.DefaultDASH, u.dir)
}

// wait returns when the context ends or a part fails.
func (u *upCluster) wait(ctx context.Context) error {
	failed := make(chan *task, len(u.tasks))
	for _, t := range u.tasks {
		go func() { // ends with the task, which stop ends
			<-t.done
			failed <- t
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case t := <-failed:
		if t.err == nil {
			return errors.New("a part of the cluster ended")
		}
		return t.err
	}
}

// stop ends the nodes, all at once, then the origin.
func (u *upCluster) stop() error {
	for _, t := range u.tasks {
		t.cancel()
	}
	var errs []error
	for _, t := range u.tasks {
		errs = append(errs, t.stop())
	}
	return errors.Join(errs...)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
