package limit

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTake(t *testing.T) {
	t.Parallel()
	rate := Rate{PerSecond: 10, Burst: 5}
	table := NewTable(0, start)
	ask := func(at time.Duration, n int) (passed int, wait time.Duration) {
		for range n {
			if wait = table.Take(7, 1, rate, start.Add(at)); wait == 0 {
				passed++
			}
		}
		return passed, wait
	}
	for _, tt := range []struct {
		name   string
		at     time.Duration
		n      int
		passed int
		wait   time.Duration
	}{
		{"the burst at once", 0, 20, 5, 100 * time.Millisecond},
		{"a refusal costs nothing", 99 * time.Millisecond, 100, 0, time.Millisecond},
		{"one in a tenth of a second", 100 * time.Millisecond, 2, 1, 100 * time.Millisecond},
		{"ten in a second, of which five are kept", 1100 * time.Millisecond, 20, 5, 100 * time.Millisecond},
		{"after a long rest no more than the burst", time.Hour, 20, 5, 100 * time.Millisecond},
		{"a clock that goes back gives nothing", 30 * time.Minute, 1, 0, 30*time.Minute + 100*time.Millisecond},
	} {
		if passed, wait := ask(tt.at, tt.n); passed != tt.passed || wait != tt.wait {
			t.Errorf("%s: %d passed, then %v; want %d, %v", tt.name, passed, wait, tt.passed, tt.wait)
		}
	}
	if wait := table.Take(8, 1, rate, start.Add(30*time.Minute)); wait != 0 {
		t.Errorf("another client waits %v", wait)
	}
	if wait := table.Take(7, 1, Rate{}, start); wait != 0 {
		t.Errorf("no rate: waits %v", wait)
	}
	if wait := table.Take(9, 1, Rate{PerSecond: 0.1}, start); wait != 0 {
		t.Errorf("a burst of 0 lets nobody pass: waits %v", wait)
	}
}

// TestReserve: whoever waits as told is at the rate exactly, whatever the pieces.
func TestReserve(t *testing.T) {
	t.Parallel()
	const rate, burst = 1 << 20, 256 << 10
	table, random := NewTable(0, start), rand.New(rand.NewPCG(1, 1))
	now, sent := start, 0.0
	for now.Sub(start) < time.Minute {
		n := float64(1 + random.IntN(64<<10))
		wait := table.Reserve(1, n, Rate{rate, burst}, now)
		now = now.Add(wait)
		sent += n
		if most := burst + rate*now.Sub(start).Seconds() + 64; sent > most {
			t.Fatalf("after %v: %.0f bytes, more than %.0f", now.Sub(start), sent, most)
		}
	}
	if want := burst + rate*now.Sub(start).Seconds(); math.Abs(sent-want) > 64 {
		t.Errorf("%.0f bytes in %v, want %.0f", sent, now.Sub(start), want)
	}
}

// TestRefund: what is given back may be had again, and a bucket never holds more than its burst.
func TestRefund(t *testing.T) {
	t.Parallel()
	rate := Rate{PerSecond: 10, Burst: 5}
	table := NewTable(0, start)
	table.Refund(7, 100, rate, start) // whom nobody knows
	table.Refund(7, 100, Rate{}, start)
	for _, tt := range []struct {
		name   string
		at     time.Duration
		charge float64
		refund float64
		wait   time.Duration // of five more
	}{
		{"nothing charged", 0, 0, 0, 0},
		{"all of it", time.Minute, 20, 20, 0},
		{"a part", 2 * time.Minute, 20, 15, 500 * time.Millisecond},
		{"more than was charged", 3 * time.Minute, 20, 1000, 0},
		{"a burst that is there", 4 * time.Minute, 0, 1000, 0},
	} {
		now := start.Add(tt.at)
		table.Reserve(7, tt.charge, rate, now)
		table.Refund(7, tt.refund, rate, now)
		if wait := table.Reserve(7, 5, rate, now); wait != tt.wait {
			t.Errorf("%s: five more wait %v, want %v", tt.name, wait, tt.wait)
		}
		if wait := table.Take(7, 1, rate, now); wait == 0 {
			t.Errorf("%s: more than the burst passes", tt.name)
		}
	}
	if stats := table.Stats(start); stats.Clients != 1 {
		t.Errorf("got %+v", stats)
	}
}

