// Package upstream fetches responses from the origin and from peers.
//
// A [Group] is an origin: one or more equal hosts, tried in turn, a host that
// keeps failing left out for a while, never all of them. [Peers] asks other
// nodes of the cluster over mutually authenticated HTTP/2, or over HTTP/1.1 in
// the clear with signed requests. Both answer with a
// [Response] whose body fails when the upstream stalls, ends short or resets,
// and never ends cleanly before the last promised byte.
//
// A host or a peer that keeps failing is left out by a breaker, which one probe
// closes again. Retries and hedges have budgets, so that what fails under load is
// not given more of it. What they are doing is told by [Peers.State], [Peers.Opened],
// [Peers.Failed] and [Peers.Budgets], and by [Group.Hosts] and [Group.Retries].
//
// A request body that its client does not send to the end, or spoils, is that client's failure and
// no mark against the host: else five of them would take an origin from all others.
//
// Every failure is an [*Error]: what was tried, whose fault it is, the error
// type of RFC 9209 and whether the same request may be sent elsewhere.
//
// # Time
//
// There is no limit on a whole transfer, which may take hours, but on each
// wait: for the connection, for a first sign of life, for the response head,
// and for the next byte of the body. A peer that has accepted a request and
// waits for its own upstream says so with an interim response (102), so that
// a dead peer is told from a slow origin within a second. One that hangs after
// that word, or in the middle of a body, does not answer the ping that follows a
// second of silence, and has lost its connection after two. Only the first interim
// response of an origin, and the first four of a peer, begin the wait for the head
// anew: who sends them for ever is not waited for. HTTP/1.1 has no pings: in the
// clear a peer that hangs in the middle of a body is given up after StallTimeout.
//
// # Trust
//
// An origin's address comes from the configuration alone; nothing in a request
// can change it. A name in it stands for public addresses only, unless Options.Private
// says otherwise: each address is looked at when it is about to be dialled, so that
// a name that turns to this machine or to a cloud's metadata service after it was
// checked leads nowhere. An address that the operator wrote himself is dialled. Redirects are not followed but handed on. Peers are
// known by the certificate that the cluster secret signs: the name in the ring
// is the name in the certificate. In the clear they know us by our signature, and
// nothing tells whether an answer is theirs: that is for networks that are trusted.
package upstream
