package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// RoleEdge is the role of a node that holds a share of the keys. Nodes of other roles are members, but not on the ring.
const RoleEdge = "edge"

const (
	metaVersion  = 2
	metaMaxBytes = 512 // memberlist's limit

	minWeight   = 0.001
	maxWeight   = 1000.0
	weightUnits = 1000 // weights travel in thousandths

	maxName   = 63
	maxLabel  = 64
	maxRole   = 16
	maxPlace  = 32
	maxPeer   = 56 // an IPv6 address with zone-less brackets and a port is 47
	maxPublic = 120
	maxBuild  = 64
	maxKeys   = maxSecrets*(2*idBytes+1) - 1

	flagDraining = 1
	flagShield   = 2
	flagRelay    = 4
	flagClear    = 8
	flagsKnown   = flagDraining | flagShield | flagRelay | flagClear
)

// meta is what a node tells about itself in gossip. Encoding, version 2: the version byte; flags (uvarint, bit 0
// draining, 1 shield, 2 relay, 3 clear); weight in thousandths (uvarint); then role, zone, region, peer, http, https, build and keys,
// each a uvarint length and its bytes; then the end. Every uvarint is in its shortest form, so that a value has one encoding.
type meta struct {
	Draining bool
	Shield   bool
	Relay    bool
	Clear    bool // the peer listener speaks HTTP in the clear
	Weight   float64
	Role     string
	Zone     string
	Region   string
	Peer     string // IP address:port
	HTTP     string // host:port or ""
	HTTPS    string // host:port or ""
	Build    string
	Keys     string // IDs of the secrets it accepts, separated by spaces, that in use first
}

// encode returns what parseMeta reads.
func (m meta) encode() []byte {
	flags := uint64(0)
	for flag, set := range map[uint64]bool{flagDraining: m.Draining, flagShield: m.Shield, flagRelay: m.Relay, flagClear: m.Clear} {
		if set {
			flags |= flag
		}
	}
	b := []byte{metaVersion}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(math.Round(m.Weight*weightUnits)))
	for _, s := range []string{m.Role, m.Zone, m.Region, m.Peer, m.HTTP, m.HTTPS, m.Build, m.Keys} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// member returns the member that m describes.
func (m meta) member(name, addr string) Member {
	return Member{
		Name: name, Addr: addr, PeerAddr: m.Peer, HTTPAddr: m.HTTP, HTTPSAddr: m.HTTPS, Zone: m.Zone, Region: m.Region,
		Role: m.Role, Build: m.Build, Keys: m.Keys, Weight: m.Weight, Draining: m.Draining, Shield: m.Shield, Relay: m.Relay,
		Cleartext: m.Clear,
	}
}

// parseMeta reads what another node says about itself. It refuses everything that encode would not write and every value
// that would be dangerous to use, as a whole: a node is believed altogether or not at all.
func parseMeta(b []byte) (meta, error) {
	if len(b) > metaMaxBytes {
		return meta{}, fmt.Errorf("%d bytes: at most %d", len(b), metaMaxBytes)
	}
	r := metaReader{rest: b}
	if v := r.byte(); v != metaVersion && r.err == nil {
		return meta{}, fmt.Errorf("version %d: want %d", v, metaVersion)
	}
	flags := r.uvarint()
	weight := r.uvarint()
	m := meta{
		Draining: flags&flagDraining != 0,
		Shield:   flags&flagShield != 0,
		Relay:    flags&flagRelay != 0,
		Clear:    flags&flagClear != 0,
		Weight:   float64(weight) / weightUnits,
		Role:     r.string("role", checkRole),
		Zone:     r.string("zone", checkPlace),
		Region:   r.string("region", checkPlace),
		Peer:     r.string("peer address", checkPeer),
		HTTP:     r.string("http address", checkPublic),
		HTTPS:    r.string("https address", checkPublic),
		Build:    r.string("build", checkBuild),
		Keys:     r.string("keys", checkKeys),
	}
	switch {
	case r.err != nil:
		return meta{}, r.err
	case len(r.rest) > 0:
		return meta{}, fmt.Errorf("%d bytes too many", len(r.rest))
	case flags&^flagsKnown != 0:
		return meta{}, fmt.Errorf("unknown flags %#x", flags)
	case weight < minWeight*weightUnits || weight > maxWeight*weightUnits:
		return meta{}, fmt.Errorf("weight %v: want %v to %v", m.Weight, minWeight, maxWeight)
	}
	return m, nil
}

