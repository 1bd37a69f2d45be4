package cache

import (
	"sync"

	"weir/cache/disk"
	"weir/cache/policy"
)

const (
	// bulkRecords is how many records of one shard enter the index at once: 48 KiB, so that a lock is held for a tenth of
	// a millisecond.
	bulkRecords = 1 << 10
	// bulkWorkers enter records while the journal is read. More would take from the first requests.
	bulkWorkers = 2
)

// bulk loads the index from the journal, shard by shard: one goroutine reads and sorts, others enter.
type bulk struct {
	cache  *Cache
	groups [nShards][]policy.Record
	full   chan []policy.Record // of one shard each
	empty  sync.Pool            // of *[]policy.Record
	wg     sync.WaitGroup
}

// newBulk starts what enters records; end ends it.
func newBulk(c *Cache) *bulk {
	b := &bulk{cache: c, full: make(chan []policy.Record, bulkWorkers)}
	for range bulkWorkers {
		b.wg.Go(func() {
			for group := range b.full {
				c.loadGroup(group)
				group = group[:0]
				b.empty.Put(&group)
			}
		})
	}
	return b
}

// add takes one record.
func (b *bulk) add(r disk.Record) {
	r.Version = policy.Brief(r.Version)
	group := &b.groups[ID(r.ID).spread()%nShards]
	if *group == nil {
		*group = b.room()
	}
	if *group = append(*group, policy.Record(r)); len(*group) == bulkRecords {
		b.full <- *group
		*group = nil
	}
}

func (b *bulk) room() []policy.Record {
	if used, ok := b.empty.Get().(*[]policy.Record); ok {
		return *used
	}
	return make([]policy.Record, 0, bulkRecords)
}

// end enters what is left and returns when all has been.
func (b *bulk) end() {
	for _, group := range b.groups {
		if len(group) > 0 {
			b.full <- group
		}
	}
	close(b.full)
	b.wg.Wait()
}

// loadGroup puts files of one shard into the index. What asks for more than that, as somebody uses it already or there
// is no room, it leaves to loadRecord.
func (c *Cache) loadGroup(group []policy.Record) {
	s := c.shard(ID(group[0].ID))
	s.mu.Lock()
	plain := group
	if len(s.gone) > 0 || len(s.claims) > 0 || c.hot.Len() > 0 {
		plain = c.plainLocked(s, group)
	}
	left := c.index.Load(plain)
	s.mu.Unlock()
	for _, r := range left {
		c.loadRecord(disk.Record(r))
	}
	for _, r := range group[len(plain):] {
		c.loadRecord(disk.Record(r))
	}
	if c.crowded() {
		c.wakeWorker()
	}
}

// plainLocked moves the records that nobody uses to the front of a group and returns them.
func (c *Cache) plainLocked(s *shard, group []policy.Record) []policy.Record {
	n := 0
	for i := range group {
		id := ID(group[i].ID)
		_, gone := s.gone[id]
		_, hot := c.hot.Peek(id)
		if gone || hot || s.claims[id] != nil {
			continue
		}
		group[i], group[n] = group[n], group[i]
		n++
	}
	return group[:n]
}
