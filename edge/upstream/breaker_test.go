package upstream

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		fail := func(times int) {
			for range times {
				b.begin(time.Now())
				b.bad("broken", time.Now())
			}
		}
		usable := func(want bool, when string) {
			t.Helper()
			if got := b.usable(time.Now()); got != want {
				t.Fatalf("%s: usable %v", when, got)
			}
		}
		fail(failuresToOpen - 1)
		b.good(time.Millisecond, time.Now())
		fail(failuresToOpen - 1)
		usable(true, "four failures in a row")
		fail(1)
		usable(false, "five failures in a row")

		// Each probe that fails keeps it out for twice as long, up to a minute.
		for want := firstOpen; want <= 2*longestOpen; want *= 2 {
			open := min(want, longestOpen)
			time.Sleep(time.Duration(float64(open) * (1 - openJitter) * 0.99))
			usable(false, "before "+open.String())
			time.Sleep(time.Duration(float64(open) * 2.1 * openJitter))
			usable(true, "after "+open.String())
			b.begin(time.Now())
			usable(false, "while the probe runs")
			b.bad("broken", time.Now())
			usable(false, "after a probe that failed")
		}
		time.Sleep(2 * longestOpen)
		b.begin(time.Now())
		b.good(time.Millisecond, time.Now())
		usable(true, "after a good probe")
		if ok, lastErr := b.state(time.Now()); !ok || lastErr != "" {
			t.Errorf("state after a good probe: %v, %q", ok, lastErr)
		}

		// A probe that nobody hears of does not keep it out for ever.
		fail(failuresToOpen)
		time.Sleep(2 * firstOpen)
		b.begin(time.Now())
		usable(false, "while the probe runs")
		time.Sleep(probeFor)
		usable(true, "when nothing was heard of the probe")
	})
}

// TestABreakerOpensForAShareOfFailures: none of them five in a row.
func TestABreakerOpensForAShareOfFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bad, good, apart int // of each round; how many rounds make a second
		usable           bool
	}{
		{3, 2, 100, false},
		{2, 3, 100, true},
		{3, 2, 1, false}, // 30 failures of 50 in ten seconds
		{1, 0, 1, false}, // five in a row
	} {
		synctest.Test(t, func(t *testing.T) {
			var b breaker
			for range 30 {
				for range tt.bad {
					b.bad("broken", time.Now())
				}
				for range tt.good {
					if b.usable(time.Now()) {
						b.good(time.Millisecond, time.Now())
					}
				}
				if !b.usable(time.Now()) {
					break
				}
				time.Sleep(time.Second / time.Duration(tt.apart))
			}
			if got := b.usable(time.Now()); got != tt.usable {
				t.Errorf("%+v: usable %v", tt, got)
			}
		})
	}
}

func TestQuantileFindsThe95thPercentile(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // a test's samples
	var q quantile
	if q.value() != 0 {
		t.Errorf("an estimate of nothing: %s", q.value())
	}
	var estimates []time.Duration
	for range 5000 {
		q.add(time.Duration(random.ExpFloat64() * float64(10*time.Millisecond)))
		estimates = append(estimates, q.value())
	}
	late := slices.Sorted(slices.Values(estimates[1000:]))
	if median := late[len(late)/2]; median < 24*time.Millisecond || median > 36*time.Millisecond { // 30 ms is right
		t.Errorf("the estimate rests at %s", median)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(0.1, 5, 50)
		spend := func() (n int) {
			for b.spend(time.Now()) {
				n++
			}
			return n
		}
		if n := spend(); n != 50 {
			t.Errorf("%d at first, want 50", n)
		}
		for range 100 {
			b.earn(time.Now())
		}
		if n := spend(); n < 9 || n > 10 {
			t.Errorf("%d after 100 requests, want 10", n)
		}
		time.Sleep(2 * time.Second)
		if n := spend(); n < 9 || n > 11 {
			t.Errorf("%d after two seconds, want 10", n)
		}
		time.Sleep(time.Hour)
		if n := spend(); n != 50 {
			t.Errorf("%d after an hour, want 50", n)
		}
	})
}
