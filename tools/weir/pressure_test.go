package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/tools/proof"
)

// TestPressureSpreads: every node hears which one is under pressure, sends no viewer there but as the last resort and has them ask
// again soon; and hears when it is over, or nothing more.
func TestPressureSpreads(t *testing.T) {
	t.Parallel()
	names := []string{"edge-1", "edge-2", "edge-3"}
	inLabWith(t, map[string]string{"pages": "yes"}, names, func(l *lab, _ *proof.Origin) {
		time.Sleep(5 * time.Second) // all have joined
		last := func(node string) (first int, ttl int) {
			for viewer := range 30 {
				var m struct {
					TTL      int      `json:"TTL"`
					Priority []string `json:"PATHWAY-PRIORITY"`
				}
				l.call(node, http.MethodGet, fmt.Sprintf("/steer/v1/film-%d?session=s-%d", viewer, viewer), "", &m)
				if len(m.Priority) != 3 {
					t.Fatalf("%s sends viewers to %v", node, m.Priority)
				}
				if ttl = m.TTL; m.Priority[0] == "edge-2" {
					first++
				}
			}
			return first, ttl
		}
		check := func(when string, pressed bool) {
			for _, name := range names {
				if first, ttl := last(name); (first == 0) != pressed || (ttl == 10) != pressed {
					t.Errorf("%s: %s sends %d of 30 viewers to edge-2, for %d s", when, name, first, ttl)
				}
			}
		}
		check("before", false)
		quiet := l.node("edge-2").overload.Stats().Options
		l.node("edge-2").overload.Set(edge.OverloadOptions{Memory: 1})
		time.Sleep(2 * pressureEvery)
		check("under pressure", true)
		l.node("edge-2").overload.Set(quiet)
		time.Sleep(pressureLasts + 2*pressureEvery) // the delay that was felt goes slowly
		check("afterwards", false)
	})
}

func TestPressures(t *testing.T) {
	t.Parallel()
	var p pressures
	now := time.Now()
	if p.of("a", now) != 0 {
		t.Error("somebody has spoken")
	}
	p.hear(saidPressure{Name: "a", Share: 0.5}, now)
	p.hear(saidPressure{Name: "b", Share: 7}, now)
	if a, b := p.of("a", now.Add(pressureLasts-1)), p.of("b", now); a != 0.5 || b != 1 {
		t.Errorf("got %v and %v, want 0.5 and 1", a, b)
	}
	if got := p.of("a", now.Add(pressureLasts)); got != 0 {
		t.Errorf("nothing more was heard: got %v", got)
	}
	if p.hear(saidPressure{Name: "b"}, now); p.of("b", now) != 0 {
		t.Error("it is over, and is believed still")
	}
	for i := range maxPressures + 10 {
		p.hear(saidPressure{Name: fmt.Sprint(i), Share: 1}, now)
	}
	if len(p.by) != maxPressures {
		t.Errorf("%d are remembered, want %d", len(p.by), maxPressures)
	}
	if p.hear(saidPressure{Name: "c", Share: 1}, now.Add(time.Minute)); len(p.by) != 1 {
		t.Errorf("%d are remembered a minute later, want 1", len(p.by))
	}
}

func TestSteeringOf(t *testing.T) {
	t.Parallel()
	policy := write(t, "policy", `
server: https://steer.example
pathways:
  - {id: b, host: b.example, weight: 1, hours: [{when: "00:00-24:00", weight: 4}], contract: {from: 2026-01-01, until: 2026-02-01, volume: 1TB}}
`)
	s, err := steeringOf(&configs.Steering{PolicyFile: policy, Spread: 9})
	if err != nil || s.Server != "https://steer.example" || s.Spread != 0 || len(s.Pathways) != 1 {
		t.Fatalf("got %+v, %v", s, err)
	}
	if p := s.Pathways[0]; !p.Shares[0].When.Contains(time.Now()) || p.Shares[0].Weight != 4 || p.Contract.Bytes != 1e12 || p.Contract.Until.Sub(p.Contract.From) != 31*24*time.Hour {
		t.Errorf("got %+v", p)
	}
	if err := os.WriteFile(policy, []byte("pathways: [{id: b, host: b.example, hours: [{when: always, weight: 4}]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = steeringOf(&configs.Steering{PolicyFile: policy}); err == nil || !strings.Contains(err.Error(), `pathway b: hours "always"`) {
		t.Errorf("hours that are none: got %v", err)
	}
}

func TestStarves(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "CMCD=bs": true, "CMCD=bl%3D100": false, "CMCD=v%3D9%2Cbs": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/steer/v1/film?"+text, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := starves(r); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}
