package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const farWay = 50 * time.Millisecond // between regions, one way; inside them it is 1 ms

// world is regions of three nodes each, such as eu-1 to eu-3, of which the first two are relays.
type world struct{ *room }

var regionNames = []string{"ap", "eu", "us"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{newRoom(t, 1)}
	w.takes = func(from, to string) time.Duration {
		if regionOf(from) != regionOf(to) {
			return farWay
		}
		return time.Millisecond
	}
	for _, region := range regionNames {
		for i := range 3 {
			w.start(fmt.Sprint(region, "-", i+1))
		}
	}
	time.Sleep(5 * time.Second)
	return w
}

func (w *world) start(name string) *seat {
	relay := !strings.HasSuffix(name, "3")
	return w.enter(name, func(o *Options) {
		o.Region = regionOf(name)
		o.Peers = func() []Peer { return w.of(o.Region, name, "") }
		o.Relays = func() []Peer { return w.of(o.Region, name, "3") }
		o.Regions = func() (regions []Region) {
			for _, region := range regionNames {
				if relay && region != o.Region {
					regions = append(regions, Region{Name: region, Relays: w.of(region, "", "3")})
				}
			}
			return regions
		}
	})
}

// of lists the nodes of a region but one, and but those whose name ends so.
func (w *world) of(region, but, without string) (peers []Peer) {
	for _, p := range w.others(but) {
		if regionOf(p.Name) == region && (without == "" || !strings.HasSuffix(p.Name, without)) {
			peers = append(peers, p)
		}
	}
	return peers
}

func regionOf(name string) string { return strings.Split(name, "-")[0] }

func (w *world) end() {
	for _, s := range w.seats {
		s.leave()
	}
}

// states are the receipts by node, or by region where a receipt names no node.
func states(receipts []Receipt) map[string]string {
	all := map[string]string{}
	for _, r := range receipts {
		state, name := "ok", r.Node
		if r.Err != nil {
			state = r.Err.Error()
		}
		if name == "" {
			name = r.Region
		} else if r.Region != regionOf(r.Node) {
			state += " of " + r.Region
		}
		if all[name] != "" {
			state += " twice"
		}
		all[name] = state
	}
	return all
}

// TestPostReachesAllRegions: over one relay of each, and the receipts of all nodes come back.
func TestPostReachesAllRegions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		for i, from := range []string{"eu-3", "us-1"} {
			began := time.Now()
			receipts := w.seats[from].post(fmt.Sprint(i))
			took := time.Since(began)
			got := states(receipts)
			for name := range w.seats {
				if name != from && got[name] != "ok" {
					t.Errorf("from %s: %s says %q", from, name, got[name])
				}
			}
			if len(receipts) != 8 {
				t.Errorf("from %s: %d receipts, want 8", from, len(receipts))
			}
			if most := 2*farWay + 8*time.Millisecond; took > most {
				t.Errorf("from %s it took %s, want %s at most", from, took, most)
			}
			for _, r := range receipts {
				if far := r.Region != regionOf(from); far != (r.Took >= 2*farWay) || r.Took > took {
					t.Errorf("from %s: %s of %s took %s of %s", from, r.Node, r.Region, r.Took, took)
				}
			}
		}
		if s := w.seats["eu-3"].Stats(); s.Unacknowledged != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestRegionsOverAnotherRelay: where a relay is down or silent the next one carries.
func TestRegionsOverAnotherRelay(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			down := []string{"eu-1", "us-2", "ap-1"}
			if silent {
				w.mu.Lock()
				near := w.takes
				w.takes = func(from, to string) time.Duration {
					if slices.Contains(down, to) {
						return time.Hour
					}
					return near(from, to)
				}
				w.mu.Unlock()
			} else {
				w.part(func(_, to string) bool { return slices.Contains(down, to) })
			}
			for i := range 4 { // relays are chosen at random
				began := time.Now()
				got := states(w.seats["eu-3"].post(fmt.Sprint(i)))
				for name := range w.seats {
					if ok := got[name] == "ok"; name != "eu-3" && ok == slices.Contains(down, name) {
						t.Errorf("silent %v: %s says %q", silent, name, got[name])
					}
				}
				if took := time.Since(began); took > DefaultRegionTimeout {
					t.Errorf("silent %v: it took %s", silent, took)
				}
			}
			w.part(nil)
		})
	}
}

