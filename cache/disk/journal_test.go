package disk

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// ledger is an index with a journal, and the model of it.
type ledger struct {
	t       testing.TB
	opts    JournalOptions
	journal *Journal
	records map[[16]byte]Record
	// ever has all that was ever noted, with and without the version.
	ever map[Record]bool
}

func newLedger(t testing.TB, opts JournalOptions) *ledger {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = filepath.Join(t.TempDir(), "journal")
	}
	l := &ledger{t: t, opts: opts, records: map[[16]byte]Record{}, ever: map[Record]bool{}}
	l.start()
	return l
}

func (l *ledger) start() {
	l.t.Helper()
	j, err := NewJournal(l.opts)
	if err != nil {
		l.t.Fatal(err)
	}
	l.journal = j
}

func (l *ledger) add(r Record) {
	l.records[r.ID] = r
	l.ever[r] = true
	l.journal.Add(r)
	r.Version = 0
	l.ever[r] = true
}

func (l *ledger) remove(id [16]byte) {
	delete(l.records, id)
	l.journal.Remove(id)
}

func (l *ledger) all() iter.Seq[Record] { return maps.Values(maps.Clone(l.records)) }

// load loads and demands that nothing is reported twice, nor anything that never was.
func (l *ledger) load() (map[[16]byte]Record, Loaded, error) {
	l.t.Helper()
	got := map[[16]byte]Record{}
	loaded, err := l.journal.Load(l.t.Context(), func(r Record) {
		if _, twice := got[r.ID]; twice {
			l.t.Errorf("%x is reported twice", r.ID)
		}
		got[r.ID] = r
		if !l.ever[r] {
			l.t.Errorf("%+v never was", r)
		}
	})
	if loaded.Records != len(got) {
		l.t.Errorf("Records = %d, reported %d", loaded.Records, len(got))
	}
	return got, loaded, err
}

func record(i, version int) Record {
	r := Record{Bytes: int64(i)<<20 + int64(version), Version: uint64(version)}
	binary.BigEndian.PutUint64(r.ID[:], uint64(i)*0x9e3779b97f4a7c15)
	r.Hint[3] = byte(i + version)
	return r
}

