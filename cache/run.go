package cache

import (
	"context"
	"sync"
)

// Run learns from the journal what is on disk, so that it counts against the budget, lists the directories if the last end
// was not clean, keeps the journal, checks stored bodies, and unlinks what is evicted. It returns nil after ctx has ended and
// all that it started has, too. It may be called once; the cache serves before and without it: then who needs room unlinks,
// and every miss asks the file system.
func (c *Cache) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if !c.memoryOnly() {
		wg.Go(func() { c.mindDisk(ctx) })
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

// makeRoom evicts until the worker's part of the disk is free. If the disk was full before the budget was, as something
// else takes room there, it evicts that part once: the next fill that finds no room asks for more.
func (c *Cache) makeRoom(ctx context.Context) {
	excess := int64(0)
	if c.full.Swap(false) {
		excess = max(minRelief, c.index.Bytes()/slackPart)
	}
	for (c.crowded() || excess > 0) && ctx.Err() == nil && c.custody.Load() == ours {
		item, ok := c.index.Evict()
		if !ok {
			return
		}
		c.evicted(item)
		excess -= item.Cost.Bytes
	}
}

// mindDisk gets to know what is on disk, then looks after it.
func (c *Cache) mindDisk(ctx context.Context) {
	clean := c.loadIndex(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for !clean && !c.scan(ctx) {
			if !pause(ctx, scanRetry) {
				return
			}
		}
		c.listed()
		c.scrub(ctx)
	})
	c.keepJournal(ctx)
	wg.Wait()
}
