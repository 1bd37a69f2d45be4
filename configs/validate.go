package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks what the values mean and returns every problem as a [Problems], nil if there is none. It opens no
// file and asks no network.
func (c *Config) Validate() error {
	v := &validator{c: c}
	v.node()
	v.listen()
	v.limits()
	v.overload()
	v.cluster()
	v.sites()
	v.rest()
	if len(v.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(v.problems, func(a, b *Problem) int { return a.Line - b.Line })
	return v.problems
}

// validator gathers the problems of one Config.
type validator struct {
	c        *Config
	problems Problems
}

// bad reports a problem of the key at path, whose value is value now.
func (v *validator) bad(path string, value any, text, hint string) {
	p := &Problem{File: v.c.file, Key: path, Text: text, Hint: hint}
	if m, ok := v.c.marks[path]; ok && fmt.Sprint(m.value) == fmt.Sprint(value) {
		p.Line, p.Column = m.line, m.column
	} else if ok {
		p.File = "" // a flag has set it: the file is not to blame
	}
	v.problems = append(v.problems, p)
}

func (v *validator) node() {
	n := v.c.Node
	for _, f := range []struct {
		path, value string
		most        int // what travels in a gossip message or a certificate is short
	}{
		{"node.name", n.Name, 63},
		{"node.zone", n.Zone, 32},
		{"node.region", n.Region, 32},
		{"cluster.label", v.c.Cluster.Label, 60},
	} {
		if f.value != "" && !plainName(f.value, f.most) {
			v.bad(f.path, f.value, strconv.Quote(f.value)+" is no name", fmt.Sprintf(
				"use up to %d letters, digits, dots, dashes and underscores, the first and last a letter or digit", f.most))
		}
	}
	if n.Dir == "" {
		v.bad("node.dir", n.Dir, "is empty", "name a directory, such as /var/lib/weir")
	}
}

func (v *validator) listen() {
	l := v.c.Listen
	for _, path := range addressKeys() {
		v.address(path, fieldByPath(v.c, path))
	}
	v.tls()
	for i, network := range l.ProxyProtocol {
		v.balancer(itemPath("listen.proxy_protocol", i), network)
	}
	if l.Admin == "" {
		v.bad("listen.admin", l.Admin, "is empty", `write "127.0.0.1:7070": without it nobody can see the node`)
	}
	for _, f := range []struct {
		path  string
		value Duration
	}{{"listen.header_timeout", l.HeaderTimeout}, {"listen.idle_timeout", l.IdleTimeout}} {
		if f.value <= 0 {
			v.bad(f.path, f.value, f.value.String()+" would keep dead connections for ever", "write a time such as 5s")
		}
	}
	if l.UpgradeTimeout < Duration(time.Second) || l.UpgradeTimeout > Duration(10*time.Minute) {
		v.bad("listen.upgrade_timeout", l.UpgradeTimeout, "is not between 1s and 10m", "write a time such as 1m")
	}
	if l.DrainTimeout < 0 {
		v.bad("listen.drain_timeout", l.DrainTimeout, "is negative", "write a time such as 30s")
	}
	v.connections()
	v.clashes()
}

func (v *validator) tls() {
	t := v.c.TLS
	v.pair("tls", t.Cert, t.Key)
	v.pair("admin", v.c.Admin.Cert, v.c.Admin.Key)
	if v.c.Admin.ClientCA != "" && v.c.Admin.Cert == "" {
		v.bad("admin.client_ca", v.c.Admin.ClientCA, "asks for certificates in the clear", "give admin.cert and admin.key too")
	}
	for i, pair := range t.Certificates {
		path := itemPath("tls.certificates", i)
		for _, f := range []struct{ key, value, hint string }{
			{".cert", pair.Cert, "name the PEM file with the certificate, then its chain"},
			{".key", pair.Key, "name the PEM file with the private key"},
		} {
			if f.value == "" {
				v.bad(path+f.key, f.value, "is missing", f.hint)
				v.placeAt(path)
			}
		}
	}
	v.oneOf("tls.min_version", t.MinVersion, "1.2", "1.3")
	v.acme()
}

// pair checks that a certificate and its key are both there, or neither.
func (v *validator) pair(section, cert, key string) {
	if (cert == "") == (key == "") {
		return
	}
	path, value := section+".cert", cert
	if value == "" {
		path, value = section+".key", key
	}
	v.bad(path, value, "stands without its counterpart", fmt.Sprintf("give both %s.cert and %s.key, or neither", section, section))
}

func (v *validator) acme() {
	a := v.c.TLS.ACME
	if len(a.Hosts) == 0 {
		return
	}
	for i, host := range a.Hosts {
		if !plainName(host, 253) || net.ParseIP(host) != nil {
			v.bad(itemPath("tls.acme.hosts", i), host, strconv.Quote(host)+" is no host name", "write names such as video.example.com: wildcards and addresses cannot be had this way")
		}
	}
	if !a.Agree {
		v.bad("tls.acme.agree", a.Agree, "is false", "read the terms of the authority and write agree: true")
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		v.bad("tls.acme.directory", a.Directory, strconv.Quote(a.Directory)+" is no https:// URL", "write the URL of the authority's directory")
	}
	if v.c.Listen.HTTPS == "" {
		v.bad("tls.acme.hosts", a.Hosts, "needs an address to serve", "set listen.https")
	}
}

// balancer checks an address or network that is believed about who the client is.
func (v *validator) balancer(path, value string) {
	prefix, err := ParsePrefix(value)
	switch {
	case err != nil:
		v.bad(path, value, strconv.Quote(value)+" is neither an address nor a network", `write "10.0.0.1" or "10.0.0.0/24"`)
	case prefix.Bits() == 0:
		v.bad(path, value, value+" lets everybody say who he is", "name the balancers' addresses alone")
	}
}

// ParsePrefix reads an address as the network that has it alone, and a network as it is.
func ParsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.Unmap().Prefix(ip.Unmap().BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err
}

// clashes finds two TCP listeners on one address.
func (v *validator) clashes() {
	taken := map[string]string{}
	for _, path := range addressKeys() {
		value := fieldByPath(v.c, path)
		unused := v.c.Cluster.Gossip == "" && strings.HasPrefix(path, "cluster.") ||
			v.c.Origin.Root == "" && strings.HasPrefix(path, "origin.")
		if value == "" || unused || strings.HasSuffix(path, ".advertise") || strings.HasSuffix(value, ":0") {
			continue
		}
		if first, ok := taken[value]; ok {
			v.bad(path, value, value+" is the address of "+first+" already", "give each its own port")
		}
		taken[value] = path
	}
}

func (v *validator) limits() {
	c := v.c.Cache
	if c.Disk < 0 {
		v.bad("cache.disk", c.Disk, "is negative", "write a size such as 10GiB")
	}
	if c.Memory < 0 {
		v.bad("cache.memory", c.Memory, "is negative", "write a size such as 512MiB")
	}
	if c.Disk == 0 && c.Memory == 0 {
		v.bad("cache.memory", c.Memory, "is 0 and cache.disk too: nothing could be kept", "give one of them a size")
	}
}

func (v *validator) cluster() {
	c := v.c.Cluster
	if !(c.Weight >= 0.001 && c.Weight <= 1000) { // also when it is not a number
		v.bad("cluster.weight", c.Weight, strconv.FormatFloat(c.Weight, 'g', -1, 64)+" is out of range",
			"write a number from 0.001 to 1000")
	}
	if c.Lease < Duration(2*time.Second) {
		v.bad("cluster.lease", c.Lease, c.Lease.String()+" is too short: nodes exchange what was purged twice a second", "write a time from 2s on, such as 10s")
	}
	for i, address := range c.Join {
		v.address(itemPath("cluster.join", i), address)
	}
	v.wan()
	v.timers()
	v.allow()
	v.secret()
}

func (v *validator) timers() {
	t := v.c.Cluster.Timers
	for _, f := range []struct {
		path  string
		value Duration
	}{
		{"cluster.timers.probe", t.Probe},
		{"cluster.timers.probe_timeout", t.ProbeTimeout},
		{"cluster.timers.gossip", t.Gossip},
		{"cluster.timers.sync", t.Sync},
		{"cluster.timers.sync_timeout", t.SyncTimeout},
		{"cluster.timers.rejoin", t.Rejoin},
		{"cluster.timers.forget", t.Forget},
		{"cluster.timers.publish", t.Publish},
		{"cluster.timers.leave", t.Leave},
		{"cluster.timers.secret", t.Secret},
	} {
		if f.value <= 0 {
			v.bad(f.path, f.value, f.value.String()+" is no pace", "write a time above 0, such as 500ms")
		}
	}
	if t.Drain < 0 {
		v.bad("cluster.timers.drain", t.Drain, t.Drain.String()+" is negative", "write a time such as 2s, or 0 for none")
	}
	if t.ProbeTimeout >= t.Probe && t.Probe > 0 {
		v.bad("cluster.timers.probe_timeout", t.ProbeTimeout,
			t.ProbeTimeout.String()+" leaves no time before the next probe", "keep it below cluster.timers.probe, "+t.Probe.String())
	}
	for _, f := range []struct {
		path  string
		value int
	}{{"cluster.timers.suspicion", t.Suspicion}, {"cluster.timers.gossip_nodes", t.GossipNodes}} {
		if f.value < 1 || f.value > 100 {
			v.bad(f.path, f.value, strconv.Itoa(f.value)+" is out of range", "write a number from 1 to 100")
		}
	}
}

// allow checks the networks, and that this node and those that it joins are in one of them.
func (v *validator) allow() {
	c := v.c.Cluster
	var allowed []netip.Prefix
	for i, text := range c.Allow {
		path := itemPath("cluster.allow", i)
		network, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			v.bad(path, text, strconv.Quote(text)+" is no network", "write one such as 10.0.0.0/8, or 10.1.2.3/32 for one address")
		case network != network.Masked() || network.Addr().Is4In6():
			v.bad(path, text, strconv.Quote(text)+" names an address, not a network", "write "+unmapped(network).Masked().String())
		}
		allowed = append(allowed, network)
	}
	check := func(path, address string) {
		host, _, _ := net.SplitHostPort(address) // whether it is an address is checked elsewhere
		a, err := netip.ParseAddr(host)
		in := func(network netip.Prefix) bool { return network.Contains(a.Unmap()) }
		if err == nil && !a.IsUnspecified() && len(allowed) > 0 && !slices.ContainsFunc(allowed, in) {
			v.bad(path, address, host+" is outside cluster.allow", "add its network there: other nodes refuse an address from elsewhere")
		}
	}
	if c.Gossip != "" {
		if c.Advertise == "" {
			check("cluster.gossip", c.Gossip)
		}
		check("cluster.advertise", c.Advertise)
		check("cluster.peer", c.Peer)
		if c.WAN.Advertise == "" {
			check("cluster.wan.gossip", c.WAN.Gossip)
		}
		check("cluster.wan.advertise", c.WAN.Advertise)
	}
	for path, addresses := range map[string][]string{"cluster.join": c.Join, "cluster.wan.join": c.WAN.Join} {
		for i, address := range addresses {
			check(itemPath(path, i), address)
		}
	}
}

