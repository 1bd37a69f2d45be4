package configs

import (
	"strconv"
	"time"
)

// Config is one node's configuration. It is a plain value: whoever holds it may change any field; it is not safe for
// changing from several goroutines. Sites, Join, Allow, Hosts, Origins and Tags are owned by the Config.
type Config struct {
	Node     Node     `yaml:"node"`
	Listen   Listen   `yaml:"listen"`
	TLS      TLS      `yaml:"tls"`
	Admin    Admin    `yaml:"admin"`
	Cache    Cache    `yaml:"cache"`
	Overload Overload `yaml:"overload"`
	Cluster  Cluster  `yaml:"cluster"`
	Sites    []Site   `yaml:"sites"`
	Geo      []string `yaml:"geo"`
	Origin   Origin   `yaml:"origin"`
	Profiles Profiles `yaml:"profiles"`
	Log      Log      `yaml:"log"`

	file  string          // the name given to Parse, for messages
	marks map[string]mark // where each key of the file stands, by path
}

// Node says who the node is and where it keeps its state.
type Node struct {
	// Name is unique in the cluster and appears in Cache-Status and Via. Empty means the machine's host name.
	Name string `yaml:"name"`
	// Zone is the failure domain (a rack, an availability zone). May be empty.
	Zone string `yaml:"zone"`
	// Region groups zones. May be empty.
	Region string `yaml:"region"`
	// Dir is the directory of the node's state: cache, minted certificate, admin token.
	Dir string `yaml:"dir"`
	// Memory is the most that the process may take. 0 means GOMEMLIMIT of the environment, or else no bound.
	Memory Bytes `yaml:"memory"`
}

// Listen holds the addresses that clients and operators connect to, and the time-outs of client connections.
// An address is host:port; an empty host means every address of the machine; an empty address means not to listen.
type Listen struct {
	// HTTP is the cleartext address, HTTP/1.1.
	HTTP string `yaml:"http"`
	// HTTPS is the TLS address: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over UDP, on one port.
	HTTPS string `yaml:"https"`
	// Admin is the operators' address: console, API, metrics, /healthz and /readyz.
	Admin string `yaml:"admin"`
	// ProxyProtocol lists addresses (10.0.0.1) and networks (10.0.0.0/8) of balancers, whose connections to HTTP and
	// HTTPS must begin with a PROXY protocol header.
	ProxyProtocol []string `yaml:"proxy_protocol"`
	// Connections bounds how many connections clients may have on HTTP and HTTPS.
	Connections Connections `yaml:"connections"`
	// HTTP3 says whether HTTPS also listens on UDP.
	HTTP3 bool `yaml:"http3"`
	// HeaderTimeout is the longest that a client may take to send a request head.
	HeaderTimeout Duration `yaml:"header_timeout"`
	// IdleTimeout is how long a connection without a request stays open.
	IdleTimeout Duration `yaml:"idle_timeout"`
	// DrainTimeout is how long a stopping node waits for running responses.
	DrainTimeout Duration `yaml:"drain_timeout"`
	// UpgradeTimeout is how long a new process may take until it can take over, from 1 s to 10 m.
	UpgradeTimeout Duration `yaml:"upgrade_timeout"`
}

// TLS says how the HTTPS address proves who it is. With no certificate at all the node mints one under Dir.
type TLS struct {
	// Cert is a PEM file: the leaf, then its chain.
	Cert string `yaml:"cert"`
	// Key is the PEM file of the leaf's private key.
	Key string `yaml:"key"`
	// Certificates are more of them, behind Cert and Key; the first of all serves clients that name no host.
	Certificates []Certificate `yaml:"certificates"`
	// StrictSNI says whether clients that name a host for which there is no certificate are refused.
	StrictSNI bool `yaml:"strict_sni"`
	// MinVersion is "1.2" or "1.3".
	MinVersion string `yaml:"min_version"`
	// ACME says which certificates an authority is asked for.
	ACME ACME `yaml:"acme"`
}

