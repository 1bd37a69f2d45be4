package tag

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"weir/tools/proof"
)

// machine is one whose clock is set to and fro.
type machine struct {
	began  time.Time
	passed time.Duration // really
	off    time.Duration // by which its clock is wrong
}

func (m *machine) now() time.Time { return proof.Stepped(m.began.Add(m.passed), m.off) }

// TestClockSetToAndFro: with a clock that is set by up to a day each 10 seconds, and a process that ends and starts again
// now and then, what was fetched before a purge is purged for good, and nothing else ever is.
func TestClockSetToAndFro(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	m := &machine{began: time.Now()}
	o := Options{File: filepath.Join(t.TempDir(), "purges")}
	open := func() *Table {
		t.Helper()
		table, err := New(o, m.now())
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	table := open()
	type object struct {
		url     string
		tags    []uint64
		fetched time.Time
		purged  bool
	}
	var objects []object
	for step := range 1000 {
		m.passed += 10 * time.Second
		m.off = time.Duration(random.IntN(3)-1) * 24 * time.Hour
		name := fmt.Sprint("v/", random.IntN(20))
		switch random.IntN(12) {
		case 0:
			if err := table.Close(); err != nil {
				t.Fatal(err)
			}
			table = open()
		case 1, 2, 3:
			p := Purge{Kind: URL, Items: []string{name}, Time: table.Stamp(m.now())}
			switch random.IntN(8) {
			case 0:
				p.Kind, p.Items = All, nil
			case 1, 2:
				p.Kind, p.Items = Tag, []string{"odd"}
			case 3:
				table.journal.torn = true // so that the file is written anew
			}
			if err := table.Invalidate(p); err != nil {
				t.Fatal(err)
			}
			for i := range objects {
				o := &objects[i]
				o.purged = o.purged || p.Kind == All || p.Kind == Tag && o.tags != nil || p.Kind == URL && o.url == name
			}
		default:
			o := object{url: name, fetched: table.Fetch(m.now())}
			if step%2 == 1 {
				o.tags = Set([]string{"odd"})
			}
			objects = append(objects, o)
		}
		for i, o := range objects {
			if got := table.Check(o.url, o.tags, o.fetched, m.now()).Hard; got != o.purged {
				t.Fatalf("seed %d, step %d: object %d of %d, fetched at %v: purged %v, want %v", seed, step, i, len(objects), o.fetched, got, o.purged)
			}
		}
	}
	_ = table.Close()
}

// TestSoftPurgesAreOfTheProcessesClock: ages are counted by that.
func TestSoftPurgesAreOfTheProcessesClock(t *testing.T) {
	t.Parallel()
	m := &machine{began: time.Now(), off: 24 * time.Hour}
	table, err := New(Options{}, m.now())
	if err != nil {
		t.Fatal(err)
	}
	fetched := table.Fetch(m.now())
	m.passed, m.off = time.Minute, 0
	apply(t, table, Purge{Kind: All, Soft: true, Time: table.Stamp(m.now())})
	if got := table.Check("a", nil, fetched, m.now()).Soft; got.Sub(m.now()) != 0 {
		t.Errorf("a response is stale since %v, want %v", got, m.now())
	}
}

// TestTwoProcessesWithTwoClocks: that of a process that takes over is ahead of the one before; neither loses a purge of
// the other, nor takes one for later than it was by more than a lease.
func TestTwoProcessesWithTwoClocks(t *testing.T) {
	t.Parallel()
	m := &machine{began: time.Now()}
	file := filepath.Join(t.TempDir(), "purges")
	open := func(shared bool) *Table {
		t.Helper()
		table, err := New(Options{File: file, Shared: shared}, m.now())
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	purge := func(table *Table, url string) {
		t.Helper()
		apply(t, table, Purge{Kind: URL, Items: []string{url}, Time: table.Stamp(m.now())})
	}
	purged := func(table *Table, url string, fetched time.Time) bool {
		return table.Check(url, nil, fetched, m.now()).Hard
	}
	before := open(false)
	before.Fetch(m.now())
	m.passed += time.Second
	after := open(true)
	before.Share(func() error { return after.Follow(m.now()) })
	early := after.Fetch(m.now())
	m.passed += time.Second
	purge(before, "a")
	m.passed += time.Second
	late := after.Fetch(m.now())
	check := func(when string, table *Table) {
		t.Helper()
		if !purged(table, "a", early) || purged(table, "a", late) || purged(table, "b", early) {
			t.Errorf("%s: fetched before the purge: %v, after it: %v, another: %v; want it to cover the first alone",
				when, purged(table, "a", early), purged(table, "a", late), purged(table, "b", early))
		}
	}
	check("in the new process", after)
	if err := after.Follow(m.now()); err != nil { // what it has dated itself is no news
		t.Fatal(err)
	}
	check("after it looked again", after)
	third := open(true)
	check("after a restart", third)
	_ = third.Close()

	// It ends early, and the one before has what it fetched.
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	m.passed += time.Second
	if err := before.Own(m.now()); err != nil {
		t.Fatal(err)
	}
	if !purged(before, "a", early) || purged(before, "b", late) {
		t.Error("taken back: what the purge names is not purged, or more is")
	}
	purge(before, "a")
	for range 3 {
		if !purged(before, "a", late) {
			t.Errorf("%v later: what the other process fetched is back", m.passed)
		}
		m.passed += lease / 2
	}
	m.passed += lease
	if again := before.Fetch(m.now()); purged(before, "a", again) {
		t.Error("what is fetched a lease later is purged")
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
}
