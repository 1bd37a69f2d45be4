package cache

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"weir/cache/disk"
	"weir/cache/policy"
)

// Run lists what is on disk, so that it counts against the budget, and unlinks what is evicted. It returns nil after ctx
// has ended and all that it started has, too. It may be called once; the cache serves before and without it: then
// who needs room unlinks, and every miss asks the file system.
func (c *Cache) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if !c.memoryOnly() {
		wg.Go(func() { c.scan(ctx) })
	}
	for {
		select {
		case id := <-c.unlinks:
			c.unlink(id)
		case <-c.trim:
			c.makeRoom(ctx)
		case <-ctx.Done():
			wg.Wait()
			c.unlinkQueued()
			return nil
		}
	}
}

// makeRoom evicts until the worker's part of the disk is free.
func (c *Cache) makeRoom(ctx context.Context) {
	for c.crowded() && ctx.Err() == nil {
		item, ok := c.index.Evict(false)
		if !ok {
			return
		}
		c.evicted(item)
	}
}

// scan enters the files on disk into the index, the oldest first, so that they leave first.
func (c *Cache) scan(ctx context.Context) {
	var files []disk.Entry
	err := c.store.Scan(ctx, func(e disk.Entry) { files = append(files, e) })
	if err != nil {
		if ctx.Err() == nil {
			c.log.Error("cache directory cannot be listed", slog.Any("error", err))
		}
		return
	}
	slices.SortFunc(files, func(a, b disk.Entry) int { return a.ModTime.Compare(b.ModTime) })
	for _, e := range files {
		if ctx.Err() != nil {
			return
		}
		c.enter(e)
	}
	c.scanned.Store(true)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.gone = nil
		s.mu.Unlock()
	}
	c.log.Info("cache directory is listed", slog.Int("objects", len(files)), slog.Int64("bytes", c.index.Bytes()))
}

// enter puts a listed file into the index, unless more is known of it already.
func (c *Cache) enter(e disk.Entry) {
	id := ID(e.ID)
	cost := policy.Cost{Bytes: roundBlock(e.Bytes)}
	fits := c.reserveCold(cost)
	s := c.shard(id)
	s.mu.Lock()
	_, known := c.index.Peek(id)
	_, gone := s.gone[id]
	switch {
	case known || gone || s.claims[id] != nil && s.claims[id].publishing:
		// Stored or removed since it was listed, or about to be.
		if fits {
			c.index.Free(cost)
		}
		s.mu.Unlock()
	case fits:
		state := fileState{}
		if o, ok := c.hot.Peek(id); ok {
			state = fileState{version: o.version, verified: true} // opened since it was listed
		}
		c.index.Put(id, state, cost)
		s.mu.Unlock()
	default:
		s.mu.Unlock()
		c.discard(id)
	}
}
