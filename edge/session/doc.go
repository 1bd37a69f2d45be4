// Package session keeps who is watching what in a cluster of edges: play sessions, each a lease that its player renews.
//
// Sessions that count together, those of one account or of one asset, lie in one group at one [Place]. A place is a hash,
// and the owners of that hash on the ring keep the group: the first decides, the second has a copy. Whoever a client asks
// passes the question on ([Book.Open], [Book.Renew], [Book.End]); a session's [ID] names its place, so that nobody has to
// look it up.
//
//	client ─► any node ──Open, Renew, End──► first owner ──what it has of the group──► second owner
//	                        │                     ◄──────what it lacks, or has newer──────┘
//	                        └─► second owner, when the first does not answer
//
// # Limits
//
// A group may have a limit: how many sessions may live in it at once. The owner takes the session in, exchanges the group
// with the next owner, and only then says yes. When both have taken in one too many, in the moment in which two nodes
// hold themselves for the first owner, both come to the same view: the sessions are ranked by their beginning, and
// those beyond the limit end, at the latest when they are renewed.
//
// So a limit is exact in a region as long as one of a group's two owners is there, through the loss of any one node and
// the moving of a group to a node that joins; where neither of two halves of a cluster can reach the other, each half
// keeps the limit for itself, and the exchange after the split ends what is too much. When the ring changes, and when a
// node begins anew, the owners are sent what they should have within seconds, large groups in parts of 1,000. Two nodes that
// die before that take sessions with them: their players open new ones.
//
// A node that has just begun opens nothing for which there is a limit before all nodes of its ring have said that they have the
// same one, for five seconds at most: a node may be lost, or nobody there. In its first seconds it asks the first 16 nodes
// for a group that it does not know, because nodes that join together may have taken the places of all who have it. What
// is let in beyond a limit all the same, by nodes that agree among themselves and have not met the rest, ends at its first
// renewal with a *Conflict.
//
// Between regions nothing is waited for: an owner sends what changed to the owners of the same place in each other region,
// through relays, and each renewal sends it again. There the limit is late by the way between the regions, and where a
// region is not reached by a fourth of a lease after it is, or by a renewal.
//
// [Book.Once] is a limit of one without renewals: what may be used once, such as a token, and is then remembered until its
// time is over and for Options.Keep. What is in one region twice at the same time is refused there once; each region that
// has not heard of the other's use yet may use it too.
//
// # Life of a session
//
// Open, renewed before Options.Lease has passed since the last time, ended by its player, by another player of the account
// that needs its place, or by its lease. What has ended is remembered for Options.Keep, so that no copy brings it back. Times
// cross between nodes as spans, never as times of day.
//
// A session is in memory alone: a cluster that is started again as a whole has none, and players open them again.
// A process that takes over from another as the same node is given what that one has ([Book.Export], [Book.Import]).
//
// # What is kept of a viewer
//
// A group's place is a keyed hash of the account's name, and the name goes no further than the node that was asked. The
// session knows the asset, the class of the device and when it began. An ID carries a code of Options.Keys: one that was
// made up is refused before anybody is asked.
//
// # Bounds
//
// A node holds Options.Max sessions at most, copies included, 1,000,000 where that is 0, of about 300 bytes each, 600
// where a group has one; when they are there, new ones are refused ([ErrFull]). Changes that wait for other regions are
// 4,096 at most; more are dropped, and come again with the next renewal.
//
// Lock order: none. A shard's lock is never held while another node is asked.
package session
