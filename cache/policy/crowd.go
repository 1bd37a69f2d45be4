package policy

import (
	"strings"
	"sync/atomic"
)

const (
	crowdCounts = 1 << 12 // of paths, 16 KiB; two that share one are taken for one
	// crowd is how many new queries of one path are a crowd. Viewers' own parameters are not part of keys, so that few
	// paths have so many; those of which it is right lose nothing but the time on probation.
	crowd = 64
	// crowdMemory is after how many new queries all counts are halved: a path that had a crowd once is as any other later.
	crowdMemory = 1 << 14
)

// Crowds counts, for each path, the queries that it is asked for with. The zero value is ready; safe for concurrent use.
type Crowds struct {
	counts [crowdCounts]atomic.Uint32
	noted  atomic.Uint32
}

// Of notes that a key is new, and tells whether its path has been asked for with so many queries lately that this one is
// not expected to come again. A key without a query never has.
func (c *Crowds) Of(key string) bool {
	at := strings.IndexByte(key, '?')
	if at < 0 {
		return false
	}
	h := uint64(14695981039346656037) // FNV-1a
	for i := range at {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	if c.noted.Add(1)%crowdMemory == 0 {
		for i := range c.counts {
			c.counts[i].Store(c.counts[i].Load() / 2) // a count that is lost in between does not matter
		}
	}
	return c.counts[(h^h>>32)%crowdCounts].Add(1) > crowd
}