// metaReader reads the encoding and keeps the first error.
type metaReader struct {
	rest []byte
	err  error
}

var errShortMeta = errors.New("too short")

func (r *metaReader) byte() byte {
	if r.err != nil || len(r.rest) == 0 {
		r.fail(errShortMeta)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *metaReader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	switch {
	case n == 0:
		r.fail(errShortMeta)
		return 0
	case n < 0 || n > 1 && r.rest[n-1] == 0:
		r.fail(errors.New("bad varint"))
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *metaReader) string(field string, check func(string) error) string {
	n := r.uvarint()
	if r.err != nil {
		return ""
	}
	if n > uint64(len(r.rest)) {
		r.fail(errShortMeta)
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	if err := check(s); err != nil {
		r.fail(fmt.Errorf("%s %q: %w", field, s, err))
	}
	return s
}

func (r *metaReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// checkName allows what can stand as a host name in a certificate and in a header field.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("a node needs a name")
	case len(s) > maxName:
		return fmt.Errorf("%d bytes: at most %d", len(s), maxName)
	case !isWord(s):
		return errors.New("letters, digits, '-', '_' and '.' only")
	case !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) || strings.Contains(s, "..") || strings.Contains(s, ".-"):
		return errors.New("each part must begin with a letter or digit, the last also end with one")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return errors.New("an address is no name")
	}
	return nil
}

func checkRole(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	return checkWord(s, maxRole)
}

func checkPlace(s string) error { return checkWord(s, maxPlace) }

func checkWord(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("%d bytes: at most %d", len(s), limit)
	case !isWord(s):
		return errors.New("letters, digits, '-', '_' and '.' only")
	}
	return nil
}

func checkBuild(s string) error {
	if len(s) > maxBuild {
		return fmt.Errorf("%d bytes: at most %d", len(s), maxBuild)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errors.New("printable ASCII only")
		}
	}
	return nil
}

// checkKeys allows what Secrets.IDs returns.
func checkKeys(s string) error {
	if len(s) > maxKeys {
		return fmt.Errorf("%d bytes: at most %d", len(s), maxKeys)
	}
	for id := range strings.SplitSeq(s, " ") {
		if len(id) != 2*idBytes || strings.Trim(id, "0123456789abcdef") != "" {
			return fmt.Errorf("want %d hexadecimal digits for each secret", 2*idBytes)
		}
	}
	return nil
}

// checkPeer allows the canonical text of an IP address and port that a node may be asked at. Link-local addresses are
// refused because 169.254.169.254 is where clouds answer with credentials.
func checkPeer(s string) error {
	if len(s) > maxPeer {
		return fmt.Errorf("%d bytes: at most %d", len(s), maxPeer)
	}
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return errors.New("want an IP address and a port")
	case a.String() != s:
		return fmt.Errorf("want it written as %s", a)
	case a.Port() == 0:
		return errors.New("port 0")
	}
	return checkHostAddr(a.Addr())
}

// checkHostAddr refuses addresses that name no single reachable host.
func checkHostAddr(a netip.Addr) error {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return errors.New("no address")
	case a.IsUnspecified():
		return errors.New("every address is no address")
	case a.IsMulticast():
		return errors.New("a multicast address")
	case a.IsLinkLocalUnicast():
		return errors.New("a link-local address")
	case a.Zone() != "":
		return errors.New("an address with a zone")
	case a.Is4() && (a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		return errors.New("a reserved address")
	}
	return nil
}

// checkPublic allows "" or host:port, the host a name or an IP address that checkHostAddr allows.
func checkPublic(s string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxPublic {
		return fmt.Errorf("%d bytes: at most %d", len(s), maxPublic)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return errors.New("want a port from 1 to 65535")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return checkHostAddr(a)
	}
	if host == "" || !isWord(host) {
		return errors.New("want a host name or IP address")
	}
	return nil
}

func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
