package cache

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"weir/cache/disk"
	"weir/cache/policy"
)

const (
	// flushEvery is how long a change waits for the journal: what a crash takes with it, and what the scan after it finds
	// again.
	flushEvery = time.Second
	// snapshotEvery is how often the journal begins anew even if little changes, so that the hints in it, which have no
	// record of their own, are not older. Ten million objects are 480 MB: 1.6 MB/s.
	snapshotEvery = 5 * time.Minute
	// snapshotRetry is how long a snapshot waits after one that could not be written, most likely for want of room.
	snapshotRetry = time.Minute
	// logPart is the part of the disk's budget from which on the journal's log is worth a snapshot, if that is less than
	// disk.DefaultLogBytes.
	logPart = 64
)

// records returns what the index has.
func (c *Cache) records() iter.Seq[disk.Record] {
	return func(yield func(disk.Record) bool) {
		for r := range c.index.All() {
			if !yield(disk.Record(r)) {
				return
			}
		}
	}
}

// bytesOf returns what the index counts for a file, 0 if it does not know it.
func (c *Cache) bytesOf(id ID) int64 {
	r, _ := c.index.Record(id)
	return r.Bytes
}

// loadRecord puts a file into the index, unless more is known of it already.
func (c *Cache) loadRecord(r disk.Record) {
	id := ID(r.ID)
	cost := policy.Cost{Bytes: r.Bytes}
	fits := c.reserveCold(cost)
	s := c.shard(id)
	s.mu.Lock()
	_, known := c.index.Peek(id)
	_, gone := s.gone[id]
	switch {
	case known || gone || s.claims[id] != nil && s.claims[id].publishing:
		// Stored or removed since it was noted or listed, or about to be.
		if fits {
			c.index.Free(cost)
		}
		s.mu.Unlock()
	case fits:
		r.Version = policy.Brief(r.Version)
		verified := false
		if o, ok := c.hot.Peek(id); ok {
			r.Version, verified = policy.Brief(o.version), true // opened since
		}
		c.index.PutRecord(policy.Record(r), verified)
		s.mu.Unlock()
	default:
		s.mu.Unlock()
		c.discard(id)
	}
}

// noteAdd tells the journal what the index has got. It is called under the shard's lock, so that the journal has the
// changes of one ID in their order.
func (c *Cache) noteAdd(id ID, version uint64, bytes int64) {
	r, _ := c.index.Record(id)
	c.journal.Add(disk.Record{ID: id, Bytes: roundBlock(bytes), Version: policy.Brief(version), Hint: r.Hint})
}

// loadIndex reads the journal into the index. It tells whether that is all there is on disk.
func (c *Cache) loadIndex(ctx context.Context) (clean bool) {
	began := time.Now()
	c.index.Grow(c.journal.Expect())
	b := newBulk(c)
	loaded, err := c.journal.Load(ctx, b.add)
	b.end()
	if ctx.Err() != nil {
		return false
	}
	c.loaded = true
	for _, id := range loaded.Removed {
		if _, known := c.index.Peek(id); !known && ctx.Err() == nil {
			c.discard(id) // its file may still have been waiting to be unlinked
		}
	}
	if err = errors.Join(err, loaded.Damaged); err != nil {
		c.log.Warn("cache journal is not whole: the directories are listed", slog.Any("error", err))
	}
	c.log.Info("cache journal is loaded", slog.Int("objects", loaded.Records), slog.Bool("clean", loaded.Clean),
		slog.Duration("took", time.Since(began)))
	return loaded.Clean
}

// keepJournal writes to the journal what changes, until ctx ends.
func (c *Cache) keepJournal(ctx context.Context) {
	ticker := time.NewTicker(c.flushEvery)
	defer ticker.Stop()
	began := time.Now()
	next, earliest := began.Add(c.snapshotEvery), began
	failing := false
	for ctx.Err() == nil {
		var now time.Time
		select {
		case now = <-ticker.C:
			if c.custody.Load() == yielded {
				continue
			}
		case o := <-c.orders:
			c.obey(o)
			continue
		case <-ctx.Done():
			return
		}
		err := c.journal.Flush()
		if (c.journal.Due() || !now.Before(next)) && !now.Before(earliest) {
			if err = c.journal.Snapshot(c.records()); err != nil {
				earliest = now.Add(snapshotRetry)
			} else {
				next = now.Add(c.snapshotEvery)
			}
		}
		if err != nil && !failing {
			c.log.Warn("cache journal cannot be written", slog.Any("error", err))
		}
		failing = err != nil
	}
}

// closeJournal leaves the journal as the next start is to find it.
func (c *Cache) closeJournal() {
	var complete iter.Seq[disk.Record]
	if c.loaded && c.scanned.Load() && !c.strays.Load() {
		complete = c.records()
	}
	if err := c.journal.Close(complete); err != nil {
		c.log.Warn("cache journal cannot be closed", slog.Any("error", err))
	}
}
