package cluster

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // in the error
	}{
		{"no name", func(o *Options) { o.Name = "" }, "name"},
		{"name an address", func(o *Options) { o.Name = "10.0.0.1" }, "name"},
		{"long label", func(o *Options) { o.Label = strings.Repeat("l", maxLabel+1) }, "label"},
		{"zone", func(o *Options) { o.Zone = "a b" }, "zone"},
		{"region", func(o *Options) { o.Region = "a/b" }, "region"},
		{"role", func(o *Options) { o.Role = "a/b" }, "role"},
		{"build", func(o *Options) { o.Build = "a\nb" }, "build"},
		{"http", func(o *Options) { o.HTTPAddr = "example.com" }, "http address"},
		{"https", func(o *Options) { o.HTTPSAddr = "0.0.0.0:0" }, "https address"},
		{"weight below", func(o *Options) { o.Weight = -1 }, "weight"},
		{"weight above", func(o *Options) { o.Weight = 1e9 }, "weight"},
		{"weight NaN", func(o *Options) { o.Weight = math.NaN() }, "weight"},
		{"negative interval", func(o *Options) { o.GossipInterval = -1 }, "gossip interval"},
		{"probe timeout", func(o *Options) { o.ProbeTimeout = time.Second }, "probe timeout"},
		{"gossip nodes", func(o *Options) { o.GossipNodes = -1 }, "gossip nodes"},
		{"bind without port", func(o *Options) { o.Bind = "10.0.0.1" }, "gossip address"},
		{"bind to a name", func(o *Options) { o.Bind = "example.com:7946" }, "gossip address"},
		{"advertise", func(o *Options) { o.Advertise = "0.0.0.0:7946" }, "advertised address"},
		{"join", func(o *Options) { o.Join = []string{"a:b:c"} }, "address to join"},
		{"join every address", func(o *Options) { o.Join = []string{"0.0.0.0:7946"} }, "address to join"},
		{"no peer", func(o *Options) { o.PeerAddr = "" }, "peer address"},
		{"peer without port", func(o *Options) { o.PeerAddr = "10.0.0.1" }, "peer address"},
		{"join outside", func(o *Options) {
			o.Gate = NewGate([]netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}, nil)
		}, "address to join \"10.0.0.1\": 10.0.0.1 is outside the allowed networks, 192.168.0.0/16"},
		{"admin", func(o *Options) { o.AdminAddr = "7070" }, "admin address"},
		{"peer port 0", func(o *Options) { o.PeerAddr = ":0" }, "peer address"},
		{"peer link-local", func(o *Options) { o.PeerAddr = "169.254.1.1:80" }, "peer address"},
	} {
		o := nodeOptions(newMemnet(), 1)
		tt.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestCompanyNeedsASecret(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"join":           {Name: "edge-1", Join: []string{"10.0.0.2"}},
		"bind":           {Name: "edge-1", Bind: "10.0.0.1:7946"},
		"bind all":       {Name: "edge-1", Bind: ":7946"},
		"join, loopback": {Name: "edge-1", Bind: "127.0.0.1:7946", Join: []string{"127.0.0.1:7947"}},
	} {
		_, err := New(o)
		if !errors.Is(err, ErrNoSecret) || !strings.Contains(err.Error(), "make one with") {
			t.Errorf("%s: %v, want ErrNoSecret and how to make one", name, err)
		}
	}
	for name, o := range map[string]Options{
		"nothing": {Name: "edge-1"}, "loopback": {Name: "edge-1", Bind: "localhost:7946"}, "loopback v6": {Name: "edge-1", Bind: "[::1]:7946"},
	} {
		if _, err := New(o); err != nil {
			t.Errorf("%s: a node alone needs no secret: %v", name, err)
		}
	}
}

func TestSplitSeed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, host string
		port     uint16
	}{
		{"10.0.0.1", "10.0.0.1", 7946},
		{"10.0.0.1:1", "10.0.0.1", 1},
		{"::1", "::1", 7946},
		{"[::1]:80", "::1", 80},
		{"::ffff:10.0.0.1", "10.0.0.1", 7946},
		{"edge-1.example.com", "edge-1.example.com", 7946},
		{"edge-1.example.com:80", "edge-1.example.com", 80},
		{"", "", 0},
		{":80", "", 0},
		{"a:0", "", 0},
		{"a:65536", "", 0},
		{"a/b:80", "", 0},
		{"a:b:c", "", 0},
		{"[::]:80", "", 0},
		{"[fe80::1%eth0]:80", "", 0},
		{"169.254.169.254:80", "", 0},
		{"169.254.169.254", "", 0},
		{"0.0.0.0", "", 0},
	} {
		host, port, err := splitSeed(tt.in, 7946)
		if (err != nil) != (tt.host == "") || err == nil && (host != tt.host || port != tt.port) {
			t.Errorf("%q: got %q, %d, %v, want %q, %d", tt.in, host, port, err, tt.host, tt.port)
		}
	}
}

func FuzzSplitSeed(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "[::1]:80", "edge-1.example.com:80", "::ffff:1.2.3.4", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := splitSeed(s, 7946)
		if err != nil {
			return
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			if err := checkHostAddr(addr); err != nil {
				t.Errorf("%q: address %s accepted: %v", s, addr, err)
			}
			again, port2, err := splitSeed(netip.AddrPortFrom(addr, port).String(), 1)
			if err != nil || again != host || port2 != port {
				t.Errorf("%q reads as %s port %d, then as %s port %d, %v", s, host, port, again, port2, err)
			}
			return
		}
		if host == "" || !isWord(host) || port == 0 {
			t.Errorf("%q reads as %q port %d", s, host, port)
		}
	})
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		":80": "10.0.0.1:80", "0.0.0.0:80": "10.0.0.1:80", "[::]:80": "10.0.0.1:80", "localhost:80": "127.0.0.1:80",
		"10.0.0.2:80": "10.0.0.2:80", "edge.example.com:80": "edge.example.com:80", "": "",
	} {
		if got := reachable(in, netip.MustParseAddr("10.0.0.1")); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
