package cache

import (
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/disk"
	"weir/cache/policy"
)

// bulkID is the n-th ID of a shard.
func bulkID(n, shard int) (id ID) {
	id[0], id[8], id[9], id[10], id[15] = byte(n>>8), byte(n), byte(n>>8), byte(n>>16), byte(shard)
	id[1], id[2], id[3] = byte(n), byte(n>>16), byte(shard)
	return id
}

// A bulk load leaves alone what was stored or removed while the journal was read, and loads all else, once.
func TestBulkLoadLeavesWhatIsNewer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer shut(t, c)
		const shard, n = 5, 3000
		gone, publishing, opening, stored := bulkID(1, shard), bulkID(1500, shard), bulkID(1501, shard), bulkID(2999, shard)
		s := c.shard(gone)
		s.gone[gone] = struct{}{}
		s.claims[publishing], s.claims[opening] = &claim{publishing: true}, &claim{}
		c.index.Take(policy.Cost{Bytes: 8 << 10})
		c.index.Put(stored, policy.State{Version: 9, Verified: true}, policy.Cost{Bytes: 8 << 10}, policy.Stream{})
		b := newBulk(c)
		for i := range n {
			b.add(disk.Record{ID: bulkID(i, shard), Bytes: 4 << 10, Version: 3})
			b.add(disk.Record{ID: bulkID(i, i%nShards&^1), Bytes: 4 << 10, Version: 3})
		}
		b.end()
		clear(s.claims)
		for i := range n {
			id := bulkID(i, shard)
			want, there := policy.State{Version: 3}, id != gone && id != publishing
			if id == stored {
				want = policy.State{Version: 9, Verified: true}
			}
			if got, ok := c.index.Peek(id); ok != there || ok && got != want {
				t.Errorf("record %d: %+v, %v, want %+v, %v", i, got, ok, want, there)
			}
		}
		if got, want := c.index.Bytes(), int64(c.index.Len()+1)*4<<10; c.index.Len() != 2*n-2 || got != want {
			t.Errorf("%d entries take %d bytes, want %d and %d", c.index.Len(), got, 2*n-2, want)
		}
	})
}

// BenchmarkLoadIndex loads ten million objects from a journal's snapshot, reading it included; -short takes a million.
func BenchmarkLoadIndex(b *testing.B) {
	n := 10_000_000
	if testing.Short() {
		n = 1_000_000
	}
	dir := b.TempDir()
	j, err := disk.NewJournal(disk.JournalOptions{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	if err = j.Close(func(yield func(disk.Record) bool) {
		for i := range n {
			// Multiples of odd numbers are as even as hashes.
			high, low := uint64(i)*0x9e3779b97f4a7c15, uint64(i)*0xff51afd7ed558ccd
			var id ID
			for k := range 8 {
				id[k], id[8+k] = byte(high>>(8*k)), byte(low>>(56-8*k)^high>>(8*k))
			}
			if !yield(disk.Record{ID: id, Bytes: 2 << 20, Version: uint64(i), Hint: policy.HintAt(time.Unix(1_700_000_000, 0))}) {
				return
			}
		}
	}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		c, err := New(Options{Dir: b.TempDir(), DiskBytes: 1 << 50})
		if err != nil {
			b.Fatal(err)
		}
		if c.journal, err = disk.NewJournal(disk.JournalOptions{Dir: dir}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if c.loadIndex(b.Context()); c.index.Len() != n {
			b.Fatalf("%d objects, want %d", c.index.Len(), n)
		}
		b.StopTimer()
		if err = c.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/load")
}