// TestRegionCutOff: it is named, and catches up by itself, all its nodes.
func TestRegionCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.part(func(from, to string) bool { return (regionOf(from) == "us") != (regionOf(to) == "us") })
		got := states(w.seats["eu-3"].post(`1`))
		want := map[string]string{"eu-1": "ok", "eu-2": "ok", "ap-1": "ok", "ap-2": "ok", "ap-3": "ok", "us": "lost"}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		got = states(w.seats["us-1"].post(`2`))
		if want := map[string]string{"us-2": "ok", "us-3": "ok", "ap": "lost", "eu": "lost"}; !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if s := w.seats["us-1"].Stats(); s.Unacknowledged != 2 {
			t.Errorf("got %+v", s)
		}
		w.part(nil)
		healed := time.Now()
		for deadline := healed.Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			heard := 0
			for _, s := range w.seats {
				heard += s.count(`1`) + s.count(`2`)
			}
			if heard == 2*len(w.seats) {
				break
			}
		}
		if took := time.Since(healed); took > 5*time.Second {
			t.Errorf("it took %s until all had caught up", took)
		}
		for name, s := range w.seats {
			if s.count(`1`) != 1 || s.count(`2`) != 1 || s.lapsed() != 0 {
				t.Errorf("%s has heard %d and %d times, and took the safe side %d times", name, s.count(`1`), s.count(`2`), s.lapsed())
			}
		}
	})
}

// TestRegionWithoutRelays: who posts cannot know who has not heard, and says so; a node that is asked to carry and
// cannot says so, too.
func TestRegionWithoutRelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.part(func(_, to string) bool { return to == "eu-1" || to == "eu-2" })
		receipts := w.seats["eu-3"].post(`1`)
		if got := states(receipts); len(receipts) != 3 || got[Elsewhere] != errNoRelay.Error() {
			t.Errorf("got %v, want the other regions named", got)
		}
		w.part(nil)
		time.Sleep(5 * time.Second)
		for name, s := range w.seats {
			if s.count(`1`) != 1 {
				t.Errorf("%s has heard %d times", name, s.count(`1`))
			}
		}
		for _, tt := range []struct {
			to   string
			m    message
			want string
		}{
			{"eu-3", message{Records: []Record{{Origin: Origin{"x", 1}, Sequence: 1, Body: json.RawMessage(`2`)}}, Reach: reachRegions}, "no relay"},
			{"eu-1", message{Reach: reachRegion}, "500"},
			{"eu-1", message{Reach: "world"}, "400"},
		} {
			text, err := encode(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.send(t.Context(), "", Peer{Name: tt.to}, text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("reach %q of %s: %v, want %s", tt.m.Reach, tt.to, err, tt.want)
			}
		}
	})
}

// TestRegionsNameTheirOwn: a member far away that does not acknowledge is named, in time.
func TestRegionsNameTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.seats["ap-3"].failWith(errors.New("disk full"))
		w.mu.Lock()
		near := w.takes
		w.takes = func(from, to string) time.Duration {
			if to == "us-3" {
				return time.Hour
			}
			return near(from, to)
		}
		w.mu.Unlock()
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who asked may go
		receipts, err := w.seats["eu-3"].Post(ctx, json.RawMessage(`1`))
		if err != nil {
			t.Fatal(err)
		}
		got := states(receipts)
		if len(receipts) != 8 || !strings.Contains(got["ap-3"], "disk full") || got["us-3"] != "no answer" || got["us-1"] != "ok" {
			t.Errorf("got %v", got)
		}
		if took := time.Since(began); took > DefaultPostTimeout+2*farWay+10*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		w.mu.Lock()
		w.takes = near
		w.mu.Unlock()
	})
}