// TestAFullTableIsNoHole: a flood from more clients than the table holds gets no more than its places allow, and who asks
// within the rate of an idle table is not refused.
func TestAFullTableIsNoHole(t *testing.T) {
	t.Parallel()
	const clients = 20_000
	rate := Rate{PerSecond: 1, Burst: 10}
	table, keys := NewTable(512, start), Keys{maphash.MakeSeed()}
	size := table.Stats(start).Entries
	passed := 0
	const seconds = 20
	for i := range seconds * clients { // in turn, so that each has lost its place when it asks again
		now := start.Add(time.Duration(i) * time.Second / clients)
		addr := netip.AddrFrom4([4]byte{10, byte(i % clients >> 16), byte(i % clients >> 8), byte(i % clients)})
		if table.Take(keys.Addr(1, addr, 32), 1, rate, now) == 0 {
			passed++
		}
	}
	if most := size * (10 + seconds); passed > most {
		t.Errorf("%d requests of %d clients passed %d places, want at most %d", passed, clients, size, most)
	}
	stats := table.Stats(start.Add(seconds * time.Second))
	if stats.Clients > size || stats.Squeezed == 0 {
		t.Errorf("got %+v", stats)
	}
	if wait := table.Take(keys.Addr(1, netip.MustParseAddr("192.0.2.1"), 32), 1, rate, start.Add(time.Minute)); wait != 0 {
		t.Errorf("after the flood a newcomer waits %v", wait)
	}
}

func TestKeys(t *testing.T) { //nolint:paralleltest // it counts allocations
	keys := Keys{maphash.MakeSeed()}
	addr := func(text string, bits int) Key { return keys.Addr(1, netip.MustParseAddr(text), bits) }
	if addr("10.1.2.3", 24) != addr("10.1.2.200", 24) || addr("2001:db8:0:100::1", 56) != addr("2001:db8:0:1ff::1", 56) {
		t.Error("two addresses of a network have two keys")
	}
	seen := map[Key]string{}
	for name, k := range map[string]Key{
		"v4": addr("10.1.2.3", 32), "v4 network": addr("10.1.2.3", 24), "v4, another network": addr("10.1.3.3", 24), "mapped": addr("::ffff:10.1.2.3", 128),
		"space": keys.Addr(2, netip.MustParseAddr("10.1.2.3"), 32), "none": keys.Addr(1, netip.Addr{}, 32),
		"text": keys.Text(1, "a"), "text, space": keys.Text(2, "a"), "another text": keys.Text(1, "b"),
	} {
		if other, taken := seen[k]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[k] = name
	}
	table := NewTable(0, start)
	who := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() {
		table.Take(keys.Addr(1, who, 64), 1, Rate{PerSecond: 1e9}, start)
		table.Reserve(keys.Text(1, "account-1"), 1, Rate{PerSecond: 1e9}, start)
		table.Refund(keys.Text(1, "account-1"), 1, Rate{PerSecond: 1e9}, start)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var c Counts
	for i := range 3 {
		if got := c.Enter(1, 2); got != (i < 2) {
			t.Errorf("number %d of at most 2: %v", i+1, got)
		}
	}
	if !c.Enter(2, 1) || c.Running() != 3 {
		t.Errorf("another key does not enter, or %d run", c.Running())
	}
	c.Leave(1)
	if !c.Enter(1, 2) {
		t.Error("a place that was left is not free")
	}
	c.Leave(1)
	c.Leave(1)
	c.Leave(2)
	for i := range c.shards {
		if n := len(c.shards[i].runs); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	}
}

// BenchmarkTake is what one limit costs a request.
func BenchmarkTake(b *testing.B) {
	table, keys := NewTable(0, start), Keys{maphash.MakeSeed()}
	who := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		table.Take(keys.Addr(1, who, 32), 1, Rate{PerSecond: 100, Burst: 100}, start)
	}
}