// ACME says how to get certificates from an authority by itself (RFC 8555).
type ACME struct {
	// Hosts are the names, one certificate for each. Empty means no ACME.
	Hosts []string `yaml:"hosts"`
	// Email is where the authority writes to. May be empty.
	Email string `yaml:"email"`
	// Agree says that the operator agrees to the authority's terms.
	Agree bool `yaml:"agree"`
	// Directory is the authority's URL.
	Directory string `yaml:"directory"`
	// CAFile is a PEM file of roots that vouch for Directory. Empty means the system's.
	CAFile string `yaml:"ca_file"`
	// Dir keeps account, keys and certificates; nodes may share it. Empty means acme under Node.Dir.
	Dir string `yaml:"dir"`
}

// Admin says how the operators' address is secured beyond its credential. With no certificate it is cleartext.
type Admin struct {
	// Cert is a PEM file: the leaf, then its chain.
	Cert string `yaml:"cert"`
	// Key is the PEM file of the leaf's private key.
	Key string `yaml:"key"`
	// ClientCA is a PEM file of roots: clients need a certificate of theirs. Empty means that they need none.
	ClientCA string `yaml:"client_ca"`
}

// Certificate names the two PEM files of one certificate. Both are needed.
type Certificate struct {
	// Cert is the leaf, then its chain.
	Cert string `yaml:"cert"`
	// Key is the leaf's private key.
	Key string `yaml:"key"`
}

// Cache holds the limits of the two tiers.
type Cache struct {
	// Disk is the most that bodies may take on disk. 0 means memory only.
	Disk Bytes `yaml:"disk"`
	// Memory is the most that the hot tier may take.
	Memory Bytes `yaml:"memory"`
}

// Overload says from when on clients' requests are turned away. What is 0 does not count.
type Overload struct {
	// Fetches is how many may run at once.
	Fetches int `yaml:"fetches"`
	// Requests is how many of clients may run at once.
	Requests int `yaml:"requests"`
	// Delay is how long what comes may wait until it is read, or half of what could run for a processor.
	Delay Duration `yaml:"delay"`
}

// Cluster says how the node finds others. With Gossip empty the node stands alone.
type Cluster struct {
	// Gossip is the host:port that membership traffic binds to, UDP and TCP. Empty means no cluster.
	Gossip string `yaml:"gossip"`
	// Advertise is the host:port under which others reach Gossip. Empty means the bound address.
	Advertise string `yaml:"advertise"`
	// Peer is the host:port that other nodes fetch objects from, over mutual TLS.
	Peer string `yaml:"peer"`
	// Cleartext says whether peers speak HTTP/1.1 in the clear, with signed requests, and not TLS. It is alike on all nodes.
	Cleartext bool `yaml:"cleartext"`
	// Join lists gossip addresses of nodes that are probably there. The node's own address may be among them.
	Join []string `yaml:"join"`
	// SecretFile is the file with the secret that all nodes share: up to four lines, the first in use, all accepted.
	SecretFile string `yaml:"secret_file"`
	// Allow lists the networks, such as 10.0.0.0/8, from which nodes may come, by gossip and as peers. Empty means everybody
	// who has the secret.
	Allow []string `yaml:"allow"`
	// Label keeps clusters apart that share a network.
	Label string `yaml:"label"`
	// Weight is the node's share of the keys, relative to the others; from 0.001 to 1000.
	Weight float64 `yaml:"weight"`
	// Shield says whether the node asks other regions and the origin for its whole region. Where no node of a region
	// says so, all do.
	Shield bool `yaml:"shield"`
	// WAN makes the node a relay between its region and the others.
	WAN WAN `yaml:"wan"`
	// Strict says whether a node that has lost a majority of the nodes for longer than Lease has the origin confirm what
	// it serves, on all sites: it may have been purged elsewhere.
	Strict bool `yaml:"strict"`
	// Lease is how long a node that is strict, on all sites or some, serves on without a majority; at least 2 s.
	Lease Duration `yaml:"lease"`
	// Timers sets the pace of membership.
	Timers Timers `yaml:"timers"`
}