func withoutVersions(m map[[16]byte]Record) map[[16]byte]Record {
	m = maps.Clone(m)
	for id, r := range m {
		r.Version = 0
		m[id] = r
	}
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What was noted is there after a restart, whether it was in the snapshot, in a log or in both.
func TestJournalWalk(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := newLedger(t, JournalOptions{FS: &Real{NoTemp: seed%2 == 0}})
	_, _, err := l.load()
	must(t, err)
	version := 0
	for range 60 {
		for range r.IntN(3 * blockRecords) {
			version++
			if i := r.IntN(5000); r.IntN(3) == 0 {
				l.remove(record(i, 0).ID)
			} else {
				l.add(record(i, version))
			}
		}
		flushed := maps.Clone(l.records)
		clean := false
		switch r.IntN(5) {
		case 0:
			must(t, l.journal.Snapshot(l.all()))
			continue
		case 1:
			must(t, l.journal.Flush())
			continue
		case 2: // a crash
			must(t, l.journal.Flush())
			l.journal.Add(record(6000, 1)) // does not get there
			_ = l.journal.log.file.Close()
		case 3:
			must(t, l.journal.Close(nil))
		case 4:
			must(t, l.journal.Close(l.all()))
			clean = true
		}
		l.start()
		got, loaded, err := l.load()
		must(t, err)
		want := flushed
		if !clean {
			want = withoutVersions(want)
		}
		if loaded.Clean != clean || loaded.Damaged != nil || !maps.Equal(got, want) {
			t.Fatalf("seed %d: clean %v, damaged %v, %d records; want clean %v, %d", seed, loaded.Clean, loaded.Damaged, len(got), clean, len(want))
		}
		for _, id := range loaded.Removed {
			if _, there := want[id]; there {
				t.Fatalf("seed %d: %x is removed and there", seed, id)
			}
		}
	}
}

// What changes while a snapshot is being taken is kept, whichever of the two sees it.
func TestJournalSnapshotUnderChange(t *testing.T) {
	t.Parallel()
	l := newLedger(t, JournalOptions{})
	for i := range 1000 {
		l.add(record(i, 1))
	}
	must(t, l.journal.Snapshot(func(yield func(Record) bool) {
		for _, r := range slices.Collect(l.all()) {
			if !yield(r) { // some are outdated by the time they come
				return
			}
			l.remove(record(int(r.Bytes>>20)^1, 0).ID)
			l.add(record(int(r.Bytes>>20), 2))
			l.add(record(2000+int(r.Bytes>>20), 1))
		}
	}))
	must(t, l.journal.Flush())
	want := withoutVersions(l.records)
	l.start()
	if got, loaded, err := l.load(); err != nil || loaded.Clean || !maps.Equal(got, want) {
		t.Errorf("%d records, %+v, %v; want %d", len(got), loaded.Damaged, err, len(want))
	}
}

func TestJournalOrder(t *testing.T) {
	t.Parallel()
	l := newLedger(t, JournalOptions{})
	for i := range 10 {
		l.add(record(i, 1))
	}
	must(t, l.journal.Snapshot(func(yield func(Record) bool) {
		for i := range 10 {
			yield(record(i, 1))
		}
	}))
	l.add(record(3, 2))
	l.add(record(0, 2))
	must(t, l.journal.Close(nil))
	l.start()
	var got []int64
	_, err := l.journal.Load(t.Context(), func(r Record) { got = append(got, r.Bytes>>20) })
	if want := []int64{1, 2, 4, 5, 6, 7, 8, 9, 3, 0}; err != nil || !slices.Equal(got, want) {
		t.Errorf("order %v, %v; want %v", got, err, want)
	}
}

// Of a journal with a flipped bit or a cut, anywhere, what is before it is used and nothing is made up; that something is
// missing is known.
func TestJournalEveryByteIsChecked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{snapshotPrefix, logPrefix} {
		l := newLedger(t, JournalOptions{})
		for i := range 5 {
			l.add(record(i, 1))
		}
		must(t, l.journal.Flush())
		l.remove(record(2, 1).ID)
		l.add(record(3, 2))
		if name == snapshotPrefix {
			must(t, l.journal.Close(l.all()))
		} else {
			must(t, l.journal.Close(nil))
		}
		files, err := filepath.Glob(filepath.Join(l.opts.Dir, name+"*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		whole, err := os.ReadFile(files[0])
		must(t, err)
		try := func(what string, b []byte, wantClean bool) {
			must(t, os.RemoveAll(l.opts.Dir))
			must(t, os.MkdirAll(l.opts.Dir, 0o700))
			must(t, os.WriteFile(files[0], b, 0o600))
			l.start()
			got, loaded, err := l.load()
			if err != nil || loaded.Clean != wantClean || len(got) > 5 {
				t.Errorf("%s %s: %d records, %+v, %v", name, what, len(got), loaded, err)
			}
			if flipped := !wantClean && len(b) == len(whole); flipped && loaded.Damaged == nil {
				t.Errorf("%s %s: the damage is not seen", name, what)
			}
			must(t, l.journal.Close(nil))
		}
		if name == snapshotPrefix {
			try("whole", whole, true)
		}
		for i := range whole {
			b := slices.Clone(whole)
			b[i] ^= 1 << (i % 8)
			try(fmt.Sprintf("bit of byte %d", i), b, false)
			try(fmt.Sprintf("cut to %d", i), whole[:i], false)
		}
	}
}

// A block that stands in the wrong place, or comes from another file, is not taken.
func TestJournalBlocksHaveTheirPlace(t *testing.T) {
	t.Parallel()
	b := make([]byte, blockHead)
	r := record(1, 1)
	b = appendRecord(b, kindAdd, &r)
	sealBlock(b, 7, 3)
	if _, ok := openBlock(b, 7, 3); !ok {
		t.Error("the block is not good")
	}
	for _, at := range [][2]uint64{{7, 4}, {8, 3}, {0, 0}} {
		if _, ok := openBlock(b, at[0], at[1]); ok {
			t.Errorf("it is good as block %d of %d", at[1], at[0])
		}
	}
	if _, ok := openBlock(make([]byte, 100), 0, 0); ok {
		t.Error("a hole is good")
	}
}

// Whatever call fails, and from then on all or none: nothing is reported that never was, nothing is called clean that is
// not, and once the disk works again a snapshot makes everything good.
func TestJournalEveryCallFails(t *testing.T) {
	t.Parallel()
	for i, plan := range []Plan{
		{Err: syscall.ENOSPC},
		{Err: syscall.EIO, Sticky: true},
		{Err: syscall.ENOSPC, Short: true},
		{Err: syscall.EMFILE, Sticky: true},
	} {
		for n := 1; ; n++ {
			fault := &Fault{FS: &Real{NoTemp: i%2 == 1}}
			l := newLedger(t, JournalOptions{FS: fault})
			l.add(record(1, 1))
			must(t, l.journal.Close(l.all()))
			plan.At = n
			fault.Arm(plan)
			failed := script(l)
			calls := fault.Calls()
			fault.Arm(Plan{})
			if failed && calls < n {
				t.Errorf("an error without one, after %d calls", calls)
			}
			checkAfterFault(t, l, n, failed, plan.Sticky)
			if calls < n {
				t.Logf("%d calls", calls)
				break
			}
		}
	}
}

// script uses every method and tells whether one failed.
func script(l *ledger) (failed bool) {
	try := func(err error) { failed = failed || err != nil }
	j, err := NewJournal(l.opts)
	if err != nil {
		return true
	}
	l.journal = j
	_, loaded, err := l.load()
	try(err)
	try(loaded.Damaged)
	for i := range 1400 {
		l.add(record(i, 2))
	}
	try(j.Flush())
	try(j.Snapshot(l.all()))
	l.remove(record(5, 2).ID)
	try(j.Flush())
	try(j.Snapshot(l.all()))
	l.add(record(6, 3))
	try(j.Close(l.all()))
	return failed
}

func checkAfterFault(t *testing.T, l *ledger, n int, failed, sticky bool) {
	t.Helper()
	l.start()
	got, loaded, err := l.load()
	if err != nil {
		t.Errorf("call %d: %v", n, err)
	}
	// A disk that fails from the start on cannot be told that the end was clean no longer.
	untouched := sticky && len(got) == 1
	if loaded.Clean && !maps.Equal(got, l.records) && !untouched || !failed && !loaded.Clean {
		t.Errorf("call %d: clean %v with %d records of %d", n, loaded.Clean, len(got), len(l.records))
	}
	must(t, l.journal.Snapshot(l.all()))
	l.add(record(7, 4))
	must(t, l.journal.Close(nil))
	l.start()
	if got, loaded, err = l.load(); err != nil || loaded.Damaged != nil || !maps.Equal(got, withoutVersions(l.records)) {
		t.Errorf("call %d: %d records, %v, %v after a snapshot, want %d", n, len(got), loaded.Damaged, err, len(l.records))
	}
	must(t, l.journal.Close(nil))
	if list, err := os.ReadDir(l.opts.Dir); err != nil || len(list) > 4 {
		t.Errorf("call %d: left over: %v", n, list)
	}
}

// The buffer and the log are bounded; what is lost makes a snapshot due.
func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	l := newLedger(t, JournalOptions{LogBytes: 1 << 20})
	_, _, err := l.load()
	must(t, err)
	for i := range 2 * maxPending / recordSize {
		l.journal.Add(record(i, 1))
	}
	if n := len(l.journal.pending); n > maxPending || !l.journal.Due() {
		t.Errorf("%d bytes pending, due %v", n, l.journal.Due())
	}
	must(t, l.journal.Flush())
	if err := l.journal.Snapshot(l.all()); err != nil || l.journal.log.off > 5<<20 {
		t.Errorf("log of %d bytes, %v", l.journal.log.off, err)
	}
	l.journal.Add(record(1, 1))
	if err := l.journal.Flush(); err == nil || !l.journal.Due() {
		t.Error("the log has no end")
	}
	must(t, l.journal.Snapshot(l.all()))
	if l.journal.Due() || l.journal.log.off != headerSize {
		t.Errorf("after a snapshot: due %v, log of %d bytes", l.journal.Due(), l.journal.log.off)
	}
	must(t, l.journal.Close(nil))
}

func TestJournalConcurrency(t *testing.T) {
	t.Parallel()
	l := newLedger(t, JournalOptions{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				l.journal.Add(record(w*1000+i, 1))
				if i%10 == 0 {
					l.journal.Want()
				}
			}
		})
	}
	for range 20 {
		must(t, l.journal.Flush())
		l.journal.Due()
	}
	wg.Wait()
	must(t, l.journal.Close(nil))
	l.start()
	n := 0
	_, err := l.journal.Load(t.Context(), func(Record) { n++ })
	if err != nil || n != 4000 {
		t.Errorf("%d records, %v, want 4000", n, err)
	}
	must(t, l.journal.Close(nil))
}

