package configs

import (
	"slices"
	"testing"
	"time"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	a, b := Default(), Default()
	b.Cluster.Join = []string{}
	if got := Differences(a, b); len(got) != 0 {
		t.Errorf("two defaults differ: %q", got)
	}
	b.Listen.HTTP, b.Cluster.Timers.Probe, b.Cache.Disk = ":1", Duration(time.Second), 1
	b.Sites = []Site{{Hosts: []string{"a"}}}
	if got, want := Differences(a, b), []string{"listen.http", "cache.disk", "cluster.timers.probe", "sites"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
