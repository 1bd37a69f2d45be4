package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAnotherProcessGoesOn: where one process of a node follows another, the other nodes never see it leave, and no ring
// moves.
func TestAnotherProcessGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := newMemnet()
		nodes := startCluster(t, net, 3, nil)
		time.Sleep(10 * time.Second)
		watcher, before := nodes[0], nodes[2]
		ring, published := watcher.Ring().Version(), watcher.Stats().RingsPublished
		for range 3 {
			before.Abandon()
			before.end()
			o := nodeOptions(net, 3)
			o.Join = nil
			after := startMet(t, o, []string{"10.0.0.1:7946", "10.0.0.2:7946"})
			await(t, "the new process knows all", time.Second, func() bool { return agree(3, nodes[0], nodes[1], after) })
			before = after
			time.Sleep(20 * time.Second)
		}
		if s := watcher.Stats(); watcher.Ring().Version() != ring || s.RingsPublished != published || s.Left+s.Dead+int(s.NameConflicts) > 0 {
			t.Errorf("the others have seen something: %d rings after %d, %+v", s.RingsPublished, published, s)
		}
		if m := watcher.member("edge-3"); m.State != Alive || m.Draining {
			t.Errorf("the node is %v, draining %v", m.State, m.Draining)
		}
	})
}
