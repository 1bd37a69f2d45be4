// Package field reads and writes the HTTP fields that an intermediary owes to its
// neighbours: Cache-Status (RFC 9211), Proxy-Status (RFC 9209), Via and the
// hop-by-hop rules (RFC 9110, 7.6), CDN-Loop (RFC 8586), Alt-Svc (RFC 7838), Age;
// and the tags and groups (RFC 9875) that origins give to responses.
//
// The builders are plain structs whose AppendTo writes into the caller's buffer
// and allocates nothing else. What they print is always well formed: a name or a
// key that a structured field (RFC 8941) cannot hold is escaped, never refused and
// never passed on raw. What comes from outside is checked before ours is added to
// it: one broken member upstream would make the receiver drop the whole field, so
// a broken value is left out instead.
//
// The package keeps no state; all functions may be used by many goroutines at
// once, but an http.Header belongs to one at a time.
package field
