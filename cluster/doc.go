// Package cluster knows which nodes are there, by gossip, and publishes the ring that places keys on them.
//
// # Membership
//
// Nodes find one another with hashicorp/memberlist (SWIM): every node checks one random member each ProbeInterval, asks
// others to check it too when it does not answer, and tells everybody of what it finds. There is no coordinator and nothing
// else to run. With each node travels what it says about itself: where its peers and viewers reach it, zone, region, role,
// weight, whether it is draining, its build. That is parsed strictly (meta.go); a node that says anything wrong is refused
// altogether and never gets near a ring.
//
// Bare memberlist does not heal a long split: it forgets dead members after half a minute, and two halves that have
// forgotten one another stay apart. So a loop of our own (rejoin.go) keeps asking the seeds of Options.Join, looked up again
// each time, and every member that was lost in the last hour.
//
// # Secret
//
// memberlist runs open when it is given no key, therefore a node without a Keyring does not gossip at all, and options that
// ask for company without one are refused. Two keys come from the one secret, by HKDF with a label each: the key that every
// packet and stream of gossip is encrypted with (AES-256-GCM, the cluster's label authenticated), and the key of an
// authority from which every node mints the certificate that it shows its peers (Keyring.PeerTLS). Whoever has the secret
// is a member in full and may take any name; there are no ranks among nodes. The secret never appears in logs or errors.
//
// A secret is replaced while nodes run. A secret file holds up to four: the first encrypts, signs and mints, all are
// accepted. A Keyring reads the file again when it has changed, or is told to, and refuses one that is wrong as a whole.
// Three steps, each on all nodes before the next begins:
//
//  1. Append the new secret: all accept it, none uses it.
//  2. Move it to the first line: all use it, and still accept the old one.
//  3. Remove the old one.
//
// Each member tells the others the IDs of its secrets (Member.Keys, 8 digits derived from each), so that any node shows
// whether all have taken a step. Connections between peers that run go on until they end by themselves; whoever came in
// with a secret that has been stolen is gone for certain once the nodes have restarted.
//
// # Allowed addresses
//
// A Gate names the networks that nodes may come from. What comes from elsewhere, a packet, a stream of gossip or a peer's
// connection, is dropped before anything of it is read; a member that says that its gossip or its peer listener is elsewhere
// is refused, and so are addresses to join. It is no proof of who somebody is, which the secret is: an address in a packet
// can be forged. It keeps strangers from making a node work.
//
// A member is also refused when it gives an address that would have others ask themselves: loopback, unless its gossip is
// there too, or the listener for operators of the node that hears it.
//
// # Peers in the clear
//
// With Options.Cleartext peers speak HTTP/1.1 without TLS, for networks where nobody else can read or write. A Signer signs
// each request with a third key of the secret; what is not signed, signed otherwise, or older than 30 seconds is answered
// with 403 before any work is done, and counted. Answers are not signed, and nothing is encrypted: it keeps out strangers,
// not whoever sits on the wire. A recorded request can be sent again for those 30 seconds, which is harmless: a GET brings
// what was seen before, and notices count once.
//
// Members tell which of the two they speak. A member that differs stays a member and is on no ring, so that neither asks
// the other; nobody ever tries what it was not told to speak.
//
// # Rings
//
// Every change of membership leads to new tables: a ring.Ring of all members that are alive and hold a share of the keys,
// and the ring.Tiers of this node, a ring of those in its own zone and one of the shields of its region. They are built
// after PublishDelay, so that a burst of changes makes one, from those before, and published through an atomic pointer:
// readers load it once for each request and never wait. A ring is a function of the members alone, so nodes that see the
// same members place every key alike, and Version tells whether they do.
//
// A node that is told to go (Run's context ends, or Drain) first announces that it is draining: the rings of all put it
// behind every other node while it goes on answering. It says farewell DrainTime later.
//
// # Regions
//
// A region is a pool of its own: a member that says it is of another one is refused, because a ring over long ways would
// send half of all fills around the world. Regions meet through relays, a few nodes of each that are in a second pool as
// well (Options.WAN, another label, another port): there a node learns which shields the other regions have
// (ring.Tiers.Homes) and whom to tell of purges (package notice), and nothing else that the members of a region do among
// themselves travels. Timers in that pool suit
// long ways: a relay that is gone is missed after 12 s, and the request path notices much sooner.
//
// A region that is cut off goes on with what it has and with its own way to the origin.
//
// # News
//
// Cluster.Tell sends a message of up to 1,200 bytes with the packets of gossip to random members, each of which tells it
// again when it is new to it: ten nodes have all heard it within 0.25 s of virtual time (8 runs of the test). Nobody
// answers. Purges travel so beside the connections between nodes (cluster/notice).
//
// # Ten thousand nodes
//
// One pool does not carry them: 50 regions of 200 do, three relays of each in the relays' pool. What follows is arithmetic
// from the default timers (a test computes the table), and a model, not a measurement; a hundred nodes are the most that
// were run, in one process.
//
//	pool                     packets a second  missed      full exchange               changes
//	                         always   news     after     state    every     sends     a second
//	a region of 200               4     30    5.4 s      35 KB     40 s     1.7 KB/s     20
//	the relays' pool of 150       1     15   20.6 s      26 KB    120 s     0.4 KB/s     10
//	one pool of 10,000            4     30    8.8 s    1740 KB    100 s    34.8 KB/s     12
//
// Packets, what is sent and changes are those of one node. News are sent for as long as there are any; a member that dies
// and comes back is two changes, so a restart of all 200 of a region takes 20 s to be told, one of 1,000 of 10,000 three
// minutes, and for that long rings differ. In the model a change reaches all 200 in 8 gossip intervals (0.8 s) at most; with
// a fifth of the packets lost, in 10, and 2 of 100 changes miss a node until the next full exchange.
//
// A purge that goes from the node that takes it to a relay, from there to one of each region, and from those to their
// members, has in the model of 50 regions on the inhabited earth reached half of all 10,000 nodes after 80 ms, 99 of 100
// after 150 ms, and the last one after 155 ms; where one message in a hundred is lost, the exchanges every half second bring
// it, and the last one has it after 0.6 s in half of the runs, 1 s at most. The relay sends 49 messages, each other one 199.
//
// # Promises
//
//   - Ring is never nil and holds at least this node, unless its role keeps it off.
//   - Nodes without the key and label learn nothing and change nothing; what they send is counted.
//   - Nothing that arrives from the network ends the process: callbacks stop panics and count them.
//   - Run returns after its own goroutines have ended and the sockets are closed. memberlist's loops end by themselves
//     within a probe interval after that.
//
// Measured in virtual time with the default timers, 3 and 10 nodes: members agree on one ring 0.2 s and 0.3 s after they
// join; a crash is off every ring after 3 to 4.5 s; draining is seen in 0.1 s; a split of two minutes is healed
// within 7 s (12 runs each of the tests).
//
// # Why
//
// Peers in the clear are there for speed: TLS keeps sendfile away. For objects of 2 MiB the node that has them on disk took
// 0.22 s of processor time for each GiB instead of 1.4 s, and the node that asks 1.5 s instead of 2.1 s where it keeps a
// copy, 0.9 s instead of 1.6 s where it does not (medians of five runs of BenchmarkPeers in tools/weir, two busy cores, viewers
// over HTTP/1.1 in the clear).
//
// The asking node reads and writes; it does not splice(2) from socket to file. The cache needs a checksum of each 64 KiB, so
// the bytes would have to be read back, and a file system copies what comes out of the pipe anyhow: reading 256 KiB, summing
// and writing took 0.44, 0.49 and 0.46 s for each GiB, splicing and reading back 0.45, 0.53 and 0.40 s, splicing alone 0.31,
// 0.36 and 0.36 s (ext4, pipe of 1 MiB, three rounds in turn on one thread).
//
// # Limits
//
//   - Gossip is slow truth. Seconds pass before a dead node is off the ring, so whoever sends requests to peers must notice
//     a silent one itself. Views differ for that long, so a node that is asked must serve and never redirect.
//   - One pool is meant for up to 200 nodes.
//   - In a split both sides go on, each with its own ring. That is right for a cache.
//   - Names must be unique. The second node of a name is not let in while the first is alive, and says so in its log. A node
//     that restarts at another address is let in when the others have missed it, or at once after a farewell.
//   - memberlist tells neither suspicion nor farewell: a suspect member counts as alive, and a member that goes while it is
//     draining counts as having left.
//   - In the clear the clocks of two nodes may differ by 30 seconds less the time on the way. Beyond that they refuse each
//     other, and other nodes or the origin are asked. A peer that hangs in the middle of a body is noticed later than over
//     HTTP/2, which has pings.
//   - memberlist has no defence against the replay of recorded packets. Who replays one can make a member flap (one that
//     left appears until it fails its first checks, one that is alive is lost until it answers the accusation), no more.
//
// # Locks
//
// Outer to inner: memberlist's own locks (held in most callbacks), then roster.mu or Cluster.mu or transport.mu or news.mu, never
// two of those. Nothing here calls memberlist with a lock held. Callbacks write to the log, as memberlist does itself under the
// same locks, so Options.Log should not block for long.
package cluster
