package cache

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
)

// The power is cut at random instants of filling, replacing, refreshing, removing and serving, and whatever was not synced
// is lost, torn or back from the past, the journal with it: never a wrong byte, before the scan or after it.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	cuts := 40
	if testing.Short() || checked {
		cuts = 15
	}
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		fs := &disk.Memory{Now: time.Now}
		var total Stats
		for cut := range cuts {
			cutSeed := r.Uint64()
			s := live(t, fs, rand.New(rand.NewPCG(cutSeed, 1)))
			total.Corrupt += s.Corrupt
			total.DiskHits += s.DiskHits
			total.Hits += s.Hits
			total.DiskEvictions += s.DiskEvictions
			if t.Failed() {
				t.Fatalf("seed %d, cut %d", seed, cut)
			}
			if r.IntN(4) > 0 {
				fs = fs.Crash(cutSeed)
			}
		}
		if total.Corrupt == 0 || total.DiskHits == 0 || total.DiskEvictions == 0 {
			t.Errorf("not what was meant: %+v", total)
		}
	})
}

// live is one life of a cache: it reads what is there, works, and ends in order or not.
func live(t *testing.T, fs *disk.Memory, r *rand.Rand) Stats {
	t.Helper()
	c, err := New(Options{
		Dir: "cache", FS: fs, DiskBytes: 4 << 20, MemoryBytes: 1 << 20, OpenFiles: 10, SmallBytes: 16 << 10,
		ScrubBytesPerSecond: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	readEverything := func() {
		for i := range victimKeys {
			if err := look(c, victimKey(i)); err != nil {
				t.Error(err)
			}
		}
	}
	if r.IntN(2) == 0 {
		readEverything() // nobody knows yet what there is
	}
	stop := run(t, c)
	time.Sleep(time.Second)
	synctest.Wait()
	if !c.Stats().Scanned {
		t.Error("not everything is known")
	}
	readEverything()
	steps := r.IntN(300)
	for range steps {
		if err := step(c, r); err != nil {
			t.Error(err)
		}
		switch r.IntN(40) {
		case 0:
			time.Sleep(flushEvery)
		case 1:
			time.Sleep(snapshotEvery)
		case 2:
			fs.Sync()
		}
		if s := c.Stats(); s.DiskBytes > s.DiskLimit || s.MemoryBytes > s.MemoryLimit {
			t.Errorf("over the budget: %+v", s)
		}
	}
	stop()
	s := c.Stats()
	if r.IntN(2) == 0 {
		crash(t, c)
	} else {
		shut(t, c)
	}
	if r.IntN(4) == 0 {
		fs.Sync()
	}
	return s
}

// Whatever call of the file system fails, the journal's and the scrubber's among them, and from then on all or none: never
// a wrong byte, and the budgets hold. Once the disk works again, a start finds all that is there. Half of the calls list
// directories and are much alike, so it takes every eleventh, from another one on each time; with -rounds of 1000 all.
func TestEveryCallOfALifeFails(t *testing.T) {
	t.Parallel()
	stride := 11
	switch {
	case *rounds >= 1000:
		stride = 1
	case checked:
		stride = 41 // the race detector makes it ten times as long
	}
	first := 1 + rand.IntN(stride)
	t.Logf("from call %d on", first)
	for _, plan := range []disk.Plan{
		{Err: syscall.ENOSPC},
		{Err: syscall.EDQUOT, Short: true},
		{Err: syscall.EIO, Sticky: true},
		{Err: syscall.EMFILE, Sticky: true},
	} {
		t.Run(plan.Err.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for n := first; ; n += stride {
					memory := &disk.Memory{Now: time.Now}
					plan.At = n
					calls := lifeWithFault(t, memory, plan)
					afterwards(t, memory)
					if t.Failed() {
						t.Fatalf("with call %d failing", n)
					}
					if calls < n {
						t.Logf("%d calls", calls)
						return
					}
				}
			})
		})
	}
}

func lifeWithFault(t *testing.T, memory *disk.Memory, plan disk.Plan) (calls int) {
	t.Helper()
	fault := &disk.Fault{FS: memory}
	opts := Options{Dir: "cache", FS: fault, DiskBytes: 4 << 20, ScrubBytesPerSecond: 1 << 20}
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	scenario(t, c, 0)
	shut(t, c)
	if c, err = New(opts); err != nil {
		t.Fatal(err)
	}
	fault.Arm(plan)
	stop := run(t, c)
	scenario(t, c, 1)
	time.Sleep(3 * flushEvery)
	scenario(t, c, 2)
	time.Sleep(snapshotEvery + 3*flushEvery)
	scenario(t, c, 3)
	time.Sleep((disk.Dirs + 2) * scrubRest) // the scrubber comes to all
	scenario(t, c, 4)
	stop()
	calls = fault.Calls()
	shut(t, c)
	return calls
}

func afterwards(t *testing.T, memory *disk.Memory) {
	t.Helper()
	c, stop := scanned(t, Options{Dir: "cache", FS: memory, DiskBytes: 4 << 20, ScrubBytesPerSecond: 1 << 20})
	scenario(t, c, 1)
	stop()
	shut(t, c)
}
