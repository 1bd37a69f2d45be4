// Package ring maps a key's hash to the nodes that should hold the key.
//
// A Ring is an immutable table of 65,536 slots. A hash names a slot, a slot names up to three nodes, best first, chosen by
// weighted rendezvous hashing: every node draws a number for every slot and the highest wins. A node that joins therefore
// takes over only the slots it wins, a node that leaves gives away only the slots it held, and nothing else moves. Each
// node's share follows its weight.
//
// The table is a pure function of the nodes it is built from: two processes that see the same nodes build the same table,
// on any architecture (no floating-point logarithm takes part), and Version tells whether they do. Views may differ for
// seconds while gossip travels: whoever is asked serves, the ring is a preference and never a permission.
//
// A Ring may be read by any number of goroutines. Looking up costs one multiplication and one array read, and allocates
// nothing. Building costs one short hash for each slot and node; the table takes 384 KiB at any number of nodes.
//
// Load is not bounded here: the caller counts what it has in flight for each owner and goes down the list.
package ring