// WAN says how a relay finds those of other regions. With Gossip empty the node is none.
type WAN struct {
	// Gossip is the host:port that the relays' membership traffic binds to, UDP and TCP.
	Gossip string `yaml:"gossip"`
	// Advertise is the host:port under which other regions reach Gossip; they use the host for Cluster.Peer too. Empty
	// means the bound address.
	Advertise string `yaml:"advertise"`
	// Join lists gossip addresses of relays of other regions.
	Join []string `yaml:"join"`
}

// Timers sets the pace of membership. All are above 0 but Drain, which may be 0.
type Timers struct {
	// Probe is the time between two health probes of a random member.
	Probe Duration `yaml:"probe"`
	// ProbeTimeout is how long a probe may take before others are asked to try.
	ProbeTimeout Duration `yaml:"probe_timeout"`
	// Suspicion is how many probe intervals pass, more above 10 members, between the first unanswered probe and the end of
	// a member.
	Suspicion int `yaml:"suspicion"`
	// Gossip is the time between two rounds of news.
	Gossip Duration `yaml:"gossip"`
	// GossipNodes is how many random members get the news in a round.
	GossipNodes int `yaml:"gossip_nodes"`
	// Sync is the time between two full exchanges with a random member.
	Sync Duration `yaml:"sync"`
	// SyncTimeout bounds a full exchange, from dial to end.
	SyncTimeout Duration `yaml:"sync_timeout"`
	// Rejoin is the time between two tries to reach seeds and known members that are not in the cluster.
	Rejoin Duration `yaml:"rejoin"`
	// Forget is how long a member that is gone is shown, and one that did not say farewell is tried again.
	Forget Duration `yaml:"forget"`
	// Publish is how long a change waits for others before one new ring is built for all of them.
	Publish Duration `yaml:"publish"`
	// Drain is how long a stopping node is announced as draining before it says farewell.
	Drain Duration `yaml:"drain"`
	// Leave bounds each of the two announcements, draining and farewell.
	Leave Duration `yaml:"leave"`
	// Secret is the time between two looks at the secret file.
	Secret Duration `yaml:"secret"`
}

// Site holds the rules of one or more host names.
type Site struct {
	// Hosts are the names in the Host field that this site answers, without port; "*" means every name that no
	// other site has.
	Hosts []string `yaml:"hosts"`
	// Origins are the http:// or https:// URLs of the servers that hold the content: equals, asked in turn.
	Origins []string `yaml:"origins"`
	// PrivateOrigins says whether names in Origins may stand for addresses of private networks and of this machine.
	PrivateOrigins bool `yaml:"private_origins"`
	// Home is the region that the origins are near: relays and shields of other regions ask its shields before them.
	// Empty means that every region asks the origins itself.
	Home string `yaml:"home"`
	// Access is rules in order: the first whose conditions all hold decides who may ask, and where none does the request
	// is allowed.
	Access []Rule `yaml:"access"`
	// Limits bounds what clients may have. The zero value bounds nothing.
	Limits Limits `yaml:"limits"`
	// Token says which requests need a token, and which are good. Without schemes none is needed.
	Token Token `yaml:"token"`
	// CORS lists the origins whose pages may use what the site serves; "*" is all.
	CORS []string `yaml:"cors"`
	// Headers are set on every response to clients.
	Headers map[string]string `yaml:"headers"`
	// Pages says whether Weir's own client paths, the player page and the endpoints for players, are answered on these
	// hosts.
	Pages bool `yaml:"pages"`
	// SDK sets what the endpoints for players answer; it has no effect without Pages.
	SDK SDK `yaml:"sdk"`
	// Devices says how manifests are made to fit devices.
	Devices Devices `yaml:"devices"`
	// CMCD says what is made of players' reports.
	CMCD CMCD `yaml:"cmcd"`
	// Heuristic says whether a response that names no lifetime gets a tenth of the time since it was last modified, up
	// to a day.
	Heuristic bool `yaml:"heuristic"`
	// SurrogateControl says whether Surrogate-Control goes before Cache-Control, as CDN-Cache-Control always does.
	SurrogateControl bool `yaml:"surrogate_control"`
	// ShowTags says whether clients get the fields that list a response's tags.
	ShowTags bool `yaml:"show_tags"`
	// Strict is Cluster.Strict for this site alone. It cannot be off where that is on.
	Strict bool `yaml:"strict"`
	// TargetedFields are names of fields like CDN-Cache-Control (RFC 9213) that go before it, the first before the
	// others.
	TargetedFields []string `yaml:"targeted_fields"`
	// RequestCacheControl says whether Cache-Control and Pragma of requests are obeyed. Without it only only-if-cached
	// is.
	RequestCacheControl bool `yaml:"request_cache_control"`
}

