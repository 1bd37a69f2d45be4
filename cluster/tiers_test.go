package cluster

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/cluster/ring"
)

// names lists the nodes of a ring.
func names(r *ring.Ring) string {
	if r == nil {
		return "none"
	}
	var out []string
	for _, n := range r.Nodes() {
		out = append(out, strings.TrimPrefix(n.Name, "edge-"))
	}
	return strings.Join(out, " ")
}

// TestTiers: a node's zone, and the shields of its region, are tables of their own where they are not the whole.
func TestTiers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		zones, shields string // of the nodes 1, 2, …, a letter each
		zone, shield   string // as node 1 has them
	}{
		"one zone":                {"aaaa", "----", "1 2 3 4", "1 2 3 4"},
		"two zones":               {"abab", "----", "1 3", "1 2 3 4"},
		"two zones and shields":   {"abab", "-xx-", "1 3", "2 3"},
		"a zone alone":            {"abbb", "---x", "1", "4"},
		"all are shields":         {"aabb", "xxxx", "1 2", "1 2 3 4"},
		"no zone: asks all":       {" aab", "----", "1 2 3 4", "1 2 3 4"},
		"shields in one zone":     {"aaaa", "xx--", "1 2 3 4", "1 2"},
		"shields in another zone": {"abba", "-xx-", "1 4", "2 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net, i := newMemnet(), -1
				nodes := startCluster(t, net, len(tt.zones), func(o *Options) {
					i++
					o.Zone, o.Shield = strings.TrimSpace(tt.zones[i:i+1]), tt.shields[i] == 'x'
				})
				tiers := nodes[0].Tiers()
				if zone, shield := names(tiers.Zone), names(tiers.Shield); zone != tt.zone || shield != tt.shield {
					t.Errorf("got zone %q, shields %q, want %q, %q", zone, shield, tt.zone, tt.shield)
				}
				if same := tt.zone == tt.shield; same != (tiers.Zone == tiers.Shield) {
					t.Errorf("the tables are one: %v, want %v", !same, same)
				}
				if names(nodes[0].Ring()) != "1 2 3 4" || tiers.Homes != nil {
					t.Errorf("ring %q, homes %v", names(nodes[0].Ring()), tiers.Homes)
				}
			})
		})
	}
}

// TestRegionsMeetThroughRelays and keep apart otherwise.
func TestRegionsMeetThroughRelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		start(t, nodeOptions(net, 1)) // of no region: the seed that all try
		other := nodeOptions(net, 2)
		other.Region = "us"
		lone := start(t, other)
		time.Sleep(20 * time.Second)
		if got := lone.sees(); len(got) != 1 {
			t.Errorf("a node of another region sees %v", got)
		}
		if lone.log.count("regions meet through relays") == 0 {
			t.Errorf("nothing says why: %s", lone.log)
		}

		var relays []*testNode
		for i, region := range []string{"eu", "eu", "us", "ap", "ap"} {
			o := nodeOptions(net, 11+i)
			o.WAN, o.Region, o.Join, o.Label = true, region, []string{"10.0.0.11"}, "weir-wan"
			o.Shield = i == 1
			relays = append(relays, start(t, o))
		}
		await(t, "relays meet", 30*time.Second, func() bool { return agree(5, relays...) })
		us := relays[2].Tiers()
		if us.Zone != nil || len(us.Homes) != 2 || names(us.Homes["eu"]) != "12" || names(us.Homes["ap"]) != "14 15" {
			t.Errorf("us sees eu %q, ap %q, want the one shield 12, and 14 and 15", names(us.Homes["eu"]), names(us.Homes["ap"]))
		}
		gone := func(ip string) bool { return ip == "10.0.0.14" || ip == "10.0.0.15" }
		net.split(func(from, to string) bool { return gone(from) || gone(to) })
		await(t, "a region that is gone is off the tables", 30*time.Second, func() bool { return len(relays[2].Tiers().Homes) == 1 })
	})
}
