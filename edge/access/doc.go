// Package access decides by rules who may ask a site for what.
//
// A [List] is rules in order, each with conditions on the request; the first one whose conditions all hold decides, and
// where none does the request is allowed, as in a firewall. Conditions are the client's network, country and autonomous
// system, the method, the path, the referring site, the user agent, and the time. Where the client is comes from
// databases in MaxMind's format that the operator brings ([Geo]); it is looked up only for a list that asks for it, and
// then once for each request.
//
// What a client says about itself (referrer, user agent) keeps honest pages from being linked and nobody out who means
// it: that is for tokens.
//
// Lists and databases are immutable and may be used by many goroutines at once. [List.Allows] allocates nothing but what
// a look-up in a database costs.
package access
