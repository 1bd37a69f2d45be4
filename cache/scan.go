package cache

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"weir/cache/disk"
	"weir/cache/policy"
)

// scanRetry is how long a scan that could not read a directory waits for the next.
const scanRetry = time.Minute

// scan compares the directories with the index after an end that was not clean. It takes half of a processor at most: it
// rests as long as it works. false means that there is something it could not read, or that ctx has ended.
func (c *Cache) scan(ctx context.Context) bool {
	expected := c.expected()
	var unknown []disk.Entry
	whole := true
	for dir := range disk.Dirs {
		began := time.Now()
		list, err := c.store.List(byte(dir))
		if err != nil {
			c.log.Error("cache directory cannot be listed", slog.Any("error", err))
			whole = false
			continue
		}
		unknown = append(unknown, c.compare(expected[dir], list)...)
		expected[dir] = nil
		if !pause(ctx, time.Since(began)) {
			return false
		}
	}
	// The oldest first, so that they leave first.
	slices.SortFunc(unknown, func(a, b disk.Entry) int { return a.ModTime.Compare(b.ModTime) })
	for _, e := range unknown {
		if ctx.Err() != nil {
			return false
		}
		c.found(e)
	}
	c.journal.Want() // what the scan has found is not in the log
	c.log.Info("cache directory is listed", slog.Int("unknown", len(unknown)), slog.Int("objects", c.index.Len()),
		slog.Int64("bytes", c.index.Bytes()))
	return whole
}

// listed lets misses trust the index: it has all there is.
func (c *Cache) listed() {
	c.scanned.Store(true)
	c.watch(false)
}

// watch says whether shards note what is removed, for who lists files.
func (c *Cache) watch(on bool) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.gone = nil
		if on {
			s.gone = map[ID]struct{}{}
		}
		s.mu.Unlock()
	}
}

// expected returns what the index has by hearsay only, by directory.
func (c *Cache) expected() *[disk.Dirs][]ID {
	var all [disk.Dirs][]ID
	for r := range c.records() {
		if state, ok := c.index.Peek(r.ID); ok && !state.Verified {
			all[r.ID[0]] = append(all[r.ID[0]], r.ID)
		}
	}
	return &all
}

// compare corrects the index by a directory's list and returns what it does not know.
func (c *Cache) compare(expected []ID, list []disk.Entry) (unknown []disk.Entry) {
	missing := make(map[ID]bool, len(expected))
	for _, id := range expected {
		missing[id] = true
	}
	for _, e := range list {
		if _, known := c.index.Peek(e.ID); !known {
			unknown = append(unknown, e)
		} else if missing[e.ID] {
			c.recount(e.ID, roundBlock(e.Bytes))
		}
		delete(missing, e.ID)
	}
	for id := range missing {
		c.lost(id)
	}
	return unknown
}

// recount changes what the index counts for a file that nobody has opened yet: a head was appended, or it was replaced, and
// the journal has not heard of it.
func (c *Cache) recount(id ID, bytes int64) {
	by := bytes - c.bytesOf(id)
	if by == 0 {
		return
	}
	if by > 0 && !c.reserveCold(policy.Cost{Bytes: by}) {
		c.discard(id)
		return
	}
	s := c.shard(id)
	s.mu.Lock()
	state, known := c.index.Peek(id)
	done := known && !state.Verified && c.bytesOf(id)+by == bytes
	if done {
		_, done = c.index.Update(id, state, policy.Cost{Bytes: by})
	}
	s.mu.Unlock()
	if done == (by < 0) {
		c.index.Free(policy.Cost{Bytes: max(by, -by)})
	}
}

// lost takes out of the index what is not on disk.
func (c *Cache) lost(id ID) {
	s := c.shard(id)
	s.mu.Lock()
	var d detached
	if state, known := c.index.Peek(id); known && !state.Verified && s.claims[id] == nil {
		d = c.detachLocked(s, id, false)
	}
	s.mu.Unlock()
	c.dispose(id, d)
}

// found puts a listed file into the index.
func (c *Cache) found(e disk.Entry) {
	c.loadRecord(disk.Record{ID: e.ID, Bytes: roundBlock(e.Bytes), Hint: policy.HintAt(e.ModTime)})
}

// pause waits for d; false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
