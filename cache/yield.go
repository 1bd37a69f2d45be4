package cache

import (
	"context"
	"log/slog"
)

// Whose the directory is.
const (
	ours     = iota
	yielding // nothing new is begun in it
	yielded  // another process's
)

// order asks keepJournal's goroutine to give the directory away, or to take it back.
type order struct {
	yield bool
	done  chan error // has room for one
}

// Yield gives the directory to another process, which may open it once Yield has returned and then finds all that is stored,
// as after an orderly end. This Cache serves on: from memory, from what it has open, and from the directory, also what the
// other process stores there. It stores nothing more and removes nothing; fills go on for their readers. It needs Run. It
// does nothing where it was called before, and in a cache in memory.
func (c *Cache) Yield(ctx context.Context) error { return c.order(ctx, true) }

// Reclaim takes the directory back after Yield, from a process that is gone; disk.ErrLocked while it is there. What that
// process has changed is found out as it is met, and by the scrubber.
func (c *Cache) Reclaim(ctx context.Context) error { return c.order(ctx, false) }

func (c *Cache) order(ctx context.Context, yield bool) error {
	if c.memoryOnly() {
		return nil
	}
	o := order{yield, make(chan error, 1)}
	select {
	case c.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-o.done // keepJournal does what it has taken
}

// obey runs in keepJournal's goroutine, which owns journal and lock.
func (c *Cache) obey(o order) {
	switch was := c.custody.Load(); {
	case o.yield && was == ours:
		o.done <- c.yield()
	case !o.yield && was == yielded:
		o.done <- c.reclaim()
	default:
		o.done <- nil
	}
}

func (c *Cache) yield() error {
	c.custody.Store(yielding)
	c.settle() // no file is being written any more
	for _, id := range c.doomed() {
		c.unlink(id)
	}
	c.custody.Store(yielded)
	c.settle() // nor unlinked
	c.closeJournal()
	return c.store.Release()
}

func (c *Cache) reclaim() error {
	if err := c.store.Reacquire(); err != nil {
		return err
	}
	c.journal.Reopen()
	c.custody.Store(ours)
	for _, id := range c.doomed() {
		c.unlink(id)
	}
	c.log.Info("cache directory is taken back", slog.Int64("bytes", c.index.Bytes()))
	return nil
}

// settle waits for the operations on files that run now.
func (c *Cache) settle() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		var running []*claim
		for _, cl := range s.claims {
			running = append(running, cl)
		}
		s.mu.Unlock()
		for _, cl := range running {
			<-cl.done
		}
	}
}

// doomed are the files that are to be unlinked.
func (c *Cache) doomed() (ids []ID) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for id := range s.doomed {
			ids = append(ids, id)
		}
		s.mu.Unlock()
	}
	return ids
}