// SDK sets what the endpoints for players answer. The zero value is that of Weir's own origin, with no limits.
type SDK struct {
	// Assets say where the manifests of titles lie; the first whose Match fits a title's name decides. Empty: those of
	// Weir's own origin.
	Assets []Asset `yaml:"assets"`
	// Heartbeat is how often players renew their session, 5 to 35 s; 0 means 30 s.
	Heartbeat Duration `yaml:"heartbeat"`
	// Steering says how viewers are spread.
	Steering Steering `yaml:"steering"`
	// Downloads says what may be taken along.
	Downloads Downloads `yaml:"downloads"`
	// Accounts says who may open sessions.
	Accounts Accounts `yaml:"accounts"`
	// Tokens says whether sessions get tokens of the site's first scheme, which is then cat with a key that can sign.
	Tokens bool `yaml:"tokens"`
	// Limits says how often the endpoints may be asked.
	Limits SDKLimits `yaml:"limits"`
}

// SDKLimits says how often the endpoints for players may be asked.
type SDKLimits struct {
	// Network bounds the clients of one network: 24 bits of IPv4, 56 of IPv6.
	Network RequestRate `yaml:"network"`
	// Account bounds the play calls, renewals and downloads of one account.
	Account RequestRate `yaml:"account"`
}

// RequestRate is how many requests there may be.
type RequestRate struct {
	// Requests per second, in the long run. 0: the default.
	Requests float64 `yaml:"requests"`
	// Burst is how many may come at once after a rest; 0 means those of ten seconds.
	Burst int `yaml:"burst"`
}

// Accounts says who may open sessions, and how many at once.
type Accounts struct {
	// KeysFile has the keys of the tokens by which viewers are known: a JSON Web Key Set, PEM, or lines. Empty: nobody needs one.
	KeysFile string `yaml:"keys_file"`
	// Issuers are those whose tokens are believed. Empty means everybody who has a key.
	Issuers []string `yaml:"issuers"`
	// Streams is how many sessions an account may have at once. 0: any number.
	Streams int `yaml:"streams"`
}

// Downloads says what viewers may take along.
type Downloads struct {
	// Allow says whether anything may be.
	Allow bool `yaml:"allow"`
	// PerAccount is how many an account may keep at once. 0: any number.
	PerAccount int `yaml:"per_account"`
}

// Devices says how manifests are made to fit devices.
type Devices struct {
	// Enabled says whether a manifest's query may name a device class. Where Site.Pages is on it always may.
	Enabled bool `yaml:"enabled"`
	// Profiles change what is assumed of a class, or make another one.
	Profiles []Profile `yaml:"profiles"`
}

// CMCD says what is made of players' reports (CTA-5004-B).
type CMCD struct {
	// Enabled says whether they are read, for log, metrics and priorities. Where Site.Pages is on they always are.
	Enabled bool `yaml:"enabled"`
	// Prefetch says whether what a player will ask for next is fetched ahead.
	Prefetch bool `yaml:"prefetch"`
	// CMSD says whether responses to players that report tell them about this node (CTA-5006).
	CMSD bool `yaml:"cmsd"`
	// Pace says whether a body goes out no faster than the player has use for.
	Pace bool `yaml:"pace"`
	// Forward says whether report fields of requests that cause a fetch go to the origins.
	Forward bool `yaml:"forward"`
}

