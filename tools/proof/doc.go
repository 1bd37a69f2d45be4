// Package proof holds what the tests of an edge stand on: an origin that knows
// each byte it ever served, a client that checks each byte it ever gets, a
// network in memory whose links can be cut, and a runner for scenarios.
//
// # Oracle, Origin, Client
//
// An [Oracle] knows what is true of every URL: a [Rule] (by path, or from the
// path: "/o/2MiB/name"), a version that grows by schedule or by [Oracle.Bump], and
// so a [Body] that is computed wherever it is read and stored nowhere. Length,
// ETag ("v<version>-<hash>"), Last-Modified and Cache-Control follow from URL and
// version. Each page of 4 KiB begins with a stamp that names object, version
// and page, so that [Oracle.Explain] can say what a wrong byte is: other object,
// other version, other page, shifted, noise.
//
// An [Origin] serves that truth as an http.Handler, with scripted faults, and
// counts. A [Client] (HTTP/1.1, HTTP/2, HTTP/3) streams a response against the
// same oracle and puts everything wrong into [Result].Err. What it checks: status;
// every byte; one version per body; Content-Length, Content-Range and multipart
// arithmetic; ETag against the body; Age by itself and against the version's
// time; Cache-Status syntax; the staleness bound. A body that ended visibly
// early (a closed connection, a reset stream) is [BodyAborted]; one that ended
// as if it were whole is [BodyShort], which no cache may ever cause. A [History]
// takes one line per request, for the checks after the fact.
//
// The identity of a body is host, path with query (see [Canonical]), and the
// request fields that its rule lists in Vary or Keyed.
//
// # Network
//
// A [Network] has named hosts, TCP-like connections (bounded buffers, half
// close, reset, deadlines) and UDP-like packets, with [Network.Cut],
// [Network.CutOneWay], [Network.Delay], [Network.Late], [Network.Throttle],
// [Network.Loss], [Network.Heal] and [Network.Kill]. A cut link is silent: what is
// sent waits for the heal, packets are lost, dials hang. Not modelled: the
// acknowledgements that a one-way cut loses, keep-alive probes, duplicated packets,
// the bandwidth of packets. Everything here
// blocks on channels and condition variables and asks package time only, so it
// all works in a testing/synctest bubble; make it inside.
//
// # Scenarios
//
// [Run] runs scripts, each in its own bubble against a [Lab] of its own. The
// language has one command per line; words are separated by blanks, "double
// quotes" keep blanks in a word (\" and \\ inside), a word that begins with #
// starts a comment.
//
//	origin NAME [host=HOST] [RULE…]       an origin at NAME:80; rules for all its paths
//	rule PATTERN RULE…                    PATTERN: /exact/path, /prefix*, host/prefix*
//	    RULE: size=2MiB cache-control=max-age=10 content-type=T status=404 every=10s
//	          vary=A,B keyed=Cookie reflect=X-A header.NAME=V
//	          chunked no-range no-validator
//	node NAME [OPTION…]                   a node; options (origin=NAME, …) are the lab's
//	nodes NAME COUNT [OPTION…]            that many at once: NAME-1, NAME-2, …
//	client NAME GET|HEAD URL via NODE …   a request; … is any of
//	    header "N: V"   range 0-99,200-   host H    as ID     over h1|h2
//	    x1000 (so many at once)   during 30s (begun evenly over that time)
//	    fresh (a new connection each)   but NODE (that one is not asked)
//	    rate 10KiB (bytes/s)   stop 64KiB (leave there)
//	    truth H (the host whose body it is)   unchecked
//	    NODE may be a pattern (path.Match): the requests go round the nodes that run
//	    now. URL may hold one {n} (the number of the request, from 1), {n%300} (0 to
//	    299, in turn) or {zipf%300} (the same, 0 most often, by Zipf's law)
//	start NAME GET URL via NODE …         the same in the background
//	wait NAME                             until it has ended
//	expect [NAME] TERM…                   of the last results of a client, by
//	                                      default the last one that ended or began
//	    status body version bytes verified outcome age ttfb head total protocol
//	    error cache-status header.NAME count
//	    TERM: KEY OP VALUE in one word; OP: = != (VALUE a|b: any of them) ~ !~
//	          (regular expression) < <= > >= (numbers, sizes, durations)
//	    all results must match; with times=N, exactly N (times<=N, …)
//	    body: ok aborted short wrong left unproven none
//	    outcome: hit stale collapsed miss pass
//	expect origin NAME PATH|* TERM…       requests in-flight max-in-flight bytes, and
//	                                      method status header.NAME of the last request;
//	                                      PATH may end in *: requests and bytes are sums,
//	                                      in-flight and max-in-flight those of the path
//	                                      with most (with * alone: of all together); and
//	                                      paths, per-path (requests by paths), most
//	                                      (requests of one path)
//	expect network FROM TO dials=N        connections dialled; * is any host
//	fault ORIGIN PATTERN FAULT… [skip=N] [times=N]
//	    delay=5s stall=K stall=K:30s trickle=N/1s status=503 truncate=K reset-head
//	    reset=K length=-10 extra=10 wrong-range=N ignore-range flip=K shift=N mix=K
//	    other (see ParseFault)
//	clear ORIGIN                          removes all its faults
//	release ORIGIN PATTERN                ends the stalls put there with that pattern
//	bump PATTERN                          the next version is current from now on
//	kill NAME                             nodes, or an origin; they may be started again
//	cut A B | cut A -> B                  * is every host
//	heal [A B]                            without names: all links
//	delay A B 50ms | loss A B 0.1
//	late A -> B 5s|forever                what A says on connections arrives that late,
//	                                      packets and dials pass: a process that hangs
//	throttle A -> B 10KiB                 bytes a second on all connections; 0 ends it
//	advance 10s                           lets time pass
//	do NODE WORDS…                        an operator's action, as the lab knows it, on
//	                                      each node that the pattern names
//	purged PATTERN                        an acknowledged purge: older versions are wrong now
//	staleness 10s                         checks all that was got until now
//
// After each line the runner waits until nothing moves any more. A request
// whose response breaks a promise (a wrong byte, a short end, a wrong range, tag
// or age) fails its line, unless it says unchecked. No response, an abort and an
// error status must be named by an expectation of status, body or error; what
// nothing expects fails the script. Errors begin with file:line.
//
// # Trials
//
// A [Trial] runs nodes for virtual hours under a load of viewers, while versions
// change, purges run, and faults strike by the [NewSchedule] of a seed. A round is a
// quiet time, up to four faults that overlap (nodes die and come back, with spoilt
// files or a farewell; they pause; links are cut both ways or one way, split, slow,
// lossy, late, throttled, reset; the origin errs, stalls, breaks off, is away), and
// 20 s for the cluster to be one again. A seed strikes the same again; what nodes
// draw at random, and the order of what happens at one instant, it does not decide.
// Checked are, under the names by which a break is told:
//
//   - I1, I3 each byte, one version per body, no clean short end: by the [Client].
//   - I2 no version older than its lifetime and stale windows allow, and none that a
//     purge covers which the node has obeyed: at once where it has acknowledged it or
//     was started with all links whole, else 20 s after the last fault.
//   - I4 what is a viewer's own (private) no other gets: its bytes would be wrong.
//   - I6 one request to the origin at a time for an object in quiet times; for a part of
//     a film as many as nodes.
//   - I8 no node has more in memory or on disk than it may.
//   - I9 nothing is left running: by the bubble, at the end.
//   - I10 every response ends within a minute.
//   - I11 no response came through one cache twice or through more than three, no request
//     to the origin names the cluster twice.
//   - I12, I13, I14 rings agree 15 s after the last fault, purges 5 s later, and all are
//     ready.
//   - I15 the Age of one stored response never falls.
//   - I17 no panic, stopped or not.
//   - I18 a node has counted what its clients got.
//   - N9 a request fails only where the node that was asked, or the origin, was struck:
//     what happens to other nodes and to links between nodes no viewer notices. A body
//     may break off, visibly, where there is another version by then.
//
// Not checked, as they have tests of their own or need what a trial has not: that one target
// has one key, what becomes of refused requests and refused configurations, what stands in
// logs, playlists that a player follows, and the number of origin requests while faults
// strike.
//
// # Helpers
//
// [Goroutines] fails a test that leaves goroutines behind, [RequireTool] skips
// one whose program is not installed, [Certificate] mints TLS for loopback,
// [Serve] serves a handler on any listener. A client for packets that no well-behaved QUIC
// stack sends is package quicraw below.
//
// # Locks
//
// Network.mu, link.mu; stream.mu, link.mu. No other is held with a second.
package proof
