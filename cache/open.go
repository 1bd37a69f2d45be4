package cache

import (
	"errors"
	"log/slog"

	"weir/cache/disk"
	"weir/cache/policy"
)

// open looks for k on disk. The Object is retained for the caller.
func (c *Cache) open(k Key) (found *Object) {
	if c.memoryOnly() {
		return nil
	}
	s := c.shard(k.ID)
	s.mu.Lock()
	for {
		_, known := c.index.Peek(k.ID)
		_, doomed := s.doomed[k.ID]
		if s.closed || doomed || !known && c.scanned.Load() {
			s.mu.Unlock()
			return nil
		}
		cl := s.claims[k.ID]
		if cl == nil {
			break
		}
		s.mu.Unlock()
		if !cl.opening {
			// Being written anew or unlinked. Whoever writes it still has its fill, which Begin finds.
			return nil
		}
		<-cl.done
		if o := c.getHot(k); o != nil {
			return o
		}
		s.mu.Lock()
	}
	cl := s.claimLocked(k.ID)
	cl.opening = true
	state, _ := c.index.Peek(k.ID)
	s.mu.Unlock()

	o, size, err := (*Object)(nil), int64(0), errBroken // of a panic
	defer func() { found = c.opened(s, k.ID, cl, o, size, err) }()
	o, size, err = c.load(k, state)
	return nil
}

// errUnusable is what load returns for a file that is of no use to anybody.
var errUnusable = errors.New("cache: stored object cannot be used")

// errCollision is what load returns for a file of another key with the same ID.
var errCollision = errors.New("cache: stored object has another key")

// load opens and checks a file and makes an Object of it.
func (c *Cache) load(k Key, state fileState) (o *Object, size int64, err error) {
	obj, err := c.store.Open(k.ID, !state.Verified)
	switch {
	case errors.Is(err, disk.ErrCorrupt):
		c.counts.corrupt.Add(1)
		return nil, 0, errors.Join(errUnusable, err)
	case errors.Is(err, disk.ErrNotFound):
		return nil, 0, errors.Join(errUnusable, err)
	case err != nil:
		return nil, 0, err
	}
	meta, err := parseStored(obj.Meta)
	switch {
	case err != nil:
		err = errors.Join(errUnusable, err)
	case meta.text != k.Text:
		// Two texts with one ID: it is good, for somebody else.
		err = errCollision
	case state.Version != 0 && state.Version != policy.Brief(meta.version):
		err = errors.Join(errUnusable, errReplaced)
	}
	if err != nil {
		_ = obj.File.Close() // nothing was written
		return nil, 0, err
	}
	b := &body{}
	b.avail.Store(obj.Length)
	b.end.Store(&ending{})
	if obj.Length > c.opts.SmallBytes {
		b.file.Store(&bodyFile{obj.File})
	} else {
		mem, err := c.readSmall(obj)
		if err != nil {
			return nil, 0, errors.Join(errUnusable, err)
		}
		b.mem.Store(&mem)
	}
	meta.head.Length = obj.Length
	meta.head.mapTimes(c.read)
	c.distrustFuture(&meta.head)
	return c.newObject(k, meta.head, meta.version, b), obj.Bytes, nil
}

// readSmall reads a small body whole and closes the file. It is checked each time: it has to be read anyway.
func (c *Cache) readSmall(obj *disk.Object) ([]byte, error) {
	defer func() { _ = obj.File.Close() }() // nothing was written
	mem := make([]byte, obj.Length)
	n, err := obj.File.ReadAt(mem, 0)
	if n == len(mem) {
		err = obj.CheckBytes(mem)
	}
	if err != nil {
		c.counts.corrupt.Add(1)
	}
	return mem, err
}

// opened enters what load found into both tiers and ends the claim.
func (c *Cache) opened(s *shard, id ID, cl *claim, o *Object, size int64, err error) *Object {
	s.mu.Lock()
	keep := o != nil && c.currentLocked(s, o)
	if keep {
		c.enterOpenedLocked(o, roundBlock(size))
	}
	s.unclaimLocked(id, cl)
	var bad detached
	// What nobody knows of and is not there needs nothing: before the scan each miss looks for its file.
	if _, known := c.index.Peek(id); o == nil && errors.Is(err, errUnusable) && (known || !errors.Is(err, disk.ErrNotFound)) {
		// In the same step as the claim's end: whoever publishes next must not lose what is new.
		bad = c.detachLocked(s, id, false)
	}
	s.mu.Unlock()
	switch {
	case keep:
		c.touch(o)
		c.warm(o, 0)
		return o
	case o != nil:
		o.Release()
	case errors.Is(err, errUnusable):
		c.dispose(id, bad) // may be nothing
		if !errors.Is(err, disk.ErrNotFound) {
			c.log.Warn("stored object is dropped", slog.String("id", id.String()), slog.Any("error", err))
		}
	case !errors.Is(err, errCollision):
		c.log.Error("stored object cannot be opened", slog.String("id", id.String()), slog.Any("error", err))
	}
	return nil
}

// enterOpenedLocked tells the index what a file has and takes, which may be more or less than the journal knew. Without room
// for more it is left to the scan, because a claim's holder must not evict.
func (c *Cache) enterOpenedLocked(o *Object, bytes int64) {
	id, state := o.key.ID, fileState{Version: policy.Brief(o.version), Verified: true}
	_, known := c.index.Peek(id)
	by := bytes - c.bytesOf(id)
	if by > 0 && !c.index.Take(policy.Cost{Bytes: by}) {
		return
	}
	if !known {
		c.index.Put(id, state, policy.Cost{Bytes: bytes}, o.stream)
		c.noteAdd(id, o.version, bytes)
		return
	}
	c.index.Classify(id, o.stream)
	if _, still := c.index.Update(id, state, policy.Cost{Bytes: by}); still == (by < 0) {
		c.index.Free(policy.Cost{Bytes: max(by, -by)})
	}
}

// currentLocked tells whether o is what its key's file has, as far as is known.
func (c *Cache) currentLocked(s *shard, o *Object) bool {
	if _, doomed := s.doomed[o.key.ID]; doomed || s.closed {
		return false
	}
	state, known := c.index.Peek(o.key.ID)
	if !known {
		_, gone := s.gone[o.key.ID]
		return !gone && !c.scanned.Load()
	}
	return state.Version == 0 || state.Version == policy.Brief(o.version)
}

// seenOnDisk tells, without looking at the disk, that it has nothing but what the caller has seen.
func (c *Cache) seenOnDisk(k Key, seen *Object) bool {
	if c.memoryOnly() {
		return true
	}
	state, ok := c.index.Peek(k.ID)
	if !ok {
		return c.scanned.Load()
	}
	return seen != nil && seen.key == k && state.Version == policy.Brief(seen.version)
}
