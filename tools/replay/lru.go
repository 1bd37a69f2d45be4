package replay

import (
	"math"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// bytesLRU is simplelru with a budget in bytes.
type bytesLRU struct {
	list         *simplelru.LRU[uint32, int64]
	budget, used int64
}

func newLRU(_ *Trace, budget int64) (Cache, error) {
	list, err := simplelru.NewLRU[uint32, int64](math.MaxInt, nil)
	return &bytesLRU{list: list, budget: budget}, err
}

// Ask implements Cache.
func (c *bytesLRU) Ask(_ int, r Request, o *Object) bool {
	if _, ok := c.list.Get(r.Object); ok {
		return true
	}
	if o.Bytes > c.budget {
		return false
	}
	for c.used+o.Bytes > c.budget {
		_, bytes, _ := c.list.RemoveOldest()
		c.used -= bytes
	}
	c.list.Add(r.Object, o.Bytes)
	c.used += o.Bytes
	return false
}

// twoQueue is golang-lru's 2Q, which counts entries.
type twoQueue struct {
	cache *lru.TwoQueueCache[uint32, struct{}]
}

func newTwoQueue(t *Trace, budget int64) (Cache, error) {
	mean := max(1, t.Footprint()/int64(len(t.Objects)))
	// Below four entries the library has none for one of its queues.
	cache, err := lru.New2Q[uint32, struct{}](int(max(4, budget/mean)))
	return &twoQueue{cache}, err
}

// Ask implements Cache.
func (c *twoQueue) Ask(_ int, r Request, _ *Object) bool {
	if _, ok := c.cache.Get(r.Object); ok {
		return true
	}
	c.cache.Add(r.Object, struct{}{})
	return false
}
