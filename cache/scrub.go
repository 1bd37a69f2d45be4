package cache

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"weir/cache/disk"
	"weir/cache/policy"
)

const (
	// scrubPart is the part of what is stored that the scrubber reads in an hour by default: all of it in four days, at a
	// terabyte 3 MB/s, which a disk that serves does not notice.
	scrubPart = 100
	// scrubMin is what it reads in a second at least by default: a small cache costs nothing to read more often, and a
	// file is not held open for hours.
	scrubMin = 64 << 10
	// scrubRest is the time between two directories at least, as listing one of 40,000 files takes most of a second.
	scrubRest = 10 * time.Second
)

// errScrubbed ends the check of a file that is not stored any more.
var errScrubbed = errors.New("cache: checked no further")

// scrub goes over the stored files until ctx ends, one directory after the other: it enters those that the index has
// missed, and drops those that are damaged. It begins anywhere, as a process that is often restarted would else check
// the same ones each time.
func (c *Cache) scrub(ctx context.Context) {
	if c.opts.ScrubBytesPerSecond < 0 {
		return
	}
	for dir := byte(rand.IntN(disk.Dirs)); pause(ctx, scrubRest); dir++ {
		for _, id := range c.relist(dir) {
			if ctx.Err() != nil {
				return
			}
			c.scrubFile(ctx, id)
		}
	}
}

// relist lists a directory and enters what the index does not know: a power cut can bring back a journal that says it is
// complete and is not.
func (c *Cache) relist(dir byte) (ids []ID) {
	c.watch(true)
	defer c.watch(false)
	list, err := c.store.List(dir)
	if err != nil {
		c.log.Error("cache directory cannot be listed", slog.Any("error", err))
		return nil
	}
	for _, e := range list {
		if _, known := c.index.Peek(e.ID); !known {
			c.found(e)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// scrubFile checks one file. Only its opening holds the claim: the body is read slowly.
func (c *Cache) scrubFile(ctx context.Context, id ID) {
	s := c.shard(id)
	s.mu.Lock()
	_, known := c.index.Peek(id)
	_, doomed := s.doomed[id]
	if s.closed || doomed || !known || s.claims[id] != nil {
		s.mu.Unlock()
		return
	}
	cl := s.claimLocked(id)
	cl.opening = true
	s.mu.Unlock()

	obj, err := c.store.Open(id, false)
	var meta stored
	if err == nil {
		meta, err = parseStored(obj.Meta)
	}

	damaged := errors.Is(err, disk.ErrCorrupt) || errors.Is(err, errHead)
	s.mu.Lock()
	s.unclaimLocked(id, cl)
	var bad detached
	if damaged || errors.Is(err, disk.ErrNotFound) {
		bad = c.detachLocked(s, id, false)
	}
	s.mu.Unlock()
	c.dispose(id, bad)
	if err == nil {
		err = c.scrubBody(ctx, id, meta.version, obj)
		damaged = err != nil
	}
	if obj != nil {
		_ = obj.File.Close() // nothing was written
	}
	if damaged {
		c.counts.corrupt.Add(1)
		c.log.Warn("stored object is dropped", slog.String("id", id.String()), slog.Any("error", err))
	}
}

// scrubBody checks a body and drops the object if it is damaged, or else notes that it need not be checked again.
func (c *Cache) scrubBody(ctx context.Context, id ID, version uint64, obj *disk.Object) error {
	err := obj.Check(func(n int) error {
		if !c.isStored(id, version) || !pause(ctx, c.scrubTime(n)) {
			return errScrubbed
		}
		c.counts.scrubbedBytes.Add(int64(n))
		return nil
	})
	if errors.Is(err, errScrubbed) {
		return nil
	}
	if err != nil {
		c.dropVersion(id, version)
		return err
	}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if state, known := c.index.Peek(id); known && (state.Version == 0 || state.Version == policy.Brief(version)) {
		c.index.Update(id, fileState{Version: policy.Brief(version), Verified: true}, policy.Cost{})
	}
	return nil
}

// scrubTime is how long n bytes should take.
func (c *Cache) scrubTime(n int) time.Duration {
	rate := c.opts.ScrubBytesPerSecond
	if rate == 0 {
		rate = max(scrubMin, c.index.Bytes()/(scrubPart*int64(time.Hour/time.Second)))
	}
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// isStored tells whether this version is stored, or one that nobody has looked at yet.
func (c *Cache) isStored(id ID, version uint64) bool {
	state, known := c.index.Peek(id)
	return known && (state.Version == 0 || state.Version == policy.Brief(version))
}

// dropVersion takes a damaged object out of the cache, unless there is another one by now, or is about to be.
func (c *Cache) dropVersion(id ID, version uint64) {
	s := c.shard(id)
	s.mu.Lock()
	var bad detached
	if cl := s.claims[id]; c.isStored(id, version) && (cl == nil || !cl.publishing) {
		bad = c.detachLocked(s, id, false)
	}
	s.mu.Unlock()
	c.dispose(id, bad)
}
