package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"time"
)

// Defaults of Options. The gossip and probe timers were measured on 3 to 50 nodes: faster ones raised false suspicion as
// soon as a machine was short of CPU, the library's own need 6 to 7 seconds to notice a crash.
const (
	DefaultLabel            = "weir"
	DefaultBind             = "0.0.0.0:7946"
	DefaultGossipInterval   = 100 * time.Millisecond
	DefaultGossipNodes      = 3
	DefaultProbeInterval    = 500 * time.Millisecond
	DefaultProbeTimeout     = 250 * time.Millisecond
	DefaultSuspicionMult    = 4
	DefaultPushPullInterval = 10 * time.Second
	DefaultStreamTimeout    = 5 * time.Second
	DefaultRejoinInterval   = 5 * time.Second
	DefaultPublishDelay     = 50 * time.Millisecond
	DefaultDrainTime        = 2 * time.Second
	DefaultLeaveTimeout     = 3 * time.Second
	DefaultForgetAfter      = time.Hour
)

// Defaults in a pool of relays, between regions: an answer may take a third of a second, and news may take a second.
const (
	DefaultWANGossipInterval   = 200 * time.Millisecond
	DefaultWANProbeInterval    = 2 * time.Second
	DefaultWANProbeTimeout     = time.Second
	DefaultWANPushPullInterval = 30 * time.Second
)

// defaultPort is the gossip port of an address that names none.
const defaultPort = 7946

// ErrNoSecret is returned where more than one node is meant and there is no secret to keep strangers out.
var ErrNoSecret = errors.New("cluster: a cluster secret is needed to gossip with other nodes: " +
	"make one with `head -c 32 /dev/urandom | base64 > cluster.secret` and give every node that file with --secret-file")

// Options says who this node is and how it gossips. Only Name is required; the zero value of everything else is a node
// that stands alone.
type Options struct {
	// Name is unique in the cluster and stays the same over restarts: letters, digits, '-', '_' and '.', at most 63, the
	// first and last of them a letter or digit. It is also the name in the node's peer certificate.
	Name string

	// Label separates clusters that share a network: nodes with another label are not heard, even with the same secret.
	// At most 64 bytes; "" means DefaultLabel.
	Label string

	// Keyring holds the secrets that all nodes of the cluster share. Gossip follows its changes; whoever made it runs it.
	// Without one the node does not gossip at all.
	Keyring *Keyring

	// Bind is the host:port to gossip on, UDP and TCP. Port 0 lets the system choose; "" means DefaultBind with a Keyring.
	Bind string

	// Advertise is the host or host:port that other nodes are told, where it differs from Bind (address translation). ""
	// means Bind's address, or a private address of this machine where Bind is every address.
	Advertise string

	// Join lists gossip addresses of other nodes as host:port or host, IP addresses or DNS names; all addresses of a name
	// are tried. It may contain this node. The list is asked again for as long as one of them is not a member.
	Join []string

	Zone   string  // failure domain inside the region, at most 32 bytes of letters, digits, '-', '_', '.'
	Region string  // the same rules
	Build  string  // version of the running program, told to the others; at most 64 printable ASCII bytes
	Role   string  // "" means RoleEdge; only nodes of that role are on the ring
	Weight float64 // share of the keys relative to other nodes, 0.001 to 1000; 0 means 1

	// Shield says that the node asks further up (other regions, the origin) for the whole of its region. Where no member of
	// a region says so, all are shields.
	Shield bool

	// Relay says that the node is in a pool of relays as well, through which its region meets the others.
	Relay bool

	// WAN makes this a pool of relays: members of all regions are welcome, and timers that are left 0 suit long ways
	// (DefaultWAN…). Without it, a member of another region is refused.
	WAN bool

	// PeerAddr is the host:port where other nodes reach this node's peer listener. The host may be left out or be every
	// address: then it is the one gossip advertises. Required with a Keyring.
	PeerAddr string

	// Cleartext says that the peer listener speaks HTTP in the clear, to requests that are signed, and not TLS. A member that
	// does it the other way is on no ring of this node.
	Cleartext bool

	// HTTPAddr and HTTPSAddr are the public host:port of this node, told to the others for steering. Optional. The host may
	// be a name; where there is none it is the one gossip advertises.
	HTTPAddr, HTTPSAddr string

	// Gate refuses packets, streams and members from addresses that are not allowed, and an address to join that is not.
	// nil lets in everybody who has a secret.
	Gate *Gate

	// AdminAddr is the host:port of this node's listener for operators. It is not told to others; a node that gives it as
	// its own, which would have this one ask itself, is refused. Optional; port 0 is nobody's.
	AdminAddr string

	// News gets each message that another member has sent with Tell, some several times, one after the other; it owns
	// them. While it takes its time 256 wait, then others are dropped and counted. A panic is stopped and counted. nil
	// ignores them.
	News func(message []byte)

	// Network is what the node gossips over; nil means this machine's sockets.
	Network Network

	// Resolve looks up the addresses of a host name in Join; nil means the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// GossipInterval is the time between two rounds in which news goes to GossipNodes random members. 0 means
	// DefaultGossipInterval and DefaultGossipNodes.
	GossipInterval time.Duration
	GossipNodes    int

	// ProbeInterval is the time between two checks of one random member, ProbeTimeout how long its answer may take before
	// others are asked to try. SuspicionMult probe intervals (more above 10 members) pass between the first unanswered
	// check and declaring the member dead. 0 means the defaults. ProbeTimeout must be below ProbeInterval.
	ProbeInterval, ProbeTimeout time.Duration
	SuspicionMult               int

	// PushPullInterval is the time between two full exchanges with a random member; stretched above 32 members. 0 means
	// DefaultPushPullInterval.
	PushPullInterval time.Duration

	// StreamTimeout bounds each connection for a full exchange, from dial to end. 0 means DefaultStreamTimeout.
	StreamTimeout time.Duration

	// RejoinInterval is the time between two attempts to reach seeds and members that are missing; each is shortened or
	// stretched by up to a quarter at random. 0 means DefaultRejoinInterval.
	RejoinInterval time.Duration

	// PublishDelay is how long a change waits for others before one new ring is built for all of them. 0 means
	// DefaultPublishDelay.
	PublishDelay time.Duration

	// DrainTime is how long the node is announced as draining before it leaves. 0 means DefaultDrainTime, a negative
	// value none. A node that was told to Drain earlier waits only for what remains.
	DrainTime time.Duration

	// LeaveTimeout bounds each of the two farewells, draining and leaving. 0 means DefaultLeaveTimeout.
	LeaveTimeout time.Duration

	// ForgetAfter is how long a dead or departed member stays in Members and a dead one is tried again. 0 means
	// DefaultForgetAfter.
	ForgetAfter time.Duration

	// Log receives what happens to members at info and warn, and the gossip library's own words at debug and warn. nil
	// discards.
	Log *slog.Logger
}

