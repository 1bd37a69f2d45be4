// Package limit tells whether a request, a piece of a body or a connection is within its bounds.
//
// Four parts, which know nothing of HTTP, take the time as an argument, and are safe for concurrent use:
//
//   - [Table]: rates with a burst, for any number of clients in memory of fixed size.
//   - [Counts]: how many things of one client run at once.
//   - [Concurrency]: how many fetches may run at once, found from how long they take.
//   - [Pressure]: which requests to turn away when the machine itself is the bottleneck.
//
// # Rates
//
// A rate is kept as one instant for each client, that at which its bucket is full again (the generic cell rate algorithm
// of ATM Forum TM 4.0, 4.4.2: a token bucket without a timer that fills it). Take asks for requests, and what it refuses
// costs nothing, so that a client that asks too often still gets its rate. Reserve is for bytes: it always charges, and
// says how long to wait, so that all streams of a client together are exactly at its rate. Refund gives back what was not
// sent: a bucket is full at most, but what refills meanwhile is not counted off.
//
// A Table never grows. A client has eight places where it may be kept; where none is free the one that is full
// soonest leaves, and who comes gets what that one had left: of one whose bucket is full again nothing is lost, and a
// flood from more addresses than there are places ends with empty buckets for all of them, never with fresh ones.
// Names are hashed with a seed of the process, so that nobody chooses whom to meet.
//
// # Concurrency
//
// The least that fetches take is what they take while nobody waits. Where the median of a second is more than
// twice that, and slow in absolute terms, they wait for one another somewhere behind us, and more of them at once would only
// wait longer: the limit falls to four fifths of what ran. Where it is not, and the limit was in use, the limit grows by a tenth.
//
// While the limit is in use every thirtieth second runs at half of it, and what that takes is the new least.
//
// Why not a fixed number: the right one is the origin's, changes with its state, and is known to nobody. Why the median and
// not the mean: a playlist that the origin holds back on purpose says nothing. Why the measurement now and then: an origin
// that has moved is not overloaded for ever, and a baseline that follows the load would follow it without end.
//
// # Pressure
//
// One number from 0 to 4. Requests are in four classes (see [Class]), and pressure p sheds those of class c with
// probability p - c: at 0.5 half of the segment misses, at 2.3 all misses and 30 % of the hits of segments. So what costs
// most and helps least goes first, and what keeps players alive, a playlist that is stored, goes last.
//
// It follows the larger of two signals. Delay: how long what comes waits for somebody to read it, or half of what could run for
// a processor, whichever is longer; above the
// target pressure grows, below it falls, slowly, so that it settles where the queue is short. Memory: what is in use of the
// limit; from 80 % on pressure is proportional, up to 3 at 95 %, as to shed a stored playlist frees none.
//
// Why by probability: to shed a class wholly and then not at all is to swing between idle and overload. Why a delay and no
// count of requests: what a request costs differs by a thousand, and a queue that does not get shorter is what overload is.
//
// With 9,000 viewers, who ask for three times what a node with one processor can do and come back when they are told to
// (TestOverload in tools/weir, 24 s, on a machine with other work), the node was asked for 9,400 stored segments a second, answered 8,700 and all
// stored playlists, with a median of 4 ms, p99 0.66 s; 6.5 % of the stored segments, 92 % of the playlists to fetch and all
// segments to fetch were turned away, half of the latter in 5 ms. Without the delay as a signal it was 9,500 a second with a median
// of 375 ms, p99 0.95 s. By the runtime's figure alone no stored response was turned away: its poller takes 128 connections at a time, and
// the others wait in the kernel. A 503 costs 35 microseconds of 65 to 80 of a stored segment: clients that ask again at once can
// make a node do nothing else, which is for rates and for penalties to prevent.
package limit
