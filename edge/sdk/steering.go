package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Steering says how viewers are spread over pathways.
type Steering struct {
	// Server is the base URL of who answers questions, such as https://steer.example.com: a name that all edges have. "": the
	// edge that served the manifest, then others.
	Server string
	// TTL is how long a player keeps to an answer; 0: 60 s.
	TTL time.Duration
	// Spread is how many edges an asset's viewers go to; 0: 2.
	Spread int
	// Weight is the share of viewers that this cluster's edges get together, relative to Pathways; 0: 1.
	Weight float64
	// Pathways are other ways to the same content, such as other CDNs.
	Pathways []Pathway
}

// Pathway is another way to the same content.
type Pathway struct {
	ID      string            // [A-Za-z0-9._-], not the name of an edge
	Host    string            // host or host:port that takes the place of an edge's
	Weight  float64           // share of viewers; 0: none, it only stands in
	Regions []string          // of edges whose viewers may go there; nil: all
	Params  map[string]string // added to the query of every URL; a manifest does not list it then
	// Shares are weights of some hours; the first whose hours it is takes the place of Weight.
	Shares []Share
	// Contract has the weight follow a volume that was agreed; nil: there is none.
	Contract *Contract
}

// Share is a pathway's weight at some times.
type Share struct {
	When   Window
	Weight float64
}

// Window is some hours of the week.
type Window interface{ Contains(time.Time) bool }

// Contract is a volume that a pathway is to serve in a span of time. The weight is multiplied by what is left of the volume,
// divided by what is left of the time: 1 while both go down together, more (at most 4) where the pathway is behind, 0 when it has
// served all, and before and after.
type Contract struct {
	From, Until   time.Time
	Bytes, Served int64 // agreed; as the pathway's own figures say
}

// maxPace keeps the last days of a contract that was forgotten from taking everything.
const maxPace = 4

func (c *Contract) pace(now time.Time) float64 {
	if now.Before(c.From) || !now.Before(c.Until) || c.Served >= c.Bytes {
		return 0
	}
	volume := float64(c.Bytes-c.Served) / float64(c.Bytes)
	return min(maxPace, volume/(float64(c.Until.Sub(now))/float64(c.Until.Sub(c.From))))
}

// share is the pathway's weight now.
func (p *Pathway) share(now time.Time) float64 {
	weight := p.Weight
	if i := slices.IndexFunc(p.Shares, func(s Share) bool { return s.When.Contains(now) }); i >= 0 {
		weight = p.Shares[i].Weight
	}
	if p.Contract != nil {
		weight *= p.Contract.pace(now)
	}
	return weight
}

const (
	defaultTTL    = 60 * time.Second
	troubledTTL   = 10 * time.Second // where an edge leaves: its viewers are to know soon
	defaultSpread = 2
)

func (s *Steering) check() error {
	if s.Weight < 0 || s.Spread < 0 || s.TTL < 0 {
		return errors.New("sdk: a number of Steering is negative")
	}
	if u, err := url.Parse(s.Server); err != nil || s.Server != "" && (u.Host == "" || u.Path != "" || u.RawQuery != "") {
		return fmt.Errorf("sdk: the steering server %q is no https://host", s.Server)
	}
	seen := map[string]bool{}
	for _, p := range s.Pathways {
		switch {
		case !isPathway(p.ID):
			return fmt.Errorf("sdk: the pathway %q needs a name of letters, digits, '.', '-' and '_'", p.ID)
		case seen[p.ID]:
			return fmt.Errorf("sdk: two pathways are called %q", p.ID)
		case p.Host == "" || strings.ContainsAny(p.Host, "/?#@"):
			return fmt.Errorf("sdk: the pathway %q needs a host, not %q", p.ID, p.Host)
		case !isShare(p.Weight) || slices.ContainsFunc(p.Shares, func(s Share) bool { return !isShare(s.Weight) || s.When == nil }):
			return fmt.Errorf("sdk: a weight of the pathway %q is none", p.ID)
		case p.Contract != nil && (p.Contract.Bytes <= 0 || p.Contract.Served < 0 || !p.Contract.From.Before(p.Contract.Until)):
			return fmt.Errorf("sdk: the contract of the pathway %q has no volume, or no time", p.ID)
		}
		seen[p.ID] = true
	}
	return nil
}

func isShare(weight float64) bool { return weight >= 0 && !math.IsInf(weight, 0) }

// plan is all that the ways of a viewer depend on, beside the viewer.
type plan struct {
	policy *Steering
	here   string // the node that answers
	nodes  []Node
	scheme string // of the viewer's URLs, https:// or http://
	now    time.Time
}

// steered is who is steered.
type steered struct {
	asset, viewer string
	current       string     // the pathway it loads from; "": not known
	rates         []measured // what its player measured
	starves       bool       // its player has run out of media at current
	avoid         string     // the pathway at which it did before; "": none
}

// measured is a throughput, in bit/s.
type measured struct {
	pathway string
	rate    int64
}

// shuns tells whether a pathway did badly for the viewer: the player ran dry there, or measured less than half of what it
// measured elsewhere.
func (v *steered) shuns(id string) bool {
	if id == v.avoid || v.starves && id == v.current {
		return true
	}
	own, best := int64(0), int64(0)
	for _, m := range v.rates {
		best = max(best, m.rate)
		if m.pathway == id {
			own = m.rate
		}
	}
	return own > 0 && own < best/2
}

