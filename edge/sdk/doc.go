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
//	GET    /sdk/v1/assist/ID                 how fast this edge serves the session; heartbeats tell it too
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
// repeated: the key belongs to the account, or where there is none to the client, by its address (of IPv6 the first 64 bits) and
// User-Agent, so that nobody gets the session of somebody else who thought of the same key. Who repeats a call from another
// network without an account opens another session; the first ends with its lease. Batches of CMCD events are repeated
// from any network, and their key has to be as rare as a UUID.
//
// The device's class and capabilities travel in the manifest's URL, so that any edge can serve it, and so does the
// session's id. Neither is part of what the manifest is stored under.
//
// # Downloads
//
// A download is the best rendition that fits the device and the room it has. Files are those of the stream, so what broke
// off is taken up by Range; their lengths are asked of this edge one by one, which costs the origin no body, or follow from the
// bitrate where there are more than 4,000; four titles at a time are measured so, and a fifth is refused as busy after two seconds.
// A download counts for its account until it is given up or its time is over. Where
// players need tokens its playlists carry its own, for as long as it may be played, and POST /sdk/v1/token renews that too.
//
// Players report what was played without a network once there is one (POST /sdk/v1/cmcd, records with ts and the key
// weir-offline, which is ours: CTA-5004-B has none for it). They need an Idempotency-Key: Options.Once remembers it, in memory and
// at two nodes as sessions are, so that a batch whose answer was lost counts once. Which of them are too old says whoever counts.
// A key of the cluster that is replaced within that time lets a batch count again.
//
// # Steering
//
// Nothing is kept: an answer depends on the asset, the session's id, the edges that are alive, the time, what the player
// says in the URL, and the policy ([Steering]). In the order in which they count:
//
//   - Pathways that are no edge of ours, such as other CDNs, get the share of viewers that their weight says: the weight of the
//     hour, times what is left of a contract over what is left of its time. Which viewers is decided by a hash of the session's
//     id, so that a change moves no more of them than it has to. All other pathways follow behind, as a second choice.
//   - Edges that drain or are lost get nobody. One that is under pressure loses the share of viewers that it cannot serve.
//   - Edges of this node's region come first.
//   - An asset's viewers go to few edges, chosen by rendezvous hashing, so that each edge needs few assets; of different zones, so
//     that the loss of one leaves an edge that has the asset.
//   - A viewer stays at one of these where it is. But whose player runs dry, or measures less than half of what it measured
//     elsewhere, goes to the next, and does not come back for five minutes: that is in the URL of its next question.
//
// While an edge drains, is lost or under pressure, viewers are to ask again after 10 s at most. One that drains is quiet for
// them if it goes on for as long as answers are good (cluster.timers.drain in the configuration).
//
// # What players need
//
// Seen in Chromium, with hls.js 1.7, dash.js 5.2 and shaka 5.2 (TestSteering, TestLiveSteering and TestSecondCDN in tools/weir). A
// manifest lists four pathways, the best for this viewer and this node, and says where to begin; all others are clones.
//
//   - shaka follows HLS only among variants that are listed, and knows EXT-X-MEDIA's pathway by PATHWAY-ID; it resolves no
//     relative RELOAD-URI.
//   - dash.js puts a clone in the place of the BaseURL of that name, without its port: so nothing that is listed is cloned.
//     Unless it is told to ask before it starts, it never does where the page itself calls play().
//   - An MPD that is loaded anew comes from the edge that steering names, by the Location of its name; other pathways have media
//     alone. dash.js makes clones of Locations too, which lose their query: so the base of clones in an MPD is called ".", as no
//     Location is. Where an MPD cannot be loaded, dash.js asks neither again nor elsewhere: it follows away from an edge that
//     drains, but not from one that dies between two answers. shaka tries all Locations.
//   - dash.js learns that it plays from the element's event: a page that calls play() before the stream is there has a live MPD
//     that is never loaded anew.
//   - In HLS a clone has the port of its original: edges at another port have to be listed.
//   - shaka 5.2.12 as it is published takes no clones at all: its build renames what it reads of them (ID, HOST). A pathway that is
//     new to it has to be listed, which a live MPD does at its next refresh.
//   - All say the pathway and its throughput with their questions (TestSteeringQuestions); dash.js alone reports CMCD with them,
//     where "steering" is among its cmcd.includeInRequests. What others ran dry at is not known here, but for what they measured.
//   - No player asks anybody else when the steering server is lost. So the next question goes to an edge that the viewer does not
//     load from, or to Steering.Server, a name that all edges have.
//
// # Who may ask
//
// The endpoints are for viewers and are reached like content: the site's rules and rates apply, and those of [Options.Rates]
// for a client's network, and for an account wherever its players are. Who asks too often gets a 429 with Retry-After. A
// [Gate] counts that, and every problem by its name, for all sites of a node; its memory has a fixed size. A session's id is all it
// takes to renew or end that session. Whose account a viewer is says Options.Viewer; without it there are no accounts. Where it
// cannot say so now ([NotNow]) the viewer is told when to ask again, and not that its credential is bad.
package sdk
