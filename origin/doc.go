// Package origin serves titles as HLS and DASH streams: one [http.Handler] over a source of MP4 files.
//
// # Paths
//
//	/                                     titles as JSON (also /vod/)
//	/healthz                              200 while the process serves
//	/vod/TITLE/master.m3u8                HLS multivariant playlist
//	/vod/TITLE/manifest.mpd               DASH MPD of the same segments
//	/vod/TITLE/RENDITION/VERSION/index.m3u8     media playlist
//	/vod/TITLE/RENDITION/VERSION/iframes.m3u8   I-frame playlist of video
//	/vod/TITLE/RENDITION/VERSION/init.mp4       initialisation segment
//	/vod/TITLE/RENDITION/VERSION/seg-00001.m4s  media segments, counted from 1
//	/vod/TITLE/FILE                       any file of a folder that is packaged already
//
// TITLE may hold slashes. RENDITION is made of the source file's name. VERSION is a hash over the source file's index, size
// and modification time (or content), and over where it is cut. So a URL with a version names the same bytes for
// ever and may be kept for ever by every cache; when a file is replaced its rendition gets new URLs, the old ones answer
// 404, and nobody ever puts old and new bytes together. The version stands behind the rendition, not before it: adding a
// rendition, or replacing one, leaves the URLs of the others, and what caches hold of them, as they are.
//
// # How a title is served
//
// The first request for a title opens its files, parses and plans them (package cmaf) and writes its playlists; requests
// that come meanwhile wait for the same work. The result stays on a [shelf] of bounded size, and is made anew when a file's
// size or modification time changes; that is looked at once a second per title at most, and on each segment for the
// one file it is cut from. A segment is a header of some hundred bytes from memory, then ranges of the source file: of
// a file on disk with sendfile where the connection can, because the file is handed to the ResponseWriter's ReadFrom as an
// io.LimitedReader over an *os.File. Each request opens its own file, so offsets are never shared. Ranges below 16 KiB,
// as an interleaved source has them, are gathered into one buffer instead of costing a
// system call each.
//
// A title that cannot be packaged (a file that is no MP4, cut short, or that does not fit the others) answers 500 with
// the reason as text, logs it once, and shows it in [Origin.Titles]; other titles go on. It is 500 and not
// 404 so that a cache goes on serving what it has (stale-if-error), and not 503 because asking again does not help.
//
// # Why these lifetimes
//
//   - With a version in the path: public, max-age=31536000, immutable. The name stands for the bytes.
//   - Master playlists and MPDs: max-age=5, stale-while-revalidate=30, stale-if-error=86400. Five seconds is how long a
//     replaced title may go unnoticed in a cache; a cache revalidates behind the viewer's back, by ETag; a title goes on
//     playing for a day when its origin is away.
//   - Files of packaged folders: playlists like the above; other files max-age=60 with an ETag, since nothing says that a
//     name is not used again.
//   - 404: max-age=2, so that a missing title does not reach the origin with each request, and a new one appears at once.
//     Other errors: no-store.
//
// Locks: Origin holds one, that of the shelf; nothing is done under it but bookkeeping.
package origin
