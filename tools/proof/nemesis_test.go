package proof

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	nodes := []string{"a", "b", "c", "d", "e"}
	rounds := NewSchedule(7, nodes, 10*time.Hour)
	if !reflect.DeepEqual(rounds, NewSchedule(7, nodes, 10*time.Hour)) {
		t.Error("one seed made two schedules")
	}
	if reflect.DeepEqual(rounds[:5], NewSchedule(8, nodes, time.Hour)[:5]) {
		t.Error("two seeds made one schedule")
	}
	kinds, sum := map[StrikeKind]int{}, time.Duration(0)
	for _, r := range rounds {
		sum += r.Length()
		var struck []string
		for _, f := range r.Faults {
			kinds[f.Kind]++
			if len(f.Nodes) == 1 {
				struck = append(struck, f.Nodes[0])
			}
		}
		if slices.Sort(struck); len(slices.Compact(slices.Clone(struck))) != len(struck) {
			t.Errorf("one node is struck twice: %s", r.Faults)
		}
		if len(struck) > len(nodes)-2 {
			t.Errorf("too many nodes are struck: %s", r.Faults)
		}
	}
	if len(kinds) != 15 || sum < 10*time.Hour || sum > 10*time.Hour+5*time.Minute {
		t.Errorf("got %d kinds of faults in %s: %v", len(kinds), sum, kinds)
	}
}

// Faults that overlap are the sum of both, and what is left when one ends is the other.
func TestConditions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &trial{network: NewNetwork(1), names: []string{"a", "b", "c"}}
		pause := Strike{Kind: StrikePause, Nodes: []string{"a"}}
		for _, step := range []struct {
			strike Strike
			begins bool
			ab     condition
			ba, bc condition
		}{
			{pause, true, condition{cut: true}, condition{cut: true}, condition{}},
			{Strike{Kind: StrikeLoss, Text: "0.5"}, true, condition{cut: true, loss: 0.5}, condition{cut: true, loss: 0.5}, condition{loss: 0.5}},
			{pause, false, condition{loss: 0.5}, condition{loss: 0.5}, condition{loss: 0.5}},
			{Strike{Kind: StrikeLate, Nodes: []string{"a"}, Text: "2s"}, true, condition{loss: 0.5, late: 2 * time.Second}, condition{loss: 0.5}, condition{loss: 0.5}},
			{Strike{Kind: StrikeLoss, Text: "0.5"}, false, condition{late: 2 * time.Second}, condition{}, condition{}},
			{Strike{Kind: StrikeOneWay, Nodes: []string{"b", "a"}}, true, condition{late: 2 * time.Second}, condition{cut: true}, condition{}},
			{Strike{Kind: StrikeSplit, Nodes: []string{"a", "b"}}, true, condition{late: 2 * time.Second}, condition{cut: true}, condition{cut: true}},
			{Strike{Kind: StrikeThrottle, Nodes: []string{"a"}, Text: "1KiB"}, true, condition{late: 2 * time.Second, rate: 1024}, condition{cut: true}, condition{cut: true}},
			{Strike{Kind: StrikeDelay, Nodes: []string{"a", "b"}, Text: "1s"}, true, condition{delay: time.Second, late: 2 * time.Second, rate: 1024}, condition{cut: true, delay: time.Second}, condition{cut: true}},
		} {
			if err := tr.shape(step.strike, step.begins); err != nil {
				t.Fatal(err)
			}
			for link, want := range map[*link]condition{tr.network.link("a", "b"): step.ab, tr.network.link("b", "a"): step.ba, tr.network.link("b", "c"): step.bc} {
				if link.condition != want {
					t.Errorf("after %s: got %+v, want %+v", step.strike, link.condition, want)
				}
			}
		}
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		l, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		client, err := n.Dial(t.Context(), "a", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		other, err := n.Dial(t.Context(), "c", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		server, _ := l.Accept()
		if _, err := server.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		n.Reset("b", "a")
		for _, c := range []io.ReadWriter{client, server} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: got %v", err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write: got %v", err)
			}
		}
		if _, err := other.Write([]byte("x")); err != nil {
			t.Errorf("another host's connection: %v", err)
		}
		for _, c := range []io.Closer{client, server, other, l} {
			_ = c.Close()
		}
	})
}

// subject is the fake lab, looked into.
type subject struct {
	*fakeLab

	view  View
	spoil bool
}

func (s *subject) StartNode(name string, options map[string]string) error {
	if s.spoil {
		options["spoil"] = "true"
	}
	return s.fakeLab.StartNode(name, options)
}

func (s *subject) Purge(node, _ string) ([]string, error) {
	return []string{node}, s.Do(node, []string{"purge"})
}
func (s *subject) View(string) (View, error)   { return s.view, nil }
func (s *subject) Damage(string, uint64) error { return nil }

// A trial of nodes that do wrong says so, and who is right is not blamed for others.
func TestTrial(t *testing.T) {
	t.Parallel()
	sound := View{RingNodes: 3, Ready: true, Requests: 1 << 40, Bytes: 1 << 40}
	for name, c := range map[string]struct {
		view   View
		spoil  bool
		rate   float64
		want   []string
		absent string
	}{
		"spoils": {sound, true, 1, []string{"I1/I3, seed 1", "wrong byte"}, "I18"},
		"stale":  {sound, false, 10, []string{"I2, seed 1", "/live/"}, "I12"}, // the fake keeps for 10 s what it may for two
		"view":   {View{RingNodes: 2, Ready: true}, false, 1, []string{"I12"}, "I13"},
		"counts": {View{RingNodes: 3, Ready: true, Panics: 1, Requests: 1, Bytes: 1}, false, 1, []string{"I17", "I18"}, "I12"},
		"lags":   {View{RingNodes: 3, Ready: false, Lag: 1}, false, 1, []string{"I14"}, "I17"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				setup := func(_ *testing.T, network *Network) (Lab, error) {
					return &subject{&fakeLab{network: network, nodes: map[string]*fakeNode{}}, c.view, c.spoil}, nil
				}
				report, err := Trial(t, setup, TrialOptions{Seed: 1, For: time.Minute, Nodes: 3, RequestsPerSecond: c.rate})
				text := strings.Join(report.Breaks, "\n")
				for _, want := range c.want {
					if err == nil || !strings.Contains(text, want) {
						t.Errorf("got no %q: %s: %v", want, report, err)
					}
				}
				if strings.Contains(text, c.absent) {
					t.Errorf("got %s", text)
				}
			})
		})
	}
}
