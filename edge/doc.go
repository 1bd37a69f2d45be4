// Package edge answers clients from the cache and fills misses from upstreams.
//
// [Edge] is the http.Handler behind every listener. A request is an [Exchange]
// that walks through these steps, one file each:
//
//	           client                                       another node
//	             │ h1 h2 h3                                      │ mTLS h2
//	             ▼                                               ▼
//	┌─ receive ──────────── canonical target, site, method; refuse early ─┐
//	│                                                                     │
//	│  lookup ── fresh ───────────────────────────────┐                   │
//	│    │ miss or stale                              │                   │
//	│    ▼                                            │                   │
//	│  fill ──── a fill runs already: join it ────────┤ growing object    │
//	│    │ first one                                  │                   │
//	│    ▼                                            │                   │
//	│  place ─── owner on the ring? ── peer           │                   │
//	│    │ self, or owners are gone                   │                   │
//	│    ▼                                            ▼                   │
//	│  origin ── storable? ── yes: into the cache ─ deliver ─ account     │
//	│               └─ no: pass ──────────────────────┘                   │
//	└─────────────────────────────────────────────────────────────────────┘
//
// # Who may ask
//
// Before anything is looked up a client's request is held against the site's rules ([Site.Access]): by network, country,
// autonomous system, method, path, referrer, user agent, time. They see the canonical target, as the key and the origin
// do; where an origin may read its path otherwise, taking %2F for a slash, several for one or ;a=b for a parameter, that has to
// be allowed too.
// Fields in which a client names another URL, host or address do not go on, nor do names with an underscore, which CGI
// takes for dashes; a POST may name another method where the site has no rules. A node that is asked by another one does
// not ask again. Where the site answers for CORS ([Site.CORS]), the Origin field ends here: neither what the origin says
// nor what is stored depends on it.
//
// A site may want tokens ([Site.Tokens], package token). They are taken off path, query, fields and cookies before any rule
// looks, so that rules, key, upstream and log see what all viewers ask for; what they open is decided after all other
// rules, so that what those deny uses no one-time token up. Who has none that is good gets a 403 that does not say why; the
// log and weir_refusals_total do. Where it cannot be told whether a one-time token was used before, a 503 asks to come again;
// a token that asks for its reuse to be told is counted (weir_token_reuses_total) and logged, one line a second. One that
// is to be renewed gives the client a new one in a response that is then private, or by a redirect. Weir's own pages and
// CORS preflights need none.
//
// # Who may have how much
//
// A site may bound what a client, its network, a token's subject and all together get ([Site.Limits], package limit):
// requests per second, requests at once, and bytes per second. Client and network are counted before anything is
// verified, token and site after, so that what is denied takes nothing of them. Too many requests are 429 with
// Retry-After. Too many bytes wait: a body goes out in pieces of an eighth of a second, by sendfile where it would, all
// responses of a client together at its rate after a burst at full speed. Fills know nothing of it, as they never wait
// for readers; what is passed is read from the origin at the client's rate. A piece is charged before it goes out, and what
// of it a client that leaves did not take is given back, so that nobody else waits for it. A pause of ours is no stall of the client's:
// the write deadline begins after it. A client that takes less than 2 KiB/s for a minute is let go. Nine limits cost a
// hit 0.2 of 5 microseconds and no allocation (BenchmarkLimits).
//
// # Too much for all
//
// Where there are more requests than this node can answer ([Overload], package limit) it turns some away before they cost
// anything: 503, Retry-After from 1 to 5 s at random, no-store. Misses of segments go first, then misses of playlists, hits
// of segments, and hits of playlists last. A stale response that may be served on an error is served instead. Who joins a
// fetch that runs counts as a hit. There are three bounds: requests at once; fetches at once, in all and, found from
// how long they take, for each origin, so that one that drowns is not asked for more than it can and takes nothing from
// the others; and the pressure of the machine itself, by how long what comes waits, and its memory.
//
// Requests of other nodes are counted and never turned away: the node that a client asked has admitted them, and knows best
// whether it has something stale. So two nodes cannot shed in turn what each has asked of the other, and no load moves from
// an owner to the origin because the owner sheds. What reaches a node from others is bounded by what those admit, and their
// bounds fall when it gets slow. Slices behind the first of a response are bounded by the number of runs, and not shed: the
// response has begun.
//
// # Fills
//
// The first request of a cold key starts a fill in a goroutine that the Edge
// owns; every request, the first too, is a reader of the object that grows. So
// a fill outlives the client that caused it, a later client begins at byte 0 at
// once, and the upstream is asked once.
//
// A body that breaks off is taken up again, up to three times, at the byte where
// it stopped: from the next owner or the origin, by a range that holds for the
// same strong ETag only. Where that cannot be, the fill is aborted: readers see a
// broken transfer, never a clean end, and nothing is kept.
//
// A peer that sends, over some seconds, less than any link between peers has is left
// in the same way, where another upstream has the same version and a budget allows it.
//
// A response that may not be shared goes to the request that caused the fill;
// those that waited ask for themselves, and for a second no request waits on
// another one for that key.
//
// A panic in a fill, or in a fetch for one, is logged with its stack, counted ([Edge.Panics]) and ends that fill with an
// internal error: what it held is given back, and the next request begins another. One in a handler is for whoever calls it
// (package front) to stop; the limits and counts of the request are given back on the way.
//
// # Manifests
//
// What is stored of a playlist or MPD is one object for all. Where the site has [Devices] and a client's query names a class
// (?device=car, with &metered=1 and what else package sdk puts into the URLs of manifests), it gets what package manifest makes of it, with an ETag that is the stored one's and
// the profile's, and no Last-Modified; conditions and ranges are about that. Since the query tells clients apart there is no
// need of Vary. [Site.Tailor] adds what is for one viewer, such as tokens. A device with nothing to play gets a 406. Up to 512
// results are remembered for what is not for one viewer alone. The origin is asked without Accept-Encoding for it.
// What cannot be read as a manifest, or is larger than 4 MiB, goes out as it is stored.
//
// # Reports of players
//
// Where a site has [Reports], what a player says with a request (CMCD) is read once and is the exchange's until the observer
// has seen it. One that waits with an empty buffer (bs, su) gets a Priority (RFC 9218), which the front obeys. What it will
// ask for next (nor) is fetched ahead: a segment on the same host, which the site's rules allow the client, two for one request
// and 64 at a time; it takes the way of any fill, counts and is turned away as one, and is kept by the same rules.
//
// A body may go out no faster than the player has use for (rtp, [Reports.Pace]): after a second's worth at full speed in
// pieces of an eighth of a second, as with limits, exact to a millisecond over every protocol. Never below 1.5 times the
// bit rate of the object (br) at the speed of playback (pr), and not for a player that waits with an empty buffer, nor
// for what is no media.
//
// CMSD-Dynamic (CTA-5006) gets a member of this node where the player reports: what the connection has carried of late
// (etp: TCP's delivery rate, QUIC's congestion window by the round trip) and its round trip (rtt), both looked at once a
// second at most; the time to the first byte (rd); whether the node is short of something (du); and a bit rate not to go
// beyond (mb), which is that of now in duress, and what lets a buffer fill within the client's limits. CMSD-Dynamic of an
// upstream goes on with what is passed and is not stored; CMSD-Static is stored like any field.
//
// # Large objects
//
// What is longer than 8 MiB, from an origin that knows ranges and names the
// version by a strong validator, is kept as a head without a body and slices of
// 2 MiB, each an object of its own whose key holds the validator. A request reads
// the slices that it touches; one that is missing is fetched by Range with
// If-Range, up to four by one request, and the next while one is sent. So a film
// of 4 GB is served from any offset, in memory that does not depend on its length,
// and only what is watched is fetched. A request for a part past the first slice
// of something unknown asks for that part at once. When a slice turns out to have
// another version, head and slices go: a response that has begun is broken off, one
// that has not is made anew, and no two versions meet. This is also how parts of a
// representation are stored and combined (RFC 9111, 3.3 and 3.4): aligned, so that
// any later range is found. Other parts (206) that an origin sends are passed on.
//
// # Placement
//
// A key has owners in each of a few tables ([ring.Tiers]), and a fill asks from near to far, until the origin:
//
//	client ─► node ──3──► owner in its zone ──2──► shield of its region ──1──► shield of the origin's region ──0──► origin
//	                      (where there are zones)  (an owner among all nodes,  (where the site has a Home, and
//	                                                or those marked as such)    this node knows its relays)
//
// Who is an owner itself at some tier goes on with the next one at once, so that without zones and regions this is
// node, owner, origin. Every tier streams, every tier collapses: a cold object is fetched once for all of them. A table
// names four owners; when the first cannot be had the second is asked, and so on.
//
// With each request to another node goes how many hops are left: an owner has 2, a shield 1, a shield of
// another region 0, and nobody asks for more than it was asked for. So a request cannot go in a circle, whatever two
// nodes think of their rings; a node that is asked serves, and only counts when the asker's table is another one
// ([Edge.Disagreements]). Circles of waiting are kept out as well: a fill says how many hops it waits for, and another
// node's request joins it only where that is no more than its own; else it waits a moment, and then asks by itself.
//
// The time that the asker waits for a response head goes along too, half a second shorter at each node, so that the node
// nearest to the trouble gives up first and its answer reaches everybody. A peer that has to wait says so at once with an
// interim response (102), which tells a slow origin from a dead peer. A node that could not reach its upstream
// says that too: one more is asked, since it may be that node's way alone that is broken, and no third.
//
// A node that is asked for one key more than 50 times in a second by others tells them that it is hot: they keep
// a copy at once.
//
// Gossip needs seconds to find a dead node, so the request path has its own ways:
// an owner that is silent for longer than 19 of 20 of its answers take is raced by
// the next upstream (2 % of the requests at most), one that fails five times in a
// row or is outrun is left out for a while, retries have a budget, and an owner
// that has more than 1.25 times its share of our requests gives way to the next.
// What was under way from a peer that hangs goes on elsewhere after two seconds.
//
// What a node gets from an owner it passes on and keeps only when it was asked for
// it before, or several clients wait for it: copies of everything everywhere would
// make the cluster as small as one node.
//
// A node that is new, and one that takes over from a draining node, asks for ten
// minutes the node that owned a key before, for what that has stored and no more,
// before it asks anybody else: so a node that joins costs the origin next to nothing.
// One that dies takes what it alone had with it.
//
// # Stale
//
// A stale object is revalidated with its validators. While that runs it may be
// served under stale-while-revalidate, and when the upstream fails, or answers 500,
// 502, 503 or 504, under stale-if-error (RFC 5861). What must be validated and
// cannot be is a 504. A 304 that makes of the stored response what may not be kept,
// or that is about another one, renews nothing: the whole is asked for. A response
// that is not kept takes the stale one with it.
//
// What could not be renewed rests for a second, and for twice as long each further
// time up to ten: where it may be served on an error it is, and an origin that fails
// under load is asked once for each key and step, not once for each viewer.
//
// # Lifetimes
//
// They come from the first of the site's targeted fields, CDN-Cache-Control,
// Surrogate-Control where the site asks for it, Cache-Control and Expires. Media
// that names none gets one by its path, if its type does not contradict: segments
// an hour, live playlists half the rhythm in which they change, other playlists
// 10 s, a 404 a second. An error on media is never kept for more than 2 s: by then
// the segment may be there. Plain HTTP content gets none.
//
// # What goes through and what does not
//
// A condition that only an origin can judge (If-Match, If-Unmodified-Since) is met
// from the cache where it holds for a fresh response, and goes to the origin in all
// other cases. A response that is passed keeps its interim responses, and its
// trailers for a client that takes them; what is stored has neither: readers who
// come later could not be told. A HEAD is answered by what is stored, which it
// renews by a GET; on a miss it is passed. PURGE and the like are refused.
//
// # Purges and invalidation
//
// A purge (package tag) names a URL with its variants, the beginning of URLs, a tag, or everything; it covers what was
// asked of the origin before its time. [Edge.Plan] makes one, [Edge.Apply] obeys it, on this node and on any other that
// it is handed to: cluster/notice carries it there, with its age, and the other node dates it by its own clock. Nothing is
// searched for: what a purge covers is found out when it is met, and dropped.
//
//   - After a hard purge a response is never used again, for no revalidation and no error.
//   - After a soft purge it is stale, from the time of the purge on: it is revalidated, and served meanwhile where
//     RFC 5861 allows it. A 304 makes it fresh again.
//   - A fill that began before a purge goes on for those who have its response. Who asks later gets another fill, and
//     the first is not stored.
//   - An owner may have what was purged here and not yet there. It says how long ago it asked the origin, and where that
//     was before the purge, this node asks the origin itself.
//   - Purges survive a restart where Options.Purges has a file. Fetches and purges are dated by its clock, which no
//     setting of the machine's reaches.
//   - A node may be cut off from the others and not hear of a purge. A site that is Strict then serves only what was
//     fetched from the origin, or confirmed by it, after Options.Doubt: with a lease of 10 s each stored response is
//     validated once in 10 s at most. What a peer sends has to be as new, or the origin is asked itself. Slices of a
//     large representation need not be: its head is, and names their version.
//
// Why a doubtful response stands in for no error: RFC 5861 lets a stale response be used, and this one may be purged.
// What is purged softly may be used so, but who has not heard of a purge cannot know which kind it was. So the answer
// is 504 where the origin cannot be reached, as for must-revalidate, and the origin's own error where it sends one.
//
// A non-error response to an unsafe method invalidates its target, and Location and Content-Location of the same origin
// (RFC 9111, 4.4), and the cache groups that it lists (RFC 9875): hard purges too, but nobody waits until they are on
// the disk, and other nodes are not told. Their copies live on until they are stale: RFC 9111 asks it of one cache, and
// telling all of every POST would let clients set the pace.
//
// Tags are what Surrogate-Key, Cache-Tag and Edge-Cache-Tag list; clients do not get these fields. Of more than 64 tags
// of one response none is told from another: every purge of any tag covers it.
//
// # What the key holds
//
// Host and canonical target, see [ParseTarget], and the values of the request
// fields that the stored response names in Vary. Never who asks. The names are
// stored under the target's own key and found there after a restart; of one target
// the 16 variants used last are kept.
//
// Why a response with Set-Cookie is stored only where public, s-maxage or a targeted
// field says so: RFC 9111, 7.3 leaves it to the cache, and a cookie handed to every
// viewer is a session leaked to all of them.
//
// Why the same holds for an error such as 400 or 403: fields that no key holds may
// have caused it, and one client would take the resource from all others.
//
// Why a response that has credentials in its request is not shared, and yet nobody
// waits for it: the fill ends for its leader alone, and the others look again.
//
// Why a response to POST is never stored: it costs a second way into the cache, and
// no player asks for what it posted.
//
// Why Surrogate-Control, when a site asks for it: content systems still send it.
// CDN-Cache-Control (RFC 9213) is always obeyed, and goes first.
//
// Why request directives (RFC 9111, 5.2.1) are not obeyed but only-if-cached, unless
// the site asks for it: a reload in one browser must not cost the origin a fetch for
// everyone, nor one client's no-store keep a response from all.
package edge
