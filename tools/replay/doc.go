// Package replay runs request traces through cache policies and tells what each would have saved.
//
// [Read] takes a trace in one of four formats and gives every object a path as a node would see it, so that Weir's own
// policy works on what its parser makes of real names. [Run] plays the trace through one policy with one budget. The
// policies are Weir's index itself (package cache/policy, the code that the disk tier runs) and, to compare with, LRU,
// golang-lru's 2Q, ARC, S3-FIFO, and Belady's with the right to refuse, which knows the future.
//
// A run is one goroutine and deterministic: the trace's clock is the policy's, and seeds are fixed. Budgets are in bytes,
// except that 2Q counts entries of the trace's mean size, because that is how the library counts.
//
// [Chart] draws results as SVG; [Table] and the result's tags for JSON serve the other forms.
package replay
