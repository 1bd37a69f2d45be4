package replay

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// arc is ARC (Megiddo and Modha, FAST 2003) in bytes.
type arc struct {
	budget int64
	target int64 // what recent is meant to have
	// recent and frequent are in the cache; their ghosts are what left them.
	recent, frequent           arcList
	recentGhost, frequentGhost arcList
}

type arcList struct {
	list  *simplelru.LRU[uint32, int64]
	bytes int64
}

func newARC(budget int64) *arc {
	c := &arc{budget: budget}
	for _, l := range []*arcList{&c.recent, &c.frequent, &c.recentGhost, &c.frequentGhost} {
		l.list, _ = simplelru.NewLRU[uint32, int64](math.MaxInt, nil) // its one error is a size below 1
	}
	return c
}

// Ask implements Cache.
func (c *arc) Ask(_ int, r Request, o *Object) bool {
	if c.frequent.list.Contains(r.Object) {
		c.frequent.list.Get(r.Object)
		return true
	}
	if c.recent.remove(r.Object) {
		c.frequent.add(r.Object, o.Bytes)
		return true
	}
	if o.Bytes > c.budget {
		return false
	}
	ghostOfFrequent := false
	switch {
	case c.recentGhost.list.Contains(r.Object):
		ratio := max(1, float64(c.frequentGhost.bytes)/float64(max(1, c.recentGhost.bytes)))
		c.target = min(c.budget, c.target+int64(ratio*float64(o.Bytes)))
		c.recentGhost.remove(r.Object)
	case c.frequentGhost.list.Contains(r.Object):
		ratio := max(1, float64(c.recentGhost.bytes)/float64(max(1, c.frequentGhost.bytes)))
		c.target = max(0, c.target-int64(ratio*float64(o.Bytes)))
		c.frequentGhost.remove(r.Object)
		ghostOfFrequent = true
	default:
		c.makeRoom(o.Bytes, false)
		c.recent.add(r.Object, o.Bytes)
		c.trimGhosts()
		return false
	}
	c.makeRoom(o.Bytes, ghostOfFrequent)
	c.frequent.add(r.Object, o.Bytes)
	c.trimGhosts()
	return false
}

func (c *arc) makeRoom(bytes int64, ghostOfFrequent bool) {
	for c.recent.bytes+c.frequent.bytes+bytes > c.budget {
		over := c.recent.bytes > c.target || c.recent.bytes == c.target && ghostOfFrequent
		if c.recent.bytes > 0 && (over || c.frequent.bytes == 0) {
			c.recent.moveOldest(&c.recentGhost)
		} else {
			c.frequent.moveOldest(&c.frequentGhost)
		}
	}
}

// trimGhosts holds what is and was recent to one budget, and everything to two.
func (c *arc) trimGhosts() {
	for c.recent.bytes+c.recentGhost.bytes > c.budget && c.recentGhost.bytes > 0 {
		c.recentGhost.removeOldest()
	}
	for c.recent.bytes+c.recentGhost.bytes+c.frequent.bytes+c.frequentGhost.bytes > 2*c.budget && c.frequentGhost.bytes > 0 {
		c.frequentGhost.removeOldest()
	}
}

func (l *arcList) add(object uint32, bytes int64) {
	l.list.Add(object, bytes)
	l.bytes += bytes
}

func (l *arcList) remove(object uint32) bool {
	bytes, ok := l.list.Peek(object)
	if ok {
		l.list.Remove(object)
		l.bytes -= bytes
	}
	return ok
}

func (l *arcList) removeOldest() (uint32, int64) {
	object, bytes, _ := l.list.RemoveOldest()
	l.bytes -= bytes
	return object, bytes
}

func (l *arcList) moveOldest(to *arcList) {
	object, bytes := l.removeOldest()
	to.add(object, bytes)
}
