package cache

import (
	"errors"
	"log/slog"
	"syscall"

	"weir/cache/disk"
	"weir/cache/policy"
)

// fileState is what the index knows of a file. Its Version is the brief one of the stored object, 0 if the file has not
// been opened since it was listed; Verified tells that the body was checked, or written, by this process. The file's length
// is the entry's cost.
type fileState = policy.State

// reserveHot reserves in the hot tier and releases what had to go.
func (c *Cache) reserveHot(cost policy.Cost) bool {
	items, ok := c.hot.Reserve(cost)
	for _, item := range items {
		c.counts.hotEvictions.Add(1)
		item.Value.Release()
	}
	return ok
}

// reserveCold reserves on disk. What has to go is unlinked before it returns; the worker sees to it that this is rare.
func (c *Cache) reserveCold(cost policy.Cost) bool {
	if cost.Bytes > c.opts.DiskBytes {
		return false
	}
	for !c.index.Take(cost) {
		if c.custody.Load() != ours {
			return false // nothing can be unlinked
		}
		item, ok := c.index.Evict()
		if !ok {
			return false
		}
		c.evicted(item)
	}
	if c.crowded() {
		c.wakeWorker()
	}
	return true
}

// wakeWorker lets the worker make room.
func (c *Cache) wakeWorker() {
	select {
	case c.trim <- struct{}{}:
	default: // it has been told
	}
}

// admits tells whether an object may enter the disk, whose worker keeps it full. One that takes the place of an older
// version may.
func (c *Cache) admits(id ID, s policy.Stream, bytes int64) bool {
	// Once the tier has been full it stays so for this: what little an eviction frees is not free for all.
	if !s.Number || c.index.Bytes()+bytes <= c.opts.DiskBytes-c.slack-c.slack/slackPart {
		return true
	}
	if _, known := c.index.Peek(id); known || c.index.Admit(s) {
		return true
	}
	c.counts.refused.Add(1)
	return false
}

// crowded tells whether less of the disk is free than the worker is to keep free.
func (c *Cache) crowded() bool { return c.index.Bytes() > c.opts.DiskBytes-c.slack }

// adjustCold turns a reservation of held bytes on disk into one of size; without success nothing is held.
func (c *Cache) adjustCold(held, size int64) bool {
	if held > size {
		c.index.Free(policy.Cost{Bytes: held - size})
		return true
	}
	if !c.reserveCold(policy.Cost{Bytes: size - held}) {
		c.index.Free(policy.Cost{Bytes: held})
		return false
	}
	return true
}

// adjust turns a reservation of held bytes in the hot tier into one of cost; without success nothing is held.
func (c *Cache) adjust(held int64, cost policy.Cost) bool {
	if held > cost.Bytes {
		c.hot.Free(policy.Cost{Bytes: held - cost.Bytes})
		held = cost.Bytes
	}
	if !c.reserveHot(policy.Cost{Bytes: cost.Bytes - held, Slots: cost.Slots}) {
		c.hot.Free(policy.Cost{Bytes: held})
		return false
	}
	return true
}

// hotCost is what o takes in the hot tier.
func (c *Cache) hotCost(o *Object) policy.Cost {
	cost := policy.Cost{Bytes: objectBytes + int64(len(o.key.Text)) + 8*int64(len(o.Head().Tags))}
	for name, values := range o.Head().Header {
		cost.Bytes += int64(len(name))
		for _, v := range values {
			cost.Bytes += fieldBytes + int64(len(v))
		}
	}
	if mem := o.body.mem.Load(); mem != nil {
		cost.Bytes += int64(len(*mem))
		return cost
	}
	cost.Slots = 1
	if c.memoryOnly() {
		cost.Bytes += roundBlock(o.Size())
	}
	return cost
}

func (c *Cache) encode(o *Object) []byte {
	m := stored{version: o.version, text: o.key.Text, head: *o.Head()}
	m.head.mapTimes(c.written)
	return m.encode()
}

// diskFailed notes that something could not be stored.
func (c *Cache) diskFailed(err error) {
	if errors.Is(err, errReplaced) || errors.Is(err, errYielded) || errors.Is(err, ErrClosed) || errors.Is(err, disk.ErrFull) {
		return // not the disk's fault
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		c.full.Store(true)
		c.wakeWorker()
	}
	c.counts.diskErrors.Add(1)
	c.log.Warn("response is served but not stored", slog.Any("error", err))
}

// release gives back a reference that may be none.
func release(o *Object) {
	if o != nil {
		o.Release()
	}
}
