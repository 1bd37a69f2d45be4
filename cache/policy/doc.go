// Package policy decides what a tier of the cache keeps: a sharded, least-recently-used index with a budget in bytes.
//
// The order of use comes from golang-lru's simplelru, one pair of lists per shard; bytes and slots are counted here,
// because simplelru counts entries only. Budgets are global, not per shard: whoever wants to put something in reserves
// its cost first, evicting until it fits, so the sum of what is in the index and what is reserved never exceeds the
// budget, and one object may be as large as the whole budget. Victims are the oldest over all shards.
//
// A Cost has bytes and slots. Slots bound something scarce beside bytes: the cache gives one to every entry that holds
// a file descriptor. When slots run short only entries that hold one are evicted.
//
// Nothing is called back: what was evicted or replaced is returned, and the caller disposes of it with no lock held.
//
// Lock order: a shard's mutex is a leaf; no two are held at once.
package policy
