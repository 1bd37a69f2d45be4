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
// lies. Playlist and segment requests go to the node that served the page; when
// that node fails, the same playback moves on to the next one. Nodes must
// therefore answer with Access-Control-Allow-Origin, and with
// Timing-Allow-Origin if the page is to see which protocol they spoke.
//
// # Addresses
//
//	/                      the page
//	/player/config.json    what the page plays, and from where
//	/player/VERSION/FILE   an asset, immutable: VERSION is the hash of all assets
//	/player/FILE           the same asset, revalidated on every use
//
// Only GET and HEAD are answered; everything else is 404 or 405. The handler
// holds no state that a request changes and may be used by many goroutines.
//
// # Why no player library in the binary
//
// hls.js is a quarter of a megabyte that ages faster than an edge is upgraded.
// It comes from edge/player/package-lock.json by `npm ci`; Chromium and Safari
// play HLS without it. Their own HLS hides response headers from the page, so
// the page then says of each segment only what resource timing, Server-Timing
// and a HEAD request of its own can tell.
package player
