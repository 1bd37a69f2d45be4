package main

import (
	"errors"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/tag"
	"weir/cluster"
	"weir/edge"
	"weir/edge/console"
	"weir/edge/quality"
	"weir/edge/sdk"
	"weir/edge/upstream"
)

// status is what the console and weir status show.
func (n *node) status() console.Status {
	totals, stored := n.metrics.Totals(), n.cache.Stats()
	s := console.Status{
		Name: n.config.Node.Name, Version: version, State: *n.state.Load(), UptimeSeconds: time.Since(n.started).Seconds(),
		Zone: n.config.Node.Zone, Region: n.config.Node.Region,
		Protocols: console.Protocols{H1: totals.H1, H2: totals.H2, H3: totals.H3},
		Requests: console.Requests{
			Total: totals.Requests, Hit: totals.Hit, Stale: totals.Stale, Miss: totals.Miss, Pass: totals.Pass,
			Collapsed: totals.Collapsed, Local: totals.Local, Refused: totals.Refused, Error: totals.Error,
		},
		Bytes: console.Bytes{Sent: totals.Bytes},
		Cache: console.Cache{
			MemoryBytes: stored.MemoryBytes, MemoryLimit: stored.MemoryLimit, DiskBytes: stored.DiskBytes, DiskLimit: stored.DiskLimit,
			Objects: int64(stored.Objects), HotObjects: int64(stored.HotObjects), Evictions: uint64(stored.HotEvictions + stored.DiskEvictions),
		},
		Fills:       stored.Fills,
		Connections: n.connections(),
		Latency:     &console.Latency{Bounds: totals.FirstByte.Bounds, Counts: totals.FirstByte.Counts},
	}
	if n.peers != nil {
		s.Bytes.FromPeer = n.peers.Stats().Bytes
	}
	s.Origin.OK = true
	for _, group := range n.routes.Load().origins {
		s.Bytes.FromOrigin += group.Stats().Bytes
		for _, host := range group.Hosts() {
			if s.Origin.URL == "" || s.Origin.OK && !host.OK {
				s.Origin = console.Origin{URL: host.URL, OK: host.OK, LastError: host.LastError}
			}
		}
	}
	s.Config = n.configState()
	s.Ring, s.PurgeLog, s.Budgets = n.ringState(), n.purgeLog(), n.budgets()
	s.Problems = n.problems(&s)
	return s
}

// route tells who owns an absolute URL: the nodes of this node's zone, and whom it asks in turn.
func (n *node) route(text string) (console.Route, error) {
	why, err := n.edge.Why(text)
	if err != nil {
		return console.Route{}, err
	}
	key := cache.NewKey(why.Key)
	zone := n.tiers().Zone
	if zone == nil {
		zone = n.ring()
	}
	route := console.Route{Key: key.Text, Ring: shortRing(n.ring())}
	for owner := range zone.Owners(key.ID.Hash64()) {
		route.Owners = append(route.Owners, owner.Name)
		if owner.Name != n.config.Node.Name && n.peers != nil && !n.peers.Usable(owner.Name) {
			route.LeftOut = append(route.LeftOut, owner.Name)
		}
	}
	mine := len(route.Owners) == 0 || route.Owners[0] == n.config.Node.Name
	route.Why = "On a miss this node asks " + strings.Join(asks(why), ", then ") + "."
	switch {
	case mine:
		route.Why = "This node owns the key. " + route.Why
	case len(route.LeftOut) > 0:
		route.Why += " It leaves out " + strings.Join(route.LeftOut, " and ") + "; weir status tells why."
	}
	return route, nil
}