// unmapped turns an IPv4 network that is written as IPv6 into IPv4.
func unmapped(network netip.Prefix) netip.Prefix {
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		return netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network
}

// wan holds a relay to what it needs: a region to speak for, and a cluster there.
func (v *validator) wan() {
	c := v.c.Cluster
	for i, address := range c.WAN.Join {
		v.address(itemPath("cluster.wan.join", i), address)
	}
	switch {
	case c.WAN.Gossip == "" && len(c.WAN.Join) > 0:
		v.bad("cluster.wan.join", c.WAN.Join, "needs an address of this node to gossip on", `set cluster.wan.gossip, such as ":7947"`)
	case c.WAN.Gossip != "" && c.Gossip == "":
		v.bad("cluster.wan.gossip", c.WAN.Gossip, "makes a relay of a node that has no cluster", `set cluster.gossip too, such as ":7946"`)
	case c.WAN.Gossip != "" && v.c.Node.Region == "":
		v.bad("cluster.wan.gossip", c.WAN.Gossip, "makes a relay of a node that has no region", "set node.region")
	}
}

// secret makes sure that nobody can join a cluster by knowing its address.
func (v *validator) secret() {
	c := v.c.Cluster
	if c.Gossip == "" && len(c.Join) > 0 {
		v.bad("cluster.join", c.Join, "needs an address of this node to gossip on", `set cluster.gossip, such as ":7946"`)
	}
	if c.SecretFile != "" {
		return
	}
	hint := "make one with head -c 32 /dev/urandom | base64 > cluster.secret, copy it to every node and name it in cluster.secret_file"
	if len(c.Join) > 0 {
		v.bad("cluster.join", c.Join, "needs a secret that all nodes share", hint)
	} else if c.Gossip != "" && !loopback(c.Gossip) {
		v.bad("cluster.gossip", c.Gossip, c.Gossip+" can be reached by others and needs a secret that all nodes share", hint)
	}
}