// Profile is what is assumed of a device class. Zero values are those of the class of that name that Weir knows, and no limit
// for another.
type Profile struct {
	// Class is its name in queries: tv, car, phone, web or another.
	Class string `yaml:"class"`
	// Codecs are those that are played: RFC 6381 strings, or families such as h264.
	Codecs []string `yaml:"codecs"`
	// Height is the most lines of a picture.
	Height int `yaml:"height"`
	// FrameRate is the most frames per second.
	FrameRate float64 `yaml:"frame_rate"`
	// Bitrate is the highest peak bit rate.
	Bitrate BitRate `yaml:"bitrate"`
	// MeteredBitrate is the highest on networks that are paid by the byte.
	MeteredBitrate BitRate `yaml:"metered_bitrate"`
	// Ranges are dynamic ranges: sdr, hlg, pq.
	Ranges []string `yaml:"ranges"`
	// Channels is the most audio channels.
	Channels int `yaml:"channels"`
	// DRM are systems: widevine, playready, fairplay, clearkey, UUIDs, or none alone.
	DRM []string `yaml:"drm"`
	// AudioOnly leaves out all video.
	AudioOnly bool `yaml:"audio_only"`
	// Order is how renditions are listed: stored, lowest or highest; empty is that of the class.
	Order string `yaml:"order"`
	// Prefer are codecs or families whose renditions are listed first.
	Prefer []string `yaml:"prefer"`
	// Start is the bit rate to begin with: the highest HLS rendition below is listed first.
	Start BitRate `yaml:"start"`
}

// Asset says where the manifests of titles lie.
type Asset struct {
	// Match is a pattern of names in which * stands for any run of characters.
	Match string `yaml:"match"`
	// HLS is a path in which {asset} stands for the name; empty: there is no HLS.
	HLS string `yaml:"hls"`
	// DASH is a path in which {asset} stands for the name; empty: there is no DASH.
	DASH string `yaml:"dash"`
	// Licenses are license servers by DRM system; {asset} and {session} stand for these.
	Licenses map[string]string `yaml:"licenses"`
	// Viewers is how many may watch one title at once. 0: any number.
	Viewers int `yaml:"viewers"`
}

// Connections bounds how many connections there may be. Client and Network bound nothing where they are 0.
type Connections struct {
	// Total is of all clients. 0 means as many as there are descriptors for, and memory where that is bounded.
	Total int `yaml:"total"`
	// Client is of one address; of IPv6 of the 64 bits that one client has.
	Client int `yaml:"client"`
	// Network is of all addresses whose first IPv4Bits or IPv6Bits are alike.
	Network int `yaml:"network"`
	// IPv4Bits is the size of a Network; 0 means 24.
	IPv4Bits int `yaml:"ipv4_bits"`
	// IPv6Bits is the same of IPv6; 0 means 56.
	IPv6Bits int `yaml:"ipv6_bits"`
	// Exempt lists addresses and networks that count for Total alone.
	Exempt []string `yaml:"exempt"`
	// Penalty is the longest that who floods gets no new connection. 0: there is no penalty.
	Penalty Duration `yaml:"penalty"`
	// PenaltyExempt lists addresses and networks that have none, as behind them may be everybody.
	PenaltyExempt []string `yaml:"penalty_exempt"`
}

