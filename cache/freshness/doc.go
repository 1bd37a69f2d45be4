// Package freshness decides whether a response may be stored by a shared cache and for how long it may be reused.
//
// It is RFC 9111 as a shared cache reads it, with the extensions of RFC 5861 (stale-while-revalidate, stale-if-error),
// RFC 8246 (immutable) and RFC 9213 (the caller's targeted fields and CDN-Cache-Control, which go before Cache-Control and Expires). Everything is a
// function of its arguments: no clock, no state, safe to call at the same time. Heuristic freshness (RFC 9111, 4.2.2)
// is the caller's choice, who passes a fallback lifetime; [Heuristic] is the usual one.
//
// Where a field is malformed or contradicts itself the stricter reading is taken: a lifetime that cannot be read is
// zero, of two lifetimes the shorter counts, a response whose Age cannot be read is stale, a qualified no-cache or private counts as the unqualified one.
package freshness