// FuzzJournal gives the reader arbitrary files, and arbitrary records in files with good checksums: it must not panic, nor
// report more than there is room for, and what it takes for a record is encoded to the same again.
func FuzzJournal(f *testing.F) {
	l := newLedger(f, JournalOptions{})
	for i := range 3 {
		l.add(record(i, 1))
	}
	records := slices.Clone(l.journal.pending)
	must(f, l.journal.Flush())
	log, err := os.ReadFile(l.journal.path(logPrefix, 1))
	must(f, err)
	must(f, l.journal.Close(l.all()))
	snapshot, err := os.ReadFile(l.journal.path(snapshotPrefix, 2))
	must(f, err)
	f.Add(log, snapshot, false)
	f.Add(log, log, false)
	f.Add([]byte{}, snapshot[:40], false)
	f.Add(records, records[:recordSize], true)
	f.Fuzz(func(t *testing.T, log, snapshot []byte, seal bool) {
		if seal {
			log, snapshot = sealed(log, 0), append(sealed(snapshot, flagSnapshot), sealed(nil, 0)[headerSize:]...)
		}
		m := &Memory{}
		must(t, m.MkdirAll("j"))
		for name, b := range map[string][]byte{"log-0000000000000001": log, "snapshot-0000000000000001": snapshot} {
			file, err := m.Create("j")
			must(t, err)
			_, err = file.WriteAt(b, 0)
			must(t, err)
			must(t, m.Publish(file, filepath.Join("j", name)))
		}
		j, err := NewJournal(JournalOptions{Dir: "j", FS: m})
		must(t, err)
		n := 0
		loaded, err := j.Load(t.Context(), func(r Record) {
			n++
			var back Record
			if kind := parseRecord(appendRecord(nil, kindAdd, &r), &back); back != r || kind != kindAdd || r.Bytes < 0 {
				t.Errorf("%+v is not stable", r)
			}
		})
		if err != nil || loaded.Clean || n+len(loaded.Removed) > (len(log)+len(snapshot))/recordSize {
			t.Errorf("%d records of %d bytes, clean %v, %v", n, len(log)+len(snapshot), loaded.Clean, err)
		}
		must(t, j.Close(nil))
	})
}