// Limits bounds what clients may have of a site.
type Limits struct {
	// Client bounds one address; of IPv6 the 64 bits that one client has.
	Client Bounds `yaml:"client"`
	// Network bounds all addresses whose first IPv4Bits or IPv6Bits are alike.
	Network Bounds `yaml:"network"`
	// Token bounds all requests whose tokens speak for one subject.
	Token Bounds `yaml:"token"`
	// Site bounds all clients together.
	Site Bounds `yaml:"site"`
	// IPv4Bits is the size of a Network; 0 means 24.
	IPv4Bits int `yaml:"ipv4_bits"`
	// IPv6Bits is the same of IPv6; 0 means 56.
	IPv6Bits int `yaml:"ipv6_bits"`
	// Exempt lists addresses and networks that have no bounds.
	Exempt []string `yaml:"exempt"`
}

// Bounds is what one of those may have. What is 0 bounds nothing.
type Bounds struct {
	// Requests per second, in the long run.
	Requests float64 `yaml:"requests"`
	// Burst is how many requests may come at once after a rest; 0 means those of a second.
	Burst int `yaml:"burst"`
	// Bandwidth is the bytes of bodies per second, in the long run.
	Bandwidth Bytes `yaml:"bandwidth"`
	// BandwidthBurst is what is sent as fast as it goes after a rest; 0 means that of five seconds.
	BandwidthBurst Bytes `yaml:"bandwidth_burst"`
	// Concurrent is how many requests may run at once.
	Concurrent int `yaml:"concurrent"`
}

// Token says which requests need a token, and which are good.
type Token struct {
	// Schemes are the kinds of tokens that are taken, up to four, tried in order.
	Schemes []TokenScheme `yaml:"schemes"`
	// Paths are patterns of those that need a token, * for any run of characters. Empty means all.
	Paths []string `yaml:"paths"`
	// Exempt are patterns of those among Paths that need none.
	Exempt []string `yaml:"exempt"`
	// Leeway is how far the clocks of issuers may be off, either way.
	Leeway Duration `yaml:"leeway"`
	// Renew says whether new tokens are handed out where the old ones ask for it.
	Renew bool `yaml:"renew"`
}

// TokenScheme is a kind of token, its keys, and where it stands. What a kind does not have has no effect.
type TokenScheme struct {
	// Kind is cat, uri-signing, akamai, cloudfront, type-a, type-b, type-c, type-f or secure-link.
	Kind string `yaml:"kind"`
	// KeysFile has the keys: a JSON Web Key Set, PEM, or lines. It is read again with the configuration.
	KeysFile string `yaml:"keys_file"`
	// Header is a request field. Empty, with Cookie and Query empty and Path off, means what issuers of the kind use.
	Header string `yaml:"header"`
	// Cookie is a cookie's name.
	Cookie string `yaml:"cookie"`
	// Query is a parameter's name.
	Query string `yaml:"query"`
	// Path says whether a token may stand in the path, for kinds that have such a form.
	Path bool `yaml:"path"`
	// Issuers are those that are believed. Empty means everybody who has a key.
	Issuers []string `yaml:"issuers"`
	// Audiences are the names of this site: a token for others is refused.
	Audiences []string `yaml:"audiences"`
	// TTL is how long a URL of type-a, b, c or f is good after its time.
	TTL Duration `yaml:"ttl"`
	// TimeQuery is the parameter with the time. Empty means what issuers of the kind use.
	TimeQuery string `yaml:"time_query"`
	// Hex says whether the time of type-f is hexadecimal.
	Hex bool `yaml:"hex"`
	// SaltFile has the salt of akamai. Empty means none.
	SaltFile string `yaml:"salt_file"`
	// Escape says whether URLs of akamai are signed escaped.
	Escape bool `yaml:"escape"`
	// Expression is what secure-link hashes. Empty means nginx's example.
	Expression string `yaml:"expression"`
}

