package cluster

import (
	"net"
	"net/netip"
	"testing"

	"github.com/hashicorp/memberlist"
)

// nodeAt is what the gossip library hands over of a node.
func nodeAt(ip string, said []byte) *memberlist.Node {
	return &memberlist.Node{Name: "edge-9", Addr: net.ParseIP(ip), Port: 7946, Meta: said}
}

// FuzzDelegate hands over whatever a node with the secret can say: nothing of it panics, and nothing gets into a ring that
// parseMeta and the gate would not let in.
func FuzzDelegate(f *testing.F) {
	good := meta{Weight: 2, Role: RoleEdge, Peer: "10.0.0.9:7443", Keys: testKeys}.encode()
	f.Add("edge-9", []byte{10, 0, 0, 9}, uint16(7946), good, []byte("message"))
	f.Add("edge-1", []byte{10, 0, 0, 9}, uint16(7946), good, []byte{}) // this node's own name
	f.Add("edge-9", []byte{127, 0, 0, 1}, uint16(7946), meta{Weight: 1, Role: RoleEdge, Peer: "127.0.0.1:7443", Keys: testKeys}.encode(), []byte{0})
	f.Add("edge-9", []byte(net.ParseIP("fe80::1")), uint16(80), fullMeta().encode(), []byte{0xff})
	f.Add("", []byte{1, 2, 3}, uint16(0), []byte{metaVersion, 0, 0x80}, []byte(nil))
	f.Fuzz(func(t *testing.T, name string, addr []byte, port uint16, said, message []byte) {
		allow, err := ParseAllow([]string{"10.0.0.0/8", "2001:db8::/32"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{Name: "edge-1", Gate: NewGate(allow, nil), AdminAddr: "10.0.0.1:7070"})
		if err != nil {
			t.Fatal(err)
		}
		d := delegate{c}
		n := &memberlist.Node{Name: name, Addr: addr, Port: port, Meta: said}
		refused := d.NotifyAlive(n)
		if refused == nil { // the library tells the rest of those that were let in alone
			d.NotifyJoin(n)
			d.NotifyUpdate(n)
		}
		d.NotifyMsg(message)
		d.MergeRemoteState(message, true)
		d.NotifyConflict(n, n)
		for _, m := range c.Members() {
			if m.Self {
				continue
			}
			if refused != nil {
				t.Fatalf("refused with %v, and a member: %+v", refused, m)
			}
			for _, a := range []string{m.Addr, m.PeerAddr} {
				ap, err := netip.ParseAddrPort(a)
				if err != nil || !c.options.Gate.Allows(ap.Addr()) || checkHostAddr(ap.Addr()) != nil || a == "10.0.0.1:7070" {
					t.Errorf("%+v is a member with the address %s, %v", m, a, err)
				}
			}
			if checkName(m.Name) != nil || m.Weight < minWeight || m.Weight > maxWeight {
				t.Errorf("%+v is a member", m)
			}
		}
		d.NotifyLeave(n)
		if got := c.Stats().CallbackPanics; got > 0 {
			t.Errorf("%d panics", got)
		}
	})
}
