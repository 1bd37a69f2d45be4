package cache

import "sync/atomic"

// Stats is a snapshot of a Cache. Bytes and counts of things are as of now, the others since New.
type Stats struct {
	// Objects is how many responses are stored, HotObjects how many of them need no system call to open.
	Objects, HotObjects int
	// MemoryBytes and DiskBytes are what counts against their limits, with what running fills have reserved and, on
	// disk, with what is evicted but not yet unlinked.
	MemoryBytes, MemoryLimit int64
	DiskBytes, DiskLimit     int64
	// OpenFiles is how many descriptors the hot tier holds.
	OpenFiles, OpenFilesLimit int64
	// UnstoredBytes are the bytes of running fills that found no room and are held outside of the limits.
	UnstoredBytes int64
	// Fills is how many run.
	Fills int64
	// Live is how many Objects somebody has a reference to, the hot tier included.
	Live int64
	// Scanned tells that everything on disk is counted in.
	Scanned bool

	// Hits, DiskHits and Misses count Get's answers: from the hot tier, from a file, and none.
	Hits, DiskHits, Misses int64
	// Stored counts responses that were stored, Refreshed those of them that were a new head only. Unstored counts whole
	// ones that were not stored, Aborted fills that ended with an error or ErrPass.
	Stored, Refreshed, Unstored, Aborted int64
	// Refused counts, of the unstored, those that were worth less than what the full disk has.
	Refused int64
	// HotEvictions and DiskEvictions count what had to make room, Removed what Remove took out.
	HotEvictions, DiskEvictions, Removed int64
	// Corrupt counts files that were found damaged, DiskErrors responses that the disk did not take.
	Corrupt, DiskErrors int64
	// ScrubbedBytes counts what was read to find damage.
	ScrubbedBytes int64
}

type counts struct {
	live, fills, unstoredBytes atomic.Int64

	hits, diskHits, misses               atomic.Int64
	stored, refreshed, unstored, aborted atomic.Int64
	refused                              atomic.Int64
	hotEvictions, diskEvictions, removed atomic.Int64
	corrupt, diskErrors, scrubbedBytes   atomic.Int64
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	n := &c.counts
	s := Stats{
		Objects:        c.hot.Len(),
		HotObjects:     c.hot.Len(),
		MemoryBytes:    c.hot.Bytes(),
		MemoryLimit:    c.opts.MemoryBytes,
		OpenFiles:      c.hot.Slots(),
		OpenFilesLimit: int64(c.opts.OpenFiles),
		UnstoredBytes:  n.unstoredBytes.Load(),
		Fills:          n.fills.Load(),
		Live:           n.live.Load(),
		Scanned:        c.scanned.Load(),
		Hits:           n.hits.Load(),
		DiskHits:       n.diskHits.Load(),
		Misses:         n.misses.Load(),
		Stored:         n.stored.Load(),
		Refreshed:      n.refreshed.Load(),
		Unstored:       n.unstored.Load(),
		Refused:        n.refused.Load(),
		Aborted:        n.aborted.Load(),
		HotEvictions:   n.hotEvictions.Load(),
		DiskEvictions:  n.diskEvictions.Load(),
		Removed:        n.removed.Load(),
		Corrupt:        n.corrupt.Load(),
		DiskErrors:     n.diskErrors.Load(),
		ScrubbedBytes:  n.scrubbedBytes.Load(),
	}
	if c.index != nil {
		s.Objects = c.index.Len()
		s.DiskBytes = c.index.Bytes()
		s.DiskLimit = c.opts.DiskBytes
	}
	return s
}
