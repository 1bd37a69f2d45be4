// Package notice brings what one node of a cluster has to say to every other node, and tells who has heard it.
//
// A notice is a [Record]: JSON that means something to whoever joins the parts (purges), under a number that its
// [Origin], one life of one node, gave it. A [Board] holds those of all origins. Notices of different origins have no
// order, and one may be obeyed twice: they must mean the same in any order, any number of times.
//
// # Two roads
//
//   - Board.Post sends a notice to all members at once, over the connections on which nodes ask each other, and waits a
//     second for each to say that it has obeyed: a [Receipt] each. A member that gossip has lost is not asked but named:
//     behind a split it may be serving still.
//   - Each half second a node asks one other at random what is missing here, and gives what is missing there: both say
//     up to which number they have each origin's notices without a gap (a digest). So what the first road missed arrives
//     by itself, from anybody who has it, also when its origin is gone.
//
// A node that starts asks two members before it counts as current (Board.Current), for five seconds at most; one without
// others waits for nothing.
//
// Measured with ten nodes in one process, over loopback with mutual TLS and an fsync on each, on a busy machine of two
// processors (BenchmarkPurge in tools/weir): all have acknowledged in 5.3 to 5.7 ms at the median, 16 to 23 ms at p99
// (3 runs). After a split a node has caught up within 5 s of virtual time (the scenario purge-split).
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
// its way had it, each by its own monotonic clock. The ways between them are not counted, so the age is a little too
// small, and "so long ago by my own clock" a little too late: it covers all that this node had done when the notice was
// posted, however wrong the clocks are, and little more, however late it arrives.
//
// # Limits
//
//   - A member that did not acknowledge may act as before until it can be reached. Who needs to know looks at the receipt.
//   - A node that starts while it can reach nobody becomes current, with what it knows.
//   - Nodes believe each other: whoever has the cluster's secret can post anything. Strangers cannot: the handler belongs
//     behind mutual TLS, which nothing recorded can be played to again; and a notice that is known has no effect.
//   - There is no third road by gossip packets: they would carry small notices only, lack the receipt, and save the half
//     second of an exchange in the case alone that a member's connection fails while its packets pass.
//
// # Locks
//
// Outer to inner: Board.saving, Board.mu. None is held while another node is asked or Options are called.
package notice
