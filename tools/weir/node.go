package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/cache/tag"
	"weir/cluster"
	"weir/cluster/notice"
	"weir/cluster/ring"
	"weir/configs"
	"weir/edge"
	"weir/edge/access"
	"weir/edge/console"
	"weir/edge/front"
	"weir/edge/limit"
	"weir/edge/player"
	"weir/edge/quality"
	"weir/edge/sdk"
	"weir/edge/session"
	"weir/edge/telemetry"
	"weir/edge/token"
	"weir/edge/upstream"
)

// network is what a node reaches others through. Real sockets, or a test's
// memory.
type network interface {
	ListenPacket(address string) (net.PacketConn, error)
	Listen(address string) (net.Listener, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// nodeOptions is what makes a node.
type nodeOptions struct {
	config  *configs.Config
	keyring *cluster.Keyring // nil: alone; the node runs it
	network network          // nil: this machine's sockets
	log     *slog.Logger
	access  *accessFile    // of the access log, nil none
	level   *slog.LevelVar // of log; nil: it stays
	flag    string         // that changes an address, for messages; "" the flag of that address
	memory  int64          // that the process may take; 0: no bound
	floor   heapFloor      // of the process
	hurry   bool           // leave without waiting for the cluster to take note

	sockets  *sockets         // of listeners and gossip; nil: network's, or all its own
	program  program          // what another process is started as, to take over; zero: none can
	takeOver *takeOver        // from the process before; nil: there is none
	notify   *notifier        // the service manager; nil: there is none
	watchdog time.Duration    // between two signs of life for it; 0: it wants none
	usr2     <-chan os.Signal // asks for another process to take over; nil: never

	load   func() (*configs.Config, error) // reads the configuration again; nil: it stays
	hangup <-chan os.Signal                // asks for that; nil: never
}

// node is one running edge: every part, joined. Its life is newNode, listen,
// run; after run nothing of it is left but its directory.
type node struct {
	options nodeOptions
	config  *configs.Config
	log     *slog.Logger
	started time.Time
	state   atomic.Pointer[string]
	used    atomic.Pointer[usedRing]
	serving atomic.Bool // the listeners accept

	cache     *cache.Cache
	purges    *tag.Table
	routes    atomic.Pointer[routes]
	reloads   reloads
	upgrades  upgrades
	geo       *access.Geo
	replays   *token.Replays
	proofs    *limit.Table // how many proofs each key made
	proofSeed maphash.Seed
	peers     *upstream.Peers
	edge      *edge.Edge
	overload  *edge.Overload
	public    *front.Server
	inner     *front.Server   // peers ask here; nil alone
	signer    *cluster.Signer // of requests between peers in the clear; nil with TLS
	gate      *cluster.Gate   // of gossip and inner; nil lets in everybody
	cluster   *cluster.Cluster
	wan       *cluster.Cluster // of relays of all regions; nil: this node is none
	notices   *notice.Board    // of purges; nil alone
	sessions  *session.Book    // of viewers
	downloads *session.Book    // of viewers
	players   *sdk.Gate        // of the endpoints for players
	spent     *session.Book    // one-time tokens that were used
	reports   *session.Book    // of players, that came and may not count twice
	quality   *quality.Ledger  // of what their players report
	pressures pressures        // of other nodes
	paces     paces            // of how fast they were served here
	ownKey    []byte           // of sessions, where there is no cluster; set before anybody is served
	metrics   *telemetry.Metrics
	access    *telemetry.AccessLog
	profiles  *telemetry.Profiles
	token     string
	admin     *plainServer

	certificates *front.Certificates // of public; nil without https
	acme         *front.ACME         // has some of them; nil without
	gauges       []string            // the certificates that have a metric; listen's, then the reloader's

	adminCertificates *front.Certificates // nil: operators come in the clear
	adminTLS          *tls.Config         // with them
}

// hurriedLeave is the time for a farewell that nobody has to hear.
const hurriedLeave = 100 * time.Millisecond

// newNode builds what needs no socket.
func newNode(o nodeOptions) (*node, error) {
	n := &node{options: o, config: o.config, log: o.log.With("node", o.config.Node.Name), started: time.Now()}
	n.reloads.asks, n.upgrades.asks, n.upgrades.taken = make(chan chan *lastReload), make(chan chan upgraded), make(chan struct{})
	n.say("starting")
	if err := makeDir(o.config.Node.Dir); err != nil {
		return nil, err
	}
	for _, build := range []func() error{n.buildTelemetry, n.buildCache, n.buildEdge, n.buildPublic, n.buildAdminTLS} {
		if err := build(); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

func (n *node) buildTelemetry() (err error) {
	if n.metrics, err = telemetry.NewMetrics(telemetry.MetricsOptions{Node: n.config.Node.Name, Version: version, Log: n.log}); err != nil {
		return err
	}
	if n.options.access != nil {
		if n.access, err = telemetry.NewAccessLog(telemetry.AccessLogOptions{Writer: n.options.access, Format: n.config.Log.Format, Log: n.log}); err != nil {
			return err
		}
	}
	if n.config.Profiles.Server != "" {
		n.profiles, err = telemetry.NewProfiles(telemetry.ProfilesOptions{Server: n.config.Profiles.Server, App: "weir.edge", Tags: n.profileTags(), Log: n.log})
	}
	return err
}

func (n *node) profileTags() map[string]string {
	tags := map[string]string{"node": n.config.Node.Name, "version": version}
	if n.config.Node.Zone != "" {
		tags["zone"] = n.config.Node.Zone
	}
	if n.config.Node.Region != "" {
		tags["region"] = n.config.Node.Region
	}
	for name, value := range n.config.Profiles.Tags {
		tags[name] = value
	}
	return tags
}

func (n *node) buildCache() (err error) {
	dir := ""
	if n.config.Cache.Disk > 0 {
		dir = filepath.Join(n.config.Node.Dir, "cache")
	}
	n.cache, err = cache.New(cache.Options{Dir: dir, DiskBytes: int64(n.config.Cache.Disk), MemoryBytes: hotBytes(n.config, n.options.memory), OpenFiles: hotFiles(maxFiles()), Log: n.log})
	return err
}

func (n *node) buildEdge() error {
	var err error
	if n.geo, err = access.OpenGeo(n.config.Geo...); err != nil {
		return usageError{err}
	}
	n.proofs, n.proofSeed = limit.NewTable(0, time.Now()), maphash.MakeSeed()
	n.replays, n.players = token.NewReplays(replays), sdk.NewGate(time.Now())
	if err = errors.Join(n.buildSessions(), n.buildQuality()); err != nil {
		return err
	}
	routes, err := n.buildRoutes(n.config.Sites, &routes{})
	if err != nil {
		return usageError{err}
	}
	n.take(routes)
	n.metrics.AddSites(routes.names...)
	if err := n.buildPeers(); err != nil {
		return err
	}
	if n.purges, err = tag.New(tag.Options{File: filepath.Join(n.config.Node.Dir, "purges"), Shared: n.options.takeOver != nil, Log: n.log}, time.Now()); err != nil {
		return err
	}
	overload := overloadOptions(&n.config.Overload, n.options.memory, n.options.floor)
	overload.Sockets = n.options.network == nil
	n.overload = edge.NewOverload(overload)
	n.edge, err = edge.New(edge.Options{
		Name: n.config.Node.Name, Loop: n.config.Cluster.Label, Cache: n.cache, Sites: routes.sites, Purges: n.purges, Tiers: n.tiers, Region: n.config.Node.Region, Peers: n.peers, Geo: n.geo,
		Joined: time.Now(), Doubt: n.doubt, Overload: n.overload, Duress: func() bool { return n.overload.Stats().Pressure > 0 },
		Observe: n.observe, Fetched: func(from upstream.Source, status int) { n.metrics.ObserveUpstream(source(from), status) }, Log: n.log,
	})
	return err
}

// buildPeers makes both sides of the path between nodes, when there are others.
func (n *node) buildPeers() error {
	if n.options.keyring == nil {
		return nil
	}
	allow, err := cluster.ParseAllow(n.config.Cluster.Allow)
	if err != nil {
		return usageError{err}
	}
	n.gate = cluster.NewGate(allow, n.log)
	inner := front.Options{
		TrustClients: true, Log: n.log, DrainTimeout: n.config.Listen.DrainTimeout.D(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the edge comes later
			n.sayRing(w.Header())
			n.peerHandler().ServeHTTP(w, r)
		}),
	}
	peers := upstream.PeerOptions{Says: ringField}
	if n.config.Cluster.Cleartext {
		n.signer = cluster.NewSigner(n.options.keyring, n.config.Node.Name, n.log)
		peers.Sign = n.signer.Sign
		inner.HTTP, inner.HTTPFlag, inner.Handler = n.config.Cluster.Peer, "cluster.peer in the file", n.signer.Handler(inner.Handler)
	} else {
		inner.HTTPS, inner.HTTPSFlag, inner.DisableHTTP3 = n.config.Cluster.Peer, "cluster.peer in the file", true
		if inner.TLS, peers.TLS, err = n.options.keyring.PeerTLS(n.config.Node.Name); err != nil {
			return err
		}
	}
	if over := n.options.network; over != nil {
		peers.Dial = dialOver(over)
		inner.Listen = listenOver(over)
	} else if s := n.options.sockets; s != nil {
		inner.Listen = s.named(socketPeer)
	}
	inner.Listen = behind(n.gate, inner.Listen)
	if n.peers, err = upstream.NewPeers(peers); err != nil {
		return err
	}
	n.inner, err = front.New(inner)
	return err
}

func (n *node) buildPublic() error {
	options := front.Options{
		HTTP: n.config.Listen.HTTP, HTTPS: n.config.Listen.HTTPS, HTTPFlag: n.flag("--http"), HTTPSFlag: n.flag("--https"), Handler: n.onceCurrent(n.counted(n.edge)), DisableHTTP3: !n.config.Listen.HTTP3, Log: n.log,
		HeaderTimeout: n.config.Listen.HeaderTimeout.D(), IdleTimeout: n.config.Listen.IdleTimeout.D(), DrainTimeout: n.config.Listen.DrainTimeout.D(),
		QUICNode: n.config.Node.Name,
	}
	if n.options.keyring != nil {
		options.QUICKey = n.options.keyring.Secrets()[0].QUICKey() // another first secret is used from the next start on
	}
	if n.options.network != nil {
		options.Listen = listenOver(n.options.network)
	} else if s := n.options.sockets; s != nil {
		options.Listen = s.front(options.HTTP != "")
		options.ListenPacket = func(_, address string) (net.PacketConn, error) { return s.packets(socketHTTPS, options.HTTPS, address) }
	}
	var err error
	if options.Qlog, err = openQlog(n.config.Log, n.log); err != nil {
		return err
	}
	if options.Connections, err = connections(&n.config.Listen.Connections, maxFiles(), n.options.memory); err != nil {
		return usageError{err}
	}
	if err := errors.Join(n.buildTLS(&options), n.buildBalancers(&options)); err != nil {
		return err
	}
	n.public, err = front.New(options)
	return err
}

// counted keeps the number of requests that run.
func (n *node) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.metrics.Begin()
		defer n.metrics.End()
		h.ServeHTTP(w, r)
	})
}