func (v *validator) sites() {
	seen := map[string]string{}
	for i, site := range v.c.Sites {
		path := itemPath("sites", i)
		if len(site.Hosts) == 0 {
			v.bad(path+".hosts", site.Hosts, "the site has no hosts", `write hosts: ["video.example.com"], or ["*"] for every host`)
			v.placeAt(path)
		}
		if len(site.Origins) == 0 {
			v.bad(path+".origins", site.Origins, "the site has no origins", `write origins: ["https://origin.example.com"]`)
			v.placeAt(path)
		}
		for j, host := range site.Hosts {
			v.host(itemPath(path+".hosts", j), host, seen)
		}
		for j, origin := range site.Origins {
			v.url(itemPath(path+".origins", j), origin)
		}
		if site.Home != "" && !plainName(site.Home, 32) {
			v.bad(path+".home", site.Home, strconv.Quote(site.Home)+" is no name", "write the node.region of the nodes near the origin")
		}
		for j, rule := range site.Access {
			v.rule(itemPath(path+".access", j), rule)
		}
		v.siteLimits(path+".limits", site.Limits)
		v.devices(path+".devices", &site.Devices)
		v.token(path+".token", &site.Token)
		for name := range site.Headers {
			if !plainName(name, 63) || strings.ContainsAny(name, "._") {
				v.bad(path+".headers", site.Headers, strconv.Quote(name)+" is no field name", "write one such as Strict-Transport-Security")
			}
		}
		for j, origin := range site.CORS {
			if at := itemPath(path+".cors", j); origin != "*" && !plainOrigin(origin) {
				v.bad(at, origin, strconv.Quote(origin)+" is no origin", `write "https://www.example.com", or "*" for all`)
			}
		}
		for j, field := range site.TargetedFields {
			v.targeted(itemPath(path+".targeted_fields", j), field)
		}
		v.sdk(path+".sdk", &site.SDK)
		if schemes := site.Token.Schemes; site.SDK.Tokens && (len(schemes) == 0 || schemes[0].Kind != "cat") {
			v.bad(path+".sdk.tokens", site.SDK.Tokens, "the site's first token scheme is none that sessions can get", "begin token.schemes with kind: cat")
		}
	}
	if len(v.c.Sites) == 0 && v.c.Origin.Root == "" {
		v.bad("sites", v.c.Sites, "there is nothing to serve",
			"add a site (an edge) or origin.root (an origin), as in configs/edge.yaml and configs/origin.yaml")
	}
}