func (p *plan) edge(id string) bool {
	return slices.ContainsFunc(p.nodes, func(n Node) bool { return n.Name == id && !n.Leaves })
}

// ways lists the pathways for a viewer, the best first, and tells whether an edge is in trouble: then viewers are to ask
// again soon.
func (p *plan) ways(v *steered) (ways []Pathway, troubled bool) {
	ways, region, troubled := p.edges(v)
	ways = p.withOthers(ways, region, v.viewer)
	// Who is badly served goes to the next, and the way comes behind that.
	if len(ways) > 1 && v.shuns(ways[0].ID) {
		if i := slices.IndexFunc(ways, func(way Pathway) bool { return !v.shuns(way.ID) }); i > 0 {
			better := ways[i]
			ways = slices.Insert(slices.Delete(ways, i, i+1), 0, better)
		}
	}
	return ways, troubled
}

// withOthers puts the pathways that are no edges among the edges, as the weights of now say.
func (p *plan) withOthers(edges []Pathway, region, viewer string) []Pathway {
	type other struct {
		Pathway

		share float64
	}
	var others []other
	total := 0.0
	if len(edges) > 0 {
		total = cmp.Or(p.policy.Weight, 1)
	}
	own := total
	for _, way := range p.policy.Pathways {
		if len(way.Regions) == 0 || slices.Contains(way.Regions, region) {
			others = append(others, other{way, way.share(p.now)})
			total += others[len(others)-1].share
		}
	}
	// The same viewer stands at the same point of the line that the weights divide.
	point := fraction(viewer, "pathway")*total - own
	first := -1
	for i := range others {
		if point >= 0 && point < others[i].share {
			first = i
			break
		}
		point -= others[i].share
	}
	var ways []Pathway
	if first >= 0 {
		ways = append(ways, others[first].Pathway)
		others = slices.Delete(others, first, first+1)
	}
	ways = append(ways, edges...)
	slices.SortStableFunc(others, func(a, b other) int { return cmp.Compare(b.share, a.share) })
	for _, o := range others {
		ways = append(ways, o.Pathway)
	}
	return ways
}

// candidate is an edge that may be a viewer's.
type candidate struct {
	Node

	host       string
	behind     bool    // it is under pressure, and this viewer is one of those that go
	rank, turn float64 // for the title; for the viewer
}

// edges lists the cluster's nodes that take viewers: first those that an asset's viewers go to, among them the one where
// the viewer is already, then those of the region, then all.
func (p *plan) edges(v *steered) (ways []Pathway, region string, troubled bool) {
	var list []candidate
	for _, n := range p.nodes {
		if n.Name == p.here {
			region = n.Region
		}
		u, err := url.Parse(n.URL)
		troubled = troubled || n.Leaves || n.Pressure > 0
		if n.Leaves || err != nil || u.Host == "" {
			continue
		}
		list = append(list, candidate{
			Node: n, host: u.Host, behind: fraction(v.viewer, "pressure of "+n.Name) < n.Pressure,
			rank: draw(v.asset, n.Name, n.Weight), turn: draw(v.viewer+"/"+v.asset, n.Name, n.Weight),
		})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(boolean(b.Region == region)-boolean(a.Region == region), boolean(a.behind)-boolean(b.behind), cmp.Compare(b.rank, a.rank))
	})
	spread := list[:p.spread(list)]
	slices.SortFunc(spread, func(a, b candidate) int {
		return cmp.Or(boolean(b.Name == v.current)-boolean(a.Name == v.current), cmp.Compare(b.turn, a.turn))
	})
	for _, c := range list {
		ways = append(ways, Pathway{ID: c.Name, Host: c.host})
	}
	return ways, region, troubled
}

// spread brings the edges that share the title's viewers to the front, and returns how many: the best of each zone first, so
// that the loss of a zone leaves one of them. An edge far away, or under pressure, is no place for half of the viewers.
func (p *plan) spread(list []candidate) int {
	most := min(cmp.Or(p.policy.Spread, defaultSpread), len(list))
	zones := map[string]bool{}
	for n := range most {
		alike := func(c candidate) bool { return c.Region == list[0].Region && c.behind == list[0].behind }
		i := slices.IndexFunc(list[n:], func(c candidate) bool { return alike(c) && !zones[c.Zone] })
		if i < 0 {
			clear(zones) // all have one
			if i = slices.IndexFunc(list[n:], alike); i < 0 {
				return n
			}
		}
		c := list[n+i]
		copy(list[n+1:n+i+1], list[n:n+i])
		list[n], zones[c.Zone] = c, true
	}
	return most
}

// draw is the number by which weighted rendezvous hashing ranks a node for a name.
func draw(name, node string, weight float64) float64 {
	return -cmp.Or(weight, 1) / math.Log(fraction(name, node))
}

// fraction is a number above 0 and below 1 that two strings make.
func fraction(a, b string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a + "\x00" + b)) // a hash takes everything
	x := h.Sum64()
	x ^= x >> 33 // FNV mixes its last bytes badly: the end of MurmurHash3's mixer
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return (float64(x>>11) + 0.5) / (1 << 53)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