// listen binds every socket but gossip's, which run binds. An error names the
// address and what to do.
func (n *node) listen() error {
	if n.inner != nil {
		if err := n.inner.Listen(); err != nil {
			return usageError{fmt.Errorf("peers: %w", err)}
		}
	}
	if err := n.public.Listen(); err != nil {
		return usageError{err}
	}
	if err := n.buildCluster(); err != nil {
		return usageError{err}
	}
	if err := n.buildNotices(); err != nil {
		return err
	}
	return n.listenAdmin()
}

func (n *node) buildCluster() error {
	c := n.config.Cluster
	options := cluster.Options{
		Name: n.config.Node.Name, Label: c.Label, Keyring: n.options.keyring, Gate: n.gate, AdminAddr: n.config.Listen.Admin,
		Bind: c.Gossip, Advertise: c.Advertise, Join: c.Join, Cleartext: c.Cleartext,
		Zone: n.config.Node.Zone, Region: n.config.Node.Region, Build: version, Weight: c.Weight, Shield: c.Shield, Relay: c.WAN.Gossip != "",
		HTTPAddr: publicAddress(n.public.HTTPAddr()), HTTPSAddr: publicAddress(n.public.HTTPSAddr()),
		GossipInterval: c.Timers.Gossip.D(), GossipNodes: c.Timers.GossipNodes,
		ProbeInterval: c.Timers.Probe.D(), ProbeTimeout: c.Timers.ProbeTimeout.D(), SuspicionMult: c.Timers.Suspicion,
		PushPullInterval: c.Timers.Sync.D(), StreamTimeout: c.Timers.SyncTimeout.D(), RejoinInterval: c.Timers.Rejoin.D(),
		ForgetAfter: c.Timers.Forget.D(), PublishDelay: c.Timers.Publish.D(), DrainTime: c.Timers.Drain.D(), LeaveTimeout: c.Timers.Leave.D(),
		News: func(message []byte) { n.notices.Hear(message) }, Log: n.log,
	}
	if n.inner != nil {
		options.PeerAddr = n.peerAddr()
	}
	if n.options.network != nil {
		options.Network = n.options.network
	} else if s := n.options.sockets; s != nil {
		options.Network = s.gossip(socketGossip, c.Gossip)
	}
	if options.DrainTime == 0 {
		options.DrainTime = -1
	}
	if n.options.hurry {
		options.DrainTime, options.LeaveTimeout = -1, hurriedLeave
	}
	var err error
	if n.cluster, err = cluster.New(options); err != nil {
		return err
	}
	return n.buildWAN(options)
}

