// Package manifest rewrites HLS playlists (RFC 8216bis) and DASH MPDs (ISO/IEC 23009-1) for one viewer while they are delivered.
//
// A [Rewrite] does up to three things: it leaves out renditions that a device cannot play and puts the others in the order
// that suits it ([Filter]), it adds to the URLs of children what viewers must carry along, such as a token ([Child]), and it
// names a steering server ([Steering]). What is stored stays one object; what a Rewrite makes of it depends on nothing else.
//
// Both formats are scanned as bytes, in one pass for a media playlist and two for the others. What is not changed is copied
// byte for byte: unknown tags, attributes, elements, namespaces, comments, white space. A Rewrite that allows everything
// gives back what it got.
//
// # What is left out
//
// A rendition goes when one of its attributes says that it exceeds a limit; one that says nothing stays. In HLS that is a
// variant or an I-frame variant; audio renditions go by their channels, and whole groups with the last variant that uses
// them. In DASH it is a Representation, with attributes and descriptors of its AdaptationSet, and the set with its last one.
// What needs or names what went goes with it: Representations by dependencyId, and by associationId with the last that they
// belong to, sets for trick play, Preselections, Subsets, and names in lists. DRM systems that a device has not go from keys and ContentProtection; what only they open goes whole. A presentation that
// had video, or audio in DASH, and has none left is [ErrEmpty], never an empty ladder.
//
// Height means the shorter side of the picture, so that portrait video is judged by the same number. HDR is told by
// VIDEO-RANGE in HLS and by CICP transfer characteristics in DASH; neither means SDR, but for Dolby Vision alone. A variant's
// SUPPLEMENTAL-CODECS is cut out where the device has none of them: what it builds on stays.
//
// # Order
//
// HLS players begin with the first variant, so the order decides about the start; DASH players choose by themselves, and
// order is a hint.
//
// # Limits
//
// A playlist with more than 1,024 variants and renditions, and an MPD with more Representations in a Period, is [ErrFormat].
// A variable (EXT-X-DEFINE) in front of a URL tells its host where the playlist gives its value; IMPORT and QUERYPARAM do not.
// DASH: remote elements (xlink) are not resolved, only decorated. HLS: in a delta update the segments that are skipped keep the URLs they were sent with.
//
// The package keeps no state. Filters, Rewrites and Limits are immutable in use and may be shared by goroutines.
package manifest
