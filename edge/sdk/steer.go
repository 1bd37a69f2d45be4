package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Steering says how viewers are spread over pathways.
type Steering struct {
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
	Params  map[string]string // added to the query of every URL
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
	seen := map[string]bool{}
	for _, p := range s.Pathways {
		switch {
		case p.ID == "" || p.ID == "." || strings.ContainsFunc(p.ID, func(r rune) bool { return notWord(r) || r == ':' }):
			return fmt.Errorf("sdk: the pathway %q needs a name of letters, digits, '.', '-' and '_'", p.ID)
		case seen[p.ID]:
			return fmt.Errorf("sdk: two pathways are called %q", p.ID)
		case p.Host == "" || strings.ContainsAny(p.Host, "/?#@"):
			return fmt.Errorf("sdk: the pathway %q needs a host, not %q", p.ID, p.Host)
		case p.Weight < 0 || math.IsNaN(p.Weight) || math.IsInf(p.Weight, 0):
			return fmt.Errorf("sdk: the weight of the pathway %q is %v", p.ID, p.Weight)
		}
		seen[p.ID] = true
	}
	return nil
}

// steeringManifest is the answer (RFC 8216bis, 7.2).
type steeringManifest struct {
	Version  int      `json:"VERSION"`
	TTL      int      `json:"TTL"`
	Reload   string   `json:"RELOAD-URI"`
	Priority []string `json:"PATHWAY-PRIORITY"`
	Clones   []clone  `json:"PATHWAY-CLONES,omitempty"`
}

// clone lets a player use a pathway that the manifest does not list.
type clone struct {
	Base        string      `json:"BASE-ID"`
	ID          string      `json:"ID"`
	Replacement replacement `json:"URI-REPLACEMENT"`
}

type replacement struct {
	Host   string            `json:"HOST"`
	Params map[string]string `json:"PARAMS,omitempty"`
}

func steerPath(asset string, query url.Values) string {
	return expand("/steer/v1/{asset}", asset) + "?" + query.Encode()
}

// steer answers a player that asks where to load from next. from, in the query, is the pathway of the manifest's own URLs.
func (a *API) steer(w http.ResponseWriter, r *http.Request) *problem {
	asset, query := r.PathValue("asset"), r.URL.Query()
	if p := checkName(asset); p != nil {
		return p
	}
	from := cmp.Or(query.Get("from"), ".")
	if len(from) > 64 || from != "." && strings.ContainsFunc(from, func(r rune) bool { return notWord(r) || r == ':' }) {
		p := newProblem("request", "from is the name of a pathway")
		p.Field = "from"
		return p
	}
	current := strings.Trim(cmp.Or(query.Get("_HLS_pathway"), query.Get("_DASH_pathway")), `"`)
	current, _, _ = strings.Cut(current, ",")
	v := steered{asset: asset, viewer: cmp.Or(query.Get("session"), r.RemoteAddr), current: current}
	ways, troubled := a.ways(r, &v)

	m := steeringManifest{Version: 1, TTL: int(cmp.Or(a.options.Steering.TTL, defaultTTL).Seconds()), Reload: reload(asset, query)}
	if troubled {
		m.TTL = min(m.TTL, int(troubledTTL.Seconds()))
	}
	port := portOf(r.Host)
	for _, way := range ways {
		m.Priority = append(m.Priority, way.ID)
		// A clone has another host and the same port (RFC 8216bis, 7.2): where the port is another one too, a player can use the pathway only
		// if its manifest lists it, as MPDs do.
		if host := strings.TrimSuffix(way.Host, port); way.ID != from && portOf(host) == "" {
			m.Clones = append(m.Clones, clone{Base: from, ID: way.ID, Replacement: replacement{Host: host, Params: way.Params}})
		}
	}
	if len(m.Priority) == 0 {
		m.Priority = []string{from}
	}
	writeJSON(w, http.StatusOK, m)
	return nil
}

// portOf is the port of an authority with its colon, "" where it names none.
func portOf(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return ""
	}
	return authority[i:]
}

// reload keeps what the next question needs, and not what the player adds to it.
func reload(asset string, query url.Values) string {
	kept := url.Values{}
	for _, name := range []string{"session", "from"} {
		if v := query.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	return steerPath(asset, kept)
}

// steered is who is steered.
type steered struct {
	asset, viewer, current string
}

// ways lists the pathways for a viewer, the best first, and tells whether an edge is in trouble.
func (a *API) ways(r *http.Request, v *steered) (ways []Pathway, troubled bool) {
	edges, region, troubled := a.edges(r, v)
	policy := &a.options.Steering
	others := make([]Pathway, 0, len(policy.Pathways))
	total := 0.0
	if len(edges) > 0 {
		total = cmp.Or(policy.Weight, 1)
	}
	own := total
	for _, p := range policy.Pathways {
		if len(p.Regions) == 0 || slices.Contains(p.Regions, region) {
			others = append(others, p)
			total += p.Weight
		}
	}
	// The same viewer stands at the same point of the line that the weights divide.
	point := fraction(v.viewer, "pathway") * total
	if point < own || total == 0 {
		slices.SortStableFunc(others, func(a, b Pathway) int { return cmp.Compare(b.Weight, a.Weight) })
		return append(edges, others...), troubled
	}
	point -= own
	first := len(others) - 1
	for i, p := range others {
		if point < p.Weight {
			first = i
			break
		}
		point -= p.Weight
	}
	ways = append(ways, others[first])
	ways = append(ways, edges...)
	rest := slices.Delete(slices.Clone(others), first, first+1)
	slices.SortStableFunc(rest, func(a, b Pathway) int { return cmp.Compare(b.Weight, a.Weight) })
	return append(ways, rest...), troubled
}

// edges lists the cluster's nodes that take viewers: first those that an asset's viewers go to, among them the one where
// the viewer is already, then those of the region, then all.
func (a *API) edges(r *http.Request, v *steered) (ways []Pathway, region string, troubled bool) {
	type candidate struct {
		Node

		rank, turn float64
	}
	var list []candidate
	for _, n := range a.nodes(r) {
		if n.Name == a.options.Node {
			region = n.Region
		}
		if n.Leaves {
			troubled = true
			continue
		}
		list = append(list, candidate{Node: n, rank: draw(v.asset, n.Name, n.Weight), turn: draw(v.viewer+"/"+v.asset, n.Name, n.Weight)})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(boolean(b.Region == region)-boolean(a.Region == region), cmp.Compare(b.rank, a.rank))
	})
	spread := min(cmp.Or(a.options.Steering.Spread, defaultSpread), len(list))
	for spread > 1 && list[spread-1].Region != list[0].Region {
		spread-- // an edge far away is no place for half of the viewers
	}
	slices.SortFunc(list[:spread], func(a, b candidate) int {
		return cmp.Or(boolean(b.Name == v.current)-boolean(a.Name == v.current), cmp.Compare(b.turn, a.turn))
	})
	for _, c := range list {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" {
			continue
		}
		ways = append(ways, Pathway{ID: c.Name, Host: u.Host})
	}
	return ways, region, troubled
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
