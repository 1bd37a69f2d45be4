// Command flood plays many streams at once and reports what viewers saw.
//
// Run it against a cluster while nodes are killed, upgraded or added, and it tells whether anybody would have noticed:
//
//	flood https://edge-1.example.com https://edge-2.example.com --viewers 2000 --duration 10m --failover
//	flood http://127.0.0.1:8080 http://127.0.0.1:8081 --path /vod/demo/master.m3u8 --verify-against http://127.0.0.1:8090
//
// It ends with 0 when all is well, with 1 when a viewer saw wrong bytes or gave up, with 2 for a mistake on the command
// line. Ctrl-C ends it early with the report; --json is for scripts.
//
// # Viewers
//
// A [viewer] is a player without a decoder. It has connections of its own, over which it loads one object at a time: the
// playlists, then for the track (video, or the sound that goes with it) that has less ahead the next segment. What it loads
// goes into a [buffer], a model of playback: it starts when each track has a segment, is filled up to its target, and
// stands still when a track runs dry. The rendition follows the throughput, or is fixed. A live playlist is joined three
// target durations before its end and asked for again as RFC 8216 says. With --fast nobody waits for playback.
//
// A request fails when there is no connection, no byte for the timeout, another status, a body that breaks off, or a
// playlist that cannot be read. The viewer asks again on a new connection, with failover at the next edge in an order
// of its own, and stays there; after four rounds with growing pauses it gives up.
//
// # What is checked
//
// A segment must have the same bytes for every viewer, at every edge and for as long as the flood lasts: the [ledger]
// keeps a hash of each. So must a playlist under one strong ETag. With --verify-against each segment is also fetched once from
// the origin, two at a time. A body must be as long as it said. What no viewer notices is told, and is no failure: two strong
// ETags for the same bytes, an Age that is no number, a Cache-Status that is none, a live playlist older than the one before.
//
// # The report
//
// Failures and outcomes (the words of Cache-Status) are counted by the edge that was asked; stalls, failovers and viewers
// who gave up by the edge at which the viewer began. So when one edge is killed, its row may have all of these, and
// the others none.
//
// # Cost
//
// A viewer is one goroutine and a connection; durations are counted in buckets 4.4 % wide; playlists are read once,
// however many viewers get them; the ledger remembers a million objects. 2,000 viewers of the sample title over cleartext HTTP/1.1
// took 9.3 s of CPU and 123 MB in 40 s, for 2,570 requests and 1.2 Gbit/s; over HTTP/2 with TLS 484 MB.
//
// # Limits
//
//   - No DASH, no parts of low-latency HLS, no subtitles, no keys: encrypted segments are taken as they are.
//   - One rendition of sound is played: that of the first variant chosen.
//   - A playlist that leads to a host that was not named is refused: flood asks nobody else.
//   - Viewers come from one address, and there is no loss and no distance between them and the edges.
//   - HTTP/3 is spoken at once, without waiting for Alt-Svc.
//
// Locks: ledger, lists, exchange, verifier and each edge's tally have one each. The verifier takes the ledger's
// with its own held: verifier.mu, ledger.mu.
package main
