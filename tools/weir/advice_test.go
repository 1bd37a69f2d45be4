package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/cmcd"
	"weir/edge/quality"
	"weir/edge/sdk"
	"weir/tools/proof"
)

// said is a report as a player sends it.
func said(t *testing.T, text string) *cmcd.Report {
	t.Helper()
	r := &cmcd.Report{}
	if err := r.Parse([]byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func TestPaces(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	type note struct {
		after  time.Duration
		report string
		sent   int64
		took   time.Duration
	}
	for _, tt := range []struct {
		name          string
		notes         []note
		at            time.Duration // when it is asked for
		kbps, bitrate int64
	}{
		{name: "nothing"},
		{name: "what the player measured", notes: []note{{report: `br=800,mtp=5000,ot=v,sid="s"`, sent: 1 << 20, took: time.Second}}, kbps: 5000, bitrate: 800},
		{name: "in the second version", notes: []note{{report: `br=(800;v),mtp=(5000;v),sid="s",v=2`}}, kbps: 5000, bitrate: 800},
		{name: "a mean", notes: []note{{report: `mtp=5000,sid="s"`}, {report: `mtp=1000,sid="s"`}}, kbps: 3800},
		{name: "what was seen here", notes: []note{{report: `br=800,ot=v,sid="s"`, sent: 1_000_000, took: time.Second}}, kbps: 8000, bitrate: 800},
		{name: "the player knows better", notes: []note{{report: `sid="s"`, sent: 1_000_000, took: time.Second}, {report: `mtp=3000,sid="s"`}, {report: `sid="s"`, sent: 1_000_000, took: time.Second}}, kbps: 3000},
		{name: "too little, too fast", notes: []note{{report: `sid="s"`, sent: 255 << 10, took: time.Second}, {report: `sid="s"`, sent: 1 << 20, took: time.Millisecond}}},
		{name: "sound is no picture", notes: []note{{report: `br=800,ot=v,sid="s"`}, {report: `br=96,ot=a,sid="s"`}}, bitrate: 800},
		{name: "long ago", notes: []note{{report: `br=800,mtp=5000,sid="s"`}}, at: paceFresh + time.Second},
		{name: "another time", notes: []note{{report: `br=800,mtp=5000,sid="s"`}, {after: paceFresh + time.Second, report: `mtp=1000,sid="s"`}}, at: paceFresh + time.Second, kbps: 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var p paces
			for _, n := range tt.notes {
				p.note(7, said(t, n.report), n.sent, n.took, start.Add(n.after))
			}
			if got := p.of(7, start.Add(tt.at)); int64(got.kbps) != tt.kbps || got.bitrate != tt.bitrate {
				t.Errorf("got %.0f kbit/s, bitrate %d, want %d, %d", got.kbps, got.bitrate, tt.kbps, tt.bitrate)
			}
		})
	}
}

// TestPacesAreBounded: what is kept has a bound, and a request costs no allocation once a session is known.
func TestPacesAreBounded(t *testing.T) { //nolint:paralleltest // allocations are counted
	var p paces
	r, now := said(t, `mtp=5000,sid="s"`), time.Unix(1_700_000_000, 0)
	for i := range 3 * paceShards * pacesOfShard {
		p.note(quality.Session(i), r, 0, 0, now)
	}
	for i := range p.shards {
		if n := len(p.shards[i].of); n != pacesOfShard {
			t.Errorf("shard %d keeps %d sessions, want %d", i, n, pacesOfShard)
		}
	}
	last := quality.Session(3*paceShards*pacesOfShard - 1)
	if n := testing.AllocsPerRun(100, func() { p.note(last, r, 0, 0, now) }); n != 0 && !raceDetector() {
		t.Errorf("%v allocations", n)
	}
}

// TestAdvice: what a node says follows from what the session had, what the site gives, and how the node is.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		limit  configs.Bytes
		report string
		duress bool
		want   sdk.Advice
	}{
		{name: "nothing is known", want: sdk.Advice{}},
		{name: "a throughput", report: `br=800,mtp=5000,ot=v,sid="s"`, want: sdk.Advice{ThroughputKbps: 5000}},
		{name: "a bound of the site", limit: 250_000, report: `mtp=5000,sid="s"`, want: sdk.Advice{ThroughputKbps: 2000, MaxBitrateKbps: 2000}},
		{name: "a slow way", limit: 250_000, report: `mtp=500,sid="s"`, want: sdk.Advice{ThroughputKbps: 500, MaxBitrateKbps: 2000}},
		{name: "only a bound", limit: 250_000, want: sdk.Advice{ThroughputKbps: 2000, MaxBitrateKbps: 2000}},
		{name: "duress", duress: true, report: `br=800,mtp=5000,ot=v,sid="s"`, want: sdk.Advice{ThroughputKbps: 5000, MaxBitrateKbps: 800, Duress: true}},
		{name: "duress and a bound", duress: true, limit: 50_000, report: `br=800,mtp=5000,ot=v,sid="s"`, want: sdk.Advice{ThroughputKbps: 400, MaxBitrateKbps: 400, Duress: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var late atomic.Int64 // how long runnable goroutines wait
				if tt.duress {
					late.Store(int64(time.Second))
				}
				n := &node{ownKey: []byte("a key"), overload: edge.NewOverload(edge.OverloadOptions{
					Delay: 10 * time.Millisecond, Signals: func() (time.Duration, int64) { return time.Duration(late.Load()), 0 },
				})}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- n.overload.Run(ctx) }() // ends with ctx
				time.Sleep(5 * time.Second)
				if tt.report != "" {
					n.paces.note(quality.Hide(n.qualityKey(), "s", time.Now()), said(t, tt.report), 0, 0, time.Now())
				}
				advise := n.assist(&configs.Site{Limits: configs.Limits{Client: configs.Bounds{Bandwidth: tt.limit}}})
				if got := advise(nil, "s"); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestAssist: a session's own advice, through a node, by request and with the heartbeat.
func TestAssist(t *testing.T) {
	t.Parallel()
	inLabWith(t, map[string]string{"pages": "yes"}, []string{"edge-1"}, func(l *lab, _ *proof.Origin) {
		t := l.t
		p, status := l.play("edge-1", "film")
		if status != http.StatusCreated {
			t.Fatalf("play: status %d", status)
		}
		var advice sdk.Advice
		if status := l.call("edge-1", http.MethodGet, "/sdk/v1/assist/"+p.Session, "", &advice); status != http.StatusOK || advice != (sdk.Advice{}) {
			t.Errorf("before anything is known: %d, %+v", status, advice)
		}
		path := fmt.Sprintf("/o/4KiB/seg.m4s?CMCD=br%%3D700%%2Cmtp%%3D4200%%2Cot%%3Dv%%2Csid%%3D%%22%s%%22", p.Session)
		if status := l.call("edge-1", http.MethodGet, path, "", nil); status != http.StatusOK {
			t.Fatalf("a segment: status %d", status)
		}
		l.call("edge-1", http.MethodGet, "/sdk/v1/assist/"+p.Session, "", &advice)
		var renewed struct{ Advice sdk.Advice }
		l.call("edge-1", http.MethodPost, "/sdk/v1/sessions/"+p.Session+"/heartbeat", `{"state":"p"}`, &renewed)
		if want := (sdk.Advice{ThroughputKbps: 4200}); advice != want || renewed.Advice != want {
			t.Errorf("got %+v, with the heartbeat %+v, want %+v", advice, renewed.Advice, want)
		}
	})
}