// peerAddr is where other nodes reach this one.
func (n *node) peerAddr() string {
	if n.signer != nil {
		return n.inner.HTTPAddr()
	}
	return n.inner.HTTPSAddr()
}

// publicNodes lists the nodes as viewers reach them.
func (n *node) publicNodes(secure bool) []player.Node {
	var nodes []player.Node
	for _, m := range n.cluster.Members() {
		address, scheme := m.HTTPAddr, "http://"
		if secure {
			address, scheme = m.HTTPSAddr, "https://"
		}
		if m.State == cluster.Alive && !m.Draining && address != "" {
			nodes = append(nodes, player.Node{Name: m.Name, URL: scheme + address})
		}
	}
	return nodes
}

// publicAddress leaves out an address that no other machine could use.
func publicAddress(bound string) string {
	host, _, err := net.SplitHostPort(bound)
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		return ""
	}
	return bound
}

func (n *node) listenAdmin() error {
	if n.config.Listen.Admin == "" {
		return nil
	}
	tokenFile := filepath.Join(n.config.Node.Dir, "admin.token")
	var err error
	if n.token, err = console.LoadOrCreateToken(tokenFile); err != nil {
		return err
	}
	handler, err := console.New(console.Options{
		Name: n.config.Node.Name, Token: n.token, TokenFile: tokenFile, Ready: n.ready, Status: n.status, Members: n.members, Ring: n.route, Why: n.why, Purge: n.purge, Viewers: n.viewers, Reload: n.askReload, Config: n.effective,
		Upgrade: n.askUpgrade,
		Metrics: n.metrics.Handler(), Log: n.log,
	})
	if err != nil {
		return err
	}
	if err := n.registerMetrics(); err != nil {
		return err
	}
	listen := net.Listen
	if n.options.network != nil {
		listen = listenOver(n.options.network)
	} else if s := n.options.sockets; s != nil {
		listen = s.named(socketAdmin)
	}
	listener, err := listen("tcp", n.config.Listen.Admin)
	if err != nil {
		return usageError{fmt.Errorf("listen for operators on %s: %w: stop the other program or choose another address with %s", n.config.Listen.Admin, rootCause(err), n.flag("--admin"))}
	}
	if n.adminCertificates != nil {
		listener = tls.NewListener(listener, n.adminTLS)
	}
	n.admin = newPlainServer(listener, handler, n.log)
	return nil
}