// Rule allows or denies the requests for which all its conditions hold; one that is empty holds for all.
type Rule struct {
	// Action is allow or deny.
	Action string `yaml:"action"`
	// Networks are CIDRs that the client's address lies in.
	Networks []string `yaml:"networks"`
	// Countries are those the address is in, two capital letters each; they need Config.Geo.
	Countries []string `yaml:"countries"`
	// Systems are autonomous systems, such as AS64500; they need Config.Geo.
	Systems []string `yaml:"systems"`
	// Methods are those of the request.
	Methods []string `yaml:"methods"`
	// Paths are patterns in which * stands for any run of characters.
	Paths []string `yaml:"paths"`
	// Referrers are host names, *.NAME for all below it, none for a request that names none.
	Referrers []string `yaml:"referrers"`
	// Agents are parts of the User-Agent field, in any case.
	Agents []string `yaml:"agents"`
	// Times are spans such as "Mon-Fri 18:00-23:30 Europe/Berlin".
	Times []string `yaml:"times"`
}

// Origin configures the origin role: the node that makes streams.
type Origin struct {
	// Root is the directory whose folders are titles. Empty means that the node is no origin.
	Root string `yaml:"root"`
	// HTTP is the host:port that the origin listens on.
	HTTP string `yaml:"http"`
}

// Profiles says where continuous profiles are sent.
type Profiles struct {
	// Server is the http:// or https:// URL of a Pyroscope server. Empty means no profiling.
	Server string `yaml:"server"`
	// Tags are added to every profile.
	Tags map[string]string `yaml:"tags"`
}

// Log says what is logged and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is text or json, for the node's log and for the access log.
	Format string `yaml:"format"`
	// Access is off, stdout, or the name of the file that gets a line for each request.
	Access string `yaml:"access"`
	// Qlog is a folder that gets a file in the qlog format for each HTTP/3 connection; it is made if need be. Empty for none.
	Qlog string `yaml:"qlog"`
	// QlogSize is how much the files there may take; the oldest are removed.
	QlogSize Bytes `yaml:"qlog_size"`
}

// Default returns the configuration of a node whose file is empty. The result is the caller's.
func Default() *Config {
	return &Config{
		Node: Node{Dir: "/var/lib/weir"},
		Listen: Listen{
			HTTP: ":8080", HTTPS: ":8443", Admin: "127.0.0.1:7070", HTTP3: true,
			Connections: Connections{
				IPv4Bits: 24, IPv6Bits: 56, Penalty: Duration(time.Minute),
				PenaltyExempt: []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7", "fe80::/10"},
			},
			HeaderTimeout:  Duration(5 * time.Second),
			IdleTimeout:    Duration(75 * time.Second),
			DrainTimeout:   Duration(30 * time.Second),
			UpgradeTimeout: Duration(time.Minute),
		},
		TLS:      TLS{MinVersion: "1.2", ACME: ACME{Directory: "https://acme-v02.api.letsencrypt.org/directory"}},
		Cache:    Cache{Disk: 10 * GiB, Memory: 512 * MiB},
		Overload: Overload{Fetches: 4096, Delay: Duration(100 * time.Millisecond)},
		Cluster: Cluster{
			Peer: ":7443", Label: "weir", Weight: 1, Lease: Duration(10 * time.Second),
			Timers: Timers{
				Probe:        Duration(500 * time.Millisecond),
				ProbeTimeout: Duration(250 * time.Millisecond),
				Suspicion:    4,
				Gossip:       Duration(100 * time.Millisecond),
				GossipNodes:  3,
				Sync:         Duration(10 * time.Second),
				SyncTimeout:  Duration(5 * time.Second),
				Rejoin:       Duration(5 * time.Second),
				Forget:       Duration(time.Hour),
				Publish:      Duration(50 * time.Millisecond),
				Drain:        Duration(2 * time.Second),
				Leave:        Duration(3 * time.Second),
				Secret:       Duration(3 * time.Second),
			},
		},
		Origin: Origin{HTTP: ":8090"},
		Log:    Log{Level: "info", Format: "text", Access: "off", QlogSize: GiB},
	}
}

// File returns the name that Parse was given, empty for a Config that came from no file.
func (c *Config) File() string { return c.file }

// mark is where a key stands, and what its value was, so that a value that a flag has changed is not blamed on the file.
type mark struct {
	line, column int
	value        any
}

func itemPath(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
