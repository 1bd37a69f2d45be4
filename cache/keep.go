package cache

import (
	"weir/cache/disk"
	"weir/cache/policy"
)

// keep stores a complete Object at the end of its fill. If that cannot be, the older one that it supersedes goes as well,
// so that nobody gets an older response after a newer one; the caller goes on either way.
func (c *Cache) keep(f *Fill, o *Object) {
	ok := false
	switch {
	case f.sink.unstored:
	case c.memoryOnly():
		ok = c.keepInMemory(f, o)
	default:
		ok = c.keepOnDisk(f, o)
	}
	c.kept(f, o, ok)
}

// kept counts, and drops what o supersedes if o could not be stored.
func (c *Cache) kept(f *Fill, o *Object, ok bool) {
	if ok {
		c.counts.stored.Add(1)
		return
	}
	c.counts.unstored.Add(1)
	if !f.detached.Load() && c.older(o) {
		c.discard(o.key.ID)
	}
}

// older tells whether what is stored under o's key may be older than o. On disk it says so of a newer one, too: versions
// are known there only in brief.
func (c *Cache) older(o *Object) bool {
	if c.memoryOnly() {
		now, ok := c.hot.Peek(o.key.ID)
		return ok && now.version < o.version
	}
	state, known := c.index.Peek(o.key.ID)
	return known && state.Version != policy.Brief(o.version) || !known && !c.scanned.Load()
}

func (c *Cache) keepInMemory(f *Fill, o *Object) bool {
	cost := c.hotCost(o)
	held := f.sink.hot
	f.sink.hot = 0
	if !c.adjust(held, cost) {
		return false
	}
	s := c.shard(o.key.ID)
	s.mu.Lock()
	if f.detached.Load() || s.closed {
		s.mu.Unlock()
		c.hot.Free(cost)
		return false
	}
	old := c.putHot(o, cost)
	s.mu.Unlock()
	release(old)
	return true
}

// keepOnDisk publishes the file, then puts the Object into both tiers.
func (c *Cache) keepOnDisk(f *Fill, o *Object) bool {
	sk := f.sink
	meta := c.encode(o)
	p := publication{obj: o, size: roundBlock(disk.FileBytes(sk.off, len(meta)))}
	p.write = func() (int64, error) {
		if sk.writer != nil {
			return sk.writer.Commit(meta)
		}
		return c.writeSmall(o, meta)
	}
	held := sk.cold
	sk.cold = 0
	if held == 0 && !c.admits(o.key.ID, o.stream, p.size) {
		return false
	}
	if !c.adjustCold(held, p.size) {
		return false
	}
	if err := c.publish(f, p); err != nil {
		c.diskFailed(err)
		return false
	}
	held, sk.hot = sk.hot, 0
	c.warm(o, held)
	return true
}

// keepRefreshed stores an Object that shares the body of a stored one.
func (c *Cache) keepRefreshed(f *Fill, stale, o *Object) {
	var ok bool
	if c.memoryOnly() {
		ok = c.replaceInMemory(f, stale, o)
	} else {
		ok = c.replaceOnDisk(f, stale, o)
	}
	if ok {
		c.counts.refreshed.Add(1)
	}
	c.kept(f, o, ok)
}

func (c *Cache) replaceOnDisk(f *Fill, stale, o *Object) bool {
	meta := c.encode(o)
	p := publication{obj: o, write: func() (int64, error) { return c.writeSmall(o, meta) }}
	if o.body.mem.Load() != nil {
		p.size = roundBlock(disk.FileBytes(o.Size(), len(meta)))
	} else {
		p.after = stale.version
		p.added = disk.FileBytes(o.Size(), len(meta)) - o.Size()
		p.size = roundBlock(p.added)
		p.write = func() (int64, error) { return c.store.Append(o.key.ID, meta) }
	}
	if !c.reserveCold(policy.Cost{Bytes: p.size}) {
		return false
	}
	if err := c.publish(f, p); err != nil {
		c.diskFailed(err)
		return false
	}
	c.warm(o, 0)
	return true
}

// replaceInMemory puts o in the place of the Object whose body it shares.
func (c *Cache) replaceInMemory(f *Fill, stale, o *Object) bool {
	extra := policy.Cost{Bytes: max(0, c.hotCost(o).Bytes-c.hotCost(stale).Bytes)}
	if !c.reserveHot(extra) {
		return false
	}
	s := c.shard(o.key.ID)
	s.mu.Lock()
	now, ok := c.hot.Peek(o.key.ID)
	ok = ok && now == stale && !f.detached.Load() && !s.closed
	if ok {
		// For the tier. It may have evicted the stale one since the look above.
		o.Retain()
		now, ok = c.hot.Update(o.key.ID, o, extra)
		if !ok {
			now = o
		}
	}
	s.mu.Unlock()
	if !ok {
		c.hot.Free(extra)
	}
	if now != nil && (ok || now == o) {
		now.Release()
	}
	return ok
}
