package replay

import (
	"time"

	"weir/cache/policy"
)

// weir is the disk tier's own index.
type weir struct {
	index *policy.Index
	now   time.Time
	// unit is what a byte of the trace counts as. The index counts blocks of 4 KiB: where objects are small that is the
	// unit, so that all policies fit the same into a budget.
	unit int64
}

const (
	blockBytes = 4 << 10
	smallBytes = 64 << 10 // mean size of objects below which they are small
)

// epoch is when every trace begins.
const epoch = 1_700_000_000

func newWeir(t *Trace, budget int64) (Cache, error) {
	c := &weir{unit: 1}
	if t.Footprint()/int64(len(t.Objects)) < smallBytes {
		c.unit = blockBytes
	}
	var err error
	c.index, err = policy.NewIndex(policy.IndexOptions{Bytes: budget * c.unit, Clock: func() time.Time { return c.now }})
	return c, err
}

// Ask implements Cache. It does what the cache does with its index, without the worker that makes room ahead.
func (c *weir) Ask(_ int, r Request, o *Object) bool {
	c.now = time.Unix(epoch, 0).Add(r.At)
	c.index.Ask(o.Stream, 1)
	if c.index.Get(o.ID) {
		return true
	}
	cost := policy.Cost{Bytes: o.Bytes * c.unit}
	for !c.index.Take(cost) {
		if !c.index.Admit(o.Stream) {
			return false
		}
		item, ok := c.index.Evict()
		if !ok {
			return false
		}
		c.index.Free(item.Cost)
	}
	c.index.Put(o.ID, policy.State{}, cost, o.Stream)
	return false
}
