// Package policy decides what the tiers of the cache keep: a least-recently-used index with budgets for the hot one, and
// for the disk a compact index that knows of streams.
//
// # LRU
//
// The order of use comes from golang-lru's simplelru, one pair of lists per shard; bytes and slots are counted here,
// because simplelru counts entries only. Victims are the oldest over all shards. A Cost has bytes and slots. Slots bound
// something scarce beside bytes: the cache gives one to every entry that holds a file descriptor. When slots run short
// only entries that hold one are evicted.
//
// Where one path is asked for with ever new queries ([Crowds]: more than 64 lately), those go on probation (LRU.Try): lists of
// the library beside the others, of a sixteenth of the budgets, whose oldest goes first, or joins the others where it was
// used again. A hit costs what it did, for that is found out when room is made. With 1,020,000 values of a query, 34 for each
// request of others, a hot set of half the cache lost none of its hits, and one of 12 times the cache 1.0 of 58.6 points,
// where four values for each took 39 and 29 points before. On traces without queries the hits are the same, each.
//
// # Index
//
// An entry is 34 bytes, side by side in columns without pointers, found by a table of 32-bit references that fills to nine tenths and
// grows by an eighth: 40 bytes an object at ten million, all in, and nothing for the garbage collector to follow. Samples
// are drawn by number.
//
// Most objects of a video service are asked for once, so an object's own past says little; its title's says much.
// [ParseStream] reads title, rendition and segment from the key, and every request, through Ask, raises
//
//   - a decaying counter of the title's block of 16 segments, and one of the rendition's there;
//   - a viewer's place in the rendition, from which the segments ahead of it will be asked for one by one.
//
// Evict compares what these make of 16 entries and takes the least; Admit refuses a newcomer that is less than those. Most
// of their time goes into fetching entries and counters from memory, so a rate is reckoned only until it is clear that it is
// not the least: 3 us for Admit, 9 for Evict and Put with 400,000 entries on a busy processor, where it was 12 and 15. A
// rendition whose requests gather right behind a head that moves is live: what lies at its head is let in at once, kept
// for 20 seconds after its last use, and then goes first.
//
// An object of no stream is treated as in S3-FIFO, but that its queues are the oldest of samples: it enters a tenth of what such objects have, leaves it for the rest
// when used twice, and if it comes back soon after it has gone enters the rest at once. What an untried one is worth next
// to a stream's piece is learned from those before it, and they never have more than a tenth of the disk: whoever asks for
// ever new names, or one name with ever new queries, pushes out little of what others watch (1 point of their hits, where
// it was 36).
//
// Byte hit at a cache of 5 % of all bytes (weir replay), on a synthetic film trace / one with 40 % live viewers: LRU 6.9 /
// 10.7, S3-FIFO 12.7 / 11.7, this 17.9 / 16.9, with the future known 26.9 / 24.7; another seed is within 0.1. The traces'
// viewers walk segments as ours are taken to, which flatters it. On two traces of web objects, AdaptSize's and cache2k's
// web07: S3-FIFO 35.9 / 57.4, this 36.6 / 57.3. The tenth that is missing on the last is the price of remembering four
// ghosts for an object: with one it is 57.4 there, and 36.2 on the other.
//
// # Both
//
// Budgets are global, not per shard: whoever wants to put something in reserves its cost first, evicting until it fits,
// so the sum of what is in the index and what is reserved never exceeds the budget, and one object may be as large as the
// whole budget. Nothing is called back: what was evicted or replaced is returned, and the caller disposes of it with no
// lock held.
//
// Lock order: in the Index that of a class's elders; a shard's mutex; in the Index that of the ghosts; no two shards' are held at once.
package policy
