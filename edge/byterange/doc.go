// Package byterange decides which bytes a Range request gets (RFC 9110, 14).
//
// Parse turns the field into at most MaxParts ranges of an object whose size is
// known; IfRange decides whether the field may be honoured at all; Multipart lays
// out the body of an answer with more than one range, with its exact length.
//
// The parser is strict where the standard lets it be: what is not well formed is
// ignored, and the client gets the whole object, which is always a correct
// answer. Ranges that touch or overlap become one, so an answer never repeats a
// byte: the sum of the ranges is at most the object (RFC 9110, 17.15).
//
// The package only computes. It reads no body, keeps no state, and everything in
// it may be used by many goroutines at once.
package byterange