// registerMetrics adds what other packages count to /metrics.
func (n *node) registerMetrics() error {
	type metric struct {
		add  func(name, help string, read func() float64, labels ...string) error
		name string
		help string
		read func() float64
		tags []string
	}
	if err := n.registerReports(); err != nil {
		return err
	}
	gauge, counter := n.metrics.Gauge, n.metrics.Counter
	metrics := []metric{
		{gauge, "weir_cache_bytes", "Bytes stored, by tier.", func() float64 { return float64(n.cache.Stats().MemoryBytes) }, []string{"tier", "memory"}},
		{gauge, "weir_cache_bytes", "Bytes stored, by tier.", func() float64 { return float64(n.cache.Stats().DiskBytes) }, []string{"tier", "disk"}},
		{gauge, "weir_cache_limit_bytes", "Budget, by tier.", func() float64 { return float64(n.cache.Stats().MemoryLimit) }, []string{"tier", "memory"}},
		{gauge, "weir_cache_limit_bytes", "Budget, by tier.", func() float64 { return float64(n.cache.Stats().DiskLimit) }, []string{"tier", "disk"}},
		{gauge, "weir_cache_objects", "Objects stored.", func() float64 { return float64(n.cache.Stats().Objects) }, nil},
		{gauge, "weir_cache_fills", "Fills running.", func() float64 { return float64(n.cache.Stats().Fills) }, nil},
		{counter, "weir_cache_evictions_total", "Objects evicted to keep the budgets.", func() float64 { return float64(n.cache.Stats().DiskEvictions) }, nil},
		{counter, "weir_cache_corrupt_total", "Stored objects that were found damaged and dropped.", func() float64 { return float64(n.cache.Stats().Corrupt) }, nil},
		{counter, "weir_cache_scrubbed_bytes_total", "Bytes read from disk to find damage.", func() float64 { return float64(n.cache.Stats().ScrubbedBytes) }, nil},
		{counter, "weir_purged_objects_total", "Stored responses removed because of purges, by name or when they were met.", func() float64 { return float64(n.edge.Dropped()) }, nil},
		{gauge, "weir_purge_names", "URLs, prefixes and tags whose last purge is remembered.", func() float64 { return float64(n.purges.Stats().Names) }, nil},
		{counter, "weir_sendfile_calls_total", "sendfile system calls on cleartext HTTP/1.1.", func() float64 { return float64(n.public.Stats().SendfileCalls) }, nil},
		{counter, "weir_sendfile_bytes_total", "Bytes sent by sendfile.", func() float64 { return float64(n.public.Stats().SendfileBytes) }, nil},
		{gauge, "weir_connections", "Client connections open.", func() float64 { return float64(n.connections()) }, nil},
		{gauge, "weir_cluster_members", "Members alive, this node included.", func() float64 { return float64(n.cluster.Stats().Alive) }, nil},
		{counter, "weir_cluster_name_conflicts_total", "Messages that claim a member's name for another address.", func() float64 { return float64(n.cluster.Stats().NameConflicts) }, nil},
		{gauge, "weir_viewers", "Viewers that this node follows: those whose players report (CMCD), each at one node.", func() float64 { return float64(n.quality.Stats().Followed) }, nil},
		{counter, "weir_viewer_sessions_total", "Sessions of viewers that are over.", func() float64 { return float64(n.quality.Total().Sessions) }, nil},
		{counter, "weir_viewer_sessions_left_total", "Sessions that ended before anything played.", func() float64 { return float64(n.quality.Total().Left) }, nil},
		{counter, "weir_viewer_sessions_with_errors_total", "Sessions that met an error.", func() float64 { return float64(n.quality.Total().WithErrors) }, nil},
		{counter, "weir_viewer_watched_seconds_total", "What was watched.", func() float64 { return n.quality.Total().Watched.Seconds() }, nil},
		{counter, "weir_viewer_stalled_seconds_total", "What viewers waited in stalls.", func() float64 { return n.quality.Total().Stalled.Seconds() }, nil},
		{counter, "weir_viewer_stalls_total", "Stalls.", func() float64 { return float64(n.quality.Total().Stalls) }, nil},
		{counter, "weir_viewer_start_up_seconds_total", "What viewers waited before anything played, of those of whom it is known.", func() float64 { return n.quality.Total().StartUpTime.Seconds() }, nil},
		{counter, "weir_viewer_starts_total", "Sessions of which that is known.", func() float64 { return float64(n.quality.Total().Started) }, nil},
		{counter, "weir_offline_sessions_total", "Sessions that were played from a device without a network, told later; not among the viewers' sessions.", func() float64 { return float64(n.quality.Offline().Sessions) }, nil},
		{counter, "weir_offline_watched_seconds_total", "What was watched in these.", func() float64 { return n.quality.Offline().Watched.Seconds() }, nil},
		{counter, "weir_viewer_reports_dropped_total", "Reports and sessions for which there was no room, or that came too late.", func() float64 { return float64(n.quality.Stats().Dropped) }, nil},
		{gauge, "weir_play_sessions_kept", "Play sessions on this node, copies for others and those that ended lately included.", func() float64 { return float64(n.sessions.Len()) }, nil},
		{gauge, "weir_one_time_tokens_kept", "One-time tokens that were used and have not ended yet, on this node, copies for others included.", func() float64 { return float64(n.spent.Len()) }, nil},
		{counter, "weir_token_reuses_total", "Requests with a token that asks for its reuse to be told and was seen on this node before.", func() float64 { return float64(n.edge.Reused()) }, nil},
		{counter, "weir_config_reloads_total", "Times that the configuration was read again.", func() float64 { return float64(n.reloads.good.Load()) }, []string{"result", "taken"}},
		{counter, "weir_config_reloads_total", "Times that the configuration was read again.", func() float64 { return float64(n.reloads.bad.Load()) }, []string{"result", "refused"}},
		{counter, "weir_ring_disagreements_total", "Requests of nodes whose table of nodes was another one than this node's; they were served.", func() float64 { return float64(n.edge.Disagreements()) }, nil},
		{gauge, "weir_ring_nodes", "Nodes on the ring.", func() float64 { return float64(n.ring().Len()) }, nil},
	}
	for _, reason := range edge.Reasons() {
		metrics = append(metrics, metric{counter, "weir_refusals_total", "Requests refused, by reason.", func() float64 { return float64(n.edge.Refused(reason)) }, []string{"reason", reason}})
	}
	for _, kind := range quality.HintKinds() {
		for _, what := range quality.HintsOf() {
			metrics = append(metrics, metric{gauge, "weir_viewer_hints", "Edges, renditions and networks whose viewers wait or meet errors far more often than all others, by the sessions that this node follows, of the last day; the console names them.", func() float64 { return float64(n.hints(kind, what)) }, []string{"by", string(kind), "what", what}})
		}
	}
	for _, name := range sdk.Problems() {
		metrics = append(metrics, metric{counter, "weir_sdk_problems_total", "Problems that players' requests to the endpoints for them met, by the name at the end of their type.", func() float64 { return float64(n.players.Answered(name)) }, []string{"problem", name}})
	}
	for reason, read := range map[string]func(cluster.Stats) int64{
		"metadata": func(s cluster.Stats) int64 { return s.RefusedNodes },
		"key":      func(s cluster.Stats) int64 { return s.RefusedMessages },
		"address":  func(s cluster.Stats) int64 { return s.RefusedAddresses },
	} {
		metrics = append(metrics, metric{counter, "weir_cluster_refused_total", "What came by gossip and was refused: what nodes say of themselves, messages with another label, key or none, and addresses that are not allowed, those of peers' connections too.", func() float64 { return float64(read(n.cluster.Stats())) }, []string{"reason", reason}})
	}
	for reason := range n.public.Stats().Refused {
		metrics = append(metrics, metric{counter, "weir_front_refusals_total", "Connections ended and requests refused at the front door, by reason.", func() float64 { return float64(n.public.Stats().Refused[reason]) }, []string{"reason", reason}})
	}
	for in, read := range map[string]func() int64{
		"request": func() int64 { return n.public.Stats().Panics }, "fill": n.edge.Panics, "gossip": func() int64 { return n.cluster.Stats().CallbackPanics },
		"peer": func() int64 {
			if n.inner == nil {
				return 0
			}
			return n.inner.Stats().Panics + n.notices.Stats().Panics
		},
	} {
		metrics = append(metrics, metric{counter, "weir_panics_total", "Faults of this program that ended a request, a fetch or a message alone; the log has where.", func() float64 { return float64(read()) }, []string{"in", in}})
	}
	for _, kind := range tag.Kinds() {
		metrics = append(metrics, metric{counter, "weir_purges_total", "Purges obeyed, those by writes of clients among them, by kind.", func() float64 { return float64(n.purges.Stats().Purges[kind]) }, []string{"kind", string(kind)}})
	}
	if n.signer != nil {
		metrics = append(metrics, metric{counter, "weir_peer_unsigned_total", "Requests on the peers' listener that no node of the cluster has signed, or too long ago.", func() float64 { return float64(n.signer.Refused()) }, nil})
	}
	if n.notices != nil {
		metrics = append(metrics,
			metric{counter, "weir_purges_posted_total", "Purges that this node has told the others.", func() float64 { return float64(n.notices.Stats().Posted) }, nil},
			metric{counter, "weir_purges_unacknowledged_total", "Nodes that did not acknowledge such a purge within a second, summed over purges.", func() float64 { return float64(n.notices.Stats().Unacknowledged) }, nil},
			metric{counter, "weir_purges_received_total", "Purges of other nodes that this node has obeyed.", func() float64 { return float64(n.notices.Stats().Received) }, nil},
			metric{counter, "weir_purge_lapses_total", "Times that purges could not be had any more, and everything before them counted as purged.", func() float64 { return float64(n.notices.Stats().Lapses) }, nil},
			metric{gauge, "weir_purge_log_lag", "Purges that the last exchange with another node found missing here.", func() float64 { return float64(n.notices.Stats().Lag) }, nil},
			metric{gauge, "weir_purge_log_records", "Purges kept for other nodes.", func() float64 { return float64(n.notices.Stats().Records) }, nil},
			metric{counter, "weir_purges_gossiped_total", "Of the purges received, those that came by gossip first.", func() float64 { return float64(n.notices.Stats().Gossiped) }, nil},
			metric{counter, "weir_news_dropped_total", "Small messages with gossip that were not sent or not heard, as too many waited.", func() float64 { return float64(n.cluster.Stats().DroppedNews) }, nil},
			metric{gauge, "weir_majority_lost", "1 while this node has not heard of a majority of the nodes for cluster.lease, where sites are strict.", n.majorityLost, nil},
			metric{gauge, "weir_purge_log_bytes", "Bytes of those.", func() float64 { return float64(n.notices.Stats().Bytes) }, nil},
		)
	}
	upstreams := map[string]func() upstream.Stats{"origin": n.originStats}
	if n.peers != nil {
		upstreams["peer"] = n.peers.Stats
	}
	for name, stats := range upstreams {
		metrics = append(metrics,
			metric{counter, "weir_fetch_broken_total", "Upstream bodies that failed before their end, by source.", func() float64 { return float64(stats().Broken) }, []string{"source", name}},
			metric{counter, "weir_fetch_bytes_total", "Body bytes received from upstream, by source.", func() float64 { return float64(stats().Bytes) }, []string{"source", name}},
		)
	}
	if n.peers != nil {
		if err := n.metrics.Peers(n.peerCounts); err != nil {
			return err
		}
	}
	if err := n.metrics.Titles(n.titleViewers); err != nil {
		return err
	}
	for _, m := range metrics {
		if err := m.add(m.name, m.help, m.read, m.tags...); err != nil {
			return err
		}
	}
	return errors.Join(n.registerTLSMetrics(), n.registerLimitMetrics())
}

func (n *node) majorityLost() float64 {
	if n.notices.Doubt(time.Now()).IsZero() {
		return 0
	}
	return 1
}

func (n *node) connections() int64 {
	s := n.public.Stats()
	return s.Cleartext.Open + s.HTTP1.Open + s.HTTP2.Open + s.HTTP3.Open
}
