// Package cache keeps responses, on disk and in memory, and lets any number of readers follow one that is still arriving.
//
// # How it works
//
// A request asks Get for its Key. On a miss, or with a stale Object in hand, it asks Begin, which decides under one lock
// who fetches: exactly one caller leads a new Fill, the others join it, and whoever comes after its Finish finds the
// Object. The leader writes; it may well be a goroutine of its own, as a Fill does not depend on the request that began
// it. Readers, the leader's client among them, take the Fill's Object as soon as the head is there and read it from any
// offset while it grows: Wait tells how far it has come, ReadAt and File give the bytes.
//
//	o := c.Get(key)                              // hit
//	turn := c.Begin(key, stale)                  // miss or stale
//	turn.Object                                  // somebody stored one in the meantime
//	turn.Fill.Object(ctx), if not turn.Leader    // somebody fetches it: follow
//	turn.Fill.Start, ReadFrom, Finish            // fetch it; or Abort, Pass, Refresh
//	turn.Pass                                    // not to be shared: ask for yourself
//
// There are two tiers. The disk tier (packages disk and policy) is one file per Object and an index of IDs and sizes. The
// hot tier is open Objects: a small body in memory, a large one behind a descriptor that serves all readers by pread and
// sendfile. Without a directory there is the hot tier only, and large bodies are files in memory: the same code.
//
// A full disk does not take everything: what its index expects to be asked for less than what it has is served through its
// fill, from memory, and not stored. The index learns of every request, of a hot Object's together with others.
//
// A body is written to memory until it is known to be large, then to a file without a name, which gets one at the end.
// Readers follow a high-water mark and sleep on a channel that the writer closes. Every write is visible at once; wakes
// for less than 64 KiB are put together only while the source has more at hand.
//
// # Who owns what
//
// Objects are reference-counted; Object says by whom. A Fill belongs to its leader, who ends it in any case. Nothing is
// called back and no lock is held across a system call or a wait for somebody else.
//
// # What it promises
//
//   - A hit compares the whole key, a body is checked against its checksums on the first open after a start, a small one
//     on every open, a damaged file is a miss: never a wrong byte, whatever a kill or a power cut has left. What the disk
//     damages in a large file after its first open is found by the scrubber (Options.ScrubBytesPerSecond), not before.
//   - A file that a reader finds cut or unreadable ends its response with an error; Object.Discard keeps others from it.
//   - A body that is shorter or longer than announced, or whose fill is aborted, never ends cleanly for a reader and is
//     never kept.
//   - The writer never waits for readers. A full or failing disk is the store's loss, not the client's: the body goes on
//     in memory. If the disk is full before the budget is, a part of what is stored makes room, once for each fill that
//     found none.
//   - Budgets hold at every instant, for what is stored, being filled and being unlinked. Three things lie outside of
//     them and are bounded by running requests: bodies that found no room or are not worth it (Stats.UnstoredBytes), evicted
//     Objects that somebody still reads, and, until the scan after a start is done, files that it has not come to. So does
//     the journal: 48 bytes an object, twice while a snapshot is written, and a log of 64 MiB, more only while the disk takes
//     no snapshot.
//   - After a restart objects are served at once, because a path follows from its key; the journal only counts, and lets
//     misses answer without a look at the disk. See below.
//   - A response that cannot be stored takes the older one with it: nobody gets an older response after a newer one.
//
// # What survives
//
// The journal (disk.Journal) has a record of each file. Changes are noted under the shard's lock, so that those of one ID
// come in their order, and written within a second. After an orderly end (Run has returned, then Close) Run loads it and
// the index is what it was. After any other end versions are not believed, sizes are until the file is opened or listed,
// what the journal has last heard of as removed is unlinked (a miss, if it was stored again within the last second), and a
// scan compares the directories with the index: what it does not know it gets, what is not there leaves it. Until that is
// done, misses ask the file system. Should a power cut bring back a journal that claims an orderly end, files that it does
// not know are misses until the scrubber lists them. A journal that is damaged or lost costs the order of use, and the time
// of a scan.
//
// # Two processes
//
// One process owns the directory. It may give it to another (Yield), which finds all that is stored as after an orderly
// end, and serve on from it without changing anything: names are given in one step, bodies never change under one, and an
// older version than the index has is a miss. What it fetches meanwhile is not stored; what it would have removed, the other
// one has, until it is purged there too. If the other one is gone it takes the directory back (Reclaim).
//
// # What it leaves out
//
// It does not decide what may be stored or reused (package freshness does, and the caller asks it), and does not purge by
// prefix or tag: the caller holds what it gets against package tag, Evicts what is purged and Detaches fills. Of the
// variants of one resource it keeps the field names, on disk too, and the last 16 used since the start: after a restart
// those of before go by age, as all else.
//
// # Lock order
//
// shard.mu, then a policy index's own or the journal's; shard.mu, then Fill.mu, then body.mu. A shard's claims (one file
// operation per ID) are waited for with no lock held, and a claim's holder waits for nobody.
//
// # Why
//
// Descriptors are shared rather than pooled: sendfile with an explicit offset on one descriptor cost 0.87 of the
// processor time of opening the file for each request. Wakes come by a closed channel rather than a condition variable,
// because a reader also waits for its client to leave. Nothing is synced: a sync made a store of 200 KiB 52 times as dear,
// and what a crash tears is found by its checksum.
package cache
