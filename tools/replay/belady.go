package replay

import "container/heap"

// belady evicts what is asked for last in the future, the newcomer included. Where sizes differ it is a reference rather
// than a bound.
type belady struct {
	next         []int // by request: the number of the next one for the same object
	budget, used int64
	until        map[uint32]int // by cached object: its next request
	order        farthest
}

func newBelady(t *Trace, budget int64) *belady {
	c := &belady{budget: budget, until: map[uint32]int{}, next: make([]int, len(t.Requests))}
	last := make([]int, len(t.Objects))
	for i := range last {
		last[i] = len(t.Requests)
	}
	for n := len(t.Requests) - 1; n >= 0; n-- {
		object := t.Requests[n].Object
		c.next[n], last[object] = last[object], n
	}
	return c
}

// Ask implements Cache.
func (c *belady) Ask(n int, r Request, o *Object) bool {
	next := c.next[n]
	if _, ok := c.until[r.Object]; ok {
		c.enter(r.Object, next, o.Bytes)
		return true
	}
	if o.Bytes > c.budget || next == len(c.next) {
		return false
	}
	for c.used+o.Bytes > c.budget {
		worst := c.order[0]
		if until, ok := c.until[worst.object]; ok && until == worst.next {
			if worst.next < next {
				return false
			}
			delete(c.until, worst.object)
			c.used -= worst.bytes
		}
		heap.Pop(&c.order)
	}
	c.used += o.Bytes
	c.enter(r.Object, next, o.Bytes)
	return false
}

// enter notes when an object is next asked for. Older notes of it stay in the heap and are skipped.
func (c *belady) enter(object uint32, next int, bytes int64) {
	c.until[object] = next
	heap.Push(&c.order, beladyItem{next, object, bytes})
}

type beladyItem struct {
	next   int
	object uint32
	bytes  int64
}

// farthest is a heap with the latest next request on top.
type farthest []beladyItem

func (h *farthest) Len() int           { return len(*h) }
func (h *farthest) Less(i, j int) bool { return (*h)[i].next > (*h)[j].next }
func (h *farthest) Swap(i, j int)      { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push implements heap.Interface.
func (h *farthest) Push(x any) { *h = append(*h, x.(beladyItem)) }

// Pop implements heap.Interface.
func (h *farthest) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