// rule finds what can be told without the databases; times and patterns are read where they are used.
func (v *validator) rule(path string, r Rule) {
	if r.Action != "allow" && r.Action != "deny" {
		v.bad(path+".action", r.Action, strconv.Quote(r.Action)+" is no action", "write allow or deny")
		v.placeAt(path)
	}
	for i, network := range r.Networks {
		if _, err := netip.ParsePrefix(network); err != nil {
			v.bad(itemPath(path+".networks", i), network, strconv.Quote(network)+" is no network", `write it as "10.0.0.0/8"`)
		}
	}
	for i, system := range r.Systems {
		if _, err := strconv.ParseUint(strings.TrimPrefix(system, "AS"), 10, 32); err != nil || !strings.HasPrefix(system, "AS") {
			v.bad(itemPath(path+".systems", i), system, strconv.Quote(system)+" is no autonomous system", "write it as AS64500")
		}
	}
	if len(r.Countries)+len(r.Systems) > 0 && len(v.c.Geo) == 0 {
		v.bad(path, r, "asks where clients are, and there is no database that tells", "name one in geo, such as /var/lib/GeoIP/GeoLite2-Country.mmdb")
	}
}

// plainOrigin tells whether text is what browsers send in Origin.
func plainOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && text == u.Scheme+"://"+u.Host
}

