package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"weir/cluster"
	"weir/configs"
	"weir/edge/access"
	"weir/edge/cmcd"
	"weir/edge/sdk"
	"weir/edge/session"
)

// steeringOf is the policy of a site: its own keys, or those of the file that it names.
func steeringOf(c *configs.Steering) (sdk.Steering, error) {
	if c.PolicyFile != "" {
		policy, err := configs.LoadSteering(c.PolicyFile)
		if err != nil {
			return sdk.Steering{}, err
		}
		c = policy
	}
	s := sdk.Steering{Server: c.Server, TTL: c.TTL.D(), Spread: c.Spread, Weight: c.Weight}
	for i := range c.Pathways {
		p := &c.Pathways[i]
		way := sdk.Pathway{ID: p.ID, Host: p.Host, Weight: p.Weight, Regions: p.Regions, Params: p.Params}
		for _, h := range p.Hours {
			window, err := access.ParseWindow(h.When)
			if err != nil {
				return s, fmt.Errorf("steering, pathway %s: hours %q: %w", p.ID, h.When, err)
			}
			way.Shares = append(way.Shares, sdk.Share{When: &window, Weight: h.Weight})
		}
		if p.Contract.Volume > 0 {
			contract := sdk.Contract{Bytes: int64(p.Contract.Volume), Served: int64(p.Contract.Served)}
			var err error
			if contract.From, err = configs.ParseDay(p.Contract.From); err == nil {
				contract.Until, err = configs.ParseDay(p.Contract.Until)
			}
			if err != nil {
				return s, fmt.Errorf("steering, pathway %s: contract: %w", p.ID, err)
			}
			way.Contract = &contract
		}
		s.Pathways = append(s.Pathways, way)
	}
	return s, nil
}

// starves tells whether the player that asks has run out of media, by the CMCD of its question.
func starves(r *http.Request) bool {
	var report cmcd.Report
	_, err := report.ParseRequest(r.Header, r.URL.RawQuery)
	return err == nil && report.Bool(cmcd.BufferStarvation)
}

// steeredNodes lists the nodes as viewers reach them, and which of them are to get fewer, or no more.
func (n *node) steeredNodes(secure bool) []sdk.Node {
	var nodes []sdk.Node
	now := time.Now()
	for _, m := range n.cluster.Members() {
		address, scheme := m.HTTPAddr, "http://"
		if secure {
			address, scheme = m.HTTPSAddr, "https://"
		}
		if address == "" || m.State == cluster.Left {
			continue
		}
		pressure := n.pressures.of(m.Name, now)
		if m.Self {
			pressure = n.pressure()
		}
		nodes = append(nodes, sdk.Node{
			Name: m.Name, URL: scheme + address, Region: m.Region, Zone: m.Zone, Weight: m.Weight,
			Pressure: pressure, Leaves: m.Draining || m.State != cluster.Alive,
		})
	}
	return nodes
}

// pressure is the share of viewers that this node cannot serve now: that of misses for segments which it sheds, as each player
// has some.
func (n *node) pressure() float64 { return min(1, n.overload.Stats().Pressure) }

const (
	// pressurePath is where nodes tell each other their pressure, on the peers' listener, as noticePath is.
	pressurePath = "/./pressure"
	// pressureEvery is how often a node that is under pressure says so; the others believe it for pressureLasts. Players ask
	// again after 10 s.
	pressureEvery = 2 * time.Second
	pressureLasts = 3 * pressureEvery
	// maxPressures bounds what is remembered; a pool has 200 nodes at most. What is beyond is not heard.
	maxPressures = 1000
)

// pressures is what other nodes have said of theirs. The zero value has heard nothing.
type pressures struct {
	mu sync.Mutex // guards the fields below
	by map[string]saidPressure
}

// saidPressure is what one of them says.
type saidPressure struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`

	until time.Time
}

func (p *pressures) hear(said saidPressure, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, old := range p.by {
		if !now.Before(old.until) {
			delete(p.by, name)
		}
	}
	if delete(p.by, said.Name); !(said.Share > 0) || len(p.by) == maxPressures {
		return
	}
	if p.by == nil {
		p.by = map[string]saidPressure{}
	}
	said.until = now.Add(pressureLasts)
	p.by[said.Name] = said
}

// of is the share of a node that has spoken of late, 0 for all others.
func (p *pressures) of(name string, now time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if said := p.by[name]; now.Before(said.until) {
		return min(1, said.Share)
	}
	return 0
}

// tellPressure tells all members while this node is under pressure, and once when it is over, until ctx ends.
func (n *node) tellPressure(ctx context.Context) error {
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	for told := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		share := n.pressure()
		if share > 0 || told {
			n.tellMembers(ctx, saidPressure{Name: n.config.Node.Name, Share: share})
		}
		told = share > 0
	}
}

func (n *node) tellMembers(ctx context.Context, said saidPressure) {
	message, err := json.Marshal(said)
	if err != nil {
		return // a name and a number: cannot fail
	}
	ctx, cancel := context.WithTimeout(ctx, pressureEvery)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range n.cluster.Members() {
		if m.Self || m.State != cluster.Alive || m.PeerAddr == "" {
			continue
		}
		wg.Go(func() {
			_, _ = n.askNode(ctx, session.Node{Name: m.Name, Address: m.PeerAddr}, pressurePath, message) // the next comes soon
		})
	}
	wg.Wait()
}

// servePressure hears another node.
func (n *node) servePressure(w http.ResponseWriter, r *http.Request) {
	var said saidPressure
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<10)).Decode(&said); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.pressures.hear(said, time.Now())
}
