// Package tag tells which stored responses were purged: by URL, by the beginning of a URL, by tag, or all of them.
//
// A purge is a value, a [Purge]: what it means and a time. It covers the responses whose fetch from the origin began at
// that time or before. Nothing is searched for. A [Table] remembers for each name (a URL, a prefix, a tag) the time of
// its last purge, its generation, and a response is held against the generations of its own names when it is met:
// Table.Check, a few hash lookups. Applying a purge twice, late, or in another order than others makes no difference,
// so that nodes need to agree on nothing but the values.
//
// # Bounds
//
// Names are kept as hashes of 64 bits; two names with one hash are purged together. Each kind has a limit of names.
// When it is reached the quarter purged longest ago is folded into a sketch: a fixed array in which names share slots,
// each with the latest time of those that fell there. So what is forgotten is which name it was, never that it was
// purged: responses older than the folded purges may go with them, about one in sixteen for each fold.
//
// # Time
//
// Purge times and fetch times are readings of the Table's own clock (Table.Time). It begins with the machine's and goes on
// with the monotonic clock of the process, so that it never steps: with the machine's clock set to and fro what was
// fetched before a purge is purged, and nothing else is. A start sets it behind each purge in the file, and behind each
// fetch: a line there says what the clock may reach within the next minute of fetching. Where that line is lost, to a
// crash of the machine, and the machine's clock is set back too, a response may be from the future: it may have been
// fetched at any time, so every purge of its names covers it.
//
// Two processes that share the file have two clocks. What one has purged the other dates by its own, which covers all
// that it fetched until then (Table.Follow), as it does with what another node has purged.
//
// # The file
//
// With Options.File the generations survive the process: one line each, with a checksum, appended at each purge and
// synced before Table.Purge returns, rewritten when most lines are out of date. A torn last line is what was being
// written at a crash and nobody was told of. Any other damage is logged, and all that was fetched before counts as purged:
// as nobody knows then how far the clock was, up to a day behind the last that the file tells.
//
// # Concurrency
//
// All methods may be called at any time. Check takes no lock and writes nothing: tables of atomics that only one writer
// fills, replaced as a whole through an atomic pointer when they grow. Lock order: journal.syncing,
// journal.mu, Table.mu. Purges that come at the same time share the wait for the disk.
//
// # Why
//
// Why no index from tags to objects: it costs memory for each stored response, has to be rebuilt after a start before
// the first purge can be obeyed, and does not know what a running fill or another node is about to store.
package tag