// placeAt gives the last problem, about a key that is missing, the place of the entry that misses it.
func (v *validator) placeAt(path string) {
	p := v.problems[len(v.problems)-1]
	if m, ok := v.c.marks[path]; ok && p.Line == 0 && p.File != "" {
		p.Line, p.Column = m.line, m.column
	}
}

func (v *validator) host(path, host string, seen map[string]string) {
	lower := strings.ToLower(host)
	if first, ok := seen[lower]; ok {
		v.bad(path, host, host+" is taken by "+first+" already", "let one site have it")
		return
	}
	seen[lower] = path
	if host == "*" {
		return
	}
	if strings.Contains(host, "://") || strings.Contains(host, "/") {
		v.bad(path, host, host+" is a URL", "write the name alone, such as video.example.com")
		return
	}
	if name, port, err := net.SplitHostPort(host); err == nil && port != "" {
		v.bad(path, host, host+" has a port", "write "+name+": a site answers on every port")
		return
	}
	if !plainName(host, 253) && net.ParseIP(host) == nil {
		v.bad(path, host, strconv.Quote(host)+" is no host name", `write a name such as video.example.com, or "*" for every host`)
	}
}

// targeted checks the name of a targeted field (RFC 9213, 2).
func (v *validator) targeted(path, name string) {
	rest, ok := strings.CutSuffix(strings.ToLower(name), "-cache-control")
	if !ok || !plainName(rest, 63) || strings.ContainsAny(rest, "._") {
		v.bad(path, name, strconv.Quote(name)+" is no targeted field", "write a name that ends in -Cache-Control, such as Weir-Cache-Control")
	}
}

func (v *validator) rest() {
	if v.c.Profiles.Server != "" {
		v.url("profiles.server", v.c.Profiles.Server)
	}
	v.oneOf("log.level", v.c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", v.c.Log.Format, "text", "json")
	if v.c.Log.Access == "" {
		v.bad("log.access", "", "is empty", "write off, stdout or the name of a file")
	}
	if v.c.Log.QlogSize < MiB {
		v.bad("log.qlog_size", v.c.Log.QlogSize, v.c.Log.QlogSize.String()+" is too little for a connection", "write a size from 1MiB on, such as 1GiB")
	}
}

func (v *validator) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		v.bad(path, value, strconv.Quote(value)+" is unknown",
			"write "+strings.Join(words[:len(words)-1], ", ")+" or "+words[len(words)-1])
	}
}

// address checks a host:port; empty is fine here.
func (v *validator) address(path, value string) {
	if value == "" {
		return
	}
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		hint := `write host:port, such as "127.0.0.1:8080", or ":8080" for every address`
		if _, number := strconv.ParseUint(value, 10, 16); number == nil {
			hint = "write " + strconv.Quote(":"+value)
		}
		v.bad(path, value, strconv.Quote(value)+" is no address", hint)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.bad(path, value, strconv.Quote(value)+" has no port from 0 to 65535", `write a number behind the colon, such as ":8080"`)
	}
}

// url checks an absolute http or https URL without credentials, query and fragment.
func (v *validator) url(path, value string) {
	u, err := url.Parse(value)
	switch {
	case err != nil:
		v.bad(path, redactURL(value), "is no URL", "write http://host or https://host:port")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		v.bad(path, value, redactURL(value)+" is no http:// or https:// URL", "write http://host or https://host:port")
	case u.User != nil:
		v.bad(path, value, u.Redacted()+" holds a user or password", "leave them out: a configuration file is no place for secrets")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		v.bad(path, value, value+" has a query or fragment", "end it before ? and #")
	case u.Port() != "" && !portInRange(u.Port()):
		v.bad(path, value, value+" has no port from 1 to 65535", "write a number behind the colon, or leave it out")
	}
}

func portInRange(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// redactURL keeps what may be a password out of a message.
func redactURL(value string) string {
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		return "…" + value[at:]
	}
	return value
}

// loopback reports whether a host:port can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// plainName accepts what is safe in a header field, a certificate, a metric label and a file name.
func plainName(name string, most int) bool {
	letter := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	ends := func(r rune) bool { return r == '.' || r == '-' || r == '_' }
	return name != "" && len(name) <= most && letter(rune(name[0])) && letter(rune(name[len(name)-1])) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !letter(r) && !ends(r) })
}
