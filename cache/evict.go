package cache

import (
	"log/slog"

	"weir/cache/policy"
)

// discard takes an ID out of both tiers and has its file unlinked. It tells whether there was one.
func (c *Cache) discard(id ID) bool { return c.drop(id, false) }

// drop is discard; with exists there is a file although the index may not have it.
func (c *Cache) drop(id ID, exists bool) bool {
	s := c.shard(id)
	s.mu.Lock()
	d := c.detachLocked(s, id, exists)
	s.mu.Unlock()
	c.dispose(id, d)
	return d.found
}

// detached is what was taken out of the tiers and has to be disposed of, off the lock.
type detached struct {
	hot    *Object
	unlink bool
	found  bool
}

func (c *Cache) detachLocked(s *shard, id ID, exists bool) (d detached) {
	hot, was := c.hot.Remove(id)
	d.hot, d.found = hot.Value, was
	if c.memoryOnly() {
		return d
	}
	item, had := c.index.Detach(id)
	d.found = d.found || had
	if had || exists || !c.scanned.Load() || s.claims[id] != nil {
		d.unlink = c.doomLocked(s, id, item.Cost.Bytes)
	}
	return d
}

func (c *Cache) dispose(id ID, d detached) {
	release(d.hot)
	if !d.unlink {
		return
	}
	select {
	case c.unlinks <- id:
	default:
		c.unlink(id)
	}
}

// evicted unlinks what the index evicted, unless it was stored again in the meantime, and gives its cost back.
func (c *Cache) evicted(item policy.Item[[16]byte, fileState]) {
	c.counts.diskEvictions.Add(1)
	s := c.shard(item.Key)
	s.mu.Lock()
	if _, again := c.index.Peek(item.Key); again {
		s.mu.Unlock()
		c.index.Free(item.Cost)
		return
	}
	if cl := s.claims[item.Key]; cl != nil && cl.publishing {
		cl.replaced += item.Cost.Bytes
		s.mu.Unlock()
		return
	}
	// The hot tier goes with it: its descriptor would keep the blocks.
	hot, _ := c.hot.Remove(item.Key)
	dispose := c.doomLocked(s, item.Key, item.Cost.Bytes)
	s.mu.Unlock()
	release(hot.Value)
	if dispose {
		c.unlink(item.Key)
	}
}

// doomLocked marks a file, which has taken bytes of the budget, as one to be unlinked; false if somebody else does that,
// or the directory is closed.
func (c *Cache) doomLocked(s *shard, id ID, bytes int64) bool {
	s.goneLocked(id)
	c.journal.Remove(id)
	if s.closed {
		c.strays.Store(true)
		c.index.Free(policy.Cost{Bytes: bytes})
		return false
	}
	_, already := s.doomed[id]
	s.doomed[id] += bytes
	return !already
}

// unlink removes a doomed file, unless it was replaced in the meantime, and gives back what it has taken.
func (c *Cache) unlink(id ID) {
	s := c.shard(id)
	s.mu.Lock()
	if c.custody.Load() == yielded { // Reclaim sees to it
		s.mu.Unlock()
		return
	}
	cl := s.claimLocked(id)
	_, doomed := s.doomed[id]
	s.mu.Unlock()
	if doomed {
		if err := c.store.Remove(id); err != nil {
			c.strays.Store(true) // the next start's scan finds it again
			c.log.Warn("evicted object cannot be removed", slog.Any("error", err))
		}
	}
	s.mu.Lock()
	if doomed {
		c.index.Free(policy.Cost{Bytes: s.doomed[id]})
		delete(s.doomed, id)
	}
	s.unclaimLocked(id, cl)
	s.mu.Unlock()
}

// unlinkQueued empties the worker's queue.
func (c *Cache) unlinkQueued() {
	for {
		select {
		case id := <-c.unlinks:
			c.unlink(id)
		default:
			return
		}
	}
}