// sealed returns a file of generation 1 with one block of whole records.
func sealed(records []byte, flags uint32) []byte {
	n := min(len(records)/recordSize, blockRecords)
	block := append(make([]byte, blockHead), records[:n*recordSize]...)
	sealBlock(block, 1, 0)
	return append(header{flags: flags, generation: 1}.append(nil), block...)
}

// BenchmarkJournalLoad loads ten million objects from a snapshot.
func BenchmarkJournalLoad(b *testing.B) {
	const n = 10_000_000
	dir := b.TempDir()
	opts := JournalOptions{Dir: dir}
	j, err := NewJournal(opts)
	must(b, err)
	must(b, j.Close(func(yield func(Record) bool) {
		for i := range n {
			if !yield(record(i, 1)) {
				return
			}
		}
	}))
	info, err := os.Stat(j.path(snapshotPrefix, 2))
	must(b, err)
	for b.Loop() {
		j, err := NewJournal(opts)
		must(b, err)
		sum := int64(0)
		loaded, err := j.Load(b.Context(), func(r Record) { sum += r.Bytes })
		if err != nil || loaded.Records != n || sum == 0 {
			b.Fatal(loaded, err)
		}
		must(b, j.Close(nil))
	}
	b.ReportMetric(float64(info.Size())/n, "bytes/record")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/n*1e9, "ns/record")
}
