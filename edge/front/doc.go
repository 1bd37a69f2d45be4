// Package front accepts HTTP/1.1, HTTP/2 and HTTP/3 for one http.Handler.
//
// Two listeners, each optional: HTTP speaks HTTP/1.1 in the clear; HTTPS speaks
// HTTP/1.1 and HTTP/2 on a TCP port and HTTP/3 on the UDP port of the same number,
// which the former announce with Alt-Svc.
//
//	TCP ── tcpConn ─────────────────────── guard► net/http (HTTP/1.1) ──┐
//	TCP ── batchConn ── tls ── tlsConn ─ALPN guard► net/http (HTTP/1.1) ┼─► entry ─► Handler
//	                                    └─ http2Stream (HTTP/2) ────────┤
//	UDP ── quic-go ── quicConn ── http3Stream (HTTP/3) ─────────────────┘
//
// # Sending files
//
// The ResponseWriter that the Handler gets has ReadFrom for every protocol. A
// source with the method FileRange (see FileRanger) is sent from the shared file
// at explicit offsets: by sendfile(2) on HTTP/1.1 in the clear, by large reads and
// writes elsewhere. Of a small file the head waits in the kernel for the first bytes
// (MSG_MORE). Anything that wraps the ResponseWriter must pass ReadFrom on:
// without it a segment costs about six times the CPU.
//
// # Certificates
//
// Certificates is what tls.Config.GetCertificate should be: pairs of files, chosen by
// the name that the client asks for, looked at every five seconds and read anew when they
// change; a pair that cannot be used leaves the one from before in place, and says so. It
// staples OCSP responses, which it fetches at half of their life and keeps on disk; a
// certificate that clients refuse without one (RFC 7633) replaces another only together
// with its response. One goroutine owns the files, one the staples; both end with Run.
//
// ACME has certificates from an authority and renews them; certmagic does it, behind
// acme.go. Both challenges that need no access to DNS are answered on our own listeners:
// ACME.Handler takes those that come in the clear, GetCertificate those in the name of
// acme-tls/1. Until there is a certificate, the one from files or the minted one serves.
//
// Which site answers is decided by the request's host alone: a client that has opened
// a connection in the name of one site may ask for another (RFC 9110, 4.3.3), and gets
// that one's rules. Therefore a session ticket, which may hold a client's certificate,
// counts only for the host that it was issued for. The keys of tickets follow from
// Options.TicketSecret and the time, so that servers with one secret take each other's
// tickets without a word.
//
// # Fingerprints
//
// What each client offers first in its handshake is kept as JA3 and JA4, over TCP and QUIC, for tokens that are bound to it
// (Prints of a ResponseWriter). That is 4 µs of a handshake and some 200 bytes of a connection.
//
// # Behind a balancer
//
// A TCP connection from an address of Options.ProxyProtocol begins with a PROXY protocol
// header, before TLS, and the client that it names is the RemoteAddr of its requests. The
// header is read from the socket to its last byte and no further, so that the connection
// below stays a socket and sendfile goes on. Where it is missing, late or malformed the
// connection ends without an answer and counts in Stats.ProxyErrors.
//
// # Limits
//
// A request header has to be complete within HeaderTimeout, and a connection
// without requests lives for IdleTimeout, on all three protocols. There is no
// write time-out, because an honest download may take hours: the Handler pushes a
// deadline ahead of its writes with http.ResponseController.SetWriteDeadline, which
// works on all three; on a TCP connection it may take effect early by an eighth of
// the time left, so that it costs a timer now and then and not for each write. Header
// bytes, fields, streams and windows are bounded by constants of this package.
//
// # How many connections
//
// Options.Connections bounds them, in all and by client and network (seats). Each has its seat from accept on, before TLS,
// and over QUIC from its first packet on, before the handshake; behind a balancer the client counts once its header has
// come. Who gets none is reset, or refused (CONNECTION_REFUSED), and counted. Where all seats are taken the connection that
// is without a request for longest gives way, one that has yet to send its first as well, as with nginx, or that is in its TLS
// handshake (over QUIC only when that is complete): an idle connection costs its client a round trip at most, a refused one is a
// viewer lost. Those are found 64 at a time, so that a request
// changes nothing but an atomic of its own connection.
//
// Where the system has no descriptor for a connection, idle ones give way too, and nothing is accepted for 5 to 250
// milliseconds: those who wait are the kernel's, and the connections that are open go on.
//
// # Who floods
//
// A budget ends a connection, and its client would come back: a hundred times a second, each time for the price of a
// handshake and of what a budget lets pass, up to 25 ms of ours for 1 ms of its own. So what ends a connection, or is
// refused in it, counts against its client and its network, in points: 30 where a budget is spent, 5 where something is
// refused at once, 2 for a handshake over TCP that is not ended or that no request follows, 1 for a connection in the clear
// that ends without one, unless it gave way to another. With more than 300 in ten seconds, or 2,400 of a network, it
// gets no new connection for 5 s (a reset before TLS; CONNECTION_REFUSED over QUIC), and twice as long each time that
// follows soon, up to Connections.Penalty. Open connections go on: behind that address may be others. A QUIC client
// counts once its handshake is complete, as addresses may be forged; behind a balancer it is the client that its header
// names. Without one, all clients have the balancer's address, so private ones are exempt in the configuration. At most
// 16,384 clients and networks are known, 2 MiB.
//
// With it a flood of one client that breaks a rule costs us 0.2 to 3 times its sender's CPU, where six of them took 11 to 27
// times (TestAttacks in tools/weir). Not bounded by it are requests for which there is no rule: readers that stall took 3 to 7
// times when they came, most of it for the responses that wait, and a hundred small hits at once over HTTP/2 8 times; those
// are for sites[].limits. In the first moments, until the penalty begins, honest clients wait up to 50 ms.
//
// # Who asks for a hundred things at once
//
// Go looks at the network when a processor has no goroutine left to run, or 10 milliseconds after it last did. A client that has
// a hundred requests at once always leaves some, and everybody else's wait in their sockets. So of an HTTP/2 connection no more
// requests are taken than four for each processor, eight at least, whose responses have not begun; after 5 ms those that
// wait for an origin do not count any more. Before the next ones are taken, the runtime has looked at the network (nextPoll). With
// four connections of small hits, a hundred at once on each and 72,000 in a second, an honest client on two processors waits
// 0.4 ms and one time in a hundred 3.6, as one of another node on that machine waits 2.1; without an attack it is 0.4 and 0.9
// (TestAttacks). For nodes there is no such bound, and none for HTTP/3.
//
// From many addresses no penalty begins at first: 200 networks may have 600 handshakes and 6,000 connections without a request
// in a second for as long as they like. Of a flood of more, 9,000 to 18,000 a second on two processors, an honest client's p99
// was 1.9 to 3.2 ms, 1.3 to 2.2 times that of before; from one address it is 0.7 to 2.6 ms. That is because accepting pauses
// (see acceptedAtOnce): a goroutine that always finds a connection keeps the runtime from the poller.
//
// # Where a request ends
//
// What comes in HTTP/1.1 passes a guard too (http1Guard): one look at each byte of a head, and at what is around chunks.
// net/http alone takes bare LF, folded lines, HTTP/1.9 and two equal lengths, goes on with the connection after a request
// with Content-Length and Transfer-Encoding, and answers what it refuses itself without a word to us. The guard is
// stricter than net/http in all of that, so that whatever it lets through reaches the entry, as the same requests
// (FuzzHTTP1). A client that is refused gets one answer, behind those to its requests before, and the connection ends:
// nothing after the doubtful byte is looked at. Of requests that come together with the one before a connection has 100 in ten
// seconds, then one 429, and each 4 KiB of a header count as one more of them: with pipelining a client asks for a hundred
// things for the price of one write. A header has 100 lines besides Host, 32 KiB and HeaderTimeout (408 follows);
// a target 8 KiB; trailers, which nobody gets to see, 2 KiB. CONNECT, and any Upgrade, is not for us: the first is
// refused, the second ignored (RFC 9110, 7.8). It takes a fifth of the time in which net/http reads the same head
// (BenchmarkHTTP1Guard), and no memory.
//
// The three protocols are held to the same: what one refuses the others refuse, and what they let through the Handler sees
// alike (TestProtocolsAreAlike, and a fuzz target that has the edge behind it). To that end a request of HTTP/2 or HTTP/3
// is refused for a value with blanks around it, a length that is no number or not that of the body, and an expectation.
// HTTP/2 and HTTP/3 take one length written twice, and te: trailers.
//
// # Budgets
//
// In ten seconds the client of an HTTP/2 connection may cause 100 odd events: RST_STREAM from it, or from us for what it sent
// (which is how MadeYouReset asks for them), but not those by which a Handler gives up; or headers that are too large. It may send
// 1,000 frames that ask for nothing: SETTINGS, PING, PRIORITY, DATA with next to nothing in it, unknown types, and
// WINDOW_UPDATE beyond what the bodies it got explain. A header block may be 64 KiB long
// before it is decoded, in at most 17 frames. Who is over budget gets GOAWAY with
// ENHANCE_YOUR_CALM between two frames and is closed a second later at most; so
// that it hears of it, its side is read to the end meanwhile, below TLS. Each refusal is
// counted by reason (Stats.Refused), and logged once a second at most.
//
// # Every refusal counts once
//
// What the entry, the guard of HTTP/1.1 and the streams of HTTP/2 and HTTP/3 refuse they count themselves. A request counts once,
// whatever is wrong with it; where its breach ends the connection, that is the one refusal. Two there are where a Handler or the
// entry refuses a request whose body then breaks its word, too, or where a stream's reset is one too many for the
// connection. A client that gives up is refused nothing, nor is one that a drain sends elsewhere.
//
// A listener for other nodes has no budgets (Options.TrustClients).
//
// h2spec passes all of its 146 cases.
//
// # Readers that stall
//
// Before a piece of a body is taken into memory, the socket is asked for room: over TLS a client
// that takes nothing waits as a Write does (roomer, awaitRoom). Of quic-go room cannot be asked; there a piece that has waited for a
// quarter of a second is given back, and read again when the client goes on.
//
// A stream of HTTP/2 reads a piece of a file, of 64 KiB, when its windows are open, the socket has room, and it has its turn to
// write: while it waits for any of them it holds nothing but its goroutine. What is not in the page cache then (RWF_NOWAIT) it reads
// from disk without the turn, so that the other streams of the connection go on.
//
// What each of 10,000 readers holds that take nothing (TestStalledReadersMemory with WEIR_STALLED_READERS), its share of
// everything included, the clients in a process of their own, send buffers of 32 KiB; the kernel's bytes are for both ends:
//
//	                                    bytes   of them stacks   kernel
//	HTTP/1.1 in the clear              58,461           10,253   105,938
//	HTTP/1.1 over TLS                  37,964           16,380    73,582
//	HTTP/2                             28,348           12,284    73,637
//	HTTP/2, 100 streams a connection    6,511            4,148       525
//	HTTP/2, windows of zero            24,305            8,060     4,173
//	HTTP/2, the same, 100 streams       6,225            3,860         0
//	HTTP/3                             61,151           17,458     4,085
//	HTTP/3, 100 streams a connection    5,195            4,295         0
//
// In the clear 32 KiB are the buffer that net/http takes before it asks for a sendfile. A body that is in memory takes
// less on HTTP/1.1 in the clear, and elsewhere no more. Through an edge, its part included (TestTrickle), 500 readers
// that take a byte a second of an object on disk hold 54, 38, 62 and 62 KB over the four, of which 11 to 20 are stacks, and
// one descriptor of it together; it was 68, 249, 164 and 145.
//
// # A body ends cleanly or visibly not
//
// A Handler that cannot finish a body panics with http.ErrAbortHandler. The client
// then sees a closed or reset connection (HTTP/1.1), RST_STREAM or a QUIC stream
// reset, never an end that looks like the end of the body. The same happens by
// itself when a file turns out shorter than its range, and after any other panic,
// which is counted and logged, and ends only its own request.
//
// # A process that takes over
//
// The listening TCP sockets of a server can be given to another process as they are (Options.Listen): connections that
// wait there are nobody's yet. The packets of a UDP socket cannot be shared that way. Heir binds a second socket to the
// address, and the kernel divides the packets between the two by connection ID (SO_ATTACH_REUSEPORT_CBPF, eight
// instructions): all IDs that a server gives out begin with the same four random bytes. So neither process passes packets
// on to the other, both keep segmentation offload, batched reads and ECN, and SO_REUSEPORT is not set while there is no
// heir, when it would let other programs of the same user take packets. Passing them on through the one that reads would
// have cost a copy and a wake-up for each packet of the drain, and quic-go its batches, as it reads in batches only from
// what has a descriptor.
//
// # Why
//
// HTTP/2 is our own, too, on the connections of our TLS handshake, and shares with HTTP/3 what a request must be, what a response
// is, and priorities. net/http's server starts a goroutine for each request, whose stack grows on the way, and one for each
// flush; writes each frame by itself; shows nobody the windows; and cannot be told which stream goes first. With ours
// four clients that ask for small hits, a hundred at once, get 72,000 in a second where it were 20,000, for 19 microseconds of
// CPU each where it were 60, and a segment of 2 MiB takes half of the time and 0.7 of the CPU, the client's included
// (TestAttacks in tools/weir, BenchmarkGet). It reads frames in one goroutine of the connection, which never waits for a write.
// Requests are answered by goroutines that stay for a second (workers). Who has something to send writes it, one at a time
// (http2Sending): small responses are collected while somebody writes, a piece of a file is read and sent by whose turn it is.
// Nothing that we send is in a dynamic table of HPACK, so that headers are made without a lock.
//
// crypto/tls writes each record of 16 KiB with its own write(2). tlsConn collects
// the records of one Write below TLS and sends them in pieces of eight records; at
// the end of that Write everything is out, so no byte ever waits for a later one.
//
// HTTP/3 is our own layer on quic-go's streams, not quic-go's http3: that has no header
// time-out, lets breaches of RFC 9114 pass, does not tell which stream an answer goes to,
// and keeps the control stream to itself, or, with all connections its own, the accepting
// of requests. Of a small answer both together cost 0.78x the CPU of http3.Server, the
// bare client included, and 86 allocations where there were 153; for a segment there is
// no difference (BenchmarkHTTP3). What is left of a small answer is quic-go's to 92 %.
//
// # HTTP/3
//
// A request has one goroutine and one http3Stream, which is its body, its ResponseWriter
// and its context. Header and a small body leave in one write; a piece of a file has the
// frame's head, and the first one the header, before it in its buffer. No side has a dynamic
// table for QPACK: we announce none, and what needs one ends the connection. Every breach
// of RFC 9114, 9204 or 9218 has the error that the RFC names, on the stream or the
// connection (TestHTTP3Breaches). We offer neither push, extended CONNECT nor datagrams.
//
// A drain tells the client twice (RFC 9114, 5.2): not to begin requests, and a round trip
// later, which of them are not answered any more; those are rejected as not processed
// (H3_REQUEST_REJECTED). The connection is closed when all answers are delivered.
//
// On the control stream, and between the frames of a body, a client may send 1,000 frames
// that ask for nothing in ten seconds, as with HTTP/2. Unidirectional streams of unknown types,
// or reset before they have one, count as such.
//
// A connection has the budget of 100 odd events in ten seconds too: requests that the
// client gives up, half headers, malformed or too large ones. Then it ends with H3_EXCESSIVE_LOAD. A
// decoded header or trailer has 32 KiB at most. What passes below HTTP is quic-go's to bound, see below;
// but what it sends to addresses at which a client may be, unasked for and 28 times as long as what came from there, has a
// budget here (pathGuard): 8 packets for a port in ten seconds.
//
// Requests in early data are handled if they are GET or HEAD, with Early-Data: 1 for
// whoever is asked next; all others get 425 (RFC 8470). Address tokens and stateless resets
// have keys that outlast the process (Options.QUICKey). Clients are told of a restart when
// they send something of the size of a request: to less, such as PING, RFC 9000, 10.3
// forbids a reset, and they wait for their idle time-out. From 20 handshakes in a tenth of a second on, and for a
// second after, clients have to prove their address first (Retry). A token proves its own address, for a
// day, that of a Retry for twice HeaderTimeout; quic-go does not note which were used.
//
// Connections are traced while the server has a Qlog, which bounds what the files take, and may
// be given one, or lose it, at any time. A process that takes over has its own count of them.
//
// Priorities (RFC 9218), from the Priority field or PRIORITY_UPDATE, are obeyed in HTTP/3 by quic-go's
// own scheduler: over a path of 400 kB/s, 100 kB of urgent audio beside a video took 0.4 to
// 0.6 s, less urgent 2.7 to 3 s. The Priority of a response goes before the client's. For a
// client that has said nothing on the whole connection, playlists go before audio and
// subtitles, and those before all else, by type, or by name where the type says nothing; what
// is alike shares the line. A client that ranks some requests means the defaults for
// the others. HTTP/2 has the same, by pieces of 64 KiB.
//
// # QUIC below HTTP
//
// What a hostile client does to QUIC itself is quic-go's to refuse, and tests have one that sends what no QUIC stack would
// (tools/proof/quicraw). It leaves packet numbers out, the first within 515, and ends a connection that acknowledges one of
// them, or what was never sent; 26 floods, each of 1,200 datagrams, hold at most a megabyte, send no more than they get, and
// cost 1 to 11 times the CPU of their sender (TestQUICFloods). A client that leaves in the middle of the handshake costs 33 to
// 59 KB until HeaderTimeout. Where quic-go v0.65.0 is not what we would wish for, and gives no hook:
//
//   - Of 100 streams with every other byte missing it keeps a thousand pieces each: 20 MB for 700 KB that came, and 19 times
//     the CPU, until HeaderTimeout resets the streams.
//   - A byte that was there already is looked for behind all gaps of its stream: 19 times the CPU.
//   - RETIRE_CONNECTION_ID has it make an ID at once, for three bytes: 30 to 58 times the CPU and 2 MB, until 16,384 answers
//     wait, after a tenth of a megabyte, and the connection ends; 4 times where the client takes the answers.
//   - It looks before a packet, not behind it, whether three times of what came was sent to a forged address: 3.2 times for a
//     datagram of 1,200 bytes.
//   - PATH_CHALLENGE from where the client is known to be has no answer (RFC 9000, 8.2.2).
//   - Frames in packets that must not have them are FRAME_ENCODING_ERROR, not PROTOCOL_VIOLATION; one number for two
//     connection IDs is INTERNAL_ERROR; a key update by TLS is 0x150, not 0x10a.
//
// All packets wait in one socket, so that a flood of them, each from another address, delays those of open connections. What
// has no connection ID of ours is left out beyond a number, before quic-go sees it (strangers): 2,500 Initials a second for each
// processor, and 1,000 others. Who knows the first bytes of our IDs, as each client does, is not held up by that.
//
// # Lock order
//
// http2Conn.mu, http2Body.mu, tlsConn.mu, batchConn.mu, writeDeadline.mu; http3Stream.mu,
// quicConn.mu; seats.mu, pathGuard.mu, nextPoll.mu and the others
// are never held together.
package front
