package cache

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"weir/cache/policy"
)

// MaxVariants is how many responses of one key that differ by Vary are kept; the least recently used goes first. Who
// makes up values of a field that a response varies by evicts the variants of that key alone.
const MaxVariants = 16

// variants is what is known of a key whose responses vary: the names are kept until the entry goes, the IDs are those of
// the variants that were used since the start.
type variants struct {
	names []string
	mu    sync.Mutex // guards the field below
	ids   []ID       // the last used first, at most MaxVariants
}

// Vary returns the names of the request fields that responses of the key with this ID depend on, or nil if none are
// known: Get may then return an Object that has them (Object.Varies). The slice is shared and must not be changed.
//
// Hot path: nothing while no response varies, else one mutex.
func (c *Cache) Vary(id ID) []string {
	if c.varies.Len() == 0 { // most often: responses that vary are few
		return nil
	}
	if v, ok := c.varies.Get(id); ok {
		return v.names
	}
	return nil
}

// SetVary sets the names that Vary returns for a key; the cache keeps the slice. Where they are new they are stored in
// the place of a response as well, so that they are found again after a restart; nothing is said if that fails, for it
// costs a miss. No names take them out.
func (c *Cache) SetVary(k Key, names []string) {
	if len(names) == 0 {
		c.varies.Remove(k.ID)
		return
	}
	if !slices.Equal(c.Vary(k.ID), names) {
		c.learnVary(k.ID, names)
	} else if c.memoryOnly() || c.hasFile(k.ID) {
		return
	}
	if c.memoryOnly() {
		return
	}
	now := time.Now()
	f := newFill(c, k) // on its own: nobody joins it
	c.counts.fills.Add(1)
	o, err := f.Start(Head{Header: http.Header{"Vary": names}, RequestTime: now, ResponseTime: now}, k)
	if err != nil {
		f.Abort(err)
		return
	}
	_ = f.Finish() // it was not stored: see above
	o.Release()
}

// hasFile tells whether something is stored under an ID on disk.
func (c *Cache) hasFile(id ID) bool {
	_, known := c.index.Peek(id)
	return known
}

// learnVary enters the names into the table.
func (c *Cache) learnVary(id ID, names []string) {
	const entryBytes = 384 // map, list, slice headers and struct
	const idBytes = 16
	cost := int64(entryBytes + MaxVariants*idBytes)
	for _, name := range names {
		cost += int64(len(name)) + 16
	}
	c.varies.Add(id, &variants{names: names}, policy.Cost{Bytes: cost})
}

// UseVariant notes that the variant was used or stored now, and removes the least recently used one of its key if there
// are too many.
//
// Hot path: two mutexes, no allocation once the variant is known.
func (c *Cache) UseVariant(key, variant ID) {
	v, ok := c.varies.Get(key)
	if !ok {
		return
	}
	if oldest, full := v.use(variant); full {
		c.Remove(Key{ID: oldest})
	}
}

// use moves id to the front and returns the one that has to go for it.
func (v *variants) use(id ID) (oldest ID, full bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := slices.Index(v.ids, id)
	switch {
	case at == 0:
		return ID{}, false
	case at < 0 && len(v.ids) == MaxVariants:
		at = MaxVariants - 1
		oldest, full = v.ids[at], true
	case at < 0:
		at = len(v.ids)
		v.ids = append(v.ids, id)
	}
	copy(v.ids[1:at+1], v.ids[:at])
	v.ids[0] = id
	return oldest, full
}

// Varies returns the names of the request fields that choose among the responses of this Object's key, or nil for an
// Object that is a response. One that is not has no status and no body; its key was given to SetVary in an earlier life.
// The names are then what Vary returns from now on.
func (o *Object) Varies() []string {
	h := o.Head()
	if h.Status != 0 {
		return nil
	}
	names := h.Header["Vary"]
	if len(names) > 0 && o.cache.Vary(o.key.ID) == nil {
		o.cache.learnVary(o.key.ID, names)
	}
	return names
}
