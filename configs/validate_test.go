package configs

import (
	"errors"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	const site = "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n"
	tests := []struct{ name, in, want string }{
		{"nothing to serve", "", "w: sites: there is nothing to serve"},
		{"bad port", "listen:\n  http: \":80800\"\n" + site, `w:2:3: listen.http: ":80800" has no port from 0 to 65535`},
		{"no port", "listen:\n  https: localhost\n" + site, `w:2:3: listen.https: "localhost" is no address`},
		{"port alone", "listen:\n  https: \"8443\"\n" + site, `w:2:3: listen.https: "8443" is no address: write ":8443"`},
		{"no admin", "listen:\n  admin: \"\"\n" + site, "w:2:3: listen.admin: is empty"},
		{"clash", "listen:\n  http: \":8443\"\n" + site, "listen.https: :8443 is the address of listen.http already"},
		{"half a certificate", "tls:\n  cert: a.pem\n" + site, "w:2:3: tls.cert: stands without its counterpart"},
		{"certificate without key", "tls:\n  certificates:\n    - cert: a.pem\n" + site, "w:3:7: tls.certificates[0].key: is missing: name the PEM file with the private key"},
		{"key without certificate", "tls:\n  certificates: [{cert: a.pem, key: a.key}, {key: b.key}]\n" + site, "w:2:45: tls.certificates[1].cert: is missing"},
		{"old TLS", "tls:\n  min_version: \"1.1\"\n" + site, `w:2:3: tls.min_version: "1.1" is unknown: write 1.2 or 1.3`},
		{"negative connections", "listen: {connections: {client: -1}}\n" + site, "listen.connections.client: is negative: write how many, or 0 for any number"},
		{"exempt from penalties", "listen: {connections: {penalty_exempt: [ten]}}\n" + site, `listen.connections.penalty_exempt[0]: "ten" is neither an address nor a network`},
		{"exempt connections", "listen: {connections: {exempt: [ten]}}\n" + site, `listen.connections.exempt[0]: "ten" is neither an address nor a network`},
		{"no network", "listen:\n  proxy_protocol: [10.0.0.0/24, 10.0.0.0/33]\n" + site, `w:2:33: listen.proxy_protocol[1]: "10.0.0.0/33" is neither an address nor a network`},
		{"everybody a balancer", "listen:\n  proxy_protocol: [\"::/0\"]\n" + site, "w:2:20: listen.proxy_protocol[0]: ::/0 lets everybody say who he is"},
		{"terms", "tls:\n  acme:\n    hosts: [a]\n    agree: false\n" + site, "w:4:5: tls.acme.agree: is false: read the terms"},
		{"wildcard by ACME", "tls:\n  acme: {hosts: [a, \"*.a\"], agree: true}\n" + site, `tls.acme.hosts[1]: "*.a" is no host name`},
		{"ACME in the clear", "tls:\n  acme: {hosts: [a], agree: true, directory: \"http://ca\"}\n" + site, `tls.acme.directory: "http://ca" is no https:// URL`},
		{"ACME for nothing", "listen:\n  https: \"\"\ntls:\n  acme: {hosts: [a], agree: true}\n" + site, "tls.acme.hosts: needs an address to serve: set listen.https"},
		{"half a certificate for operators", "admin:\n  key: a.key\n" + site, "w:2:3: admin.key: stands without its counterpart: give both admin.cert"},
		{"operators' certificates in the clear", "admin:\n  client_ca: ca.pem\n" + site, "w:2:3: admin.client_ca: asks for certificates in the clear"},
		{"no time-out", "listen:\n  header_timeout: 0\n" + site, "w:2:3: listen.header_timeout: 0 would keep dead connections"},
		{"no cache", "cache:\n  disk: 0\n  memory: 0\n" + site, "w:3:3: cache.memory: is 0 and cache.disk too"},
		{"no hosts", "sites:\n  - origins: [\"http://o\"]\n", "w:2:5: sites[0].hosts: the site has no hosts"},
		{"no origins", "sites:\n  - hosts: [a]\n", "w:2:5: sites[0].origins: the site has no origins"},
		{"empty origins", "sites:\n  - hosts: [a]\n    origins: []\n", "w:3:5: sites[0].origins: the site has no origins"},
		{
			"host twice", site + "  - hosts: [b, A]\n    origins: [\"http://o\"]\n",
			"w:4:16: sites[1].hosts[1]: A is taken by sites[0].hosts[0] already",
		},
		{"star twice", "sites:\n  - hosts: [\"*\", \"*\"]\n    origins: [\"http://o\"]\n", "w:2:18: sites[0].hosts[1]: * is taken by"},
		{"host with port", "sites:\n  - hosts: [\"a:80\"]\n    origins: [\"http://o\"]\n", "a:80 has a port: write a"},
		{"host as URL", "sites:\n  - hosts: [\"http://a\"]\n    origins: [\"http://o\"]\n", "http://a is a URL: write the name alone"},
		{"host as pattern", "sites:\n  - hosts: [\"*.a\"]\n    origins: [\"http://o\"]\n", `"*.a" is no host name`},
		{"origin without scheme", "sites:\n  - hosts: [a]\n    origins: [o.example.com]\n", "w:3:15: sites[0].origins[0]: o.example.com is no http:// or https:// URL"},
		{"origin without host", "sites:\n  - hosts: [a]\n    origins: [\"http://\"]\n", "http:// is no http:// or https:// URL"},
		{"origin with query", "sites:\n  - hosts: [a]\n    origins: [\"http://o/?a=b\"]\n", "has a query or fragment"},
		{"origin with port 0", "sites:\n  - hosts: [a]\n    origins: [\"http://o:0\"]\n", "http://o:0 has no port from 1 to 65535"},
		{"targeted field", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    targeted_fields: [Expires]\n", `w:4:23: sites[0].targeted_fields[0]: "Expires" is no targeted field: write a name`},
		{"join without secret", "cluster:\n  gossip: \":7946\"\n  join: [\"b:7946\"]\n" + site, "w:3:3: cluster.join: needs a secret that all nodes share: make one with"},
		{"join without gossip", "cluster:\n  secret_file: s\n  join: [\"b:7946\"]\n" + site, "w:3:3: cluster.join: needs an address of this node to gossip on"},
		{"open gossip without secret", "cluster:\n  gossip: \":7946\"\n" + site, "w:2:3: cluster.gossip: :7946 can be reached by others"},
		{"join address", "cluster:\n  gossip: \":7946\"\n  secret_file: s\n  join: [b]\n" + site, `w:4:10: cluster.join[0]: "b" is no address`},
		{"relay without cluster", "cluster:\n  wan:\n    gossip: \":7947\"\n" + site, "w:3:5: cluster.wan.gossip: makes a relay of a node that has no cluster"},
		{"relay without region", "cluster:\n  gossip: \"127.0.0.1:7946\"\n  wan:\n    gossip: \":7947\"\n" + site, "w:4:5: cluster.wan.gossip: makes a relay of a node that has no region"},
		{"relays to join without gossip", "cluster:\n  wan:\n    join: [\"b:7947\"]\n" + site, "w:3:5: cluster.wan.join: needs an address of this node to gossip on"},
		{"two pools on one port", "node:\n  region: r\ncluster:\n  gossip: \":7946\"\n  secret_file: s\n  wan:\n    gossip: \":7946\"\n" + site, "cluster.wan.gossip: :7946 is the address of cluster.gossip already"},
		{"little memory", "node:\n  memory: 64MiB\n" + site, "w:2:3: node.memory: 64MiB is too little to work with"},
		{"little room for qlog", "log:\n  qlog: d\n  qlog_size: 10KiB\n" + site, "w:3:3: log.qlog_size: 10KiB is too little for a connection: write a size from 1MiB on"},
		{"players' burst alone", site + "    sdk: {limits: {network: {burst: 5}}}\n", "sites[0].sdk.limits.network.burst: says nothing without a rate"},
		{"players' negative rate", site + "    sdk: {limits: {account: {requests: -1}}}\n", "sites[0].sdk.limits.account.requests: is not from 0 to"},
		{"negative fetches", "overload:\n  fetches: -1\n" + site, "w:2:3: overload.fetches: is negative"},
		{"negative delay", "overload:\n  requests: -1\n" + site, "w:2:3: overload.requests: is negative"},
		{"negative limit", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits: {client: {concurrent: -1}}\n", "sites[0].limits.client.concurrent: is negative"},
		{"limit below none", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits:\n      site:\n        requests: -1\n", "sites[0].limits.site.requests: is out of range"},
		{"burst without rate", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits:\n      network:\n        burst: 5\n", "w:6:9: sites[0].limits.network.burst: is a burst of a rate that is not limited: set sites[0].limits.network.requests too"},
		{"burst without bandwidth", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits: {token: {bandwidth_burst: 1MiB}}\n", "set sites[0].limits.token.bandwidth too"},
		{"slow bandwidth", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits: {client: {bandwidth: 1KiB}}\n", "sites[0].limits.client.bandwidth: 1KiB a second is too slow"},
		{"wide network", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits: {ipv6_bits: 128}\n", "sites[0].limits.ipv6_bits: 128 is out of range: write a number from 1 to 64"},
		{"exempt", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    limits: {exempt: [10.0.0.1, ten]}\n", `sites[0].limits.exempt[1]: "ten" is neither an address nor a network`},
		{"device class", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    devices: {profiles: [{class: Car}]}\n", `w:4:27: sites[0].devices.profiles[0].class: "Car" is no class`},
		{"device order", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    devices: {profiles: [{class: car, order: up, ranges: [x], height: -1}, {class: car}]}\n", `sites[0].devices.profiles[1].class: another profile is for this class`},
		{"rule without action", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    access: [{paths: [/a]}]\n", `w:4:14: sites[0].access[0].action: "" is no action`},
		{"rule with a bad network", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    access: [{action: deny, networks: [10.0.0.1]}]\n", `sites[0].access[0].networks[0]: "10.0.0.1" is no network: write it as "10.0.0.0/8"`},
		{"rule with a bad system", "geo: [g]\nsites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    access: [{action: deny, systems: [\"64500\"]}]\n", `sites[0].access[0].systems[0]: "64500" is no autonomous system: write it as AS64500`},
		{"rule without database", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    access: [{action: deny, countries: [DE]}]\n", `sites[0].access[0]: asks where clients are, and there is no database`},
		{"cors", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    cors: [www.example.com]\n", `sites[0].cors[0]: "www.example.com" is no origin`},
		{"headers", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    headers: {\"a b\": c}\n", `sites[0].headers: "a b" is no field name`},
		{"token of no kind", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    token: {schemes: [{kind: jwt, keys_file: k}]}\n", "sites[0].token.schemes[0].kind: \"jwt\" is no kind of token: write one of cat"},
		{"token without keys", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    token: {schemes: [{kind: cat}]}\n", "sites[0].token.schemes[0].keys_file: is missing"},
		{"token's parameter", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    token: {schemes: [{kind: cat, keys_file: k, query: \"a b\"}]}\n", "query: \"a b\" is no name"},
		{"token's paths", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    token: {schemes: [{kind: cat, keys_file: k}], exempt: [vod]}\n", "sites[0].token.exempt[0]: \"vod\" fits no path"},
		{"paths without a scheme", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    token: {paths: [\"/vod/*\"]}\n", "there are no schemes"},
		{"asset without pattern", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {assets: [{hls: /x}]}\n", "sites[0].sdk.assets[0].match: the rule fits no title: write match"},
		{"asset without manifest", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {assets: [{match: \"*\"}]}\n", "sites[0].sdk.assets[0].hls: the rule names no manifest"},
		{"asset with a relative path", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {assets: [{match: \"*\", dash: x.mpd}]}\n", "sites[0].sdk.assets[0].dash: \"x.mpd\" is no path"},
		{"license", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {assets: [{match: \"*\", hls: /x, licenses: {widevine: drm}}]}\n", "is no URL: begin it with https://"},
		{"viewers", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {assets: [{match: \"*\", hls: /x, viewers: -1}]}\n", "viewers: is negative"},
		{"heartbeat", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {heartbeat: 2m}\n", "w:4:11: sites[0].sdk.heartbeat: 2m is not from 5s to 35s"},
		{"pathway", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: \"a b\", host: x}]}}\n", "sites[0].sdk.steering.pathways[0].id: \"a b\" is no name of a pathway"},
		{"pathway twice", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x}, {id: a, host: y}]}}\n", "pathways[1].id: another pathway is called so"},
		{"pathway's host", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: \"https://x/\"}]}}\n", "pathways[0].host: \"https://x/\" is no host"},
		{"pathway's weight", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x, weight: -1}]}}\n", "pathways[0].weight: is not from 0 to 1000000"},
		{"steering server", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {server: \"https://x/y\"}}\n", "steering.server: \"https://x/y\" is no server"},
		{"a share at some hours", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x, hours: [{when: \"1:00-2:00\", weight: -1}]}]}}\n", "pathways[0].hours[0].weight: is not from 0 to 1000000"},
		{"contract's day", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x, contract: {from: today, until: 2026-02-01, volume: 1TB}}]}}\n", "contract.from: \"today\" is no day: write from: 2026-01-01"},
		{"contract's end", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x, contract: {from: 2026-02-01, until: 2026-02-01, volume: 1TB}}]}}\n", "contract.until: \"2026-02-01\" is no later day"},
		{"contract of nothing", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {pathways: [{id: a, host: x, contract: {from: 2026-01-01, until: 2026-02-01}}]}}\n", "contract.volume: is nothing: write volume: 500TB"},
		{"spread", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    sdk: {steering: {spread: -1}}\n", "steering.spread: is negative"},
		{"home", "sites:\n  - hosts: [a]\n    origins: [\"http://o\"]\n    home: a b\n", `w:4:5: sites[0].home: "a b" is no name`},
		{"weight", "cluster:\n  weight: 0\n" + site, "w:2:3: cluster.weight: 0 is out of range"},
		{"timer", "cluster:\n  timers:\n    probe: 0\n" + site, "w:3:5: cluster.timers.probe: 0 is no pace"},
		{"probe time-out", "cluster:\n  timers:\n    probe_timeout: 2s\n" + site, "w:3:5: cluster.timers.probe_timeout: 2s leaves no time"},
		{"suspicion", "cluster:\n  timers:\n    suspicion: 0\n" + site, "w:3:5: cluster.timers.suspicion: 0 is out of range: write a number from 1 to 100"},
		{"gossip nodes", "cluster:\n  timers:\n    gossip_nodes: 101\n" + site, "w:3:5: cluster.timers.gossip_nodes: 101 is out of range"},
		{"secret interval", "cluster:\n  timers:\n    secret: 0\n" + site, "w:3:5: cluster.timers.secret: 0 is no pace"},
		{"no network", "cluster:\n  allow: [10.0.0.1]\n" + site, `w:2:11: cluster.allow[0]: "10.0.0.1" is no network: write one such as 10.0.0.0/8, or 10.1.2.3/32`},
		{"network as address", "cluster:\n  allow: [10.0.0.0/8, 10.1.2.3/24]\n" + site, `cluster.allow[1]: "10.1.2.3/24" names an address, not a network: write 10.1.2.0/24`},
		{"mapped network", "cluster:\n  allow: [\"::ffff:10.1.2.3/120\"]\n" + site, `names an address, not a network: write 10.1.2.0/24`},
		{"gossip outside", "cluster:\n  gossip: \"192.0.2.1:7946\"\n  secret_file: s\n  allow: [10.0.0.0/8]\n" + site, `w:2:3: cluster.gossip: 192.0.2.1 is outside cluster.allow: add its network there`},
		{"join outside", "cluster:\n  gossip: \":7946\"\n  secret_file: s\n  join: [\"10.0.0.1:7946\", \"192.0.2.1:7946\"]\n  allow: [10.0.0.0/8]\n" + site, `w:4:27: cluster.join[1]: 192.0.2.1 is outside cluster.allow`},
		{"peer outside", "cluster:\n  gossip: \":7946\"\n  peer: \"127.0.0.1:7443\"\n  secret_file: s\n  allow: [10.0.0.0/8]\n" + site, `w:3:3: cluster.peer: 127.0.0.1 is outside cluster.allow`},
		{"name", "node:\n  name: a b\n" + site, `w:2:3: node.name: "a b" is no name`},
		{"profiles", "profiles:\n  server: localhost:4040\n" + site, "w:2:3: profiles.server: localhost:4040 is no http:// or https:// URL"},
		{"level", "log:\n  level: verbose\n" + site, `w:2:3: log.level: "verbose" is unknown: write debug, info, warn or error`},
		{"format", "log:\n  format: xml\n" + site, `w:2:3: log.format: "xml" is unknown: write text or json`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("w", []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant an error with\n%s", err, tt.want)
			}
		})
	}
}

func TestValidateFindsAllProblemsInOrder(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "log:\n  level: loud\nnode:\n  name: \"a b\"\nsites:\n  - hosts: [a]\n")
	problems, ok := errors.AsType[Problems](c.Validate())
	if !ok || len(problems) != 3 {
		t.Fatalf("got %v, want three problems", problems)
	}
	for i, key := range []string{"log.level", "node.name", "sites[0].origins"} {
		if problems[i].Key != key {
			t.Errorf("problem %d: got %v, want %s", i, problems[i], key)
		}
	}
}

// TestValidateDoesNotBlameTheFile: a flag has replaced the value.
func TestValidateDoesNotBlameTheFile(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "listen:\n  http: \":80\"\norigin: {root: /x}\n")
	c.Listen.HTTP = "nonsense"
	err := c.Validate()
	if err == nil || strings.Contains(err.Error(), "weir.yaml") || !strings.Contains(err.Error(), `listen.http: "nonsense"`) {
		t.Errorf("got %v, want a problem without the file's name", err)
	}
}

// TestValidateKeepsPasswordsOut: an origin URL may hold a password by mistake.
func TestValidateKeepsPasswordsOut(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"http://user:s3cret@o", "ftp://user:s3cret@o", "http://user:s3cret@o:port", "http://user:s3cret@o/%zz"} {
		c := Default()
		c.Sites = []Site{{Hosts: []string{"a"}, Origins: []string{origin}}}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("origin %s: got %v, want a problem without the password", origin, err)
		}
	}
}

func TestDefaultIsValidWithASite(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Sites = []Site{{Hosts: []string{"*"}, Origins: []string{"https://[::1]:8443/base"}}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
