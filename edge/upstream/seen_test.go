package upstream

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBreakerAsSeen: what operators are told of each of its states.
func TestBreakerAsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		want := func(state BreakerState, opened int, lastErr string) {
			t.Helper()
			s, err := b.seen(time.Now())
			if s.State != state || s.Opened != opened || err != lastErr || s.Until.After(time.Now()) != (state == BreakerOpen) {
				t.Errorf("got %+v, %q; want %s, %d, %q", s, err, state, opened, lastErr)
			}
		}
		want(BreakerClosed, 0, "")
		b.bad("broken", time.Now())
		want(BreakerClosed, 0, "broken")
		for range failuresToOpen {
			b.bad("broken", time.Now())
		}
		want(BreakerOpen, 1, "broken")
		time.Sleep(2 * firstOpen)
		want(BreakerProbing, 1, "broken")
		b.begin(time.Now())
		want(BreakerProbing, 1, "broken")
		b.bad("still broken", time.Now())
		want(BreakerOpen, 2, "still broken")
		time.Sleep(2 * longestOpen)
		b.begin(time.Now())
		b.good(time.Millisecond, time.Now())
		want(BreakerClosed, 2, "")
	})
}

func TestBudgetAsSeen(t *testing.T) {
	t.Parallel()
	b := newBudget(0.1, 0, 2)
	now := time.Now()
	for i, want := range []Budget{{1, 1, 0}, {0, 2, 0}, {0, 2, 1}, {0, 2, 2}} {
		b.spend(now)
		if got := b.seen(now); got != want {
			t.Errorf("after %d requests: %+v, want %+v", i+1, got, want)
		}
	}
}

// TestKindsAreWhole: each once, and as many as there are counters.
func TestKindsAreWhole(t *testing.T) {
	t.Parallel()
	kinds := Kinds()
	slices.Sort(kinds)
	if len(slices.Compact(kinds)) != nKinds {
		t.Errorf("%d kinds, want %d", len(kinds), nKinds)
	}
}

// TestWhatIsKnownOfAPeer: what it says of itself is kept and taken off the response, what fails is counted by kind, and
// what was counted outlives a change of its address.
func TestWhatIsKnownOfAPeer(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Weir-Uses-Ring", "0123abcd")
		if strings.HasPrefix(r.URL.Path, "/long") {
			w.Header().Set("Weir-Uses-Ring", strings.Repeat("x", 65))
		}
		if sick.Load() {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusProcessing)
		if r.URL.Path == "/short" {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "body")
	}))
	node.EnableHTTP2, node.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	node.StartTLS()
	t.Cleanup(node.Close)
	p, err := NewPeers(PeerOptions{TLS: node.Client().Transport.(*http.Transport).TLSClientConfig, Says: "Weir-Uses-Ring"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	fetch := func(path string) error {
		r := get(path)
		r.Interim = func(_ int, h http.Header) {
			if h.Get("Weir-Uses-Ring") != "" {
				t.Error("an interim response has it still")
			}
		}
		resp, err := p.Fetch(t.Context(), "example.com", node.Listener.Addr().String(), r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.Header.Get("Weir-Uses-Ring") != "" {
			t.Error("the response has it still")
		}
		if s, _ := p.State("example.com"); s.Running != 1 {
			t.Errorf("%d requests run, want 1", s.Running)
		}
		_, err = io.ReadAll(resp.Body)
		return err
	}
	if _, known := p.State("example.com"); known {
		t.Error("something is known of a node that was never asked")
	}
	if _, err := p.Call(t.Context(), Callee{Name: "example.com", Address: node.Listener.Addr().String()}, "/call", nil, 100); err != nil {
		t.Fatal(err)
	}
	if s, _ := p.State("example.com"); s.Said != "0123abcd" || s.Asked || time.Since(s.SaidAt) > time.Minute {
		t.Errorf("after a call: %+v", s)
	}
	for _, path := range []string{"/a", "/long"} {
		if err := fetch(path); err != nil {
			t.Fatal(err)
		}
	}
	if s, _ := p.State("example.com"); s.Said != "0123abcd" || !s.Asked || s.Running != 0 || s.Breaker.State != BreakerClosed {
		t.Errorf("after two fetches: %+v", s)
	}
	if err := fetch("/short"); err == nil {
		t.Error("a short body was taken")
	}
	sick.Store(true)
	for range failuresToOpen {
		if err := fetch("/a"); err == nil {
			t.Error("a failure was taken")
		}
	}
	if s, _ := p.State("example.com"); s.OK || s.Breaker.State != BreakerOpen || s.LastError == "" {
		t.Errorf("after failures: %+v", s)
	}
	sum := uint64(0)
	for kind, n := range p.Failed() {
		if !slices.Contains(Kinds(), kind) {
			t.Errorf("unknown kind %s", kind)
		}
		sum += n
	}
	if sum != failuresToOpen+1 {
		t.Errorf("%v, want %d in all", p.Failed(), failuresToOpen+1)
	}
	p.learn("example.com", "192.0.2.1:1", false)
	if got := p.Opened(); fmt.Sprint(slices.Collect(maps.Values(got))) != "[1]" || !p.Usable("example.com") {
		t.Errorf("at another address: opened %v, usable %v", got, p.Usable("example.com"))
	}
}
