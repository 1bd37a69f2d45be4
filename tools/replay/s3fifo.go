package replay

// s3FIFO is S3-FIFO (Yang and others, SOSP 2023) in bytes, as the paper has it: a tenth for the small queue, two uses for
// the way to the main one, ghosts for nine tenths of the budget.
type s3FIFO struct {
	small, main, ghost fifo
	entries            map[uint32]*s3Entry
	ghosts             map[uint32]int // how often in ghost, by object
	smallBudget        int64
	mainBudget         int64
}

type s3Entry struct {
	uses   int
	inMain bool
}

const (
	s3Small     = 0.1
	s3Threshold = 2
	s3MaxUses   = 3
	s3Ghost     = 0.9
)

func newS3FIFO(budget int64) *s3FIFO {
	small := int64(float64(budget) * s3Small)
	return &s3FIFO{
		entries: map[uint32]*s3Entry{}, ghosts: map[uint32]int{},
		smallBudget: small, mainBudget: budget - small,
	}
}

// Ask implements Cache.
func (c *s3FIFO) Ask(_ int, r Request, o *Object) bool {
	if e := c.entries[r.Object]; e != nil {
		e.uses = min(e.uses+1, s3MaxUses)
		return true
	}
	if o.Bytes > c.smallBudget+c.mainBudget {
		return false
	}
	again := c.ghosts[r.Object] > 0
	for c.small.bytes+c.main.bytes+o.Bytes > c.smallBudget+c.mainBudget {
		c.evict()
	}
	c.entries[r.Object] = &s3Entry{inMain: again}
	if again {
		delete(c.ghosts, r.Object) // its place in the queue is void
		c.main.push(r.Object, o.Bytes)
	} else {
		c.small.push(r.Object, o.Bytes)
	}
	return false
}

func (c *s3FIFO) evict() {
	if c.main.bytes > c.mainBudget || c.small.empty() {
		c.evictMain()
		return
	}
	for !c.small.empty() {
		object, bytes := c.small.pop()
		e := c.entries[object]
		if e.uses >= s3Threshold {
			e.uses, e.inMain = 0, true
			c.main.push(object, bytes)
			continue
		}
		delete(c.entries, object)
		c.remember(object, bytes)
		return
	}
}

func (c *s3FIFO) evictMain() {
	for {
		object, bytes := c.main.pop()
		e := c.entries[object]
		if e.uses == 0 {
			delete(c.entries, object)
			return
		}
		e.uses--
		c.main.push(object, bytes)
	}
}

// remember makes a ghost.
func (c *s3FIFO) remember(object uint32, bytes int64) {
	budget := int64(float64(c.smallBudget+c.mainBudget) * s3Ghost)
	c.ghost.push(object, bytes)
	c.ghosts[object]++
	for c.ghost.bytes > budget {
		old, _ := c.ghost.pop()
		if c.ghosts[old]--; c.ghosts[old] <= 0 {
			delete(c.ghosts, old)
		}
	}
}

// fifo is a queue of objects and their bytes.
type fifo struct {
	items []fifoItem
	head  int
	bytes int64
}

type fifoItem struct {
	object uint32
	bytes  int64
}

func (f *fifo) empty() bool { return f.head == len(f.items) }

func (f *fifo) push(object uint32, bytes int64) {
	f.items = append(f.items, fifoItem{object, bytes})
	f.bytes += bytes
}

func (f *fifo) pop() (uint32, int64) {
	item := f.items[f.head]
	f.head++
	f.bytes -= item.bytes
	if f.head > len(f.items)/2 && f.head > 1024 {
		f.items = append(f.items[:0], f.items[f.head:]...)
		f.head = 0
	}
	return item.object, item.bytes
}
