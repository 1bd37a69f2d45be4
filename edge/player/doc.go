// Package player serves the player page: one page that plays a title from the
// edge and shows, while it plays, how each segment was delivered.
//
// The page is static. Its style sheet and ES modules are embedded in the
// binary; it asks no other host for anything but the title itself, and its
// Content-Security-Policy holds it to that. It plays with hls.js where
// Options.HLSJS names a copy on disk (no player library is embedded), else with
// the browser's own HLS.
//
// What the page needs to know it reads from /player/config.json: the title's
// two manifests, the public addresses of the cluster's nodes and where hls.js
// lies. Requests go where the play call's manifest and steering send them, to
// nodes and to other CDNs; when a node fails, the same playback moves on to the
// next one. A viewer who chooses a node in the list stays there, whatever the
// service says, and the page says so, until it is chosen again, or fails. Nodes must
// therefore answer with Access-Control-Allow-Origin, and with
// Timing-Allow-Origin if the page is to see which protocol they spoke.
//
// # Addresses
//
//	/                      the page; ?asset=NAME or ?src=/PATH another title, ?device= another layout, ?engine=browser,
//	                       #viewer=TOKEN who watches, where the service asks that
//	/player/config.json    what the page plays, and from where
//	/player/sdk/weir.js    the client for other pages
//	/player/sdk/offline.js the service worker of pages that keep titles
//	/player/guide          for whoever writes native players: what to ask an edge for, with lines to try
//	/player/VERSION/FILE   an asset, immutable: VERSION is the hash of all assets
//	/player/FILE           the same asset, revalidated on every use
//
// Only GET and HEAD are answered; everything else is 404 or 405. The handler
// holds no state that a request changes and may be used by many goroutines.
//
// # The client
//
// sdk/ holds ES modules without a build step or a dependency, which pages of all origins may import; their types are comments
// that TypeScript reads. It joins a video element, a player library that the page hands in, and the endpoints of package
// edge/sdk:
//
//	import * as weir from "https://edge.example/player/sdk/weir.js";
//	const session = await weir.play(video, { asset: "demo", engine: weir.hlsjs(Hls) });
//	session.addEventListener("ended", ({ detail }) => show(detail.words));
//
// play measures what the device can play, makes the play call (repeated with one Idempotency-Key, at the next server where one
// does not answer, as late as Retry-After says), opens the manifest at the position that the viewer left, renews the lease, and
// reports by CMCD, which is kept while there is no network. A server that dies is left for one that answers: the engines of
// hls.js, shaka and dash.js send their next requests there, the browser's own HLS begins anew at the same position. A session
// that ended says so in words, with replace() to go on here; leaving the page ends it. A token that is over is renewed. How
// CMCD travels is the service's choice, or the page's (cmcd: { mode: "headers", version: 1 }). What the client keeps on the device: the
// position in titles of more than two minutes (resume: false forbids it), and reports that could not be sent. Errors are
// WeirError: kind is the name of the problem, words a title and a text for viewers, todo what a button could offer.
//
// The address /player/sdk/weir.js stays, and what it exports changes by addition only; config.json names the versioned
// one, for pages that want exactly what they were tested with.
//
// # Downloads
//
// A title can be kept on the device, and be played without a network:
//
//	const kept = await weir.downloads();
//	const one = await kept.add({ asset: "demo", title: "The demo" });
//	one.addEventListener("progress", ({ detail }) => show(detail.bytes, detail.total));
//	await one.play(video, { engine: weir.hlsjs(Hls) });
//
// add asks for a download (package edge/sdk), of the best rendition that the device plays and has room for, and loads its files
// three at a time, from another server where one does not answer. A file that broke off goes on by Range and If-Range; after a
// reload of the page, or pause() and resume(), the files that are there are not asked for again; a title that was changed
// meanwhile begins anew, as its playlists then differ. They lie in the Cache API, each download in a cache of its own, named
// weir-kept-ID. What is over (expires) is not served and is removed; while there is a network it is renewed once a day, and one
// that the account has ended is removed too. Lack of room, of a network, of the title are problems in words.
//
// sdk/offline.js, a service worker, serves the files to hls.js and shaka, and the page's own files where the network does not
// answer within 3 s; it is registered when the first title is kept, and goes with the last one. A page of another origin names a
// worker of its own that imports it. The browser's own HLS gets blob: addresses: Chromium 156 reads no playlist that a service
// worker made. Players of DASH get an MPD of the same files, written when they play: of fragments of one track each, in the clear;
// what is encrypted, put together of parts or a transport stream is for players of HLS alone. Browsers have service workers and
// the Cache API on pages over HTTPS, and on loopback.
//
// What plays from the device is reported too, unless play has cmcd: false: as CMCD events with the times at which they were
// (ts), a random session and the key weir-offline, in the Cache API (weir-seen) until a server has taken them. They are sent when
// the network is back, when the playback ends, and when a page asks for its downloads, in batches of up to 100 records with an
// Idempotency-Key, so that each counts once though its answer was lost. Up to 50 batches wait, 40 hours of playback, for 14 days.
//
// # Layouts
//
// Phone, desk, television and car, by ?device= or by what the browser seems to be. On a television the picture is the page,
// arrows move a focus that is seen across a room, and Back closes what lies on top. In a car there are few words and no
// target under 76 px, nothing fades away, and while the car drives (the button, or a "driving" event whose detail is true)
// there is sound only, in the smallest rendition. A car that knows of a way without a network says so (an "offline-ahead" event
// whose detail is its seconds): the page loads that much ahead, up to buffer.offline_s of the play call, and tells when it is
// there. In all layouts the page is light or dark as the device is, but for televisions; what lies on the picture is dark.
//
// # Why no player library in the binary
//
// hls.js is a quarter of a megabyte that ages faster than an edge is upgraded.
// It comes from edge/player/package-lock.json by `npm ci`; Chromium and Safari
// play HLS without it. Their own HLS hides response headers from the page, so
// the page then says of each segment only what resource timing, Server-Timing
// and a HEAD request of its own can tell.
package player
