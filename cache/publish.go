package cache

import (
	"errors"

	"weir/cache/policy"
)

var errReplaced = errors.New("cache: stored response is another one by now")

// errBroken is what a panic leaves of an operation on a file.
var errBroken = errors.New("cache: file operation broken off")

// errYielded is why nothing is stored while the directory is another process's.
var errYielded = errors.New("cache: the directory has been given to another process")

// publication is an Object on its way to a file.
type publication struct {
	obj *Object
	// size is reserved in the index; publish spends it or gives it back. It is the file's, or with after what is added.
	size int64
	// after, if not 0, is the version whose file has to be there, because write adds to it, and added is by how much.
	after uint64
	added int64
	// write returns the file's length.
	write func() (int64, error)
}

// publish writes a file while it holds the claim on its ID, and enters it into the index.
func (c *Cache) publish(f *Fill, p publication) (err error) {
	id := p.obj.key.ID
	s := c.shard(id)
	s.mu.Lock()
	cl := s.claimLocked(id)
	if err := c.mayPublishLocked(s, f, p); err != nil {
		s.unclaimLocked(id, cl)
		s.mu.Unlock()
		c.index.Free(policy.Cost{Bytes: p.size})
		return err
	}
	cl.publishing = true
	// A doomed file of this ID is replaced rather than unlinked.
	replaced, doomed := s.doomed[id]
	cl.replaced = replaced
	delete(s.doomed, id)
	s.mu.Unlock()

	bytes, err := int64(0), errBroken // of a panic
	defer func() { err = c.published(f, p, cl, doomed, bytes, err) }()
	bytes, err = p.write()
	return err
}

// published ends what publish began. doomed tells that a file is there that must not be opened again.
func (c *Cache) published(f *Fill, p publication, cl *claim, doomed bool, bytes int64, err error) error {
	id := p.obj.key.ID
	s := c.shard(id)
	s.mu.Lock()
	c.index.Free(policy.Cost{Bytes: cl.replaced})
	_, removed := s.doomed[id]         // while it was being written
	doomed = doomed || cl.replaced > 0 // or the old one was evicted, and is still there if this one is not
	if err == nil && (removed || f.detached.Load() || !c.enterLocked(p, bytes)) {
		doomed, err = true, errReplaced
	}
	s.unclaimLocked(id, cl)
	s.mu.Unlock()
	if err == nil {
		return nil
	}
	c.index.Free(policy.Cost{Bytes: p.size})
	if doomed {
		c.drop(id, true)
	}
	return err
}

func (c *Cache) mayPublishLocked(s *shard, f *Fill, p publication) error {
	state, known := c.index.Peek(p.obj.key.ID)
	switch {
	case s.closed:
		return ErrClosed
	case c.custody.Load() != ours:
		return errYielded
	case f.detached.Load(), p.after != 0 && (!known || state.Version != policy.Brief(p.after)):
		return errReplaced
	}
	return nil
}

// enterLocked puts a written file into the index; false if the file that was added to has been evicted.
func (c *Cache) enterLocked(p publication, bytes int64) bool {
	state := fileState{Version: policy.Brief(p.obj.version), Verified: true}
	if p.after != 0 {
		exact := roundBlock(bytes) - roundBlock(bytes-p.added)
		_, ok := c.index.Update(p.obj.key.ID, state, policy.Cost{Bytes: exact})
		if ok {
			c.index.Free(policy.Cost{Bytes: p.size - exact})
			c.noteAdd(p.obj.key.ID, p.obj.version, bytes)
		}
		return ok
	}
	size := p.size
	if exact := roundBlock(bytes); exact < size {
		c.index.Free(policy.Cost{Bytes: size - exact})
		size = exact
	}
	c.index.Put(p.obj.key.ID, state, policy.Cost{Bytes: size}, p.obj.stream)
	c.noteAdd(p.obj.key.ID, p.obj.version, size)
	return true
}

// writeSmall writes a body that is in memory.
func (c *Cache) writeSmall(o *Object, meta []byte) (int64, error) {
	w, err := c.store.Create(o.key.ID)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.File().Close() }() // every write has been checked
	if b := o.body.inMemory(); len(b) > 0 {
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
	}
	return w.Commit(meta)
}

// warm puts a stored Object into the hot tier, if it still is what the index has. held bytes are reserved there.
func (c *Cache) warm(o *Object, held int64) {
	cost := c.hotCost(o)
	if !c.adjust(held, cost) {
		return
	}
	s := c.shard(o.key.ID)
	s.mu.Lock()
	var old *Object
	if c.currentLocked(s, o) {
		old = c.putHot(o, cost)
	} else {
		c.hot.Free(cost)
	}
	s.mu.Unlock()
	release(old)
}

// putHot puts o into the hot tier, where cost is reserved, with a reference for the tier. It returns the Object that was
// there, whose reference is the caller's now.
func (c *Cache) putHot(o *Object, cost policy.Cost) *Object {
	o.Retain()
	put := c.hot.Put
	if o.uses.Load() <= 0 && c.crowds.Of(o.key.Text) {
		put = c.hot.Try
	}
	old, _ := put(o.key.ID, o, cost)
	return old.Value
}