// Network makes the sockets to gossip over, so that tests can run a cluster in memory. Addresses are host:port with an IP
// address as host. Dial must end when its context does.
type Network interface {
	ListenPacket(addr string) (net.PacketConn, error)
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// alone says whether the node stands alone, without gossip.
func (o *Options) alone() bool { return o.Keyring == nil }

// complete fills defaults and refuses nonsense.
func (o *Options) complete() error {
	o.defaults()
	if err := o.checkIdentity(); err != nil {
		return err
	}
	if err := o.checkTimers(); err != nil {
		return err
	}
	if o.alone() {
		return o.checkAlone()
	}
	return o.checkGossip()
}

func (o *Options) defaults() {
	orString(&o.Label, DefaultLabel)
	orString(&o.Role, RoleEdge)
	if o.Weight == 0 {
		o.Weight = 1
	}
	if o.WAN {
		orDuration(&o.GossipInterval, DefaultWANGossipInterval)
		orDuration(&o.ProbeInterval, DefaultWANProbeInterval)
		orDuration(&o.ProbeTimeout, min(DefaultWANProbeTimeout, o.ProbeInterval/2))
		orDuration(&o.PushPullInterval, DefaultWANPushPullInterval)
	}
	orDuration(&o.GossipInterval, DefaultGossipInterval)
	orInt(&o.GossipNodes, DefaultGossipNodes)
	orDuration(&o.ProbeInterval, DefaultProbeInterval)
	orDuration(&o.ProbeTimeout, min(DefaultProbeTimeout, o.ProbeInterval/2))
	orInt(&o.SuspicionMult, DefaultSuspicionMult)
	orDuration(&o.PushPullInterval, DefaultPushPullInterval)
	orDuration(&o.StreamTimeout, DefaultStreamTimeout)
	orDuration(&o.RejoinInterval, DefaultRejoinInterval)
	orDuration(&o.PublishDelay, DefaultPublishDelay)
	orDuration(&o.DrainTime, DefaultDrainTime)
	o.DrainTime = max(o.DrainTime, 0)
	orDuration(&o.LeaveTimeout, DefaultLeaveTimeout)
	orDuration(&o.ForgetAfter, DefaultForgetAfter)
	if o.Network == nil {
		o.Network = Sockets{}
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func (o *Options) checkIdentity() error {
	if err := checkName(o.Name); err != nil {
		return fmt.Errorf("cluster: name %q: %w", o.Name, err)
	}
	if len(o.Label) > maxLabel {
		return fmt.Errorf("cluster: label of %d bytes: at most %d", len(o.Label), maxLabel)
	}
	for _, f := range []struct {
		field, value string
		check        func(string) error
	}{
		{"role", o.Role, checkRole},
		{"zone", o.Zone, checkPlace},
		{"region", o.Region, checkPlace},
		{"build", o.Build, checkBuild},
		{"http address", o.HTTPAddr, checkListen},
		{"https address", o.HTTPSAddr, checkListen},
	} {
		if err := f.check(f.value); err != nil {
			return fmt.Errorf("cluster: %s %q: %w", f.field, f.value, err)
		}
	}
	if math.IsNaN(o.Weight) || o.Weight < minWeight || o.Weight > maxWeight {
		return fmt.Errorf("cluster: weight %v: want %v to %v", o.Weight, minWeight, maxWeight)
	}
	return nil
}

func (o *Options) checkTimers() error {
	for _, f := range []struct {
		field string
		value time.Duration
	}{
		{"gossip interval", o.GossipInterval},
		{"probe interval", o.ProbeInterval},
		{"probe timeout", o.ProbeTimeout},
		{"push-pull interval", o.PushPullInterval},
		{"stream timeout", o.StreamTimeout},
		{"rejoin interval", o.RejoinInterval},
		{"publish delay", o.PublishDelay},
		{"leave timeout", o.LeaveTimeout},
		{"forget after", o.ForgetAfter},
	} {
		if f.value <= 0 {
			return fmt.Errorf("cluster: %s of %v: want more than 0", f.field, f.value)
		}
	}
	if o.ProbeTimeout >= o.ProbeInterval {
		return fmt.Errorf("cluster: probe timeout %v: want less than the probe interval %v", o.ProbeTimeout, o.ProbeInterval)
	}
	if o.GossipNodes < 1 || o.SuspicionMult < 1 {
		return fmt.Errorf("cluster: gossip nodes %d, suspicion multiplier %d: want at least 1", o.GossipNodes, o.SuspicionMult)
	}
	return nil
}

// checkAlone refuses options that ask for company without a secret.
func (o *Options) checkAlone() error {
	if len(o.Join) > 0 {
		return fmt.Errorf("%w (asked to join %s)", ErrNoSecret, o.Join[0])
	}
	if o.Bind == "" {
		return nil
	}
	host, _, err := splitBind(o.Bind)
	if err != nil {
		return fmt.Errorf("cluster: gossip address %q: %w", o.Bind, err)
	}
	if !host.IsLoopback() {
		return fmt.Errorf("%w (asked to gossip on %s)", ErrNoSecret, o.Bind)
	}
	return nil
}

func (o *Options) checkGossip() error {
	orString(&o.Bind, DefaultBind)
	if _, _, err := splitBind(o.Bind); err != nil {
		return fmt.Errorf("cluster: gossip address %q: %w", o.Bind, err)
	}
	if o.Advertise != "" {
		if _, _, err := splitSeed(o.Advertise, defaultPort); err != nil {
			return fmt.Errorf("cluster: advertised address %q: %w", o.Advertise, err)
		}
	}
	for _, seed := range o.Join {
		host, _, err := splitSeed(seed, defaultPort)
		if addr, notAddr := netip.ParseAddr(host); err == nil && notAddr == nil {
			err = o.Gate.check(addr)
		}
		if err != nil {
			return fmt.Errorf("cluster: address to join %q: %w", seed, err)
		}
	}
	if o.PeerAddr == "" {
		return errors.New("cluster: peer address: other nodes need one to ask this node; give host:port of its peer listener")
	}
	if _, _, err := splitPeer(o.PeerAddr); err != nil {
		return fmt.Errorf("cluster: peer address %q: %w", o.PeerAddr, err)
	}
	if o.AdminAddr != "" {
		if _, _, err := splitBind(o.AdminAddr); err != nil {
			return fmt.Errorf("cluster: admin address %q: %w", o.AdminAddr, err)
		}
	}
	return nil
}

func orString(p *string, v string) {
	if *p == "" {
		*p = v
	}
}

func orInt(p *int, v int) {
	if *p == 0 {
		*p = v
	}
}

func orDuration(p *time.Duration, v time.Duration) {
	if *p == 0 {
		*p = v
	}
}
