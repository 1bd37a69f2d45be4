// Package sdk answers the endpoints for whoever builds players: for television sets, cars, phones, web pages.
//
//	GET    /sdk/v1/config?device=            what a client needs to know first; may be cached
//	POST   /sdk/v1/sessions                  the play call: asset and device in; manifests, token, steering, licenses out
//	POST   /sdk/v1/sessions/ID/heartbeat     renews the lease
//	DELETE /sdk/v1/sessions/ID               ends it; also POST …/end, for a page that is being left
//	POST   /sdk/v1/downloads                 one rendition to take along: its playlists, how much it is, until when it may be played
//	GET    /sdk/v1/downloads/ID              says that it is still wanted, and renews it; DELETE gives it up
//	POST   /sdk/v1/token                     a new token for a session, where the site has tokens
//	POST   /sdk/v1/cmcd                      takes CMCD events (CTA-5004-B)
//	GET    /sdk/v1/assist/ID                 how fast this edge can serve
//	GET    /steer/v1/ASSET                   where to load from next, for HLS and DASH (RFC 8216bis, 7; ETSI TS 103 998)
//	GET    /time                             what time it is, for UTCTiming of DASH
//	GET    /sdk/v1/openapi.json              all this as an OpenAPI 3.1 document
//
// Errors are problem documents (RFC 9457); their type leads to a page that says what to do. Every answer may be read by
// pages of any origin; no cookie and no state of the connection plays a part.
//
// # The play call
//
// It finds the asset's rule ([Asset]), asks this edge for the manifest as the viewer would (a title that is not there and
// a device that fits no rendition are told at once, and the manifest is warm when the player asks), opens a session
// (package session) within the limits of account and asset, and answers with all URLs. With Idempotency-Key it may be
// repeated.
//
// The device's class and capabilities travel in the manifest's URL, so that any edge can serve it, and so does the
// session's id. Neither is part of what the manifest is stored under.
//
// # Downloads
//
// A download is the best rendition that fits the device and the room it has. Files are those of the stream, so what broke
// off is taken up by Range; their lengths are asked of this edge one by one, which costs the origin no body, or follow from the
// bitrate where there are more than 4,000. A download counts for its account until it is given up or its time is over.
//
// # Steering
//
// Nothing is kept: an answer depends on the asset, the session's id, the edges that are alive, and the policy ([Steering]).
// An asset's viewers go to few edges, chosen by rendezvous hashing, so that each edge needs few assets; whose edge drains,
// is lost or in trouble gets others first. Pathways that are no edge of ours, such as other CDNs, get the share of viewers that
// their weight says: which of them is decided by a hash of the session's id, so that a change of weights moves no more
// viewers than it has to.
//
// # Who may ask
//
// The endpoints are for viewers and are reached like content: the site's rules and rates apply. A session's id is all it
// takes to renew or end that session. Whose account a viewer is says Options.Viewer; without it there are no accounts.
package sdk
