// Package ring maps a key's hash to the nodes that should hold the key.
//
// A Ring is an immutable table of 262,144 slots. A hash names a slot, a slot names up to four nodes, best first, chosen by
// weighted rendezvous hashing: every node draws a number for every slot and the highest wins. A node that joins therefore
// takes over only the slots it wins, a node that leaves gives away only the slots it held, and nothing else moves. Each
// node's share follows its weight.
//
// The table is a pure function of the nodes it is built from: two processes that see the same nodes build the same table,
// on any architecture (no floating-point logarithm takes part), and Version tells whether they do. Views may differ for
// seconds while gossip travels: whoever is asked serves, the ring is a preference and never a permission.
//
// A node has several rings, of its zone, of its region's shields, of other regions: [Tiers].
//
// A Ring may be read by any number of goroutines. Looking up costs one multiplication and one array read, and allocates
// nothing: 8 ns where 100 virtual nodes each on a classic ring cost 78 ns at 3 nodes and 205 ns at 100 (BenchmarkOwners, one
// run). Building costs one short hash for each slot and node, 270 ms at 200 nodes on a busy processor; one made of the
// one before ([Ring.Next]) 4 ms for a node that joins (BenchmarkJoin). The table takes 2 MiB at any number of nodes.
//
// # Why the number of slots is fixed
//
// A quarter of it would do for 100 nodes. But a table that grew with the cluster would place nearly every key anew on the day
// that it grows, and a pool that scales up and down over that number would do so each time; and the tables would have
// to agree on who counts. The price of one size is memory, 2 MiB.
//
// Load is not bounded here: the caller counts what it has in flight for each owner and goes down the list.
package ring
