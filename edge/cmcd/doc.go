// Package cmcd speaks with players about how a stream does: it reads their reports (CMCD, CTA-5004-A and CTA-5004-B) and
// writes what servers tell them (CMSD, CTA-5006).
//
// A [Report] is read from the four request fields, from the query parameter, or from the body of events that a player posts;
// where a request has any of the fields, the query does not count (CTA-5004-B, 6). Both shapes of a value are understood:
// br=5000 as in version 1, and br=(5000;v 320;a) as in version 2, in reports of either version, since players mix them.
//
// What a player says is not to be trusted: an unknown key, a value of another type or longer than the standard allows, and a
// member that is no structured field are ignored one by one; a report of a newer version is ignored as a whole. Keys count
// in whatever field they come.
//
// A Report is made once and used again; reading into it allocates nothing once its buffer has grown. It belongs to one
// goroutine at a time. [Pool] lends them.
package cmcd
