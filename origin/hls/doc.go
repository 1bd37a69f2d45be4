// Package hls writes HLS playlists for video on demand in CMAF segments.
//
// A [Multivariant] lists renditions, a [Media] playlist the segments of one, an [IFrames] playlist their first frames.
// All append plain bytes. URIs are written as they are given; attribute values in quotes lose the characters that a
// quoted string cannot hold. The tags follow RFC 8216 and draft-pantos-hls-rfc8216bis.
package hls
