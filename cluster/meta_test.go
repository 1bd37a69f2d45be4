package cluster

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// fullMeta has every field at its longest.
func fullMeta() meta {
	host := strings.Repeat("a", maxPublic-6) + ":65535"
	return meta{
		Draining: true, Weight: maxWeight, Role: strings.Repeat("r", maxRole), Zone: strings.Repeat("z", maxPlace),
		Region: strings.Repeat("r", maxPlace), Peer: "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", HTTP: host, HTTPS: host,
		Build: strings.Repeat("b", maxBuild), Keys: strings.Repeat("0123abcd ", maxSecrets-1) + "0123abcd",
	}
}

func TestMetaRoundTrip(t *testing.T) {
	t.Parallel()
	for _, m := range []meta{
		fullMeta(),
		{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7443", Keys: testKeys},
		{Weight: 0.001, Role: RoleEdge, Peer: "[::1]:1", Keys: testKeys, Build: "v1.2 (go1.26)"},
		{Weight: 2.5, Role: "relay", Zone: "eu-1a", Region: "eu_1", Peer: "127.0.0.1:7443", Keys: testKeys, HTTP: "edge-1.example.com:80", HTTPS: "192.0.2.7:443"},
	} {
		b := m.encode()
		if len(b) > metaMaxBytes {
			t.Errorf("%+v takes %d bytes", m, len(b))
		}
		got, err := parseMeta(b)
		if err != nil || got != m {
			t.Errorf("got %+v, %v, want %+v", got, err, m)
		}
		for n := range b {
			if _, err := parseMeta(b[:n]); err == nil {
				t.Errorf("%+v: the first %d of %d bytes are good metadata", m, n, len(b))
			}
		}
		if _, err := parseMeta(append(b, 0)); err == nil {
			t.Errorf("%+v: with a byte more it is good metadata", m)
		}
	}
}

func TestMetaRefusesFields(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*meta){
		"role empty":         func(m *meta) { m.Role = "" },
		"role long":          func(m *meta) { m.Role = strings.Repeat("r", maxRole+1) },
		"zone with a space":  func(m *meta) { m.Zone = "a b" },
		"zone not ASCII":     func(m *meta) { m.Zone = "zürich" },
		"zone long":          func(m *meta) { m.Zone = strings.Repeat("z", maxPlace+1) },
		"region with a NUL":  func(m *meta) { m.Region = "a\x00" },
		"build with newline": func(m *meta) { m.Build = "v1\nlevel=ERROR" },
		"build long":         func(m *meta) { m.Build = strings.Repeat("b", maxBuild+1) },
		"keys none":          func(m *meta) { m.Keys = "" },
		"keys short":         func(m *meta) { m.Keys = "0123abc" },
		"keys upper case":    func(m *meta) { m.Keys = "0123ABCD" },
		"keys with a tab":    func(m *meta) { m.Keys = "0123abcd\t0123abcd" },
		"keys many":          func(m *meta) { m.Keys += strings.Repeat(" 0123abcd", maxSecrets) },
		"peer empty":         func(m *meta) { m.Peer = "" },
		"peer a name":        func(m *meta) { m.Peer = "metadata.google.internal:80" },
		"peer no port":       func(m *meta) { m.Peer = "10.0.0.1" },
		"peer port 0":        func(m *meta) { m.Peer = "10.0.0.1:0" },
		"peer every":         func(m *meta) { m.Peer = "0.0.0.0:7443" },
		"peer every v6":      func(m *meta) { m.Peer = "[::]:7443" },
		"peer 0.x":           func(m *meta) { m.Peer = "0.1.2.3:7443" },
		"peer link-local":    func(m *meta) { m.Peer = "169.254.169.254:80" },
		"peer link-local v6": func(m *meta) { m.Peer = "[fe80::1]:80" },
		"peer mapped":        func(m *meta) { m.Peer = "[::ffff:169.254.169.254]:80" },
		"peer multicast":     func(m *meta) { m.Peer = "224.0.0.1:80" },
		"peer broadcast":     func(m *meta) { m.Peer = "255.255.255.255:80" },
		"peer with a zone":   func(m *meta) { m.Peer = "[2001:db8::1%eth0]:80" },
		"peer odd spelling":  func(m *meta) { m.Peer = "[2001:DB8::1]:80" },
		"http every":         func(m *meta) { m.HTTP = "0.0.0.0:80" },
		"http link-local":    func(m *meta) { m.HTTP = "169.254.169.254:80" },
		"http no port":       func(m *meta) { m.HTTP = "edge-1" },
		"https port 0":       func(m *meta) { m.HTTPS = "edge-1:0" },
		"https port 099":     func(m *meta) { m.HTTPS = "edge-1:099" },
		"https with a path":  func(m *meta) { m.HTTPS = "edge-1/x:443" },
		"https no host":      func(m *meta) { m.HTTPS = ":443" },
		"https long":         func(m *meta) { m.HTTPS = strings.Repeat("a", maxPublic) + ":443" },
		"weight 0":           func(m *meta) { m.Weight = 0 },
		"weight huge":        func(m *meta) { m.Weight = 1e9 },
	} {
		m := meta{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7443", Keys: testKeys}
		change(&m)
		if got, err := parseMeta(m.encode()); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestMetaRefusesEncodings(t *testing.T) {
	t.Parallel()
	rest := meta{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7443", Keys: testKeys}.encode()[4:] // after version, flags and a weight of 1000
	with := func(head ...byte) []byte { return append(head, rest...) }
	good := with(metaVersion, 0, 0xe8, 0x07)
	if _, err := parseMeta(good); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	negative := int64(-1)
	minusOne := binary.AppendUvarint([]byte{metaVersion, 0}, uint64(negative))
	nan := binary.AppendUvarint([]byte{metaVersion, 0}, math.Float64bits(math.NaN()))
	for name, b := range map[string][]byte{
		"empty":              {},
		"version 0":          with(0, 0, 0xe8, 0x07),
		"version 1":          with(1, 0, 0xe8, 0x07),
		"unknown flag":       with(metaVersion, 0x40, 0xe8, 0x07),
		"long varint":        with(metaVersion, 0x80, 0, 0xe8, 0x07),
		"endless varint":     with(metaVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"weight -1":          append(minusOne, rest...),
		"weight NaN":         append(nan, rest...),
		"length past end":    {metaVersion, 0, 0xe8, 0x07, 200, 'a'},
		"length of 2^63":     append([]byte{metaVersion, 0, 0xe8, 0x07}, binary.AppendUvarint(nil, 1<<63)...),
		"more than allowed":  append(good, make([]byte, metaMaxBytes)...),
		"512 zero bytes":     make([]byte, 512),
		"version, then zero": append([]byte{metaVersion}, make([]byte, 511)...),
	} {
		if m, err := parseMeta(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, m)
		}
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		b := make([]byte, 512)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		b[0] = metaVersion
		if m, err := parseMeta(b); err == nil {
			t.Fatalf("random bytes % x accepted as %+v", b, m)
		}
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add(fullMeta().encode())
	f.Add(meta{Weight: 1, Role: RoleEdge, Peer: "10.0.0.1:7443", Keys: testKeys}.encode())
	f.Add([]byte{metaVersion, 0, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		if again := m.encode(); string(again) != string(b) {
			t.Errorf("% x reads as %+v, which writes as % x", b, m, again)
		}
		if math.IsNaN(m.Weight) || m.Weight < minWeight || m.Weight > maxWeight {
			t.Errorf("weight %v accepted", m.Weight)
		}
		if a, err := netip.ParseAddrPort(m.Peer); err != nil || checkHostAddr(a.Addr()) != nil {
			t.Errorf("peer %q accepted", m.Peer)
		}
	})
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"a": true, "edge-1": true, "edge_1.eu-west.example": true, "Edge1": true, "1": true, strings.Repeat("a", maxName): true,
		"": false, "-a": false, "a-": false, ".a": false, "a.": false, "a..b": false, "a.-b": false, "a b": false, "a/b": false,
		"10.0.0.1": false, "edge\n": false, "é": false, strings.Repeat("a", maxName+1): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