func (n *node) say(state string) { n.state.Store(&state) }

// ring has all nodes of the region.
func (n *node) ring() *ring.Ring { return n.cluster.Ring() }

// ready is nil when clients may be sent here.
func (n *node) ready() error {
	switch {
	case !n.serving.Load() || *n.state.Load() == "starting":
		return errors.New("the node is starting")
	case *n.state.Load() == "draining":
		return errors.New("the node is draining")
	}
	select {
	case <-n.cluster.Ready():
	default:
		return errors.New("the node is looking for its cluster: it tries " + fmt.Sprint(n.config.Cluster.Join))
	}
	if current := n.current(); current != nil {
		select {
		case <-current:
		default:
			return errors.New("the node asks others what was purged while it was away")
		}
	}
	return nil
}

// observe passes a finished exchange on to metrics and log.
func (n *node) observe(x *edge.Exchange) {
	record := telemetry.Record{
		Time: x.Start, Node: n.config.Node.Name, Site: x.Site(), Method: x.Request.Method, Host: x.Request.Host, Path: x.LoggedTarget(),
		Protocol: telemetry.ProtocolOf(x.Request.ProtoMajor), Status: x.Status, Bytes: x.Sent, Duration: x.Duration, FirstByte: x.FirstByte,
		Outcome: telemetry.OutcomeOf(x.Outcome.String()), Source: source(x.Source), Client: x.Request.RemoteAddr, UserAgent: x.Request.UserAgent(),
		CacheStatus: x.CacheStatus(),
	}
	if x.Peer {
		record.Protocol = telemetry.Peer
	}
	if x.Err != nil {
		record.Error = x.Err.Error()
	} else if x.Outcome == edge.Refused {
		record.Error = x.Reason
	}
	if n.access != nil {
		addReport(&record, x)
	}
	n.follow(x)
	n.metrics.Observe(&record)
	if n.access != nil {
		n.access.Log(&record)
	}
}

func source(s upstream.Source) telemetry.Source {
	switch s {
	case upstream.FromPeer:
		return telemetry.Member
	case upstream.FromOrigin:
		return telemetry.Origin
	default:
		return telemetry.Self
	}
}

// flag names what changes an address.
func (n *node) flag(own string) string {
	if n.options.flag != "" {
		return n.options.flag
	}
	return own
}

func dialOver(n network) upstream.DialFunc {
	return func(ctx context.Context, _, address string) (net.Conn, error) { return n.Dial(ctx, address) }
}

// behind is listen, or net.Listen where that is nil, without connections from addresses that the gate refuses.
func behind(gate *cluster.Gate, listen func(network, address string) (net.Listener, error)) func(network, address string) (net.Listener, error) {
	if listen == nil {
		listen = net.Listen
	}
	return func(network, address string) (net.Listener, error) {
		l, err := listen(network, address)
		if err != nil {
			return nil, err
		}
		return gate.Listener(l), nil
	}
}

func listenOver(n network) func(network, address string) (net.Listener, error) {
	return func(_, address string) (net.Listener, error) { return n.Listen(address) }
}
