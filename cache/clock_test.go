package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// monotonic tells whether a time has a monotonic reading, which only its text shows.
func monotonic(t time.Time) bool { return strings.Contains(fmt.Sprint(t), " m=") }

// TestAgesDoNotFollowTheWallClock: what lies on disk is as old by the monotonic clock as it was before it went there, so
// that a wall clock that steps by a day does not reach it.
func TestAgesDoNotFollowTheWallClock(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Dir: t.TempDir(), OpenFiles: 1})
	key, now := NewKey("k"), time.Now()
	h := head(-1)
	h.RequestTime, h.ResponseTime, h.Freshness.ResponseTime = now, now, now
	f := lead(t, c, key, nil)
	o, err := f.Start(h, key)
	if err != nil {
		t.Fatal(err)
	}
	o.Release()
	if _, err := f.Write(pattern(1, 200_000)); err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	put(t, c, NewKey("other"), pattern(2, 200_000), -1) // takes the only slot
	o = c.Get(key)
	if o == nil {
		t.Fatal("not on disk")
	}
	defer o.Release()
	got := o.Head()
	for name, at := range map[string]time.Time{"RequestTime": got.RequestTime, "ResponseTime": got.ResponseTime, "Freshness": got.Freshness.ResponseTime} {
		if !monotonic(at) || at.Sub(now) != 0 {
			t.Errorf("%s: %v, want %v", name, at, now)
		}
	}
}

// TestWhatComesFromTheFutureIsStale: after the clock has been set back its age is not known, and it would be fresh until
// that time has come again.
func TestWhatComesFromTheFutureIsStale(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey("k")
	c := open(t, Options{Dir: dir})
	h := head(-1)
	h.Freshness.ResponseTime = time.Now().Add(24 * time.Hour)
	f := lead(t, c, key, nil)
	o, err := f.Start(h, key)
	if err != nil {
		t.Fatal(err)
	}
	o.Release()
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	c = open(t, Options{Dir: dir})
	if o = c.Get(key); o == nil {
		t.Fatal("it is gone")
	}
	defer o.Release()
	if o.Head().Freshness.Fresh(time.Now()) {
		t.Errorf("fresh: %+v", o.Head().Freshness)
	}
}
