package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"weir/cache/tag"
	"weir/cluster"
	"weir/cluster/notice"
	"weir/configs"
	"weir/edge/console"
	"weir/edge/upstream"
)

const (
	// noticePath is where nodes tell each other of purges, on the peers' listener and nowhere else. No client can have a
	// node ask another one for it: a target with a dot segment is refused (edge.ParseTarget).
	noticePath       = "/./notices"
	noticeLimitBytes = 16 << 20 // of an answer
)

// buildNotices makes what carries purges to all nodes, when there are others.
func (n *node) buildNotices() (err error) {
	if n.peers == nil {
		return nil
	}
	n.notices, err = notice.New(notice.Options{
		Name: n.config.Node.Name, File: filepath.Join(n.config.Node.Dir, "notices"), Log: n.log,
		Region: n.config.Node.Region, Relays: n.relays, Regions: n.otherRegions, Lease: n.lease(),
		Joined: n.cluster.Ready, Peers: n.noticePeers, Apply: n.obey, Lapse: n.lapse, Gossip: n.cluster.Tell,
		Send: func(ctx context.Context, to notice.Peer, body []byte) ([]byte, error) {
			if err := n.sameProtocol(to.Name); err != nil {
				return nil, err
			}
			return n.peers.Call(ctx, upstream.Callee{Name: to.Name, Address: to.Address, Far: n.far(to.Name)}, noticePath, body, noticeLimitBytes)
		},
	}, time.Now())
	return err
}

// sameProtocol refuses to tell a node anything that speaks another protocol with its peers: never is one tried for the other.
func (n *node) sameProtocol(name string) error {
	for _, m := range n.everyMember() {
		if m.Name == name && m.Cleartext != n.config.Cluster.Cleartext {
			return fmt.Errorf("its peers speak %s, those of this node %s: set cluster.cleartext alike", peerProtocol(m.Cleartext), peerProtocol(!m.Cleartext))
		}
	}
	return nil
}

// strict tells whether any site is.
func strict(c *configs.Config) bool {
	return c.Cluster.Strict || slices.ContainsFunc(c.Sites, func(s configs.Site) bool { return s.Strict })
}

// lease is 0 where no site is strict: then members that are gone need not be remembered.
func (n *node) lease() time.Duration {
	if !strict(n.config) {
		return 0
	}
	return n.config.Cluster.Lease.D()
}

// doubt tells the edge what may have been purged unknown to this node.
func (n *node) doubt(now time.Time) time.Time {
	if n.notices == nil {
		return time.Time{}
	}
	return n.notices.Doubt(now)
}

// noticePeers lists the nodes that have to hear of purges: not those that said farewell.
func (n *node) noticePeers() []notice.Peer {
	var peers []notice.Peer
	for _, m := range n.cluster.Members() {
		if !m.Self && m.State != cluster.Left && m.PeerAddr != "" {
			peers = append(peers, notice.Peer{Name: m.Name, Address: m.PeerAddr, Lost: m.State == cluster.Dead})
		}
	}
	return peers
}

// spread tells all other nodes of a purge.
func (n *node) spread(ctx context.Context, p tag.Purge) ([]console.NodeReceipt, error) {
	if n.notices == nil {
		return nil, nil
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	posted, err := n.notices.Post(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("the purge holds on this node alone: %w", err)
	}
	receipts := make([]console.NodeReceipt, 0, len(posted))
	for _, r := range posted {
		receipt := console.NodeReceipt{Node: r.Node, Region: r.Region, State: console.Missing}
		if r.Err == nil {
			at := start.Add(r.Took)
			receipt.State, receipt.Time, receipt.Removed = console.Applied, &at, r.Removed
		} else {
			receipt.Error = reasonOf(r.Err)
			n.log.Warn("a purge is not acknowledged", "id", p.ID, "member", r.Node, "region", r.Region, "error", r.Err)
		}
		receipts = append(receipts, receipt)
	}
	return receipts, nil
}

func reasonOf(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return err.Error()
}

// obey applies purges of other nodes. Their times are those of other clocks, so that each is dated back, by the clock
// that fetches are dated with here, by as much as it is old.
func (n *node) obey(records []notice.Record) (removed int, err error) {
	purges := make([]tag.Purge, 0, len(records))
	for _, r := range records {
		var p tag.Purge
		if err := json.Unmarshal(r.Body, &p); err != nil || !known(p) {
			n.log.Error("a purge of another node is not understood: everything counts as purged", "member", r.Node, "error", err)
			p = tag.Purge{ID: r.Node, Kind: tag.All}
		}
		p.Time = n.dated(r.Age)
		purges = append(purges, p)
	}
	removed, err = n.edge.Apply(purges...)
	for _, p := range purges {
		n.log.Info("purge of another node", "id", p.ID, "kind", string(p.Kind), "items", len(p.Items), "soft", p.Soft)
	}
	return removed, err
}

func known(p tag.Purge) bool {
	return slices.Contains(tag.Kinds(), p.Kind) && (p.Kind == tag.All || len(p.Items) > 0)
}

// dated is the time of something of that age, by the clock of this node's fetches.
func (n *node) dated(age time.Duration) time.Time { return n.purges.Stamp(time.Now()).Add(-age) }

// lapse takes the safe side where purges cannot be had any more.
func (n *node) lapse(age time.Duration) error {
	_, err := n.edge.Apply(tag.Purge{ID: n.config.Node.Name + "-lapse", Kind: tag.All, Time: n.dated(age)})
	return err
}

// current is nil once this node has heard of what was purged while it was away, or stands alone.
func (n *node) current() <-chan struct{} {
	if n.notices == nil {
		return nil
	}
	return n.notices.Current()
}

// onceCurrent has clients wait until then: five seconds after the start at most.
func (n *node) onceCurrent(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if current := n.current(); current != nil {
			select {
			case <-current:
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(w, r)
	})
}

// peerHandler answers other nodes: notices, sessions, and all else as the edge does.
func (n *node) peerHandler() http.Handler {
	edge := n.counted(n.edge.PeerHandler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // the edge asks its peers by GET and HEAD alone
			switch r.URL.Path {
			case noticePath:
				n.awaitRegions(r.Context())
				n.notices.ServeHTTP(w, r)
				return
			case sessionPath:
				n.serveSessions(n.sessions, w, r)
				return
			case pressurePath:
				n.servePressure(w, r)
				return
			case qualityPath:
				n.serveQuality(w, r)
				return
			case watchedPath:
				n.serveWatched(w)
				return
			case downloadPath:
				n.serveSessions(n.downloads, w, r)
				return
			case spentPath:
				n.serveSessions(n.spent, w, r)
				return
			case reportPath:
				n.serveSessions(n.reports, w, r)
				return
			}
		}
		edge.ServeHTTP(w, r)
	})
}
