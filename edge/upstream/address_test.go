package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestReachOf(t *testing.T) {
	t.Parallel()
	tests := map[reach][]string{
		reachPublic: {"1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "172.32.0.1", "100.128.0.1"},
		reachPrivate: {
			"127.0.0.1", "127.255.255.254", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "fc00::1", "::ffff:127.0.0.1",
			"::ffff:10.1.2.3", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "64:ff9b:1::1", "2001:0:4136::1",
		},
		reachNowhere: {
			"0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255",
			"240.0.0.1", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254",
			"2002:a9fe:a9fe::", "::127.0.0.1", "::7f00:1", "198.18.0.1", "192.0.2.1", "2001:db8::1", "fec0::1",
		},
	}
	for want, addresses := range tests {
		for _, text := range addresses {
			if got := reachOf(netip.MustParseAddr(text)); got != want {
				t.Errorf("%s: %d, want %d", text, got, want)
			}
		}
	}
}

// names is a resolver for which every name has the address that was set last.
type names struct {
	address atomic.Pointer[netip.Addr]
	asked   atomic.Int64
}

// resolver answers on a socket of its own, as a DNS server.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			size, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := n.answer(buf[:size]); answer != nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = socket.Close(); <-ended })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

func (n *names) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	n.asked.Add(1)
	q, a := m.Questions[0], *n.address.Load()
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0}
	switch {
	case q.Type == dnsmessage.TypeA && a.Is4():
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: a.As4()}}}
	case q.Type == dnsmessage.TypeAAAA && a.Is6():
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}}
	}
	out, _ := m.Pack()
	return out
}

// TestAnOriginsNameThatTurnsInwards: a name is looked at each time that it is dialled, by the address that is about to be
// used, whatever it stood for before. Where the operator says that origins are at home, or names the address itself,
// it is his to say.
func TestAnOriginsNameThatTurnsInwards(t *testing.T) {
	t.Parallel()
	var canary atomic.Int64
	server := serve(t, func(http.ResponseWriter, *http.Request) { canary.Add(1) })
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var n names
	resolver := n.resolver(t)
	for _, tt := range []struct {
		name, host, address string
		private             bool
		reached             bool
	}{
		{"loopback", "origin.example", "127.0.0.1", false, false},
		{"loopback, mapped", "origin.example", "::ffff:127.0.0.1", false, false},
		{"metadata", "origin.example", "169.254.169.254", false, false},
		{"unspecified", "origin.example", "0.0.0.0", false, false},
		{"at home", "origin.example", "127.0.0.1", true, true},
		{"metadata, at home", "origin.example", "169.254.169.254", true, false},
		{"unspecified, at home", "origin.example", "0.0.0.0", true, false},
		{"by its address", "127.0.0.1", "192.0.2.1", false, true},
		{"by its address, mapped", "[::ffff:127.0.0.1]", "192.0.2.1", false, true},
		{"localhost", "localhost", "192.0.2.1", false, true},
	} {
		canary.Store(0)
		address := netip.MustParseAddr(tt.address)
		n.address.Store(&address)
		g := newGroup(t, Options{URLs: []string{"http://" + tt.host + ":" + u.Port()}, Private: tt.private, Resolver: resolver})
		resp, err := g.Fetch(t.Context(), get("/"))
		if resp != nil {
			resp.Body.Close()
		}
		var failure *Error
		prohibited := errors.As(err, &failure) && failure.Kind == DestinationProhibited
		if reached := canary.Load() > 0; reached != tt.reached || prohibited == tt.reached {
			t.Errorf("%s: reached %v, %v", tt.name, reached, err)
		}
	}
	// The second answer counts, though the first was fine.
	outside, inside := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254")
	n.address.Store(&outside)
	g := newGroup(t, Options{URLs: []string{"http://origin.example:" + u.Port()}, Private: true, Resolver: resolver})
	for i, a := range []netip.Addr{outside, inside} {
		n.address.Store(&a)
		server.CloseClientConnections()
		g.Close()
		resp, err := g.Fetch(t.Context(), get("/"))
		if resp != nil {
			resp.Body.Close()
		}
		if (err == nil) != (i == 0) {
			t.Errorf("answer %d: %v", i+1, err)
		}
	}
}

// TestRedirectsAreNotFollowed: where an origin points to is the client's to go to.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var canary atomic.Int64
	inside := serve(t, func(http.ResponseWriter, *http.Request) { canary.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", inside.URL)
			w.WriteHeader(status)
		})
		resp, err := newGroup(t, Options{URLs: []string{origin.URL}}).Fetch(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Status != status || canary.Load() != 0 {
			t.Errorf("%d: got %d, %d requests to where it points", status, resp.Status, canary.Load())
		}
	}
}
