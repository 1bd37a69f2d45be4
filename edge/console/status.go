package console

import "time"

// Status is a node's state at one moment. Counts are sums since the start of the process.
type Status struct {
	Name          string      `json:"name"`
	Version       string      `json:"version"`
	State         string      `json:"state"`   // starting, ready, draining or another short word
	Ready         bool        `json:"ready"`   // filled by the console, with Options.Ready
	Summary       string      `json:"summary"` // what is wrong and what to do, or that all is well; filled by the console
	UptimeSeconds float64     `json:"uptime_seconds"`
	Zone          string      `json:"zone"`
	Region        string      `json:"region"`
	Protocols     Protocols   `json:"protocols"`
	Requests      Requests    `json:"requests"`
	Bytes         Bytes       `json:"bytes"`
	Cache         Cache       `json:"cache"`
	Fills         int64       `json:"fills"`       // running now
	Connections   int64       `json:"connections"` // open now
	Origin        Origin      `json:"origin"`
	Ring          RingState   `json:"ring"`
	PurgeLog      *PurgeLog   `json:"purge_log,omitempty"` // none: the node stands alone
	Budgets       Budgets     `json:"budgets"`
	Config        ConfigState `json:"config"`
	Latency       *Latency    `json:"latency,omitempty"`
	Problems      []Problem   `json:"problems"` // empty when all is good, never null
}

// Protocols counts client requests by HTTP version.
type Protocols struct {
	H1 uint64 `json:"h1"`
	H2 uint64 `json:"h2"`
	H3 uint64 `json:"h3"`
}

// Requests counts client requests by outcome.
type Requests struct {
	Total     uint64 `json:"total"`
	Hit       uint64 `json:"hit"`
	Stale     uint64 `json:"stale"`
	Miss      uint64 `json:"miss"`
	Pass      uint64 `json:"pass"`
	Collapsed uint64 `json:"collapsed"`
	Local     uint64 `json:"local"`
	Refused   uint64 `json:"refused"`
	Error     uint64 `json:"error"`
}

// Bytes counts body bytes.
type Bytes struct {
	Sent       int64 `json:"sent"` // to clients
	FromPeer   int64 `json:"from_peer"`
	FromOrigin int64 `json:"from_origin"`
}

// Cache is the fill of the two tiers. A limit of 0 means that the tier is not used.
type Cache struct {
	MemoryBytes int64  `json:"memory_bytes"`
	MemoryLimit int64  `json:"memory_limit"`
	DiskBytes   int64  `json:"disk_bytes"`
	DiskLimit   int64  `json:"disk_limit"`
	Objects     int64  `json:"objects"`
	HotObjects  int64  `json:"hot_objects"`
	Evictions   uint64 `json:"evictions"`
}

// Origin is the state of the origin that the node asks, the first bad one if there are several.
type Origin struct {
	URL       string `json:"url"` // without credentials
	OK        bool   `json:"ok"`
	LastError string `json:"last_error"` // empty if there was none; may stay after the origin is back
}

// Latency counts the times to first byte by bucket: Counts[i] lie above Bounds[i-1] and at most at Bounds[i]; the last
// count, one more than there are bounds, lies above all.
type Latency struct {
	Bounds []float64 `json:"bounds"` // seconds, ascending
	Counts []uint64  `json:"counts"`
}

// ConfigState is which configuration the node runs by.
type ConfigState struct {
	File    string     `json:"file"`            // "" where there is none
	Taken   time.Time  `json:"taken"`           // when it was read; a file that is wrong does not change that
	Restart []string   `json:"restart"`         // keys that have changed in it since the start and need a restart; never null
	Tried   *time.Time `json:"tried,omitempty"` // when it was last read again
	Error   string     `json:"error,omitempty"` // why it was not taken then
}

// RingState is the placement of keys that the node uses.
type RingState struct {
	Version string   `json:"version"` // eight hexadecimal digits: nodes with the same place every key alike
	Nodes   int      `json:"nodes"`
	Differ  []string `json:"differ"` // members that have said since that they use another one; never null
}

// PurgeLog is how far the node is with purges of the whole cluster.
type PurgeLog struct {
	State          string `json:"state"`          // Current, or CatchingUp
	Lag            int64  `json:"lag"`            // purges that the last exchange with another node found missing here
	Posted         int64  `json:"posted"`         // told the others
	Received       int64  `json:"received"`       // of others, and obeyed
	Unacknowledged int64  `json:"unacknowledged"` // nodes that did not acknowledge within a second, summed over purges
	Lapses         int64  `json:"lapses"`         // times that everything before a purge that was lost counted as purged
}

// The states of a PurgeLog.
const (
	Current    = "current"
	CatchingUp = "catching up"
)

// Budgets bound the requests to upstreams that no client asked for.
type Budgets struct {
	OriginRetries Budget  `json:"origin_retries"`         // another host of an origin, because one failed
	PeerRetries   *Budget `json:"peer_retries,omitempty"` // another upstream, because a member failed; none: the node stands alone
	Hedges        *Budget `json:"hedges,omitempty"`       // another upstream, because a member is slow; the same
}

// Budget is the state of one of them.
type Budget struct {
	UsedUp  bool   `json:"used_up"` // now
	Sent    uint64 `json:"sent"`
	Refused uint64 `json:"refused"` // because it was used up
}

// Problem is something that an operator should know, as whole sentences.
type Problem struct {
	What string `json:"what"` // what is wrong: The disk tier takes no new objects.
	Why  string `json:"why"`  // what is known about the cause: write /var/lib/weir/objects: no space left on device.
	Fix  string `json:"fix"`  // what to do: Free space, or lower cache.disk below 180GiB.
}

// Member is a node of the cluster as this node sees it.
type Member struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Zone    string    `json:"zone"`
	Region  string    `json:"region"`
	State   string    `json:"state"` // alive, draining, left, dead
	Weight  float64   `json:"weight"`
	Build   string    `json:"build"`
	Keys    string    `json:"keys"`  // IDs of the cluster secrets that it accepts, separated by spaces, that in use first
	Since   time.Time `json:"since"` // when the state began
	Self    bool      `json:"self"`
	Answers string    `json:"answers"`     // how this node finds it: yes, no, or empty while it was not asked
	P95     float64   `json:"p95_seconds"` // 19 of 20 of its first signs of life took less; 0: too little is known
	Error   string    `json:"error"`       // of the last fetch from it; empty after a good one
	Running int64     `json:"running"`     // requests of this node to it whose response is not over
	Breaker Breaker   `json:"breaker"`
	Ring    string    `json:"ring"` // version of the ring that it said last that it uses; empty: nothing was heard
}

// Breaker is whether the node asks a member.
type Breaker struct {
	State  string     `json:"state"`           // closed: it does; open: not now; probing: its next request tries; empty: it never asked
	Until  *time.Time `json:"until,omitempty"` // that it is open
	Opened int        `json:"opened"`          // times
}

// Route is where the ring places a URL.
type Route struct {
	Key     string   `json:"key"`      // the canonical key
	Owners  []string `json:"owners"`   // names of nodes, the first one owns
	LeftOut []string `json:"left_out"` // of them, those that this node does not ask now; never null
	Ring    string   `json:"ring"`     // version of the ring
	Why     string   `json:"why"`      // one sentence: this node owns the key, or whom it would ask
}
