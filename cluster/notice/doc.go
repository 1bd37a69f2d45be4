// Package notice brings what one node of a cluster has to say to every other node, and tells who has heard it.
//
// A notice is a [Record]: JSON that means something to whoever joins the parts (purges), under a number that its
// [Origin], one life of one node, gave it. A [Board] holds those of all origins. Notices of different origins have no
// order, and one may be obeyed twice: they must mean the same in any order, any number of times.
//
// # Three roads
//
//   - Board.Post sends a notice to all members at once, over the connections on which nodes ask each other, and waits a
//     second for each to say that it has obeyed: a [Receipt] each. A member that gossip has lost is not asked but named:
//     behind a split it may be serving still.
//   - What fits into a packet of gossip goes there too (Options.Gossip, Board.Hear), unless all have acknowledged it before
//     one is sent: so usually none is. Who gets a notice on this road for the first time sends it on. It reaches a member
//     whose connections fail while its packets pass; nobody acknowledges there.
//   - Each half second a node asks one other at random what is missing here, and gives what is missing there: both say
//     which notices they have of each origin (a digest). So what the other roads missed arrives by itself, from anybody
//     who has it, also when its origin is gone.
//
// Nearly always nothing is missing on either side, so the exchange begins with a hash of what is there, and ends there where
// both have the same: with 1,000 lives of nodes that posted something, less than 500 bytes between two nodes and 60 more for each
// other member, where two digests have 164 KB.
//
// A node that starts asks two members before it counts as current (Board.Current), for five seconds at most; one without
// others waits for nothing.
//
// Measured with ten nodes in one process, over loopback with mutual TLS and an fsync on each (BenchmarkPurge in
// tools/weir), on two processors that had little else to do: all have acknowledged in 1.9 and 2.0 ms at the median, 9.7 and
// 12.3 ms at p99, and nobody is missing (2 runs, 900 purges). Under a load of 15 to 21 it was 5.8 to 11 ms and 109 to 220 ms
// (5 runs): the tail is that of the disk, ten bare syncs take 48 to 213 ms at p99 in the same runs. Where nodes are 1, 20 and 100 ms apart it is one way there and back, 2, 40 and
// 200 ms of virtual time, and three times that where two of them are not connected yet (the scenario purge-delay).
// After a split a node has caught up within 5 s of virtual time (purge-split), and one whose connections fail hears of
// a purge by gossip within 0.4 s (purge-gossip).
//
// # Regions
//
// Where Options.Regions names other regions, a notice crosses from a relay to a relay: whoever posts asks a relay of its
// region that has just acknowledged, or the next; that one asks one relay of each other region, or the next; and that one
// tells its members as Post does. Their receipts come back the same way. A region of which no relay answers is one
// Receipt without a node. Every second interval each relay exchanges notices with one of another region, so that a
// region that was cut off catches up, first that relay, then its members from it.
//
// In memory, with three regions of three nodes and 50 ms one way between regions, all eight others have acknowledged in
// 0.11 s of virtual time; after a split a region has caught up within 5 s (region_test.go).
//
// # The lease
//
// Board.Doubt says when a node can have missed a notice: when it has not exchanged with a majority of the last known
// members, itself among them, for Options.Lease. Each answer to a digest says, for each member, how long ago the one that
// answers had all that this member knew, from itself or from others. So an exchange counts for everybody that was heard of
// on the way, and a few in ten seconds are enough for any number of nodes.
//
// Promise: a notice that a majority has acknowledged is obeyed by every node whose Doubt is zero after a lease, because
// two majorities have a node in common; and what a node does not doubt was fetched within the lease. Time is measured on
// each node by its own clock and travels as a span, which makes it older, never younger. Who counts:
//
//   - Members that said farewell do not count, lost ones do: it may be this node that is lost. They count until this node
//     has a majority again and gossip has forgotten them, or for a week. A node that starts goes on with those that its
//     file names, and learns of others from whom it asks: it does not take a minority for the whole.
//   - A majority of two is both: when one is gone, the other doubts until that has said farewell. A node alone never does.
//   - A node that was killed may have lost from its log what it had acknowledged. It obeys that still, but cannot tell
//     others of it, and so counts for nobody until it has itself heard of half of all nodes. One that ended in order
//     counts at once. A majority that is killed within the seconds that this takes breaks the promise.
//   - What was posted by a minority is no part of the promise: the receipts name who has not acknowledged.
//
// # What is kept
//
// Every node keeps the notices of all origins in memory: 65,536 or 16 MiB, for a week. What came first goes first, and
// leaves a floor: the number up to which an origin's notices are gone, and the age of the last of them. A node that
// lacks what is below a floor cannot learn what it said, so it takes the safe side, Options.Lapse: all that is as old as
// that counts as meant. The same holds for one that was away for longer than a week, and one whose file is damaged.
//
// The file says how far this node is, and no more. A node that starts has an empty log, gets from the others what they
// have, and obeys the part that it does not know from before. What it knows and nobody has any more, after all nodes were
// down, it then tells as a floor: only those who missed something pay for it.
//
// # Clocks
//
// No time of one node's clock is compared with another's. A notice travels with its age: the spans for which the nodes on
// its way had it, each by its own monotonic clock, up to the moment when it is sent, in a packet too. The ways between them
// are not counted, so the age is a little too small, and "so long ago by my own clock" a little too late: it covers all
// that this node had done when the notice was posted, however wrong the clocks are, and little more, however late it arrives.
//
// # Limits
//
//   - A member that did not acknowledge may act as before until it can be reached, or until the end of its lease. Who needs
//     to know looks at the receipt.
//   - A node that starts while it can reach nobody becomes current, with what it knows.
//   - Nodes believe each other: whoever has the cluster's secret can post anything. Strangers cannot: the handler belongs
//     behind mutual TLS, which nothing recorded can be played to again; and a notice that is known has no effect. Packets
//     of gossip can be recorded and played: to nodes that have forgotten the notice, a week later, it is a new one, and
//     ends what was stored before it came.
//   - Leases are of one region: a notice of another one is not acknowledged by a majority of this one until its relay has
//     brought it.
//
// # Locks
//
// Outer to inner: Board.saving, Board.mu. None is held while another node is asked or Options are called.
package notice
